"""Bytes and lines of text files that are plain, gzip or bgzip, recognised by their content."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from evo2_tasks.errors import InputError
from evo2_tasks.io.bgzip import GZIP_MAGIC, check_end_block, find_compression
from evo2_tasks.io.files import open_file
from evo2_tasks.io.words import shown_path

CHUNK_BYTES = 1 << 20
# Cohorts of 10^6 samples stay far below this limit. It keeps a file without line ends from filling
# the memory.
MAX_LINE_BYTES = 1 << 29


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a file, decompressed, in pieces of about a MiB.

    Raises:
        InputError: The compressed data are truncated or damaged. The message has the byte offset.
    """
    compression = find_compression(path)
    with open_file(path) as handle:
        if compression == "bgzip":
            check_end_block(handle, path)
        chunks = _plain_chunks(handle) if compression == "plain" else _inflate(handle, path)
        try:
            yield from chunks
        except OSError as error:
            raise InputError(f"{shown_path(path)}: cannot be read: {error.strerror}.") from error


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
        InputError: The compressed data are truncated or damaged, or a line has more than
            ``max_line_bytes`` bytes.
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
                    f"bytes; this is not a text file of variants."
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
    """The first line of a file without the byte order mark that some editors write."""
    return line.removeprefix(b"\xef\xbb\xbf")


def decode(raw: bytes) -> str:
    """The text of one cell: UTF-8, or Latin-1 if it is not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _plain_chunks(handle: BinaryIO) -> Iterator[bytes]:
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def _inflate(handle: BinaryIO, path: Path) -> Iterator[bytes]:
    """Decompress all members of a gzip file in order, in bounded memory."""
    data = b""
    end_of_file = False
    member_start = 0
    while True:
        while len(data) < 2 and not end_of_file:
            more = handle.read(CHUNK_BYTES)
            end_of_file = not more
            data += more
        if not data.strip(b"\0"):  # zero padding, for example from a tape archive
            if end_of_file:
                return
            member_start += len(data)
            data = b""
            continue
        if not data.startswith(GZIP_MAGIC):
            raise InputError(
                f"{shown_path(path)}: offset {member_start}: there are other bytes after the "
                f"compressed data; the file is damaged."
            )
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while True:
            try:
                text = inflater.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise InputError(
                    f"{shown_path(path)}: offset {member_start}: the compressed data are damaged "
                    f"({error}); copy the file again or make it again."
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
                    f"truncated; copy the file again or make it again."
                )
        data = inflater.unused_data
        member_start = handle.tell() - len(data)
