"""Plots of combined tables: scores and metrics by window length, correlations of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import FloatArray
from evo2_tasks.report.combinations import QUANTILES, Spread, WindowLength
from evo2_tasks.report.metric_words import METRIC_NAMES, describe_rows
from evo2_tasks.report.style import (
    CLEAR,
    DENSITY,
    MUTED,
    SERIES,
    Plot,
    Series,
    make_layout,
    rounded,
)
from evo2_tasks.report.words import (
    count,
    decimal,
    fixed,
    interval,
    listed,
    plot_text,
    printable,
)

HEIGHT: Final = 320
ALL_ALLELES: Final = "all alleles"

APART: Final = 1.03
"""Ratio of the places of two marks of the same window length."""

MOST_NUMBERED: Final = 8
"""Most scores whose correlations are written into the cells of the matrix."""

_LOW, _FIRST, _MEDIAN, _THIRD, _HIGH = range(len(QUANTILES))


def plot_lengths(
    plot_id: str,
    title: str,
    lengths: Sequence[WindowLength],
    spreads: Mapping[str, Sequence[Spread]],
) -> Plot:
    """Plot median and quartiles of the score against the window length.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        lengths: The scorings, the shortest window first.
        spreads: The scores in some rows for each of the scorings, by the name of the rows.
    """
    figure = go.Figure(layout=_make_layout(lengths, y=f"{_score(lengths)}, nats"))
    for look, (name, found) in zip(SERIES, spreads.items(), strict=False):
        quantiles = np.array([one.quantiles for one in found])
        _add_band(figure, look, lengths, quantiles[:, _FIRST], quantiles[:, _THIRD], name)
        texts = [
            f"{name}, window {count(one.length)}<br>median {decimal(values[_MEDIAN])}"
            f"<br>quartiles {decimal(values[_FIRST])} and {decimal(values[_THIRD])}"
            f"<br>5 % and 95 % {decimal(values[_LOW])} and {decimal(values[_HIGH])}"
            f"<br>{counted(spread.num_rows, 'allele')}"
            for one, values, spread in zip(lengths, quantiles.tolist(), found, strict=True)
        ]
        figure.add_scatter(
            x=[one.length for one in lengths], y=rounded(quantiles[:, _MEDIAN]), name=name,
            mode="lines+markers", line=look.line(), marker=look.marker(8), legendgroup=name,
            hovertext=texts, hoverinfo="text",
        )  # fmt: skip
    rows = [
        counted(found[0].num_rows, "allele")
        if name == ALL_ALLELES
        else f"{count(found[0].num_rows)} {name}"
        for name, found in spreads.items()
    ]
    medians = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{decimal(spread.quantiles[_MEDIAN])} at {count(one.length)}"
            for one, spread in zip(lengths, found, strict=True)
        )
        for name, found in spreads.items()
    )
    caption = (
        f"Median (line) and quartiles (band) of {_score(lengths)} by window length. Only alleles "
        f"that are scored in all scorings are used: {listed(rows)}. Medians in nats: {medians}."
    )
    return Plot(plot_id, title, caption, figure, HEIGHT)


def plot_metric_lengths(
    plot_id: str,
    title: str,
    lengths: Sequence[WindowLength],
    metrics: Mapping[str, Sequence[MetricRow | None]],
    ensembles: Mapping[str, MetricRow],
    chance_level: float,
) -> Plot:
    """Plot a metric with its intervals against the window length.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        lengths: The scorings, the shortest window first.
        metrics: The metric for each of the scorings, by the name of the rows; the first rows are
            those of the ensembles too.
        ensembles: The metric of each ensemble.
        chance_level: Chance level of the metric.
    """
    first = next(row for row in next(iter(metrics.values())) if row is not None)
    name = METRIC_NAMES[first.metric]
    figure = go.Figure(layout=_make_layout(lengths, y=name))
    figure.add_hline(y=chance_level, line={"color": MUTED, "dash": "dash", "width": 1})
    for number, (look, (rows, found)) in enumerate(zip(SERIES, metrics.items(), strict=False)):
        moved = APART ** (number - (len(metrics) - 1) / 2)
        points = [
            (one.length, row)
            for one, row in zip(lengths, found, strict=True)
            if row is not None and row.value is not None
        ]
        figure.add_trace(_make_points(look, rows, points, moved))
    looks = SERIES[len(metrics) :]
    drawn = [(one, row) for one, row in ensembles.items() if row.value is not None]
    for look, (ensemble, row) in zip(looks, drawn, strict=False):
        figure.add_scatter(
            x=[lengths[0].length, lengths[-1].length], y=rounded([row.value or 0.0] * 2),
            name=plot_text(ensemble), mode="lines", line=look.line(1.5),
            hovertext=f"{plot_text(ensemble)}: {interval(row.value, row.low, row.high)}",
            hoverinfo="text",
        )  # fmt: skip
    of_first = next(iter(metrics))
    values = [
        f"{interval(row.value, row.low, row.high)} at {count(one.length)}"
        for one, row in zip(lengths, metrics[of_first], strict=True)
        if row is not None and row.value is not None
    ]
    caption = (
        f"{name} of {of_first} ({describe_rows(first)}, the same rows at each length): "
        f"{', '.join(values)}. Bars are 95 % intervals. The dashed line is the chance level."
    )
    if drawn:
        lines = [f"{printable(one)} {interval(row.value, row.low, row.high)}" for one, row in drawn]
        caption += f" The lines without marks are the ensembles on the same rows: {listed(lines)}."
    if len(metrics) > 1:
        caption += " The marks of one length are drawn side by side."
    return Plot(plot_id, title, caption, figure, HEIGHT)


def plot_correlations(
    plot_id: str, title: str, scores: Sequence[str], correlations: FloatArray, rows: str
) -> Plot:
    """Plot the rank correlations of the scores as a matrix.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        scores: Names of the scores. (M,)
        correlations: The correlation of each two scores; NaN where it is undefined. (M, M)
        rows: The rows in words.
    """
    names = [plot_text(name) for name in scores]
    places = list(range(len(names)))
    height = 110 + 34 * len(names)
    layout = make_layout(height, x="", y="", showlegend=False)
    axis = {"tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False}
    # Names are turned to the left: one that is turned to the right may leave the figure, which
    # hides it.
    layout.xaxis.update({**axis, "autotickangles": [0, -30, -90]})
    layout.yaxis.update({**axis, "range": [len(names) - 0.5, -0.5]})
    values = [[None if np.isnan(one) else float(one) for one in row] for row in correlations]
    finite = [one for row in values for one in row if one is not None]
    heatmap = go.Heatmap(
        x=places, y=places, z=[rounded(row) for row in correlations],
        hovertext=[
            [f"{one} and {other}<br>Spearman {fixed(value)}"
             for other, value in zip(names, of_row, strict=True)]
            for one, of_row in zip(names, values, strict=True)
        ],
        hoverinfo="text", hoverongaps=False, xgap=1, ygap=1,
        colorscale=[[at / (len(DENSITY) - 1), color] for at, color in enumerate(DENSITY)],
        zmin=min([0.0, *finite]), zmax=1,
        colorbar={
            "title": {"text": "Spearman", "side": "top"}, "nticks": 5, "thickness": 10,
            "outlinewidth": 0, "bgcolor": CLEAR,
        },
    )  # fmt: skip
    if len(names) <= MOST_NUMBERED:
        heatmap.update(
            text=[["" if one is None else fixed(one, 2) for one in row] for row in values],
            texttemplate="%{text}", textfont={"size": 12}, showscale=False,
        )  # fmt: skip
    figure = go.Figure(heatmap, layout)
    pairs = {
        (one, other): correlations[one, other]
        for one in places
        for other in range(one + 1, len(places))
        if np.isfinite(correlations[one, other])
    }
    caption = f"Spearman's rank correlation of each two scores, {rows}."
    if pairs:
        ends = [(min(pairs, key=pairs.__getitem__), "lowest"),
                (max(pairs, key=pairs.__getitem__), "highest")]  # fmt: skip
        caption += " " + " ".join(
            f"The {end} is {fixed(float(pairs[pair]))}, of {printable(scores[pair[0]])} and "
            f"{printable(scores[pair[1]])}."
            for pair, end in ends[: len(pairs)]
        )
    return Plot(plot_id, title, caption, figure, height)


def _score(lengths: Sequence[WindowLength]) -> str:
    """The name of the score without that of a scoring: ``llr``."""
    return lengths[0].score.rpartition(".")[2]


def _make_layout(lengths: Sequence[WindowLength], *, y: str) -> go.Layout:
    """A logarithmic axis with a tick at each window length."""
    layout = make_layout(HEIGHT, x="window length, bases", y=y)
    values = [one.length for one in lengths]
    ends = np.log10([values[0] / 1.15, values[-1] * 1.15])
    layout.xaxis.update(
        type="log", tickvals=values, ticktext=[count(one) for one in values], range=ends.tolist()
    )
    return layout


def _add_band(
    figure: go.Figure,
    look: Series,
    lengths: Sequence[WindowLength],
    low: FloatArray,
    high: FloatArray,
    name: str,
) -> None:
    x = [one.length for one in lengths]
    figure.add_scatter(
        x=[*x, *x[::-1]], y=rounded(np.concatenate([high, low[::-1]])),
        fill="toself", fillcolor=look.fill, line={"width": 0}, mode="lines",
        hoverinfo="skip", showlegend=False, legendgroup=name,
    )  # fmt: skip


def _make_points(
    look: Series, name: str, points: Sequence[tuple[int, MetricRow]], moved: float
) -> go.Scatter:
    values = np.array([row.value for _, row in points], dtype=np.float64)
    low, high = (
        np.array([getattr(row, end) if getattr(row, end) is not None else row.value
                  for _, row in points], dtype=np.float64)
        for end in ("low", "high")
    )  # fmt: skip
    bars: dict[str, Any] = {
        "type": "data", "symmetric": False, "color": look.color, "thickness": 1.2, "width": 0,
        "array": rounded(high - values), "arrayminus": rounded(values - low),
    }  # fmt: skip
    return go.Scatter(
        x=rounded([length * moved for length, _ in points]), y=rounded(values),
        name=name, mode="lines+markers", line=look.line(1.5), error_y=bars,
        marker=look.marker(8) | {
            "symbol": [look.symbol + "-open" * row.is_small for _, row in points],
            "line": {"width": 2, "color": look.color},
        },
        hovertext=[
            f"{name}, window {count(length)}<br>{interval(row.value, row.low, row.high)}"
            f"<br>{describe_rows(row)}"
            for length, row in points
        ],
        hoverinfo="text",
    )  # fmt: skip
