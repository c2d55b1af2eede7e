"""Plots of a generation: composition, copies, scores by step, the search tree, reading frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.genome.orfs import find_orfs
from evo2_tasks.genome.words import WORDS, Counts
from evo2_tasks.io.words import counted
from evo2_tasks.report.generation_summaries import MOST_NODES, Drawn, Listed, Row
from evo2_tasks.report.style import (
    BLUE,
    MUTED,
    SERIES,
    VERMILION,
    Plot,
    make_layout,
    rounded,
)
from evo2_tasks.report.words import MINUS, count, decimal, fixed, listed, plot_text

HEIGHT: Final = 320
ORF_HEIGHT: Final = 240
WINDOWS: Final = 60
"""Most windows of a line of composition along a sequence."""

MIN_WINDOW: Final = 50
"""Shortest window of such a line, bases."""

MIN_ORF_CODONS: Final = 20
"""Shortest open reading frame that is drawn, codons."""

FRAMES: Final = ("+1", "+2", "+3", *(f"{MINUS}{frame}" for frame in (1, 2, 3)))


def plot_words(plot_id: str, words: Counts, others: Sequence[tuple[str, Counts]]) -> Plot:
    """Plot the shares of the words of three bases against those of prompts and reference.

    Args:
        plot_id: Id of the plot.
        words: Of the generated sequences.
        others: Name and numbers of what they are compared with.
    """
    figure = go.Figure(
        layout=make_layout(HEIGHT, x="share in prompts or reference", y="share in the sequences",
                           xaxis={"tickformat": ".1%"}, yaxis={"tickformat": ".1%"})
    )  # fmt: skip
    own, most, texts = words / max(1, words.sum()), 0.0, []
    for series, (name, numbers) in zip(SERIES, others, strict=False):
        shares = numbers / max(1, numbers.sum())
        most = max(most, float(shares.max()), float(own.max()))
        figure.add_scatter(
            x=rounded(shares), y=rounded(own), mode="markers", name=plot_text(name),
            marker=series.marker(7), hovertext=[f"{word}" for word in WORDS],
            hovertemplate="%{hovertext}<br>%{x:.2%} and %{y:.2%}<extra></extra>",
        )  # fmt: skip
        differences = np.abs(own - shares)
        texts.append(f"{name} {fixed(float(differences.sum() / 2))}")
    figure.add_scatter(
        x=[0, most], y=[0, most], mode="lines", showlegend=False, hoverinfo="skip",
        line={"color": MUTED, "width": 1, "dash": "dash"},
    )  # fmt: skip
    caption = (
        f"Shares of the 64 words of three bases in {count(int(words.sum()))} places of the "
        f"sequences. On the dashed line they are equal. Distance (half of the sum of the "
        f"differences, 0 to 1): {', '.join(texts) or 'nothing to compare with'}."
    )
    return Plot(plot_id, "Words of three bases", caption, figure, HEIGHT)


def plot_gc(plot_id: str, drawn: Sequence[Drawn], levels: Sequence[tuple[str, float]]) -> Plot:
    """Plot the share of G and C along sequences.

    Args:
        plot_id: Id of the plot.
        drawn: The sequences.
        levels: Name and share of what they are compared with.
    """
    figure = go.Figure(
        layout=make_layout(HEIGHT, x="position in the generated sequence", y="share of G and C",
                           yaxis={"tickformat": ".0%", "zeroline": False})
    )  # fmt: skip
    longest = max(len(one.bases) for one in drawn)
    width = max(MIN_WINDOW, math.ceil(longest / WINDOWS))
    for series, one in zip(SERIES, drawn, strict=False):
        starts = range(0, len(one.bases), width)
        pieces = [one.bases[start : start + width] for start in starts]
        shares = [(piece.count("G") + piece.count("C")) / len(piece) for piece in pieces]
        figure.add_scatter(
            x=[start + len(piece) / 2 for start, piece in zip(starts, pieces, strict=True)],
            y=rounded(shares), name=plot_text(one.name), line=series.line(1.4),
            mode="lines+markers" if len(shares) == 1 else "lines",
            hovertemplate="%{x:,}: %{y:.0%}<extra></extra>",
        )  # fmt: skip
    words = []
    for dash, (name, level) in zip(("dash", "dot"), levels, strict=False):
        figure.add_scatter(
            x=[0, longest], y=[level, level], name=plot_text(name), mode="lines",
            line={"color": MUTED, "dash": dash, "width": 1},
            hovertemplate=f"{plot_text(name)} %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
        words.append(f"{name} {level:.1%}")
    caption = f"In windows of {counted(width, 'base')}, of {counted(len(drawn), 'sequence')}."
    if words:
        caption += f" For comparison: {listed(words)}."
    return Plot(plot_id, "G and C along the sequences", caption, figure, HEIGHT)


def plot_copies(plot_id: str, rows: Sequence[Listed], reference: str | None) -> Plot:
    """Plot the longest stretch of each sequence that its prompt and the reference have too.

    Args:
        plot_id: Id of the plot.
        rows: The sequences, of which those with bases are drawn.
        reference: Name of the reference; None without one.
    """
    shown = [one for one in rows if one.row["prompt_match"] is not None]
    names = [one.name for one in shown]
    figure = go.Figure(
        layout=make_layout(HEIGHT, x="sequence", y="longest common stretch, bases", bargap=0.2,
                           xaxis={"type": "category"}, yaxis={"rangemode": "tozero"})
    )  # fmt: skip
    sources = [("prompt", "prompt_match", BLUE)]
    sources += [] if reference is None else [(reference, "reference_match", VERMILION)]
    parts = []
    for name, column, color in sources:
        values = [one.row[column] for one in shown]
        figure.add_bar(
            x=names, y=values, name=plot_text(name), marker={"color": color},
            hovertemplate=f"%{{x}}: %{{y:,}} bases of {plot_text(name)}<extra></extra>",
        )  # fmt: skip
        parts.append(f"{name} {count(max(values, default=0))}")
    caption = (
        f"The longest stretch, on either strand, that {counted(len(shown), 'sequence')} and what "
        "they are compared with have in common. Stretches below 12 bases count as 0. The longest "
        f"of all: {listed(parts)} bases."
    )
    return Plot(plot_id, "Longest common stretches", caption, figure, HEIGHT, is_wide=True)


def plot_scores(plot_id: str, drawn: Sequence[Drawn], column: str, name: str) -> Plot:
    """Plot a score by step: of the best candidate, and the median of all candidates.

    Args:
        plot_id: Id of the plot.
        drawn: The sequences.
        column: Column of the score.
        name: Its name.
    """
    figure = go.Figure(layout=make_layout(HEIGHT, x="step", y=name, yaxis={"zeroline": False}))
    ends = []
    for series, one in zip(SERIES, drawn, strict=False):
        best = one.best()
        values = [row[column] for row in best]
        figure.add_scatter(
            x=[row["step"] for row in best], y=rounded(values), name=plot_text(one.name),
            mode="lines+markers" if len(best) < 2 else "lines", line=series.line(1.8),
            hovertemplate="step %{x}: %{y}<extra></extra>",
        )  # fmt: skip
        medians = [_median([row[column] for row in step]) for step in one.steps]
        if any(len(step) > 1 for step in one.steps):
            figure.add_scatter(
                x=[*range(len(one.steps))], y=rounded(medians), showlegend=False, mode="lines",
                line=series.line(0.8) | {"dash": "dot"},
                hovertemplate="step %{x}, median of the candidates: %{y}<extra></extra>",
            )  # fmt: skip
        if values:
            ends.append(f"{one.name} {decimal(values[-1])}")
    caption = (
        f"{name} of the best candidate of each step, and thin and dotted the median of all "
        f"candidates. At the last step: {', '.join(ends) or 'none'}."
    )
    return Plot(plot_id, f"{name} by step", caption, figure, HEIGHT)


def _median(values: Sequence[float]) -> float:
    """Median of the finite values; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def plot_log_probs(plot_id: str, drawn: Sequence[Drawn]) -> Plot:
    """Plot the mean log-probability of a base in each step, of the sequences themselves."""
    figure = go.Figure(
        layout=make_layout(HEIGHT, x="step", y="mean log-probability of a base, nats",
                           yaxis={"zeroline": False})
    )  # fmt: skip
    for series, one in zip(SERIES, drawn, strict=False):
        path = one.path()
        values = [
            np.nan if row["log_prob"] is None else row["log_prob"] / max(1, row["bases"])
            for row in path
        ]
        figure.add_scatter(
            x=[row["step"] for row in path], y=rounded(values), name=plot_text(one.name),
            mode="lines+markers" if len(path) < 2 else "lines", line=series.line(1.4),
            hovertemplate="step %{x}: %{y} nats<extra></extra>",
        )  # fmt: skip
    caption = (
        "Of the bases that each step added to the sequence, given all bases before them. "
        f"{fixed(-math.log(4))} nats would be a base of four equally likely ones."
    )
    return Plot(plot_id, "Log-probability by step", caption, figure, HEIGHT)


