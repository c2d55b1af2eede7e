"""The genome of a sample: the reference with the alleles that one of its haplotypes carries.

Its coordinates are those of the reference. A base of the reference that the haplotype lacks has no
place in the genome; a base that the haplotype inserts has no coordinate. A change of the genome is
spelled as in VCF: ``ref`` is what the genome has from ``pos`` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from evo2_tasks.genome.alleles import TrimmedAllele, judge_bases, judge_text, trim
from evo2_tasks.genome.assembly import RefMatches
from evo2_tasks.genome.chromosomes import PlacedHaplotype
from evo2_tasks.genome.genotypes import Genotypes
from evo2_tasks.genome.haplotype_windows import Background, make_haplotype, place_on
from evo2_tasks.genome.haplotypes import Haplotypes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_layout import (
    TO_SCORE,
    PlacedAllele,
    PlacedChange,
    WindowSettings,
    find_limits,
    find_tile,
    left_align,
    why_too_long,
)
from evo2_tasks.genome.window_pairs import Edit
from evo2_tasks.genome.windows import Contig, place_allele

_SAMPLE: Final = 0


class SpelledChange(NamedTuple):
    """A change of a genome, spelled as in VCF."""

    pos: int
    ref: str
    alt: str


class GenomeContig:
    """A contig of a genome, with the alleles of one phase set.

    Args:
        contig: The contig of the reference.
        edits: The alleles of the haplotype, 0-based on the contig.
    """

    def __init__(self, contig: Contig, edits: Sequence[Edit]) -> None:
        self._contig = contig
        self._haplotype = make_haplotype(contig, edits, ())

    def has(self, position: int) -> bool:
        """Whether the genome has a base of the reference, 0-based, or one in its place."""
        return self._haplotype.find_place(position) is not None

    def read(self, start: int, end: int) -> str | None:
        """The genome's bases at some bases of the reference.

        Args:
            start: The first base, 0-based on the reference.
            end: The base after the last one.

        Returns:
            None if the genome lacks one of them, or has other bases between them.
        """
        places = [self._haplotype.find_place(base) for base in range(start, end)]
        first = places[0]
        if first is None or any(
            place is None or place != self._haplotype.wrap(first + offset)
            for offset, place in enumerate(places)
        ):
            return None
        return self._haplotype.fetch(first, first + end - start)

    def read_on(self, start: int, num: int) -> str:
        """The bases of the genome from a base of the reference on, which it does not lack.

        Args:
            start: The base, 0-based on the reference.
            num: Number of bases. Fewer are read at the end of a linear contig.
        """
        haplotype = self._haplotype
        first = haplotype.find_edit(start, start + 1)
        end = first + num
        return haplotype.fetch(first, end if haplotype.circular else min(end, haplotype.length))

    def read_between(self, first: int, last: int) -> str:
        """The bases of the genome from a base of the reference to another, both of which it has."""
        haplotype = self._haplotype
        end = haplotype.find_edit(last, last + 1) + 1
        return haplotype.fetch(haplotype.find_edit(first, first + 1), end)

    def place(
        self, start: int, ref: str, alt: str, settings: WindowSettings, *, is_alias: bool
    ) -> PlacedChange:
        """Find the status of a change, and place its windows.

        Args:
            start: The base of the reference that ``ref`` begins with, 0-based.
            ref: Bases of the genome.
            alt: What takes their place.
            settings: The window settings of the scoring.
            is_alias: Whether the input has another name for the contig.
        """
        full, name = self._haplotype, self._contig.name
        first = full.find_place(start)
        if first is None or self.read_on(start, len(ref)) != ref:
            return _without_windows("ref_mismatch", "other_bases", name)
        changed = trim(first, ref, alt)
        verdict = judge_text(ref, alt) or judge_bases(changed.ref, changed.alt)
        if verdict is not None:
            return _without_windows(*verdict, name)
        limits = find_limits(settings, full)
        reason = why_too_long(len(changed.ref), len(changed.alt), limits.max_allele_length)
        if reason is not None:
            return _without_windows("too_long", reason, name)
        aligned, shift, differs = left_align(changed, full)
        low = aligned.start - limits.window_length // 2
        if settings.window_placement == "tiled":
            low = self._find_tile(aligned.start, settings)
        offset = None if settings.window_placement == "centered" else aligned.start - low
        high = low + limits.window_length
        # The alternate window of a deletion reads as many bases more on either side. The windows
        # and the allele as it is spelled are on one stretch.
        extra = max(0, len(ref) - len(alt))
        spelled = aligned.start + shift - (changed.start - first)
        edits = full.find_edits(min(low - extra, spelled), max(high + extra, spelled + len(ref)))
        local = make_haplotype(self._contig, edits, ())
        background = Background(tuple(edits), (), shift, differs, offset)
        place = local.find_edit(start, start + 1) + changed.start - first
        placed = place_on(
            local,
            TrimmedAllele(local.wrap(place), changed.ref, changed.alt),
            background,
            settings,
            is_alias=is_alias,
            is_moved=False,
        )
        if placed.window_start is None or placed.window_end is None:
            return PlacedChange(placed, None, None)
        low, high = local.find_bounds(placed.window_start, placed.window_end)
        if self._contig.circular:
            # Of a circle, the turn in which windows of the reference begin.
            turn = low
            if settings.window_placement == "centered":
                place = local.wrap(place - shift)
                turn, _ = local.find_bounds(place, place + 1)
            turn -= turn % self._contig.length
            low, high = low - turn, high - turn
        return PlacedChange(placed, low, high)

    def _find_tile(self, place: int, settings: WindowSettings) -> int:
        """Start of the tiled window of a change, 0-based on the haplotype.

        It is where the haplotype has the first base of the tiled window of the reference, or the
        next base that it has.

        Args:
            place: Where the change is on the haplotype, left-aligned.
            settings: The window settings of the scoring.
        """
        contig, full = self._contig, self._haplotype
        limits = find_limits(settings, contig)
        tile = find_tile(
            full.find_base(place) - limits.window_length // 2, contig, limits.window_step
        )
        start = full.find_next(tile)
        return place - (place - start) % full.length if contig.circular else start


class SampleGenome:
    """The genome that one haplotype of a sample makes of a reference.

    Args:
        variants: All alleles of the file with the genotypes, in its order.
        genotypes: Who carries them: one sample.
        reference: The reference.
        haplotype: Place of the haplotype in GT, from 1.

    Attributes:
        matches: How many REF alleles match the reference.
        contigs: Names of the reference contigs on which the sample has alleles.
        num_of_others: Alleles whose genotypes have no such haplotype, for example haploid ones.
    """

    def __init__(
        self,
        variants: Iterable[Variant],
        genotypes: Genotypes,
        reference: Reference,
        haplotype: int,
    ) -> None:
        self._haplotypes = Haplotypes(variants, genotypes, reference)
        self._reference = reference
        self._place = haplotype
        alleles = self._haplotypes.alleles
        self.matches = RefMatches.count(alleles.statuses)
        self.contigs = frozenset(alleles.contigs)
        whole = genotypes.everywhere
        of_place = {*alleles.entry[whole & (genotypes.haplotype == haplotype)].tolist()}
        self.num_of_others = len({*alleles.entry[whole].tolist()} - of_place)
        self._contigs: dict[tuple[str, tuple[int, int] | None], GenomeContig] = {}

    def read(self, contig: str, start: int, end: int) -> str | None:
        """The bases of the genome at some bases of the reference.

        Args:
            contig: Name of the reference contig.
            start: The first base, 0-based on the reference.
            end: The base after the last one.

        Returns:
            None if the genome lacks one of them, or has other bases between them.
        """
        return self._find_contig(contig, start, end).read(start, end)

    def spell_deletion(self, contig: str, start: int) -> SpelledChange | None:
        """The deletion of a base of the genome; None if the genome does not have the base.

        It is anchored by the base on the left, as in VCF. If the genome has another neighbour there
        than the reference, it is anchored by the next base of the genome.

        Args:
            contig: Name of the reference contig.
            start: The base, 0-based on the reference.
        """
        length = self._reference.contigs[contig]
        if start:
            both = self.read(contig, start - 1, start + 1)
            if both is not None:
                return SpelledChange(start, both, both[0])
        on = self._find_contig(contig, start, min(start + 2, length))
        if not on.has(start):
            return None
        if start + 1 < length:
            bases = on.read_on(start, 2)
            if bases[1:]:
                return SpelledChange(start + 1, bases, bases[1])
        anchor = next(filter(on.has, range(start - 1, -1, -1)), start)
        bases = on.read_between(anchor, start)
        return SpelledChange(anchor + 1, bases, bases[:-1])

    def place(self, variant: Variant, settings: WindowSettings) -> PlacedChange:
        """Find the status of a change of the genome, and place its windows.

        Args:
            variant: The change. It may already have a status from the reader of the file.
            settings: The window settings of the scoring.
        """
        name = None if variant.contig is None else self._reference.resolve(variant.contig)
        chromosome = None if name is None else self._haplotypes.chromosome(_SAMPLE, name)
        ref, alt = variant.ref, variant.alt
        if name is None or chromosome is None or variant.status or ref is None or alt is None:
            placed = place_allele(variant, self._reference, settings)
            return PlacedChange(placed, placed.window_start, placed.window_end)
        start = variant.start
        on = chromosome.find_haplotype(start, start + len(ref), self._place)
        is_alias = variant.contig != name
        change = self._open(name, on).place(start, ref, alt, settings, is_alias=is_alias)
        placed, first, end = change
        if placed.status != TO_SCORE or first is None or end is None:
            return change
        flags = (*placed.flags, *chromosome.find_remarks(on.key, (first, end), self._place))
        length = self._reference.contigs[name]
        if self._reference.fetch(name, start, min(start + len(ref), length)) != ref:
            flags += ("haplotype_ref",)
        return PlacedChange(placed._replace(flags=flags), first, end)

    def _find_contig(self, contig: str, start: int, end: int) -> GenomeContig:
        """The contig with the alleles of the phase set at some bases."""
        chromosome = self._haplotypes.chromosome(_SAMPLE, contig)
        if chromosome is None:
            return self._open(contig, None)
        return self._open(contig, chromosome.find_haplotype(start, end, self._place))

    def _open(self, contig: str, on: PlacedHaplotype | None) -> GenomeContig:
        key = contig, on and on.key
        found = self._contigs.get(key)
        if found is None:
            length, circular = self._reference.contigs[contig], self._reference.is_circular(contig)
            edits = [] if on is None else on.edits.edits()
            found = GenomeContig(Contig(self._reference, contig, length, circular), edits)
            self._contigs[key] = found
        return found


def _without_windows(status: str, reason: str | None, contig: str) -> PlacedChange:
    return PlacedChange(PlacedAllele(status, reason, reference_contig=contig), None, None)
