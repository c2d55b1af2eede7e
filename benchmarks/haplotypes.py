"""Speed and memory of reading genotypes and of finding neighbours and compounds, with JSON last.

The program writes a random genome and a phased VCF: most alleles are rare, most genotypes are
``0|0``, and the haplotypes are mosaics of a few founders, as those of people are. It reads the
genotypes, finds the windows of every allele among its neighbours, and the compounds. Run it in the
checkout: `python benchmarks/haplotypes.py`.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path

from machine import describe_machine, print_table, significant

from evo2_tasks.genome.haplotypes import Haplotypes
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings

FOUNDERS = 12
BLOCK_RECORDS = 500  # records from one recombination to the next
RARE_SHARE = 0.75  # of the records: one or two copies, on any haplotypes


def write_inputs(folder: Path, *, records: int, samples: int, spacing: int) -> None:
    """A genome, and a VCF whose common alleles have the frequencies of a constant population."""
    rng = random.Random(1)
    bases = "".join(rng.choices("ACGT", k=records * spacing + 20_000))
    (folder / "genome.fa").write_text(f">c\n{bases}\n")
    counts = range(1, FOUNDERS)
    weights = [1 / count for count in counts]
    names = "\t".join(f"S{i}" for i in range(samples))
    founders: list[int] = []
    with (folder / "variants.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t")
        vcf.write(f"{names}\n")
        starts = sorted(rng.sample(range(10_000, len(bases) - 10_000), records))
        for number, start in enumerate(starts):
            if number % BLOCK_RECORDS == 0:
                founders = rng.choices(range(FOUNDERS), k=2 * samples)
            ref, kind = bases[start], rng.random()
            alt = rng.choice([base for base in "ACGT" if base != ref])
            if kind < 0.07:
                alt = ref + "".join(rng.choices("ACGT", k=rng.randint(1, 6)))
            elif kind < 0.14:
                ref, alt = bases[start : start + rng.randint(2, 7)], ref
            if rng.random() < RARE_SHARE:
                carriers = set(rng.sample(range(2 * samples), rng.choice([1, 1, 2])))
            else:
                chosen = set(rng.sample(range(FOUNDERS), rng.choices(counts, weights)[0]))
                carriers = {i for i, founder in enumerate(founders) if founder in chosen}
            calls = ["1" if i in carriers else "0" for i in range(2 * samples)]
            texts = "\t".join(f"{calls[i]}|{calls[i + 1]}" for i in range(0, 2 * samples, 2))
            vcf.write(f"c\t{start + 1}\t.\t{ref}\t{alt}\t.\tPASS\t.\tGT\t{texts}\n")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, *, window: int, distance: int) -> list[dict[str, object]]:
    """CPU seconds and peak memory of each stage, in their order; the peak never falls."""
    rows: list[dict[str, object]] = []
    reference = Reference(folder / "genome.fa")
    source = open_variants(folder / "variants.vcf")

    def add(stage: str, started: float, **numbers: int) -> None:
        taken = time.process_time() - started
        rows.append(
            {"stage": stage, "cpu_s": significant(taken), "peak_mb": round(peak_mb()), **numbers}
        )

    started = time.process_time()
    for _ in source:
        pass
    add("read records", started)
    started = time.process_time()
    genotypes = source.read_genotypes(None)
    add("read genotypes", started, calls=genotypes.counts.calls, carried=len(genotypes.record))
    started = time.process_time()
    haplotypes = Haplotypes(source, genotypes, reference)
    add("sort", started)
    started = time.process_time()
    carriers = pairs = 0
    for found in haplotypes.find_pairs(WindowSettings(window_length=window)):
        carriers += len(found.carriers)
        pairs += len(found.pairs)
    add("find pairs", started, carriers=carriers, pairs=pairs)
    started = time.process_time()
    compounds = sum(1 for _ in haplotypes.find_compounds(distance))
    add("find compounds", started, compounds=compounds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--spacing", type=int, default=200, help="bases for each record")
    parser.add_argument("--window", type=int, default=8_192)
    parser.add_argument("--distance", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"records": args.records, "samples": args.samples, "spacing": args.spacing}
        # In a process of its own, whose memory is not counted.
        writer = multiprocessing.Process(target=write_inputs, args=(folder,), kwargs=sizes)
        writer.start()
        writer.join()
        before = round(peak_mb())
        rows = measure(folder, window=args.window, distance=args.distance)
    print_table(rows)
    calls = args.records * args.samples
    total = sum(float(str(row["cpu_s"])) for row in rows)
    print(f"{calls:,} genotypes, {calls / total:,.0f} for each CPU second")
    described = {**describe_machine(), **sizes, "window": args.window, "peak_before_mb": before}
    print(json.dumps({"benchmark": "haplotypes", **described, "rows": rows}))


if __name__ == "__main__":
    main()
