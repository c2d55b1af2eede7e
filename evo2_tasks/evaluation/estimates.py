"""Metrics with bootstrap intervals, differences of two scores, and coverage.

A higher score means more pathogenic, so callers pass ``-llr``. A row without a score has NaN: such
rows are left out and counted. A comparison of two scores leaves out the rows that lack either.

Intervals are percentiles of a bootstrap that draws groups of rows (for example positions), because
neighbouring variants are not independent. Draws for which a metric is undefined (for example
because they contain one class only) are left out and counted. A metric that the data do not define
is not an error: the result then states the reason.

Shapes: B draws, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.metrics import (
    AUROC,
    FloatArray,
    IntArray,
    Metric,
    Statistic,
    prepare_auroc,
    read_labels,
    read_numbers,
    require_finite,
    require_one_length,
    why_no_value,
)

BLOCK_NUMBERS: Final = 1 << 20  # weights in memory at once: 8 MB for any number of rows


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are computed.

    Attributes:
        num_resamples: Number of draws.
        seed: The same seed and groups give the same draws.
        confidence: Share of the draws that are inside the interval.
    """

    num_resamples: int = 2_000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.num_resamples < 0 or not 0 < self.confidence < 1:
            raise ValueError(
                f"resampling: expected num_resamples of at least 0 and a confidence between 0 and "
                f"1, got {self.num_resamples} and {self.confidence}."
            )


