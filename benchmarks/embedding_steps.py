"""Time and peak memory of the steps from a VCF to the tables of embeddings and profiles.

Random SNVs of a random genome are scored with a small random model in windows of `--window` bases,
on both strands, with the embeddings of two layers and profiles. Every step runs as a separate
process, for each number of alleles of `--alleles`. `score-readouts` runs the model. `disk_mb` is
the size of the files that the step has written. Memory does not grow with the alleles if the peaks
of the numbers are alike.

    python benchmarks/embedding_steps.py
    python benchmarks/embedding_steps.py --alleles 2000 4000
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import torch
from run_steps import SET, SHARD, describe_run, measure, print_rows

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.layout import RUN, SPLIT, TABLE

SCORING = "w"
LAYERS = ["blocks.0", "norm"]
NUM_BASES = 300_000


def write_inputs(folder: Path, num_alleles: int) -> None:
    """A genome, and SNVs in the order of their positions."""
    choose = random.Random(1)
    bases = "".join(choose.choices("ACGT", k=NUM_BASES))
    lines = [*range(0, NUM_BASES, 60), NUM_BASES]
    text = "".join(bases[start:end] + "\n" for start, end in pairwise(lines))
    (folder / "genome.fa").write_text(f">c\n{text}")
    sites = sorted(choose.sample(range(100, NUM_BASES - 100), num_alleles))
    with (folder / "variants.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for site in sites:
            alt = choose.choice([base for base in "ACGT" if base != bases[site]])
            vcf.write(f"c\t{site + 1}\t.\t{bases[site]}\t{alt}\t.\t.\t.\n")


def write_config(folder: Path, args: argparse.Namespace) -> None:
    torch.manual_seed(1)
    config = Evo2Config(
        hidden_size=args.width,
        intermediate_size=args.width,
        num_attention_heads=2,
        operators=["hyena_se", "attention"],
        hyena_se_groups=8,
        hyena_mr_groups=8,
    )
    Evo2ForCausalLM(config).save_pretrained(folder / "model")
    tokens = args.window // 2
    settings = {
        "references": {"random": {"fasta": str(folder / "genome.fa")}},
        "models": {"small": {"checkpoint": str(folder / "model"), "gpus": 0, "dtype": "float32"}},
        "scorings": {
            SCORING: {
                "model": "small",
                "window_length": args.window,
                "embeddings": {"layer": LAYERS, "tokens": tokens, "dtype": args.dtype},
                "profile": tokens,
            }
        },
        "variant_sets": {
            SET: {
                "variants": str(folder / "variants.vcf"),
                "reference": "random",
                "scorings": [SCORING],
            }
        },
        "shards": 1,
        "output": str(folder / "results"),
    }
    (folder / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML


def run(folder: Path, num_alleles: int) -> Iterator[dict[str, object]]:
    """Run the steps."""
    of_set = folder / "results" / SET
    of_scoring = of_set / SCORING
    windows, scores = of_scoring / "windows", of_scoring / "scores"
    readouts = of_scoring / "readouts"
    config = ("--config", folder / "config.yaml")
    of_input = (*config, "--variant-set", SET)
    split = (*of_input, "--scoring", SCORING, "--split", of_set / "shards" / SPLIT)
    segments = windows / "1-of-1.segments.parquet"
    shards = ("--windows", windows, "--scores", scores)
    steps: list[tuple[str, tuple[object, ...]]] = [
        ("split", (*of_input, "--out", of_set / "shards")),
        (
            "windows",
            (
                *(*split, "--shard", of_set / "shards" / SHARD),
                *("--out", windows / SHARD, "--segments", segments),
            ),
        ),
        (
            "score-readouts",
            (
                *(*config, "--scoring", SCORING, "--windows", windows / SHARD, "--threads", 1),
                *("--segments", segments, "--out", scores / SHARD),
                *("--readouts", readouts / Path(SHARD).stem),
            ),
        ),
        (
            "merge",
            (*split, *shards, "--out", of_scoring / TABLE, "--run-json", of_scoring / RUN),
        ),
    ]
    for layer in LAYERS:
        out = of_scoring / "embeddings" / f"{layer}.parquet"
        steps.append(
            (
                "merge-embeddings",
                (
                    *(*split, *shards, "--layer", layer, "--readouts", readouts),
                    *("--out", out, "--run-json", out.with_suffix(".json")),
                ),
            )
        )
    for file in (windows, scores):
        file.mkdir(parents=True)
    for step, arguments in steps:
        before = size_of(folder)
        row = asdict(measure(step, step, *map(str, arguments), alleles=num_alleles))
        yield row | {"disk_mb": round(size_of(folder) - before, 1)}


def size_of(folder: Path) -> float:
    """Size of the files of a folder, MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alleles", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for num_alleles in args.alleles:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, num_alleles)
            write_config(folder, args)
            for row in run(folder, num_alleles):
                rows.append(row)
                print(row, file=sys.stderr)
    print_rows(rows)
    print(
        json.dumps({"benchmark": "embedding_steps", **describe_run(), **vars(args), "rows": rows})
    )


if __name__ == "__main__":
    main()
