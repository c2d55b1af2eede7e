"""Which rule makes the scores and the read-outs of each shard, and which files they become.

Three rules run the model on the windows of alleles:

- ``score`` makes scores alone.
- ``score_readouts`` makes scores and read-outs with the same passes.
- ``add_readouts`` makes embeddings and profiles alone, of a shard whose scores ``score`` has made.

A scoring with embeddings or profiles has ``score_readouts``, unless its scores are finished: then
they stay as they are. Snakemake runs a job again if another rule has made its output, so the rule
that has made the scores of a shard remains their rule as long as the settings of the scores are the
same.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.config.resolve import resolve_readouts, resolve_score
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.config.sequences import (
    has_layers,
    list_sequence_scorings,
    resolve_embed_sequences,
    resolve_merge_sequence_embeddings,
)
from evo2_tasks.config.track_embeddings import (
    resolve_embed_tracks,
    resolve_merge_track_embeddings,
)
from evo2_tasks.config.tracks import list_track_scorings
from evo2_tasks.cost.embeddings import (
    list_layers_of,
    name_layers,
    name_sequence_layers,
    name_track_layers,
)
from evo2_tasks.errors import InputError
from evo2_tasks.layout import (
    EMBEDDINGS,
    PROFILES,
    PROFILES_RUN,
    READOUTS,
    READOUTS_RUN,
    SCORES,
    SEQUENCE_EMBEDDINGS,
    TRACK_EMBEDDINGS,
    embeddings_run_file,
    layer_file,
    shard_file,
    shard_name,
    shard_run_file,
)
from evo2_tasks.table.documents import ReadoutsRun, ShardRun

NO_NAME = "(?!)"
"""A regular expression that matches nothing; an empty one would match any name."""


@dataclass(frozen=True)
class ScoringRules:
    """For each rule, the variant sets whose scorings and shards it makes.

    Each is a regular expression of the wildcard ``variant_set``, which looks ahead to the scoring
    and the shard in the path.
    """

    score: str
    score_readouts: str
    add_readouts: str


def choose_rules(config: RunConfig, results: Path) -> ScoringRules:
    """The rule that makes each shard of each scoring.

    Args:
        config: The config.
        results: The results folder.
    """
    by_rule: dict[str, list[str]] = {"score": [], "score_readouts": []}
    for scoring in config.scorings:
        triggers = _as_json(resolve_score(config, scoring).triggers())
        for name, variant_set in config.variant_sets.items():
            if scoring not in variant_set.scorings:
                continue
            rules = [
                _rule_of(config, scoring, triggers, results / name / scoring, shard)
                for shard in range(1, config.shards + 1)
            ]
            for rule, names in by_rule.items():
                shards = [number for number, one in enumerate(rules, 1) if one == rule]
                if shards:
                    names.append(_match(name, scoring, shards, config.shards))
    score, score_readouts = ("|".join(names) or NO_NAME for names in by_rule.values())
    return ScoringRules(score=score, score_readouts=score_readouts, add_readouts=score)


def _rule_of(config: RunConfig, scoring: str, triggers: object, folder: Path, shard: int) -> str:
    """The rule that makes the scores of a shard: that of finished scores, or that of the config."""
    settings = config.scorings[scoring]
    if settings.audit is not None:
        return "score_readouts"
    scores = folder / SCORES / shard_file(shard, config.shards)
    made = None
    if shard_run_file(scores).exists():
        try:
            made = ShardRun.read(shard_run_file(scores)).statements
        except InputError:  # the step that reads the file reports it
            made = None
    if made is not None and made.settings == triggers:
        return made.step or "score"
    return "score" if settings.embeddings is None and settings.profile is None else "score_readouts"


def _match(variant_set: str, scoring: str, shards: Iterable[int], num_shards: int) -> str:
    """A regular expression of a variant set that is followed by a scoring and by some shards."""
    shards = list(shards)
    after = re.escape(f"/{scoring}/")
    if len(shards) < num_shards:
        names = "|".join(re.escape(shard_name(shard, num_shards)) for shard in shards)
        after += rf"[^/]+/(?:{names})(?![0-9])"
    return f"{re.escape(variant_set)}(?={after})"


def readout_targets(config: RunConfig, scoring: str) -> list[str]:
    """The files of the embeddings and profiles of a scoring, in its folder.

    Raises:
        InputError: The model has no such layer, or no default.
    """
    files = []
    for layer in list_layers_of(config, scoring):
        table = layer_file(layer)
        files += [table, f"{EMBEDDINGS}/{embeddings_run_file(Path(table)).name}"]
    if config.scorings[scoring].profile is not None:
        files += [PROFILES, PROFILES_RUN]
    return files


def keep_made_settings(
    config: RunConfig, results: Path, variant_set: str, scoring: str, shard: str
) -> str:
    """The settings of a job of ``score_readouts`` or ``add_readouts``, as one line of JSON.

    Read-outs that are no longer asked for start nothing: if the finished ones of the shard have all
    that is asked for, the settings are those that they were made with.

    Args:
        config: The config.
        results: The results folder.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        shard: Name of the shard.
    """
    asked = _as_json(name_layers(resolve_readouts(config, scoring)).triggers())
    run_file = results / variant_set / scoring / READOUTS / shard / READOUTS_RUN
    if run_file.exists():
        try:
            made = ReadoutsRun.read(run_file).made.settings
        except InputError:  # the step that reads the file reports it
            made = None
        if made is not None and _has_all(made, asked):
            asked = dict(made)
    return json.dumps(asked, sort_keys=True)


def _has_all(made: Mapping[str, object], asked: Mapping[str, object]) -> bool:
    """Whether read-outs have all that is asked for, with the same scores and the same audit."""
    own = ("readouts", "embeddings", "profile")
    if any(made.get(key) != asked.get(key) for key in {*made, *asked} - {*own}):
        return False
    audits = ["audit" in _list(one.get("readouts")) for one in (made, asked)]
    if audits[0] != audits[1]:
        return False
    profile, asked_profile = made.get("profile"), asked.get("profile")
    if isinstance(asked_profile, int) and not (
        isinstance(profile, int) and profile >= asked_profile
    ):
        return False
    embeddings, asked_embeddings = made.get("embeddings"), asked.get("embeddings")
    if not isinstance(asked_embeddings, dict):
        return True
    return (
        isinstance(embeddings, dict)
        and embeddings.get("tokens") == asked_embeddings["tokens"]
        and (embeddings.get("keep_strands") is True or not asked_embeddings["keep_strands"])
        and {*_list(asked_embeddings["layers"])} <= {*_list(embeddings.get("layers"))}
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _as_json(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings as they are read back from JSON."""
    values: dict[str, object] = json.loads(json.dumps(settings))
    return values


