"""The read-outs of a shard in files: one row for each row of its windows.

Each file is of one layer of the model, or of the profiles. A pass of the model gives a record for
each pair of windows, which is one strand of an allele. A file of a shard has float32; the steps
that merge the shards make other data types of them.

D channels of a layer's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.layout import PROFILES, layer_file
from evo2_tasks.scoring.embeddings import EmbeddingRecord, Embeddings
from evo2_tasks.scoring.profiles import Profile, ProfileRecord
from evo2_tasks.scoring.readouts import ReadOut
from evo2_tasks.table.embeddings import (
    DELTA,
    MEANINGS,
    REF,
    as_column,
    embeddings_schema,
    rows_at_once,
    vectors_of,
)
from evo2_tasks.table.parquet import TableWriter, read_rows
from evo2_tasks.table.schema import ALLELE, RECORD, STRAND_SUFFIXES, Column, make_schema

if TYPE_CHECKING:
    from evo2_tasks.genome.window_pairs import Strand
    from evo2_tasks.scoring.readouts import Records
    from evo2_tasks.scoring.windows import WindowPair

ROW: Final = "row"
"""Row of the pair's allele in the shard, 0-based, in a file of a part."""
REVERSE: Final = "reverse"
"""Whether the pair is read on the reverse strand, in a file of a part."""

_PLACE: Final = (pa.field(ROW, pa.int64()), pa.field(REVERSE, pa.bool_()))

PROFILE: Final = "profile"
PROFILE_ROWS: Final = 10_000
"""Rows of profiles that are in memory at once."""


def profiles_schema(dtype: pa.DataType) -> pa.Schema:
    """The schema of a table of profiles.

    Args:
        dtype: Type of the differences.
    """
    return make_schema(describe_profiles(dtype))


def describe_profiles(dtype: pa.DataType) -> list[Column]:
    """The columns of a table of profiles; see :func:`profiles_schema`."""
    columns = [
        Column(
            PROFILE + suffix,
            pa.list_(dtype),
            f"{strand.capitalize()} strand, in reading direction: log-probability of each token of "
            "the alternate window minus that of the reference window, from the first difference "
            "on. First the tokens of the allele, then the downstream tokens that both windows "
            "have, then those that only one window has, at its end",
            unit="nats",
        )
        for strand, suffix in STRAND_SUFFIXES.items()
    ]
    return [RECORD, ALLELE, *columns]


READOUT_MEANINGS: Final[Mapping[str, str]] = {
    "table_digest": "SHA-256 of the table",
    "rows": "number of rows of the table",
    "filled": "number of rows with an embedding, or with the profile of a strand",
    "layer": "published name of the layer; not for profiles",
    "width": "number of channels of the layer; not for profiles",
    "tokens": "number of tokens that were averaged; most entries of a profile; not for embeddings "
    "of sequences and regions",
    "dtype": "data type of the values",
    "errors": "how the data type changes the values, by column: `largest` and `rms` (root mean "
    "square) of the differences from float32, and `smallest_cosine` between an embedding and its "
    "float32; absent for `float32`",
    "windows_run": "number of windows that went through the model for read-outs alone, of all "
    "layers and profiles that the last jobs made; 0 if all were made with the scores",
    "tokens_run": "number of tokens of these windows that went through the model",
    "wall_s": "seconds of these passes, summed over the jobs",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
}
"""Keys of the JSON files next to embeddings and profiles, and their meanings."""


class FileInParts(Protocol):
    """A file of a shard that is made part by part."""

    @property
    def name(self) -> str:
        """Name of the folder of its parts."""

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes its values, besides the signature of the scores."""

    @property
    def part_schema(self) -> pa.Schema:
        """The schema of the file of a part."""

    @property
    def batch_rows(self) -> int:
        """Rows that are in memory at once."""


class ReadoutFile(FileInParts, Protocol):
    """A file of the read-outs of a shard."""

    @property
    def file(self) -> str:
        """Its path in the folder of the read-outs."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of the file."""

    def dump(self, records: Records) -> dict[str, pa.Array]:
        """The columns of the file of a part, from the records of its pairs."""

    def join(
        self, num_rows: int, found: Mapping[Strand, pa.Table], strands: Sequence[Strand]
    ) -> dict[str, pa.Array]:
        """The columns of some rows of the file.

        Args:
            num_rows: Number of rows.
            found: The rows of parts by strand; ``row`` counts from the first of the rows.
            strands: The strands that the scoring asks for.
        """


