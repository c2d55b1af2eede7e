"""What a pointer finds on a plot: the alleles, as the table spells them."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.report.words import decimal
from tests.evaluation.build import LABELS, make_columns, read_frame, write_page, write_scoring
from tests.report.page import plots_of


def names_of_rows(frame: pd.DataFrame) -> pd.Series[str]:
    contig, pos = frame["contig"].astype(str), frame["pos"].astype(str)
    return contig + ":" + pos + " " + frame["ref"] + ">" + frame["alt"]


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    frame = read_frame(folder / "one" / "scores.parquet")
    return frame.assign(variant=names_of_rows(frame))


@pytest.fixture(scope="module")
def plots(page: Path) -> dict[str, dict[str, Any]]:
    return plots_of(page)


def first_lines(trace: dict[str, Any]) -> list[str]:
    return [html.unescape(text.partition("<br>")[0]) for text in trace["hovertext"]]


def test_points_of_pairs_are_alleles(frame: pd.DataFrame, plots: dict[str, Any]) -> None:
    both = frame.dropna(subset=["llr_fwd", "llr_rev"])
    trace = plots["llr of the two strands, one"]["data"][0]
    assert first_lines(trace) == both["variant"].tolist()
    other = read_frame_of_indels(frame)
    assert first_lines(plots["llr and llr_aligned, one"]["data"][0]) == other["variant"].tolist()


def read_frame_of_indels(frame: pd.DataFrame) -> pd.DataFrame:
    is_indel = frame["ref"].str.len() != frame["alt"].str.len()
    return frame[is_indel].dropna(subset=["llr", "llr_aligned"])


def test_single_pairs_of_a_density_are_alleles(tmp_path: Path) -> None:
    table = write_scoring(tmp_path / "one", make_columns(4_000))
    frame = read_frame(table)
    known = dict(zip(names_of_rows(frame), frame["llr_fwd"], strict=True))
    trace = plots_of(write_page(tmp_path))["llr of the two strands, one"]["data"][0]
    single = 0
    for row in trace["hovertext"]:
        for x, text in zip(trace["x"], row, strict=True):
            name = html.unescape(text.partition("<br>")[0])
            if ":" in name:
                single += 1
                assert abs(known[name] - x) <= (trace["x"][1] - trace["x"][0]) / 2 + 1e-6
    counts = [10**value for row in trace["z"] for value in row if value is not None]
    assert single == sum(count == 1 for count in counts) > 50


def test_the_lowest_allele_of_a_bin_is_named(frame: pd.DataFrame, plots: dict[str, Any]) -> None:
    scored = frame.dropna(subset="llr")
    found = [
        text
        for title, plot in plots.items()
        if title.startswith("llr along chr") and title.endswith("one")
        for text in plot["data"][1]["hovertext"]
    ]
    assert len(found) > 20
    for text in found:
        lowest = text.rpartition("lowest ")[2] if "lowest" in text else text
        name = html.unescape(lowest.partition(": ")[2] if "lowest" in text else text)
        name = name.partition("<br>")[0]
        rows = scored[scored["variant"] == name]
        assert any(decimal(llr) in text for llr in rows["llr"])


def test_bars_name_their_first_alleles(frame: pd.DataFrame, plots: dict[str, Any]) -> None:
    (bars,) = plots["Distribution of llr, one"]["data"]
    scored = frame.dropna(subset="llr")
    half = bars["width"] / 2
    for x, y, text in zip(bars["x"], bars["y"], bars["hovertext"], strict=True):
        _, number, *names = text.split("<br>")
        assert number.partition(" ")[0] == str(y)
        inside = scored[scored["llr"].between(x - half, x + half)]["variant"].tolist()
        shown = [html.unescape(name) for name in names if not name.startswith("and ")]
        if bars["x"][0] < x < bars["x"][-1]:
            assert shown == inside[:3]
        assert names[len(shown) :] == ([f"and {y - 3} more"] if y > 3 else [])


def test_types_with_few_alleles_have_a_mark_for_each(
    frame: pd.DataFrame, plots: dict[str, Any]
) -> None:
    traces = {
        one["name"].split(" (")[0]: one for one in plots["llr by type of variant, one"]["data"]
    }
    scored = frame.dropna(subset="llr")
    lengths = scored["ref"].str.len(), scored["alt"].str.len()
    deletions = scored[lengths[0] > lengths[1]].sort_values("llr", kind="stable")
    trace = traces["deletion"]
    assert trace["mode"] == "lines+markers"
    assert first_lines(trace) == deletions["variant"].tolist()
    expected = np.arange(1, len(deletions) + 1) / len(deletions)
    assert trace["y"] == pytest.approx(expected.tolist(), rel=1e-4)
    # The snvs are many: shares at the ends of bins.
    snvs = scored[(lengths[0] == 1) & (lengths[1] == 1)]["llr"].to_numpy()
    assert traces["snv"]["mode"] == "lines"
    for x, y in list(zip(traces["snv"]["x"], traces["snv"]["y"], strict=True))[:-1]:
        assert y == pytest.approx((snvs < x).mean(), abs=0.002)


def test_a_small_class_has_a_mark_for_each_allele(
    frame: pd.DataFrame, plots: dict[str, Any]
) -> None:
    labelled = frame.dropna(subset=["KIND", "llr"])
    bad = labelled[labelled["KIND"] == "bad"].sort_values("llr", kind="stable")
    traces = {one["name"]: one for one in plots["one: llr by label"]["data"]}
    assert first_lines(traces["positive"]) == bad["variant"].tolist()
    assert traces["positive"]["x"] == pytest.approx(bad["llr"].tolist(), rel=1e-4)
    assert traces["negative"]["mode"] == "lines"
    good = labelled[labelled["KIND"] == "good"]["llr"].to_numpy()
    pairs = list(zip(traces["negative"]["x"], traces["negative"]["y"], strict=True))
    for x, y in pairs[:-1]:
        assert y == pytest.approx((good <= x).mean(), abs=0.002)


def test_large_classes_are_distributions(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(3_000, num_labelled=3_000))
    plot = plots_of(write_page(tmp_path, **LABELS))["llr by label"]
    assert {trace["mode"] for trace in plot["data"]} == {"lines"}
    assert "Each class adds up to 100 %" in plot["caption"]
