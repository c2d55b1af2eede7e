"""The names in a results folder: every step, file, log, benchmark, table and export, each once.

```
results/
    logs/{step}/...                     log of each job
    logs/benchmarks/{step}/...          time and memory of each job, as Snakemake measures them
    models/{model}.json                 fetch
    models/{model}.identity.json        identify: only with a store
    calibrations/{calibration}/{scoring}/
        calibration.parquet             fit_calibration: thresholds of the evidence strengths
        background.parquet              fit_calibration: scores of the background
        ratios.parquet, folds.parquet   fit_calibration: likelihood ratios, folds of labelled rows
    {sequence_set}/
        sequences/                      split_sequences
        {scoring}/
            sequence_scores/            score_sequence_set: files of each shard
            sequences.parquet, .json    merge_sequences
            sequence_embeddings/        embed_sequences: files of each shard
            embeddings/                 merge_sequence_embeddings: a table for each layer
    generations/{generation}/
        prompts.parquet, prompts.json   read_prompts
        generated/                      generate_sequences: files of each shard
        sequences.fa, sequences.parquet merge_generation
        steps.parquet, generation.json  merge_generation
        report.html                     report_generation
    {track_set}/
        report.html                     report_tracks
        {scoring}/
            tiles/                      tile: regions, and windows of each shard
            track_scores/               score_tracks: files of each shard
            track_embeddings/           embed_tracks: files of each shard
            embeddings/                 merge_track_embeddings: a table for each layer
            tracks.parquet, .json       merge_tracks
            tracks.logp_ref.bw, ...     export_tracks
    {variant_set}/
        random_snvs.vcf.gz              draw
        shards/                         split
        carried.parquet                 carry
        annotations.parquet             annotate
        report.html                     report
        {scoring}/
            windows/, scores/           windows, score: files of each shard
            hits/                       lookup: scores of the store, for each shard
            audit/                      audit: whole windows of some alleles, for each shard
            readouts/                   score_readouts, add_readouts: files of each shard
            scores.parquet, run.json    merge
            reused.parquet              merge: the alleles whose scores are from a store
            audit.parquet, audit.json   merge_audit
            embeddings/{layer}.parquet  merge_embeddings, with a JSON file for each layer
            profiles.parquet, .json     merge_profiles
            haplotypes/                 haplotypes: alleles with neighbours, for each shard
            haplotype_scores/           score_haplotypes: files of each shard
            haplotypes.parquet, .json   merge_haplotypes
            compounds.parquet           merge_haplotypes
            calibrated.parquet          calibrate
            probes/{probe}/
                {layer}/                fit_probe: a probe, and its predictions for the set
                applied.parquet         apply_probe: predictions of a probe of another set or run
            metrics, curves             evaluate
            scores.vcf.gz, ...          export
            scores.vcf.gz.index         index
        combined/{combination}/
            combined.parquet            combine
            metrics, curves             evaluate_combined
```

A test compares these names with the rules in `workflow/`. Standard library only: Snakemake imports
this file in every job.
"""

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOGS: Final = "logs"
"""Folder of the logs, in the results folder."""
BENCHMARKS: Final = "benchmarks"
"""Folder of Snakemake's benchmark files, in ``logs``."""
MODELS: Final = "models"
"""Folder of the files that ``fetch`` and ``identify`` write, in the results folder."""
IDENTITY_ENDING: Final = ".identity"
"""What follows the name of a model in the name of the file that ``identify`` writes."""
RANDOM_SNVS: Final = "random_snvs.vcf.gz"
"""The drawn variants of a set with ``random_snvs``, in the folder of the set."""
COPIED_INPUT: Final = "input"
"""Copy of the variants that ``run`` read from standard input, in the results folder."""
RUN_LOCK: Final = "run.lock"
"""File that ``run`` and ``generate`` lock in their folder, so that no two write it at once."""
SHARDS: Final = "shards"
"""Folder of the files that ``split`` writes, in the folder of a variant set."""
WINDOWS: Final = "windows"
"""Folder of the files that ``windows`` writes, in the folder of a scoring."""
SCORES: Final = "scores"
"""Folder of the files that ``score`` writes, in the folder of a scoring."""
HITS: Final = "hits"
"""Folder of the files that ``lookup`` writes, in the folder of a scoring."""

