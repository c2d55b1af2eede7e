"""The section about labelled variants, against scikit-learn and pandas on the tables."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evo2_tasks.evaluation.results import read_metrics
from evo2_tasks.layout import METRICS
from evo2_tasks.report.blocks import FigureIds, Table
from evo2_tasks.report.label_sections import show_labels
from evo2_tasks.report.words import decimal
from tests.evaluation.build import (
    LABELS,
    evaluate_calibrated,
    make_calibration,
    make_columns,
    read_frame,
    without_scores,
    write_page,
    write_scoring,
)
from tests.report.page import names_of, plots_of, read_page, rows_of


def test_metrics_have_intervals_and_numbers_of_rows(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "one" / "scores.parquet")
    labelled = frame[frame["KIND"].notna()]
    used = labelled[labelled["llr"].notna()]
    rows = {row[0]: row for row in rows_of(page, "Metrics of all labelled rows, KIND")}
    # The two scorings score different rows, so a baseline differs between them.
    assert list(rows)[:4] == ["one: llr", "two: llr", "one: OTHER", "two: OTHER"]
    assert set(rows) >= {"one: sequence-free: PLACE", "two: sequence-free: PLACE"}
    row = rows["one: llr"]
    value, low, high = map(float, re.findall(r"[\d.]+", row[1]))
    assert low < value < high
    is_bad = used["KIND"] == "bad"
    assert row[3] == f"{is_bad.mean():.3f}"
    assert row[5:7] == [str(is_bad.sum()), str((~is_bad).sum())]
    unscored = labelled[labelled["llr"].isna()]["status"].value_counts()
    assert unscored.sum() == len(labelled) - len(used) > 0
    assert all(f"{number} {status}" in row[7] for status, number in unscored.items() if number)


def test_differences_have_a_sign(page: Path) -> None:
    rows = rows_of(page, "Differences between scores on the same rows")
    assert rows[0][:2] == ["all", "one: llr minus OTHER"]
    assert re.match("[+\N{MINUS SIGN}]0\\.\\d{3} \\[", rows[0][2])


def test_one_class_only_is_a_reason(tmp_path: Path) -> None:
    columns = make_columns(80)
    columns["KIND"] = ["good"] * 80
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path, **LABELS)
    reason = "no labelled row is positive: no row has bad in KIND; the values of KIND are good (80)"
    assert f"no AUROC: {reason}" in read_page(page).text()
    assert f"KIND has no metrics: {reason}." in read_page(page).text()
    assert "Metrics of all labelled rows" not in read_page(page).text()
    (negative,) = plots_of(page)["llr by label"]["data"]
    assert negative["name"] == "negative"


def test_a_scoring_without_scores_is_shown_with_one_that_has_scores(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(300))
    write_scoring(tmp_path / "two", without_scores(make_columns(300)), weights_digest="1" * 64)
    page = write_page(tmp_path, ["one", "two"], **LABELS)
    text = read_page(page).text()
    assert "KIND has no metrics for two: no labelled row has a score." in text
    assert "two: NOTHING IS SCORED" in text
    rows = {row[0]: row for row in rows_of(page, "Metrics of all labelled rows, KIND")}
    assert rows["one: llr"][1].startswith("0.")
    assert rows["two: llr"][1] == "\N{EN DASH}"


def test_a_numeric_label_has_metrics_and_a_plot(tmp_path: Path) -> None:
    columns = make_columns(300)
    # An indel tenth far away, and a number of which low values are harmful.
    columns["llr"] = [None if one is None else one - 80 * (one < -2) for one in columns["llr"]]
    columns["OTHER"] = [None if one is None else 0.01 * one for one in columns["llr"]]
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path, labels={"OTHER": {"harmful": "low"}}, groups=["PLACE"])
    assert "Spearman of llr" in read_page(page).text()
    plot = plots_of(page)["OTHER by llr"]
    (trace,) = plot["data"]
    frame = read_frame(tmp_path / "one" / "scores.parquet").dropna(subset=["llr"])
    frame = frame.sort_values("llr", kind="stable")
    tenths = np.array_split(np.arange(len(frame)), 10)
    medians = [frame.iloc[tenth][["llr", "OTHER"]].median() for tenth in tenths]
    assert trace["y"] == pytest.approx([one["OTHER"] for one in medians], rel=1e-4)
    assert np.diff(trace["x"]).tolist() == [1] * 9
    assert plot["layout"]["xaxis"]["ticktext"] == [decimal(one["llr"]) for one in medians]


@pytest.fixture(scope="module")
def partial_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scorings of the same rows, and a baseline that some of them lack."""
    folder = tmp_path_factory.mktemp("partial")
    columns = make_columns(600)
    columns["OTHER"] = [
        None if place == "rRNA" else number
        for place, number in zip(columns["PLACE"], columns["OTHER"], strict=True)
    ]
    write_scoring(folder / "one", columns)
    again = columns | {"llr": [None if one is None else 0.9 * one for one in columns["llr"]]}
    write_scoring(folder / "two", again, weights_digest="1" * 64)
    return write_page(folder, ["one", "two"], **LABELS)


