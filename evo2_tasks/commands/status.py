"""The command ``status``: the progress of a run, read from its files and logs.

The file is long because it reads the progress and prints it; sets of other kinds have files of
their own.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from evo2_tasks.commands.status_generations import (
    list_generations,
    read_generation_progress,
)
from evo2_tasks.commands.status_sequences import list_sequence_sets, read_sequence_progress
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import LONG, shown, shown_path
from evo2_tasks.layout import (
    AUDIT,
    GENERATIONS,
    HAPLOTYPES_RUN,
    LOGS,
    PAIR_COUNTS,
    PAIR_SCORES,
    PAIRS,
    PROMPT_COUNTS,
    READOUTS,
    READOUTS_RUN,
    RUN,
    SCORES,
    SHARDS,
    SPLIT,
    STEPS,
    TILE_COUNTS,
    TILES,
    TRACK_SCORES,
    TRACKS_RUN,
    WINDOWS,
    fill,
    hits_file,
    hits_run_file,
    shard_file,
    shard_name,
    shard_readout,
    shard_run_file,
)
from evo2_tasks.table.documents import Lookup, PairCounts, PartUsage, ShardRun, Split, TileCounts
from evo2_tasks.table.pairs import count_tokens
from evo2_tasks.table.parquet import count_rows
from evo2_tasks.table.parts import parts_folder, read_usage
from evo2_tasks.table.provenance import read_provenance

SECONDS_OF_SILENCE = 180.0  # a running job writes to its log every 30 s
ERROR = " ERROR "  # the level in a line of a log
TAIL_BYTES = 4096
MOST_FAILURES = 20
READOUT_FILES = (AUDIT, READOUTS_RUN)
"""Files of a shard's read-outs, of which a finished job has written at least one."""
SCORING_STEPS = ("score", "score_readouts")
"""The steps that run the model on the alleles of a shard: one of them for each scoring."""
MODEL_STEPS = (*SCORING_STEPS, "score_haplotypes", "score_tracks")
"""All steps that run the model on a shard."""


@dataclass(frozen=True)
class Failure:
    """A failed job, with the last line of its log."""

    log: str
    last_line: str


@dataclass
class ScoringStatus:
    """Progress of a scoring of a variant set."""

    variant_set: str
    scoring: str
    shards: int
    shards_done: int = 0
    shards_running: int = 0
    alleles: int = 0
    """Rows of all shards, with or without a score."""
    alleles_done: int = 0
    """Rows of finished shards, and alleles that went through the model in the other shards."""
    alleles_tried: int = 0
    """Alleles that went through the model."""
    tokens: int = 0
    """Tokens of all windows, without those of alleles whose scores a store has; a shared window
    counts once for each allele. An estimate until all windows are placed."""
    tokens_done: int = 0
    seconds: float = 0.0
    """Time of all jobs together."""
    is_merged: bool = False
    of_haplotypes: bool = False
    """Whether the entry is about the pairs of windows of haplotypes and compounds; ``alleles`` then
    counts these."""
    of_tracks: bool = False
    """Whether the entry is about a track set; ``alleles`` then counts windows."""
    of_sequences: bool = False
    """Whether the entry is about a sequence set, which ``variant_set`` names; ``alleles`` and
    ``tokens`` then count its sequences."""
    of_generation: bool = False
    """Whether the entry is about a generation, which ``variant_set`` names; ``alleles`` and
    ``tokens`` then count its prompts."""
    failures: list[Failure] = field(default_factory=list)

    @property
    def alleles_per_s(self) -> float | None:
        """Alleles per second of one job."""
        return self.alleles_tried / self.seconds if self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last score, with as many jobs as are running now, at least one."""
        if not self.seconds or not self.tokens_done:
            return None
        left = max(0, self.tokens - self.tokens_done)
        return left * self.seconds / self.tokens_done / max(1, self.shards_running)

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values."""
        return asdict(self) | {
            "alleles_per_s": self.alleles_per_s,
            "seconds_left": self.seconds_left,
        }


