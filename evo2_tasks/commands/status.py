"""The command ``status``: how far a run has come, by the files that it writes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import read_json
from evo2_tasks.io.words import LONG, shown, shown_path
from evo2_tasks.layout import LOGS
from evo2_tasks.table.parquet import count_rows
from evo2_tasks.table.parts import count_tokens, parts_folder, read_stated
from evo2_tasks.table.provenance import read_provenance

SECONDS_OF_SILENCE = 180.0  # a job says something every half a minute
TAIL_BYTES = 4096
MOST_FAILURES = 20


@dataclass(frozen=True)
class Failure:
    """A job that ended without its output."""

    log: str
    last_line: str


@dataclass
class ScoringStatus:
    """How far a scoring of a variant set has come."""

    variant_set: str
    scoring: str
    shards: int
    shards_done: int = 0
    shards_running: int = 0
    alleles: int = 0
    """Rows of all shards, those that will have no score too."""
    alleles_done: int = 0
    """Rows of finished shards, and alleles tried in finished parts of the others."""
    alleles_tried: int = 0
    """Alleles that went through the model."""
    tokens: int = 0
    """Tokens of all windows that are placed so far, shared ones as often as they are asked for."""
    tokens_done: int = 0
    seconds: float = 0.0
    """Of all jobs together."""
    is_merged: bool = False
    failures: list[Failure] = field(default_factory=list)

    @property
    def alleles_per_s(self) -> float | None:
        """Alleles per second of one job."""
        return self.alleles_tried / self.seconds if self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last score with as many jobs as run now, at least one."""
        if not self.seconds or not self.tokens_done:
            return None
        # Shards whose windows are not placed yet take as long as the others.
        left = max(0, self.tokens - self.tokens_done)
        return left * self.seconds / self.tokens_done / max(1, self.shards_running)

    def as_json(self) -> dict[str, Any]:
        """All of it, JSON values only."""
        return asdict(self) | {
            "alleles_per_s": self.alleles_per_s,
            "seconds_left": self.seconds_left,
        }


def read_status(results: Path) -> list[ScoringStatus]:
    """Read how far each scoring has come.

    Args:
        results: Folder of the results, in which the logs lie too.

    Raises:
        InputError: There are no results in the folder.
    """
    logs = results / LOGS
    names = {split.parent.parent.name for split in results.glob("*/shards/split.json")}
    names |= {log.stem for log in (logs / "split").glob("*.log")}
    if not names:
        raise InputError(
            f"{shown_path(results)}: has no */shards/split.json. Name the folder that the config "
            "calls `output`, once `split` has run."
        )
    return [status for name in sorted(names) for status in _read_set(results / name, logs)]


def _read_set(folder: Path, logs: Path) -> Iterator[ScoringStatus]:
    split = folder / "shards" / "split.json"
    if not split.exists():
        failures = _failures([logs / "split" / f"{folder.name}.log"])
        yield ScoringStatus(folder.name, scoring="", shards=0, failures=failures)
        return
    # One that is finished may have no windows any more, one that has begun no scores yet.
    for scoring in sorted(path for path in folder.iterdir() if path.is_dir()):
        if (scoring / "windows").exists() or (scoring / "scores").exists():
            yield _read_scoring(scoring, read_json(split), logs)


def _read_scoring(folder: Path, split: dict[str, Any], logs: Path) -> ScoringStatus:
    status = ScoringStatus(
        variant_set=folder.parent.name,
        scoring=folder.name,
        shards=split["shards"],
        alleles=split["alleles"],
    )
    placed, newest = 0, 0.0
    for shard in range(1, status.shards + 1):
        name = f"{shard}-of-{status.shards}"
        scores = folder / "scores" / f"{name}.parquet"
        windows = folder / "windows" / f"{name}.parquet"
        log = logs / "score" / status.variant_set / status.scoring / f"{name}.log"
        source = None
        if windows.exists():
            placed += 1
            with suppress(InputError):  # it is being written again
                status.tokens += count_tokens(windows)
                source = digest_file(windows)
        if _is_done(scores, source):
            status.shards_done += 1
            status.alleles_done += count_rows(scores)
            parts = [read_json(scores.with_suffix(".json"))]
            newest = max(newest, scores.stat().st_mtime)
        else:
            parts = [] if source is None else read_stated(parts_folder(scores), source)
            status.alleles_done += sum(part["alleles_tried"] for part in parts)
            status.shards_running += _is_running(log)
            status.failures += _failures([log])
        for part in parts:
            status.alleles_tried += part.get("alleles_tried", 0)
            status.tokens_done += part.get("tokens", 0)
            status.seconds += part.get("wall_s", 0.0)
    if placed:
        status.tokens = round(status.tokens * status.shards / placed)
    else:
        status.tokens = status.tokens_done
    run = folder / "run.json"
    is_whole = status.shards_done == status.shards
    status.is_merged = is_whole and run.exists() and run.stat().st_mtime >= newest
    steps = ("windows", "merge", "evaluate", "export_vcf", "export_tsv")
    where = f"{status.variant_set}/{status.scoring}"
    others = [logs / "split" / f"{status.variant_set}.log"]
    for step in steps:
        others += [logs / step / f"{where}.log", *sorted((logs / step / where).glob("*.log"))]
    status.failures += _failures(others)
    return status


def _is_done(scores: Path, source: str | None) -> bool:
    """Whether a shard is scored, and from the windows that there are, if there are any."""
    if not (scores.exists() and scores.with_suffix(".json").exists()):
        return False
    return source is None or read_provenance(scores).source == source


def _last_line(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def _is_running(log: Path) -> bool:
    """Whether a job has said something lately and has not failed."""
    try:
        silence = time.time() - log.stat().st_mtime
    except OSError:
        return False
    return silence < SECONDS_OF_SILENCE and " ERROR " not in _last_line(log)


def _failures(logs: Sequence[Path]) -> list[Failure]:
    """Jobs whose log ends in an error; of one that was killed, the last thing that it said."""
    found = []
    for log in logs:
        line = _last_line(log)
        is_score = log.parent.parent.parent.name == "score"
        if " ERROR " in line or (is_score and line and not _is_running(log)):
            found.append(Failure(shown_path(log), shown(line, LONG)))
    return found


def describe_status(statuses: Sequence[ScoringStatus]) -> Iterator[str]:
    """The status as a table, and the last line of each job that failed."""
    rows = []
    for status in statuses:
        share = status.tokens_done / status.tokens if status.tokens else 0.0
        left = status.seconds_left
        rows.append(
            [
                status.variant_set,
                status.scoring,
                f"{status.shards_done:,} of {status.shards:,}",
                f"{status.shards_running:,}",
                f"{status.alleles_done:,} of {status.alleles:,}",
                f"{share:.0%}",
                "" if status.alleles_per_s is None else f"{status.alleles_per_s:,.1f}",
                _state(status) if left is None or not left else tqdm.format_interval(left),
                f"{len(status.failures):,}",
            ]
        )
    header = "variant set|scoring|shards|running|alleles|tokens|alleles/s a job|left|failed"
    yield tabulate(rows, headers=header.split("|"), disable_numparse=True, tablefmt="simple")
    for status in statuses:
        for failure in status.failures[:MOST_FAILURES]:
            yield f"{failure.log}: {failure.last_line}"
        if len(status.failures) > MOST_FAILURES:
            yield f"and {len(status.failures) - MOST_FAILURES:,} more"


def _state(status: ScoringStatus) -> str:
    if status.is_merged:
        return "merged"
    return "to merge" if status.shards_done == status.shards else ""
