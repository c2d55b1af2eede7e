"""Rates of devices: the published ones, and files of measured ones."""

import json
from pathlib import Path

import pytest

from evo2_tasks.config.resolve import resolve_model
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.cost.rates import PUBLISHED_RATES, Rates, choose_rate, find_rate
from evo2_tasks.cost.shapes import RELEASE_SHAPES, read_shape
from evo2_tasks.errors import InputError


def test_published_rates_have_a_source_and_agree_with_the_shapes() -> None:
    rates = Rates.read(PUBLISHED_RATES).rates
    shapes = RELEASE_SHAPES | {
        "evo2-mini": read_shape(resolve_model("models.m", "m", ModelConfig(checkpoint="evo2-mini")))
    }
    for rate in rates:
        assert "http" in rate.source or "evo2-tasks measure" in rate.source
        flops = shapes[rate.model].flops_per_token(rate.window_length)
        assert rate.flops_per_token == pytest.approx(flops, rel=1e-6)
    found = find_rate(rates, "gh200")
    assert found is not None
    assert found.model == "evo2_7b"
    assert find_rate(rates, "abacus") is None


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_published_table_has_a_rate_for_any_model(gpus: int) -> None:
    rate = choose_rate(Rates.read(PUBLISHED_RATES).rates, "a model of ours", None, gpus=gpus)
    assert rate is not None
    assert rate.device.startswith("cpu") == (gpus == 0)


@pytest.mark.parametrize("text", ["", "{}", '{"rates": [{}]}', "[1]"])
def test_another_file_is_an_error_of_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rates.json"
    file.write_text(text)
    with pytest.raises(InputError, match="evo2-tasks measure"):
        Rates.read(file)


def test_a_rate_of_0_is_refused(tmp_path: Path) -> None:
    rate = json.loads(PUBLISHED_RATES.read_text())["rates"][0] | {"tokens_per_s": 0}
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"rates": [rate]}))
    with pytest.raises(InputError, match="evo2-tasks measure"):
        Rates.read(file)
