"""Several scorings of a variant set in one table, and ensembles of their scores.

The tables of the scorings have the same alleles in the same order. So they are read side by side,
piece by piece. The ensembles need the scores of all rows: they take 8 bytes for each allele and
scoring, whatever else the tables hold.

Shapes: K scorings, N rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.documents import Combination
from evo2_tasks.table.parquet import TableWriter, count_rows, open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX
from evo2_tasks.table.schema import (
    ALLELE,
    ALT,
    CONTIG,
    FINAL_COLUMNS,
    POS,
    RECORD,
    REF,
    REFERENCE_CONTIG,
    STATUS,
    Column,
    annotation_columns,
    carried_names,
    make_schema,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ALLELE_COLUMNS: Final = (RECORD, ALLELE, CONTIG, REFERENCE_CONTIG, POS, REF, ALT)
"""Columns of the allele, which are the same in the tables of all scorings."""

SAME: Final = tuple(column.name for column in ALLELE_COLUMNS if column is not REFERENCE_CONTIG)
"""Columns that have to be the same in all tables of a variant set: of another file of variants, the
numbers of records and alleles may be the same, but not the alleles."""

MEMBER_COLUMNS: Final = tuple(
    column
    for column in FINAL_COLUMNS
    if column.name in ("status", "llr", "llr_aligned", "llr_fwd", "llr_rev")
)
"""Columns of each scoring, whose names get the name of the scoring before them."""

RANK_MEAN: Final = "rank_mean"
Z_MEAN: Final = "z_mean"

ENSEMBLES: Final[Mapping[str, Column]] = MappingProxyType(
    {
        RANK_MEAN: Column(
            RANK_MEAN,
            pa.float64(),
            "Mean over the scorings of the quantile of the allele's score: (number of lower scores "
            "+ half of the number of equal ones) / n, among the n alleles that have the score in "
            "all scorings. Low means harmful, as for `llr`. Null unless `status` is `scored`",
        ),
        Z_MEAN: Column(
            Z_MEAN,
            pa.float64(),
            "Mean over the scorings of the z score: (score - mean) / standard deviation, among the "
            "alleles that have the score in all scorings. Low means harmful, as for `llr`. Null "
            "unless `status` is `scored`, and in all rows if the scores of a scoring are all equal",
        ),
    }
)
"""The ensembles, in the order of their columns."""

_STATUS: Final = replace(
    STATUS,
    description="`scored` if the allele is scored in all scorings; else the first other status in "
    "the order of the scorings",
)

FIXED_COLUMNS: Final = (*ALLELE_COLUMNS, _STATUS)
"""The first columns of a combined table."""


_SUMMED: Final = 100_000
"""Numbers of a sum that are Python numbers at the same time."""

_NEEDED: Final = frozenset(column.name for column in (*ALLELE_COLUMNS, *MEMBER_COLUMNS))
"""Columns that each table must have."""


def member_column(scoring: str, name: str) -> str:
    """The column of a scoring: ``mini-2k.llr`` for ``llr`` of ``mini-2k``."""
    return f"{scoring}.{name}"


def combined_columns(scorings: Sequence[str], ensembles: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a combined table before the annotations and the carried columns.

    Args:
        scorings: Names of the scorings.
        ensembles: Names of the ensembles.
    """
    of_scorings = (
        replace(
            column,
            name=member_column(scoring, column.name),
            description=f"`{column.name}` of the scoring `{scoring}`",
        )
        for scoring in scorings
        for column in MEMBER_COLUMNS
    )
    asked = (column for name, column in ENSEMBLES.items() if name in ensembles)
    return (*FIXED_COLUMNS, *of_scorings, *asked)


def read_combination(table: Path) -> Combination | None:
    """What a combined table states about its scorings; None for another table.

    Raises:
        InputError: The file is missing or broken, or what it states cannot be read.
    """
    text = read_metadata(table).get(PREFIX + "combination")
    if text is None:
        return None
    return Combination.parse_text(text, f"{shown_path(table)}: {PREFIX}combination in the metadata")


def read_together(
    tables: Sequence[Path], names: Sequence[str], *, first_names: Sequence[str] = ()
) -> Iterator[tuple[pa.RecordBatch, ...]]:
    """Read several tables of one variant set side by side.

    Args:
        tables: Tables that ``merge`` wrote, with the same alleles in the same order.
        names: Columns to read besides ``SAME``.
        first_names: Columns to read of the first table alone.

    Yields:
        A piece of each table, all of the same rows.

    Raises:
        InputError: A table cannot be read, or the tables have different alleles.
    """
    batches = [
        read_rows(path, [*dict.fromkeys([*SAME, *names, *(() if number else first_names)])])
        for number, path in enumerate(tables)
    ]
    pending: list[pa.RecordBatch | None] = [None for _ in tables]
    while True:
        pending = [
            next((one for one in rows if one.num_rows), None) if piece is None else piece
            for piece, rows in zip(pending, batches, strict=True)
        ]
        pieces = [piece for piece in pending if piece is not None]
        if not pieces:
            return
        num_rows = min(piece.num_rows for piece in pieces)
        pieces = [piece.slice(0, num_rows) for piece in pieces]
        if len(pieces) < len(tables):
            ended = tables[pending.index(None)]
            other = next(path for path, piece in zip(tables, pending, strict=True)
                         if piece is not None)  # fmt: skip
            raise _other_alleles(ended, other, pieces[0], 0)
        for path, piece in zip(tables[1:], pieces[1:], strict=True):
            if any(not _values(pieces[0], name).equals(_values(piece, name)) for name in SAME):
                row = _find_difference(pieces[0], piece)
                raise _other_alleles(tables[0], path, pieces[0], row)
        yield tuple(pieces)
        pending = [_rest(piece, num_rows) for piece in pending if piece is not None]