@dataclass(frozen=True, slots=True)
class LayerFile:
    """The embeddings of a layer.

    Attributes:
        layer: Published name of the layer.
        width: Number of its channels.
        tokens: Number of tokens that are averaged.
        keep_strands: Whether the embeddings of each strand are kept.
    """

    layer: str
    width: int
    tokens: int
    keep_strands: bool

    @property
    def name(self) -> str:
        """Name of the folder of its parts."""
        return self.layer

    @property
    def file(self) -> str:
        """Its path in the folder of the read-outs."""
        return layer_file(self.layer)

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes its values, besides the signature of the scores."""
        return {"keep_strands": self.keep_strands, "layer": self.layer, "tokens": self.tokens}

    @property
    def part_schema(self) -> pa.Schema:
        """The schema of the file of a part."""
        kind = pa.list_(pa.float32(), self.width)
        return pa.schema([*_PLACE, *(pa.field(name, kind) for name in MEANINGS)])

    @property
    def schema(self) -> pa.Schema:
        """The schema of the file."""
        return embeddings_schema(self.width, "float32", strands=self.keep_strands)

    @property
    def batch_rows(self) -> int:
        """Rows that are in memory at once."""
        return rows_at_once(self.width, 4)

    def dump(self, records: Records) -> dict[str, pa.Array]:
        """The columns of the file of a part, from the records of its pairs."""
        found: list[EmbeddingRecord | None] = records.of(Embeddings((self.layer,), self.tokens))
        by_column = {
            REF: [None if one is None else one.ref.get(self.layer) for one in found],
            DELTA: [None if one is None else one.delta.get(self.layer) for one in found],
        }
        return {name: self._as_column(values) for name, values in by_column.items()}

    def _as_column(self, vectors: Sequence[npt.NDArray[np.float32] | None]) -> pa.Array:
        values = np.zeros((len(vectors), self.width), np.float32)
        present = np.zeros(len(vectors), dtype=bool)
        for row, vector in enumerate(vectors):
            if vector is not None:
                values[row] = vector
                present[row] = True
        return as_column(values, present)

    def join(
        self, num_rows: int, found: Mapping[Strand, pa.Table], strands: Sequence[Strand]
    ) -> dict[str, pa.Array]:
        """The columns of some rows: the mean of the asked strands, and each if it is kept."""
        columns: dict[str, pa.Array] = {}
        for name in MEANINGS:
            by_strand = {
                strand: _place_vectors(found.get(strand), name, num_rows, self.width)
                for strand in STRAND_SUFFIXES
            }
            # Halves are added, so that no sum of large numbers is infinite.
            share = np.float32(1 / len(strands))
            mean = np.zeros((num_rows, self.width), np.float32)
            present = np.ones(num_rows, dtype=bool)
            for strand in strands:
                values, has_values = by_strand[strand]
                mean += values * share
                present &= has_values
            mean[~present] = 0
            columns[name] = as_column(mean, present)
            if self.keep_strands:
                for strand, suffix in STRAND_SUFFIXES.items():
                    columns[name + suffix] = as_column(*by_strand[strand])
        return columns


def _place_vectors(
    rows: pa.Table | None, name: str, num_rows: int, width: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The vectors of one strand at their rows. (N, D), (N,)."""
    values = np.zeros((num_rows, width), np.float32)
    present = np.zeros(num_rows, dtype=bool)
    if rows is not None and rows.num_rows:
        found, has_values = vectors_of(rows.column(name).combine_chunks())
        places = rows.column(ROW).to_numpy()[has_values]
        values[places] = found[has_values]
        present[places] = True
    return values, present


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """The profiles.

    Attributes:
        tokens: Number of entries of a profile.
    """

    tokens: int

    @property
    def name(self) -> str:
        """Name of the folder of its parts."""
        return PROFILE

    @property
    def file(self) -> str:
        """Its path in the folder of the read-outs."""
        return PROFILES

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes its values, besides the signature of the scores."""
        return {"profile": self.tokens}

    @property
    def part_schema(self) -> pa.Schema:
        """The schema of the file of a part."""
        return pa.schema([*_PLACE, pa.field(PROFILE, pa.list_(pa.float32()))])

    @property
    def schema(self) -> pa.Schema:
        """The schema of the file."""
        return profiles_schema(pa.float32())

    @property
    def batch_rows(self) -> int:
        """Rows that are in memory at once."""
        return PROFILE_ROWS

    def dump(self, records: Records) -> dict[str, pa.Array]:
        """The column of the file of a part, from the records of its pairs."""
        found: list[ProfileRecord | None] = records.of(Profile(self.tokens))
        values = [None if one is None else one.values for one in found]
        return {PROFILE: pa.array(values, pa.list_(pa.float32()))}

    def join(
        self,
        num_rows: int,
        found: Mapping[Strand, pa.Table],
        strands: Sequence[Strand],
    ) -> dict[str, pa.Array]:
        """The columns of some rows: the profile of each strand."""
        columns = {}
        for strand, suffix in STRAND_SUFFIXES.items():
            rows = found.get(strand)
            kind = pa.list_(pa.float32())
            if rows is None or not rows.num_rows:
                columns[PROFILE + suffix] = pa.nulls(num_rows, kind)
                continue
            indices = np.full(num_rows, -1, dtype=np.int64)
            indices[rows.column(ROW).to_numpy()] = np.arange(rows.num_rows)
            taken = pa.array(indices, mask=indices < 0)
            columns[PROFILE + suffix] = rows.column(PROFILE).combine_chunks().take(taken)
        return columns


def serves(found: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> bool:
    """Whether a file that was made with some settings has what others ask for.

    A file with the strands is good for a config that does not ask for them, and a longer profile
    for one that asks for a shorter one.

    Args:
        found: The settings in the metadata of the file.
        asked: ``ReadoutFile.settings``.
    """
    if found is None or found.keys() != asked.keys():
        return False
    longer = {"keep_strands", PROFILE}
    return all(
        found[key] >= value if key in longer else found[key] == value
        for key, value in asked.items()
        if isinstance(found[key], type(value)) or found[key] == value
    ) and all(isinstance(found[key], type(value)) for key, value in asked.items())


def choose_readouts(files: Iterable[ReadoutFile]) -> list[ReadOut[Any]]:
    """The read-outs of a pass that give some files."""
    files = list(files)
    layers = [one for one in files if isinstance(one, LayerFile)]
    chosen: list[ReadOut[Any]] = []
    if layers:
        chosen.append(Embeddings(tuple(one.layer for one in layers), layers[0].tokens))
    chosen += [Profile(one.tokens) for one in files if isinstance(one, ProfileFile)]
    return chosen


def dump_part(one: ReadoutFile, pairs: Sequence[WindowPair], records: Records) -> pa.Table:
    """The rows of the file of a part: one for each pair, in order."""
    place = {
        ROW: pa.array([pair.row for pair in pairs], pa.int64()),
        REVERSE: pa.array([pair.strand == "reverse" for pair in pairs], pa.bool_()),
    }
    return pa.table({**place, **one.dump(records)}, schema=one.part_schema)


def write_shard(
    one: ReadoutFile,
    windows_file: Path,
    parts: Iterator[pa.Table],
    strands: Sequence[Strand],
    writer: TableWriter,
) -> None:
    """Write one row for each row of a windows file, in the same order.

    Args:
        one: The file to write.
        windows_file: The file that ``windows`` wrote.
        parts: Rows of the files of all parts, in order.
        strands: The strands that the scoring asks for.
        writer: The table.

    Raises:
        InputError: A file cannot be read or written.
    """
    pending: pa.Table | None = next(parts, None)
    first = 0
    for keys in read_rows(windows_file, [RECORD.name, ALLELE.name], batch_rows=one.batch_rows):
        end = first + keys.num_rows
        found: list[pa.Table] = []
        while pending is not None:
            count = int(np.searchsorted(pending.column(ROW).to_numpy(), end))
            found.append(pending.slice(0, count))
            if count < pending.num_rows:
                pending = pending.slice(count)
                break
            pending = next(parts, None)
        columns = {name: keys.column(name) for name in (RECORD.name, ALLELE.name)}
        columns |= one.join(keys.num_rows, _by_strand(found, first), strands)
        writer.write(pa.table(columns))
        first = end


def _by_strand(found: Sequence[pa.Table], first: int) -> dict[Strand, pa.Table]:
    """Rows of parts by strand; ``row`` counts from the first row that is written."""
    if not found:
        return {}
    rows = pa.concat_tables(found)
    place = rows.schema.get_field_index(ROW)
    rows = rows.set_column(place, _PLACE[0], pc.subtract(rows.column(ROW), first))
    is_reverse = rows.column(REVERSE)
    return {"forward": rows.filter(pc.invert(is_reverse)), "reverse": rows.filter(is_reverse)}
