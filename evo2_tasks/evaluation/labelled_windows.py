"""The labelled rows in the window around each score, among all rows and among the rows of a draw.

Shapes: E centres (scores with a window), G clusters, M background rows, N labelled rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.local_windows import Centres, SortedRows, find_inside, widen_windows

WINDOW_ROWS: Final = 100
"""Labelled rows that a window needs."""

WINDOW_SHARE: Final = 0.03
"""Share of the background, or of the labelled rows, that a window needs."""

MOST_CENTRES: Final = 2_000
"""Most scores with a window. With more distinct scores, these are evenly spaced by rank."""


def describe_windows(num_background: int | None) -> str:
    """Describe the rows that a window needs.

    Args:
        num_background: Rows of the background with a score; 0 or None if there are none.
    """
    of_what = "the background" if num_background else "the labelled rows"
    return f"at least {WINDOW_ROWS} labelled rows and {100 * WINDOW_SHARE:g} % of {of_what}"


@dataclass(frozen=True, slots=True)
class LabelledWindows:
    """Labelled rows in the order of their scores, and the centres. Higher is more harmful.

    Attributes:
        is_positive: (N,)
        groups: Number of each row's cluster. (N,)
        rows: The scores.
        centres: Scores with a window.
        num_below: Rows below each centre. (E,)
        first: First row of the narrowest window with enough rows of the background; ``num_below``
            without a background. (E,)
        end: The row after its last row. (E,)
        share: Share of the labelled rows that a window needs; 0 with a background.
    """

    is_positive: BoolArray
    groups: IntArray
    rows: SortedRows
    centres: Centres
    num_below: IntArray
    first: IntArray
    end: IntArray
    share: float

    @classmethod
    def make(
        cls, is_positive: BoolArray, scores: FloatArray, groups: IntArray, background: FloatArray
    ) -> Self:
        """Sort the rows, choose the centres, and find their windows in the background."""
        order = np.argsort(scores, kind="stable")
        rows = SortedRows.make(scores)
        scores = scores[order]
        distinct = np.unique(scores)
        if len(distinct) > MOST_CENTRES:
            steps = np.linspace(0, len(distinct) - 1, MOST_CENTRES)
            distinct = distinct[np.rint(steps).astype(np.int64)]
        both = np.concatenate([scores[[0, -1]], background])
        low, high = float(both.min()), float(both.max())
        centres = Centres.make(np.union1d(distinct, [low, high]), low, high)
        num_below = np.searchsorted(scores, centres.scores, side="left")
        first = end = num_below
        if len(background):
            others = SortedRows.make(background)
            windows = widen_windows(
                centres,
                others,
                np.searchsorted(others.scores[:-1], centres.scores, side="left"),
                WINDOW_SHARE * len(others),
            )
            first, end = find_inside(centres.scores, rows, num_below, windows.half_width)
        return cls(
            is_positive=is_positive[order],
            groups=groups[order],
            rows=rows,
            centres=centres,
            num_below=num_below,
            first=first,
            end=end,
            share=0.0 if len(background) else WINDOW_SHARE,
        )

    def count(self, counts: npt.NDArray[np.int32]) -> tuple[IntArray, IntArray]:
        """Count the rows in the window of each centre in a draw.

        Args:
            counts: How often each cluster is drawn. (G,)

        Returns:
            Positive and negative rows. Each (E,)
        """
        times = counts[self.groups].astype(np.int64)
        total = _sum_before(times)
        positive = _sum_before(times * self.is_positive)
        which = np.repeat(np.arange(len(times)), times)
        starts, ends = self.rows.starts[which], self.rows.ends[which]
        drawn = SortedRows(np.append(self.rows.scores[which], np.nan), total[starts], total[ends])
        needed = max(WINDOW_ROWS, self.share * len(drawn))
        windows = widen_windows(self.centres, drawn, total[self.num_below], needed)
        first = np.minimum(starts[windows.first], self.first)
        end = np.maximum(ends[windows.end - 1], self.end)
        num_positive = positive[end] - positive[first]
        return num_positive, total[end] - total[first] - num_positive

    def divide(self, num_positive: IntArray, num_negative: IntArray) -> FloatArray:
        """Likelihood ratios of windows with so many rows.

        Rows of draws have the weight of all labelled rows, as published.

        Args:
            num_positive: Positive rows. (E,)
            num_negative: Negative rows. (E,)
        """
        all_positive = int(self.is_positive.sum())
        all_negative = len(self.is_positive) - all_positive
        above = num_positive.astype(np.float64) * all_negative
        below = num_negative.astype(np.float64) * all_positive
        ratios = np.full(len(above), np.inf)
        np.divide(above, below, out=ratios, where=below > 0)
        return ratios


def _sum_before(values: IntArray) -> IntArray:
    """Sum of the values before each one, and of all: (N + 1,)."""
    sums: IntArray = np.concatenate([[0], np.cumsum(values)])
    return sums
