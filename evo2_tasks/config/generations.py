"""Generations: the settings that their steps get."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evo2_tasks.config.objects import local_copy
from evo2_tasks.config.resolve import (
    ModelSettings,
    ReferenceSettings,
    resolve_model,
    resolve_reference,
    unknown_name,
)
from evo2_tasks.config.schema import (
    SCORERS,
    GenerationConfig,
    RunConfig,
    RunSettings,
    ScorerConfig,
)
from evo2_tasks.errors import InputError

SCORER_KINDS: Final = (*SCORERS, "function")
"""What a scorer can be."""


@dataclass(frozen=True, slots=True)
class ScorerSettings:
    """A scorer of a search.

    Attributes:
        where: Its place in the config, for messages.
        name: Name of its column.
        kind: ``function``, ``likelihood``, or the name of a scorer of the package.
        keys: Its own settings; of a ``function``, its name as ``module:function``.
        weight: Factor of its number in the sum.
        model: The second model of ``likelihood``.
    """

    where: str
    name: str
    kind: str
    keys: Mapping[str, Any]
    weight: float
    model: ModelSettings | None = None

    def triggers(self) -> dict[str, object]:
        """What runs the search again if it changes."""
        return {
            "name": self.name,
            self.kind: dict(self.keys) if self.model is None else self.model.triggers(),
            "weight": self.weight,
        }


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What ``read_prompts`` needs.

    Attributes:
        where: What names the prompts, for messages: ``generations.NAME.prompts``, or a command.
        fasta: FASTA with the prompts, or None; ``-`` is standard input.
        text: Bases of a single prompt, or None.
        region: A region of the reference, or None.
        bed: File of regions of the reference, or None.
        reference: The reference, for a region or a file of regions.
        tag: What comes before each prompt; empty for nothing.
        max_length: Longest prompt, letters, with its tag.
        scorers: The scorers, which are checked before any job asks for a GPU.
    """

    where: str
    fasta: Path | None
    text: str | None
    region: str | None
    bed: Path | None
    reference: ReferenceSettings | None
    tag: str
    max_length: int
    scorers: tuple[ScorerSettings, ...]

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        reference = self.reference
        return {
            "text": self.text,
            "region": self.region,
            "reference": None if reference is None else reference.name,
            "circular_contigs": None if reference is None else reference.circular_contigs,
            "contig_aliases": None if reference is None else dict(reference.contig_aliases),
            "tag": self.tag,
            "max_length": self.max_length,
        }


@dataclass(frozen=True, slots=True)
class GenerateSettings:
    """What ``generate_sequences`` needs.

    Attributes:
        name: Of the generation, for messages.
        prompts: What ``read_prompts`` must have made the prompts with.
        model: The model.
        length: Bases to generate.
        num_sequences: Sequences for each prompt.
        seed: Seed of the draws.
        temperature: Of the sampling.
        top_k: Number of likeliest bases to draw from; None for all.
        top_p: Probability of the likeliest bases to draw from; None for all.
        chunk_length: Bases of a step.
        beam_width: Candidates that a step keeps.
        samples_per_beam: Candidates that a step draws for each kept one.
        batch_size: Candidates that go through the model together.
        scorers: What guides the search.
        shards: Number of shards.
        run: How the work is done.
    """

    name: str
    prompts: PromptSettings
    model: ModelSettings
    length: int
    num_sequences: int
    seed: int
    temperature: float
    top_k: int | None
    top_p: float | None
    chunk_length: int
    beam_width: int
    samples_per_beam: int
    batch_size: int
    scorers: tuple[ScorerSettings, ...]
    shards: int
    run: RunSettings

    @property
    def models(self) -> tuple[ModelSettings, ...]:
        """The model, and those of the scorers."""
        others = (one.model for one in self.scorers if one.model is not None)
        return tuple({one.name: one for one in (self.model, *others)}.values())

    @property
    def gpus(self) -> int:
        """GPUs of all models."""
        return self.model.gpus + sum(one.model.gpus for one in self.scorers if one.model)

    @property
    def search(self) -> dict[str, object]:
        """The settings that determine a sequence, for the signature."""
        return {
            "length": self.length,
            "num_sequences": self.num_sequences,
            "seed": self.seed,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "chunk_length": self.chunk_length,
            "beam_width": self.beam_width,
            "samples_per_beam": self.samples_per_beam,
            "batch_size": self.batch_size,
            "scorers": [one.triggers() for one in self.scorers],
        }

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {**self.model.triggers(), **self.search}


