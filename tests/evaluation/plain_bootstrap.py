"""A slow, plain bootstrap: the oracle of the one that sorts once and sums by sparse matrices.

It repeats each row as often as its group was drawn and gives the rows to scikit-learn and scipy.
Metrics of probabilities take the scores as probabilities at even odds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)


def draw_counts(num_groups: int, num_draws: int, seed: int = 0) -> np.ndarray:
    """How often each group is drawn. (B, G)"""
    random = np.random.default_rng(seed)
    draws = [random.integers(num_groups, size=num_groups) for _ in range(num_draws)]
    return np.array([np.bincount(draw, minlength=num_groups) for draw in draws])


def measure_plainly(
    name: str, target: np.ndarray, scores: np.ndarray, strata: np.ndarray | None = None
) -> float:
    """A metric of plain rows by its name; NaN where it is undefined."""
    if name == "spearman":
        if len(target) < 2 or len(set(target)) < 2 or len(set(scores)) < 2:
            return np.nan
        return float(spearmanr(target, scores).statistic)
    if strata is not None:
        return _auroc_in_strata(target, scores, strata)
    if target.all() or not target.any():
        return np.nan
    if name == "auroc":
        return float(roc_auc_score(target, scores))
    if name == "average_precision":
        return float(average_precision_score(target, scores))
    if name in ("brier", "brier_skill", "expected_calibration_error"):
        return _measure_probabilities(name, target, scores)
    kind, _, specificity, _ = name.split("_")
    false_rate, true_rate, thresholds = roc_curve(target, scores, drop_intermediate=False)
    is_allowed = false_rate <= 1 - float(specificity) + 1e-9
    best = true_rate[is_allowed].max()
    if kind == "sensitivity":
        return float(best)
    threshold = thresholds[is_allowed][np.argmax(true_rate[is_allowed])]
    return float(threshold) if best else np.nan


def find_probabilities(target: np.ndarray, even: np.ndarray) -> np.ndarray:
    """Probabilities from likelihood ratios at the odds of the positive rows."""
    odds = target.sum() / (~target).sum()
    with np.errstate(divide="ignore"):
        ratios = even / (1 - even)
    return np.array([one * odds / (1 + one * odds) if np.isfinite(one) else 1.0 for one in ratios])


def assign_bins_plainly(values: np.ndarray) -> np.ndarray:
    """The bin of each row among ten, whose ends are values of rows."""
    ordered = sorted(values)
    ends = [ordered[number * (len(values) - 1) // 10] for number in range(1, 10)]
    return sum((values > end).astype(int) for end in ends)


def _measure_probabilities(name: str, target: np.ndarray, even: np.ndarray) -> float:
    probabilities = find_probabilities(target, even)
    brier = brier_score_loss(target, probabilities)
    if name == "brier":
        return float(brier)
    if name == "brier_skill":
        return float(1 - brier / brier_score_loss(target, np.full(len(target), target.mean())))
    bins = assign_bins_plainly(even)
    errors = [
        (bins == one).mean() * abs(target[bins == one].mean() - probabilities[bins == one].mean())
        for one in set(bins.tolist())
    ]
    return float(sum(errors))


def _auroc_in_strata(target: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> float:
    won = pairs = 0.0
    for stratum in np.unique(strata):
        inside = strata == stratum
        num_pairs = float(target[inside].sum()) * float((~target[inside]).sum())
        if num_pairs:
            won += num_pairs * float(roc_auc_score(target[inside], scores[inside]))
            pairs += num_pairs
    return won / pairs if pairs else np.nan


def draw_plainly(
    name: str,
    target: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    num_draws: int,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """The metric of each draw. (B,)"""
    _, numbers = np.unique(groups, return_inverse=True)
    values: list[Any] = []
    for counts in draw_counts(numbers.max() + 1, num_draws, seed):
        rows = np.repeat(np.arange(len(target)), counts[numbers])
        of_rows = None if strata is None else strata[rows]
        values.append(measure_plainly(name, target[rows], scores[rows], of_rows))
    return np.array(values)
