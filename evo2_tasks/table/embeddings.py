"""Tables of embeddings: their columns, their data types, and how they are read.

D channels of a layer's output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX
from evo2_tasks.table.schema import ALLELE, RECORD, STRAND_SUFFIXES, Column, make_schema

Vectors = npt.NDArray[np.float32]  # (n, D)

REF: Final = "ref_embedding"
DELTA: Final = "delta_embedding"
MEANINGS: Final[Mapping[str, str]] = {
    REF: "Mean output of the layer over the first tokens of the reference window that have a "
    "counterpart in the alternate window, from the first difference on",
    DELTA: "The same mean of the alternate window minus that of the reference window",
}
"""The two embeddings of an allele."""

TYPES: Final[Mapping[str, pa.DataType]] = {
    "float32": pa.float32(),
    "float16": pa.float16(),
    "int8": pa.int8(),
}
"""Arrow types of the values, by the name in the config."""

MOST_INT8: Final = 127

SCALES: Final = f"{PREFIX}scales"
"""Key of the metadata with the scale of each channel, of a table of ``int8``."""

PIECE_BYTES: Final = 16 * 2**20
"""Embeddings that are in memory at once, about."""


def embedding_columns(*, strands: bool) -> list[str]:
    """The columns of embeddings.

    Args:
        strands: Whether those of each strand are among them.
    """
    suffixes = ["", *(STRAND_SUFFIXES.values() if strands else ())]
    return [name + suffix for suffix in suffixes for name in MEANINGS]


def embeddings_schema(width: int, dtype: str, *, strands: bool) -> pa.Schema:
    """The schema of a table of embeddings.

    Args:
        width: Number of channels.
        dtype: Data type of the values, a key of ``TYPES``.
        strands: Whether it has the embeddings of each strand too.
    """
    return make_schema(describe_embeddings(width, dtype, strands=strands))


def describe_embeddings(width: int, dtype: str, *, strands: bool) -> list[Column]:
    """The columns of a table of embeddings; see :func:`embeddings_schema`."""
    kind = pa.list_(TYPES[dtype], width)
    reading = {
        "": "mean of the strands that the scoring asks for",
        **{suffix: f"{strand} strand" for strand, suffix in STRAND_SUFFIXES.items()},
    }
    columns = [
        Column(name, kind, f"{MEANINGS[base]}; {reading[name.removeprefix(base)]}")
        for name in embedding_columns(strands=strands)
        for base in [REF if name.startswith(REF) else DELTA]
    ]
    return [RECORD, ALLELE, *columns]


def rows_at_once(width: int, num_columns: int = 2) -> int:
    """Rows of float32 embeddings to hold in memory at once."""
    return max(1, PIECE_BYTES // (4 * width * num_columns))


def vectors_of(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The values of a column of embeddings, and which rows have them.

    Args:
        column: A column of fixed-size lists.

    Returns:
        The values, zero where there is none (n, D), and whether each row has some (n,).
    """
    width = column.type.list_size
    values = column.values.slice(column.offset * width, len(column) * width)
    numbers = values.to_numpy(zero_copy_only=False).reshape(-1, width)
    present = column.is_valid().to_numpy(zero_copy_only=False)
    if not present.all():
        numbers = numbers.copy()
        numbers[~present] = 0
    return numbers, present


def as_column(values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> pa.Array:
    """A column of embeddings.

    Args:
        values: The values. (n, D)
        present: Whether each row has them. (n,)
    """
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    mask = None if present.all() else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)


# --- reading


class EmbeddingRows(NamedTuple):
    """Some rows of a table of embeddings.

    Attributes:
        record: Line of the input, 0-based. (n,)
        allele: Number of the ALT allele in its line. (n,)
        ref: Embedding of the reference, NaN in rows without one. (n, D)
        delta: Embedding of the alternate allele minus ``ref``, NaN in rows without one. (n, D)
    """

    record: npt.NDArray[np.int64]
    allele: npt.NDArray[np.int64]
    ref: Vectors
    delta: Vectors


def read_embeddings(path: Path, *, batch_rows: int | None = None) -> Iterator[EmbeddingRows]:
    """Read the embeddings of a table piece by piece, in the order of its rows, as float32.

    Args:
        path: A table of ``merge_embeddings``, of any data type.
        batch_rows: Most rows of a piece. Default: as many as have about 16 MB.

    Raises:
        InputError: The file is missing or broken, or is not a table of embeddings.
    """
    width = read_width(path)
    scales = read_scales(path, width)
    pieces = read_rows(
        path, [RECORD.name, ALLELE.name, REF, DELTA], batch_rows=batch_rows or rows_at_once(width)
    )
    for batch in pieces:
        ref, delta = (_as_float32(batch.column(name), scales.get(name)) for name in (REF, DELTA))
        record, allele = (
            batch.column(name).to_numpy().astype(np.int64) for name in (RECORD.name, ALLELE.name)
        )
        yield EmbeddingRows(record, allele, ref, delta)


def read_width(path: Path) -> int:
    """Number of channels of a table of embeddings.

    Raises:
        InputError: The file is missing or broken, or is not a table of embeddings.
    """
    with open_table(path, [RECORD.name, ALLELE.name, REF, DELTA]) as file:
        kinds = [file.schema_arrow.field(name).type for name in (REF, DELTA)]
    if kinds[0] != kinds[1] or not is_embedding(kinds[0]):
        raise InputError(
            f"{shown_path(path)}: {REF} and {DELTA} are not lists of {', '.join(TYPES)} of one "
            "size. Expected a table that `merge_embeddings` wrote."
        )
    width: int = kinds[0].list_size
    return width