def _rest(piece: pa.RecordBatch, start: int) -> pa.RecordBatch | None:
    """The rows of a piece from a row on; None if there are none."""
    return piece.slice(start) if piece.num_rows > start else None


def _values(rows: pa.RecordBatch, name: str) -> pa.Array:
    """The values of a column, without the dictionary, which may differ between two tables."""
    column = rows.column(name)
    is_coded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def _find_difference(one: pa.RecordBatch, other: pa.RecordBatch) -> int:
    """The first row whose allele is not the same in both pieces, which differ."""
    pairs = zip(*(piece.select(SAME).to_pylist() for piece in (one, other)), strict=True)
    return next(row for row, (first, second) in enumerate(pairs) if first != second)


def _other_alleles(one: Path, other: Path, rows: pa.RecordBatch, row: int) -> InputError:
    place = ", ".join(
        f"{column.name} {rows.column(column.name)[row]}" for column in (RECORD, ALLELE)
    )
    return InputError(
        f"{shown_path(one)} and {shown_path(other)}: their alleles differ: they are of different "
        f"runs (the first difference is at {place}). Run `merge` again."
    )


@dataclass(frozen=True, slots=True)
class Ensembles:
    """What the ensembles of an allele need to know of all alleles.

    Attributes:
        num_rows: Alleles that have the score in all scorings.
        ranked: Their scores in rising order; no columns unless ``rank_mean`` is asked for. (K, N)
        means: Mean of the scores of each scoring. (K,)
        deviations: Their standard deviation, from the sum of squares divided by N. (K,)
        reasons: The ensembles that are asked for, and why no row has one; empty if rows have it.
    """

    num_rows: int
    ranked: FloatArray
    means: FloatArray
    deviations: FloatArray
    reasons: Mapping[str, str]

    def compute(self, name: str, scores: FloatArray) -> pa.Array:
        """An ensemble of some rows.

        Args:
            name: One of ``ENSEMBLES``.
            scores: The score of each scoring; NaN where the row lacks the score of one. (K, N)
        """
        is_scored = np.isfinite(scores).all(axis=0) & (not self.reasons[name])
        values = np.full(scores.shape[1], np.nan)
        if name == RANK_MEAN:
            values[is_scored] = self._rank(scores[:, is_scored])
        else:
            values[is_scored] = self._standardize(scores[:, is_scored])
        return pa.array(values, pa.float64(), mask=~is_scored)

    def _rank(self, scores: FloatArray) -> FloatArray:
        """The mean quantile of each of N rows."""
        # Whole numbers, so that the order of the scorings does not matter.
        twice = np.zeros(scores.shape[1], dtype=np.int64)
        for ranked, of_scoring in zip(self.ranked, scores, strict=True):
            twice += np.searchsorted(ranked, of_scoring, side="left")
            twice += np.searchsorted(ranked, of_scoring, side="right")
        return twice / (2 * self.num_rows * len(scores))

    def _standardize(self, scores: FloatArray) -> FloatArray:
        """The mean z score of each of N rows."""
        z = (scores - self.means[:, np.newaxis]) / self.deviations[:, np.newaxis]
        # Sorted, so that the order of the scorings does not matter.
        mean: FloatArray = np.sort(z, axis=0).sum(axis=0) / len(scores)
        return mean


def measure_ensembles(
    tables: Mapping[str, Path], score: str, ensembles: Sequence[str]
) -> Ensembles:
    """Read what the ensembles need to know of all rows.

    The sums are exact before they are rounded, and ranks are counts. So the ensembles depend
    neither on the order of the rows nor on that of the scorings.

    Args:
        tables: The table of each scoring.
        score: The score that they are made of, ``llr`` or ``llr_aligned``.
        ensembles: Names of the ensembles.

    Raises:
        InputError: A table cannot be read, or the tables have different alleles.
    """
    paths = [*tables.values()]
    scores = np.empty((len(paths), count_rows(paths[0]) if ensembles else 0))
    num_rows = 0
    for pieces in read_together(paths, [STATUS.name, score]) if ensembles else ():
        found = _read_scores(pieces, score)
        found = found[:, np.isfinite(found).all(axis=0)]
        scores[:, num_rows : num_rows + found.shape[1]] = found
        num_rows += found.shape[1]
    scores = scores[:, :num_rows]
    for of_scoring in scores:
        of_scoring.sort()
    means, deviations = np.empty(len(paths)), np.empty(len(paths))
    constant = []
    for number, (scoring, of_scoring) in enumerate(zip(tables, scores, strict=True)):
        means[number], deviations[number] = _measure_spread(of_scoring)
        if num_rows and not deviations[number]:
            constant.append(scoring)
    none = "" if num_rows else f"no allele has {score} in all scorings"
    equal = f"all values of {', '.join(member_column(one, score) for one in constant)} are equal"
    reasons = {RANK_MEAN: none, Z_MEAN: none or (equal if constant else "")}
    return Ensembles(
        num_rows,
        scores if RANK_MEAN in ensembles else scores[:, :0].copy(),
        means,
        deviations,
        {name: reasons[name] for name in ENSEMBLES if name in ensembles},
    )


