"""The plot of a sweep over layers: the metrics of a probe by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.report.style import SERIES, Plot, Series, make_layout, rounded
from evo2_tasks.report.words import fixed, interval, plot_text, printable

HEIGHT: Final = 340
APART: Final = 0.08
"""Distance of the marks of two series of the same layer; layers are 1 apart."""

MOST_SERIES: Final = len(SERIES)


@dataclass(frozen=True, slots=True)
class LayerMetrics:
    """A metric of each layer on some rows.

    Attributes:
        rows: Name of the rows.
        values: One for each layer; None where there is none.
        of_llr: The same metric of ``llr``; None if there is none.
    """

    rows: str
    values: Sequence[MetricRow | None]
    of_llr: MetricRow | None


def plot_layers(
    plot_id: str, title: str, layers: Sequence[str], series: Sequence[LayerMetrics], metric: str
) -> Plot:
    """Plot a metric of a probe by layer, with that of ``llr`` as a line without marks.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        layers: Names of the layers, in the order of the config.
        series: The metric on all rows, then within groups.
        metric: Name of the metric.
    """
    places = list(range(len(layers)))
    figure = go.Figure(
        layout=make_layout(
            HEIGHT, x="layer", y=metric,
            xaxis={"tickvals": places, "ticktext": [plot_text(one) for one in layers],
                   "range": [-0.5, len(layers) - 0.5], "zeroline": False},
        )
    )  # fmt: skip
    drawn = series[:MOST_SERIES]
    for number, (look, one) in enumerate(zip(SERIES, drawn, strict=False)):
        moved = APART * (number - (len(drawn) - 1) / 2)
        figure.add_trace(_make_marks(look, one, layers, moved))
        if one.of_llr is not None and one.of_llr.value is not None:
            figure.add_scatter(
                x=[-0.5, len(layers) - 0.5], y=rounded([one.of_llr.value] * 2),
                name=f"llr, {plot_text(one.rows)}", mode="lines", line=look.line(1.5),
                hovertext=f"llr, {plot_text(one.rows)}: {fixed(one.of_llr.value)}",
                hoverinfo="text",
            )  # fmt: skip
    values = "; ".join(
        f"{printable(one.rows)}: " + ", ".join(
            f"{printable(layer)} {fixed(row.value) if row is not None else 'no value'}"
            for layer, row in zip(layers, one.values, strict=True)
        ) + (f", llr {fixed(one.of_llr.value)}" if one.of_llr is not None else "")
        for one in drawn
    )  # fmt: skip
    missing = len(series) - len(drawn)
    more = f" {missing} more group columns are not drawn." if missing else ""
    caption = (
        f"Marks: the probe of each layer, with 95 % intervals. Lines without marks: llr. "
        f"{values}.{more}"
    )
    return Plot(plot_id, title, caption, figure, HEIGHT, is_wide=True)


def _make_marks(look: Series, one: LayerMetrics, layers: Sequence[str], moved: float) -> Any:
    points = [
        (place + moved, row, f"{plot_text(layer)}, {plot_text(one.rows)}")
        for place, (layer, row) in enumerate(zip(layers, one.values, strict=True))
        if row is not None and row.value is not None
    ]
    above = [(row.high or row.value or 0) - (row.value or 0) for _, row, _ in points]
    below = [(row.value or 0) - (row.low or row.value or 0) for _, row, _ in points]
    return go.Scatter(
        x=[place for place, _, _ in points],
        y=rounded([row.value or 0.0 for _, row, _ in points]),
        name=plot_text(one.rows), mode="markers", marker=look.marker(),
        error_y={"array": rounded(above), "arrayminus": rounded(below), "color": look.color,
                 "thickness": 1.5, "width": 3},
        hovertext=[f"{text}<br>{interval(row.value, row.low, row.high)}"
                   for _, row, text in points],
        hoverinfo="text",
    )  # fmt: skip
