"""The scorings of a set compared with each other, against scipy and scikit-learn."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from evo2_tasks.errors import InputError
from evo2_tasks.report.scorings import MOST_PAIRS, compare_tables
from evo2_tasks.report.words import fixed
from evo2_tasks.table import combined
from tests.evaluation.build import (
    LABELS,
    make_columns,
    read_frame,
    score_again,
    write_page,
    write_scoring,
)
from tests.report.page import plots_of, read_page, rows_of

NUMERIC = {"labels": {"OTHER": {"harmful": "high"}}}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    columns = make_columns(600)
    write_scoring(folder / "one", columns, row_group_rows=70)
    write_scoring(folder / "two", score_again(columns), row_group_rows=111, weights_digest="1" * 64)
    write_page(folder, ["one", "two"], **LABELS)
    return folder


def both(folder: Path) -> pd.DataFrame:
    one, other = (read_frame(folder / name / "scores.parquet") for name in ("one", "two"))
    return one.assign(second=other["llr"]).dropna(subset=["llr", "second"])


def test_the_plot_and_the_correlation_are_those_of_the_tables(two: Path) -> None:
    frame = both(two)
    expected = spearmanr(frame["llr"], frame["second"]).statistic
    (row,) = rows_of(two / "report.html", "Rank correlation of the llr of two scorings")
    assert row == ["one", "two", str(len(frame)), fixed(expected)]
    plot = plots_of(two / "report.html")["llr of one and two"]
    points = plot["data"][0]
    assert points["x"] == pytest.approx(frame["llr"].tolist(), rel=1e-4)
    assert points["y"] == pytest.approx(frame["second"].tolist(), rel=1e-4)
    places = frame["contig"].astype(str) + ":" + frame["pos"].astype(str)
    expected_names = places + " " + frame["ref"] + ">" + frame["alt"]
    names = [html.unescape(text.partition("<br>")[0]) for text in points["hovertext"]]
    assert names == expected_names.tolist()
    assert f"correlation is {fixed(expected)}" in plot["caption"]


def test_the_difference_is_that_of_scikit_learn_and_its_interval_is_paired(two: Path) -> None:
    frame = both(two)
    frame = frame[frame["KIND"].notna()]
    is_bad = (frame["KIND"] == "bad").to_numpy()
    aurocs = [roc_auc_score(is_bad, -frame[name]) for name in ("llr", "second")]
    (row,) = rows_of(two / "report.html", "AUROC of the llr of two scorings on the same rows, KIND")
    assert row[:4] == ["one", "two", *map(fixed, aurocs)]
    texts = [
        text.replace("\N{MINUS SIGN}", "-") for text in re.findall("[-+\u2212]?[\\d.]+", row[4])
    ]
    value, low, high = map(float, texts)
    assert value == pytest.approx(aurocs[0] - aurocs[1], abs=6e-4)
    assert row[5:] == [str(is_bad.sum()), str((~is_bad).sum())]
    # A plain loop that draws positions, with other draws.
    clusters = (frame["contig"].astype(str) + ":" + frame["pos"].astype(str)).to_numpy()
    rng = np.random.default_rng(3)
    names = np.unique(clusters)
    places = {name: np.flatnonzero(clusters == name) for name in names}
    first, second = -frame["llr"].to_numpy(), -frame["second"].to_numpy()
    differences = []
    for _ in range(400):
        drawn = np.concatenate([places[name] for name in rng.choice(names, len(names))])
        differences.append(
            roc_auc_score(is_bad[drawn], first[drawn]) - roc_auc_score(is_bad[drawn], second[drawn])
        )
    expected = np.quantile(differences, [0.025, 0.975])
    assert [low, high] == pytest.approx(expected.tolist(), abs=0.015)


def test_a_numeric_label_is_compared_by_its_correlation(tmp_path: Path) -> None:
    columns = make_columns(400)
    write_scoring(tmp_path / "one", columns)
    write_scoring(tmp_path / "two", score_again(columns))
    page = write_page(tmp_path, ["one", "two"], **NUMERIC)
    frame = both(tmp_path)
    (row,) = rows_of(page, "Spearman of the llr of two scorings on the same rows, OTHER")
    expected = [spearmanr(frame["OTHER"], -frame[name]).statistic for name in ("llr", "second")]
    assert row[2:4] == [*map(fixed, expected)]
    assert row[5] == str(len(frame))


def test_without_labels_the_scorings_are_compared_too(tmp_path: Path) -> None:
    columns = make_columns(200)
    write_scoring(tmp_path / "one", columns)
    write_scoring(tmp_path / "two", score_again(columns))
    text = read_page(write_page(tmp_path, ["one", "two"])).text()
    assert "Comparison of the scorings" in text
    assert "on the same rows" not in text


def test_one_scoring_is_not_compared(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(60))
    assert "Comparison" not in read_page(write_page(tmp_path, **LABELS)).text()


def test_of_many_scorings_the_first_pairs_are_compared(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    columns = make_columns(60)
    for seed, name in enumerate(names):
        write_scoring(tmp_path / name, score_again(columns, seed=seed))
    page = write_page(tmp_path, names)
    rows = rows_of(page, "Rank correlation of the llr of two scorings")
    assert [row[:2] for row in rows[:5]] == [
        ["a", "b"],
        ["a", "c"],
        ["a", "d"],
        ["a", "e"],
        ["b", "c"],
    ]
    assert len(rows) == MOST_PAIRS
    assert "Not compared: 4 more pairs of scorings." in read_page(page).text()


@pytest.mark.parametrize("change", ["fewer", "other alleles"])
def test_tables_of_different_runs_are_one_line(tmp_path: Path, change: str) -> None:
    write_scoring(tmp_path / "one", make_columns(60))
    other = make_columns(50 if change == "fewer" else 60)
    if change == "other alleles":
        other["allele"] = [*other["allele"][:-1], 2]
    write_scoring(tmp_path / "two", other)
    with pytest.raises(InputError, match="their alleles differ: they are of different runs"):
        write_page(tmp_path, ["one", "two"])


def test_scorings_without_a_common_score(tmp_path: Path) -> None:
    columns = make_columns(40)
    write_scoring(tmp_path / "one", columns)
    write_scoring(tmp_path / "two", columns | {"llr": [None] * 40})
    (row,) = rows_of(
        write_page(tmp_path, ["one", "two"]), "Rank correlation of the llr of two scorings"
    )
    assert row == ["one", "two", "0", "\N{EN DASH}"]


def test_batches_make_no_difference(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {name: two / name / "scores.parquet" for name in ("one", "two")}
    (whole,) = compare_tables(tables, []).pairs
    read_rows = combined.read_rows

    def read_few(path: Path, columns: list[str]) -> object:
        return read_rows(path, columns, batch_rows=7 if path == tables["one"] else 13)

    monkeypatch.setattr(combined, "read_rows", read_few)
    (pieces,) = compare_tables(tables, []).pairs
    assert whole.pairs is not None
    assert pieces.pairs is not None
    np.testing.assert_array_equal(whole.pairs.points, pieces.pairs.points)
    assert whole.names == pieces.names


def test_reference_checkpoint_and_date_are_shown(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(40))
    run = json.loads((tmp_path / "one" / "run.json").read_text())
    run["date"] = "2026-11-29T08:40:12+00:00"
    (tmp_path / "one" / "run.json").write_text(json.dumps(run))
    page = write_page(tmp_path)
    rows = {row[0]: row[1] for row in rows_of(page, "Settings and versions")}
    assert rows["table written (UTC)"] == "2026-11-29T08:40:12+00:00"
    assert rows["reference"].endswith(".fa)")
    assert rows["checkpoint"]
    assert f"in.vcf; reference {rows['reference']}; tables of 2026-11-29" in read_page(page).text()


@pytest.mark.parametrize("column", ["contig", "pos", "ref", "alt"])
def test_other_alleles_under_the_same_keys_are_one_line(tmp_path: Path, column: str) -> None:
    columns = make_columns(40)
    write_scoring(tmp_path / "one", columns)
    others = list(columns[column])
    others[30] = {"contig": "chrOther", "pos": 7, "ref": "GG", "alt": "GGG"}[column]
    write_scoring(tmp_path / "two", {**columns, column: others}, weights_digest="1" * 64)
    with pytest.raises(InputError, match="their alleles differ: they are of different runs"):
        write_page(tmp_path, ["one", "two"])
