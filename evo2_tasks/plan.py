"""What the workflow asks of a config: its targets, what each step depends on, what a job needs.

Snakemake calls these functions in every job, so they are cheap: arithmetic and file sizes.
"""

import glob
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from evo2_tasks.config import (
    ModelConfig,
    ReferenceConfig,
    RunConfig,
    checkpoint_path,
    dump_config,
    model_dtype,
    scoring_settings,
)

EXPORT_FILES = {"vcf": "scores.vcf.gz", "tsv": "scores.tsv"}
EVALUATION_FILES = ["figures.parquet", "curves.parquet"]
REPORT_FILE = "report.html"

CHECKPOINT_SUFFIXES = (".json", ".safetensors")

# What a job needs beside its own work: two Snakemakes run inside each allocation of a cluster.
SNAKEMAKE_MB = 300
CPU_STEP_MB = 1_700
CPU_STEP_MINUTES = 60
SCORE_MINUTES = 240
SCORE_BASE_MB = 1_000  # Python and torch; 350 measured
DRIVER_MB = 3_000  # host memory that a GPU's driver takes
# A batch on a CPU, bytes per token: the scores over the vocabulary, and the activations, which
# grow with the model's width. Measured with torch 2.13 at widths of 64 to 512: 2,050 + 62 per
# channel for the model, 3,100 for the log-probabilities.
BATCH_BYTES_PER_TOKEN = 5_200
BATCH_BYTES_PER_CHANNEL = 64
WIDTH_OF_7B = 4_096


class Wildcards(Protocol):
    """The wildcards of a job, as Snakemake hands them to a resource function."""

    scoring: str


def targets(config: RunConfig) -> list[str]:
    """The files of a complete run, relative to the folder of the results."""
    files = []
    for name, variant_set in config.variant_sets.items():
        for scoring in variant_set.scorings:
            exports = [EXPORT_FILES[export] for export in variant_set.exports]
            evaluation = EVALUATION_FILES if variant_set.labels else []
            files += [
                f"{name}/{scoring}/{file}" for file in ["scores.parquet", *exports, *evaluation]
            ]
        files.append(f"{name}/{REPORT_FILE}")
    return files


def any_of(names: Iterable[str]) -> str:
    """A regular expression for these names and nothing else, to constrain a wildcard."""
    return "|".join(re.escape(name) for name in names)


@dataclass(frozen=True)
class StepInputs:
    """The files that the config names, as the rules' inputs: a newer one runs its steps again."""

    variants: dict[str, str]
    """By variant set."""
    reference: dict[str, list[str]]
    """By variant set."""
    checkpoint: dict[str, list[str]]
    """By scoring."""
    report: dict[str, list[str]]
    """By variant set, what other steps write, relative to the folder of the results."""


def step_inputs(config: RunConfig) -> StepInputs:
    """List the files that each step reads and that its rule cannot name by wildcards."""
    sets = config.variant_sets
    return StepInputs(
        variants={name: str(variant_set.variants) for name, variant_set in sets.items()},
        reference={
            name: _reference_files(config.references[variant_set.reference])
            for name, variant_set in sets.items()
        },
        checkpoint={
            name: _checkpoint_files(config.models[scoring.model])
            for name, scoring in config.scorings.items()
        },
        report={
            name: [
                f"{name}/{scoring}/{file}"
                for scoring in variant_set.scorings
                for file in [
                    "scores.parquet",
                    "run.json",
                    *(EVALUATION_FILES if variant_set.labels else []),
                ]
            ]
            for name, variant_set in sets.items()
        },
    )


def _reference_files(reference: ReferenceConfig) -> list[str]:
    files = [reference.fasta, reference.assembly_report]
    return [str(file) for file in files if file is not None]


def _checkpoint_files(model: ModelConfig) -> list[str]:
    """The files of a checkpoint; none for one that comes with the package and never changes."""
    path = checkpoint_path(model)
    if path != model.checkpoint:
        return []
    files = [model.checkpoint]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in CHECKPOINT_SUFFIXES)
    elif path.suffix == ".part0":
        files = sorted(path.parent.glob(f"{glob.escape(path.stem)}.part*"))
    if model.config is not None:
        files.append(model.config)
    return [str(file) for file in files]


@dataclass(frozen=True)
class StepSettings:
    """The settings that shape what each step writes, as one line of JSON.

    The rules give them as ``params``, so that Snakemake runs a finished job again exactly if its
    own slice of the config has changed.
    """

    split: dict[str, str]
    """By variant set."""
    windows: dict[str, dict[str, str]]
    """By variant set and scoring."""
    score: dict[str, str]
    """By scoring."""
    merge: dict[str, dict[str, str]]
    """By variant set and scoring."""
    evaluate: dict[str, str]
    """By variant set."""
    report: dict[str, str]
    """By variant set."""


