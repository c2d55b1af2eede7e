"""Figures of labelled variants: curves with their intervals, figures as dots, distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.evaluation.schema import ALL, BY_GROUP, BY_TYPE, FEWEST_ROWS, WITH, WITHIN
from evo2_tasks.report.comparison import Named, NamedCurve
from evo2_tasks.report.evidence import Curve, Figure, FloatArray
from evo2_tasks.report.style import AXIS, MUTED, SERIES, Plot, Series, make_layout, rounded
from evo2_tasks.report.words import (
    count,
    counted,
    decimal,
    fixed,
    interval,
    listed,
    plot_text,
    printable,
)

CURVE_HEIGHT: Final = 380
MOST_DOT_ROWS: Final = 24
HEADING: Final = 1.3
"""Height of a heading among dots, in heights of a dot's line."""

AXES: Final = {
    "roc": ("share of the negative above the threshold", "share of the positive above it"),
    "precision_recall": ("recall", "precision"),
}

Looks = Mapping[str, Series]
"""A look for each score that is drawn, by its name."""


def take_looks(named: Sequence[Named]) -> Looks:
    """A look for each score, in the order of their first mention, as far as there are looks."""
    return dict(zip(dict.fromkeys(name for name, _ in named), SERIES, strict=False))


def describe_subset(figure: Figure) -> str:
    """What rows a figure is of: all, snv, LOCUS: tRNA, within LOCUS."""
    group, column = printable(figure.group or ""), printable(figure.column or "")
    match figure.subset:
        case "all":
            return "all"
        case "type":
            return group
        case "with" | "within" as kind:
            return f"{kind} {column}"
    return f"{column}: {group}"


def plot_curves(
    name: str, kind: str, curves: Sequence[NamedCurve], figures: Sequence[Named], looks: Looks
) -> Plot:
    """ROC curves, or precision against recall, with their interval bands.

    Args:
        name: Id of the figure.
        kind: ``roc`` or ``precision_recall``.
        curves: One for each series.
        figures: The area under each curve.
        looks: Of the scores; those without one are not drawn.
    """
    x_title, y_title = AXES[kind]
    unit = {"range": [-0.01, 1.01], "nticks": 6, "zeroline": False}
    layout = make_layout(CURVE_HEIGHT, x=x_title, y=y_title, xaxis=unit, yaxis=unit)
    figure = go.Figure(layout=layout)
    drawn = [(label, curve) for label, curve in curves if label in looks]
    legends = {label: plot_text(label) + _tell_part(one, figures) for label, one in figures}
    for label, curve in drawn:
        has_band = np.isfinite(curve.low) & np.isfinite(curve.high)
        if has_band.any():
            x = curve.x[has_band]
            figure.add_scatter(
                x=rounded(np.concatenate([x, x[::-1]])),
                y=rounded(np.concatenate([curve.high[has_band], curve.low[has_band][::-1]])),
                fill="toself", fillcolor=looks[label].fill, line={"width": 0}, mode="lines",
                hoverinfo="skip", showlegend=False, legendgroup=plot_text(label),
            )  # fmt: skip
    for label, curve in drawn:
        figure.add_scatter(
            x=rounded(curve.x), y=rounded(curve.y), name=legends[label], mode="lines",
            line=looks[label].line() | {"shape": "hv" if kind == "roc" else "linear"},
            legendgroup=plot_text(label),
            hovertemplate="%{x:.2f}, %{y:.3f}<extra>" + _literal(label) + "</extra>",
        )  # fmt: skip
    for color, ends in _without_worth(kind, figures, looks):
        figure.add_scatter(
            x=[0, 1], y=ends, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": color, "dash": "dash", "width": 1},
        )  # fmt: skip
    title = "ROC curves" if kind == "roc" else "Precision and recall"
    left_out = len(curves) - len(drawn)
    caption = _tell_curves(kind, figures)
    caption += f" {_more(left_out, 'score')} not drawn." if left_out else ""
    return Plot(name, title, caption, figure, CURVE_HEIGHT)


def _without_worth(
    kind: str, figures: Sequence[Named], looks: Looks
) -> list[tuple[str, list[float]]]:
    """Colour and ends of the lines of a score without worth: of precision the prevalence."""
    if kind == "roc":
        return [(MUTED, [0, 1])]
    found = {label: one.prevalence for label, one in figures if one.prevalence is not None}
    if len({*found.values()}) == 1:
        return [(MUTED, [next(iter(found.values()))] * 2)]
    return [
        (looks[label].color, [prevalence] * 2)
        for label, prevalence in found.items()
        if label in looks
    ]


