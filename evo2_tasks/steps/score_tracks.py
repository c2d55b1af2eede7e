"""The step ``score_tracks``: the log-probabilities of the bases of a shard of a track set."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evo2_tasks.config.tracks import ScoreTracksSettings
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.layout import shard_run_file
from evo2_tasks.steps.score import ShardWork
from evo2_tasks.table.documents import ScoreStatements, ShardRun
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import PartStore, parts_folder
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    make_signature,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.schema import tracks_schema
from evo2_tasks.table.segments import Segments, require_segments
from evo2_tasks.table.tracks import (
    VALUE_COLUMNS,
    ReadTile,
    TrackRows,
    digest_tiles,
    read_tile,
    read_tiles,
    require_finite,
    slice_tiles,
)

if TYPE_CHECKING:
    from evo2_tasks.runtime.track_jobs import TrackScorer

logger = logging.getLogger(__name__)


def score_tracks(
    settings: ScoreTracksSettings,
    *,
    tiles_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Read the windows of a shard, and write one row for each base of its regions.

    Each finished part is kept in a folder next to the file until ``merge_tracks`` has written the
    table. A job that was killed continues from these parts.

    Args:
        settings: The model, the windows and how the work is done.
        tiles_file: The windows of the shard, from ``tile``.
        segments_file: The reference bases of these windows, from ``tile``.
        out: The tracks of the shard. A JSON file of the same stem states device, versions, time and
            memory.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read, the files do not belong together or to these settings, or
            the model cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    files = SourceFiles()
    source = files.add(tiles_file)
    files.add(segments_file)
    placed = require_tiles(settings, tiles_file)
    require_segments(segments_file, tiles_file, source, placed["reference"])
    scoring_jobs = import_module("evo2_tasks.runtime.scoring_jobs")
    track_jobs = import_module("evo2_tasks.runtime.track_jobs")
    strands, run = STRANDS[settings.scoring.strands], settings.score.run
    with Interruption() as interruption:
        model = scoring_jobs.open_scoring_model(settings.score, threads)
        signature = make_signature(
            reference_digest=placed["reference"],
            scoring=placed["scoring"],
            weights_digest=model.loaded.weights_digest,
            dtype=model.loaded.dtype,
            fp8=model.loaded.fp8,
            prepend_bos=settings.scoring.prepend_bos,
        )
        provenance = Provenance(
            signature, package_version(), model=settings.score.model.name, source=source
        )
        key = track_jobs.part_key(settings, signature, model.loaded.devices)
        types = dict.fromkeys(VALUE_COLUMNS, pa.float32())
        store = PartStore(parts_folder(out), source, key, VALUE_COLUMNS, types=types)
        store.remove_stale()
        scorer = track_jobs.TrackScorer(model.loaded, settings, interruption)
        segments = Segments(segments_file)
        total = sum(len(one.tokens) for one in read_windows(tiles_file, segments))
        with (
            write_table(out, tracks_schema(), metadata=provenance.metadata()) as writer,
            Progress("score_tracks", total=total, unit="tokens") as progress,
        ):
            rows = TrackRows(writer, strands, prepend_bos=settings.scoring.prepend_bos)
            done = score_parts(
                slice_tiles(read_windows(tiles_file, segments), run.part_tokens),
                scorer, store, rows, progress, interruption,
                tiles_file=tiles_file, max_non_finite_share=run.max_non_finite_share,
            )  # fmt: skip
            files.require_unchanged()
            done.digest = writer.digest()
    machine = model.describe_machine()
    statements = ScoreStatements(settings=as_json(settings.triggers()), scores=done.digest)
    values = done.as_json(
        wall_s=time.monotonic() - started,
        load_s=model.loaded.load_s,
        batch_tokens=run.batch_tokens,
    )
    ShardRun(
        **values | {"non_finite": rows.non_finite},
        canaries=model.canaries,
        verification=model.verification,
        statements=statements,
        **machine,
    ).write(shard_run_file(out))
    logger.info(
        "%s, %d of them from an earlier job; %s; %.1f s, at most %s MB of memory",
        counted(len(done.parts), "part"), done.num_kept, counted(writer.num_rows, "base"),
        values["wall_s"], f"{machine['peak_memory_mb']:,.0f}",
    )  # fmt: skip


def require_tiles(settings: ScoreTracksSettings, tiles_file: Path) -> Mapping[str, Any]:
    """Make sure that windows were made with these settings and by this version.

    Returns:
        The signature of the windows.

    Raises:
        InputError: The file was made with other settings or by an earlier version.
    """
    placed = read_provenance(tiles_file).signature
    expected = make_windows_signature(
        reference_digest=str(placed.get("reference")), scoring=asdict(settings.scoring)
    )
    require_same_signature(tiles_file, placed, Path(f"scorings.{settings.score.name}"), expected)
    return expected


def read_windows(tiles_file: Path, segments: Segments) -> Iterator[ReadTile]:
    """The windows of a shard with their bases.

    Raises:
        InputError: A file cannot be read.
    """
    for tile in read_tiles(tiles_file):
        yield read_tile(tile, segments)


def score_parts(
    parts: Iterator[list[ReadTile]],
    scorer: "TrackScorer",
    store: PartStore,
    rows: TrackRows,
    progress: Progress,
    interruption: Interruption,
    *,
    tiles_file: Path,
    max_non_finite_share: float,
) -> ShardWork:
    """Score the parts that no earlier job has finished, and write the rows of all parts.

    Args:
        parts: The windows of each part of the shard.
        scorer: Runs the model.
        store: The finished parts.
        rows: The rows of the tracks.
        progress: Counts the tokens of the shard.
        interruption: Checked after each part.
        tiles_file: The windows, for messages.
        max_non_finite_share: Largest share of bases whose values are not finite.

    Raises:
        InputError: Too many values are not finite, or a file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    done = ShardWork()
    digests: list[str] = []
    for number, part in enumerate(parts):
        digest = digest_tiles(part)
        ends = np.cumsum([len(one.context) for one in part])
        kept = store.read_columns(number, digest, int(ends[-1]))
        if kept is None:
            values, usage = scorer.score(part, progress)
            columns = np.concatenate(values).T
            store.write_columns(number, digest, [np.ascontiguousarray(c) for c in columns], usage)
            # Equal windows are run once, and count for each of them.
            progress.add(usage.tokens - usage.tokens_run)
        else:
            arrays, usage = kept
            together = np.stack([one.to_numpy(zero_copy_only=False) for one in arrays], axis=1)
            values = np.split(together, ends[:-1])
            done.num_kept += 1
            done.kept_s += usage.wall_s
            progress.skip(usage.tokens)
        done.parts.append(usage)
        digests.append(digest)
        for one, own in zip(part, values, strict=True):
            rows.add(one, own)
        require_finite(rows, tiles_file, max_non_finite_share)
        interruption.check()
    rows.finish()
    store.finish(digests)
    return done
