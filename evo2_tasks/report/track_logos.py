"""Sequence logos of tracks: letters as polygons, each as high as p x (2 - entropy)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from evo2_tasks.report.style import (
    BLUE,
    CLEAR,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    VERMILION,
    Plot,
    make_layout,
    rounded,
)
from evo2_tasks.report.words import count, decimal, listed, plot_text
from evo2_tasks.table.tracks import TrackBases

BASES: Final = "ACGT"
COLORS: Final = (GREEN, BLUE, ORANGE, VERMILION)
ROW_BASES: Final = 50
"""Columns of a row of a logo."""
MOST_NAMED: Final = 5
"""Bases that the caption names."""
LETTER_WIDTH: Final = 0.9
"""Of a column, which is 1 wide."""

_ROW_HEIGHT: Final = 125
_MARGINS: Final = 50
_LEAST_HEIGHT: Final = 1e-4
"""A lower letter has no height after rounding."""

_Points = NDArray[np.float64]


def _arc(first: float, last: float, radii: tuple[float, float]) -> list[tuple[float, float]]:
    """Points of an arc around the middle of the letter; angles in degrees."""
    angles = np.radians(np.linspace(first, last, 10))
    return [(0.5 + radii[0] * np.cos(one), 0.5 + radii[1] * np.sin(one)) for one in angles]


def _outline(*points: tuple[float, float]) -> _Points:
    """A closed outline, from 0 to 1 in both directions. (points, 2)."""
    outline = np.array([*points, points[0]])
    low, high = outline.min(axis=0), outline.max(axis=0)
    scaled: _Points = (outline - low) / (high - low)
    return scaled


LETTERS: Final = {
    # The hole of A is reached through a slit, so that the letter is one outline. It runs in the
    # other direction than the outer line: browsers then leave it open.
    "A": _outline(
        (0, 0), (0.38, 1), (0.62, 1), (1, 0), (0.77, 0), (0.69, 0.23), (0.5, 0.23), (0.5, 0.41),
        (0.61, 0.41), (0.5, 0.74), (0.39, 0.41), (0.5, 0.41), (0.5, 0.23), (0.31, 0.23), (0.23, 0),
    ),
    "C": _outline(*_arc(40, 320, (0.5, 0.5)), *_arc(310, 50, (0.28, 0.3))),
    "G": _outline(
        *_arc(40, 320, (0.5, 0.5)), (0.883, 0.52), (0.5, 0.52), (0.5, 0.36), (0.68, 0.36),
        (0.68, 0.27), *_arc(310, 50, (0.28, 0.3)),
    ),
    "T": _outline(
        (0, 1), (1, 1), (1, 0.8), (0.62, 0.8), (0.62, 0), (0.38, 0), (0.38, 0.8), (0, 0.8),
    ),
}  # fmt: skip
"""The outline of each letter, from 0 to 1 in both directions. (points, 2)"""


class Stacks(NamedTuple):
    """Where the letters of some columns are, by column and base.

    Attributes:
        bottoms: Lower ends of the letters, bits; NaN in a column without values. (N, 4)
        heights: Heights of the letters, bits; NaN in a column without values. (N, 4)
    """

    bottoms: _Points
    heights: _Points


def stack_letters(bases: TrackBases) -> Stacks:
    """Stack the letters of each base: p x (2 - entropy) bits high, the highest letter on top."""
    heights = bases.probs * (2.0 - bases.entropy.astype(np.float64))[:, None]
    order = np.argsort(heights, axis=1, kind="stable")
    sorted_heights = np.take_along_axis(heights, order, axis=1)
    bottoms = np.empty_like(heights)
    np.put_along_axis(bottoms, order, np.cumsum(sorted_heights, axis=1) - sorted_heights, axis=1)
    return Stacks(bottoms, heights)


def plot_logo(plot_id: str, title: str, bases: TrackBases, num_bases: int) -> Plot:
    """Plot a sequence logo in rows.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        bases: The bases of the logo, not more than the region has.
        num_bases: Number of bases of the region.
    """
    num_rows = -(-len(bases.start) // ROW_BASES)
    height = num_rows * _ROW_HEIGHT + _MARGINS
    layout = make_layout(height, x="", y="", showlegend=False, bargap=0)
    figure = go.Figure(layout=layout)
    axis = layout.yaxis.to_plotly_json()
    share = 1 / num_rows
    for row in range(num_rows):
        shown = bases.take(slice(row * ROW_BASES, (row + 1) * ROW_BASES))
        suffix = "" if row == 0 else str(row + 1)
        for trace in _draw_row(shown):
            figure.add_trace(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"})
        places = range(0, len(shown.start), 10)
        top = 1 - row * share
        figure.layout[f"xaxis{suffix}"] = axis | {
            "anchor": f"y{suffix}", "range": [-0.6, ROW_BASES - 0.4], "showgrid": False,
            "zeroline": False, "tickangle": 0, "title": {},
            "tickvals": list(places),
            "ticktext": [count(int(shown.start[place]) + 1) for place in places],
        }  # fmt: skip
        figure.layout[f"yaxis{suffix}"] = axis | {
            "anchor": f"x{suffix}", "range": [-0.42, 2.05], "tickvals": [0, 1, 2],
            "zeroline": False, "fixedrange": True, "domain": [top - 0.8 * share, top],
            "title": {"text": "bits", "font": {"color": MUTED, "size": 12}, "standoff": 8},
        }  # fmt: skip
    return Plot(plot_id, title, _caption(bases, num_bases), figure, height, is_wide=True)


def _draw_row(bases: TrackBases) -> list[dict[str, Any]]:
    """The traces of a row: the letters of each base, the reference below, and what hovers."""
    stacks = stack_letters(bases)
    traces: list[dict[str, Any]] = []
    for number, base in enumerate(BASES):
        bottoms, heights = stacks.bottoms[:, number], stacks.heights[:, number]
        columns = np.flatnonzero(heights > _LEAST_HEIGHT)
        outline = LETTERS[base]
        x = columns[:, None] + LETTER_WIDTH * (outline[:, 0] - 0.5)
        y = bottoms[columns, None] + heights[columns, None] * outline[:, 1]
        traces.append(
            {
                "type": "scatter", "name": base, "mode": "none", "fill": "toself",
                "fillcolor": COLORS[number], "hoverinfo": "skip",
                "x": _separate(x), "y": _separate(y),
            }
        )  # fmt: skip
    num = len(bases.start)
    traces.append(
        {
            # The page sizes the letters of such a trace by their number, so it has all columns.
            "type": "scatter", "mode": "text", "name": "reference", "hoverinfo": "skip",
            "x": list(range(ROW_BASES)), "y": [-0.22] * ROW_BASES,
            "text": [*map(plot_text, bases.ref), *[""] * (ROW_BASES - num)],
            "texttemplate": "%{text}", "textfont": {"color": INK, "size": 12},
        }
    )  # fmt: skip
    traces.append(
        {
            "type": "bar", "name": "values", "x": list(range(num)), "y": [2] * num,
            "marker": {"color": CLEAR, "line": {"width": 0}},
            "hovertext": _hover_texts(bases), "hoverinfo": "text",
        }
    )  # fmt: skip
    return traces


def _separate(values: _Points) -> list[float | None]:
    """Points of closed outlines, with a gap after each outline."""
    return rounded(np.pad(values, ((0, 0), (0, 1)), constant_values=np.nan).ravel())


def _hover_texts(bases: TrackBases) -> list[str]:
    contig = plot_text(bases.contig)
    texts = []
    for start, ref, probs, entropy, logp in zip(*bases[1:], strict=True):
        text = f"{contig}:{count(int(start) + 1)} {plot_text(ref)}<br>"
        if np.isnan(entropy):
            texts.append(f"{text}no values")
            continue
        text += ", ".join(
            f"{base} {decimal(float(prob))}" for base, prob in zip(BASES, probs, strict=True)
        )
        logp_text = "" if np.isnan(logp) else f"<br>logp_ref {decimal(float(logp))}"
        texts.append(f"{text}<br>entropy {decimal(float(entropy))} bits{logp_text}")
    return texts


def _caption(bases: TrackBases, num_bases: int) -> str:
    """The content of a logo in words and numbers."""
    num = len(bases.start)
    first, last = int(bases.start[0]) + 1, int(bases.start[-1]) + 1
    text = f"Plus strand, positions {count(first)} to {count(last)}: "
    text += f"{count(num)} bases" if num == num_bases else (
        f"the first {count(num)} of {count(num_bases)} bases"
    )  # fmt: skip
    text += ". The reference is written below."
    is_known = ~np.isnan(bases.entropy)
    if last - first + 1 > num:
        text += (
            f" Positions between them that are not in the tracks: {count(last - first + 1 - num)}."
        )
    if not is_known.all():
        text += f" Bases without values, which have no letters: {count(int((~is_known).sum()))}."
    is_base = is_known & np.isin(bases.ref, [*BASES])
    if not is_base.any():
        return text
    likeliest = np.array([*BASES])[np.argmax(np.where(is_known[:, None], bases.probs, 0), axis=1)]
    differs = np.flatnonzero(is_base & (likeliest != bases.ref))
    text += (
        f" The mean height of a column is {decimal(float(2 - bases.entropy[is_known].mean()))} "
        "bits. The most likely base is that of the reference at "
        f"{count(int(is_base.sum()) - len(differs))} of {count(int(is_base.sum()))} bases."
    )
    if len(differs):
        surest = sorted(differs[np.argsort(bases.entropy[differs], kind="stable")][:MOST_NAMED])
        names = [
            f"{count(int(bases.start[one]) + 1)} ({likeliest[one]} in place of {bases.ref[one]})"
            for one in surest
        ]
        which = "It differs at" if len(names) == len(differs) else "It differs most clearly at"
        text += f" {which} {listed(names)}."
    return text