AUDITED: Final = "audit"
"""Folder of the files that ``audit`` writes, in the folder of a scoring."""
READOUTS: Final = "readouts"
"""Folder with a folder for each shard, of ``score_readouts`` or ``add_readouts``, in the folder of
a scoring."""
READOUTS_RUN: Final = "readouts.json"
"""What was read out of the model for a shard, in its folder of read-outs; not for an audit."""
EMBEDDINGS: Final = "embeddings"
"""Folder with a table for each layer, in the folder of a scoring and in the read-outs of a
shard."""
PROFILES: Final = "profiles.parquet"
"""Token by token differences of each allele, next to the table; and those of a shard."""
PROFILES_RUN: Final = "profiles.json"
"""Counts and the error of the data type, next to the profiles."""

PAIRS: Final = "haplotypes"
"""Folder of the files that ``haplotypes`` writes, in the folder of a scoring."""
PAIR_SCORES: Final = "haplotype_scores"
"""Folder of the files that ``score_haplotypes`` writes, in the folder of a scoring."""
CARRIERS: Final = "carriers.parquet"
"""Who has each allele, and beside which others, in ``haplotypes``."""
GROUPS: Final = "groups.parquet"
"""The alleles that are scored together, and who has them, in ``haplotypes``."""
PAIR_COUNTS: Final = "pairs.json"
"""Counts of the genotypes and of the pairs of windows, in ``haplotypes``."""

ANY_SHARD: Final = "*-of-*"
"""Pattern for ``glob`` of the name of any shard, of any number of shards."""

