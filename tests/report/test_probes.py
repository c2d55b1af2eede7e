"""The section of the report about probes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evo2_tasks.config.evaluation import resolve_evaluate, resolve_report
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.probe_words import compare_probes
from evo2_tasks.evaluation.schema import WITHIN
from evo2_tasks.layout import CURVES, METRICS, TABLE
from evo2_tasks.report.probe_sections import Layer, _warn
from evo2_tasks.report.probes import ProbeEvidence
from evo2_tasks.steps import evaluate as evaluate_step
from evo2_tasks.steps import report as report_step
from evo2_tasks.table.probes import Prediction
from tests.evaluation.build import few_draws
from tests.evaluation.test_probe_words import make_row
from tests.report.page import names_of, plots_of, read_page, rows_of
from tests.steps.probe_sets import LABELS, PROBE, Results, make_results, make_set

Interval = tuple[float | None, float | None, float | None]

LAYERS = ("blocks.1", "norm")


def write_page(results: Results, name: str) -> Path:
    """Evaluate a set, and write its report."""
    config = results.load()
    layers, folder = find_layers(config), results.scoring(name)
    with few_draws():
        evaluate_step.evaluate(
            resolve_evaluate(config, name, layers),
            table=folder / TABLE,
            out=folder / METRICS,
            curves_file=folder / CURVES,
        )
        page = folder.parent / "report.html"
        report_step.report(resolve_report(config, name, layers), results=folder.parent, out=page)
    return page


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A probe that has learnt the place of an allele, and one that is applied to other alleles."""
    results = make_results(tmp_path_factory.mktemp("page"), layers=LAYERS)
    made = make_set(600, by_place=2.5, in_delta=0.0)
    results.add("v", made, **LABELS, probes={"p": PROBE})
    for layer in LAYERS:
        results.fit(layer=layer)
    folder = results.scoring("v") / "probes/p/norm"
    other = make_set(600, seed=4, by_place=2.5, in_delta=0.0)
    other.columns["alt"][50:] = ["C"] * 550
    results.add("w", other, **LABELS, probes={"q": {"probe": str(folder)}})
    results.apply(folder, "w", "q")
    write_page(results, "v")
    write_page(results, "w")
    return results


def page_of(results: Results, name: str) -> Path:
    return results.scoring(name).parent / "report.html"


def test_a_probe_that_has_learnt_the_group_is_said_to_have(results: Results) -> None:
    text = read_page(page_of(results, "v")).text()
    for layer in LAYERS:
        score = f"probe: p ({layer})"
        assert f"On all rows, {score} separates the labels better than llr" in text, layer
    assert re.search(r"Between rows of the same group, it is worse: .*within PLACE", text)
    assert "comes at least in part from knowing the group of a row" in text
    metrics = pd.read_parquet(results.scoring("v") / METRICS)
    row = metrics[
        (metrics["score"] == "probe: p (norm)")
        & (metrics["minus"] == "llr")
        & (metrics["column"] == "PLACE")
        & (metrics["subset"] == "within")
    ]
    assert (row["value"] < 0).all()
    assert len(row) == 1


@pytest.mark.parametrize(
    ("overall", "within", "expected"),
    [
        ((0.05, 0.01, 0.09), (-0.06, -0.1, -0.02), "comes at least in part from knowing the group"),
        ((0.05, 0.01, 0.09), (-0.01, -0.05, 0.03), "may come from knowing the group"),
        ((0.05, 0.01, 0.09), (0.01, -0.03, 0.05), "may come from knowing the group"),
        ((0.05, 0.01, 0.09), (0.04, 0.01, 0.07), None),
        ((0.01, -0.03, 0.05), (-0.01, -0.05, 0.03), None),
        ((0.05, None, None), (-0.05, None, None), None),
        ((0.05, 0.01, 0.09), (None, None, None), None),
    ],
)
def test_a_lead_is_explained_only_if_it_cannot_be_chance(
    overall: Interval, within: Interval, expected: str | None
) -> None:
    stated = Prediction(
        name="p", layer="norm", label="KIND", definition="", folds_by="gene", trained=9,
        predicted=9, in_training=9,
    )  # fmt: skip
    rows = [make_row(overall), make_row(within, WITHIN, "PLACE")]
    own = [replace(row, minus=None, value=0.8) for row in rows]
    (comparison,) = compare_probes(rows, [rows[0].score], "llr")
    layer = Layer(ProbeEvidence(stated, None), own[0], own[1:], comparison)
    notes = [note.text for note in _warn([layer])]
    assert len(notes) == (expected is not None)
    if expected is not None:
        assert expected in notes[0]
        assert "better than llr: AUROC 0.800 against 0.750" in notes[0]


