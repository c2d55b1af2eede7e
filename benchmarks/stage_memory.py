"""Peak memory of split, windows and merge for inputs with few rows and much text, or many contigs.

Each input is made here: one REF of a megabase with thousands of ALTs, many ALTs at one site, long
carried values, a million contigs. Every step runs as a separate process. The last lines compare its
peak with what the rules of the workflow ask for, and are JSON. Run it in the checkout:
`python benchmarks/stage_memory.py`.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from run_steps import CHAIN, describe_run, print_rows, run_steps, write_config

from evo2_tasks.jobs import CPU_STEP_MB

HEADER = "##fileformat=VCFv4.2\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
TEXT = '##INFO=<ID=TEXT,Number=1,Type=String,Description="Text">\n'
NUMBERS = '##INFO=<ID=TEXT,Number=.,Type=Integer,Description="Numbers">\n'
LINE_BASES = 60


def random_bases(length: int) -> str:
    return "".join(random.Random(1).choices("ACGT", k=length))


def write_genome(folder: Path, sequences: dict[str, str]) -> None:
    with (folder / "genome.fa").open("w") as fasta:
        for name, bases in sequences.items():
            fasta.write(f">{name}\n")
            lines = range(0, len(bases), LINE_BASES)
            fasta.writelines(bases[i : i + LINE_BASES] + "\n" for i in lines)


def write_long_ref(folder: Path, num_alts: int) -> int:
    """One deletion of a megabase, with many ALTs: a file of a megabyte."""
    bases = random_bases(1_100_000)
    write_genome(folder, {"c": bases})
    choose = random.Random(2)
    alts = {"".join(choose.choices("ACGT", k=12)) for _ in range(num_alts)}
    line = f"c\t2000\t.\t{bases[1999 : 1999 + 1_000_000]}\t{','.join(sorted(alts))}\t.\t.\t.\n"
    (folder / "variants.vcf").write_text(HEADER + COLUMNS + line)
    return len(alts)


def write_many_alts(folder: Path, num_alts: int) -> int:
    """One site with many insertions."""
    bases = random_bases(10_000)
    write_genome(folder, {"c": bases})
    choose = random.Random(2)
    alts = {bases[4999] + "".join(choose.choices("ACGT", k=20)) for _ in range(num_alts)}
    line = f"c\t5000\t.\t{bases[4999]}\t{','.join(sorted(alts))}\t.\t.\t.\n"
    (folder / "variants.vcf").write_text(HEADER + COLUMNS + line)
    return len(alts)


def write_values(folder: Path, num_rows: int, definition: str, value: str) -> int:
    bases = random_bases(100_000)
    write_genome(folder, {"c": bases})
    with (folder / "variants.vcf").open("w") as vcf:
        vcf.write(HEADER + definition + COLUMNS)
        for number in range(num_rows):
            ref = bases[5_000 + number]
            alt = "A" if ref != "A" else "C"
            vcf.write(f"c\t{5_001 + number}\t.\t{ref}\t{alt}\t.\t.\tTEXT={value}\n")
    return num_rows


def write_long_text(folder: Path, num_rows: int) -> int:
    """A carried text of 100 kB in each record."""
    return write_values(folder, num_rows, TEXT, random_bases(100_000))


def write_long_lists(folder: Path, num_rows: int) -> int:
    """A carried list of 10,000 numbers in each record."""
    return write_values(folder, num_rows, NUMBERS, ",".join(map(str, range(10_000))))


def write_many_contigs(folder: Path, num_contigs: int) -> int:
    """A reference and a header of many contigs, each with one variant."""
    bases = random_bases(100)
    sequences = {f"scaffold_{number:07}": bases for number in range(num_contigs)}
    write_genome(folder, sequences)
    with (folder / "variants.vcf").open("w") as vcf:
        vcf.write(HEADER)
        vcf.writelines(f"##contig=<ID={name},length=100>\n" for name in sequences)
        vcf.write(COLUMNS)
        alt = "A" if bases[49] != "A" else "C"
        vcf.writelines(f"{name}\t50\t.\t{bases[49]}\t{alt}\t.\t.\t.\n" for name in sequences)
    return num_contigs


CASES: dict[str, tuple[Callable[[Path, int], int], int]] = {
    "long REF": (write_long_ref, 2_200),
    "many ALTs": (write_many_alts, 100_000),
    "long text": (write_long_text, 10_000),
    "long lists": (write_long_lists, 10_000),
    "many contigs": (write_many_contigs, 1_000_000),
}


def run(folder: Path, name: str, scale: float) -> list[dict[str, object]]:
    write, size = CASES[name]
    alleles = write(folder, round(size * scale))
    carry = ["TEXT"] if write in (write_long_text, write_long_lists) else []
    settings = {"carry": carry, "sort_by_position": True, "max_ref_mismatch_share": 1}
    write_config(folder, window_length=2048, **settings)
    steps = ("carry", *CHAIN) if carry else CHAIN
    mb = round(sum(file.stat().st_size for file in folder.glob("variants.*")) / 1e6, 1)
    measured = run_steps(folder, alleles=alleles, steps=steps)
    return [{"input": name, "file_mb": mb, **asdict(row)} for row in measured]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--scale", type=float, default=1.0, help="Size, as a share of the full one."
    )
    args = parser.parse_args()
    rows = []
    for name in args.inputs:
        with tempfile.TemporaryDirectory() as folder:
            rows += run(Path(folder), name, args.scale)
    print_rows(rows)
    print(
        f"The rules ask for {CPU_STEP_MB:,} MB at the first attempt, without Snakemake's own share."
    )
    sizes = {"scale": args.scale, "asked_mb": CPU_STEP_MB}
    print(json.dumps({"benchmark": "stage_memory", **describe_run(), **sizes, "rows": rows}))


if __name__ == "__main__":
    main()
