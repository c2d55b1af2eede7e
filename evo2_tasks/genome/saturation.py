"""Saturation sets: all alleles of the chosen kinds at every position of a BED file's regions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    from evo2_tasks.genome.sample_genomes import SampleGenome

logger = logging.getLogger(__name__)

Kind = Literal["snv", "deletion", "insertion", "codon"]

BASES = "ACGT"
CODONS = tuple(map("".join, product(BASES, repeat=3)))
MAX_ALLELES = 2**31 - 1
"""Largest number of alleles of a region: the numbers of alleles have 32 bits."""

_CHUNK_BASES = 1 << 16
# Largest number of alleles at one position. A base other than A, C, G and T has the most.
_MOST_ALLELES: Mapping[Kind, int] = {"snv": 4, "deletion": 1, "insertion": 4, "codon": 64}


class _Site(NamedTuple):
    """Alleles with the same position and REF, spelled as in VCF; or why they are left out."""

    pos: int
    ref: str
    alts: Sequence[str]
    left_out: str | None = None


class SaturationReader:
    """Reads the regions of a BED file and makes their alleles on the way.

    The alleles of a region are sorted by position. At each position they come in this order: the
    deletion of the base, its substitutions, the insertions after it, and the replacements of the
    codon that begins there. A region without alleles (on an unknown contig, or without a codon)
    becomes a `NoAllele`; so does the part of a region that is past the end of its contig.

    In the genome of a sample, the alleles change the bases of the genome, at the positions of the
    reference. Of a base that the genome lacks, or a codon whose bases are not adjacent there, the
    alleles are those of the reference, and left out. Bases that the genome inserts have no alleles.

    Args:
        path: The BED file.
        carry: Columns to carry along, of ``name``, ``score`` and ``strand``.
        kinds: Kinds of alleles to make.
        reference: The reference that the regions refer to.
        read_regions: Reads the regions of the file; an interval list has a reader of its own.
        genome: The genome of a sample that takes the place of the reference, if there is one.

    Raises:
        InputError: ``carry`` names a column that BED does not have.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str],
        kinds: Collection[Kind],
        reference: Reference,
        read_regions: Callable[[Path], Iterator[Feature | InvalidRecord]] = read_features,
        genome: SampleGenome | None = None,
    ) -> None:
        for name in carry:
            if name not in CARRY_FIELDS:
                raise InputError(
                    f"{shown_path(path)}: carry: '{shown(name)}' is not a column of a BED file; "
                    f"expected one of: {', '.join(CARRY_FIELDS)}."
                )
        self.path = path
        self.carry_fields: tuple[CarryField, ...] = tuple(CARRY_FIELDS[name] for name in carry)
        self._columns = [list(CARRY_FIELDS).index(name) for name in carry]
        self._kinds = frozenset(kinds)
        self._reference = reference
        self._read_regions = read_regions
        self._genome = genome
        self._num_split_codons = 0

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """The alleles in the order of the file; each region is one record."""
        self._num_split_codons = 0
        for feature in self._read_regions(self.path):
            if isinstance(feature, InvalidRecord):
                yield feature
            else:
                yield from self._saturate(feature)

    def log_problems(self) -> None:
        """Log the number of codons without alleles: their bases are in two blocks or more."""
        if self._num_split_codons:
            logger.warning(
                "%s: codons without alleles, because they span several blocks: %d",
                shown_path(self.path),
                self._num_split_codons,
            )

    def _saturate(self, feature: Feature) -> Iterator[Record | NoAllele | InvalidRecord]:
        carried = tuple(feature.texts[column] for column in self._columns)
        contig = self._reference.resolve(feature.contig)
        if contig is None:
            reason = self._reference.why_not_found(feature.contig)
            yield NoAllele(feature.contig, feature.start + 1, "contig_not_found", reason, carried)
            return
        length = self._reference.contigs[contig]
        num_bases = max(0, min(feature.end, length) - feature.start)
        if num_bases * sum(_MOST_ALLELES[kind] for kind in self._kinds) > MAX_ALLELES:
            place = f"{shown(feature.contig)}:{feature.start + 1}-{feature.end}"
            explanation = f"{place} may have more than {MAX_ALLELES:,} alleles; split it"
            yield InvalidRecord("too_many_alleles", explanation)
            return
        goes_on = feature.end > length
        if goes_on:
            pos = max(feature.start, length) + 1
            yield NoAllele(feature.contig, pos, "position_out_of_range", "after_end", carried)
        for pos, ref, alts, left_out in self._make_sites(feature, contig, length):
            carried_by_alt = (carried,) * len(alts) if carried else ()
            yield Record(
                feature.contig, pos, ref, alts, None, carried_by_alt, goes_on, left_out=left_out
            )
            goes_on = True
        if not goes_on:
            yield NoAllele(feature.contig, feature.start + 1, "missing_allele", "no_codon", carried)

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
        """The sites of a piece of a block; ``codons`` are the positions where codons begin."""
        has_deletions = "deletion" in self._kinds
        has_alts = not self._kinds.isdisjoint(("snv", "insertion"))
        first, last = chunk
        # One more base on the left to anchor a deletion, two more on the right to end a codon.
        origin = max(0, first - 1)
        bases = self._reference.fetch(contig, origin, min(last + 2, length))
        for start in range(first, last):
            at = start - origin
            base = bases[at]
            sites = []
            if has_deletions and start:
                sites.append(_Site(start, bases[at - 1 : at + 1], bases[at - 1]))
            elif has_deletions:  # the first base of a contig can only be anchored by the next base
                sites.append(_Site(1, bases[:2], [bases[1:2]]))
            if has_alts:
                sites.append(_Site(start + 1, base, _make_alts(base, self._kinds)))
            if start in codons and start + 3 <= length:
                codon = bases[at : at + 3]
                sites.append(_Site(start + 1, codon, _other_codons(codon)))
            if self._genome is None:
                yield from sites
            else:
                yield from self._change_genome(self._genome, contig, start, sites)

    def _change_genome(
        self, genome: SampleGenome, contig: str, start: int, sites: Sequence[_Site]
    ) -> Iterator[_Site]:
        """The sites of a base in the genome of a sample.

        Args:
            genome: The genome.
            contig: Name of the reference contig.
            start: The base, 0-based.
            sites: The sites of the base in the reference.
        """
        for site in sites:
            found: _Site | None = None
            if len(site.alts[0]) < len(site.ref):
                spelled = genome.spell_deletion(contig, start)
                if spelled is not None:
                    found = _Site(spelled.pos, spelled.ref, [spelled.alt])
            else:
                ref = genome.read(contig, start, start + len(site.ref))
                if ref is not None:
                    alts = _other_codons(ref) if ref[1:] else _make_alts(ref, self._kinds)
                    found = _Site(site.pos, ref, alts)
            yield found or site._replace(left_out="not_in_haplotype")


