"""Calls of ``bcftools csq`` 1.24: its input files, its process and its output.

csq ends the whole process for a REF or a contig that does not fit, reads beyond its tables for a
base other than A, C, G, T, and keeps the place in its input from one call to the next. So each call
is a process of its own, and reads files that are made for it: each group of overlapping transcripts
is a sequence of A, C, G, T with its own name, and each transcript has a gene of its own.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.alleles import first_bases
from evo2_tasks.genome.genes import Transcript
from evo2_tasks.genome.protein_changes import ProteinChange, parse_change
from evo2_tasks.genome.terms import BCFTOOLS_TERMS
from evo2_tasks.genome.window_pairs import Interval
from evo2_tasks.io.files import reading, writing
from evo2_tasks.io.words import shown

logger = logging.getLogger(__name__)

# csq writes at most so many amino acids of each side, and then the number of the last one.
_MOST_AMINO_ACIDS: Final = 30
_PIECE_BASES: Final = 1 << 20
_MOST_MESSAGES: Final = 20
_CALL: Final = """
import sys
from pysam import SamtoolsError, bcftools
try:
    bcftools.csq(*sys.argv[1:], catch_stdout=False)
except SamtoolsError as error:
    sys.exit(str(error))
sys.stderr.write(str(bcftools.csq.get_messages() or ""))
"""

Fetch = Callable[[str, int, int], str]


class Region(NamedTuple):
    """A range of a contig with whole transcripts, which becomes a sequence for csq.

    Attributes:
        contig: Name of the contig in the reference.
        start: First base, 0-based; may be negative on a circular contig.
        end: The base after the last one; may pass the length of a circular contig.
        transcripts: Coding transcripts in it.
        alleles: Alleles in it.
    """

    contig: str
    start: int
    end: int
    transcripts: Sequence[Transcript]
    alleles: Sequence[RegionAllele]


class RegionAllele(NamedTuple):
    """An allele at a place in a region.

    Attributes:
        number: Number of the allele, which the result has.
        start: First changed base, 0-based, counted as ``Region.start`` is.
        num_ref: Number of bases that are replaced.
        alt: The bases that replace them.
    """

    number: int
    start: int
    num_ref: int
    alt: str


class TranscriptEffect(NamedTuple):
    """What csq states about an allele and a transcript.

    Attributes:
        terms: Terms of the Sequence Ontology.
        change: Change of the protein; null if there is none.
    """

    terms: frozenset[str]
    change: ProteinChange | None


class CsqError(Exception):
    """A call of csq that ended with an error."""


def call_csq(
    regions: Sequence[Region], fetch: Fetch, genetic_code: int, folder: Path
) -> dict[int, str]:
    """Run csq on the alleles of some regions.

    Args:
        regions: The regions; the alleles of each are sorted by position.
        fetch: Returns bases of the reference, as `Reference.fetch`.
        genetic_code: Number of a genetic code of csq.
        folder: Folder for its files, which are replaced.

    Returns:
        What csq states about each allele, by its number; see :func:`read_effects`. An allele about
        which it states nothing is left out.

    Raises:
        InputError: The folder cannot be written to.
        CsqError: csq ended with an error.
    """
    with writing(folder):
        _write_sequences(regions, fetch, folder / "regions.fa")
        _write_transcripts(regions, folder / "regions.gff3")
        _write_alleles(regions, fetch, folder / "alleles.vcf")
    _run(folder, genetic_code, ("--local-csq", "--output", "effects.vcf"))
    effects: dict[int, str] = {}
    with reading(folder), (folder / "effects.vcf").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("#"):
                continue
            cells = line.rstrip("\n").split("\t")
            number, info = int(cells[2]), cells[7]
            if info.startswith("BCSQ="):
                # Near the origin of a circular contig an allele may have two places.
                before = f"{effects[number]}," if number in effects else ""
                effects[number] = before + _without_dna(info.removeprefix("BCSQ="))
    return effects


def call_joint_csq(
    regions: Sequence[Region], fetch: Fetch, genetic_code: int, folder: Path
) -> dict[int, str]:
    """Run csq on alleles that act together: those with one number.

    Each number is a sample of its region that has these alleles and no others, on one haplotype.
    csq takes genotypes as they are written, and knows no phase sets.

    Args:
        regions: The regions; no two alleles with one number overlap as records of a VCF.
        fetch: Returns bases of the reference, as `Reference.fetch`.
        genetic_code: Number of a genetic code of csq.
        folder: Folder for its files, which are replaced.

    Returns:
        What csq states about the alleles of each number, as `call_csq`.

    Raises:
        InputError: The folder cannot be written to.
        CsqError: csq ended with an error.
    """
    numbers = [list(dict.fromkeys(one.number for one in region.alleles)) for region in regions]
    with writing(folder):
        _write_sequences(regions, fetch, folder / "regions.fa")
        _write_transcripts(regions, folder / "regions.gff3")
        _write_alleles(regions, fetch, folder / "alleles.vcf", numbers)
    _run(folder, genetic_code, ("--phase", "a", "--output-type", "t", "--output", "effects.txt"))
    effects: dict[int, list[str]] = {}
    with reading(folder), (folder / "effects.txt").open(encoding="ascii") as file:
        for line in file:
            cells = line.rstrip("\n").split("\t")
            if cells[0] == "CSQ":
                _, sample, _, region, _, text = cells
                effects.setdefault(numbers[int(region)][int(sample)], []).append(text)
    return {number: _without_dna(",".join(texts)) for number, texts in effects.items()}


def _without_dna(text: str) -> str:
    """The effects without the bases of REF and ALT, which csq repeats for each transcript."""
    return ",".join("|".join(one.split("|", 6)[:6]) for one in text.split(","))


def _write_sequences(regions: Sequence[Region], fetch: Fetch, path: Path) -> None:
    """Write each region as one line of a FASTA, and the index of the file."""
    with path.open("w", encoding="ascii") as fasta, Path(f"{path}.fai").open("w") as index:
        offset = 0
        for number, region in enumerate(regions):
            offset += fasta.write(f">{number}\n")
            size = region.end - region.start
            index.write(f"{number}\t{size}\t{offset}\t{size}\t{size + 1}\n")
            for first in range(region.start, region.end, _PIECE_BASES):
                last = min(first + _PIECE_BASES, region.end)
                offset += fasta.write(first_bases(fetch(region.contig, first, last)))
            offset += fasta.write("\n")


def _write_transcripts(regions: Sequence[Region], path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        for number, region in enumerate(regions):
            for transcript in region.transcripts:
                file.writelines(_transcript_lines(number, region.start, transcript))


def _transcript_lines(number: int, origin: int, transcript: Transcript) -> Iterator[str]:
    name = transcript.number
    biotype = "nonsense_mediated_decay" if transcript.is_decayed else "protein_coding"

    def line(kind: str, span: Interval, attributes: str, phase: str = ".") -> str:
        start, end = span[0] - origin + 1, span[1] - origin
        return (
            f"{number}\t.\t{kind}\t{start}\t{end}\t.\t{transcript.strand}\t{phase}\t{attributes}\n"
        )

    whole = (
        min(transcript.start, transcript.exons[0][0]),
        max(transcript.end, transcript.exons[-1][1]),
    )
    yield line("gene", whole, f"ID=gene:{name};Name={name};biotype=protein_coding")
    yield line("mRNA", whole, f"ID=transcript:{name};Parent=gene:{name};biotype={biotype}")
    below = f"Parent=transcript:{name}"
    for exon in transcript.exons:
        yield line("exon", exon, below)
    for kind, span in find_utrs(transcript):
        yield line(kind, span, below)
    for span, phase in find_coding_parts(transcript):
        yield line("CDS", span, below, str(phase))


def find_utrs(transcript: Transcript) -> Iterator[tuple[str, Interval]]:
    """The untranslated parts of the exons of a coding transcript, each with its type."""
    start, end = transcript.cds[0][0], max(end for _, end in transcript.cds)
    kinds = ("five_prime_UTR", "three_prime_UTR")
    before, after = kinds if transcript.strand == "+" else kinds[::-1]
    for exon_start, exon_end in transcript.exons:
        if exon_start < start:
            yield before, (exon_start, min(exon_end, start))
        if exon_end > end:
            yield after, (max(exon_start, end), exon_end)


def find_coding_parts(transcript: Transcript) -> list[tuple[Interval, int]]:
    """The coding parts of a transcript by position, each with its phase.

    The phases follow from the first one. Incomplete codons at both ends stay, because csq then
    knows that the transcript is cut there, but a part that holds no whole codon's base is left out.
    """
    parts = list(transcript.cds if transcript.strand == "+" else transcript.cds[::-1])
    phase = transcript.phase
    while parts and parts[0][1] - parts[0][0] <= phase:
        start, end = parts.pop(0)
        phase -= end - start
    rest = (sum(end - start for start, end in parts) - phase) % 3
    while parts and parts[-1][1] - parts[-1][0] <= rest:
        start, end = parts.pop()
        rest -= end - start
    with_phases = []
    for start, end in parts:
        with_phases.append(((start, end), phase))
        phase = (phase - (end - start)) % 3
    return sorted(with_phases)


def _write_alleles(
    regions: Sequence[Region],
    fetch: Fetch,
    path: Path,
    samples: Sequence[Sequence[int]] | None = None,
) -> None:
    """Write the alleles; with the numbers of the samples of each region, their genotypes too."""
    size = max(map(len, samples or ()), default=0)
    names = "".join(f"\t{sample}" for sample in range(size))
    with path.open("w", encoding="ascii") as file:
        file.write("##fileformat=VCFv4.2\n")
        for number, region in enumerate(regions):
            file.write(f"##contig=<ID={number},length={region.end - region.start}>\n")
        if size:
            file.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
        file.write(f"{columns}\tFORMAT{names}\n" if size else f"{columns}\n")
        for number, region in enumerate(regions):
            lines = []
            for allele in region.alleles:
                start, ref, alt = _spell(allele, region, fetch)
                line = f"{number}\t{start + 1}\t{allele.number}\t{ref}\t{alt}\t.\t.\t."
                if samples is not None:
                    place = samples[number].index(allele.number)
                    line += "\tGT" + "\t0" * place + "\t1" + "\t0" * (size - place - 1)
                lines.append((start, line))
            lines.sort()
            file.writelines(f"{line}\n" for _, line in lines)


def _spell(allele: RegionAllele, region: Region, fetch: Fetch) -> tuple[int, str, str]:
    """Position in the region, REF and ALT; those of two lengths have the base before them too.

    csq takes the first base of a REF that is longer or shorter than ALT as unchanged.
    """
    first, last = allele.start, allele.start + allele.num_ref
    if allele.num_ref == len(allele.alt):
        ref, alt = first_bases(fetch(region.contig, first, last)), allele.alt
    elif first > region.start:
        first -= 1
        ref = first_bases(fetch(region.contig, first, last))
        alt = ref[0] + allele.alt
    else:
        ref = first_bases(fetch(region.contig, first, last + 1))
        alt = allele.alt + ref[-1]
    return first - region.start, ref, alt


def _run(folder: Path, genetic_code: int, mode: Sequence[str]) -> None:
    """Run csq in a process of its own, in the folder of its files."""
    options = [*mode, "--no-version", "--trim-protein-seq", str(_MOST_AMINO_ACIDS)]
    options += ["--genetic-code", str(genetic_code), "--fasta-ref", "regions.fa"]
    options += ["--gff-annot", "regions.gff3", "alleles.vcf"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CALL, *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    messages = done.stderr.decode(errors="replace").splitlines()
    for message in messages[:_MOST_MESSAGES]:
        logger.info("bcftools csq: %s", shown(message, 200))
    if done.returncode:
        last = messages[-1] if messages else "it gave no message"
        raise CsqError(f"bcftools csq ended with {done.returncode}: {shown(last, 200)}")


def read_effects(text: str) -> dict[int, list[TranscriptEffect]]:
    """The effects of an allele, or of alleles together, by the number of the transcript.

    A transcript has one effect for each change of its protein, and at least one. Terms that are
    stated without a change are those of the first effect.

    Args:
        text: Effects that csq states, separated by commas. Introns are left out: csq names no
            transcript for them.
    """
    effects: dict[int, list[TranscriptEffect]] = {}
    for one in text.split(","):
        cells = one.split("|", 6)
        if not cells[2]:
            continue
        number = int(cells[2])
        terms = read_terms(cells[0])
        change = parse_change(cells[5]) if len(cells) > 5 else None
        of_transcript = effects.setdefault(number, [])
        if of_transcript and (change is None or of_transcript[0].change is None):
            before = of_transcript[0]
            of_transcript[0] = TranscriptEffect(before.terms | terms, before.change or change)
        else:
            of_transcript.append(TranscriptEffect(terms, change))
    return effects


@lru_cache(maxsize=1_000)
def read_terms(spelled: str) -> frozenset[str]:
    """The Sequence Ontology's terms of the terms of csq, which ``&`` separates.

    Raises:
        InputError: A term is not known, so this is another version of csq.
    """
    terms = []
    for term in spelled.lstrip("*").split("&"):
        known = BCFTOOLS_TERMS.get(term)
        if known is None:
            raise InputError(
                f"bcftools csq of pysam states the consequence '{shown(term)}', which is not "
                "known here. Install the version of pysam that this package was tested with, 0.24."
            )
        terms.append(known)
    return frozenset(terms)
