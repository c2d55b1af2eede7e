"""Writing bgzip files: gzip in blocks, so that an index can point into them."""

from __future__ import annotations

import struct
import zlib
from types import TracebackType
from typing import BinaryIO, Final, Self

BLOCK_BYTES: Final = 0xFF00
"""Text of a block; compressed and with its frame it stays below 64 KiB whatever it is."""

_LEVEL: Final = 6
_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class BgzfWriter:
    """A file that is compressed while it is written.

    htslib's own writer is not used since it reports a full disk on stderr and by an exception that
    cannot be caught.

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
            self._file.write(_END)
            self._file.flush()

    def _write_block(self, text: bytes) -> None:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = deflate.compress(text) + deflate.flush()
        size = len(body) + 25  # of the whole block, less one
        self._file.write(struct.pack("<4BI2BH2B2H", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, size))
        self._file.write(body)
        self._file.write(struct.pack("<2I", zlib.crc32(text), len(text)))
