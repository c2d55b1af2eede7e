"""A model over several devices: contiguous ranges of layers, and the same numbers."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evo2_tasks import Evo2Config
from evo2_tasks.evo2 import placement
from evo2_tasks.evo2.checkpoints import load_model
from evo2_tasks.evo2.config import PRESETS
from evo2_tasks.evo2.placement import device_of, place_modules
from evo2_tasks.scoring.likelihood import window_log_probs

CPU = torch.device("cpu")


def devices(number: int) -> list[torch.device]:
    return [torch.device("cuda", index) for index in range(number)]


@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("release", PRESETS)
def test_layers_lie_in_contiguous_ranges_of_equal_length(release: str, number: int) -> None:
    config = Evo2Config.from_preset(release)
    places = place_modules(config, devices(number))
    order = [places[f"model.layers.{index}"].index for index in range(len(config.operators))]
    ranges = [(device, len(list(group))) for device, group in groupby(order)]
    assert [device for device, _ in ranges] == list(range(number))
    lengths = [length for _, length in ranges]
    assert max(lengths) - min(lengths) <= 1
    ends = {places[name] for name in ("model.embed_tokens", "model.norm", "lm_head")}
    assert ends == {devices(1)[0]}


def test_each_tensor_goes_where_its_layer_goes(make_model: Any) -> None:
    model = make_model(["hyena_se"] * 12)
    places = place_modules(model.config, devices(4))
    for name in model.state_dict():
        parts = name.split(".")
        layer = int(parts[2]) if parts[1] == "layers" else 0
        assert device_of(name, places).index == layer // 3, name


def test_a_model_over_several_devices_computes_the_same(
    golden_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only device here stands for three of them; what is brought to which is noted."""
    folder = golden_folder / "tiny_40b_1m"
    file, config = folder / "model.pt", folder / "config.yml"
    one = load_model(file, dtype=torch.bfloat16, devices=[CPU], config=config)
    brought: list[torch.device] = []
    bring = placement._bring

    def note(device: torch.device, *args: Any) -> Any:
        brought.append(device)
        return bring(device, *args)

    monkeypatch.setattr(placement, "_bring", note)
    three = load_model(file, dtype=torch.bfloat16, devices=[CPU] * 3, config=config)
    windows = [b"ACGTTGCA" * 12, b"TTGACA" * 9]
    expected = window_log_probs(one, windows, prepend_bos=False, segment_length=40)
    assert not brought
    log_probs = window_log_probs(three, windows, prepend_bos=False, segment_length=40)
    for row, expected_row in zip(log_probs, expected, strict=True):
        assert (row == expected_row).all()
    num_segments, num_slices = 3, 3
    assert len(brought) == num_segments * (2 + len(one.config.operators)) + num_slices


def test_what_is_no_tensor_is_left_alone() -> None:
    cache = object()
    args, kwargs = placement._bring(CPU, torch.nn.Identity(), (torch.ones(1), 3), {"cache": cache})
    assert isinstance(args[0], Tensor)
    assert (args[1], kwargs) == (3, {"cache": cache})