SPLIT: Final = "split.json"
"""Numbers of shards, records and alleles, in ``shards``."""
REFERENCE: Final = "reference.parquet"
"""Digests of the reference's blocks, in ``shards``."""
SEQUENCES: Final = "sequences.parquet"
"""Name, length and refget accession of each sequence of the reference, in ``shards``."""
CARRIED: Final = "carried.parquet"
"""Fields and columns of the variants that tables have too, in the folder of a variant set."""
ANNOTATIONS: Final = "annotations.parquet"
"""Genes, consequences and identifiers of the alleles that tables have too, in the folder of a
variant set."""
CONSEQUENCE_COLUMNS: Final = (
    "consequence",
    "consequences",
    "gene",
    "gene_id",
    "transcript",
    "transcript_strand",
    "amino_acids",
)
"""Columns that ``annotate`` makes from a GFF or from a field of the input."""
CONSEQUENCE_LISTS: Final = ("consequences",)
"""Those of ``CONSEQUENCE_COLUMNS`` that are lists; the others are text."""
IDENTIFIER_COLUMNS: Final[Mapping[str, str]] = {"vrs": "vrs_id", "spdi": "spdi"}
"""The column that ``annotate`` makes for each kind of identifier."""
TABLE: Final = "scores.parquet"
"""The table of a scoring."""
RUN: Final = "run.json"
"""Counts, times, devices and versions of a scoring, next to its table."""
REUSED: Final = "reused.parquet"
"""The alleles whose scores are from a store, next to the table; only with a store."""
AUDIT: Final = "audit.parquet"
"""Scores of whole windows of some alleles, next to the table; and those of a shard."""
AUDIT_RUN: Final = "audit.json"
"""The work of an audit, next to its table."""
HAPLOTYPES: Final = "haplotypes.parquet"
"""Scores of the alleles of samples beside the others of a haplotype, next to the table."""
COMPOUNDS: Final = "compounds.parquet"
"""Scores of alleles of a haplotype together, next to the table."""
HAPLOTYPES_RUN: Final = "haplotypes.json"
"""Counts and work of the haplotypes, next to the table."""
SEQUENCE_SHARDS: Final = "sequences"
"""Folder of the files that ``split_sequences`` writes, in the folder of a sequence set."""
SEQUENCE_SCORES: Final = "sequence_scores"
"""Folder of the files that ``score_sequence_set`` writes, in the folder of a scoring."""
SEQUENCE_EMBEDDINGS: Final = "sequence_embeddings"
"""Folder of the files that ``embed_sequences`` writes, in the folder of a scoring."""
SEQUENCE_TABLE: Final = "sequences.parquet"
"""The log-likelihoods of the sequences of a set, in the folder of a scoring."""
SEQUENCE_RUN: Final = "sequences.json"
"""Counts, times, devices and versions of these, next to their table."""
TILES: Final = "tiles"
"""Folder of the files that ``tile`` writes, in the folder of a scoring."""
TRACK_REGIONS: Final = "regions.parquet"
"""The regions of a track set, each with its status, in ``tiles``."""
TILE_COUNTS: Final = "tiles.json"
"""Counts of the regions and of their bases, in ``tiles``."""
TRACK_SCORES: Final = "track_scores"
"""Folder of the files that ``score_tracks`` writes, in the folder of a scoring."""
TRACK_EMBEDDINGS: Final = "track_embeddings"
"""Folder of the files that ``embed_tracks`` writes, in the folder of a scoring."""
TRACK_TABLE: Final = "tracks.parquet"
"""The log-probabilities of each base of a track set, in the folder of a scoring."""
TRACK_BIGWIGS: Final[Mapping[str, str]] = {
    "logp_ref": "tracks.logp_ref.bw",
    "entropy": "tracks.entropy.bw",
}
"""The bigWig files of the tracks, next to their table, by the column that they have."""
TRACK_BROWSER_FILES: Final = (
    "tracks.logp_ref.trackDb.txt",
    "tracks.logp_ref.igv.xml",
    "tracks.entropy.trackDb.txt",
    "tracks.entropy.igv.xml",
)
"""The stanza of a track hub and the session of IGV of each of these bigWig files."""
TRACKS_RUN: Final = "tracks.json"
"""Counts, times, devices and versions of the tracks, next to their table."""
CALIBRATIONS: Final = "calibrations"
"""Folder with a folder for each calibration and scoring, in the results folder."""
CALIBRATION: Final = "calibration.parquet"
"""Thresholds of the evidence strengths, and what the calibration was made from."""
BACKGROUND: Final = "background.parquet"
"""The scores of a background by stratum, sorted, next to the calibration."""
RATIOS: Final = "ratios.parquet"
"""Likelihood ratios by score, next to the calibration."""
FOLDS: Final = "folds.parquet"
"""The fold of each labelled row, next to the calibration."""
CALIBRATION_FILES: Final = (CALIBRATION, BACKGROUND, RATIOS, FOLDS)
"""The files of a calibration, which are in one folder."""
CALIBRATED: Final = "calibrated.parquet"
"""Quantiles and evidence of each row of a table, next to the table."""
CALIBRATED_COLUMNS: Final = (
    "stratum",
    "stratum_fallback",
    "quantile",
    "phred",
    "lr",
    "lr_low",
    "lr_high",
    "evidence",
    "lr_reason",
)
"""Columns that ``calibrate`` makes, besides the keys; with several calibrations, each has the
prefix ``{calibration}.``."""
PROBES: Final = "probes"
"""Folder with a folder for each probe, in the folder of a scoring."""
PROBE: Final = "probe.json"
"""What a probe was trained on, and how well it predicts, in its folder."""
PROBE_WEIGHTS: Final = "probe.safetensors"
"""The numbers of a probe, next to its JSON file."""
PREDICTIONS: Final = "predictions.parquet"
"""The predictions of a probe for the set that it was trained on, next to its JSON file."""
PROBE_FILES: Final = (PROBE, PROBE_WEIGHTS)
"""The files that are needed to apply a probe, which are in one folder."""
APPLIED: Final = "applied.parquet"
"""The predictions of a probe of another variant set or run, in the folder of the probe."""
NO_LAYER: Final = "llr"
"""Name of the folder of a probe that uses no layer, but ``llr`` alone."""
COMBINED_FOLDER: Final = "combined"
"""Folder with a folder for each combination, in the folder of a variant set."""
COMBINED: Final = "combined.parquet"
"""The scores of several scorings in one table, in the folder of a combination."""
COMBINED_COLUMNS: Final = ("status", "llr", "llr_aligned", "llr_fwd", "llr_rev")
"""Columns of each scoring in a combined table, each with the prefix ``{scoring}.``."""
GENERATIONS: Final = "generations"
"""Folder with a folder for each generation, in the results folder."""
PROMPTS: Final = "prompts.parquet"
"""The prompts that ``read_prompts`` read, in the folder of a generation."""
PROMPT_COUNTS: Final = "prompts.json"
"""Counts of the prompts, next to them."""
GENERATED: Final = "generated"
"""Folder of the files that ``generate_sequences`` writes, in the folder of a generation."""
GENERATION_FASTA: Final = "sequences.fa"
"""The generated sequences, in the folder of a generation."""
GENERATION_TABLE: Final = "sequences.parquet"
"""A row for each sequence of each prompt, in the folder of a generation."""
GENERATION_STEPS: Final = "steps.parquet"
"""Every candidate of every step, in the folder of a generation."""
GENERATION_RUN: Final = "generation.json"
"""What the sequences were made with, in the folder of a generation."""
METRICS: Final = "metrics.parquet"
"""How well the scores separate the labels, next to the table."""
CURVES: Final = "curves.parquet"
"""Points of the curves in the report, next to the table."""
REPORT: Final = "report.html"
"""The report, in the folder of a variant set or a track set."""

