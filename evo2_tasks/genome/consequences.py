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
from evo2_tasks.genome.alleles import trim
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
    call_joint_csq,
    find_utrs,
    read_effects,
)
from evo2_tasks.genome.genes import Genes, Transcript
from evo2_tasks.genome.protein_changes import ProteinChange, shorten, spell_change, trim_change
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import (
    INTERGENIC,
    Consequence,
    find_most_severe,
    transcript_preference,
)
from evo2_tasks.genome.window_layout import left_align
from evo2_tasks.genome.window_pairs import Edit, Interval
from evo2_tasks.genome.windows import Contig, align_allele
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

CHUNK_COMPOUNDS: Final = 1_000
"""Different compounds of one call of csq: each is a sample there."""

MAX_CSQ_BASES: Final = 5_000
"""Longest REF or ALT that csq gets: it writes all their bases for each transcript."""

_PREFIX: Final = ".evo2-tasks-csq-"
# csq needs ten bases on each side of a transcript. Splice regions reach eight bases into an intron.
_PADDING: Final = 32
_NEAR_EXON: Final = 10
_MOST_FAILED: Final = 100
_MOST_JOINED: Final = 300

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


_Together = tuple[_Allele, ...]
"""Alleles whose effect is a joint one, on one contig; most often one allele."""

_Places = list[tuple[int, _Allele]]
"""Alleles, each with its first base, counted as the positions of a transcript are."""

_Overlaps = list[tuple[int, _Allele, list[Transcript]]]
"""An allele and its first base, counted as the positions of transcripts near it are, and these."""


class _Effect(NamedTuple):
    """The effects of alleles on one transcript: each has terms, and a change of the protein."""

    transcript: Transcript
    stated: tuple[TranscriptEffect, ...]

    @property
    def terms(self) -> frozenset[str]:
        """The terms of all of them."""
        return frozenset().union(*(one.terms for one in self.stated))

    def spell_changes(self) -> str | None:
        """The changes of the protein, with semicolons between them; null if there are none."""
        changes = sorted(
            (one.change.position, spell_change(one.change, one.terms))
            for one in self.stated
            if one.change is not None
        )
        spelled = dict.fromkeys(text for _, text in changes)
        return shorten(";".join(spelled)) if spelled else None


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


