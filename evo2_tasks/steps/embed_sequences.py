"""The step ``embed_sequences``: mean outputs of layers over the sequences of a shard."""

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.config.sequences import EmbedSequencesSettings
from evo2_tasks.cost.embeddings import layer_width, name_sequence_layers
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.scoring.sequences import (
    ReadingSettings,
    SequenceToScore,
    digest_sequences,
    slice_sequences,
)
from evo2_tasks.steps.score import ShardWork
from evo2_tasks.steps.score_sequence_set import make_provenance, reading_settings, state_work
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.readout_parts import ReadoutParts
from evo2_tasks.table.sequence_embeddings import SequenceLayers, write_shard
from evo2_tasks.table.sequence_rows import count_tokens, read_to_score

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel
    from evo2_tasks.runtime.sequence_jobs import SequenceEmbedder


def embed_sequences(
    settings: EmbedSequencesSettings, *, shard: Path, out: Path, threads: int | None
) -> None:
    """Run the model on the sequences of a shard, and average the outputs of layers.

    Each finished part is kept in a folder next to the file until ``merge_sequence_embeddings`` has
    written a table. A job that was killed continues from these parts.

    Args:
        settings: The model, how sequences are read, and the layers.
        shard: The shard, from ``split_sequences``.
        out: The embeddings of the shard, one row for each of its rows. A JSON file of the same stem
            states device, versions, time and memory.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The shard cannot be read, the model has no such layer, or it cannot run with
            these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    settings = name_sequence_layers(settings)
    score = settings.score
    files = SourceFiles()
    source = files.add(shard)
    reading = reading_settings(score)
    layers = list_layers(settings, reading)
    jobs = import_module("evo2_tasks.runtime.scoring_jobs")  # imports torch
    with Interruption() as interruption:
        model: ScoringModel = jobs.open_scoring_model(score, threads)
        provenance = make_provenance(score, model, source)
        key = jobs.part_key(score, provenance.signature, model.loaded.devices)
        store = ReadoutParts(parts_folder(out), layers, source, key)
        store.remove_stale()
        make_embedder = import_module("evo2_tasks.runtime.sequence_jobs").SequenceEmbedder
        embedder = make_embedder(model.loaded, score, reading, tuple(layers.widths), interruption)
        total = count_tokens(shard, reading)
        with Progress("embed_sequences", total=total, unit="tokens") as progress:
            done, digests = embed_parts(
                list_parts(settings, layers, reading, shard),
                embedder, layers, store, progress, interruption,
            )  # fmt: skip
        with write_table(out, layers.schema, metadata=provenance.metadata()) as writer:
            write_shard(layers, shard, store.read(digests), writer)
            files.require_unchanged()
            done.digest = writer.digest()
        state_work(
            score.run.batch_tokens, model, done, out,
            wall_s=time.monotonic() - started, triggers=settings.triggers(),
        )  # fmt: skip


def list_layers(settings: EmbedSequencesSettings, reading: ReadingSettings) -> SequenceLayers:
    """The layers of a shard.

    Args:
        settings: With the published names of the layers.
        reading: How the sequences are read.

    Raises:
        InputError: The shape of the model cannot be read.
    """
    widths = {
        layer: layer_width(layer, settings.score.model) for layer in settings.embeddings.layers
    }
    return SequenceLayers(widths, reading.strands)


def list_parts(
    settings: EmbedSequencesSettings, layers: SequenceLayers, reading: ReadingSettings, shard: Path
) -> Iterator[list[SequenceToScore]]:
    """The sequences of each part of a shard that the model has to read."""
    return slice_sequences(
        read_to_score(shard, reading), settings.score.run.part_tokens, reading, layers.part_rows
    )


def embed_parts(
    parts: Iterator[list[SequenceToScore]],
    embedder: "SequenceEmbedder",
    layers: SequenceLayers,
    store: ReadoutParts[SequenceLayers],
    progress: Progress,
    interruption: Interruption,
) -> tuple[ShardWork, Sequence[str]]:
    """Make the parts that no earlier job has finished.

    Returns:
        The work, and the digest of each part.

    Raises:
        InputError: A file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    done = ShardWork()
    digests: list[str] = []
    for number, part in enumerate(parts):
        digest = digest_sequences(part)
        kept = store.read_usage(number, digest, len(part))
        if kept is None:
            found, usage = embedder.embed(part, progress)
            store.write(number, digest, layers.dump(part, found), usage)
            # Tokens of equal sequences are run once, and count for each of them.
            progress.add(usage.tokens - usage.tokens_run)
        else:
            usage = kept
            done.num_kept += 1
            done.kept_s += usage.wall_s
            progress.skip(usage.tokens)
        done.parts.append(usage)
        digests.append(digest)
        interruption.check()
    return done, digests
