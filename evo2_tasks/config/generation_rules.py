"""Generations: the files that their rules read and write, and what runs these again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.config.generations import (
    GenerateSettings,
    find_compared,
    resolve_generate,
    resolve_merge_generation,
    resolve_prompts,
    resolve_report_generation,
)
from evo2_tasks.config.resolve import checkpoint_files
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.layout import (
    GENERATED,
    GENERATION_FASTA,
    GENERATION_RUN,
    GENERATION_STEPS,
    GENERATION_TABLE,
    GENERATIONS,
    MODELS,
    REPORT,
    shard_file,
    shard_run_file,
    steps_file,
)


def generation_targets(config: RunConfig) -> list[str]:
    """The files of all generations, relative to the results folder."""
    files = (GENERATION_FASTA, GENERATION_TABLE, GENERATION_STEPS, GENERATION_RUN, REPORT)
    return [f"{GENERATIONS}/{name}/{file}" for name in config.generations for file in files]


@dataclass(frozen=True)
class GenerationInputs:
    """The inputs of the rules of generations.

    Attributes:
        prompts: The FASTA or the regions, by generation; empty if the config has the prompt.
        reference: Files of the reference of the prompts, by generation.
        checkpoint: Files of the checkpoints, by generation; without those of models on a hub.
        hub_files: Files that ``fetch`` writes about models on a hub, relative to the results
            folder, by generation.
        functions: Python files in the working directory of the user's own scorers, by generation.
        compare_with: Files of the reference that sequences are compared with, by generation.
        generated: Files of all shards, relative to the results folder, by generation.
    """

    prompts: dict[str, list[str]]
    reference: dict[str, list[str]]
    checkpoint: dict[str, list[str]]
    hub_files: dict[str, list[str]]
    functions: dict[str, list[str]]
    compare_with: dict[str, list[str]]
    generated: dict[str, list[str]]


def generation_inputs(
    config: RunConfig, list_files: Callable[[str], list[str]]
) -> GenerationInputs:
    """The files that the rules of generations read.

    Args:
        config: The config.
        list_files: Gives the files of a reference by its name.
    """
    found = config.generations
    settings = {name: resolve_generate(config, name) for name in found}

    def of_reference(name: str | None) -> list[str]:
        return [] if name is None else list_files(name)

    return GenerationInputs(
        prompts={
            name: [str(path) for path in (one.prompts.fasta, one.prompts.bed) if path is not None]
            for name, one in found.items()
        },
        reference={name: of_reference(one.prompts.reference) for name, one in found.items()},
        checkpoint={
            name: [
                str(file)
                for model in one.models
                if parse_hub_name(model.written) is None
                for file in checkpoint_files(model)
            ]
            for name, one in settings.items()
        },
        hub_files={
            name: [
                f"{MODELS}/{model.name}.json"
                for model in one.models
                if parse_hub_name(model.written) is not None
            ]
            for name, one in settings.items()
        },
        functions={
            name: [str(file) for file in find_function_files(one)] for name, one in settings.items()
        },
        compare_with={name: of_reference(find_compared(one)) for name, one in found.items()},
        generated={
            name: [
                f"{GENERATIONS}/{name}/{GENERATED}/{file}"
                for shard in range(1, one.shards + 1)
                for table in [Path(shard_file(shard, one.shards))]
                for file in (table, steps_file(table), shard_run_file(table))
            ]
            for name, one in settings.items()
        },
    )


def find_function_files(settings: GenerateSettings) -> list[Path]:
    """Python files in the working directory that have functions of the scorers."""
    named = [
        value
        for one in settings.scorers
        for key in ("function", "predictor")
        if (value := one.keys.get(key)) is not None
    ]
    files = []
    for name in named:
        path = Path(*name.partition(":")[0].split("."))
        files += [
            file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()
        ]
    return [*dict.fromkeys(files)]


@dataclass(frozen=True)
class GenerationParams:
    """The settings of the steps of generations, as one line of JSON each, by generation."""

    read_prompts: dict[str, str]
    generate_sequences: dict[str, str]
    merge_generation: dict[str, str]
    report_generation: dict[str, str]


def generation_params(config: RunConfig) -> GenerationParams:
    """The settings of the steps of generations that run them again if they change."""
    names = config.generations
    return GenerationParams(
        read_prompts={name: _as_params(resolve_prompts(config, name).triggers()) for name in names},
        generate_sequences={
            name: _as_params(resolve_generate(config, name).triggers()) for name in names
        },
        merge_generation={
            name: _as_params(resolve_merge_generation(config, name).triggers()) for name in names
        },
        report_generation={
            name: _as_params(resolve_report_generation(config, name).triggers()) for name in names
        },
    )


def _as_params(triggers: dict[str, object]) -> str:
    return json.dumps(triggers, sort_keys=True)