def annotate_compounds(
    compounds: Iterable[tuple[str, Sequence[Edit]]],
    genes: Genes,
    reference: Reference,
    *,
    genetic_codes: Mapping[str, int],
    folder: Path,
) -> Iterator[Consequence]:
    """Find the gene and the joint consequence of alleles of one haplotype.

    Equal compounds are annotated once.

    Args:
        compounds: The reference contig and the edits of each, left-aligned and 0-based. No two
            edits of a compound overlap.
        genes: The transcripts of the reference.
        reference: The genome.
        genetic_codes: Contigs of the reference, each with the number of NCBI's translation table.
        folder: Folder for temporary files, which are removed.

    Yields:
        One consequence for each compound, in the order of ``compounds``. If several places of a
        protein change, ``amino_acids`` has all of them, with semicolons between them.

    Raises:
        InputError: A genetic code is not known, its contig is not in the reference, or the folder
            cannot be written to.
    """
    codes = _resolve_codes(genetic_codes, genes, reference)
    with temporary_folder(folder, _PREFIX) as temporary:
        annotator = _Annotator(genes, reference, codes, temporary, is_joint=True)
        made: dict[_Together, Consequence] = {(): Consequence()}  # the members undo each other
        joined: dict[tuple[str, tuple[Edit, ...]], _Together] = {}
        waiting: list[_Together] = []
        new: set[_Together] = set()
        for contig, edits in compounds:
            key = contig, tuple(edits)
            together = joined.get(key)
            if together is None:
                together = joined[key] = annotator.join(contig, edits)
            waiting.append(together)
            if together not in made:
                new.add(together)
            if len(new) >= CHUNK_COMPOUNDS or len(waiting) >= CHUNK_ALLELES:
                made |= annotator.find(new)
                yield from map(made.__getitem__, waiting)
                waiting, new = [], set()
        made |= annotator.find(new)
        yield from map(made.__getitem__, waiting)


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
        self,
        genes: Genes,
        reference: Reference,
        codes: Mapping[str, int],
        folder: Path,
        *,
        is_joint: bool = False,
    ) -> None:
        self._is_joint = is_joint
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
        made = self.find({(one,) for one in placed if one is not None})
        for one in placed:
            yield Consequence() if one is None else made[one,]

    def find(self, groups: Iterable[_Together]) -> dict[_Together, Consequence]:
        """The consequence of each allele, or of alleles together."""
        made: dict[_Together, Consequence] = {}
        for part, overlaps in self._divide(groups):
            effects = self._call(overlaps)
            for number, (together, found) in enumerate(zip(part, overlaps, strict=True)):
                made[together] = self._combine(found, effects.get(number))
        return made

    def join(self, contig: str, edits: Sequence[Edit]) -> _Together:
        """The alleles of the edits of a compound, for csq.

        If one of them is no SNV, those that no end of an exon divides are one allele: as records of
        a VCF some would overlap, by the base before an insertion or deletion, and csq joins only
        SNVs of a codon reliably.
        """
        fetch = self._reference.fetch
        has_others = any(not edit.num_ref == len(edit.alt) == 1 for edit in edits)
        joined: list[_Allele] = []
        for start, num_ref, alt in edits:
            one = _Allele(contig, start, fetch(contig, start, start + num_ref), alt)
            if joined and has_others and self._is_undivided(joined[-1], start + num_ref):
                before = joined.pop()
                between = fetch(contig, before.start + len(before.ref), start)
                ref, alt = before.ref + between + one.ref, before.alt + between + alt
                one = _Allele(contig, before.start, ref, alt)
            joined.append(one)
        length, circular = self._reference.contigs[contig], self._reference.is_circular(contig)
        sequence = Contig(self._reference, contig, length, circular)
        trimmed = (trim(one.start, one.ref, one.alt) for one in joined)
        return tuple(
            _Allele(contig, *left_align(one, sequence).allele)
            for one in trimmed
            if one.ref or one.alt
        )

    def _is_undivided(self, before: _Allele, end: int) -> bool:
        """Whether no exon or coding part begins or ends between two alleles that are near."""
        start = before.start
        if not start <= end <= start + _MOST_JOINED:
            return False
        places = [(start, end)]
        if self._reference.is_circular(before.contig):
            length = self._reference.contigs[before.contig]
            places += [(start + length, end + length), (start - length, end - length)]
        return not any(
            first < edge < last
            for first, last in places
            for transcript in self._genes.find(before.contig, first - 1, last + 1)
            for part in (*transcript.exons, *transcript.cds)
            for edge in part
        )

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
        self, groups: Iterable[_Together]
    ) -> Iterator[tuple[list[_Together], list[_Overlaps]]]:
        """Parts of some alleles, by position, each with a bounded number of transcripts."""
        part: list[_Together] = []
        overlaps: list[_Overlaps] = []
        numbers: set[int] = set()
        num_pairs = 0
        for together in sorted(groups):
            found = [one for allele in together for one in self._find_overlaps(allele)]
            part.append(together)
            overlaps.append(found)
            for *_, transcripts in found:
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
            (start, allele, self._genes.find(contig, start - 1, start + num_ref + 1))
            for start in places
        ]

    def _call(self, overlaps: Sequence[_Overlaps]) -> dict[int, str]:
        """What csq states about alleles or alleles together, by their number."""
        near: dict[str, list[tuple[RegionAllele, list[Transcript]]]] = defaultdict(list)
        for number, found in enumerate(overlaps):
            if any(max(len(one.ref), len(one.alt)) > MAX_CSQ_BASES for _, one, _ in found):
                continue
            for start, allele, transcripts in found:
                num_ref = len(allele.ref)
                coding = [one for one in transcripts if _is_near_exon(one, start, start + num_ref)]
                if coding:
                    placed = RegionAllele(number, start, num_ref, allele.alt)
                    near[allele.contig].append((placed, coding))
        regions: dict[int, list[Region]] = defaultdict(list)
        for contig, places in near.items():
            code = self._codes.get(contig, STANDARD_CODE)
            regions[code].extend(self._make_regions(contig, places))
        effects: dict[int, str] = {}
        for code, of_code in regions.items():
            effects |= self._call_code(of_code, code)
        return effects

    def _make_regions(
        self,
        contig: str,
        places: list[tuple[RegionAllele, list[Transcript]]],
    ) -> Iterator[Region]:
        """Group alleles and transcripts that overlap; each group becomes a region."""
        transcripts = {one.number: one for _, of_place in places for one in of_place}
        spans: list[tuple[int, int, Transcript | RegionAllele]] = [
            (min(one.start, one.exons[0][0]), max(one.end, one.exons[-1][1]), one)
            for one in transcripts.values()
        ]
        spans += [(one.start - 1, one.start + one.num_ref + 1, one) for one, _ in places]
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
        call = call_joint_csq if self._is_joint else call_csq
        try:
            return call(regions, self._reference.fetch, code, self._folder)
        except CsqError as failure:
            problem = failure
        self._require_csq(regions, code)
        alleles = [(region, allele) for region in regions for allele in region.alleles]
        numbers = sorted({allele.number for _, allele in alleles})
        if len(numbers) == 1:
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
        half = numbers[len(numbers) // 2]
        first: list[tuple[Region, RegionAllele]] = []
        last: list[tuple[Region, RegionAllele]] = []
        for region, allele in alleles:
            (first if allele.number < half else last).append((region, allele))
        return self._call_code(_regroup(first), code) | self._call_code(_regroup(last), code)

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
        overlaps: _Overlaps,
        text: str | None,
    ) -> Consequence:
        """The consequence of alleles, from their effects on all transcripts."""
        stated = {} if text is None else read_effects(text)
        near: dict[int, tuple[Transcript, _Places]] = {}
        for start, allele, transcripts in overlaps:
            for transcript in transcripts:
                near.setdefault(transcript.number, (transcript, []))[1].append((start, allele))
        found = (
            self._find_effect(transcript, places, stated.get(number, ()))
            for number, (transcript, places) in near.items()
        )
        effects = [effect for effect in found if effect is not None]
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
            chosen.spell_changes(),
        )

    def _find_effect(
        self, transcript: Transcript, places: _Places, stated: Sequence[TranscriptEffect]
    ) -> _Effect | None:
        """The effect of alleles on a transcript; null if none of them touches it."""
        span = transcript.start, transcript.end
        places = [one for one in places if _touches(span, one[0], one[0] + len(one[1].ref))]
        if not places:
            return None
        spans = [(start, start + len(allele.ref)) for start, allele in places]
        for (_, allele), (start, end) in zip(places, spans, strict=True):
            if not allele.alt and start <= transcript.start and transcript.end <= end:
                return _Effect(transcript, (TranscriptEffect(_ABLATION, None),))
        by_position = [_terms_by_position(transcript, *one) for one in spans]
        only_position = TranscriptEffect(frozenset().union(*by_position), None)
        if not stated:
            return _Effect(transcript, (only_position,))
        codons = self._codons.get(transcript.number) or self._read_codons(transcript)
        effects = [self._mend(one, transcript, spans, codons) for one in stated]
        first = next((n for n, one in enumerate(effects) if _is_first(one.change)), None)
        if first is None and len(effects) == 1:
            first = 0
        if first is not None:
            effects[first] = _mend_start(effects[first], codons, places, transcript)
        if not any(one.terms for one in effects):
            return _Effect(transcript, (only_position,))
        if self._is_joint:
            effects = [
                TranscriptEffect(terms, trim_change(change) if change is not None else None)
                for terms, change in effects
            ]
        return _Effect(transcript, tuple(effects))

    def _mend(
        self,
        stated: TranscriptEffect,
        transcript: Transcript,
        spans: Sequence[Interval],
        codons: Codons,
    ) -> TranscriptEffect:
        """An effect that csq states, with what csq does not know about the transcript."""
        terms = _mend_length(stated)
        change = stated.change
        if not terms.isdisjoint(_SPLICE) and not any(
            _is_near_intron(transcript, *one) for one in spans
        ):
            terms -= _SPLICE  # between two coding parts of one exon, where the ribosome slips
        if change is not None and "*" not in change.ref:
            terms -= {"stop_retained_variant"}  # csq states it for a new stop in the last codon
        if any(_touches(part, *one) for part in codons.incomplete for one in spans):
            terms |= {"coding_sequence_variant"}
        if codons.unreadable and change is not None:
            read = range(change.position, change.position + max(1, len(change.ref)))
            if not codons.unreadable.isdisjoint(read):
                terms, change = terms - _OF_CODONS | {"coding_sequence_variant"}, None
        return TranscriptEffect(terms, change)

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


