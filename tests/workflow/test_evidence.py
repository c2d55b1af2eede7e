"""Real runs with calibrations from labels and a combined table, added to a run that is finished.

The labelled variants are SNVs of the demo genome with a label that depends on nothing.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pysam
import pytest
import yaml

from evo2_tasks.commands.plan import plan
from evo2_tasks.commands.status import read_status
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_plan
from tests.project import COLUMNS, DATA, make_config
from tests.workflow.run import COMMANDS, SNAKEFILE, run_snakemake

pytestmark = pytest.mark.slow

ARGUMENTS = ("--snakefile", str(SNAKEFILE), "--cores", "2")
NUM_LABELLED, NUM_RANDOM = 160, 120
FIELD = '##INFO=<ID=KIND,Number=1,Type=String,Description="bad or good">\n'
JOBS = re.compile(r"^Job \d+: (.+)$", re.MULTILINE)
AFTER_A_FIT = [
    "Calibrating: b, s",
    "Calibrating: v, s",
    "Evaluating: v, s",
    "Exporting as tsv: v, s",
    "Fitting the calibration kind: s",
    "Writing the report of b",
    "Writing the report of v",
]


def write_config(folder: Path, calibrations: dict[str, Any] | None, **sections: Any) -> None:
    """A config with a labelled set, random SNVs, and the labelled set in two window lengths."""
    folder.mkdir(exist_ok=True)
    with pysam.FastaFile(str(DATA / "rCRS.fa")) as genome:
        bases = genome.fetch("MT")
    lines = ["##fileformat=VCFv4.2\n", FIELD, COLUMNS]
    for number in range(NUM_LABELLED):
        pos = 100 + 100 * number
        alt = "ACGT"[("ACGT".index(bases[pos - 1]) + 1 + number % 3) % 4]
        kind = "bad" if number % 4 == 0 else "good"
        lines.append(f"MT\t{pos}\t.\t{bases[pos - 1]}\t{alt}\t.\t.\tKIND={kind}\n")
    if not (folder / "in.vcf").exists():
        (folder / "in.vcf").write_text("".join(lines))
    config = make_config(
        folder,
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scorings={
            "s": {"model": "m", "window_length": 64},
            "t": {"model": "m", "window_length": 96},
        },
        variant_set={
            "labels": {"KIND": {"positive": ["bad"], "negative": ["good"]}},
            "exports": ["tsv"],
        },
        run={"batch_tokens": 8192},
        output=str(folder / "results"),
        **sections,
    )
    sets = config["variant_sets"]
    sets["w"] = sets["v"] | {"exports": []}
    sets["b"] = {"random_snvs": {"number": NUM_RANDOM}, "reference": "g"}
    for name in "vb":
        sets[name]["scorings"] = ["s"]
    if calibrations is not None:
        config["calibrations"] = calibrations
        for name in "vb":
            sets[name]["calibrations"] = ["kind"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


KIND: dict[str, Any] = {"background": "b", "by": ["type"], "set": "v", "label": "KIND"}
COMBINE = {"both": {"variant_set": "w", "scorings": ["s", "t"], "ensembles": ["rank_mean"]}}


def read_tables(results: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(results)): file.read_bytes()
        for file in results.rglob("*.parquet")
        if file.name in ("scores.parquet", "calibrated.parquet", "combined.parquet")
        or "calibrations" in file.parts
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has finished without calibrations."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    write_config(folder, None)
    run_snakemake(folder, *ARGUMENTS)
    return folder


@pytest.fixture(scope="module")
def calibrated(plain: Path) -> Path:
    """The same run after calibrations and a combined table were added to its config."""
    before = read_tables(plain / "results")
    assert len(before) == 4
    write_config(plain, {"kind": KIND}, combine=COMBINE)
    printed = run_snakemake(plain, *ARGUMENTS)
    # The scores, the tables and the windows stay.
    of_combined = ["Combining scorings: w, both", "Evaluating: w, both", "Writing the report of w"]
    assert sorted(JOBS.findall(printed)) == sorted(AFTER_A_FIT + of_combined)
    after = read_tables(plain / "results")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 4 + 2 + 1, "a calibration, two sets, a combined table"
    return plain


def test_each_row_has_a_quantile_and_evidence(calibrated: Path) -> None:
    for name, number in (("v", NUM_LABELLED), ("b", NUM_RANDOM)):
        folder = calibrated / "results" / name / "s"
        table = pd.read_parquet(folder / "scores.parquet")
        found = pd.read_parquet(folder / "calibrated.parquet")
        keys = ["record", "allele"]
        assert found[keys].to_numpy().tolist() == table[keys].to_numpy().tolist()
        assert len(found) == number
        assert (found["stratum"] == "snv").all()
        assert not found["stratum_fallback"].any()
        assert found["quantile"].rank().corr(table["llr"].rank()) > 0.999
        assert found["lr_reason"].isna().all()
        assert (found["lr_low"] <= found["lr"]).all()
        assert (found["lr"] <= found["lr_high"]).all()
        # A label that depends on nothing is evidence for nothing.
        assert (found["evidence"] == 0).mean() > 0.9
    tsv = pd.read_csv(calibrated / "results/v/s/scores.tsv", sep="\t")
    assert {"quantile", "evidence"} <= {*tsv.columns}


def test_the_rows_of_the_labelled_set_get_their_evidence_from_other_folds(calibrated: Path) -> None:
    folds = pd.read_parquet(calibrated / "results/calibrations/kind/s/folds.parquet")
    assert len(folds) == NUM_LABELLED
    assert folds["fold"].nunique() >= 5


def test_a_finished_run_has_nothing_to_do(calibrated: Path) -> None:
    assert "Nothing to be done" in run_snakemake(calibrated, *ARGUMENTS, "--dry-run")


def test_another_stratum_fits_and_calibrates_again(calibrated: Path) -> None:
    write_config(calibrated, {"kind": KIND | {"by": ["trinucleotide"]}}, combine=COMBINE)
    planned = run_snakemake(calibrated, *ARGUMENTS, "--dry-run")
    write_config(calibrated, {"kind": KIND}, combine=COMBINE)
    assert sorted(JOBS.findall(planned)) == AFTER_A_FIT


def test_status_and_plan_of_the_run(calibrated: Path) -> None:
    statuses = read_status(calibrated / "results")
    found = [(one.variant_set, one.scoring, one.is_merged, one.failures) for one in statuses]
    assert found == [(*names, True, []) for names in ("bs", "vs", "ws", "wt")]
    config = load_config(calibrated / "config.yaml")
    options = dict.fromkeys(("rates_file", "device", "device_memory_gb", "price"))
    estimates = plan(resolve_plan(config), job_hours=2.0, **options)
    assert [one["alleles"] for one in estimates] == [NUM_RANDOM] + [NUM_LABELLED] * 3


def test_a_run_that_is_killed_in_a_fit_continues(calibrated: Path) -> None:
    """The results are those of the run that was not disturbed."""
    results = calibrated / "results"
    expected = read_tables(results)
    shutil.rmtree(results / "calibrations")
    for name in "vb":
        (results / name / "s" / "calibrated.parquet").unlink()
    log = results / "logs/fit_calibration/kind/s.log"
    log.unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *ARGUMENTS],
        cwd=calibrated,
        env=os.environ | {"PATH": os.pathsep.join([str(COMMANDS), os.environ["PATH"]])},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not log.exists():  # the command opens it before it draws
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (results / "calibrations/kind/s/calibration.parquet").exists()
    run_snakemake(calibrated, *ARGUMENTS, "--unlock")
    run_snakemake(calibrated, *ARGUMENTS, "--rerun-incomplete")
    assert read_tables(results) == expected
    assert "Nothing to be done" in run_snakemake(calibrated, *ARGUMENTS, "--dry-run")
