"""Embeddings in the real workflow: added to a finished run, removed, in a run that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evo2_tasks.table.embeddings import read_embeddings
from tests.project import write_demo
from tests.workflow.run import COMMANDS, SNAKEFILE, run_snakemake

ARGUMENTS = ("--snakefile", str(SNAKEFILE), "--cores", "2")
READOUTS: dict[str, Any] = {
    "embeddings": {"layer": ["blocks.5", "norm"], "tokens": 32},
    "profile": 16,
}
TABLES = ("embeddings/blocks.5.parquet", "embeddings/norm.parquet", "profiles.parquet")


def write_run(folder: Path, **scoring: Any) -> None:
    """A project of the first 30 variants of the demo, whose run writes to ``results``."""
    folder.mkdir(exist_ok=True)
    scorings = {"s": {"window_length": 256, "model": "m", **scoring}}
    write_demo(
        folder,
        30,
        scorings=scorings,
        output=str(folder / "results"),
        shards=2,
        run={"part_tokens": 4_096},
    )
    (folder / "config.yaml").write_text((folder / "config.json").read_text())


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of the last change of the tables and shards of a run without read-outs."""
    files = [*folder.glob("*.parquet"), *folder.glob("scores/*.*")]
    return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def find_rules(output: str) -> set[str]:
    """The rules that a dry run would run. The report draws profiles, so it depends on their key."""
    return {*re.findall(r"^(\w+) +\d+$", output, re.MULTILINE)} - {"total", "all"}


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to which embeddings and profiles were added."""
    folder = tmp_path_factory.mktemp("added")
    write_run(folder)
    run_snakemake(folder, *ARGUMENTS)
    results = folder / "results" / "v" / "s"
    before = state_of(results)
    assert len(before) >= 5
    write_run(folder, **READOUTS)
    run_snakemake(folder, *ARGUMENTS)
    after = state_of(results)
    assert {path: after[path] for path in before} == before, "nothing that was finished changes"
    return results


@pytest.mark.slow
def test_embeddings_are_added_to_a_finished_run_and_removed_again(added: Path) -> None:
    folder = added.parents[2]
    scores = pd.read_parquet(added / "scores.parquet")
    for file in TABLES[:2]:
        (rows,) = read_embeddings(added / file)
        assert rows.record.tolist() == scores["record"].tolist()
        assert rows.delta.shape == (len(scores), 192)
    assert "Nothing to be done" in run_snakemake(folder, *ARGUMENTS, "--dry-run")
    write_run(folder, **READOUTS | {"embeddings": READOUTS["embeddings"] | {"layer": "norm"}})
    assert "Nothing to be done" in run_snakemake(folder, *ARGUMENTS, "--dry-run")
    write_run(folder, profile=READOUTS["profile"])
    assert "Nothing to be done" in run_snakemake(folder, *ARGUMENTS, "--dry-run")
    write_run(folder)
    assert find_rules(run_snakemake(folder, *ARGUMENTS, "--dry-run")) == {"report"}


@pytest.mark.slow
def test_a_new_run_that_is_killed_gives_the_same_files(tmp_path: Path, added: Path) -> None:
    write_run(tmp_path, **READOUTS)
    command = [sys.executable, "-m", "snakemake", *ARGUMENTS]
    path = os.pathsep.join([str(COMMANDS), os.environ["PATH"]])
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "results" / "v" / "s"
    deadline = time.monotonic() + 300
    while not list(folder.glob("readouts/*.parts/norm/*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("readouts/*/readouts.json"))
    run_snakemake(tmp_path, *ARGUMENTS, "--unlock")
    output = run_snakemake(tmp_path, *ARGUMENTS, "--rerun-incomplete")
    assert "Scoring with read-outs" in output
    assert "Adding read-outs" not in output
    for file in (*TABLES, "scores.parquet"):
        assert (folder / file).read_bytes() == (added / file).read_bytes(), file
    write_run(tmp_path)
    assert find_rules(run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")) == {"report"}
