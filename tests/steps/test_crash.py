"""Steps that are killed by SIGKILL at seeded random moments leave the same bytes in the end.

CRASH_ROUNDS=30 pytest tests/steps/test_crash.py
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.layout import shard_file
from evo2_tasks.table.parts import parts_folder
from tests.project import files_of_shards, run_split, run_windows, write_demo

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
MAIN = "from evo2_tasks.cli import main; main()"
NUM_SHARDS = 2
NUM_ALLELES = 50
MOST_KILLS = 40


class Run:
    """The demo's first variants, placed once; each round scores and merges them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run = {"batch_tokens": 2_048, "part_tokens": 4_096}
        self.config_file = write_demo(folder, NUM_ALLELES, shards=NUM_SHARDS, run=run)
        config = load_config(self.config_file)
        run_split(config, folder)
        run_windows(config, folder)
        self.files = files_of_shards(config, folder)

    def score(self, shard: int, out: Path) -> list[str]:
        files = self.files[shard - 1]
        return [
            *("score", "--config", str(self.config_file), "--scoring", "s", "--threads", "1"),
            *("--windows", str(files.windows), "--segments", str(files.segments)),
            *("--out", str(out / "scores" / files.scores.name)),
        ]

    def merge(self, out: Path) -> list[str]:
        return [
            *("merge", "--config", str(self.config_file), "--variant-set", "v", "--scoring", "s"),
            *("--split", str(self.folder / "shards" / "split.json")),
            *("--windows", str(self.files[0].windows.parent), "--scores", str(out / "scores")),
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
