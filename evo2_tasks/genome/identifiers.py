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
from evo2_tasks.genome.windows import ResolvedAllele, resolve_allele

if TYPE_CHECKING:
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference

IdentifierKind = Literal["vrs", "spdi"]

MAX_SHIFT = 10_000
"""An insertion or deletion that can be placed over more bases than this has no identifiers."""


class Identifiers(NamedTuple):
    """The identifiers of an allele; null if it has none or was not asked for.

    Attributes:
        vrs_id: Computed identifier of GA4GH VRS 2, ``ga4gh:VA.`` and 32 characters.
        spdi: The contextual allele in SPDI notation, with the name of the reference contig.
    """

    vrs_id: str | None = None
    spdi: str | None = None


class _Justified(NamedTuple):
    """An allele that is expanded over the region in which it can be placed.

    Attributes:
        start: Start of the region, 0-based.
        end: End of the region, 0-based and exclusive.
        ref: The bases of the reference in the region.
        alt: The bases that replace them.
        unit: The inserted or deleted bases, in one of their spellings; empty for a substitution.
    """

    start: int
    end: int
    ref: str
    alt: str
    unit: str


def identify(
    variant: Variant, reference: Reference, kinds: Collection[IdentifierKind]
) -> Identifiers:
    """The identifiers of an allele.

    On a circular contig they are those of the linear sequence, as in other programs. An allele
    that is spelled across position 0 has none.

    Args:
        variant: One row of the input. If its change is not known (its REF is not in the reference,
            it is not spelled in A, C, G and T, a filter leaves it out), it has no identifiers.
        reference: The sequences that the variant changes.
        kinds: The identifiers to compute.
    """
    allele = resolve_allele(variant, reference)
    justified = None if allele is None else _justify(allele, reference)
    if allele is None or justified is None:
        return Identifiers()
    contig = allele.reference_contig
    vrs_id = spdi = None
    if "vrs" in kinds:
        vrs_id = _make_vrs_id(reference.refget_accession(contig), justified)
    if "spdi" in kinds:
        spdi = f"{contig}:{justified.start}:{justified.ref}:{justified.alt}"
    return Identifiers(vrs_id, spdi)


def _justify(allele: ResolvedAllele, reference: Reference) -> _Justified | None:
    """Expand an allele over the region in which it can be placed.

    Where the reference has an IUPAC letter, the region has that letter, and not the base of REF.

    Returns:
        None if the allele goes across position 0 of a circular contig, or if the region is too
        long.

    Source:
        Holmes et al. 2020, SPDI: data model for variants and applications at NCBI, and GA4GH VRS
        2.0, allele normalization, steps 1 to 4.
    """
    contig, (start, ref, alt) = allele
    length = reference.contigs[contig]
    if start + len(ref) > length and start >= length:  # spelled from before position 0 on
        start -= length
    end = start + len(ref)
    if end > length:
        return None
    fetch = partial(reference.fetch, contig)
    ref = fetch(start, end)
    if ref and alt:
        return _Justified(start, end, ref, alt, "")
    unit = ref or alt
    left = count_left_shift(fetch, start, unit, min(start, MAX_SHIFT + 1))
    right = count_right_shift(fetch, end, unit, min(length - end, MAX_SHIFT + 1 - left))
    if left + right > MAX_SHIFT:
        return None
    before, after = fetch(start - left, start), fetch(end, end + right)
    return _Justified(start - left, end + right, before + ref + after, before + alt + after, unit)


def _make_vrs_id(accession: str, allele: _Justified) -> str:
    """The computed identifier of an allele.

    Args:
        accession: Refget accession of the sequence.
        allele: The fully justified allele.

    Source:
        GA4GH VRS 2.0, computed identifiers: the digest of the canonical JSON of the allele, in
        which the digest of the location's canonical JSON stands for the location.
    """
    location = sha512t24u(
        f'{{"end":{allele.end},"sequenceReference":{{"refgetAccession":"{accession}",'
        f'"type":"SequenceReference"}},"start":{allele.start},"type":"SequenceLocation"}}'.encode()
    )
    subunit = _find_subunit(allele)
    if subunit is None:
        state = f'{{"sequence":"{allele.alt}","type":"LiteralSequenceExpression"}}'
    else:
        state = (
            f'{{"length":{len(allele.alt)},"repeatSubunitLength":{subunit},'
            '"type":"ReferenceLengthExpression"}'
        )
    digest = sha512t24u(f'{{"location":"{location}","state":{state},"type":"Allele"}}'.encode())
    return f"ga4gh:VA.{digest}"


def _find_subunit(allele: _Justified) -> int | None:
    """Length of the part of the reference of which the alternate sequence is a repeat.

    Returns:
        None if the alternate sequence is not a repeat of the reference, and is spelled.

    Source:
        GA4GH VRS 2.0, allele normalization, step 5.
    """
    size, num_ref = len(allele.unit), len(allele.ref)
    if num_ref > len(allele.alt) and allele.unit:
        return size
    if not allele.unit or not num_ref:
        return None
    if num_ref >= size:
        return size
    # The subunit is the longest that fits into the reference and repeats to the inserted bases:
    # a multiple of their shortest period.
    period = (allele.unit * 2).find(allele.unit, 1)
    num_periods = size // period
    fitting = [n for n in range(1, num_ref // period + 1) if num_periods % n == 0]
    return period * fitting[-1] if fitting else None
