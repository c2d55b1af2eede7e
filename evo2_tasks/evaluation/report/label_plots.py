"""Figures of labelled variants: curves with their intervals, figures as dots, distributions.

A curve's ``x`` counts higher as more harmful, as everything of ``evaluate`` does; here the scores
of the table get their own sign back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.evaluation.report.evidence import Curve, Figure, FloatArray
from evo2_tasks.evaluation.report.style import (
    AXIS,
    MUTED,
    SERIES,
    Plot,
    Series,
    make_layout,
    rounded,
)
from evo2_tasks.evaluation.report.words import (
    count,
    counted,
    fixed,
    interval,
    listed,
    plot_text,
    printable,
)
from evo2_tasks.evaluation.schema import ALL, BY_GROUP, BY_TYPE, WITHIN
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS

CURVE_HEIGHT: Final = 380
MOST_DOT_ROWS: Final = 24
AXES: Final = {
    "roc": ("share of the negative above the threshold", "share of the positive above it"),
    "precision_recall": ("recall", "precision"),
}

Named = tuple[str, Figure]
"""A scoring and a figure of it."""
NamedCurve = tuple[str, Curve]
"""A scoring and a curve of it."""


def name_series(scoring: str, score: str, scorings: Sequence[str]) -> str:
    """Name of a score; that of its scoring before it where there are several and it is theirs."""
    return f"{scoring}: {score}" if len(scorings) > 1 and score in ALL_SCORE_COLUMNS else score


def take_series(names: Sequence[str]) -> dict[str, Series]:
    """A look for each series, in the order of their first mention, as far as there are looks."""
    return dict(zip(dict.fromkeys(names), SERIES, strict=False))


def describe_subset(figure: Figure) -> str:
    """What rows a figure is of: all, snv, LOCUS: tRNA, within LOCUS."""
    group, column = printable(figure.group or ""), printable(figure.column or "")
    match figure.subset:
        case "all":
            return "all"
        case "type":
            return group
        case "within":
            return f"within {column}"
    return f"{column}: {group}"


def plot_curves(
    name: str, kind: str, curves: Sequence[NamedCurve], told: str, scorings: Sequence[str]
) -> Plot:
    """ROC curves, or precision against recall, with their interval bands.

    Args:
        name: Id of the figure.
        kind: ``roc`` or ``precision_recall``.
        curves: One for each series.
        told: What their areas are, in words and numbers.
        scorings: Names of all scorings of the page.
    """
    x_title, y_title = AXES[kind]
    unit = {"range": [-0.01, 1.01], "nticks": 6, "zeroline": False}
    layout = make_layout(CURVE_HEIGHT, x=x_title, y=y_title, xaxis=unit, yaxis=unit)
    figure = go.Figure(layout=layout)
    names = [name_series(scoring, curve.score, scorings) for scoring, curve in curves]
    looks = take_series(names)
    drawn = [
        (label, curve) for label, (_, curve) in zip(names, curves, strict=True) if label in looks
    ]
    for label, curve in drawn:
        has_band = np.isfinite(curve.low) & np.isfinite(curve.high)
        if has_band.any():
            x = curve.x[has_band]
            figure.add_scatter(
                x=rounded(np.concatenate([x, x[::-1]])),
                y=rounded(np.concatenate([curve.high[has_band], curve.low[has_band][::-1]])),
                fill="toself", fillcolor=looks[label].fill, line={"width": 0}, mode="lines",
                hoverinfo="skip", showlegend=False, legendgroup=label,
            )  # fmt: skip
    for label, curve in drawn:
        figure.add_scatter(
            x=rounded(curve.x), y=rounded(curve.y), name=plot_text(label), mode="lines",
            line=looks[label].line() | {"shape": "hv" if kind == "roc" else "linear"},
            legendgroup=label,
            hovertemplate="%{x:.2f}, %{y:.3f}<extra>" + _literal(label) + "</extra>",
        )  # fmt: skip
    if kind == "roc":
        figure.add_scatter(
            x=[0, 1], y=[0, 1], mode="lines", name="without worth", hoverinfo="skip",
            line={"color": MUTED, "dash": "dash", "width": 1}, showlegend=False,
        )  # fmt: skip
    title = "ROC curves" if kind == "roc" else "Precision and recall"
    left_out = len(set(names)) - len(looks)
    caption = told + (f" {counted(left_out, 'score')} more are not drawn." if left_out else "")
    return Plot(name, title, caption, figure, CURVE_HEIGHT)


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
            x, y = _as_in_table(parts[part], parts[part].y)
            figure.add_scatter(
                x=rounded(x), y=rounded(y), name=part, mode="lines",
                line=look.line() | {"shape": "hvh"}, fill="tozeroy", fillcolor=look.fill,
                hovertemplate="%{x}<br>%{y:.1%} of the " + part + "<extra></extra>",
            )  # fmt: skip
    return Plot(name, title, caption, figure, 300)


def plot_number(name: str, title: str, curve: Curve, axis: str) -> Plot:
    """Median and quartiles of a number in tenths of the rows by score."""
    x, y = _as_in_table(curve, curve.y)
    _, low = _as_in_table(curve, curve.low)
    _, high = _as_in_table(curve, curve.high)
    figure = go.Figure(layout=make_layout(300, x=axis, y=plot_text(curve.label), showlegend=False))
    figure.add_scatter(
        x=rounded(x), y=rounded(y), mode="lines+markers",
        line=SERIES[0].line(1.5), marker=SERIES[0].marker(8),
        error_y={
            "type": "data", "symmetric": False, "color": SERIES[0].color, "thickness": 1.2,
            "array": rounded(high - y), "arrayminus": rounded(y - low),
        },
        hovertemplate="mean score %{x}<br>median %{y}<extra></extra>",
    )  # fmt: skip
    caption = (
        f"The rows in {len(x)} parts of equal size by their score: at the mean score of each, the "
        "median of the number and its quartiles, so that higher is more harmful: from "
        f"{fixed(float(y[0]))} to {fixed(float(y[-1]))}."
    )
    return Plot(name, title, caption, figure, 300)


def _as_in_table(curve: Curve, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The points of a curve over the score as it stands in the table."""
    if curve.score in ALL_SCORE_COLUMNS:
        return -curve.x[::-1], y[::-1]
    return curve.x, y