def test_llr_of_every_scoring_comes_first(partial_page: Path) -> None:
    plots = plots_of(partial_page)
    expected = ["one: llr", "two: llr", "OTHER", "sequence-free: PLACE", "one: llr_aligned"]
    dots = plots["AUROC by score and group, KIND"]
    assert names_of(dots)[:5] == expected
    # There are looks for seven of the ten scores.
    assert "3 more scores are in the tables only." in dots["caption"]
    rows = rows_of(partial_page, "Metrics of all labelled rows, KIND")
    assert [row[0] for row in rows[:3]] == ["one: llr", "two: llr", "sequence-free: PLACE"]
    # In each subset they are in this order, from the top.
    tops: dict[str, list[tuple[float, str]]] = {}
    for trace in dots["data"]:
        for text, y in zip(trace["hovertext"], trace["y"], strict=True):
            tops.setdefault(text.split("<br>")[1], []).append((y, trace["name"]))
    drawn = names_of(dots)
    for found in tops.values():
        order = [drawn.index(name) for _, name in sorted(found)]
        assert order == sorted(order)
    colors = {
        trace["name"].partition(" (")[0]: trace["line"]["color"]
        for trace in plots["ROC curves"]["data"]
        if trace.get("name")
    }
    marks = {trace["name"]: trace["marker"]["color"] for trace in dots["data"]}
    assert colors == {name: marks[name] for name in expected[:3]}


def test_dots_of_one_group_use_the_same_rows(partial_page: Path) -> None:
    dots = plots_of(partial_page)["AUROC by score and group, KIND"]
    rows: dict[str, set[str]] = {}
    for trace in dots["data"]:
        for text in trace["hovertext"]:
            name, place, _, num_rows = text.split("<br>")
            rows.setdefault(place, set()).add(num_rows)
            assert place != "all" or name != "OTHER"
    assert {place: len(found) for place, found in rows.items()} == dict.fromkeys(rows, 1)
    assert "with OTHER" in rows


def test_each_curve_has_the_prevalence_of_its_own_rows(partial_page: Path) -> None:
    frame = read_frame(partial_page.parent / "one" / "scores.parquet")
    used = frame[frame["KIND"].notna() & frame["llr"].notna()]
    prevalences = {
        name: (rows["KIND"] == "bad").mean()
        for name, rows in (("one: llr", used), ("OTHER", used.dropna(subset=["OTHER"])))
    }
    plot = plots_of(partial_page)["Precision and recall"]
    assert f"one: llr {prevalences['one: llr']:.3f}" in plot["caption"]
    assert f"OTHER {prevalences['OTHER']:.3f}" in plot["caption"]
    lines = {trace["y"][0] for trace in plot["data"] if trace["line"].get("width") == 1}
    assert sorted(lines) == pytest.approx(sorted(prevalences.values()))
    num_rows = used["OTHER"].notna().sum()
    assert f"OTHER ({num_rows} rows)" in names_of(plot)


def test_the_label_is_described_with_the_rows_left_out(tmp_path: Path) -> None:
    columns = make_columns(300)
    columns["KIND"][:5] = ["odd"] * 5
    write_scoring(tmp_path / "one", columns)
    labels = {"KIND": LABELS["labels"]["KIND"] | {"where": {"PLACE": ["tRNA", "rRNA"]}}}
    text = read_page(write_page(tmp_path, labels=labels)).text()
    frame = read_frame(tmp_path / "one" / "scores.parquet").iloc[5:]
    elsewhere = (frame["PLACE"] == "coding").sum()
    labelled = frame[frame["PLACE"] != "coding"]
    assert (
        f"KIND: positive: bad; negative: good; where PLACE: tRNA, rRNA. {len(labelled)} of 300 "
        f"rows have a label; {labelled['llr'].notna().sum()} of these have a score. Rows without a "
        f"label: where PLACE {elsewhere}, another value 5."
    ) in text


def test_the_headline_lists_the_types_that_it_mixes(tmp_path: Path) -> None:
    columns = make_columns(600)
    write_scoring(tmp_path / "one", columns)
    assert (
        "all types of variants together; by type: snv 0."
        in read_page(write_page(tmp_path, **LABELS)).text()
    )
    columns |= {"ref": ["A"] * 600, "alt": ["C"] * 600}
    write_scoring(tmp_path / "two", columns)
    assert "all types of" not in read_page(write_page(tmp_path, ["two"], **LABELS)).text()


