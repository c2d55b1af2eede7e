"""Whether the files that a config names can be used, as far as a glance at them shows."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from evo2_tasks.config.objects import find_url
from evo2_tasks.config.probes import probe_file_problems
from evo2_tasks.config.resolve import background_set, find_checkpoint, path_of_scoring
from evo2_tasks.config.schema import ReferenceConfig, RunConfig
from evo2_tasks.hub import explain_checkpoint, parse_hub_name
from evo2_tasks.layout import CALIBRATION_FILES

MOST_BYTES = 50_000_000
"""An index, or a plain FASTA without one, is searched for its contigs up to this size."""


def file_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the files that a config names: the key, and what is wrong."""
    yield from _unusable_output(config.output)
    for name, reference in config.references.items():
        yield from _missing_file(f"references.{name}.fasta", reference.fasta)
        if reference.assembly_report is not None:
            yield from _missing_file(
                f"references.{name}.assembly_report", reference.assembly_report
            )
        if reference.gff is not None:
            yield from _missing_file(f"references.{name}.gff", reference.gff)
        yield from _unknown_contigs(name, reference)
    for name, model in config.models.items():
        if parse_hub_name(model.checkpoint) is None:
            yield from _missing_checkpoint(
                f"models.{name}.checkpoint", find_checkpoint(model.checkpoint)
            )
        if model.config is not None:
            yield from _missing_file(f"models.{name}.config", model.config)
    for name, variant_set in config.variant_sets.items():
        key, drawn = f"variant_sets.{name}", variant_set.random_snvs
        if variant_set.variants is not None:
            yield from _missing_file(f"{key}.variants", variant_set.variants)
        if variant_set.haplotype_of is not None:
            genotypes = variant_set.haplotype_of.variants
            yield from _missing_file(f"{key}.haplotype_of.variants", genotypes)
        if drawn is not None and drawn.regions is not None:
            yield from _missing_file(f"{key}.random_snvs.regions", drawn.regions)
    for name, sequence_set in config.sequence_sets.items():
        yield from _missing_file(f"sequence_sets.{name}.sequences", sequence_set.sequences)
    for name, track_set in config.track_sets.items():
        yield from _missing_file(f"track_sets.{name}.regions", track_set.regions)
    for name, generation in config.generations.items():
        for file in ("fasta", "bed"):
            path = getattr(generation.prompts, file)
            if path is not None:
                yield from _missing_file(f"generations.{name}.prompts.{file}", path)
    for name in config.calibrations:
        yield from _missing_tables(config, name)
    yield from probe_file_problems(config)
    if config.run.store is not None:
        yield from _unusable_store(config.run.store)


def _missing_tables(config: RunConfig, name: str) -> Iterator[tuple[str, str]]:
    """Files of earlier runs that a calibration is made from or read from."""
    key, calibration = f"calibrations.{name}", config.calibrations[name]
    used = [one.scorings for one in config.variant_sets.values() if name in one.calibrations]
    for scoring in dict.fromkeys(scoring for scorings in used for scoring in scorings):
        background = calibration.background
        if background is not None and background_set(config, name) is None:
            yield from _missing_file(f"{key}.background", path_of_scoring(background, scoring))
        if calibration.file is not None:
            file = path_of_scoring(calibration.file, scoring)
            missing = [*_missing_file(f"{key}.file", file)]
            yield from missing
            for beside in CALIBRATION_FILES:
                if missing:
                    break
                for where, what in _missing_file(f"{key}.file", file.with_name(beside)):
                    yield where, f"{what}. A calibration is a folder of files; copy all of them"


def _unusable_output(output: Path) -> Iterator[tuple[str, str]]:
    """An output that is not a folder, or that this user cannot write to."""
    try:
        # The folder, or what it would be made in.
        existing = next(path for path in (output, *output.absolute().parents) if path.exists())
        if not existing.is_dir():
            yield "output", f"{existing} is a file, expected a folder; name another folder"
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield "output", f"{existing} cannot be written to; name another folder"
    except OSError as error:
        yield "output", f"{output} cannot be used: {error.strerror}"


def _unusable_store(store: Path) -> Iterator[tuple[str, str]]:
    """A store that is not a folder, or that this user cannot read; one may be made later."""
    try:
        if not store.exists():
            return
        if not store.is_dir():
            yield "run.store", f"{store} is a file, expected a folder; name another folder"
        elif not os.access(store, os.R_OK | os.X_OK):
            yield (
                "run.store",
                f"{store} cannot be read: permission denied; ask its owner for permission, or "
                "remove `store`",
            )
    except OSError as error:
        yield "run.store", f"{store} cannot be read: {error.strerror}"


def _unknown_contigs(name: str, reference: ReferenceConfig) -> Iterator[tuple[str, str]]:
    """Circular contigs that the FASTA does not have, if its contigs are quickly found."""
    if not reference.circular_contigs:
        return
    contigs = _find_contigs(reference.fasta)
    for index, contig in enumerate(reference.circular_contigs):
        if contigs and contig not in contigs:
            near = difflib.get_close_matches(contig, contigs, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            first = ", ".join(contigs[:8]) + (", ..." if len(contigs) > 8 else "")
            yield (
                f"references.{name}.circular_contigs[{index}]",
                f"{reference.fasta} has no sequence {contig!r}; {hint}it has: {first}",
            )


def _find_contigs(fasta: Path) -> list[str]:
    """Names of a FASTA's sequences from its index, or from a small file itself; else none."""
    index = fasta.with_name(fasta.name + ".fai")
    try:
        if index.is_file():
            if index.stat().st_size > MOST_BYTES:
                return []
            lines = index.read_bytes().splitlines()
            return [line.partition(b"\t")[0].decode(errors="replace") for line in lines]
        with fasta.open("rb") as file:
            if file.read(1) != b">" or fasta.stat().st_size > MOST_BYTES:
                return []
            file.seek(0)
            headers = (line[1:].split() for line in file if line.startswith(b">"))
            return [words[0].decode(errors="replace") for words in headers if words]
    except OSError:
        return []  # `split` reports it, with the reason


def _missing_file(key: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        # Snakemake looks for a file that is named by URL.
        if find_url(path) is not None or path.is_file():
            return
        what = "is a folder, expected a file" if path.is_dir() else "does not exist"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    where = "" if path.is_absolute() else f" (looked in {Path.cwd()}, where relative paths begin)"
    yield key, f"{path} {what}{where}"


def _missing_checkpoint(key: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        if find_url(path) is not None and path.suffix == ".part0":
            yield (
                key,
                f"{find_url(path)} is the first of several files, and the others cannot be listed "
                "by URL; join them to one file with `cat` and name that",
            )
        elif not path.is_dir():
            hint = explain_checkpoint(path)
            for where, what in _missing_file(key, path):
                yield where, f"{what}. {hint}" if hint else what
        elif not (path / "config.json").is_file():
            yield key, f"the folder {path} has no config.json, so it is not a checkpoint"
    except OSError as error:
        yield key, f"{path} cannot be read: {error.strerror}"
