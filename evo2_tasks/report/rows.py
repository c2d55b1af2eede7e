"""Single rows of a table, found by their number or by their allele, and what plots call them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evo2_tasks.report.words import plot_variant
from evo2_tasks.table.parquet import open_table, read_rows

Row = Mapping[str, Any]
AlleleKey = tuple[int, int]
"""``record`` and ``allele`` of a row."""

_NAME_COLUMNS = ("record", "contig", "pos", "ref", "alt")


def name_rows(table: Path, numbers: Iterable[int]) -> dict[int, str]:
    """Name the alleles of some rows, as text of plots, by the number of the row in the table."""
    rows = fetch_rows(table, numbers, _NAME_COLUMNS)
    return {number: plot_variant(row) for number, row in rows.items()}


def fetch_rows(table: Path, numbers: Iterable[int], columns: Sequence[str]) -> dict[int, Row]:
    """Read some rows of a table by their number.

    Args:
        table: A Parquet file; only row groups with one of the rows are read.
        numbers: Numbers of the rows, 0-based.
        columns: The columns to read.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    wanted = np.unique(np.fromiter(numbers, dtype=np.int64))
    with open_table(table, columns) as file:
        sizes = [_row_group_rows(file, number) for number in range(file.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    groups = np.unique(np.searchsorted(starts, wanted, side="right") - 1).tolist()
    if not groups:
        return {}
    # The number in the table of each row that is read.
    places = np.concatenate([np.arange(starts[group], starts[group + 1]) for group in groups])
    rows: dict[int, Row] = {}
    num_read = 0
    for batch in read_rows(table, columns, row_groups=groups):
        here = places[num_read : num_read + batch.num_rows]
        inside = np.flatnonzero(np.isin(here, wanted))
        values = batch.take(pa.array(inside)).to_pylist()
        rows |= zip(here[inside].tolist(), values, strict=True)
        num_read += batch.num_rows
    return rows


def _row_group_rows(file: pq.ParquetFile, number: int) -> int:
    return int(file.metadata.row_group(number).num_rows)


def name_alleles(table: Path, keys: Collection[AlleleKey]) -> dict[AlleleKey, str]:
    """Name some alleles, as text of plots, by their ``record`` and ``allele``."""
    return {key: plot_variant(row) for key, row in fetch_alleles(table, keys).items()}


def fetch_alleles(table: Path, keys: Collection[AlleleKey]) -> dict[AlleleKey, Row]:
    """Read how some alleles are spelled, by their ``record`` and ``allele``.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    rows: dict[AlleleKey, Row] = {}
    if not keys:
        return rows
    records = pa.array(sorted({record for record, _ in keys}), pa.int64())
    for batch in read_rows(table, [*_NAME_COLUMNS, "allele"]):
        for row in batch.filter(pc.is_in(batch.column("record"), value_set=records)).to_pylist():
            key = (row["record"], row["allele"])
            if key in keys:
                rows[key] = row
    return rows
