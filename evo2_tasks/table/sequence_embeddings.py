"""The embeddings of sequences: of a part, of a shard, and the table of a layer.

D channels of a layer's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.sequences import SequenceToScore
from evo2_tasks.table.embeddings import (
    TYPES,
    Vectors,
    as_column,
    is_embedding,
    read_scales,
    rows_at_once,
    vectors_of,
)
from evo2_tasks.table.parquet import TableWriter, open_table, read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES, Column, make_schema
from evo2_tasks.table.sequence_schema import LENGTH, RECORD, SEQUENCE

EMBEDDING: Final = "embedding"
KEYS: Final = (RECORD, SEQUENCE, LENGTH)
PART_BYTES: Final = 64 * 2**20
"""Embeddings of a part that are in memory at once, about."""

_ROW = pa.field("row", pa.int64(), nullable=False)

LayerMeans = Mapping[str, npt.NDArray[np.float32]]
"""The mean output of each layer on one strand, without those that are not finite. (D,)"""


def describe_sequence_embeddings(width: int, dtype: str, *, strands: bool) -> list[Column]:
    """The columns of the table of a layer.

    Args:
        width: Number of channels.
        dtype: Data type of the values, a key of ``TYPES``.
        strands: Whether it has the embeddings of each strand too.
    """
    return [*KEYS, *describe_means(width, dtype, of="sequence", strands=strands)]


def describe_means(width: int, dtype: str, *, of: str, strands: bool) -> list[Column]:
    """The columns with the mean outputs of a layer.

    Args:
        width: Number of channels.
        dtype: Data type of the values, a key of ``TYPES``.
        of: What the bases belong to, for the descriptions.
        strands: Whether there are columns of each strand too.
    """
    reading = {"": "mean of the strands that the scoring asks for"}
    if strands:
        reading |= {suffix: f"{strand} strand" for strand, suffix in STRAND_SUFFIXES.items()}
    return [
        Column(
            EMBEDDING + suffix,
            pa.list_(TYPES[dtype], width),
            f"Mean output of the layer over the bases of the {of}; {words}",
        )
        for suffix, words in reading.items()
    ]


def sequence_embeddings_schema(width: int, dtype: str, *, strands: bool) -> pa.Schema:
    """The schema of the table of a layer; see :func:`describe_sequence_embeddings`."""
    return make_schema(describe_sequence_embeddings(width, dtype, strands=strands))


def has_sequence_embeddings(schema: pa.Schema) -> bool:
    """Whether a table is one of embeddings of sequences or of regions."""
    return EMBEDDING in schema.names and is_embedding(schema.field(EMBEDDING).type)


@dataclass(frozen=True, slots=True)
class SequenceLayers:
    """The layers of a shard, and how a part of it is kept.

    Attributes:
        widths: Number of channels by published name of the layer.
        strands: The asked strands.
    """

    widths: Mapping[str, int]
    strands: tuple[Strand, ...]
    name: str = "layers"

    @property
    def columns(self) -> dict[str, tuple[str, Strand]]:
        """The layer and the strand of each column of a part and of a shard."""
        return {
            layer + STRAND_SUFFIXES[strand]: (layer, strand)
            for layer in self.widths
            for strand in self.strands
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the values, besides the signature."""
        return {"layers": sorted(self.widths)}

    @property
    def _fields(self) -> list[pa.Field]:
        return [
            pa.field(name, pa.list_(pa.float32(), self.widths[layer]))
            for name, (layer, _) in self.columns.items()
        ]

    @property
    def part_schema(self) -> pa.Schema:
        """The schema of the file of a part."""
        return pa.schema([_ROW, *self._fields])

    @property
    def schema(self) -> pa.Schema:
        """The schema of the file of a shard."""
        return pa.schema([*make_schema(KEYS), *self._fields])

    @property
    def batch_rows(self) -> int:
        """Rows that are in memory at once."""
        return rows_at_once(self._width)

    @property
    def part_rows(self) -> int:
        """Most sequences of a part."""
        return max(1, PART_BYTES // (4 * self._width))

    @property
    def _width(self) -> int:
        return sum(self.widths.values()) * len(self.strands)

    def dump(
        self, part: Sequence[SequenceToScore], found: Sequence[Mapping[Strand, LayerMeans]]
    ) -> pa.Table:
        """The rows of the file of a part.

        Args:
            part: The sequences.
            found: The mean outputs of each.
        """
        columns: dict[str, pa.Array] = {_ROW.name: pa.array([one.row for one in part], pa.int64())}
        for name, (layer, strand) in self.columns.items():
            values = np.zeros((len(part), self.widths[layer]), np.float32)
            present = np.zeros(len(part), dtype=bool)
            for row, by_strand in enumerate(found):
                mean = by_strand[strand].get(layer)
                if mean is not None:
                    values[row], present[row] = mean, True
            columns[name] = as_column(values, present)
        return pa.table(columns, schema=self.part_schema)


def write_shard(
    layers: SequenceLayers, shard: Path, parts: Iterator[pa.Table], writer: TableWriter
) -> None:
    """Write one row for each row of a shard, in the same order.

    Args:
        layers: The layers.
        shard: The shard, from ``split_sequences``.
        parts: Rows of the files of all parts, in order.
        writer: The file of the shard.

    Raises:
        InputError: A file cannot be read or written.
    """
    names = [one.name for one in KEYS]
    pending: pa.Table | None = next(parts, None)
    first = 0
    for keys in read_rows(shard, names, batch_rows=layers.batch_rows):
        end = first + keys.num_rows
        found = [layers.part_schema.empty_table()]
        while pending is not None:
            count = int(np.searchsorted(pending.column(_ROW.name).to_numpy(), end))
            found.append(pending.slice(0, count))
            if count < pending.num_rows:
                pending = pending.slice(count)
                break
            pending = next(parts, None)
        rows = pa.concat_tables(found).combine_chunks()
        places = rows.column(_ROW.name).to_numpy() - first
        columns = {name: keys.column(name) for name in names}
        for name, (layer, _) in layers.columns.items():
            values = np.zeros((keys.num_rows, layers.widths[layer]), np.float32)
            present = np.zeros(keys.num_rows, dtype=bool)
            if rows.num_rows:
                own, has_own = vectors_of(rows.column(name).combine_chunks())
                values[places], present[places] = own, has_own
            columns[name] = as_column(values, present)
        writer.write(pa.table(columns, schema=layers.schema))
        first = end


def join_strands(
    rows: pa.RecordBatch, layer: str, strands: Sequence[Strand], *, keep_strands: bool
) -> dict[str, tuple[Vectors, npt.NDArray[np.bool_]]]:
    """The embeddings of a layer by column: values, zero where there are none, and where some are.

    Args:
        rows: Rows of the file of a shard.
        layer: Published name of the layer.
        strands: The asked strands.
        keep_strands: Whether there are columns of each strand too. That of a strand that is not
            asked for has no values.
    """
    found = {strand: vectors_of(rows.column(layer + STRAND_SUFFIXES[strand])) for strand in strands}
    return combine_means(found, keep_strands=keep_strands)


def combine_means(
    found: Mapping[Strand, tuple[Vectors, npt.NDArray[np.bool_]]], *, keep_strands: bool
) -> dict[str, tuple[Vectors, npt.NDArray[np.bool_]]]:
    """The columns of some rows from the embeddings of the asked strands.

    Args:
        found: For each asked strand, the values, zero where there are none, and where some are.
        keep_strands: Whether there are columns of each strand too.
    """
    share = np.float32(1 / len(found))
    values: list[Vectors] = [one for one, _ in found.values()]
    # Halves are added, so that no sum of large numbers is infinite.
    mean = values[0] * share
    for other in values[1:]:
        mean = mean + other * share
    present = np.logical_and.reduce([one for _, one in found.values()])
    mean[~present] = 0
    columns = {EMBEDDING: (mean, present)}
    if keep_strands:
        none = np.zeros_like(mean), np.zeros_like(present)
        for strand, suffix in STRAND_SUFFIXES.items():
            columns[EMBEDDING + suffix] = found.get(strand, none)
    return columns


class SequenceEmbeddingRows(NamedTuple):
    """Some rows of the table of a layer.

    Attributes:
        record: Number of the record in the FASTA, or of the line of the regions, 0-based. (n,)
        embedding: The embeddings, NaN in rows without one. (n, D)
    """

    record: npt.NDArray[np.int64]
    embedding: Vectors


def read_sequence_embeddings(path: Path) -> Iterator[SequenceEmbeddingRows]:
    """Read the embeddings of sequences or regions piece by piece, in order, as float32.

    Args:
        path: A table of ``merge_sequence_embeddings`` or ``merge_track_embeddings``.

    Raises:
        InputError: The file is missing or broken, or is not such a table.
    """
    with open_table(path, [RECORD.name, EMBEDDING]) as file:
        schema = file.schema_arrow
    if not has_sequence_embeddings(schema):
        raise InputError(
            f"{shown_path(path)}: {EMBEDDING} has no lists of {', '.join(TYPES)}. Expected a table "
            "that `merge_sequence_embeddings` or `merge_track_embeddings` wrote."
        )
    width: int = schema.field(EMBEDDING).type.list_size
    scale = read_scales(path, width).get(EMBEDDING)
    for rows in read_rows(path, [RECORD.name, EMBEDDING], batch_rows=rows_at_once(width)):
        stored, present = vectors_of(rows.column(EMBEDDING))
        values = stored.astype(np.float32)
        if scale is not None:
            values *= scale
        values[~present] = np.nan
        yield SequenceEmbeddingRows(rows.column(RECORD.name).to_numpy().astype(np.int64), values)
