"""The embeddings of regions: of a part, of a shard, and the table of a layer.

D channels of a layer's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import InvalidRecord
from evo2_tasks.genome.tiles import Tile
from evo2_tasks.genome.track_regions import find_reader
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.table.embeddings import as_column, rows_at_once
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.schema import TRACK_REGION_COLUMNS, Column, make_schema
from evo2_tasks.table.sequence_embeddings import PART_BYTES, describe_means
from evo2_tasks.table.tracks import ReadTile

KEYS: Final = tuple(
    one
    for one in TRACK_REGION_COLUMNS
    if one.name in ("record", "contig", "start", "end", "name", "status")
)
RECORD: Final = "record"
STRAND: Final = "strand"
BASES: Final = "bases"
_INDEX: Final = (
    pa.field(RECORD, pa.int64(), nullable=False),
    pa.field(STRAND, pa.string(), nullable=False),
    pa.field(BASES, pa.int64(), nullable=False),
)

_Integers = npt.NDArray[np.int64]


def describe_track_embeddings(width: int, dtype: str, *, strands: bool) -> list[Column]:
    """The columns of the table of a layer.

    Args:
        width: Number of channels.
        dtype: Data type of the values, a key of ``TYPES``.
        strands: Whether it has the embeddings of each strand too.
    """
    return [*KEYS, *describe_means(width, dtype, of="region", strands=strands)]


def track_embeddings_schema(width: int, dtype: str, *, strands: bool) -> pa.Schema:
    """The schema of the table of a layer; see :func:`describe_track_embeddings`."""
    return make_schema(describe_track_embeddings(width, dtype, strands=strands))


class RegionRange(NamedTuple):
    """Bases of a region that a strand takes from a window.

    Attributes:
        record: Number of the region.
        tokens: Their tokens in the window, in reading direction.
    """

    record: int
    tokens: Range


class _Blocks(NamedTuple):
    """The blocks of the regions of a contig, by start. (n,) each, 0-based and half-open."""

    starts: _Integers
    ends: _Integers
    records: _Integers
    furthest: _Integers
    """The last end up to each block."""


class RegionBlocks:
    """The bases of each region; regions may overlap.

    Args:
        regions: The file of the regions.
        table: The regions with their status, from ``tile``.

    Raises:
        InputError: A file cannot be read, or they do not belong together.
    """

    def __init__(self, regions: Path, table: Path) -> None:
        found: dict[str, list[tuple[int, int, int]]] = {}
        contigs = chain.from_iterable(
            batch.column(0).to_pylist() for batch in read_rows(table, ["reference_contig"])
        )
        lines = find_reader(regions)(regions)
        try:
            for record, (line, contig) in enumerate(zip(lines, contigs, strict=True)):
                if contig is not None and not isinstance(line, InvalidRecord):
                    found.setdefault(contig, []).extend((*one, record) for one in line.blocks)
        except ValueError as error:
            raise InputError(
                f"{shown_path(table)}: has other regions than {shown_path(regions)}. Delete its "
                "folder, and run again."
            ) from error
        self._contigs: dict[str, _Blocks] = {}
        for contig, blocks in found.items():
            starts, ends, records = np.array(sorted(blocks), dtype=np.int64).T
            self._contigs[contig] = _Blocks(starts, ends, records, np.maximum.accumulate(ends))

    def find(self, tile: Tile, contig_length: int) -> Iterator[RegionRange]:
        """The bases of each region that are taken from a window.

        Args:
            tile: The window.
            contig_length: Length of the contig, bases.
        """
        starts, ends, records, furthest = self._contigs[tile.reference_contig]
        turn = 0 if tile.pieces[0][0] >= tile.start else contig_length
        for first, last in tile.pieces:
            low = int(np.searchsorted(furthest, first, side="right"))
            high = int(np.searchsorted(starts, last))
            here = slice(low, high)
            begins = np.maximum(starts[here], first) + turn
            stops = np.minimum(ends[here], last) + turn
            if tile.strand == "forward":
                begins, stops = begins - tile.start, stops - tile.start
            else:
                begins, stops = tile.end - stops, tile.end - begins
            for record, begin, stop in zip(
                records[here].tolist(), begins.tolist(), stops.tolist(), strict=True
            ):
                if begin < stop:
                    yield RegionRange(record, (begin, stop))


class TileRanges(NamedTuple):
    """A window with its bases, and the bases of regions that are taken from it."""

    read: ReadTile
    ranges: tuple[RegionRange, ...]


def slice_ranges(
    tiles: Iterable[ReadTile], blocks: RegionBlocks, part_tokens: int, most_ranges: int
) -> Iterator[list[TileRanges]]:
    """Cut the windows of a shard into parts of about ``part_tokens`` tokens each.

    The cuts depend on the windows, the regions and the layers alone, so that a later job finds the
    same parts.

    Args:
        tiles: The windows.
        blocks: The regions.
        part_tokens: Number of tokens at which a part ends. Its last window may exceed it.
        most_ranges: Number of sums at which a part ends. Its last window may exceed it.

    Yields:
        The windows of each part, in order, never empty.
    """
    part: list[TileRanges] = []
    num_tokens = num_ranges = 0
    for read in tiles:
        if part and (num_tokens >= part_tokens or num_ranges >= most_ranges):
            yield part
            part, num_tokens, num_ranges = [], 0, 0
        part.append(TileRanges(read, tuple(blocks.find(read.tile, read.contig_length))))
        num_tokens += len(read.tokens)
        num_ranges += len(part[-1].ranges)
    if part:
        yield part


def list_rows(part: Iterable[TileRanges]) -> dict[tuple[int, Strand], int]:
    """The rows of a part: a region and a strand each, with the number of bases, in order."""
    found: dict[tuple[int, Strand], int] = {}
    for one in part:
        for record, (start, end) in one.ranges:
            key = record, one.read.tile.strand
            found[key] = found.get(key, 0) + end - start
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class TrackLayers:
    """The layers of a shard, and how a part of it and the shard are kept.

    A row has the sum of the outputs over the bases of a region that a strand takes from the windows
    of a part. So a region may have several rows. A sum that is not finite is null.

    Attributes:
        widths: Number of channels by published name of the layer.
    """

    widths: Mapping[str, int]
    name: str = "layers"

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the values, besides the signature."""
        return {"layers": sorted(self.widths)}

    @property
    def part_schema(self) -> pa.Schema:
        """The schema of the file of a part, and of a shard."""
        fields = [pa.field(name, pa.list_(pa.float32(), width)) for name, width in self._items]
        return pa.schema([*_INDEX, *fields])

    @property
    def batch_rows(self) -> int:
        """Rows that are in memory at once."""
        return rows_at_once(sum(self.widths.values()))

    @property
    def part_ranges(self) -> int:
        """Most sums of a part."""
        return max(1, PART_BYTES // (4 * sum(self.widths.values())))

    @property
    def _items(self) -> list[tuple[str, int]]:
        return sorted(self.widths.items())

    def dump(
        self, part: Iterable[TileRanges], found: Mapping[bytes, Mapping[Range, Mapping[str, Any]]]
    ) -> pa.Table:
        """The rows of the file of a part.

        Args:
            part: The windows and regions.
            found: The sum of each layer's output by tokens of a window and range.
        """
        part = list(part)
        rows = list_rows(part)
        places = {key: place for place, key in enumerate(rows)}
        columns: dict[str, pa.Array] = {
            RECORD: pa.array([record for record, _ in rows], pa.int64()),
            STRAND: pa.array([strand for _, strand in rows], pa.string()),
            BASES: pa.array(list(rows.values()), pa.int64()),
        }
        for layer, width in self._items:
            totals = np.zeros((len(rows), width), np.float64)
            for read, ranges in part:
                for record, one in ranges:
                    place = places[record, read.tile.strand]
                    totals[place] += found[read.tokens][one][layer]
            with np.errstate(over="ignore"):
                values = totals.astype(np.float32)
            present = np.asarray(np.isfinite(values).all(axis=1))
            values[~present] = 0
            columns[layer] = as_column(values, present)
        return pa.table(columns, schema=self.part_schema)
