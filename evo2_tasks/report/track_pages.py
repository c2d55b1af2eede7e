"""The report of a track set: its regions, and sequence logos of the first ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.words import counted
from evo2_tasks.report.blocks import (
    NAME,
    NUMBER,
    TEXT,
    Block,
    Cell,
    FigureIds,
    Grid,
    Heading,
    Note,
    Section,
    Table,
    Tile,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.page import render_sections
from evo2_tasks.report.track_logos import plot_logo
from evo2_tasks.report.track_plots import plot_lines
from evo2_tasks.report.track_summaries import (
    LOGO_BASES,
    MOST_DRAWN,
    MOST_LISTED,
    Region,
    TrackSummary,
    read_track_summary,
)
from evo2_tasks.report.words import NOTHING, count, fixed, listed, printable

KIND: Final = "Evo 2 tracks"

_COLUMNS: Final = (
    ("line", NUMBER), ("contig", NAME), ("start", NUMBER), ("end", NUMBER), ("name", NAME),
    ("status", TEXT), ("bases", NUMBER), ("mean entropy", NUMBER), ("mean logp_ref", NUMBER),
)  # fmt: skip


def write_track_page(results: Path, out: Path, track_set: str, scorings: Sequence[str]) -> None:
    """Write the report of a track set.

    Args:
        results: Folder of the track set, with a folder for each scoring.
        out: The HTML file.
        track_set: Name of the track set.
        scorings: Its scorings, in the order in which the page shows them.

    Raises:
        InputError: A file is missing or broken or was replaced meanwhile, files do not belong
            together, or the page cannot be written.
    """
    files = SourceFiles()
    summaries = [read_track_summary(results / name, name, files) for name in scorings]
    files.require_unchanged()
    text = render_track_page(track_set, summaries)
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def render_track_page(track_set: str, summaries: Sequence[TrackSummary]) -> str:
    """The page as HTML."""
    ids = FigureIds()
    run = summaries[0].run
    return render_sections(
        name=printable(track_set),
        subtitle=f"{counted(run.records, 'region')} of {printable(run.regions)}, "
        f"{printable(run.reference.name)}",
        tiles=[_make_tile(one) for one in summaries],
        alarms=[alarm for one in summaries for alarm in _find_alarms(one)],
        sections=[
            Section(
                f"scoring-{number}",
                printable(one.scoring),
                [_tabulate(one), *_draw_regions(one, ids)],
            )
            for number, one in enumerate(summaries, start=1)
        ],
        kind=KIND,
    )


def _make_tile(one: TrackSummary) -> Tile:
    lines = [
        f"{counted(one.run.bases, 'base')}, {counted(one.run.records, 'region')}",
        f"mean logp_ref {fixed(one.logp_ref.value)} nats",
        f"model {printable(one.run.model)}",
    ]
    return Tile(printable(one.scoring), fixed(one.entropy.value), "mean entropy, bits", lines)


def _find_alarms(one: TrackSummary) -> Iterator[str]:
    scoring = printable(one.scoring)
    wrong = {name: num for name, num in one.run.by_status.items() if name != "scored"}
    if wrong:
        which = listed([f"{count(num)} {name}" for name, num in wrong.items()])
        yield (
            f"{scoring}: {count(sum(wrong.values()))} of {counted(one.run.records, 'region')} "
            f"are not, or not completely, in the tracks: {which}."
        )
    if one.run.non_finite:
        yield (
            f"{scoring}: the model gave numbers that are not finite for "
            f"{counted(one.run.non_finite, 'base')}, each strand counted. Their values are missing."
        )


def _tabulate(one: TrackSummary) -> Table:
    rows = [_make_row(region) for region in one.regions if region.is_listed]
    note = (
        "Start is 0-based, end is exclusive. Bases, entropy (bits) and logp_ref (nats) are those "
        "of the table between start and end; if a region has blocks, bases that other regions have "
        "between its blocks count too."
    )
    if one.run.records > MOST_LISTED:
        note += f" The first {count(MOST_LISTED)} of {count(one.run.records)} regions are listed."
    return Table(f"Regions, {printable(one.scoring)}", _COLUMNS, rows, note=note)


def _make_row(region: Region) -> list[Cell]:
    row = region.row
    reason = "" if row["reason"] is None else f", {printable(row['reason'])}"
    entropy, logp_ref = region.entropy.value, region.logp_ref.value
    return [
        whole_cell(row["record"] + 1),
        Cell(NOTHING if row["contig"] is None else printable(row["contig"])),
        whole_cell(row["start"]),
        whole_cell(row["end"]),
        Cell(NOTHING if row["name"] is None else printable(row["name"])),
        Cell(f"{row['status']}{reason}"),
        whole_cell(region.num_bases),
        number_cell(entropy, fixed(entropy)),
        number_cell(logp_ref, fixed(logp_ref)),
    ]


def _draw_regions(one: TrackSummary, ids: FigureIds) -> Iterator[Block]:
    drawn = one.list_drawn()
    text = (
        "The height of a letter is its probability times 2 minus the entropy of the four bases, in "
        "bits: a column is 2 bits high if the model is sure of one base, and empty if all four are "
        "equally likely. Each strand predicts a base from the bases that it has read "
        "before, and the probabilities are those of the strands together. "
    )
    text += f"The logo has the first {LOGO_BASES} bases of a region. "
    text += "Of longer regions, entropy and logp_ref are drawn as lines. "
    text += (
        f"The first {MOST_DRAWN} regions with bases are drawn."
        if one.run.records > len(drawn)
        else "All regions are drawn."
    )
    yield Note(text)
    for region in drawn:
        name = _name(region)
        yield Heading(name)
        title = f"{name}, {printable(one.scoring)}"
        plots = [plot_logo(ids(), f"Logo of {title}", region.first_bases(), region.num_bases)]
        if region.bins is not None and region.num_bases > LOGO_BASES:
            plots.append(plot_lines(ids(), f"Entropy and logp_ref of {title}", region.bins))
        yield Grid(plots)


def _name(region: Region) -> str:
    """The place of a region in 1-based positions, and its name."""
    row = region.row
    place = f"{printable(row['contig'])}:{count(row['start'] + 1)}-{count(row['end'])}"
    return place if row["name"] is None else f"{place} {printable(row['name'])}"
