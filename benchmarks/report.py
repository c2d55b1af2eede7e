"""Time, peak memory and page size of the report: a table, and a last line of JSON.

The program makes tables of the given sizes with random scores, and runs the command `report` as a
separate process. Run it in the checkout: `python benchmarks/report.py`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance, make_signature, package_version
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS, CarryField, final_schema

CONFIG = """
references: {random: {fasta: none.fa}}
models: {stub: {checkpoint: stub, gpus: 0}}
scorings: {w8k: {model: stub}}
variant_sets: {v: {variants: none.vcf, reference: random, scorings: [w8k]}}
"""
CARRY = (CarryField("GENE", "string", False, "Gene"), CarryField("AF", "float", True, "Frequency"))
ROWS_AT_ONCE = 100_000
KINDS = (("A", "G"), ("C", "T"), ("ACT", "A"), ("A", "AGG"), ("AC", "GT"))


def make_rows(
    first: int, num_rows: int, *, total: int, num_contigs: int, rng: np.random.Generator
) -> pa.Table:
    """Rows of a table, sorted by contig."""
    kinds = rng.choice(len(KINDS), num_rows, p=[0.45, 0.43, 0.05, 0.05, 0.02])
    is_scored = rng.random(num_rows) < 0.97
    llr = rng.standard_t(4, num_rows) - 0.5

    def numbers(noise: float) -> pa.Array:
        return pa.array(llr + noise * rng.normal(size=num_rows), mask=~is_scored)

    def pick(names: tuple[str, ...], codes: np.ndarray) -> pa.Array:
        return pa.array(np.array(names, dtype=object)[codes], pa.string())

    contigs = np.arange(first, first + num_rows) * num_contigs // total
    contig = pick(tuple(f"chr{i}" for i in range(num_contigs)), contigs).dictionary_encode()
    flags = pa.array([["clipped"] if i % 50 == 0 and is_scored[i] else [] for i in range(num_rows)])
    columns = {
        "record": np.arange(first, first + num_rows),
        "allele": np.ones(num_rows, dtype=np.int32),
        "contig": contig,
        "reference_contig": contig,
        "pos": rng.integers(1, 150_000_000, num_rows),
        "ref": pick(tuple(ref for ref, _ in KINDS), kinds),
        "alt": pick(tuple(alt for _, alt in KINDS), kinds),
        "status": pick(("ref_mismatch", "scored"), is_scored.astype(int)).dictionary_encode(),
        "flags": flags,
        "window_start": np.zeros(num_rows, dtype=np.int64),
        "window_end": np.full(num_rows, 8192),
        **{
            name: numbers(0.3 if name[-4:] in ("_fwd", "_rev") else 0) for name in ALL_SCORE_COLUMNS
        },
        "GENE": pick(tuple(f"GENE{i}" for i in range(500)), rng.integers(0, 500, num_rows)),
        "AF": pa.array([[0.25]] * num_rows),
    }
    schema = final_schema(CARRY)
    return pa.table([pa.array(columns[name]) for name in schema.names], schema.names).cast(schema)


def write_results(folder: Path, *, alleles: int, num_contigs: int) -> None:
    """Write a table, its run.json, and a config."""
    signature = make_signature(
        reference_digest="SQ.abc", scoring={"window_length": 8192}, weights_digest="0" * 64,
        dtype="float32", fp8="off", prepend_bos=False,
    )  # fmt: skip
    provenance = Provenance(signature, package_version(), "stub")
    rng = np.random.default_rng(1)
    table = folder / "w8k" / "scores.parquet"
    schema = final_schema(CARRY)
    with write_table(table, schema, metadata=provenance.metadata()) as writer:
        for first in range(0, alleles, ROWS_AT_ONCE):
            num_rows = min(ROWS_AT_ONCE, alleles - first)
            writer.write(
                make_rows(first, num_rows, total=alleles, num_contigs=num_contigs, rng=rng)
            )
    shard = {"windows_run": 1, "tokens_run": 8192, "wall_s": 1.0, "device": "stub", "node": "n"}
    run = {"alleles": alleles, "shards": [{"shard": f"{i}-of-100", **shard} for i in range(100)]}
    (folder / "w8k" / "run.json").write_text(json.dumps(run))
    (folder / "config.yaml").write_text(CONFIG)


def measure(folder: Path, *, alleles: int) -> dict[str, object]:
    """Run the command; measure its time, its peak memory, and the size of the page."""
    page = folder / "report.html"
    command = [
        *(str(Path(sys.executable).with_name("evo2-tasks")), "report", "--variant-set", "v"),
        *("--config", f"{folder}/config.yaml", "--results", str(folder), "--out", str(page)),
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    assert status == 0, process.stderr.read().decode() if process.stderr else ""
    return {
        "alleles": alleles,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_mb": round(usage.ru_maxrss / 1024),
        "page_mb": round(page.stat().st_size / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alleles", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--contigs", type=int, default=25)
    args = parser.parse_args()
    rows = []
    for alleles in args.alleles:
        with tempfile.TemporaryDirectory() as folder:
            write_results(Path(folder), alleles=alleles, num_contigs=args.contigs)
            rows.append(measure(Path(folder), alleles=alleles))
    print("  ".join(f"{name:>14}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>14}" for value in row.values()))
    print(
        json.dumps(
            {
                "benchmark": "report",
                "version": package_version(),
                "machine": platform.processor() or platform.machine(),
                "contigs": args.contigs,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
