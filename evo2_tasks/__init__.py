"""Variant effect scoring with Evo 2, and the model itself.

The model's classes are imported when they are asked for, so that the commands that need no model
start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo2_tasks.evo2 import (
        Evo2Config,
        Evo2ForCausalLM,
        Evo2Model,
        Evo2PreTrainedModel,
        Evo2Tokenizer,
    )

__all__ = ["Evo2Config", "Evo2ForCausalLM", "Evo2Model", "Evo2PreTrainedModel", "Evo2Tokenizer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("evo2_tasks.evo2"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
