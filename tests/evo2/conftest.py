from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from tests.evo2.layout import blob_names, layout, make_blob

Make = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more, and wait for each other where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    return Path(__file__).parent.parent / "data" / "golden"


@pytest.fixture(scope="session")
def make_config() -> Make:
    """A small config with every operator, odd sizes, and filters that reach over a chunk."""

    def make(operators: list[str] | None = None, **kwargs: Any) -> Evo2Config:
        values = {
            "hidden_size": 24,
            "intermediate_size": 20,
            "num_attention_heads": 3,
            "operators": operators or ["hyena_se", "hyena_mr", "hyena_li", "attention"],
            "hyena_se_groups": 4,
            "hyena_mr_groups": 6,
            "hyena_mr_length": 50,
            "state_size": 5,
            "initializer_range": 0.3,
        }
        return Evo2Config(**{**values, **kwargs})

    return make


@pytest.fixture(scope="session")
def make_model(make_config: Make) -> Make:
    """A model with random weights in which everything matters: norms, biases, skips too."""

    def make(operators: list[str] | None = None, *, seed: int = 0, **kwargs: Any) -> Any:
        torch.manual_seed(seed)
        model = Evo2ForCausalLM(make_config(operators, **kwargs)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith((".scale", ".bias", ".D")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="session")
def make_published() -> Make:
    """The entries of a small published file, with random values."""

    def make(config: Evo2Config, seed: int = 0) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        entries: dict[str, Any] = {}
        for name, (shape, dtype) in layout(config).items():
            drawn = (0.3 * torch.randn(shape, generator=generator)).to(dtype)
            if name.endswith("inv_freq"):
                drawn = drawn.abs()
            elif name.endswith("log_poles"):
                drawn = -drawn.abs() - 1e-3
            entries[name] = drawn
        entries["unembed.weight"] = entries["embedding_layer.weight"].clone()
        for name in blob_names(config, {"hyena": ["projections"], "attention": []}):
            entries[name] = make_blob(generator)
        for name in blob_names(config, {"hyena": [], "attention": ["mixer.dense"]}):
            entries[name] = None
        for layer, operator in enumerate(config.operators):
            if operator == "hyena_li":
                entries[f"blocks.{layer}.mixer.mixer.filter.t"] = torch.arange(9.0).view(1, 1, 9)
        return entries

    return make
