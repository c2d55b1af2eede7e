"""Plots of a table: distributions, scores along contigs, pairs of numbers.

Text from data goes through ``plot_text``, because plotly interprets tags in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.report.bins import Density, Histogram, IntArray, PairSummary
from evo2_tasks.report.style import (
    BLUE,
    CLEAR,
    DENSITY,
    MUTED,
    SERIES,
    VERMILION,
    Plot,
    make_layout,
    rounded,
)
from evo2_tasks.report.summary import TYPES, ContigBins, TableSummary
from evo2_tasks.report.words import (
    count,
    counted,
    decimal,
    fixed,
    listed,
    plot_text,
    printable,
    share,
)

PLOT_HEIGHT: Final = 300
PANEL_HEIGHT: Final = 190
PAIRS_HEIGHT: Final = 360
FEW_COUNTS: Final = 6
"""Lowest count at which plotly chooses the ticks; below it there is one at each whole number."""

FEW_BINS: Final = 120
"""Most bins that get larger markers."""


def plot_histogram(plot_id: str, table: TableSummary, histogram: Histogram, scoring: str) -> Plot:
    """Plot the distribution of ``llr``."""
    edges, total = histogram.edges, histogram.total
    width = float(edges[1] - edges[0])
    bars = go.Bar(
        x=rounded((edges[:-1] + edges[1:]) / 2),
        y=total.tolist(),
        width=width,
        marker={"color": BLUE, "line": {"width": 0}},
        customdata=[
            f"{decimal(low)} to {decimal(high)}"
            for low, high in zip(rounded(edges[:-1]), rounded(edges[1:]), strict=True)
        ],
        hovertemplate="llr %{customdata}<br>%{y:,} alleles<extra></extra>",
    )
    layout = make_layout(
        PLOT_HEIGHT,
        x="llr, nats",
        y="alleles",
        bargap=0,
        showlegend=False,
        yaxis=_count_axis(int(total.max())),
    )
    llr = table.llr
    middle, low, high = (llr.quantile(share) for share in (0.5, 0.25, 0.75))
    caption = (
        f"{counted(llr.count, 'scored allele')} in bars of {decimal(width)} nats. The median is "
        f"{decimal(middle)}, the quartiles are {decimal(low)} and {decimal(high)}, the lowest llr "
        f"is {decimal(llr.minimum)}, the highest {decimal(llr.maximum)}."
    )
    sides = ((histogram.num_below, "below"), (histogram.num_above, "above"))
    outside = [f"{count(number)} {side}" for number, side in sides if number]
    if outside:
        caption += f" The outermost bars include alleles outside the axis: {listed(outside)} it."
    return Plot(
        plot_id, f"Distribution of llr, {scoring}", caption, go.Figure(bars, layout), PLOT_HEIGHT
    )


def _count_axis(most: int) -> dict[str, Any]:
    """Ticks at whole numbers only; thousands are abbreviated."""
    if most >= FEW_COUNTS:
        return {"tickformat": "~s" if most >= 1_000 else ",d"}
    return {"tickformat": "d", "dtick": 1}


def plot_types(plot_id: str, histogram: Histogram, scoring: str) -> Plot:
    """Plot the distribution of ``llr`` within each type of variant."""
    figure = go.Figure(
        layout=make_layout(
            PLOT_HEIGHT, x="llr, nats", y="share of the type", yaxis={"tickformat": ".0%"}
        )
    )
    totals = []
    middles = rounded((histogram.edges[:-1] + histogram.edges[1:]) / 2)
    for kind in [name for name in TYPES if name in histogram.counts]:
        series = SERIES[TYPES.index(kind)]
        counts = histogram.counts[kind]
        total = int(counts.sum())
        totals.append(f"{kind} {count(total)}")
        figure.add_scatter(
            x=middles,
            y=rounded(counts / total),
            name=f"{kind} ({count(total)})",
            mode="lines",
            line=series.line() | {"shape": "hvh"},
            hovertemplate="llr %{x}<br>%{y:.1%} of " + kind + "<extra></extra>",
        )
    caption = (
        "Share of the alleles of each type in the same bins; each type adds up to 100 %. Number "
        f"of alleles: {', '.join(totals)}. The type is determined without the bases that ref and "
        "alt share at their ends."
    )
    return Plot(plot_id, f"llr by type of variant, {scoring}", caption, figure, PLOT_HEIGHT)


def plot_contig(
    plot_id: str, bins: ContigBins, span: tuple[float, float], scoring: str, *, is_alone: bool
) -> Plot:
    """Plot mean and lowest ``llr`` along a contig.

    Args:
        plot_id: Id of the plot.
        bins: The contig.
        span: Lowest and highest ``llr`` of the bins of all contigs, for comparable axes.
        scoring: Name of the scoring.
        is_alone: Whether this is the only contig, so that its plot takes a whole row.
    """
    last_pos = bins.first_pos + bins.width - 1
    middles = (bins.first_pos + last_pos) / 2
    texts = _bin_texts(bins, last_pos)
    x, mean, hover = _with_gaps(middles, bins, texts)
    has_few_bins = len(texts) <= FEW_BINS
    height = PLOT_HEIGHT if is_alone else PANEL_HEIGHT
    figure = go.Figure(layout=_make_contig_layout(bins, int(last_pos[-1]), span, is_alone=is_alone))
    figure.add_scatter(
        x=x, y=mean, hovertext=hover, hoverinfo="text", name="mean",
        mode="lines+markers", connectgaps=False,
        line={"color": BLUE, "width": 1.5},
        marker={"color": BLUE, "symbol": "circle", "size": 5 if has_few_bins else 3},
    )  # fmt: skip
    figure.add_scatter(
        x=rounded(middles), y=rounded(bins.minimums), hovertext=texts, hoverinfo="text",
        name="lowest", mode="markers",
        marker={"color": VERMILION, "symbol": "triangle-down", "size": 7 if has_few_bins else 5},
    )  # fmt: skip
    lowest = int(np.argmin(bins.minimums))
    caption = (
        f"{counted(bins.num_rows, 'scored allele')} from position {count(int(bins.first_pos[0]))} "
        f"to {count(int(last_pos[-1]))}: mean and lowest llr in bins of {count(bins.width)} "
        f"positions. The lowest llr is {decimal(float(bins.minimums[lowest]))}, in the bin from "
        f"{count(int(bins.first_pos[lowest]))} to {count(int(last_pos[lowest]))}."
    )
    title = f"llr along {printable(bins.contig)}, {scoring}"
    return Plot(plot_id, title, caption, figure, height, is_wide=is_alone)


def _bin_texts(bins: ContigBins, last_pos: IntArray) -> list[str]:
    """The hover text of each bin."""
    contig = plot_text(bins.contig)
    return [
        f"{contig}:{count(first)}"
        + (f" to {count(last)}" if last > first else "")
        + f"<br>{counted(number, 'allele')}<br>mean {decimal(mean)}<br>lowest {decimal(lowest)}"
        for first, last, number, mean, lowest in zip(
            bins.first_pos.tolist(), last_pos.tolist(), bins.counts.tolist(),
            bins.means.tolist(), bins.minimums.tolist(), strict=True,
        )
    ]  # fmt: skip


def _make_contig_layout(
    bins: ContigBins, last_pos: int, span: tuple[float, float], *, is_alone: bool
) -> go.Layout:
    """Axes of positions and of ``llr``; panels side by side have no titles of axes."""
    return make_layout(
        PLOT_HEIGHT if is_alone else PANEL_HEIGHT,
        x="position" if is_alone else "",
        y="llr, nats" if is_alone else "",
        yaxis={"range": _padded(*span)},
        xaxis={
            "tickformat": "~s" if last_pos > 99_999 else ",d",
            "nticks": 9 if is_alone else 4,
            "range": _padded(float(bins.first_pos[0]), float(last_pos)),
            "zeroline": False,
        },
        showlegend=is_alone,
    )


def _padded(low: float, high: float) -> list[float]:
    """A range with a margin at both ends."""
    margin = 0.03 * (high - low) or 0.5
    return [low - margin, high + margin]


def _with_gaps(
    middles: np.ndarray[Any, Any], bins: ContigBins, texts: Sequence[str]
) -> tuple[list[float | None], list[float | None], list[str]]:
    """The means with gaps where bins are empty, so that lines connect neighbouring bins only."""
    ends = np.flatnonzero(np.diff(bins.first_pos) > bins.width) + 1
    x = np.insert(middles, ends, np.nan)
    y = np.insert(bins.means, ends, np.nan)
    hover = np.insert(np.array(texts, dtype=object), ends, "").tolist()
    return rounded(x), rounded(y), hover


def plot_pairs(plot_id: str, title: str, pairs: PairSummary, what: str) -> Plot:
    """Plot two numbers of the same rows against each other."""
    layout = make_layout(
        PAIRS_HEIGHT, x=f"{pairs.x}, nats", y=f"{pairs.y}, nats", showlegend=False,
        xaxis={"constrain": "domain"}, yaxis={"scaleanchor": "x", "constrain": "domain"},
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    if pairs.points is not None:
        ends = [float(pairs.points.min()), float(pairs.points.max())]
        figure.add_scatter(
            x=rounded(pairs.points[0]), y=rounded(pairs.points[1]), mode="markers",
            marker={"color": BLUE, "size": 5, "opacity": 0.45},
            hovertemplate=f"{pairs.x} %{{x}}<br>{pairs.y} %{{y}}<extra></extra>",
        )  # fmt: skip
    else:
        assert pairs.density is not None  # noqa: S101 - there are either points or a density
        ends = [float(pairs.density.edges[0]), float(pairs.density.edges[-1])]
        figure.add_trace(_heatmap(pairs, pairs.density))
    figure.add_scatter(
        x=rounded(ends), y=rounded(ends), mode="lines", hoverinfo="skip",
        line={"color": MUTED, "dash": "dash", "width": 1},
    )  # fmt: skip
    return Plot(plot_id, title, _caption_pairs(pairs, what), figure, PAIRS_HEIGHT)


def _heatmap(pairs: PairSummary, density: Density) -> go.Heatmap:
    counts = density.counts
    most = max(int(counts.max()), 1)
    ticks = [10**power for power in range(len(str(most)))]
    middles = rounded((density.edges[:-1] + density.edges[1:]) / 2)
    return go.Heatmap(
        x=middles,
        y=middles,
        z=[rounded(np.log10(np.where(row > 0, row, np.nan))) for row in counts],
        customdata=counts.tolist(),
        hovertemplate=f"{pairs.x} %{{x}}<br>{pairs.y} %{{y}}<br>"
        "%{customdata:,} alleles<extra></extra>",
        colorscale=[[at / (len(DENSITY) - 1), color] for at, color in enumerate(DENSITY)],
        zmin=0,
        colorbar={
            "title": {"text": "alleles", "side": "right"},
            "tickvals": [float(np.log10(tick)) for tick in ticks],
            "ticktext": [count(tick) for tick in ticks],
            "thickness": 10, "outlinewidth": 0, "bgcolor": CLEAR,
        },
    )  # fmt: skip


def _caption_pairs(pairs: PairSummary, what: str) -> str:
    text = f"{count(pairs.num_rows)} {what}. "
    if pairs.spearman is None:
        text += f"There is no rank correlation: {pairs.reason}."
    else:
        text += f"Spearman's rank correlation is {fixed(pairs.spearman)}."
    if pairs.step > 1:
        text += (
            f" The correlation and the plot use a sample: one row in {pairs.step}, "
            f"{count(pairs.num_sampled)} rows."
        )
    if pairs.density is not None and pairs.density.num_outside:
        outside = pairs.density.num_outside
        percent = share(outside, pairs.num_sampled)
        text += f" Outside the plot: {counted(outside, 'row')} ({percent})."
    return f"{text} On the dashed line both values are equal."


def contig_span(contigs: Sequence[ContigBins]) -> tuple[float, float]:
    """Lowest minimum and highest mean of all contigs."""
    return (
        min(float(bins.minimums.min()) for bins in contigs),
        max(float(bins.means.max()) for bins in contigs),
    )
