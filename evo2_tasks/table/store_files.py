"""The files of a score store: their names, and reading only what is undamaged.

A file is never changed. Its name states the range of its positions, its number of rows and the
digest of its footer. The footer states the digest of each row group, the signature and the contig,
so that the name covers the whole content. A file that was damaged, renamed or moved is found out
before a value of it is used, and only the row groups that are needed are read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import mmap
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.io.words import first_line, shown_path
from evo2_tasks.table.provenance import PREFIX
from evo2_tasks.table.store_rows import store_schema

logger = logging.getLogger(__name__)

MOST_FOOTER_BYTES: Final = 64 * 2**20
"""Largest footer that is read; that of a full file has about 1 MB."""

MOST_LISTINGS: Final = 100
"""How often a folder is listed again because files disappear while it is listed."""

MAGIC: Final = b"PAR1"
CONTIG_KEY: Final = re.compile(r"SQ\.[A-Za-z0-9_-]{32}(\.circular)?", re.ASCII)
"""Form of the key of a contig."""

_NAME: Final = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,19})-([0-9a-f]{16})\.parquet", re.ASCII)
OF_SIGNATURE: Final = PREFIX + "signature_digest"
"""Key of the footer: SHA-256 of the store signature of the rows."""

OF_CONTIG: Final = PREFIX + "contig"
"""Key of the footer: key of the contig of the rows."""

DIGESTS: Final = PREFIX + "row_groups"
"""Key of the footer: SHA-256 of the bytes of each row group, as JSON."""

DEVICES: Final = PREFIX + "devices"
"""Key of the footer: kinds of devices of the rows, as JSON."""

_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})

REMEDY: Final = "Its scores are not used: remove it, or restore it from a copy."
"""What a damaged file means, and what to do."""

NOT_READ: Final = "Its scores are not used: allow reading it."
"""What a file means that this user cannot read, and what to do."""

NOT_USED: Final = "It is not used. If you do not need it, remove it."
"""What a file that does not belong into a store means."""

_warned: set[Path] = set()


class DamagedFileError(Exception):
    """A file of a store is not what its name states; the message is the reason.

    Attributes:
        remedy: What it means, and what to do.
    """

    def __init__(self, why: str, remedy: str = REMEDY) -> None:
        super().__init__(why)
        self.remedy = remedy


class GoneError(Exception):
    """A file of a store was removed: a compaction has put its rows into another file."""


def warn_once(path: Path, why: object, remedy: str | None = None) -> None:
    """Log what is wrong with a file or folder of a store; do nothing a second time in a process.

    Args:
        path: The file or folder.
        why: What is wrong.
        remedy: What it means, and what to do. Default: that of the error, or that of damage.
    """
    if path not in _warned:
        _warned.add(path)
        if remedy is None:
            remedy = why.remedy if isinstance(why, DamagedFileError) else REMEDY
        reason = str(why).removeprefix(f"{shown_path(path)}: ").rstrip(".")
        logger.warning("score store: %s: %s. %s", shown_path(path), reason, remedy)


@contextmanager
def warning_of_damage(path: Path) -> Iterator[None]:
    """Turn damage of a file into one warning, after which its scores count as missing."""
    try:
        yield
    except DamagedFileError as error:
        warn_once(path, error)


class FileName(NamedTuple):
    """What the name of a file states.

    Attributes:
        first: Smallest ``edit_start`` of its rows, 0-based.
        last: Largest ``edit_start`` of its rows, 0-based.
        rows: Number of rows.
        digest: First 16 hexadecimal digits of the SHA-256 of the footer.
    """

    first: int
    last: int
    rows: int
    digest: str

    def __str__(self) -> str:
        return f"{self.first}-{self.last}-{self.rows}-{self.digest}.parquet"


def parse_name(name: str) -> FileName | None:
    """Read the name of a file; None if it is not one of a store."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    parsed = FileName(int(found[1]), int(found[2]), int(found[3]), found[4])
    fits = parsed.first <= parsed.last < 2**63 and 0 < parsed.rows < 2**63
    return parsed if fits and str(parsed) == name else None