def choose_dots(figures: Sequence[Named]) -> list[Named]:
    """The figures to draw as dots: of each scoring its own, baselines once."""
    chosen: dict[tuple[Any, ...], Named] = {}
    for scoring, figure in figures:
        owner = scoring if figure.is_of_model else ""
        key = (owner, figure.score, figure.subset, figure.column, figure.group)
        chosen.setdefault(key, (scoring, figure))
    return [*chosen.values()]


def plot_dots(
    name: str, title: str, figures: Sequence[Named], without_worth: float, scorings: Sequence[str]
) -> Plot:
    """A dot and an interval for each figure, a row for each subset.

    Args:
        name: Id of the figure.
        title: Its title.
        figures: Of one metric.
        without_worth: Its value for a score that says nothing.
        scorings: Names of all scorings of the page.
    """
    drawn = [one for one in choose_dots(figures) if one[1].value is not None]
    looks = take_series([name_series(s, figure.score, scorings) for s, figure in drawn])
    by_row: dict[tuple[str | None, ...], dict[str, Figure]] = {}
    for scoring, figure in sorted(drawn, key=_row_order):
        row = by_row.setdefault((figure.subset, figure.column, figure.group), {})
        row[name_series(scoring, figure.score, scorings)] = figure
    rows = [*by_row][:MOST_DOT_ROWS]
    heights = [len(by_row[row]) for row in rows]
    tops = np.concatenate([[0], np.cumsum(np.array(heights) + 0.7)])
    height = int(90 + 17 * tops[-1])
    titles = [describe_subset(next(iter(by_row[row].values()))) for row in rows]
    plot = go.Figure(layout=_dots_layout(height, titles, heights, tops, without_worth))
    for label, look in looks.items():
        at = [
            (tops[place] + list(by_row[row]).index(label) + 0.5, by_row[row][label])
            for place, row in enumerate(rows)
            if label in by_row[row]
        ]
        if at:
            plot.add_trace(_dots(label, look, at))
    caption = _tell_dots(drawn, scorings)
    if len(by_row) > len(rows):
        caption += f" {count(len(by_row) - len(rows))} smaller groups are in the tables only."
    return Plot(name, title, caption, plot, height, is_wide=True)


def _row_order(named: Named) -> tuple[int, str, int]:
    """All first, then pairs within groups, types, and groups, the largest first."""
    figure = named[1]
    kinds = (ALL, WITHIN, BY_TYPE, BY_GROUP)
    return kinds.index(figure.subset), figure.column or "", -figure.num_rows


def _dots_layout(
    height: int,
    titles: Sequence[str],
    heights: Sequence[int],
    tops: FloatArray,
    without_worth: float,
) -> go.Layout:
    middles = [float(top + h / 2) for top, h in zip(tops, heights, strict=False)]
    layout = make_layout(
        height,
        x="",
        y="",
        yaxis={
            "tickvals": middles,
            "ticktext": [plot_text(_shortened(title)) for title in titles],
            "range": [float(tops[-1]), -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        xaxis={"zeroline": False, "side": "bottom"},
    )
    layout.shapes = [
        {
            "type": "line", "x0": without_worth, "x1": without_worth, "yref": "paper",
            "y0": 0, "y1": 1, "line": {"color": MUTED, "dash": "dash", "width": 1},
        },
        *(
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(top - 0.35),
                "y1": float(top - 0.35), "line": {"color": AXIS, "width": 0.5},
            }
            for top in tops[1 : len(titles)]
        ),
    ]  # fmt: skip
    return layout


def _shortened(text: str, most: int = 24) -> str:
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
        name=plot_text(label), marker=look.marker(), hovertext=texts, hoverinfo="text",
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


def tell_figures(figures: Sequence[Named], scorings: Sequence[str]) -> str:
    """Figures of all rows in words and numbers: llr 0.873 [0.859, 0.891] and CADD 0.8."""
    told = []
    for scoring, figure in choose_dots(figures):
        name = printable(name_series(scoring, figure.score, scorings))
        value = interval(figure.value, figure.low, figure.high)
        # Scores that lack rows are compared by eye with those that do not: say so here, too.
        rest = f" (of {counted(figure.num_rows, 'row')} only)" if figure.num_unscored else ""
        told.append(f"{name} {value if figure.value is not None else 'none'}{rest}")
    return listed(told)


def _tell_dots(drawn: Sequence[Named], scorings: Sequence[str]) -> str:
    everything = [(scoring, figure) for scoring, figure in drawn if figure.subset == ALL]
    text = f"Of all labelled rows: {tell_figures(everything, scorings)}. " if everything else ""
    return (
        f"{text}Bars are 95 % intervals; on the dashed line a score says nothing. The tables below "
        "have all figures."
    )


def take_once(curves: Sequence[NamedCurve]) -> list[NamedCurve]:
    """The curves to draw: of each scoring its own, those of baselines once."""
    chosen: dict[tuple[str | None, ...], NamedCurve] = {}
    for scoring, curve in curves:
        owner = scoring if curve.score in ALL_SCORE_COLUMNS else ""
        chosen.setdefault((owner, curve.score, curve.curve, curve.part), (scoring, curve))
    return [*chosen.values()]
