"""What the Snakefile takes from a config: targets, inputs, settings and resources of the jobs.

Also how a run's messages look: without the config in them, and with the status at the end of a
failed run. Snakemake calls these functions in every job, so they are fast: arithmetic and file
sizes only. The file is long because it has the inputs, settings and resources of all rules.
"""

import json
import logging
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Protocol, cast

from evo2_tasks.config.embeddings import resolve_merge_embeddings, resolve_merge_profiles
from evo2_tasks.config.evaluation import list_profiled, resolve_evaluate, resolve_report
from evo2_tasks.config.generation_rules import (
    GenerationInputs,
    GenerationParams,
    generation_inputs,
    generation_params,
    generation_targets,
)
from evo2_tasks.config.generations import GenerateSettings, resolve_generate
from evo2_tasks.config.objects import (
    UserFiles,
    find_url,
    is_stored,
    size_of_file,
    urls_without_copy,
)
from evo2_tasks.config.resolve import (
    ModelSettings,
    ScoreSettings,
    SplitSettings,
    background_set,
    checkpoint_files,
    find_draw,
    path_of_scoring,
    resolve_annotate,
    resolve_audit,
    resolve_calibrate,
    resolve_carry,
    resolve_combine,
    resolve_fit_calibration,
    resolve_haplotypes,
    resolve_identify,
    resolve_lookup,
    resolve_merge,
    resolve_merge_audit,
    resolve_merge_haplotypes,
    resolve_model,
    resolve_readouts,
    resolve_score,
    resolve_split,
    resolve_windows,
    sets_of_calibration,
)
from evo2_tasks.config.schema import ReferenceConfig, RunConfig, dump_config
from evo2_tasks.config.sequences import (
    ScoreSequencesSettings,
    SequenceParams,
    resolve_score_sequences,
    sequence_files,
    sequence_params,
    sequence_targets,
)
from evo2_tasks.config.tracks import (
    TrackInputs,
    TrackParams,
    track_inputs,
    track_params,
    track_targets,
)
from evo2_tasks.cost.embeddings import (
    embeddings_memory,
    list_layers_of,
    name_layers,
)
from evo2_tasks.cost.generation import LAYER_SECONDS, count_work, generation_memory
from evo2_tasks.cost.memory import (
    CANARY_TOKENS,
    CPU_HEAP_FACTOR,
    PROCESS_MB,
    SEQUENCE_HEAP_FACTOR,
    DeviceMemory,
    device_memory,
    limit_batch,
    sequence_memory,
)
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.cost.rates import PUBLISHED_RATES, Rate, Rates, choose_rate
from evo2_tasks.cost.shapes import RELEASE_SHAPES, ModelShape, read_shape
from evo2_tasks.errors import InputError
from evo2_tasks.hub import known_files, parse_hub_name
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import without_controls
from evo2_tasks.layout import (
    ANNOTATIONS,
    AUDIT,
    AUDIT_RUN,
    AUDITED,
    CALIBRATED,
    CALIBRATION_FILES,
    CALIBRATIONS,
    CARRIED,
    COMBINED,
    COMBINED_FOLDER,
    COMPOUNDS,
    EXPORTS,
    GENERATIONS,
    HAPLOTYPES,
    HAPLOTYPES_RUN,
    HITS,
    INDEX_KINDS,
    INDEX_STATEMENT,
    INDEXED,
    MODELS,
    OWN_RULES,
    PAIR_COUNTS,
    PAIRS,
    PROFILES,
    PROMPT_COUNTS,
    RANDOM_SNVS,
    REPORT,
    REUSED,
    RUN,
    SCORES,
    SEQUENCE_SHARDS,
    SHARDS,
    SPLIT,
    TABLE,
    TABLES,
    TILE_COUNTS,
    TILES,
    hits_file,
    hits_run_file,
    identity_file,
    shard_run_file,
)
from evo2_tasks.probe_jobs import (
    FitCost,
    ProbeInputs,
    apply_settings,
    count_fit,
    fit_settings,
    list_fits,
    list_predictions,
    list_reported,
    place_probes,
    probe_inputs,
)
from evo2_tasks.readout_jobs import (
    NO_NAME,
    choose_rules,
    keep_embedded_settings,
    keep_embedded_tracks_settings,
    keep_made_settings,
    mean_embedding_targets,
    merge_sequence_embeddings_params,
    merge_track_embeddings_params,
    readout_targets,
)
from evo2_tasks.table.audit_choice import LEAST_AUDITED, count_audited
from evo2_tasks.table.documents import Lookup, PairCounts, ShardRun, Split, TileCounts
from evo2_tasks.table.generation_documents import PromptCounts
from evo2_tasks.table.sequence_documents import SequenceSplit

_EVALUATION_FILES = [file for file, step in TABLES.items() if step == "evaluate"]

MOST_SHARDS = 1_000

FASTA_INDICES = (".fai", ".gzi")
VARIANT_INDICES = (".csi", ".tbi")

_KEPT = "\n\t"
"""Characters that Snakemake's messages need besides the printable ones."""

# Memory of two Snakemake processes, which run in each job of a cluster in addition to the command.
SNAKEMAKE_MB = 300
CPU_STEP_MB = 1_700
CPU_STEP_MINUTES = 60
SCORE_BASE_MB = 1_000  # Python and torch with CUDA
DRIVER_MB = 3_000  # host memory that a GPU's driver takes
MEMORY_MARGIN = 1.2
# CPU time of `fit_calibration`, for ten folds and all rows, and 10,000 draws each: measured on an
# AMD EPYC with 10^4 and with 10^6 labelled rows. The allowance is for slower and busy machines.
FIT_SECONDS_PER_ROW = 0.01
FIT_ALLOWANCE = 2.0
MOST_CHECKSUM_BYTES = 1_000_000
"""Up to this size, Snakemake compares the checksum of an input; of a larger one, its time alone."""
SCORE_MINUTES = 240  # before `split` has counted the alleles
LEAST_SCORE_MINUTES = 30  # to load a large model from a slow file system
# How many times slower than the device of the rate table a device may be: an A100 without FP8
# compared with a GH200, an old node with a new one.
SLOWER = 6.0


class Wildcards(Protocol):
    """The wildcards of a job, as Snakemake passes them to a resource function."""

    variant_set: str
    sequence_set: str
    track_set: str
    generation: str
    scoring: str
    scatteritem: str
    calibration: str
    probe: str
    layer: str


class Inputs(Protocol):
    """The input files of a job, as Snakemake passes them to a resource function."""

    def get(self, name: str) -> Sequence[str] | None:
        """The files of a named input; None if the rule has no such input."""


def warnings(config: RunConfig) -> list[str]:
    """Settings that are valid and probably a mistake, one line each."""
    lines = []
    if config.shards > MOST_SHARDS:
        lines.append(
            f"shards is {config.shards:,}: with more than about {MOST_SHARDS:,}, Snakemake takes "
            "minutes to plan the jobs, and each job loads the model again. `evo2-tasks plan` "
            "suggests a number."
        )
    used = {name for one in config.variant_sets.values() for name in one.calibrations}
    lines += [
        f"calibrations.{name}: no variant set names it, so it is not made. Add "
        f"`calibrations: [{name}]` to a variant set."
        for name in config.calibrations
        if name not in used
    ]
    store = config.run.store
    if store is not None and not store.exists():
        made = (
            "It is made when the first scores are added."
            if config.run.store_write
            else "`store_write: false` does not make it, so no score is reused."
        )
        lines.append(f"run.store: {store} does not exist. {made}")
    return lines


