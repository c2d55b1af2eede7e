"""Small genomes with genes, and a slow, plain reading of their codons."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from evo2_tasks.genome.consequences import annotate_consequences
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence

COMPLEMENT = str.maketrans("ACGT", "TGCA")

# NCBI, The Genetic Codes: the amino acids and start codons of tables 1 and 2, in the order TTT,
# TTC, TTA, TTG, TCT, ..., GGG.
AMINO_ACIDS = {
    1: "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
    2: "FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSS**VVVVAAAADDEEGGGG",
}
STARTS = {
    0: "-----------------------------------M----------------------------",
    2: "--------------------------------MMMM---------------M------------",
}
CODONS = [a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"]
CODES = {code: dict(zip(CODONS, text, strict=True)) for code, text in AMINO_ACIDS.items()}
START_CODONS = {
    code: {codon for codon, mark in zip(CODONS, text, strict=True) if mark == "M"}
    for code, text in STARTS.items()
}


@dataclass(frozen=True)
class Model:
    """A coding transcript: places of its coding bases in reading direction, 0-based."""

    contig: str
    strand: str
    exons: Sequence[tuple[int, int]]
    coding: Sequence[int]
    name: str

    def read(self, sequence: str) -> str:
        bases = "".join(sequence[place] for place in self.coding)
        return bases if self.strand == "+" else bases.translate(COMPLEMENT)

    def change(self, sequence: str, start: int, ref: str, alt: str) -> str:
        """The coding bases after an allele between two of them."""
        kept = {place: sequence[place] for place in self.coding}
        inserted = alt
        for place in range(start, start + len(ref)):
            kept[place] = ""
        anchor = next(place for place in self.coding if place in (start, start - 1))
        if self.strand == "+":
            bases = [
                (inserted if place == start else "") + kept[place]
                if anchor == start
                else kept[place] + (inserted if place == anchor else "")
                for place in self.coding
            ]
        else:
            bases = [
                kept[place].translate(COMPLEMENT)
                + (inserted.translate(COMPLEMENT)[::-1] if place == anchor == start else "")
                if anchor == start
                else (inserted.translate(COMPLEMENT)[::-1] if place == anchor else "")
                + kept[place].translate(COMPLEMENT)
                for place in self.coding
            ]
        return "".join(bases)


def translate(bases: str, code: int = 1) -> str:
    return "".join(CODES[code][bases[n : n + 3]] for n in range(0, len(bases) - 2, 3))


def gff_lines(model: Model, number: int) -> list[str]:
    """A gene as Ensembl writes it, with phases."""
    start, end = model.exons[0][0], model.exons[-1][1]

    def line(kind: str, first: int, last: int, attributes: str, phase: str = ".") -> str:
        return (
            f"{model.contig}\ttest\t{kind}\t{first + 1}\t{last}\t.\t{model.strand}\t{phase}\t"
            f"{attributes}"
        )

    lines = [
        line("gene", start, end, f"ID=gene:G{number};Name=N{number};biotype=protein_coding"),
        line(
            "mRNA",
            start,
            end,
            f"ID=transcript:{model.name};Parent=gene:G{number};biotype=protein_coding",
        ),
    ]
    below = f"Parent=transcript:{model.name}"
    coding = set(model.coding)
    parts = []
    for first, last in model.exons:
        lines.append(line("exon", first, last, below))
        inside = [place for place in range(first, last) if place in coding]
        if inside:
            parts.append((inside[0], inside[-1] + 1))
        edges = sorted({first, last, *(parts[-1] if inside else ())})
        for one, other in pairwise(edges):
            if one not in coding:
                before = one < min(coding)
                kind = "five" if before == (model.strand == "+") else "three"
                lines.append(line(f"{kind}_prime_UTR", one, other, below))
    done = 0
    for first, last in parts if model.strand == "+" else parts[::-1]:
        phase = str(-done % 3)
        lines.append(line("CDS", first, last, f"ID=CDS:P{number};{below}", phase))
        done += last - first
    return lines


def make_genome(rng: random.Random, contigs: int = 3) -> tuple[dict[str, str], list[Model]]:
    """Contigs with one random coding transcript each, from ATG to a stop codon."""
    sequences, models = {}, []
    for number in range(contigs):
        sequence = rng.choices("ACGT", k=1_500)
        place, exons = rng.randint(40, 90), []
        for _ in range(rng.randint(1, 4)):
            size = rng.randint(40, 120)
            exons.append((place, place + size))
            place += size + rng.randint(40, 120)
        strand = rng.choice("+-")
        places = [one for first, last in exons for one in range(first, last)]
        places = places if strand == "+" else places[::-1]
        skipped = rng.randint(0, 15)
        places = places[skipped : skipped + (len(places) - skipped - rng.randint(0, 15)) // 3 * 3]
        inner = [codon for codon in CODONS if CODES[1][codon] != "*"]
        bases = "ATG" + "".join(rng.choices(inner, k=len(places) // 3 - 2)) + "TAA"
        for one, base in zip(places, bases, strict=True):
            sequence[one] = base if strand == "+" else base.translate(COMPLEMENT)
        sequences[f"c{number}"] = "".join(sequence)
        models.append(Model(f"c{number}", strand, exons, places, f"T{number}"))
    return sequences, models


def write_fasta(path: Path, sequences: Mapping[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in sequences.items()))
    return path


def annotate(
    folder: Path,
    sequences: Mapping[str, str],
    gff: str,
    alleles: Sequence[tuple[str, int, str, str]],
    *,
    circular: Sequence[str] = (),
    codes: Mapping[str, int] | None = None,
) -> list[Consequence]:
    """The consequences of alleles, each a contig, a 1-based position, REF and ALT."""
    folder.mkdir(exist_ok=True)
    reference = Reference(write_fasta(folder / "genome.fa", sequences), circular_contigs=circular)
    (folder / "genes.gff3").write_text(gff)
    genes = read_genes(folder / "genes.gff3", reference)
    variants = [Variant(n, 1, *allele, None) for n, allele in enumerate(alleles)]
    made = list(
        annotate_consequences(
            variants, genes, reference, genetic_codes=codes or {}, folder=folder / "work"
        )
    )
    assert list((folder / "work").iterdir()) == []
    return made
