"""Plots about labelled variants: curves with interval bands, metrics as dots, distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.evaluation.results import Curve, MetricRow
from evo2_tasks.evaluation.schema import ALL, BY_GROUP, BY_TYPE, FEWEST_ROWS, WITH, WITHIN
from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import FloatArray
from evo2_tasks.report.comparison import NamedCurve, NamedMetric
from evo2_tasks.report.metric_words import (
    describe_other_rows,
    describe_rows,
    describe_subset,
    list_values,
)
from evo2_tasks.report.rows import AlleleKey
from evo2_tasks.report.style import AXIS, MUTED, SERIES, Plot, Series, make_layout, rounded
from evo2_tasks.report.words import (
    decimal,
    fixed,
    interval,
    listed,
    plot_text,
    printable,
)

CURVE_HEIGHT: Final = 380
DISTRIBUTION_HEIGHT: Final = 300
MOST_DOT_ROWS: Final = 24
HEADING: Final = 1.3
"""Height of a heading among dots, in heights of the line of a dot."""

AXES: Final = {
    "roc": (
        "share of negative rows above the threshold",
        "share of positive rows above the threshold",
    ),
    "precision_recall": ("recall", "precision"),
}

Looks = Mapping[str, Series]
"""A look for each score that is drawn, by its name."""

CLASS_LOOKS: Final[Looks] = dict(zip(("negative", "positive"), SERIES, strict=False))

DotRow = Mapping[str, MetricRow]
"""The metrics below one heading, by the name of the score."""


def assign_looks(metrics: Sequence[NamedMetric]) -> Looks:
    """Assign a look to each score, in the order of the scores, as far as there are looks."""
    return dict(zip(dict.fromkeys(name for name, _ in metrics), SERIES, strict=False))


def plot_curves(
    plot_id: str,
    kind: str,
    curves: Sequence[NamedCurve],
    areas: Sequence[NamedMetric],
    looks: Looks,
) -> Plot:
    """Plot ROC or precision-recall curves with their interval bands.

    Args:
        plot_id: Id of the plot.
        kind: ``roc`` or ``precision_recall``.
        curves: A curve for each score.
        areas: The area under each curve, in the same order.
        looks: Looks of the scores; scores without a look are not drawn.
    """
    x_title, y_title = AXES[kind]
    unit = {"range": [-0.01, 1.01], "nticks": 6, "zeroline": False}
    figure = go.Figure(
        layout=make_layout(CURVE_HEIGHT, x=x_title, y=y_title, xaxis=unit, yaxis=unit)
    )
    drawn = [(name, curve) for name, curve in curves if name in looks]
    for name, curve in drawn:
        _add_band(figure, name, curve, looks[name])
    legends = {
        name: plot_text(name) + describe_other_rows(area, areas[0][1]) for name, area in areas
    }
    for name, curve in drawn:
        figure.add_scatter(
            x=rounded(curve.x), y=rounded(curve.y), name=legends[name], mode="lines",
            line=looks[name].line() | {"shape": "hv" if kind == "roc" else "linear"},
            legendgroup=plot_text(name),
            hovertemplate="%{x:.2f}, %{y:.3f}<extra>" + _template_text(name) + "</extra>",
        )  # fmt: skip
    for color, ends in _chance_lines(kind, areas, looks):
        figure.add_scatter(
            x=[0, 1], y=ends, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": color, "dash": "dash", "width": 1},
        )  # fmt: skip
    title = "ROC curves" if kind == "roc" else "Precision and recall"
    caption = _caption_curves(kind, areas)
    num_missing = len(curves) - len(drawn)
    caption += f" {_more(num_missing, 'score')} not drawn." if num_missing else ""
    return Plot(plot_id, title, caption, figure, CURVE_HEIGHT)


def _add_band(figure: go.Figure, name: str, curve: Curve, look: Series) -> None:
    has_band = np.isfinite(curve.low) & np.isfinite(curve.high)
    if not has_band.any():
        return
    x = curve.x[has_band]
    figure.add_scatter(
        x=rounded(np.concatenate([x, x[::-1]])),
        y=rounded(np.concatenate([curve.high[has_band], curve.low[has_band][::-1]])),
        fill="toself", fillcolor=look.fill, line={"width": 0}, mode="lines",
        hoverinfo="skip", showlegend=False, legendgroup=plot_text(name),
    )  # fmt: skip


def _chance_lines(
    kind: str, areas: Sequence[NamedMetric], looks: Looks
) -> list[tuple[str, list[float]]]:
    """Colour and ends of the lines of the chance level; for precision it is the prevalence."""
    if kind == "roc":
        return [(MUTED, [0, 1])]
    prevalences = {name: area.prevalence for name, area in areas if area.prevalence is not None}
    if len({*prevalences.values()}) == 1:
        return [(MUTED, [next(iter(prevalences.values()))] * 2)]
    return [
        (looks[name].color, [prevalence] * 2)
        for name, prevalence in prevalences.items()
        if name in looks
    ]


def _caption_curves(kind: str, areas: Sequence[NamedMetric]) -> str:
    """The areas under the curves and the chance level, for each score if it differs."""
    values, bands = list_values(areas), "Bands are 95 % intervals."
    if kind == "roc":
        return f"AUROC: {values}. The dashed line is the chance level. {bands}"
    prevalences = [fixed(area.prevalence) for _, area in areas]
    if len({*prevalences}) == 1:
        chance = f"The dashed line is the chance level, the prevalence of {prevalences[0]}"
    else:
        by_score = listed([
            f"{printable(name)} {prevalence}"
            for (name, _), prevalence in zip(areas, prevalences, strict=True)
        ])  # fmt: skip
        chance = f"The dashed lines are the chance levels, the prevalences: {by_score}"
    return f"Average precision: {values}. {chance}. {bands}"


def _more(number: int, noun: str) -> str:
    return f"{counted(number, f'more {noun}')} {'is' if number == 1 else 'are'}"


def _template_text(text: str) -> str:
    """Text from data inside a template of plotly, in which braces would be placeholders."""
    return plot_text(text).replace("%{", "%&#123;")


def plot_distribution(
    plot_id: str, title: str, parts: Mapping[str, Curve], rows: str, axis: str
) -> Plot:
    """Plot the distribution of a score in each class.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        parts: The distribution of each class.
        rows: The numbers of rows as a sentence.
        axis: Title of the axis of the score.
    """
    figure = go.Figure(
        layout=make_layout(
            DISTRIBUTION_HEIGHT,
            x=axis,
            y="share of the class",
            yaxis={"tickformat": ".0%", "rangemode": "tozero"},
        )
    )
    for part, look in CLASS_LOOKS.items():
        if part in parts:
            figure.add_scatter(
                x=rounded(parts[part].x), y=rounded(parts[part].y), name=part, mode="lines",
                line=look.line() | {"shape": "hvh"}, fill="tozeroy", fillcolor=look.fill,
                hovertemplate="%{x}<br>%{y:.1%} of the " + part + " rows<extra></extra>",
            )  # fmt: skip
    caption = (
        f"Each class adds up to 100 %. The outermost bins include values beyond the axis.{rows}"
    )
    return Plot(plot_id, title, caption, figure, DISTRIBUTION_HEIGHT)


def plot_cumulative(
    plot_id: str,
    title: str,
    parts: Mapping[str, Curve],
    singles: Mapping[str, Curve],
    names: Mapping[AlleleKey, str],
    rows: str,
    axis: str,
) -> Plot:
    """Plot the share of each class at or below a score; a class of few rows has a mark for each.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        parts: The distribution of each class.
        singles: The rows of the classes that have few.
        names: Names of the alleles of these rows.
        rows: The numbers of rows as a sentence.
        axis: Title of the axis of the score.
    """
    figure = go.Figure(
        layout=make_layout(
            DISTRIBUTION_HEIGHT, x=axis, y="share at or below",
            yaxis={"tickformat": ".0%", "range": [-0.02, 1.02], "zeroline": False},
        )
    )  # fmt: skip
    for part in [part for part in CLASS_LOOKS if part in parts]:
        look = CLASS_LOOKS[part]
        curve = singles.get(part)
        if curve is None:
            distribution = parts[part]
            x, y = _bin_ends(distribution.x), np.cumsum(distribution.y)
            places = [""] * len(x)
        else:
            x, y = curve.x, curve.y
            places = [f"{names.get((record, allele), '')}<br>"
                      for record, allele in curve.alleles.tolist()]  # fmt: skip
        figure.add_scatter(
            x=rounded(x), y=rounded(y), name=part,
            mode="lines" if curve is None else "lines+markers",
            line=look.line(2 if curve is None else 1) | {"shape": "hv"}, marker=look.marker(6),
            hovertext=[
                f"{place}{decimal(at)}: {share:.1%} of the {part} rows at or below"
                for place, at, share in zip(places, rounded(x), y, strict=True)
            ],
            hoverinfo="text",
        )  # fmt: skip
    caption = f"Share of each class with this score or a lower one. Each mark is one allele.{rows}"
    return Plot(plot_id, title, caption, figure, DISTRIBUTION_HEIGHT)


def _bin_ends(middles: FloatArray) -> FloatArray:
    """The upper ends of bins of equal width."""
    ends: FloatArray = middles + (middles[1] - middles[0]) / 2
    return ends


def plot_number(plot_id: str, title: str, curve: Curve, axis: str) -> Plot:
    """Plot median and quartiles of a numeric label in tenths of the rows, sorted by score."""
    places = list(range(1, len(curve.x) + 1))
    scores = [decimal(value) for value in curve.x]
    layout = make_layout(
        DISTRIBUTION_HEIGHT, x=f"{axis} (median of each part)", y=plot_text(curve.label),
        showlegend=False, xaxis={"tickvals": places, "ticktext": scores, "zeroline": False},
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    look = SERIES[0]
    figure.add_scatter(
        x=places, y=rounded(curve.y), mode="lines+markers", customdata=scores,
        line=look.line(1.5), marker=look.marker(8),
        error_y={
            "type": "data", "symmetric": False, "color": look.color, "thickness": 1.2,
            "array": rounded(curve.high - curve.y), "arrayminus": rounded(curve.y - curve.low),
        },
        hovertemplate="median score %{customdata}<br>median %{y}<extra></extra>",
    )  # fmt: skip
    caption = (
        "The rows are sorted by their score, the lowest on the left, and divided into "
        f"{counted(len(places), 'part')} of equal size. The points are the medians of "
        f"{printable(curve.label)} in each part, from {decimal(curve.y[0])} to "
        f"{decimal(curve.y[-1])}; the bars reach from quartile to quartile."
    )
    return Plot(plot_id, title, caption, figure, DISTRIBUTION_HEIGHT)


def plot_dots(
    plot_id: str, title: str, metrics: Sequence[NamedMetric], chance_level: float, looks: Looks
) -> Plot:
    """Plot a dot and an interval for each metric, below a heading for each subset.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        metrics: Values of one metric, in the order of the scores.
        chance_level: Chance level of the metric.
        looks: Looks of the scores; scores without a look are not drawn.
    """
    by_place: dict[tuple[str | None, ...], dict[str, MetricRow]] = {}
    for name, row in sorted(metrics, key=_place_order):
        if row.value is not None and name in looks:
            by_place.setdefault(row.place, {})[name] = row
    dot_rows: list[DotRow] = [
        {name: by_name[name] for name in looks if name in by_name}
        for by_name in islice(by_place.values(), MOST_DOT_ROWS)
    ]
    tops = np.concatenate([[0], np.cumsum([len(dots) + HEADING for dots in dot_rows])])
    height = int(70 + 17 * tops[-1])
    figure = go.Figure(layout=_make_dots_layout(height, dot_rows, tops, chance_level))
    for name, look in looks.items():
        dots = [
            (top + HEADING + list(of_row).index(name) + 0.4, of_row[name])
            for top, of_row in zip(tops, dot_rows, strict=False)
            if name in of_row
        ]
        if dots:
            figure.add_trace(_make_dots(name, look, dots))
    num_missing = len({name for name, _ in metrics} - looks.keys())
    caption = _caption_dots(metrics, dot_rows)
    caption += f" {_more(num_missing, 'score')} in the tables only." if num_missing else ""
    num_missing = len(by_place) - len(dot_rows)
    caption += f" {_more(num_missing, 'group')} in the tables only." if num_missing else ""
    return Plot(plot_id, title, caption, figure, height, is_wide=True)


def _place_order(named: NamedMetric) -> tuple[int, str, int]:
    """All rows first, then rows with a baseline, within groups, types, groups by size."""
    _, row = named
    subsets = (ALL, WITH, WITHIN, BY_TYPE, BY_GROUP)
    return subsets.index(row.subset), row.column or "", -row.num_rows


def _make_dots_layout(
    height: int, dot_rows: Sequence[DotRow], tops: FloatArray, chance_level: float
) -> go.Layout:
    """Axes, the line of the chance level, and headings above the dots, where long ones fit."""
    layout = make_layout(
        height,
        x="",
        y="",
        yaxis={
            "range": [float(tops[-1]) + 0.2, 0],
            "showgrid": False,
            "zeroline": False,
            "showticklabels": False,
        },
        xaxis={"zeroline": False, "side": "bottom"},
    )
    layout.margin.l, layout.margin.b = 12, 24
    layout.shapes = [
        {
            "type": "line", "x0": chance_level, "x1": chance_level, "yref": "paper",
            "y0": 0, "y1": 1, "line": {"color": MUTED, "dash": "dash", "width": 1},
        },
        *(
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(top),
                "y1": float(top), "line": {"color": AXIS, "width": 0.5},
            }
            for top in tops[1 : len(dot_rows)]
        ),
    ]  # fmt: skip
    layout.annotations = [
        {
            "text": plot_text(_shortened(describe_subset(next(iter(by_name.values()))))),
            "xref": "paper", "x": 0, "xanchor": "left", "y": float(top), "yanchor": "top",
            "showarrow": False,
        }
        for top, by_name in zip(tops, dot_rows, strict=False)
    ]  # fmt: skip
    return layout


def _shortened(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _make_dots(name: str, look: Series, dots: Sequence[tuple[float, MetricRow]]) -> go.Scatter:
    values = np.array([row.value for _, row in dots], dtype=np.float64)
    low = np.array([_or_nan(row.low) for _, row in dots])
    high = np.array([_or_nan(row.high) for _, row in dots])
    texts = [
        f"{plot_text(name)}<br>{plot_text(describe_subset(row))}<br>"
        f"{interval(row.value, row.low, row.high)}<br>{describe_rows(row)}"
        for _, row in dots
    ]
    return go.Scatter(
        x=rounded(values), y=[float(y) for y, _ in dots], mode="markers",
        name=plot_text(name), hovertext=texts, hoverinfo="text",
        marker=look.marker() | {
            "symbol": [look.symbol + "-open" * row.is_small for _, row in dots],
            "line": {"width": 2, "color": look.color},
        },
        error_x={
            "type": "data", "symmetric": False, "color": look.color, "thickness": 1.5, "width": 0,
            "array": rounded(np.nan_to_num(high - values)),
            "arrayminus": rounded(np.nan_to_num(values - low)),
        },
    )  # fmt: skip


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _caption_dots(metrics: Sequence[NamedMetric], dot_rows: Sequence[DotRow]) -> str:
    of_all = [(name, row) for name, row in metrics if row.subset == ALL]
    _, first = of_all[0]
    caption = (
        f"{counted(first.num_rows, 'labelled row')} with a score: {list_values(of_all)}. Bars are "
        "95 % intervals. The dashed line is the chance level. Dots in one group use the same rows "
        "of a scoring; the tables below list all metrics."
    )
    if any(row.is_small for by_name in dot_rows for row in by_name.values()):
        caption += (
            f" Open symbols have fewer than {FEWEST_ROWS} rows (of one class, if there are "
            "classes), so their intervals are too narrow."
        )
    return caption