def targets(config: RunConfig) -> list[str]:
    """The files of a complete run, relative to the results folder."""
    files = []
    layers = find_layers(config)
    for name, variant_set in config.variant_sets.items():
        for scoring in variant_set.scorings:
            exports = [EXPORTS[export] for export in variant_set.exports]
            for export in variant_set.exports:
                if export in INDEXED:
                    folder = config.output / name / scoring
                    exports += _index_files(folder, EXPORTS[export])
            made = [TABLE, *_extra_files(config, name, scoring), *exports]
            made += [*_haplotype_files(config, name), *readout_targets(config, scoring)]
            files += [f"{name}/{scoring}/{file}" for file in made]
            files += list_predictions(config, layers, name, scoring)
        files += _combined_files(config, name)
        files.append(f"{name}/{REPORT}")
    files += sequence_targets(config) + mean_embedding_targets(config) + track_targets(config)
    return files + generation_targets(config)


def _extra_files(config: RunConfig, variant_set: str, scoring: str) -> list[str]:
    """The files next to a table that only some scorings and variant sets have."""
    settings = config.variant_sets[variant_set]
    return [
        *_audit_files(config, scoring),
        *([CALIBRATED] if settings.calibrations else []),
        *(_EVALUATION_FILES if settings.labels else []),
    ]


def _haplotype_files(config: RunConfig, variant_set: str) -> list[str]:
    """The files about haplotypes next to each table of a variant set, if it asks for them."""
    if config.variant_sets[variant_set].haplotypes is None:
        return []
    return [HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN]


def _drawn_bases(config: RunConfig, variant_set: str) -> list[str]:
    """Files of the reference whose bases the report draws."""
    settings = config.variant_sets[variant_set]
    if settings.haplotypes is None and not list_profiled(config, variant_set):
        return []
    return _reference_files(config.references[settings.reference])


def _combined_files(config: RunConfig, variant_set: str) -> list[str]:
    """The tables with several scorings of a variant set, and their evaluation."""
    files = [COMBINED, *(_EVALUATION_FILES if config.variant_sets[variant_set].labels else [])]
    return [
        f"{variant_set}/{COMBINED_FOLDER}/{name}/{file}"
        for name, one in config.combine.items()
        if one.variant_set == variant_set
        for file in files
    ]


def _audit_files(config: RunConfig, scoring: str) -> list[str]:
    """The table of the audit of a scoring and the JSON file next to it, if it has an audit."""
    return [AUDIT, AUDIT_RUN] if config.scorings[scoring].audit is not None else []


def _index_files(folder: Path, export: str) -> list[str]:
    """The file that states the index of an export; and the index, if it is stated and is lost."""
    statement = f"{export}.{INDEX_STATEMENT}"
    try:
        index = (folder / statement).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return [statement]
    is_known = index in [f"{export}.{kind}" for kind in INDEX_KINDS]
    is_lost = is_known and (folder / export).exists() and not (folder / index).exists()
    return [statement, index] if is_lost else [statement]


def any_of(names: Iterable[str]) -> str:
    """A regular expression that matches these names only, to constrain a wildcard."""
    return "|".join(re.escape(name) for name in names) or NO_NAME


def export_formats() -> dict[str, str]:
    """The format of each file that the rule ``export`` writes, by file name."""
    return {file: name for name, file in EXPORTS.items() if name not in OWN_RULES}


@dataclass(frozen=True)
class CalibrationInputs:
    """The inputs of the rules that make and use calibrations."""

    fitted: list[str]
    """Calibrations that ``fit_calibration`` makes; the others are files of earlier runs."""
    with_background: dict[str, bool]
    """Whether a calibration has a background, by calibration."""
    with_labels: dict[str, bool]
    """Whether a calibration has labels, by calibration."""
    background: dict[str, dict[str, list[str]]]
    """Table of the background, relative to the results folder, by calibration and scoring; empty
    without a background, or if it is a file of an earlier run."""
    background_file: dict[str, dict[str, list[str]]]
    """Table of the background that is a file of an earlier run, in the same way."""
    labelled: dict[str, dict[str, list[str]]]
    """Table with the labels, relative to the results folder, in the same way."""
    bases: dict[str, list[str]]
    """Files of the reference, by calibration; empty if it is not needed."""
    used: dict[str, dict[str, list[str]]]
    """Files of the calibrations of this run, relative to the results folder, by variant set and
    scoring."""
    used_files: dict[str, dict[str, list[str]]]
    """Files of the calibrations of earlier runs, in the same way."""
    calibrated: dict[str, dict[str, list[str]]]
    """Table that ``calibrate`` writes, relative to the results folder, by variant set and scoring;
    empty without calibrations."""


@dataclass(frozen=True)
class StepInputs:
    """The inputs of rules that depend on the config. If one gets newer, its step runs again."""

    variants: dict[str, list[str]]
    """File of variants, by variant set; empty for a set with ``random_snvs``."""
    genotypes: dict[str, list[str]]
    """File with the haplotype in whose genome changes are made, by variant set; empty for a set
    without ``haplotype_of``."""
    drawn: dict[str, list[str]]
    """File of variants that ``draw`` writes, relative to the results folder, by variant set; empty
    for a set that has a file of variants."""
    drawn_regions: dict[str, list[str]]
    """File of the regions that ``draw`` draws from, by variant set; empty if there is none."""
    reference: dict[str, list[str]]
    """Files of the reference, by variant set."""
    gff: dict[str, list[str]]
    """Genes of the reference, by variant set; empty if it has none."""
    codons: dict[str, list[str]]
    """Genes of the reference, by variant set; empty unless codons decide which alleles of its
    haplotypes are scored together."""
    joint: dict[str, list[str]]
    """Genes and files of the reference, by variant set, for the joint consequences of alleles of a
    haplotype; empty unless the set has ``haplotypes`` and its reference genes."""
    checkpoint: dict[str, list[str]]
    """Files of the checkpoint, by scoring; empty for a model on a hub."""
    identified: dict[str, list[str]]
    """Files of the checkpoint, by model; empty for a model on a hub."""
    identified_on_hub: dict[str, list[str]]
    """File that ``fetch`` writes about a model on a hub, relative to the results folder, by model;
    empty for any other model."""
    identity: dict[str, list[str]]
    """File that ``identify`` writes, relative to the results folder, by scoring."""
    hub_files: dict[str, list[str]]
    """File that ``fetch`` writes about a model on a hub, relative to the results folder, by
    scoring; empty for any other model."""
    hub: dict[str, str]
    """Name of each model on a hub, by model."""
    models: list[str]
    """All models."""
    reused: list[str]
    """Table that ``merge`` writes in addition; empty without a store."""
    joined: dict[str, list[str]]
    """Files that ``annotate`` and ``carry`` write and ``merge`` joins, relative to the results
    folder, by variant set. Each is there only if it has columns; else there is no such job."""
    layers: list[str]
    """Published names of the layers of all embeddings."""
    audited: dict[str, dict[str, list[str]]]
    """Folder that ``audit`` writes, relative to the results folder, by variant set and scoring;
    empty without an audit."""
    audit: dict[str, dict[str, list[str]]]
    """Files that ``merge_audit`` writes, in the same way."""
    calibrations: CalibrationInputs
    """Inputs of the rules about calibrations."""
    probes: ProbeInputs
    """Inputs of the rules about probes."""
    combined: dict[str, dict[str, list[str]]]
    """Tables that ``combine`` reads, relative to the results folder, by variant set and
    combination."""
    report: dict[str, list[str]]
    """Files that the report is made from, relative to the results folder, by variant set."""
    report_files: dict[str, list[str]]
    """Files of earlier runs that the report is made from, by variant set."""
    drawn_bases: dict[str, list[str]]
    """Files of the reference whose bases the report draws, by variant set; empty without
    haplotypes and profiles."""
    tracks: TrackInputs
    """Inputs of the rules about track sets."""
    stored: dict[str, list[str]]
    """Files of a storage plugin that ``merge`` reads, by variant set: the genes, and the reference
    of a table that is sorted by position. Files of a file system are not listed, because their
    tables of ``annotate`` and ``split`` are inputs."""
    sequences: dict[str, list[str]]
    """FASTA, by sequence set."""
    generations: GenerationInputs
    """Inputs of the rules about generations."""


