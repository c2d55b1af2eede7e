"""Consequences of alleles for the genes of a GFF3 file.

``bcftools csq`` states the effect on each coding transcript with an exon near the allele. The rest
follows from the positions of the transcripts: introns, non-coding transcripts, bases of incomplete
codons. First codons follow NCBI's genetic codes.

The file is long because what csq states and what positions state are decided together, transcript
by transcript.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.codons import (
    STANDARD_CODE,
    START_CODONS,
    Codons,
    read_codons,
)
from evo2_tasks.genome.csq import (
    CsqError,
    Region,
    RegionAllele,
    TranscriptEffect,
    call_csq,
    find_utrs,
    read_effects,
)
from evo2_tasks.genome.genes import Genes, Transcript
from evo2_tasks.genome.protein_changes import ProteinChange, spell_change
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import (
    INTERGENIC,
    Consequence,
    find_most_severe,
    transcript_preference,
)
from evo2_tasks.genome.window_pairs import Interval
from evo2_tasks.genome.windows import align_allele
from evo2_tasks.io.files import temporary_folder
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

CHUNK_ALLELES: Final = 100_000
"""Alleles that are in memory at once."""

CHUNK_BASES: Final = 1 << 24
"""Bases of REF and ALT that are in memory at once: more makes a chunk of fewer alleles."""

PART_TRANSCRIPTS: Final = 20_000
"""Transcripts that are in memory at once: more divides a chunk into several calls of csq."""

PART_PAIRS: Final = 2_000_000
"""Pairs of an allele and a transcript over it that are in memory at once, likewise."""

MAX_CSQ_BASES: Final = 5_000
"""Longest REF or ALT that csq gets: it writes all their bases for each transcript."""

_PREFIX: Final = ".evo2-tasks-csq-"
# csq needs ten bases on each side of a transcript. Splice regions reach eight bases into an intron.
_PADDING: Final = 32
_NEAR_EXON: Final = 10
_MOST_FAILED: Final = 100

_OF_CODONS: Final = frozenset(
    {
        "missense_variant",
        "start_lost",
        "start_retained_variant",
        "stop_gained",
        "stop_lost",
        "stop_retained_variant",
        "synonymous_variant",
    }
)
# csq states these for a replacement of bases by more or fewer ones, in place of the frame's term.
_OF_LENGTH: Final = {
    "feature_elongation": "inframe_insertion",
    "feature_truncation": "inframe_deletion",
}
_OF_FRAME: Final = frozenset({"frameshift_variant", "inframe_deletion", "inframe_insertion"})
_ABLATION: Final = frozenset({"transcript_ablation"})
_SPLICE: Final = frozenset(
    {"splice_acceptor_variant", "splice_donor_variant", "splice_region_variant"}
)
_INTRON: Final = frozenset({"intron_variant"})
_DECAYED_INTRON: Final = _INTRON | {"NMD_transcript_variant"}
_NON_CODING_INTRON: Final = _INTRON | {"non_coding_transcript_variant"}
_NON_CODING_EXON: Final = frozenset({"non_coding_transcript_exon_variant"})
_UTR_TERMS: Final = {
    "five_prime_UTR": "5_prime_UTR_variant",
    "three_prime_UTR": "3_prime_UTR_variant",
}


class _Allele(NamedTuple):
    """An allele whose REF is in the reference, trimmed and left-aligned; hashable."""

    contig: str
    start: int
    ref: str
    alt: str


_Overlaps = list[tuple[int, list[Transcript]]]
"""An allele's first base, counted as the positions of transcripts near it are, and these."""


class _Effect(NamedTuple):
    """The terms of one transcript, and the change of its protein."""

    transcript: Transcript
    terms: frozenset[str]
    change: ProteinChange | None