def _tell_curves(kind: str, figures: Sequence[Named]) -> str:
    """Areas under curves, and what they are without worth, where scores differ in rows of each."""
    told = tell_figures(figures)
    if kind == "roc":
        return f"AUROC: {told}. On the dashed line a score says nothing. Bands are 95 % intervals."
    prevalences = [fixed(one.prevalence) for _, one in figures]
    if len({*prevalences}) == 1:
        without = f"On the dashed line, {prevalences[0]}, a score says nothing"
    else:
        each = listed([
            f"{printable(label)} {prevalence}"
            for (label, _), prevalence in zip(figures, prevalences, strict=True)
        ])  # fmt: skip
        without = f"On the dashed lines, the share of the positive rows, they say nothing: {each}"
    return f"Average precision: {told}. {without}. Bands are 95 % intervals."


def _more(number: int, noun: str) -> str:
    return f"{counted(number, f'more {noun}')} {'is' if number == 1 else 'are'}"


def _literal(text: str) -> str:
    """Text from data inside a template of plotly's: its braces are no fields."""
    return plot_text(text).replace("%{", "%&#123;")


def plot_distribution(
    name: str, title: str, parts: dict[str, Curve], caption: str, axis: str
) -> Plot:
    """The distribution of a score in either class."""
    figure = go.Figure(
        layout=make_layout(
            300, x=axis, y="share of the class", yaxis={"tickformat": ".0%", "rangemode": "tozero"}
        )
    )
    for part, look in (("negative", SERIES[0]), ("positive", SERIES[1])):
        if part in parts:
            figure.add_scatter(
                x=rounded(parts[part].x), y=rounded(parts[part].y), name=part, mode="lines",
                line=look.line() | {"shape": "hvh"}, fill="tozeroy", fillcolor=look.fill,
                hovertemplate="%{x}<br>%{y:.1%} of the " + part + "<extra></extra>",
            )  # fmt: skip
    return Plot(name, title, caption, figure, 300)


def plot_number(name: str, title: str, curve: Curve, axis: str) -> Plot:
    """Median and quartiles of a number in tenths of the rows by score, side by side."""
    places = list(range(1, len(curve.x) + 1))
    scores = [decimal(value) for value in curve.x]
    layout = make_layout(
        300, x=f"{axis}: median of each part", y=plot_text(curve.label), showlegend=False,
        xaxis={"tickvals": places, "ticktext": scores, "zeroline": False},
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    figure.add_scatter(
        x=places, y=rounded(curve.y), mode="lines+markers", customdata=scores,
        line=SERIES[0].line(1.5), marker=SERIES[0].marker(8),
        error_y={
            "type": "data", "symmetric": False, "color": SERIES[0].color, "thickness": 1.2,
            "array": rounded(curve.high - curve.y), "arrayminus": rounded(curve.y - curve.low),
        },
        hovertemplate="median score %{customdata}<br>median %{y}<extra></extra>",
    )  # fmt: skip
    caption = (
        f"The rows in {counted(len(places), 'part')} of equal size by their score, the lowest to "
        f"the left: median of {printable(curve.label)} in each, from {decimal(curve.y[0])} to "
        f"{decimal(curve.y[-1])}, and its quartiles."
    )
    return Plot(name, title, caption, figure, 300)


def plot_dots(
    name: str, title: str, figures: Sequence[Named], without_worth: float, looks: Looks
) -> Plot:
    """A dot and an interval for each figure, a heading for each subset.

    Args:
        name: Id of the figure.
        title: Its title.
        figures: Of one metric, in the order of the scores.
        without_worth: Its value for a score that says nothing.
        looks: Of the scores; those without one are not drawn.
    """
    by_row: dict[tuple[str | None, ...], dict[str, Figure]] = {}
    for label, figure in sorted(figures, key=_row_order):
        if figure.value is not None and label in looks:
            by_row.setdefault(figure.place, {})[label] = figure
    rows = [
        {label: row[label] for label in looks if label in row}
        for row in [*by_row.values()][:MOST_DOT_ROWS]
    ]
    tops = np.concatenate([[0], np.cumsum([len(row) + HEADING for row in rows])])
    height = int(70 + 17 * tops[-1])
    plot = go.Figure(layout=_dots_layout(height, rows, tops, without_worth))
    for label, look in looks.items():
        at = [
            (top + HEADING + list(row).index(label) + 0.4, row[label])
            for top, row in zip(tops, rows, strict=False)
            if label in row
        ]
        if at:
            plot.add_trace(_dots(label, look, at))
    caption = _tell_dots(figures)
    is_small = any(figure.is_small for row in rows for figure in row.values())
    caption += (
        f" Open marks rest on fewer than {FEWEST_ROWS} rows, of a class where there are two: their "
        "intervals are too narrow." if is_small else ""
    )  # fmt: skip
    left_out = len({label for label, _ in figures} - looks.keys())
    caption += f" {_more(left_out, 'score')} in the tables only." if left_out else ""
    left_out = len(by_row) - len(rows)
    caption += f" {_more(left_out, 'group')} in the tables only." if left_out else ""
    return Plot(name, title, caption, plot, height, is_wide=True)


def _row_order(named: Named) -> tuple[int, str, int]:
    """All first, then rows with a baseline, pairs within groups, types, groups by size."""
    figure = named[1]
    kinds = (ALL, WITH, WITHIN, BY_TYPE, BY_GROUP)
    return kinds.index(figure.subset), figure.column or "", -figure.num_rows


def _dots_layout(
    height: int, rows: Sequence[Mapping[str, Figure]], tops: FloatArray, without_worth: float
) -> go.Layout:
    """Headings stand above their dots and not beside them, where long ones would have no room."""
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
            "type": "line", "x0": without_worth, "x1": without_worth, "yref": "paper",
            "y0": 0, "y1": 1, "line": {"color": MUTED, "dash": "dash", "width": 1},
        },
        *(
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(top),
                "y1": float(top), "line": {"color": AXIS, "width": 0.5},
            }
            for top in tops[1 : len(rows)]
        ),
    ]  # fmt: skip
    layout.annotations = [
        {
            "text": plot_text(_shortened(describe_subset(next(iter(row.values()))))),
            "xref": "paper", "x": 0, "xanchor": "left", "y": float(top), "yanchor": "top",
            "showarrow": False,
        }
        for top, row in zip(tops, rows, strict=False)
    ]  # fmt: skip
    return layout


