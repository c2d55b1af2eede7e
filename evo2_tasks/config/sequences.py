"""Sequence sets: the settings that their steps get, their files, and what is wrong with them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evo2_tasks.config.choices import CIRCULAR_MIN_CONTEXT
from evo2_tasks.config.objects import local_copy
from evo2_tasks.config.resolve import ModelSettings, resolve_score, unknown_name
from evo2_tasks.config.schema import (
    EmbeddingsConfig,
    RunConfig,
    RunSettings,
    SequenceSetConfig,
)
from evo2_tasks.errors import InputError
from evo2_tasks.layout import SEQUENCE_RUN, SEQUENCE_SHARDS, SEQUENCE_TABLE


@dataclass(frozen=True, slots=True)
class SplitSequencesSettings:
    """What ``split_sequences`` needs.

    Attributes:
        sequence_set: Name of the sequence set.
        sequences: The FASTA file; ``-`` is standard input.
        max_length: Longest sequence that is scored, bases.
        shards: Number of shards.
    """

    sequence_set: str
    sequences: Path
    max_length: int
    shards: int

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"max_length": self.max_length, "shards": self.shards}


@dataclass(frozen=True, slots=True)
class ScoreSequencesSettings:
    """What ``score_sequence_set`` needs.

    Attributes:
        name: Of the scoring, for messages.
        split: What ``split_sequences`` must have made the shards with.
        strands: The asked strands.
        prepend_bos: Whether a reading begins with a beginning-of-sequence token.
        max_n_share: Largest share of letters other than A, C, G, T in a sequence that is scored.
        circular: Whether the sequences are circular.
        min_context: Bases before the first one of a circular sequence that are read.
        per_base: Whether the table has the log-probability of each base.
        model: The model.
        run: Settings of the work itself; they change no score.
    """

    name: str
    split: SplitSequencesSettings
    strands: Literal["both", "forward", "reverse"]
    prepend_bos: bool
    max_n_share: float
    circular: bool
    min_context: int
    per_base: bool
    model: ModelSettings
    run: RunSettings

    @property
    def scoring(self) -> dict[str, object]:
        """The settings that determine the values of a row, for the signature."""
        return {
            "strands": self.strands,
            "prepend_bos": self.prepend_bos,
            "max_n_share": self.max_n_share,
            "circular": self.circular,
            "min_context": self.min_context if self.circular else None,
        }

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {**self.model.triggers(), **self.scoring, "per_base": self.per_base}


@dataclass(frozen=True, slots=True)
class EmbedSequencesSettings:
    """What ``embed_sequences`` needs.

    Attributes:
        score: The model, and how the sequences are read.
        embeddings: The layers, and how their tables are written. ``tokens`` is not used: the mean
            is over the whole sequence.
    """

    score: ScoreSequencesSettings
    embeddings: EmbeddingsConfig

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes. The layers must have their published names."""
        score = self.score
        layers = sorted(self.embeddings.layers)
        return {**score.model.triggers(), **score.scoring, "layers": layers}


def has_layers(made: Mapping[str, object], asked: Mapping[str, object]) -> bool:
    """Whether embeddings have the layers that are asked for, and are made in the same way.

    Args:
        made: :meth:`EmbedSequencesSettings.triggers` of finished embeddings, from their JSON file.
        asked: Those of the config.
    """
    layers = made.get("layers"), asked["layers"]
    same = {key: value for key, value in made.items() if key != "layers"}
    return (
        json.dumps(same, sort_keys=True)
        == _as_params({key: value for key, value in asked.items() if key != "layers"})
        and isinstance(layers[0], list)
        and isinstance(layers[1], list)
        and {*layers[1]} <= {*layers[0]}
    )


@dataclass(frozen=True, slots=True)
class MergeSequenceEmbeddingsSettings:
    """What ``merge_sequence_embeddings`` needs.

    Attributes:
        layer: Published name of the layer.
        embed: What ``embed_sequences`` must have made its files with.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    layer: str
    embed: EmbedSequencesSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "dtype": self.embed.embeddings.dtype,
            "keep_strands": self.embed.embeddings.keep_strands,
            "layer": self.layer,
            "model": self.embed.score.model.name,
        }


@dataclass(frozen=True, slots=True)
class MergeSequencesSettings:
    """What ``merge_sequences`` needs.

    Attributes:
        score: What ``score_sequence_set`` must have made its files with.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    score: ScoreSequencesSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"model": self.score.model.name}


def resolve_split_sequences(config: RunConfig, sequence_set: str) -> SplitSequencesSettings:
    """The settings of ``split_sequences``.

    Raises:
        InputError: The config has no such sequence set.
    """
    settings = _find_sequence_set(config, sequence_set)
    return SplitSequencesSettings(
        sequence_set=sequence_set,
        sequences=local_copy(settings.sequences),
        max_length=settings.max_length,
        shards=config.shards,
    )


