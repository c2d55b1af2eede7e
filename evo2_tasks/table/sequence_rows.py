"""The rows of a sequence set: what to score of a shard, and its table with the log-likelihoods."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.sequences import ReadingSettings, SequenceScore, SequenceToScore
from evo2_tasks.table.parquet import RowBuffer, TableWriter, read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.scores import ROWS_BEFORE_JUDGING

if TYPE_CHECKING:
    from evo2_tasks.genome.sequences import SequenceRecord
    from evo2_tasks.genome.window_pairs import Strand

SCORED: Final = "scored"
NON_FINITE: Final = "non_finite"


class Judged(NamedTuple):
    """Why a sequence has no log-likelihood, or that it is to be scored."""

    status: str
    reason: str | None = None


def judge_record(record: SequenceRecord) -> Judged:
    """The status of a record, as far as its bases alone decide it."""
    if record.length == 0:
        return Judged("empty")
    if not record.is_text:
        return Judged("invalid_record", "not_letters")
    if not record.has_whole_name:
        return Judged("invalid_record", "long_name")
    if record.is_rna:
        return Judged("rna")
    if record.bases is None:
        return Judged("too_long")
    return Judged(TO_SCORE)


def judge_length(status: str, length: int, num_other: int, settings: ReadingSettings) -> str:
    """The status of a row of a shard before the model runs.

    Args:
        status: Its status in the shard.
        length: Number of its bases.
        num_other: How many of them are not A, C, G or T.
        settings: How sequences are read.
    """
    if status != TO_SCORE:
        return status
    if num_other > settings.max_n_share * length:
        return "too_many_n"
    return TO_SCORE if settings.count_predicted(length) else "no_context"


def read_to_score(shard: Path, settings: ReadingSettings) -> Iterator[SequenceToScore]:
    """The sequences of a shard that the model has to read, in the order of the rows.

    Raises:
        InputError: The file cannot be read, or has something else than upper-case letters.
    """
    row = 0
    for batch in read_rows(shard, ("status", "length", "num_other", "bases")):
        statuses, lengths, others = (batch.column(i).to_pylist() for i in range(3))
        bases = batch.column("bases")
        for i in range(batch.num_rows):
            if judge_length(statuses[i], lengths[i], others[i], settings) == TO_SCORE:
                text = bases[i].as_py() or ""
                if not (text.isascii() and text.isalpha() and text.isupper()):
                    raise InputError(
                        f"{shown_path(shard)}: row {row}: has no bases. Run `split_sequences` "
                        "again."
                    )
                yield SequenceToScore(row, text.encode("ascii"))
            row += 1


def count_tokens(shard: Path, settings: ReadingSettings) -> int:
    """Number of tokens that the model has to read of a shard; equal sequences count each time.

    Raises:
        InputError: The file cannot be read.
    """
    total = 0
    for batch in read_rows(shard, ("status", "length", "num_other")):
        for status, length, num_other in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            if judge_length(status, length, num_other, settings) == TO_SCORE:
                total += settings.count_tokens(length)
    return total


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """The values of a sequence, by asked strand; None on a strand whose numbers are not finite."""

    by_strand: dict[Strand, SequenceScore | None]


def part_columns(settings: ReadingSettings) -> tuple[str, ...]:
    """Names of the columns of a part: the sums, and with ``per_base`` the list of each strand."""
    sums = [f"ll{STRAND_SUFFIXES[one]}" for one in settings.strands]
    lists = [f"log_probs{STRAND_SUFFIXES[one]}" for one in settings.strands]
    return (*sums, *(lists if settings.per_base else ()))


def part_types(settings: ReadingSettings) -> dict[str, pa.DataType]:
    """Arrow types of those columns of a part that are lists."""
    kind = pa.list_(pa.float32())
    return {name: kind for name in part_columns(settings) if name.startswith("log_probs")}


def dump_scores(scores: SequenceScores, settings: ReadingSettings) -> tuple[Any, ...]:
    """The values of a sequence, in the order of :func:`part_columns`."""
    found = [scores.by_strand[strand] for strand in settings.strands]
    sums = [None if one is None else one.ll for one in found]
    if not settings.per_base:
        return tuple(sums)
    return (*sums, *(None if one is None else one.log_probs.tolist() for one in found))


@dataclass(slots=True)
class SequenceCounts:
    """Counts of the rows of a table.

    Attributes:
        by_status: Rows with each status.
        by_reason: Rows with each reason.
        by_flag: Rows with each flag.
        bases: Bases of all rows.
        predicted: Predicted tokens of the scored rows, on one strand.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    by_flag: Counter[str] = field(default_factory=Counter)
    bases: int = 0
    predicted: int = 0


