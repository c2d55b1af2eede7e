"""Files that appear whole or not at all, and tables read and written in bounded memory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError

ROW_GROUP_ROWS: Final = 20_000
"""Rows of a row group: few enough for a region query to skip most of a table."""

ROW_GROUP_BYTES: Final = 64 * 2**20
"""Text that closes a row group early, so that long alleles do not fill the memory."""

BATCH_ROWS: Final = 20_000
"""Rows that a reader holds at once."""


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next((line for line in said.splitlines() if line.strip()), type(error).__name__)


def shown(name: Path | str) -> str:
    """A path or a name in a message: on one line, whatever it holds."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn a failure to write, a full disk say, into one line that names the target."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{shown(target)}: cannot be written: {first_line(error)}") from error


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn a failure to read, a truncated file say, into one line that names the source."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{shown(source)}: cannot be read: {first_line(error)}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def temporary_name(target: Path) -> Path:
    """A path beside the target that no other writer has: hidden, same ending."""
    endings = "".join(target.suffixes[-2:])
    name = f"{_temporary_prefix(target)}{secrets.token_hex(8)}.tmp{endings[-20:]}"
    return target.with_name(name)


def remove_abandoned(target: Path) -> None:
    """Remove what writers of a target left when they were killed.

    A living writer, on this machine or on another one of the file system, holds a lock on its
    file. Where the file system has no locks, nothing is removed.
    """
    prefix = _temporary_prefix(target)
    with suppress(OSError):
        for path in target.parent.iterdir():
            if path.name.startswith(prefix) and ".tmp" in path.suffixes:
                with suppress(OSError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


@contextmanager
def _locked_file(target: Path) -> Iterator[Path]:
    """A new empty file beside the target, which says by a lock that its writer is alive."""
    while True:
        path = temporary_name(target)
        with path.open("xb") as file:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            # Between opening and locking it looked abandoned.
            if os.fstat(file.fileno()).st_nlink:
                try:
                    yield path
                finally:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                return


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Give a new path beside the target, and rename it to the target if the body ends well.

    A process that dies leaves the target as it was; what it had written goes when the target is
    written the next time. Of two writers of one target, the one that ends last wins, whole.

    Args:
        target: The file that shall appear. Its folder is made where it is missing.

    Yields:
        The path to write to: an empty file, to be written in place.

    Raises:
        InputError: The target cannot be written.
    """
    if target.exists() and not target.is_file():
        raise InputError(f"{shown(target)}: is no regular file. Name a file to write to.")
    with ExitStack() as stack:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(target)
            temporary = stack.enter_context(_locked_file(target))
        yield temporary
        with writing(target):
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)


def digest_file(source: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: It cannot be read.
    """
    with reading(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_other_file(target: Path, *sources: Path) -> None:
    """Make sure that a file to write is none of those that are read for it.

    Raises:
        InputError: It is one of them.
    """
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{shown(target)}: is the file to read. Name another one to write.")


def write_json(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; the order of the keys is kept.

    Raises:
        InputError: The target cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_atomically(target) as temporary, writing(target):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(source: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: It is missing or holds none.
    """
    try:
        with reading(source):
            value = json.loads(source.read_bytes())
    except ValueError as error:
        raise InputError(f"{shown(source)}: is no JSON file: {first_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{shown(source)}: expected a JSON object, got {type(value).__name__}.")
    return value


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def _text_bytes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of text in each row, lists of text included."""
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
    """Rows in, row groups out, the same whatever pieces the rows come in.

    A row group is closed by a number of rows or by the text in them, and each is encoded for
    itself: the file's bytes depend on schema, metadata and rows alone.
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
        # Dictionaries of pieces differ; each row group gets its own, from its rows alone.
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


def _text_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of the columns that are worth a Parquet dictionary: all text."""
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
    """Write a Parquet file atomically; it appears when the body ends without an error.

    Args:
        target: The Parquet file.
        schema: Columns and their metadata.
        metadata: The file's key-value metadata.
        row_group_rows: Rows of a row group.
        row_group_bytes: Text that closes a row group before it has that many rows.

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
            # After an error only the file handle matters: the file is about to be removed.
            with suppress(OSError, pa.ArrowException):
                parquet.close()


@contextmanager
def open_table(source: Path, columns: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file and make sure that it has some columns.

    Raises:
        InputError: It is missing, broken or no such table.
    """
    with reading(source):
        # Buffered ahead, the whole file would stay in memory.
        file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
    with file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{shown(source)}: has no column {missing[0]!r}. Expected a table of evo2-tasks."
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
        # One thread: a job that asks for one core uses one.
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=row_groups, columns=columns, use_threads=False
        )
        while True:
            with reading(source):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def count_rows(source: Path) -> int:
    """Rows of a Parquet file.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        rows: int = file.metadata.num_rows
    return rows


def read_metadata(source: Path) -> dict[str, str]:
    """Key-value metadata of a Parquet file; keys or values that are no UTF-8 are left out.

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
    """The texts that occur in a column, in the order of their first row.

    Raises:
        InputError: The file is missing, broken or lacks the column.
    """
    found: dict[str, None] = {}
    for batch in read_rows(source, [column]):
        found |= dict.fromkeys(batch.column(column).drop_null().unique().to_pylist())
    return list(found)
