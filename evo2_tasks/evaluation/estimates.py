"""Metrics with bootstrap intervals, differences of two scores, and coverage.

A higher score means more pathogenic, so callers pass ``-llr``. NaN says that a row has no score:
such rows are left out and counted, in a comparison of two scores those that lack either.

Intervals are percentiles of a bootstrap that draws groups (positions, say), since neighbours are
not independent. Draws that leave a metric undefined, with one class only say, are dropped and
counted. What the data do not give is no error: a figure then holds the reason.

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

BLOCK_NUMBERS: Final = 1 << 20  # weights at once: 8 MB, whatever the number of rows


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made.

    Attributes:
        num_resamples: Number of draws.
        seed: The same seed and groups give the same draws.
        confidence: Share of the draws inside the interval.
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
    """A figure with its interval, or the reason why there is none.

    The interval is too narrow where a class has few groups (below about ten), and has no width
    where a score separates the classes without error.

    Attributes:
        metric: Name of the metric.
        value: On all rows that have a score; null where it is undefined.
        low: Lower end of the interval; null where there is none.
        high: Its upper end.
        num_rows: Rows that it rests on.
        num_positive: Those that are positive; null where the target is a number.
        num_negative: Those that are negative; the same.
        num_unscored: Rows left out since they have no score, or no number as target.
        num_groups: Groups that were drawn from.
        num_resamples: Draws that the interval rests on.
        num_dropped: Draws without one, with one class only say.
        reason: Why there is no value or no interval, one line; empty where both are there.
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
        """Share of the rows that are positive: the average precision of a score without worth."""
        if self.num_positive is None or not self.num_rows:
            return None
        return self.num_positive / self.num_rows


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of one score minus that of another, on the rows that have both.

    Attributes:
        metric: Name of the metric.
        value: First minus second; null where it is undefined.
        low: Lower end of the interval, of differences on the same draws; null where there is none.
        high: Its upper end.
        first: The figure of the first score on these rows.
        second: That of the second.
        num_unscored: Rows left out since they lack one of the two.
        num_resamples: Draws that the interval rests on.
        num_dropped: Draws without a difference.
        reason: Why there is no value or no interval, one line; empty where both are there.
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
    """How many of the labelled rows have a score, and why the others have none.

    Attributes:
        num_positive: Positive rows.
        num_negative: Negative rows.
        num_positive_scored: Positive rows with a score.
        num_negative_scored: Negative rows with a score.
        unscored_by_status: Number of rows without one by status, the most frequent first; empty
            where no status was given.
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


# Figures with intervals.


def estimate(
    metric: Metric,
    target: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """A metric with its bootstrap interval.

    Args:
        metric: ``AUROC``, ``AVERAGE_PRECISION``, ``SPEARMAN`` or what ``sensitivity_at`` gives.
        target: True where a row is positive; for ``SPEARMAN`` numbers. (N,)
        scores: Higher = more pathogenic, so ``-llr``; NaN where a row has none. (N,)
        groups: What is drawn as one, by any values; None means each row for itself. (N,)
        strata: For ``AUROC``: pairs are formed within a stratum only and pooled, each counting
            alike. Rows of strata with one class only form none and are left out. (N,)
        resampling: How the interval is made.

    Raises:
        ValueError: Arrays that do not fit, or strata for a metric that knows none. What the data do
            not give is no error: ``reason`` says it.
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
    """A metric of the first score minus that of the second, on the same rows and the same draws.

    Rows that lack one of the two scores are left out of both and counted. Arguments and errors as
    in ``estimate``.
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
    """Count the labelled rows with a score, and those without by their status.

    Args:
        labels: True where a row is positive. (N,)
        scores: NaN where a row has none. (N,)
        status: Why a row has or lacks a score. (N,)

    Raises:
        ValueError: Arrays that do not fit.
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
    """One number for each distinct combination of values, ``contig`` and ``pos`` say.

    Raises:
        ValueError: The columns do not have one length.
    """
    arrays = [np.asarray(column), *map(np.asarray, others)]
    require_one_length(*arrays)
    numbers = np.zeros(len(arrays[0]), dtype=np.int64)
    for array in arrays:
        _, codes = np.unique(array, return_inverse=True)
        _, numbers = np.unique(numbers * (len(array) + 1) + codes, return_inverse=True)
    return numbers.astype(np.int64)


# How they are made.


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that a figure rests on, none of them NaN."""

    target: Any  # (N,)
    scores: tuple[FloatArray, ...]  # one or two, each (N,)
    groups: IntArray  # 0, 1, 2 ... without a gap, (N,)
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
    """The rows with all scores, of strata those that form a pair."""
    if strata is not None and metric.name != AUROC.name:
        raise ValueError(f"strata: expected the metric {AUROC.name}, got {metric.name}.")
    wanted: Any = read_labels(target) if metric.has_labels else read_numbers(target)
    values = [read_numbers(one) for one in scores]
    drawn = np.arange(len(wanted)) if groups is None else number_groups(groups)
    within = np.zeros(len(wanted), dtype=np.int64) if strata is None else number_groups(strata)
    require_one_length(wanted, *values, drawn, within)

    is_unscored = np.isnan(np.array([*values, wanted])).any(axis=0)
    keep = ~is_unscored
    if strata is not None:
        has_both = np.ones(len(wanted) + 1, dtype=bool)
        for of_class in (wanted, ~wanted):
            has_both &= np.bincount(within[keep & of_class], minlength=len(has_both)) > 0
        keep &= has_both[within]
    require_finite(wanted[keep], *(one[keep] for one in values))
    return _Rows(
        target=wanted[keep],
        scores=tuple(one[keep] for one in values),
        groups=number_groups(drawn[keep]),
        strata=None if strata is None else within[keep],
        num_unscored=int(is_unscored.sum()),
    )


def _prepare(
    metric: Metric, rows: _Rows
) -> tuple[tuple[Statistic, ...], tuple[float | None, ...], str]:
    """Statistic and value for each score, and the reason if there are none."""
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
    """Groups of a class that are always drawn alike say nothing of what others would give."""
    if not has_labels:
        return "the scored rows are of one cluster: no interval" if rows.num_groups < 2 else ""
    for name, of_class in (("positive", rows.target), ("negative", ~rows.target)):
        if len(np.unique(rows.groups[of_class])) < 2:
            return f"the {name} rows are of one cluster: no interval"
    return ""


def _draw(
    metric: Metric,
    statistics: Sequence[Statistic],
    rows: _Rows,
    resampling: Resampling,
    reason: str,
) -> tuple[FloatArray, str]:
    """Values of all statistics on the same draws, and the reason if there are none."""
    reason = reason or _why_no_interval(rows, metric.has_labels)
    if not resampling.num_resamples:
        reason = reason or "no resamples were asked for: no interval"
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
        reason = f"undefined in all {resampling.num_resamples} resamples: no interval"
    return values, reason


def draw_weights(groups: IntArray, resampling: Resampling) -> Iterator[FloatArray]:
    """How often each row was drawn, in pieces of (B, N); the draws do not depend on the pieces.

    Args:
        groups: Number of each row's group; rows of one are drawn together. (N,)
        resampling: How many draws, and their seed.
    """
    _, groups = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(resampling.seed)
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    piece = max(1, BLOCK_NUMBERS // max(len(groups), 1))
    for start in range(0, resampling.num_resamples, piece):
        counts = np.empty((min(piece, resampling.num_resamples - start), num_groups))
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
