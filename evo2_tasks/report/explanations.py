"""The page of the command ``explain``: one allele, and why it has its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from numpy.typing import NDArray

from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.report.blocks import (
    CODE,
    NUMBER,
    TEXT,
    Cell,
    FigureIds,
    Grid,
    Note,
    Section,
    Table,
    Tile,
    number_cell,
)
from evo2_tasks.report.page import render_sections
from evo2_tasks.report.profile_plots import plot_profile
from evo2_tasks.report.profiles import Entry, StrandProfile
from evo2_tasks.report.saturation_plots import color_span, draw_matrix
from evo2_tasks.report.style import Plot, make_layout
from evo2_tasks.report.words import (
    NOTHING,
    allele,
    count,
    decimal,
    fixed,
    plot_text,
    printable,
    value_text,
    variant,
)

BASES: Final = "ACGT"
FLANK: Final = 40
"""Bases of the reference that are shown on each side of the allele."""
MOST_LISTED: Final = 12
"""Downstream bases in the table of the largest differences."""
LONGEST: Final = 200
"""Most bases of an allele, and characters of a value, that are shown."""
_MATRIX_HEIGHT: Final = 250


@dataclass(frozen=True, slots=True)
class Nearby:
    """SNVs near the allele.

    Attributes:
        positions: 1-based positions in the order of the window. (P,)
        bases: Base of the reference at each. (P,)
        llr: By base and position, NaN where there is none, nats. (4, P)
        is_own_window: Whether they were scored in the window of the allele; else they are from the
            table, each in its own windows.
    """

    positions: Sequence[int]
    bases: str
    llr: NDArray[np.float64]
    is_own_window: bool

    def find_lowest(self) -> tuple[str, float]:
        """Position and bases of the SNV with the lowest ``llr``, and its ``llr``."""
        lowest = int(np.nanargmin(self.llr))
        base, place = divmod(lowest, len(self.positions))
        name = f"{self.positions[place]} {self.bases[place]}>{BASES[base]}"
        return name, float(self.llr[base, place])


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about an allele.

    Attributes:
        contig: Name of the contig in the input.
        pos: 1-based position.
        ref: The reference allele.
        alt: The alternate allele.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        before: Bases of the reference before the trimmed allele.
        changed: The bases that the allele replaces; may be empty.
        alternate: The bases in their place; may be empty.
        after: Bases of the reference after it.
        profiles: The profile of each strand that has one.
        scores: Scores of the allele, by column.
        row: Its row in the table, with annotations and calibrated columns; None without one.
        neighbours: Rows of the table near it.
        nearby: SNVs near it; None if there are none.
        facts: Where the values come from: a name and a text each.
        notes: What the reader has to know.
    """

    contig: str
    pos: int
    ref: str
    alt: str
    variant_set: str
    scoring: str
    before: str
    changed: str
    alternate: str
    after: str
    profiles: Sequence[StrandProfile]
    scores: Mapping[str, float | None]
    row: Mapping[str, Any] | None
    neighbours: Sequence[Mapping[str, Any]]
    nearby: Nearby | None
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """The allele as text."""
        return f"{printable(self.contig)}:{self.pos} {allele(self.ref)}>{allele(self.alt)}"


def write_explanation(one: Explanation, out: Path) -> None:
    """Write the page, which needs no other file and no network.

    Raises:
        InputError: The file cannot be written.
    """
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(render_explanation(one), encoding="utf-8", newline="\n")


def render_explanation(one: Explanation) -> str:
    """The page as HTML."""
    ids = FigureIds()
    consequence = None if one.row is None else one.row.get("consequence")
    lines = [
        f"{name} {fixed(one.scores.get(name))}"
        for name in ("llr_allele", "llr_downstream", "llr_fwd", "llr_rev")
        if one.scores.get(name) is not None
    ]
    lines += [f"consequence {value_text(consequence)}"] if consequence is not None else []
    tile = Tile(printable(one.scoring), fixed(one.scores.get("llr")), "llr, nats", lines)
    sections = [
        Section("sequence", "Sequence", _show_sequence(one)),
        Section("tokens", "Differences, token by token", _show_profiles(one, ids)),
        Section("nearby", "SNVs near the allele", _show_nearby(one, ids)),
        Section("table", "In the table", _show_rows(one)),
        Section("origin", "Where the values come from", [_tabulate_facts(one)]),
    ]
    return render_sections(
        name=one.name,
        subtitle=f"{printable(one.variant_set)}, {printable(one.scoring)}",
        tiles=[tile],
        alarms=[printable(note, LONGEST) for note in one.notes],
        sections=sections,
    )


def find_largest(profiles: Sequence[StrandProfile]) -> list[tuple[str, Entry]]:
    """The downstream bases that lose or gain most, with their strand."""
    entries = [
        (profile.strand, entry)
        for profile in profiles
        for entry in profile.entries
        if entry.kind == "downstream"
    ]
    return sorted(entries, key=lambda each: -abs(each[1].difference))[:MOST_LISTED]


def _show_sequence(one: Explanation) -> list[Any]:
    def spell(middle: str) -> Markup:
        before, after = printable(one.before), printable(one.after)
        return Markup("{}<mark>{}</mark>{}").format(before, printable(middle, LONGEST), after)

    width = max(len(one.changed), len(one.alternate))
    rows = [
        [Cell("reference"), Cell(spell(one.changed.ljust(width, "-")))],
        [Cell("alternate"), Cell(spell(one.alternate.ljust(width, "-")))],
    ]
    caption = f"{count(len(one.before))} bases before the allele and {count(len(one.after))} after"
    note = "Plus strand, 5' to 3'. The marked bases differ; - is a base that one of the two lacks."
    columns = [("window", TEXT), ("sequence", CODE)]
    return [Table(caption, columns, rows, is_sortable=False, note=note)]


