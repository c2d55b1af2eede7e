"""Embeddings of the regions of track sets: the settings that their steps get."""

from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.config.objects import local_copy
from evo2_tasks.config.schema import EmbeddingsConfig, RunConfig
from evo2_tasks.config.tracks import (
    MergeTracksSettings,
    ScoreTracksSettings,
    resolve_merge_tracks,
)
from evo2_tasks.errors import InputError


@dataclass(frozen=True, slots=True)
class EmbedTracksSettings:
    """What ``embed_tracks`` needs.

    Attributes:
        regions: The file of the regions.
        score: The model, the windows and how the work is done.
        embeddings: The layers, and how their tables are written. ``tokens`` is not used: the mean
            is over the whole region.
    """

    regions: Path
    score: ScoreTracksSettings
    embeddings: EmbeddingsConfig

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes. The layers must have their published names."""
        return {**self.score.triggers(), "layers": sorted(self.embeddings.layers)}


@dataclass(frozen=True, slots=True)
class MergeTrackEmbeddingsSettings:
    """What ``merge_track_embeddings`` needs.

    Attributes:
        layer: Published name of the layer.
        embed: What ``embed_tracks`` must have made its files with.
        tracks: What ``tile`` must have made its files with.
    """

    layer: str
    embed: EmbedTracksSettings
    tracks: MergeTracksSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "dtype": self.embed.embeddings.dtype,
            "keep_strands": self.embed.embeddings.keep_strands,
            "layer": self.layer,
            "model": self.embed.score.score.model.name,
        }


def resolve_embed_tracks(config: RunConfig, track_set: str, scoring: str) -> EmbedTracksSettings:
    """The settings of ``embed_tracks``.

    Raises:
        InputError: The config has no such track set or scoring, or the scoring has no
            ``embeddings``.
    """
    tracks = resolve_merge_tracks(config, track_set, scoring)
    embeddings = config.scorings[scoring].embeddings
    if embeddings is None:
        raise InputError(
            f"config: scorings.{scoring}: has no `embeddings`. Add the key, for example "
            "`embeddings: {layer: norm}`."
        )
    regions = local_copy(config.track_sets[track_set].regions)
    return EmbedTracksSettings(regions, tracks.score, embeddings)


def resolve_merge_track_embeddings(
    config: RunConfig, track_set: str, scoring: str, layer: str
) -> MergeTrackEmbeddingsSettings:
    """The settings of ``merge_track_embeddings``.

    Args:
        config: The config.
        track_set: Name of the track set.
        scoring: Name of the scoring.
        layer: Published name of one of its layers.

    Raises:
        InputError: See :func:`resolve_embed_tracks`.
    """
    embed = resolve_embed_tracks(config, track_set, scoring)
    return MergeTrackEmbeddingsSettings(
        layer, embed, resolve_merge_tracks(config, track_set, scoring)
    )