@dataclass(frozen=True, slots=True)
class MergeGenerationSettings:
    """What ``merge_generation`` needs.

    Attributes:
        generate: What ``generate_sequences`` must have made its files with.
        compare_with: The reference that sequences are compared with, or None.
        genetic_code: For the open reading frames.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    generate: GenerateSettings
    compare_with: ReferenceSettings | None
    genetic_code: int
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        reference = self.compare_with
        return {
            "model": self.generate.model.name,
            "compare_with": None if reference is None else reference.name,
            "circular_contigs": None if reference is None else reference.circular_contigs,
            "genetic_code": self.genetic_code,
        }


@dataclass(frozen=True, slots=True)
class ReportGenerationSettings:
    """What ``report_generation`` needs.

    Attributes:
        name: Of the generation.
        genetic_code: For the open reading frames.
    """

    name: str
    genetic_code: int

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"genetic_code": self.genetic_code}


def resolve_prompts(config: RunConfig, generation: str) -> PromptSettings:
    """The settings of ``read_prompts``.

    Raises:
        InputError: The config has no such generation.
    """
    settings = _find_generation(config, generation)
    prompts = settings.prompts
    return PromptSettings(
        where=f"generations.{generation}.prompts",
        fasta=None if prompts.fasta is None else local_copy(prompts.fasta),
        text=prompts.text,
        region=prompts.region,
        bed=None if prompts.bed is None else local_copy(prompts.bed),
        reference=None
        if prompts.reference is None
        else resolve_reference(config, prompts.reference),
        tag=prompts.tag or "",
        max_length=prompts.max_length,
        scorers=_resolve_scorers(config, generation),
    )


def _resolve_scorers(config: RunConfig, generation: str) -> tuple[ScorerSettings, ...]:
    """The settings of the scorers of a generation, each of which has exactly one kind."""
    settings = []
    for i, one in enumerate(config.generations[generation].scorers):
        (kind,) = list_kinds(one)
        keys: dict[str, Any] = {}
        model = None
        if one.likelihood is not None:
            name = one.likelihood.model
            model = resolve_model(f"models.{name}", name, config.models[name])
        elif one.function is not None:
            keys = {"function": one.function}
        else:
            keys = getattr(one, kind).model_dump(mode="json")
        where = f"generations.{generation}.scorers[{i}]"
        settings.append(ScorerSettings(where, name_scorer(one), kind, keys, one.weight, model))
    return tuple(settings)


def list_kinds(scorer: ScorerConfig) -> list[str]:
    """The kinds that a scorer has in the config: one, if the config is right."""
    return [name for name in SCORER_KINDS if getattr(scorer, name) is not None]


def name_scorer(scorer: ScorerConfig) -> str:
    """The name of a scorer's column."""
    kinds = list_kinds(scorer)
    if scorer.name is not None or not kinds:
        return scorer.name or ""
    return scorer.function.rpartition(":")[2] if scorer.function is not None else kinds[0]


def resolve_generate(config: RunConfig, generation: str) -> GenerateSettings:
    """The settings of ``generate_sequences``.

    Raises:
        InputError: The config has no such generation.
    """
    settings = _find_generation(config, generation)
    prompts = resolve_prompts(config, generation)
    return GenerateSettings(
        name=generation,
        prompts=prompts,
        model=resolve_model(
            f"models.{settings.model}", settings.model, config.models[settings.model]
        ),
        length=settings.length,
        num_sequences=settings.num_sequences,
        seed=settings.seed,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        chunk_length=settings.chunk_length,
        beam_width=settings.beam_width,
        samples_per_beam=settings.samples_per_beam,
        batch_size=settings.batch_size,
        scorers=prompts.scorers,
        shards=count_shards(config, generation),
        run=config.run,
    )


def count_shards(config: RunConfig, generation: str) -> int:
    """Number of shards of a generation: a single prompt has one.

    Args:
        config: The config.
        generation: Name of the generation.
    """
    prompts = config.generations[generation].prompts
    return config.shards if prompts.fasta is not None or prompts.bed is not None else 1


def resolve_merge_generation(config: RunConfig, generation: str) -> MergeGenerationSettings:
    """The settings of ``merge_generation``.

    Raises:
        InputError: The config has no such generation.
    """
    settings = _find_generation(config, generation)
    reference = find_compared(settings)
    return MergeGenerationSettings(
        generate=resolve_generate(config, generation),
        compare_with=None if reference is None else resolve_reference(config, reference),
        genetic_code=settings.genetic_code,
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def resolve_report_generation(config: RunConfig, generation: str) -> ReportGenerationSettings:
    """The settings of ``report_generation``.

    Raises:
        InputError: The config has no such generation.
    """
    return ReportGenerationSettings(generation, _find_generation(config, generation).genetic_code)


def resolve_plan_generations(config: RunConfig) -> list[GenerateSettings]:
    """The settings of ``plan``: each generation."""
    return [resolve_generate(config, name) for name in config.generations]


def find_compared(settings: GenerationConfig) -> str | None:
    """Name of the reference that the sequences of a generation are compared with."""
    return settings.compare_with or settings.prompts.reference


def _find_generation(config: RunConfig, name: str) -> GenerationConfig:
    for key, problem in unknown_name("--generation", name, "generations", config.generations):
        raise InputError(f"config: {key}: {problem}")
    return config.generations[name]