def _read_scores(pieces: Sequence[pa.RecordBatch], score: str) -> FloatArray:
    """The score of each scoring; NaN where a scoring did not score the row."""
    scores = np.empty((len(pieces), pieces[0].num_rows))
    for piece, of_scoring in zip(pieces, scores, strict=True):
        is_scored = pc.equal(_values(piece, STATUS.name), "scored")
        values = pc.if_else(is_scored, piece.column(score), pa.scalar(None, pa.float64()))
        of_scoring[:] = values.to_numpy(zero_copy_only=False)
    return scores


def _measure_spread(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of sorted numbers; a standard deviation of 0 if all are equal."""
    if not len(values) or values[0] == values[-1]:
        return (float(values[0]) if len(values) else math.nan), 0.0
    mean = _sum(values) / len(values)
    return mean, math.sqrt(_sum(values, mean) / len(values))


def _sum(values: FloatArray, mean: float | None = None) -> float:
    """The exact sum of numbers, rounded once; with ``mean`` that of their squared differences."""
    pieces = (values[start : start + _SUMMED] for start in range(0, len(values), _SUMMED))
    numbers = (piece if mean is None else (piece - mean) ** 2 for piece in pieces)
    return math.fsum(chain.from_iterable(piece.tolist() for piece in numbers))


def find_copied_fields(table: Path) -> list[pa.Field]:
    """The annotations and the carried columns of a table, which a combined table has too."""
    with open_table(
        table, [column.name for column in FINAL_COLUMNS if column.name in _NEEDED]
    ) as file:
        schema = file.schema_arrow
    names = [*(column.name for column in annotation_columns(schema)), *carried_names(schema)]
    return [schema.field(name) for name in schema.names if name in names]


def combined_schema(
    scorings: Sequence[str], ensembles: Sequence[str], copied: Sequence[pa.Field]
) -> pa.Schema:
    """Schema of a combined table.

    Args:
        scorings: Names of the scorings.
        ensembles: Names of the ensembles.
        copied: The annotations and the carried columns.

    Raises:
        InputError: A carried column has the name of another column.
    """
    own = make_schema(combined_columns(scorings, ensembles))
    for field in copied:
        if field.name in own.names:
            raise InputError(
                f"carry: {shown(field.name)!r} is the name of a column of the combined table. "
                "Leave it out of carry, or give it another name in the input."
            )
    return pa.schema([*own, *copied])


def write_combined(
    tables: Mapping[str, Path],
    writer: TableWriter,
    score: str,
    ensembles: Ensembles,
    copied: Sequence[str],
) -> int:
    """Write the rows of a combined table.

    Args:
        tables: The table of each scoring.
        writer: The writer of a table with the schema of ``combined_schema``.
        score: The score of which the ensembles are made.
        ensembles: What they need to know of all rows.
        copied: Names of the annotations and of the carried columns.

    Returns:
        The rows that are scored in all scorings.

    Raises:
        InputError: A table cannot be read, the tables have different alleles, or the combined table
            cannot be written.
    """
    num_scored = 0
    names = [column.name for column in MEMBER_COLUMNS]
    first_names = [REFERENCE_CONTIG.name, *copied]
    for pieces in read_together([*tables.values()], names, first_names=first_names):
        columns: dict[str, Any] = {
            name: pieces[0].column(name)
            for name in [*(column.name for column in ALLELE_COLUMNS), *copied]
        }
        status = pa.array(["scored"] * pieces[0].num_rows)
        for piece in pieces:
            of_scoring = _values(piece, STATUS.name)
            status = pc.if_else(pc.equal(status, "scored"), of_scoring, status)
        columns[STATUS.name] = status
        num_scored += pc.sum(pc.equal(status, "scored")).as_py() or 0
        for scoring, piece in zip(tables, pieces, strict=True):
            columns |= {member_column(scoring, name): piece.column(name) for name in names}
        scores = _read_scores(pieces, score)
        columns |= {name: ensembles.compute(name, scores) for name in ensembles.reasons}
        writer.write(pa.table({name: columns[name] for name in writer.schema.names}))
    return num_scored