TABLES: Final[Mapping[str, str]] = {
    TABLE: "merge",
    AUDIT: "merge_audit",
    HAPLOTYPES: "merge_haplotypes",
    COMPOUNDS: "merge_haplotypes",
    PROFILES: "merge_profiles",
    CALIBRATED: "calibrate",
    METRICS: "evaluate",
    CURVES: "evaluate",
}
"""The tables in the folder of a scoring, and the step that writes each."""

EXPORTS: Final[Mapping[str, str]] = {
    "vcf": "scores.vcf.gz",
    "sites": "scores.sites.vcf.gz",
    "tsv": "scores.tsv",
    "bedgraph": "scores.bedgraph.gz",
    "bigwig": "scores.bw",
}
"""The formats of ``export``, and the file of each, next to the table.

The module ``evo2_tasks/exports/{format}.py`` writes it.
"""

HUB_STANZA: Final = "scores.trackDb.txt"
"""The stanza of a track hub, next to the bigWig of the scores."""
IGV_SESSION: Final = "scores.igv.xml"
"""The session of IGV, next to the bigWig of the scores."""

OWN_RULES: Final = ("bigwig",)
"""The formats that a rule of their own writes, because its environment has one package more."""

INDEXED: Final = ("vcf", "sites")
"""The formats whose files have an index next to them, which the step ``index`` makes."""

INDEX_KINDS: Final = ("tbi", "csi")
"""The endings of an index."""

NO_INDEX: Final = "none"
"""What the file ``.index`` of an export states if there is no index."""

INDEX_STATEMENT: Final = "index"
"""The ending of the file that states the name of the index of an export."""


