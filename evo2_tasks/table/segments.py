"""The reference bases of a shard's windows: the segments file of the step ``windows``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import merge_intervals
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.parquet import (
    RowBuffer,
    open_table,
    read_metadata,
    read_rows,
    reading_table,
    write_table,
)
from evo2_tasks.table.provenance import PREFIX, package_version, require_source
from evo2_tasks.table.schema import SEGMENTS_COLUMNS, segments_schema

MAX_PIECE_BASES = 1 << 20

CACHED_ROW_GROUPS = 16


class Segments:
    """Random access to the merged reference intervals; a few row groups are kept in memory.

    Args:
        source: The segments file.

    Attributes:
        contigs: Length in bases of each reference contig, and whether the contig is circular.

    Raises:
        InputError: The file is missing or broken, or is not a segments file.
    """

    def __init__(self, source: Path) -> None:
        self.contigs: dict[str, tuple[int, bool]] = {}
        self._source = source
        self._starts: dict[str, list[int]] = {}
        self._places: dict[str, list[tuple[int, int, int]]] = {}  # end, row group, row in it
        with open_table(source, [column.name for column in SEGMENTS_COLUMNS]) as file:
            for row_group in range(file.num_row_groups):
                self._add_row_group(file, row_group)
        self._read = lru_cache(CACHED_ROW_GROUPS)(self._read_row_group)

    def fetch(self, reference_contig: str, start: int, end: int) -> str:
        """The bases of an interval, upper case.

        Args:
            reference_contig: Name of the contig in the reference.
            start: Start of the interval, 0-based.
            end: End of the interval, 0-based and exclusive, at most the length of the contig.

        Raises:
            InputError: The file does not contain the whole interval.
        """
        starts = self._starts.get(reference_contig, [])
        pieces = []
        at = start
        while at < end:
            i = bisect_right(starts, at) - 1
            if i < 0 or self._places[reference_contig][i][0] <= at:
                raise InputError(
                    f"{shown_path(self._source)}: does not contain "
                    f"{shown(reference_contig)}:{at + 1}-{end}. Run the step windows again."
                )
            stop, row_group, row = self._places[reference_contig][i]
            stop = min(stop, end)
            pieces.append(self._read(row_group)[row][at - starts[i] : stop - starts[i]])
            at = stop
        return "".join(pieces)

    def _add_row_group(self, file: pq.ParquetFile, row_group: int) -> None:
        names = ["reference_contig", "contig_length", "circular", "start", "end"]
        with reading_table(self._source):
            rows = file.read_row_group(row_group, columns=names, use_threads=False).to_pylist()
        for i, row in enumerate(rows):
            contig = row["reference_contig"]
            self.contigs[contig] = (row["contig_length"], row["circular"])
            self._starts.setdefault(contig, []).append(row["start"])
            self._places.setdefault(contig, []).append((row["end"], row_group, i))

    def _read_row_group(self, row_group: int) -> list[str]:
        with open_table(self._source) as file, reading_table(self._source):
            column = file.read_row_group(row_group, columns=["sequence"], use_threads=False)
        sequences: list[str] = column.column("sequence").to_pylist()
        return sequences


def read_contigs(source: Path) -> dict[str, tuple[int, bool]]:
    """Length in bases of each reference contig of a segments file, and whether it is circular.

    Raises:
        InputError: The file is missing or broken.
    """
    contigs: dict[str, tuple[int, bool]] = {}
    names = ["reference_contig", "contig_length", "circular"]
    for batch in read_rows(source, names):
        rows = pa.Table.from_batches([batch])
        rows = rows.set_column(0, names[0], rows.column(0).cast(pa.string()))
        for row in rows.group_by(names, use_threads=False).aggregate([]).to_pylist():
            contigs[row[names[0]]] = (row[names[1]], row[names[2]])
    return contigs


@contextmanager
def write_segments(
    reference: Reference,
    needed: Mapping[str, list[tuple[int, int]]],
    out: Path,
    *,
    source: str,
    reference_digest: str,
) -> Iterator[None]:
    """Write the bases of intervals of the reference; each base is written once.

    The file appears at the end of the body, if the body does not fail.

    Args:
        reference: The reference.
        needed: Intervals of each reference contig, 0-based and half-open.
        out: The segments file to write.
        source: SHA-256 of the windows file that needs these bases.
        reference_digest: GA4GH seqcol digest of the reference.
    """
    schema = segments_schema()
    metadata = {
        PREFIX + "version": package_version(),
        PREFIX + "source": source,
        PREFIX + "reference": reference_digest,
    }
    with write_table(out, schema, metadata=metadata, row_group_bytes=MAX_PIECE_BASES) as writer:
        rows = RowBuffer(writer, schema.names)
        for contig, intervals in needed.items():
            length, circular = reference.contigs[contig], reference.is_circular(contig)
            for start, end in merge_intervals(intervals, MAX_PIECE_BASES):
                bases = reference.fetch(contig, start, end)
                rows.add(contig, length, circular, start, end, bases)
        rows.flush()
        yield


def require_segments(
    segments_file: Path, windows_file: Path, source: str, reference_digest: str
) -> None:
    """Make sure that segments belong to a windows file.

    Args:
        segments_file: The segments.
        windows_file: The windows, for messages.
        source: SHA-256 of the windows file.
        reference_digest: GA4GH seqcol digest of the reference that the windows state.

    Raises:
        InputError: They belong to other windows or to another reference, or an earlier version
            wrote them, which did not state what they belong to.
    """
    stored = read_metadata(segments_file)
    if PREFIX + "source" not in stored:
        raise InputError(
            f"{shown_path(segments_file)}: an earlier version of evo2-tasks wrote this file, and "
            "it does not state which windows it belongs to. Delete it, so that `windows` runs "
            "again."
        )
    require_source(segments_file, stored[PREFIX + "source"], windows_file, source)
    stated = stored.get(PREFIX + "reference")
    require_source(segments_file, stated, "the reference", reference_digest)