def resolve_score_sequences(
    config: RunConfig, sequence_set: str, scoring: str
) -> ScoreSequencesSettings:
    """The settings of ``score_sequence_set``.

    Raises:
        InputError: The config has no such sequence set or scoring.
    """
    settings, score = _find_sequence_set(config, sequence_set), resolve_score(config, scoring)
    of_scoring = score.scoring
    return ScoreSequencesSettings(
        name=scoring,
        split=resolve_split_sequences(config, sequence_set),
        strands=of_scoring.strands,
        prepend_bos=of_scoring.prepend_bos,
        max_n_share=of_scoring.max_n_share,
        circular=settings.circular,
        min_context=CIRCULAR_MIN_CONTEXT
        if of_scoring.min_context is None
        else of_scoring.min_context,
        per_base=settings.per_base,
        model=score.model,
        run=config.run,
    )


def resolve_merge_sequences(
    config: RunConfig, sequence_set: str, scoring: str
) -> MergeSequencesSettings:
    """The settings of ``merge_sequences``.

    Raises:
        InputError: The config has no such sequence set or scoring.
    """
    return MergeSequencesSettings(
        score=resolve_score_sequences(config, sequence_set, scoring),
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def resolve_embed_sequences(
    config: RunConfig, sequence_set: str, scoring: str
) -> EmbedSequencesSettings:
    """The settings of ``embed_sequences``.

    Raises:
        InputError: The config has no such sequence set or scoring, or the scoring has no
            ``embeddings``.
    """
    score = resolve_score_sequences(config, sequence_set, scoring)
    embeddings = config.scorings[scoring].embeddings
    if embeddings is None:
        raise InputError(
            f"config: scorings.{scoring}: has no `embeddings`. Add the key, for example "
            "`embeddings: {layer: norm}`."
        )
    return EmbedSequencesSettings(score, embeddings)


def resolve_merge_sequence_embeddings(
    config: RunConfig, sequence_set: str, scoring: str, layer: str
) -> MergeSequenceEmbeddingsSettings:
    """The settings of ``merge_sequence_embeddings``.

    Args:
        config: The config.
        sequence_set: Name of the sequence set.
        scoring: Name of the scoring.
        layer: Published name of one of its layers.

    Raises:
        InputError: See :func:`resolve_embed_sequences`.
    """
    return MergeSequenceEmbeddingsSettings(
        layer=layer,
        embed=resolve_embed_sequences(config, sequence_set, scoring),
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def list_sequence_scorings(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Each sequence set with each of its scorings."""
    for name, sequence_set in config.sequence_sets.items():
        for scoring in sequence_set.scorings:
            yield name, scoring


def resolve_plan_sequences(config: RunConfig) -> list[ScoreSequencesSettings]:
    """The settings of ``plan``: each scoring of each sequence set."""
    return [
        resolve_score_sequences(config, name, scoring)
        for name, scoring in list_sequence_scorings(config)
    ]


def sequence_targets(config: RunConfig) -> list[str]:
    """The files of all sequence sets, relative to the results folder."""
    return [
        f"{name}/{scoring}/{file}"
        for name, scoring in list_sequence_scorings(config)
        for file in (SEQUENCE_TABLE, SEQUENCE_RUN)
    ]


def sequence_files(config: RunConfig) -> dict[str, list[str]]:
    """The FASTA of each sequence set, as the input of a rule."""
    return {name: [str(one.sequences)] for name, one in config.sequence_sets.items()}


@dataclass(frozen=True)
class SequenceParams:
    """The settings of the steps of sequence sets, as one line of JSON each.

    Attributes:
        split_sequences: By sequence set.
        score_sequence_set: By sequence set and scoring.
        merge_sequences: By sequence set and scoring.
    """

    split_sequences: dict[str, str]
    score_sequence_set: dict[str, dict[str, str]]
    merge_sequences: dict[str, dict[str, str]]


def sequence_params(config: RunConfig) -> SequenceParams:
    """The settings of the steps of sequence sets that run them again if they change."""
    sets = config.sequence_sets
    return SequenceParams(
        split_sequences={
            name: _as_params(resolve_split_sequences(config, name).triggers()) for name in sets
        },
        score_sequence_set={
            name: {
                scoring: _as_params(resolve_score_sequences(config, name, scoring).triggers())
                for scoring in one.scorings
            }
            for name, one in sets.items()
        },
        merge_sequences={
            name: {
                scoring: _as_params(resolve_merge_sequences(config, name, scoring).triggers())
                for scoring in one.scorings
            }
            for name, one in sets.items()
        },
    )


def _as_params(triggers: dict[str, object]) -> str:
    return json.dumps(triggers, sort_keys=True)


def sequence_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the sequence sets: the key, and what is wrong."""
    if config.sequence_sets and SEQUENCE_SHARDS in config.scorings:
        yield (
            f"scorings.{SEQUENCE_SHARDS}",
            "this name is reserved in the folders of sequence sets; choose another name",
        )
    for name, one in config.sequence_sets.items():
        for i, scoring in enumerate(one.scorings):
            yield from unknown_name(
                f"sequence_sets.{name}.scorings[{i}]", scoring, "scorings", config.scorings
            )


def _find_sequence_set(config: RunConfig, name: str) -> SequenceSetConfig:
    for key, problem in unknown_name("--sequence-set", name, "sequence_sets", config.sequence_sets):
        raise InputError(f"config: {key}: {problem}")
    return config.sequence_sets[name]