def test_the_layers_are_a_table_and_a_plot(results: Results) -> None:
    page = page_of(results, "v")
    rows = rows_of(page, "Metrics of each layer")
    assert [row[0] for row in rows] == [*LAYERS]
    metrics = pd.read_parquet(results.scoring("v") / METRICS)
    for row, layer in zip(rows, LAYERS, strict=True):
        of_layer = metrics[
            (metrics["score"] == f"probe: p ({layer})") & (metrics["metric"] == "auroc")
        ]
        (value,) = of_layer[(of_layer["subset"] == "with") & of_layer["minus"].isna()]["value"]
        assert row[1].startswith(f"{value:.3f} [")
    plot = plots_of(page)["AUROC by layer, p, s"]
    assert names_of(plot) == [
        "all rows", "llr, all rows", "within block of positions", "llr, within block of positions",
        "within PLACE", "llr, within PLACE",
    ]  # fmt: skip
    assert plot["data"][0]["x"] == pytest.approx([-0.08, 0.92])


def test_folds_overlaps_and_the_control_are_shown(results: Results) -> None:
    page = page_of(results, "v")
    facts = {row[0]: row[1] for row in rows_of(page, "What the probe was trained on")}
    stated = json.loads((results.scoring("v") / "probes/p/norm/probe.json").read_text())
    assert facts["folds"] == f"{stated['num_folds']}, of {stated['num_groups']} blocks of positions"
    assert facts["rows with a window that overlaps another fold"] == str(stated["num_overlapping"])
    (_, row) = rows_of(page, "Shuffled labels and penalties")
    assert row[0] == "norm"
    assert row[1].startswith(f"{stated['control']['within']['mean']:.3f} [")


def test_an_applied_probe_states_the_alleles_that_it_was_trained_on(results: Results) -> None:
    page = page_of(results, "w")
    facts = {row[0]: row[1] for row in rows_of(page, "A probe of another set")}
    applied = pd.read_parquet(results.scoring("w") / "probes/q/applied.parquet")
    number = int(applied["in_training"].sum())
    assert number > 20
    assert facts["alleles of this set that it was trained on"] == str(number)
    assert f"{number} alleles of this set were used to train the probe" in read_page(page).text()


def test_a_probe_is_next_to_llr_in_the_section_of_the_label(results: Results) -> None:
    rows = rows_of(page_of(results, "v"), "Metrics of the rows with a baseline, KIND")
    assert {"llr", "probe: p (blocks.1)", "probe: p (norm)"} == {row[1] for row in rows}


def test_predictions_that_are_not_of_the_probe_next_to_them_are_refused(
    results: Results, tmp_path: Path
) -> None:
    """The JSON file of another layer is put in the place of the one that belongs to them."""
    probes = results.scoring("v") / "probes/p"
    kept = (probes / "norm/probe.json").read_bytes()
    try:
        other = json.loads((probes / "blocks.1/probe.json").read_text())
        (probes / "norm/probe.json").write_text(json.dumps(other))
        with pytest.raises(InputError, match="does not belong to") as error:
            write_page(results, "v")
        assert "\n" not in str(error.value)
    finally:
        (probes / "norm/probe.json").write_bytes(kept)
