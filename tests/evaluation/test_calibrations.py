"""Metrics of calibrated columns, against scikit-learn on the rows that pandas joins."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from evo2_tasks.commands.show import show
from evo2_tasks.config.evaluation import resolve_evaluate
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.results import read_curves, read_metrics
from evo2_tasks.evaluation.schema import OF_PROBABILITIES, metrics_schema
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import CALIBRATED, CURVES, METRICS
from evo2_tasks.report.evidence import read_evidence
from evo2_tasks.steps.evaluate import evaluate
from tests.evaluation.build import (
    FEW_DRAWS,
    LABELS,
    Columns,
    evaluate_calibrated,
    few_draws,
    make_calibration,
    make_columns,
    make_config,
    write_calibrated,
)
from tests.evaluation.plain_bootstrap import assign_bins_plainly, draw_counts

LABEL = LabelSettings("KIND", positive=("bad",), negative=("good",))
DEFINITION = "positive: bad; negative: good"


def join(table: Path) -> pd.DataFrame:
    """The labelled rows with a score, joined by pandas."""
    rows = pd.read_parquet(table).merge(
        pd.read_parquet(table.with_name(CALIBRATED)), on=["record", "allele"], validate="1:1"
    )
    rows = rows[rows["KIND"].isin(["bad", "good"]) & rows["llr"].notna()]
    for name in rows.columns[rows.columns.str.endswith("lr_reason")]:
        rows.loc[rows[name] == "unbounded", name.removesuffix("_reason")] = np.inf
    return rows.assign(is_bad=rows["KIND"] == "bad")


def with_probabilities(rows: pd.DataFrame, column: str = "lr") -> pd.DataFrame:
    rows = rows[rows[column].notna()]
    odds = rows["is_bad"].sum() / (~rows["is_bad"]).sum()
    ratio = rows[column].to_numpy()
    with np.errstate(invalid="ignore"):
        probability = np.where(np.isinf(ratio), 1, ratio * odds / (1 + ratio * odds))
    return rows.assign(probability=probability)


def find(metrics: pd.DataFrame, **wanted: Any) -> pd.Series:
    wanted = {"minus": None, "subset": "all", "label": "KIND"} | wanted
    keep = np.ones(len(metrics), dtype=bool)
    for name, value in wanted.items():
        keep &= metrics[name].isna() if value is None else metrics[name] == value
    assert keep.sum() == 1, wanted
    return metrics[keep].iloc[0]


@pytest.fixture(scope="module")
def columns() -> Columns:
    return make_columns(700, num_labelled=500)


@pytest.fixture(scope="module")
def table(columns: Columns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrations")
    stated = {"cal": {"label": "KIND", "definition": DEFINITION, "labelled": "this table"}}
    return evaluate_calibrated(folder, columns, {"cal": make_calibration(columns)}, stated=stated)


@pytest.fixture(scope="module")
def metrics(table: Path) -> pd.DataFrame:
    return pd.read_parquet(table.with_name(METRICS))


def test_the_probabilities_are_those_of_the_share_of_positive_rows(
    table: Path, metrics: pd.DataFrame
) -> None:
    rows = with_probabilities(join(table))
    assert {0, np.inf} <= {*rows["lr"]}
    is_bad, probability = rows["is_bad"].to_numpy(), rows["probability"].to_numpy()
    brier = find(metrics, score="lr", metric="brier")
    assert brier["value"] == pytest.approx(brier_score_loss(is_bad, probability), rel=1e-12)
    assert brier["prevalence"] == pytest.approx(is_bad.mean())
    assert brier["low"] < brier["value"] < brier["high"]
    assert brier["num_rows"] == len(rows)
    skill = find(metrics, score="lr", metric="brier_skill")
    of_share = brier_score_loss(is_bad, np.full(len(rows), is_bad.mean()))
    assert skill["value"] == pytest.approx(1 - brier["value"] / of_share, rel=1e-12)
    bins = assign_bins_plainly(probability)
    error = find(metrics, score="lr", metric="expected_calibration_error")
    expected = sum(
        abs(is_bad[bins == one].sum() - probability[bins == one].sum()) for one in set(bins)
    )
    assert error["value"] == pytest.approx(expected / len(rows), rel=1e-9)
    assert error["low"] < error["high"]


def test_rows_without_a_ratio_and_rows_of_folds_are_counted(
    table: Path, metrics: pd.DataFrame
) -> None:
    rows = join(table)
    found = find(metrics, score="lr", metric="brier")
    assert dict(found["lr_reasons"]) == {"too_few_folds": rows["lr"].isna().sum()}
    assert found["num_from_folds"] == rows["lr"].notna().sum() == found["num_rows"]
    statuses = dict(found["unscored_by_status"])
    assert statuses.pop("scored") == rows["lr"].isna().sum() > 10
    assert found["num_unscored"] == rows["lr"].isna().sum() + sum(statuses.values())
    others = metrics[metrics["score"] != "lr"]
    assert others["lr_reasons"].isna().all()
    assert others["num_from_folds"].isna().all()
    assert set(metrics.loc[metrics["score"] == "lr", "subset"]) == {"all"}


def test_a_quantile_among_strata_is_one_more_score(table: Path, metrics: pd.DataFrame) -> None:
    rows = join(table)
    expected = roc_auc_score(rows["is_bad"], -rows["quantile"])
    assert find(metrics, score="quantile", metric="auroc")["value"] == pytest.approx(expected)
    difference = find(metrics, score="llr", minus="quantile", metric="auroc")
    llr = roc_auc_score(rows["is_bad"], -rows["llr"])
    assert difference["value"] == pytest.approx(llr - expected)
    threshold = find(metrics, score="quantile", metric="threshold_at_0.95_specificity")
    assert 0 < threshold["value"] < 1
    by_place = metrics[(metrics["score"] == "quantile") & (metrics["subset"] == "group")]
    assert set(by_place["group"]) == set(rows["PLACE"])


@pytest.mark.parametrize("strata", [["all"], ["one"], ["all", None]])
def test_a_quantile_in_one_stratum_ranks_as_the_score_and_is_left_out(
    tmp_path: Path, columns: Columns, strata: Sequence[str | None]
) -> None:
    calibration = make_calibration(columns)
    calibration["stratum"] = [
        strata[0] if one is not None else strata[-1] for one in calibration["stratum"]
    ]
    table = evaluate_calibrated(tmp_path, columns, {"cal": calibration})
    assert "quantile" not in set(pd.read_parquet(table.with_name(METRICS))["score"])


def test_the_curve_is_that_of_scikit_learn_with_shares_of_drawn_rows(table: Path) -> None:
    (curve,) = [one for one in read_curves(table.with_name(CURVES)) if one.curve == "calibration"]
    assert (curve.label, curve.score, curve.part) == ("KIND", "lr", None)
    rows = with_probabilities(join(table))
    is_bad, probability = rows["is_bad"].to_numpy(), rows["probability"].to_numpy()
    if (len(rows) - 1) % 10:  # else scikit-learn's interpolated ends fall on rows
        shares, means = calibration_curve(is_bad, probability, n_bins=10, strategy="quantile")
        np.testing.assert_allclose(curve.y, shares)
        np.testing.assert_allclose(curve.x, means)
    bins = assign_bins_plainly(probability)
    clusters = rows.groupby([rows["contig"].astype(str), "pos"]).ngroup().to_numpy()
    drawn = []
    for counts in draw_counts(clusters.max() + 1, FEW_DRAWS.num_resamples):
        weights = counts[clusters]
        drawn.append([
            np.average(is_bad[bins == one], weights=weights[bins == one]) for one in range(10)
        ])  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(curve.low, low, atol=1e-12)
    np.testing.assert_allclose(curve.high, high, atol=1e-12)


def test_two_calibrations_have_their_names(tmp_path: Path, columns: Columns) -> None:
    one, other = make_calibration(columns, 1), make_calibration(columns, 2)
    only_background = {name: one[name] for name in ("stratum", "stratum_fallback", "quantile")}
    only_labels = {name: other[name] for name in ("lr", "lr_reason")}
    table = evaluate_calibrated(tmp_path, columns, {"a.b": only_background, "c": only_labels})
    metrics = pd.read_parquet(table.with_name(METRICS))
    assert {"a.b.quantile", "c.lr"} <= set(metrics["score"])
    assert not {"lr", "quantile", "c.quantile", "a.b.lr"} & set(metrics["score"])
    rows = with_probabilities(join(table), "c.lr")
    expected = brier_score_loss(rows["is_bad"], rows["probability"])
    assert find(metrics, score="c.lr", metric="brier")["value"] == pytest.approx(expected)


OTHER_TABLE = {"label": "KIND", "definition": DEFINITION, "labelled": "0" * 64}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"cal": OTHER_TABLE}, 0),
        ({"cal": OTHER_TABLE | {"labelled": "this table"}}, "all"),
        ({"cal": OTHER_TABLE | {"labelled": "this table", "label": "PLACE"}}, "bad places"),
        (
            {"cal": OTHER_TABLE | {"labelled": "this table", "definition": "positive: x"}},
            None,
        ),
        ({}, None),
    ],
)
def test_ratios_of_folds_are_those_of_rows_with_the_label_of_the_calibration(
    tmp_path: Path, columns: Columns, stated: dict[str, dict[str, str]], expected: object
) -> None:
    labels = {
        "KIND": {"positive": ["bad"], "negative": ["good"]},
        "PLACE": {"positive": ["tRNA"], "negative": ["coding"]},
    }
    if stated.get("cal", {}).get("label") == "PLACE":
        stated["cal"]["definition"] = "positive: tRNA; negative: coding"
    calibrations = {"cal": make_calibration(columns)}
    table = evaluate_calibrated(tmp_path, columns, calibrations, stated=stated, labels=labels)
    rows = with_probabilities(join(table))
    numbers: dict[object, object] = {
        "all": len(rows), "bad places": rows["PLACE"].isin(["tRNA", "coding"]).sum()
    }  # fmt: skip
    found = [
        row.num_from_folds
        for row in read_metrics(table.with_name(METRICS))
        if (row.label, row.score, row.metric) == ("KIND", "lr", "brier")
    ]
    assert found == [numbers.get(expected, expected)]


def test_a_numeric_label_has_no_metrics_of_probabilities(tmp_path: Path, columns: Columns) -> None:
    table = evaluate_calibrated(
        tmp_path, columns, {"cal": make_calibration(columns)}, labels={"OTHER": {"harmful": "high"}}
    )
    metrics = pd.read_parquet(table.with_name(METRICS))
    assert "lr" not in set(metrics["score"])
    assert "quantile" in set(metrics["score"])
    assert pq.read_schema(table.with_name(METRICS)).equals(metrics_schema())


@pytest.mark.parametrize("only", [None, "bad"])
def test_ratios_that_no_row_or_one_class_has_are_a_reason(
    tmp_path: Path, columns: Columns, only: str | None
) -> None:
    calibration = make_calibration(columns)
    is_scored = [status == "scored" for status in columns["status"]]
    keeps = [only is not None and kind == only for kind in columns["KIND"]]
    calibration["lr"] = [1.5 if keep and scored else None
                         for keep, scored in zip(keeps, is_scored, strict=True)]  # fmt: skip
    calibration["lr_reason"] = [
        None if keep or not scored else "too_few_labels"
        for keep, scored in zip(keeps, is_scored, strict=True)
    ]
    table = evaluate_calibrated(tmp_path, columns, {"cal": calibration})
    row = find(pd.read_parquet(table.with_name(METRICS)), score="lr", metric="brier")
    assert np.isnan(row["value"])
    rows = join(table)
    number = rows["lr"].isna().sum()
    if only is None:
        assert row["reason"] == f"no scored row has a likelihood ratio: too_few_labels ({number})"
    else:
        assert row["reason"] == (
            "no scored row is negative; scored rows without a likelihood ratio: "
            f"too_few_labels ({number})"
        )
    assert not [one for one in read_curves(table.with_name(CURVES)) if one.curve == "calibration"]


def test_no_labelled_row_is_the_reason_of_the_label(tmp_path: Path, columns: Columns) -> None:
    empty = columns | {"KIND": [None] * len(columns["KIND"])}
    table = evaluate_calibrated(tmp_path, empty, {"cal": make_calibration(columns)})
    row = find(pd.read_parquet(table.with_name(METRICS)), score="lr", metric="brier")
    assert row["reason"].startswith("no row is labelled: ")


def test_constant_ratios_and_ratios_of_one_value_each_give_numbers(
    tmp_path: Path, columns: Columns
) -> None:
    calibration = make_calibration(columns)
    calibration["lr_reason"] = [
        None if reason == "unbounded" else reason for reason in calibration["lr_reason"]
    ]
    calibration["lr"] = [None if reason else 1.0 for reason in calibration["lr_reason"]]
    table = evaluate_calibrated(tmp_path, columns, {"cal": calibration})
    metrics = pd.read_parquet(table.with_name(METRICS))
    assert find(metrics, score="lr", metric="brier_skill")["value"] == pytest.approx(0)
    assert find(metrics, score="lr", metric="expected_calibration_error")["value"] < 1e-12
    (curve,) = [one for one in read_curves(table.with_name(CURVES)) if one.curve == "calibration"]
    assert len(curve.x) == 1
    assert curve.x == pytest.approx(curve.y)


def test_without_calibrations_the_files_state_nothing_about_them(
    tmp_path: Path, columns: Columns
) -> None:
    """Files next to the table do not count if the variant set names no calibration."""
    table = evaluate_calibrated(tmp_path, columns, {})
    before = [table.with_name(name).read_bytes() for name in (METRICS, CURVES)]
    write_calibrated(table, columns, {"cal": make_calibration(columns)})
    settings = resolve_evaluate(make_config(["one"], **LABELS), "v")
    files = {"out": table.with_name(METRICS), "curves_file": table.with_name(CURVES)}
    with few_draws():
        evaluate(settings, table=table, **files)
    assert before == [path.read_bytes() for path in files.values()]
    schema = pq.read_schema(table.with_name(METRICS))
    assert schema.equals(metrics_schema(), check_metadata=False)
    assert {*schema.metadata} >= {b"evo2_tasks.source"}
    assert b"evo2_tasks.inputs" not in schema.metadata


def test_metrics_state_the_calibrated_columns(table: Path) -> None:
    for name in (METRICS, CURVES):
        stated = pq.read_schema(table.with_name(name)).metadata[b"evo2_tasks.inputs"]
        assert json.loads(stated) == {"calibrated": digest_file(table.with_name(CALIBRATED))}


def test_a_missing_or_other_file_of_calibrated_columns_is_one_line(
    tmp_path: Path, columns: Columns
) -> None:
    table = evaluate_calibrated(tmp_path, columns, {"cal": make_calibration(columns)})
    settings = resolve_evaluate(make_config(["one"], **LABELS), "v")
    files = {"out": tmp_path / "m", "curves_file": tmp_path / "c"}
    with pytest.raises(InputError, match="has the calibrations cal, but the config has other"):
        evaluate(replace(settings, calibrations=("other",)), table=table, **files)
    table.with_name(CALIBRATED).unlink()
    with pytest.raises(InputError, match=r"calibrated.parquet: does not exist, but the variant "):
        evaluate(replace(settings, calibrations=("cal",)), table=table, **files)
    assert not (tmp_path / "m").exists()


def test_a_table_without_rows_has_a_reason(tmp_path: Path, columns: Columns) -> None:
    empty: Columns = {name: [] for name in columns}
    calibration: Columns = {name: [] for name in make_calibration(columns)}
    stated = {"cal": OTHER_TABLE | {"labelled": "this table"}}
    table = evaluate_calibrated(tmp_path, empty, {"cal": calibration}, stated=stated)
    row = find(pd.read_parquet(table.with_name(METRICS)), score="lr", metric="brier")
    assert row["reason"] == "the table has no rows"
    assert row["num_from_folds"] == 0


def test_a_negative_likelihood_ratio_is_one_line(tmp_path: Path, columns: Columns) -> None:
    calibration = make_calibration(columns)
    calibration["lr"] = [None if one is None else -2.5 for one in calibration["lr"]]
    with pytest.raises(InputError, match=r"calibrated.parquet: column lr: .* got -2.5. Run `cal"):
        evaluate_calibrated(tmp_path, columns, {"cal": calibration})
    assert not (tmp_path / "one" / METRICS).exists()


def test_metrics_are_read_as_written_and_without_the_columns_of_ratios(
    table: Path, tmp_path: Path
) -> None:
    rows = read_metrics(table.with_name(METRICS))
    of_ratio = [row for row in rows if row.lr_reasons is not None]
    assert {row.metric for row in of_ratio} == {*OF_PROBABILITIES}
    assert {row.score for row in of_ratio} == {"lr"}
    # The columns that every finished run has.
    written = pq.read_table(table.with_name(METRICS))
    names = [
        "label", "definition", "score", "minus", "metric", "subset", "column", "group", "value",
        "low", "high", "reason", "num_rows", "num_positive", "num_negative", "prevalence",
        "num_unscored", "unscored_by_status", "num_clusters", "num_resamples", "num_dropped",
        "left_out",
    ]  # fmt: skip
    assert written.column_names == [*names, "num_from_folds", "lr_reasons"]
    assert metrics_schema().names == names
    pq.write_table(written.select(names), tmp_path / METRICS)
    without = [replace(row, num_from_folds=None, lr_reasons=None) for row in rows]
    assert read_metrics(tmp_path / METRICS) == without


def test_metrics_of_other_calibrated_columns_are_not_shown(
    tmp_path: Path, columns: Columns
) -> None:
    table = evaluate_calibrated(tmp_path, columns, {"cal": make_calibration(columns)})
    lines = [line for line in show(table.with_name(METRICS)) if " of lr: " in line]
    num_lacking = join(table)["lr"].isna().sum()
    assert len(lines) == len(OF_PROBABILITIES)
    assert all(f"{num_lacking} without a likelihood ratio (too_few_folds: " in one for one in lines)
    write_calibrated(table, columns, {"cal": make_calibration(columns, seed=8)})
    with pytest.raises(InputError, match=r"was made from another version of .*calibrated.parquet"):
        list(show(table.with_name(METRICS)))
    with pytest.raises(InputError, match="Run `evaluate` again"):
        read_evidence(table.parent, "one", labels=[LABEL])


def test_ratios_from_folds_are_counted_in_the_line(table: Path, metrics: pd.DataFrame) -> None:
    number = find(metrics, score="lr", metric="brier")["num_from_folds"]
    (line, *_) = [line for line in show(table.with_name(METRICS)) if "brier of lr: " in line]
    assert line.endswith(f", {number:.0f} with a likelihood ratio from folds")
