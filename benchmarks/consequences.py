"""Speed and memory of the consequences of alleles: a table, and a last line of JSON.

The program writes a random genome with genes of several transcripts, as dense as those of a human
chromosome, and annotates alleles of it: anywhere, near exons only, and in random order. CPU time is
that of the process and of bcftools csq together; memory is the largest of each. Run it in the
checkout: `python benchmarks/consequences.py`.
"""

import argparse
import json
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from machine import describe_machine

from evo2_tasks.genome.consequences import annotate_consequences
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference

CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
CODONS = [codon for codon in CODONS if codon not in ("TAA", "TAG", "TGA")]
COMPLEMENT = str.maketrans("ACGT", "TGCA")
Span = tuple[int, int]


def write_genome(
    folder: Path, *, bases: int, genes: int, transcripts: int, rng: random.Random
) -> tuple[Path, Path, list[Span]]:
    """A contig, its genes, and their exons. A gene has ten exons of 150 bases."""
    sequence = bytearray(rng.randbytes(bases).translate(b"ACGT" * 64))
    lines, exons = ["##gff-version 3"], []
    spacing = bases // genes
    for gene in range(genes):
        start = gene * spacing + spacing // 4
        step = spacing // 20
        own = [(start + n * step, start + n * step + 150) for n in range(10)]
        exons += own
        strand = rng.choice("+-")
        places = [place for first, last in own for place in range(first, last)]
        protein = "ATG" + "".join(rng.choices(CODONS, k=498)) + "TAA"
        if strand == "-":
            protein = protein.translate(COMPLEMENT)[::-1]
        for place, base in zip(places, protein, strict=True):
            sequence[place] = ord(base)
        span = f"{own[0][0] + 1}\t{own[-1][1]}\t.\t{strand}"
        lines.append(f"1\t.\tgene\t{span}\t.\tID=gene:G{gene};Name=N{gene};biotype=protein_coding")
        for number in range(transcripts):
            name = f"G{gene}T{number}"
            coding = number < (transcripts + 1) // 2
            kind, biotype = ("mRNA", "protein_coding") if coding else ("lnc_RNA", "lncRNA")
            lines.append(
                f"1\t.\t{kind}\t{span}\t.\tID=transcript:{name};Parent=gene:G{gene};"
                f"biotype={biotype}"
            )
            for first, last in own:
                place = f"{first + 1}\t{last}\t.\t{strand}"
                lines.append(f"1\t.\texon\t{place}\t.\tParent=transcript:{name}")
                if coding:
                    lines.append(f"1\t.\tCDS\t{place}\t0\tParent=transcript:{name}")
    fasta, gff = folder / "genome.fa", folder / "genes.gff3"
    fasta.write_bytes(b">1\n" + sequence + b"\n")
    gff.write_text("\n".join(lines) + "\n")
    return fasta, gff, exons


def make_variants(reference: Reference, places: list[int], rng: random.Random) -> Iterator[Variant]:
    """SNVs, and one insertion or deletion of up to ten bases in ten alleles."""
    for record, place in enumerate(places):
        ref = reference.fetch("1", place, place + 1)
        alt = rng.choice([base for base in "ACGT" if base != ref])
        if record % 20 == 0:
            alt = ref + "".join(rng.choices("ACGT", k=rng.randint(1, 10)))
        elif record % 20 == 10:
            ref = reference.fetch("1", place, place + rng.randint(2, 11))
            alt = ref[0]
        yield Variant(record, 1, "1", place + 1, ref, alt, None)


def cpu_s() -> float:
    """CPU seconds of this process and its ended children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(run: Callable[[], object]) -> float:
    started = cpu_s()
    run()
    return cpu_s() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alleles", type=int, default=1_000_000)
    parser.add_argument("--bases", type=int, default=64_000_000)
    parser.add_argument("--genes", type=int, default=1_000)
    parser.add_argument("--transcripts", type=int, default=8)
    args = parser.parse_args()
    rng = random.Random(1)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta, gff, exons = write_genome(
            folder, bases=args.bases, genes=args.genes, transcripts=args.transcripts, rng=rng
        )
        reference = Reference(fasta)
        num_lines = gff.read_bytes().count(b"\n")
        read_s = measure(lambda: read_genes(gff, reference))
        genes = read_genes(gff, reference)

        def annotate(places: list[int]) -> None:
            variants = make_variants(reference, places, rng)
            made = annotate_consequences(
                variants, genes, reference, genetic_codes={}, folder=folder
            )
            assert sum(1 for _ in made) == len(places)

        anywhere = [rng.randrange(100, args.bases - 100) for _ in range(args.alleles)]
        near = [rng.choice(exons)[0] + rng.randint(-12, 162) for _ in range(args.alleles)]
        for kind, places in [
            ("anywhere, sorted", sorted(anywhere)),
            ("near exons, sorted", sorted(near)),
            ("near exons, random order", near),
        ]:
            rate = len(places) / measure(lambda places=places: annotate(places))
            results.append({"alleles": kind, "alleles_per_cpu_s": round(rate)})
    own, csq = (
        resource.getrusage(who).ru_maxrss // 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"{num_lines:,} lines of GFF3: {num_lines / read_s:,.0f} lines per CPU second")
    print(f"{'alleles':28}{'alleles per CPU s':>20}")
    for result in results:
        print(f"{result['alleles']:28}{result['alleles_per_cpu_s']:20,}")
    print(f"peak memory: {own:,} MiB, bcftools csq {csq:,} MiB")
    record = {
        "machine": describe_machine(),
        "arguments": vars(args),
        "gff_lines_per_cpu_s": round(num_lines / read_s),
        "results": results,
        "peak_mib": own,
        "csq_peak_mib": csq,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
