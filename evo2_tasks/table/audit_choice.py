"""Which alleles of a variant set an audit scores with whole windows too.

Standard library only: Snakemake imports this file in every job.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from fractions import Fraction
from typing import Any, Final

LEAST_AUDITED: Final = 20
MOST_AUDITED: Final = 1_000

AlleleKey = tuple[int, int]
"""``record`` and ``allele`` of a row."""


def count_audited(share: float, num_alleles: int) -> int:
    """How many alleles are audited.

    Args:
        share: Share of the alleles, as the config has it.
        num_alleles: Alleles that can be scored.
    """
    # As the config spells the share: 0.07 of 100 alleles are 7, and not 7.000000000000001.
    asked = math.ceil(Fraction(repr(share)) * num_alleles)
    return min(num_alleles, MOST_AUDITED, max(LEAST_AUDITED, asked))


def hash_allele(contig: bytes, pos: int, ref: str, alt: str) -> int:
    """A number that depends on the allele alone, and is otherwise random.

    Args:
        contig: Name of the contig; or the digest of its bases, so that its name has no effect.
        pos: Position, 1-based.
        ref: The REF allele.
        alt: The ALT allele.
    """
    text = f"\t{pos}\t{ref}\t{alt}".encode()
    return int.from_bytes(hashlib.blake2b(contig + text, digest_size=16).digest())


class SmallestHashes:
    """Of any number of alleles those with the smallest hashes, in bounded memory.

    Equal alleles have equal hashes; of these, the first ones of the input come first.
    """

    def __init__(self) -> None:
        self.num_alleles = 0
        self._heap: list[tuple[int, int, int, Any]] = []  # the largest hash first

    def add(self, hashed: int, key: AlleleKey, value: object) -> None:
        """Add an allele.

        Args:
            hashed: Its hash.
            key: Its record and its number in the record.
            value: What to give for it, if it is one of those with the smallest hashes.
        """
        self.num_alleles += 1
        entry = (-hashed, -key[0], -key[1], value)
        if len(self._heap) < MOST_AUDITED:
            heapq.heappush(self._heap, entry)
        elif entry[:3] > self._heap[0][:3]:
            heapq.heapreplace(self._heap, entry)

    def choose(self, share: float) -> list[Any]:
        """What was given for the audited alleles, by hash."""
        by_hash = sorted(self._heap, key=lambda entry: entry[:3], reverse=True)
        return [entry[3] for entry in by_hash[: count_audited(share, self.num_alleles)]]
