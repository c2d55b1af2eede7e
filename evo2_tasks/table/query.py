"""Rows of a region, a gene or a consequence; those of a region without reading the rest."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.regions import Region, parse_region
from evo2_tasks.genome.terms import RANKS, SEVERITY
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.calibrated import Calibrated, read_calibrated_rows
from evo2_tasks.table.parquet import distinct_values, open_table

_CONTIGS: Final = ("contig", "reference_contig")
_CONSEQUENCE: Final = "consequence"
_GENES: Final = ("gene", "gene_id")


def find_rows(
    table: Path,
    region: str | None = None,
    *,
    consequences: Collection[str] = (),
    genes: Collection[str] = (),
    calibrated: Calibrated | None = None,
) -> Iterator[pa.RecordBatch]:
    """Find the rows whose ``pos`` is in a region, with a consequence, of a gene.

    Args:
        table: The table that ``merge`` wrote.
        region: A region as :func:`parse_region` reads it. The contig may have its name in the
            input or in the reference. None finds rows everywhere.
        consequences: Terms, one of which the column ``consequence`` must have. That column has the
            most severe consequence of the allele alone.
        genes: Names or identifiers of genes, one of which the column ``gene`` or ``gene_id`` must
            have.
        calibrated: The calibrated columns of the table, which follow its own.

    Yields:
        The rows in the order of the table.

    Raises:
        InputError: The region or the table cannot be read, the table has no such columns, or a term
            is not known.
    """
    _require_columns(table, consequences, genes)
    if consequences:
        _require_terms(table, consequences)
    row_groups, stretch = None, None
    if region is not None:
        contigs = {name for column in _CONTIGS for name in distinct_values(table, column)}
        stretch = parse_region(region, contigs, table)
        row_groups = find_row_groups(table, stretch)
    for batch in read_calibrated_rows(table, calibrated, row_groups=row_groups):
        rows = batch if stretch is None else batch.filter(_in_region(batch, stretch))
        rows = rows.filter(_has_value(rows, [_CONSEQUENCE], consequences)) if consequences else rows
        rows = rows.filter(_has_value(rows, _GENES, genes)) if genes else rows
        if rows.num_rows:
            yield rows


def _require_columns(table: Path, consequences: Collection[str], genes: Collection[str]) -> None:
    """Make sure that the table has the columns of the filters, as text."""
    wanted = [*([_CONSEQUENCE] if consequences else []), *(_GENES if genes else [])]
    with open_table(table) as file:
        schema = file.schema_arrow
    for name in wanted:
        if name not in schema.names or not _is_text(schema.field(name).type):
            raise InputError(
                f"{shown_path(table)}: has no column {name} of text. Name a `gff` for the "
                "reference in the config, or `consequence_from` for the variant set, and run again."
            )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind))


def _require_terms(table: Path, terms: Collection[str]) -> None:
    """Make sure that the terms are known, or that the table has them."""
    others = [term for term in terms if term not in RANKS]
    present = distinct_values(table, _CONSEQUENCE) if others else []
    for term in others:
        if term not in present:
            near = difflib.get_close_matches(term, [*present, *SEVERITY], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"--consequence: '{shown(term)}' is not a term of the Sequence Ontology for a "
                f"consequence.{hint} The table has {shown(', '.join(present) or 'none', 400)}."
            )


def _has_value(rows: pa.RecordBatch, names: Sequence[str], values: Collection[str]) -> Any:
    """Whether one of the columns has one of the values."""
    known = pa.array([*values], pa.string())
    found = [pc.is_in(rows.column(name).cast(pa.string()), value_set=known) for name in names]
    return functools.reduce(pc.or_, found)


def _in_region(rows: pa.RecordBatch, region: Region) -> Any:
    named = pc.or_kleene(*(pc.equal(rows.column(name), region.contig) for name in _CONTIGS))
    pos = rows.column("pos")
    # `pos` is 1-based: the first one is start + 1, the last one is end.
    inside = pc.and_(pc.greater(pos, region.start), pc.less_equal(pos, region.end))
    return pc.fill_null(pc.and_kleene(named, inside), False)


def find_row_groups(table: Path, region: Region) -> list[int]:
    """Numbers of the row groups that may have rows of a region, according to their statistics."""
    with open_table(table, [*_CONTIGS, "pos"]) as file:
        metadata = file.metadata
        index = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
        return [
            number
            for number in range(metadata.num_row_groups)
            if _may_hold(metadata.row_group(number), index, region)
        ]


def _may_hold(row_group: Any, index: dict[str, int], region: Region) -> bool:
    def reaches(column: str, low: str | int, high: str | int) -> bool:
        statistics = row_group.column(index[column]).statistics
        if statistics is None:
            return True
        if not statistics.has_min_max:  # only nulls, or values too long for statistics
            return not statistics.has_null_count or statistics.null_count < row_group.num_rows
        return bool(statistics.min <= high and statistics.max >= low)

    return reaches("pos", region.start + 1, region.end) and any(
        reaches(name, region.contig, region.contig) for name in _CONTIGS
    )
