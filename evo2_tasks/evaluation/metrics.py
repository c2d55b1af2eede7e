"""Metrics of how well scores separate labels or follow numbers.

A higher score means more pathogenic, and a label is true where a row is pathogenic. An ``llr`` has
the other sign (below 0 means that alt is less likely), so callers pass ``-llr``.

scikit-learn and scipy, with which the tests compare the values, take half a second to import, so
the values are computed here. For the draws of a bootstrap, see ``drawn_metrics``.

Shapes: N rows, K distinct scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    read_labels,
    read_numbers,
    require_finite,
    require_one_length,
)
from evo2_tasks.evaluation.drawn_metrics import (
    AurocTally,
    AveragePrecisionTally,
    ClassTotals,
    SensitivityTally,
    Tally,
    ThresholdTally,
    most_false,
)
from evo2_tasks.evaluation.probabilities import (
    ReadSums,
    brier,
    brier_skill,
    expected_calibration_error,
    measure_all,
)
from evo2_tasks.evaluation.schema import BRIER, BRIER_SKILL, CALIBRATION_ERROR

NO_SCORE: Final = "no labelled row has a score"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that compares scores with labels or with numbers.

    Attributes:
        name: Name of the metric in tables.
        compute: Computes the value from target and scores of all rows, without NaN.
        tally: For a metric of ranks: computes it of drawn rows.
        read_sums: For a metric of probabilities: computes it of drawn rows.
    """

    name: str
    compute: Callable[[Any, FloatArray], float]
    tally: Callable[[ClassTotals], Tally] | None = None
    read_sums: ReadSums | None = None

    @property
    def has_labels(self) -> bool:
        """Whether the target is a label; otherwise it is a number."""
        return self.tally is not None or self.read_sums is not None


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Share of the pairs of a positive and a negative row in which the positive one scores higher.

    A pair with equal scores counts one half.

    Args:
        labels: True where a row is positive. (N,)
        scores: Higher = more pathogenic, so ``-llr``; without NaN. (N,)

    Raises:
        ValueError: All rows are of one class, or a score is not finite.
    """
    num_true, num_false, _ = count_above(*_read_classes(labels, scores))
    # Twice the pairs that a positive row wins: those with the negative rows of each score count
    # with the positive rows above them, and half of those with the same score.
    won = np.diff(num_false, prepend=0) * (num_true + np.append(0, num_true[:-1]))
    return float(won.sum() / (2 * num_true[-1] * num_false[-1]))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve, a step function; its chance level is the prevalence.

    Arguments and errors as for ``auroc``.
    """
    num_true, num_false, _ = count_above(*_read_classes(labels, scores))
    precision = num_true / (num_true + num_false)
    return float(np.diff(num_true, prepend=0) @ precision / num_true[-1])


def sensitivity_at_specificity(
    labels: npt.ArrayLike, scores: npt.ArrayLike, specificity: float
) -> float:
    """Largest share of positive rows above a threshold that keeps the specificity.

    Thresholds are between distinct scores, so rows with equal scores are on the same side.
    Arguments and errors as for ``auroc``.

    Args:
        labels: True where a row is positive. (N,)
        scores: Higher = more pathogenic. (N,)
        specificity: Share of the negative rows that must be below the threshold, at least.
    """
    num_true, num_false, _ = count_above(*_read_classes(labels, scores))
    is_allowed = num_false / num_false[-1] <= most_false(specificity)
    return float(num_true[is_allowed].max(initial=0) / num_true[-1])


def threshold_at_specificity(
    labels: npt.ArrayLike, scores: npt.ArrayLike, specificity: float
) -> float:
    """Lowest score at which a row is called positive in ``sensitivity_at_specificity``.

    NaN if even the highest score calls too many negative rows positive. Arguments and errors as
    there.
    """
    num_true, num_false, distinct = count_above(*_read_classes(labels, scores))
    is_allowed = num_false / num_false[-1] <= most_false(specificity)
    if not num_true[is_allowed].any():
        return float("nan")
    # Of the thresholds with the largest sensitivity, the one with the fewest negative rows.
    return float(distinct[is_allowed][np.argmax(num_true[is_allowed])])