def _show_profiles(one: Explanation, ids: FigureIds) -> list[Any]:
    if not one.profiles:
        return [Note("No strand has a profile.")]
    blocks: list[Any] = [
        Note(
            "Each bar is the log-probability of a token in the alternate window minus that in the "
            "reference window. All of a strand add up to its llr (llr_fwd, llr_rev). Below 0, the "
            "model expects the base less after it has read the alternate allele. Each strand is "
            "read away from the allele: forward to higher positions, reverse to lower ones."
        ),
        Grid([plot_profile(ids(), profile, one.contig) for profile in one.profiles]),
    ]
    rows = [
        [
            Cell(f"{printable(one.contig)}:{entry.pos}", entry.pos),
            Cell(printable(entry.base)),
            Cell(strand),
            number_cell(entry.difference, fixed(entry.difference, sign=True)),
            Cell("loses" if entry.difference < 0 else "gains"),
        ]
        for strand, entry in find_largest(one.profiles)
    ]
    if rows:
        columns = [
            ("position", TEXT), ("base", CODE), ("strand", TEXT), ("difference, nats", NUMBER),
            ("effect", TEXT),
        ]  # fmt: skip
        note = "The bases are those of the plus strand, on both strands."
        blocks.append(Table("Downstream bases that lose or gain most", columns, rows, note=note))
    return blocks


def _show_nearby(one: Explanation, ids: FigureIds) -> list[Any]:
    if one.nearby is None:
        return [Note("There are no scores of SNVs near the allele.")]
    number = int(np.isfinite(one.nearby.llr).sum())
    if one.nearby.is_own_window:
        text = (
            f"{count(number)} SNVs, all scored in the allele's own window. Their scores differ "
            "from those of the table, where each SNV has a window of its own: compare them with "
            "each other only."
        )
    else:
        text = (
            f"{count(number)} SNVs that the table has, each in its own windows. With --run-model, "
            "all SNVs near the allele are scored in the allele's window."
        )
    if not number:
        return [Note(text)]
    return [Note(text), Grid([_plot_nearby(ids(), one.nearby, one)])]


def _plot_nearby(plot_id: str, nearby: Nearby, one: Explanation) -> Plot:
    contig = plot_text(one.contig)
    places = [*zip(nearby.positions, nearby.bases, strict=True)]
    names = [[f"{contig}:{pos} {ref}>{alt}" for pos, ref in places] for alt in BASES]
    ticks = [
        f"{ref}<br>{pos}" if number % 5 == 0 else ref for number, (pos, ref) in enumerate(places)
    ]
    x = list(range(len(places)))
    layout = make_layout(_MATRIX_HEIGHT, x="", y="", showlegend=False)
    layout.update(
        xaxis={"tickvals": x, "ticktext": ticks, "showgrid": False, "zeroline": False,
               "tickangle": 0},
        yaxis={"tickvals": list(range(4)), "ticktext": list(BASES), "range": [3.5, -0.5],
               "showgrid": False, "zeroline": False, "fixedrange": True},
    )  # fmt: skip
    figure = go.Figure(layout=layout)
    span = color_span([nearby.llr])
    figure.add_trace(draw_matrix(x, list(range(4)), nearby.llr, names, span))
    finite = nearby.llr[np.isfinite(nearby.llr)]
    lowest = f"{printable(one.contig)}:{nearby.find_lowest()[0]}"
    caption = (
        f"llr of {count(len(finite))} SNVs by position and base, {decimal(float(finite.min()))} to "
        f"{decimal(float(finite.max()))} nats. The lowest is {lowest}. Cells of the "
        "reference's own base are empty."
    )
    return Plot(plot_id, "llr of the SNVs near the allele", caption, figure, _MATRIX_HEIGHT, True)


def _show_rows(one: Explanation) -> list[Any]:
    if one.row is None:
        blocks: list[Any] = [Note("The run has no table with this allele.")]
    else:
        rows = [
            [Cell(printable(name)), Cell(value_text(value))]
            for name, value in one.row.items()
            if value is not None
        ]
        blocks = [
            Table(
                "The row of the allele",
                [("column", CODE), ("value", TEXT)],
                rows,
                is_sortable=False,
            )
        ]
    if one.neighbours:
        has_consequence = any("consequence" in row for row in one.neighbours)
        columns = [("allele", TEXT), ("status", TEXT), ("llr", NUMBER)]
        columns += [("consequence", TEXT)] if has_consequence else []
        rows = [
            [
                Cell(variant(row)),
                Cell(value_text(row["status"])),
                number_cell(row["llr"], fixed(row["llr"])),
                *([Cell(value_text(row.get("consequence")))] if has_consequence else []),
            ]
            for row in one.neighbours
        ]
        blocks.append(Table("Other alleles of the table near it", columns, rows))
    return blocks


def _tabulate_facts(one: Explanation) -> Table:
    rows = [[Cell(name), Cell(printable(text, LONGEST) or NOTHING)] for name, text in one.facts]
    return Table(
        "Windows, model and files", [("what", TEXT), ("value", CODE)], rows, is_sortable=False
    )
