"""A small project for a test: its files, the config that names them, its steps in one process.

A config has one of everything: the reference `g`, the model `m`, the scoring `s` and the variant
set `v`. A test names the parts that it is about and takes the rest as it is.
"""

import gzip
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import (
    resolve_annotate,
    resolve_carry,
    resolve_haplotypes,
    resolve_merge,
    resolve_merge_haplotypes,
    resolve_score,
    resolve_split,
    resolve_windows,
)
from evo2_tasks.config.schema import RunConfig, dump_config
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    ANNOTATIONS,
    CARRIED,
    COMPOUNDS,
    HAPLOTYPES,
    HAPLOTYPES_RUN,
    PAIR_SCORES,
    PAIRS,
    RUN,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    segments_file,
    shard_file,
    shard_run_file,
)
from evo2_tasks.steps import annotate as annotate_step
from evo2_tasks.steps import carry as carry_step
from evo2_tasks.steps import haplotypes as haplotypes_step
from evo2_tasks.steps import merge as merge_step
from evo2_tasks.steps import merge_haplotypes as merge_haplotypes_step
from evo2_tasks.steps import score as score_step
from evo2_tasks.steps import split as split_step
from evo2_tasks.steps import windows as windows_step
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.provenance import Provenance, package_version, read_provenance
from evo2_tasks.table.schema import scores_schema
from tests import processes

DATA = Path(__file__).parents[1] / "data"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
HEADER = f"##fileformat=VCFv4.2\n{COLUMNS}"

Parts = Mapping[str, Any]


# --- files


@dataclass(frozen=True)
class Project:
    """Files of a project, and the config that names them, which is also in ``config_file``."""

    genome: Path
    variants: Path
    checkpoint: Path
    config_file: Path
    config: dict[str, Any]

    def load(self) -> RunConfig:
        return load_config(self.config)


def make_config(
    folder: Path = Path(),
    *,
    reference: Parts | None = None,
    model: Parts | None = None,
    scoring: Parts | None = None,
    variant_set: Parts | None = None,
    **sections: object,
) -> dict[str, Any]:
    """A config of files in a folder, which need not be there.

    Args:
        folder: The folder of the files.
        reference: Keys of the reference ``g``.
        model: Keys of the model ``m``.
        scoring: Keys of the scoring ``s``.
        variant_set: Keys of the variant set ``v``, which is scored by every scoring.
        sections: Sections of the config, each in the place of the one that is made here.
    """
    config: dict[str, Any] = {
        "references": {"g": {"fasta": str(folder / "genome.fa"), **(reference or {})}},
        "models": {"m": {"checkpoint": str(folder / "model"), "gpus": 0, **(model or {})}},
        "scorings": {"s": {"model": "m", "window_length": 64, **(scoring or {})}},
        **sections,
    }
    of_set = {
        "variants": str(folder / "in.vcf"),
        "reference": "g",
        "scorings": list(config["scorings"]),
    }
    return {"variant_sets": {"v": of_set | dict(variant_set or {})}, **config}


