"""The report: its sections against the tables, and clear errors about its input."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.errors import InputError
from evo2_tasks.layout import CURVES, METRICS
from evo2_tasks.report.page import FOLDER, PLOTLY, PLOTLY_SHA256
from evo2_tasks.report.words import decimal, fixed
from evo2_tasks.steps import report as report_task
from tests.evaluation.build import (
    LABELS,
    few_draws,
    make_columns,
    make_config,
    read_frame,
    without_scores,
    write_page,
    write_run,
    write_scoring,
)
from tests.report.page import plots_of, read_page, rows_of


def test_the_headline_is_the_auroc_of_scikit_learn(folder: Path, page: Path) -> None:
    for scoring in ("one", "two"):
        frame = read_frame(folder / scoring / "scores.parquet")
        used = frame[frame["KIND"].notna() & frame["llr"].notna()]
        auroc = roc_auc_score(used["KIND"] == "bad", -used["llr"])
        (tile,) = re.findall(rf"<h3>{scoring}</h3>(.*?)</li>", page.read_text(), re.DOTALL)
        assert f"{auroc:.3f} <span>AUROC of llr</span>" in tile
        assert f"{frame['llr'].notna().sum()} of 600 alleles scored" in tile


def test_counts_by_status_are_those_of_the_tables(folder: Path, page: Path) -> None:
    counts = [
        read_frame(folder / scoring / "scores.parquet")["status"].value_counts()
        for scoring in ("one", "two")
    ]
    rows = {row[0]: row for row in rows_of(page, "Alleles by status")}
    assert list(rows) == ["scored", "symbolic_allele", "ref_mismatch"]
    for status, row in rows.items():
        assert [row[1], row[3]] == [str(of_scoring[status]) for of_scoring in counts]
    assert "reference does not have REF at pos" in rows["ref_mismatch"][5]
    assert rows["ref_mismatch"][6].count(" A>G") <= rows["ref_mismatch"][6].count("chr") == 3


def test_the_alleles_with_the_lowest_llr_are_those_of_pandas(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "one" / "scores.parquet").sort_values("llr", kind="stable")
    rows = rows_of(page, "Lowest llr, one")
    assert len(rows) == 50
    for row, (_, expected) in zip(rows, frame.iterrows(), strict=False):
        assert row[1] == expected["contig"]
        assert row[2] == f"{expected['pos']:,}"
        assert row[5] == fixed(expected["llr"])


def test_the_alleles_with_the_highest_llr_are_those_of_pandas(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "two" / "scores.parquet").dropna(subset="llr")
    frame = frame.sort_values("llr", kind="stable", ascending=False)
    rows = rows_of(page, "Highest llr, two")
    assert [row[5] for row in rows] == [fixed(one) for one in frame["llr"][:50]]
    assert [row[2] for row in rows] == [f"{one:,}" for one in frame["pos"][:50]]


@pytest.mark.parametrize("has_all", [True, False])
def test_a_flag_of_all_alleles_is_stated_once(tmp_path: Path, has_all: bool) -> None:
    columns = make_columns(80)
    columns["flags"] = [
        [*flags, "alias_contig"] if status == "scored" and (has_all or number % 2) else flags
        for number, (flags, status) in enumerate(
            zip(columns["flags"], columns["status"], strict=True)
        )
    ]
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path)
    lists = [row[8] for end in ("Lowest", "Highest") for row in rows_of(page, f"{end} llr, one")]
    assert any("alias_contig" in flags for flags in lists) != has_all
    text = read_page(page).text()
    assert ("all scored alleles have the flag alias_contig" in text) == has_all
    assert "alias_contig" in [row[0] for row in rows_of(page, "Scored alleles by flag")]


@pytest.mark.parametrize("num_rows", [1, 2, 7, 50, 600])
def test_quantiles_of_small_sets_are_those_of_pandas(tmp_path: Path, num_rows: int) -> None:
    columns = make_columns(num_rows)
    columns |= {
        "status": ["scored"] * num_rows,
        "llr": [(3 * n) % 11 - 4.5 for n in range(num_rows)],
    }
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path)
    (row,) = rows_of(page, "Quantiles of llr, nats")
    llr = read_frame(tmp_path / "one" / "scores.parquet")["llr"]
    expected = [0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1]
    assert row[2:] == [decimal(llr.quantile(one), zeros=True) for one in expected]
    assert "accurate to" not in read_page(page).text()


def test_a_page_of_the_size_of_the_demo_is_small(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(1_013, num_contigs=1, num_labelled=1_013))
    assert write_page(tmp_path, **LABELS).stat().st_size < 2_000_000
    digest = hashlib.sha256((FOLDER / PLOTLY).read_bytes()).hexdigest()
    assert digest == PLOTLY_SHA256


def test_settings_and_versions_of_each_scoring_are_shown(page: Path) -> None:
    rows = {row[0]: row[1:] for row in rows_of(page, "Settings and versions")}
    assert rows["digest of the weights (SHA-256)"] == ["0" * 64, "1" * 64]
    assert rows["window_length"] == ["8,192", "8,192"]
    assert rows["devices"] == ["cpu (1 threads)"] * 2
    assert rows["torch"] == ["2.13.0"] * 2
    assert "verification" not in str(rows)


def test_time_and_memory_by_shard(page: Path) -> None:
    (row, _) = rows_of(page, "Time and memory by shard, one")
    assert row == ["1-of-2", "cpu (1 threads)", "n1", "8", "0.5", "40", "20,480", "2,560", "700"]


def test_verification_and_mixed_devices_are_shown(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(40))
    run = json.loads((tmp_path / "one" / "run.json").read_text())
    run["shards"][1]["device_class"] = "NVIDIA H100"
    run["verification"] = {"passed": True, "largest_difference": 1e-5}
    (tmp_path / "one" / "run.json").write_text(json.dumps(run))
    page = write_page(tmp_path)
    assert "cpu AVX512 (1 shard); NVIDIA H100 (1 shard)" in read_page(page).text()
    rows = {row[0]: row[1] for row in rows_of(page, "Settings and versions")}
    assert rows["verification: passed"] == "yes"
    assert rows["verification: largest_difference"] == "1e\N{MINUS SIGN}05"
    assert rows["devices"] == "cpu (1 threads)"


def test_alleles_of_a_store_are_counted_by_shard(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(40))
    assert "the store" not in read_page(write_page(tmp_path)).text()
    run = json.loads((tmp_path / "one" / "run.json").read_text())
    for shard, reused in zip(run["shards"], (12, 7), strict=True):
        shard["reused"] = reused
    run |= {"reused": 19, "reused_devices": {"cpu AVX512": 12, "NVIDIA H100": 7}}
    (tmp_path / "one" / "run.json").write_text(json.dumps(run))
    page = write_page(tmp_path)
    rows = rows_of(page, "Time and memory by shard, one")
    assert [row[3] for row in rows] == ["12", "7"]
    text = read_page(page).text()
    assert "19 of 40 alleles have their scores from the store; reused.parquet lists them." in text
    assert "those of the store: cpu AVX512 (12 alleles); NVIDIA H100 (7 alleles)." in text


def test_a_warning_of_split_is_shown_once_for_all_scorings(tmp_path: Path) -> None:
    said = "in.vcf: 1 of 1 contigs have another length <b> in the header than in g.fa."
    for scoring in ("one", "two"):
        write_scoring(tmp_path / scoring, make_columns(20))
        run = json.loads((tmp_path / scoring / "run.json").read_text())
        (tmp_path / scoring / "run.json").write_text(json.dumps({**run, "warnings": [said]}))
    page = write_page(tmp_path, ["one", "two"])
    assert read_page(page).text().count(said) == 1


def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    columns = make_columns(60)
    columns["alt"] = ["T"] * 60
    columns["ref"] = ["A"] * 60
    columns["llr_rev"] = [None] * 60
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path)
    anchors = [element["id"] for element in read_page(page).all("section")]
    shown = ["alleles", "scores", "contigs", "strands", "strongest", "provenance", "cost"]
    assert anchors == ["summary", *shown]
    assert "Only one strand was scored: one." in read_page(page).text()
    assert "median llr, nats" in read_page(page).text()


@pytest.mark.parametrize("num_rows", [0, 30])
def test_a_set_without_any_score_has_a_warning(tmp_path: Path, num_rows: int) -> None:
    write_scoring(tmp_path / "one", without_scores(make_columns(num_rows)))
    page = write_page(tmp_path, **(LABELS if num_rows else {}))
    text = read_page(page).text()
    assert ("NOTHING IS SCORED" if num_rows else "one: the input has no alleles") in text
    if num_rows:
        assert "ref_mismatch 30" in text
        assert "KIND has no metrics: no labelled row has a score." in text


@pytest.mark.parametrize("num_rows", [1, 4, 40, 4_000])
def test_counts_have_whole_ticks(tmp_path: Path, num_rows: int) -> None:
    columns = make_columns(num_rows)
    columns["status"] = ["scored"] * num_rows
    columns["llr"] = [0.1 * (i % 7) for i in range(num_rows)]
    write_scoring(tmp_path / "one", columns)
    plot = plots_of(write_page(tmp_path))["Distribution of llr, one"]
    axis, most = plot["layout"]["yaxis"], max(plot["data"][0]["y"])
    # "~s" writes 0.2 as 200m; below six, ticks are at each whole number.
    assert (axis["tickformat"] == "~s") == (most >= 1_000)
    assert ("dtick" in axis) == (most < 6)


def test_the_same_results_give_the_same_page(folder: Path, page: Path) -> None:
    before = page.read_bytes()
    config = make_config(["one", "two"], **LABELS)
    with few_draws():
        report_task.report(resolve_report(config, "v"), results=folder, out=folder / "again.html")
    assert (folder / "again.html").read_bytes() == before


def test_a_large_set_stays_small(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(100_000, num_contigs=200))
    page = write_page(tmp_path, **LABELS)
    assert page.stat().st_size < 4_000_000
    text = read_page(page).text()
    assert "Not shown: 176 contigs" in text
    assert "100,000" in text


def test_the_error_of_a_missing_file_names_the_step_that_writes_it(tmp_path: Path) -> None:
    config = make_config(["one"], **LABELS)

    def report() -> None:
        report_task.report(resolve_report(config, "v"), results=tmp_path, out=tmp_path / "r.html")

    with pytest.raises(InputError, match=r"scores.parquet: does not exist. .* `merge`"):
        report()
    write_scoring(tmp_path / "one", make_columns(20))
    with pytest.raises(InputError, match=r"metrics.parquet: does not exist. .* `evaluate`"):
        report()
    (tmp_path / "one" / METRICS).write_text("no table")
    (tmp_path / "one" / CURVES).write_text("no table")
    with pytest.raises(InputError, match=r"metrics.parquet: cannot be read"):
        report()
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a JSON object"),
        ("{", "is not a JSON file"),
        (
            '{"shards": 1, "alleles": 20}',
            r"json: shards: expected a list, got 1\. Run `merge`",
        ),
        ('{"shards": [], "alleles": 7}', "of different runs"),
    ],
)
def test_a_wrong_run_json_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    (tmp_path / "one" / "run.json").write_text(text)
    with pytest.raises(InputError, match=said):
        write_page(tmp_path)


def test_a_short_run_json_is_enough(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    write_run(tmp_path / "one", 20, shards=[], wall_s=None, variants=None)
    assert "Settings and versions" in read_page(write_page(tmp_path)).text()


def test_metrics_of_another_schema_are_one_line(folder: Path, tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    for name in (METRICS, CURVES):
        (tmp_path / "one" / name).write_bytes((tmp_path / "one" / "scores.parquet").read_bytes())
    config = make_config(["one"], **LABELS)
    with pytest.raises(InputError, match="has no column 'label'"):
        report_task.report(resolve_report(config, "v"), results=tmp_path, out=tmp_path / "r.html")
