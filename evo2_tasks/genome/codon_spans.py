"""The codons of transcripts that an allele touches."""

from __future__ import annotations

from typing import NamedTuple

from evo2_tasks.genome.carried_alleles import CarriedAlleles
from evo2_tasks.genome.genes import Genes, Transcript
from evo2_tasks.genome.window_pairs import Interval


class CodonSpan(NamedTuple):
    """Codons of a transcript, one after the other.

    Attributes:
        transcript: Number of the transcript.
        first: Number of the first codon, in reading direction; -1 for an incomplete codon before
            codon 0.
        last: Number of the last codon.
    """

    transcript: int
    first: int
    last: int


class CodonFinder:
    """Finds the codons that carried alleles touch; those of each allele are found once.

    Args:
        genes: The transcripts of the reference.
        alleles: The alleles.
    """

    def __init__(self, genes: Genes, alleles: CarriedAlleles) -> None:
        self._genes = genes
        self._alleles = alleles
        self._found: dict[int, tuple[CodonSpan, ...]] = {}

    def find(self, number: int) -> tuple[CodonSpan, ...]:
        """The codons of all transcripts that a located allele touches.

        Args:
            number: The allele.
        """
        found = self._found.get(number)
        if found is None:
            found = self._found[number] = tuple(self._find(number))
        return found

    def _find(self, number: int) -> list[CodonSpan]:
        alleles = self._alleles
        name = alleles.contigs[alleles.contig[number]]
        contig_end = self._genes.contigs.get(name)
        if contig_end is None:
            return []
        start, end = alleles.start[number], alleles.end[number]
        turns = [0]
        if alleles.reference.is_circular(name):
            length = alleles.reference.contigs[name]
            # A transcript over the origin has bases beyond the length, and so may an allele.
            if contig_end > length:
                turns.append(length)
            if end > length:
                turns.append(-length)
        return [
            CodonSpan(transcript.number, *codons)
            for turn in turns
            for transcript in self._genes.find(name, start + turn - 1, end + turn + 1)
            for codons in find_codon_spans(transcript, start + turn, end + turn)
        ]


def find_codon_spans(transcript: Transcript, start: int, end: int) -> list[Interval]:
    """The codons that an allele touches: it replaces one of their bases, or inserts within them.

    Args:
        transcript: The transcript. If it has no coding parts, it has no codons.
        start: First changed base of the allele, 0-based, as the positions of the transcript.
        end: The base after the last changed one; equal to ``start`` for an insertion.

    Returns:
        Numbers of the first and the last codon in each coding part, from 0 in reading direction.
    """
    forward = transcript.strand == "+"
    before = -transcript.phase
    spans = []
    for first, after in transcript.cds if forward else transcript.cds[::-1]:
        low, high = (start, end) if start < end else (start - 1, start + 1)
        is_inside = first <= low and high <= after
        low, high = max(first, low), min(after, high)
        if low < high and (start < end or is_inside):
            ends = [(before + (one - first if forward else after - 1 - one)) // 3
                    for one in (low, high - 1)]  # fmt: skip
            if start < end or ends[0] == ends[1]:
                spans.append((min(ends), max(ends)))
        before += after - first
    return spans
