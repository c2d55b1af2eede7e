"""Scores of a background, and where other scores are among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.strata import Strata, StratumReader
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.calibration_schema import ALL_STRATA, background_schema
from evo2_tasks.table.parquet import ROW_GROUP_ROWS, TableWriter, count_rows, read_rows

MIN_ALLELES: Final = 100
"""Fewest alleles of a stratum that scores are compared with."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where N scores are in a background.

    Attributes:
        strata: Name of the stratum that each row was compared with. (N,)
        is_fallback: Whether it is the whole background instead of the row's own stratum. (N,)
        quantile: From the harmful end; NaN if the background has no alleles. (N,)
        phred: High is rare and harmful; NaN if the background has no alleles. (N,)
    """

    strata: pa.DictionaryArray
    is_fallback: BoolArray
    quantile: FloatArray
    phred: FloatArray


@dataclass(frozen=True)
class Background:
    """The scores of M background alleles, by stratum.

    Attributes:
        by: What the strata are made from; empty if there are none.
        scores: The scores of one stratum after the other, each stratum ascending. (M,)
        ends: Where the scores of each stratum end in ``scores``, in their order. The alleles
            without a stratum come last.
    """

    by: tuple[str, ...]
    scores: FloatArray
    ends: Mapping[str, int]

    @cached_property
    def everything(self) -> FloatArray:
        """The scores of all alleles, ascending, of shape (M,)."""
        return np.sort(self.scores) if self.ends else self.scores

    @cached_property
    def strata(self) -> dict[str, FloatArray]:
        """The scores of each stratum with enough alleles, ascending."""
        starts = [0, *self.ends.values()]
        return {
            name: self.scores[start:end]
            for start, (name, end) in zip(starts, self.ends.items(), strict=False)
            if end - start >= MIN_ALLELES
        }

    def compare(self, scores: FloatArray, strata: Strata, *, harmful: str) -> Comparison:
        """Find where scores are among those of the background.

        Each row is compared with its own stratum, or with the whole background if the row has no
        stratum or the stratum has too few alleles. The result of a row depends on this row alone.

        Args:
            scores: Finite scores. (N,)
            strata: The stratum of each row.
            harmful: Which end of the scores is harmful, ``low`` or ``high``.
        """
        has_enough = np.array([*(name in self.strata for name in strata.names), False])
        used = np.where(has_enough[strata.numbers], strata.numbers, -1)
        quantile, phred = np.full((2, len(scores)), np.nan)
        for number, rows in _group(used):
            alleles = self.everything if number < 0 else self.strata[strata.names[number]]
            if len(alleles):
                quantile[rows], phred[rows] = place(scores[rows], alleles, harmful=harmful)
        names = pa.array([*strata.names, ALL_STRATA], pa.string())
        indices = pa.array(np.where(used < 0, len(names) - 1, used), pa.int32())
        return Comparison(
            strata=pa.DictionaryArray.from_arrays(indices, names),
            is_fallback=(used < 0) & bool(self.by),
            quantile=quantile,
            phred=phred,
        )


def place(
    scores: FloatArray, alleles: FloatArray, *, harmful: str
) -> tuple[FloatArray, FloatArray]:
    """Quantile and phred of scores among those of some alleles.

    With n alleles, of which b are more harmful and e have the same score, the quantile is
    (b + e / 2) / n, at least 1 / (2 n) and at most 1 - 1 / (2 n). The phred is
    -10 log10((b + e + 1) / (n + 1)).

    Args:
        scores: Finite scores. (N,)
        alleles: Finite scores of at least one allele, ascending.
        harmful: Which end of the scores is harmful, ``low`` or ``high``.

    Returns:
        The quantiles and the phreds. Each (N,)
    """
    num_alleles = len(alleles)
    below, up_to = (np.searchsorted(alleles, scores, side=side) for side in ("left", "right"))
    if harmful == "high":
        below, up_to = num_alleles - up_to, num_alleles - below
    quantile = (below + up_to) / (2 * num_alleles)
    edge = 1 / (2 * num_alleles)
    # Adding 0 makes 0 of -0.
    phred = -10 * np.log10((up_to + 1) / (num_alleles + 1)) + 0.0
    return np.clip(quantile, edge, 1 - edge), phred


def read_background(reader: StratumReader, score: str) -> Background:
    """Read the scores of a background from a table.

    Args:
        reader: Finds the strata of the table's rows.
        score: Column of the score. Rows without it do not count.

    Raises:
        InputError: The table is missing or broken, or lacks a column.
    """
    reader.require_columns()
    num_rows = count_rows(reader.source)
    scores, strata = np.empty(num_rows), np.empty(num_rows, dtype=np.int64)
    numbers: dict[str, int] = {}
    end = 0
    with Progress("background", total=num_rows, unit="alleles") as progress:
        for batch in read_rows(reader.source, list(dict.fromkeys([score, *reader.columns]))):
            rows, values, _ = select_scored(batch, score, reader.source)
            found = reader.find(rows)
            known = [numbers.setdefault(name, len(numbers)) for name in found.names]
            piece = slice(end, end + len(values))
            scores[piece] = values
            strata[piece] = np.array([*known, -1])[found.numbers]
            end = piece.stop
            progress.add(batch.num_rows)
    return make_background(reader.by, scores[:end], Strata(tuple(numbers), strata[:end]))


def select_scored(
    batch: pa.RecordBatch, score: str, source: Path
) -> tuple[pa.Table, FloatArray, BoolArray]:
    """Select the rows that have a score: a finite number.

    Args:
        batch: N rows.
        score: Column of the score.
        source: The table, for messages.

    Returns:
        The M rows with a score, their scores (M,), and which rows of the batch they are (N,).

    Raises:
        InputError: The column does not hold scores.
    """
    column = batch.column(score)
    if column.type != pa.float64():
        raise InputError(
            f"{shown_path(source)}: column {score} has the type {column.type}, expected double. "
            "Name a table that `merge` wrote."
        )
    scores = column.to_numpy(zero_copy_only=False)
    has_score = np.isfinite(scores)
    rows = pa.Table.from_batches([batch]).filter(pa.array(has_score))
    return rows, scores[has_score], has_score


def make_background(by: tuple[str, ...], scores: FloatArray, strata: Strata) -> Background:
    """Sort the scores of alleles by their strata.

    Args:
        by: What the strata are made from.
        scores: Finite scores. (M,)
        strata: The stratum of each allele.
    """
    names = sorted(strata.names)
    ranks = {name: rank for rank, name in enumerate(names)}
    # The alleles without a stratum come last.
    of_names = np.array([*(ranks[name] for name in strata.names), len(names)])
    of_alleles = of_names[strata.numbers]
    ends = np.cumsum(np.bincount(of_alleles, minlength=len(names)))
    return Background(
        by=by,
        scores=scores[np.lexsort((scores, of_alleles))],
        ends=dict(zip(names, ends.tolist(), strict=False)),
    )


def write_background(background: Background, writer: TableWriter) -> None:
    """Write the rows of ``background.parquet``.

    Raises:
        InputError: The file cannot be written.
    """
    num_alleles = len(background.scores)
    names: list[str | None] = [*background.ends, None]
    ends = np.array([*background.ends.values(), num_alleles])
    for start in range(0, num_alleles, ROW_GROUP_ROWS):
        scores = background.scores[start : start + ROW_GROUP_ROWS]
        numbers = np.searchsorted(ends, np.arange(start, start + len(scores)), side="right")
        used, numbers = np.unique(numbers, return_inverse=True)
        strata = pa.array([names[number] for number in used], pa.string()).take(pa.array(numbers))
        writer.write(pa.table({"stratum": strata, "score": scores}))


def load_background(source: Path, by: tuple[str, ...]) -> Background:
    """Read ``background.parquet``.

    Args:
        source: The file.
        by: What the strata are made from.

    Raises:
        InputError: The file is missing or broken.
    """
    scores = np.empty(count_rows(source))
    counts: dict[str, int] = {}
    end = 0
    for batch in read_rows(source, background_schema().names):
        values = batch.column("score").to_numpy()
        scores[end : end + len(values)] = values
        end += len(values)
        strata = batch.column("stratum").cast(pa.string()).drop_null()
        for row in strata.value_counts().to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    ends = np.cumsum([*counts.values()], dtype=np.int64).tolist()
    return Background(by, scores, dict(zip(counts, ends, strict=True)))


def _group(numbers: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Each number that occurs, and its places."""
    order = np.argsort(numbers, kind="stable")
    distinct, starts = np.unique(numbers[order], return_index=True)
    ends = pairwise([*starts, len(numbers)])
    for number, (start, end) in zip(distinct.tolist(), ends, strict=True):
        yield number, order[start:end]
