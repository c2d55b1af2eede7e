"""Random access to the bases of an indexed FASTA, plain or bgzip, of contigs of any length."""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from evo2_tasks.genome.fasta import MAX_BGZIP_BLOCKS, FastaEntry
from evo2_tasks.io.bgzip import find_compression

_BLOCK_BYTES = 1 << 16  # the largest block of bgzip, compressed or not
# What htslib leaves out of a sequence: line ends, blanks and all bytes that are not printable.
_NOT_BASES = bytes(code for code in range(256) if not 33 <= code <= 126)


class FastaBases:
    """The bases of a FASTA file as its index describes them.

    `pysam.FastaFile` gives the same bases, but none from position 2^31 on.

    Args:
        fasta: The file.
        entries: The lines of its ``.fai``.
        blocks: Its ``.gzi``, which a file compressed with bgzip must have.

    Raises:
        OSError: A file cannot be read.
        ValueError: The ``.gzi`` is damaged.
    """

    def __init__(self, fasta: Path, entries: Iterable[FastaEntry], blocks: Path) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._file: _Bytes = (
            _BgzipBytes(fasta, blocks) if find_compression(fasta) == "bgzip" else _PlainBytes(fasta)
        )

    def fetch(self, name: str, start: int, end: int) -> str:
        """The bases from ``start`` to ``end``, 0-based and half-open, fewer if the file is shorter.

        Raises:
            OSError: The file cannot be read.
            ValueError: The compressed data, or the ``.gzi``, are damaged.
        """
        entry = self._entries[name]
        first, last = (_find_offset(entry, position) for position in (start, end - 1))
        return self._file.read(first, last + 1 - first).translate(None, _NOT_BASES).decode()


class _Bytes(Protocol):
    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the decompressed file; fewer if it ends before."""


class _PlainBytes:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file, size, offset)


class _BgzipBytes:
    def __init__(self, path: Path, blocks: Path) -> None:
        with blocks.open("rb") as file:
            content = file.read(8 + 16 * MAX_BGZIP_BLOCKS + 1)
        (num_blocks,) = struct.unpack_from("<Q", content) if len(content) >= 8 else (-1,)
        if num_blocks > MAX_BGZIP_BLOCKS:
            raise ValueError(
                f"the .gzi lists {num_blocks:,} blocks, more than {MAX_BGZIP_BLOCKS:,}"
            )
        if len(content) != 8 + 16 * num_blocks:
            raise ValueError("the .gzi is not an index of blocks")
        numbers = np.frombuffer(content, "<u8", offset=8)
        self._starts = np.concatenate([[np.uint64(0)], numbers[0::2]])  # in the file, bytes
        self._offsets = np.concatenate([[np.uint64(0)], numbers[1::2]])  # decompressed, bytes
        self._file = _PlainBytes(path)

    def read(self, offset: int, size: int) -> bytes:
        first = int(np.searchsorted(self._offsets, np.uint64(offset), side="right")) - 1
        skipped = offset - int(self._offsets[first])
        text = b""
        for number in range(first, len(self._starts)):
            text += self._read_block(int(self._starts[number]))
            if len(text) >= skipped + size:
                break
        return text[skipped : skipped + size]

    def _read_block(self, start: int) -> bytes:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            text = inflater.decompress(self._file.read(start, _BLOCK_BYTES))
        except zlib.error as error:
            raise ValueError(f"the block at offset {start} is damaged ({error})") from error
        if not inflater.eof:
            raise ValueError(f"the block at offset {start} is truncated")
        return text


def _find_offset(entry: FastaEntry, position: int) -> int:
    """The offset of a base in the decompressed file, bytes."""
    lines, rest = divmod(position, max(1, entry.line_bases))
    return entry.offset + lines * entry.line_width + rest
