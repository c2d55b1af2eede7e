"""Rate and peak memory of split, windows and merge: a table, and a last line of JSON.

The program makes a random genome and a VCF of the given size, runs each step as a separate process,
and writes random scores between `windows` and `merge`. Run it in the checkout:
`python benchmarks/stages.py`.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.digests import digest_file
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.provenance import Provenance, package_version, read_provenance
from evo2_tasks.table.schema import scores_schema

CONFIG = """
references: {{random: {{fasta: {folder}/genome.fa}}}}
models: {{stub: {{checkpoint: {folder}/stub, gpus: 0}}}}
scorings: {{w8k: {{model: stub, window_length: {window}}}}}
variant_sets: {{v: {{variants: {folder}/variants.vcf, reference: random, scorings: [w8k]}}}}
output: {folder}/results
"""
BASES = np.frombuffer(b"ACGT", np.uint8)


def write_inputs(folder: Path, *, alleles: int, megabases: int, window: int) -> None:
    """Write a genome of ten contigs, and sorted SNVs, deletions and insertions on it."""
    rng = np.random.default_rng(1)
    choose = random.Random(1)
    length = megabases * 100_000
    with (folder / "genome.fa").open("w") as fasta, (folder / "variants.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for number in range(1, 11):
            bases = BASES[rng.integers(0, 4, length)].tobytes().decode()
            fasta.write(f">chr{number}\n")
            fasta.writelines(bases[i : i + 60] + "\n" for i in range(0, length, 60))
            starts = np.sort(rng.integers(window, length - window, alleles // 10))
            for start in starts.tolist():
                kind = choose.random()
                ref = bases[start : start + (1 if kind < 0.95 else choose.randint(2, 12))]
                if kind < 0.9:
                    alt = choose.choice([base for base in "ACGT" if base != ref])
                else:
                    alt = ref[0] + ("" if len(ref) > 1 else "ACG"[: choose.randint(1, 3)])
                vcf.write(f"chr{number}\t{start + 1}\t.\t{ref}\t{alt}\t.\tPASS\t.\n")
    (folder / "stub").mkdir()
    (folder / "stub" / "config.json").write_text("{}")
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, window=window))


def write_scores(windows: Path, out: Path) -> None:
    """Write random scores for the alleles that need a score."""
    signature = {**read_provenance(windows).signature, "weights": "stub", "dtype": "float32"}
    source = digest_file(windows)
    provenance = Provenance(signature, package_version(), model="stub", source=source)
    schema = scores_schema()
    with write_table(out, schema, metadata=provenance.metadata()) as writer:
        for batch in read_rows(windows, ["record", "allele", "status"]):
            due = np.array([status == TO_SCORE for status in batch.column("status").to_pylist()])
            values = np.random.default_rng(2).normal(size=batch.num_rows)
            numbers = pa.array(values, mask=~due)
            status = pa.array(np.where(due, "scored", batch.column("status").to_pylist()))
            columns = [batch.column("record"), batch.column("allele"), status]
            columns += [numbers] * (len(schema.names) - 3)
            writer.write(pa.table(columns, names=schema.names))
    side = {"windows_run": 0, "tokens_run": 0, "wall_s": 0.0}
    out.with_suffix(".json").write_text(json.dumps(side))


def measure(step: str, *arguments: str, alleles: int) -> dict[str, object]:
    """Run a command; measure its time and its peak memory."""
    command = [str(Path(sys.executable).with_name("evo2-tasks")), step, *arguments]
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    assert status == 0, process.stderr.read().decode() if process.stderr else ""
    cpu_s = usage.ru_utime + usage.ru_stime
    return {
        "step": step,
        "alleles": alleles,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "alleles_per_cpu_s": round(alleles / cpu_s),
        "peak_memory_mb": round(usage.ru_maxrss / 1024),
    }


def run(folder: Path, *, alleles: int, megabases: int, window: int) -> list[dict[str, object]]:
    write_inputs(folder, alleles=alleles, megabases=megabases, window=window)
    work = folder / "results"
    common = ("--config", f"{folder}/config.yaml", "--variant-set", "v")
    scoring = (*common, "--scoring", "w8k", "--split", f"{work}/split.json")
    rows = [measure("split", *common, "--out", str(work), alleles=alleles)]
    (work / "windows").mkdir()
    shard = "1-of-1.parquet"
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
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alleles", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--window", type=int, default=8192)
    args = parser.parse_args()
    rows = []
    for alleles in args.alleles:
        with tempfile.TemporaryDirectory() as folder:
            rows += run(Path(folder), alleles=alleles, megabases=args.megabases, window=args.window)
    print("  ".join(f"{name:>14}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>14}" for value in row.values()))
    print(
        json.dumps(
            {
                "benchmark": "stages",
                "version": package_version(),
                "machine": platform.processor() or platform.machine(),
                "window_length": args.window,
                "megabases": args.megabases,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
