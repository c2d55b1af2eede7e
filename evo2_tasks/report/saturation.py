"""Stretches in which every substitution is scored, as a matrix of four bases by positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pyarrow as pa

from evo2_tasks.report.bins import FloatArray, IntArray
from evo2_tasks.report.style import BLUE, CLEAR, DIVERGING, INK, MUTED, Plot, make_layout, rounded
from evo2_tasks.report.words import count, counted, decimal, plot_text, printable
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.snvs import read_snvs

BASES: Final = "ACGT"
STRETCH_POSITIONS: Final = 60
"""Positions of a stretch; the last stretch of a region has half to one and a half times as many."""

MOST_STRETCHES: Final = 8
"""Most stretches that are kept: those with the lowest mean."""

FEWEST_POSITIONS: Final = 10
LARGEST_GAP: Final = 10
"""Largest distance between neighbouring positions of a region."""

_LEAST_SHARE: Final = 0.5
"""Least share of the positions with all three substitutions in a saturated stretch."""

_FEWEST_ROWS: Final = math.ceil(_LEAST_SHARE * FEWEST_POSITIONS) * (len(BASES) - 1)
_CUT_AT: Final = STRETCH_POSITIONS * 3 // 2
_HEIGHT: Final = 270
_OUTER_SHARE: Final = 0.01
"""Share of the substitutions that may be beyond the last colour."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """P neighbouring positions and their substitutions.

    Attributes:
        contig: Contig as the input spells it.
        first_pos: First position, 1-based.
        bases: Bases of the reference, a blank where the base is unknown.
        llr: ``llr`` by the alternate base, in the order of ``BASES``, nats; NaN where there is no
            score. (4, P)
    """

    contig: str
    first_pos: int
    bases: str
    llr: FloatArray

    @property
    def last_pos(self) -> int:
        """Last position, 1-based."""
        return self.first_pos + len(self.bases) - 1

    @property
    def means(self) -> FloatArray:
        """Mean ``llr`` of each position, nats, (P,); NaN where no substitution is scored."""
        numbers = np.isfinite(self.llr).sum(axis=0)
        sums = np.nansum(self.llr, axis=0)
        means: FloatArray = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
        return means


@dataclass(frozen=True, slots=True)
class Saturation:
    """The saturated stretches of a table.

    Attributes:
        stretches: The stretches with the lowest mean, in the order of the table.
        num_stretches: Number of all stretches.
        num_positions: Positions of all stretches.
    """

    stretches: Sequence[Stretch]
    num_stretches: int
    num_positions: int


def find_saturation(table: Path) -> Saturation:
    """Find the stretches of a table in which most positions have all three substitutions.

    The rows must be sorted by position, as the rows of regions are. Memory does not grow with the
    table.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    contigs = distinct_values(table, "contig")
    finder = _Finder(contigs)
    for rows in read_snvs(table, contigs, contig_column="contig"):
        finder.add(rows)
    return finder.finish()


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A stretch that is kept so far, with its mean ``llr`` and its number in the table."""

    mean: float
    number: int
    stretch: Stretch


class _Finder:
    """Cuts rows into stretches while they are read."""

    def __init__(self, contigs: Sequence[str]) -> None:
        self._contigs = contigs
        self._pending: pa.Table | None = None
        self._kept: list[_Kept] = []
        self._num_stretches = self._num_positions = 0

    def add(self, rows: pa.Table) -> None:
        """Add more rows."""
        rows = rows if self._pending is None else pa.concat_tables([self._pending, rows])
        contig, pos = rows["contig"].to_numpy(), rows["pos"].to_numpy()
        is_end = (np.diff(contig) != 0) | (abs(np.diff(pos)) > LARGEST_GAP)
        starts = np.append(0, np.flatnonzero(is_end) + 1)
        sizes = np.diff(starts)
        # In most tables all rows are far from each other, and no region is large enough to look at.
        for region in np.flatnonzero(sizes >= _FEWEST_ROWS):
            self._cut(rows.slice(starts[region], sizes[region]), is_whole=True)
        self._pending = self._cut(rows.slice(starts[-1]), is_whole=False)

    def finish(self) -> Saturation:
        """The saturated stretches of all rows."""
        if self._pending is not None:
            self._cut(self._pending, is_whole=True)
        kept = sorted(self._kept, key=lambda one: one.number)
        stretches = [one.stretch for one in kept]
        return Saturation(stretches, self._num_stretches, self._num_positions)

    def _cut(self, rows: pa.Table, *, is_whole: bool) -> pa.Table:
        """Cut stretches off a region; return the remaining rows, none if the region is whole."""
        if not rows.num_rows:
            return rows
        # The substitutions of a codon are not sorted by position.
        rows = rows.take(np.argsort(rows["pos"].to_numpy(), kind="stable"))
        pos = rows["pos"].to_numpy()
        start = 0
        while pos[-1] - pos[start] >= _CUT_AT:
            end = int(np.searchsorted(pos, pos[start] + STRETCH_POSITIONS))
            self._keep(rows.slice(start, end - start))
            start = end
        if is_whole:
            self._keep(rows.slice(start))
            start = rows.num_rows
        return rows.slice(start)

    def _keep(self, rows: pa.Table) -> None:
        """Keep a stretch if it is saturated and among those with the lowest mean so far."""
        stretch = _make_stretch(rows, self._contigs)
        num_whole = int((np.isfinite(stretch.llr).sum(axis=0) == len(BASES) - 1).sum())
        num_positions = len(stretch.bases)
        if num_positions < FEWEST_POSITIONS or num_whole < _LEAST_SHARE * num_positions:
            return
        self._num_positions += num_positions
        mean = float(np.nanmean(stretch.llr))
        self._kept.append(_Kept(mean, self._num_stretches, stretch))
        self._num_stretches += 1
        if len(self._kept) > MOST_STRETCHES:
            self._kept.remove(max(self._kept, key=lambda one: (one.mean, one.number)))


def _make_stretch(rows: pa.Table, contigs: Sequence[str]) -> Stretch:
    pos = rows["pos"].to_numpy()
    at = pos - pos[0]
    num_positions = int(at[-1]) + 1
    codes = np.frombuffer(BASES.encode(), dtype=np.uint8)
    llr = np.full((len(BASES), num_positions), np.nan)
    llr[np.searchsorted(codes, rows["alt"].to_numpy()), at] = rows["llr"].to_numpy()
    bases: IntArray = np.full(num_positions, ord(" "))
    bases[at] = rows["ref"].to_numpy()
    contig = contigs[rows["contig"][0].as_py()]
    return Stretch(contig, int(pos[0]), bytes(bases.tolist()).decode(), llr)


def color_span(stretches: Sequence[Stretch]) -> float:
    """The absolute ``llr`` at which the colours end; a few substitutions may be beyond it."""
    values = np.concatenate([np.abs(one.llr[np.isfinite(one.llr)]) for one in stretches])
    return float(np.quantile(values, 1 - _OUTER_SHARE)) or 1.0


def plot_stretch(plot_id: str, stretch: Stretch, span: float, scoring: str) -> Plot:
    """Plot the substitutions of a stretch, with their mean above and the sequence below.

    Args:
        plot_id: Id of the plot.
        stretch: The stretch.
        span: The ``color_span`` of all stretches that are shown, for comparable colours.
        scoring: Name of the scoring.
    """
    positions = np.arange(stretch.first_pos, stretch.last_pos + 1)
    figure = go.Figure(layout=_make_layout(stretch))
    figure.add_trace(_matrix(stretch, positions, span))
    figure.add_trace(_sequence(stretch, positions))
    known = np.array([base in BASES for base in stretch.bases])
    figure.add_scatter(
        x=positions[known].tolist(),
        y=[BASES.index(base) for base in stretch.bases if base in BASES],
        mode="markers", hoverinfo="skip", marker={"color": MUTED, "size": 3},
    )  # fmt: skip
    places = _places(stretch, positions)
    figure.add_bar(
        x=positions.tolist(), y=rounded(stretch.means), yaxis="y2", hoverinfo="text",
        marker={"color": BLUE, "line": {"width": 0}},
        hovertext=[
            f"{place}<br>mean {decimal(mean)}"
            for place, mean in zip(places, _or_none(stretch.means), strict=True)
        ],
    )  # fmt: skip
    return Plot(
        plot_id, _title(stretch, scoring), _caption(stretch, span), figure, _HEIGHT, is_wide=True
    )


def _make_layout(stretch: Stretch) -> go.Layout:
    """Means above, matrix and sequence below, with one axis of positions."""
    layout = make_layout(_HEIGHT, x="", y="", showlegend=False, bargap=0.15)
    means = layout.yaxis.to_plotly_json()
    means |= {"domain": [0.64, 1], "nticks": 4, "title": {**means["title"], "text": "mean llr"}}
    layout.update(
        xaxis={
            "range": [stretch.first_pos - 0.5, stretch.last_pos + 0.5],
            "tickformat": ",d", "nticks": 9, "showgrid": False, "zeroline": False,
        },
        yaxis={
            "domain": [0, 0.56], "range": [len(BASES) + 0.5, -0.5], "fixedrange": True,
            "tickvals": list(range(len(BASES) + 1)), "ticktext": [*BASES, "ref"],
            "showgrid": False, "zeroline": False,
        },
        yaxis2=means,
    )  # fmt: skip
    return layout


def _places(stretch: Stretch, positions: IntArray) -> list[str]:
    """The positions with their bases, as text of the plot."""
    contig = plot_text(stretch.contig)
    pairs = zip(positions.tolist(), stretch.bases, strict=True)
    return [f"{contig}:{count(pos)} {base}" for pos, base in pairs]


def _matrix(stretch: Stretch, positions: IntArray, span: float) -> go.Heatmap:
    places = _places(stretch, positions)
    texts = [
        [
            f"{place}>{alt}<br>llr {decimal(value)}"
            for place, value in zip(places, _or_none(values), strict=True)
        ]
        for alt, values in zip(BASES, stretch.llr, strict=True)
    ]
    return go.Heatmap(
        x=positions.tolist(), y=list(range(len(BASES))),
        z=[rounded(values) for values in stretch.llr],
        hovertext=texts, hoverinfo="text", hoverongaps=False, xgap=1, ygap=1,
        colorscale=[[at / (len(DIVERGING) - 1), color] for at, color in enumerate(DIVERGING)],
        zmin=-span, zmax=span,
        colorbar={
            "title": {"text": "llr, nats", "side": "top"}, "nticks": 5,
            "thickness": 10, "outlinewidth": 0, "bgcolor": CLEAR,
        },
    )  # fmt: skip


def _sequence(stretch: Stretch, positions: IntArray) -> go.Heatmap:
    """The sequence as letters in cells without colour; the letters shrink with the page."""
    return go.Heatmap(
        x=positions.tolist(), y=[len(BASES)], z=[[0] * len(positions)],
        text=[list(stretch.bases)], texttemplate="%{text}", textfont={"color": INK},
        colorscale=[[0, CLEAR], [1, CLEAR]], showscale=False, hoverinfo="skip",
    )  # fmt: skip


def _title(stretch: Stretch, scoring: str) -> str:
    place = f"{printable(stretch.contig)}:{count(stretch.first_pos)} to {count(stretch.last_pos)}"
    return f"Every substitution of {place}, {scoring}"


def _caption(stretch: Stretch, span: float) -> str:
    means = stretch.means
    lowest, at = np.unravel_index(np.nanargmin(stretch.llr), stretch.llr.shape)
    lowest_at = int(np.nanargmin(means))
    num_positions = int(np.isfinite(means).sum())
    lowest_mean = f"{count(stretch.first_pos + lowest_at)} {stretch.bases[lowest_at]}"
    lowest_llr = f"{count(stretch.first_pos + int(at))} {stretch.bases[at]}>{BASES[lowest]}"
    text = (
        f"{counted(num_positions, 'position')}, mean llr {_number(np.nanmean(stretch.llr))}. "
        f"The position with the lowest mean is {lowest_mean} ({_number(means[lowest_at])}). The "
        f"lowest llr is that of {lowest_llr} ({_number(stretch.llr[lowest, at])}). Dots mark the "
        "bases of the reference."
    )
    num_beyond = int((np.abs(stretch.llr) > span).sum())
    if num_beyond:
        text += f" Beyond the last colour: {counted(num_beyond, 'allele')}."
    return text


def _number(value: np.floating[Any]) -> str:
    return decimal(float(value))


def _or_none(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
