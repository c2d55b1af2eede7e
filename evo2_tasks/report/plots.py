"""Plots of a table: distributions, scores along contigs, pairs of numbers.

Text from data goes through ``plot_text``, because plotly interprets tags in it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import Density, Histogram, IntArray, PairSummary
from evo2_tasks.report.contigs import ContigBins
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
from evo2_tasks.report.summary import MOST_SINGLE, TYPES, TableSummary
from evo2_tasks.report.words import (
    count,
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
        hovertext=_histogram_texts(histogram, table.names),
        hoverinfo="text",
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


def _histogram_texts(histogram: Histogram, names: Mapping[int, str]) -> list[str]:
    """The hover text of each bar, with the names of its first alleles."""
    texts = []
    edges = rounded(histogram.edges)
    bars = zip(edges[:-1], edges[1:], histogram.total.tolist(), histogram.rows, strict=True)
    for low, high, number, rows in bars:
        lines = [f"llr {decimal(low)} to {decimal(high)}", counted(number, "allele")]
        lines += [names[row] for row in rows]
        lines += [f"and {count(number - len(rows))} more"] if number > len(rows) else []
        texts.append("<br>".join(lines))
    return texts


def _count_axis(most: int) -> dict[str, Any]:
    """Ticks at whole numbers only; thousands are abbreviated."""
    if most >= FEW_COUNTS:
        return {"tickformat": "~s" if most >= 1_000 else ",d"}
    return {"tickformat": "d", "dtick": 1}


def plot_types(plot_id: str, table: TableSummary, histogram: Histogram, scoring: str) -> Plot:
    """Plot the cumulative distribution of ``llr`` within each type of variant."""
    figure = go.Figure(
        layout=make_layout(
            PLOT_HEIGHT, x="llr, nats", y="share at or below",
            yaxis={"tickformat": ".0%", "range": [-0.02, 1.02], "zeroline": False},
        )
    )  # fmt: skip
    totals = []
    for kind in [name for name in TYPES if name in histogram.counts]:
        series = SERIES[TYPES.index(kind)]
        total = table.by_type[kind]
        totals.append(f"{kind} {count(total)}")
        singles = table.singles.get(kind)
        if singles is None:
            x, y = histogram.edges[1:], np.cumsum(histogram.counts[kind]) / total
            texts = [f"{share:.1%} of {kind} at or below {decimal(at)}"
                     for at, share in zip(rounded(x), y, strict=True)]  # fmt: skip
        else:
            x, y = singles.llr, np.arange(1, total + 1) / total
            rows = singles.rows.tolist()
            texts = [f"{table.names[row]}<br>{kind}, llr {decimal(at)}"
                     for at, row in zip(rounded(x), rows, strict=True)]  # fmt: skip
        figure.add_scatter(
            x=rounded(x), y=rounded(y), name=f"{kind} ({count(total)})",
            mode="lines" if singles is None else "lines+markers",
            line=series.line(2 if singles is None else 1) | {"shape": "hv"},
            marker=series.marker(6), hovertext=texts, hoverinfo="text",
        )  # fmt: skip
    caption = (
        "Share of the alleles of each type with this llr or a lower one. Number of alleles: "
        f"{', '.join(totals)}. The type is determined without the bases that ref and alt share at "
        "their ends."
    )
    if table.singles:
        caption += f" Types with at most {MOST_SINGLE} alleles have a mark for each allele."
    return Plot(plot_id, f"llr by type of variant, {scoring}", caption, figure, PLOT_HEIGHT)


def plot_contig(
    plot_id: str,
    bins: ContigBins,
    span: tuple[float, float],
    names: Mapping[int, str],
    scoring: str,
    *,
    is_alone: bool,
) -> Plot:
    """Plot mean and lowest ``llr`` along a contig, or a region of it.

    Args:
        plot_id: Id of the plot.
        bins: The contig or region.
        span: Lowest and highest ``llr`` of the bins of all contigs, for comparable axes.
        names: Names of the alleles with the lowest ``llr`` of a bin, by row.
        scoring: Name of the scoring.
        is_alone: Whether this is the only panel, so that its plot takes a whole row.
    """
    last_pos = bins.first_pos + bins.width - 1
    middles = (bins.first_pos + last_pos) / 2
    texts = _bin_texts(bins, last_pos, names)
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
        f"positions. The lowest llr is {decimal(float(bins.minimums[lowest]))}, of "
        f"{html.unescape(names[int(bins.lowest_rows[lowest])])}."
    )
    place = printable(bins.contig)
    if not bins.is_whole:
        place += f", {count(bins.region.first_pos)} to {count(bins.region.last_pos)}"
    title = f"llr along {place}, {scoring}"
    return Plot(plot_id, title, caption, figure, height, is_wide=is_alone)


def _bin_texts(bins: ContigBins, last_pos: IntArray, names: Mapping[int, str]) -> list[str]:
    """The hover text of each bin."""
    contig = plot_text(bins.contig)
    texts = []
    for first, last, number, mean, lowest, row in zip(
        bins.first_pos.tolist(), last_pos.tolist(), bins.counts.tolist(),
        bins.means.tolist(), bins.minimums.tolist(), bins.lowest_rows.tolist(), strict=True,
    ):  # fmt: skip
        name = names[row]
        if number == 1:
            texts.append(f"{name}<br>llr {decimal(lowest)}")
            continue
        place = f"{contig}:{first}" + (f" to {last}" if last > first else "")
        texts.append(
            f"{place}<br>{counted(number, 'allele')}<br>mean {decimal(mean)}<br>"
            f"lowest {decimal(lowest)}: {name}"
        )
    return texts


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


def plot_pairs(
    plot_id: str, title: str, pairs: PairSummary, names: Mapping[int, str], what: str
) -> Plot:
    """Plot two numbers of the same rows against each other.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        pairs: The numbers.
        names: Names of the alleles that are shown one by one, by row.
        what: What the rows are, for the caption.
    """
    layout = make_layout(
        PAIRS_HEIGHT, x=f"{plot_text(pairs.x)}, nats", y=f"{plot_text(pairs.y)}, nats",
        showlegend=False,
        xaxis={"constrain": "domain"}, yaxis={"scaleanchor": "x", "constrain": "domain"},
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    if pairs.points is not None:
        ends = [float(pairs.points.min()), float(pairs.points.max())]
        figure.add_scatter(
            x=rounded(pairs.points[0]), y=rounded(pairs.points[1]), mode="markers",
            marker={"color": BLUE, "size": 5, "opacity": 0.45},
            hovertext=[
                f"{names[row]}<br>{_pair_text(pairs, x, y)}"
                for row, x, y in zip(pairs.rows.tolist(), *map(rounded, pairs.points), strict=True)
            ],
            hoverinfo="text",
        )  # fmt: skip
    else:
        assert pairs.density is not None  # noqa: S101 - there are either points or a density
        ends = [float(pairs.density.edges[0]), float(pairs.density.edges[-1])]
        figure.add_trace(_heatmap(pairs, pairs.density, names))
    figure.add_scatter(
        x=rounded(ends), y=rounded(ends), mode="lines", hoverinfo="skip",
        line={"color": MUTED, "dash": "dash", "width": 1},
    )  # fmt: skip
    return Plot(plot_id, title, _caption_pairs(pairs, what), figure, PAIRS_HEIGHT)


def _pair_text(pairs: PairSummary, x: float | None, y: float | None) -> str:
    return f"{plot_text(pairs.x)} {decimal(x)}<br>{plot_text(pairs.y)} {decimal(y)}"


def _heatmap(pairs: PairSummary, density: Density, names: Mapping[int, str]) -> go.Heatmap:
    counts = density.counts
    most = max(int(counts.max()), 1)
    ticks = [10**power for power in range(len(str(most)))]
    middles = rounded((density.edges[:-1] + density.edges[1:]) / 2)
    return go.Heatmap(
        x=middles,
        y=middles,
        z=[rounded(np.log10(np.where(row > 0, row, np.nan))) for row in counts],
        hovertext=[
            [
                ""
                if not number
                else f"{counted(number, 'allele') if row < 0 else names[row]}<br>"
                f"{_pair_text(pairs, x, y)}"
                for x, number, row in zip(middles, numbers, rows, strict=True)
            ]
            for y, numbers, rows in zip(
                middles, counts.tolist(), density.rows.tolist(), strict=True
            )
        ],
        hoverinfo="text", hoverongaps=False,
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
