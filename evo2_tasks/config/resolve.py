"""From the config to the settings that each step gets, defaults filled in."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from evo2_tasks.config.schema import (
    ModelConfig,
    RunConfig,
    ScoringConfig,
    Section,
    VariantSetConfig,
)
from evo2_tasks.errors import InputError
from evo2_tasks.hub import parse_hub_name

BUNDLED_CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"


def find_variant_set(config: RunConfig, name: str) -> VariantSetConfig:
    """A variant set by its name.

    Raises:
        InputError: The config has no variant set of that name.
    """
    for key, what in unknown_name("--variant-set", name, "variant_sets", config.variant_sets):
        raise InputError(f"config: {key}: {what}")
    return config.variant_sets[name]


def find_scoring(config: RunConfig, name: str) -> ScoringConfig:
    """A scoring by its name.

    Raises:
        InputError: The config has no scoring of that name.
    """
    for key, what in unknown_name("--scoring", name, "scorings", config.scorings):
        raise InputError(f"config: {key}: {what}")
    return config.scorings[name]


def scoring_settings(config: RunConfig, scoring: str) -> dict[str, int | float | str | bool | None]:
    """The settings of a scoring that shape its windows and scores, defaults resolved.

    What a table's signature records and what tells whether a finished job is still valid.
    """
    settings = config.scorings[scoring]
    tiled = settings.window_placement == "tiled"
    return {
        "window_length": settings.window_length,
        "window_placement": settings.window_placement,
        "window_step": window_step(settings) if tiled else None,
        "strands": settings.strands,
        "horizon": settings.horizon,
        "max_allele_length": max_allele_length(settings),
        "max_n_share": settings.max_n_share,
        # Its default follows the window, which is shorter on a short circular contig.
        "min_context": settings.min_context,
        "prepend_bos": settings.prepend_bos,
    }


def model_dtype(model: ModelConfig) -> str:
    """Number type of a model's weights, its default resolved."""
    if model.dtype is not None:
        return model.dtype
    return "bfloat16" if model.gpus else "float32"


def checkpoint_path(model: ModelConfig) -> Path:
    """Where a model's checkpoint is: in the package, where `fetch` puts it, or as written."""
    on_hub = parse_hub_name(model.checkpoint)
    if on_hub is not None:
        return on_hub.folder
    bundled = BUNDLED_CHECKPOINTS / model.checkpoint
    is_name = len(model.checkpoint.parts) == 1
    return bundled if is_name and bundled.is_dir() else model.checkpoint


def window_step(scoring: ScoringConfig) -> int:
    """Bases from one tiled window to the next, its default resolved."""
    return scoring.window_length // 4 if scoring.window_step is None else scoring.window_step


def max_allele_length(scoring: ScoringConfig) -> int:
    """Longest trimmed allele that is scored, its default resolved."""
    if scoring.max_allele_length is None:
        return scoring.window_length // 4
    return scoring.max_allele_length


def unknown_name(
    key: str, name: str, section: str, known: Mapping[str, Section]
) -> Iterator[tuple[str, str]]:
    """The key and what is wrong, if a section of the config has no such name."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield key, f"no {name!r} under `{section}`; {hint}there: {', '.join(known)}"
