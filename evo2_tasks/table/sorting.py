"""Sorting more rows than fit in memory: sorted runs on disk, merged piece by piece."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.io.files import writing
from evo2_tasks.table.parquet import reading_table, row_bytes, slice_rows

RUN_ROWS: Final = 250_000
"""Rows that are sorted in memory."""

RUN_BYTES: Final = 128 * 2**20
"""Text and lists that are sorted in memory: more makes a run of fewer rows."""

PIECE_ROWS: Final = 2_000
"""Rows of each run that are in memory while the runs are merged."""

PIECE_BYTES: Final = 2**20
"""Text and lists of such a piece: more makes a piece of fewer rows."""


def sort_rows(
    tables: Iterable[pa.Table],
    keys: Sequence[str],
    *,
    folder: Path,
    run_rows: int = RUN_ROWS,
    piece_rows: int = PIECE_ROWS,
) -> Iterator[pa.Table]:
    """Sort rows by integer columns, ascending.

    Args:
        tables: The rows, all of one schema.
        keys: Integer columns without nulls, the most significant first. No two rows may have equal
            keys.
        folder: Folder for the runs. Their files have no name, so none is left after the process.
        run_rows: Number of rows in a run.
        piece_rows: Number of rows of each run that are in memory during the merge.

    Yields:
        The rows in order, in pieces.

    Raises:
        InputError: The folder cannot be written to.
    """
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        for rows in _gather(tables, run_rows):
            with writing(folder):
                run = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                _write_run(run, _sorted(rows, keys), piece_rows)
            runs.append(run)
        yield from _merge_runs([_read_run(run, folder) for run in runs], keys)


def group_rows(tables: Iterable[pa.Table], keys: Sequence[str]) -> Iterator[pa.Table]:
    """Cut sorted rows into pieces that hold all rows of each key.

    Args:
        tables: Rows in the order of the keys, in pieces.
        keys: Integer columns without nulls.

    Yields:
        Tables of at least one row.
    """
    pending: list[pa.Table] = []
    last: tuple[int, ...] = ()
    for table in tables:
        if not table.num_rows:
            continue
        columns = _columns(table, keys)
        key = tuple(int(column[-1]) for column in columns)
        num_done = int(np.argmax(np.logical_and.reduce([one == one[-1] for one in columns])))
        if num_done or (pending and key != last):
            yield pa.concat_tables([*pending, table.slice(0, num_done)])
            pending = []
        pending.append(table.slice(num_done))
        last = key
    if pending:
        yield pa.concat_tables(pending)


def _gather(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    pending: list[pa.Table] = []
    pending_rows = pending_bytes = 0
    for table in tables:
        pending.append(table)
        pending_rows += table.num_rows
        pending_bytes += int(row_bytes(table).sum())
        if pending_rows >= num_rows or pending_bytes >= RUN_BYTES:
            yield pa.concat_tables(pending)
            pending = []
            pending_rows = pending_bytes = 0
    if pending:
        yield pa.concat_tables(pending)


def _columns(rows: pa.Table, keys: Sequence[str]) -> list[npt.NDArray[Any]]:
    return [rows.column(key).to_numpy() for key in keys]


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    # lexsort expects the most significant key last.
    return rows.take(np.lexsort(_columns(rows, keys)[::-1]))


def _write_run(run: IO[bytes], rows: pa.Table, piece_rows: int) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(run, rows.schema, options=options) as stream:
        for piece in slice_rows(rows, piece_rows, PIECE_BYTES):
            stream.write_table(piece.combine_chunks())
    run.flush()


def _read_run(run: IO[bytes], folder: Path) -> Iterator[pa.Table]:
    with reading_table(folder):
        run.seek(0)
        with pa.ipc.open_stream(run) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch])


def _num_up_to(rows: pa.Table, keys: Sequence[str], bound: Sequence[int]) -> int:
    """Number of sorted rows whose key is at most the bound."""
    not_above = np.ones(rows.num_rows, dtype=bool)
    for column, value in reversed(list(zip(_columns(rows, keys), bound, strict=True))):
        not_above = (column < value) | ((column == value) & not_above)
    return int(not_above.sum())


def _merge_runs(runs: Sequence[Iterator[pa.Table]], keys: Sequence[str]) -> Iterator[pa.Table]:
    in_memory: dict[int, pa.Table] = {}
    waiting = dict(enumerate(runs))
    while True:
        for number in [number for number in waiting if number not in in_memory]:
            piece = next(waiting[number], None)
            if piece is None:
                del waiting[number]
            else:
                in_memory[number] = piece
        if not in_memory:
            return
        # The rows of a run that are still on disk come after its last row in memory. So all rows
        # up to the smallest of these last rows are in memory.
        bound = min(
            tuple(int(column[-1]) for column in _columns(piece, keys))
            for piece in in_memory.values()
        )
        ready = []
        for number, piece in list(in_memory.items()):
            count = _num_up_to(piece, keys, bound)
            ready.append(piece.slice(0, count))
            if count == piece.num_rows:
                del in_memory[number]
            else:
                in_memory[number] = piece.slice(count)
        yield _sorted(pa.concat_tables(ready), keys)