@dataclass(frozen=True)
class Step:
    """A step of the workflow: one rule and one command.

    The patterns have the wildcards ``{model}``, ``{calibration}``, ``{variant_set}``,
    ``{sequence_set}``, ``{track_set}``, ``{generation}``, ``{scoring}``, ``{combination}``,
    ``{shard}``, ``{layer}``, ``{probe}``, ``{export}`` (the file name of an export) and
    ``{index}`` (the ending of what ``index`` writes).

    Attributes:
        name: Its rule, its command (``evaluate_combined`` runs the command of ``evaluate``,
            ``score_haplotypes`` that of ``score``, ``add_readouts`` that of ``score_readouts``,
            ``export_bigwig`` that of ``export``), and the folder of its logs.
        job: Pattern of what one job is for: a model, a calibration of a scoring, a variant set, a
            scoring of it, a combination, a shard, a layer, a probe, an export.
        outputs: Patterns of the files and folders that a job writes, in the results folder.
        has_benchmark: Whether Snakemake measures its jobs.
    """

    name: str
    job: str
    outputs: tuple[str, ...]
    has_benchmark: bool = True

    @property
    def log(self) -> str:
        """Pattern of a job's log, in ``logs``."""
        return f"{self.name}/{self.job}.log"

    @property
    def benchmark(self) -> str | None:
        """Pattern of a job's benchmark file, in ``logs/benchmarks``."""
        return f"{self.name}/{self.job}.tsv" if self.has_benchmark else None


_SET: Final = "{variant_set}"
_SEQUENCES: Final = "{sequence_set}"
_OF_SEQUENCES: Final = f"{_SEQUENCES}/{{scoring}}"
_TRACKS: Final = "{track_set}"
_OF_TRACKS: Final = f"{_TRACKS}/{{scoring}}"
_SCORING: Final = f"{_SET}/{{scoring}}"
_SHARD: Final = f"{_SCORING}/{{shard}}"
_CALIBRATION: Final = "{calibration}/{scoring}"
_GENERATION: Final = "{generation}"
_OF_GENERATION: Final = f"{GENERATIONS}/{_GENERATION}"
_COMBINATION: Final = f"{_SET}/{COMBINED_FOLDER}/{{combination}}"
_PROBE: Final = f"{_SCORING}/{PROBES}/{{probe}}"


def _tables(step: str) -> tuple[str, ...]:
    return tuple(f"{_SCORING}/{file}" for file, writer in TABLES.items() if writer == step)


