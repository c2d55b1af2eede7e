"""The metrics of drawn rows, for many draws of the same rows at once.

A bootstrap needs a metric for hundreds of draws. Each draw counts a row as often as its group was
drawn. The rows are sorted by score once, for all draws and metrics. A sparse matrix then sums the
counts of the groups in each run of equal scores, for a block of draws, and all metrics read the
same sums from the highest score to the lowest. All sums of counts are whole numbers, so they are
exact.

Shapes: B draws, G groups, N rows, K runs, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray, divide
from evo2_tasks.evaluation.draws import Counts

Statistic = Callable[[Counts], FloatArray]
"""Computes the values of metrics (M, B) from the counts of draws; NaN where one is undefined."""

RUNS_AT_ONCE: Final = 4096
ROWS_AT_ONCE: Final = 1 << 15

MOST_SUM: Final = 2**31 - 1  # of int32

Sums = npt.NDArray[np.int32] | IntArray


def most_false(specificity: float) -> float:
    """Share of the negative rows that may be above the threshold, with a margin for rounding."""
    return 1 - specificity + 1e-9


# Metrics of labels.


@dataclass(frozen=True, slots=True)
class ClassTotals:
    """How many positive and negative rows were drawn.

    Attributes:
        positive: (B,)
        negative: (B,)
        scores: Score of each run with a positive row, the highest first. (K,)
    """

    positive: FloatArray
    negative: FloatArray
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class RunBlock:
    """Drawn rows of some runs, from the highest score to the lowest, stratum after stratum.

    A run is the positive rows of one score, and the negative rows from there up to the run before.

    Attributes:
        first: Number of the first of these K runs.
        positive: Positive rows of each run. (K, B)
        tied: Negative rows with the same score as the positive ones; None if there are none. (K, B)
        num_true: Positive rows of all runs so far. (K, B)
        num_false: Negative rows of all runs so far. (K, B)
        ends: The runs among these that are the last of their stratum.
    """

    first: int
    positive: FloatArray
    tied: FloatArray | None
    num_true: FloatArray
    num_false: FloatArray
    ends: IntArray


class Tally(Protocol):
    """Reads the runs of some draws, block after block, and computes a metric."""

    def add(self, block: RunBlock) -> None:
        """Read some more runs."""

    def values(self) -> FloatArray:
        """The metric of each draw, (B,), after all runs."""


class AurocTally:
    """AUROC; with strata only pairs within a stratum count, each with equal weight."""

    def __init__(self, totals: ClassTotals) -> None:
        self._lost = np.zeros(len(totals.positive))
        self._pairs = np.zeros(len(totals.positive))
        self._ends = np.zeros((2, 1, len(totals.positive)))  # num_true, num_false

    def add(self, block: RunBlock) -> None:
        """Count the pairs, and those in which the negative row has the higher score."""
        above = block.num_false if block.tied is None else block.num_false - block.tied / 2
        self._lost += np.einsum("kb,kb->b", block.positive, above)
        if len(block.ends):
            ends = np.stack([block.num_true[block.ends], block.num_false[block.ends]])
            before = np.concatenate([self._ends, ends[:, :-1]], axis=1)
            num_positive, num_negative = ends - before
            self._pairs += (num_positive * num_negative).sum(axis=0)
            # The negative rows of the strata before are not above the rows of this one.
            self._lost -= (num_positive * before[1]).sum(axis=0)
            self._ends = ends[:, -1:]

    def values(self) -> FloatArray:
        """The share of the pairs that are not lost."""
        return divide(self._pairs - self._lost, self._pairs)


class AveragePrecisionTally:
    """Average precision."""

    def __init__(self, totals: ClassTotals) -> None:
        self._totals = totals
        self._sum = np.zeros(len(totals.positive))

    def add(self, block: RunBlock) -> None:
        """Sum the precision at each positive row."""
        # Before the first drawn row precision is 0 / 0, but no row is counted with it.
        precision = block.num_true / np.maximum(block.num_true + block.num_false, 1)
        self._sum += np.einsum("kb,kb->b", block.positive, precision)

    def values(self) -> FloatArray:
        """The mean precision of the positive rows."""
        value = divide(self._sum, self._totals.positive)
        value[self._totals.negative == 0] = np.nan
        return value


class _SpecificityTally:
    """Finds the last run with a positive row that keeps a specificity."""

    def __init__(self, specificity: float, totals: ClassTotals) -> None:
        self.totals = totals
        self.last = np.full(len(totals.positive), -1)
        self.num_true = np.zeros(len(totals.positive))
        self._most_false = most_false(specificity)

    def add(self, block: RunBlock) -> None:
        """Move on to the last allowed run of the block."""
        total = self.totals.negative
        if (block.num_false[0] > self._most_false * total).all():
            return
        is_allowed = divide(block.num_false, total) <= self._most_false
        runs = np.arange(len(block.positive))[:, None]
        last = np.where(is_allowed & (block.positive > 0), runs, -1).max(axis=0)
        found = np.flatnonzero(last >= 0)
        self.last[found] = block.first + last[found]
        self.num_true[found] = block.num_true[last[found], found]


class SensitivityTally(_SpecificityTally):
    """Sensitivity at a specificity."""

    def values(self) -> FloatArray:
        """The share of the positive rows down to the last allowed run."""
        value = divide(self.num_true, self.totals.positive)
        value[self.totals.negative == 0] = np.nan
        return value


class ThresholdTally(_SpecificityTally):
    """The threshold of that sensitivity."""

    def values(self) -> FloatArray:
        """The score of the last allowed run; NaN if there is none."""
        value: FloatArray = np.append(self.totals.scores, np.nan)[self.last]
        value[self.totals.negative == 0] = np.nan
        return value


def prepare_labels(
    tallies: Sequence[Callable[[ClassTotals], Tally]],
    labels: BoolArray,
    scores: FloatArray,
    groups: IntArray,
    strata: IntArray | None = None,
) -> Statistic:
    """Prepare metrics of labels.

    Args:
        tallies: The metrics; all read the same sums. (M,)
        labels: True where a row is positive. (N,)
        scores: Higher = more pathogenic, without NaN. (N,)
        groups: Number of each row's group. (N,)
        strata: Number of each row's stratum, for ``AurocTally`` only; None is one stratum. (N,)
    """
    num_groups = int(groups.max()) + 1
    sizes = [
        np.bincount(groups[one], minlength=num_groups).astype(np.int32) for one in (labels, ~labels)
    ]
    num_rows = len(labels)
    order, run, of_runs, ends = _find_runs(labels, scores, strata)
    labels, groups = labels[order], groups[order]
    has_positive = np.bincount(run[labels], minlength=len(of_runs)) > 0
    is_tied = ~labels & (scores[order] == of_runs[run]) & has_positive[run]
    has_tied = bool(is_tied.any())
    positive, negative, tied = (
        _SummedRuns(run[rows], groups[rows], (len(of_runs), num_groups))
        for rows in (labels, ~labels, is_tied)
    )

    def compute(counts: Counts) -> FloatArray:
        num_positive, num_negative = (_total(one, counts) for one in sizes)
        totals = ClassTotals(num_positive, num_negative, of_runs)
        started = [start(totals) for start in tallies]
        num_true = num_false = np.zeros((1, counts.shape[1]))
        drawn = _widen(counts, num_rows)
        for number in range(positive.num_blocks):
            of_positive = positive.sum(number, drawn)
            num_true = num_true[-1] + np.cumsum(of_positive, axis=0)
            num_false = num_false[-1] + np.cumsum(negative.sum(number, drawn), axis=0)
            block = RunBlock(
                first=number * RUNS_AT_ONCE,
                positive=of_positive,
                tied=tied.sum(number, drawn) if has_tied else None,
                num_true=num_true,
                num_false=num_false,
                ends=_inside(ends, number),
            )
            for tally in started:
                tally.add(block)
        return np.array([tally.values() for tally in started])

    return compute


def _find_runs(
    labels: BoolArray, scores: FloatArray, strata: IntArray | None
) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    """Sort rows by stratum and falling score, and number their runs.

    Returns:
        The order of the rows, (N,); the run of each row in this order, (N,); the score of each run,
        (K,); and the last run of each stratum. The last run of a stratum may lack a positive row.
    """
    order: IntArray
    if strata is None:
        order = np.argsort(-scores, kind="stable")
        strata = np.zeros(len(scores), dtype=np.int64)
    else:
        order = np.lexsort((-scores, strata))
        strata = strata[order]
    labels, scores = labels[order], scores[order]
    is_new_stratum = strata[1:] != strata[:-1]
    is_start = np.ones(len(scores), dtype=bool)
    is_start[1:] = (scores[1:] != scores[:-1]) | is_new_stratum
    score_number = np.cumsum(is_start) - 1
    starts = np.flatnonzero(is_start)
    has_positive = np.bincount(score_number[labels], minlength=len(starts)) > 0
    is_last = np.zeros(len(starts), dtype=bool)
    is_last[score_number[np.flatnonzero(is_new_stratum)]] = True
    is_last[-1] = True
    is_run = has_positive | is_last
    run: IntArray = (
        np.cumsum(is_run) - is_run
    )  # a negative row belongs to the next run with a positive one
    return order, run[score_number], scores[starts][is_run], run[is_last]


# Metrics of numbers.


def prepare_spearman(numbers: FloatArray, scores: FloatArray, groups: IntArray) -> Statistic:
    """Prepare Spearman's rank correlation, the one metric of numbers; ties have their mean rank.

    Args:
        numbers: The target. (N,)
        scores: Without NaN. (N,)
        groups: Number of each row's group. (N,)
    """
    by_score, by_number = _RankedRows(scores, groups), _RankedRows(numbers, groups)
    place = np.empty(len(numbers), dtype=np.intp)  # of each row in the order of the numbers
    place[by_number.order] = np.arange(len(numbers))
    place = place[by_score.order]
    sizes = np.bincount(groups)
    of_numbers = np.empty(len(numbers))

    def compute_one(counts: npt.NDArray[Any]) -> float:
        total = int(sizes @ counts.astype(np.int64))
        variances = [0.0, 0.0]
        for first, drawn, distances in by_number.rank(counts, total):
            of_numbers[first : first + len(drawn)] = distances
            variances[0] += float(np.dot(drawn, distances**2))
        covariance = 0.0
        for first, drawn, distances in by_score.rank(counts, total):
            weighted = drawn * distances
            variances[1] += float(np.dot(weighted, distances))
            covariance += float(
                np.dot(weighted, of_numbers.take(place[first : first + len(drawn)], mode="clip"))
            )
        product = variances[0] * variances[1]
        return covariance / math.sqrt(product) if product else math.nan

    def compute(counts: Counts) -> FloatArray:
        # A byte for each count: the counts of a draw fit the cache of a CPU.
        narrow = np.uint8 if counts.max(initial=0) < 256 else np.int32
        draws = range(counts.shape[1])
        return np.array([[compute_one(counts[:, draw].astype(narrow)) for draw in draws]])

    return compute


class _RankedRows:
    """Rows in the order of their values.

    Attributes:
        order: The rows in this order. (N,)
    """

    def __init__(self, values: FloatArray, groups: IntArray) -> None:
        self.order: IntArray = np.argsort(values, kind="stable")
        values = values[self.order]
        self._groups = groups[self.order]
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        self._starts = None if len(starts) == len(values) else starts

    def rank(
        self, counts: npt.NDArray[Any], total: int
    ) -> Iterator[tuple[int, FloatArray, FloatArray]]:
        """Rank the rows of a draw, in blocks.

        Args:
            counts: How often each group was drawn. (G,)
            total: Number of drawn rows.

        Yields:
            The place of the first of some rows in the order, how often each of them was drawn, and
            twice the distance of its mean rank from the mean of all ranks.
        """
        so_far = 0
        for rows, starts in self._blocks():
            # Whole numbers are summed six times as fast as floating-point numbers.
            drawn = counts.take(self._groups[rows], mode="clip").astype(np.int64)
            of_runs = drawn if starts is None else np.add.reduceat(drawn, starts)
            end = np.cumsum(of_runs)
            distances = (2 * end - of_runs + (2 * so_far - total)).astype(np.float64)
            so_far += int(end[-1])
            if starts is not None:
                distances = np.repeat(distances, np.diff(starts, append=len(drawn)))
            yield rows.start, drawn.astype(np.float64), distances

    def _blocks(self) -> Iterator[tuple[slice, IntArray | None]]:
        """Rows of whole runs, and where the runs start among them; None if no rows are tied."""
        num_rows = len(self._groups)
        if self._starts is None:
            for first in range(0, num_rows, ROWS_AT_ONCE):
                yield slice(first, min(first + ROWS_AT_ONCE, num_rows)), None
            return
        for first in range(0, len(self._starts), ROWS_AT_ONCE):
            starts = self._starts[first : first + ROWS_AT_ONCE]
            after = self._starts[first + ROWS_AT_ONCE : first + ROWS_AT_ONCE + 1]
            yield (
                slice(int(starts[0]), int(after[0]) if len(after) else num_rows),
                starts - starts[0],
            )


# Sums of rows.


class _SummedRuns:
    """Rows that are summed by runs, in blocks of runs.

    Args:
        run: Number of each row's run, which never falls. (N,)
        groups: Number of each row's group. (N,)
        shape: Number of runs and of groups.
    """

    def __init__(self, run: IntArray, groups: IntArray, shape: tuple[int, int]) -> None:
        from scipy.sparse import csr_array  # noqa: PLC0415 # slow; only a bootstrap needs it

        self.num_runs, num_groups = shape
        starts = np.concatenate([[0], np.cumsum(np.bincount(run, minlength=self.num_runs))])
        self._blocks = []
        for first in range(0, self.num_runs, RUNS_AT_ONCE):
            of_block = starts[first : first + RUNS_AT_ONCE + 1]
            columns = groups[of_block[0] : of_block[-1]].astype(np.int32)
            ones = np.broadcast_to(np.int8(1), len(columns))
            bounds = (of_block - of_block[0]).astype(np.int32)
            size = (len(of_block) - 1, num_groups)
            self._blocks.append(csr_array((ones, columns, bounds), shape=size))

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    def sum(self, number: int, counts: Sums) -> FloatArray:
        """How many rows of each run of a block were drawn, (G, B) to (K, B)."""
        sums: FloatArray = (self._blocks[number] @ counts).astype(np.float64)
        return sums


def _widen(counts: Counts, num_rows: int) -> Sums:
    """Counts of a type that holds the sum of this many of them."""
    is_enough = int(counts.max(initial=0)) * num_rows <= MOST_SUM
    return counts if is_enough else counts.astype(np.int64)


def _total(sizes: Counts, counts: Counts) -> FloatArray:
    """Drawn rows of each draw, (B,), from the rows of each group, (G,)."""
    total: FloatArray = np.einsum("g,gb->b", sizes, counts).astype(np.float64)
    return total


def _inside(numbers: IntArray, block: int) -> IntArray:
    """The runs of a block among these, numbered from its first run."""
    inside = numbers - block * RUNS_AT_ONCE
    return inside[(inside >= 0) & (inside < RUNS_AT_ONCE)]
