"""Bytes and lines of text files that may be plain, gzip or bgzip, told apart by their content."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path

Compression = Literal["plain", "gzip", "bgzip"]

CHUNK_BYTES = 1 << 20
# Cohorts of 10^6 samples stay far below it; without it, rubbish without line ends fills memory.
MAX_LINE_BYTES = 1 << 29
BGZIP_HEADER_BYTES = 18
GZIP_MAGIC = b"\x1f\x8b"
# The empty block that bgzip puts at the end of every file, so that a truncated one is recognised.
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def find_compression(path: Path) -> Compression:
    """How a file is compressed, from its first bytes."""
    with open_file(path) as handle:
        start = handle.read(BGZIP_HEADER_BYTES)
    if not start.startswith(GZIP_MAGIC):
        return "plain"
    # A bgzip block is a gzip member with an extra field (flag 4) that holds "BC" and the size.
    is_block = len(start) == BGZIP_HEADER_BYTES and start[3] & 4 and start[10:14] == b"\6\0BC"
    return "bgzip" if is_block else "gzip"


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        InputError: It does not exist, is no regular file, or may not be read.
    """
    if path.is_dir():
        raise InputError(f"{shown_path(path)}: is a folder, expected a file.")
    if path.exists() and not path.is_file():
        raise InputError(f"{shown_path(path)}: is not a regular file; copy it to one first.")
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{shown_path(path)}: cannot be opened: {reason}.") from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a file, decompressed, in pieces of about a MiB.

    Raises:
        InputError: The compressed data are truncated or damaged; names the byte offset.
    """
    compression = find_compression(path)
    with open_file(path) as handle:
        if compression == "bgzip":
            _check_end(handle, path)
        chunks = _plain_chunks(handle) if compression == "plain" else _inflate(handle, path)
        try:
            yield from chunks
        except OSError as error:
            raise InputError(f"{shown_path(path)}: cannot be read: {error.strerror}.") from error


def check_bgzip_end(path: Path) -> None:
    """Make sure that a bgzip file is whole: cut at the end of a block it looks so otherwise.

    Raises:
        InputError: The file is bgzip and its empty end block is missing.
    """
    if find_compression(path) == "bgzip":
        with open_file(path) as handle:
            _check_end(handle, path)


def read_start(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of a file, decompressed."""
    start = b""
    chunks = read_chunks(path)
    for chunk in chunks:
        start += chunk
        if len(start) >= size:
            break
    chunks.close()  # type: ignore[attr-defined]  # a generator: closes the file now
    return start[:size]


def read_lines(path: Path, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    r"""The lines of a file without their ends (``\n`` or ``\r\n``).

    Raises:
        InputError: As `read_chunks`, or a line has more than ``max_line_bytes`` bytes.
    """
    pending: list[bytes] = []
    pending_bytes = 0
    num_lines = 0
    for chunk in read_chunks(path):
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            pending.append(chunk)
            pending_bytes += len(chunk)
            if pending_bytes > max_line_bytes:
                raise InputError(
                    f"{shown_path(path)}: line {num_lines + 1}: longer than {max_line_bytes:,} "
                    f"bytes; this is no file of variants."
                )
            continue
        pending.append(lines[0])
        lines[0] = b"".join(pending)
        pending = [lines.pop()]
        pending_bytes = len(pending[0])
        num_lines += len(lines)
        if lines[0].endswith(b"\r") or b"\r\n" in chunk:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        yield from lines
    last = b"".join(pending)
    if last:
        yield last[:-1] if last.endswith(b"\r") else last


def drop_mark(line: bytes) -> bytes:
    """The first line without the mark that some editors put before UTF-8 text."""
    return line.removeprefix(b"\xef\xbb\xbf")


def decode(raw: bytes) -> str:
    """Text of one cell: UTF-8, or Latin-1 where it is not."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _plain_chunks(handle: BinaryIO) -> Iterator[bytes]:
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def _inflate(handle: BinaryIO, path: Path) -> Iterator[bytes]:
    """Decompress the members of a gzip file, one after the other, in bounded memory."""
    data = b""
    end_of_file = False
    member_start = 0
    while True:
        while len(data) < 2 and not end_of_file:
            more = handle.read(CHUNK_BYTES)
            end_of_file = not more
            data += more
        if not data.strip(b"\0"):  # padding, as tape archives leave it, is no data
            if end_of_file:
                return
            member_start += len(data)
            data = b""
            continue
        if not data.startswith(GZIP_MAGIC):
            raise InputError(
                f"{shown_path(path)}: offset {member_start}: the compressed data are followed by "
                f"bytes that are none; the file is damaged."
            )
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while True:
            try:
                text = inflater.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise InputError(
                    f"{shown_path(path)}: offset {member_start}: the compressed data are damaged "
                    f"({error}); copy or make the file again."
                ) from error
            if text:
                yield text
            if inflater.eof:
                break
            data = inflater.unconsumed_tail
            if data or len(text) == CHUNK_BYTES:
                continue
            data = handle.read(CHUNK_BYTES)
            if not data:
                raise InputError(
                    f"{shown_path(path)}: offset {handle.tell()}: the compressed data are "
                    f"truncated; copy or make the file again."
                )
        data = inflater.unused_data
        member_start = handle.tell() - len(data)


def _check_end(handle: BinaryIO, path: Path) -> None:
    size = handle.seek(0, 2)
    handle.seek(max(0, size - len(BGZIP_END)))
    end = handle.read()
    handle.seek(0)
    if end != BGZIP_END:
        raise InputError(
            f"{shown_path(path)}: offset {size}: the end block of bgzip is missing, so the file is "
            f"truncated; copy it again, or make it again with bgzip."
        )
