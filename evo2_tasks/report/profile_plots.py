"""Figures of profiles: what each token adds to the score of an allele."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Final

import plotly.graph_objects as go
from markupsafe import Markup

from evo2_tasks.report.blocks import Block, FigureIds, Grid, Heading, Note
from evo2_tasks.report.profiles import MOST_PROFILES, AlleleProfile, StrandProfile
from evo2_tasks.report.rows import Row
from evo2_tasks.report.style import BLUE, MUTED, VERMILION, Plot, make_layout, rounded
from evo2_tasks.report.words import count, decimal, fixed, plot_text, variant

MOST_DRAWN: Final = 128
"""Entries of a profile that are drawn."""
LONGEST_COMMAND: Final = 300
"""Most characters of a command line that is shown; that of a long allele is not."""
_HEIGHT: Final = 260


def find_anchor(scoring_number: int, rank: int) -> str:
    """The place of the figures of an allele in the page, for links."""
    return f"tokens-{scoring_number}-{rank}"


def show_lowest_profiles(
    profiles: Mapping[int, AlleleProfile],
    ids: FigureIds,
    *,
    scoring_number: int,
    scoring: str,
    variant_set: str,
) -> Iterator[Block]:
    """Show the profiles of the alleles with the lowest scores of a scoring.

    Args:
        profiles: The profiles by the rank of the allele, from 1.
        ids: Ids of the figures.
        scoring_number: Number of the scoring in the page.
        scoring: Its name.
        variant_set: Name of the variant set.
    """
    if not profiles:
        return
    yield Heading(f"Token by token, {scoring}")
    yield Note(
        f"The profiles of the first {MOST_PROFILES} alleles of the table with the lowest llr. Each "
        "bar is the log-probability of a token in the alternate window minus that in the reference "
        "window. The grey bars are the tokens of the allele, the others are downstream of it. The "
        "forward strand reads to higher positions, the reverse strand to lower ones. The command "
        "below each allele writes a page about it, with the SNVs near it; config.yaml is the "
        "config of this run."
    )
    for rank, one in profiles.items():
        name = variant(one.row)
        yield Heading(f"{rank}. {name}", find_anchor(scoring_number, rank))
        yield Grid(
            [plot_profile(ids(), profile, one.row["contig"], name) for profile in one.strands]
        )
        command = spell_command(one.row, variant_set, scoring)
        if command:
            yield Note(Markup('<code class="text">{}</code>').format(command))


def spell_command(row: Row, variant_set: str, scoring: str) -> str:
    """The command line that explains an allele; empty if it cannot be shown whole."""
    allele = f"{row['contig']}:{row['pos']}:{row['ref']}:{row['alt']}"
    command = shlex.join(
        [
            *("evo2-tasks", "explain", "--config", "config.yaml", "--variant-set", variant_set),
            *("--scoring", scoring, "--html", "explained.html"),
            *(["--"] if allele.startswith("-") else []),
            allele,
        ]
    )
    return command if command.isprintable() and len(command) <= LONGEST_COMMAND else ""


def plot_profile(plot_id: str, profile: StrandProfile, contig: str, allele_name: str = "") -> Plot:
    """Plot the profile of an allele on a strand: a bar for each token.

    Args:
        plot_id: Id of the plot.
        profile: The profile.
        contig: Name of the contig.
        allele_name: The allele, for the title of a page with several.
    """
    drawn = profile.entries[:MOST_DRAWN]
    values = [entry.difference for entry in drawn]
    place = plot_text(contig)
    texts = [
        f"{place}:{entry.pos} {plot_text(entry.base)}<br>{decimal(entry.difference)} nats"
        if entry.pos is not None
        else f"{'inserted base' if entry.kind == 'allele' else 'in one window only'}<br>"
        f"{decimal(entry.difference)} nats"
        for entry in drawn
    ]
    colors = [
        MUTED if entry.kind == "allele" else BLUE if entry.difference >= 0 else VERMILION
        for entry in drawn
    ]
    layout = make_layout(
        _HEIGHT, x="tokens after the first difference", y="nats", showlegend=False, bargap=0.1
    )
    figure = go.Figure(
        go.Bar(
            x=list(range(len(drawn))), y=rounded(values), hovertext=texts, hoverinfo="text",
            marker={"color": colors, "line": {"width": 0}},
        ),
        layout,
    )  # fmt: skip
    total = sum(entry.difference for entry in profile.entries)
    of_allele = sum(entry.difference for entry in profile.entries if entry.kind == "allele")
    kept = "all tokens" if profile.is_whole else f"the first {count(len(profile.entries))} tokens"
    caption = (
        f"The {profile.strand} strand. The allele's own tokens (grey) sum to {fixed(of_allele)} "
        f"nats, and {kept} to {fixed(total)}."
    )
    if len(drawn) < len(profile.entries):
        caption += f" The first {count(len(drawn))} tokens are drawn."
    title = f"{profile.strand} strand"
    title = f"{allele_name}, {title}" if allele_name else title
    return Plot(plot_id, title, caption, figure, _HEIGHT)