def spearman(numbers: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Spearman's rank correlation, ties at their mean rank.

    Raises:
        ValueError: There are fewer than two rows, all values are equal, or one is not finite.
    """
    target, values = read_numbers(numbers), read_numbers(scores)
    require_one_length(target, values)
    require_finite(target, values)
    reason = why_no_value(target, values, has_labels=False)
    if reason:
        raise ValueError(f"{reason}.")
    return float(np.corrcoef(mean_ranks(target), mean_ranks(values))[0, 1])


AUROC: Final = Metric("auroc", auroc, AurocTally)
AVERAGE_PRECISION: Final = Metric("average_precision", average_precision, AveragePrecisionTally)
SPEARMAN: Final = Metric("spearman", spearman)


def _of_probabilities(name: str, read: ReadSums) -> Metric:
    """A metric of probabilities, which takes them at even odds."""
    return Metric(name, partial(measure_all, read), read_sums=read)


PROBABILITY_METRICS: Final = (
    _of_probabilities(BRIER, brier),
    _of_probabilities(BRIER_SKILL, brier_skill),
    _of_probabilities(CALIBRATION_ERROR, expected_calibration_error),
)
"""The metrics of the probabilities that follow from likelihood ratios; see ``probabilities``."""


def sensitivity_at(specificity: float) -> Metric:
    """The metric ``sensitivity_at_specificity`` for one specificity.

    Raises:
        ValueError: The specificity is not between 0 and 1.
    """
    return _at("sensitivity", sensitivity_at_specificity, SensitivityTally, specificity)


def threshold_at(specificity: float) -> Metric:
    """The metric ``threshold_at_specificity`` for one specificity.

    Raises:
        ValueError: The specificity is not between 0 and 1.
    """
    return _at("threshold", threshold_at_specificity, ThresholdTally, specificity)


def _at(
    name: str,
    compute: Callable[[Any, FloatArray, float], float],
    tally: Callable[[float, ClassTotals], Tally],
    specificity: float,
) -> Metric:
    """A metric at one specificity."""
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity: expected a number from 0 to 1, got {specificity}.")
    return Metric(
        f"{name}_at_{specificity:g}_specificity",
        partial(compute, specificity=specificity),  # type: ignore[call-arg]
        partial(tally, specificity),
    )


# What the metrics share.


def count_above(target: BoolArray, scores: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Count the rows at and above each distinct score, from the highest score to the lowest.

    Args:
        target: True where a row is positive. (N,)
        scores: Without NaN. (N,)

    Returns:
        How many of them are positive, and how many are negative; and the distinct scores. (K,)
    """
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    num_true: IntArray = np.cumsum(target[order], dtype=np.int64)[last]
    return num_true, last + 1 - num_true, values[last]


def mean_ranks(values: npt.NDArray[Any]) -> FloatArray:
    """Rank the values, from 1; equal values have the mean of their ranks, (N,)."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[number]
    return ranks


def why_no_value(
    target: Any, scores: FloatArray, *, has_labels: bool, in_strata: bool = False
) -> str:
    """Why metrics are undefined on these rows, which are without NaN; empty if they are defined."""
    if in_strata and not len(target):
        return "no group has scored rows of both classes"
    if not len(target):
        return NO_SCORE
    if has_labels and target.all():
        return "no scored row is negative"
    if has_labels and not target.any():
        return "no scored row is positive"
    if has_labels:
        return ""
    if len(target) < 2:
        return "only one row has a score"
    if (target == target[0]).all():
        return "all target numbers are equal"
    return "all scores are equal" if (scores == scores[0]).all() else ""


def _read_classes(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    target, values = read_labels(labels), read_numbers(scores)
    require_one_length(target, values)
    require_finite(values)
    reason = why_no_value(target, values, has_labels=True)
    if reason:
        raise ValueError(f"{reason}.")
    return target, values
