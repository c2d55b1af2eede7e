"""The section about haplotypes: changes beside others, interactions, rows by status, samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evo2_tasks.io.words import counted
from evo2_tasks.layout import COMPOUNDS, HAPLOTYPES
from evo2_tasks.report.blocks import (
    CODE,
    LONG,
    NAME,
    NUMBER,
    Block,
    Cell,
    FigureIds,
    Grid,
    Heading,
    Note,
    Table,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.haplotype_plots import plot_by_neighbours
from evo2_tasks.report.haplotypes import AMOUNTS, CHOSEN, HaplotypeEvidence, Interaction
from evo2_tasks.report.plots import plot_pairs
from evo2_tasks.report.words import (
    NOTHING,
    code_marks,
    count,
    decimal,
    fixed,
    printable,
    share,
)
from evo2_tasks.table.schema import FLAG_MEANINGS, HAPLOTYPE_FLAG_MEANINGS, STATUS_MEANINGS

MOST_SAMPLES: Final = 50
"""Most samples in the table of samples: those with the most changed alleles."""

MOST_MEMBERS: Final = 6
"""Most members of a compound that are named."""

_CHOSEN: Final = AMOUNTS.index(CHOSEN)


def show_haplotypes(haplotypes: Sequence[HaplotypeEvidence], ids: FigureIds) -> Iterator[Block]:
    """The haplotypes of the variant set; nothing if it has none."""
    for one in haplotypes:
        if len(haplotypes) > 1:
            yield Heading(printable(one.scoring))
        yield from _show(one, ids)


def _show(one: HaplotypeEvidence, ids: FigureIds) -> Iterator[Block]:
    yield from _describe(one)
    yield from _draw_changes(one, ids)
    if one.largest_interactions:
        yield _tabulate_interactions(one)
    if one.largest_changes:
        yield _tabulate_changes(one)
    if one.rows.alleles:
        yield from _count_rows(one)


def _describe(one: HaplotypeEvidence) -> Iterator[Block]:
    """What the tables have, and how many changes and interactions are large, in words."""
    changes = one.changes
    genotypes = one.run.genotypes
    yield Note(
        f"{HAPLOTYPES} has a row for each allele, sample and haplotype that carries it: "
        f"{counted(one.rows.alleles, 'row')} of {counted(one.run.samples, 'sample')}. "
        f"{count(changes.num_beside)} of them have neighbours: other alleles of the same haplotype "
        "in the window. llr_alone is the llr of the allele in the reference. llr_background is its "
        "llr where both windows have the neighbours too."
    )
    missing = [
        f"{count(genotypes[key])} {word}"
        for key, word in (("missing", "missing"), ("unreadable", "unreadable"))
        if genotypes.get(key)
    ]
    if missing:
        yield Note(f"Genotypes that give no row: {' and '.join(missing)}.")
    if changes.num_scored:
        changed, alleles = int(changes.rows[_CHOSEN]), int(changes.alleles[_CHOSEN])
        of_alleles = f" They have {counted(alleles, 'different allele')}." if alleles else ""
        yield Note(
            f"{count(changed)} of {counted(changes.num_scored, 'row')} with neighbours and both "
            f"scores ({share(changed, changes.num_scored)}) "
            f"{'changes' if changed == 1 else 'change'} by more than {CHOSEN} nats, up or "
            f"down.{of_alleles} A change of {CHOSEN} nats is a factor of 1.6 "
            "in the likelihood ratio. The table lists other amounts."
        )
    elif one.rows.alleles:
        yield Note("No row has neighbours and both scores.")
    if one.num_interactions:
        number = int(one.interactions[_CHOSEN])
        yield Note(
            f"{COMPOUNDS} has groups of alleles that are close together on a haplotype: "
            f"{counted(one.compounds.alleles, 'row')}. llr_joint is the llr of all members "
            "together, llr_sum is the sum of their llr alone, and the interaction is the "
            f"difference. {count(number)} of {counted(one.num_interactions, 'interaction')} "
            f"({share(number, one.num_interactions)}) {'is' if number == 1 else 'are'} larger than "
            f"{CHOSEN} nats, up or down."
        )


def _draw_changes(one: HaplotypeEvidence, ids: FigureIds) -> Iterator[Block]:
    """The changes and interactions by amount, and the scores beside neighbours."""
    if one.changes.num_scored or one.num_interactions:
        yield _tabulate_amounts(one)
    if one.pairs is not None:
        title = f"llr alone and beside the neighbours, {printable(one.scoring)}"
        what = "rows with neighbours and both scores"
        if one.pairs.num_rows == 1:
            what = "row with neighbours and both scores"
        by_neighbours = f"Change by the number of neighbours, {printable(one.scoring)}"
        yield Grid(
            [
                plot_pairs(ids(), title, one.pairs, one.names, what),
                plot_by_neighbours(ids(), by_neighbours, one.changes.by_neighbours),
            ]
        )


def _count_rows(one: HaplotypeEvidence) -> Iterator[Block]:
    """The rows by status and flag, and the counts of each sample."""
    yield _tabulate_counts(
        f"Rows by status, {printable(one.scoring)}", "status", STATUS_MEANINGS,
        (one.rows.by_status, one.rows.alleles),
        (one.compounds.by_status, one.compounds.alleles),
    )  # fmt: skip
    flags = _tabulate_counts(
        f"Scored rows by flag, {printable(one.scoring)}", "flag",
        {**FLAG_MEANINGS, **HAPLOTYPE_FLAG_MEANINGS},
        (one.rows.by_flag, one.rows.by_status.get("scored", 0)),
        (one.compounds.by_flag, one.compounds.by_status.get("scored", 0)),
    )  # fmt: skip
    yield flags if flags.rows else Note("No scored row has a flag.")
    yield _tabulate_samples(one)


def _tabulate_amounts(one: HaplotypeEvidence) -> Table:
    changes = one.changes
    rows = []
    for place, amount in enumerate(AMOUNTS):
        changed, alleles, larger = (
            int(numbers[place]) for numbers in (changes.rows, changes.alleles, one.interactions)
        )
        rows.append(
            [
                number_cell(amount, decimal(amount)),
                whole_cell(changed), Cell(share(changed, changes.num_scored), changed),
                whole_cell(alleles),
                whole_cell(larger), Cell(share(larger, one.num_interactions), larger),
            ]
        )  # fmt: skip
    columns = [
        ("more than, nats", NUMBER), ("rows that change", NUMBER), ("share", NUMBER),
        ("different alleles", NUMBER), ("interactions", NUMBER), ("share", NUMBER),
    ]  # fmt: skip
    return Table(
        f"Changes beside neighbours and interactions by size, {printable(one.scoring)}",
        columns, rows, is_sortable=False,
        note="Shares are of the rows with neighbours and both scores, and of all interactions.",
    )  # fmt: skip


def _tabulate_interactions(one: HaplotypeEvidence) -> Table:
    has_genes = any(found.consequence is not None for found in one.largest_interactions)
    rows = []
    for rank, found in enumerate(one.largest_interactions, start=1):
        difference = found.llr_joint - found.llr_sum
        rows.append(
            [
                whole_cell(rank),
                Cell(found.drawing.as_html()),
                number_cell(difference, fixed(difference, sign=True)),
                number_cell(found.llr_joint, fixed(found.llr_joint)),
                number_cell(found.llr_sum, fixed(found.llr_sum)),
                whole_cell(found.carriers),
                Cell(printable(found.sample)),
                Cell(_name_some(found.members, len(found.members), MOST_MEMBERS)),
                *([_describe_consequence(found)] if has_genes else []),
            ]
        )
    columns = [
        ("rank", NUMBER), ("sequence", CODE), ("interaction", NUMBER), ("llr_joint", NUMBER),
        ("llr_sum", NUMBER), ("haplotypes", NUMBER), ("first sample", NAME), ("members", LONG),
        *([("joint consequence", LONG)] if has_genes else []),
    ]  # fmt: skip
    return Table(
        f"Largest interactions, {printable(one.scoring)}", columns, rows,
        note="Each compound once. The changed bases are marked; a dash is a base that only the "
        "other line has. The bases around them are those of the reference.",
    )  # fmt: skip


def _describe_consequence(found: Interaction) -> Cell:
    """The effect of all members together, and the change of the protein if there is one."""
    stated = [text for text in (found.consequence, found.amino_acids) if text is not None]
    return Cell(", ".join(map(printable, stated)) or NOTHING)


def _tabulate_changes(one: HaplotypeEvidence) -> Table:
    rows = []
    for rank, found in enumerate(one.largest_changes, start=1):
        difference = found.llr_background - found.llr_alone
        rows.append(
            [
                whole_cell(rank),
                Cell(found.name),
                number_cell(difference, fixed(difference, sign=True)),
                number_cell(found.llr_alone, fixed(found.llr_alone)),
                number_cell(found.llr_background, fixed(found.llr_background)),
                whole_cell(found.carriers),
                Cell(printable(found.sample)),
                whole_cell(found.num_neighbours),
                Cell(_name_some(found.neighbours, found.num_neighbours, len(found.neighbours))),
            ]
        )
    columns = [
        ("rank", NUMBER), ("allele", CODE), ("change", NUMBER), ("llr_alone", NUMBER),
        ("llr_background", NUMBER), ("haplotypes", NUMBER), ("first sample", NAME),
        ("neighbours", NUMBER), ("first neighbours", LONG),
    ]  # fmt: skip
    return Table(
        f"Largest changes beside neighbours, {printable(one.scoring)}", columns, rows,
        note="Haplotypes on which an allele has the same score are one line.",
    )  # fmt: skip


def _name_some(names: Sequence[str], number: int, most: int) -> str:
    """The first names, and how many more there are."""
    shown = names[:most]
    more = [f"and {count(number - len(shown))} more"] if number > len(shown) else []
    return "; ".join([*shown, *more])


def _tabulate_counts(
    caption: str,
    head: str,
    meanings: Mapping[str, str],
    *counts: tuple[Mapping[str, int], int],
) -> Table:
    """Tabulate rows of both tables by status or flag."""
    present = dict.fromkeys(name for numbers, _ in counts for name in numbers)
    names = [name for name in ("scored", *meanings) if name in present]
    names = [*dict.fromkeys([*names, *present])]
    rows = []
    for name in names:
        cells = [Cell(printable(name))]
        for numbers, total in counts:
            number = numbers.get(name, 0)
            cells += [whole_cell(number), Cell(share(number, total), number)]
        meaning = meanings.get(name, "unknown to this version of evo2-tasks")
        rows.append([*cells, Cell(code_marks(meaning))])
    columns = [
        (head, CODE), ("alleles of samples", NUMBER), ("share", NUMBER), ("compounds", NUMBER),
        ("share", NUMBER), ("meaning", LONG),
    ]  # fmt: skip
    return Table(caption, columns, rows)


def _tabulate_samples(one: HaplotypeEvidence) -> Table:
    order = sorted(one.samples.items(), key=lambda item: -item[1].changed)
    rows = [
        [
            Cell(printable(name)),
            whole_cell(found.rows),
            whole_cell(found.beside),
            whole_cell(found.changed),
            Cell(share(found.changed, found.beside), found.changed / max(1, found.beside)),
            whole_cell(found.unscored),
            whole_cell(found.compounds),
            whole_cell(found.interacting),
        ]
        for name, found in order[:MOST_SAMPLES]
    ]
    columns = [
        ("sample", NAME), ("alleles on haplotypes", NUMBER), ("with neighbours", NUMBER),
        (f"change more than {CHOSEN} nats", NUMBER), ("share", NUMBER),
        ("without a score", NUMBER), ("compounds", NUMBER),
        (f"interaction more than {CHOSEN} nats", NUMBER),
    ]  # fmt: skip
    note = ""
    if len(order) > MOST_SAMPLES:
        note = (
            f"The {MOST_SAMPLES} samples with the most alleles that change, out of "
            f"{count(len(order))}."
        )
    return Table(f"Samples, {printable(one.scoring)}", columns, rows, note=note)