STEPS: Final[Mapping[str, Step]] = {
    step.name: step
    for step in (
        Step("fetch", "{model}", (f"{MODELS}/{{model}}.json",), has_benchmark=False),
        Step("identify", "{model}", (f"{MODELS}/{{model}}{IDENTITY_ENDING}.json",)),
        Step("draw", _SET, (f"{_SET}/{RANDOM_SNVS}",)),
        Step("split", _SET, (f"{_SET}/{SHARDS}",)),
        Step("carry", _SET, (f"{_SET}/{CARRIED}",)),
        Step("annotate", _SET, (f"{_SET}/{ANNOTATIONS}",)),
        Step(
            "windows",
            _SHARD,
            (
                f"{_SCORING}/{WINDOWS}/{{shard}}.parquet",
                f"{_SCORING}/{WINDOWS}/{{shard}}.segments.parquet",
            ),
        ),
        Step(
            "lookup",
            _SHARD,
            (f"{_SCORING}/{HITS}/{{shard}}.parquet", f"{_SCORING}/{HITS}/{{shard}}.json"),
        ),
        Step(
            "score",
            _SHARD,
            (f"{_SCORING}/{SCORES}/{{shard}}.parquet", f"{_SCORING}/{SCORES}/{{shard}}.json"),
        ),
        Step("audit", _SCORING, (f"{_SCORING}/{AUDITED}",)),
        Step(
            "score_readouts",
            _SHARD,
            (
                f"{_SCORING}/{SCORES}/{{shard}}.parquet",
                f"{_SCORING}/{SCORES}/{{shard}}.json",
                f"{_SCORING}/{READOUTS}/{{shard}}",
            ),
        ),
        Step("add_readouts", _SHARD, (f"{_SCORING}/{READOUTS}/{{shard}}",)),
        Step(
            "merge_embeddings",
            f"{_SCORING}/{{layer}}",
            (
                f"{_SCORING}/{EMBEDDINGS}/{{layer}}.parquet",
                f"{_SCORING}/{EMBEDDINGS}/{{layer}}.json",
            ),
        ),
        Step(
            "merge_profiles", _SCORING, (*_tables("merge_profiles"), f"{_SCORING}/{PROFILES_RUN}")
        ),
        Step("merge_audit", _SCORING, (*_tables("merge_audit"), f"{_SCORING}/{AUDIT_RUN}")),
        Step("merge", _SCORING, (*_tables("merge"), f"{_SCORING}/{RUN}")),
        Step("haplotypes", _SCORING, (f"{_SCORING}/{PAIRS}",)),
        Step(
            "score_haplotypes",
            _SHARD,
            (
                f"{_SCORING}/{PAIR_SCORES}/{{shard}}.parquet",
                f"{_SCORING}/{PAIR_SCORES}/{{shard}}.json",
            ),
        ),
        Step(
            "merge_haplotypes",
            _SCORING,
            (*_tables("merge_haplotypes"), f"{_SCORING}/{HAPLOTYPES_RUN}"),
        ),
        Step(
            "fit_calibration",
            _CALIBRATION,
            tuple(f"{CALIBRATIONS}/{_CALIBRATION}/{file}" for file in CALIBRATION_FILES),
        ),
        Step("calibrate", _SCORING, _tables("calibrate")),
        Step(
            "fit_probe",
            f"{_SCORING}/{{probe}}/{{layer}}",
            tuple(f"{_PROBE}/{{layer}}/{file}" for file in (*PROBE_FILES, PREDICTIONS)),
        ),
        Step("apply_probe", f"{_SCORING}/{{probe}}", (f"{_PROBE}/{APPLIED}",)),
        Step("export", f"{_SCORING}/{{export}}", (f"{_SCORING}/{{export}}",)),
        Step(
            "export_bigwig",
            _SCORING,
            tuple(f"{_SCORING}/{file}" for file in (EXPORTS["bigwig"], HUB_STANZA, IGV_SESSION)),
        ),
        Step("index", f"{_SCORING}/{{export}}.{{index}}", (f"{_SCORING}/{{export}}.{{index}}",)),
        Step("evaluate", _SCORING, _tables("evaluate")),
        Step("combine", f"{_SET}/{{combination}}", (f"{_COMBINATION}/{COMBINED}",)),
        Step(
            "evaluate_combined",
            f"{_SET}/{{combination}}",
            (f"{_COMBINATION}/{METRICS}", f"{_COMBINATION}/{CURVES}"),
        ),
        Step("report", _SET, (f"{_SET}/{REPORT}",)),
        Step("split_sequences", _SEQUENCES, (f"{_SEQUENCES}/{SEQUENCE_SHARDS}",)),
        Step(
            "score_sequence_set",
            f"{_OF_SEQUENCES}/{{shard}}",
            (
                f"{_OF_SEQUENCES}/{SEQUENCE_SCORES}/{{shard}}.parquet",
                f"{_OF_SEQUENCES}/{SEQUENCE_SCORES}/{{shard}}.json",
            ),
        ),
        Step(
            "merge_sequences",
            _OF_SEQUENCES,
            (f"{_OF_SEQUENCES}/{SEQUENCE_TABLE}", f"{_OF_SEQUENCES}/{SEQUENCE_RUN}"),
        ),
        Step(
            "embed_sequences",
            f"{_OF_SEQUENCES}/{{shard}}",
            (
                f"{_OF_SEQUENCES}/{SEQUENCE_EMBEDDINGS}/{{shard}}.parquet",
                f"{_OF_SEQUENCES}/{SEQUENCE_EMBEDDINGS}/{{shard}}.json",
            ),
        ),
        Step(
            "merge_sequence_embeddings",
            f"{_OF_SEQUENCES}/{{layer}}",
            (
                f"{_OF_SEQUENCES}/{EMBEDDINGS}/{{layer}}.parquet",
                f"{_OF_SEQUENCES}/{EMBEDDINGS}/{{layer}}.json",
            ),
        ),
        Step(
            "embed_tracks",
            f"{_OF_TRACKS}/{{shard}}",
            (
                f"{_OF_TRACKS}/{TRACK_EMBEDDINGS}/{{shard}}.parquet",
                f"{_OF_TRACKS}/{TRACK_EMBEDDINGS}/{{shard}}.json",
            ),
        ),
        Step(
            "merge_track_embeddings",
            f"{_OF_TRACKS}/{{layer}}",
            (
                f"{_OF_TRACKS}/{EMBEDDINGS}/{{layer}}.parquet",
                f"{_OF_TRACKS}/{EMBEDDINGS}/{{layer}}.json",
            ),
        ),
        Step("tile", _OF_TRACKS, (f"{_OF_TRACKS}/{TILES}",)),
        Step(
            "score_tracks",
            f"{_OF_TRACKS}/{{shard}}",
            (
                f"{_OF_TRACKS}/{TRACK_SCORES}/{{shard}}.parquet",
                f"{_OF_TRACKS}/{TRACK_SCORES}/{{shard}}.json",
            ),
        ),
        Step(
            "merge_tracks",
            _OF_TRACKS,
            (f"{_OF_TRACKS}/{TRACK_TABLE}", f"{_OF_TRACKS}/{TRACKS_RUN}"),
        ),
        Step(
            "export_tracks",
            _OF_TRACKS,
            tuple(
                f"{_OF_TRACKS}/{file}" for file in (*TRACK_BIGWIGS.values(), *TRACK_BROWSER_FILES)
            ),
        ),
        Step("report_tracks", _TRACKS, (f"{_TRACKS}/{REPORT}",)),
        Step(
            "read_prompts",
            _GENERATION,
            (f"{_OF_GENERATION}/{PROMPTS}", f"{_OF_GENERATION}/{PROMPT_COUNTS}"),
        ),
        Step(
            "generate_sequences",
            f"{_GENERATION}/{{shard}}",
            tuple(
                f"{_OF_GENERATION}/{GENERATED}/{{shard}}{ending}"
                for ending in (".parquet", ".steps.parquet", ".json")
            ),
        ),
        Step(
            "merge_generation",
            _GENERATION,
            tuple(
                f"{_OF_GENERATION}/{file}"
                for file in (GENERATION_FASTA, GENERATION_TABLE, GENERATION_STEPS, GENERATION_RUN)
            ),
        ),
        Step("report_generation", _GENERATION, (f"{_OF_GENERATION}/{REPORT}",)),
    )
}
"""The steps by name, in the order in which they run."""

