"""The page about a variant set, as a reader without scripts has it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks.config.resolve import resolve_report
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.text import describe_figures
from evo2_tasks.genome.records import CarryField
from evo2_tasks.report.words import (
    allele,
    decimal,
    fixed,
    plot_text,
    printable,
    script_json,
    share,
    variant,
)
from evo2_tasks.steps import report as report_task
from tests.evaluation.build import (
    CARRY,
    HOSTILE,
    LABELS,
    hostile_columns,
    make_columns,
    make_config,
    read_frame,
    without_scores,
    write_page,
    write_run,
    write_scoring,
)

VOID = {"meta", "br", "wbr", "img", "link", "input"}


class Page(HTMLParser):
    """What a page consists of: elements with their attributes, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("script", "style"))

    def scripts(self) -> list[str]:
        return [text for tag, text in self.texts if tag == "script"]


def read(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


def rows_of(page: Path, caption: str) -> list[list[str]]:
    """The body of the table whose caption begins so."""
    text = page.read_text(encoding="utf-8")
    (table,) = re.findall(rf"<caption>{re.escape(caption)}.*?</table>", text, re.DOTALL)
    body = table.partition("<tbody>")[2]
    return [
        [Page(cell).text() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scorings of one labelled variant set."""
    folder = tmp_path_factory.mktemp("set")
    write_scoring(folder / "one", make_columns(600))
    write_scoring(folder / "two", make_columns(600, seed=2), weights_digest="1" * 64)
    write_page(folder, ["one", "two"], **LABELS)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return folder / "report.html"


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
    assert "the reference does not have REF at pos" in rows["ref_mismatch"][5]
    assert rows["ref_mismatch"][6].count(" A>G") <= rows["ref_mismatch"][6].count("chr") == 3


def test_figures_have_interval_and_coverage(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "one" / "scores.parquet")
    labelled = frame[frame["KIND"].notna()]
    used = labelled[labelled["llr"].notna()]
    rows = {row[0]: row for row in rows_of(page, "Figures of all rows with a label, KIND")}
    # The two score other rows, so that a baseline is not the same beside each.
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
    rows = rows_of(page, "Differences on the same variants")
    assert rows[0][:2] == ["all", "one: llr minus OTHER"]
    assert re.match("[+\N{MINUS SIGN}]0\\.\\d{3} \\[", rows[0][2])


def test_the_strongest_alleles_are_those_of_pandas(folder: Path, page: Path) -> None:
    frame = read_frame(folder / "one" / "scores.parquet").sort_values("llr", kind="stable")
    rows = rows_of(page, "Lowest llr, one")
    assert len(rows) == 50
    for row, (_, expected) in zip(rows, frame.iterrows(), strict=False):
        assert row[1] == expected["contig"]
        assert row[2] == f"{expected['pos']:,}"
        assert row[5] == fixed(expected["llr"])


def test_what_was_run_is_told_for_each_scoring(page: Path) -> None:
    rows = {row[0]: row[1:] for row in rows_of(page, "What was run")}
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
    assert "cpu AVX512 (1 shard); NVIDIA H100 (1 shard)" in read(page).text()
    rows = {row[0]: row[1] for row in rows_of(page, "What was run")}
    assert rows["verification: passed"] == "yes"
    assert rows["verification: largest_difference"] == "1e\N{MINUS SIGN}05"
    assert rows["devices"] == "cpu (1 threads)"


def test_no_section_stands_without_its_evidence(tmp_path: Path) -> None:
    columns = make_columns(60)
    columns["alt"] = ["T"] * 60
    columns["ref"] = ["A"] * 60
    columns["llr_rev"] = [None] * 60
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path)
    anchors = [element["id"] for element in read(page).all("section")]
    shown = ["alleles", "scores", "contigs", "strands", "strongest", "provenance", "cost"]
    assert anchors == ["summary", *shown]
    assert "Only one strand was scored: one." in read(page).text()
    assert "median llr, nats" in read(page).text()


@pytest.mark.parametrize("num_rows", [0, 30])
def test_nothing_scored_is_said_loudly(tmp_path: Path, num_rows: int) -> None:
    write_scoring(tmp_path / "one", without_scores(make_columns(num_rows)))
    page = write_page(tmp_path, **(LABELS if num_rows else {}))
    text = read(page).text()
    assert ("NOTHING IS SCORED" if num_rows else "the input has no alleles") in text
    if num_rows:
        assert "ref_mismatch 30" in text
        assert "KIND gives no figure: no labelled row has a score." in text


def test_one_class_only_has_its_reason(tmp_path: Path) -> None:
    columns = make_columns(80)
    columns["KIND"] = ["good"] * 80
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path, **LABELS)
    reason = "no labelled row is positive: no row has bad in KIND; KIND holds good (80)"
    assert f"no AUROC: {reason}" in read(page).text()
    assert f"KIND gives no figure: {reason}." in read(page).text()
    assert "Figures of all rows" not in read(page).text()
    (negative,) = plots_of(page)["llr by label"]["data"]
    assert negative["name"] == "negative"


def test_a_scoring_without_any_score_stands_beside_one_that_has_them(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(300))
    write_scoring(tmp_path / "two", without_scores(make_columns(300)), weights_digest="1" * 64)
    page = write_page(tmp_path, ["one", "two"], **LABELS)
    text = read(page).text()
    assert "KIND gives no figure of two: no labelled row has a score." in text
    assert "two: NOTHING IS SCORED" in text
    rows = {row[0]: row for row in rows_of(page, "Figures of all rows with a label, KIND")}
    assert rows["one: llr"][1].startswith("0.")
    assert rows["two: llr"][1] == "\N{EN DASH}"


def plots_of(page: Path) -> dict[str, dict[str, Any]]:
    """The figures by their title, each with its caption."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r'<div class="title"[^>]*>(.*?)</div>', text)
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", text)
    plots = json.loads(read(page).scripts()[0])
    return {
        title: plot | {"caption": caption}
        for title, caption, plot in zip(titles, captions, plots, strict=True)
    }


def names_of(plot: dict[str, Any]) -> list[str]:
    return [trace["name"] for trace in plot["data"] if "name" in trace]


def test_a_number_as_label_has_its_figures(tmp_path: Path) -> None:
    columns = make_columns(300)
    # An indel tenth far away, and a number of which low values are harmful.
    columns["llr"] = [None if one is None else one - 80 * (one < -2) for one in columns["llr"]]
    columns["OTHER"] = [None if one is None else 0.01 * one for one in columns["llr"]]
    write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path, labels={"OTHER": {"harmful": "low"}}, groups=["PLACE"])
    assert "Spearman of llr" in read(page).text()
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
    # Of ten scores there are looks for seven.
    assert "3 more scores are in the tables only." in dots["caption"]
    rows = rows_of(partial_page, "Figures of all rows with a label, KIND")
    assert [row[0] for row in rows[:3]] == ["one: llr", "two: llr", "sequence-free: PLACE"]
    # In each subset they stand in this order, from above.
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


def test_what_stands_together_is_of_the_same_rows(partial_page: Path) -> None:
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


def test_the_label_is_told_with_what_was_left_out(tmp_path: Path) -> None:
    columns = make_columns(300)
    columns["KIND"][:5] = ["odd"] * 5
    write_scoring(tmp_path / "one", columns)
    labels = {"KIND": LABELS["labels"]["KIND"] | {"where": {"PLACE": ["tRNA", "rRNA"]}}}
    text = read(write_page(tmp_path, labels=labels)).text()
    frame = read_frame(tmp_path / "one" / "scores.parquet").iloc[5:]
    elsewhere = (frame["PLACE"] == "coding").sum()
    labelled = frame[frame["PLACE"] != "coding"]
    assert (
        f"KIND: positive: bad; negative: good; where PLACE: tRNA, rRNA. Of 300 rows "
        f"{len(labelled)} have a label, {labelled['llr'].notna().sum()} of them a score; left out: "
        f"where PLACE {elsewhere}, another value 5."
    ) in text


def test_the_headline_says_that_it_mixes_types(tmp_path: Path) -> None:
    columns = make_columns(600)
    write_scoring(tmp_path / "one", columns)
    assert "all types of variants together; snv 0." in read(write_page(tmp_path, **LABELS)).text()
    columns |= {"ref": ["A"] * 600, "alt": ["C"] * 600}
    write_scoring(tmp_path / "two", columns)
    assert "all types of" not in read(write_page(tmp_path, ["two"], **LABELS)).text()


def test_figures_of_few_rows_look_unlike_the_others(tmp_path: Path) -> None:
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
    assert "Open marks rest on fewer than 10 rows, of a class" in dots["caption"]
    rows = {(row[0], row[1]): row for row in rows_of(page, "By PLACE, KIND")}
    assert "few rows" in rows["tiny", "llr"][-1]
    assert "few rows" not in rows["tRNA", "llr"][-1]


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


def test_headings_of_groups_are_whole(tmp_path: Path) -> None:
    columns = make_columns(600)
    name = "missense_variant,intron_variant"
    columns["PLACE"] = [name if one == "tRNA" else one for one in columns["PLACE"]]
    write_scoring(tmp_path / "one", columns)
    layout = plots_of(write_page(tmp_path, **LABELS))["AUROC by score and group, KIND"]["layout"]
    assert f"PLACE: {name}" in [one["text"] for one in layout["annotations"]]


# --- for every reader


def test_the_page_is_whole(page: Path) -> None:
    read_page = read(page)
    assert read_page.open == []
    assert read_page.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in read_page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in read_page.all("a"):
        assert (link["href"] or "").removeprefix("#") in ids
    for _, attributes in read_page.elements:
        for name in ("aria-describedby", "aria-labelledby"):
            assert attributes.get(name, ids[0]) in ids


def test_headings_are_in_order(page: Path) -> None:
    levels = [int(tag[1]) for tag, _ in read(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_figure_has_words_and_every_head_a_scope(page: Path) -> None:
    read_page = read(page)
    drawings = [one for one in read_page.all("div") if one.get("role") == "img"]
    assert len(drawings) == len(json.loads(read_page.scripts()[0])) > 10
    assert all(one["aria-label"] for one in drawings)
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", page.read_text())
    assert len(captions) == len(drawings)
    assert all(re.search(r"\d", caption) for caption in captions)
    assert {one.get("scope") for one in read_page.all("th")} == {"col", "row"}
    assert all(one.get("tabindex") == "0" for one in read_page.all("div") if "region" in str(one))


def test_the_policy_lets_the_two_scripts_run_and_nothing_else(page: Path) -> None:
    read_page = read(page)
    (policy,) = [
        one["content"] for one in read_page.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    _, *scripts = read_page.scripts()
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    assert len(digests) == 2
    rules = dict(rule.strip().partition(" ")[::2] for rule in (policy or "").split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert "http" not in (policy or "")
    assert not [one for one in read_page.elements if {"src", "onclick", "onload"} & set(one[1])]


def test_the_same_results_give_the_same_page(folder: Path, page: Path) -> None:
    before = page.read_bytes()
    config = make_config(["one", "two"], **LABELS)
    report_task.report(resolve_report(config, "v"), results=folder, out=folder / "again.html")
    assert (folder / "again.html").read_bytes() == before


def test_a_large_set_stays_small(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(100_000, num_contigs=200))
    page = write_page(tmp_path, **LABELS)
    assert page.stat().st_size < 8_000_000
    text = read(page).text()
    assert "Left out: 176 contigs" in text
    assert "100,000" in text


# --- text from data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    columns, carry = hostile_columns()
    shards = [{"shard": HOSTILE[0], "device": HOSTILE[1], "node": HOSTILE[2], "torch": HOSTILE[3]}]
    run = {
        "shards": shards,
        "verification": {HOSTILE[0]: HOSTILE[1]},
        "variants": {"variants": HOSTILE[3], "regions": [HOSTILE[1]]},
    }
    write_scoring(folder / "one", columns, carry=carry, run=run, dtype=HOSTILE[0])
    return write_page(folder, **LABELS)


def test_markup_in_data_is_inert(hostile: Path) -> None:
    read_page = read(hostile)
    assert read_page.open == []
    assert len(read_page.all("script")) == 3
    assert not read_page.all("img")
    assert not read_page.all("svg")
    assert all((link["href"] or "").startswith("#") for link in read_page.all("a"))
    names = {name for _, attributes in read_page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    text = read_page.text()
    assert HOSTILE[0] in text
    assert "\u202e" not in text
    assert "\u2028" not in hostile.read_text(encoding="utf-8")


def test_text_in_figures_has_no_tags_of_its_own(hostile: Path) -> None:
    ours = re.compile(r"</?(br|extra)>")

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for one in value.values() for text in texts(one)]
        if isinstance(value, list):
            return [text for one in value for text in texts(one)]
        return [value] if isinstance(value, str) else []

    plots = json.loads(read(hostile).scripts()[0])
    found = [ours.sub("", text) for plot in plots for text in texts(plot)]
    assert any("alert" in text for text in found)
    assert not [text for text in found if "<" in text or ">" in text]


def test_names_of_the_config_are_inert_too(tmp_path: Path) -> None:
    columns = make_columns(60)
    for name in HOSTILE:
        columns[name] = columns["OTHER"]
    carry = (*CARRY, *(CarryField(name, "float", False, "") for name in HOSTILE))
    table = write_scoring(tmp_path / "one", columns, carry=carry)
    labels = LABELS["labels"] | {HOSTILE[0]: {"harmful": "low"}}
    page = write_page(tmp_path, labels=labels, baselines=dict.fromkeys(HOSTILE, "high"))
    read_page = read(page)
    assert read_page.open == []
    assert len(read_page.all("script")) == 3
    assert not read_page.all("img")
    figures = pq.read_table(table.with_name("figures.parquet")).to_pylist()
    assert all(line.isprintable() for line in describe_figures(figures))


def test_numbers_that_are_none_are_no_numbers_to_sort_by(tmp_path: Path) -> None:
    columns = make_columns(20) | {"OTHER": [float("nan")] * 20}
    write_scoring(tmp_path / "one", columns)
    cells = read(write_page(tmp_path)).all("td")
    assert not [one for one in cells if one.get("data-value") in ("nan", "inf")]


def test_long_alleles_are_shortened(hostile: Path) -> None:
    text = read(hostile).text()
    assert "A" * 12 + "… (10,000)" in text
    assert "A" * 50 not in text


def test_words() -> None:
    nothing = {"record": 1_055, "contig": None, "pos": None, "ref": None, "alt": None}
    assert variant(nothing) == "record 1055"  # as in the table and in the log
    assert allele("ACGT") == "ACGT"
    assert allele("A" * 10_000) == "A" * 12 + "… (10,000)"
    assert allele(None) == "\N{EN DASH}"
    assert decimal(-1234.5) == "\N{MINUS SIGN}1,234"
    assert [decimal(2.5), decimal(2.5, zeros=True)] == ["2.5", "2.50"]
    assert decimal(-0.001234) == "\N{MINUS SIGN}0.00123"
    assert [share(*pair) for pair in [(0, 5), (1, 10**6), (5, 5), (999_999, 10**6)]] == [
        "0 %", "< 0.1 %", "100 %", "> 99.9 %"
    ]  # fmt: skip
    assert printable("a\nb\u202ec") == "a\\nb\\u202ec"
    assert plot_text("<b>&amp;") == "&lt;b&gt;&amp;amp;"
    assert script_json(["</script>", "&", "\u2028"]) == (
        '["\\u003c/script\\u003e","\\u0026","\\u2028"]'
    )


# --- what is wrong is one line


def test_a_missing_file_says_what_writes_it(tmp_path: Path) -> None:
    config = make_config(["one"], **LABELS)

    def report() -> None:
        report_task.report(resolve_report(config, "v"), results=tmp_path, out=tmp_path / "r.html")

    with pytest.raises(InputError, match=r"scores.parquet: does not exist. .* `merge`"):
        report()
    write_scoring(tmp_path / "one", make_columns(20))
    with pytest.raises(InputError, match=r"figures.parquet: does not exist. .* `evaluate`"):
        report()
    (tmp_path / "one" / "figures.parquet").write_text("no table")
    (tmp_path / "one" / "curves.parquet").write_text("no table")
    with pytest.raises(InputError, match=r"figures.parquet: cannot be read"):
        report()
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a JSON object"),
        ("{", "is not a JSON file"),
        ('{"shards": 1, "alleles": 20}', "no list of shards"),
        ('{"shards": [], "alleles": 7}', "of different runs"),
    ],
)
def test_a_wrong_run_json_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    (tmp_path / "one" / "run.json").write_text(text)
    with pytest.raises(InputError, match=said):
        write_page(tmp_path)


def test_a_run_json_that_tells_little_is_enough(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    write_run(tmp_path / "one", 20, shards=[{}], wall_s=None, variants=None)
    assert "What was run" in read(write_page(tmp_path)).text()


def test_figures_of_another_schema_are_one_line(folder: Path, tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(20))
    for name in ("figures.parquet", "curves.parquet"):
        (tmp_path / "one" / name).write_bytes((tmp_path / "one" / "scores.parquet").read_bytes())
    config = make_config(["one"], **LABELS)
    with pytest.raises(InputError, match="has no column 'label'"):
        report_task.report(resolve_report(config, "v"), results=tmp_path, out=tmp_path / "r.html")
