"""Metrics of how well scores separate labels or follow numbers, for plain and for weighted rows.

A higher score means more pathogenic, and a label is true where a row is pathogenic. An ``llr`` has
the other sign (below 0 means that alt is less likely), so callers pass ``-llr``.

Metrics of plain rows come from scikit-learn and scipy. A bootstrap needs a metric for thousands of
weightings of the same rows: a ``Statistic`` computes many of them at once. A weight is a whole
number: how often a row counts.

Shapes: B weightings, N rows, K runs of equal scores, S strata.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
NO_SCORE: Final = "no labelled row has a score"
Statistic = Callable[[FloatArray], FloatArray]
"""Computes a metric's values (B,) from weights of the rows (B, N); NaN where it is undefined."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that compares scores with labels or with numbers.

    Attributes:
        name: Name of the metric in tables.
        has_labels: Whether the target is a label; otherwise it is a number.
        compute: Computes the value from target and scores of all rows, without NaN.
        prepare: Makes the ``Statistic`` for the same target and scores.
    """

    name: str
    has_labels: bool
    compute: Callable[[Any, FloatArray], float]
    prepare: Callable[[Any, FloatArray], Statistic]


# Metrics of plain rows.


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Share of the pairs of a positive and a negative row in which the positive one scores higher.

    A pair with equal scores counts one half.

    Args:
        labels: True where a row is positive. (N,)
        scores: Higher = more pathogenic, so ``-llr``; without NaN. (N,)

    Raises:
        ValueError: All rows are of one class, or a score is not finite.
    """
    target, values = _read_classes(labels, scores)
    return float(roc_auc_score(target, values))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve, a step function; its chance level is the prevalence.

    Arguments and errors as for ``auroc``.
    """
    target, values = _read_classes(labels, scores)
    return float(average_precision_score(target, values))


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
    target, values = _read_classes(labels, scores)
    false_rate, true_rate, _ = roc_curve(target, values, drop_intermediate=False)
    return float(true_rate[false_rate <= _most_false(specificity)].max())


def threshold_at_specificity(
    labels: npt.ArrayLike, scores: npt.ArrayLike, specificity: float
) -> float:
    """Lowest score at which a row is called positive in ``sensitivity_at_specificity``.

    NaN if even the highest score calls too many negative rows positive. Arguments and errors as
    there.
    """
    target, values = _read_classes(labels, scores)
    false_rate, true_rate, thresholds = roc_curve(target, values, drop_intermediate=False)
    is_allowed = false_rate <= _most_false(specificity)
    # Of the thresholds with the largest sensitivity, the one with the fewest negative rows.
    threshold = float(thresholds[is_allowed][np.argmax(true_rate[is_allowed])])
    return threshold if np.isfinite(threshold) else float("nan")


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
    return float(spearmanr(target, values).statistic)


# The same metrics of weighted rows, for many weightings at once.


class _Runs:
    """Runs of rows with equal scores, the highest score first, stratum after stratum."""

    def __init__(self, scores: FloatArray, strata: IntArray | None = None) -> None:
        strata = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
        self.order: IntArray = np.lexsort((-scores, strata))  # (N,)
        scores, strata = scores[self.order], strata[self.order]
        is_start = np.ones(len(scores), dtype=bool)
        is_start[1:] = (scores[1:] != scores[:-1]) | (strata[1:] != strata[:-1])
        self.starts: IntArray = np.flatnonzero(is_start)  # (K,)
        strata = strata[self.starts]
        self.stratum_starts: IntArray = np.flatnonzero(  # runs, (S,)
            np.concatenate([[True], strata[1:] != strata[:-1]])
        )
        self.run_of_row = np.empty(len(scores), dtype=np.int64)  # (N,)
        self.run_of_row[self.order] = np.cumsum(is_start) - 1

    def sum(self, weights: FloatArray) -> FloatArray:
        """Weight of each run. (B, N) to (B, K)."""
        sums: FloatArray = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        return sums

    def sum_by_stratum(self, of_runs: FloatArray) -> FloatArray:
        """Sum of each stratum. (B, K) to (B, S)."""
        sums: FloatArray = np.add.reduceat(of_runs, self.stratum_starts, axis=1)
        return sums


def _prepare_classes(
    labels: BoolArray, runs: _Runs
) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Weights of the positive and of the negative rows in each run. (B, N) to twice (B, K)."""

    def split(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        positive = runs.sum(weights * labels)
        return positive, runs.sum(weights) - positive

    return split


def prepare_auroc(
    labels: BoolArray, scores: FloatArray, strata: IntArray | None = None
) -> Statistic:
    """AUROC; with strata only pairs within a stratum count, each with equal weight."""
    runs = _Runs(scores, strata)
    split = _prepare_classes(labels, runs)
    lengths = np.diff(runs.stratum_starts, append=len(runs.starts))

    def compute(weights: FloatArray) -> FloatArray:
        positive, negative = split(weights)
        num_positive = runs.sum_by_stratum(positive)
        num_negative = runs.sum_by_stratum(negative)
        # Weights are whole numbers, so cumulative sums across strata are exact.
        at_end = np.repeat(np.cumsum(num_negative, axis=1), lengths, axis=1)
        below = at_end - np.cumsum(negative, axis=1)
        won = (positive * (below + negative / 2)).sum(axis=1)
        return _divide(won, (num_positive * num_negative).sum(axis=1))

    return compute


def _prepare_average_precision(labels: BoolArray, scores: FloatArray) -> Statistic:
    split = _prepare_classes(labels, _Runs(scores))

    def compute(weights: FloatArray) -> FloatArray:
        positive, negative = split(weights)
        num_true = np.cumsum(positive, axis=1)
        precision = _divide(num_true, num_true + np.cumsum(negative, axis=1))
        # Before the first drawn row precision is undefined, but the weight is 0.
        summed = (positive * np.nan_to_num(precision)).sum(axis=1)
        value = _divide(summed, num_true[:, -1])
        value[negative.sum(axis=1) == 0] = np.nan
        return value

    return compute


def _prepare_sensitivity(labels: BoolArray, scores: FloatArray, *, specificity: float) -> Statistic:
    split = _prepare_classes(labels, _Runs(scores))

    def compute(weights: FloatArray) -> FloatArray:
        positive, negative = split(weights)
        num_true, num_false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
        allowed = _divide(num_false, num_false[:, -1:]) <= _most_false(specificity)
        value = _divide((num_true * allowed).max(axis=1), num_true[:, -1])
        value[num_false[:, -1] == 0] = np.nan
        return value

    return compute


def _prepare_threshold(labels: BoolArray, scores: FloatArray, *, specificity: float) -> Statistic:
    runs = _Runs(scores)
    split = _prepare_classes(labels, runs)
    of_runs = scores[runs.order][runs.starts]

    def compute(weights: FloatArray) -> FloatArray:
        positive, negative = split(weights)
        num_true, num_false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
        allowed = _divide(num_false, num_false[:, -1:]) <= _most_false(specificity)
        found = num_true * allowed
        value: FloatArray = of_runs[np.argmax(found, axis=1)]
        value[(found.max(axis=1) == 0) | (num_false[:, -1] == 0)] = np.nan
        return value

    return compute


def _prepare_spearman(numbers: FloatArray, scores: FloatArray) -> Statistic:
    both = (_Runs(numbers), _Runs(scores))

    def compute(weights: FloatArray) -> FloatArray:
        ranks = []  # mean ranks minus their mean, twice (B, N)
        for runs in both:
            of_runs = runs.sum(weights)
            ranks.append((np.cumsum(of_runs, axis=1) - of_runs / 2)[:, runs.run_of_row])
            ranks[-1] -= weights.sum(axis=1, keepdims=True) / 2
        first, second = ranks
        covariance = (weights * first * second).sum(axis=1)
        variances = (weights * first**2).sum(axis=1) * (weights * second**2).sum(axis=1)
        return _divide(covariance, np.sqrt(variances))

    return compute


AUROC: Final = Metric("auroc", True, auroc, prepare_auroc)
AVERAGE_PRECISION: Final = Metric(
    "average_precision", True, average_precision, _prepare_average_precision
)
SPEARMAN: Final = Metric("spearman", False, spearman, _prepare_spearman)


def sensitivity_at(specificity: float) -> Metric:
    """The metric ``sensitivity_at_specificity`` for one specificity.

    Raises:
        ValueError: The specificity is not between 0 and 1.
    """
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity: expected a number from 0 to 1, got {specificity}.")

    def compute(labels: BoolArray, scores: FloatArray) -> float:
        return sensitivity_at_specificity(labels, scores, specificity)

    def prepare(labels: BoolArray, scores: FloatArray) -> Statistic:
        return _prepare_sensitivity(labels, scores, specificity=specificity)

    return Metric(f"sensitivity_at_{specificity:g}_specificity", True, compute, prepare)


def threshold_at(specificity: float) -> Metric:
    """The metric ``threshold_at_specificity`` for one specificity, as for ``sensitivity_at``.

    Raises:
        ValueError: The specificity is not between 0 and 1.
    """
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity: expected a number from 0 to 1, got {specificity}.")

    def compute(labels: BoolArray, scores: FloatArray) -> float:
        return threshold_at_specificity(labels, scores, specificity)

    def prepare(labels: BoolArray, scores: FloatArray) -> Statistic:
        return _prepare_threshold(labels, scores, specificity=specificity)

    return Metric(f"threshold_at_{specificity:g}_specificity", True, compute, prepare)


# Checks that the metrics share.


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


def read_labels(labels: npt.ArrayLike) -> BoolArray:
    """Convert labels to an array.

    Raises:
        ValueError: They are not a one-dimensional array of booleans.
    """
    target = np.asarray(labels)
    if target.dtype != bool or target.ndim != 1:
        raise ValueError(
            f"labels: expected a one-dimensional array of booleans, got {target.dtype} of shape "
            f"{target.shape}."
        )
    return target


def read_numbers(numbers: npt.ArrayLike) -> FloatArray:
    """Convert scores, or target numbers, to an array.

    Raises:
        ValueError: They are not a one-dimensional array of numbers.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores: expected a one-dimensional array, got the shape {values.shape}.")
    return values


def _read_classes(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    target, values = read_labels(labels), read_numbers(scores)
    require_one_length(target, values)
    require_finite(values)
    reason = why_no_value(target, values, has_labels=True)
    if reason:
        raise ValueError(f"{reason}.")
    return target, values


def require_one_length(*arrays: npt.NDArray[Any]) -> None:
    """Check that arrays have the same length.

    Raises:
        ValueError: Their lengths differ.
    """
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"columns: expected one length, got {', '.join(map(str, lengths))}.")


def require_finite(*arrays: npt.NDArray[Any]) -> None:
    """Check that all numbers are finite.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("scores: expected finite numbers, or NaN where a row has no score.")


def _most_false(specificity: float) -> float:
    """Share of the negative rows that may be above the threshold, with a margin for rounding."""
    return 1 - specificity + 1e-9


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient; NaN where the denominator is 0."""
    value = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=value, where=denominator != 0)
    return value
