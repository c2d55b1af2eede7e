"""The summary of a table, against pandas on the whole table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from evo2_tasks.errors import InputError
from evo2_tasks.report import bins
from evo2_tasks.report.bins import Histogram, PairSample, round_edges, round_width
from evo2_tasks.report.rows import fetch_rows
from evo2_tasks.report.summary import TableSummary, summarize_table
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS
from tests.evaluation.build import make_columns, read_frame, without_scores, write_scoring


def summarize(folder: Path, columns: dict[str, Any], **settings: Any) -> TableSummary:
    return summarize_table(write_scoring(folder, columns, **settings))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several row groups, of which batches of the reader hold parts."""
    folder = tmp_path_factory.mktemp("summary")
    return write_scoring(folder, make_columns(5_000, num_contigs=30), row_group_rows=700)


@pytest.fixture(scope="module")
def summary(table: Path) -> TableSummary:
    return summarize_table(table)


def test_counts_are_those_of_pandas(table: Path, summary: TableSummary) -> None:
    frame = read_frame(table)
    assert summary.counts.by_status == frame["status"].value_counts().to_dict()
    scored = frame[frame["llr"].notna()]
    assert summary.llr.count == len(scored)
    assert summary.by_type["snv"] == (scored["ref"].str.len() + scored["alt"].str.len() == 2).sum()
    assert sum(summary.by_type.values()) == len(scored)


def test_the_histogram_is_numpys(table: Path, summary: TableSummary) -> None:
    llr = read_frame(table)["llr"].dropna().to_numpy()
    histogram = summary.histogram
    assert histogram is not None
    inside = np.clip(llr, histogram.edges[0], histogram.edges[-1])
    counts, _ = np.histogram(inside, histogram.edges)
    assert histogram.total.tolist() == counts.tolist()
    assert histogram.total.sum() == len(llr)
    assert histogram.num_below == (llr < histogram.edges[0]).sum()
    assert histogram.num_above == (llr > histogram.edges[-1]).sum()


def test_bins_along_a_contig_are_those_of_pandas(table: Path, summary: TableSummary) -> None:
    scored = read_frame(table).dropna(subset="llr")
    for contig in summary.contigs:
        rows = scored[scored["contig"] == contig.contig]
        grouped = rows.groupby((rows["pos"] - 1) // contig.width * contig.width + 1)["llr"]
        assert contig.num_rows == len(rows)
        assert contig.first_pos.tolist() == list(grouped.groups)
        assert contig.counts.tolist() == grouped.size().tolist()
        np.testing.assert_allclose(contig.means, grouped.mean())
        assert contig.minimums.tolist() == grouped.min().tolist()
        assert contig.lowest_rows.tolist() == grouped.idxmin().tolist()


def test_the_largest_contigs_are_kept(table: Path, summary: TableSummary) -> None:
    sizes = read_frame(table).dropna(subset="llr")["contig"].astype(str).value_counts()
    assert summary.num_contigs == 30
    assert len(summary.contigs) == 24
    assert sorted(one.num_rows for one in summary.contigs) == sorted(sizes[:24])
    assert summary.num_elsewhere == sizes[24:].sum()


def test_the_lowest_and_highest_rows_are_those_of_pandas(
    table: Path, summary: TableSummary
) -> None:
    frame = read_frame(table).dropna(subset="llr")
    lowest = frame.sort_values("llr", kind="stable")[:50]
    highest = frame.sort_values("llr", kind="stable", ascending=False)[:50]
    for name in ("pos", "ref", "alt", "llr", "llr_fwd", "OTHER", "PLACE"):
        assert [row[name] for row in summary.lowest] == lowest[name].tolist()
        assert [row[name] for row in summary.highest] == highest[name].tolist()


def test_examples_are_the_first_rows(table: Path, summary: TableSummary) -> None:
    frame = read_frame(table)
    for status in ("scored", "ref_mismatch", "symbolic_allele"):
        expected = frame[frame["status"] == status]["record"][:3].tolist()
        assert [row["record"] for row in summary.examples[status]] == expected
    clipped = frame[["clipped" in flags for flags in frame["flags"]]]["record"][:3].tolist()
    assert [row["record"] for row in summary.examples["clipped"]] == clipped


def test_pairs_are_correlated_as_scipy_does(table: Path, summary: TableSummary) -> None:
    frame = read_frame(table)
    both = frame.dropna(subset=["llr_fwd", "llr_rev"])
    assert summary.strands is not None
    assert summary.strands.num_rows == len(both)
    assert summary.strands.spearman == pytest.approx(
        spearmanr(both["llr_fwd"], both["llr_rev"]).statistic
    )
    indels = both[both["ref"].str.len() != both["alt"].str.len()]
    assert summary.indels is not None
    assert summary.indels.points is not None
    assert summary.indels.points.tolist() == [
        indels["llr"].tolist(), indels["llr_aligned"].tolist()
    ]  # fmt: skip


def test_row_groups_and_batches_make_no_difference(table: Path, summary: TableSummary) -> None:
    whole = summarize(table.parent / "whole", make_columns(5_000, num_contigs=30))
    for one, other in zip(whole.contigs, summary.contigs, strict=True):
        np.testing.assert_allclose(one.means, other.means)
        assert one.minimums.tolist() == other.minimums.tolist()
    assert (whole.lowest, whole.highest) == (summary.lowest, summary.highest)
    assert whole.names == summary.names
    assert whole.examples == summary.examples


def test_of_many_pairs_every_nth_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bins, "MOST_SAMPLED", 40)
    sample = PairSample("x", "y", num_rows=100)
    values = np.arange(100.0)
    for start in range(0, 100, 7):
        sample.add(
            values[start : start + 7], -values[start : start + 7], np.arange(100)[start:][:7]
        )
    found = sample.summarize()
    assert found is not None
    assert found.points is not None
    assert found.points[0].tolist() == values[::3].tolist()
    assert found.rows.tolist() == list(range(0, 100, 3))
    assert (found.num_rows, found.num_sampled, found.spearman) == (100, 34, -1)


