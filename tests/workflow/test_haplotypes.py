"""Haplotypes in the real workflow: added to a finished run, and after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.project import DATA, make_config
from tests.workflow.run import COMMANDS, SNAKEFILE, run_snakemake

ARGUMENTS = ("--snakefile", str(SNAKEFILE), "--cores", "2")
TABLES = ("scores.parquet", "haplotypes.parquet", "compounds.parquet")


def write_run(folder: Path, *, haplotypes: bool) -> Path:
    """A project with the genotypes of two people, whose run writes to ``results``."""
    folder.mkdir(exist_ok=True)
    bases = "".join((DATA / "rCRS.fa").read_text().splitlines()[1:])
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2\n"
    lines = ["##fileformat=VCFv4.4\n", columns]
    for number, pos in enumerate([*range(700, 1_000, 17), *range(16_000, 16_008, 2)]):
        ref = bases[pos - 1]
        alt = "ACGT"["CATG".index(ref)]
        calls = ("1\t1", "1\t0", "0\t1", "1\t1")[number % 4]
        lines.append(f"MT\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{calls}\n")
    (folder / "in.vcf").write_text("".join(lines))
    config = make_config(
        folder,
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 128},
        variant_set={"haplotypes": {"samples": "all"}} if haplotypes else {},
        shards=2,
        run={"part_tokens": 1_024},
        output=str(folder / "results"),
    )
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder / "results" / "v" / "s"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with haplotypes from the beginning."""
    folder = tmp_path_factory.mktemp("undisturbed")
    work = write_run(folder, haplotypes=True)
    run_snakemake(folder, *ARGUMENTS)
    return work


@pytest.mark.slow
def test_haplotypes_added_to_a_finished_run_score_the_new_pairs_only(
    tmp_path: Path, undisturbed: Path
) -> None:
    work = write_run(tmp_path, haplotypes=False)
    run_snakemake(tmp_path, *ARGUMENTS)
    files = [work / "scores.parquet", *work.glob("scores/*"), *work.glob("windows/*")]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    write_run(tmp_path, haplotypes=True)
    run_snakemake(tmp_path, *ARGUMENTS)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files} == before
    for table in TABLES:
        assert (work / table).read_bytes() == (undisturbed / table).read_bytes(), table
    assert "Nothing to be done" in run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")
    write_run(tmp_path, haplotypes=False)
    planned = run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")
    assert re.findall(r"^Job \d+: (.*)", planned, re.MULTILINE) == ["Writing the report of v"]


@pytest.mark.slow
def test_a_workflow_that_is_killed_while_it_scores_haplotypes_continues(
    tmp_path: Path, undisturbed: Path
) -> None:
    work = write_run(tmp_path, haplotypes=True)
    command = [sys.executable, "-m", "snakemake", *ARGUMENTS]
    path = os.pathsep.join([str(COMMANDS), os.environ["PATH"]])
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list(work.glob("haplotype_scores/*.parts/*")):  # a part of the pairs is finished
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (work / "haplotypes.parquet").exists()
    run_snakemake(tmp_path, *ARGUMENTS, "--unlock")
    run_snakemake(tmp_path, *ARGUMENTS, "--rerun-incomplete")
    for table in TABLES:
        assert (work / table).read_bytes() == (undisturbed / table).read_bytes(), table
    assert not list(work.glob("haplotype_scores/*.parts"))
    assert "Nothing to be done" in run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")
