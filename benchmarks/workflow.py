"""Cost of the workflow itself, without the scoring: to plan the jobs, and for each shard.

- `dry_run_s`: `snakemake -n` without earlier results, for the given number of shards in two
  scorings.
- `per_shard_s`: the first alleles of the demo are scored with evo2-mini on one core, in few shards
  and in many. The value is the difference of the two times, divided by the difference of the
  numbers of shards. It is the cost of a job without scoring: Snakemake, the start of Python and
  torch, loading the model, and files.

    python benchmarks/workflow.py
    python benchmarks/workflow.py --quick
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from machine import describe_machine, print_table, significant

ROOT = Path(__file__).parent.parent
NUM_RECORDS = 24


def write_config(folder: Path, *, shards: int, num_scorings: int) -> None:
    """Write a config and the first variants of the demo to a folder."""
    with gzip.open(ROOT / "data/mitomap.vcf.gz", "rt") as file:
        lines = file.readlines()
    header = [line for line in lines if line.startswith("#")]
    records = lines[len(header) : len(header) + NUM_RECORDS]
    (folder / "in.vcf").write_text("".join(header + records))
    names = [f"s{number}" for number in range(num_scorings)]
    config = {
        "references": {
            "rCRS": {"fasta": str(ROOT / "data/rCRS.fa"), "circular_contigs": ["MT"]},
        },
        "models": {"evo2-mini": {"checkpoint": "evo2-mini", "gpus": 0}},
        "scorings": {
            name: {"model": "evo2-mini", "window_length": 64 + number}
            for number, name in enumerate(names)
        },
        "variant_sets": {"v": {"variants": "in.vcf", "reference": "rCRS", "scorings": names}},
        "shards": shards,
        "output": "results",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def run_snakemake(folder: Path, *options: str) -> float:
    """Run Snakemake and return the seconds that it took."""
    command = ["snakemake", "-s", str(ROOT / "workflow/Snakefile"), "--cores", "1", *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        env=os.environ | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def time_run(shards: int, num_scorings: int, *options: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_config(folder, shards=shards, num_scorings=num_scorings)
        return run_snakemake(folder, *options)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.shards, args.few, args.many = [10], 1, 2
    machine = describe_machine()
    rows: list[dict[str, Any]] = [
        {"shards": shards, "scorings": 2, "dry_run_s": significant(time_run(shards, 2, "-n"))}
        for shards in args.shards
    ]
    few, many = time_run(args.few, 1), time_run(args.many, 1)
    per_shard = (many - few) / (args.many - args.few)
    rows += [
        {"shards": args.few, "scorings": 1, "run_s": significant(few)},
        {"shards": args.many, "scorings": 1, "run_s": significant(many)},
        {"per_shard_s": significant(per_shard)},
    ]
    print_table(rows)
    print(json.dumps({"benchmark": "workflow", "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()
