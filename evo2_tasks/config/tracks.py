"""Track sets: the settings that their steps get, their files, and what is wrong with them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from evo2_tasks.config.objects import local_copy
from evo2_tasks.config.resolve import (
    ReferenceSettings,
    ScoreSettings,
    resolve_reference,
    resolve_score,
    unknown_name,
)
from evo2_tasks.config.schema import RunConfig, ScoringConfig, TrackSetConfig
from evo2_tasks.errors import InputError
from evo2_tasks.layout import REPORT, TILES, TRACK_BIGWIGS, TRACK_TABLE, TRACKS_RUN


@dataclass(frozen=True, slots=True)
class TrackScoring:
    """The settings of a scoring that shape a track; the signature records them.

    ``min_context`` stays None if the config does not set it: its default follows the window, which
    is shorter on a short circular contig.
    """

    window_length: int
    min_context: int | None
    strands: Literal["both", "forward", "reverse"]
    prepend_bos: bool


@dataclass(frozen=True, slots=True)
class TileSettings:
    """What ``tile`` needs.

    Attributes:
        track_set: Name of the track set.
        regions: The file of the regions.
        reference: The reference of the set.
        scoring: The windows.
        shards: Number of shards.
    """

    track_set: str
    regions: Path
    reference: ReferenceSettings
    scoring: TrackScoring
    shards: int

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "circular_contigs": self.reference.circular_contigs,
            "contig_aliases": self.reference.contig_aliases,
            "reference": self.reference.name,
            # Its output is a folder, which looks the same with any number of shards.
            "shards": self.shards,
            **asdict(self.scoring),
        }


@dataclass(frozen=True, slots=True)
class ScoreTracksSettings:
    """What ``score_tracks`` needs.

    Attributes:
        score: The model and how the work is done, as ``score`` gets them.
        scoring: The windows and strands.
    """

    score: ScoreSettings
    scoring: TrackScoring

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {**self.score.model.triggers(), **asdict(self.scoring)}


@dataclass(frozen=True, slots=True)
class MergeTracksSettings:
    """What ``merge_tracks`` needs.

    Attributes:
        tile: What ``tile`` must have made its files with.
        score: What ``score_tracks`` must have made its files with.
    """

    tile: TileSettings
    score: ScoreTracksSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"model": self.score.score.model.name}


@dataclass(frozen=True, slots=True)
class ReportTracksSettings:
    """What ``report_tracks`` needs.

    Attributes:
        track_set: Name of the track set.
        scorings: Its scorings, in the order in which the page shows them.
    """

    track_set: str
    scorings: tuple[str, ...]

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"scorings": self.scorings}


def resolve_tile(config: RunConfig, track_set: str, scoring: str) -> TileSettings:
    """The settings of ``tile``.

    Raises:
        InputError: The config has no such track set or scoring.
    """
    settings = _find_track_set(config, track_set)
    return TileSettings(
        track_set=track_set,
        regions=local_copy(settings.regions),
        reference=resolve_reference(config, settings.reference),
        scoring=resolve_score_tracks(config, scoring).scoring,
        shards=config.shards,
    )


def resolve_score_tracks(config: RunConfig, scoring: str) -> ScoreTracksSettings:
    """The settings of ``score_tracks``.

    Raises:
        InputError: The config has no such scoring.
    """
    score = resolve_score(config, scoring)
    values = asdict(score.scoring)
    return ScoreTracksSettings(
        score, TrackScoring(**{name: values[name] for name in TrackScoring.__dataclass_fields__})
    )


def resolve_merge_tracks(config: RunConfig, track_set: str, scoring: str) -> MergeTracksSettings:
    """The settings of ``merge_tracks``.

    Raises:
        InputError: The config has no such track set or scoring.
    """
    return MergeTracksSettings(
        resolve_tile(config, track_set, scoring), resolve_score_tracks(config, scoring)
    )


def resolve_report_tracks(config: RunConfig, track_set: str) -> ReportTracksSettings:
    """The settings of ``report_tracks``.

    Raises:
        InputError: The config has no such track set.
    """
    return ReportTracksSettings(track_set, tuple(_find_track_set(config, track_set).scorings))


def list_track_scorings(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Each track set with each of its scorings."""
    for name, track_set in config.track_sets.items():
        for scoring in track_set.scorings:
            yield name, scoring