_PARTS: Final = [output.split("/") for step in STEPS.values() for output in step.outputs]

RESERVED_SETS: Final = frozenset(
    {LOGS, *(parts[0] for parts in _PARTS)} - {_SET, _SEQUENCES, _TRACKS}
)
"""Names in the results folder that no set may have."""

RESERVED_SCORINGS: Final = frozenset(
    {parts[1] for parts in _PARTS if parts[0] == _SET} - {"{scoring}"}
)
"""Names in the folder of a variant set that no scoring may have."""


def fill(pattern: str, **names: str) -> str:
    """A pattern for ``glob``: the wildcards that are named are filled in, the others become ``*``.

    Args:
        pattern: An entry of a :class:`Step`.
        names: Values of wildcards.
    """
    sets = ("variant_set", "sequence_set", "track_set")
    named = ("model", "calibration", *sets, "generation", "scoring", "combination")
    wildcards = dict.fromkeys((*named, "shard", "layer", "probe", "export", "index"), "*")
    return pattern.format(**wildcards | {key: glob.escape(name) for key, name in names.items()})


def results_of(table: Path) -> Path:
    """The folder of the results of ``run``, next to the table that it writes."""
    return table.with_name(f"{table.stem}.results")


def config_of(table: Path) -> Path:
    """The config that ``run`` writes next to its table."""
    return table.with_name(f"{table.stem}.config.yaml")


def report_of(table: Path) -> Path:
    """The report that ``run`` writes next to its table."""
    return table.with_suffix(Path(REPORT).suffix)


