"""Writing the files of a score store: sorted rows, under a hidden name until a file is complete."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.io.files import new_hidden_file, publish_file, writing
from evo2_tasks.table.parquet import slice_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.store_files import (
    DEVICES,
    DIGESTS,
    MAGIC,
    OF_CONTIG,
    OF_SIGNATURE,
    FileName,
    Place,
    read_footer,
)
from evo2_tasks.table.store_rows import DEVICE, KEY_COLUMNS, store_schema, strand_columns

ROW_GROUP_ROWS: Final = 8_192
"""Rows of a row group: what is read for a single allele."""

ROW_GROUP_BYTES: Final = 16 * 2**20
"""Text of a row group: more closes it early, so that long alleles do not fill memory."""

FILE_ROWS: Final = 2**20
"""Rows after which a new file begins, at the next position."""

_SCORES: Final = tuple(name for strand in STRAND_SUFFIXES for name in strand_columns(strand))


class StoreWriter:
    """Writes sorted rows into the files of a folder. Each file appears when it is complete.

    It is a context manager; at its end an incomplete file is removed.

    Args:
        store: Folder of the store.
        place: Where the rows belong.

    Attributes:
        files: Names of the files that were written.
    """

    def __init__(self, store: Path, place: Place) -> None:
        self.files: set[FileName] = set()
        self._folder = place.folder(store)
        self._place = place
        self._pending: list[pa.Table] = []
        self._num_pending = 0
        self._open: _OpenFile | None = None

    def add(self, rows: pa.Table) -> None:
        """Add rows, sorted, after those that were added before.

        Raises:
            InputError: They cannot be written.
        """
        if rows.num_rows:
            self._pending.append(rows)
            num_rows = sum(one.num_rows for one in self._pending)
            num_bytes = sum(one.nbytes for one in self._pending)
            if num_rows >= ROW_GROUP_ROWS or num_bytes > ROW_GROUP_BYTES:
                self._write_row_groups(last=False)

    def finish(self) -> None:
        """Write the last rows, and let the last file appear.

        Raises:
            InputError: They cannot be written.
        """
        self._write_row_groups(last=True)
        if self._open is not None:
            self.files.add(self._open.publish())
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.close()

    def _write_row_groups(self, *, last: bool) -> None:
        if not self._pending:
            return
        rows = pa.concat_tables(self._pending)
        self._pending = []
        start = 0
        for piece in slice_rows(rows, ROW_GROUP_ROWS, ROW_GROUP_BYTES):
            start += piece.num_rows
            if last or start < rows.num_rows or piece.num_rows == ROW_GROUP_ROWS:
                self._write_row_group(piece)
            else:
                self._pending = [piece]

    def _write_row_group(self, rows: pa.Table) -> None:
        if self._open is not None and self._open.num_rows >= FILE_ROWS:
            # The rows of a position stay in one file, so that files do not overlap.
            starts = rows.column(0).to_numpy()
            same = int(np.searchsorted(starts, self._open.last, side="right"))
            if same:
                self._open.write(rows.slice(0, same))
                rows = rows.slice(same)
            if rows.num_rows:
                self.files.add(self._open.publish())
                self._open = None
        if rows.num_rows:
            if self._open is None:
                self._open = _OpenFile(self._folder, self._place)
            self._open.write(rows)


class _OpenFile:
    """A file that is written under a hidden name.

    Attributes:
        num_rows: Rows so far.
        last: ``edit_start`` of the last row, 0-based.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self.num_rows = 0
        self.last = -1
        self._first = -1
        self._place = place
        self._folder = folder
        self._digests: list[str] = []
        self._devices: set[str] = set()
        self._end = 0
        with ExitStack() as stack, writing(folder):
            self._hidden = stack.enter_context(new_hidden_file(folder / "rows.parquet"))
            self._sink = stack.enter_context(pa.OSFile(str(self._hidden), "wb"))
            self._parquet = pq.ParquetWriter(
                self._sink,
                store_schema(),
                version="2.6",
                compression="zstd",
                use_dictionary=["edit_alt", DEVICE],
                column_encoding=dict.fromkeys(_SCORES, "BYTE_STREAM_SPLIT"),
                write_statistics=list(KEY_COLUMNS),
                write_page_index=True,
                write_page_checksum=True,
            )
            self._stack = stack.pop_all()

    def write(self, rows: pa.Table) -> None:
        """Write rows as a row group."""
        starts = rows.column(0)
        if not self.num_rows:
            self._first = starts[0].as_py()
        self.last = starts[-1].as_py()
        self.num_rows += rows.num_rows
        self._devices.update(rows.column(DEVICE).unique().to_pylist())
        with writing(self._folder):
            self._parquet.write_table(_encode(rows), row_group_size=rows.num_rows)
            end = self._sink.tell()
            begin = self._end or len(MAGIC)
            with self._hidden.open("rb") as file:
                data = os.pread(file.fileno(), end - begin, begin)
            self._digests.append(hashlib.sha256(data).hexdigest())
            self._end = end

    def publish(self) -> FileName:
        """Finish the file and give it its name."""
        with writing(self._folder):
            self._parquet.add_key_value_metadata(
                {
                    OF_SIGNATURE: self._place.signature,
                    OF_CONTIG: self._place.contig,
                    DIGESTS: json.dumps(self._digests),
                    DEVICES: json.dumps(sorted(self._devices)),
                }
            )
            self._parquet.close()
            self._sink.close()
            with self._hidden.open("rb") as file:
                digest = hashlib.sha256(read_footer(file.fileno())).hexdigest()[:16]
            name = FileName(self._first, self.last, self.num_rows, digest)
            publish_file(self._hidden, self._folder / str(name))
        self.close()
        return name

    def close(self) -> None:
        """Remove the hidden file, unless it has its name."""
        # After an error this only closes the file handle: the file is about to be removed.
        with suppress(OSError, pa.ArrowException):
            self._parquet.close()
        self._stack.close()


def _encode(rows: pa.Table) -> pa.Table:
    """Rows with the devices as a dictionary of their own."""
    schema = store_schema()
    columns = [rows.column(name) for name in schema.names]
    columns[-1] = columns[-1].cast(pa.string()).combine_chunks().dictionary_encode()
    return pa.table(columns, schema=schema)
