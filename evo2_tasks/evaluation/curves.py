"""Points of curves for drawing: ROC, precision against recall, distributions, numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from evo2_tasks.evaluation.estimates import Resampling, draw_weights
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.metrics import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.selection import orient

GRID: Final = np.linspace(0, 1, 101)
NUM_BINS: Final = 60
NUM_TENTHS: Final = 10
DRAWN_NUMBERS: Final = 2e7
MOST_DRAWS: Final = 500
OUTER_SHARE: Final = 0.005
"""Share of the rows at either end of a distribution that its first and last bin take in."""

Point = dict[str, Any]
"""A row by the columns of ``schema.CURVE_COLUMNS``."""


def make_curves(rows: LabelledRows) -> Iterator[Point]:
    """The curves of ``llr`` and of each baseline; intervals are of ``llr`` alone.

    Scores and numbers have the sign that they have in the table.

    Args:
        rows: The labelled rows.

    Yields:
        Points, curve by curve; none of a score that has only one class of rows.
    """
    for name, scores in ({"llr": rows.scores["llr"]} | rows.baselines).items():
        scored = np.isfinite(scores)
        if not scored.any():
            continue
        target, values = rows.target[scored], scores[scored]
        named = {"label": rows.label.field, "score": name}
        own = -values if name in rows.low_is_harmful else values
        if not rows.has_classes:
            numbers = orient(target, rows.label.harmful)
            yield from _points(named, "number", _number_curve(numbers, own))
            continue
        for part, of_class in (("positive", target), ("negative", ~target)):
            if of_class.any():
                yield from _points(named, "distribution", _distribution(own, of_class), part)
        if target.all() or not target.any():
            continue
        for curve, draw in (("roc", _roc), ("precision_recall", _precision_recall)):
            y = draw(target, values, None)
            low, high = (
                _band(draw, target, values, rows.clusters[scored])
                if name == "llr"
                else (np.full(len(GRID), np.nan),) * 2
            )
            yield from _points(named, curve, {"x": GRID, "y": y, "low": low, "high": high})


def _roc(target: BoolArray, values: FloatArray, weights: FloatArray | None) -> FloatArray:
    """Share of the positive rows above the threshold, at each share of the negative ones."""
    false_rate, true_rate, _ = roc_curve(target, values, sample_weight=weights)
    y: FloatArray = np.interp(GRID, false_rate, true_rate)
    # A curve begins with a step: at 0 stands what is reached without any negative row.
    y[0] = true_rate[false_rate == 0].max()
    return y


def _precision_recall(
    target: BoolArray, values: FloatArray, weights: FloatArray | None
) -> FloatArray:
    """Precision at the highest threshold that reaches each recall."""
    precision, recall, _ = precision_recall_curve(target, values, sample_weight=weights)
    # Recall falls along the arrays, their last point is no threshold.
    precision, recall = precision[-2::-1], recall[-2::-1]
    at = np.searchsorted(recall, GRID - 1e-12, side="left")
    y: FloatArray = precision[np.minimum(at, len(precision) - 1)]
    return y


def _band(
    draw: Any, target: BoolArray, values: FloatArray, clusters: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Interval of a curve at each point of the grid, from draws of clusters."""
    num_draws = int(np.clip(DRAWN_NUMBERS / len(values), 50, MOST_DRAWS))
    resampling = Resampling(num_draws)
    curves = []
    for weights in draw_weights(clusters, resampling):
        for of_draw in weights:
            drawn = of_draw > 0
            if len(np.unique(target[drawn])) == 2:
                curves.append(draw(target[drawn], values[drawn], of_draw[drawn]))
    if not curves:
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    outside = (1 - resampling.confidence) / 2
    low, high = np.quantile(np.array(curves), [outside, 1 - outside], axis=0)
    return low, high


def _distribution(values: FloatArray, of_class: BoolArray) -> dict[str, FloatArray]:
    """Shares of a class in bins that all classes have in common."""
    low, high = np.quantile(values, [OUTER_SHARE, 1 - OUTER_SHARE])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, NUM_BINS + 1)
    counts, _ = np.histogram(np.clip(values[of_class], low, high), edges)
    return {"x": (edges[:-1] + edges[1:]) / 2, "y": counts / of_class.sum()}


def _number_curve(numbers: FloatArray, values: FloatArray) -> dict[str, FloatArray]:
    """Median and quartiles of the number in tenths of the rows by score."""
    tenths = np.array_split(np.argsort(values, kind="stable"), min(NUM_TENTHS, len(values)))
    low, y, high = np.array([np.quantile(numbers[one], [0.25, 0.5, 0.75]) for one in tenths]).T
    x = np.array([np.median(values[one]) for one in tenths])
    return {"x": x, "y": y, "low": low, "high": high}


def _points(
    named: Mapping[str, str],
    curve: str,
    columns: Mapping[str, FloatArray],
    part: str | None = None,
) -> Iterator[Point]:
    for values in zip(*columns.values(), strict=True):
        numbers = {
            key: float(value) if np.isfinite(value) else None
            for key, value in zip(columns, values, strict=True)
        }
        yield {**named, "curve": curve, "part": part, "low": None, "high": None, **numbers}
