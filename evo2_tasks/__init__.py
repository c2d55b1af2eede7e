"""Variant effect scoring with Evo 2, and the model itself.

The function and the model's classes are imported when they are asked for, so that the commands that
need no model start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo2_tasks.commands.score_variants import score_variants
    from evo2_tasks.errors import InputError
    from evo2_tasks.evo2 import (
        Evo2Config,
        Evo2ForCausalLM,
        Evo2Model,
        Evo2PreTrainedModel,
        Evo2Tokenizer,
    )

__all__ = [
    "Evo2Config",
    "Evo2ForCausalLM",
    "Evo2Model",
    "Evo2PreTrainedModel",
    "Evo2Tokenizer",
    "InputError",
    "score_variants",
]

_MODULES = {"InputError": "errors", "score_variants": "commands.score_variants"}
"""Where the names are that are not of the model."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"evo2_tasks.{_MODULES.get(name, 'evo2')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
