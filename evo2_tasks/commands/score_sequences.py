"""The command ``score-sequences``: log-likelihoods of the sequences of a FASTA, without a config.

It runs the steps of a sequence set in one process, with one shard. So its table has the same bytes
as the table of the workflow.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evo2_tasks.config.resolve import ModelSettings
from evo2_tasks.config.schema import TABLE_SUFFIX, RunSettings
from evo2_tasks.config.sequences import (
    MergeSequencesSettings,
    ScoreSequencesSettings,
    SplitSequencesSettings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.io.files import require_other_file, require_writable
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import SEQUENCE_SCORES, SEQUENCE_SHARDS, SPLIT, shard_file, shard_run_file
from evo2_tasks.steps.merge_sequences import merge_sequences
from evo2_tasks.steps.score_sequence_set import score_sequence_set
from evo2_tasks.steps.split_sequences import split_sequences
from evo2_tasks.table.parts import parts_folder

COMMAND = "score-sequences"


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """How the command reads sequences: keys of a scoring and of a sequence set in a config."""

    strands: Literal["both", "forward", "reverse"]
    prepend_bos: bool
    max_n_share: float
    circular: bool
    min_context: int
    max_length: int
    per_base: bool


def score_sequences(
    sequences: Path,
    model: ModelSettings,
    options: SequenceOptions,
    run: RunSettings,
    *,
    out: Path,
    threads: int | None,
) -> None:
    """Score the sequences of a FASTA, and write the table and a JSON file next to it.

    Finished parts are kept in a folder next to the table until it is written. The same command
    continues from them.

    Args:
        sequences: The FASTA; ``-`` is standard input.
        model: The model.
        options: How the sequences are read.
        run: How the work is done.
        out: The table. The JSON file has the same stem.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The FASTA cannot be read, a file cannot be written, or the model cannot run with
            these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    if out.suffix != TABLE_SUFFIX:
        raise InputError(
            f"--out: {shown_path(out)}: expected a name that ends in {TABLE_SUFFIX}; the JSON file "
            "next to the table has the same name with another ending."
        )
    if not 0 <= options.max_n_share <= 1:  # not a number
        raise InputError("--max-n-share: expected a number from 0 to 1.")
    require_other_file(out, sequences)
    run_json = shard_run_file(out)
    require_other_file(run_json, sequences)
    require_writable(run_json)
    settings = ScoreSequencesSettings(
        name=COMMAND,
        split=SplitSequencesSettings(COMMAND, sequences, options.max_length, shards=1),
        strands=options.strands,
        prepend_bos=options.prepend_bos,
        max_n_share=options.max_n_share,
        circular=options.circular,
        min_context=options.min_context,
        per_base=options.per_base,
        model=model,
        run=run,
    )
    work = parts_folder(out)
    shards, scores = work / SEQUENCE_SHARDS, work / SEQUENCE_SCORES
    name = shard_file(1, 1)
    try:
        split_sequences(settings.split, sequences=None, out=shards)
        score_sequence_set(settings, shard=shards / name, out=scores / name, threads=threads)
        merge_sequences(
            MergeSequencesSettings(settings, allow_mixed_devices=True),
            split_file=shards / SPLIT,
            scores_folder=scores,
            out=out,
            run_json=run_json,
        )
    except InputError:
        if not any(scores.glob("*/*")):
            _remove(work)
        raise
    _remove(work)


def _remove(work: Path) -> None:
    """Remove the folder of the command, but nothing that another program put into it."""
    for folder in (SEQUENCE_SHARDS, SEQUENCE_SCORES):
        shutil.rmtree(work / folder, ignore_errors=True)
    with suppress(OSError):
        work.rmdir()
