"""Histograms with round bin edges, and pairs of numbers as points or as a density.

Bins and points keep the numbers of some rows in the table, so that a plot can name their alleles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.metrics import spearman

MOST_SAMPLED: Final = 200_000
"""Most pairs used for a rank correlation and a density; of more pairs, every N-th is used."""

MOST_POINTS: Final = 2_000
"""Most pairs that are drawn as points; more pairs are drawn as a density."""

MOST_NAMED: Final = 3
"""Most alleles of a bin that are named."""

DENSITY_BINS: Final = 60
DENSITY_SHARE: Final = 0.001
"""Share of the pairs at either end of an axis that may be outside a density."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def round_width(least: float) -> float:
    """The smallest number of the form 1, 2 or 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    steps = (step * power for step in (1, 2, 5, 10))
    # Equal numbers may differ in the last bit.
    return next((step for step in steps if step >= least * (1 - 1e-9)), 10 * power)


def round_edges(low: float, high: float, most_bins: int) -> FloatArray:
    """Edges of bins of one round width that cover a range; 0 is an edge if it is inside."""
    if high <= low:
        margin = max(0.5, 0.01 * abs(low))
        low, high = low - margin, high + margin
    width = round_width((high - low) / most_bins)
    first, last = math.floor(low / width), math.ceil(high / width)
    edges: FloatArray = np.arange(first, last + 1, dtype=np.float64) * width
    return edges


@dataclass(slots=True)
class Histogram:
    """Numbers counted in K bins, by category.

    A number on an edge belongs to the bin above it (on the last edge, to the last bin). Numbers
    beyond the edges are counted in the outermost bins.

    Attributes:
        edges: Edges of the bins. (K + 1,)
        counts: Counts by category. Each (K,)
        rows: Number in the table of the first rows of each bin, at most ``MOST_NAMED``. K lists
        num_below: Numbers below the first edge.
        num_above: Numbers above the last edge.
    """

    edges: FloatArray
    counts: dict[str, IntArray] = field(default_factory=dict)
    rows: list[list[int]] = field(init=False)
    num_below: int = 0
    num_above: int = 0

    def __post_init__(self) -> None:
        self.rows = [[] for _ in self.edges[1:]]

    def add(self, category: str, values: FloatArray, rows: IntArray) -> None:
        """Count more numbers; ``rows`` are the numbers of their rows in the table."""
        num_bins = len(self.edges) - 1
        at = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, num_bins - 1)
        counts = self.counts.setdefault(category, np.zeros(num_bins, dtype=np.int64))
        more = np.bincount(at, minlength=num_bins)
        counts += more
        for number, known in enumerate(self.rows):
            if more[number] and (len(known) < MOST_NAMED or rows[0] < known[-1]):
                first = rows[np.flatnonzero(at == number)[:MOST_NAMED]].tolist()
                known[:] = sorted([*known, *first])[:MOST_NAMED]
        self.num_below += int((values < self.edges[0]).sum())
        self.num_above += int((values > self.edges[-1]).sum())

    @property
    def total(self) -> IntArray:
        """Counts of all categories together, (K,)."""
        zero = np.zeros(len(self.edges) - 1, dtype=np.int64)
        total: IntArray = np.sum([zero, *self.counts.values()], axis=0, dtype=np.int64)
        return total


@dataclass(frozen=True, slots=True)
class Density:
    """Pairs counted in K times K bins; both axes have the same edges.

    Attributes:
        edges: Edges of the bins. (K + 1,)
        counts: Pairs, by the bin of y, then of x. (K, K)
        num_outside: Pairs that are in no bin.
        rows: For a bin with one pair the number of its row in the table, else -1. (K, K)
    """

    edges: FloatArray
    counts: IntArray
    num_outside: int
    rows: IntArray


@dataclass(frozen=True, slots=True)
class PairSummary:
    """How two numbers of the same rows are related.

    Attributes:
        x: Name of the first number.
        y: Name of the second number.
        num_rows: Rows that have both numbers.
        step: One row in ``step`` is sampled.
        num_sampled: Sampled rows, from which everything else is computed.
        spearman: Rank correlation; None where it is undefined.
        reason: Why the rank correlation is undefined; empty if it is defined.
        points: x and y of each sampled pair, if there are few. (2, P)
        rows: Number in the table of the row of each point. (P,)
        density: The sampled pairs in bins, if there are many.
    """

    x: str
    y: str
    num_rows: int
    step: int
    num_sampled: int
    spearman: float | None
    reason: str
    points: FloatArray | None
    rows: IntArray
    density: Density | None

    @property
    def named_rows(self) -> Sequence[int]:
        """Numbers of the rows whose alleles the plot names."""
        rows = self.rows if self.density is None else self.density.rows[self.density.rows >= 0]
        numbers: list[int] = rows.tolist()
        return numbers


class PairSample:
    """Takes every N-th pair: the sample is the same each time, and never too large.

    Args:
        x: Name of the first number.
        y: Name of the second number.
        num_rows: Number of pairs that will be added.
    """

    def __init__(self, x: str, y: str, *, num_rows: int) -> None:
        self.x, self.y = x, y
        self._num_rows = num_rows
        self._step = max(1, math.ceil(num_rows / MOST_SAMPLED))
        self._num_seen = 0
        self._sample: list[FloatArray] = []
        self._rows: list[IntArray] = []

    def add(self, x: FloatArray, y: FloatArray, rows: IntArray) -> None:
        """Add more pairs; ``rows`` are the numbers of their rows in the table."""
        start = -self._num_seen % self._step
        self._sample.append(np.stack([x[start :: self._step], y[start :: self._step]]))
        self._rows.append(rows[start :: self._step])
        self._num_seen += len(x)

    def summarize(self) -> PairSummary | None:
        """Summarize the pairs; None if there is no pair."""
        if not self._num_rows:
            return None
        pairs, rows = np.concatenate(self._sample, axis=1), np.concatenate(self._rows)
        reason = self._why_no_value(pairs)
        is_few = pairs.shape[1] <= MOST_POINTS
        return PairSummary(
            x=self.x,
            y=self.y,
            num_rows=self._num_rows,
            step=self._step,
            num_sampled=pairs.shape[1],
            spearman=None if reason else spearman(*pairs),
            reason=reason,
            points=pairs if is_few else None,
            rows=rows if is_few else np.empty(0, dtype=np.int64),
            density=None if is_few else _density(pairs, rows),
        )

    def _why_no_value(self, pairs: FloatArray) -> str:
        """Why the pairs have no rank correlation; empty if they have one."""
        if pairs.shape[1] < 2:
            return "only one row has both numbers"
        for name, values in zip((self.x, self.y), pairs, strict=True):
            if (values == values[0]).all():
                return f"all values of {name} are equal"
        return ""


def _density(pairs: FloatArray, rows: IntArray) -> Density:
    low, high = np.quantile(pairs, [DENSITY_SHARE, 1 - DENSITY_SHARE])
    margin = 0.1 * (high - low)
    edges = round_edges(
        max(float(pairs.min()), low - margin), min(float(pairs.max()), high + margin), DENSITY_BINS
    )
    counts, _, _ = np.histogram2d(pairs[1], pairs[0], bins=[edges, edges])
    num_outside = pairs.shape[1] - int(counts.sum())
    is_inside = ((pairs >= edges[0]) & (pairs <= edges[-1])).all(axis=0)
    x, y = np.clip(np.searchsorted(edges, pairs[:, is_inside], side="right") - 1, 0, len(edges) - 2)
    alone = np.full(counts.shape, -1, dtype=np.int64)
    alone[y, x] = rows[is_inside]
    return Density(edges, counts.astype(np.int64), num_outside, np.where(counts == 1, alone, -1))
