"""The progress of generations, for ``status``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    ANY_SHARD,
    GENERATED,
    GENERATION_RUN,
    GENERATIONS,
    PROMPT_COUNTS,
    PROMPTS,
    STEPS,
    parse_shard_name,
    shard_name,
    shard_run_file,
)
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.generation_documents import GeneratedRun, PromptCounts
from evo2_tasks.table.generation_parts import count_finished
from evo2_tasks.table.parquet import read_metadata
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import PREFIX


@dataclass(slots=True)
class GenerationProgress:
    """Progress of a generation.

    Attributes:
        name: Its name.
        shards: Number of shards whose jobs have begun, or of all if one has stated it.
        prompts: Prompts that are continued.
        shards_done: Finished shards.
        shards_running: Shards whose job has written to its log lately.
        prompts_done: Prompts whose sequences are finished.
        sequences: Sequences of these.
        seconds: Time of all jobs together.
        is_merged: Whether the files of all shards are combined.
    """

    name: str
    shards: int
    prompts: int
    shards_done: int = 0
    shards_running: int = 0
    prompts_done: int = 0
    sequences: int = 0
    seconds: float = 0.0
    is_merged: bool = False


def list_generations(results: Path) -> list[Path]:
    """Folders of the generations whose prompts were read."""
    return sorted(path.parent for path in results.glob(f"{GENERATIONS}/*/{PROMPT_COUNTS}"))


def read_generation_progress(
    folder: Path, logs: Path, is_running: Callable[[Path], bool]
) -> GenerationProgress:
    """Read the progress of a generation.

    Args:
        folder: Folder of the generation.
        logs: Folder of the logs.
        is_running: Whether the job with a log is running.

    Raises:
        InputError: The file with the counts of the prompts cannot be read.
    """
    counts = PromptCounts.read(folder / PROMPT_COUNTS)
    step = STEPS["generate_sequences"]
    names = {path.name.partition(".")[0] for path in (folder / GENERATED).glob(ANY_SHARD)}
    names |= {path.stem for path in (logs / step.name / folder.name).glob(f"{ANY_SHARD}.log")}
    found = [shard for name in names if (shard := parse_shard_name(name)) is not None]
    shards = max((of for _, of in found), default=0)
    progress = GenerationProgress(folder.name, shards, counts.to_generate)
    source, newest = None, 0.0
    with suppress(InputError):  # it is being written again
        source = digest_file(folder / PROMPTS)
    for number, of in sorted(found):
        if of != shards:  # of a run with another number of shards
            continue
        name = shard_name(number, of)
        table = folder / GENERATED / f"{name}.parquet"
        done: Sequence[PartUsage] = []
        if _is_done(table, source):
            run = GeneratedRun.read(shard_run_file(table))
            progress.shards_done += 1
            progress.prompts_done += run.parts or 0
            progress.sequences += run.alleles_tried
            progress.seconds += run.wall_s
            newest = max(newest, table.stat().st_mtime)
        else:
            done = count_finished(parts_folder(table))
            log = step.log.format(generation=folder.name, shard=name)
            progress.shards_running += is_running(logs / log)
        progress.prompts_done += len(done)
        progress.sequences += sum(one.alleles_tried for one in done)
        progress.seconds += sum(one.wall_s for one in done)
    run_file = folder / GENERATION_RUN
    is_whole = 0 < progress.shards == progress.shards_done
    progress.is_merged = is_whole and run_file.exists() and run_file.stat().st_mtime >= newest
    return progress


def _is_done(table: Path, source: str | None) -> bool:
    """Whether a shard is finished, and from the present prompts."""
    if not (table.exists() and shard_run_file(table).exists()):
        return False
    return source is None or read_metadata(table).get(f"{PREFIX}source") == source