def _shortened(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _dots(label: str, look: Series, at: Sequence[tuple[float, Figure]]) -> go.Scatter:
    values = np.array([figure.value for _, figure in at], dtype=np.float64)
    low = np.array([_or_nan(figure.low) for _, figure in at])
    high = np.array([_or_nan(figure.high) for _, figure in at])
    texts = [
        f"{plot_text(label)}<br>{plot_text(describe_subset(figure))}<br>"
        f"{interval(figure.value, figure.low, figure.high)}<br>{tell_rows(figure)}"
        for _, figure in at
    ]
    return go.Scatter(
        x=rounded(values), y=[float(place) for place, _ in at], mode="markers",
        name=plot_text(label), hovertext=texts, hoverinfo="text",
        marker=look.marker() | {
            "symbol": [look.symbol + "-open" * figure.is_small for _, figure in at],
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


def tell_rows(figure: Figure) -> str:
    """What a figure rests on: 52 positive, 961 negative."""
    if figure.num_positive is None or figure.num_negative is None:
        return counted(figure.num_rows, "row")
    return f"{count(figure.num_positive)} positive, {count(figure.num_negative)} negative"


def tell_figures(figures: Sequence[Named]) -> str:
    """Figures in words and numbers: llr 0.873 [0.859, 0.891] and CADD 0.8 (40 rows)."""
    told = []
    for label, figure in figures:
        value = interval(figure.value, figure.low, figure.high)
        value = value if figure.value is not None else "none"
        told.append(f"{printable(label)} {value}{_tell_part(figure, figures)}")
    return listed(told)


def _tell_part(figure: Figure, figures: Sequence[Named]) -> str:
    """How many rows a figure is of, if not those of the first: they are compared by eye."""
    is_part = figure.num_rows != figures[0][1].num_rows
    return f" ({counted(figure.num_rows, 'row')})" if is_part else ""


def _tell_dots(figures: Sequence[Named]) -> str:
    everything = [(name, figure) for name, figure in figures if figure.subset == ALL]
    num_rows = everything[0][1].num_rows
    return (
        f"Of {counted(num_rows, 'labelled row')} with a score: {tell_figures(everything)}. Bars "
        "are 95 % intervals; on the dashed line a score says nothing. What stands together is of "
        "the same rows of a scoring; the tables below have all figures."
    )