def read_status(results: Path, *, failed: Iterable[Path] | None = None) -> list[ScoringStatus]:
    """Read the progress of each scoring.

    Failed jobs of a whole variant set have an entry without a scoring, and failed jobs of the
    whole run (``fetch``, ``fit_calibration``, and commands that did not start) have one without a
    variant set.

    Args:
        results: Folder of the results, with the logs.
        failed: Logs of the jobs that failed, of a run that has ended. None takes the jobs whose
            log ends in an error.

    Raises:
        InputError: There are no results in the folder.
    """
    logs = _Logs(
        results / LOGS,
        failed=None if failed is None else frozenset(log.absolute() for log in failed),
    )
    names = {split.parent.parent.name for split in results.glob(f"*/{SHARDS}/{SPLIT}")}
    names |= {
        log.stem
        for step in STEPS.values()
        if step.job == "{variant_set}"
        for log in logs.folder.glob(fill(step.log))
        if logs.failed is None or logs.has_failed(log)
    }
    statuses = _failures_only("", [*logs.not_started(), *logs.failures()])
    for name in sorted(names):
        statuses += _read_set(results / name, logs)
    tracks = {counts.parent.parent for counts in results.glob(f"*/*/{TILES}/{TILE_COUNTS}")}
    for step in STEPS.values():  # also of sets that have no tiles
        if "{track_set}/{scoring}" in step.job:
            for log in filter(logs.has_failed, logs.folder.glob(fill(step.log))):
                _, track_set, scoring, *_ = log.relative_to(logs.folder).with_suffix("").parts
                tracks.add(results / track_set / scoring)
    statuses += [_read_tracks(folder, logs) for folder in sorted(tracks)]
    pages = {log.stem for log in logs.folder.glob(fill(STEPS["report_tracks"].log))}
    for name in sorted(pages):
        statuses += _failures_only(name, logs.failures(track_set=name))
    for folder in list_sequence_sets(results):
        statuses += _read_sequences(folder, logs)
    generations = {folder.name for folder in list_generations(results)}
    for step in STEPS.values():  # also of generations whose prompts could not be read
        if "{generation}" in step.job:
            for log in filter(logs.has_failed, logs.folder.glob(fill(step.log))):
                generations.add(log.relative_to(logs.folder).with_suffix("").parts[1])
    statuses += [
        _read_generation(results / GENERATIONS / name, logs) for name in sorted(generations)
    ]
    if not statuses:  # results in object storage have no files here, but the logs of this run
        statuses = _failures_only("", [_make_failure(log) for log in sorted(logs.failed or ())])
    if not statuses:
        raise InputError(
            f"{shown_path(results)}: there is no */{SHARDS}/{SPLIT} in this folder. Name the "
            "folder that the config calls `output`, after `split`, `split_sequences` or "
            "`read_prompts` has run."
        )
    return statuses


def _failures_only(variant_set: str, failures: list[Failure]) -> list[ScoringStatus]:
    """An entry for the failed jobs that belong to no scoring, if there are any."""
    return [ScoringStatus(variant_set, "", shards=0, failures=failures)] if failures else []


@dataclass(frozen=True)
class _Logs:
    """The logs of a run.

    Attributes:
        folder: Their folder.
        failed: Logs of all failed jobs, of a run that has ended; None if that is not known.
    """

    folder: Path
    failed: frozenset[Path] | None

    def find(self, **names: str) -> Iterator[Path]:
        """Logs of the jobs that belong to a scoring, a variant set or the run.

        Without the logs of the steps that score, of which only unfinished shards count.

        Args:
            names: The variant set or track set and the scoring; either set alone; a
                generation; or nothing.
        """
        for step in STEPS.values():
            kinds = ("variant_set", "track_set", "generation")
            sets = {name for name in kinds if f"{{{name}}}" in step.job}
            owner = set()  # a model, a calibration
            if sets:
                owner = sets | ({"scoring"} if "{scoring}" in step.job else set())
            if owner == set(names) and step.name not in MODEL_STEPS:
                yield from sorted(self.folder.glob(fill(step.log, **names)))

    def of_shard(self, scoring: Path, shard: str) -> tuple[Path, bool]:
        """The log of the latest job that scored a shard, and whether no read-out of it is missing.

        Args:
            scoring: Folder of the scoring.
            shard: Name of the shard.
        """
        names = {"variant_set": scoring.parent.name, "scoring": scoring.name, "shard": shard}
        score, readouts = (self.folder / STEPS[step].log.format(**names) for step in SCORING_STEPS)
        if not readouts.exists() or (
            score.exists() and score.stat().st_mtime > readouts.stat().st_mtime
        ):
            return score, True
        table = scoring / AUDIT  # a finished run may have no read-outs of shards any more
        is_merged = table.exists() and table.stat().st_mtime >= readouts.stat().st_mtime
        made = [shard_readout(scoring / READOUTS, Path(shard), one) for one in READOUT_FILES]
        return readouts, is_merged or any(file.exists() for file in made)

    def failures(self, **names: str) -> list[Failure]:
        """The failed jobs among those that :meth:`find` finds."""
        return [_make_failure(log) for log in self.find(**names) if self.has_failed(log)]

    def not_started(self) -> list[Failure]:
        """Failed jobs without a log: their command was not found, for example."""
        return [_make_failure(log) for log in sorted(self.failed or ()) if not log.exists()]

    def has_failed(self, log: Path) -> bool:
        """Whether a job has failed: it is known, or its log ends in an error."""
        if self.failed is not None:
            return log.absolute() in self.failed
        return ERROR in _last_line(log)

    def is_running(self, log: Path) -> bool:
        """Whether a job has written to its log lately and has not failed."""
        try:
            silence = time.time() - log.stat().st_mtime
        except OSError:
            return False
        return self.failed is None and silence < SECONDS_OF_SILENCE and not self.has_failed(log)