class Place(NamedTuple):
    """Where rows belong.

    Attributes:
        signature: SHA-256 of the store signature.
        contig: Key of the contig.
    """

    signature: str
    contig: str

    def folder(self, store: Path) -> Path:
        """The folder of these rows in a store."""
        return store / f"signature={self.signature}" / f"contig={self.contig}"


def list_files(folder: Path) -> dict[FileName, Path]:
    """The files of a folder by their names; nothing if it is missing.

    A folder that cannot be listed, and a name that is not one of a store, are one warning.

    A listing that runs while files are renamed and removed may lack both an old and a new file. So
    the folder is listed until a listing has all files of the one before, a limited number of times:
    other processes may never stop adding and merging files.
    """
    names = set(list_folder(folder))
    for _ in range(MOST_LISTINGS):
        before, names = names, set(list_folder(folder))
        if names >= before:
            break
    files = {}
    for path in sorted(names):
        parsed = parse_name(path.name)
        if parsed is None:
            warn_once(path, "is not the name of a file of a score store", NOT_USED)
        else:
            files[parsed] = path
    return files


def list_folder(folder: Path) -> list[Path]:
    """What is in a folder of a store, without hidden files; nothing if it is missing.

    A folder that cannot be listed is one warning.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        remedy = "Its content is not used: allow reading it."
        warn_once(folder, f"cannot be listed: {first_line(error)}", remedy)
        return []


class RowGroup(NamedTuple):
    """A row group of a file.

    Attributes:
        first: Smallest ``edit_start``, 0-based.
        last: Largest ``edit_start``, 0-based.
        start: Place of its first byte in the file.
        end: Place after its last byte.
        digest: SHA-256 of these bytes.
    """

    first: int
    last: int
    start: int
    end: int
    digest: str


@dataclass(frozen=True, slots=True)
class StoreFile:
    """An open file of a store, whose footer is undamaged.

    Attributes:
        path: The file.
        descriptor: Open descriptor of the file.
        footer: The Parquet metadata.
        row_groups: Its row groups, in the order of their positions.
        devices: The kinds of devices of its rows.
    """

    path: Path
    descriptor: int
    footer: pq.FileMetaData
    row_groups: tuple[RowGroup, ...]
    devices: tuple[str, ...]

    def open_row_group(self, number: int) -> RowGroupReader:
        """Read the bytes of a row group, and make sure that they are undamaged.

        Raises:
            DamagedFileError: They are damaged, or cannot be read.
            GoneError: A network file system removed the file.
        """
        group = self.row_groups[number]
        # Only the pages of memory that are written to exist.
        memory = mmap.mmap(-1, group.end)
        data = memoryview(memory)[group.start : group.end]
        try:
            num_bytes = os.preadv(self.descriptor, [data], group.start)
        except OSError as error:
            if error.errno in _GONE:
                raise GoneError from error
            raise DamagedFileError(f"cannot be read: {first_line(error)}") from error
        if num_bytes != len(data) or hashlib.sha256(data).hexdigest() != group.digest:
            raise DamagedFileError("is damaged: a row group has another digest than it should have")
        return RowGroupReader(self, number, memory)


class RowGroupReader:
    """The undamaged bytes of a row group, from which columns are read.

    Args:
        file: The file.
        number: Number of the row group in the file.
        memory: The bytes of the row group at their place in the file.
    """

    def __init__(self, file: StoreFile, number: int, memory: mmap.mmap) -> None:
        self._number = number
        with _damage():
            self._parquet = pq.ParquetFile(
                pa.BufferReader(pa.py_buffer(memory)), metadata=file.footer, pre_buffer=False
            )

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of all rows.

        Raises:
            DamagedFileError: They cannot be decoded.
        """
        with _damage():
            return self._parquet.read_row_group(self._number, columns, use_threads=False)


