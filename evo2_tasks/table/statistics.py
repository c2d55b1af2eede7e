"""Statistics of a table of scores: rows by status and flag, and quantiles of ``llr``.

Rows are counted while they are read. Memory does not grow with the table.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.table.combined import member_column
from evo2_tasks.table.documents import Combination
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.schema import (
    ADDED_COLUMNS,
    FLAG_LIST,
    FLAGS,
    REASON,
    REASONS,
    STATUS,
    STATUSES,
)

logger = logging.getLogger(__name__)

_COLUMNS: Final = ("status", REASON.name, FLAG_LIST.name, "llr")

_BINS: Final = 2**20
"""One bin for each sign, exponent and first eight bits of the fraction: each is 0.4 % wide."""

_BIN_SHIFT: Final = np.uint64(44)

_SIGN: Final = np.uint64(2**63)

MOST_KEPT: Final = 100_000
"""Most numbers of which quantiles are exact; of more numbers only counts are kept."""


@dataclass(slots=True)
class Counts:
    """Numbers of rows.

    Attributes:
        alleles: All rows.
        by_status: Rows of each status that occurs, in the order of the statuses.
        by_flag: Rows of each flag that occurs, in the order of the flags.
        by_reason: Rows of each reason that occurs, in the order of the reasons.
    """

    alleles: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    by_flag: dict[str, int] = field(default_factory=dict)
    by_reason: dict[str, int] = field(default_factory=dict)

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Count more rows by their columns ``status``, ``reason`` and ``flags``."""
        self.alleles += rows.num_rows
        flags = pc.list_flatten(rows.column(FLAG_LIST.name))
        self.by_status = _add_counts(self.by_status, rows.column("status"), STATUSES)
        reasons = rows.column(REASON.name).drop_null()
        self.by_reason = _add_counts(self.by_reason, reasons, REASONS)
        self.by_flag = _add_counts(self.by_flag, flags, FLAGS)

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.by_status.get("scored", 0)


def _add_counts(counts: Mapping[str, int], values: Any, order: Sequence[str]) -> dict[str, int]:
    more = {
        str(pair["values"]): int(pair["counts"]) for pair in pc.value_counts(values).to_pylist()
    }
    names = (*order, *sorted({*counts, *more} - set(order)))
    sums = {name: counts.get(name, 0) + more.get(name, 0) for name in names}
    return {name: number for name, number in sums.items() if number}


@dataclass(slots=True)
class Distribution:
    """Quantiles of numbers that are added once.

    Up to ``MOST_KEPT`` numbers the quantiles are exact, interpolated between neighbouring numbers.
    Of more numbers they are accurate to 0.2 % of their value.

    Attributes:
        count: How many numbers were added.
        minimum: Infinity if none was added.
        maximum: Minus infinity if none was added.
    """

    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    _bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _kept: list[npt.NDArray[np.float64]] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Whether the quantiles are exact."""
        return self.count <= MOST_KEPT

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add more numbers, none of them NaN."""
        if not len(values):
            return
        self.count += len(values)
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self._kept.append(values)
        if not self.is_exact:
            if not len(self._bins):
                self._bins = np.zeros(_BINS, np.int64)
            for kept in self._kept:
                # With the sign bit set (or, below 0, all bits flipped), the bits of floats are
                # unsigned integers in the order of the floats.
                bits = kept.view(np.uint64)
                ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
                self._bins += np.bincount((ordered >> _BIN_SHIFT).astype(np.int64), minlength=_BINS)
            self._kept = []

    def quantile(self, share: float) -> float:
        """The number below which this share of all numbers lies; at least one must be there."""
        if self.is_exact:
            return float(np.quantile(np.concatenate(self._kept), share))
        rank = share * (self.count - 1)
        at = int(np.searchsorted(np.cumsum(self._bins), rank, side="right"))
        middle = (np.uint64(at) << _BIN_SHIFT) | (np.uint64(1) << (_BIN_SHIFT - np.uint64(1)))
        bits = middle & ~_SIGN if middle & _SIGN else ~middle
        value = float(np.array([bits]).view(np.float64)[0])
        return min(max(value, self.minimum), self.maximum)


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """Statistics of a whole table.

    Attributes:
        counts: Rows by status and flag.
        llr: Distribution of ``llr`` over the scored rows, nats.
    """

    counts: Counts
    llr: Distribution


def read_statistics(table: Path) -> TableStatistics:
    """Read a table once and compute its statistics.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or not such a table.
    """
    counts, llr = Counts(), Distribution()
    for batch in read_rows(table, _COLUMNS, added=ADDED_COLUMNS):
        counts.add(batch)
        llr.add(batch.column("llr").drop_null().to_numpy())
    return TableStatistics(counts, llr)


@dataclass(frozen=True, slots=True)
class CombinedStatistics:
    """Statistics of a whole combined table.

    Attributes:
        by_status: Rows of each status that occurs, in the order of the statuses.
        scored_by: Rows that each scoring scores.
        scores: Distribution of the score of each scoring and of each ensemble.
    """

    by_status: Mapping[str, int]
    scored_by: Mapping[str, int]
    scores: Mapping[str, Distribution]


def read_combined_statistics(table: Path, combination: Combination) -> CombinedStatistics:
    """Read a combined table once and compute its statistics.

    Args:
        table: The result of ``combine``.
        combination: What it states about its scorings.

    Raises:
        InputError: The file is missing, broken or not such a table.
    """
    names = [one.name for one in combination.scorings]
    statuses = {name: member_column(name, STATUS.name) for name in names}
    of_scorings = [member_column(name, combination.score) for name in names]
    scores = {name: Distribution() for name in [*of_scorings, *combination.ensembles]}
    by_status: dict[str, int] = {}
    scored_by = dict.fromkeys(names, 0)
    for batch in read_rows(table, [STATUS.name, *statuses.values(), *scores]):
        by_status = _add_counts(by_status, batch.column(STATUS.name), STATUSES)
        for name, column in statuses.items():
            is_scored = pc.equal(batch.column(column).cast(pa.string()), "scored")
            scored_by[name] += pc.sum(is_scored).as_py() or 0
        for name, distribution in scores.items():
            distribution.add(batch.column(name).drop_null().to_numpy())
    return CombinedStatistics(by_status, scored_by, scores)


def warn_without_score(file: Path, by_status: Mapping[str, int]) -> None:
    """Log a warning if no allele of a file is scored.

    Args:
        file: A table, or a shard whose alleles have a status already.
        by_status: Its rows by status; an empty file gives no warning.
    """
    if by_status and not {TO_SCORE, "scored"} & by_status.keys():
        reasons = ", ".join(f"{status} {number:,}" for status, number in by_status.items())
        logger.warning(
            "%s: NO SCORE for any of %s alleles: %s", file, f"{sum(by_status.values()):,}", reasons
        )