def plot_tree(plot_id: str, one: Drawn) -> Plot:
    """Plot the candidates of a search by step and total score, joined to what they continue."""
    figure = go.Figure(layout=make_layout(HEIGHT, x="step", y="total", yaxis={"zeroline": False}))
    steps, num = list[list[Row]](), 0
    for step in one.steps:
        num += len(step)
        if num > MOST_NODES:
            break
        steps.append(step)
    path = {(row["step"], row["candidate"]) for row in one.path()}
    by_key = {(row["step"], row["candidate"]): row for step in steps for row in step}
    edges: dict[bool, tuple[list[Any], list[Any]]] = {False: ([], []), True: ([], [])}
    for (number, candidate), row in by_key.items():
        parent = by_key.get((number - 1, row["parent"]))
        if parent is None or not math.isfinite(row["total"]):
            continue
        x, y = edges[(number, candidate) in path]
        x += [number - 1, number, None]
        y += [*rounded([parent["total"], row["total"]]), None]
    for is_path, color, width in ((False, MUTED, 0.5), (True, VERMILION, 2)):
        x, y = edges[is_path]
        figure.add_scatter(
            x=x, y=y, mode="lines", showlegend=False, hoverinfo="skip",
            line={"color": color, "width": width},
        )  # fmt: skip
    nodes: dict[str, list[Row]] = {"not kept": [], "kept": [], "in the sequence": []}
    for key, row in by_key.items():
        name = "not kept" if not row["chosen"] else "in the sequence" if key in path else "kept"
        nodes[name].append(row)
    looks = ((MUTED, "circle-open", 4), (BLUE, "circle", 5), (VERMILION, "diamond", 8))
    for (name, rows), (color, symbol, size) in zip(nodes.items(), looks, strict=True):
        figure.add_scatter(
            x=[row["step"] for row in rows], y=rounded([row["total"] for row in rows]),
            mode="markers", name=name, marker={"color": color, "symbol": symbol, "size": size},
            hovertext=[f"candidate {row['candidate']}" for row in rows],
            hovertemplate="step %{x}, %{hovertext}: %{y}<extra></extra>",
        )  # fmt: skip
    num_kept = sum(row["chosen"] for row in by_key.values())
    caption = (
        f"{counted(len(by_key), 'candidate')} of {counted(len(steps), 'step')}, of which "
        f"{count(num_kept)} were kept. A line joins each candidate to the one that it continues."
    )
    if len(steps) < len(one.steps):
        caption += f" The first {count(len(steps))} of {count(len(one.steps))} steps are drawn."
    return Plot(plot_id, f"Search tree of {one.name}", caption, figure, HEIGHT, is_wide=True)