def step_inputs(config: RunConfig) -> StepInputs:
    """The files that a step reads and that its rule cannot name by wildcards."""
    sets, layers = config.variant_sets, find_layers(config)
    hub = {
        name: str(model.checkpoint)
        for name, model in config.models.items()
        if parse_hub_name(model.checkpoint) is not None
    }
    return StepInputs(
        variants={
            name: [] if variant_set.variants is None else [str(variant_set.variants)]
            for name, variant_set in sets.items()
        },
        genotypes={
            name: [] if of is None else [str(of.variants)]
            for name, variant_set in sets.items()
            for of in [variant_set.haplotype_of]
        },
        drawn={
            name: [] if variant_set.random_snvs is None else [f"{name}/{RANDOM_SNVS}"]
            for name, variant_set in sets.items()
        },
        drawn_regions={
            name: [] if drawn is None or drawn.regions is None else [str(drawn.regions)]
            for name, variant_set in sets.items()
            for drawn in [variant_set.random_snvs]
        },
        reference={
            name: _reference_files(config.references[variant_set.reference])
            for name, variant_set in sets.items()
        },
        checkpoint={
            name: [] if scoring.model in hub else list(map(str, checkpoint_files(model)))
            for name, scoring in config.scorings.items()
            for model in [resolve_score(config, name).model]
        },
        hub_files={
            name: [f"{MODELS}/{scoring.model}.json"] if scoring.model in hub else []
            for name, scoring in config.scorings.items()
        },
        identified={
            name: [] if name in hub else list(map(str, checkpoint_files(resolved)))
            for name, model in config.models.items()
            for resolved in [resolve_model(f"models.{name}", name, model)]
        },
        identified_on_hub={
            name: [f"{MODELS}/{name}.json"] if name in hub else [] for name in config.models
        },
        identity={
            name: [identity_file(scoring.model)] for name, scoring in config.scorings.items()
        },
        hub=hub,
        models=[*config.models],
        reused=[] if config.run.store is None else [REUSED],
        gff={
            name: [] if gff is None else [str(gff)]
            for name, variant_set in sets.items()
            for gff in [config.references[variant_set.reference].gff]
        },
        codons={
            name: [str(gff)] if gff is not None and by == "codon" else []
            for name, variant_set in sets.items()
            for gff in [config.references[variant_set.reference].gff]
            for by in [variant_set.haplotypes and variant_set.haplotypes.by]
        },
        joint={
            name: [str(reference.gff), *_reference_files(reference)]
            if variant_set.haplotypes is not None and reference.gff is not None
            else []
            for name, variant_set in sets.items()
            for reference in [config.references[variant_set.reference]]
        },
        joined={name: _joined_files(config, name) for name in sets},
        layers=[
            *dict.fromkeys(
                layer for name in config.scorings for layer in list_layers_of(config, name)
            )
        ],
        audited=_of_audits(config, AUDITED),
        audit=_of_audits(config, AUDIT, AUDIT_RUN),
        calibrations=_calibration_inputs(config),
        probes=probe_inputs(config, layers),
        combined={
            name: {
                combination: [f"{name}/{scoring}/{TABLE}" for scoring in one.scorings]
                for combination, one in config.combine.items()
                if one.variant_set == name
            }
            for name in sets
        },
        report={
            name: [
                f"{name}/{scoring}/{file}"
                for scoring in variant_set.scorings
                for file in [
                    TABLE,
                    RUN,
                    *_extra_files(config, name, scoring),
                    *_haplotype_files(config, name),
                ]
            ]
            + [
                file
                for scoring in variant_set.scorings
                for file in _own_calibrations(config, name, scoring)
            ]
            + _combined_files(config, name)
            + [
                file
                for scoring in variant_set.scorings
                for file in list_reported(config, layers, name, scoring)
            ]
            + [f"{name}/{scoring}/{PROFILES}" for scoring in list_profiled(config, name)]
            for name, variant_set in sets.items()
        },
        tracks=track_inputs(config, lambda name: _reference_files(config.references[name])),
        stored={name: [] for name in sets},
        report_files={
            name: [
                file
                for scoring in variant_set.scorings
                for file in _other_calibrations(config, name, scoring)
            ]
            for name, variant_set in sets.items()
        },
        drawn_bases={name: _drawn_bases(config, name) for name in sets},
        sequences=sequence_files(config),
        generations=generation_inputs(
            config, lambda name: _reference_files(config.references[name])
        ),
    )


def place_inputs(config: RunConfig, files: UserFiles) -> StepInputs:
    """The inputs of the rules, with the files of the user as Snakemake reads or copies them.

    Raises:
        InputError: A file that the config names by URL does not exist or cannot be read.
    """
    found = step_inputs(config)

    def place(paths: list[str]) -> list[str]:
        return [files.place(Path(path)) for path in paths]

    def place_each(by_name: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: place(paths) for name, paths in by_name.items()}

    def place_references(by_name: dict[str, list[str]]) -> dict[str, list[str]]:
        indices = {
            name: files.place_beside(Path(paths[0]), FASTA_INDICES) if paths else []
            for name, paths in by_name.items()
        }
        return {name: [*place(paths), *indices[name]] for name, paths in by_name.items()}

    variants = place_each(found.variants)
    for name, variant_set in config.variant_sets.items():
        if variant_set.variants is not None and variant_set.regions is not None:
            variants[name] += files.place_beside(variant_set.variants, VARIANT_INDICES)
    calibrations = found.calibrations
    references = place_references(found.reference)
    genes = place_each(found.gff)
    stored = {
        name: [*genes[name], *(references[name] if variant_set.sort_by_position else [])]
        for name, variant_set in config.variant_sets.items()
    }
    placed = replace(
        found,
        stored={
            name: [path for path in paths if is_stored(path)] for name, paths in stored.items()
        },
        variants=variants,
        genotypes=place_each(found.genotypes),
        drawn_regions=place_each(found.drawn_regions),
        reference=references,
        gff=genes,
        codons=place_each(found.codons),
        joint={
            name: [*genes[name], *references[name]] if paths else []
            for name, paths in found.joint.items()
        },
        checkpoint=place_each(found.checkpoint),
        identified=place_each(found.identified),
        report_files=place_each(found.report_files),
        drawn_bases=place_references(found.drawn_bases),
        sequences=place_each(found.sequences),
        tracks=replace(
            found.tracks,
            regions=place_each(found.tracks.regions),
            reference=place_references(found.tracks.reference),
        ),
        generations=replace(
            found.generations,
            prompts=place_each(found.generations.prompts),
            reference=place_references(found.generations.reference),
            checkpoint=place_each(found.generations.checkpoint),
            functions=place_each(found.generations.functions),
            compare_with=place_references(found.generations.compare_with),
        ),
        calibrations=replace(
            calibrations,
            bases=place_references(calibrations.bases),
            background_file={
                name: place_each(one) for name, one in calibrations.background_file.items()
            },
            used_files={name: place_each(one) for name, one in calibrations.used_files.items()},
        ),
        probes=replace(
            found.probes,
            trained_file=place_probes(found.probes.trained_file, place),
            weights_file=place_probes(found.probes.weights_file, place),
        ),
    )
    # A folder of a file system is an input file by file, and the command reads the folder.
    checkpoints = [resolve_score(config, name).model for name in config.scorings]
    checkpoints += [
        model for name in config.generations for model in resolve_generate(config, name).models
    ]
    files.publish(
        {
            str(model.checkpoint): str(checkpoint_files(model)[0])
            for model in checkpoints
            if model.checkpoint.is_dir() and checkpoint_files(model)
        }
    )
    return placed