# --- sequence sets and track sets


def mean_embedding_targets(config: RunConfig) -> list[str]:
    """The files of the embeddings of all sequence and track sets, relative to the results folder.

    Raises:
        InputError: The model has no such layer, or no default.
    """
    files = []
    for name, scoring in [*list_sequence_scorings(config), *list_track_scorings(config)]:
        for layer in list_layers_of(config, scoring):
            table = layer_file(layer)
            run = f"{EMBEDDINGS}/{embeddings_run_file(Path(table)).name}"
            files += [f"{name}/{scoring}/{table}", f"{name}/{scoring}/{run}"]
    return files


def merge_sequence_embeddings_params(config: RunConfig) -> dict[str, dict[str, dict[str, str]]]:
    """The settings that run ``merge_sequence_embeddings`` again, by set, scoring and layer."""
    params: dict[str, dict[str, dict[str, str]]] = {name: {} for name in config.sequence_sets}
    for name, scoring in list_sequence_scorings(config):
        params[name][scoring] = {
            layer: json.dumps(
                resolve_merge_sequence_embeddings(config, name, scoring, layer).triggers(),
                sort_keys=True,
            )
            for layer in list_layers_of(config, scoring)
        }
    return params


def keep_embedded_settings(
    config: RunConfig, results: Path, sequence_set: str, scoring: str, shard: str
) -> str:
    """The settings of a job of ``embed_sequences``, as one line of JSON.

    Layers that are no longer asked for start nothing: if the finished file of the shard has all
    that are, the settings are those that it was made with.

    Args:
        config: The config.
        results: The results folder.
        sequence_set: Name of the sequence set.
        scoring: Name of the scoring.
        shard: Name of the shard.
    """
    settings = name_sequence_layers(resolve_embed_sequences(config, sequence_set, scoring))
    run_file = results / sequence_set / scoring / SEQUENCE_EMBEDDINGS / f"{shard}.json"
    return _keep_layers(settings.triggers(), run_file)


def merge_track_embeddings_params(config: RunConfig) -> dict[str, dict[str, dict[str, str]]]:
    """The settings that run ``merge_track_embeddings`` again, by set, scoring and layer."""
    params: dict[str, dict[str, dict[str, str]]] = {name: {} for name in config.track_sets}
    for name, scoring in list_track_scorings(config):
        params[name][scoring] = {
            layer: json.dumps(
                resolve_merge_track_embeddings(config, name, scoring, layer).triggers(),
                sort_keys=True,
            )
            for layer in list_layers_of(config, scoring)
        }
    return params


def keep_embedded_tracks_settings(
    config: RunConfig, results: Path, track_set: str, scoring: str, shard: str
) -> str:
    """The settings of a job of ``embed_tracks``; see :func:`keep_embedded_settings`."""
    settings = name_track_layers(resolve_embed_tracks(config, track_set, scoring))
    run_file = results / track_set / scoring / TRACK_EMBEDDINGS / f"{shard}.json"
    return _keep_layers(settings.triggers(), run_file)


def _keep_layers(triggers: Mapping[str, object], run_file: Path) -> str:
    """Settings of a shard as one line of JSON: those of its file if it has all asked layers."""
    asked = _as_json(triggers)
    if run_file.exists():
        try:
            made = ShardRun.read(run_file).statements
        except InputError:  # the step that reads the file reports it
            made = None
        if made is not None and has_layers(made.settings, asked):
            asked = dict(made.settings)
    return json.dumps(asked, sort_keys=True)
