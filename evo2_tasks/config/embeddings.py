"""The settings of the steps that merge embeddings and profiles, and what contradicts itself.

The names of layers are compared with the shape of the model in `cost/embeddings.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from evo2_tasks.config.resolve import (
    ReadOutSettings,
    SplitSettings,
    resolve_readouts,
    resolve_split,
)
from evo2_tasks.config.schema import EmbeddingsConfig, RunConfig, ScoringConfig
from evo2_tasks.errors import InputError


@dataclass(frozen=True, slots=True)
class MergeEmbeddingsSettings:
    """What ``merge_embeddings`` needs.

    Attributes:
        layer: Published name of the layer.
        embeddings: How the embeddings are made and written.
        split: What ``split`` must have made the shards with.
        readouts: What ``score_readouts`` must have made its files with.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    layer: str
    embeddings: EmbeddingsConfig
    split: SplitSettings
    readouts: ReadOutSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "dtype": self.embeddings.dtype,
            "keep_strands": self.embeddings.keep_strands,
            "layer": self.layer,
            "model": self.readouts.score.model.name,
            "tokens": self.embeddings.tokens,
        }


@dataclass(frozen=True, slots=True)
class MergeProfilesSettings:
    """What ``merge_profiles`` needs.

    Attributes:
        tokens: Number of tokens of a profile.
        split: What ``split`` must have made the shards with.
        readouts: What ``score_readouts`` must have made its files with.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    tokens: int
    split: SplitSettings
    readouts: ReadOutSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"model": self.readouts.score.model.name, "profile": self.tokens}


def resolve_merge_embeddings(
    config: RunConfig, variant_set: str, scoring: str, layer: str
) -> MergeEmbeddingsSettings:
    """The settings of ``merge_embeddings``.

    Args:
        config: The config.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        layer: Published name of one of its layers.

    Raises:
        InputError: The config has no such variant set or scoring, or the scoring has no
            ``embeddings``.
    """
    readouts = resolve_readouts(config, scoring)
    if readouts.embeddings is None:
        raise InputError(
            f"config: scorings.{scoring}: has no `embeddings`. Add the key, for example "
            "`embeddings: {layer: norm}`."
        )
    return MergeEmbeddingsSettings(
        layer=layer,
        embeddings=readouts.embeddings,
        split=resolve_split(config, variant_set),
        readouts=readouts,
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def resolve_merge_profiles(
    config: RunConfig, variant_set: str, scoring: str
) -> MergeProfilesSettings:
    """The settings of ``merge_profiles``.

    Raises:
        InputError: The config has no such variant set or scoring, or the scoring has no
            ``profile``.
    """
    readouts = resolve_readouts(config, scoring)
    if readouts.profile is None:
        raise InputError(
            f"config: scorings.{scoring}: has no `profile`. Add the key, for example "
            "`profile: 128`."
        )
    return MergeProfilesSettings(
        tokens=readouts.profile,
        split=resolve_split(config, variant_set),
        readouts=readouts,
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def embedding_problems(name: str, scoring: ScoringConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the embeddings of a scoring: the key, and what is wrong."""
    if scoring.embeddings is None:
        return
    key, tokens = f"scorings.{name}.embeddings.tokens", scoring.embeddings.tokens
    most = scoring.window_length // 2
    if tokens > most:
        yield (
            key,
            f"{tokens} is too large; with window_length {scoring.window_length} at most {most} fit",
        )
    elif scoring.horizon is not None and tokens > scoring.horizon:
        yield (
            key,
            f"{tokens} is too large; with horizon {scoring.horizon} at most {scoring.horizon} are "
            "read",
        )
