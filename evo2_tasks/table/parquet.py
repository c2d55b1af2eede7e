"""Parquet files: written atomically, and read and written in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import reading, replace_atomically, writing
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import first_line, shown_path
from evo2_tasks.layout import TABLE

BUFFER_ROWS: Final = 10_000
"""Rows that a :class:`RowBuffer` collects before it writes them."""

ROW_GROUP_ROWS: Final = 20_000
"""Rows of a row group: few enough for a region query to skip most of a table."""

ROW_GROUP_BYTES: Final = 64 * 2**20
"""Text of a row group: more than this closes it early, so that long alleles do not fill memory."""

BATCH_ROWS: Final = 20_000
"""Rows that a reader holds in memory at once."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def _text_bytes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of text in each row, including lists of text."""
    total = np.zeros(rows.num_rows, dtype=np.int64)
    for column in rows.columns:
        if _is_text(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
        elif pa.types.is_list(column.type) and _is_text(column.type.value_type):
            items = column.combine_chunks()
            lengths = pc.fill_null(pc.binary_length(items.flatten()), 0).to_numpy()
            parents = pc.list_parent_indices(items).to_numpy()
            total += np.bincount(parents, weights=lengths, minlength=len(total)).astype(np.int64)
    return total


class TableWriter:
    """Collects rows and writes them as row groups.

    A number of rows or bytes of text closes a row group, and each row group is encoded on its own.
    So the file's bytes depend on schema, metadata and rows only, not on how many rows each call
    adds.
    """

    def __init__(
        self,
        writer: pq.ParquetWriter,
        target: Path,
        schema: pa.Schema,
        *,
        row_group_rows: int,
        row_group_bytes: int,
    ) -> None:
        self.num_rows = 0
        self._writer = writer
        self._target = target
        self._schema = schema
        self._plain = pa.schema(
            [
                field.with_type(field.type.value_type)
                if pa.types.is_dictionary(field.type)
                else field
                for field in schema
            ]
        )
        self._row_group_rows = row_group_rows
        self._row_group_bytes = row_group_bytes
        self._pending: list[pa.Table] = []
        self._sizes: list[npt.NDArray[np.int64]] = []
        self._pending_rows = 0
        self._pending_bytes = 0

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows whose columns have the schema's names and types, in any order.

        Raises:
            InputError: The file cannot be written.
        """
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        # Each row group gets a dictionary of its own, made from its rows.
        plain = table.select(self._schema.names).cast(self._plain)
        sizes = _text_bytes(plain)
        self.num_rows += plain.num_rows
        self._pending.append(plain)
        self._sizes.append(sizes)
        self._pending_rows += plain.num_rows
        self._pending_bytes += int(sizes.sum())
        if (
            self._pending_rows >= self._row_group_rows
            or self._pending_bytes > self._row_group_bytes
        ):
            self._write_row_groups(last=False)

    def write_columns(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows given as one Python list per column.

        Raises:
            InputError: The file cannot be written.
        """
        arrays = [pa.array(columns[field.name], field.type) for field in self._plain]
        self.write(pa.table(arrays, schema=self._plain))

    def finish(self) -> None:
        """Write the last row group and the file's footer."""
        self._write_row_groups(last=True)
        with writing(self._target):
            self._writer.close()

    def _write_row_groups(self, *, last: bool) -> None:
        if not self._pending_rows:
            return
        rows = pa.concat_tables(self._pending)
        ends = np.cumsum(np.concatenate(self._sizes))
        start = 0
        while start < rows.num_rows:
            before = ends[start - 1] if start else 0
            by_bytes = int(np.searchsorted(ends, before + self._row_group_bytes, side="right"))
            end = max(start + 1, min(start + self._row_group_rows, by_bytes))
            is_open = end == rows.num_rows and end < start + self._row_group_rows
            if is_open and not last:
                break
            self._write_row_group(rows.slice(start, end - start).combine_chunks())
            start = end
        self._pending = [rows.slice(start)]
        self._sizes = [np.diff(ends[start:], prepend=ends[start - 1] if start else 0)]
        self._pending_rows = rows.num_rows - start
        self._pending_bytes = int(self._sizes[0].sum())

    def _write_row_group(self, rows: pa.Table) -> None:
        columns = [
            column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
            for column, field in zip(rows.columns, self._schema, strict=True)
        ]
        table = pa.table(columns, schema=self._schema)
        with writing(self._target):
            self._writer.write_table(table, row_group_size=table.num_rows)


class RowBuffer:
    """Collects single rows and writes them as columns.

    Args:
        writer: The table to write to.
        names: The table's columns, in the order of a row's values.
        progress: Counts the written rows.
    """

    def __init__(self, writer: TableWriter, names: Sequence[str], progress: Progress) -> None:
        self._writer = writer
        self._names = names
        self._progress = progress
        self._rows: list[tuple[object, ...]] = []

    def add(self, *values: object) -> None:
        """Add a row."""
        self._rows.append(values)
        if len(self._rows) == BUFFER_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            self._writer.write_columns(dict(zip(self._names, map(list, columns), strict=True)))
            self._progress.add(len(self._rows))
            self._rows.clear()


def _text_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of the text columns, which are written with a Parquet dictionary."""
    paths = []
    for field in schema:
        kind = field.type
        if pa.types.is_dictionary(kind) or _is_text(kind):
            paths.append(field.name)
        elif pa.types.is_list(kind) and _is_text(kind.value_type):
            paths.append(f"{field.name}.list.element")
    return paths


@contextmanager
def write_table(
    target: Path,
    schema: pa.Schema,
    *,
    metadata: Mapping[str, str] | None = None,
    row_group_rows: int = ROW_GROUP_ROWS,
    row_group_bytes: int = ROW_GROUP_BYTES,
) -> Iterator[TableWriter]:
    """Write a Parquet file atomically: it appears only if the body does not fail.

    Args:
        target: The Parquet file.
        schema: Columns and their metadata.
        metadata: The file's key-value metadata.
        row_group_rows: Most rows of a row group.
        row_group_bytes: Bytes of text that close a row group early.

    Yields:
        The writer of the file's rows.

    Raises:
        InputError: The target cannot be written.
    """
    schema = schema.with_metadata(dict(metadata) if metadata else None)
    with replace_atomically(target) as temporary:
        with writing(target):
            parquet = pq.ParquetWriter(
                temporary,
                schema,
                version="2.6",
                compression="zstd",
                use_dictionary=_text_columns(schema),
                write_page_checksum=True,
            )
        try:
            writer = TableWriter(
                parquet,
                target,
                schema,
                row_group_rows=row_group_rows,
                row_group_bytes=row_group_bytes,
            )
            yield writer
            writer.finish()
        finally:
            # After an error this only closes the file handle: the file is about to be removed.
            with suppress(OSError, pa.ArrowException):
                parquet.close()


@contextmanager
def reading_table(source: Path) -> Iterator[None]:
    """Turn an error of reading a table into one line that names the file.

    Raises:
        InputError: The body failed with an error of the file system or of Arrow.
    """
    try:
        with reading(source):
            yield
    except pa.ArrowException as error:
        raise InputError(f"{shown_path(source)}: cannot be read: {first_line(error)}") from error


@contextmanager
def open_table(source: Path, columns: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file and make sure that it has the given columns.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    if source.is_dir():
        tables = sorted(path for start in ("", "*/", "*/*/") for path in source.glob(start + TABLE))
        hint = f", for example {shown_path(tables[0])}" if tables else ""
        raise InputError(f"{shown_path(source)}: is a folder. Name a table{hint}.")
    with reading_table(source):
        # With pre_buffer, the whole file would stay in memory.
        file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
    with file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{shown_path(source)}: has no column {missing[0]!r}. Expected a table of "
                "evo2-tasks."
            )
        yield file


def read_rows(
    source: Path,
    columns: Sequence[str] | None = None,
    *,
    row_groups: Sequence[int] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Read a table piece by piece, in order.

    Args:
        source: A Parquet file.
        columns: Names of the columns to read; None means all.
        row_groups: Numbers of the row groups to read; None means all.
        batch_rows: Most rows of a piece.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    with open_table(source, columns or ()) as file:
        # One thread, since a job may have one core only.
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=row_groups, columns=columns, use_threads=False
        )
        while True:
            with reading_table(source):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def count_rows(source: Path) -> int:
    """Number of rows of a Parquet file.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        rows: int = file.metadata.num_rows
    return rows


def read_metadata(source: Path) -> dict[str, str]:
    """Key-value metadata of a Parquet file, without keys or values that are not UTF-8.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        stored = file.schema_arrow.metadata or {}
    texts = {}
    for key, value in stored.items():
        with suppress(UnicodeDecodeError):
            texts[key.decode()] = value.decode()
    return texts


def distinct_values(source: Path, column: str) -> list[str]:
    """The distinct values of a text column, in the order of their first row, without null.

    Raises:
        InputError: The file is missing, broken or lacks the column.
    """
    values: dict[str, None] = {}
    for batch in read_rows(source, [column]):
        values |= dict.fromkeys(batch.column(column).drop_null().unique().to_pylist())
    return list(values)
