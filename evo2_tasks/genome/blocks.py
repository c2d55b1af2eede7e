"""The blocks of a reference: what is read at once, and what has a digest of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

BLOCK_BASES = 1 << 18

_DIGEST_BYTES = hashlib.sha256().digest_size


class Block(NamedTuple):
    """A block of a sequence: ``BLOCK_BASES`` bases, the last block of a sequence has the rest.

    Attributes:
        reference_contig: The sequence. An empty one has one empty block.
        start: Start of the block, 0-based.
        end: End of the block, 0-based and exclusive.
        sha256: SHA-256 of its bases in upper case.
    """

    reference_contig: str
    start: int
    end: int
    sha256: bytes


class BlockDigests:
    """The digests of the blocks of a sequence, whose bases are added piece by piece."""

    def __init__(self) -> None:
        self._finished = bytearray()
        self._block = hashlib.sha256()
        self._rest = BLOCK_BASES  # bases that the last block may still get

    def add(self, bases: bytes) -> None:
        """Add bases in upper case."""
        left = memoryview(bases)
        while len(left) >= self._rest:
            self._block.update(left[: self._rest])
            self._finished += self._block.digest()
            left = left[self._rest :]
            self._block, self._rest = hashlib.sha256(), BLOCK_BASES
        self._block.update(left)
        self._rest -= len(left)

    def finish(self) -> bytes:
        """SHA-256 of each block, one after the other, after the last base."""
        has_more = self._rest < BLOCK_BASES or not self._finished
        return bytes(self._finished + self._block.digest() if has_more else self._finished)


def list_blocks(reference_contig: str, length: int, digests: bytes) -> Iterator[Block]:
    """The blocks of a sequence, in order.

    Args:
        reference_contig: The sequence.
        length: Its bases.
        digests: SHA-256 of each block, one after the other.
    """
    for number in range(len(digests) // _DIGEST_BYTES):
        start = number * BLOCK_BASES
        end = min(start + BLOCK_BASES, length)
        sha256 = digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]
        yield Block(reference_contig, start, end, sha256)


def digest_contigs(blocks: Iterable[Block]) -> dict[str, bytes]:
    """A digest of the bases of each sequence, whatever its name.

    Args:
        blocks: The blocks of all sequences, in order.

    Returns:
        SHA-256 of the digests of the blocks of each sequence, by its name.
    """
    return {
        contig: hashlib.sha256(b"".join(block.sha256 for block in of_contig)).digest()
        for contig, of_contig in groupby(blocks, attrgetter("reference_contig"))
    }