def run_file_of(table: Path) -> Path:
    """The ``run.json`` of a table: next to it, or with the name of a table that ``run`` wrote."""
    own = table.with_suffix(Path(RUN).suffix)
    return own if own.exists() else table.with_name(RUN)


def shard_name(shard: int, num_shards: int) -> str:
    """Name of a shard, counted from 1: ``3-of-16``."""
    return f"{shard}-of-{num_shards}"


def parse_shard_name(name: str) -> tuple[int, int] | None:
    """Number of a shard and number of shards, from the name; None if it is not one."""
    number, _, of = name.partition("-of-")
    if not (number.isdecimal() and of.isdecimal()):
        return None
    return int(number), int(of)


def shard_file(shard: int, num_shards: int) -> str:
    """Name of each Parquet file of a shard, in the folders of shards, windows and scores."""
    return f"{shard_name(shard, num_shards)}.parquet"


def segments_file(windows: Path) -> Path:
    """The file of the reference bases that belongs to a file of windows."""
    return windows.with_suffix(".segments.parquet")


def shard_run_file(scores: Path) -> Path:
    """The JSON file next to the scores or to a read-out of a shard, about the job that made it."""
    return scores.with_suffix(".json")


def steps_file(generated: Path) -> Path:
    """The file of the steps that belongs to a file of generated sequences."""
    return generated.with_suffix(".steps.parquet")


def hits_file(scores: Path) -> Path:
    """The hits of a shard that ``lookup`` writes, from the file of its scores."""
    return scores.parent.parent / HITS / scores.name


def hits_run_file(hits: Path) -> Path:
    """The JSON file next to the hits of a shard, with their numbers."""
    return hits.with_suffix(".json")


def identity_file(model: str) -> str:
    """The file that ``identify`` writes about a model, in the results folder."""
    return f"{MODELS}/{model}{IDENTITY_ENDING}.json"


def shard_readout(readouts: Path, scores: Path, file: str) -> Path:
    """A read-out of a shard.

    Args:
        readouts: Folder of the read-outs of all shards.
        scores: Any file with the name of the shard.
        file: Name of the file of the read-out, ``AUDIT`` for example.
    """
    return readouts / scores.stem / file


def readout_parts(readouts: Path) -> Path:
    """The folder of the parts of a shard's read-outs, and of those that are finished.

    It is not an output of a rule, because Snakemake deletes the outputs of a job before it runs.

    Args:
        readouts: Folder of the read-outs of the shard.
    """
    return readouts.with_name(f"{readouts.name}.parts")


def layer_file(layer: str) -> str:
    """The table of a layer, in the folder of a scoring and in the read-outs of a shard.

    Args:
        layer: Published name of the layer.
    """
    return f"{EMBEDDINGS}/{layer}.parquet"


def embeddings_run_file(table: Path) -> Path:
    """The JSON file next to the embeddings of a layer."""
    return table.with_name(f"{table.name.removesuffix('.parquet')}.json")


def as_field_name(name: str) -> str:
    """A name as it can be in the name of an INFO field of a VCF, which has no ``-``."""
    return name.replace("-", "_")


def export_file(table: Path, export: str) -> Path:
    """The default file of an export: next to the table, with the table's name."""
    return table.with_suffix("".join(Path(EXPORTS[export]).suffixes))


def probe_folder(scoring: Path, probe: str, layer: str | None) -> Path:
    """The folder of a probe that ``fit_probe`` writes.

    Args:
        scoring: Folder of the scoring.
        probe: Name of the probe.
        layer: Its layer; None if it uses ``llr`` alone.
    """
    return scoring / PROBES / probe / (NO_LAYER if layer is None else layer)


def applied_file(scoring: Path, probe: str) -> Path:
    """The file that ``apply_probe`` writes.

    Args:
        scoring: Folder of the scoring.
        probe: Name of the probe.
    """
    return scoring / PROBES / probe / APPLIED
