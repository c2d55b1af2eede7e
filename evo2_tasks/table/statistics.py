"""What a table holds: rows by status and flag, and quantiles of its numbers."""

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

from evo2_tasks.table.schema import (
    FLAG_LIST,
    FLAGS,
    STATUSES,
)

logger = logging.getLogger(__name__)


def warn_without_score(file: Path, by_status: Mapping[str, int]) -> None:
    """Say loudly that no allele of a file has a score, or can have one, and why."""
    if by_status and "scored" not in by_status:
        reasons = ", ".join(f"{status} {number:,}" for status, number in by_status.items())
        logger.warning(
            "%s: NO SCORE for any of %s alleles: %s", file, f"{sum(by_status.values()):,}", reasons
        )


_BINS: Final = 2**20
"""Sign, exponent and eight bits of the fraction: bins that are 0.4 % wide wherever they lie."""

_BIN_SHIFT: Final = np.uint64(44)

_SIGN: Final = np.uint64(2**63)


@dataclass(slots=True)
class Distribution:
    """Quantiles of numbers that are seen once and not kept, to 0.2 % of their value.

    Attributes:
        count: How many there were.
        minimum: Infinity where there were none.
        maximum: Minus infinity where there were none.
    """

    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    _bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Count some more numbers."""
        if not len(values):
            return
        self.count += len(values)
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        # Flipped so, the bits of floats are integers of the same order.
        bits = values.view(np.uint64)
        ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
        self._bins += np.bincount((ordered >> _BIN_SHIFT).astype(np.int64), minlength=_BINS)

    def quantile(self, share: float) -> float:
        """The number that this share of all lies below."""
        rank = share * (self.count - 1)
        at = int(np.searchsorted(np.cumsum(self._bins), rank, side="right"))
        middle = (np.uint64(at) << _BIN_SHIFT) | (np.uint64(1) << (_BIN_SHIFT - np.uint64(1)))
        bits = middle & ~_SIGN if middle & _SIGN else ~middle
        value = float(np.array([bits]).view(np.float64)[0])
        return min(max(value, self.minimum), self.maximum)


@dataclass(slots=True)
class Counts:
    """What a table holds.

    Attributes:
        alleles: Rows.
        by_status: Rows of each status that occurs, in the order of the statuses.
        by_flag: Rows of each flag that occurs, in the order of the flags.
    """

    alleles: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    by_flag: dict[str, int] = field(default_factory=dict)

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Count some more rows by their status and flags."""
        self.alleles += rows.num_rows
        flags = pc.list_flatten(rows.column(FLAG_LIST.name))
        self.by_status = _add_counts(self.by_status, rows.column("status"), STATUSES)
        self.by_flag = _add_counts(self.by_flag, flags, FLAGS)


def _add_counts(counts: Mapping[str, int], values: Any, order: Sequence[str]) -> dict[str, int]:
    found = {
        str(pair["values"]): int(pair["counts"]) for pair in pc.value_counts(values).to_pylist()
    }
    names = (*order, *sorted({*counts, *found} - set(order)))
    sums = {name: counts.get(name, 0) + found.get(name, 0) for name in names}
    return {name: number for name, number in sums.items() if number}
