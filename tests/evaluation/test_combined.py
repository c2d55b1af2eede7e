"""A combined table is evaluated like the table of a scoring, against scikit-learn."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from evo2_tasks.commands.query import query
from evo2_tasks.commands.show import show
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import find_score_columns, read_labelled_rows
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.layout import CURVES, EXPORTS, METRICS
from evo2_tasks.steps.export import export
from tests.evaluation.build import LABELS, make_columns, make_config, score_again, write_metrics
from tests.table.test_combined import combine_tables, write_tables

LABEL = LabelSettings("KIND", positive=("bad",), negative=("good",))
MAIN = ["a.llr", "b.llr", "c.llr", "rank_mean", "z_mean"]


def evaluate_table(folder: Path, **variant_set: Any) -> pd.DataFrame:
    write_metrics(make_config(["a", "b", "c"], **variant_set), folder / "combined.parquet")
    return pd.read_parquet(folder / METRICS)


def make_tables(folder: Path, **changed: Any) -> dict[str, Path]:
    first = make_columns(600)
    columns = {"a": first, "b": score_again(first), "c": score_again(first, seed=6)}
    return write_tables(folder, columns | changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combined")
    combine_tables(folder, make_tables(folder))
    evaluate_table(folder, **LABELS)
    return folder


@pytest.fixture(scope="module")
def metrics(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / METRICS)


@pytest.fixture(scope="module")
def rows(folder: Path) -> pd.DataFrame:
    """The labelled rows that all scorings score."""
    frame = pd.read_parquet(folder / "combined.parquet")
    return frame[frame["KIND"].notna() & (frame["status"] == "scored")]


def auroc(rows: pd.DataFrame, score: str, sign: int = -1) -> float:
    return float(roc_auc_score(rows["KIND"] == "bad", sign * rows[score]))


def of_all(metrics: pd.DataFrame, metric: str = "auroc") -> pd.DataFrame:
    return metrics[(metrics["subset"] == "all") & (metrics["metric"] == metric)]


def test_each_scoring_and_ensemble_is_evaluated_on_the_rows_that_all_score(
    metrics: pd.DataFrame, rows: pd.DataFrame
) -> None:
    found = of_all(metrics)
    found = found[found["minus"].isna()].set_index("score")
    assert {*MAIN} < {*found.index}
    precisions = of_all(metrics, "average_precision").set_index("score")
    for score in MAIN:
        assert found.loc[score, "value"] == pytest.approx(auroc(rows, score))
        assert found.loc[score, "low"] < found.loc[score, "value"] < found.loc[score, "high"]
        assert found.loc[score, "num_rows"] == len(rows)
        expected = average_precision_score(rows["KIND"] == "bad", -rows[score])
        assert precisions.loc[score, "value"] == pytest.approx(expected)
    assert {*found["num_unscored"][MAIN]} == {400 - len(rows)}
    assert found.loc["OTHER", "value"] == pytest.approx(auroc(rows, "OTHER", sign=1))


def test_calibrations_of_the_set_are_those_of_the_tables_of_its_scorings(folder: Path) -> None:
    before = (folder / METRICS).read_bytes()
    try:
        evaluate_table(folder, **LABELS, calibrations=["cal"])
        found = (folder / METRICS).read_bytes()
    finally:
        (folder / METRICS).write_bytes(before)
    assert found == before


def test_scores_are_compared_in_pairs(metrics: pd.DataFrame, rows: pd.DataFrame) -> None:
    differences = of_all(metrics).dropna(subset=["minus"])
    pairs = list(zip(differences["score"], differences["minus"], strict=True))
    assert pairs == [
        *itertools.combinations(MAIN, 2),
        *itertools.product(MAIN, ["OTHER", "sequence-free: PLACE"]),
    ]
    for row in differences.itertuples():
        if row.minus in MAIN:
            expected = auroc(rows, row.score) - auroc(rows, row.minus)
            assert row.value == pytest.approx(expected, abs=1e-12)
            assert row.low < row.value < row.high


def test_subsets_have_each_score(metrics: pd.DataFrame, rows: pd.DataFrame) -> None:
    plain = metrics[metrics["minus"].isna() & (metrics["metric"] == "auroc")]
    for place, of_place in rows.groupby("PLACE"):
        found = plain[(plain["subset"] == "group") & (plain["group"] == place)].set_index("score")
        assert [*found.index] == [*MAIN, "OTHER"]
        for score in MAIN:
            assert found.loc[score, "value"] == pytest.approx(auroc(of_place, score))
    deletions = plain[(plain["subset"] == "type") & (plain["group"] == "deletion")]
    aligned = [f"{name}.llr_aligned" for name in "abc"]
    assert deletions["score"].tolist() == [*MAIN, "OTHER", *aligned]
    compared = metrics[metrics["minus"].notna()]
    within = compared[compared["subset"].isin(["group", "within"])]
    assert {*within["minus"]} == {"OTHER"}
    # The strands are evaluated next to the table of each scoring.
    assert not metrics["score"].str.contains("_fwd|_rev").any()


def test_curves_of_scorings_and_ensembles_have_bands(folder: Path) -> None:
    curves = pd.read_parquet(folder / CURVES)
    roc = curves[curves["curve"] == "roc"]
    assert {*roc["score"]} == {*MAIN, "OTHER"}
    assert {*roc["score"][roc["low"].notna()]} == {*MAIN}


def test_a_numeric_label_is_correlated_with_each_score(folder: Path) -> None:
    found = evaluate_table(folder, labels={"OTHER": {"harmful": "high"}})
    frame = pd.read_parquet(folder / "combined.parquet")
    frame = frame[frame["status"] == "scored"]
    found = of_all(found, "spearman")
    values = found[found["minus"].isna()].set_index("score")["value"]
    for score in MAIN:
        expected = spearmanr(-frame[score], frame["OTHER"]).statistic
        assert values[score] == pytest.approx(expected)
    evaluate_table(folder, **LABELS)


def test_an_ensemble_without_numbers_says_why(tmp_path: Path) -> None:
    equal = score_again(make_columns(600))
    equal["llr"] = [None if one is None else 1.5 for one in equal["llr"]]
    combine_tables(tmp_path, make_tables(tmp_path, b=equal))
    found = of_all(evaluate_table(tmp_path, **LABELS))
    z = found[(found["score"] == "z_mean") | (found["minus"] == "z_mean")]
    assert {*z["reason"]} == {"all values of b.llr are equal"}
    assert z["value"].isna().all()
    others = found.drop(z.index)
    assert others["value"].notna().all()
    assert others[others["score"] == "b.llr"]["value"].iloc[0] == 0.5


def test_the_score_of_the_combination_is_evaluated(tmp_path: Path) -> None:
    combine_tables(tmp_path, make_tables(tmp_path), score="llr_aligned", ensembles=["rank_mean"])
    columns = find_score_columns(tmp_path / "combined.parquet")
    aligned = ("a.llr_aligned", "b.llr_aligned", "c.llr_aligned")
    assert columns.main == (*aligned, "rank_mean")
    assert not columns.aligned
    rows = read_labelled_rows(tmp_path / "combined.parquet", LABEL)
    frame = pd.read_parquet(tmp_path / "combined.parquet")
    frame = frame[frame["KIND"].notna()]
    for name in columns.main:
        expected = frame[name].where(frame["status"] == "scored")
        np.testing.assert_array_equal(-rows.scores[name], expected)


def test_show_states_scorings_scores_and_metrics(folder: Path) -> None:
    text = "\n".join(show(folder / "combined.parquet"))
    frame = pd.read_parquet(folder / "combined.parquet")
    for number, name in enumerate("abc"):
        block = text.partition(f"\nscoring {name}\n")[2].partition("\n\n")[0].split("\n")
        stated = dict(line.split(maxsplit=1) for line in block)
        assert stated["scoring.window_length"] == str(512 * 2**number)
        assert len(stated["table"]) == 64
        assert f"\n  {name}  {(frame[f'{name}.status'] == 'scored').sum()}\n" in text
    for status, number in frame["status"].astype(str).value_counts().items():
        assert re.search(rf"\n  {status} +{number} +{number / 6:.1f}%\n", text)
    for score in MAIN:
        assert re.search(rf"\n{score}.*\n  lowest +{frame[score].min():.4g}\n", text)
    metrics = "\n".join(show(folder / METRICS))
    assert metrics in text
    assert "KIND: auroc of rank_mean: 0." in metrics
    assert "KIND: auroc of a.llr, snv: 0." in metrics
    assert "KIND: auroc of a.llr minus b.llr: " in metrics


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_a_combined_table_is_exported_as_text_only(folder: Path, tmp_path: Path, to: str) -> None:
    out = tmp_path / EXPORTS[to]
    if to == "tsv":
        export(folder / "combined.parquet", to=to, out=out)
        expected = pd.read_parquet(folder / "combined.parquet")
        found = pd.read_csv(out, sep="\t")
        assert [*found.columns] == [*expected.columns]
        np.testing.assert_array_equal(found["rank_mean"], expected["rank_mean"])
    else:
        with pytest.raises(InputError, match=f"it can be exported to tsv only. To export to {to}"):
            export(folder / "combined.parquet", to=to, out=out)
        assert not out.exists()


def test_query_finds_the_rows_of_a_region(folder: Path) -> None:
    frame = pd.read_parquet(folder / "combined.parquet")
    header, *lines = query(folder / "combined.parquet", "chr2")
    assert header.split("\t") == [*frame.columns]
    assert len(lines) == (frame["contig"] == "chr2").sum() > 0