def require_objects(config: RunConfig, files: UserFiles) -> None:
    """Make sure, before the first job, that the files that the config names by URL exist.

    Raises:
        InputError: One does not exist or cannot be read.
    """
    for key, url in urls_without_copy(config.model_dump()):
        try:
            exists = files.exists(Path(url))
        except InputError as error:
            raise InputError(f"{key}: {error}") from error
        if not exists:
            raise InputError(f"{key}: {url} does not exist, or there is no such bucket")


def _calibration_inputs(config: RunConfig) -> CalibrationInputs:
    fitted = [name for name, one in config.calibrations.items() if one.file is None]
    return CalibrationInputs(
        fitted=fitted,
        with_background={name: config.calibrations[name].background is not None for name in fitted},
        with_labels={name: config.calibrations[name].set is not None for name in fitted},
        background=_by_calibration(config, fitted, _own_background),
        background_file=_by_calibration(config, fitted, _other_background),
        labelled=_by_calibration(config, fitted, _labelled),
        bases={name: _bases_of(config, name) for name in fitted},
        used=_by_scoring(config, _own_calibrations),
        used_files=_by_scoring(config, _other_calibrations),
        calibrated=_by_scoring(config, _calibrated),
    )


def _by_calibration(
    config: RunConfig, fitted: list[str], list_files: Callable[[RunConfig, str, str], list[str]]
) -> dict[str, dict[str, list[str]]]:
    """Files by calibration and scoring."""
    return {
        name: {scoring: list_files(config, name, scoring) for scoring in config.scorings}
        for name in fitted
    }


def _own_background(config: RunConfig, calibration: str, scoring: str) -> list[str]:
    """The table of a background of this run."""
    background = background_set(config, calibration)
    return [] if background is None else [f"{background}/{scoring}/{TABLE}"]


def _other_background(config: RunConfig, calibration: str, scoring: str) -> list[str]:
    """The table of a background of an earlier run."""
    background = config.calibrations[calibration].background
    if background is None or background_set(config, calibration) is not None:
        return []
    return [str(path_of_scoring(background, scoring))]


def _labelled(config: RunConfig, calibration: str, scoring: str) -> list[str]:
    """The table with the labels of a calibration."""
    labelled = config.calibrations[calibration].set
    return [] if labelled is None else [f"{labelled}/{scoring}/{TABLE}"]


def _bases_of(config: RunConfig, calibration: str) -> list[str]:
    """Files of the reference that a calibration needs."""
    used = sets_of_calibration(config, calibration)
    if not used or resolve_fit_calibration(config, calibration).reference is None:
        return []
    return _reference_files(config.references[config.variant_sets[used[0]].reference])


def _by_scoring(
    config: RunConfig, list_files: Callable[[RunConfig, str, str], list[str]]
) -> dict[str, dict[str, list[str]]]:
    """Files by variant set and scoring."""
    return {
        name: {scoring: list_files(config, name, scoring) for scoring in variant_set.scorings}
        for name, variant_set in config.variant_sets.items()
    }


def _calibrated(config: RunConfig, variant_set: str, scoring: str) -> list[str]:
    """The table of ``calibrate``, if the set has calibrations."""
    has_any = config.variant_sets[variant_set].calibrations
    return [f"{variant_set}/{scoring}/{CALIBRATED}"] if has_any else []


def _own_calibrations(config: RunConfig, variant_set: str, scoring: str) -> list[str]:
    """Files of the calibrations of this run, relative to the results folder."""
    return _calibration_files(config, variant_set, scoring, Path(CALIBRATIONS), own=True)


def _other_calibrations(config: RunConfig, variant_set: str, scoring: str) -> list[str]:
    """Files of the calibrations of earlier runs."""
    return _calibration_files(config, variant_set, scoring, Path(), own=False)


def _calibration_files(
    config: RunConfig, variant_set: str, scoring: str, folder: Path, *, own: bool
) -> list[str]:
    if not config.variant_sets[variant_set].calibrations:
        return []
    return [
        str(one.find(folder).with_name(file))
        for one in resolve_calibrate(config, variant_set, scoring).calibrations
        if (one.file is None) is own
        for file in CALIBRATION_FILES
    ]


def _joined_files(config: RunConfig, variant_set: str) -> list[str]:
    files = {
        ANNOTATIONS: resolve_annotate(config, variant_set).columns,
        CARRIED: resolve_carry(config, variant_set).carried,
    }
    return [f"{variant_set}/{file}" for file, columns in files.items() if columns]


def _of_audits(config: RunConfig, *files: str) -> dict[str, dict[str, list[str]]]:
    """Files or folders of each scoring with an audit, by variant set and scoring."""
    return {
        name: {
            scoring: [f"{name}/{scoring}/{file}" for file in files if _audit_files(config, scoring)]
            for scoring in variant_set.scorings
        }
        for name, variant_set in config.variant_sets.items()
    }


def _reference_files(reference: ReferenceConfig) -> list[str]:
    files = [reference.fasta, reference.assembly_report]
    return [str(file) for file in files if file is not None]


def require_gpus(
    config: RunConfig,
    scorings: Iterable[str],
    dev: Path = Path("/dev"),
    *,
    generations: Iterable[str] = (),
) -> None:
    """Make sure, before the first job, that this machine has the GPUs of the jobs that run on it.

    Only what is certain is refused: a GPU whose driver cannot be used is reported by the job.

    Args:
        config: The config.
        scorings: Scorings with a job that is about to run on this machine.
        dev: The folder of device files.
        generations: Generations with such a job.

    Raises:
        InputError: There are fewer GPUs than a model needs.
    """
    found = _count_gpus(dev)
    models = [resolve_score(config, name).model for name in sorted(set(scorings))]
    needed = [(model, model.gpus) for model in models]
    for name in sorted(set(generations)):
        settings = resolve_generate(config, name)
        needed.append((settings.model, settings.gpus))
    for model, gpus in needed:
        if found is not None and gpus > found:
            raise InputError(
                f"{model.where}.gpus: {gpus} required, but this machine has "
                f"{found or 'none'}. Set gpus: 0 to run on the CPU, or run on a cluster with "
                "`--profile workflow/profiles/slurm`."
            )


