"""Plots of a calibration: scores among those of a background, quantiles, likelihood ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.evaluation.results import Curve, MetricRow
from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import FloatArray
from evo2_tasks.report.calibrated_scores import QUANTILE_BINS, CalibratedScores, ScoreBins
from evo2_tasks.report.calibrations import Ratios, Threshold
from evo2_tasks.report.label_plots import CLASS_LOOKS
from evo2_tasks.report.metric_words import METRIC_NAMES, describe_rows
from evo2_tasks.report.style import (
    INK,
    MUTED,
    SERIES,
    Plot,
    Series,
    make_layout,
    rounded,
)
from evo2_tasks.report.words import count, decimal, interval, listed, share

PLOT_HEIGHT: Final = 320
PANEL_HEIGHT: Final = 200
RATIO_HEIGHT: Final = 420
CALIBRATION_HEIGHT: Final = 360
RUG_HEIGHT: Final = 24
"""Height of the line of marks of a class, pixels."""

FEW_SCORES: Final = 20
"""Most scores whose likelihood ratio has a mark each."""

BACKGROUND_LOOK: Final = Series(MUTED, "solid", "circle", "rgba(90,98,108,0.25)")
SET_LOOK: Final = Series(INK, "solid", "circle", "rgba(0,0,0,0)")

_BEYOND: Final = 1.15
"""How far the axis of likelihood ratios reaches, as a multiple of the logarithm of very strong."""


def plot_scores(
    plot_id: str,
    title: str,
    bins: ScoreBins,
    score: str,
    names: Mapping[int, str],
    *,
    medians: str = "",
    is_panel: bool = False,
) -> Plot:
    """Plot the distribution of a score in the background and in the set, and the labelled alleles.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        bins: The scores.
        score: Name of the score.
        names: Names of the alleles that are shown one by one, by row.
        medians: The medians as a sentence, for the caption.
        is_panel: Whether the plot is one of several small ones, without titles of axes.
    """
    rugs = [name for name in CLASS_LOOKS if bins.singles[name] and bins.has_few(name)]
    base = PANEL_HEIGHT if is_panel else PLOT_HEIGHT
    height = base + RUG_HEIGHT * len(rugs)
    figure = go.Figure(layout=_make_scores_layout(height, bins, rugs, score, is_panel=is_panel))
    lines = [("background", bins.background, BACKGROUND_LOOK), ("set", bins.alleles, SET_LOOK)]
    lines += [(name, bins.classes[name], look) for name, look in CLASS_LOOKS.items()
              if not bins.has_few(name)]  # fmt: skip
    for name, counts, look in lines:
        if not counts.sum():
            continue
        shares = counts / counts.sum()
        fill = {"fill": "tozeroy", "fillcolor": look.fill} if look is BACKGROUND_LOOK else {}
        texts = [
            f"{score} {decimal(low)} to {decimal(high)}<br>{of:.1%} of the {name} ({count(number)})"
            for low, high, of, number in zip(
                bins.edges[:-1], bins.edges[1:], shares, counts.tolist(), strict=True
            )
        ]
        _add_steps(figure, bins.edges, shares, texts, name, look.line(1 if fill else 2), **fill)
    for place, name in enumerate(rugs):
        figure.add_scatter(
            x=rounded([at for at, _ in bins.singles[name]]), y=[place] * len(bins.singles[name]),
            yaxis="y2", mode="markers", name=name, showlegend=False, hoverinfo="text",
            marker={
                "symbol": "line-ns-open", "size": 14, "color": CLASS_LOOKS[name].color,
                "line": {"width": 1.5, "color": CLASS_LOOKS[name].color},
            },
            hovertext=[f"{names[row]}<br>{name}, {score} {decimal(at)}"
                       for at, row in bins.singles[name]],
        )  # fmt: skip
    caption = f"{_caption_scores(bins)} {medians}".rstrip()
    return Plot(plot_id, title, caption, figure, height, is_wide=not is_panel)


def _add_steps(
    figure: go.Figure,
    edges: FloatArray,
    shares: FloatArray,
    texts: Sequence[str],
    name: str,
    line: Mapping[str, Any],
    **fill: Any,
) -> None:
    """Add a line with a step for each bin."""
    figure.add_scatter(
        x=rounded(edges), y=rounded([*shares, shares[-1]]), name=name, mode="lines",
        line={**line, "shape": "hv"}, hovertext=[*texts, texts[-1]], hoverinfo="text", **fill,
    )  # fmt: skip


def _make_scores_layout(
    height: int, bins: ScoreBins, rugs: Sequence[str], score: str, *, is_panel: bool
) -> go.Layout:
    """The axis of the shares, and below it a line for each class with marks."""
    foot = RUG_HEIGHT * len(rugs) / (height - 60)
    layout = make_layout(
        height,
        x="" if is_panel else f"{score}, nats",
        y="" if is_panel else "share",
        showlegend=not is_panel,
        yaxis={"tickformat": ".0%", "rangemode": "tozero", "domain": [foot, 1.0]},
        xaxis={"anchor": "y2" if rugs else "y", "range": [bins.edges[0], bins.edges[-1]]},
    )
    if rugs:
        layout.yaxis2 = {
            "domain": [0.0, max(0.01, foot - 0.02)], "range": [len(rugs) - 0.4, -0.6],
            "tickvals": list(range(len(rugs))), "ticktext": list(rugs), "showgrid": False,
            "zeroline": False, "automargin": True, "fixedrange": True,
        }  # fmt: skip
    return layout


def _caption_scores(bins: ScoreBins) -> str:
    """The numbers of alleles."""
    groups = [("background", bins.background), ("set", bins.alleles)]
    texts = [f"{counted(int(of.sum()), 'allele')} of the {name}" for name, of in groups if of.any()]
    classes = [f"{count(int(of.sum()))} {name}" for name, of in bins.classes.items() if of.any()]
    text = f"{listed(texts)}."
    return f"{text} Labelled alleles of the set: {listed(classes)}." if classes else text


def plot_quantiles(plot_id: str, title: str, scores: CalibratedScores) -> Plot:
    """Plot how the quantiles of the set are distributed, against a set like the background.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        scores: The counts; at least one allele has a quantile.
    """
    figure = go.Figure(
        layout=make_layout(
            PLOT_HEIGHT, x="quantile (low: harmful)", y="share",
            yaxis={"tickformat": ".0%", "rangemode": "tozero"},
            xaxis={"range": [-0.01, 1.01], "nticks": 11, "zeroline": False}, bargap=0.04,
        )
    )  # fmt: skip
    edges = np.linspace(0, 1, QUANTILE_BINS + 1)
    middles = rounded((edges[:-1] + edges[1:]) / 2)
    total = sum(scores.quantiles.values())
    assert isinstance(total, np.ndarray)  # noqa: S101 - there is always a class
    figure.add_bar(
        x=middles, y=rounded(total / total.sum()), name="set", hoverinfo="text",
        marker={"color": BACKGROUND_LOOK.color, "opacity": 0.45, "line": {"width": 0}},
        hovertext=_quantile_texts(edges, total, "alleles"),
    )  # fmt: skip
    for name, look in CLASS_LOOKS.items():
        counts = scores.quantiles[name]
        if counts.sum():
            texts = _quantile_texts(edges, counts, f"{name} alleles")
            _add_steps(figure, edges, counts / counts.sum(), texts, name, look.line())
    expected = 1 / QUANTILE_BINS
    figure.add_scatter(
        x=[0, 1], y=[expected] * 2, mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": MUTED, "dash": "dash", "width": 1},
    )  # fmt: skip
    part = f"{100 * expected:g} %"
    caption = (
        f"{counted(int(total.sum()), 'allele')} in {QUANTILE_BINS} bars of {part} of the "
        f"background. A set that is like the background has {part} of its alleles in each bar "
        "(dashed line). The lowest bar, which is the harmful end, has "
        f"{share(int(total[0]), int(total.sum()))} of the alleles"
    )
    for name in CLASS_LOOKS:
        counts = scores.quantiles[name]
        if counts.sum():
            caption += f", {share(int(counts[0]), int(counts.sum()))} of the {name} ones"
    return Plot(plot_id, title, f"{caption}.", figure, PLOT_HEIGHT)


def _quantile_texts(edges: FloatArray, counts: Any, what: str) -> list[str]:
    total = int(counts.sum())
    return [
        f"quantile {decimal(low)} to {decimal(high)}<br>{count(number)} {what} "
        f"({share(number, total)})"
        for low, high, number in zip(
            edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
        )
    ]


def plot_ratios(
    plot_id: str, title: str, ratios: Ratios, thresholds: Sequence[Threshold], score: str
) -> Plot:
    """Plot the likelihood ratio with its bounds against the score, and the thresholds.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        ratios: The likelihood ratios; at least one.
        thresholds: The strengths of both directions.
        score: Name of the score.
    """
    most = max(abs(math.log10(one.lr)) for one in thresholds) * _BEYOND
    ticks = sorted([*((one.lr, one.name) for one in thresholds), (1.0, "")])
    layout = make_layout(
        RATIO_HEIGHT,
        x=f"{score}, nats",
        y="likelihood ratio",
        yaxis={
            "type": "log", "range": [-most, most],
            "tickvals": [at for at, _ in ticks],
            "ticktext": [f"{name} {decimal(at)}".strip() for at, name in ticks],
        },
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    look = SERIES[0]

    def inside(values: FloatArray) -> FloatArray:
        """The values that the axis can show; those beyond it are at its ends."""
        return np.clip(values, 10.0**-most, 10.0**most)

    has_bounds = ~np.isnan(ratios.low) & ~np.isnan(ratios.high)
    if has_bounds.any():
        x = ratios.scores[has_bounds]
        low, high = inside(ratios.low[has_bounds]), inside(ratios.high[has_bounds])
        figure.add_scatter(
            x=rounded(np.concatenate([x, x[::-1]])), y=rounded(np.concatenate([high, low[::-1]])),
            fill="toself", fillcolor=look.fill, line={"width": 0}, mode="lines",
            hoverinfo="skip", name="5 % to 95 % of the draws",
        )  # fmt: skip
    figure.add_scatter(
        x=rounded(ratios.scores), y=rounded(inside(ratios.lr)), line=look.line(),
        mode="lines" if len(ratios.scores) > FEW_SCORES else "lines+markers",
        name="likelihood ratio", hoverinfo="text",
        hovertext=[
            f"{score} {decimal(at)}<br>likelihood ratio {describe_ratio(lr)}"
            f"<br>bounds {describe_ratio(low)} to {describe_ratio(high)}"
            for at, lr, low, high in zip(
                ratios.scores.tolist(), ratios.lr.tolist(), ratios.low.tolist(),
                ratios.high.tolist(), strict=True,
            )
        ],
    )  # fmt: skip
    _add_thresholds(figure, thresholds, score)
    is_beyond = (ratios.lr < 10.0**-most) | (ratios.lr > 10.0**most)
    return Plot(
        plot_id, title, _caption_ratios(ratios, thresholds, is_clipped=bool(is_beyond.any())),
        figure, RATIO_HEIGHT, is_wide=True,
    )  # fmt: skip


def _add_thresholds(figure: go.Figure, thresholds: Sequence[Threshold], score: str) -> None:
    """A line from each threshold to its bound, an open mark at the one, a full at the other."""
    found = [one for one in thresholds if one.threshold is not None]
    for one in found:
        if one.bound is not None:
            figure.add_scatter(
                x=rounded([_number(one.threshold), one.bound]), y=rounded([one.lr] * 2),
                mode="lines", hoverinfo="skip", showlegend=False,
                line={"color": SERIES[1].color, "width": 1.5},
            )  # fmt: skip
    for name, values, symbol in (
        (
            "threshold",
            [one.threshold for one in thresholds],
            "diamond-open",
        ),
        ("bound", [one.bound for one in thresholds], "diamond"),
    ):
        marks = [(one, at) for one, at in zip(thresholds, values, strict=True) if at is not None]
        if marks:
            figure.add_scatter(
                x=rounded([at for _, at in marks]), y=rounded([one.lr for one, _ in marks]),
                mode="markers", name=name, hoverinfo="text",
                marker={"color": SERIES[1].color, "symbol": symbol, "size": 10,
                        "line": {"width": 1.5, "color": SERIES[1].color}},
                hovertext=[f"{one.direction}, {one.name}<br>{name}: {score} {decimal(at)}"
                           for one, at in marks],
            )  # fmt: skip


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def describe_ratio(value: float) -> str:
    """A likelihood ratio in words."""
    if math.isnan(value):
        return "unknown"
    return decimal(value) if math.isfinite(value) else "infinite"


def _caption_ratios(ratios: Ratios, thresholds: Sequence[Threshold], *, is_clipped: bool) -> str:
    low, high = float(ratios.scores[0]), float(ratios.scores[-1])
    text = (
        f"Likelihood ratios at {counted(ratios.num_scores, 'score')} from {decimal(low)} to "
        f"{decimal(high)} nats. The lines of the axis are at the ratios that the strengths "
        "require: above 1 for harmful, below 1 for benign. The band reaches from the 5 % to the "
        "95 % quantile over the draws."
    )
    reached = [one for one in thresholds if one.reached]
    if reached:
        names = [f"{one.direction} {one.name} from {decimal(one.bound)} nats on"
                 for one in reached]  # fmt: skip
        text += f" Strengths that are reached, with their bounds: {listed(names)}."
    else:
        text += " No strength is reached."
    if is_clipped:
        text += " Ratios beyond the axis are drawn at its ends."
    return text


def plot_calibration(plot_id: str, title: str, curve: Curve, metrics: Sequence[MetricRow]) -> Plot:
    """Plot the share of positive alleles against the probability from likelihood ratios.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        curve: A point for each bin of the labelled alleles.
        metrics: The metrics of these probabilities.
    """
    axis = {"range": [-0.02, 1.02], "nticks": 6, "zeroline": False}
    figure = go.Figure(
        layout=make_layout(
            CALIBRATION_HEIGHT, x="probability from the likelihood ratio",
            y="share of positive alleles", showlegend=False, xaxis=axis, yaxis=axis,
        )
    )  # fmt: skip
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip",
        line={"color": MUTED, "dash": "dash", "width": 1},
    )  # fmt: skip
    look = SERIES[0]
    figure.add_scatter(
        x=rounded(curve.x), y=rounded(curve.y), mode="lines+markers", hoverinfo="text",
        line=look.line(1.5), marker=look.marker(8),
        error_y={
            "type": "data", "symmetric": False, "color": look.color, "thickness": 1.2, "width": 0,
            "array": rounded(np.nan_to_num(curve.high - curve.y)),
            "arrayminus": rounded(np.nan_to_num(curve.y - curve.low)),
        },
        hovertext=[
            f"mean probability {decimal(x)}<br>share of positive alleles "
            f"{interval(*(None if math.isnan(one) else one for one in (y, low, high)))}"
            for x, y, low, high in zip(
                curve.x.tolist(), curve.y.tolist(), curve.low.tolist(), curve.high.tolist(),
                strict=True,
            )
        ],
    )  # fmt: skip
    values = [
        f"{METRIC_NAMES[row.metric]} {interval(row.value, row.low, row.high)}" for row in metrics
    ]
    caption = (
        f"{describe_rows(metrics[0])}, in {counted(len(curve.x), 'bin')} in the order of the "
        "likelihood ratio. On the dashed line, the probability is the share. Bars are 95 % "
        f"intervals. {'; '.join(values)}."
    )
    return Plot(plot_id, title, caption, figure, CALIBRATION_HEIGHT, is_wide=True)