def resolve_plan_tracks(config: RunConfig) -> list[MergeTracksSettings]:
    """The settings of ``plan``: each scoring of each track set."""
    return [resolve_merge_tracks(config, *names) for names in list_track_scorings(config)]


def track_targets(config: RunConfig) -> list[str]:
    """The files of all track sets, relative to the results folder."""
    files = [
        f"{name}/{scoring}/{file}"
        for name, scoring in list_track_scorings(config)
        for file in (
            TRACK_TABLE,
            TRACKS_RUN,
            *(TRACK_BIGWIGS.values() if config.track_sets[name].outputs else ()),
        )
    ]
    return files + [f"{name}/{REPORT}" for name in config.track_sets]


@dataclass(frozen=True)
class TrackInputs:
    """The inputs of the rules of track sets.

    Attributes:
        regions: File of the regions, by track set.
        reference: Files of the reference, by track set.
        reported: What the page is made from, relative to the results folder, by track set.
    """

    regions: dict[str, list[str]]
    reference: dict[str, list[str]]
    reported: dict[str, list[str]]


def track_inputs(config: RunConfig, list_files: Callable[[str], list[str]]) -> TrackInputs:
    """The files that the rules of track sets read.

    Args:
        config: The config.
        list_files: Gives the files of a reference by its name.
    """
    sets = config.track_sets
    return TrackInputs(
        regions={name: [str(one.regions)] for name, one in sets.items()},
        reference={name: list_files(one.reference) for name, one in sets.items()},
        reported={
            name: [
                f"{name}/{scoring}/{file}"
                for scoring in one.scorings
                for file in (TRACK_TABLE, TRACKS_RUN, TILES)
            ]
            for name, one in sets.items()
        },
    )


@dataclass(frozen=True)
class TrackParams:
    """The settings of the steps of track sets, as one line of JSON each.

    Attributes:
        tile: By track set and scoring.
        score_tracks: By scoring.
        merge_tracks: By track set and scoring.
        report_tracks: By track set.
    """

    tile: dict[str, dict[str, str]]
    score_tracks: dict[str, str]
    merge_tracks: dict[str, dict[str, str]]
    report_tracks: dict[str, str]


def track_params(config: RunConfig) -> TrackParams:
    """The settings of the steps of track sets that run them again if they change."""
    sets = config.track_sets
    return TrackParams(
        tile={
            name: {
                scoring: _as_params(resolve_tile(config, name, scoring).triggers())
                for scoring in one.scorings
            }
            for name, one in sets.items()
        },
        score_tracks={
            scoring: _as_params(resolve_score_tracks(config, scoring).triggers())
            for _, scoring in list_track_scorings(config)
        },
        merge_tracks={
            name: {
                scoring: _as_params(resolve_merge_tracks(config, name, scoring).triggers())
                for scoring in one.scorings
            }
            for name, one in sets.items()
        },
        report_tracks={
            name: _as_params(resolve_report_tracks(config, name).triggers()) for name in sets
        },
    )


def _as_params(triggers: dict[str, object]) -> str:
    return json.dumps(triggers, sort_keys=True)


def track_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the track sets: the key, and what is wrong."""
    used: dict[str, ScoringConfig] = {}
    for name, track_set in config.track_sets.items():
        key = f"track_sets.{name}"
        yield from unknown_name(
            f"{key}.reference", track_set.reference, "references", config.references
        )
        for i, scoring in enumerate(track_set.scorings):
            yield from unknown_name(f"{key}.scorings[{i}]", scoring, "scorings", config.scorings)
            if scoring in config.scorings:
                used[scoring] = config.scorings[scoring]
    for name, one in used.items():
        if one.min_context is not None and one.min_context >= one.window_length:
            yield (
                f"scorings.{name}.min_context",
                f"{one.min_context} is too large for tracks; a window of {one.window_length} bases "
                f"has at most {one.window_length - 1} before its last one",
            )


def _find_track_set(config: RunConfig, name: str) -> TrackSetConfig:
    for key, problem in unknown_name("--track-set", name, "track_sets", config.track_sets):
        raise InputError(f"config: {key}: {problem}")
    return config.track_sets[name]