def _count_gpus(dev: Path) -> int | None:
    """GPUs that a process on this machine can use at most; None if that is not known."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [one.strip() for one in visible.split(",")]
        # CUDA ignores what follows the first entry that is not a device.
        return next(
            (i for i, one in enumerate(named) if one in ("", "-1", "NoDevFiles")), len(named)
        )
    if not sys.platform.startswith("linux"):
        return None
    nvidia = [path for path in dev.glob("nvidia*") if path.name[len("nvidia") :].isdigit()]
    others = ("dxg", "kfd", "nvgpu", "nvhost*", "nvmap", "dri/render*", "accel*")
    if not nvidia and any(any(dev.glob(name)) for name in others):
        return None
    return len(nvidia)


class Slice(Protocol):
    """The settings of a step, from `config/resolve.py`."""

    def triggers(self) -> dict[str, object]:
        """The settings that run the step again if they change."""


@dataclass(frozen=True)
class StepSettings:
    """The settings that the output of each step depends on, as one line of JSON.

    The rules have them as ``params``, so that Snakemake runs a finished job again exactly if its
    own part of the config has changed.
    """

    identify: dict[str, str]
    """By model."""
    draw: dict[str, str]
    """By variant set, of sets with ``random_snvs``."""
    split: dict[str, str]
    """By variant set."""
    carry: dict[str, str]
    """By variant set."""
    annotate: dict[str, str]
    """By variant set."""
    windows: dict[str, dict[str, str]]
    """By variant set and scoring."""
    lookup: dict[str, dict[str, str]]
    """By variant set and scoring."""
    score: dict[str, str]
    """By scoring."""
    audit: dict[str, dict[str, str]]
    """By variant set and scoring, of scorings with an audit."""
    merge_audit: dict[str, dict[str, str]]
    """By variant set and scoring, of scorings with an audit."""
    merge_embeddings: dict[str, dict[str, str]]
    """By scoring and layer, of scorings with embeddings."""
    merge_profiles: dict[str, str]
    """By scoring, of scorings with profiles."""
    haplotypes: dict[str, dict[str, str]]
    """By variant set and scoring, of sets with ``haplotypes``."""
    merge_haplotypes: dict[str, dict[str, str]]
    """In the same way."""
    merge: dict[str, dict[str, str]]
    """By variant set and scoring."""
    fit_calibration: dict[str, str]
    """By calibration."""
    calibrate: dict[str, dict[str, str]]
    """By variant set and scoring, of sets with calibrations."""
    fit_probe: dict[str, dict[str, dict[str, dict[str, str]]]]
    """By variant set, scoring, probe and folder of the layer."""
    apply_probe: dict[str, dict[str, dict[str, str]]]
    """By variant set, scoring and probe."""
    combine: dict[str, dict[str, str]]
    """By variant set and combination."""
    evaluate: dict[str, str]
    """By variant set."""
    evaluate_combined: dict[str, str]
    """By variant set."""
    report: dict[str, str]
    """By variant set."""
    sequences: SequenceParams
    """Of the steps of sequence sets."""
    merge_sequence_embeddings: dict[str, dict[str, dict[str, str]]]
    """By sequence set, scoring and layer, of scorings with embeddings."""
    merge_track_embeddings: dict[str, dict[str, dict[str, str]]]
    """By track set, scoring and layer, of scorings with embeddings."""
    tracks: TrackParams
    """Of the steps of track sets."""
    generations: GenerationParams
    """Of the steps of generations."""


def step_settings(config: RunConfig) -> StepSettings:
    """The settings of each step that run it again if they change."""
    sets, layers = config.variant_sets, find_layers(config)
    set_of = {scoring: name for name, one in sets.items() for scoring in one.scorings}
    return StepSettings(
        identify={name: _as_params(resolve_identify(config, name)) for name in config.models},
        draw={
            name: _as_params(drawn)
            for name in sets
            if (drawn := find_draw(config, name)) is not None
        },
        split={name: _as_params(resolve_split(config, name)) for name in sets},
        carry={name: _as_params(resolve_carry(config, name)) for name in sets},
        annotate={name: _as_params(resolve_annotate(config, name)) for name in sets},
        windows={
            name: {
                scoring: _as_params(resolve_windows(config, name, scoring))
                for scoring in variant_set.scorings
            }
            for name, variant_set in sets.items()
        },
        lookup={
            name: {
                scoring: _as_params(resolve_lookup(config, name, scoring))
                for scoring in variant_set.scorings
            }
            for name, variant_set in sets.items()
        },
        score={name: _as_params(resolve_score(config, name)) for name in config.scorings},
        audit={
            name: {
                scoring: _as_params(resolve_audit(config, name, scoring))
                for scoring in variant_set.scorings
                if _audit_files(config, scoring)
            }
            for name, variant_set in sets.items()
        },
        merge_audit={
            name: {
                scoring: _as_params(resolve_merge_audit(config, name, scoring))
                for scoring in variant_set.scorings
                if _audit_files(config, scoring)
            }
            for name, variant_set in sets.items()
        },
        merge_embeddings={
            name: {
                layer: _as_params(resolve_merge_embeddings(config, set_of[name], name, layer))
                for layer in list_layers_of(config, name)
            }
            for name in set_of
        },
        merge_profiles={
            name: _as_params(resolve_merge_profiles(config, set_of[name], name))
            for name in set_of
            if config.scorings[name].profile is not None
        },
        haplotypes=_of_haplotypes(config, resolve_haplotypes),
        merge_haplotypes=_of_haplotypes(config, resolve_merge_haplotypes),
        merge={
            name: {
                scoring: _as_params(resolve_merge(config, name, scoring))
                for scoring in variant_set.scorings
            }
            for name, variant_set in sets.items()
        },
        fit_calibration={
            name: _as_params(resolve_fit_calibration(config, name))
            for name, one in config.calibrations.items()
            if one.file is None and sets_of_calibration(config, name)
        },
        calibrate={
            name: {
                scoring: _as_params(resolve_calibrate(config, name, scoring))
                for scoring in variant_set.scorings
                if variant_set.calibrations
            }
            for name, variant_set in sets.items()
        },
        fit_probe=fit_settings(config, layers),
        apply_probe=apply_settings(config, layers),
        combine={
            name: {
                combination: _as_params(resolve_combine(config, combination))
                for combination, one in config.combine.items()
                if one.variant_set == name
            }
            for name in sets
        },
        evaluate={name: _as_params(resolve_evaluate(config, name, layers)) for name in sets},
        evaluate_combined={
            name: _as_params(resolve_evaluate(config, name, layers).of_combined()) for name in sets
        },
        report={name: _as_params(resolve_report(config, name, layers)) for name in sets},
        sequences=sequence_params(config),
        merge_sequence_embeddings=merge_sequence_embeddings_params(config),
        merge_track_embeddings=merge_track_embeddings_params(config),
        tracks=track_params(config),
        generations=generation_params(config),
    )


def _of_haplotypes(
    config: RunConfig, resolve: Callable[[RunConfig, str, str], Slice]
) -> dict[str, dict[str, str]]:
    """The settings of a step about haplotypes, by variant set and scoring."""
    return {
        name: {
            scoring: _as_params(resolve(config, name, scoring)) for scoring in variant_set.scorings
        }
        for name, variant_set in config.variant_sets.items()
        if variant_set.haplotypes is not None
    }


def _as_params(settings: Slice) -> str:
    return json.dumps(settings.triggers(), sort_keys=True)


class Jobs:
    """The config and the resources of the jobs of a run.

    Snakemake calls the methods for the ``input``, ``params`` and ``resources`` of a job. Memory and
    time grow with each attempt.

    Args:
        config: The config.
        results: The results folder, if it is not the ``output`` of the config.
        size: Gives the bytes of a file, 0 if it does not exist.

    Attributes:
        made_by: The variant sets, with scorings and shards, of the rules that score alleles.
    """

    def __init__(
        self,
        config: RunConfig,
        results: Path | None = None,
        size: Callable[[Path], int] = size_of_file,
    ) -> None:
        self._config = dump_config(config)
        self._output = results or config.output
        self._num_shards = config.shards
        self._has_store = config.run.store is not None
        self._allow_mixed_devices = config.run.allow_mixed_devices
        scorings = {name: resolve_score(config, name) for name in config.scorings}
        self._gpus = {name: settings.model.gpus for name, settings in scorings.items()}
        self._scorings = scorings
        self._size = size
        self._audits = {name: one.audit for name, one in config.scorings.items()}
        self._run_config = config
        self.made_by = choose_rules(config, self._output)
        self._readouts = {
            name: name_layers(resolve_readouts(config, name)) for name in config.scorings
        }
        self._score_mb: dict[tuple[str, float | None], int] = {}
        self._seconds = {name: _seconds_per_allele(one) for name, one in scorings.items()}
        self._labelled = {name: one.set for name, one in config.calibrations.items()}
        self._fits = list_fits(config)
        self._alleles: dict[str, float] = {}
        self._splits = {name: resolve_split(config, name) for name in config.variant_sets}
        self._changed_sets: dict[str, bool] = {}
        self._sequences = {
            (name, scoring): resolve_score_sequences(config, name, scoring)
            for name, one in config.sequence_sets.items()
            for scoring in one.scorings
        }
        self._generations = {name: resolve_generate(config, name) for name in config.generations}

    def config(self, wildcards: Wildcards, input: object) -> str:  # noqa: A002 - Snakemake's name
        """The config that a command reads on standard input.

        The argument ``input`` makes Snakemake treat this parameter as derived from the inputs and
        not compare it, so a change under ``run:`` or in another variant set runs no finished job
        again.
        """
        return self._config

    def readouts(self, wildcards: Wildcards) -> str:
        """The settings of a job that makes read-outs, which run it again if they change."""
        return keep_made_settings(
            self._run_config,
            self._output,
            wildcards.variant_set,
            wildcards.scoring,
            wildcards.scatteritem,
        )

    def hits(self, wildcards: Wildcards) -> list[str]:
        """The files of ``lookup`` by which a scoring job may do without its model.

        They are relative to the results folder, the hits first.
        """
        return self._list_hits(wildcards) if self._can_do_without_model(wildcards) else []

    def compared_hits(self, wildcards: Wildcards) -> list[str]:
        """The files of ``lookup`` of a scoring job that opens its model in any case.

        The model makes read-outs, or its device has to be compared with that of the hits. Snakemake
        compares the files of all inputs together, so a file may change from one of these two inputs
        to the other.
        """
        return [] if self._can_do_without_model(wildcards) else self._list_hits(wildcards)

    def _can_do_without_model(self, wildcards: Wildcards) -> bool:
        has_readouts = bool(self._readouts[wildcards.scoring].readouts)
        return not has_readouts and self._allow_mixed_devices

    def _will_run_again(self, wildcards: Wildcards, done: ShardRun) -> bool:
        """Whether a finished scoring job is certain to run again, so that it may get other inputs.

        Its settings have changed, or its variants. If this is not certain, the job keeps its
        inputs, and is scored without the store if it runs all the same.
        """
        settings = self._scorings[wildcards.scoring].triggers()
        if done.statements is not None and not _is_same(done.statements.settings, settings):
            return True
        name = wildcards.variant_set
        if name not in self._changed_sets:
            file = self._output / name / SHARDS / SPLIT
            self._changed_sets[name] = _has_changed(file, self._splits[name])
        return self._changed_sets[name]

    def _list_hits(self, wildcards: Wildcards) -> list[str]:
        """The files of ``lookup`` that a scoring job reads, relative to the results folder.

        A finished job keeps the inputs that it had, because Snakemake runs a job again if the set
        of its inputs changes: a store that is added to a finished run, or removed from it, starts
        nothing. Any other job reads hits if the config has a store.
        """
        folder = f"{wildcards.variant_set}/{wildcards.scoring}"
        scores = self._output / folder / SCORES / f"{wildcards.scatteritem}.parquet"
        has_hits = self._has_store
        if shard_run_file(scores).exists():
            try:
                done = ShardRun.read(shard_run_file(scores))
                if not (self._has_store and self._will_run_again(wildcards, done)):
                    has_hits = done.reused is not None
            except InputError:  # the step that reads the file reports it
                has_hits = hits_run_file(hits_file(scores)).exists()
        hits = Path(folder) / HITS / scores.name
        return [str(hits), str(hits_run_file(hits))] if has_hits else []

    def gpu(self, wildcards: Wildcards, input: Inputs) -> int | None:  # noqa: A002
        """GPUs of a scoring job. None leaves the resource out; 0 would be a request for no GPU."""
        if not needs_model(input):
            return None
        return self._gpus[wildcards.scoring] or None

    def score_mem_mb(self, wildcards: Wildcards, input: Inputs, attempt: int) -> int:  # noqa: A002
        """Host memory of a scoring job, MB, for the alleles of a shard if they are counted."""
        if not needs_model(input):
            return self.mem_mb(wildcards, attempt)
        key = (wildcards.scoring, self._shard_alleles(wildcards.variant_set))
        if key not in self._score_mb:
            settings = self._scorings[wildcards.scoring]
            self._score_mb[key] = _score_mb(settings, key[1], self._size)
            if self._audits[wildcards.scoring] is not None:
                whole_mb = _score_mb(settings.without_horizon(), key[1], self._size)
                self._score_mb[key] = max(self._score_mb[key], whole_mb)
            self._score_mb[key] += math.ceil(
                embeddings_memory(self._readouts[wildcards.scoring], key[1]) / 10**6
            )
        return self._score_mb[key] * attempt

    def pairs_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Host memory of a job of ``score_haplotypes``, MB."""
        settings = self._scorings[wildcards.scoring]
        return _score_mb(settings, self._shard_pairs(wildcards), self._size) * attempt

    def pairs_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``score_haplotypes``, minutes, from its pairs if counted."""
        pairs = self._shard_pairs(wildcards)
        if pairs is None:
            return SCORE_MINUTES * attempt
        return self._runtime(wildcards.scoring, pairs) * attempt

    def tracks_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Host memory of a job of ``score_tracks``, MB."""
        counts = self._tile_counts(wildcards)
        windows = None if counts is None else counts.windows / counts.shards
        settings = self._scorings[wildcards.scoring]
        # A window of an allele is run on each asked strand; `tile` counts the strands one by one.
        whole = replace(settings, scoring=replace(settings.scoring, horizon=None))
        return _score_mb(whole, windows, self._size) * attempt

    def tracks_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``score_tracks``, minutes, from its tokens if counted."""
        counts = self._tile_counts(wildcards)
        if counts is None:
            return SCORE_MINUTES * attempt
        settings = self._scorings[wildcards.scoring]
        seconds = _seconds_per_token(settings.model, settings.scoring.window_length)
        tokens = counts.tokens / counts.shards
        return (LEAST_SCORE_MINUTES + math.ceil(SLOWER * tokens * seconds / 60)) * attempt

    def _tile_counts(self, wildcards: Wildcards) -> TileCounts | None:
        """What ``tile`` counted; None before ``tile`` has run."""
        folder = self._output / wildcards.track_set / wildcards.scoring / TILES
        try:
            return TileCounts.read(folder / TILE_COUNTS)
        except InputError:  # the step that reads the file reports it
            return None

    def _shard_pairs(self, wildcards: Wildcards) -> float | None:
        """Pairs of a shard as ``haplotypes`` counted them; None before ``haplotypes`` has run."""
        folder = self._output / wildcards.variant_set / wildcards.scoring / PAIRS
        try:
            return PairCounts.read(folder / PAIR_COUNTS).pairs / self._num_shards
        except InputError:  # the step that reads the file reports it
            return None

    def sequences_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Host memory of a job of ``score_sequence_set``, MB, for the longest sequence."""
        settings, split = self._split_of(wildcards)
        model, run = settings.model, settings.run
        longest = min(settings.split.max_length, run.batch_tokens)
        tokens = run.batch_tokens
        if split is not None:
            longest, tokens = split.longest, count_sequence_tokens(settings, split)
        memory = sequence_memory(
            _shape(model),
            model.dtype,
            longest=longest,
            batch_tokens=max(CANARY_TOKENS, min(run.batch_tokens, tokens)),
            segment_length=run.segment_length,
        )
        return _host_mb(model, memory, self._size, SEQUENCE_HEAP_FACTOR) * attempt

    def sequences_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``score_sequence_set``, minutes, from its tokens if counted."""
        settings, split = self._split_of(wildcards)
        if split is None:
            return SCORE_MINUTES * attempt
        seconds = _seconds_per_token(settings.model, max(1, split.longest))
        tokens = count_sequence_tokens(settings, split)
        return (LEAST_SCORE_MINUTES + math.ceil(SLOWER * tokens * seconds / 60)) * attempt

    def generation_gpu(self, wildcards: Wildcards) -> int | None:
        """GPUs of a job of ``generate_sequences``; None leaves the resource out."""
        return self._generations[wildcards.generation].gpus or None

    def generation_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Host memory of a job of ``generate_sequences``, MB, for the longest prompt."""
        settings, counts = self._prompts_of(wildcards)
        longest = min(settings.prompts.max_length, settings.run.batch_tokens)
        if counts is not None:
            longest = counts.longest
        mb = _host_mb(
            settings.model,
            generation_memory(settings, _shape(settings.model), longest),
            self._size,
            SEQUENCE_HEAP_FACTOR,
        )
        for model in settings.models[1:]:
            mb += math.ceil(_shape(model).weights_bytes(model.dtype) / 10**6)
        return mb * attempt

    def generation_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``generate_sequences``, minutes, from its prompts if counted."""
        settings, counts = self._prompts_of(wildcards)
        if counts is None:
            return SCORE_MINUTES * attempt
        shape, work = _shape(settings.model), count_work(settings, counts.longest)
        context = max(1, counts.longest + settings.length)
        seconds = work.tokens * _seconds_per_token(settings.model, context)
        seconds += work.calls * LAYER_SECONDS * shape.num_layers
        num = math.ceil(counts.to_generate / settings.shards)
        return (LEAST_SCORE_MINUTES + math.ceil(SLOWER * num * seconds / 60)) * attempt

    def _prompts_of(self, wildcards: Wildcards) -> tuple[GenerateSettings, PromptCounts | None]:
        """The settings of a generation, and its prompts; None before ``read_prompts`` has run."""
        settings = self._generations[wildcards.generation]
        try:
            path = self._output / GENERATIONS / wildcards.generation / PROMPT_COUNTS
            return settings, PromptCounts.read(path)
        except InputError:  # the step that reads the file reports it
            return settings, None

    def embed_settings(self, wildcards: Wildcards) -> str:
        """What runs a job of ``embed_sequences`` again if it changes."""
        return keep_embedded_settings(
            self._run_config,
            self._output,
            wildcards.sequence_set,
            wildcards.scoring,
            wildcards.scatteritem,
        )

    def embed_tracks_settings(self, wildcards: Wildcards) -> str:
        """What runs a job of ``embed_tracks`` again if it changes."""
        return keep_embedded_tracks_settings(
            self._run_config,
            self._output,
            wildcards.track_set,
            wildcards.scoring,
            wildcards.scatteritem,
        )

    def _split_of(
        self, wildcards: Wildcards
    ) -> tuple[ScoreSequencesSettings, SequenceSplit | None]:
        """The settings of a job, and what ``split_sequences`` counted; None before it has run."""
        settings = self._sequences[wildcards.sequence_set, wildcards.scoring]
        try:
            path = self._output / wildcards.sequence_set / SEQUENCE_SHARDS / SPLIT
            return settings, SequenceSplit.read(path)
        except InputError:  # the step that reads the file reports it
            return settings, None

    def _runtime(self, scoring: str, alleles: float) -> int:
        seconds = self._seconds[scoring]
        return LEAST_SCORE_MINUTES + math.ceil(SLOWER * alleles * seconds / 60)

    def score_runtime(self, wildcards: Wildcards, input: Inputs, attempt: int) -> int:  # noqa: A002
        """Time limit of a scoring job, minutes, from the alleles of a shard if they are counted."""
        if not needs_model(input):
            return self.runtime(wildcards, attempt)
        alleles = self._shard_alleles(wildcards.variant_set)
        if alleles is None:
            return SCORE_MINUTES * attempt
        found = _find_lookup(input)
        if found is not None and not self._reads_hits_too(wildcards.scoring):
            alleles = found.missing
        share = self._audits[wildcards.scoring]
        if share is not None:
            alleles += _most_audited(share, alleles, self._num_shards)
        return self._runtime(wildcards.scoring, alleles) * attempt

    def _reads_hits_too(self, scoring: str) -> bool:
        """Whether the alleles whose scores are in the store go through the model too."""
        readouts = self._readouts[scoring]
        return readouts.embeddings is not None or readouts.profile is not None

    def _shard_alleles(self, variant_set: str) -> float | None:
        """Alleles of a shard as ``split`` counted them; None before ``split`` has run."""
        if variant_set not in self._alleles:
            try:
                split = Split.read(self._output / variant_set / SHARDS / SPLIT)
            except InputError:  # the step that reads the file reports it
                return None
            self._alleles[variant_set] = split.alleles / split.shards
        return self._alleles[variant_set]

    def fit_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``fit_calibration``, minutes: as if all alleles had a label."""
        labelled = self._labelled[wildcards.calibration]
        alleles = None if labelled is None else self._shard_alleles(labelled)
        rows = self._num_shards * (alleles or 0)
        seconds = FIT_ALLOWANCE * FIT_SECONDS_PER_ROW * rows
        return (CPU_STEP_MINUTES + math.ceil(seconds / 60)) * attempt

    def probe_mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory of a job of ``fit_probe``, MB: as if all alleles had a label, up to a limit."""
        return self.mem_mb(wildcards, attempt) + self._fit_cost(wildcards).mb * attempt

    def probe_runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of ``fit_probe``, minutes, in the same way."""
        return self.runtime(wildcards, attempt) + self._fit_cost(wildcards).minutes * attempt

    def _fit_cost(self, wildcards: Wildcards) -> FitCost:
        key = (wildcards.variant_set, wildcards.scoring, wildcards.probe, wildcards.layer)
        alleles = self._shard_alleles(wildcards.variant_set)
        return count_fit(self._fits[key], None if alleles is None else self._num_shards * alleles)

    def mem_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory of a job of any other step, MB."""
        return (SNAKEMAKE_MB + CPU_STEP_MB) * attempt

    def runtime(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a job of any other step, minutes."""
        return CPU_STEP_MINUTES * attempt


