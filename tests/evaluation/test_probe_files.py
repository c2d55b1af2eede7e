"""The files of a probe: what is saved is loaded bit for bit, and anything else is one line."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import number_groups
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.probe_files import load_probe, load_training_alleles, save_probe
from evo2_tasks.evaluation.probe_models import FittedProbe
from evo2_tasks.evaluation.probe_statements import ProbeOrigin
from evo2_tasks.evaluation.probes import ProbeMetrics, ProbeResult, fit_probe, measure_probe
from evo2_tasks.layout import PROBE, PROBE_WEIGHTS
from tests.evaluation.build_probes import draw_features, draw_genes, place
from tests.table.build import signature

WIDTH = 4
NUM_FEATURES = 2 * WIDTH + 1


def make_origin(**changes: Any) -> ProbeOrigin:
    values: dict[str, Any] = {
        "name": "pathogenic",
        "variant_set": "clinvar",
        "scoring": "evo2",
        "signature": signature(),
        "features": ["ref", "delta", "llr"],
        "layer": "blocks.20",
        "tokens": 64,
        "width": WIDTH,
        "label": "CLNSIG",
        "definition": "positive: Pathogenic; negative: Benign",
    }
    return ProbeOrigin.parse(values | changes, "test")


@pytest.fixture(scope="module")
def fitted() -> tuple[FittedProbe, ProbeResult, ProbeMetrics]:
    features = draw_features(120, NUM_FEATURES)
    target = features[:, 1] > 0.3
    rows = place(draw_genes(120, 8))
    probe, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=2)
    clusters = number_groups(rows.contigs, rows.positions)
    return probe, result, measure_probe(result, target, clusters, Resampling(50))


@pytest.fixture(scope="module")
def saved(
    fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "new"
    save_probe(folder, *fitted, make_origin())
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "probe"))


def change_statement(folder: Path, **changes: Any) -> None:
    path = folder / PROBE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_weights(folder: Path, data: bytes) -> None:
    """Other weights, which the statement calls its own."""
    (folder / PROBE_WEIGHTS).write_bytes(data)
    change_statement(folder, weights=hashlib.sha256(data).hexdigest())


def read_problem(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_probe(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(str(folder))
    return message.removeprefix(f"{folder}/")


def test_a_loaded_probe_predicts_the_same_bits(
    saved: Path, fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics]
) -> None:
    features = draw_features(200, NUM_FEATURES, seed=3)
    expected = fitted[0].predict(features)
    for path in (saved, saved / PROBE, saved / PROBE_WEIGHTS):
        probe, _ = load_probe(path)
        assert probe.predict(features).tobytes() == expected.tobytes()
    assert {path.name for path in saved.iterdir()} == {PROBE, PROBE_WEIGHTS}


def test_the_statement_has_what_the_fit_found(
    saved: Path, fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics]
) -> None:
    _, result, metrics = fitted
    _, statement = load_probe(saved)
    assert statement.signature.as_json() == signature()
    assert (statement.layer, statement.tokens, statement.label) == ("blocks.20", 64, "CLNSIG")
    assert statement.penalties == result.penalties
    assert statement.control.within.values == result.control.within.values
    assert [one.metric for one in statement.metrics] == ["auroc", "average_precision"]
    assert statement.metrics[0].value == metrics.overall[0].value
    assert statement.metrics_within[0].low == metrics.within[0].low
    assert statement.statements == tuple(result.state())
    assert {*statement.versions} == {"evo2-tasks", "numpy", "scikit-learn"}


def test_alleles_are_loaded_as_they_were_saved(
    fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics], tmp_path: Path
) -> None:
    alleles = np.array([0, 3, 2**64 - 1], dtype=np.uint64)
    save_probe(tmp_path, *fitted, make_origin(), alleles)
    assert load_training_alleles(tmp_path).tolist() == alleles.tolist()
    replace_weights(tmp_path, save(GOOD))
    assert load_training_alleles(tmp_path).tolist() == [0, 1, 2, 3, 4]


def test_other_readers_can_read_the_weights(
    saved: Path, fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics]
) -> None:
    tensors = load_file(saved / PROBE_WEIGHTS)
    np.testing.assert_array_equal(tensors["weights"], fitted[0].weights)
    assert tensors["intercept"].tolist() == [fitted[0].intercept]


def test_what_is_not_a_probe_is_not_saved(
    fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics], tmp_path: Path
) -> None:
    _, result, metrics = fitted
    weights = np.zeros(NUM_FEATURES)
    for probe in (
        FittedProbe("label", weights[1:], 0.0),
        FittedProbe("label", weights, float("nan")),
        FittedProbe("label", weights + np.inf, 0.0),
    ):
        with pytest.raises(ValueError, match=r"features|weights"):
            save_probe(tmp_path / "probe", probe, result, metrics, make_origin())
    assert not (tmp_path / "probe").exists()


def test_every_damaged_byte_of_the_weights_is_found(copied: Path) -> None:
    path = copied / PROBE_WEIGHTS
    data = path.read_bytes()
    for place_of in range(len(data)):
        changed = bytearray(data)
        changed[place_of] ^= 1 << place_of % 8
        path.write_bytes(changed)
        assert "its SHA-256 differs" in read_problem(copied)
    for shorter in (b"", data[:-1], data + b"\0"):
        path.write_bytes(shorter)
        assert "its SHA-256 differs" in read_problem(copied)


GOOD: dict[str, Any] = {
    "weights": np.zeros(NUM_FEATURES),
    "intercept": np.zeros(1),
    "alleles": np.arange(5, dtype=np.uint64),
}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (pickle.dumps({"weights": [1.0]}), "is not a safetensors file with plain numbers"),
        (b"\xff" * 8 + b"{}", "is not a safetensors file with plain numbers"),
        ((2**40).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
        (b"\x02" + b"\0" * 7 + b"{}", "expected the tensors"),
        (b"\0" * 70_000, "is larger than"),
        (save({"weights": np.zeros(NUM_FEATURES)}), "expected the tensors"),
        (save(GOOD | {"more": np.zeros(1)}), "expected the tensors"),
        (save(GOOD | {"weights": np.zeros(NUM_FEATURES + 1)}), "expected the tensors"),
        (save(GOOD | {"weights": np.zeros((1, NUM_FEATURES))}), "expected the tensors"),
        (save(GOOD | {"weights": np.zeros(NUM_FEATURES, np.float32)}), "expected the tensors"),
        (save(GOOD | {"intercept": np.zeros(1, np.int64)}), "expected the tensors"),
        (save(GOOD | {"weights": np.full(NUM_FEATURES, np.nan)}), "a weight is not a finite"),
        (save(GOOD | {"intercept": np.array([np.inf])}), "a weight is not a finite"),
        (save(GOOD | {"alleles": np.zeros(3)}), "expected 'alleles' as a row of numbers"),
        (save(GOOD | {"alleles": np.zeros(3, np.uint64)}), "expected at most 120 distinct"),
        (save(GOOD | {"alleles": np.arange(121, dtype=np.uint64)}), "expected at most 120"),
        (save(GOOD).replace(b'"F64"', b'"F8_E4M3"'), "is not a safetensors file"),
    ],
)
def test_hostile_weights_are_one_line(copied: Path, data: bytes, problem: str) -> None:
    replace_weights(copied, data)
    message = read_problem(copied)
    assert message.startswith(f"{PROBE_WEIGHTS}: {problem}")
    assert message.endswith("Fit the probe again, or name the folder of another one.")


@settings(max_examples=150)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_weights_or_one_line(saved: Path, data: bytes) -> None:
    folder = saved.parent / "any"
    folder.mkdir(exist_ok=True)
    shutil.copy(saved / PROBE, folder / PROBE)
    replace_weights(folder, data)
    with suppress(InputError):
        load_probe(folder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"probe_version": 2}, "probe_version: 2 is not allowed; expected 1"),
        ({"kind": "tree"}, "kind: "),
        ({"weights": "no digest"}, "weights: "),
        ({"num_weights": 0}, "num_weights: 0 is too small"),
        ({"num_weights": 2**40}, "num_weights: 1099511627776 is too large"),
        ({"num_weights": NUM_FEATURES + 1}, f"num_weights: expected {NUM_FEATURES} by"),
        ({"num_rows": 2**63 - 1}, "num_rows: 9223372036854775807 is too large"),
        ({"width": 2 * WIDTH}, f"num_weights: expected {4 * WIDTH + 1} by"),
        ({"width": -1}, "width: -1 is too small"),
        ({"width": 1e99}, "width: "),
        ({"features": []}, "features: expected at least one entry"),
        ({"features": ["ref", "ref", "llr"]}, "features: a feature is named twice"),
        ({"features": ["alt"]}, "features[0]: "),
        ({"layer": None}, "layer, tokens and width: expected values"),
        ({"layer": 20}, "layer: expected a text, got 20"),
        ({"tokens": 0}, "tokens: 0 is too small"),
        ({"signature": {}}, "signature.scores_version: is missing"),
        ({"signature": "x"}, "signature: expected a mapping"),
        ({"penalties": [1.0]}, "penalties: expected 5 numbers, one for each fold"),
        ({"final_penalty": -1.0}, "final_penalty: "),
        ({"metrics": [{"metric": "auroc"}]}, "metrics[0].value: is missing"),
        ({"control": None}, "control: "),
        ({"label": ""}, "label: expected a text, got an empty one"),
        ({"statements": ["\x1b[2J", 5]}, "statements[1]: expected a text, got 5"),
    ],
)
def test_a_hostile_statement_is_one_line(
    copied: Path, changes: dict[str, Any], problem: str
) -> None:
    change_statement(copied, **changes)
    assert read_problem(copied).startswith(f"{PROBE}: {problem}")


def damage(text: str) -> Iterator[str]:
    yield ""
    yield "[]"
    yield text[:-10]
    yield text.replace('"seed": 0', '"seed": 1e999')
    yield text.replace('"seed": 0', '"seed": NaN')
    yield text.replace('"seed": 0', '"seed": ' + "9" * 5_000)
    yield text.replace('"seed": 0', '"seed": ' + "[" * 100_000)


def test_a_damaged_statement_is_one_line(copied: Path) -> None:
    path = copied / PROBE
    text = path.read_text()
    for damaged in damage(text):
        assert damaged != text
        path.write_text(damaged)
        assert read_problem(copied).startswith(f"{PROBE}: ")
    path.write_bytes(b"\xff\xfe" + text.encode())
    assert "is not a JSON file" in read_problem(copied)


def test_files_of_two_probes_are_not_mixed(
    copied: Path, fitted: tuple[FittedProbe, ProbeResult, ProbeMetrics], tmp_path: Path
) -> None:
    probe, result, metrics = fitted
    other = FittedProbe("label", probe.weights + 1, probe.intercept)
    save_probe(tmp_path / "other", other, result, metrics, make_origin())
    shutil.copy(tmp_path / "other" / PROBE_WEIGHTS, copied / PROBE_WEIGHTS)
    assert "is another file than probe.json states" in read_problem(copied)


@pytest.mark.parametrize("name", [PROBE, PROBE_WEIGHTS])
def test_a_missing_file_is_one_line(copied: Path, name: str) -> None:
    (copied / name).unlink()
    assert read_problem(copied).startswith(f"{name}: cannot be opened: No such file")
    (copied / name).mkdir()
    assert read_problem(copied).startswith(f"{name}: is a folder, expected a file.")


def test_a_probe_of_llr_needs_no_layer(tmp_path: Path) -> None:
    features = draw_features(100, 1)
    rows = place(draw_genes(100, 8))
    probe, result = fit_probe(features, features[:, 0] > 0, rows, folds_by="gene", num_shuffles=0)
    metrics = measure_probe(result, features[:, 0] > 0, np.arange(100), Resampling(0))
    origin = make_origin(features=["llr"], layer=None, tokens=None, width=None)
    save_probe(tmp_path, probe, result, metrics, origin)
    loaded, statement = load_probe(tmp_path)
    assert loaded.weights.tolist() == probe.weights.tolist()
    assert statement.layer is None
    assert statement.control.within.mean is None
    assert statement.control.within.reason == "no shuffles"
