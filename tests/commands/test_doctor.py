"""The report of a stranger's device: values, rates and sums, and nothing about the stranger."""

import getpass
import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands import doctor as doctor_task
from evo2_tasks.commands.doctor import choose_checks, compare_products, measure_rate, take_values
from evo2_tasks.evo2.checkpoints import load_model
from evo2_tasks.evo2.config import FP8_MODES
from evo2_tasks.runtime import speed
from evo2_tasks.scoring.reference import mean_scores
from evo2_tasks.verification.expected import published_sequences, read_published

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "tiny_1b_8k"


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(
        GOLDEN / "model.pt",
        dtype=torch.float32,
        devices=[torch.device("cpu")],
        config=GOLDEN / "config.yml",
    )


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command wrote of a checkpoint with FP8 scales."""
    folder = tmp_path_factory.mktemp("somebodys folder")
    (folder / "private.pt").write_bytes((GOLDEN / "model.pt").read_bytes())
    out = folder / "out.json"
    arguments = ["doctor", folder / "private.pt", "--config", GOLDEN / "config.yml"]
    arguments += ["--gpus", 0, "--threads", 1, "--quick", "--out", out]
    threads = torch.get_num_threads()
    done = CliRunner().invoke(main, [*map(str, arguments)])
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    return out


def test_the_file_says_what_was_asked_for(sent: Path, model: Any) -> None:
    told = json.loads(sent.read_text())
    assert told["torch"] == torch.__version__
    assert told["device_class"].startswith("cpu")
    assert (told["release"], told["dtype"], told["fp8"]) == (None, "float32", "off")
    assert len(told["weights"]) == 64
    assert list(told["figures"]) == ["off", "emulate"]
    sequences = published_sequences()["rna"][:4]
    for mode, values in told["figures"].items():
        assert values["status"] == "not_verified"
        model.config.fp8 = mode
        expected = mean_scores(model, sequences, "bfloat16")
        assert values["measured"]["RNA variants"]["score"] == pytest.approx(expected, abs=1e-3)
    model.config.fp8 = "off"
    assert [rate["window_length"] for rate in told["rates"]] == [512, 2048]
    assert all(rate["tokens_per_s"] > 0 for rate in told["rates"])
    assert all(rate["peak_memory_mb"] > 0 for rate in told["rates"])
    assert told["fp8_products"]["sums"] == 64 * 64
    assert {one["status"] for one in told["device_checks"]["checks"]} == {"passed"}
    assert {one["status"] for one in told["device_checks"]["times"]} == {"measured"}


def test_the_file_says_nothing_about_whose_machine_it_is(
    sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = sent.read_text()
    keys = set(json.loads(text))
    assert not keys & {"node", "job", "visible_devices", "checkpoint"}
    for personal in (str(sent.parent), "private", str(Path.home()), platform.node()):
        assert personal not in text or len(personal) < 4
    assert f"/{getpass.getuser()}" not in text
    assert "/" not in text


def test_the_products_of_a_cpu_are_those_of_emulate() -> None:
    """torch sums them there as a float32 product does; no rule of a GPU gives the same."""
    counts = compare_products(torch.device("cpu"))
    assert counts["sums"] == 4096
    for name in ("32, fast", "32, precise", "4096, fast", "4096, precise"):
        assert counts[name]["emulate"] == 4096
        assert counts[name]["hopper"] < 4096
    assert counts["4096, fast"]["hopper"] < 100


def test_products_that_a_device_has_not_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("/home/somebody/torch: compute capability 8.9 is needed")

    monkeypatch.setattr(torch, "_scaled_mm", refuse)
    counts = compare_products(torch.device("cpu"))
    assert counts == {"not_run": "torch._scaled_mm: RuntimeError"}


def test_too_long_a_window_is_no_failure(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(speed, "window_log_probs", run_out)
    assert measure_rate(model, 512, 1.0) == {"window_length": 512, "not_run": "out of memory"}


def test_values_are_compared_with_those_of_the_same_release(model: Any) -> None:
    checks = choose_checks("evo2_7b", quick=False)
    assert [check.name for check in checks] == ["RNA variants", "logits after 16 bases"]
    assert len(checks[0].sequences) == 4
    compared = take_values(model, checks, "float32", compared=True)
    assert compared["status"] == "failed"
    assert [one["check"] for one in compared["findings"]] == [check.name for check in checks]
    assert take_values(model, checks, "float32", compared=False)["status"] == "not_verified"
    long = choose_checks("evo2_20b", quick=False)
    assert long == list(read_published("evo2_20b").checks)
    assert choose_checks("evo2_20b", quick=True) == []
    assert choose_checks(None, quick=True)[0].name == "RNA variants"


def test_numbers_that_are_not_finite_are_told_as_none(model: Any) -> None:
    hook = model.model.norm.register_forward_hook(lambda _, __, output: output * torch.nan)
    values = take_values(model, choose_checks(None, quick=True), "float32", compared=False)
    hook.remove()
    assert values["measured"]["RNA variants"]["score"] == [None] * 4


def test_every_way_of_fp8_is_tried(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_task, "WINDOW_LENGTHS", (64,))
    monkeypatch.setattr(doctor_task, "SECONDS", 0.0)
    monkeypatch.setattr(doctor_task, "examine", lambda *_, **__: {})
    out = tmp_path / "out.json"
    arguments = ["--config", GOLDEN / "config.yml", "--gpus", 0, "--out", out]
    done = CliRunner().invoke(main, [*map(str, ["doctor", GOLDEN / "model.pt", *arguments])])
    assert done.exit_code == 0
    told = json.loads(out.read_text())["figures"]
    assert tuple(told) == FP8_MODES
    scores = {mode: tuple(one["measured"]["RNA variants"]["score"]) for mode, one in told.items()}
    assert len({scores[mode] for mode in ("off", "emulate", "hopper", "ada")}) == 4
    done = CliRunner().invoke(main, ["doctor", "evo2-mini", "--gpus", "0", "--out", str(out)])
    told = json.loads(out.read_text())["figures"]
    assert told["hopper"] == {"not_run": "the checkpoint has no FP8 scales"}
