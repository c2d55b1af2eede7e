"""Plots of saturated stretches: substitutions and deletions by position, other codons by codon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import FloatArray, IntArray
from evo2_tasks.report.changes import BASES, CODONS
from evo2_tasks.report.saturation import Codons, Stretch
from evo2_tasks.report.style import BLUE, CLEAR, DIVERGING, INK, MUTED, Plot, make_layout, rounded
from evo2_tasks.report.words import count, decimal, plot_text, printable

MOST_NAMES: Final = 3
"""Most names of regions in a title."""

_HEIGHT: Final = 270
_CODON_HEIGHT: Final = 760
_OUTER_SHARE: Final = 0.01
"""Share of the changes that may be beyond the last colour."""

_COMPLEMENT: Final = str.maketrans("ACGT", "TGCA")


def color_span(matrices: Sequence[FloatArray]) -> float:
    """The absolute ``llr`` at which the colours end; a few changes may be beyond it.

    Args:
        matrices: ``llr`` of the changes that are shown, NaN where there is none.
    """
    if not matrices:
        return 1.0
    values = np.concatenate([np.abs(one[np.isfinite(one)]) for one in matrices])
    return float(np.quantile(values, 1 - _OUTER_SHARE)) or 1.0


def plot_stretch(plot_id: str, stretch: Stretch, span: float, scoring: str) -> Plot:
    """Plot the substitutions and deletions of a stretch, with the mean above, the sequence below.

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
        plot_id,
        _title(stretch, _what(stretch), scoring),
        _caption(stretch, span),
        figure,
        _HEIGHT,
        is_wide=True,
    )


def _make_layout(stretch: Stretch) -> go.Layout:
    """Means above, matrix and sequence below, with one axis of positions."""
    layout = make_layout(_HEIGHT, x="", y="", showlegend=False, bargap=0.15)
    rows = _row_names(stretch)
    means = layout.yaxis.to_plotly_json()
    means |= {"domain": [0.64, 1], "nticks": 4, "title": {**means["title"], "text": "mean llr"}}
    layout.update(
        xaxis={
            "range": [stretch.first_pos - 0.5, stretch.last_pos + 0.5],
            "tickformat": ",d", "nticks": 9, "showgrid": False, "zeroline": False,
        },
        yaxis={
            "domain": [0, 0.56], "range": [len(rows) + 0.5, -0.5], "fixedrange": True,
            "tickvals": list(range(len(rows) + 1)), "ticktext": [*rows, "ref"],
            "showgrid": False, "zeroline": False,
        },
        yaxis2=means,
    )  # fmt: skip
    return layout


def _row_names(stretch: Stretch) -> list[str]:
    """The rows of the matrix: the four bases, and deletions if any has a score."""
    return [*BASES, *(["del"] if np.isfinite(stretch.deletions).any() else [])]


def _places(stretch: Stretch, positions: IntArray) -> list[str]:
    """The positions with their bases, as text of the plot."""
    contig = plot_text(stretch.contig)
    pairs = zip(positions.tolist(), stretch.bases, strict=True)
    return [f"{contig}:{pos} {base}" for pos, base in pairs]


def _matrix(stretch: Stretch, positions: IntArray, span: float) -> go.Heatmap:
    places = _places(stretch, positions)
    contig = plot_text(stretch.contig)
    rows = [[f"{place}>{alt}" for place in places] for alt in BASES]
    llr = stretch.llr
    if len(_row_names(stretch)) > len(BASES):
        rows.append([f"{contig}:{name}" for name in stretch.deletion_names])
        llr = np.vstack([llr, stretch.deletions])
    return draw_matrix(positions.tolist(), list(range(len(rows))), llr, rows, span)


def draw_matrix(
    x: Sequence[Any], y: Sequence[Any], llr: FloatArray, names: Sequence[Sequence[str]], span: float
) -> go.Heatmap:
    """A matrix of changes; ``names`` are their positions and alleles as in the table."""
    texts = [
        [
            f"{name}<br>llr {decimal(value)}"
            for name, value in zip(of_row, _or_none(values), strict=True)
        ]
        for of_row, values in zip(names, llr, strict=True)
    ]
    return go.Heatmap(
        x=x, y=y, z=[rounded(values) for values in llr],
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
        x=positions.tolist(), y=[len(_row_names(stretch))], z=[[0] * len(positions)],
        text=[list(stretch.bases)], texttemplate="%{text}", textfont={"color": INK},
        colorscale=[[0, CLEAR], [1, CLEAR]], showscale=False, hoverinfo="skip",
    )  # fmt: skip


