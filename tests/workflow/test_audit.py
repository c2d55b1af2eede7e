"""An audit in the real workflow: added to a finished run, with other shards, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.project import write_demo
from tests.workflow.run import COMMANDS, SNAKEFILE, run_snakemake

ARGUMENTS = ("--snakefile", str(SNAKEFILE), "--cores", "2")
SCORING = {"window_length": 256, "horizon": 16, "model": "m"}


def write_run(folder: Path, *, shards: int, **scoring: Any) -> None:
    """A project of the first 40 variants of the demo, whose run writes to ``results``."""
    folder.mkdir(exist_ok=True)
    output = str(folder / "results")
    scorings = {"s": SCORING | scoring}
    write_demo(folder, 40, scorings=scorings, output=output, shards=shards)
    (folder / "config.yaml").write_text((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards that has finished with an audit."""
    folder = tmp_path_factory.mktemp("audited")
    write_run(folder, shards=2, audit=0.6)
    run_snakemake(folder, *ARGUMENTS)
    return folder / "results" / "v" / "s"


def read_audit(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())["audit"]


@pytest.mark.slow
def test_an_audit_can_be_added_to_a_finished_run(tmp_path: Path, audited: Path) -> None:
    write_run(tmp_path, shards=2)
    run_snakemake(tmp_path, *ARGUMENTS)
    folder = tmp_path / "results" / "v" / "s"
    table = (folder / "scores.parquet").read_bytes()
    assert table == (audited / "scores.parquet").read_bytes()
    assert "audit" not in json.loads((folder / "run.json").read_text())
    stated = (folder / "scores" / "1-of-2.json").read_bytes()
    write_run(tmp_path, shards=2, audit=0.6)
    run_snakemake(tmp_path, *ARGUMENTS)
    assert (folder / "scores.parquet").read_bytes() == table
    assert (folder / "scores" / "1-of-2.json").read_bytes() == stated, "it was not scored again"
    assert (folder / "audit.parquet").read_bytes() == (audited / "audit.parquet").read_bytes()
    assert read_audit(folder)["errors"] == read_audit(audited)["errors"]
    assert "Error of the horizon" in (folder.parent / "report.html").read_text()
    assert "Nothing to be done" in run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")


@pytest.mark.slow
def test_other_shards_audit_the_same_alleles(tmp_path: Path, audited: Path) -> None:
    write_run(tmp_path, shards=5, audit=0.6)
    run_snakemake(tmp_path, *ARGUMENTS)
    one, other = (
        pd.read_parquet(folder / "audit.parquet")
        for folder in (audited, tmp_path / "results" / "v" / "s")
    )
    assert len(one) == 24
    pd.testing.assert_frame_equal(one, other, rtol=0, atol=256e-6)


@pytest.mark.slow
def test_a_workflow_that_is_killed_in_an_audit_continues(tmp_path: Path, audited: Path) -> None:
    write_run(tmp_path, shards=2, audit=0.6)
    command = [sys.executable, "-m", "snakemake", *ARGUMENTS]
    path = os.pathsep.join([str(COMMANDS), os.environ["PATH"]])
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "results" / "v" / "s"
    deadline = time.monotonic() + 300
    while not list(folder.glob("scores/*.json")):  # the scores are there, the audit is not
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "audit.parquet").exists()
    run_snakemake(tmp_path, *ARGUMENTS, "--unlock")
    run_snakemake(tmp_path, *ARGUMENTS, "--rerun-incomplete")
    for file in ("scores.parquet", "audit.parquet"):
        assert (folder / file).read_bytes() == (audited / file).read_bytes()
    assert "Nothing to be done" in run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")