def _is_first(change: ProteinChange | None) -> bool:
    return change is not None and change.position == 1


def _mend_start(
    effect: TranscriptEffect, codons: Codons, places: _Places, transcript: Transcript
) -> TranscriptEffect:
    """Terms and amino acids of substitutions in the first codon, by the genetic code."""
    terms, change = effect
    if codons.first:
        places = [
            (start, allele)
            for start, allele in places
            if any(start <= base < start + len(allele.ref) for base in codons.first)
        ]
    if any(len(allele.ref) != len(allele.alt) for _, allele in places):
        return effect
    codon = codons.replace_first(
        [(start, allele.ref, allele.alt) for start, allele in places], transcript.strand
    )
    if codon is None or (len(places) > 1 and change is not None and len(change.ref) > 1):
        if "start_lost" in terms and not codons.first and change is not None:
            other = "synonymous_variant" if change.ref == change.alt else "missense_variant"
            terms = terms - {"start_lost"} | {other}
        return TranscriptEffect(terms, change)
    change = ProteinChange(1, "M", change.alt if change else "?")
    terms -= {"missense_variant", "synonymous_variant", "start_lost", "start_retained_variant"}
    if codon in codons.starts:
        terms -= {"stop_gained", "stop_lost", "stop_retained_variant"}
        return TranscriptEffect(terms | {"start_retained_variant"}, ProteinChange(1, "M", "M"))
    return TranscriptEffect(terms | {"start_lost"}, change)
