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
from itertools import pairwise, product
from pathlib import Path

import torch
from run_steps import SET, SHARD, describe_run, measure, print_rows

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.layout import RUN, SPLIT, TABLE

SCORING = "w"
LAYERS = ["blocks.0", "norm", "blocks.1", "embedding_layer", "blocks.0.mlp.l3", "blocks.1.mlp.l3"]
WIDE = Path(__file__).with_name("wide_layers.py")
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


def write_model(folder: Path, args: argparse.Namespace) -> None:
    """A model of two layers with random weights."""
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


def write_config(folder: Path, args: argparse.Namespace, dtype: str) -> None:
    tokens = args.window // 2
    profile = {} if args.wide else {"profile": tokens}
    settings = {
        "references": {"random": {"fasta": str(folder / "genome.fa")}},
        "models": {"small": {"checkpoint": str(folder / "model"), "gpus": 0, "dtype": "float32"}},
        "scorings": {
            SCORING: {
                "model": "small",
                "window_length": args.window,
                "embeddings": {
                    "layer": LAYERS[: args.layers],
                    "tokens": tokens,
                    "dtype": dtype,
                },
                **profile,
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
        "run": {"batch_tokens": args.batch_tokens},
        "output": str(folder / "results"),
    }
    (folder / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML


def run(folder: Path, num_alleles: int, args: argparse.Namespace) -> Iterator[dict[str, object]]:
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
    for dtype, layer in product(args.dtypes, LAYERS[: args.layers]):
        out = of_scoring / "embeddings" / f"{layer}.parquet"
        steps.append(
            (
                f"merge-embeddings {dtype}",
                (
                    *(*split, *shards, "--layer", layer, "--readouts", readouts),
                    *("--out", out, "--run-json", out.with_suffix(".json")),
                ),
            )
        )
    for file in (windows, scores):
        file.mkdir(parents=True)
    write_config(folder, args, args.dtypes[0])
    for name, arguments in steps:
        step, _, dtype = name.partition(" ")
        if dtype:
            write_config(folder, args, dtype)
        before = size_of(folder)
        program = [sys.executable, str(WIDE), str(args.wide)] if args.wide else None
        command = (step, *map(str, arguments))
        row = asdict(measure(name, *command, alleles=num_alleles, program=program))
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
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--layers", type=int, default=2, choices=range(1, len(LAYERS) + 1))
    parser.add_argument("--wide", type=int, help="a multiple of --width")
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for num_alleles in args.alleles:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, num_alleles)
            write_model(folder, args)
            for row in run(folder, num_alleles, args):
                rows.append(row)
                print(row, file=sys.stderr)
    print_rows(rows)
    print(
        json.dumps({"benchmark": "embedding_steps", **describe_run(), **vars(args), "rows": rows})
    )


if __name__ == "__main__":
    main()
