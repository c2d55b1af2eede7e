"""What the report of a generation shows: read from its tables in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from evo2_tasks.errors import InputError
from evo2_tasks.genome.words import Counts, count_words
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import GENERATION_RUN, GENERATION_STEPS, GENERATION_TABLE, PROMPTS
from evo2_tasks.table.generation_documents import GenerationRun
from evo2_tasks.table.generation_schema import GENERATED, SCORE_PREFIX, list_scorers
from evo2_tasks.table.parquet import open_table, read_rows

MOST_LISTED: Final = 200
"""Sequences in the table of the page."""

MOST_DRAWN: Final = 6
"""Sequences that are drawn one by one."""

MOST_NODES: Final = 3_000
"""Candidates of a drawn search tree."""

MOST_STEPS: Final = 2_000
"""Steps of a sequence that are drawn."""

COPIED_SHARE: Final = 0.5
"""Share of copied bases from which on a sequence counts as a copy."""

Row = dict[str, Any]


@dataclass(slots=True)
class Listed:
    """A sequence in the table of the page.

    Attributes:
        row: Its row, without its bases.
        words: How often each word of three bases occurs in it.
        prompt_words: How often each occurs in its prompt.
    """

    row: Row
    words: Counts
    prompt_words: Counts

    @property
    def name(self) -> str:
        """Its numbers, as in the FASTA."""
        return f"{self.row['record']}_{self.row['sequence']}"


@dataclass(slots=True)
class Drawn:
    """A sequence that is drawn.

    Attributes:
        name: Its numbers, as in the FASTA.
        bases: Its bases.
        steps: Its candidates by step, at most ``MOST_STEPS`` steps.
    """

    name: str
    bases: str
    steps: list[list[Row]] = field(default_factory=list)

    def best(self) -> list[Row]:
        """The best candidate of each step."""
        return [min(kept, key=lambda row: row["rank"]) for step in self.steps
                if (kept := [row for row in step if row["chosen"]])]  # fmt: skip

    def path(self) -> list[Row]:
        """The candidates that became the sequence, from the first step to the last drawn one."""
        best = self.best()
        if not best:
            return []
        path = [best[-1]]
        for step in reversed(self.steps[: len(best) - 1]):
            path.append(next(row for row in step if row["candidate"] == path[-1]["parent"]))
        return path[::-1]


@dataclass(slots=True)
class GenerationSummary:
    """A generation.

    Attributes:
        run: Its JSON file.
        scorers: Names of its scorers.
        listed: The first sequences.
        drawn: The first sequences with bases.
        gc: Share of G and C of each sequence with bases.
        words: How often each word of three bases occurs in the sequences.
        prompt_words: How often each occurs in the prompts.
        num_copies: Sequences with at least ``COPIED_SHARE`` of copied bases.
        longest_match: The longest stretch in common with the reference, bases; None without one.
        best_total: The best sum of the scores; None without any.
        log_prob: Sum of the log-probabilities of sequences with one, nats.
        log_prob_bases: Bases of these.
    """

    run: GenerationRun
    scorers: list[str]
    listed: list[Listed] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)
    gc: list[float] = field(default_factory=list)
    words: Counts = field(default_factory=lambda: count_words([]))
    prompt_words: Counts = field(default_factory=lambda: count_words([]))
    num_copies: int = 0
    longest_match: int | None = None
    best_total: float | None = None
    log_prob: float = 0.0
    log_prob_bases: int = 0

    @property
    def reference_words(self) -> Counts | None:
        """How often each word occurs in the reference of the comparison; None without one."""
        compared = self.run.compare_with
        return None if compared is None else np.array(compared.words, dtype=np.int64)

    @property
    def bits_per_base(self) -> float | None:
        """Mean number of bits that the model needs for a generated base; None without any."""
        if not self.log_prob_bases:
            return None
        return -self.log_prob / self.log_prob_bases / math.log(2)


def read_generation_summary(folder: Path, files: SourceFiles) -> GenerationSummary:
    """Read what the page shows.

    Args:
        folder: Folder of the generation.
        files: Gets the files that are read.

    Raises:
        InputError: A file is missing or broken, or files do not belong together.
    """
    run_file = folder / GENERATION_RUN
    files.add(run_file)
    run = GenerationRun.read(run_file)
    tables = {GENERATION_TABLE: run.table_digest, GENERATION_STEPS: run.steps_digest}
    for name, digest in tables.items():
        if files.add(folder / name) != digest:
            raise InputError(
                f"{shown_path(run_file)}: is about another {name} than that next to it. Put the "
                "files of one run together, or run merge_generation again."
            )
    files.add(folder / PROMPTS)
    with open_table(folder / GENERATION_TABLE) as table:
        summary = GenerationSummary(run, list_scorers(table.schema_arrow.names))
    prompts: dict[int, Counts] = {}
    for batch in read_rows(folder / PROMPTS, ("record", "text")):
        for prompt in batch.to_pylist():
            words = count_words([(prompt["text"] or "").rpartition("|")[2]])
            summary.prompt_words += words
            if len(prompts) < MOST_LISTED:
                prompts[prompt["record"]] = words
    for batch in read_rows(folder / GENERATION_TABLE):
        for row in batch.to_pylist():
            _add(summary, row, prompts)
    _read_steps(summary, folder / GENERATION_STEPS)
    return summary


def _add(summary: GenerationSummary, row: Row, prompts: dict[int, Counts]) -> None:
    """Add a sequence."""
    bases = row.pop("bases") or ""
    words = count_words([bases])
    if len(summary.listed) < MOST_LISTED:
        summary.listed.append(Listed(row, words, prompts.get(row["record"], count_words([]))))
    if not bases:
        return
    summary.words += words
    if row["gc"] is not None:
        summary.gc.append(row["gc"])
    if row["log_prob"] is not None:
        summary.log_prob += row["log_prob"]
        summary.log_prob_bases += len(bases)
    if row["reference_match"] is not None:
        summary.longest_match = max(summary.longest_match or 0, row["reference_match"])
        summary.num_copies += row["copied"] >= COPIED_SHARE * len(bases)
    if row["status"] == GENERATED and summary.scorers:
        summary.best_total = max(row["total"], summary.best_total or -math.inf)
    if len(summary.drawn) < MOST_DRAWN:
        summary.drawn.append(Drawn(f"{row['record']}_{row['sequence']}", bases))


def _read_steps(summary: GenerationSummary, table: Path) -> None:
    """Read the steps of the drawn sequences, which are among the first rows."""
    drawn = {one.name: one for one in summary.drawn}
    names = (
        "record", "sequence", "step", "candidate", "parent", "log_prob", "total", "chosen", "rank",
        "bases", *(SCORE_PREFIX + name for name in summary.scorers),
    )  # fmt: skip
    last = max((int(name.partition("_")[0]) for name in drawn), default=-1)
    for batch in read_rows(table, names):
        if not batch.num_rows or batch.column("record")[0].as_py() > last:
            return
        for row in batch.to_pylist():
            one = drawn.get(f"{row['record']}_{row['sequence']}")
            if one is None or row["step"] >= MOST_STEPS:
                continue
            row["bases"] = len(row["bases"])
            if row["step"] == len(one.steps):
                one.steps.append([])
            one.steps[-1].append(row)


def has_choices(drawn: Sequence[Drawn]) -> bool:
    """Whether a step had several candidates."""
    return any(len(step) > 1 for one in drawn for step in one.steps)
