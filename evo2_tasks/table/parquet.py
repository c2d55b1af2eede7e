"""Parquet files: written atomically, and read and written in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import reading, replace_atomically, writing
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import first_line, shown_path
from evo2_tasks.layout import TABLE

BUFFER_ROWS: Final = 10_000
"""Rows that a :class:`RowBuffer` collects before it writes them."""

ROW_GROUP_ROWS: Final = 20_000
"""Rows of a row group: few enough for a region query to skip most of a table."""

ROW_GROUP_BYTES: Final = 64 * 2**20
"""Text and lists of a row group: more closes it early, so that long alleles do not fill memory."""

BUFFER_BYTES: Final = 16 * 2**20
"""Text and lists that a :class:`RowBuffer` collects before it writes them."""

BATCH_ROWS: Final = 20_000
"""Rows that a reader holds in memory at once."""

_MAGIC: Final = b"PAR1"

NO_COLUMNS: Final[Mapping[str, pa.DataType]] = MappingProxyType({})

_ITEM_BYTES: Final = 8
"""Bytes of an item of a list that is not text, about."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def row_bytes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of the text and of the lists in each row: what makes a row large."""
    total = np.zeros(rows.num_rows, dtype=np.int64)
    for column in rows.columns:
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind) if _is_text(kind) else column
        if _is_text(kind):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
        elif pa.types.is_list(kind) and _is_text(kind.value_type):
            items = column.combine_chunks()
            lengths = pc.fill_null(pc.binary_length(items.flatten()), 0).to_numpy()
            parents = pc.list_parent_indices(items).to_numpy()
            total += np.bincount(parents, weights=lengths, minlength=len(total)).astype(np.int64)
        elif pa.types.is_fixed_size_list(kind):
            total += kind.value_type.bit_width // 8 * kind.list_size
        elif pa.types.is_list(kind):
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
            total += _ITEM_BYTES * lengths.astype(np.int64)
    return total


def slice_rows(rows: pa.Table, max_rows: int, max_bytes: int) -> Iterator[pa.Table]:
    """Cut rows into pieces with at most this many rows and bytes of text and lists.

    A row that is larger is a piece of its own.
    """
    ends = np.cumsum(row_bytes(rows))
    start = 0
    while start < rows.num_rows:
        end = find_end(ends, start, max_rows, max_bytes)
        yield rows.slice(start, end - start)
        start = end


def find_end(ends: npt.NDArray[np.int64], start: int, max_rows: int, max_bytes: int) -> int:
    """Where the piece ends that begins at a row.

    Args:
        ends: Bytes of all rows up to and including each row.
        start: First row of the piece.
        max_rows: Most rows of a piece.
        max_bytes: Most bytes of a piece with more than one row.
    """
    before = ends[start - 1] if start else 0
    by_bytes = int(np.searchsorted(ends, before + max_bytes, side="right"))
    return max(start + 1, min(start + max_rows, by_bytes))


class TableWriter:
    """Collects rows and writes them as row groups.

    A number of rows or bytes of text and lists closes a row group, and each row group is encoded on
    its own. So the file's bytes depend on schema, metadata and rows only, not on how many rows each
    call adds.

    Attributes:
        schema: Columns of the table.
        num_rows: Rows that were added.
    """

    def __init__(
        self,
        writer: pq.ParquetWriter,
        target: Path,
        temporary: Path,
        schema: pa.Schema,
        *,
        row_group_rows: int,
        row_group_bytes: int,
    ) -> None:
        self.num_rows = 0
        self._writer = writer
        self._temporary = temporary
        self._target = target
        self.schema = schema
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
        plain = table.select(self.schema.names).cast(self._plain)
        sizes = row_bytes(plain)
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

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add key-value metadata that are known only after the rows."""
        self._writer.add_key_value_metadata(dict(metadata))

    def finish(self) -> None:
        """Write the last row group and the file's footer, unless it was done before."""
        self._write_row_groups(last=True)
        with writing(self._target):
            self._writer.close()

    def digest(self) -> str:
        """Finish the file, and compute the SHA-256 of its bytes before it appears under its name.

        So it is that of the written bytes, also if another process replaces the file at once.
        """
        self.finish()
        return digest_file(self._temporary)

    def _write_row_groups(self, *, last: bool) -> None:
        if not self._pending_rows:
            return
        rows = pa.concat_tables(self._pending)
        ends = np.cumsum(np.concatenate(self._sizes))
        start = 0
        while start < rows.num_rows:
            end = find_end(ends, start, self._row_group_rows, self._row_group_bytes)
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
            for column, field in zip(rows.columns, self.schema, strict=True)
        ]
        table = pa.table(columns, schema=self.schema)
        with writing(self._target):
            self._writer.write_table(table, row_group_size=table.num_rows)


