"""Peak memory of split, windows and merge for inputs with few rows and much text, or many contigs.

Each input is made here: one REF of a megabase with thousands of ALTs, many ALTs at one site, long
carried values, a million contigs. Every step runs as a separate process. The last lines compare its
peak with what the rules of the workflow ask for, and are JSON. Run it in the checkout:
`python benchmarks/stage_memory.py`.
"""

import argparse
import json
import platform
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from stages import measure, write_scores

from evo2_tasks.jobs import CPU_STEP_MB
from evo2_tasks.table.provenance import package_version

CONFIG = """
references: {{random: {{fasta: {folder}/genome.fa}}}}
models: {{stub: {{checkpoint: {folder}/stub, gpus: 0}}}}
scorings: {{w2k: {{model: stub, window_length: 2048}}}}
variant_sets:
  v: {{variants: {folder}/variants.vcf, reference: random, scorings: [w2k], carry: [{carry}],
       sort_by_position: true, max_ref_mismatch_share: 1}}
output: {folder}/results
"""
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
    carry = "TEXT" if write in (write_long_text, write_long_lists) else ""
    (folder / "stub").mkdir()
    (folder / "stub" / "config.json").write_text("{}")
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, carry=carry))
    work = folder / "results"
    shard = "1-of-1.parquet"
    common = ("--config", f"{folder}/config.yaml", "--variant-set", "v")
    scoring = (*common, "--scoring", "w2k", "--split", f"{work}/split.json")
    rows = [measure("split", *common, "--out", str(work), alleles=alleles)]
    (work / "windows").mkdir()
    rows.append(
        measure(
            "windows",
            *(*scoring, "--shard", f"{work}/{shard}", "--out", f"{work}/windows/{shard}"),
            *("--segments", f"{work}/windows/1-of-1.segments.parquet"),
            alleles=alleles,
        )
    )
    (work / "scores").mkdir()
    write_scores(work / "windows" / shard, work / "scores" / shard)
    rows.append(
        measure(
            "merge",
            *(*scoring, "--windows", f"{work}/windows", "--scores", f"{work}/scores"),
            *("--out", f"{work}/scores.parquet", "--run-json", f"{work}/run.json"),
            alleles=alleles,
        )
    )
    mb = round(sum(file.stat().st_size for file in folder.glob("variants.*")) / 1e6, 1)
    return [{"input": name, "file_mb": mb, **row} for row in rows]


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
        for row in rows[-3:]:
            print("  ".join(f"{value!s:>14}" for value in row.values()), flush=True)
    print("  ".join(f"{name:>14}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>14}" for value in row.values()))
    print(
        f"The rules ask for {CPU_STEP_MB:,} MB at the first attempt, without Snakemake's own share."
    )
    print(
        json.dumps(
            {
                "benchmark": "stage_memory",
                "version": package_version(),
                "machine": platform.processor() or platform.machine(),
                "scale": args.scale,
                "asked_mb": CPU_STEP_MB,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
