"""The section of the report about consequences: distributions of scores, and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import plotly.graph_objects as go

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
    Table,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.consequences import MOST_SINGLE, ConsequenceClass, Consequences
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.style import BLUE, SERIES, VERMILION, Plot, make_layout, rounded
from evo2_tasks.report.words import (
    NOTHING,
    breakable,
    count,
    decimal,
    fixed,
    listed,
    plot_text,
    printable,
    share,
)

WHISKERS: Final = (0.05, 0.95)
_QUARTILES: Final = (0.25, 0.5, 0.75)
_QUANTILES: Final = (WHISKERS[0], *_QUARTILES, WHISKERS[1])
_NO_TERM: Final = "no consequence"

_ROW_HEIGHT: Final = 36
_AXES_HEIGHT: Final = 80
_WIDEST_LINE: Final = 20
"""Most characters of a term in one line beside the axis; a longer one has two lines."""


def show_consequences(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    """The scores by consequence of each scoring, and side by side; nothing without consequences."""
    found = [(one, one.consequences) for one in evidence if one.consequences is not None]
    if not found:
        return
    yield Note(
        "The consequence of an allele is the most severe one of all transcripts that it overlaps. "
        "The consequences are in Ensembl's order of severity, the most severe first."
    )
    plots = [
        plot_consequences(ids(), consequences, one.scoring)
        for one, consequences in found
        if consequences.scored
    ]
    if plots:
        yield Grid(plots)
    if len(found) > 1:
        yield tabulate_medians(found)
    for one, consequences in found:
        if len(found) > 1:
            yield Heading(one.scoring)
        yield tabulate_consequences(one, consequences)
        if consequences.genes:
            yield tabulate_genes(one, consequences)


def plot_consequences(plot_id: str, consequences: Consequences, scoring: str) -> Plot:
    """Plot the distribution of ``llr`` of each consequence, the most severe at the top.

    Args:
        plot_id: Id of the plot.
        consequences: The summary of the table; at least one allele is scored.
        scoring: Name of the scoring.
    """
    classes = consequences.scored
    labels = {id(one): _label(one) for one in classes}
    height = _AXES_HEIGHT + _ROW_HEIGHT * len(classes)
    figure = go.Figure(
        layout=make_layout(
            height, x="llr, nats", y="", showlegend=False, boxgap=0.35,
            yaxis={
                "type": "category", "categoryorder": "array", "range": [len(classes) - 0.5, -0.5],
                "categoryarray": [labels[id(one)] for one in classes], "showgrid": False,
            },
        )
    )  # fmt: skip
    many = [one for one in classes if not one.has_few]
    quantiles = {id(one): [one.llr.quantile(at) for at in _QUANTILES] for one in classes}
    if many:
        low, lower, median, upper, high = zip(*(quantiles[id(one)] for one in many), strict=True)
        figure.add_box(
            y=[labels[id(one)] for one in many], orientation="h", hoverinfo="skip",
            lowerfence=rounded(low), q1=rounded(lower), median=rounded(median), q3=rounded(upper),
            upperfence=rounded(high), line={"color": BLUE, "width": 1.5},
            fillcolor=SERIES[0].fill, whiskerwidth=0.5,
        )  # fmt: skip
        # A box has no hover text of its own.
        figure.add_scatter(
            x=rounded(median), y=[labels[id(one)] for one in many], mode="markers",
            marker={"color": BLUE, "symbol": "circle", "size": 7}, hoverinfo="text",
            hovertext=[_describe_class(one, quantiles[id(one)]) for one in many],
        )  # fmt: skip
    singles = [(one, llr, row) for one in classes if one.has_few
               for llr, row in zip(one.first, one.rows, strict=True)]  # fmt: skip
    if singles:
        figure.add_scatter(
            x=rounded([llr for _, llr, _ in singles]),
            y=[labels[id(one)] for one, _, _ in singles],
            mode="markers",
            marker={"color": VERMILION, "symbol": "diamond-open", "size": 8},
            hovertext=[f"{consequences.names[row]}<br>{plot_text(_term(one))}<br>llr {decimal(llr)}"
                       for one, llr, row in singles],
            hoverinfo="text",
        )  # fmt: skip
    return Plot(
        plot_id, f"llr by consequence, {scoring}",
        _caption(classes, has_boxes=bool(many), has_singles=bool(singles)), figure, height,
        is_wide=True,
    )  # fmt: skip


def _term(one: ConsequenceClass) -> str:
    return _NO_TERM if one.term is None else one.term


def _label(one: ConsequenceClass) -> str:
    """The term and the number of scored alleles, for the axis."""
    term = printable(_term(one))
    cuts = [at + 1 for at, letter in enumerate(term) if letter == "_"]
    lines = [term]
    if len(term) > _WIDEST_LINE and cuts:
        cut = min(cuts, key=lambda at: abs(at - len(term) / 2))
        lines = [term[:cut], term[cut:]]
    return f"{'<br>'.join(map(plot_text, lines))} ({count(one.llr.count)})"


def _describe_class(one: ConsequenceClass, quantiles: Sequence[float]) -> str:
    low, lower, median, upper, high = map(decimal, quantiles)
    return (
        f"{plot_text(_term(one))}<br>{counted(one.llr.count, 'scored allele')}<br>"
        f"median {median}<br>quartiles {lower} and {upper}<br>5 % {low}, 95 % {high}"
    )


def _caption(classes: Sequence[ConsequenceClass], *, has_boxes: bool, has_singles: bool) -> str:
    """The plot in words; the table has all numbers."""
    medians = {_term(one): one.llr.quantile(0.5) for one in classes}
    total = sum(one.llr.count for one in classes)
    terms = counted(sum(one.term is not None for one in classes), "consequence")
    text = f"{counted(total, 'scored allele')} with {terms}. "
    if has_boxes:
        text += (
            "A box reaches from the lower to the upper quartile, the line and the dot in it are at "
            "the median, and the whiskers end at 5 % and 95 %. "
        )
    if has_singles:
        few = counted(MOST_SINGLE, "scored allele")
        text += f"Consequences with at most {few} have a mark for each allele. "
    lowest, highest = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    ends = [f"the lowest median is {decimal(medians[lowest])} ({printable(lowest)})"]
    ends += [f"the highest {decimal(medians[highest])} ({printable(highest)})"]
    return text + f"Of all consequences {listed(ends if len(medians) > 1 else ends[:1])}."


def tabulate_consequences(one: Evidence, consequences: Consequences) -> Table:
    """Tabulate alleles, genes and quantiles of ``llr`` of each consequence."""
    columns = [
        ("consequence", NAME), ("alleles", NUMBER), ("scored", NUMBER), ("share", NUMBER),
        ("genes", NUMBER), ("lowest", NUMBER), ("5 %", NUMBER), ("25 %", NUMBER),
        ("median", NUMBER), ("75 %", NUMBER), ("95 %", NUMBER), ("highest", NUMBER),
    ]  # fmt: skip
    rows = []
    for group in consequences.classes:
        llr = group.llr
        values = [llr.quantile(at) for at in _QUANTILES] if llr.count else []
        numbers = [llr.minimum, *values, llr.maximum] if llr.count else []
        cells = [number_cell(value, decimal(value, zeros=True)) for value in numbers]
        cells += [Cell(NOTHING)] * (len(_QUANTILES) + 2 - len(cells))
        rows.append(
            [
                Cell(breakable(printable(_term(group)))), whole_cell(group.num_rows),
                whole_cell(llr.count), Cell(share(llr.count, one.num_scored), llr.count),
                whole_cell(len(group.genes)), *cells,
            ]
        )  # fmt: skip
    return Table(
        f"llr by consequence, nats, {one.scoring}", columns, rows,
        note="The share is that of all scored alleles.",
    )  # fmt: skip


def tabulate_medians(found: Sequence[tuple[Evidence, Consequences]]) -> Table:
    """Tabulate the median ``llr`` of each consequence, the scorings side by side."""
    columns = [("consequence", NAME)]
    for one, _ in found:
        columns += [(f"scored, {one.scoring}", NUMBER), (f"median, {one.scoring}", NUMBER)]
    by_scoring = [{_term(one): one for one in consequences.classes} for _, consequences in found]
    # All scorings have the alleles of one variant set.
    terms = dict.fromkeys(term for classes in by_scoring for term in classes)
    rows = []
    for term in terms:
        cells = [Cell(breakable(printable(term)))]
        for classes in by_scoring:
            llr = classes[term].llr if term in classes else None
            median = llr.quantile(0.5) if llr is not None and llr.count else None
            cells += [
                whole_cell(0 if llr is None else llr.count),
                number_cell(median, decimal(median, zeros=True)),
            ]
        rows.append(cells)
    return Table("Median llr by consequence, nats, all scorings", columns, rows)


def tabulate_genes(one: Evidence, consequences: Consequences) -> Table:
    """Tabulate the genes with the most scored alleles."""
    has_ids = any(gene.gene_id and gene.gene_id != gene.gene for gene in consequences.genes)
    columns = [
        ("gene", NAME), *([("gene_id", TEXT)] if has_ids else []), ("alleles", NUMBER),
        ("scored", NUMBER), ("mean llr", NUMBER), ("lowest llr", NUMBER),
    ]  # fmt: skip
    rows = []
    for gene in consequences.genes:
        numbers = [gene.mean, gene.lowest] if gene.num_scored else [None, None]
        rows.append(
            [
                Cell(printable(gene.gene)),
                *([Cell(printable(gene.gene_id) or NOTHING)] if has_ids else []),
                whole_cell(gene.num_rows), whole_cell(gene.num_scored),
                *(number_cell(value, fixed(value)) for value in numbers),
            ]
        )  # fmt: skip
    shown, total = len(consequences.genes), consequences.num_genes
    note = f"{count(shown)} of {counted(total, 'gene')}, those with the most scored alleles."
    return Table(
        f"llr by gene, nats, {one.scoring}", columns, rows, note=note if total > shown else ""
    )
