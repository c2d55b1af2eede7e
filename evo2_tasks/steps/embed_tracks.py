"""The step ``embed_tracks``: sums of the outputs of layers over the regions of a shard."""

import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.config.track_embeddings import EmbedTracksSettings
from evo2_tasks.cost.embeddings import layer_width, name_track_layers
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.steps.score import ShardWork
from evo2_tasks.steps.score_sequence_set import state_work
from evo2_tasks.steps.score_tracks import read_windows, require_tiles
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import (
    Provenance,
    make_signature,
    package_version,
    read_provenance,
    require_source,
)
from evo2_tasks.table.readout_parts import ReadoutParts
from evo2_tasks.table.segments import Segments, require_segments
from evo2_tasks.table.track_embeddings import (
    RegionBlocks,
    TileRanges,
    TrackLayers,
    list_rows,
    slice_ranges,
)
from evo2_tasks.table.tracks import digest_tiles

if TYPE_CHECKING:
    from evo2_tasks.runtime.track_jobs import TrackEmbedder


def embed_tracks(
    settings: EmbedTracksSettings,
    *,
    tiles_file: Path,
    segments_file: Path,
    regions_table: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Run the model on the windows of a shard, and sum the outputs of layers over the regions.

    Each finished part is kept in a folder next to the file until ``merge_track_embeddings`` has
    written a table. A job that was killed continues from these parts.

    Args:
        settings: The regions, the model, the windows and the layers.
        tiles_file: The windows of the shard, from ``tile``.
        segments_file: The reference bases of these windows, from ``tile``.
        regions_table: The regions with their status, from ``tile``.
        out: The sums of the shard. A JSON file of the same stem states device, versions, time and
            memory.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read, the files do not belong together or to these settings,
            the model has no such layer, or it cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    settings = name_track_layers(settings)
    score = settings.score
    files = SourceFiles()
    source = files.add(tiles_file)
    files.add(segments_file)
    files.add(regions_table)
    placed = require_tiles(score, tiles_file)
    require_segments(segments_file, tiles_file, source, placed["reference"])
    digest = files.add(settings.regions)
    for path in (tiles_file, regions_table):
        require_source(path, read_provenance(path).source, settings.regions, digest)
    blocks = RegionBlocks(settings.regions, regions_table)
    model_settings = score.score.model
    layers = TrackLayers(
        {one: layer_width(one, model_settings) for one in settings.embeddings.layers}
    )
    track_jobs = import_module("evo2_tasks.runtime.track_jobs")  # imports torch
    with Interruption() as interruption:
        jobs = import_module("evo2_tasks.runtime.scoring_jobs")
        model = jobs.open_scoring_model(score.score, threads)
        signature = make_signature(
            reference_digest=placed["reference"],
            scoring=placed["scoring"],
            weights_digest=model.loaded.weights_digest,
            dtype=model.loaded.dtype,
            fp8=model.loaded.fp8,
            prepend_bos=score.scoring.prepend_bos,
        )
        provenance = Provenance(
            signature, package_version(), model=model_settings.name, source=source
        )
        key = track_jobs.part_key(score, signature, model.loaded.devices)
        store = ReadoutParts(parts_folder(out), layers, source, key)
        store.remove_stale()
        embedder = track_jobs.TrackEmbedder(model.loaded, score, layers, interruption)
        segments = Segments(segments_file)
        total = sum(len(one.tokens) for one in read_windows(tiles_file, segments))
        windows = read_windows(tiles_file, segments)
        parts = slice_ranges(windows, blocks, score.score.run.part_tokens, layers.part_ranges)
        with Progress("embed_tracks", total=total, unit="tokens") as progress:
            done, digests = embed_parts(parts, embedder, store, progress, interruption)
        with write_table(out, layers.part_schema, metadata=provenance.metadata()) as writer:
            for rows in store.read(digests):
                writer.write(rows)
            files.require_unchanged()
            done.digest = writer.digest()
        state_work(
            score.score.run.batch_tokens, model, done, out,
            wall_s=time.monotonic() - started, triggers=settings.triggers(),
        )  # fmt: skip


def embed_parts(
    parts: Iterable[list[TileRanges]],
    embedder: "TrackEmbedder",
    store: ReadoutParts[TrackLayers],
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
        digest = digest_tiles(one.read for one in part)
        kept = store.read_usage(number, digest, len(list_rows(part)))
        if kept is None:
            rows, usage = embedder.embed(part, progress)
            store.write(number, digest, rows, usage)
            # Equal windows are run once, and count for each of them.
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
