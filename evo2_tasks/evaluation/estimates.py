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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import (
    FloatArray,
    IntArray,
    number_groups,
    read_labels,
    read_numbers,
    require_finite,
    require_one_length,
)
from evo2_tasks.evaluation.drawn_metrics import Statistic, prepare_labels, prepare_spearman
from evo2_tasks.evaluation.draws import DEFAULT_RESAMPLING, Resampling, draw_groups
from evo2_tasks.evaluation.metrics import AUROC, Metric, why_no_value
from evo2_tasks.evaluation.probabilities import prepare_probabilities

DRAWS_OF_VALUES: Final = 100
"""Draws that take about as long as to sort the rows and to compute the values."""

ROWS_AT_ONCE: Final = 1 << 21
"""Sorted rows of all scores in memory at once: about 15 MB."""

AddWork = Callable[[int], object]
"""Takes how much of the work of ``count_work`` has been done since the call before."""


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
        metric: ``AUROC``, ``AVERAGE_PRECISION``, ``SPEARMAN``, a metric of ``sensitivity_at``, or
            one of ``PROBABILITY_METRICS``.
        target: True where a row is positive; for ``SPEARMAN`` a number. (N,)
        scores: Higher = more pathogenic, so ``-llr``; NaN where a row has no score. For
            ``PROBABILITY_METRICS``: probabilities at even odds, see ``probabilities``. (N,)
        groups: Rows with the same value are drawn together; None draws each row alone. (N,)
        strata: For ``AUROC``: only pairs of rows of the same stratum are compared; the pairs of all
            strata are pooled with equal weight. Strata with one class are left out. (N,)
        resampling: How the interval is computed.

    Raises:
        ValueError: The arrays differ in length, or there are strata for another metric than
            ``AUROC``. A metric that the data do not define is not an error: see ``reason``.
    """
    together = estimate_together(
        target, {"": scores}, {"": [metric]}, groups=groups, strata=strata, resampling=resampling
    )
    return together.estimate("", metric)


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
    scores = {"first": first, "second": second}
    metrics = {name: [metric] for name in scores}
    together = estimate_together(
        target, scores, metrics, groups=groups, strata=strata, resampling=resampling
    )
    return together.compare("first", "second", metric)


def estimate_together(
    target: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    metrics: Mapping[str, Sequence[Metric]],
    *,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
    add_work: AddWork = lambda work: None,
) -> Together:
    """Compute metrics of several scores on the same rows, with the same draws.

    It gives what ``estimate`` and ``compare`` give for each of them, and sorts and draws the rows
    once. Rows that lack one of the scores are left out of all.

    Args:
        target: As for ``estimate``. (N,)
        scores: Scores by name. Each (N,)
        metrics: Metrics of each score; all are of labels, or all are ``SPEARMAN``. Those of one
            score are all of ranks, or all of probabilities.
        groups: As for ``estimate``. (N,)
        strata: As for ``estimate``. (N,)
        resampling: How the intervals are computed.
        add_work: Called with the work that is done.

    Raises:
        ValueError: As for ``estimate``.
    """
    distinct = {metric.name: metric for of_score in metrics.values() for metric in of_score}
    rows = _read_rows(list(distinct.values()), target, scores, groups, strata)
    measured: dict[str, _Score] = {}
    at_once = max(1, ROWS_AT_ONCE // max(len(rows.target), 1))
    for first in range(0, len(scores), at_once):
        prepared = {}
        for name in list(scores)[first : first + at_once]:
            prepared[name] = _prepare(metrics[name], rows, name)
            add_work(len(rows.target) * DRAWS_OF_VALUES)
        _draw(prepared.values(), rows, resampling, add_work)
        measured |= prepared
    return Together(rows, measured, resampling)


def count_work(num_rows: int, num_scores: int, resampling: Resampling) -> int:
    """The work of ``estimate_together``: rows times draws, for each score."""
    return num_rows * num_scores * (resampling.num_resamples + DRAWS_OF_VALUES)


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


# How metrics and intervals are computed.


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows from which metrics are computed, without NaN."""

    target: Any  # (N,)
    scores: dict[str, FloatArray]  # each (N,)
    groups: IntArray  # 0, 1, 2 ... without gaps, (N,)
    strata: IntArray | None  # (N,)
    num_unscored: int
    has_labels: bool

    @property
    def num_groups(self) -> int:
        return int(self.groups.max()) + 1 if len(self.groups) else 0


