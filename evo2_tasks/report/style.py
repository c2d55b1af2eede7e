"""The look of the plots: colours, lines and symbols that differ without colour too, the layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

# Okabe and Ito's colours, which colour-blind people can distinguish. report.js maps each of them to
# a lighter colour for dark pages.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, INK, MUTED = "#e69f00", "#56b4e9", "#1d2126", "#5a626c"
GRID, AXIS, PAPER = "#e6e5df", "#bdbbb2", "#ffffff"
DENSITY: Final = ("#e3eef6", "#a9cfe6", "#56a3d0", "#1f6ea8", "#0b3c66")
DIVERGING: Final = ("#8f3b00", "#e08a4b", "#f4f2ee", "#4292c6", "#08306b")
"""From the lowest number over 0 to the highest; colour-blind people can distinguish both ends."""

CLEAR: Final = "rgba(0,0,0,0)"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Series:
    """The look of one of several series, which differs from the others not by colour alone."""

    color: str
    dash: str
    symbol: str
    fill: str

    def line(self, width: float = 2) -> dict[str, Any]:
        """Settings of a line in this look."""
        return {"color": self.color, "dash": self.dash, "width": width}

    def marker(self, size: float = 9) -> dict[str, Any]:
        """Settings of markers in this look."""
        return {"color": self.color, "symbol": self.symbol, "size": size}


SERIES: Final = (
    Series(BLUE, "solid", "circle", "rgba(0,114,178,0.14)"),
    Series(VERMILION, "dash", "diamond", "rgba(213,94,0,0.14)"),
    Series(GREEN, "dot", "square", "rgba(0,158,115,0.14)"),
    Series(PURPLE, "dashdot", "triangle-up", "rgba(204,121,167,0.14)"),
    Series(ORANGE, "longdash", "cross", "rgba(230,159,0,0.14)"),
    Series(SKY, "longdashdot", "x", "rgba(86,180,233,0.14)"),
    Series(MUTED, "4px 2px 1px 2px", "star", "rgba(90,98,108,0.14)"),
)
"""The looks in the order in which series get them; a plot has at most this many series."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the report.

    Attributes:
        name: Id of the plot in the page.
        title: What the plot shows, in a few words.
        caption: The content in words and numbers, also for readers who cannot see the plot.
        figure: The figure that plotly draws.
        height: Height in pixels.
        is_wide: Whether the plot takes a whole row of the page.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure
    height: int
    is_wide: bool = False

    def content(self) -> dict[str, Any]:
        """Traces and layout as plain values."""
        content: dict[str, Any] = self.figure.to_plotly_json()
        return {"id": self.name, "data": content["data"], "layout": _plain(content["layout"])}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "template"}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def make_layout(height: int, *, x: str, y: str, **more: Any) -> go.Layout:
    """The layout that all plots share, with the settings of ``more``."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": AXIS,
        "linecolor": AXIS,
        "automargin": True,
        "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
    }
    layout = go.Layout(
        height=height,
        margin={"l": 48, "r": 12, "t": 10, "b": 40},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"family": FONT, "size": 12, "color": INK},
        hovermode="closest",
        hoverlabel={
            "bgcolor": PAPER, "bordercolor": AXIS, "font": {"color": INK}, "align": "left",
        },
        modebar={"bgcolor": CLEAR, "color": MUTED, "activecolor": INK},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR},
        xaxis=axis,
        yaxis=axis,
    )  # fmt: skip
    layout.update(more)
    layout.xaxis.title.text, layout.yaxis.title.text = x, y
    return layout


def rounded(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float | None]:
    """Numbers rounded to five digits, enough for any screen; None for NaN."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