def annotate_consequences(
    variants: Iterable[Variant],
    genes: Genes,
    reference: Reference,
    *,
    genetic_codes: Mapping[str, int],
    folder: Path,
) -> Iterator[Consequence]:
    """Find the gene and the consequence of each allele.

    Memory is bounded: at most 100,000 alleles and about 20,000 transcripts are in memory at once.
    The alleles may come in any order; sorted ones are fastest.

    Args:
        variants: Alleles, one for each row. Those whose REF is not in the reference, or that are
            not spelled in A, C, G and T, have no consequence.
        genes: The transcripts of the reference.
        reference: The genome.
        genetic_codes: Contigs of the reference, each with the number of NCBI's translation table.
        folder: Folder for temporary files, which are removed.

    Yields:
        One consequence for each allele, in the order of ``variants``.

    Raises:
        InputError: A genetic code is not known, its contig is not in the reference, or the folder
            cannot be written to.
    """
    codes = _resolve_codes(genetic_codes, genes, reference)
    with temporary_folder(folder, _PREFIX) as temporary:
        annotator = _Annotator(genes, reference, codes, temporary)
        for chunk in _gather(variants):
            yield from annotator.annotate(chunk)
    if annotator.without_genes:
        logger.warning(
            "these contigs have alleles and no genes in the GFF, so the alleles are %s: %s",
            INTERGENIC,
            shown(", ".join(annotator.without_genes), 200),
        )


def _resolve_codes(
    genetic_codes: Mapping[str, int], genes: Genes, reference: Reference
) -> dict[str, int]:
    """The genetic code of each contig of the reference that has one of its own."""
    codes = {}
    for contig, code in genetic_codes.items():
        name = reference.find(contig)
        if name is None:
            names = shown(", ".join(islice(reference.contigs, 20)), 200)
            raise InputError(
                f"genetic_codes: '{shown(contig)}' is not a contig of "
                f"{shown_path(reference.path)}, whose contigs are: {names}. Write one of these "
                "names."
            )
        if code not in START_CODONS or code == STANDARD_CODE:
            known = ", ".join(str(one) for one in START_CODONS if one != STANDARD_CODE)
            raise InputError(
                f"genetic_codes: {shown(contig)}: there is no genetic code {code}; expected the "
                f"number of a translation table of NCBI that bcftools csq knows: {known}."
            )
        codes[name] = code
    without = [
        contig
        for contig in genes.contigs
        if contig not in codes
        and (reference.is_circular(contig) or _is_mitochondrial(contig, reference))
        and genes.has_coding(contig)
    ]
    if without:
        logger.warning(
            "genetic_codes has no entry for %s, so the standard genetic code is used; if another "
            "one applies, add it (2 for vertebrate mitochondria, 11 for bacteria and plastids)",
            shown(", ".join(without[:20])),
        )
    return codes


def _is_mitochondrial(contig: str, reference: Reference) -> bool:
    return contig == "MT" or reference.find("MT") == contig


def _gather(variants: Iterable[Variant]) -> Iterator[list[Variant]]:
    chunk: list[Variant] = []
    num_bases = 0
    for variant in variants:
        chunk.append(variant)
        num_bases += variant.num_bases
        if len(chunk) >= CHUNK_ALLELES or num_bases >= CHUNK_BASES:
            yield chunk
            chunk, num_bases = [], 0
    if chunk:
        yield chunk


