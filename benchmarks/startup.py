"""CPU time of starting commands: the help, each step without a model, and the import of the model.

A run of a dozen SNVs with one scoring is made first. Then each command is started again on its
files, in a process of its own, with the package of this checkout and with that of an earlier one in
turn. `cpu_s` is the median of user and system time. The commands read the config as the workflow
hands it to its jobs: as JSON on standard input.

`evaluate` predicts the labels from the consequences of the alleles too, for which it imports
scikit-learn.

    git worktree add build/before COMMIT
    python benchmarks/startup.py --before build/before
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from machine import describe_machine, print_table

from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import dump_config

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
NUM_VARIANTS = 12
COMMAND = "from evo2_tasks.cli import main; main()"

SET = "results/v"
SCORING = f"{SET}/s"
OF_SET = "--config - --variant-set v"
OF_SCORING = f"{OF_SET} --scoring s"
CASES = {
    "--help": "--help",
    "split": f"split {OF_SET} --out out/shards",
    "carry": f"carry {OF_SET} --out out/carried.parquet",
    "annotate": f"annotate {OF_SET} --out out/annotations.parquet",
    "windows": f"windows {OF_SCORING} --shard {SET}/shards/1-of-1.parquet"
    f" --split {SET}/shards/split.json --out out/windows.parquet --segments out/segments.parquet",
    "merge": f"merge {OF_SCORING} --split {SET}/shards/split.json --windows {SCORING}/windows"
    f" --scores {SCORING}/scores --out out/scores.parquet --run-json out/run.json"
    f" {SET}/annotations.parquet {SET}/carried.parquet",
    "export vcf": f"export --to vcf --out out/x.vcf.gz {SCORING}/scores.parquet",
    "export tsv": f"export --to tsv --out out/x.tsv {SCORING}/scores.parquet",
    "index": f"index --out out/x.vcf.gz.index {SCORING}/scores.vcf.gz",
    "evaluate": f"evaluate {OF_SET} --table {SCORING}/scores.parquet"
    " --out out/metrics.parquet --curves out/curves.parquet",
    "report": f"report {OF_SET} --results {SET} --out out/report.html",
    "show": f"show {SCORING}/scores.parquet",
}


def make_run(folder: Path) -> str:
    """Run the workflow in a folder, and give its config as JSON."""
    with gzip.open(DATA / "mitomap.vcf.gz", "rt") as demo:
        lines = demo.readlines()
    num_header = sum(line.startswith("#") for line in lines)
    (folder / "in.vcf").write_text("".join(lines[: num_header + NUM_VARIANTS]))
    config = {
        "references": {
            "rCRS": {
                "fasta": str(DATA / "rCRS.fa"),
                "circular_contigs": ["MT"],
                "gff": str(DATA / "rCRS.gff3"),
                "genetic_codes": {"MT": 2},
            }
        },
        "models": {"mini": {"checkpoint": "evo2-mini", "gpus": 0}},
        "scorings": {"s": {"model": "mini", "window_length": 512}},
        "variant_sets": {
            "v": {
                "variants": str(folder / "in.vcf"),
                "reference": "rCRS",
                "scorings": ["s"],
                "labels": {"LABEL": {"positive": ["pathogenic"], "negative": ["benign"]}},
                "exports": ["vcf"],
            }
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    snakefile = str(ROOT / "workflow" / "Snakefile")
    words = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--cores", "2"]
    subprocess.run(
        [*words, "--configfile", "config.json", "--quiet", "all"],
        cwd=folder,
        env=environment(ROOT),
        check=True,
    )
    return dump_config(load_config(folder / "config.json"))


def environment(checkout: Path) -> dict[str, str]:
    """Variables with which a process imports the package of a checkout."""
    return os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}


def cpu_s(code: str, words: list[str], *, folder: Path, checkout: Path, config: str) -> float:
    """CPU time of a process from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=environment(checkout),
        input=config,
        text=True,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="an earlier checkout")
    parser.add_argument("--starts", type=int, default=20, help="starts of each command")
    options = parser.parse_args()
    checkouts = {"before_s": options.before, "cpu_s": ROOT}
    cases = {name: (COMMAND, words.split()) for name, words in CASES.items()}
    cases["import evo2_tasks.evo2"] = ("import evo2_tasks.evo2", [])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_run(folder)
        (folder / "out").mkdir()
        for case, (code, words) in cases.items():
            taken: dict[str, list[float]] = {column: [] for column in checkouts}
            for number in range(options.starts + 1):
                for column, checkout in checkouts.items():
                    seconds = cpu_s(code, words, folder=folder, checkout=checkout, config=config)
                    if number:  # the first start writes the compiled modules
                        taken[column].append(seconds)
            times = {column: round(median(each), 3) for column, each in taken.items()}
            rows.append(
                {"start": case, **times, "share": round(times["cpu_s"] / times["before_s"], 2)}
            )
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_table(rows)
    print(json.dumps({"benchmark": "startup", **describe_machine(), "starts": rows}))


if __name__ == "__main__":
    main()