class RowBuffer:
    """Collects single rows and writes them as columns.

    The rows in memory have a limited number, and a limited size: a long REF or a carried text may
    be the same object in thousands of rows, but each row gets a copy of it in the columns.

    Args:
        writer: The table to write to.
        names: The table's columns, in the order of a row's values.
        progress: Counts the written rows.
    """

    def __init__(
        self, writer: TableWriter, names: Sequence[str], progress: Progress | None = None
    ) -> None:
        self._writer = writer
        self._names = names
        self._progress = progress
        self._sized = [i for i, name in enumerate(names) if _is_sized(writer.schema.field(name))]
        self._rows: list[tuple[object, ...]] = []
        self._bytes = 0

    def add(self, *values: object) -> None:
        """Add a row."""
        self._rows.append(values)
        for place in self._sized:
            value = values[place]
            if value:
                self._bytes += len(value) if type(value) is str else _list_bytes(value)
        if len(self._rows) == BUFFER_ROWS or self._bytes > BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            self._writer.write_columns(dict(zip(self._names, map(list, columns), strict=True)))
            if self._progress is not None:
                self._progress.add(len(self._rows))
            self._rows.clear()
            self._bytes = 0


def _is_sized(field: pa.Field) -> bool:
    """Whether the values of a column can be long."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return _is_text(kind) or bool(pa.types.is_list(kind))


def _list_bytes(values: Any) -> int:
    """About the bytes of a list in a column."""
    return sum(len(one) if type(one) is str else _ITEM_BYTES for one in values)


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


def _columns_with_statistics(schema: pa.Schema) -> list[str]:
    """The columns whose smallest and largest values are written: numbers, flags and categories.

    Text has none. Arrow writes none for a row group with a value above 4,096 bytes, such as a long
    ALT, and DataFusion 55 then answers from the other row groups alone, so that it misses rows.
    """
    return [
        field.name
        for field in schema
        if not (_is_text(field.type) or pa.types.is_nested(field.type))
    ]


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
        row_group_bytes: Bytes of text and lists that close a row group early.

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
                write_statistics=_columns_with_statistics(schema),
                write_page_checksum=True,
            )
        try:
            writer = TableWriter(
                parquet,
                target,
                temporary,
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
        with source.open("rb") as start:
            is_parquet = start.read(len(_MAGIC)) == _MAGIC
        if not is_parquet:
            raise InputError(
                f"{shown_path(source)}: cannot be read: it is not a Parquet file. Expected a table "
                f"that a step of evo2-tasks wrote, for example {TABLE}."
            )
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
    added: Mapping[str, pa.DataType] = NO_COLUMNS,
    row_groups: Sequence[int] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Read a table piece by piece, in order.

    Args:
        source: A Parquet file.
        columns: Names of the columns to read; None means all of the file.
        added: Types of those of ``columns`` that the file of an earlier version may lack. They are
            then null.
        row_groups: Numbers of the row groups to read; None means all.
        batch_rows: Most rows of a piece.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    needed = columns and [name for name in columns if name not in added]
    with open_table(source, needed or ()) as file:
        lacking = {
            name: kind
            for name, kind in added.items()
            if name in (columns or ()) and name not in file.schema_arrow.names
        }
        present = columns and [name for name in columns if name not in lacking]
        # One row group after the other: a batch across row groups would have the rows of one and
        # the bytes of many. One thread, since a job may have one core only.
        for number in range(file.num_row_groups) if row_groups is None else row_groups:
            batches = file.iter_batches(
                batch_size=batch_rows, row_groups=[number], columns=present, use_threads=False
            )
            while True:
                with reading_table(source):
                    batch = next(batches, None)
                if batch is None:
                    break
                if present:  # earlier versions of Arrow read `a.b` with `a`
                    batch = batch.select(present)
                for name, kind in lacking.items():
                    batch = batch.append_column(name, pa.nulls(batch.num_rows, kind))
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
        stored = file.metadata.metadata or {}
    texts = {}
    for key, value in stored.items():
        with suppress(UnicodeDecodeError):
            texts[key.decode()] = value.decode()
    texts.pop("ARROW:schema", None)  # Arrow's own copy of the schema
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


def decode_texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column with its texts as they are, not encoded by a dictionary."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