@dataclass(slots=True)
class _Score:
    """The metrics of a score.

    Attributes:
        metrics: Its metrics. (M,)
        values: The metrics on all rows; empty if they are undefined. (M,)
        reason: Why the values or the intervals are missing; empty if they are not.
        statistic: Computes the metrics of drawn rows; None if there are no values, and when all
            are drawn.
        drawn: The metrics of the draws so far. (M, B)
    """

    metrics: Sequence[Metric]
    values: list[float]
    reason: str
    statistic: Statistic | None
    drawn: FloatArray

    def find(self, metric: Metric) -> tuple[float | None, FloatArray]:
        """The value of a metric, and its values in the draws, (B,)."""
        number = [one.name for one in self.metrics].index(metric.name)
        return self.values[number] if self.values else None, self.drawn[number]


@dataclass(frozen=True, slots=True)
class Together:
    """Metrics of several scores on the same rows and draws.

    The method ``estimate`` gives a metric of a score, ``compare`` its difference from that of
    another score.
    """

    _rows: _Rows
    _scores: Mapping[str, _Score]
    _resampling: Resampling

    def estimate(self, name: str, metric: Metric) -> Estimate:
        """A metric of a score with its interval."""
        score = self._scores[name]
        value, drawn = score.find(metric)
        reason = score.reason or self._find_undefined(drawn)
        return self._make_estimate(metric, value, drawn, reason)

    def compare(self, first: str, second: str, metric: Metric) -> Difference:
        """A metric of the first score minus that of the second, with its interval."""
        one, other = self._scores[first], self._scores[second]
        (value_1, drawn_1), (value_2, drawn_2) = one.find(metric), other.find(metric)
        if value_1 is None or value_2 is None:
            value_1 = value_2 = None
            drawn_1 = drawn_2 = np.empty(0)
        differences = drawn_1 - drawn_2
        reason = one.reason or other.reason or self._find_undefined(differences)
        low, high = _percentiles(differences, self._resampling)
        return Difference(
            metric=metric.name,
            value=None if value_1 is None or value_2 is None else value_1 - value_2,
            low=low,
            high=high,
            first=self._make_estimate(metric, value_1, drawn_1, reason),
            second=self._make_estimate(metric, value_2, drawn_2, reason),
            num_unscored=self._rows.num_unscored,
            num_resamples=int(np.isfinite(differences).sum()),
            num_dropped=int((~np.isfinite(differences)).sum()),
            reason=reason,
        )

    def _find_undefined(self, drawn: FloatArray) -> str:
        """The reason if a metric, or a difference, is undefined in all draws."""
        if np.isfinite(drawn).any():
            return ""
        num = self._resampling.num_resamples
        return f"no interval: the metric is undefined in all {num} resamples"

    def _make_estimate(
        self, metric: Metric, value: float | None, drawn: FloatArray, reason: str
    ) -> Estimate:
        rows = self._rows
        low, high = _percentiles(drawn, self._resampling)
        num_positive = int(rows.target.sum()) if rows.has_labels else None
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
            num_resamples=int(np.isfinite(drawn).sum()),
            num_dropped=int((~np.isfinite(drawn)).sum()),
            reason=reason,
        )


