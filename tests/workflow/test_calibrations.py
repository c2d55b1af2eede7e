"""Real runs of the workflow with calibrations: of this run, and of an earlier one."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest
import yaml

from tests.project import DATA, make_config
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

TURN = str.maketrans("ACGT", "TGCA")
CALIBRATIONS: dict[str, Any] = {
    "all": {"background": "b"},
    "types": {"background": "b", "by": ["type", "trinucleotide"], "harmful": "high"},
}


def write_config(folder: Path, calibrations: dict[str, Any], **sets: dict[str, Any]) -> None:
    """A config with sets of random SNVs, in windows of 64 bases."""
    config = make_config(
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 64},
        variant_set={
            "random_snvs": {"number": 40, "seed": 2},
            "calibrations": [*calibrations],
            "exports": ["vcf", "tsv"],
        },
        run={"batch_tokens": 4096},
    )
    of_set = config["variant_sets"]["v"]
    del of_set["variants"]
    common = {name: of_set[name] for name in ("reference", "scorings")}
    for name, one in sets.items():
        config["variant_sets"][name] = common | one
    config["calibrations"] = calibrations
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_config(folder, CALIBRATIONS, b={"random_snvs": {"number": 400, "seed": 1}})
    run_workflow(folder)
    return folder


def read(folder: Path, name: str, file: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / name / "s" / file)


def find_quantiles(scores: pd.Series, alleles: pd.Series) -> list[float]:
    below = [(alleles < score).mean() + (alleles == score).mean() / 2 for score in scores]
    edge = 1 / (2 * len(alleles))
    return np.clip(below, edge, 1 - edge).tolist()


def test_quantiles_among_the_random_snvs_of_the_run(folder: Path) -> None:
    alleles, table = (read(folder, name, "scores.parquet")["llr"] for name in "bv")
    found = read(folder, "v", "calibrated.parquet")
    assert found["all.quantile"].tolist() == pytest.approx(find_quantiles(table, alleles))
    assert (found["all.stratum"] == "all").all()
    assert not found["all.stratum_fallback"].any()
    # No change of three bases is in the background a hundred times.
    assert found["types.stratum_fallback"].all()
    assert found["types.quantile"].tolist() == pytest.approx(find_quantiles(-table, -alleles))


def test_the_exports_have_the_calibrated_columns(folder: Path) -> None:
    expected = read(folder, "v", "calibrated.parquet")
    of_scoring = folder / "results" / "v" / "s"
    text = pd.read_csv(of_scoring / "scores.tsv", sep="\t")
    with pysam.VariantFile(str(of_scoring / "scores.vcf.gz")) as file:
        phreds = [line.info["evo2_types.phred"][0] for line in file]
    assert text["types.phred"].tolist() == expected["types.phred"].tolist()
    assert phreds == pytest.approx(expected["types.phred"].tolist(), rel=1e-6)


def test_the_strata_of_the_background_are_those_of_the_genome(folder: Path) -> None:
    with pysam.FastaFile(str(DATA / "rCRS.fa")) as genome:
        bases = genome.fetch("MT").upper()
    expected = []
    for row in read(folder, "b", "scores.parquet").itertuples():
        around = "".join(bases[(row.pos - 1 + shift) % len(bases)] for shift in (-1, 0, 1))
        alt = row.alt
        if around[1] in "AG":
            around, alt = around.translate(TURN)[::-1], alt.translate(TURN)
        expected.append((f"snv | {around[0]}[{around[1]}>{alt}]{around[2]}", row.llr))
    path = folder / "results" / "calibrations" / "types" / "s" / "background.parquet"
    stored = pd.read_parquet(path)
    assert [*zip(stored["stratum"], stored["score"], strict=True)] == sorted(expected)


def test_an_earlier_run_gives_the_background_or_the_calibration(folder: Path) -> None:
    earlier = folder / "results"
    write_config(
        folder / "later",
        {
            "background": {"background": str(earlier / "b" / "{scoring}" / "scores.parquet")},
            "file": {
                "file": str(earlier / "calibrations" / "all" / "{scoring}" / "calibration.parquet")
            },
        },
    )
    run_workflow(folder / "later")
    expected = read(folder, "v", "calibrated.parquet")
    found = read(folder / "later", "v", "calibrated.parquet")
    for name in ("background", "file"):
        for column in ("stratum", "stratum_fallback", "quantile", "phred"):
            assert found[f"{name}.{column}"].tolist() == expected[f"all.{column}"].tolist()
    assert "Nothing to be done" in run_workflow(folder / "later")


def test_a_background_of_another_scoring_is_one_line(folder: Path) -> None:
    write_config(folder / "other", {"all": {"background": str(folder / "b.parquet")}})
    config = yaml.safe_load((folder / "other" / "config.yaml").read_text())
    config["scorings"]["s"]["window_length"] = 80
    table = folder / "results" / "b" / "s" / "scores.parquet"
    (folder / "b.parquet").write_bytes(table.read_bytes())
    (folder / "other" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(AssertionError) as error:
        run_workflow(folder / "other")
    lines = [line for line in str(error.value).splitlines() if "differ in" in line]
    assert lines
    assert "calibration.parquet" in lines[0]
    assert "results/v/s/scores.parquet differ in scoring.max_allele_length," in lines[0]
    assert "scoring.window_length" in lines[0]
    assert "Traceback" not in str(error.value)
    assert not (folder / "other" / "results" / "v" / "s" / "calibrated.parquet").exists()


def test_likelihood_ratios_from_folds_are_evaluated(tmp_path: Path) -> None:
    """The demo's pathogenic variants and 90 benign ones calibrate themselves."""
    with pysam.VariantFile(str(DATA / "mitomap.vcf.gz")) as source:
        records = [*source]
        positive = [one for one in records if one.info["LABEL"] == "pathogenic"]
        negative = [one for one in records if one.info["LABEL"] == "benign"][::10][:90]
        with pysam.VariantFile(str(tmp_path / "in.vcf"), "w", header=source.header) as target:
            for record in sorted(positive + negative, key=lambda one: one.pos):
                target.write(record)
    labels = {"LABEL": {"positive": ["pathogenic"], "negative": ["benign"]}}
    of_set = {"variants": "in.vcf", "labels": labels}
    write_config(tmp_path, {"own": {"set": "l", "label": "LABEL"}}, l=of_set)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["variant_sets"]["l"]["calibrations"] = ["own"]
    del config["variant_sets"]["v"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)
    scores, rows = (read(tmp_path, "l", f"{name}.parquet") for name in ("scores", "calibrated"))
    metrics = read(tmp_path, "l", "metrics.parquet").set_index("metric")
    brier = metrics[metrics["score"] == "lr"].loc["brier"]
    ratio = rows["lr"].where(rows["lr_reason"] != "unbounded", 1e300)
    assert brier["num_from_folds"] == brier["num_rows"] == ratio.notna().sum() > 100
    is_positive = (scores["LABEL"] == "pathogenic")[ratio.notna()].to_numpy()
    odds = ratio.dropna().to_numpy() * is_positive.sum() / (~is_positive).sum()
    squared = (odds / (1 + odds) - is_positive) ** 2
    assert brier["value"] == pytest.approx(squared.mean())
    assert (read(tmp_path, "l", "curves.parquet")["curve"] == "calibration").any()
    assert "calibration error" in (tmp_path / "results" / "l" / "report.html").read_text()
    assert "Nothing to be done" in run_workflow(tmp_path)