def _read_set(folder: Path, logs: _Logs) -> Iterator[ScoringStatus]:
    failed = _failures_only(folder.name, logs.failures(variant_set=folder.name))
    split = folder / SHARDS / SPLIT
    if not split.exists():
        yield from failed or [ScoringStatus(folder.name, scoring="", shards=0)]
        return
    yield from failed
    # A finished scoring may have no windows any more, one that has just begun has no scores yet,
    # and one whose first job failed has no folder.
    scorings = {path.parent for name in (WINDOWS, SCORES) for path in folder.glob(f"*/{name}/")}
    of_windows = logs.folder.glob(fill(STEPS["windows"].log, variant_set=folder.name))
    scorings |= {folder / log.parent.name for log in of_windows if logs.has_failed(log)}
    if not scorings and not failed:
        yield ScoringStatus(folder.name, scoring="", shards=0)
    for scoring in sorted(scorings):
        yield _read_scoring(scoring, Split.read(split), logs)
        names = {"variant_set": folder.name, "scoring": scoring.name}
        of_pairs = logs.folder.glob(fill(STEPS["score_haplotypes"].log, **names))
        if (scoring / PAIRS / PAIR_COUNTS).exists() or any(of_pairs):
            yield _read_haplotypes(scoring, Split.read(split), logs)


def _read_scoring(folder: Path, split: Split, logs: _Logs) -> ScoringStatus:
    names = {"variant_set": folder.parent.name, "scoring": folder.name}
    status = ScoringStatus(
        folder.parent.name, folder.name, shards=split.shards, alleles=split.alleles
    )
    shards = []
    for shard in range(1, status.shards + 1):
        file = shard_file(shard, status.shards)
        log, is_audited = logs.of_shard(folder, shard_name(shard, status.shards))
        windows, scores = folder / WINDOWS / file, folder / SCORES / file
        shards.append(_Shard(windows, scores, log, is_audited, hits_file(scores)))
    _add_shards(status, shards, folder / RUN, logs)
    status.failures += logs.failures(**names)
    return status


def _read_haplotypes(folder: Path, split: Split, logs: _Logs) -> ScoringStatus:
    """The progress of the pairs of windows of haplotypes and compounds."""
    status = ScoringStatus(folder.parent.name, folder.name, shards=split.shards, of_haplotypes=True)
    if (folder / PAIRS / PAIR_COUNTS).exists():
        counts = PairCounts.read(folder / PAIRS / PAIR_COUNTS)
        status.shards, status.alleles = counts.shards, counts.pairs
    shards = []
    for shard in range(1, status.shards + 1):
        file = shard_file(shard, status.shards)
        log = logs.folder / STEPS["score_haplotypes"].log.format(
            variant_set=status.variant_set,
            scoring=status.scoring,
            shard=shard_name(shard, status.shards),
        )
        shards.append(_Shard(folder / PAIRS / file, folder / PAIR_SCORES / file, log, True))
    _add_shards(status, shards, folder / HAPLOTYPES_RUN, logs)
    return status