def count_sequence_tokens(settings: ScoreSequencesSettings, split: SequenceSplit) -> int:
    """Tokens of the largest shard of a sequence set, about: shards have equal numbers of bases.

    Args:
        settings: How the sequences are read.
        split: What ``split_sequences`` counted.
    """
    context = 2 * settings.min_context * split.to_score if settings.circular else 0
    total = split.bases_to_score + min(context, split.bases_to_score)
    strands = 2 if settings.strands == "both" else 1
    return strands * (math.ceil(total / split.shards) + split.longest)


def _is_same(stated: Mapping[str, object], settings: Mapping[str, object]) -> bool:
    """Whether a file states these settings."""
    expected: object = json.loads(json.dumps(settings))
    return dict(stated) == expected


def _has_changed(split_file: Path, settings: SplitSettings) -> bool:
    """Whether Snakemake is certain to run ``split`` again: its settings or its variants differ.

    Args:
        split_file: What the last ``split`` has written.
        settings: What a ``split`` would be run with now.
    """
    try:
        split = Split.read(split_file)
        if split.statements is not None and not _is_same(
            split.statements.settings, settings.triggers()
        ):
            return True
        if settings.variants.stat().st_mtime_ns <= split_file.stat().st_mtime_ns:
            return False
        if settings.variants.stat().st_size > MOST_CHECKSUM_BYTES:
            return True
        return digest_file(settings.variants) != split.variants_digest
    except (InputError, OSError):  # the step that reads the file reports it
        return False


