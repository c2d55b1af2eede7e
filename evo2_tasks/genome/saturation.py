"""Saturation sets: every change of some kinds at every position of the regions of a BED file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.bed import CARRY_FIELDS, Feature, Interval, read_features
from evo2_tasks.genome.records import CarryField, InvalidRecord, NoAllele, Record
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

logger = logging.getLogger(__name__)

Kind = Literal["snv", "deletion", "insertion", "codon"]

BASES = "ACGT"
CODONS = tuple(map("".join, product(BASES, repeat=3)))
MAX_ALLELES = 2**31 - 1
"""Alleles of a region: their numbers have 32 bits."""

_CHUNK_BASES = 1 << 16
# Alleles that start at one position at most, those of a base other than A, C, G and T.
_MOST_ALLELES: Mapping[Kind, int] = {"snv": 4, "deletion": 1, "insertion": 4, "codon": 64}


class _Site(NamedTuple):
    """Alleles of one position, as VCF spells them."""

    pos: int
    ref: str
    alts: Sequence[str]


class SaturationReader:
    """The alleles of the regions of a BED file, made while they are read.

    The alleles of a region rise with their position. At each there are, in this order: the deletion
    of the base, the other bases instead of it, the bases inserted after it, and the other codons
    instead of the one that begins there. A region that has none (it is on an unknown contig, or
    holds no codon), and the part of one that is past the end of its contig, is a `NoAllele`.

    Args:
        path: The BED file.
        carry: Of ``name``, ``score`` and ``strand``, those to carry along.
        kinds: What to make.
        reference: The sequences that have the bases.
    """

    def __init__(
        self, path: Path, carry: Sequence[str], kinds: Collection[Kind], reference: Reference
    ) -> None:
        for name in carry:
            if name not in CARRY_FIELDS:
                raise InputError(
                    f"{shown_path(path)}: carry: '{shown(name)}' is no column of a BED file; there "
                    f"are: {', '.join(CARRY_FIELDS)}."
                )
        self.path = path
        self.carry_fields: tuple[CarryField, ...] = tuple(CARRY_FIELDS[name] for name in carry)
        self._columns = [list(CARRY_FIELDS).index(name) for name in carry]
        self._kinds = frozenset(kinds)
        self._reference = reference
        self._num_split_codons = 0

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """The alleles in the order of the file, a region as one record."""
        self._num_split_codons = 0
        for feature in read_features(self.path):
            if isinstance(feature, InvalidRecord):
                yield feature
            else:
                yield from self._saturate(feature)

    def log_problems(self) -> None:
        """Say how many codons have no alleles, since their bases do not lie side by side."""
        if self._num_split_codons:
            logger.warning(
                "%s: codons that lie in two blocks and have no alleles: %d",
                shown_path(self.path),
                self._num_split_codons,
            )

    def _saturate(self, feature: Feature) -> Iterator[Record | NoAllele | InvalidRecord]:
        carried = tuple(feature.texts[column] for column in self._columns)
        contig = self._reference.resolve(feature.contig)
        if contig is None:
            yield NoAllele(feature.contig, feature.start + 1, "contig_not_found", carried)
            return
        length = self._reference.contigs[contig]
        num_bases = max(0, min(feature.end, length) - feature.start)
        if num_bases * sum(_MOST_ALLELES[kind] for kind in self._kinds) > MAX_ALLELES:
            place = f"{shown(feature.contig)}:{feature.start + 1}-{feature.end}"
            yield InvalidRecord(f"{place} may have more than {MAX_ALLELES:,} alleles; cut it up")
            return
        goes_on = feature.end > length
        if goes_on:
            pos = max(feature.start, length) + 1
            yield NoAllele(feature.contig, pos, "position_out_of_range", carried)
        for pos, ref, alts in self._make_sites(feature, contig, length):
            of_alts = (carried,) * len(alts) if carried else ()
            yield Record(feature.contig, pos, ref, alts, None, of_alts, goes_on)
            goes_on = True
        if not goes_on:
            yield NoAllele(feature.contig, feature.start + 1, "missing_allele", carried)

    def _make_sites(self, feature: Feature, contig: str, length: int) -> Iterator[_Site]:
        codons = dict.fromkeys(feature.blocks, range(0))
        if "codon" in self._kinds:
            codons, num_split = find_codons(feature)
            self._num_split_codons += num_split
        for start, end in feature.blocks:
            for first in range(start, min(end, length), _CHUNK_BASES):
                last = min(first + _CHUNK_BASES, end, length)
                yield from self._make_chunk(contig, length, (first, last), codons[start, end])

    def _make_chunk(
        self, contig: str, length: int, chunk: Interval, codons: range
    ) -> Iterator[_Site]:
        """The sites of a piece of a block, whose codons start where ``codons`` says."""
        has_deletions = "deletion" in self._kinds
        has_alts = not self._kinds.isdisjoint(("snv", "insertion"))
        first, last = chunk
        # One base before for the anchor of a deletion, two after for the rest of a codon.
        origin = max(0, first - 1)
        bases = self._reference.fetch(contig, origin, min(last + 2, length))
        for start in range(first, last):
            at = start - origin
            base = bases[at]
            if has_deletions and start:
                yield _Site(start, bases[at - 1 : at + 1], bases[at - 1])
            elif has_deletions:  # the first base of a contig has only the one after it for anchor
                yield _Site(1, bases[:2], [bases[1:2]])
            if has_alts:
                yield _Site(start + 1, base, _make_alts(base, self._kinds))
            if start in codons and start + 3 <= length:
                codon = bases[at : at + 3]
                yield _Site(start + 1, codon, _other_codons(codon))


def find_codons(feature: Feature) -> tuple[dict[Interval, range], int]:
    """Where codons begin whose three bases lie side by side.

    They are counted along the strand from the beginning of the coding part, over the blocks; bases
    that are left at its end make no codon.

    Returns:
        The first positions by block, and the number of codons that lie in two blocks or more.
    """
    thick_start, thick_end = feature.thick
    coding = [(max(start, thick_start), min(end, thick_end)) for start, end in feature.blocks]
    num_bases = sum(max(0, end - start) for start, end in coding)
    # What is left over lies before the first codon of the contig if reading comes from the right.
    to_skip = num_bases % 3 if feature.strand == "-" else 0
    codons: dict[Interval, range] = {}
    num_before = 0
    for block, (start, end) in zip(feature.blocks, coding, strict=True):
        codons[block] = range(start + (to_skip - num_before) % 3, end - 2, 3)
        num_before += max(0, end - start)
    return codons, num_bases // 3 - sum(map(len, codons.values()))


@cache
def _make_alts(base: str, kinds: frozenset[Kind]) -> tuple[str, ...]:
    """The other bases, and the base with one after it."""
    alts = [other for other in BASES if other != base] if "snv" in kinds else []
    return (*alts, *(base + other for other in BASES if "insertion" in kinds))


@cache
def _other_codons(codon: str) -> tuple[str, ...]:
    return tuple(other for other in CODONS if other != codon)