DEFAULT_RESAMPLING: Final = Resampling()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a metric with its interval, or the reason why it is missing.

    The interval is too narrow where a class has fewer than about ten groups. It has no width where
    a score separates the classes without error.

    Attributes:
        metric: Name of the metric.
        value: The metric on all rows that have a score; None where it is undefined.
        low: Lower end of the interval; None where there is no interval.
        high: Upper end of the interval; None where there is no interval.
        num_rows: Rows from which the value is computed.
        num_positive: Positive rows among them; None where the target is a number.
        num_negative: Negative rows among them; None where the target is a number.
        num_unscored: Rows that are left out because they have no score, or no target number.
        num_groups: Groups from which the bootstrap draws.
        num_resamples: Draws from which the interval is computed.
        num_dropped: Draws that are left out because the metric is undefined for them.
        reason: Why the value or the interval is missing, one line; empty if neither is missing.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    num_rows: int
    num_positive: int | None
    num_negative: int | None
    num_unscored: int
    num_groups: int
    num_resamples: int
    num_dropped: int
    reason: str = ""

    @property
    def prevalence(self) -> float | None:
        """Share of the rows that are positive: the chance level of average precision."""
        if self.num_positive is None or not self.num_rows:
            return None
        return self.num_positive / self.num_rows


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of one score minus that of another, on the rows that have both.

    Attributes:
        metric: Name of the metric.
        value: First minus second; None where it is undefined.
        low: Lower end of the interval of the difference, computed from the differences within
            each draw; None where there is no interval.
        high: Upper end of the interval; None where there is no interval.
        first: The metric of the first score on these rows.
        second: The metric of the second score on these rows.
        num_unscored: Rows that are left out because they lack one of the two scores.
        num_resamples: Draws from which the interval is computed.
        num_dropped: Draws that are left out because the difference is undefined for them.
        reason: Why the value or the interval is missing, one line; empty if neither is missing.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    first: Estimate
    second: Estimate
    num_unscored: int
    num_resamples: int
    num_dropped: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the labelled rows have a score, and the statuses of the others.

    Attributes:
        num_positive: Positive rows.
        num_negative: Negative rows.
        num_positive_scored: Positive rows with a score.
        num_negative_scored: Negative rows with a score.
        unscored_by_status: Number of rows without a score by status, the most frequent first;
            empty if no status was given.
    """

    num_positive: int
    num_negative: int
    num_positive_scored: int
    num_negative_scored: int
    unscored_by_status: Mapping[str, int]

    @property
    def num_unscored(self) -> int:
        """Labelled rows without a score."""
        num_scored = self.num_positive_scored + self.num_negative_scored
        return self.num_positive + self.num_negative - num_scored


# Metrics with intervals.


def estimate(
    metric: Metric,
    target: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """Compute a metric and its bootstrap interval.

    Args:
        metric: ``AUROC``, ``AVERAGE_PRECISION``, ``SPEARMAN`` or a metric of ``sensitivity_at``.
        target: True where a row is positive; for ``SPEARMAN`` a number. (N,)
        scores: Higher = more pathogenic, so ``-llr``; NaN where a row has no score. (N,)
        groups: Rows with the same value are drawn together; None draws each row alone. (N,)
        strata: For ``AUROC``: only pairs of rows of the same stratum are compared; the pairs of all
            strata are pooled with equal weight. Strata with one class are left out. (N,)
        resampling: How the interval is computed.

    Raises:
        ValueError: The arrays differ in length, or there are strata for another metric than
            ``AUROC``. A metric that the data do not define is not an error: see ``reason``.
    """
    rows = _read_rows(metric, target, (scores,), groups, strata)
    statistics, (value,), reason = _prepare(metric, rows)
    (values,), reason = _draw(metric, statistics, rows, resampling, reason)
    return _make_estimate(metric, rows, value, values, resampling, reason)


def compare(
    metric: Metric,
    target: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Difference:
    """Compute a metric of the first score minus that of the second, on the same rows and draws.

    Rows that lack one of the two scores are left out and counted. Arguments and errors are those
    of ``estimate``.
    """
    rows = _read_rows(metric, target, (first, second), groups, strata)
    statistics, (value_1, value_2), reason = _prepare(metric, rows)
    (values_1, values_2), reason = _draw(metric, statistics, rows, resampling, reason)
    differences = values_1 - values_2
    low, high = _percentiles(differences, resampling)
    return Difference(
        metric=metric.name,
        value=None if value_1 is None or value_2 is None else value_1 - value_2,
        low=low,
        high=high,
        first=_make_estimate(metric, rows, value_1, values_1, resampling, reason),
        second=_make_estimate(metric, rows, value_2, values_2, resampling, reason),
        num_unscored=rows.num_unscored,
        num_resamples=int(np.isfinite(differences).sum()),
        num_dropped=int((~np.isfinite(differences)).sum()),
        reason=reason,
    )


def count_coverage(
    labels: npt.ArrayLike, scores: npt.ArrayLike, status: npt.ArrayLike | None = None
) -> Coverage:
    """Count the labelled rows with a score, and those without a score by their status.

    Args:
        labels: True where a row is positive. (N,)
        scores: NaN where a row has no score. (N,)
        status: Why a row has or lacks a score. (N,)

    Raises:
        ValueError: The arrays differ in length.
    """
    target, values = read_labels(labels), read_numbers(scores)
    is_scored = ~np.isnan(values)
    by_status: dict[str, int] = {}
    if status is not None:
        reasons = np.asarray(status)
        require_one_length(target, values, reasons)
        names, counts = np.unique(reasons[~is_scored], return_counts=True)
        for index in np.argsort(-counts, kind="stable"):
            by_status[str(names[index])] = int(counts[index])
    require_one_length(target, values)
    return Coverage(
        num_positive=int(target.sum()),
        num_negative=int((~target).sum()),
        num_positive_scored=int((target & is_scored).sum()),
        num_negative_scored=int((~target & is_scored).sum()),
        unscored_by_status=by_status,
    )


def number_groups(column: npt.ArrayLike, *others: npt.ArrayLike) -> IntArray:
    """Number the distinct combinations of values, for example of ``contig`` and ``pos``.

    Raises:
        ValueError: The columns differ in length.
    """
    arrays = [np.asarray(column), *map(np.asarray, others)]
    require_one_length(*arrays)
    numbers = np.zeros(len(arrays[0]), dtype=np.int64)
    for array in arrays:
        _, codes = np.unique(array, return_inverse=True)
        _, numbers = np.unique(numbers * (len(array) + 1) + codes, return_inverse=True)
    return numbers.astype(np.int64)


# How metrics and intervals are computed.


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows from which a metric is computed, without NaN."""

    target: Any  # (N,)
    scores: tuple[FloatArray, ...]  # one or two, each (N,)
    groups: IntArray  # 0, 1, 2 ... without gaps, (N,)
    strata: IntArray | None  # (N,)
    num_unscored: int

    @property
    def num_groups(self) -> int:
        return int(self.groups.max()) + 1 if len(self.groups) else 0