class SequenceRows:
    """Writes a row for each row of a shard, in the same order, part by part.

    Args:
        shard: The shard, from ``split_sequences``.
        writer: The table to write.
        settings: How the sequences are read.
    """

    def __init__(self, shard: Path, writer: TableWriter, settings: ReadingSettings) -> None:
        self._shard = shard
        self._settings = settings
        self._buffer = RowBuffer(writer, writer.schema.names)
        self._rows = self._read()
        self._next_row = self._num_tried = self._num_broken = 0

    def write(self, part: Sequence[SequenceToScore], values: Sequence[tuple[Any, ...]]) -> None:
        """Write the rows up to the last sequence of a part.

        Args:
            part: The sequences of the part.
            values: The values of each, in the order of :func:`part_columns`.
        """
        num_strands = len(self._settings.strands)
        self._num_tried += len(part)
        self._num_broken += sum(None in one[:num_strands] for one in values)
        for one, own in zip(part, values, strict=True):
            while self._next_row < one.row:
                self._write_row(None)
            self._write_row(own)

    def require_finite(self, max_share: float) -> None:
        """Make sure that most values are finite, once enough sequences have been scored.

        Raises:
            InputError: More than this share of the sequences has a value that is not finite.
        """
        if self._num_tried >= ROWS_BEFORE_JUDGING and (
            self._num_broken > max_share * self._num_tried
        ):
            raise InputError(
                f"{shown_path(self._shard)}: {self._num_broken:,} of the first "
                f"{self._num_tried:,} sequences have log-probabilities that are not finite, more "
                f"than run.max_non_finite_share ({max_share:g}). The log names the first module "
                "whose output was not finite. Check the checkpoint, the dtype and the device."
            )

    def finish(self) -> None:
        """Write the remaining rows, which the model does not score."""
        for row in self._rows:
            self._add(row, None)
        self._buffer.flush()

    def _read(self) -> Iterator[tuple[Any, ...]]:
        names = ("record", "sequence", "length", "status", "reason", "num_other")
        for batch in read_rows(self._shard, names):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _write_row(self, values: tuple[Any, ...] | None) -> None:
        self._add(next(self._rows), values)
        self._next_row += 1

    def _add(self, row: tuple[Any, ...], values: tuple[Any, ...] | None) -> None:
        """Add a row to the table.

        Args:
            row: The row of the shard.
            values: The values of the sequence; None if the model has not read it.
        """
        record, name, length, status, reason, num_other = row
        settings = self._settings
        status = judge_length(status, length, num_other, settings)
        predicted, flags = None, []
        sums: dict[Strand, float | None] = {}
        if values is not None:
            predicted = settings.count_predicted(length)
            sums = dict(zip(settings.strands, values, strict=False))
            reason = _find_broken(sums)
            status = SCORED if reason is None else NON_FINITE
            if status == SCORED:
                flags = ["n_in_sequence"] if num_other else []
                flags += ["circular"] if settings.min_context is not None else []
        asked = list(sums.values())
        mean = None
        if asked and None not in asked:
            mean = sum(one for one in asked if one is not None) / len(asked)
        numbers = [
            number
            for one in (mean, *(sums.get(strand) for strand in STRAND_SUFFIXES))
            for number in _derive(one, predicted)
        ]
        lists: list[list[float | None] | None] = []
        if settings.per_base:
            own = dict(zip(settings.strands, (values or ())[len(settings.strands) :], strict=False))
            lists = [_place(own.get(strand), strand, length) for strand in STRAND_SUFFIXES]
        self._buffer.add(record, name, length, status, reason, flags, predicted, *numbers, *lists)


def _find_broken(sums: dict[Strand, float | None]) -> str | None:
    """The reason of a row: the strands whose numbers are not finite; None if all are finite."""
    broken = [strand for strand, value in sums.items() if value is None]
    if len(broken) == len(STRAND_SUFFIXES):
        return "both_strands"
    return f"{broken[0]}_strand" if broken else None


def _derive(ll: float | None, predicted: int | None) -> tuple[float | None, ...]:
    """A sum, its mean of the predicted tokens, and bits of each."""
    if ll is None or not predicted:
        return None, None, None
    mean = ll / predicted
    return ll, mean, -mean / math.log(2)


def _place(
    log_probs: list[float | None] | None, strand: Strand, length: int
) -> list[float | None] | None:
    """The log-probabilities of a strand in the order of the sequence; None if not predicted."""
    if log_probs is None:
        return None
    placed = [None] * (length - len(log_probs)) + log_probs
    return placed if strand == "forward" else placed[::-1]