def _title(stretch: Stretch, what: str, scoring: str) -> str:
    place = f"{printable(stretch.contig)}:{count(stretch.first_pos)} to {count(stretch.last_pos)}"
    names = [*stretch.names[:MOST_NAMES]]
    more = len(stretch.names) - len(names)
    region = ", ".join([*names, *([f"{count(more)} more"] if more else [])])
    strand = {"+": "forward strand", "-": "reverse strand"}.get(stretch.strand, "")
    remarks = "; ".join(filter(None, [region, strand]))
    return f"Every {what} of {place}{f' ({remarks})' if remarks else ''}, {scoring}"


def plot_codons(plot_id: str, stretch: Stretch, codons: Codons, span: float, scoring: str) -> Plot:
    """Plot each codon of a stretch replaced by each other codon.

    On the reverse strand the axes have the codons as they are read there.

    Args:
        plot_id: Id of the plot.
        stretch: The stretch.
        codons: Its codons.
        span: The ``color_span`` of the codons of all stretches that are shown.
        scoring: Name of the scoring.
    """
    is_reverse = stretch.strand == "-"
    order = np.argsort([_read_codon(codon, is_reverse=is_reverse) for codon in CODONS])
    contig = plot_text(stretch.contig)
    starts = codons.first_pos.tolist()
    names = [
        [
            f"{contig}:{pos} {ref}>{CODONS[alt]}"
            for pos, ref in zip(starts, codons.refs, strict=True)
        ]
        for alt in order.tolist()
    ]
    labels = [_read_codon(CODONS[alt], is_reverse=is_reverse) for alt in order.tolist()]
    places = list(range(len(starts)))
    layout = make_layout(
        _CODON_HEIGHT, x="codon of the reference", y="codon in its place", showlegend=False,
        xaxis={
            "tickvals": places, "tickangle": -90, "showgrid": False, "zeroline": False,
            "ticktext": [f"{_read_codon(ref, is_reverse=is_reverse)} {count(pos)}"
                         for pos, ref in zip(starts, codons.refs, strict=True)],
            "tickfont": {"size": 9},
        },
        yaxis={
            "tickvals": list(range(len(labels))), "ticktext": labels, "showgrid": False,
            "range": [len(labels) - 0.5, -0.5], "zeroline": False, "tickfont": {"size": 9},
        },
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    llr = codons.llr[order]
    figure.add_trace(draw_matrix(places, list(range(len(labels))), llr, names, span))
    lowest, at = np.unravel_index(np.nanargmin(llr), llr.shape)
    caption = (
        f"{counted(len(starts), 'codon')}, each replaced by the other codons; mean llr "
        f"{_number(np.nanmean(llr))}. The lowest llr is that of "
        f"{count(starts[int(at)])} {codons.refs[int(at)]}>{CODONS[int(order[lowest])]} "
        f"({_number(llr[lowest, at])})."
    )
    if is_reverse:
        caption += (
            " The axes have the codons as they are read on the reverse strand; positions and "
            "alleles are those of the table."
        )
    title = _title(stretch, "codon", scoring)
    return Plot(plot_id, title, caption, figure, _CODON_HEIGHT, is_wide=True)


def _read_codon(codon: str, *, is_reverse: bool) -> str:
    """A codon of the forward strand as it is read on its strand."""
    return codon.translate(_COMPLEMENT)[::-1] if is_reverse else codon


def _what(stretch: Stretch) -> str:
    has_deletions = np.isfinite(stretch.deletions).any()
    return "substitution and deletion" if has_deletions else "substitution"


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
    if np.isfinite(stretch.deletions).any():
        deleted = int(np.nanargmin(stretch.deletions))
        text += (
            " The row del has the deletions of single bases; their lowest llr is that of "
            f"{stretch.deletion_names[deleted]} ({_number(stretch.deletions[deleted])})."
        )
    changes = np.vstack([stretch.llr, stretch.deletions])
    num_beyond = int((np.abs(changes) > span).sum())
    if num_beyond:
        text += f" Beyond the last colour: {counted(num_beyond, 'allele')}."
    return text


def _number(value: np.floating[Any]) -> str:
    return decimal(float(value))


def _or_none(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
