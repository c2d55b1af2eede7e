"""What `horizon` states about a window and a horizon is what runs with these settings give."""

import json
import math
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from click.testing import CliRunner
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from evo2_tasks.cli import main
from evo2_tasks.commands import plan as plan_command
from evo2_tasks.commands.horizon import Row, choose_row, list_window_lengths
from evo2_tasks.config.resolve import resolve_plan
from tests.project import Project, run_steps, write_project

LABELS = {"L": {"positive": ["p"], "negative": ["n"]}}
INFO = '##INFO=<ID=L,Number=1,Type=String,Description="label">\n'
ALLELES = 1000  # more than there are: the sample is the whole set
PLACEMENTS = {
    "centered": {"window_placement": "centered"},
    "tiled": {"window_placement": "tiled", "window_step": 64},
}


CSQ = (
    '##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
    'Format: Allele|Consequence|SYMBOL">\n'
)


def write_variants(folder: Path, checkpoint: Path, placement: str, **changes: Any) -> Project:
    """A line and a ring with SNVs, insertions and deletions, most of them labelled."""
    rng = random.Random(9)
    genome = {
        name: "".join(rng.choices("ACGT", k=length))
        for name, length in (("line", 1500), ("ring", 700))
    }
    lines = ["##fileformat=VCFv4.2\n", INFO, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"]
    for _ in range(40):
        contig = rng.choice(list(genome))
        pos = rng.randrange(20, len(genome[contig]) - 20)
        ref = genome[contig][pos - 1 : pos - 1 + rng.choice([1, 1, 3])]
        alt = rng.choice([base for base in "ACGT" if base != ref[0]]) + rng.choice(["", "", "GAT"])
        label = rng.choice(["L=p", "L=n", "."])
        lines.append(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{label}\n")
    lines.append("line\t30\t.\tN\t<DEL>\t.\t.\tL=p\n")
    return write_project(
        folder,
        genome=genome,
        variants="".join(lines),
        reference={"circular_contigs": ["ring"]},
        model={"checkpoint": str(checkpoint)},
        scoring={"window_length": 256, **PLACEMENTS[placement], **changes.pop("scoring", {})},
        variant_set={"labels": LABELS, "max_ref_mismatch_share": 1, **changes},
        shards=1,
        run={"batch_tokens": 1024},
    )


def run_horizon(project: Project, *more: object) -> dict[str, Any]:
    arguments = ["--config", project.config_file, "--variant-set", "v", "--scoring", "s"]
    arguments += ["--out", project.config_file.parent / "page.html", "--threads", 1, "--json"]
    arguments += ["--alleles", ALLELES, *more]
    done = CliRunner().invoke(main, ["horizon", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module", params=PLACEMENTS)
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkpoint: Path
) -> tuple[Project, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    project = write_variants(folder, checkpoint, request.param)
    return project, run_horizon(project)


def scores_with(project: Project, folder: Path, row: dict[str, Any]) -> polars.DataFrame:
    """The table of a run of the steps with the window and the horizon of a row."""
    config = json.loads(json.dumps(project.config))
    scoring = config["scorings"]["s"]
    if row["window_length"] != scoring["window_length"] and "window_step" in scoring:
        scoring["window_step"] = row["window_length"] // 4
    scoring["window_length"] = row["window_length"]
    scoring |= {} if row["horizon"] is None else {"horizon": row["horizon"]}
    project = replace(project, config=config)
    table = polars.read_parquet(run_steps(project.load(), folder, stub=False))
    (estimate,) = plan_command.plan(
        resolve_plan(project.load()),
        rates_file=None,
        device=None,
        device_memory_gb=None,
        price=None,
        job_hours=2.0,
    )
    scored = table["llr"].is_not_null().sum()
    cost = estimate["tokens"] / (2 * scored) / 256
    return table.with_columns(cost=polars.lit(cost))


def test_every_row_is_what_a_run_with_its_settings_gives(
    measured: tuple[Project, dict[str, Any]], tmp_path: Path
) -> None:
    project, told = measured
    rows = {(row["window_length"], row["horizon"]): row for row in told["rows"]}
    full = scores_with(project, tmp_path / "full", rows[256, None])
    for key in [
        (256, None),
        (256, 32),
        (128, None),
        (128, 16),
        (256, max(filter(None, (h for w, h in rows if w == 256)))),
    ]:
        row = rows[key]
        table = scores_with(project, tmp_path / "-".join(map(str, key)), row)
        both = full.join(table, on=["record", "allele"], suffix="_cut", how="inner").drop_nulls(
            ["llr", "llr_cut"]
        )
        difference = (both["llr_cut"] - both["llr"]).to_numpy()
        tolerance = 256 * 1e-6
        assert row["alleles"] == len(both) == 40
        assert row["rms"] == pytest.approx(math.sqrt((difference**2).mean()), abs=tolerance)
        assert row["largest"] == pytest.approx(np.abs(difference).max(), abs=tolerance)
        assert row["p99"] == pytest.approx(np.quantile(np.abs(difference), 0.99), abs=tolerance)
        assert row["spearman"] == pytest.approx(spearmanr(both["llr"], both["llr_cut"])[0])
        labelled = both.filter(polars.col("L").is_in(["p", "n"]))
        assert row["auroc"] == pytest.approx(
            roc_auc_score((labelled["L"] == "p").to_numpy(), -labelled["llr_cut"].to_numpy())
        )
        assert row["cost"] == pytest.approx(both["cost_cut"][0])
    counts = full.drop_nulls(["llr", "L"])["L"].value_counts().rows()
    assert told["labels"] == {{"p": "positive", "n": "negative"}[name]: n for name, n in counts}


def test_the_line_is_a_scoring_that_the_config_accepts(
    measured: tuple[Project, dict[str, Any]],
) -> None:
    project, told = measured
    suggested = [row for row in told["rows"] if row["is_suggested"]]
    assert len(suggested) == 1
    config = json.loads(json.dumps(project.config))
    keys = dict(pair.split(": ") for pair in told["line"].split(", "))
    config["scorings"]["s"] |= {key: json.loads(value) for key, value in keys.items()}
    replace(project, config=config).load()
    assert keys["window_length"] == str(suggested[0]["window_length"])
    assert keys.get("horizon") == (suggested[0]["horizon"] and str(suggested[0]["horizon"]))
    assert ("audit" in keys) == ("horizon" in keys)


class Page(HTMLParser):
    """The tags of a page with their attributes, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if self._is_script:
            self.scripts.append(data)


def test_the_page_needs_no_other_file(measured: tuple[Project, dict[str, Any]]) -> None:
    project, told = measured
    text = (project.config_file.parent / "page.html").read_text()
    page = Page(text)
    assert not [attrs for _, attrs in page.tags if {"src", "href"} & {*attrs}]
    plots = json.loads(page.scripts[0])
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "div" and "id" in attrs]
    assert [plot["id"] for plot in plots] == ids
    lines = {trace["name"]: trace for trace in plots[0]["data"]}
    assert list(lines) == [f"window {length}" for length in (256, 128)]
    of_full = [row for row in told["rows"] if row["window_length"] == 256 and row["horizon"]]
    assert lines["window 256"]["x"] == [row["horizon"] for row in of_full]
    assert told["line"] in text


def test_the_sample_has_each_type_and_label_and_no_order(tmp_path: Path, checkpoint: Path) -> None:
    project = write_variants(tmp_path / "a", checkpoint, "centered")
    lines = project.variants.read_text().splitlines(keepends=True)
    told = run_horizon(project, "--alleles", 18)
    assert sum(told["sample"].values()) == 18
    assert {"snv", "insertion"} <= set(told["sample"])
    assert set(told["labels"]) == {"positive", "negative"}
    other = write_variants(tmp_path / "b", checkpoint, "centered")
    other.variants.write_text("".join([*lines[:3], *reversed(lines[3:])]))
    again = run_horizon(other, "--alleles", 18)
    for row, same in zip(told["rows"], again["rows"], strict=True):
        assert row["rms"] == pytest.approx(same["rms"], abs=256e-6)
        assert row["auroc"] == pytest.approx(same["auroc"])


def test_a_label_of_the_consequences_is_read_as_one_of_the_file(
    tmp_path: Path, checkpoint: Path
) -> None:
    project = write_variants(tmp_path / "one", checkpoint, "centered")
    other = write_variants(tmp_path / "two", checkpoint, "centered", labels={})
    terms = {"p": "stop_gained", "n": "synonymous_variant"}
    lines = project.variants.read_text().replace(INFO, CSQ).splitlines(keepends=True)
    for number, line in enumerate(lines):
        if label := re.search("L=([pn])", line):
            ref, alt = line.split("\t")[3:5]
            # VEP leaves out the first base of an insertion or deletion if both alleles have it.
            is_anchored = len(ref) != len(alt) and ref[0] == alt[0]
            allele = (alt[1:] or "-") if is_anchored else alt
            lines[number] = line.replace(label[0], f"CSQ={allele}|{terms[label[1]]}|G")
    other.variants.write_text("".join(lines))
    label = {"positive": [terms["p"]], "negative": [terms["n"]], "where": {"gene": ["G"]}}
    of_set = other.config["variant_sets"]["v"]
    of_set |= {"consequence_from": "CSQ", "labels": {"consequence": label}}
    other.config_file.write_text(json.dumps(other.config))
    told, expected = run_horizon(other), run_horizon(project)
    assert told["labels"] == expected["labels"]
    assert [row["auroc"] for row in told["rows"]] == [row["auroc"] for row in expected["rows"]]


def test_without_labels_there_is_no_auroc(tmp_path: Path, checkpoint: Path) -> None:
    project = write_variants(tmp_path, checkpoint, "centered", labels={})
    told = run_horizon(project, "--alleles", 6)
    assert told["labels"] == {}
    assert {row["auroc"] for row in told["rows"]} == {None}
    plots = json.loads(Page((tmp_path / "page.html").read_text()).scripts[0])
    assert len(plots) == 3


def test_one_allele_is_one_line_of_error(tmp_path: Path, checkpoint: Path) -> None:
    project = write_variants(tmp_path, checkpoint, "centered")
    lines = project.variants.read_text().splitlines(keepends=True)
    project.variants.write_text("".join(lines[:4]))
    arguments = ["--config", project.config_file, "--variant-set", "v", "--scoring", "s"]
    arguments += ["--out", tmp_path / "page.html"]
    done = CliRunner().invoke(main, ["horizon", *map(str, arguments)])
    assert done.exit_code == 2
    assert "fewer than two alleles can be scored" in done.stderr
    assert not (tmp_path / "page.html").exists()


def make_row(length: int, horizon: int | None, cost: float, **values: Any) -> Row:
    known = {"alleles": 9, "rms": 0.1, "p99": 0.1, "largest": 0.1, "spearman": 1.0, "auroc": 0.9}
    return Row(length, horizon, cost, **{**known, **values})


def test_the_cheapest_row_that_keeps_ranking_and_labels_is_suggested() -> None:
    full = make_row(512, None, 1.5)
    good = make_row(512, 64, 0.7, spearman=0.991, auroc=0.896)
    for cheaper in (
        make_row(256, 64, 0.4, spearman=0.989),
        make_row(256, 64, 0.4, auroc=0.894),
        make_row(256, 64, 0.4, alleles=8),
        make_row(256, 64, 0.4, spearman=None),
    ):
        assert choose_row([full, good, cheaper]) is good
    assert choose_row([full, make_row(512, 64, 0.7, spearman=0.5)]) is full
    assert list_window_lengths(8192) == [8192, 4096, 2048, 1024, 512, 256, 128]
    assert list_window_lengths(100) == [100]
