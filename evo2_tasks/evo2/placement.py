"""A model on several devices: the device of each part, and the transfer of inputs to it.

This is for models that `load_model` loads. `from_pretrained` uses accelerate and a ``device_map``.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .config import Evo2Config
from .modeling import Evo2ForCausalLM

Places = dict[str, torch.device]


def place_modules(config: Evo2Config, devices: Sequence[torch.device]) -> Places:
    """The device of each part of a model: a range of layers each, the other parts on the first.

    Embedding and output matrix are one tensor, and log-probabilities are needed on the device of
    the tokens.

    Args:
        config: The model's config.
        devices: The devices in the order of the layers. Their numbers of layers differ by one at
            most.

    Returns:
        Device by the name of the module.

    Source:
        Upstream vortex at cb229ae; ours leaves no device without layers.
    """
    num_layers = len(config.operators)
    ends = dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), devices[0])
    layers = {
        f"model.layers.{i}": devices[i * len(devices) // num_layers] for i in range(num_layers)
    }
    return ends | layers


def device_of(name: str, places: Places) -> torch.device:
    """The device of a tensor, by its name."""
    return next(device for module, device in places.items() if name.startswith(f"{module}."))


def bring_inputs(model: Evo2ForCausalLM, places: Places) -> None:
    """Make each part of a model move its inputs to its own device.

    A cache is not moved: the states of a layer are already on the device of the layer.
    """
    for name, device in places.items():
        model.get_submodule(name).register_forward_pre_hook(
            partial(_bring, device), with_kwargs=True
        )


def _bring(
    device: torch.device, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def brought(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    return tuple(map(brought, args)), {key: brought(value) for key, value in kwargs.items()}