def needs_model(input: Inputs) -> bool:  # noqa: A002
    """Whether a scoring job has to open its model, as far as it is known before the job.

    It needs no model if the store has the scores of all its alleles.
    """
    found = _find_lookup(input)
    return found is None or found.needs_model


def may_need_no_model(input: Inputs) -> bool:  # noqa: A002
    """Whether a scoring job needs no model, or ``lookup`` has yet to find that out."""
    return not needs_model(input) or (bool(input.get("hits")) and _find_lookup(input) is None)


def if_gpu(input: Inputs, value: str, otherwise: str | None = None) -> str | None:  # noqa: A002
    """A resource of a scoring job in a profile, for example its partition.

    Args:
        input: The inputs of the job.
        value: The value for a job that opens its model.
        otherwise: The value for a job that needs no model; None leaves the resource out.
    """
    return value if needs_model(input) else otherwise


def _find_lookup(input: Inputs) -> Lookup | None:  # noqa: A002
    """What ``lookup`` found for a scoring job; None if nothing was looked up yet."""
    hits = input.get("hits")
    if not hits:
        return None
    try:
        return Lookup.read(Path(hits[-1]))
    except InputError:  # not written yet; or the step that reads the file reports it
        return None


class Messages(logging.Filter):
    """Snakemake's messages about the jobs of a run.

    They are shortened, control characters become escapes, and the jobs that failed are noted.
    The Snakefile adds it to Snakemake's logger.
    """

    def __init__(self, config: RunConfig, results: str | None = None) -> None:
        super().__init__()
        self._config = shlex.quote(dump_config(config))
        self._output = config.output if results is None else Path(results)
        stored = getattr(results, "flags", {}).get("storage_object")
        self._stored = None if stored is None else str(stored.print_query)
        self._failed: dict[object, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten an error, and note the log of a job that failed; every message is shown.

        The whole config is part of each command, so Snakemake prints it twice for each failed job.
        Paths and values of the config are part of many messages.
        """
        message = vars(record)
        failed_log = self._find_log(message["log"][0]) if message.get("log") else None
        if record.levelno >= logging.ERROR:
            for name in ("msg", "shellcmd"):
                if isinstance(message.get(name), str):
                    message[name] = message[name].replace(self._config, "CONFIG")
        for name, value in message.items():
            message[name] = _as_plain(value)
        match getattr(message.get("event"), "value", None):
            case "job_error" if failed_log is not None:
                self._failed[message["jobid"]] = failed_log
            case "job_finished":  # also one that failed before, and was tried again
                self._failed.pop(message["job_id"], None)
        return True

    def _find_log(self, log: str) -> str:
        """The file of a job's log, which Snakemake names by its place in storage."""
        if self._stored is None or not log.startswith(self._stored):
            return log
        in_results = log.removeprefix(self._stored).removesuffix(" (send to storage)")
        return f"{self._output}{in_results}"

    def print_status(self) -> None:
        """Print what `evo2-tasks status` says about the run, in which no job is running now."""
        print(file=sys.stderr)
        arguments = ["status", "--failed", "-", "--", str(self._output)]
        main = "from evo2_tasks.cli import main; main(prog_name='evo2-tasks')"
        subprocess.run(
            [sys.executable, "-c", main, *arguments],
            input="".join(f"{log}\n" for log in self._failed.values()),
            stdout=sys.stderr,
            text=True,
            check=False,
        )


def package_source(package: Path = Path(__file__).parent) -> str:
    """What pip has to install to get this package in another environment.

    The scripts ``envs/*.post-deploy.sh`` install it in those of ``--sdm conda``.

    Args:
        package: The folder of the package.

    Returns:
        The folder of the checkout. In an environment with an installed wheel, the file or the
        commit that it was installed from; if pip recorded none, because an index had the wheel, the
        name and the version.
    """
    if (package.parent / "pyproject.toml").exists():
        return str(package.parent)
    installed = distribution("evo2-tasks")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    match origin:
        case {"url": url, "vcs_info": {"vcs": vcs, "commit_id": commit}}:
            return f"{vcs}+{url}@{commit}"
        case {"url": url}:
            return str(url)
    return f"evo2-tasks=={installed.version}"


def stop_run(error: InputError) -> SystemExit:
    """What the Snakefile raises for a mistake of the user: the error's message, and exit code 1."""
    return SystemExit(f"Error: {without_controls(str(error), keep=_KEPT)}")


def _as_plain(value: object) -> object:
    """A value of a message, without the control characters of its texts."""
    if isinstance(value, str):
        plain = without_controls(value, keep=_KEPT)
        return value if plain == value else plain
    if isinstance(value, list | tuple):
        items = [_as_plain(one) for one in value]
        if all(one is other for one, other in zip(items, value, strict=True)):
            return value
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: _as_plain(one) for key, one in value.items()}
    return value


