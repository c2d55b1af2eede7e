"""The step ``merge_tracks``: the tracks of all shards in one table."""

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from evo2_tasks.config.tracks import MergeTracksSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import TILE_COUNTS, TRACK_REGIONS, shard_file, shard_run_file
from evo2_tasks.table.documents import ShardRun, TileCounts, TracksRun
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    Provenance,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import (
    count_devices,
    read_shards,
    require_equal_devices,
    without_statements,
)
from evo2_tasks.table.schema import tracks_schema

logger = logging.getLogger(__name__)


def merge_tracks(
    settings: MergeTracksSettings,
    *,
    tiles_folder: Path,
    scores_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the shards into one table, with a row for each base of the regions.

    Args:
        settings: What the files must have been made with, and which devices may be mixed.
        tiles_folder: Folder of the files that ``tile`` wrote.
        scores_folder: Folder of the files that ``score_tracks`` wrote.
        out: The tracks.
        run_json: Counts, and the work of the scoring jobs.

    Raises:
        InputError: A file is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    counts = read_counts(settings, tiles_folder, files)
    names = [shard_file(shard, counts.shards) for shard in range(1, counts.shards + 1)]
    shards = [
        require_scored(settings, tiles_folder / name, scores_folder / name, files) for name in names
    ]
    paths = [scores_folder / name for name in names]
    found = [read_provenance(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        require_same_signature(paths[0], found[0].signature, path, one.signature)
    score = settings.score.score
    require_equal_devices(
        shards,
        dtype=score.model.dtype,
        fp8=uses_fp8(found[0].signature),
        allow_mixed=score.run.allow_mixed_devices,
    )
    provenance = Provenance(
        found[0].signature,
        ", ".join(sorted({one.version for one in found})) or package_version(),
        model=score.model.name,
        settings=settings.triggers(),
        inputs=counts.inputs,
    )
    with (
        write_table(out, tracks_schema(), metadata=provenance.metadata()) as writer,
        Progress("merge_tracks", total=counts.bases, unit="bases") as progress,
    ):
        for path in paths:
            for batch in read_rows(path):
                writer.write(batch)
                progress.add(batch.num_rows)
        files.require_unchanged()
        digest = writer.digest()
        if writer.num_rows != counts.bases:
            raise InputError(
                f"{shown_path(scores_folder)}: its files have {writer.num_rows:,} bases, but the "
                f"regions have {counts.bases:,}. Delete this folder, and run again."
            )
    TracksRun(
        table_digest=digest,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=score.model.name,
        signature=dict(provenance.signature),
        regions=counts.regions,
        records=counts.records,
        by_status=counts.by_status,
        bases=counts.bases,
        non_finite=sum(shard.non_finite or 0 for shard in shards),
        reference=counts.reference,
        fasta=counts.fasta,
        contigs=counts.contigs,
        windows_run=sum(shard.windows_run for shard in shards),
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        devices=count_devices(shards),
        shards=tuple(map(without_statements, shards)),
    ).write(run_json)
    logger.info("%s: %s", out, counted(counts.bases, "base"))
    remove_parts(scores_folder)


def read_counts(settings: MergeTracksSettings, folder: Path, files: SourceFiles) -> TileCounts:
    """Read what ``tile`` states, and compare its files with it.

    Args:
        settings: The settings that the files must have been made with.
        folder: Folder of the files that ``tile`` wrote.
        files: Gets these files.

    Raises:
        InputError: A file is missing, or is of another run or of other settings.
    """
    path = folder / TILE_COUNTS
    files.add(path)
    counts = TileCounts.read(path)
    require_settings(path, counts.settings, settings.tile.triggers(), "tile")
    names = [shard_file(shard, counts.shards) for shard in range(1, counts.shards + 1)]
    for name in (TRACK_REGIONS, *names):
        require_source(path, counts.files.get(name), folder / name, files.add(folder / name))
    return counts


def require_scored(
    settings: MergeTracksSettings, tiles: Path, scores: Path, files: SourceFiles
) -> ShardRun:
    """Make sure that the tracks of a shard were made from its windows, and with these settings.

    Args:
        settings: The settings that they must have been made with.
        tiles: The windows.
        scores: The tracks of the shard.
        files: Has the windows, and gets the other files.

    Returns:
        What the job states about them.

    Raises:
        InputError: A file is missing, or was made from other windows or with other settings.
    """
    digest = files.add(scores)
    provenance = read_provenance(scores)
    require_source(scores, provenance.source, tiles, files.digest(tiles))
    placed = make_windows_signature(
        reference_digest=str(provenance.signature.get("reference")),
        scoring=asdict(settings.score.scoring),
    )
    stated = {key: provenance.signature.get(key) for key in placed}
    require_same_signature(tiles, read_provenance(tiles).signature, scores, stated)
    run_file = shard_run_file(scores)
    files.add(run_file)
    [run] = read_shards([run_file])
    made = run.statements
    require_source(run_file, made and made.scores, scores, digest)
    require_settings(run_file, made and made.settings, settings.score.triggers(), "score_tracks")
    return run