class _Annotator:
    """Annotates chunks of alleles, one after the other.

    Attributes:
        without_genes: Contigs with alleles and without transcripts.
    """

    def __init__(
        self, genes: Genes, reference: Reference, codes: Mapping[str, int], folder: Path
    ) -> None:
        self._genes = genes
        self._reference = reference
        self._codes = codes
        self._folder = folder
        self._codons: dict[int, Codons] = {}
        self.without_genes: dict[str, None] = {}
        self._num_failed = 0
        self._is_tried = False

    def annotate(self, variants: Sequence[Variant]) -> Iterator[Consequence]:
        """The consequences of a chunk, in its order."""
        placed = self._place(variants)
        made: dict[_Allele, Consequence] = {}
        for alleles, overlaps in self._divide({one for one in placed if one is not None}):
            effects = self._call(alleles, overlaps)
            for number, (allele, found) in enumerate(zip(alleles, overlaps, strict=True)):
                made[allele] = self._combine(allele, found, effects.get(number))
        for one in placed:
            yield Consequence() if one is None else made[one]

    def _place(self, variants: Sequence[Variant]) -> list[_Allele | None]:
        """The allele of each variant, null if its REF is not in the reference.

        They are looked up by position: the reference is slow in random order.
        """
        placed: list[_Allele | None] = [None] * len(variants)
        by_place = sorted((one.contig or "", one.pos or 0, n) for n, one in enumerate(variants))
        for _, _, row in by_place:
            found = align_allele(variants[row], self._reference)
            if found is not None:
                contig, (start, ref, alt) = found
                placed[row] = _Allele(contig, start, ref, alt)
        return placed

    def _divide(
        self, alleles: Iterable[_Allele]
    ) -> Iterator[tuple[list[_Allele], list[_Overlaps]]]:
        """Parts of some alleles, by position, each with a bounded number of transcripts."""
        part: list[_Allele] = []
        overlaps: list[_Overlaps] = []
        numbers: set[int] = set()
        num_pairs = 0
        for allele in sorted(alleles):
            found = self._find_overlaps(allele)
            part.append(allele)
            overlaps.append(found)
            for _, transcripts in found:
                numbers.update(one.number for one in transcripts)
                num_pairs += len(transcripts)
            if len(numbers) >= PART_TRANSCRIPTS or num_pairs >= PART_PAIRS:
                yield part, overlaps
                part, overlaps, numbers, num_pairs = [], [], set(), 0
        if part:
            yield part, overlaps

    def _find_overlaps(self, allele: _Allele) -> _Overlaps:
        """The transcripts with a base within one base of an allele."""
        contig = allele.contig
        end = self._genes.contigs.get(contig)
        if end is None:
            self.without_genes[contig] = None
            return []
        num_ref = len(allele.ref)
        places = [allele.start]
        if self._reference.is_circular(contig):
            length = self._reference.contigs[contig]
            # A transcript over the origin has bases beyond the length, and so may an allele.
            if end > length:
                places.append(allele.start + length)
            if allele.start + num_ref >= length:
                places.append(allele.start - length)
        return [
            (start, self._genes.find(contig, start - 1, start + num_ref + 1)) for start in places
        ]

    def _call(self, alleles: Sequence[_Allele], overlaps: Sequence[_Overlaps]) -> dict[int, str]:
        """What csq states about each allele, by the allele's number."""
        near: dict[str, list[tuple[int, int, int, list[Transcript]]]] = defaultdict(list)
        for number, (allele, found) in enumerate(zip(alleles, overlaps, strict=True)):
            num_ref = len(allele.ref)
            if max(num_ref, len(allele.alt)) > MAX_CSQ_BASES:
                continue
            for start, transcripts in found:
                coding = [one for one in transcripts if _is_near_exon(one, start, start + num_ref)]
                if coding:
                    near[allele.contig].append((start, num_ref, number, coding))
        regions: dict[int, list[Region]] = defaultdict(list)
        for contig, places in near.items():
            code = self._codes.get(contig, STANDARD_CODE)
            regions[code].extend(self._make_regions(contig, places, alleles))
        effects: dict[int, str] = {}
        for code, of_code in regions.items():
            effects |= self._call_code(of_code, code)
        return effects

    def _make_regions(
        self,
        contig: str,
        places: list[tuple[int, int, int, list[Transcript]]],
        alleles: Sequence[_Allele],
    ) -> Iterator[Region]:
        """Group alleles and transcripts that overlap; each group becomes a region."""
        transcripts = {one.number: one for *_, of_place in places for one in of_place}
        spans: list[tuple[int, int, Transcript | RegionAllele]] = [
            (min(one.start, one.exons[0][0]), max(one.end, one.exons[-1][1]), one)
            for one in transcripts.values()
        ]
        spans += [
            (start - 1, start + num_ref + 1, RegionAllele(n, start, num_ref, alleles[n].alt))
            for start, num_ref, n, _ in places
        ]
        spans.sort(key=lambda span: span[:2])
        group: list[Transcript | RegionAllele] = []
        first, last = spans[0][:2]
        for start, end, one in spans:
            if start > last + 2 * _PADDING:
                yield self._make_region(contig, first, last, group)
                group, first, last = [], start, end
            group.append(one)
            last = max(last, end)
        yield self._make_region(contig, first, last, group)

    def _make_region(
        self, contig: str, first: int, last: int, group: Sequence[Transcript | RegionAllele]
    ) -> Region:
        start, end = first - _PADDING, last + _PADDING
        if not self._reference.is_circular(contig):
            start, end = max(0, start), min(end, self._reference.contigs[contig])
        transcripts = [one for one in group if isinstance(one, Transcript)]
        alleles = [one for one in group if isinstance(one, RegionAllele)]
        return Region(contig, start, end, transcripts, alleles)

    def _call_code(self, regions: Sequence[Region], code: int) -> dict[int, str]:
        """Run csq; if it fails, without the alleles that make it fail."""
        try:
            return call_csq(regions, self._reference.fetch, code, self._folder)
        except CsqError as failure:
            problem = failure
        self._require_csq(regions, code)
        alleles = [(region, allele) for region in regions for allele in region.alleles]
        if len(alleles) == 1:
            self._num_failed += 1
            if self._num_failed > _MOST_FAILED:
                raise InputError(
                    f"bcftools csq of pysam fails for more than {_MOST_FAILED} alleles: {problem}"
                ) from problem
            region, allele = alleles[0]
            logger.warning(
                "%s:%d: no change of the protein is known for this allele: %s",
                shown(region.contig),
                allele.start + 1,
                problem,
            )
            return {}
        half = len(alleles) // 2
        parts = (_regroup(part) for part in (alleles[:half], alleles[half:]))
        first, last = (self._call_code(part, code) for part in parts)
        both = first.keys() & last.keys()
        return first | last | {number: f"{first[number]},{last[number]}" for number in both}

    def _require_csq(self, regions: Sequence[Region], code: int) -> None:
        """After the first failure, make sure that csq can run at all."""
        if self._is_tried:
            return
        self._is_tried = True
        empty = [region._replace(alleles=()) for region in regions]
        try:
            call_csq(empty, self._reference.fetch, code, self._folder)
        except CsqError as problem:
            raise InputError(
                f"{problem}. Install the version of pysam that this package was tested with, 0.24."
            ) from problem

    def _combine(
        self,
        allele: _Allele,
        overlaps: _Overlaps,
        text: str | None,
    ) -> Consequence:
        """The consequence of an allele, from its effects on all transcripts."""
        stated = {} if text is None else read_effects(text)
        effects = []
        for start, transcripts in overlaps:
            for transcript in transcripts:
                found = stated.get(transcript.number)
                effect = self._find_effect(allele, transcript, start, found)
                if effect is not None:
                    effects.append(effect)
        if not effects:
            return Consequence(INTERGENIC, (INTERGENIC,))
        terms = frozenset().union(*(effect.terms for effect in effects))
        worst = find_most_severe(terms)
        candidates = [effect for effect in effects if worst in effect.terms]
        chosen = min(candidates, key=_preference)
        transcript = chosen.transcript
        return Consequence(
            worst,
            tuple(sorted(terms)),
            transcript.gene,
            transcript.gene_id,
            transcript.transcript,
            transcript.strand,
            None if chosen.change is None else spell_change(chosen.change, chosen.terms),
        )

    def _find_effect(
        self,
        allele: _Allele,
        transcript: Transcript,
        start: int,
        stated: TranscriptEffect | None,
    ) -> _Effect | None:
        """The effect of an allele on a transcript; null if the allele does not touch it."""
        end = start + len(allele.ref)
        if not _touches((transcript.start, transcript.end), start, end):
            return None
        if not allele.alt and start <= transcript.start and transcript.end <= end:
            return _Effect(transcript, _ABLATION, None)
        if stated is None:
            return _Effect(transcript, _terms_by_position(transcript, start, end), None)
        terms = _mend_length(stated)
        change = stated.change
        if not terms.isdisjoint(_SPLICE) and not _is_near_intron(transcript, start, end):
            terms -= _SPLICE  # between two coding parts of one exon, where the ribosome slips
        if change is not None and "*" not in change.ref:
            terms -= {"stop_retained_variant"}  # csq states it for a new stop in the last codon
        codons = self._codons.get(transcript.number) or self._read_codons(transcript)
        if codons.incomplete and any(_touches(one, start, end) for one in codons.incomplete):
            terms |= {"coding_sequence_variant"}
        if codons.unreadable and change is not None:
            read = range(change.position, change.position + max(1, len(change.ref)))
            if not codons.unreadable.isdisjoint(read):
                terms, change = terms - _OF_CODONS | {"coding_sequence_variant"}, None
        terms, change = _mend_start(terms, change, codons, allele, transcript, start)
        if not terms:
            terms = _terms_by_position(transcript, start, end)
        return _Effect(transcript, terms, change)

    def _read_codons(self, transcript: Transcript) -> Codons:
        if len(self._codons) >= PART_TRANSCRIPTS:
            self._codons.clear()
        code = self._codes.get(transcript.contig, STANDARD_CODE)
        codons = read_codons(transcript, self._reference.fetch, code)
        self._codons[transcript.number] = codons
        return codons


