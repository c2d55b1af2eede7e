"""The command ``generate``: new sequences that continue prompts, without a config.

It runs the steps of a generation in one process, with one shard. So its files have the same bytes
as those of the workflow.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from evo2_tasks.config.generations import MergeGenerationSettings, ReportGenerationSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.files import keep_others_out, require_other_file, require_writable
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import (
    GENERATED,
    GENERATION_RUN,
    GENERATION_STEPS,
    GENERATION_TABLE,
    PROMPTS,
    RUN_LOCK,
    shard_file,
    shard_run_file,
    steps_file,
)
from evo2_tasks.steps.generate_sequences import generate_sequences
from evo2_tasks.steps.merge_generation import merge_generation
from evo2_tasks.steps.read_prompts import read_prompts
from evo2_tasks.steps.report_generation import report_generation
from evo2_tasks.table.parts import parts_folder

COMMAND: Final = "generate"

FASTA_SUFFIXES: Final = (".fa", ".fasta", ".fna")


def generate(
    settings: MergeGenerationSettings, *, out: Path, html: Path | None, threads: int | None
) -> None:
    """Generate sequences, and write them with a table, the steps and a JSON file next to them.

    Finished prompts and steps are kept in a folder next to the FASTA until it is written. The same
    command continues from them.

    Args:
        settings: What to generate, and what to compare it with.
        out: The FASTA. The other files have its name with other endings.
        html: The report; None for none.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read or written, a setting has no meaning, or the model cannot
            run with these settings.
        Interrupted: The process received a signal to stop. Finished work is kept.
    """
    if out.suffix not in FASTA_SUFFIXES:
        raise InputError(
            f"--out: {shown_path(out)}: expected a name that ends in {', '.join(FASTA_SUFFIXES)}; "
            "the tables next to it have the same name with other endings."
        )
    table = out.with_suffix(".parquet")
    targets = {
        GENERATION_TABLE: table,
        GENERATION_STEPS: steps_file(table),
        GENERATION_RUN: shard_run_file(table),
    }
    for target in (out, *targets.values(), *([] if html is None else [html])):
        require_writable(target)
        require_other_file(target, *_list_sources(settings))
    work = parts_folder(out)
    with keep_others_out(work, RUN_LOCK, f"`evo2-tasks {COMMAND}`", "another file with --out"):
        try:
            _run_steps(settings, work, targets, fasta=out, html=html, threads=threads)
        except InputError:
            if not any((work / GENERATED).glob("*/*/*")):  # no finished work
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _run_steps(
    settings: MergeGenerationSettings,
    work: Path,
    targets: Mapping[str, Path],
    *,
    fasta: Path,
    html: Path | None,
    threads: int | None,
) -> None:
    """Run the steps of a generation, in a folder.

    Args:
        settings: See `generate`.
        work: The folder.
        targets: The files to write, by their names in the workflow.
        fasta: The FASTA to write.
        html: The report to write; None for none.
        threads: CPU threads of the model.
    """
    generated = work / GENERATED
    read_prompts(settings.generate.prompts, prompts=None, out=work / PROMPTS)
    generate_sequences(
        settings.generate,
        prompts=work / PROMPTS,
        out=generated / shard_file(1, 1),
        threads=threads,
    )
    merge_generation(
        settings,
        prompts=work / PROMPTS,
        generated=generated,
        out=targets[GENERATION_TABLE],
        fasta=fasta,
        steps=targets[GENERATION_STEPS],
        run_json=targets[GENERATION_RUN],
    )
    if html is not None:
        for name, target in targets.items():
            (work / name).unlink(missing_ok=True)
            (work / name).symlink_to(target.absolute())
        report_generation(
            ReportGenerationSettings(settings.generate.name, settings.genetic_code),
            results=work,
            out=html,
        )


def _list_sources(settings: MergeGenerationSettings) -> Iterator[Path]:
    """The files of the user that the command reads."""
    prompts = settings.generate.prompts
    references = (prompts.reference, settings.compare_with)
    found = (prompts.fasta, prompts.bed, *(one.fasta for one in references if one is not None))
    yield from (path for path in found if path is not None)