def _read_rows(
    metric: Metric,
    target: npt.ArrayLike,
    scores: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike | None,
    strata: npt.ArrayLike | None,
) -> _Rows:
    """The rows that have all scores; with strata, the rows of strata that have both classes."""
    if strata is not None and metric.name != AUROC.name:
        raise ValueError(f"strata: expected the metric {AUROC.name}, got {metric.name}.")
    every_target: Any = read_labels(target) if metric.has_labels else read_numbers(target)
    num_rows = len(every_target)
    values = [read_numbers(one) for one in scores]
    drawn = np.arange(num_rows) if groups is None else number_groups(groups)
    within = np.zeros(num_rows, dtype=np.int64) if strata is None else number_groups(strata)
    require_one_length(every_target, *values, drawn, within)

    is_unscored = np.isnan(np.array([*values, every_target])).any(axis=0)
    keep = ~is_unscored
    if strata is not None:
        has_both = np.ones(num_rows + 1, dtype=bool)
        for of_class in (every_target, ~every_target):
            has_both &= np.bincount(within[keep & of_class], minlength=len(has_both)) > 0
        keep &= has_both[within]
    require_finite(every_target[keep], *(one[keep] for one in values))
    return _Rows(
        target=every_target[keep],
        scores=tuple(one[keep] for one in values),
        groups=number_groups(drawn[keep]),
        strata=None if strata is None else within[keep],
        num_unscored=int(is_unscored.sum()),
    )


def _prepare(
    metric: Metric, rows: _Rows
) -> tuple[tuple[Statistic, ...], tuple[float | None, ...], str]:
    """Statistic and value of each score; the reason if they are undefined."""
    reasons = [
        why_no_value(
            rows.target, scores, has_labels=metric.has_labels, in_strata=rows.strata is not None
        )
        for scores in rows.scores
    ]
    reason = next(filter(None, reasons), "")
    if reason:
        return (), (None,) * len(rows.scores), reason
    if rows.strata is None:
        statistics = tuple(metric.prepare(rows.target, scores) for scores in rows.scores)
        return statistics, tuple(metric.compute(rows.target, one) for one in rows.scores), ""
    statistics = tuple(prepare_auroc(rows.target, one, rows.strata) for one in rows.scores)
    once = np.ones((1, len(rows.target)))
    return statistics, tuple(float(statistic(once)[0]) for statistic in statistics), ""


def _why_no_interval(rows: _Rows, has_labels: bool) -> str:
    """The reason if all rows of a class are in one group: other groups could differ."""
    if not has_labels:
        return "no interval: the scored rows are one cluster" if rows.num_groups < 2 else ""
    for name, of_class in (("positive", rows.target), ("negative", ~rows.target)):
        if len(np.unique(rows.groups[of_class])) < 2:
            return f"no interval: the {name}s are one cluster"
    return ""


def _draw(
    metric: Metric,
    statistics: Sequence[Statistic],
    rows: _Rows,
    resampling: Resampling,
    reason: str,
) -> tuple[FloatArray, str]:
    """Values of all statistics on the same draws; the reason if there are no values."""
    reason = reason or _why_no_interval(rows, metric.has_labels)
    if not resampling.num_resamples:
        reason = reason or "no interval: the number of resamples is 0"
    if reason:
        return np.empty((len(rows.scores), 0)), reason
    values = np.concatenate(
        [
            [statistic(weights) for statistic in statistics]
            for weights in draw_weights(rows.groups, resampling)
        ],
        axis=1,
    )
    if not np.isfinite(values).all(axis=0).any():
        reason = f"no interval: the metric is undefined in all {resampling.num_resamples} resamples"
    return values, reason


def draw_weights(groups: IntArray, resampling: Resampling) -> Iterator[FloatArray]:
    """Draw groups, and give how often each row was drawn, in blocks of (B, N).

    The draws do not depend on the size of the blocks.

    Args:
        groups: Number of each row's group; the rows of a group are drawn together. (N,)
        resampling: Number of draws, and their seed.
    """
    _, groups = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(resampling.seed)
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    block = max(1, BLOCK_NUMBERS // max(len(groups), 1))
    for start in range(0, resampling.num_resamples, block):
        counts = np.empty((min(block, resampling.num_resamples - start), num_groups))
        for draw in counts:
            draw[:] = np.bincount(
                random.integers(num_groups, size=num_groups), minlength=num_groups
            )
        yield counts[:, groups]


def _percentiles(
    values: FloatArray, resampling: Resampling
) -> tuple[float, float] | tuple[None, None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    outside = (1 - resampling.confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def _make_estimate(
    metric: Metric,
    rows: _Rows,
    value: float | None,
    values: FloatArray,
    resampling: Resampling,
    reason: str,
) -> Estimate:
    low, high = _percentiles(values, resampling)
    num_positive = int(rows.target.sum()) if metric.has_labels else None
    return Estimate(
        metric=metric.name,
        value=value,
        low=low,
        high=high,
        num_rows=len(rows.target),
        num_positive=num_positive,
        num_negative=None if num_positive is None else len(rows.target) - num_positive,
        num_unscored=rows.num_unscored,
        num_groups=rows.num_groups,
        num_resamples=int(np.isfinite(values).sum()),
        num_dropped=int((~np.isfinite(values)).sum()),
        reason=reason,
    )
