"""Tables about the alleles: rows by status, reason and flag, lowest scores, quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from markupsafe import Markup

from evo2_tasks.report.blocks import (
    CODE,
    LONG,
    NUMBER,
    TEXT,
    Cell,
    Table,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.rows import Row
from evo2_tasks.report.words import (
    NOTHING,
    allele,
    code_marks,
    decimal,
    fixed,
    printable,
    share,
    value_text,
    variant,
)
from evo2_tasks.table.schema import (
    FLAG_MEANINGS,
    GENOME_FLAG_MEANINGS,
    REASON_MEANINGS,
    STATUS_MEANINGS,
)

NO_LINKS: Final[Mapping[int, str]] = MappingProxyType({})


def tabulate_status(evidence: Sequence[Evidence]) -> Table:
    """Tabulate rows by status, with the meaning of each status and examples."""
    order = [name for name in STATUS_MEANINGS if name != "scored"]
    return _tabulate_counts(
        "Alleles by status", "status", ["scored", *order], STATUS_MEANINGS,
        [(one, one.table.counts.by_status, one.num_rows) for one in evidence],
    )  # fmt: skip


def tabulate_reasons(evidence: Sequence[Evidence]) -> Table:
    """Tabulate rows by reason, with the status and meaning of each reason and examples."""
    meanings = {name: f"`{one.status}`: {one.meaning}" for name, one in REASON_MEANINGS.items()}
    return _tabulate_counts(
        "Alleles by reason", "reason", [*REASON_MEANINGS], meanings,
        [(one, one.table.counts.by_reason, one.num_rows) for one in evidence],
    )  # fmt: skip


def tabulate_flags(evidence: Sequence[Evidence]) -> Table:
    """Tabulate scored rows by flag, with the meaning of each flag and examples."""
    meanings = {**FLAG_MEANINGS, **GENOME_FLAG_MEANINGS}
    return _tabulate_counts(
        "Scored alleles by flag", "flag", [*meanings], meanings,
        [(one, one.table.counts.by_flag, one.num_scored) for one in evidence],
    )  # fmt: skip


def _tabulate_counts(
    caption: str,
    head: str,
    order: Sequence[str],
    meanings: Mapping[str, str],
    counts: Sequence[tuple[Evidence, Mapping[str, int], int]],
) -> Table:
    present = dict.fromkeys(name for _, of_scoring, _ in counts for name in of_scoring)
    names = [name for name in order if name in present]
    names += [name for name in present if name not in names]
    has_several = len(counts) > 1
    columns = [(head, CODE)]
    for one, _, _ in counts:
        columns += [(one.scoring if has_several else "alleles", NUMBER), ("share", NUMBER)]
    rows = []
    for name in names:
        cells = [Cell(printable(name))]
        for _, of_scoring, total in counts:
            number = of_scoring.get(name, 0)
            cells += [whole_cell(number), Cell(share(number, total), number)]
        examples = next((one.table.examples[name] for one, of, _ in counts if of.get(name)), ())
        meaning = Cell(code_marks(meanings.get(name, "unknown to this version of evo2-tasks")))
        rows.append([*cells, meaning, Cell("; ".join(map(variant, examples)))])
    return Table(caption, [*columns, ("meaning", LONG), ("first examples", LONG)], rows)


def shared_flags(one: Evidence) -> list[str]:
    """Flags that all scored alleles have."""
    counts = one.table.counts.by_flag
    return [flag for flag, number in counts.items() if number == one.num_scored]


def tabulate_extremes(
    caption: str, one: Evidence, extremes: Sequence[Row], links: Mapping[int, str] = NO_LINKS
) -> Table:
    """Tabulate the alleles with the lowest or highest ``llr``, with all that is known of them.

    Args:
        caption: What the alleles are.
        one: The scoring.
        extremes: Its rows, the most extreme first.
        links: Places in the page with figures of a row, by its rank.
    """
    columns = [
        ("rank", NUMBER), ("contig", TEXT), ("pos", NUMBER), ("ref", CODE), ("alt", CODE),
        ("llr", NUMBER), ("llr_fwd", NUMBER), ("llr_rev", NUMBER),
        *([("tokens", TEXT)] if links else []), ("flags", TEXT),
        *((printable(name), TEXT) for name in (*one.table.annotations, *one.table.carried)),
    ]  # fmt: skip
    shared = shared_flags(one)
    rows = []
    for rank, row in enumerate(extremes, start=1):
        scores = [
            number_cell(row[name], fixed(row[name])) for name in ("llr", "llr_fwd", "llr_rev")
        ]
        more = [_carried_cell(row[name]) for name in (*one.table.annotations, *one.table.carried)]
        flags = [printable(flag) for flag in row["flags"] if flag not in shared]
        rows.append(
            [
                whole_cell(rank), Cell(value_text(row["contig"])), whole_cell(row["pos"]),
                Cell(allele(row["ref"])), Cell(allele(row["alt"])), *scores,
                *([_link_cell(rank, links)] if links else []), Cell(", ".join(flags)), *more,
            ]
        )  # fmt: skip
    return Table(f"{caption}, {one.scoring}", columns, rows)


def _link_cell(rank: int, links: Mapping[int, str]) -> Cell:
    """A cell with a link to the figures of an allele, if it has some."""
    if rank not in links:
        return Cell(NOTHING)
    text = Markup('<a href="#{}" aria-label="Figures of the allele of rank {}">figures</a>')
    return Cell(text.format(links[rank], rank), rank)


def _carried_cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(value), float(value) if is_number and math.isfinite(value) else None)


def tabulate_quantiles(evidence: Sequence[Evidence], quantiles: Sequence[float]) -> Table:
    """Tabulate quantiles of ``llr`` for each scoring."""
    columns = [("scoring", TEXT), ("scored", NUMBER), ("lowest", NUMBER)]
    columns += [("median" if one == 0.5 else f"{100 * one:.0f} %", NUMBER) for one in quantiles]
    rows = []
    for one in evidence:
        llr = one.table.llr
        values = [llr.quantile(quantile) for quantile in quantiles] if llr.count else []
        numbers = [llr.minimum, *values, llr.maximum] if llr.count else []
        cells = [number_cell(value, decimal(value, zeros=True)) for value in numbers]
        cells += [Cell(NOTHING)] * (len(quantiles) + 2 - len(cells))
        rows.append([Cell(one.scoring), whole_cell(one.num_scored), *cells])
    return Table(
        "Quantiles of llr, nats", [*columns, ("highest", NUMBER)], rows,
        note=""
        if all(one.table.llr.is_exact for one in evidence)
        else "Quantiles of more than 100,000 alleles are accurate to 0.2 %.",
    )  # fmt: skip
