"""The page of a generation: its numbers and plots, compared with plain counts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.layout import GENERATION_RUN, GENERATION_STEPS, GENERATION_TABLE, REPORT
from evo2_tasks.report import generation_plots
from evo2_tasks.report.generation_pages import BIOSAFETY, write_generation_page
from evo2_tasks.report.generation_summaries import MOST_DRAWN, MOST_LISTED
from tests.report.build_generation import (
    HOSTILE,
    KEPT,
    LENGTH,
    SAMPLES,
    STEP,
    list_path,
    make_rows,
    write_generation,
    write_hostile_generation,
)
from tests.report.page import plots_of, read_page, rows_of

NUM_STEPS = LENGTH // STEP


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_generation(tmp_path_factory.mktemp("generation"))


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").rstrip("% "))


def steps_of(sequence: int) -> list[dict[str, Any]]:
    return [row for row in make_rows()[2] if row["sequence"] == sequence]


def plot_of(page: Path, title: str) -> dict[str, Any]:
    (plot,) = [plot for name, plot in plots_of(page).items() if name == title]
    return plot


def test_the_table_has_the_sequences_and_their_numbers(page: Path) -> None:
    _, sequences, _ = make_rows()
    rows = rows_of(page, "Generated sequences")
    assert [row[0] for row in rows] == ["0_0", "0_1", "0_2", "1_0", "1_1", "1_2"]
    for row, expected in zip(rows[:3], sequences, strict=False):
        assert row[2] == "generated"
        bits = -expected["log_prob"] / LENGTH / math.log(2)
        assert number(row[4]) == pytest.approx(bits, abs=6e-4)
        assert number(row[5]) == pytest.approx(expected["total"], rel=6e-3)
        assert number(row[8]) == pytest.approx(100 * expected["gc"], abs=0.06)
        assert number(row[12]) == expected["reference_match"]
        assert row[13].endswith(":77 (-)")
        assert number(row[14]) == pytest.approx(100 * expected["copied"] / LENGTH, rel=6e-3)
    assert rows[3][2] == "invalid_record, not_letters"


def test_copies_and_missing_sequences_are_warned_of(page: Path) -> None:
    text = read_page(page).text()
    assert "3 of 6 sequences are missing or not complete: 3 invalid_record." in text
    assert "1 of 6 sequences are mostly copies of" in text
    assert BIOSAFETY in text


def test_the_lines_are_the_best_candidates_of_each_step(page: Path) -> None:
    plot = plot_of(page, "total score by step")
    for place in range(3):
        best, median = plot["data"][2 * place : 2 * place + 2]
        steps = steps_of(place)
        expected = [
            max(row["total"] for row in steps if row["step"] == step) for step in range(NUM_STEPS)
        ]
        assert best["y"] == pytest.approx(expected, rel=1e-4)
        totals = sorted(
            row["total"] for row in steps if row["step"] == 1 and math.isfinite(row["total"])
        )
        middle = len(totals) // 2
        both = totals[middle] + totals[middle - 1 + len(totals) % 2]
        assert median["y"][1] == pytest.approx(both / 2, rel=1e-4)


def test_the_log_probabilities_are_those_of_the_sequence_itself(page: Path) -> None:
    plot = plot_of(page, "Log-probability by step")
    for place, trace in enumerate(plot["data"]):
        expected = [row["log_prob"] / STEP for row in list_path(steps_of(place))]
        assert trace["y"] == pytest.approx(expected, rel=1e-4)


def test_the_tree_has_every_candidate_and_marks_the_path(page: Path) -> None:
    plot = plot_of(page, "Search tree of 0_1")
    steps = steps_of(1)
    others, path_line, *nodes = plot["data"]
    counts = {trace["name"]: len(trace["x"]) for trace in nodes}
    assert counts == {
        "not kept": NUM_STEPS * (KEPT * SAMPLES - KEPT),
        "kept": NUM_STEPS * KEPT - NUM_STEPS,
        "in the sequence": NUM_STEPS,
    }
    path = list_path(steps)
    assert nodes[2]["y"] == pytest.approx([row["total"] for row in path], rel=1e-4)
    # Each edge is two points and a gap; candidates that can never be kept have none.
    finite = sum(row["step"] > 0 and math.isfinite(row["total"]) for row in steps)
    assert len(others["x"]) + len(path_line["x"]) == 3 * finite
    assert len(path_line["x"]) == 3 * (NUM_STEPS - 1)


def test_composition_and_frames_are_those_of_the_bases(page: Path) -> None:
    _, sequences, _ = make_rows()
    bases = [row["bases"] for row in sequences if row.get("bases")]
    words = plot_of(page, "Words of three bases")["data"][0]
    places = [one[i : i + 3] for one in bases for i in range(LENGTH - 2)]
    shares = dict(zip(words["hovertext"], words["y"], strict=True))
    assert shares["ACG"] == pytest.approx(places.count("ACG") / len(places), rel=1e-4)
    lines = plot_of(page, "G and C along the sequences")["data"]
    window = bases[2][50:100]
    assert lines[2]["y"][1] == pytest.approx((window.count("G") + window.count("C")) / 50)
    (bars,) = plot_of(page, "Open reading frames of 0_0")["data"]
    assert len(bars["x"]) == len(bars["y"]) == len(bars["base"])
    copies = plot_of(page, "Longest common stretches")["data"]
    assert [trace["y"] for trace in copies] == [[13] * 3, [40, 41, 42]]


def test_hostile_names_stay_text(page: Path) -> None:
    text = page.read_text()
    assert "<img" not in text
    assert "\u202e" not in text
    assert not read_page(page).all("img")
    assert any(HOSTILE.split("\u202e", maxsplit=1)[0] in part for _, part in read_page(page).texts)


def test_without_a_reference_prompts_are_compared_alone(tmp_path: Path) -> None:
    write_generation(tmp_path, has_reference=False, num_sequences=MOST_LISTED // 2 + 30)
    page = tmp_path / REPORT
    write_generation_page(tmp_path, page, "G", 2)
    text = read_page(page).text()
    assert "were compared with their prompts only" in text
    assert "mostly copies" not in text
    assert len(rows_of(page, "Generated sequences")) == MOST_LISTED
    assert f"The first {MOST_LISTED} of 260 are listed." in text
    frames = [name for name in plots_of(page) if name.startswith("Open reading frames")]
    assert len(frames) == MOST_DRAWN


def test_a_large_tree_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_generation(tmp_path)
    monkeypatch.setattr(generation_plots, "MOST_NODES", 20)
    page = tmp_path / REPORT
    write_generation_page(tmp_path, page, "G", 1)
    plot = plot_of(page, "Search tree of 0_0")
    assert "18 candidates of 3 steps" in plot["caption"]
    assert f"The first 3 of {NUM_STEPS} steps are drawn." in plot["caption"]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_generation(tmp_path)
    run = json.loads((tmp_path / GENERATION_RUN).read_text())
    for key, name in (("table_digest", GENERATION_TABLE), ("steps_digest", GENERATION_STEPS)):
        (tmp_path / GENERATION_RUN).write_text(json.dumps(run | {key: "0" * 64}))
        with pytest.raises(InputError, match=f"is about another {name}"):
            write_generation_page(tmp_path, tmp_path / REPORT, "G", 1)
    assert not (tmp_path / REPORT).exists()