def _regroup(alleles: Sequence[tuple[Region, RegionAllele]]) -> list[Region]:
    """The regions of some alleles, with these alleles alone."""
    regions: dict[int, tuple[Region, list[RegionAllele]]] = {}
    for region, allele in alleles:
        regions.setdefault(id(region), (region, []))[1].append(allele)
    return [region._replace(alleles=kept) for region, kept in regions.values()]


def _preference(effect: _Effect) -> tuple[bool, int, str]:
    transcript = effect.transcript
    return transcript_preference(
        is_selected=transcript.is_selected,
        cds_length=transcript.cds_length,
        transcript=transcript.transcript,
    )


def _touches(span: Interval, start: int, end: int) -> bool:
    """Whether an allele changes a base of a range, or inserts bases within it."""
    return span[0] < end and start < span[1] if start < end else span[0] < start < span[1]


def _is_near_exon(transcript: Transcript, start: int, end: int) -> bool:
    """Whether csq may state an effect: the transcript is coding and has an exon near the allele."""
    if transcript.cds_length - transcript.phase < 3:
        return False
    return bool(_near(transcript.exons, start - _NEAR_EXON, end + _NEAR_EXON))


def _is_near_intron(transcript: Transcript, start: int, end: int) -> bool:
    """Whether an allele is at most as far from the end of an exon as a splice region reaches."""
    first, last = start - _NEAR_EXON, end + _NEAR_EXON
    exons = _near(transcript.exons, first, last)
    return any(first <= edge <= last for exon in exons for edge in exon)


