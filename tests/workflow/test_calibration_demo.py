"""A real run of config.calibration.yaml, in windows of 64 bases and with a part of its variants."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.project import DATA
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

CONFIG = DATA.parent / "config.calibration.yaml"
ONE_IN = 8
"""Of the benign variants; the pathogenic ones are all used."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "data").mkdir()
    for name in ("rCRS.fa", "rCRS.gff3"):
        (folder / "data" / name).write_bytes((DATA / name).read_bytes())
    with gzip.open(DATA / "mitomap.vcf.gz", "rt") as demo:
        lines = list(demo)
    chosen = [
        line
        for number, line in enumerate(lines)
        if line.startswith("#") or "LABEL=pathogenic" in line or number % ONE_IN == 0
    ]
    (folder / "data" / "mitomap.vcf.gz").write_bytes(gzip.compress("".join(chosen).encode()))
    config = yaml.safe_load(CONFIG.read_text())
    config["scorings"]["mini-512"]["window_length"] = 64
    config["shards"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(folder)
    return folder / "results"


def test_quantiles_and_points_follow_from_the_tables(results: Path) -> None:
    table, calibrated = (
        pd.read_parquet(results / "mitomap" / "mini-512" / f"{name}.parquet")
        for name in ("scores", "calibrated")
    )
    background = pd.read_parquet(results / "random-snvs" / "mini-512" / "scores.parquet")
    rows = table.merge(calibrated, on=["record", "allele"], validate="one_to_one")
    assert (rows["status"] == "scored").all()
    sizes = background["consequence"].value_counts()
    large = set(sizes[sizes >= 100].index)
    assert large == {"missense_variant"}
    for row in rows.itertuples():
        own = background["consequence"] == row.consequence
        assert row.stratum_fallback == (row.consequence not in large)
        assert row.stratum == ("all" if row.stratum_fallback else row.consequence)
        scores = background["llr"] if row.stratum_fallback else background["llr"][own]
        share = ((scores < row.llr).sum() + (scores == row.llr).sum() / 2) / len(scores)
        edge = 1 / (2 * len(scores))
        assert row.quantile == pytest.approx(min(max(share, edge), 1 - edge))
    assert rows["lr"].notna().all()
    for row in rows.itertuples():
        reached = [k for k in (1, 2, 3, 4, 8) if row.lr_low >= 350 ** (k / 8)]
        reached += [-k for k in (1, 2, 3, 4, 8) if row.lr_high <= 350 ** (-k / 8)]
        assert row.evidence == max(reached, key=abs, default=0)


def test_the_report_has_the_background_and_the_evidence(results: Path) -> None:
    strengths = pd.read_parquet(
        results / "calibrations" / "mitomap" / "mini-512" / "calibration.parquet"
    )
    assert len(strengths) == 8
    assert strengths["reached"].tolist() == strengths["bound"].notna().tolist()
    page = (results / "mitomap" / "report.html").read_text()
    assert "Calibrated scores" in page
    assert "Evidence strength by the published method; not for clinical use" in page
