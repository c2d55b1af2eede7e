"""What ``show`` prints about alleles on their haplotypes, and about compounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_counts,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import COMPOUNDS, HAPLOTYPES, HAPLOTYPES_RUN, TABLES
from evo2_tasks.table.documents import HaplotypesRun
from evo2_tasks.table.parquet import decode_texts, read_rows
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.statements import Statement, require_table
from evo2_tasks.table.statistics import Counts, Distribution

_CHANGE: Final = "change"
_SIZE: Final = "size"


@dataclass
class _Summary:
    """Counts of rows, quantiles of a change of a score, and the rows with the largest changes."""

    names: list[str]
    counts: Counts = field(default_factory=Counts)
    changes: Distribution = field(default_factory=Distribution)
    largest: pa.Table | None = None

    def add(self, rows: pa.RecordBatch, changes: pa.Array) -> None:
        """Add rows with their changes, null where there is none."""
        self.counts.add(rows)
        table = pa.table({name: decode_texts(rows.column(name)) for name in self.names})
        table = table.append_column(_CHANGE, changes).append_column(_SIZE, pc.abs(changes))
        table = table.filter(pc.is_valid(changes))
        self.changes.add(table.column(_CHANGE).to_numpy())
        both = table if self.largest is None else pa.concat_tables([self.largest, table])
        # Of equal ones the first, whatever the size of the batches.
        places = pc.sort_indices(both, [(_SIZE, "descending")])
        self.largest = both.take(places.slice(0, FIRST_ROWS))


def show_haplotypes(file: Path) -> Iterator[str]:
    """Describe the alleles of samples beside the others of their haplotypes.

    Args:
        file: The table of ``merge_haplotypes``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    names = ["record", "allele", "sample", "haplotype", "num_background"]
    names += ["llr_alone", "llr_background"]
    summary = _Summary(names)
    num_beside = 0
    for rows in read_rows(file):
        beside = pc.greater(rows.column("num_background"), 0)
        num_beside += beside.true_count
        change = pc.subtract(rows.column("llr_background"), rows.column("llr_alone"))
        summary.add(rows, pc.if_else(beside, change, pa.scalar(None, pa.float64())))
    yield from _describe(
        file,
        summary,
        f"{counted(summary.counts.alleles, 'allele')} of samples, {num_beside:,} of them with "
        "neighbours",
        "llr_background - llr_alone of the alleles with neighbours, nats",
    )


def show_compounds(file: Path) -> Iterator[str]:
    """Describe the alleles that are scored together.

    Args:
        file: The table of compounds of ``merge_haplotypes``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    genes = ["consequence", "amino_acids"]
    names = ["sample", "haplotype", "contig", "pos", "ref", "alt", *genes, "llr_joint", "llr_sum"]
    summary = _Summary(names)
    for rows in read_rows(file):
        summary.add(rows, rows.column("interaction"))
    largest = summary.largest
    if largest is not None and largest.column("consequence").null_count == largest.num_rows:
        summary.names = [name for name in names if name not in genes]
    yield from _describe(
        file,
        summary,
        counted(summary.counts.alleles, "compound"),
        "interaction (llr_joint - llr_sum), nats",
    )


def _describe(file: Path, summary: _Summary, rows: str, title: str) -> Iterator[str]:
    provenance = read_provenance(file)
    run = _read_run_of(file)
    counts = summary.counts
    work = {} if run is None else {"pairs of windows": f"{run.pairs:,}, each run once"}
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": rows,
            **({} if run is None else {"samples": f"{run.samples:,}"}),
            **work,
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
        }
    )
    if counts.alleles:
        yield ""
        yield from format_counts("status", counts.by_status, counts.alleles)
        yield ""
        yield from format_counts("flags", counts.by_flag, counts.alleles)
    if summary.changes.count:
        yield ""
        yield from format_quantiles(title, summary.changes)
        yield ""
        yield "the largest"
        largest = summary.largest
        for line in format_rows([] if largest is None else largest.to_batches(),
                                [*summary.names, _CHANGE]):  # fmt: skip
            yield f"  {line}"


def _read_run_of(file: Path) -> HaplotypesRun | None:
    """The JSON file next to a table, if the table has the name that the step gives it.

    Raises:
        InputError: It is broken, or about another table.
    """
    path = file.with_name(HAPLOTYPES_RUN)
    if file.name not in (HAPLOTYPES, COMPOUNDS) or not path.exists():
        return None
    run = HaplotypesRun.read(path)
    stated = run.haplotypes_digest if file.name == HAPLOTYPES else run.compounds_digest
    statement = Statement(path, stated, TABLES[file.name])
    require_table(file, [statement], table_digest=digest_file(file))
    return run
