"""How much of a sequence is a copy of a reference: the longest stretches that both have.

Each reference is read once, block by block, so memory does not grow with it. The sequences are in
memory. Words of ``SEED`` bases that a sequence and a block have in common are the beginnings of
common stretches, which are then followed base by base. So every stretch of ``SEED`` bases or more
is found, and its length is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

SEED: Final = 12
"""Shortest stretch that is found, bases. Any two sequences of some thousand bases have one."""

COPY_LENGTH: Final = 32
"""Shortest stretch that counts as copied, bases. A random sequence of 100,000 bases and a genome of
three billion have stretches of about 25 bases in common."""

_BLOCK_BASES: Final = 1 << 20
_PAIRS_AT_ONCE: Final = 1 << 20
_WORD: Final = 8  # bases that are compared at once

_NO_BASE, _OTHER_BASE = 4, 5  # in a sequence and in a reference, so that they never agree
_NOTHING_BEFORE: Final = "\n"  # stands for the base before the first one of a contig

_COMPLEMENT: Final = bytes.maketrans(b"ACGT", b"TGCA")

Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Copy:
    """The longest stretch of a sequence that is also in a reference.

    Of several of the same length, it is the first one in the reference.

    Attributes:
        length: Its bases; 0 if it is shorter than ``SEED``.
        start: Where it begins in the sequence, 0-based.
        contig: Where it is in the reference: the contig; None without a stretch.
        contig_start: Its first base on the forward strand of the contig, 0-based. On a circular
            contig the stretch may go on at the first base.
        strand: Strand of the contig that reads as the sequence does.
        copied: Bases of the sequence in any common stretch of ``COPY_LENGTH`` bases or more.
    """

    length: int = 0
    start: int = 0
    contig: str | None = None
    contig_start: int = 0
    strand: str = "+"
    copied: int = 0


def find_copies(
    sequences: Sequence[str], contigs: Iterable[tuple[str, Iterable[str]]]
) -> list[Copy]:
    """Find the longest stretch of each sequence that is in a reference, on either strand.

    Args:
        sequences: Bases in upper case. Stretches have A, C, G and T only.
        contigs: Name and bases of each contig. The bases come in pieces of any length.

    Returns:
        The stretch of each sequence.
    """
    search = _Search(sequences)
    for name, pieces in contigs:
        search.begin(name)
        held, start = _NOTHING_BEFORE, 0
        for piece in pieces:
            held += piece
            while len(held) > _BLOCK_BASES + search.longest:
                search.scan(held, start, _BLOCK_BASES)
                held, start = held[_BLOCK_BASES:], start + _BLOCK_BASES
        search.scan(held, start, len(held) - 1)
    return search.finish()


def read_contigs(reference: Reference, longest: int) -> Iterator[tuple[str, Iterator[str]]]:
    """The contigs of a reference for :func:`find_copies`.

    Args:
        reference: The reference.
        longest: Bases of the longest sequence. As many bases after the origin of a circular contig
            are read again after its last base.
    """
    for name, length in reference.contigs.items():
        beyond = min(longest, length - 1) if reference.is_circular(name) else 0
        yield name, _read_pieces(reference, name, length + beyond)


def _read_pieces(reference: Reference, contig: str, end: int) -> Iterator[str]:
    for start in range(0, end, _BLOCK_BASES):
        yield reference.fetch(contig, start, min(end, start + _BLOCK_BASES))


class _Search:
    """The sequences and their reverse complements, one after the other, and what was found.

    Args:
        sequences: The sequences.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.longest = max(map(len, sequences), default=0)
        self._lengths = [len(one) for one in sequences]
        texts, owners, starts, place = [], [], [], 1
        for number, one in enumerate(sequences):
            text = one.encode("ascii", errors="replace")
            for strand in (text, text.translate(_COMPLEMENT)[::-1]):
                texts.append(_as_codes(strand, _NO_BASE))
                starts.append(place)
                owners.append(np.full(len(strand) + 1, number, dtype=np.int32))
                place += len(strand) + 1
        gap = np.array([_NO_BASE], dtype=np.uint8)
        parts = [gap, *(part for text in texts for part in (text, gap))]
        self._codes = np.concatenate([*parts, np.full(_WORD, _NO_BASE, dtype=np.uint8)])
        self._words = _as_words(self._codes)
        self._owner = np.concatenate([np.zeros(1, dtype=np.int32), *owners])
        self._starts = starts  # of the forward and the reverse text of each sequence, in turn
        seeds, self._places = _list_seeds(self._codes)
        order = np.argsort(seeds, kind="stable")
        self._seeds, self._places = seeds[order], self._places[order]
        self._has_seed = np.zeros(4**SEED, dtype=np.bool_)
        self._has_seed[self._seeds] = True
        self._changes = np.zeros(len(self._codes) + 1, dtype=np.int64)
        self._best = [Copy() for _ in sequences]
        self._contig = ""

    def begin(self, contig: str) -> None:
        """Begin with the first base of a contig."""
        self._contig = contig

    def scan(self, bases: str, start: int, num_bases: int) -> None:
        """Find the stretches that begin in a block.

        Args:
            bases: The base before the block, the block, and what follows it.
            start: Where the block begins on the contig, 0-based.
            num_bases: Bases of the block.
        """
        own = _as_codes(bases.encode("ascii", errors="replace"), _OTHER_BASE)
        codes = np.concatenate([own, np.full(_WORD, _OTHER_BASE, dtype=np.uint8)])
        words = _as_words(codes)
        seeds, places = _list_seeds(codes)
        within = self._has_seed[seeds] & (places >= 1) & (places < 1 + num_bases)
        seeds, places = seeds[within], places[within]
        first = np.searchsorted(self._seeds, seeds, side="left")
        counts = np.searchsorted(self._seeds, seeds, side="right") - first
        ends = np.cumsum(counts)
        done = 0
        while done < len(places):
            before_pairs = ends[done - 1] if done else 0
            stop = int(np.searchsorted(ends, before_pairs + _PAIRS_AT_ONCE, side="right"))
            stop = max(stop, done + 1)
            num = counts[done:stop]
            at = np.repeat(places[done:stop], num)
            rank = np.arange(len(at)) - np.repeat(np.cumsum(num) - num, num)
            own_at = self._places[np.repeat(first[done:stop], num) + rank]
            begins = codes[at - 1] != self._codes[own_at - 1]
            self._follow(codes, words, at[begins], own_at[begins], start - 1)
            done = stop

    def _follow(
        self, codes: Codes, words: npt.NDArray[np.uint64], at: Places, own_at: Places, shift: int
    ) -> None:
        """Follow common stretches to their ends, and note them.

        Args:
            codes: Bases of the block.
            words: The same, several at once.
            at: Where the stretches begin in the block.
            own_at: Where they begin in the sequences.
            shift: Place on the contig of the first base of the block.
        """
        if not len(at):
            return
        lengths = np.full(len(at), SEED, dtype=np.int64)
        going = np.arange(len(at))
        while len(going):
            same = words[at[going] + lengths[going]] == self._words[own_at[going] + lengths[going]]
            going = going[same]
            lengths[going] += _WORD
        going = np.arange(len(at))
        while len(going):
            same = codes[at[going] + lengths[going]] == self._codes[own_at[going] + lengths[going]]
            going = going[same]
            lengths[going] += 1
        long = lengths >= COPY_LENGTH
        np.add.at(self._changes, own_at[long], 1)
        np.add.at(self._changes, (own_at + lengths)[long], -1)
        owners = self._owner[own_at]
        order = np.lexsort((own_at, at, -lengths, owners))
        _, heads = np.unique(owners[order], return_index=True)
        for pair in order[heads]:
            number, length = int(owners[pair]), int(lengths[pair])
            if length > self._best[number].length:
                self._best[number] = self._describe(
                    number, int(own_at[pair]), int(at[pair]) + shift, length
                )

    def _describe(self, number: int, own_at: int, contig_start: int, length: int) -> Copy:
        forward, reverse = self._starts[2 * number : 2 * number + 2]
        if own_at < reverse:
            return Copy(length, own_at - forward, self._contig, contig_start, "+")
        start = self._lengths[number] - (own_at - reverse) - length
        return Copy(length, start, self._contig, contig_start, "-")

    def finish(self) -> list[Copy]:
        """What was found."""
        covered = np.cumsum(self._changes) > 0
        copies = []
        for number, one in enumerate(self._best):
            length = self._lengths[number]
            forward, reverse = (
                covered[start : start + length]
                for start in self._starts[2 * number : 2 * number + 2]
            )
            copied = int(np.count_nonzero(forward | reverse[::-1]))
            copies.append(
                Copy(one.length, one.start, one.contig, one.contig_start, one.strand, copied)
            )
        return copies


def _as_codes(text: bytes, other: int) -> Codes:
    """A number for each base; ``other`` for every other letter."""
    table = bytearray([other] * 256)
    for code, base in enumerate(b"ACGT"):
        table[base] = code
    return np.frombuffer(text.translate(bytes(table)), dtype=np.uint8)


def _as_words(codes: Codes) -> npt.NDArray[np.uint64]:
    """The numbers of eight bases in one, from each base on that has seven after it."""
    buffer = np.ascontiguousarray(codes)
    return np.ndarray((len(buffer) - _WORD + 1,), dtype="<u8", buffer=buffer, strides=(1,))


def _list_seeds(codes: Codes) -> tuple[npt.NDArray[np.int32], Places]:
    """The words of ``SEED`` bases without another letter, as numbers, and where they begin."""
    num = max(0, len(codes) - SEED + 1)
    seeds = np.zeros(num, dtype=np.int32)
    is_dna = np.ones(num, dtype=np.bool_)
    for shift in range(SEED):
        letters = codes[shift : shift + num]
        seeds <<= 2
        seeds |= letters & 3
        is_dna &= letters < _NO_BASE
    places = np.flatnonzero(is_dna)
    return seeds[places], places
