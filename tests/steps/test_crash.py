"""Steps that are killed by SIGKILL at seeded random moments leave the same bytes in the end.

CRASH_ROUNDS=30 pytest tests/steps/test_crash.py
"""

import gzip
import json
import os
import random
import subprocess
import sys
import time
from itertools import islice, takewhile
from pathlib import Path

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_split, resolve_windows
from evo2_tasks.layout import shard_file
from evo2_tasks.steps import split as split_step
from evo2_tasks.steps import windows as windows_step
from evo2_tasks.table.parts import parts_folder

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
ROOT = Path(__file__).parents[2]
MAIN = "from evo2_tasks.cli import main; main()"
NUM_SHARDS = 2
NUM_ALLELES = 50
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
MOST_KILLS = 40


class Run:
    """The demo's first variants, placed once; each round scores and merges them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "config.json"
        variants = folder / "in.vcf"
        with gzip.open(ROOT / "data" / "mitomap.vcf.gz", "rt") as demo:
            header = list(takewhile(lambda line: line.startswith("##"), demo))
            variants.write_text("".join([header[0], COLUMNS, *islice(demo, NUM_ALLELES)]))
        config = {
            "references": {
                "rCRS": {"fasta": str(ROOT / "data" / "rCRS.fa"), "circular_contigs": ["MT"]}
            },
            "models": {"evo2-mini": {"checkpoint": "evo2-mini", "gpus": 0}},
            "scorings": {"s": {"model": "evo2-mini", "window_length": 256}},
            "variant_sets": {
                "v": {"variants": str(variants), "reference": "rCRS", "scorings": ["s"]}
            },
            "shards": NUM_SHARDS,
            "run": {"batch_tokens": 2_048, "part_tokens": 4_096},
        }
        self.config_file.write_text(json.dumps(config))
        run_config = load_config(self.config_file)
        split_step.split(resolve_split(run_config, "v"), variants=None, out=folder / "shards")
        for shard in range(1, NUM_SHARDS + 1):
            name = shard_file(shard, NUM_SHARDS)
            windows_step.windows(
                resolve_windows(run_config, "v", "s"),
                shard=folder / "shards" / name,
                split_file=folder / "shards" / "split.json",
                out=folder / "windows" / name,
                segments_file=folder / "segments" / name,
            )

    def score(self, shard: int, out: Path) -> list[str]:
        name = shard_file(shard, NUM_SHARDS)
        return [
            *("score", "--config", str(self.config_file), "--scoring", "s", "--threads", "1"),
            *("--windows", str(self.folder / "windows" / name)),
            *("--segments", str(self.folder / "segments" / name)),
            *("--out", str(out / "scores" / name)),
        ]

    def merge(self, out: Path) -> list[str]:
        return [
            *("merge", "--config", str(self.config_file), "--variant-set", "v", "--scoring", "s"),
            *("--split", str(self.folder / "shards" / "split.json")),
            *("--windows", str(self.folder / "windows"), "--scores", str(out / "scores")),
            *("--out", str(out / "scores.parquet"), "--run-json", str(out / "run.json")),
        ]


def take(command: list[str]) -> float:
    """Run a command to its end; gives the seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", MAIN, *command], check=True, capture_output=True)
    return time.monotonic() - started


def take_with_kills(command: list[str], seconds: float, rng: random.Random) -> int:
    """Run a command until it ends by itself, killed at random moments before; gives the kills."""
    for kills in range(MOST_KILLS):
        job = subprocess.Popen([sys.executable, "-c", MAIN, *command], stderr=subprocess.DEVNULL)
        try:
            assert job.wait(timeout=rng.uniform(0, 1.3 * seconds)) == 0
            return kills
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
    take(command)
    return MOST_KILLS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def undisturbed(run: Run) -> tuple[Path, list[float]]:
    out = run.folder / "undisturbed"
    commands = [run.score(1, out), run.score(2, out), run.merge(out)]
    return out, [take(command) for command in commands]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_at_random_moments(
    run: Run, undisturbed: tuple[Path, list[float]], seed: int
) -> None:
    expected, seconds = undisturbed
    rng = random.Random(seed)
    out = run.folder / f"round-{seed}"
    commands = [run.score(1, out), run.score(2, out), run.merge(out)]
    kills = [
        take_with_kills(command, time_it_takes, rng)
        for command, time_it_takes in zip(commands, seconds, strict=True)
    ]
    print(f"round {seed}: killed {kills} times")
    assert (out / "scores.parquet").read_bytes() == (expected / "scores.parquet").read_bytes()
    one, other = (json.loads((folder / "run.json").read_text()) for folder in (expected, out))
    for key in ("alleles", "by_status", "windows_run", "tokens_run", "signature"):
        assert other[key] == one[key]
    for shard in range(1, NUM_SHARDS + 1):
        assert not parts_folder(out / "scores" / shard_file(shard, NUM_SHARDS)).exists()
    left = {path.name for path in out.rglob("*") if ".tmp" in path.suffixes}
    assert not left
