"""Compounds: neighbouring alleles of one haplotype, as one allele."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evo2_tasks.genome.carried_alleles import CarriedAlleles
from evo2_tasks.genome.records import SPANS_ORIGIN, Variant
from evo2_tasks.genome.window_pairs import Edit


class Compound(NamedTuple):
    """Neighbouring alleles of one haplotype, as one allele.

    Attributes:
        sample: Index in ``Genotypes.samples``.
        haplotype: Place in GT, from 1.
        phase_set: Name of the phase set; null if it has none.
        members: (record, allele), in the order of the contig.
        edits: Their edits, in the same order, 0-based on the reference contig.
        variant: The joint allele, as a record would state it. `place_allele` places it: its
            background is empty.
    """

    sample: int
    haplotype: int
    phase_set: str | None
    members: tuple[tuple[int, int], ...]
    edits: tuple[Edit, ...]
    variant: Variant


def join_alleles(alleles: CarriedAlleles, members: Sequence[int]) -> Variant:
    """The allele that several alleles of one contig make together.

    Args:
        alleles: All alleles.
        members: Numbers of the alleles, in the order of the contig; no two of them overlap. On a
            circular contig they may go on across position 0.

    Returns:
        The joint allele, spelled as in VCF: with the base before it, or at the start of a linear
        contig the base after it, if REF or ALT would have no bases. REF has the members' bases at
        IUPAC letters of the reference.
    """
    letters = tuple(letter for member in members for letter in alleles.letters(member))
    contig = alleles.reference_contig(alleles.contig[members[0]], letters)
    start = place = alleles.start[members[0]]
    pieces = []
    for member in members:
        edit = alleles.edit(member)
        first = edit.start if edit.start >= place else edit.start + contig.length
        pieces += [contig.fetch(place, first), edit.alt]
        place = first + edit.num_ref
    alt, end = "".join(pieces), place
    if not alt or start == end:
        if start > 0 or contig.circular:
            start -= 1
            alt = contig.fetch(start, start + 1) + alt
        else:
            end += 1
            alt += contig.fetch(end - 1, end)
    ref = contig.fetch(start, end)
    start = contig.wrap(start)
    status = SPANS_ORIGIN if start + len(ref) > contig.length else None
    record, allele = alleles.keys[members[0]]
    return Variant(record, allele, contig.name, start + 1, ref, alt, status)
