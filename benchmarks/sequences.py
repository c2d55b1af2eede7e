"""Log-likelihoods of sequences: rate of the model, and speed and memory of the other steps.

The first table is about the model. Random sequences go through `run_readings` on both strands, as
in scoring, in turn with the matrix multiplications alone on the same number of tokens (see
`forward.py`); `of_matmul` is their time divided by that of the model. *equal* are sequences of
`--length` bases; *mixed* have half to twice as many. `one_by_one` runs the same sequences without
batches. `padded` is the number of tokens with padding divided by that without.

The second table is about the rest: reading the FASTA, cutting it into parts, keeping the parts,
writing and merging the rows, with numbers in the place of the model. Each number of sequences is a
process of its own; `peak_mb` is its peak memory during a step, which must not grow with their
number.

    python benchmarks/sequences.py
    python benchmarks/sequences.py --sequences 1000 --stub 10000 100000
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import make_matmuls
from machine import cpu_seconds, describe_machine, print_table, significant, time_in_turn
from score import Peak

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS
from evo2_tasks.config.sequences import (
    resolve_merge_sequences,
    resolve_score_sequences,
    resolve_split_sequences,
)
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.layout import SPLIT, shard_file, shard_run_file
from evo2_tasks.scoring.sequence_batches import run_readings
from evo2_tasks.scoring.sequences import SequenceScore, SequenceToScore, plan_batches
from evo2_tasks.steps.merge_sequences import merge_sequences
from evo2_tasks.steps.score_sequence_set import read_parts, reading_settings, score_parts
from evo2_tasks.steps.split_sequences import split_sequences
from evo2_tasks.table.documents import PartUsage, ScoreStatements, ShardRun
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import PartStore, parts_folder
from evo2_tasks.table.provenance import Provenance, as_json, package_version
from evo2_tasks.table.sequence_rows import (
    SequenceRows,
    SequenceScores,
    part_columns,
    part_types,
)
from evo2_tasks.table.sequence_schema import sequences_table_schema


def draw(rng: random.Random, length: int) -> bytes:
    return bytes(rng.choices(b"ACGT", k=length))


def measure_model(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rate of the model for each kind of sequences."""
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    model = Evo2ForCausalLM.from_pretrained(BUNDLED_CHECKPOINTS / "evo2-mini").eval()
    rng, rows = random.Random(1), []
    lengths: dict[str, Callable[[], int]] = {
        "equal": lambda: args.length,
        "mixed": lambda: rng.randint(args.length // 2, 2 * args.length),
    }
    for name in args.kinds:
        draw_length = lengths[name]
        some = [draw(rng, draw_length()) for _ in range(args.sequences)]
        readings = list(dict.fromkeys([*some, *(one[::-1] for one in some)]))
        tokens = sum(map(len, readings))
        batches = plan_batches(readings, args.batch_tokens)
        alone = readings[: max(1, len(readings) // 50)]

        def run(readings: list[bytes], batch_tokens: int) -> None:
            run_readings(model, readings, prepend_bos=False, batch_tokens=batch_tokens)

        peak = Peak()
        with torch.inference_mode():
            seconds = time_in_turn(
                {
                    "model": lambda readings=readings: run(readings, args.batch_tokens),
                    "matmul": make_matmuls(model, tokens),
                    "one_by_one": lambda alone=alone: run(alone, 1),
                },
                repeats=args.repeats,
                clock=cpu_seconds if args.threads == 1 else time.perf_counter,
            )
        rate = tokens / seconds["model"]
        rows.append(
            {
                "sequences": name,
                "number": len(some),
                "seconds": significant(seconds["model"]),
                "sequences_per_s": significant(len(some) / seconds["model"]),
                "tokens_per_s": significant(rate),
                "of_matmul": round(seconds["matmul"] / seconds["model"], 2),
                "over_one_by_one": significant(rate * seconds["one_by_one"] / sum(map(len, alone))),
                "padded": round(sum(len(one) * len(one[-1]) for one in batches) / tokens, 3),
                "peak_mb": peak.megabytes(),
            }
        )
    return rows


class Stub:
    """Takes the place of the model: a number for each sequence."""

    def score(
        self, part: list[SequenceToScore], _progress: Progress
    ) -> tuple[list[SequenceScores], PartUsage]:
        none = np.empty(0, dtype=np.float32)
        scores = [
            SequenceScores(
                {"forward": SequenceScore(-1.5, none), "reverse": SequenceScore(-2.5, none)}
            )
            for _ in part
        ]
        usage = PartUsage(
            alleles_tried=len(part), tokens=1, windows_run=1, tokens_run=1, wall_s=0, batch_tokens=1
        )
        return scores, usage


def run_stub(folder: Path, number: int, length: int) -> list[dict[str, Any]]:
    """The steps of a sequence set with a stub, and what each takes."""
    rng = random.Random(2)
    block = [draw(rng, length).decode() for _ in range(1_000)]
    with (folder / "in.fa").open("w") as fasta:
        for i in range(number):
            # All different, without the time to draw them all.
            fasta.write(f">s{i}\n{block[i % 1000][: length - 20]}{make_tag(i)}\n")
    config = load_config(
        {
            "models": {"m": {"checkpoint": "evo2-mini"}},
            "scorings": {"s": {"model": "m"}},
            "sequence_sets": {"S": {"sequences": str(folder / "in.fa"), "scorings": ["s"]}},
            "output": str(folder),
        }
    )
    settings = resolve_score_sequences(config, "S", "s")
    shards, scores = folder / "shards", folder / "scores"
    shard, out = shards / shard_file(1, 1), scores / shard_file(1, 1)
    rows: list[dict[str, Any]] = []

    def add(stage: str, run: Callable[[], object]) -> None:
        started, peak = cpu_seconds(), Peak()
        run()
        taken = cpu_seconds() - started
        rows.append(
            {
                "number": number,
                "stage": stage,
                "cpu_s": significant(taken),
                "sequences_per_s": significant(number / taken),
                "peak_mb": peak.megabytes(),
            }
        )

    def score() -> None:
        reading, source = reading_settings(settings), digest_file(shard)
        provenance = Provenance({"sequences_version": 1}, package_version(), source=source)
        schema = sequences_table_schema(per_base=False)
        with (
            write_table(out, schema, metadata=provenance.metadata()) as writer,
            Progress("score", total=None, unit="tokens") as progress,
            Interruption() as interruption,
        ):
            store = PartStore(
                parts_folder(out), source, {}, part_columns(reading), types=part_types(reading)
            )
            score_parts(
                read_parts(settings, shard),
                Stub(),
                store,
                SequenceRows(shard, writer, reading),
                progress,
                interruption,
                max_non_finite_share=0.1,
                reading=reading,
            )
            digest = writer.digest()
        ShardRun(
            windows_run=1,
            tokens_run=1,
            wall_s=1,
            statements=ScoreStatements(settings=as_json(settings.triggers()), scores=digest),
        ).write(shard_run_file(out))

    add(
        "split_sequences",
        lambda: split_sequences(resolve_split_sequences(config, "S"), sequences=None, out=shards),
    )
    add("score_sequence_set", score)
    add(
        "merge_sequences",
        lambda: merge_sequences(
            resolve_merge_sequences(config, "S", "s"),
            split_file=shards / SPLIT,
            scores_folder=scores,
            out=folder / "sequences.parquet",
            run_json=folder / "sequences.json",
        ),
    )
    return rows


def make_tag(number: int) -> str:
    """Twenty bases that spell a number."""
    return "".join("ACGT"[number >> shift & 3] for shift in range(0, 40, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--kinds", nargs="*", default=["equal", "mixed"])
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--stub", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--run-stub", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run_stub:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run_stub(Path(folder), args.run_stub, args.length)))
        return
    rows = measure_model(args) if args.sequences else []
    print_table(rows)
    steps: list[dict[str, Any]] = []
    for number in args.stub:
        command = [sys.executable, __file__, "--run-stub", str(number)]
        done = subprocess.run(
            [*command, "--length", str(args.length)], check=True, capture_output=True, text=True
        )
        steps += json.loads(done.stdout.splitlines()[-1])
    print_table(steps)
    described = {**describe_machine(), "length": args.length, "batch_tokens": args.batch_tokens}
    print(json.dumps({"benchmark": "sequences", **described, "rows": rows, "steps": steps}))


if __name__ == "__main__":
    main()