def _read_rows(
    metrics: Sequence[Metric],
    target: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike | None,
    strata: npt.ArrayLike | None,
) -> _Rows:
    """The rows that have all scores; with strata, the rows of strata that have both classes."""
    for metric in metrics:
        if strata is not None and metric.name != AUROC.name:
            raise ValueError(f"strata: expected the metric {AUROC.name}, got {metric.name}.")
    has_labels = metrics[0].has_labels
    if any(metric.has_labels != has_labels for metric in metrics):
        raise ValueError("metrics: expected metrics of labels, or the metric of numbers.")
    every_target: Any = read_labels(target) if has_labels else read_numbers(target)
    num_rows = len(every_target)
    values = {name: read_numbers(one) for name, one in scores.items()}
    drawn = np.arange(num_rows) if groups is None else number_groups(groups)
    within = every_target if strata is None else number_groups(strata)
    require_one_length(every_target, *values.values(), drawn, within)

    is_unscored = np.isnan(every_target)
    for one in values.values():
        is_unscored |= np.isnan(one)
    keep = ~is_unscored
    if strata is not None:
        has_both = np.ones(num_rows + 1, dtype=bool)
        for of_class in (every_target, ~every_target):
            has_both &= np.bincount(within[keep & of_class], minlength=len(has_both)) > 0
        keep &= has_both[within]
    if not keep.all():
        every_target = every_target[keep]
        drawn = number_groups(drawn[keep])
        values = {name: one[keep] for name, one in values.items()}
    require_finite(every_target, *values.values())
    return _Rows(
        target=every_target,
        scores=values,
        groups=drawn,
        strata=None if strata is None else within[keep],
        num_unscored=int(is_unscored.sum()),
        has_labels=has_labels,
    )


def _prepare(metrics: Sequence[Metric], rows: _Rows, name: str) -> _Score:
    """Values of a score, and how to compute those of draws; the reason if they are undefined."""
    scores = rows.scores[name]
    in_strata = rows.strata is not None
    reason = why_no_value(rows.target, scores, has_labels=rows.has_labels, in_strata=in_strata)
    drawn = np.empty((len(metrics), 0))
    if reason:
        return _Score(metrics, [], reason, None, drawn)
    values = []
    if rows.has_labels and not in_strata:
        # Sorted rows are quick to sort again, and give the same values.
        order = np.argsort(scores, kind="stable")
        target, ordered = rows.target[order], scores[order]
        del order
        values = [metric.compute(target, ordered) for metric in metrics]
        del target, ordered
    elif not rows.has_labels:
        values = [metric.compute(rows.target, scores) for metric in metrics]
    statistic = _prepare_statistic(metrics, rows, scores)
    if in_strata:
        once = np.ones((rows.num_groups, 1), dtype=np.int32)
        values = statistic(once)[:, 0].tolist()
    return _Score(metrics, values, "", statistic, drawn)


def _prepare_statistic(metrics: Sequence[Metric], rows: _Rows, scores: FloatArray) -> Statistic:
    """How to compute the metrics of draws; all are of ranks, of probabilities, or of numbers."""
    tallies = [metric.tally for metric in metrics if metric.tally is not None]
    reads = [metric.read_sums for metric in metrics if metric.read_sums is not None]
    if tallies and reads:
        raise ValueError("metrics: expected metrics of ranks, or metrics of probabilities.")
    if tallies:
        return prepare_labels(tallies, rows.target, scores, rows.groups, rows.strata)
    if reads:
        return prepare_probabilities(reads, rows.target, scores, rows.groups)
    return prepare_spearman(rows.target, scores, rows.groups)


def _why_no_interval(rows: _Rows) -> str:
    """The reason if all rows of a class are in one group: other groups could differ."""
    if not rows.has_labels:
        return "no interval: the scored rows are one cluster" if rows.num_groups < 2 else ""
    for name, of_class in (("positive", rows.target), ("negative", ~rows.target)):
        groups = rows.groups[of_class]
        if (groups == groups[0]).all():
            return f"no interval: the {name}s are one cluster"
    return ""


def _draw(scores: Iterable[_Score], rows: _Rows, resampling: Resampling, add_work: AddWork) -> None:
    """Compute the metrics of all scores on the same draws."""
    defined = [(score, score.statistic) for score in scores if score.statistic is not None]
    if not defined:
        return
    reason = _why_no_interval(rows)
    if not resampling.num_resamples:
        reason = reason or "no interval: the number of resamples is 0"
    if reason:
        for score, _ in defined:
            score.reason = reason
        return
    for counts in draw_groups(rows.num_groups, resampling):
        for score, statistic in defined:
            score.drawn = np.concatenate([score.drawn, statistic(counts)], axis=1)
            add_work(len(rows.target) * counts.shape[1])
    for score, _ in defined:
        score.statistic = None  # frees the sorted rows


def _percentiles(
    values: FloatArray, resampling: Resampling
) -> tuple[float, float] | tuple[None, None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    outside = (1 - resampling.confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
