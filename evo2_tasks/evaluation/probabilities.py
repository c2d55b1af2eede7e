"""Metrics of the probabilities that follow from likelihood ratios, also for draws of a bootstrap.

The probability of a row is ``lr * odds / (1 + lr * odds)``. The odds are those of the positive rows
among the rows, or among the drawn rows of a draw: a calibration has to fit the rows on which it is
tested, and these have their own share of positive rows.

A likelihood ratio is passed as its probability at even odds, ``lr / (1 + lr)``, so that an infinite
ratio is a number.

Shapes: B draws, G groups, N rows, K runs of equal ratios, M metrics, Q bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray, divide
from evo2_tasks.evaluation.drawn_metrics import Statistic
from evo2_tasks.evaluation.draws import Counts, Resampling, draw_groups

NUM_BINS: Final = 10
"""Bins of equal numbers of rows."""


@dataclass(frozen=True, slots=True)
class ProbabilitySums:
    """Sums over rows of both classes, each row as often as it was drawn.

    Attributes:
        num_rows: Number of rows.
        num_positive: Number of positive rows.
        squared: Sum of the squared differences between probability and label.
        positive: Positive rows of each bin. (Q,)
        expected: Sum of the probabilities of each bin. (Q,)
    """

    num_rows: int
    num_positive: int
    squared: float
    positive: FloatArray
    expected: FloatArray


ReadSums = Callable[[ProbabilitySums], float]
"""Computes a metric from sums."""


def to_even_odds(ratios: npt.ArrayLike) -> FloatArray:
    """The probabilities that follow from likelihood ratios at even odds; NaN stays NaN.

    Args:
        ratios: From 0 to infinity. (N,)
    """
    with np.errstate(divide="ignore", over="ignore"):
        even: FloatArray = 1 / (1 + 1 / np.asarray(ratios, dtype=np.float64))
    return even


def at_odds(even: FloatArray, odds: float) -> FloatArray:
    """Probabilities at even odds, turned into those at other odds.

    Args:
        even: From 0 to 1. (N,)
        odds: Above 0.
    """
    return even * odds / (1 - even + even * odds)


def brier(sums: ProbabilitySums) -> float:
    """Mean squared difference between probability and label."""
    return sums.squared / sums.num_rows


def brier_skill(sums: ProbabilitySums) -> float:
    """1 minus the Brier score, divided by that of the share of positive rows for every row."""
    share = sums.num_positive / sums.num_rows
    return 1 - brier(sums) / (share * (1 - share))


def expected_calibration_error(sums: ProbabilitySums) -> float:
    """Mean difference of the bins between mean probability and share, weighted by their rows."""
    return float(np.abs(sums.positive - sums.expected).sum()) / sums.num_rows


def measure_all(read: ReadSums, labels: BoolArray, even: FloatArray) -> float:
    """A metric of all rows.

    Args:
        read: The metric.
        labels: True where a row is positive; of both classes. (N,)
        even: Probabilities at even odds, without NaN. (N,)
    """
    once = np.ones((1, 1), dtype=np.int32)
    statistic = prepare_probabilities([read], labels, even, np.zeros(len(labels), dtype=np.int64))
    return float(statistic(once)[0, 0])


def prepare_probabilities(
    reads: Sequence[ReadSums], labels: BoolArray, even: FloatArray, groups: IntArray
) -> Statistic:
    """Prepare metrics of probabilities. Bins and odds are those of the drawn rows of each draw.

    Args:
        reads: The metrics; all read the same sums. (M,)
        labels: True where a row is positive. (N,)
        even: Probabilities at even odds, without NaN. (N,)
        groups: Number of each row's group. (N,)

    Returns:
        The metrics of draws; NaN where the drawn rows are of one class.
    """
    order = np.argsort(even, kind="stable")
    labels, groups, values = labels[order], groups[order], even[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    values = values[starts]

    def compute_one(counts: npt.NDArray[Any]) -> list[float]:
        drawn = counts.take(groups, mode="clip").astype(np.int64)
        in_runs = np.add.reduceat(drawn, starts)
        positive = np.add.reduceat(drawn * labels, starts)
        num_rows, num_positive = int(in_runs.sum()), int(positive.sum())
        if num_positive in (0, num_rows):
            return [np.nan] * len(reads)
        probability = at_odds(values, num_positive / (num_rows - num_positive))
        squared = positive * (1 - probability) ** 2 + (in_runs - positive) * probability**2
        bounds = _find_bounds(in_runs)
        sums = ProbabilitySums(
            num_rows=num_rows,
            num_positive=num_positive,
            squared=float(squared.sum()),
            positive=_sum_between(positive.astype(np.float64), bounds),
            expected=_sum_between(in_runs * probability, bounds),
        )
        return [read(sums) for read in reads]

    def compute(counts: Counts) -> FloatArray:
        return np.array([compute_one(counts[:, draw]) for draw in range(counts.shape[1])]).T

    return compute


def draw_calibration_curve(
    labels: BoolArray, even: FloatArray, groups: IntArray, resampling: Resampling
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean probability and share of positive rows of each bin, with intervals of the share.

    The bins of the draws are those of all rows. A share has no interval where the rows of its bin,
    or all positive or all negative rows, are of one group.

    Args:
        labels: True where a row is positive; of both classes. (N,)
        even: Probabilities at even odds, without NaN. (N,)
        groups: Number of each row's group. (N,)
        resampling: How the intervals are computed.

    Returns:
        Mean probabilities, shares, and the ends of their intervals, NaN where there is none, of
        the bins that have rows. Each (Q,)
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 # slow; only the intervals need it

    _, bins = np.unique(assign_bins(even), return_inverse=True)
    sizes = np.bincount(bins)
    probability = at_odds(even, labels.sum() / (~labels).sum())
    x, y = (np.bincount(bins, weights=one) / sizes for one in (probability, labels))
    shape = (len(sizes), int(groups.max()) + 1)
    in_groups, positive = (
        csr_array((one.astype(np.float64), (bins, groups)), shape=shape)
        for one in (np.ones(len(bins)), labels)
    )
    low, high = np.full((2, len(sizes)), np.nan)
    if any((of_class == of_class[0]).all() for of_class in (groups[labels], groups[~labels])):
        return x, y, low, high
    drawn = [
        divide(positive @ counts, in_groups @ counts)
        for counts in draw_groups(shape[1], resampling)
    ]
    outside = (1 - resampling.confidence) / 2
    for number, shares in enumerate(np.concatenate(drawn, axis=1) if drawn else ()):
        if np.diff(in_groups.indptr)[number] > 1:
            defined = shares[np.isfinite(shares)]
            low[number], high[number] = np.quantile(defined, [outside, 1 - outside])
    return x, y, low, high


def assign_bins(even: FloatArray) -> IntArray:
    """The bin of each row, from 0. Bins between may be empty where rows are tied.

    A bin ends with the value that has a tenth of the rows, two tenths and so on up to it. A row
    with that value belongs to the bin that it ends, so equal rows are in one bin.

    Args:
        even: Probabilities at any odds, without NaN. (N,)
    """
    values, run, in_runs = np.unique(even, return_inverse=True, return_counts=True)
    bounds = _find_bounds(in_runs)
    bins: IntArray = np.searchsorted(bounds[1:-1], np.arange(len(values)), side="right")[run]
    return bins


def _find_bounds(in_runs: IntArray) -> IntArray:
    """Where the bins start and end among the runs.

    Args:
        in_runs: Rows of each run, in the order of their value. (K,)

    Returns:
        The first run of each bin, and the number of runs. (Q + 1,)
    """
    end = np.cumsum(in_runs)
    ranks = np.arange(1, NUM_BINS) * (int(end[-1]) - 1) // NUM_BINS
    last = np.searchsorted(end, ranks, side="right")
    return np.concatenate([[0], last + 1, [len(in_runs)]])


def _sum_between(values: FloatArray, bounds: IntArray) -> FloatArray:
    """Sums of the runs of each bin. (K,) to (Q,)."""
    so_far = np.concatenate([[0.0], np.cumsum(values)])
    sums: FloatArray = np.diff(so_far[bounds])
    return sums