def _score_mb(settings: ScoreSettings, alleles: float | None, size: Callable[[Path], int]) -> int:
    """Host memory of a scoring job at the first attempt, MB.

    Args:
        settings: The model, the windows and how the work is done.
        alleles: Alleles of the shard; None if they are not counted yet.
        size: Gives the bytes of a file, 0 if it does not exist.
    """
    model, scoring, run = settings.model, settings.scoring, settings.run
    batch_tokens = run.batch_tokens
    if alleles is not None:
        batch_tokens = limit_batch(
            batch_tokens,
            alleles,
            window_length=scoring.window_length,
            strands=scoring.strands,
        )
    memory = device_memory(
        _shape(model),
        model.dtype,
        window_length=scoring.window_length,
        batch_tokens=batch_tokens,
        segment_length=run.segment_length,
        horizon=scoring.horizon,
    )
    return _host_mb(model, memory, size, CPU_HEAP_FACTOR)


def _host_mb(
    model: ModelSettings, memory: DeviceMemory, size: Callable[[Path], int], heap_factor: float
) -> int:
    """Host memory of a job that runs a model, at the first attempt, MB.

    Args:
        model: The model.
        memory: The memory that it needs on its device.
        size: Gives the bytes of a file, 0 if it does not exist.
        heap_factor: Memory of a CPU job, divided by the memory of its tensors.
    """
    file_mb = _checkpoint_bytes(model, size) / 10**6
    if model.gpus:
        # The file's pages count in addition to the tensors until the tensors are on the device.
        return SNAKEMAKE_MB + SCORE_BASE_MB + DRIVER_MB + math.ceil(1.25 * file_mb)
    tensors_mb = (memory.weights + heap_factor * (memory.total - memory.weights)) / 10**6
    return SNAKEMAKE_MB + math.ceil(MEMORY_MARGIN * (PROCESS_MB + file_mb + tensors_mb))


def _most_audited(share: float, alleles: float, num_shards: int) -> float:
    """Most alleles of a shard that an audit scores again; the audited ones are spread by chance.

    Args:
        share: Share of the alleles of the set.
        alleles: Alleles of the shard.
        num_shards: Number of shards of the set.
    """
    audited = count_audited(share, math.ceil(alleles * num_shards))
    return min(alleles, LEAST_AUDITED + 3 * audited / num_shards)


def _checkpoint_bytes(model: ModelSettings, size: Callable[[Path], int]) -> int:
    """Bytes of a checkpoint, also of one that has to be fetched, as far as they are known."""
    # Its local copy does not exist before the job.
    is_url = find_url(model.written) is not None
    files = [model.written] if is_url else checkpoint_files(model)
    on_hub = parse_hub_name(model.written)
    if on_hub is not None and not files:
        return sum(file.bytes or 0 for file in known_files(on_hub))
    return sum(size(file) for file in files)


def _seconds_per_allele(settings: ScoreSettings) -> float:
    """Seconds for one allele on the device of the rate table, with no window shared."""
    model, scoring = settings.model, settings.scoring
    windows = 3.0 if scoring.strands == "both" else 1.5  # per strand: the prefix once, and two ends
    seconds = _seconds_per_token(model, scoring.window_length)
    return windows * scoring.window_length * seconds


def _seconds_per_token(model: ModelSettings, window_length: int) -> float:
    """Seconds for one token on the device of the rate table."""
    rates = Rates.read(PUBLISHED_RATES).rates  # of GPUs and of a CPU, so any model has a rate
    rate = cast(Rate, choose_rate(rates, model.name, None, gpus=model.gpus))
    return _shape(model).flops_per_token(window_length) / rate.flops_per_s


def _shape(model: ModelSettings) -> ModelShape:
    """The shape of a model; the shape of the 7B if no file states it."""
    try:
        return read_shape(model)
    except InputError:
        # The file does not exist yet, or it is broken; then `score` reports it.
        return RELEASE_SHAPES["evo2_7b"]
