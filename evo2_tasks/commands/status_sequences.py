"""The progress of sequence sets, for ``status``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    SEQUENCE_RUN,
    SEQUENCE_SCORES,
    SEQUENCE_SHARDS,
    SPLIT,
    STEPS,
    shard_file,
    shard_name,
    shard_run_file,
)
from evo2_tasks.table.documents import PartUsage, ShardRun
from evo2_tasks.table.parquet import count_rows, read_metadata
from evo2_tasks.table.parts import parts_folder, read_usage
from evo2_tasks.table.provenance import PREFIX
from evo2_tasks.table.sequence_documents import SequenceSplit


@dataclass(slots=True)
class SequenceProgress:
    """Progress of a scoring of a sequence set.

    Attributes:
        sequence_set: Name of the set.
        scoring: Name of the scoring.
        shards: Number of shards.
        records: Records of the FASTA.
        shards_done: Finished shards.
        shards_running: Shards whose job has written to its log lately.
        records_done: Rows of finished shards, and sequences that the model has read in the others.
        tried: Sequences that the model has read.
        seconds: Time of all jobs together.
        is_merged: Whether the table of all shards is written.
    """

    sequence_set: str
    scoring: str
    shards: int
    records: int
    shards_done: int = 0
    shards_running: int = 0
    records_done: int = 0
    tried: int = 0
    seconds: float = 0.0
    is_merged: bool = False


def list_sequence_sets(results: Path) -> list[Path]:
    """Folders of the sequence sets that ``split_sequences`` has read."""
    return sorted(path.parent.parent for path in results.glob(f"*/{SEQUENCE_SHARDS}/{SPLIT}"))


def read_sequence_progress(
    folder: Path, logs: Path, is_running: Callable[[Path], bool]
) -> Iterator[SequenceProgress]:
    """Read the progress of each scoring of a sequence set.

    Args:
        folder: Folder of the sequence set.
        logs: Folder of the logs.
        is_running: Whether the job with a log is running.

    Raises:
        InputError: The ``split.json`` of the set cannot be read.
    """
    split = SequenceSplit.read(folder / SEQUENCE_SHARDS / SPLIT)
    step = STEPS["score_sequence_set"]
    begun = {path.parent for path in folder.glob(f"*/{SEQUENCE_SCORES}/")}
    begun |= {folder / path.name for path in (logs / step.name / folder.name).glob("*/")}
    for scoring in sorted(begun):
        progress = SequenceProgress(folder.name, scoring.name, split.shards, split.records)
        newest = 0.0
        for shard in range(1, split.shards + 1):
            name = shard_file(shard, split.shards)
            table = scoring / SEQUENCE_SCORES / name
            source = None
            with suppress(InputError):  # it is being written again
                source = digest_file(folder / SEQUENCE_SHARDS / name)
            parts: Sequence[ShardRun | PartUsage] = []
            if _is_done(table, source):
                progress.shards_done += 1
                progress.records_done += count_rows(table)
                parts = [ShardRun.read(shard_run_file(table))]
                newest = max(newest, table.stat().st_mtime)
            else:
                if source is not None:
                    parts = read_usage(parts_folder(table), source)
                progress.records_done += sum(part.alleles_tried for part in parts)
                log = step.log.format(
                    sequence_set=folder.name,
                    scoring=scoring.name,
                    shard=shard_name(shard, split.shards),
                )
                progress.shards_running += is_running(logs / log)
            progress.tried += sum(part.alleles_tried for part in parts)
            progress.seconds += sum(part.wall_s for part in parts)
        run = scoring / SEQUENCE_RUN
        is_whole = progress.shards_done == progress.shards
        progress.is_merged = is_whole and run.exists() and run.stat().st_mtime >= newest
        yield progress


def _is_done(table: Path, source: str | None) -> bool:
    """Whether a shard is scored, and from the present sequences."""
    if not (table.exists() and shard_run_file(table).exists()):
        return False
    return source is None or read_metadata(table).get(f"{PREFIX}source") == source
