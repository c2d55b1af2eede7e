"""A row of scores for each row of a windows file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.table.parquet import TableWriter, read_rows
from evo2_tasks.table.schema import ADDED_COLUMNS, STRAND_SUFFIXES
from evo2_tasks.table.store_rows import strand_columns

if TYPE_CHECKING:
    from evo2_tasks.genome.window_pairs import Strand
    from evo2_tasks.scoring.windows import WindowPair
    from evo2_tasks.table.hits import HitRows, Hits

ROWS_BEFORE_JUDGING = 100

_KEYS = ("record", "allele", "status", "reason")

Numbers = npt.NDArray[np.float64]

_BROKEN: Final = pa.array([None, "forward_strand", "reverse_strand", "both_strands"])
"""The reason of an allele: the strands whose numbers are not finite, the forward strand as 1 and
the reverse strand as 2."""


def dump_score(score: Score | None) -> tuple[float | None, ...]:
    """The values of a score, in the order of its columns; all None if it is not finite."""
    return tuple(getattr(score, name, None) for name in SUMS.columns)


def load_score(values: Sequence[float | None]) -> Score | None:
    """The inverse of :func:`dump_score`: each finite score has an ``llr``."""
    score = Score(*values)
    return None if score.llr is None else score


@dataclass(frozen=True, slots=True)
class PairScores:
    """The scores of some pairs of windows of one strand.

    Attributes:
        rows: The row of each pair in the shard, rising.
        numbers: Its scores, NaN where there is none: all of a pair that is not finite. (S, N)
    """

    rows: npt.NDArray[np.int64]
    numbers: Numbers  # S score columns, N pairs


class ScoreRows:
    """Writes one row of scores for each row of a windows file, in the same order, part by part.

    Args:
        windows_file: The file that ``windows`` wrote.
        writer: The table of scores.
        strands: The strands that the scoring asks for.
        hits: Scores that are known before the model runs; None if there are none.
    """

    def __init__(
        self,
        windows_file: Path,
        writer: TableWriter,
        strands: Sequence[Strand],
        hits: Hits | None = None,
    ) -> None:
        self._windows_file = windows_file
        self._writer = writer
        self._strands = strands
        self._num_tried = self._num_broken = 0
        self._next_row = 0
        self._batches = read_rows(windows_file, _KEYS, added=ADDED_COLUMNS)
        self._rest: pa.RecordBatch | None = None
        self._hits: HitRows | None = None
        if hits is not None:
            self._hits = hits.rows(
                [name for one in STRAND_SUFFIXES for name in strand_columns(one)]
            )

    def write(self, pairs: Sequence[WindowPair], scores: Sequence[Score | None]) -> None:
        """Write the rows up to the last allele of a part."""
        rows = {pair.row for pair in pairs}
        broken = {pair.row for pair, score in zip(pairs, scores, strict=True) if score is None}
        self._num_tried += len(rows)
        self._num_broken += len(broken)
        self._write_up_to(pairs[-1].row, _sort_by_strand(pairs, scores))

    def require_finite(self, max_share: float) -> None:
        """Make sure that most scores are finite, once enough alleles have been scored.

        Raises:
            InputError: More than this share of the alleles has a score that is not finite.
        """
        if self._num_tried >= ROWS_BEFORE_JUDGING and (
            self._num_broken > max_share * self._num_tried
        ):
            raise InputError(
                f"{shown_path(self._windows_file)}: {self._num_broken:,} of the first "
                f"{self._num_tried:,} alleles have scores that are not finite, more than "
                f"run.max_non_finite_share ({max_share:g}). The log names the first module whose "
                "output was not finite. Check the checkpoint, the dtype and the device."
            )

    def finish(self) -> None:
        """Write the remaining rows, which the model does not score.

        Raises:
            InputError: A hit does not belong to these windows.
        """
        self._write_up_to(None, {})
        if self._hits is not None:
            self._hits.finish()

    def _write_up_to(self, last: int | None, found: Mapping[Strand, PairScores]) -> None:
        for rows in self._take_up_to(last):
            self._write_rows(rows, found)
            self._next_row += rows.num_rows

    def _take_up_to(self, last: int | None) -> Iterator[pa.RecordBatch]:
        """The next rows of the windows, up to a row of the shard or to the end."""
        while last is None or self._next_row <= last:
            rows = self._rest if self._rest is not None else next(self._batches, None)
            if rows is None:
                return
            num_rows = rows.num_rows if last is None else last + 1 - self._next_row
            rest = rows.slice(num_rows)
            self._rest = rest if rest.num_rows else None
            yield rows.slice(0, num_rows)

    def _write_rows(self, rows: pa.RecordBatch, found: Mapping[Strand, PairScores]) -> None:
        """Write some rows of the windows with their scores: hits, and those of a part."""
        num_rows = rows.num_rows
        numbers = {
            strand: np.full((len(SUMS.columns), num_rows), np.nan) for strand in STRAND_SUFFIXES
        }
        broken = {strand: np.zeros(num_rows, dtype=bool) for strand in STRAND_SUFFIXES}
        for strand, scores in found.items():
            first, end = np.searchsorted(scores.rows, [self._next_row, self._next_row + num_rows])
            places = scores.rows[first:end] - self._next_row
            numbers[strand][:, places] = scores.numbers[:, first:end]
            broken[strand][places] = np.isnan(scores.numbers[0, first:end])
        if self._hits is not None:
            # A hit that the model has run too, for its read-outs, keeps the score of the store.
            places, hits = self._hits.take(rows.column("record"), rows.column("allele"))
            for strand, values in numbers.items():
                broken[strand][places] = False
                for column, name in zip(values, strand_columns(strand), strict=True):
                    column[places] = hits.column(name).to_numpy()
        columns = {"record": rows.column("record"), "allele": rows.column("allele")}
        columns["status"], columns["reason"] = _judge(rows, list(broken.values()))
        # As Python's `sum` does, from zero on: the mean of -0.0 is 0.0.
        mean = np.zeros((len(SUMS.columns), num_rows))
        for strand in self._strands:
            mean += numbers[strand]
        mean /= len(self._strands)
        by_suffix = {"": mean} | {STRAND_SUFFIXES[one]: numbers[one] for one in STRAND_SUFFIXES}
        for suffix, values in by_suffix.items():
            for name, column in zip(SUMS.columns, values, strict=True):
                columns[name + suffix] = pa.array(column, from_pandas=True)
        self._writer.write(pa.table(columns))


def _sort_by_strand(
    pairs: Sequence[WindowPair], scores: Sequence[Score | None]
) -> dict[Strand, PairScores]:
    """The scores of a part, strand by strand."""
    by_strand: dict[Strand, PairScores] = {}
    for strand in STRAND_SUFFIXES:
        own = [
            (pair.row, dump_score(score))
            for pair, score in zip(pairs, scores, strict=True)
            if pair.strand == strand
        ]
        numbers = np.array([values for _, values in own], dtype=np.float64)
        by_strand[strand] = PairScores(
            np.array([row for row, _ in own], dtype=np.int64),
            numbers.reshape(-1, len(SUMS.columns)).T,
        )
    return by_strand


def _judge(rows: pa.RecordBatch, broken: Sequence[npt.NDArray[np.bool_]]) -> tuple[pa.Array, ...]:
    """Status and reason of rows, after the model has run.

    Args:
        rows: Rows of the windows.
        broken: For each strand, in the order of ``STRAND_SUFFIXES``, whether its numbers are not
            finite.
    """
    status, reason = (rows.column(name).cast(pa.string()) for name in ("status", "reason"))
    was_tried = pc.equal(status, TO_SCORE)
    forward, reverse = (one.astype(np.int8) for one in broken)
    tried_status = pa.array(["scored", "non_finite"]).take(pa.array(forward | reverse))
    tried_reason = _BROKEN.take(pa.array(forward + 2 * reverse))
    return (
        pc.if_else(was_tried, tried_status, status),
        pc.if_else(was_tried, tried_reason, reason),
    )