@contextmanager
def _damage() -> Iterator[None]:
    """Turn an error of Arrow into one that says that a file is damaged.

    A footer of another program may lack statistics or a key, or have another type of value there.
    """
    try:
        yield
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise DamagedFileError(f"is damaged: {first_line(error)}") from error


@contextmanager
def open_store_file(path: Path, name: FileName, place: Place) -> Iterator[StoreFile]:
    """Open a file of a store, and make sure that its footer is undamaged and belongs here.

    Args:
        path: The file.
        name: What its name states.
        place: Where its rows must belong.

    Raises:
        DamagedFileError: It is damaged, cannot be read, or is another file than its name and its
            folder state.
        GoneError: It was removed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _GONE:
            raise GoneError from error
        remedy = NOT_READ if error.errno in _FORBIDDEN else REMEDY
        raise DamagedFileError(f"cannot be opened: {first_line(error)}", remedy) from error
    try:
        try:
            footer = read_footer(descriptor)
        except OSError as error:
            if error.errno in _GONE:
                raise GoneError from error
            raise DamagedFileError(f"cannot be read: {first_line(error)}") from error
        if hashlib.sha256(footer).hexdigest()[:16] != name.digest:
            raise DamagedFileError("is damaged: its footer has another digest than its name states")
        with _damage():
            whole = MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC
            parsed = pq.read_metadata(pa.BufferReader(whole))
            size = os.fstat(descriptor).st_size
            row_groups = tuple(_read_row_groups(parsed, place, size))
            devices = tuple(map(str, json.loads((parsed.metadata or {})[DEVICES.encode()])))
        if (row_groups[0].first, row_groups[-1].last, parsed.num_rows) != name[:3]:
            raise DamagedFileError("does not have the rows that its name states")
        yield StoreFile(path, descriptor, parsed, row_groups, devices)
    finally:
        os.close(descriptor)


def read_footer(descriptor: int) -> bytes:
    """The bytes of the Parquet footer, without its length and the magic bytes."""
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise DamagedFileError("is not a regular file")
    ending = os.pread(descriptor, 8, max(0, state.st_size - 8))
    length = int.from_bytes(ending[:4], "little")
    if ending[4:] != MAGIC or not 0 < length <= min(state.st_size - 12, MOST_FOOTER_BYTES):
        raise DamagedFileError("is damaged: it does not end as a Parquet file")
    return os.pread(descriptor, length, state.st_size - 8 - length)


def _read_row_groups(footer: pq.FileMetaData, place: Place, size: int) -> Iterator[RowGroup]:
    """The row groups that a footer of a file of ``size`` bytes states.

    Raises:
        DamagedFileError: It is not the footer of a file of a store, or of another folder.
    """
    if not footer.schema.to_arrow_schema().equals(store_schema()):
        raise DamagedFileError("does not have the columns of a file of a score store")
    stored = footer.metadata or {}
    stated = Place(
        *(
            stored.get(key.encode(), b"").decode(errors="replace")
            for key in (OF_SIGNATURE, OF_CONTIG)
        )
    )
    if stated != place:
        raise DamagedFileError("belongs to another signature or another contig than its folder")
    digests = json.loads(stored.get(DIGESTS.encode(), b"[]"))
    if not digests or len(digests) != footer.num_row_groups:
        raise DamagedFileError("does not state the digests of its row groups")
    for number, digest in enumerate(digests):
        group = footer.row_group(number)
        statistics = group.column(0).statistics
        chunks = [group.column(i) for i in range(group.num_columns)]
        start = min(
            chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            for chunk in chunks
        )
        end = start + sum(chunk.total_compressed_size for chunk in chunks)
        if not 0 < start < end < size:
            raise DamagedFileError("states row groups that are not in the file")
        yield RowGroup(statistics.min, statistics.max, start, end, digest)