def _near(exons: Sequence[Interval], start: int, end: int) -> Sequence[Interval]:
    """The exons with a base in a range, or next to it."""
    last = bisect_left(exons, (end + 1,))
    first = last
    while first and exons[first - 1][1] >= start:
        first -= 1
    return exons[first:last]


def _terms_by_position(transcript: Transcript, start: int, end: int) -> frozenset[str]:
    """The terms of a transcript about which csq states nothing."""
    is_in_exon = any(_touches(exon, start, end) for exon in _near(transcript.exons, start, end))
    if not transcript.cds:
        return _NON_CODING_EXON if is_in_exon else _NON_CODING_INTRON
    if not is_in_exon:
        return _DECAYED_INTRON if transcript.is_decayed else _INTRON
    terms = set()
    if any(_touches(part, start, end) for part in transcript.cds):
        terms.add("coding_sequence_variant")
    utrs = list(find_utrs(transcript))
    terms |= {_UTR_TERMS[kind] for kind, span in utrs if _touches(span, start, end)}
    if not terms and start == end:  # an insertion between a UTR and a coding part
        terms = {_UTR_TERMS[kind] for kind, span in utrs if start in span}
    if not terms:  # between coding parts, where the ribosome slips
        terms = {"coding_sequence_variant"}
    if transcript.is_decayed:
        terms.add("NMD_transcript_variant")
    return frozenset(terms)


def _mend_length(stated: TranscriptEffect) -> frozenset[str]:
    """The terms of csq, with the frame's term in place of that of the length."""
    if stated.terms.isdisjoint(_OF_LENGTH):
        return stated.terms
    terms = stated.terms - _OF_LENGTH.keys()
    if stated.change is not None and terms.isdisjoint(_OF_FRAME):
        terms |= {_OF_LENGTH[term] for term in stated.terms & _OF_LENGTH.keys()}
    return terms


def _mend_start(
    terms: frozenset[str],
    change: ProteinChange | None,
    codons: Codons,
    allele: _Allele,
    transcript: Transcript,
    start: int,
) -> tuple[frozenset[str], ProteinChange | None]:
    """Terms and amino acids of a substitution in the first codon, by the genetic code."""
    if len(allele.ref) != len(allele.alt):
        return terms, change
    codon = codons.replace_first(start, allele.ref, allele.alt, transcript.strand)
    if codon is None:
        if "start_lost" in terms and not codons.first and change is not None:
            other = "synonymous_variant" if change.ref == change.alt else "missense_variant"
            terms = terms - {"start_lost"} | {other}
        return terms, change
    change = ProteinChange(1, "M", change.alt if change else "?")
    terms -= {"missense_variant", "synonymous_variant", "start_lost", "start_retained_variant"}
    if codon in codons.starts:
        terms -= {"stop_gained", "stop_lost", "stop_retained_variant"}
        return terms | {"start_retained_variant"}, ProteinChange(1, "M", "M")
    return terms | {"start_lost"}, change