def plot_orfs(plot_id: str, one: Drawn, genetic_code: int) -> Plot:
    """Plot the open reading frames of a sequence, in the six frames.

    Args:
        plot_id: Id of the plot.
        one: The sequence.
        genetic_code: NCBI's number of the genetic code.
    """
    orfs = find_orfs(one.bases, genetic_code, min_codons=MIN_ORF_CODONS)
    rows = []
    for orf in orfs:
        first = orf.start if orf.strand == "forward" else len(one.bases) - orf.end
        rows.append(FRAMES[first % 3 + (0 if orf.strand == "forward" else 3)])
    figure = go.Figure(
        layout=make_layout(ORF_HEIGHT, x="position in the generated sequence", y="frame",
                           showlegend=False, bargap=0.3,
                           xaxis={"range": [0, len(one.bases)]},
                           yaxis={"type": "category", "categoryorder": "array",
                                  "categoryarray": FRAMES[::-1], "range": [-0.5, 5.5]})
    )  # fmt: skip
    figure.add_bar(
        orientation="h", base=[orf.start for orf in orfs], x=[orf.end - orf.start for orf in orfs],
        y=rows, marker={"color": [BLUE if row[0] == "+" else VERMILION for row in rows]},
        hovertext=[
            f"{count(orf.start + 1)} to {count(orf.end)}, {count(orf.num_codons)} codons"
            + ("" if orf.has_stop else ", without a stop codon")
            for orf in orfs
        ],
        hovertemplate="%{y}: %{hovertext}<extra></extra>",
    )  # fmt: skip
    longest = max((orf.num_codons for orf in orfs), default=0)
    caption = (
        f"{counted(len(orfs), 'open reading frame')} of {MIN_ORF_CODONS} codons or more, from a "
        f"start codon, in {count(len(one.bases))} bases, by translation table {genetic_code}. "
        f"The longest has {count(longest)} codons."
    )
    return Plot(plot_id, f"Open reading frames of {one.name}", caption, figure, ORF_HEIGHT)
