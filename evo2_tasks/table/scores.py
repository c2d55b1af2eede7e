"""A row of scores for each row of a windows file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.deltas import Score, average_strands
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.parquet import TableWriter, read_rows
from evo2_tasks.table.schema import ADDED_COLUMNS, STRAND_SUFFIXES, scores_schema

ROWS_BEFORE_JUDGING = 100

_KEYS = ("record", "allele", "status", "reason")


def dump_score(score: Score | None) -> tuple[float | None, ...]:
    """The values of a score, in the order of its columns; all None if it is not finite."""
    return tuple(getattr(score, name, None) for name in SUMS.columns)


def load_score(values: Sequence[float | None]) -> Score | None:
    """The inverse of :func:`dump_score`: each finite score has an ``llr``."""
    score = Score(*values)
    return None if score.llr is None else score


class ScoreRows:
    """Writes one row of scores for each row of a windows file, in the same order, part by part.

    Args:
        windows_file: The file that ``windows`` wrote.
        writer: The table of scores.
        strands: The strands that the scoring asks for.
    """

    def __init__(self, windows_file: Path, writer: TableWriter, strands: Sequence[Strand]) -> None:
        self._windows_file = windows_file
        self._writer = writer
        self._strands = strands
        self._num_tried = self._num_broken = 0
        self._rows = enumerate(
            row
            for batch in read_rows(windows_file, _KEYS, added=ADDED_COLUMNS)
            for row in zip(*(batch.column(name).to_pylist() for name in _KEYS), strict=True)
        )

    def write(self, pairs: Sequence[WindowPair], scores: Sequence[Score | None]) -> None:
        """Write the rows up to the last allele of a part."""
        found: dict[int, dict[str, Score | None]] = {}
        for pair, of_pair in zip(pairs, scores, strict=True):
            found.setdefault(pair.row, {})[pair.strand] = of_pair
        self._num_tried += len(found)
        self._num_broken += sum(None in by_strand.values() for by_strand in found.values())
        self._write_up_to(pairs[-1].row, found)

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
        """Write the remaining rows, which have no score."""
        self._write_up_to(sys.maxsize, {})

    def _write_up_to(self, last: int, found: dict[int, dict[str, Score | None]]) -> None:
        columns: dict[str, list[object]] = {name: [] for name in scores_schema().names}
        for row, (record, allele, status, reason) in self._rows:
            by_strand = found.get(row, {})
            broken = [strand for strand in STRAND_SUFFIXES if by_strand.get(strand, True) is None]
            columns["record"].append(record)
            columns["allele"].append(allele)
            if status == TO_SCORE:
                status = "non_finite" if broken else "scored"
                reason = _name_strands(broken)
            columns["status"].append(status)
            columns["reason"].append(reason)
            strands = {strand: by_strand.get(strand) or Score() for strand in STRAND_SUFFIXES}
            mean = average_strands([strands[strand] for strand in self._strands])
            for name in SUMS.columns:
                columns[name].append(getattr(mean, name))
                for strand, suffix in STRAND_SUFFIXES.items():
                    columns[name + suffix].append(getattr(strands[strand], name))
            if row == last:
                break
        self._writer.write_columns(columns)


def _name_strands(broken: Sequence[Strand]) -> str | None:
    """The reason of a ``non_finite`` allele: the strands whose numbers are not finite."""
    if len(broken) == len(STRAND_SUFFIXES):
        return "both_strands"
    return f"{broken[0]}_strand" if broken else None
