"""bgzip files: recognising, checking and writing them.

bgzip is gzip in blocks, so that an index can point into the file.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import open_file
from evo2_tasks.io.words import shown_path

Compression = Literal["plain", "gzip", "bgzip"]

GZIP_MAGIC: Final = b"\x1f\x8b"
HEADER_BYTES: Final = 18
"""Bytes before the compressed data of a block."""

END_BLOCK: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block at the end of every bgzip file. A file without it is truncated."""

BLOCK_BYTES: Final = 0xFF00
"""Uncompressed bytes of a block. Compressed and framed, any such block is below 64 KiB."""

_LEVEL: Final = 6


def find_compression(path: Path) -> Compression:
    """How a file is compressed, from its first bytes.

    Raises:
        InputError: The file cannot be opened.
    """
    with open_file(path) as handle:
        start = handle.read(HEADER_BYTES)
    if not start.startswith(GZIP_MAGIC):
        return "plain"
    # A bgzip block is a gzip member with an extra field (flag 4) that holds "BC" and the size.
    is_block = len(start) == HEADER_BYTES and start[3] & 4 and start[10:14] == b"\6\0BC"
    return "bgzip" if is_block else "gzip"


def check_bgzip_end(path: Path) -> None:
    """Make sure that a bgzip file has its end block; other files pass.

    A file that was cut between two blocks has no other sign of it.

    Raises:
        InputError: The file is bgzip and its end block is missing.
    """
    if find_compression(path) == "bgzip":
        with open_file(path) as handle:
            check_end_block(handle, path)


def check_end_block(handle: BinaryIO, path: Path) -> None:
    """Make sure that an open bgzip file has its end block, and go back to its start.

    Raises:
        InputError: The end block is missing.
    """
    size = handle.seek(0, 2)
    handle.seek(max(0, size - len(END_BLOCK)))
    end = handle.read()
    handle.seek(0)
    if end != END_BLOCK:
        raise InputError(
            f"{shown_path(path)}: offset {size}: the end block of bgzip is missing, so the file is "
            f"truncated; copy it again, or make it again with bgzip."
        )


class BgzfWriter:
    """Compresses text and writes it to an open file; use it as a context manager.

    htslib's writer is not used: it reports a full disk on stderr and by an exception that cannot
    be caught.

    Args:
        file: Open for writing.

    Source:
        SAM specification, section 4.1, the BGZF format.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending = bytearray()

    def write(self, text: bytes) -> None:
        """Add text."""
        self._pending += text
        while len(self._pending) >= BLOCK_BYTES:
            self._write_block(bytes(self._pending[:BLOCK_BYTES]))
            del self._pending[:BLOCK_BYTES]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            if self._pending:
                self._write_block(bytes(self._pending))
            self._file.write(END_BLOCK)
            self._file.flush()

    def _write_block(self, text: bytes) -> None:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = deflate.compress(text) + deflate.flush()
        size = len(body) + 25  # size of the whole block minus one
        self._file.write(struct.pack("<4BI2BH2B2H", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, size))
        self._file.write(body)
        self._file.write(struct.pack("<2I", zlib.crc32(text), len(text)))