def find_codons(feature: Feature) -> tuple[dict[Interval, range], int]:
    """Find the codons whose three bases are adjacent on the contig.

    Codons are counted along the strand from the start of the coding part, across the blocks. One or
    two bases left over at the end of the coding part are not a codon.

    Returns:
        The start of each codon (0-based, on the contig) by block, and the number of codons that
        span two blocks or more.
    """
    thick_start, thick_end = feature.thick
    coding = [(max(start, thick_start), min(end, thick_end)) for start, end in feature.blocks]
    num_bases = sum(max(0, end - start) for start, end in coding)
    # On the reverse strand the bases left over come first on the contig.
    to_skip = num_bases % 3 if feature.strand == "-" else 0
    codons: dict[Interval, range] = {}
    num_before = 0
    for block, (start, end) in zip(feature.blocks, coding, strict=True):
        codons[block] = range(start + (to_skip - num_before) % 3, end - 2, 3)
        num_before += max(0, end - start)
    return codons, num_bases // 3 - sum(map(len, codons.values()))


@cache
def _make_alts(base: str, kinds: frozenset[Kind]) -> tuple[str, ...]:
    """The alt alleles of a base: its substitutions, then the insertions after it."""
    alts = [other for other in BASES if other != base] if "snv" in kinds else []
    return (*alts, *(base + other for other in BASES if "insertion" in kinds))


@cache
def _other_codons(codon: str) -> tuple[str, ...]:
    return tuple(other for other in CODONS if other != codon)
