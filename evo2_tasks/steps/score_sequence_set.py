"""The step ``score_sequence_set``: the log-likelihoods of the sequences of a shard."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo2_tasks.config.sequences import ScoreSequencesSettings
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.layout import shard_run_file
from evo2_tasks.scoring.sequences import (
    ReadingSettings,
    SequenceToScore,
    digest_sequences,
    slice_sequences,
)
from evo2_tasks.steps.score import ShardWork
from evo2_tasks.table.documents import ScoreStatements, ShardRun
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import PartStore, parts_folder
from evo2_tasks.table.provenance import Provenance, as_json, package_version
from evo2_tasks.table.sequence_rows import (
    SequenceRows,
    count_tokens,
    dump_scores,
    part_columns,
    part_types,
    read_to_score,
)
from evo2_tasks.table.sequence_schema import SEQUENCES_VERSION, sequences_table_schema

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel
    from evo2_tasks.runtime.sequence_jobs import SequenceScorer

logger = logging.getLogger(__name__)


def score_sequence_set(
    settings: ScoreSequencesSettings, *, shard: Path, out: Path, threads: int | None
) -> None:
    """Run the model on the sequences of a shard.

    Each finished part is kept in a folder next to the table until ``merge_sequences`` has written
    the table of all shards. A job that was killed continues from these parts.

    Args:
        settings: The model, and how sequences are read.
        shard: The shard, from ``split_sequences``.
        out: The table of the shard, one row for each of its rows. A JSON file of the same stem
            states device, versions, time and memory.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The shard cannot be read, too many values are not finite, or the model cannot
            run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    files = SourceFiles()
    source = files.add(shard)
    reading = reading_settings(settings)
    jobs = import_module("evo2_tasks.runtime.scoring_jobs")  # imports torch
    with Interruption() as interruption:
        model: ScoringModel = jobs.open_scoring_model(settings, threads)
        provenance = make_provenance(settings, model, source)
        schema = sequences_table_schema(per_base=settings.per_base)
        with write_table(out, schema, metadata=provenance.metadata()) as writer:
            key = jobs.part_key(settings, provenance.signature, model.loaded.devices)
            key["per_base"] = settings.per_base
            store = PartStore(
                parts_folder(out), source, key, part_columns(reading), types=part_types(reading)
            )
            store.remove_stale()
            make_scorer = import_module("evo2_tasks.runtime.sequence_jobs").SequenceScorer
            total = count_tokens(shard, reading)
            with Progress("score_sequence_set", total=total, unit="tokens") as progress:
                done = score_parts(
                    read_parts(settings, shard),
                    make_scorer(model.loaded, settings, reading, interruption),
                    store,
                    SequenceRows(shard, writer, reading),
                    progress,
                    interruption,
                    max_non_finite_share=settings.run.max_non_finite_share,
                    reading=reading,
                )
            files.require_unchanged()
            done.digest = writer.digest()
        state_work(
            settings.run.batch_tokens, model, done, out,
            wall_s=time.monotonic() - started, triggers=settings.triggers(),
        )  # fmt: skip


def reading_settings(settings: ScoreSequencesSettings) -> ReadingSettings:
    """How the sequences of a set are read."""
    return ReadingSettings(
        strands=STRANDS[settings.strands],
        min_context=settings.min_context if settings.circular else None,
        prepend_bos=settings.prepend_bos,
        max_n_share=settings.max_n_share,
        per_base=settings.per_base,
    )


def read_parts(settings: ScoreSequencesSettings, shard: Path) -> Iterator[list[SequenceToScore]]:
    """The sequences of each part of a shard that the model has to read.

    Args:
        settings: How sequences are read.
        shard: The shard, from ``split_sequences``.

    Raises:
        InputError: The shard cannot be read.
    """
    reading = reading_settings(settings)
    return slice_sequences(read_to_score(shard, reading), settings.run.part_tokens, reading)


def make_provenance(
    settings: ScoreSequencesSettings, model: "ScoringModel", source: str
) -> Provenance:
    """The provenance of the values that a model gives.

    Args:
        settings: How sequences are read.
        model: The model.
        source: SHA-256 of the shard.
    """
    signature = {
        "sequences_version": SEQUENCES_VERSION,
        "scoring": settings.scoring,
        "weights": model.loaded.weights_digest,
        "dtype": model.loaded.dtype,
        "fp8": model.loaded.fp8,
        "prepend_bos": settings.prepend_bos,
    }
    return Provenance(
        as_json(signature), package_version(), model=settings.model.name, source=source
    )


def score_parts(
    parts: Iterable[list[SequenceToScore]],
    scorer: "SequenceScorer",
    store: PartStore,
    rows: SequenceRows,
    progress: Progress,
    interruption: Interruption,
    *,
    max_non_finite_share: float,
    reading: ReadingSettings,
) -> ShardWork:
    """Score the parts that no earlier job has finished, and write the rows of all parts.

    Args:
        parts: The sequences of each part of the shard.
        scorer: Runs the model.
        store: The finished parts.
        rows: The rows of the table.
        progress: Counts the tokens of the shard.
        interruption: Checked after each part.
        max_non_finite_share: Largest share of sequences with a value that is not finite.
        reading: How the sequences are read.

    Raises:
        InputError: Too many values are not finite, or a file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    done = ShardWork()
    digests: list[str] = []
    for number, part in enumerate(parts):
        digest = digest_sequences(part)
        kept = store.read(number, digest, len(part))
        if kept is None:
            scores, usage = scorer.score(part, progress)
            values = [dump_scores(one, reading) for one in scores]
            store.write(number, digest, values, usage)
            # Tokens of equal sequences are run once, and count for each of them.
            progress.add(usage.tokens - usage.tokens_run)
        else:
            values, usage = kept
            done.num_kept += 1
            done.kept_s += usage.wall_s
            progress.skip(usage.tokens)
        done.parts.append(usage)
        digests.append(digest)
        rows.write(part, values)
        rows.require_finite(max_non_finite_share)
        interruption.check()
    rows.finish()
    store.finish(digests)
    return done


def state_work(
    batch_tokens: int,
    model: "ScoringModel",
    done: ShardWork,
    out: Path,
    *,
    wall_s: float,
    triggers: Mapping[str, object],
) -> None:
    """Write the JSON file next to the table of a shard.

    Args:
        batch_tokens: Tokens that should go through the model at once.
        model: The model.
        done: The work.
        out: The table.
        wall_s: Seconds of this job.
        triggers: What runs the step again if it changes.
    """
    machine: dict[str, Any] = model.describe_machine()
    ShardRun(
        **done.as_json(wall_s=wall_s, load_s=model.loaded.load_s, batch_tokens=batch_tokens),
        canaries=model.canaries,
        verification=model.verification,
        statements=ScoreStatements(settings=as_json(triggers), scores=done.digest),
        **machine,
    ).write(shard_run_file(out))
    logger.info(
        "%s, %d of them from an earlier job; %.1f s, at most %s MB of memory",
        counted(len(done.parts), "part"),
        done.num_kept,
        wall_s,
        f"{machine['peak_memory_mb']:,.0f}",
    )
