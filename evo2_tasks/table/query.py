"""Rows of a region, found without reading the rest of the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.regions import Region, parse_region
from evo2_tasks.table.parquet import distinct_values, open_table, read_rows

_CONTIGS: Final = ("contig", "reference_contig")


def find_rows(table: Path, region: str) -> Iterator[pa.RecordBatch]:
    """Find the rows whose ``pos`` is in a region.

    Args:
        table: The table that ``merge`` wrote.
        region: A region as :func:`parse_region` reads it. The contig may have its name in the
            input or in the reference.

    Yields:
        The rows in the order of the table.

    Raises:
        InputError: The region or the table cannot be read.
    """
    contigs = {name for column in _CONTIGS for name in distinct_values(table, column)}
    stretch = parse_region(region, contigs, table)
    row_groups = find_row_groups(table, stretch)
    for batch in read_rows(table, row_groups=row_groups) if row_groups else ():
        rows = batch.filter(_in_region(batch, stretch))
        if rows.num_rows:
            yield rows


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