def step_settings(config: RunConfig) -> StepSettings:
    """Cut the config into what each step depends on."""
    sets, scorings = config.variant_sets, config.scorings
    return StepSettings(
        split={
            name: _dumped(
                sets[name],
                {"filters", "reference", "regions"},
                {"carry": sets[name].carried},
            )
            for name in sets
        },
        windows={
            name: {
                scoring: _dumped(
                    config.references[variant_set.reference],
                    {"circular_contigs", "contig_aliases"},
                    scoring_settings(config, scoring),
                )
                for scoring in variant_set.scorings
            }
            for name, variant_set in sets.items()
        },
        score={
            name: _dumped(
                config.models[scoring.model],
                {"checkpoint", "model", "config"},
                {
                    "dtype": model_dtype(config.models[scoring.model]),
                    **scoring_settings(config, name),
                },
            )
            for name, scoring in scorings.items()
        },
        merge={
            name: {
                scoring: _dumped(
                    variant_set, {"sort_by_position"}, {"model": scorings[scoring].model}
                )
                for scoring in variant_set.scorings
            }
            for name, variant_set in sets.items()
        },
        evaluate={name: _dumped(sets[name], {"labels", "groups", "baselines"}) for name in sets},
        report={name: _dumped(sets[name], {"scorings"}) for name in sets},
    )


def _dumped(section: BaseModel, keys: set[str], more: Mapping[str, object] | None = None) -> str:
    values = section.model_dump(mode="json", include=keys) | dict(more or {})
    return json.dumps(values, sort_keys=True)


class Jobs:
    """What the jobs of a run are given: the config, and what they ask of the machine.

    The methods are what Snakemake calls for a job's parameters and resources; memory and time
    grow with each attempt.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = dump_config(config)
        self._gpus = {
            name: config.models[scoring.model].gpus for name, scoring in config.scorings.items()
        }
        self._score_mb = {name: _score_mb(config, name) for name in config.scorings}

    def config(self, wildcards: Wildcards, input: object) -> str:  # noqa: A002 - Snakemake's name
        """The config that a command reads on standard input.

        A parameter that asks for ``input`` counts as derived from it, so Snakemake does not
        compare it: a change under ``run:`` or in another variant set runs no finished job again.
        """
        return self._config

    def gpu(self, wildcards: Wildcards) -> int | None:
        """GPUs of a scoring job; None asks for nothing, where 0 would be a request for no GPU."""
        return self._gpus[wildcards.scoring] or None

    def score_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Host memory of a scoring job, MB."""
        return self._score_mb[wildcards.scoring] * attempt

    def score_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a scoring job, minutes."""
        return SCORE_MINUTES * attempt

    def mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory of a job of any other step, MB."""
        return (SNAKEMAKE_MB + CPU_STEP_MB) * attempt

    def runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of any other step, minutes."""
        return CPU_STEP_MINUTES * attempt


def _score_mb(config: RunConfig, name: str) -> int:
    """Host memory that a scoring's jobs ask for, MB."""
    scoring = config.scorings[name]
    model = config.models[scoring.model]
    weights_mb = (
        sum(Path(file).stat().st_size for file in _checkpoint_files(model) if Path(file).is_file())
        / 10**6
    )
    if model.gpus:
        # The file's pages count beside the tensors until the tensors are on the device.
        return SNAKEMAKE_MB + SCORE_BASE_MB + DRIVER_MB + math.ceil(1.25 * weights_mb)
    batch_tokens = max(config.run.batch_tokens, scoring.window_length)
    bytes_per_token = BATCH_BYTES_PER_TOKEN + BATCH_BYTES_PER_CHANNEL * _width(model)
    batch_mb = batch_tokens * bytes_per_token / 10**6
    # Weights are wider in memory than in a file that holds them in bfloat16.
    return SNAKEMAKE_MB + SCORE_BASE_MB + math.ceil(2 * weights_mb + batch_mb)


def _width(model: ModelConfig) -> int:
    """The width of a model's activations; that of the 7B models where no folder tells it."""
    try:
        width = json.loads((checkpoint_path(model) / "config.json").read_bytes())["hidden_size"]
    except (OSError, ValueError, KeyError, TypeError):
        # A published file, one that is still to be made, or a broken one: `score` says which.
        return WIDTH_OF_7B
    return width if isinstance(width, int) else WIDTH_OF_7B