def test_metrics_of_few_rows_have_another_symbol(tmp_path: Path) -> None:
    columns = make_columns(600)
    columns["PLACE"][:6] = ["tiny"] * 6
    columns["KIND"][:6] = ["bad", "good"] * 3
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path, **LABELS)
    dots = plots_of(page)["AUROC by score and group, KIND"]
    (llr,) = [trace for trace in dots["data"] if trace["name"] == "llr"]
    symbols = {
        text.split("<br>")[1]: symbol
        for text, symbol in zip(llr["hovertext"], llr["marker"]["symbol"], strict=True)
    }
    assert symbols["PLACE: tiny"] == "circle-open"
    assert symbols["PLACE: tRNA"] == symbols["all"] == "circle"
    assert "Open symbols have fewer than 10 rows (of one class" in dots["caption"]
    rows = {(row[0], row[1]): row for row in rows_of(page, "Metrics by PLACE, KIND")}
    assert "few rows" in rows["tiny", "llr"][-1]
    assert "few rows" not in rows["tRNA", "llr"][-1]


def test_headings_of_groups_are_complete(tmp_path: Path) -> None:
    columns = make_columns(600)
    name = "missense_variant,intron_variant"
    columns["PLACE"] = [name if one == "tRNA" else one for one in columns["PLACE"]]
    write_scoring(tmp_path / "one", columns)
    layout = plots_of(write_page(tmp_path, **LABELS))["AUROC by score and group, KIND"]["layout"]
    assert f"PLACE: {name}" in [one["text"] for one in layout["annotations"]]


def test_the_threshold_stands_below_its_sensitivity(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "one" / "scores.parquet").dropna(subset=["KIND", "llr"])
    row = {one[0]: one for one in rows_of(page, "Metrics of all labelled rows, KIND")}["one: llr"]
    threshold = float(row[4].rpartition("threshold ")[2].replace("\N{MINUS SIGN}", "-"))
    is_bad = frame["KIND"] == "bad"
    sensitivity = (frame["llr"][is_bad] <= threshold + 0.005).mean()
    assert sensitivity == pytest.approx(float(row[4][:5]), abs=0.02)
    assert (frame["llr"][~is_bad] > threshold - 0.005).mean() >= 0.94


@pytest.mark.parametrize("is_fine", [True, False])
def test_groups_of_one_variant_each_have_a_warning(tmp_path: Path, is_fine: bool) -> None:
    columns = make_columns(300)
    columns["PLACE"] = [f"C|{number if is_fine else number % 6}" for number in range(300)]
    write_scoring(tmp_path / "one", columns)
    text = read_page(write_page(tmp_path, **LABELS)).text()
    assert ("one labelled variant each, and one variant cannot be evaluated" in text) == is_fine


@pytest.mark.parametrize("has_ratios", [True, False])
def test_likelihood_ratios_have_a_table_with_the_reasons(tmp_path: Path, has_ratios: bool) -> None:
    columns = make_columns(700, num_labelled=500)
    calibration = make_calibration(columns)
    if not has_ratios:
        calibration |= {
            "lr": [None] * 700,
            "lr_reason": [(status == "scored" and "too_few_labels") or None
                          for status in columns["status"]],
        }  # fmt: skip
    table = evaluate_calibrated(tmp_path, columns, {"cal": calibration})
    metrics = read_metrics(table.with_name(METRICS))
    evidence: Any = SimpleNamespace(
        scoring="one", metrics=metrics, curves=[], num_rows=700, allele_names={}
    )
    tables = {
        block.caption: block
        for block in show_labels([evidence], FigureIds())
        if isinstance(block, Table)
    }
    found = tables["Calibration of likelihood ratios, KIND"]
    heads = [head for head, _ in found.columns]
    assert heads == [
        "score", "Brier score", "Brier skill", "calibration error", "positive", "negative",
        "remarks",
    ]  # fmt: skip
    (row,) = found.rows
    of_ratio = {one.metric: one for one in metrics if one.score == "lr"}
    assert row[0].text == "lr"
    assert row[1].number == of_ratio["brier"].value
    assert row[3].number == of_ratio["expected_calibration_error"].value
    ((reason, number),) = of_ratio["brier"].lr_reasons or ()
    assert f"without a likelihood ratio: {number} {reason}" in row[-1].text
    if not has_ratios:
        assert "no scored row has a likelihood ratio: too_few_labels" in row[-1].text
    others = tables["Metrics of all labelled rows, KIND"]
    assert "Brier score" not in [head for head, _ in others.columns]
    assert "quantile" in [row[0].text for row in others.rows]