def write_project(
    folder: Path, *, genome: Mapping[str, str], variants: str | bytes = HEADER, **parts: Any
) -> Project:
    """Write a genome, variants, and a folder that stands in for a checkpoint.

    Args:
        folder: Where to write; made where it is missing.
        genome: Bases of each sequence by its name.
        variants: Content of the file of variants.
        parts: As for ``make_config``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(
        genome=write_genome(folder / "genome.fa", genome),
        variants=folder / "in.vcf",
        checkpoint=folder / "model",
        config_file=folder / "config.json",
        config=make_config(folder, **parts),
    )
    project.variants.write_bytes(variants.encode() if isinstance(variants, str) else variants)
    project.checkpoint.mkdir(exist_ok=True)
    (project.checkpoint / "config.json").write_text("{}")
    project.config_file.write_text(json.dumps(project.config))
    return project


def write_genome(path: Path, sequences: Mapping[str, str]) -> Path:
    """Write a FASTA file with one line for each sequence."""
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in sequences.items()))
    return path


def write_demo(folder: Path, num_alleles: int, **parts: Any) -> Path:
    """Write a config for the first variants of the demo and the model of the package."""
    with gzip.open(DATA / "mitomap.vcf.gz", "rt") as demo:
        header = list(takewhile(lambda line: line.startswith("##"), demo))
        variants = "".join([header[0], COLUMNS, *islice(demo, num_alleles)])
    (folder / "in.vcf").write_text(variants)
    config = make_config(
        folder,
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 256},
        **parts,
    )
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


# --- steps


@dataclass(frozen=True)
class ShardFiles:
    """Files of one shard of a scoring, under the names that they have in a results folder."""

    shard: Path
    windows: Path
    scores: Path

    @property
    def segments(self) -> Path:
        return segments_file(self.windows)


def files_of_shards(config: RunConfig, folder: Path, scoring: str = "s") -> list[ShardFiles]:
    """The files of each shard, in the folder of a variant set."""
    names = [shard_file(shard, config.shards) for shard in range(1, config.shards + 1)]
    work = folder / scoring
    return [
        ShardFiles(folder / SHARDS / name, work / WINDOWS / name, work / SCORES / name)
        for name in names
    ]


def run_split(config: RunConfig, folder: Path) -> None:
    split_step.split(resolve_split(config, "v"), variants=None, out=folder / SHARDS)


def run_carry(config: RunConfig, folder: Path) -> Path | None:
    """Copy what the config carries; gives the table, if anything is carried."""
    settings = resolve_carry(config, "v")
    if not settings.carried:
        return None
    carry_step.carry(settings, variants=None, out=folder / CARRIED)
    return folder / CARRIED


def run_annotate(config: RunConfig, folder: Path) -> Path | None:
    """Annotate the alleles; gives the table, if the config asks for one."""
    settings = resolve_annotate(config, "v")
    if not settings.columns:
        return None
    annotate_step.annotate(settings, variants=None, out=folder / ANNOTATIONS)
    return folder / ANNOTATIONS


def run_windows(config: RunConfig, folder: Path, scoring: str = "s") -> None:
    """Place the windows of each shard."""
    for files in files_of_shards(config, folder, scoring):
        windows_step.windows(
            resolve_windows(config, "v", scoring),
            shard=files.shard,
            split_file=folder / SHARDS / SPLIT,
            out=files.windows,
            segments_file=files.segments,
        )


def run_score(config: RunConfig, files: ShardFiles, scoring: str = "s") -> None:
    score_step.score(
        resolve_score(config, scoring),
        windows_file=files.windows,
        segments_file=files.segments,
        out=files.scores,
        threads=1,
    )


def run_merge(config: RunConfig, folder: Path, scoring: str = "s") -> Path:
    """Annotate, carry columns and merge the shards; gives the table."""
    work = folder / scoring
    annotations = run_annotate(config, folder)
    carried = run_carry(config, folder)
    merge_step.merge(
        resolve_merge(config, "v", scoring),
        split_file=folder / SHARDS / SPLIT,
        windows_folder=work / WINDOWS,
        scores_folder=work / SCORES,
        out=work / TABLE,
        run_json=work / RUN,
        joined=[path for path in (annotations, carried) if path is not None],
    )
    return work / TABLE


def run_steps(config: RunConfig, folder: Path, scoring: str = "s", *, stub: bool = True) -> Path:
    """Split, windows, score, carry and merge; gives the table.

    Args:
        config: The config.
        folder: The folder of the variant set, for all results.
        scoring: The scoring to run.
        stub: Whether ``write_stub_scores`` takes the place of the model.
    """
    run_split(config, folder)
    run_windows(config, folder, scoring)
    for files in files_of_shards(config, folder, scoring):
        if stub:
            settings = resolve_score(config, scoring).triggers()
            write_stub_scores(files.windows, files.scores, settings)
        else:
            run_score(config, files, scoring)
    return run_merge(config, folder, scoring)


def pairs_of_shards(config: RunConfig, folder: Path, scoring: str = "s") -> list[ShardFiles]:
    """The files about the haplotypes of each shard, in the folder of a variant set."""
    work = folder / scoring
    return [
        replace(files, windows=work / PAIRS / files.windows.name, scores=work / PAIR_SCORES / name)
        for files in files_of_shards(config, folder, scoring)
        for name in [files.scores.name]
    ]


def run_haplotypes(
    config: RunConfig, folder: Path, scoring: str = "s", *, stub: bool = True
) -> tuple[Path, Path]:
    """Find, score and merge the haplotypes after ``run_steps``; gives the two tables."""
    work = folder / scoring
    haplotypes_step.haplotypes(
        resolve_haplotypes(config, "v", scoring),
        variants=None,
        split_file=folder / SHARDS / SPLIT,
        windows_folder=work / WINDOWS,
        out=work / PAIRS,
    )
    for files in pairs_of_shards(config, folder, scoring):
        if stub:
            settings = resolve_score(config, scoring).triggers()
            write_stub_scores(files.windows, files.scores, settings)
        else:
            run_score(config, files, scoring)
    merge_haplotypes_step.merge_haplotypes(
        resolve_merge_haplotypes(config, "v", scoring),
        table=work / TABLE,
        pairs_folder=work / PAIRS,
        scores_folder=work / PAIR_SCORES,
        out=work / HAPLOTYPES,
        compounds=work / COMPOUNDS,
        run_json=work / HAPLOTYPES_RUN,
    )
    return work / HAPLOTYPES, work / COMPOUNDS


def write_stub_scores(windows: Path, out: Path, settings: Parts) -> None:
    """Numbers that follow from the row alone, in the place of a model's.

    Args:
        windows: The windows of a shard.
        out: The scores.
        settings: What the JSON file next to the scores states about the settings of ``score``.
    """
    signature = {**read_provenance(windows).signature, "weights": "stub"}
    source = digest_file(windows)
    metadata = Provenance(signature, package_version(), model="stub", source=source).metadata()
    schema = scores_schema()
    with write_table(out, schema, metadata=metadata) as writer:
        for batch in read_rows(windows, ["record", "allele", "status", "reason"]):
            rows = batch.to_pydict()
            rows["status"] = [
                "scored" if status == "to_score" else status for status in rows["status"]
            ]
            numbers = [
                record + allele / 8 if status == "scored" else None
                for record, allele, status, _ in zip(*rows.values(), strict=True)
            ]
            columns = [*rows.values(), *[numbers] * (len(schema.names) - 4)]
            writer.write_columns(dict(zip(schema.names, columns, strict=True)))
        digest = writer.digest()
    statements = {"settings": dict(settings), "scores": digest}
    side = {"windows_run": 0, "tokens_run": 0, "wall_s": 0, "statements": statements}
    shard_run_file(out).write_text(json.dumps(side))


def write_split(target: Path, **changes: object) -> None:
    """The ``split.json`` of two shards with 80 alleles, with other values of some keys."""
    stated = {
        "variants": "in.vcf",
        "variants_digest": "0" * 64,
        "format": "vcf",
        "alleles": 80,
        "records": 80,
        "invalid": 0,
        "filtered": 0,
        "shards": 2,
        "regions": None,
        "reference": {"name": "g", "digest": "d", "size": 1, "mtime_ns": 1},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(stated | changes))


# --- a shard to be scored again and again

SHARD_WINDOW_LENGTH = 96


@dataclass(frozen=True)
class Shard:
    """A shard whose windows are placed, to be scored again and again."""

    folder: Path
    checkpoint: Path

    def config(self, **run: object) -> RunConfig:
        """The config, with settings of ``run``."""
        parts = make_config(
            self.folder,
            model={"checkpoint": str(self.checkpoint)},
            scoring={"window_length": SHARD_WINDOW_LENGTH},
            run={"batch_tokens": 400, "part_tokens": 2_000} | run,
        )
        return load_config(parts, look_for_files=False)

    @property
    def files(self) -> ShardFiles:
        (files,) = files_of_shards(self.config(), self.folder)
        return files

    def score(self, out: Path, **run: object) -> dict[str, object]:
        """Score in this process; gives what the job states about itself."""
        run_score(self.config(**run), replace(self.files, scores=out))
        stated: dict[str, object] = json.loads(shard_run_file(out).read_text())
        return stated

    def start(self, out: Path, log: Path, **run: object) -> ForkServerProcess:
        """Score in a process of its own."""
        config = self.folder / f"{out.stem}.config.json"
        config.write_text(dump_config(self.config(**run)))
        command = ["score", "--config", config, "--scoring", "s", "--threads", "1"]
        command += ["--windows", self.files.windows, "--segments", self.files.segments]
        command += ["--out", out, "--log", log]
        return processes.start(_run_command, [str(word) for word in command])


def _run_command(words: list[str]) -> None:
    main(words)


def write_shard(folder: Path, checkpoint: Path, num_alleles: int) -> Shard:
    """Place the windows of SNVs at random positions of a sequence of 4,000 bases."""
    rng = random.Random(9)
    sequence = "".join(rng.choices("ACGT", k=4_000))
    lines = [HEADER]
    for pos in sorted(rng.sample(range(1, 4_001), num_alleles)):
        ref = sequence[pos - 1]
        alt = rng.choice([base for base in "ACGT" if base != ref])
        lines.append(f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    write_project(folder, genome={"c": sequence}, variants="".join(lines))
    shard = Shard(folder, checkpoint)
    run_split(shard.config(), folder)
    run_windows(shard.config(), folder)
    return shard