def _read_tracks(folder: Path, logs: _Logs) -> ScoringStatus:
    """The progress of a scoring of a track set."""
    names = {"track_set": folder.parent.name, "scoring": folder.name}
    status = ScoringStatus(folder.parent.name, folder.name, shards=0, of_tracks=True)
    counts_file, newest = folder / TILES / TILE_COUNTS, 0.0
    if counts_file.exists():
        counts = TileCounts.read(counts_file)
        status.shards, status.alleles, status.tokens = counts.shards, counts.windows, counts.tokens
    for shard in range(1, status.shards + 1):
        file = shard_file(shard, status.shards)
        tiles, scores = folder / TILES / file, folder / TRACK_SCORES / file
        source = digest_file(tiles) if tiles.exists() else None
        if _is_done(scores, source):
            status.shards_done += 1
            parts: Sequence[ShardRun | PartUsage] = [ShardRun.read(shard_run_file(scores))]
            newest = max(newest, scores.stat().st_mtime)
        else:
            parts = [] if source is None else read_usage(parts_folder(scores), source)
            name = shard_name(shard, status.shards)
            _add_job(
                status, logs.folder / STEPS["score_tracks"].log.format(**names, shard=name), logs
            )
        status.alleles_done += sum(part.alleles_tried for part in parts)
        _add_work(status, parts)
    is_whole = status.shards > 0 and status.shards_done == status.shards
    if not status.shards:  # the shards are not known, and so not whether they are scored
        of_shards = sorted(logs.folder.glob(fill(STEPS["score_tracks"].log, **names)))
        status.failures += [_make_failure(log) for log in of_shards if logs.has_failed(log)]
    run = folder / TRACKS_RUN
    status.is_merged = is_whole and run.exists() and run.stat().st_mtime >= newest
    status.failures += logs.failures(**names)
    return status


def _read_sequences(folder: Path, logs: _Logs) -> Iterator[ScoringStatus]:
    """The progress of each scoring of a sequence set. The run's entry has its failed jobs."""
    for one in read_sequence_progress(folder, logs.folder, logs.is_running):
        yield ScoringStatus(
            one.sequence_set,
            one.scoring,
            shards=one.shards,
            shards_done=one.shards_done,
            shards_running=one.shards_running,
            alleles=one.records,
            alleles_done=one.records_done,
            alleles_tried=one.tried,
            tokens=one.records,
            tokens_done=one.records_done,
            seconds=one.seconds,
            is_merged=one.is_merged,
            of_sequences=True,
        )


def _read_generation(folder: Path, logs: _Logs) -> ScoringStatus:
    """The progress of a generation, with its failed jobs."""
    status = ScoringStatus(folder.name, "", shards=0, of_generation=True)
    if (folder / PROMPT_COUNTS).exists():
        one = read_generation_progress(folder, logs.folder, logs.is_running)
        status.shards, status.shards_done = one.shards, one.shards_done
        status.shards_running, status.is_merged = one.shards_running, one.is_merged
        status.alleles = status.tokens = one.prompts
        status.alleles_done = status.tokens_done = status.alleles_tried = one.prompts_done
        status.seconds = one.seconds
    status.failures += logs.failures(generation=folder.name)
    return status


@dataclass(frozen=True)
class _Shard:
    """A shard of windows to score.

    Attributes:
        windows: The windows.
        scores: Their scores.
        log: The log of the latest job that scored them.
        has_readouts: Whether no read-out of it is missing.
        hits: What ``lookup`` found of them, if a store was asked; None if none is.
    """

    windows: Path
    scores: Path
    log: Path
    has_readouts: bool
    hits: Path | None = None


def _add_shards(status: ScoringStatus, shards: Sequence[_Shard], run: Path, logs: _Logs) -> None:
    """Add the progress of all shards.

    Args:
        status: Gets their progress.
        shards: The shards.
        run: The file that is written when they are merged.
        logs: The logs.
    """
    num_placed, newest = 0, 0.0
    for shard in shards:
        source = None
        if shard.windows.exists():
            num_placed += 1
            with suppress(InputError):  # it is being written again
                status.tokens += _count_tokens_to_run(shard.windows, shard.hits)
                source = digest_file(shard.windows)
        parts: Sequence[ShardRun | PartUsage] = []
        if _is_done(shard.scores, source) and shard.has_readouts:
            status.shards_done += 1
            status.alleles_done += count_rows(shard.scores)
            parts = [ShardRun.read(shard_run_file(shard.scores))]
            newest = max(newest, shard.scores.stat().st_mtime)
        else:
            if _is_done(shard.scores, source):  # what is left are its read-outs
                parts = [ShardRun.read(shard_run_file(shard.scores))]
            elif source is not None:
                parts = read_usage(parts_folder(shard.scores), source)
            status.alleles_done += sum(part.alleles_tried for part in parts)
            _add_job(status, shard.log, logs)
        _add_work(status, parts)
    if num_placed:
        # The other shards have as many tokens on average.
        status.tokens = round(status.tokens * status.shards / num_placed)
    else:
        status.tokens = status.tokens_done
    is_whole = status.shards_done == status.shards
    status.is_merged = is_whole and run.exists() and run.stat().st_mtime >= newest


