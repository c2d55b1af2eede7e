"""The config: its keys, reading it, and the settings that each step gets.

The modules are imported when they are asked for, so that the command line starts without pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo2_tasks.config import (
        embeddings,
        evaluation,
        explain,
        files,
        generation_options,
        generation_problems,
        generations,
        load,
        probes,
        resolve,
        schema,
        sequences,
        track_embeddings,
        tracks,
        yaml_files,
    )

__all__ = [
    "embeddings",
    "evaluation",
    "explain",
    "files",
    "generation_options",
    "generation_problems",
    "generations",
    "load",
    "probes",
    "resolve",
    "schema",
    "sequences",
    "track_embeddings",
    "tracks",
    "yaml_files",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
