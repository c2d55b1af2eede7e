"""``calibrated.parquet`` next to a table of scores, read in step with the table.

``calibrate`` writes it, with one row for each row of the table. Readers use it if it is next to the
table and states this very table. So a table has its calibrations in every export, and never those
of another table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import CALIBRATED
from evo2_tasks.table.calibration_schema import CalibratedPart, find_calibrated_parts
from evo2_tasks.table.joined import KEYS, JoinedTable
from evo2_tasks.table.parquet import BATCH_ROWS, NO_COLUMNS, count_rows, open_table, read_rows
from evo2_tasks.table.provenance import Provenance, read_provenance, require_same_signature
from evo2_tasks.table.schema import Column, is_result
from evo2_tasks.table.statements import Statement, require_table

STEP = "calibrate"
_REMEDY = f"Run `{STEP}` again."


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The ``calibrated.parquet`` of a table.

    Attributes:
        path: The file.
        parts: The columns of each calibration.
        provenance: Signature, version and settings that the file states.
    """

    path: Path
    parts: tuple[CalibratedPart, ...]
    provenance: Provenance

    @property
    def columns(self) -> list[Column]:
        """The columns of all calibrations, in the order of the file."""
        return [column for part in self.parts for column in part.columns.values()]

    @property
    def names(self) -> list[str]:
        """The names of these columns."""
        return [column.name for column in self.columns]


def read_calibrated(source: Path) -> Calibrated:
    """Read what a ``calibrated.parquet`` has, without its rows.

    Raises:
        InputError: The file is missing or broken, or ``calibrate`` did not write it.
    """
    with open_table(source, KEYS) as file:
        parts = find_calibrated_parts(file.schema_arrow, shown_path(source))
    provenance = read_provenance(source)
    if provenance.source is None:
        raise InputError(
            f"{shown_path(source)}: the metadata does not state the table that the file was made "
            f"from. {_REMEDY}"
        )
    return Calibrated(source, parts, provenance)


def open_calibrated(table: Path, *, table_digest: str | None = None) -> Calibrated | None:
    """Open the ``calibrated.parquet`` next to a table, and make sure that it is of this table.

    Args:
        table: The table that ``merge`` wrote.
        table_digest: SHA-256 of the table, if it is known. Default: it is computed.

    Returns:
        What the file has; None if there is no such file, or the table is not one of ``merge``.

    Raises:
        InputError: The table cannot be read; or the file is of another table, has other columns
            than ``calibrate`` writes, or has a column with the name of one of the table.
    """
    with open_table(table) as file:  # first: a table that cannot be read is one line
        schema = file.schema_arrow
    path = table.with_name(CALIBRATED)
    if not is_result(schema) or not path.exists():
        return None
    calibrated = read_calibrated(path)
    statement = Statement(path, calibrated.provenance.source, STEP)
    require_table(table, [statement], table_digest=table_digest)
    signature = read_provenance(table).signature
    require_same_signature(path, calibrated.provenance.signature, table, signature)
    if count_rows(path) != count_rows(table):
        raise InputError(
            f"{shown_path(path)} has {count_rows(path):,} rows, but {shown_path(table)} has "
            f"{count_rows(table):,}. {_REMEDY}"
        )
    taken = {*schema.names}.intersection(calibrated.names)
    if taken:
        raise InputError(
            f"{shown_path(table)}: a carried column has the name {shown(min(taken))}, which is a "
            f"column of {CALIBRATED} too. Give it another name in the input, or leave it out of "
            "the config."
        )
    return calibrated


def read_calibrated_rows(
    table: Path,
    calibrated: Calibrated | None,
    columns: Sequence[str] | None = None,
    *,
    added: Mapping[str, pa.DataType] = NO_COLUMNS,
    row_groups: Sequence[int] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Read a table with its calibrated columns piece by piece, in order.

    The arguments are those of :func:`read_rows`. Of the calibrated file, only the row groups are
    read that have the asked rows.

    Args:
        table: The table.
        calibrated: What :func:`open_calibrated` returned for it. None reads the table alone.
        columns: Columns of the table and calibrated columns; None means all.
        added: Types of those of ``columns`` that the table of an earlier version may lack.
        row_groups: Numbers of the row groups of the table to read, rising; None means all.
        batch_rows: Most rows of a piece.

    Yields:
        Rows with the keys ``record`` and ``allele`` and the columns, those of the table first.

    Raises:
        InputError: A file is missing, broken or lacks a column, or the two have other alleles.
    """
    if calibrated is None:
        yield from read_rows(
            table, columns, added=added, row_groups=row_groups, batch_rows=batch_rows
        )
        return
    joined = _choose(calibrated, columns)
    of_table = columns and [
        *dict.fromkeys([*KEYS, *(name for name in columns if name not in joined.names)])
    ]
    ends = _row_group_ends(table)
    numbers = range(len(ends)) if row_groups is None else row_groups
    for first, last in _find_runs(numbers):
        batches = read_rows(
            table, of_table, added=added, row_groups=range(first, last + 1), batch_rows=batch_rows
        )
        start, end = ends[first - 1] if first else 0, ends[last]
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        for rows in joined.join(tables, _read_range(joined, start, end)):
            yield from rows.combine_chunks().to_batches()


def _choose(calibrated: Calibrated, columns: Sequence[str] | None) -> JoinedTable:
    """The calibrated columns that are asked for."""
    with open_table(calibrated.path) as file:
        schema = file.schema_arrow
    names = [
        column.name for column in calibrated.columns if columns is None or column.name in columns
    ]
    fields = tuple(schema.field(name) for name in names)
    return JoinedTable(calibrated.path, STEP, fields, {}, _REMEDY)


def _row_group_ends(path: Path) -> list[int]:
    """Number of the rows up to and including each row group."""
    with open_table(path) as file:
        metadata = file.metadata
        return [
            *accumulate(
                metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
            )
        ]


def _find_runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last number of each run of rising numbers without a gap."""
    if numbers:
        breaks = [[one, other] for one, other in pairwise(numbers) if other != one + 1]
        flat = [numbers[0], *(number for pair in breaks for number in pair), numbers[-1]]
        yield from zip(flat[::2], flat[1::2], strict=True)


def _read_range(joined: JoinedTable, start: int, end: int) -> Iterator[pa.RecordBatch]:
    """Rows ``start`` to ``end`` of a table, 0-based and half-open, piece by piece."""
    first = 0
    for number, last in enumerate(_row_group_ends(joined.path)):
        if first < end and last > start:
            for batch in read_rows(joined.path, joined.names, row_groups=[number]):
                low, high = (min(max(row - first, 0), batch.num_rows) for row in (start, end))
                if low < high:
                    yield batch.slice(low, high - low)
                first += batch.num_rows
        first = last