def is_embedding(kind: pa.DataType) -> bool:
    """Whether a type is that of a column of embeddings."""
    return bool(pa.types.is_fixed_size_list(kind)) and kind.value_type in TYPES.values()


def read_scales(path: Path, width: int) -> dict[str, Vectors]:
    """The scale of each channel by column; empty unless the values are ``int8``. (D,).

    Raises:
        InputError: The values are ``int8``, and the scales are missing or broken.
    """
    with open_table(path) as file:
        names = [one.name for one in file.schema_arrow if is_embedding(one.type)]
        has_scales = file.schema_arrow.field(names[0]).type.value_type == pa.int8()
    if not has_scales:
        return {}
    try:
        stored = json.loads(read_metadata(path)[SCALES])
        scales = {name: np.array(stored[name], dtype=np.float32) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown_path(path)}: {SCALES} in the metadata has no scale of each channel. Run "
            "`merge_embeddings` again."
        ) from error
    for name, one in scales.items():
        if one.shape != (width,) or not np.isfinite(one).all():
            raise InputError(
                f"{shown_path(path)}: {SCALES} in the metadata has not {width:,} scales of {name}. "
                "Run `merge_embeddings` again."
            )
    return scales


def _as_float32(column: pa.Array, scale: Vectors | None) -> Vectors:
    stored, present = vectors_of(column)
    values = stored.astype(np.float32)
    if scale is not None:
        values *= scale
    values[~present] = np.nan
    return values


# --- narrowing


class Narrowing:
    """Writes float32 as another data type, and measures the error.

    Args:
        dtype: Data type, a key of ``TYPES``.
        largest: For ``int8``, the largest absolute value of each channel. (D,)
    """

    def __init__(self, dtype: str, largest: Vectors | None = None) -> None:
        self._dtype = dtype
        self.scale: Vectors | None = None
        if dtype == "int8":
            if largest is None:
                raise ValueError("int8 needs the largest value of each channel")
            # The quotient of a tiny number may be 0; its channel is then 0 too.
            self.scale = (largest / np.float32(MOST_INT8)).astype(np.float32)
        self.error = NarrowingError()

    def narrow(self, values: Vectors, present: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """The values in the data type. (n, D).

        Args:
            values: Embeddings, zero in rows without any. (n, D)
            present: Whether each row has an embedding. (n,)
        """
        if self._dtype == "float32":
            return values
        narrow: npt.NDArray[Any]
        if self.scale is None:
            narrow = values.astype(np.float16)
            wide = narrow.astype(np.float32)
        else:
            divisor = np.where(self.scale > 0, self.scale, np.float32(1))
            rounded = np.rint(values / divisor)
            narrow = np.clip(rounded, -MOST_INT8, MOST_INT8).astype(np.int8)
            wide = narrow.astype(np.float32) * self.scale
        self.error.add(values[present], wide[present])
        return narrow


class NarrowingError:
    """How narrower values differ from float32."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.smallest_cosine: float | None = None
        self._squares = 0.0
        self._number = 0

    @property
    def rms(self) -> float:
        """Root mean square of the differences."""
        return math.sqrt(self._squares / self._number) if self._number else 0.0

    def add(self, exact: Vectors, narrow: Vectors) -> None:
        """Count some rows. A row of zeros has no cosine.

        Args:
            exact: The values in float32. (n, D)
            narrow: The values that the file gives. (n, D)
        """
        if not exact.size:
            return
        self.add_values(exact, narrow)
        one, other = exact.astype(np.float64), narrow.astype(np.float64)
        norms = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
        asked = norms[0] > 0
        if asked.any():
            product = norms[0] * norms[1]
            dots = np.einsum("ij,ij->i", one, other)
            cosines = np.divide(dots, product, out=np.zeros_like(dots), where=product > 0)
            smallest = min(1.0, float(cosines[asked].min()))
            known = self.smallest_cosine
            self.smallest_cosine = smallest if known is None else min(known, smallest)

    def add_values(self, exact: Vectors, narrow: Vectors) -> None:
        """Count some values that are no embeddings, which have no cosine.

        Args:
            exact: The values in float32.
            narrow: The values that the file gives.
        """
        if exact.size:
            differences = np.abs(exact.astype(np.float64) - narrow.astype(np.float64))
            self.largest = max(self.largest, float(differences.max()))
            self._squares += float(np.square(differences).sum())
            self._number += differences.size


def scales_metadata(scales: Mapping[str, Vectors]) -> dict[str, str]:
    """The metadata of a table of ``int8``.

    Args:
        scales: The scale of each channel by column. (D,)
    """
    # The shortest decimal that is read back as the same float32.
    texts = {name: [float(str(one)) for one in scale] for name, scale in scales.items()}
    return {SCALES: json.dumps(texts, separators=(",", ":"), allow_nan=False)}


def find_too_large(
    values: Vectors, records: Sequence[int], alleles: Sequence[int]
) -> tuple[int, int, float] | None:
    """The first value that ``float16`` cannot hold: its record, its allele and the value.

    Args:
        values: Embeddings. (n, D)
        records: Record of each row. (n,)
        alleles: Allele of each row. (n,)
    """
    with np.errstate(over="ignore"):
        is_too_large = np.isinf(values.astype(np.float16))
    if not is_too_large.any():
        return None
    row, channel = (int(one[0]) for one in np.nonzero(is_too_large))
    return int(records[row]), int(alleles[row]), float(values[row, channel])
