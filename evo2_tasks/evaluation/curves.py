"""Curves for plots: ROC, precision and recall, distributions of scores, medians of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray, number_groups
from evo2_tasks.evaluation.draws import Resampling, draw_groups
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.metrics import count_above
from evo2_tasks.evaluation.results import Curve
from evo2_tasks.evaluation.selection import orient

GRID: Final = np.linspace(0, 1, 101)
NUM_BINS: Final = 60
NUM_TENTHS: Final = 10
MOST_SINGLE: Final = 200
"""Most rows of a class that has a point for each row."""

DRAWN_NUMBERS: Final = 2e7
MOST_DRAWS: Final = 500
OUTER_SHARE: Final = 0.005
"""Share of the rows at either end of a distribution that is counted in its first or last bin."""


def make_curves(rows: LabelledRows) -> Iterator[Curve]:
    """Make the curves of main scores, probes and baselines; only main scores have intervals.

    Scores and numbers have the sign that they have in the table.

    Args:
        rows: The labelled rows.

    Yields:
        Curves. A score of which all rows are of one class has no ROC and no precision-recall curve.
    """
    for name, scores in (rows.main_scores | rows.probes | rows.baselines).items():
        is_scored = np.isfinite(scores)
        if not is_scored.any():
            continue
        target, values = rows.target[is_scored], scores[is_scored]
        table_values = -values if name in rows.low_is_harmful else values
        label = rows.label.field
        if not rows.has_classes:
            yield _number_curve(label, name, orient(target, rows.label.harmful), table_values)
            continue
        for part, is_part in (("positive", target), ("negative", ~target)):
            if is_part.any():
                yield _distribution(label, name, part, table_values, is_part)
                if is_part.sum() <= MOST_SINGLE:
                    alleles = rows.alleles[is_scored][is_part]
                    yield _cumulative(label, name, part, table_values[is_part], alleles)
        if target.all() or not target.any():
            continue
        ends = _missing(len(GRID))
        bands = dict.fromkeys(("roc", "precision_recall"), (ends, ends))
        if name in rows.columns.main:
            bands |= _draw_bands(target, values, rows.clusters[is_scored])
        roc, precision_recall = _roc(target, values), _precision_recall(target, values)
        for curve, y in (("roc", roc), ("precision_recall", precision_recall)):
            yield Curve(label, name, curve, None, GRID, y, *bands[curve])


def _roc(target: BoolArray, values: FloatArray) -> FloatArray:
    """Share of the positive rows above the threshold, at each share of the negative rows."""
    num_true, num_false, _ = count_above(target, values)
    return _read_roc(np.append(0, num_false) / num_false[-1], np.append(0, num_true) / num_true[-1])


def _read_roc(false_rate: FloatArray, true_rate: FloatArray) -> FloatArray:
    """The curve at each point of the grid, from rising rates."""
    y: FloatArray = np.interp(GRID, false_rate, true_rate)
    # At 0 the curve is a step: its value is the sensitivity without any false positive.
    y[0] = true_rate[np.searchsorted(false_rate, 0, side="right") - 1]
    return y


def _precision_recall(target: BoolArray, values: FloatArray) -> FloatArray:
    """Precision at the highest threshold that reaches each recall."""
    num_true, num_false, _ = count_above(target, values)
    return _read_precision(num_true / (num_true + num_false), num_true / num_true[-1])


def _read_precision(precision: FloatArray, recall: FloatArray) -> FloatArray:
    """The precision at each recall of the grid, from rising recalls."""
    at = np.searchsorted(recall, GRID - 1e-12, side="left")
    y: FloatArray = precision[np.minimum(at, len(precision) - 1)]
    return y


def _draw_bands(
    target: BoolArray, values: FloatArray, clusters: IntArray
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Intervals of the curves at each point of the grid, by drawing clusters.

    Returns:
        Lower and upper ends by kind of curve; none if no draw has both classes.
    """
    clusters = number_groups(clusters)
    order = np.argsort(-values, kind="stable")
    groups, target, values = clusters[order], target[order], values[order]
    last_of_run = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    num_draws = int(np.clip(DRAWN_NUMBERS / len(values), 50, MOST_DRAWS))
    resampling = Resampling(num_draws)
    drawn: dict[str, list[FloatArray]] = {"roc": [], "precision_recall": []}
    for counts in draw_groups(int(clusters.max()) + 1, resampling):
        for draw in range(counts.shape[1]):
            rows = counts[:, draw].astype(np.int64).take(groups, mode="clip")
            num_rows = np.cumsum(rows)[last_of_run]
            num_true = np.cumsum(rows * target)[last_of_run]
            first = np.searchsorted(num_rows, 1)  # the first run with a drawn row
            num_rows, num_true = num_rows[first:], num_true[first:]
            num_false = num_rows - num_true
            if not num_true[-1] or not num_false[-1]:
                continue
            false_rate = np.append(0, num_false) / num_false[-1]
            true_rate = np.append(0, num_true) / num_true[-1]
            drawn["roc"].append(_read_roc(false_rate, true_rate))
            drawn["precision_recall"].append(_read_precision(num_true / num_rows, true_rate[1:]))
    outside = (1 - resampling.confidence) / 2
    return {
        name: tuple(np.quantile(np.array(curves), [outside, 1 - outside], axis=0))
        for name, curves in drawn.items()
        if curves
    }


def _distribution(
    label: str, score: str, part: str, values: FloatArray, is_part: BoolArray
) -> Curve:
    """Shares of a class in bins that are the same for all classes."""
    low, high = np.quantile(values, [OUTER_SHARE, 1 - OUTER_SHARE])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, NUM_BINS + 1)
    counts, _ = np.histogram(np.clip(values[is_part], low, high), edges)
    middles = (edges[:-1] + edges[1:]) / 2
    shares = counts / is_part.sum()
    missing = _missing(NUM_BINS)
    return Curve(label, score, "distribution", part, middles, shares, missing, missing)


def _cumulative(label: str, score: str, part: str, values: FloatArray, alleles: IntArray) -> Curve:
    """Share of a class at or below the score of each of its rows."""
    order = np.argsort(values, kind="stable")
    x = values[order]
    y = np.searchsorted(x, x, side="right") / len(x)
    missing = _missing(len(x))
    return Curve(label, score, "cumulative", part, x, y, missing, missing, alleles[order])


def _number_curve(label: str, score: str, numbers: FloatArray, values: FloatArray) -> Curve:
    """Median and quartiles of the label in tenths of the rows, in the order of the score."""
    tenths = np.array_split(np.argsort(values, kind="stable"), min(NUM_TENTHS, len(values)))
    low, y, high = np.array([np.quantile(numbers[rows], [0.25, 0.5, 0.75]) for rows in tenths]).T
    x = np.array([np.median(values[rows]) for rows in tenths])
    return Curve(label, score, "number", None, x, y, low, high)


def _missing(num_points: int) -> FloatArray:
    return np.full(num_points, np.nan)
