"""The section about combined tables, against pandas, numpy and the metrics of the table."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.layout import COMBINED, METRICS
from evo2_tasks.report.combinations import QUANTILES, correlate, group_by_length
from evo2_tasks.report.words import count, decimal, fixed
from evo2_tasks.steps.report import report
from evo2_tasks.table.documents import CombinedScoring, Signature
from tests.evaluation.build import (
    CARRY,
    LABELS,
    make_columns,
    score_again,
    without_scores,
    write_scoring,
)
from tests.report.build_combined import (
    LENGTHS,
    longer_windows,
    resolve_page,
    signatures_of_lengths,
    write_combined_page,
)
from tests.report.page import names_of, plots_of, read_page, rows_of
from tests.table.build import SCORING, signature

OTHER = {"weights_digest": "1" * 64}
SCORES = [*(f"{name}.llr" for name in (*LENGTHS, "other")), "rank_mean", "z_mean"]
WINDOWS = {"scorings": [*LENGTHS, "other"], "ensembles": ["rank_mean", "z_mean"]}


def write_windows(folder: Path, **variant_set: Any) -> Path:
    columns = longer_windows(500)
    columns["other"] = score_again(columns["w2048"])
    signatures = signatures_of_lengths() | {"other": OTHER}
    return write_combined_page(folder, columns, signatures, {"windows": WINDOWS}, **variant_set)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_windows(tmp_path_factory.mktemp("windows"), **LABELS)


@pytest.fixture(scope="module")
def frame(page: Path) -> pd.DataFrame:
    """The rows that are scored in all scorings."""
    table = pd.read_parquet(page.with_name("combined") / "windows" / COMBINED)
    return table[table["status"] == "scored"]


@pytest.fixture(scope="module")
def metrics(page: Path) -> pd.DataFrame:
    found = pd.read_parquet(page.with_name("combined") / "windows" / METRICS)
    return found[found["subset"] == "all"]


def test_the_settings_that_differ_are_listed(page: Path, frame: pd.DataFrame) -> None:
    assert rows_of(page, "Settings that differ between the scorings of windows") == [
        *([name, "evo2-mini", str(length // 4), str(length), "0" * 23 + "…"]
          for name, length in LENGTHS.items()),
        ["other", "evo2-mini", "\N{EN DASH}", "8192", "1" * 23 + "…"],
    ]  # fmt: skip
    text = " ".join(read_page(page).text().split())
    assert "has the scores of w512, w2048, w8192 and other next to each other" in text
    assert f"{len(frame)} of 500 alleles are scored in all of them" in text


def test_the_matrix_has_the_correlations_of_pandas(page: Path, frame: pd.DataFrame) -> None:
    plot = plots_of(page)["Rank correlation of the scores, windows"]
    (heatmap,) = plot["data"]
    expected = frame[SCORES].corr(method="spearman").to_numpy()
    np.testing.assert_allclose(heatmap["z"], expected, rtol=1e-4)
    assert heatmap["text"] == [[fixed(one, 2) for one in row] for row in expected]
    assert plot["layout"]["xaxis"]["ticktext"] == SCORES
    assert f"{len(frame)} alleles" in plot["caption"]
    above = expected[np.triu_indices(len(SCORES), 1)]
    assert f"The lowest is {fixed(above.min())}, of w512.llr and other.llr" in plot["caption"]
    assert f"The highest is {fixed(above.max())}, of rank_mean and z_mean" in plot["caption"]


def test_llr_is_drawn_against_the_window_length(page: Path, frame: pd.DataFrame) -> None:
    plots = plots_of(page)
    columns = [f"{name}.llr" for name in LENGTHS]
    parts = {
        "llr by window length": {"all alleles": frame},
        "llr by window length, KIND": {
            "negative": frame[frame["KIND"] == "good"], "positive": frame[frame["KIND"] == "bad"],
        },
    }  # fmt: skip
    for title, rows in parts.items():
        plot = plots[title]
        assert names_of(plot) == [*rows]
        bands = [trace for trace in plot["data"] if "name" not in trace]
        lines = [trace for trace in plot["data"] if "name" in trace]
        for line, band, of_rows in zip(lines, bands, rows.values(), strict=True):
            assert line["x"] == [*LENGTHS.values()]
            assert line["y"] == pytest.approx(of_rows[columns].median().tolist(), rel=1e-4)
            ends = [*of_rows[columns].quantile(0.75), *of_rows[columns].quantile(0.25)[::-1]]
            assert band["y"] == pytest.approx(ends, rel=1e-4)
        assert plot["layout"]["xaxis"]["type"] == "log"
        assert plot["layout"]["xaxis"]["ticktext"] == ["512", "2,048", "8,192"]
        for name, of_rows in rows.items():
            assert f"{len(of_rows)} {name.removeprefix('all ')}" in plot["caption"]
            medians = of_rows[columns].median()
            listed = ", ".join(
                f"{decimal(float(median))} at {count(length)}"
                for median, length in zip(medians, LENGTHS.values(), strict=True)
            )
            assert f"{name}: {listed}" in plot["caption"]


def test_the_table_compares_each_length_with_the_longest(page: Path, frame: pd.DataFrame) -> None:
    rows = rows_of(page, "Quantiles of llr by window length")
    longest = frame["w8192.llr"]
    for row, (name, length) in zip(rows, LENGTHS.items(), strict=True):
        llr = frame[f"{name}.llr"]
        rms = float(np.sqrt(np.mean((llr - longest) ** 2)))
        assert row == [
            name, count(length), count(len(frame)),
            *(decimal(float(llr.quantile(share))) for share in QUANTILES),
            fixed(llr.corr(longest, method="spearman")), decimal(rms),
        ]  # fmt: skip


def test_the_metric_is_drawn_against_the_window_length(page: Path, metrics: pd.DataFrame) -> None:
    plot = plots_of(page)["AUROC by window length, KIND"]
    aurocs = metrics[(metrics["metric"] == "auroc") & metrics["minus"].isna()].set_index("score")
    assert names_of(plot) == ["all labelled rows", "snv", "rank_mean", "z_mean"]
    traces = {trace["name"]: trace for trace in plot["data"]}
    of_lengths = aurocs.loc[[f"{name}.llr" for name in LENGTHS]]
    points = traces["all labelled rows"]
    np.testing.assert_allclose(points["y"], of_lengths["value"], rtol=1e-4)
    ends = np.array(points["error_y"]["array"]) + points["y"]
    np.testing.assert_allclose(ends, of_lengths["high"], rtol=1e-4)
    for ensemble in ("rank_mean", "z_mean"):
        value = aurocs.loc[ensemble, "value"]
        assert traces[ensemble]["y"] == pytest.approx([value, value], rel=1e-4)
        assert f"{ensemble} {fixed(value)}" in plot["caption"]
    assert f"{fixed(of_lengths['value'].iloc[-1])} [" in plot["caption"]


def test_the_metrics_of_ensembles_are_next_to_those_of_the_scorings(
    page: Path, metrics: pd.DataFrame
) -> None:
    plots = plots_of(page)
    dots = plots["AUROC of the combined scores, KIND"]
    assert names_of(dots) == SCORES
    rows = rows_of(page, "Metrics of the combined scores, KIND")
    assert [row[0] for row in rows] == SCORES
    aurocs = metrics[(metrics["metric"] == "auroc") & metrics["minus"].isna()].set_index("score")
    for row in rows:
        assert row[1].startswith(fixed(aurocs.loc[row[0], "value"]))
    differences = rows_of(page, "Differences between the combined scores on the same rows, KIND")
    assert len(differences) == len(SCORES) * (len(SCORES) - 1) // 2
    compared = metrics[metrics["minus"] == "z_mean"].set_index("score")["value"]
    assert differences[-1][0] == "rank_mean minus z_mean"
    assert differences[-1][1].startswith(fixed(compared["rank_mean"], sign=True))


def test_without_labels_the_scores_are_shown(tmp_path: Path) -> None:
    plots = plots_of(write_windows(tmp_path))
    assert "llr by window length" in plots
    assert "Rank correlation of the scores, windows" in plots
    assert not [title for title in plots if "KIND" in title or "AUROC" in title]


def test_a_numeric_label_has_its_correlation_by_length(tmp_path: Path) -> None:
    plots = plots_of(write_windows(tmp_path, labels={"OTHER": {"harmful": "high"}}))
    found = pd.read_parquet(tmp_path / "combined" / "windows" / METRICS)
    found = found[(found["subset"] == "all") & found["minus"].isna()].set_index("score")
    points = plots["Spearman by window length, OTHER"]["data"][0]
    expected = found.loc[[f"{name}.llr" for name in LENGTHS], "value"]
    np.testing.assert_allclose(points["y"], expected, rtol=1e-4)


def test_scorings_of_other_models_have_no_figure_by_length(tmp_path: Path) -> None:
    first = make_columns(300)
    columns = {"one": first, "two": score_again(first)}
    signatures = {"one": {}, "two": {**OTHER, "scoring": {**SCORING, "window_length": 512}}}
    page = write_combined_page(
        tmp_path, columns, signatures, {"a": {"scorings": ["one", "two"]},
                                        "b": {"scorings": ["two", "one"], "score": "llr_aligned"}},
        **LABELS,
    )  # fmt: skip
    plots = plots_of(page)
    assert not [title for title in plots if "by window length" in title]
    assert "Rank correlation of the scores, a" in plots
    columns_of_b = plots["Rank correlation of the scores, b"]["layout"]["xaxis"]["ticktext"]
    assert columns_of_b == ["two.llr_aligned", "one.llr_aligned"]


def test_nothing_scored_in_all_scorings_is_stated(tmp_path: Path) -> None:
    columns = longer_windows(300)
    columns["w512"] = without_scores(columns["w512"])
    combination = {"scorings": [*LENGTHS], "ensembles": ["rank_mean", "z_mean"]}
    page = write_combined_page(
        tmp_path, columns, signatures_of_lengths(), {"windows": combination}, **LABELS
    )
    text = " ".join(read_page(page).text().split())
    assert "0 of 300 alleles are scored in all of them" in text
    assert "rank_mean is missing in all rows: no allele has llr in all scorings." in text
    assert not [
        title for title in plots_of(page) if "window length" in title or "combined" in title
    ]


def test_a_constant_scoring_is_stated(tmp_path: Path) -> None:
    columns = longer_windows(300)
    llr = columns["w512"]["llr"]
    columns["w512"]["llr"] = [None if one is None else -1.25 for one in llr]
    combination = {"scorings": [*LENGTHS], "ensembles": ["z_mean", "rank_mean"]}
    page = write_combined_page(
        tmp_path, columns, signatures_of_lengths(), {"windows": combination}, **LABELS
    )
    text = " ".join(read_page(page).text().split())
    assert "z_mean is missing in all rows: all values of w512.llr are equal." in text
    (heatmap,) = plots_of(page)["Rank correlation of the scores, windows"]["data"]
    assert heatmap["z"][0] == [None] * 5  # a constant has no rank correlation
    assert heatmap["text"][0] == [""] * 5
    assert heatmap["z"][1][1] == 1


def test_a_set_without_combinations_has_no_section(tmp_path: Path) -> None:
    columns = longer_windows(100)
    page = write_combined_page(tmp_path, columns, signatures_of_lengths(), {})
    assert 'id="combined"' not in page.read_text()


@pytest.mark.parametrize("what", ["missing", "scores", "settings", "metrics", "other file"])
def test_files_of_other_runs_give_one_line(tmp_path: Path, what: str) -> None:
    columns = longer_windows(100)
    combination = {"scorings": [*LENGTHS], "ensembles": ["rank_mean"]}
    parts = (columns, signatures_of_lengths(), {"windows": combination})
    write_combined_page(tmp_path, *parts, **LABELS)
    settings = resolve_page(columns, {"windows": combination}, **LABELS)
    folder = tmp_path / "combined" / "windows"
    if what == "missing":
        (folder / COMBINED).unlink()
        expected = "does not exist. Run `combine`"
    elif what == "scores":
        again = score_again(columns["w512"])
        write_scoring(tmp_path / "w512", again, **signatures_of_lengths()["w512"])
        for name in ("metrics.parquet", "curves.parquet"):
            (tmp_path / "w512" / name).unlink()
        settings = resolve_page(columns, {"windows": combination})
        expected = "combined.parquet was made from another version of .*w512"
    elif what == "settings":
        changed = {"scorings": [*LENGTHS], "ensembles": ["z_mean"]}
        settings = resolve_page(columns, {"windows": changed}, **LABELS)
        expected = "combined.parquet was made with other settings .* ensembles"
    elif what == "metrics":
        (folder / METRICS).write_bytes((tmp_path / "w512" / METRICS).read_bytes())
        expected = "metrics.parquet was made from another table"
    else:
        (folder / COMBINED).write_bytes((tmp_path / "w512" / "scores.parquet").read_bytes())
        expected = "is not a table of `combine`"
    with pytest.raises(InputError, match=expected):
        report(settings, results=tmp_path, out=tmp_path / "again.html")
    assert not (tmp_path / "again.html").exists()


def make_member(name: str, **changed: Any) -> CombinedScoring:
    scoring = {**SCORING, "min_context": 128, **changed.pop("scoring", {})}
    stated = signature(scoring=scoring, **changed)
    return CombinedScoring(
        name=name, table="0" * 64, version="1", signature=Signature.parse(stated, "here")
    )


def test_scorings_are_grouped_by_window_length() -> None:
    members = [
        make_member("long", scoring={"window_length": 4096, "max_allele_length": 1024}),
        make_member("strand", scoring={"window_length": 512, "strands": "forward"}),
        make_member("short", scoring={"window_length": 512, "min_context": 64}),
        make_member("weights", weights_digest="1" * 64),
        make_member("precise", weights_digest="1" * 64, scoring={"window_length": 256}),
        make_member("model", dtype="bfloat16", scoring={"window_length": 1024}),
        make_member("horizon", scoring={"window_length": 1024, "horizon": 100}),
    ]
    groups = group_by_length(members)
    assert [[one.name for one in group] for group in groups] == [
        ["short", "long"], ["precise", "weights"],
    ]  # fmt: skip
    # Two of one length differ in something else, so the length is not what they differ in.
    again = make_member("again", scoring={"window_length": 512, "max_allele_length": 7})
    assert [len(group) for group in group_by_length([*members, again])] == [2]


def test_correlations_are_those_of_pandas_with_gaps() -> None:
    rng = np.random.default_rng(1)
    sample = rng.integers(0, 5, (4, 60)).astype(float)
    sample[1, ::7] = np.nan
    sample[2] = 3.0
    sample[3, 1:] = np.nan
    expected = pd.DataFrame(sample.T).corr(method="spearman").to_numpy()
    np.testing.assert_allclose(correlate(sample), expected)
    assert np.isnan(expected[2]).all()


def test_hostile_names_of_labels_stay_text(tmp_path: Path) -> None:
    columns = longer_windows(100)
    name = "<b>&amp;%{x}"
    for of_scoring in columns.values():
        of_scoring[name] = of_scoring["KIND"]
    labels = {"labels": {name: {"positive": ["bad"], "negative": ["good"]}}}
    page = write_combined_page(
        tmp_path, columns, signatures_of_lengths(),
        {"windows": {"scorings": [*LENGTHS], "ensembles": ["rank_mean"]}},
        carry=(*CARRY, CarryField(name, "string", False, "")), **labels,
    )  # fmt: skip
    titles = [html.unescape(title) for title in plots_of(page)]
    assert f"llr by window length, {name}" in titles
    assert f"AUROC by window length, {name}" in titles
    assert "<b>&amp;%{x}" not in page.read_text().partition("<script")[0]
