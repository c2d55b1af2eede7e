"""The command ``probe show``, and ``show`` of the predictions of a probe."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evo2_tasks.cli import main
from tests.mutations import changes_of
from tests.steps.probe_sets import LABELS, LAYER, PROBE, Results, make_results, make_set


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    results = make_results(tmp_path_factory.mktemp("shown"))
    results.add("v", make_set(), **LABELS, probes={"p": PROBE})
    results.add("w", make_set(seed=2), probes={
        "p": {"probe": str(results.scoring("v") / "probes/p" / LAYER)}
    })  # fmt: skip
    results.apply(results.fit(), "w")
    return results


def folder_of(results: Results) -> Path:
    return results.scoring("v") / "probes/p" / LAYER


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_probe_is_described_with_its_cross_validated_metrics(results: Results) -> None:
    stated = json.loads((folder_of(results) / "probe.json").read_text())
    shown = run("probe", "show", folder_of(results))
    assert shown.exit_code == 0, shown.stderr
    auroc = next(one for one in stated["metrics"] if one["metric"] == "auroc")
    lines = {
        parts[0]: parts[1]
        for line in shown.stdout.splitlines()
        if len(parts := re.split(r"\s{2,}", line.strip())) == 2
    }
    assert lines["layer"] == LAYER
    assert lines["tokens"] == "8"
    assert lines["number of weights"] == "13"
    assert lines["AUROC"] == f"{auroc['value']:.3f} [{auroc['low']:.3f}, {auroc['high']:.3f}]"
    assert lines["weights"] == stated["signature"]["weights"]
    assert lines["trained on"].startswith(f"{stated['num_positive']} positive")
    # The file of the probe is as good as its folder.
    again = run("probe", "show", folder_of(results) / "probe.json")
    assert again.stdout == shown.stdout


def test_predictions_are_described(results: Results) -> None:
    shown = run("show", folder_of(results) / "predictions.parquet")
    assert shown.exit_code == 0, shown.stderr
    assert "out of fold, of the set with the labels" in shown.stdout
    applied = run("show", results.scoring("w") / "probes/p/applied.parquet")
    assert applied.exit_code == 0, applied.stderr
    assert "of another set" in applied.stdout


def test_a_changed_file_is_one_line_or_harmless(results: Results, tmp_path: Path) -> None:
    """Each value of the JSON file is changed in turn; nothing reaches the terminal unescaped."""
    folder = tmp_path / "probe"
    folder.mkdir()
    for name in ("probe.json", "probe.safetensors"):
        (folder / name).write_bytes((folder_of(results) / name).read_bytes())
    num_refused = 0
    for what in changes_of(folder / "probe.json", step=7):
        shown = run("probe", "show", folder)
        assert shown.exit_code in (0, 2), what
        assert "Traceback" not in shown.stderr, what
        num_refused += shown.exit_code == 2
        if shown.exit_code == 2:
            assert len([one for one in shown.stderr.splitlines() if "ERROR" in one]) == 1, what
    assert num_refused > 10


@pytest.mark.parametrize("key", ["name", "label", "definition", "model", "layer"])
def test_hostile_text_is_escaped(results: Results, tmp_path: Path, key: str) -> None:
    stated: dict[str, Any] = json.loads((folder_of(results) / "probe.json").read_text())
    stated[key] = "\x1b[31m\u202ered\r\nnew line\x00"
    (tmp_path / "probe.json").write_text(json.dumps(stated))
    weights = (folder_of(results) / "probe.safetensors").read_bytes()
    (tmp_path / "probe.safetensors").write_bytes(weights)
    shown = run("probe", "show", tmp_path)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", shown.stdout + shown.stderr)


def test_weights_of_another_probe_are_refused(results: Results, tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_bytes((folder_of(results) / "probe.json").read_bytes())
    (tmp_path / "probe.safetensors").write_bytes(b"\0" * 100)
    shown = run("probe", "show", tmp_path)
    assert shown.exit_code == 2
    assert "is another file than probe.json states" in shown.stderr
    missing = run("probe", "show", tmp_path / "none")
    assert missing.exit_code == 2
