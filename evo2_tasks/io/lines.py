"""Bytes and lines of text files that are plain, gzip or bgzip, recognised by their content."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from evo2_tasks.errors import InputError
from evo2_tasks.io.bgzip import GZIP_MAGIC, check_end_block, find_compression
from evo2_tasks.io.files import open_file
from evo2_tasks.io.words import shown_path

CHUNK_BYTES = 1 << 20
# Cohorts of 10^6 samples, with 300 bytes each, stay below this limit. It keeps a file without line
# ends from filling the memory.
MAX_LINE_BYTES = 5 << 26
MAX_ROW_BYTES = 1 << 25
"""Most bytes of a row of a table, a list or a BED, whose text is split into all its cells."""

# The look-behind makes a search linear, also in a long run of "\r" without a "\n".
_RETURNS = re.compile(rb"(?<!\r)\r+\n")


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


def read_lines(
    path: Path,
    begins_line: Callable[[bytes], bool] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[bytes]:
    r"""The lines of a file without their ends: ``\n``, ``\r\n``, ``\r\r\n`` or a lone ``\r``.

    In a file with ``\n``, a lone ``\r`` can also be part of a value. What comes after it decides.

    Args:
        path: The file.
        begins_line: Whether a text after a lone ``\r`` begins a line. If such a text is on a line
            that ``\n`` ends, each ``\r`` of that line is a line end; else each is part of the line.
            Default: each ``\r`` is a line end.
        max_line_bytes: Maximum length of a line.

    Raises:
        InputError: The compressed data are truncated or damaged, or a line has more than
            ``max_line_bytes`` bytes.
    """
    unfinished: list[bytes] = []  # the pieces of the line whose end has not been read
    num_bytes = num_lines = 0
    has_feeds = False
    is_proven = False  # whether each "\r" of the unfinished line is a line end
    for chunk in read_chunks(path):
        before, feed, after = chunk.rpartition(b"\n")
        if feed:
            text = b"".join([*unfinished, before, feed])
            unfinished.clear()  # a line may be long: hold it as few times as possible
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n")
            lines = text.split(b"\n")[:-1]
            has_returns = b"\r" in text
            del text
            if has_returns:
                first = _split_line(lines[0], None if is_proven else begins_line)
                others = [_split_line(line, begins_line) for line in lines[1:]]
                lines = list(chain(first, *others))
            unfinished, num_bytes = [after], len(after)
            has_feeds, is_proven = True, False
        else:
            unfinished.append(chunk)
            num_bytes += len(chunk)
            is_proven = is_proven or begins_after_return(chunk, begins_line)
            lines = []
            if is_proven and b"\r" in chunk.strip(b"\r"):
                text = b"".join(unfinished)
                kept = text.rstrip(b"\r")  # what follows these "\r" may be "\n"
                *lines, last = kept.split(b"\r")
                unfinished = [last + text[len(kept) :]]
                num_bytes = len(unfinished[0])
        num_lines += len(lines)
        lines.reverse()
        while lines:
            yield lines.pop()
        if num_bytes > max_line_bytes:
            raise InputError(
                f"{shown_path(path)}: line {num_lines + 1}: longer than {max_line_bytes:,} bytes. "
                f"No file of this kind has such lines; check its format and its line ends."
            )
    last = b"".join(unfinished)
    if last and has_feeds and begins_line is not None:
        yield from _split_line(last, None if is_proven else begins_line)
    else:
        yield from split_lines(last)


def split_lines(text: bytes) -> list[bytes]:
    r"""The lines of a text without their ends; each ``\r`` is a line end, or part of ``\r\n``."""
    if b"\r" in text:
        text = _RETURNS.sub(b"\n", text.replace(b"\r\n", b"\n")).replace(b"\r", b"\n")
    lines = text.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def begins_after_return(text: bytes, begins_line: Callable[[bytes], bool] | None) -> bool:
    r"""Whether a line begins after a lone ``\r`` of a text; see :func:`read_lines`."""
    if b"\r" not in text:
        return False
    return begins_line is None or any(map(begins_line, text.split(b"\r")[1:]))


def _split_line(line: bytes, begins_line: Callable[[bytes], bool] | None) -> list[bytes]:
    r"""The lines within a line that ``\n`` ends."""
    kept = line.rstrip(b"\r")
    if b"\r" not in kept:
        return [kept]
    return kept.split(b"\r") if begins_after_return(kept, begins_line) else [kept]


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
    """Decompress all members of a gzip file in order, in bounded memory.

    zlib copies what it is given beyond the end of a member. So it is given about as much as the
    last member had: a file of many small members is then read in linear time.
    """
    data, used = b"", 0
    end_of_file = False
    member_start = 0
    step = CHUNK_BYTES
    while True:
        while len(data) - used < 2 and not end_of_file:
            more = handle.read(CHUNK_BYTES)
            end_of_file = not more
            data, used = data[used:] + more, 0
        if not data.startswith(GZIP_MAGIC, used):
            if not data[used:].strip(b"\0"):  # zero padding, for example from a tape archive
                if end_of_file:
                    return
                member_start += len(data) - used
                data, used = b"", 0
                continue
            raise InputError(
                f"{shown_path(path)}: offset {member_start}: there are other bytes after the "
                f"compressed data; the file is damaged."
            )
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        piece = b""
        num_given = 0
        is_full = False  # whether zlib may hold more text
        while not inflater.eof:
            if not piece and not is_full:
                if used == len(data):
                    data, used = handle.read(CHUNK_BYTES), 0
                piece = data[used : used + step]
                if not piece:
                    raise InputError(
                        f"{shown_path(path)}: offset {handle.tell()}: the compressed data are "
                        f"truncated; copy the file again or make it again."
                    )
                used += len(piece)
                num_given += len(piece)
                step = min(2 * step, CHUNK_BYTES)
            try:
                text = inflater.decompress(piece, CHUNK_BYTES)
            except zlib.error as error:
                raise InputError(
                    f"{shown_path(path)}: offset {member_start}: the compressed data are damaged "
                    f"({error}); copy the file again or make it again."
                ) from error
            if text:
                yield text
            piece = inflater.unconsumed_tail
            is_full = len(text) == CHUNK_BYTES
        num_unused = len(inflater.unused_data)
        used -= num_unused
        step = min(2 * (num_given - num_unused), CHUNK_BYTES)
        member_start = handle.tell() - (len(data) - used)