def test_many_pairs_are_a_density_that_holds_nearly_all(summary: TableSummary) -> None:
    assert summary.strands is not None
    density = summary.strands.density
    assert summary.strands.points is None
    assert density is not None
    assert density.counts.sum() + density.num_outside == summary.strands.num_sampled
    assert density.num_outside < 0.01 * summary.strands.num_sampled


@pytest.mark.parametrize(
    ("least", "width"), [(1, 1), (1.01, 2), (3, 5), (5.5, 10), (0.03, 0.05), (120, 200)]
)
def test_widths_are_round(least: float, width: float) -> None:
    assert round_width(least) == pytest.approx(width)


def test_edges_hold_the_range_and_zero() -> None:
    edges = round_edges(-3.14, 2.71, 60)
    assert edges[0] <= -3.14
    assert edges[-1] >= 2.71
    assert 0 in edges
    assert len(edges) <= 63


def test_numbers_on_an_edge_are_in_the_bin_above() -> None:
    histogram = Histogram(np.array([0.0, 1.0, 2.0]))
    histogram.add("a", np.array([0.0, 1.0, 2.0, 3.0, -1.0]), np.arange(5))
    assert histogram.rows == [[0, 4], [1, 2, 3]]
    assert histogram.total.tolist() == [2, 3]
    assert (histogram.num_below, histogram.num_above) == (1, 1)


# --- tables at the edge


def test_an_empty_table(tmp_path: Path) -> None:
    summary = summarize(tmp_path, make_columns(0))
    assert summary.counts.alleles == 0
    assert (summary.histogram, summary.strands, summary.indels) == (None, None, None)
    assert not summary.contigs
    assert not summary.lowest
    assert not summary.highest


def test_nothing_scored_and_no_contig(tmp_path: Path) -> None:
    columns = without_scores(make_columns(50), "invalid_record")
    empty = [None] * 50
    columns |= dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"), empty)
    summary = summarize(tmp_path, columns)
    assert summary.counts.by_status == {"invalid_record": 50}
    assert summary.num_contigs == 0
    assert [row["record"] for row in summary.examples["invalid_record"]] == [0, 1, 2]


def test_equal_scores_keep_the_order_of_the_table(tmp_path: Path) -> None:
    columns = make_columns(200)
    columns["status"] = ["scored"] * 200
    columns |= {name: [-1.5] * 200 for name in ALL_SCORE_COLUMNS}
    summary = summarize(tmp_path, columns)
    assert [row["record"] for row in summary.lowest] == list(range(50))
    assert [row["record"] for row in summary.highest] == list(range(50))
    assert summary.histogram is not None
    assert summary.histogram.total.max() == 200
    assert summary.strands is not None
    assert summary.strands.spearman is None
    assert summary.strands.reason == "all values of llr_fwd are equal"


def test_one_strand_makes_no_pairs(tmp_path: Path) -> None:
    columns = make_columns(50)
    columns["llr_rev"] = [None] * 50
    assert summarize(tmp_path, columns).strands is None


def test_numbers_that_a_horizon_leaves_out_are_not_needed(tmp_path: Path) -> None:
    columns = make_columns(50)
    for name in ("ll_ref", "ll_alt", "delta_score"):
        columns |= {name + suffix: [None] * 50 for suffix in ("", "_fwd", "_rev")}
    assert summarize(tmp_path, columns).llr.count > 40


def test_rows_are_fetched_by_number(table: Path) -> None:
    found = fetch_rows(table, [4_999, 0, 700, 699], ["record"])
    assert found == {number: {"record": number} for number in (0, 699, 700, 4_999)}
    assert fetch_rows(table, [], ["record"]) == {}


def test_another_parquet_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        summarize_table(tmp_path / "nowhere.parquet")
