"""Identifiers of an allele in other databases: GA4GH VRS and SPDI.

Both describe an insertion or deletion in a repeat by the whole region in which it can be placed, so
that all its spellings have one identifier.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.genome.alleles import count_left_shift, count_right_shift
from evo2_tasks.genome.fasta import sha512t24u
from evo2_tasks.genome.windows import resolve_allele

if TYPE_CHECKING:
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference
    from evo2_tasks.genome.windows import ResolvedAllele

IdentifierKind = Literal["vrs", "spdi"]

MAX_SHIFT = 100_000
"""An insertion or deletion that can move over more bases than this has no identifiers."""

MAX_SPDI_BASES = 10_000
"""An allele whose SPDI would have more bases than this has none."""


class Identifiers(NamedTuple):
    """The identifiers of an allele; null if it has none or was not asked for.

    Attributes:
        vrs_id: Computed identifier of GA4GH VRS 2, ``ga4gh:VA.`` and 32 characters.
        spdi: The contextual allele in SPDI notation, with the name of the reference contig.
    """

    vrs_id: str | None = None
    spdi: str | None = None


class _Justified(NamedTuple):
    """An allele, and how far it can move.

    Attributes:
        start: First replaced base, 0-based; for an insertion the base after it.
        end: Base after the last replaced one.
        alt: The bases that replace them.
        unit: The inserted or deleted bases; empty for a substitution, which cannot move.
        left: Number of bases by which the allele can move to the left.
        right: Number of bases by which it can move to the right.
    """

    start: int
    end: int
    alt: str
    unit: str
    left: int = 0
    right: int = 0

    @property
    def first(self) -> int:
        """First base of the region in which the allele can be placed, 0-based."""
        return self.start - self.left

    @property
    def last(self) -> int:
        """Base after the last one of that region."""
        return self.end + self.right

    @property
    def num_alt(self) -> int:
        """Number of bases that replace the region."""
        return self.left + len(self.alt) + self.right


def identify(
    variant: Variant, reference: Reference, kinds: Collection[IdentifierKind]
) -> Identifiers:
    """The identifiers of an allele.

    On a circular contig they are those of the linear sequence, as in other programs. An allele
    that replaces bases on both sides of position 0 has none.

    Args:
        variant: One row of the input. If its change is not known (its REF is not in the reference,
            it is not spelled in A, C, G and T, a filter leaves it out), it has no identifiers.
        reference: The sequences that the variant changes.
        kinds: The identifiers to compute.
    """
    resolved = resolve_allele(variant, reference)
    allele = None if resolved is None else _justify(resolved, reference)
    if resolved is None or allele is None:
        return Identifiers()
    contig = resolved.reference_contig
    return Identifiers(
        _make_vrs_id(allele, contig, reference) if "vrs" in kinds else None,
        _make_spdi(allele, contig, reference) if "spdi" in kinds else None,
    )


def _justify(resolved: ResolvedAllele, reference: Reference) -> _Justified | None:
    """Find out how far an allele can move.

    Letters of the reference other than A, C, G and T are compared as letters, and so is an IUPAC
    letter for which VCF spells a base in REF.

    Returns:
        None if the allele replaces bases on both sides of position 0 of a circular contig, or if it
        can move too far.

    Source:
        Holmes et al. 2020, SPDI: data model for variants and applications at NCBI; GA4GH VRS 2.0,
        allele normalization, steps 1 to 3.
    """
    contig, (start, ref, alt) = resolved
    length = reference.contigs[contig]
    if start >= length and start + len(ref) > length:  # spelled from before position 0 on
        start -= length
    end = start + len(ref)
    if end > length:
        return None
    if ref and alt:
        return _Justified(start, end, alt, "")
    fetch = partial(reference.fetch, contig)
    unit = alt or fetch(start, end)
    left = count_left_shift(fetch, start, unit, min(start, MAX_SHIFT + 1))
    right = count_right_shift(fetch, end, unit, min(length - end, MAX_SHIFT + 1 - left))
    return None if left + right > MAX_SHIFT else _Justified(start, end, alt, unit, left, right)


def _make_spdi(allele: _Justified, contig: str, reference: Reference) -> str | None:
    """The SPDI of an allele; None if it would be too long."""
    if allele.last - allele.first + allele.num_alt > MAX_SPDI_BASES:
        return None
    deleted = reference.fetch(contig, allele.first, allele.last)
    return f"{contig}:{allele.first}:{deleted}:{_spell_alt(allele, contig, reference)}"


def _make_vrs_id(allele: _Justified, contig: str, reference: Reference) -> str:
    """The computed identifier of an allele.

    Source:
        GA4GH VRS 2.0, allele normalization, steps 4 and 5, and computed identifiers: the digest of
        the canonical JSON of the allele, which has the digest of the location's canonical JSON in
        place of the location.
    """
    accession = reference.refget_accession(contig)
    location = sha512t24u(
        f'{{"end":{allele.last},"sequenceReference":{{"refgetAccession":"{accession}",'
        f'"type":"SequenceReference"}},"start":{allele.first},"type":"SequenceLocation"}}'.encode()
    )
    subunit = _find_subunit(allele)
    if subunit is None:
        bases = _spell_alt(allele, contig, reference)
        state = f'{{"sequence":"{bases}","type":"LiteralSequenceExpression"}}'
    else:
        state = (
            f'{{"length":{allele.num_alt},"repeatSubunitLength":{subunit},'
            '"type":"ReferenceLengthExpression"}'
        )
    digest = sha512t24u(f'{{"location":"{location}","state":{state},"type":"Allele"}}'.encode())
    return f"ga4gh:VA.{digest}"


def _find_subunit(allele: _Justified) -> int | None:
    """Length of the bases of the region that, repeated, give the bases that replace it.

    Returns:
        None if there are no such bases: those that replace the region have to be spelled.

    Source:
        GA4GH VRS 2.0, allele normalization, step 5.
    """
    num_ref, num_unit = allele.last - allele.first, len(allele.unit)
    if not num_unit or not num_ref:
        return None
    if num_ref >= num_unit:  # all deletions, and insertions of what is there
        return num_unit
    # The longest part of the inserted bases that fits into the region and of which they are a
    # repeat: a multiple of their shortest period.
    period = (allele.unit * 2).find(allele.unit, 1)
    num_periods = num_unit // period
    fitting = [n for n in range(1, num_ref // period + 1) if num_periods % n == 0]
    return period * fitting[-1] if fitting else None


def _spell_alt(allele: _Justified, contig: str, reference: Reference) -> str:
    """The bases that replace the region in which an allele can be placed."""
    before = reference.fetch(contig, allele.first, allele.start)
    return before + allele.alt + reference.fetch(contig, allele.end, allele.last)
