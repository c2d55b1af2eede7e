"""Real runs of the workflow with several scorings in one table."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest
import yaml
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from tests.project import DATA, make_config
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

SCORINGS = {"w64": 64, "w128": 128}


def write_variants(path: Path, num_records: int = 60) -> None:
    """SNVs of the mitochondrial genome with a label, and one line with a wrong REF."""
    with pysam.FastaFile(str(DATA / "rCRS.fa")) as genome:
        bases = genome.fetch("MT").upper()
    rng = np.random.default_rng(1)
    lines = [
        "##fileformat=VCFv4.2",
        '##INFO=<ID=LABEL,Number=1,Type=String,Description="What is known">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
    ]
    for number, pos in enumerate(np.sort(rng.choice(3000, num_records, replace=False)) + 4000):
        ref = bases[pos - 1] if number != 7 else "ACGT".replace(bases[pos - 1], "")[0]
        alt = rng.choice([base for base in "ACGT" if base not in (ref, bases[pos - 1])])
        label = ("bad", "good")[int(rng.random() < 0.5)]
        lines.append(f"MT\t{pos}\t.\t{ref}\t{alt}\t.\t.\tLABEL={label}")
    path.write_text("".join(f"{line}\n" for line in lines))


def write_config(folder: Path, *, shards: int, **combination: Any) -> None:
    config = make_config(
        folder,
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scorings={name: {"model": "m", "window_length": n} for name, n in SCORINGS.items()},
        variant_set={
            "variants": str(folder.parent / "in.vcf"),
            "labels": {"LABEL": {"positive": ["bad"], "negative": ["good"]}},
        },
        run={"batch_tokens": 4096},
        combine={"lengths": {"variant_set": "v", "scorings": [*SCORINGS], **combination}},
        shards=shards,
    )
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combine") / "run"
    write_variants(folder.parent / "in.vcf")
    write_config(folder, shards=1, ensembles=["rank_mean", "z_mean"])
    run_workflow(folder)
    return folder


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / "v" / name)


def test_the_table_has_the_rows_of_each_scoring(folder: Path) -> None:
    found = read(folder, "combined/lengths/combined.parquet")
    tables = {name: read(folder, f"{name}/scores.parquet") for name in SCORINGS}
    for name, table in tables.items():
        for column in ("status", "llr", "llr_fwd", "llr_rev"):
            pd.testing.assert_series_equal(
                found[f"{name}.{column}"], table[column], check_names=False
            )
    assert found["LABEL"].tolist() == tables["w64"]["LABEL"].tolist()
    assert (found["status"] != "scored").sum() == 1
    scored = found[found["status"] == "scored"]
    ranks = [(rankdata(scored[f"{name}.llr"]) - 0.5) / len(scored) for name in SCORINGS]
    np.testing.assert_allclose(scored["rank_mean"], np.mean(ranks, axis=0))


def test_it_is_evaluated_and_reported_like_a_scoring(folder: Path) -> None:
    metrics = read(folder, "combined/lengths/metrics.parquet")
    metrics = metrics[(metrics["subset"] == "all") & (metrics["metric"] == "auroc")]
    values = metrics[metrics["minus"].isna()].set_index("score")["value"]
    rows = read(folder, "combined/lengths/combined.parquet").query("status == 'scored'")
    for score in ("w64.llr", "w128.llr", "rank_mean", "z_mean"):
        assert values[score] == pytest.approx(roc_auc_score(rows["LABEL"] == "bad", -rows[score]))
    text = (folder / "results" / "v" / "report.html").read_text()
    assert "AUROC by window length, LABEL" in text
    log = (folder / "results/logs/combine/v/lengths.log").read_text()
    assert re.search(r"60 rows, 59 of them scored in all scorings", log)
    for name, length in SCORINGS.items():
        assert re.search(rf'{name}: .*scores.parquet, SHA-256 .*"window_length":{length}', log)
    assert "Nothing to be done" in run_workflow(folder)


def test_the_rows_do_not_depend_on_the_shards(folder: Path) -> None:
    other = folder.parent / "shards"
    write_config(other, shards=2, ensembles=["rank_mean", "z_mean"])
    run_workflow(other, "results/v/combined/lengths/combined.parquet")
    one, many = (read(path, "combined/lengths/combined.parquet") for path in (folder, other))
    pd.testing.assert_frame_equal(one, many, rtol=1e-6, atol=1e-4)