def _add_work(status: ScoringStatus, parts: Sequence[ShardRun | PartUsage]) -> None:
    """Add the work of finished parts or of a finished shard."""
    for part in parts:
        status.alleles_tried += part.alleles_tried
        status.tokens_done += part.tokens
        status.seconds += part.wall_s


def _count_tokens_to_run(windows: Path, hits: Path | None) -> int:
    """Tokens of the windows of a shard, without those of alleles that a store has.

    Raises:
        InputError: The windows cannot be read.
    """
    found = None if hits is None else hits_run_file(hits)
    if found is not None and found.exists():
        with suppress(InputError):  # it is being written again
            return Lookup.read(found).tokens_missing
    return count_tokens(windows)


def _add_job(status: ScoringStatus, log: Path, logs: _Logs) -> None:
    """Count the job of a shard that is not scored yet: as running, or as failed.

    A running job writes to its log regularly, so a silent job was killed.
    """
    if logs.is_running(log):
        status.shards_running += 1
    elif logs.has_failed(log) or (logs.failed is None and _last_line(log)):
        status.failures.append(_make_failure(log))


def _is_done(scores: Path, source: str | None) -> bool:
    """Whether a shard is scored, and from the present windows, if there are any."""
    if not (scores.exists() and shard_run_file(scores).exists()):
        return False
    return source is None or read_provenance(scores).source == source


def _last_line(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def _make_failure(log: Path) -> Failure:
    """A failed job. A log that does not end in an error is that of a job that was killed."""
    line = _last_line(log)
    if not line:
        line = "is empty: the command did not start, or was killed at once"
    elif ERROR not in line:
        line = f"killed without an error message, after: {line}"
    return Failure(shown_path(log), shown(line, LONG))


def describe_status(statuses: Sequence[ScoringStatus]) -> Iterator[str]:
    """The status as a table, then the last line of each failed job."""
    header = "variant set|scoring|shards|running|alleles|tokens|alleles/s a job|left|failed"
    rows = [_make_row(status) for status in statuses]
    table = tabulate(rows, headers=header.split("|"), disable_numparse=True, tablefmt="simple")
    yield from table.split("\n")
    for status in statuses:
        for failure in status.failures[:MOST_FAILURES]:
            yield f"{failure.log}: {failure.last_line}"
        if len(status.failures) > MOST_FAILURES:
            yield f"and {len(status.failures) - MOST_FAILURES:,} more"


def _make_row(status: ScoringStatus) -> list[str]:
    """The cells of an entry; one without a scoring has names and failures only."""
    progress = [""] * 6
    if status.shards:
        is_whole = status.shards_done == status.shards
        share = status.tokens_done / status.tokens if status.tokens else float(is_whole)
        left = status.seconds_left
        progress = [
            f"{status.shards_done:,} of {status.shards:,}",
            f"{status.shards_running:,}",
            f"{status.alleles_done:,} of {status.alleles:,}",
            f"{share:.0%}",
            "" if status.alleles_per_s is None else f"{status.alleles_per_s:,.1f}",
            tqdm.format_interval(left) if left else _describe_end(status),
        ]
    names = [*map(shown_path, (status.variant_set, status.scoring))]
    names[1] += ", haplotypes" if status.of_haplotypes else ""
    names[1] += ", tracks" if status.of_tracks else ""
    names[1] += ", sequences" if status.of_sequences else ""
    names[1] += "generation" if status.of_generation else ""
    return [*names, *progress, f"{len(status.failures):,}"]


def _describe_end(status: ScoringStatus) -> str:
    if status.is_merged:
        return "merged"
    return "to merge" if status.shards_done == status.shards else ""
