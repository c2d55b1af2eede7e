"""Windows of scores around centres, each as narrow as a number of rows allows.

A window reaches equally far to both sides of its centre and contains the rows at its ends. Where it
reaches beyond the range of all scores, it needs fewer rows: the number is multiplied by the share
of the window that is inside the range.

Shapes: E centres, N rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Centres:
    """Scores around which windows are widened.

    Attributes:
        scores: (E,)
        near: Distance from each score to the nearer end of the range of scores. (E,)
        is_low: Whether the lower end is the nearer one. (E,)
    """

    scores: FloatArray
    near: FloatArray
    is_low: BoolArray

    @classmethod
    def make(cls, scores: FloatArray, low: float, high: float) -> Self:
        """Measure the distances to the ends of the range, ``low`` and ``high``."""
        below, above = scores - low, high - scores
        return cls(scores, np.minimum(below, above), below < above)

    def take(self, numbers: IntArray) -> Centres:
        """Some of the centres."""
        return Centres(self.scores[numbers], self.near[numbers], self.is_low[numbers])


@dataclass(frozen=True, slots=True)
class SortedRows:
    """Rows in the order of their scores.

    Attributes:
        scores: Rising, with a NaN behind the last one. (N + 1,)
        starts: First row with the same score, of each row. (N,)
        ends: The row after the last row with the same score, of each row. (N,)
    """

    scores: FloatArray
    starts: IntArray
    ends: IntArray

    @classmethod
    def make(cls, scores: FloatArray) -> Self:
        """Sort rows."""
        ordered = np.sort(scores)
        starts, ends = (np.searchsorted(ordered, ordered, side) for side in ("left", "right"))
        return cls(np.append(ordered, np.nan), starts, ends)

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Windows:
    """The narrowest windows with enough rows.

    Attributes:
        first: First row of each window. (E,)
        end: The row after its last row. (E,)
        half_width: Distance from the centre to the ends of the window. (E,)
    """

    first: IntArray
    end: IntArray
    half_width: FloatArray


def widen_windows(
    centres: Centres, rows: SortedRows, num_below: IntArray, needed: float
) -> Windows:
    """Widen the window of each centre until it has enough rows.

    Args:
        centres: E centres.
        rows: N rows, at least one, inside the range of the centres.
        num_below: Number of rows below each centre. (E,)
        needed: Rows that a window inside the range needs, above 0. A window with all rows is wide
            enough in any case.
    """
    num_whole = math.ceil(needed)
    if num_whole <= len(rows):
        first = _find_nearest(centres.scores, rows.scores, num_below, num_whole)
        end = first + num_whole
        half_width = np.maximum(
            centres.scores - rows.scores[first], rows.scores[end - 1] - centres.scores
        )
        is_cut = np.flatnonzero(half_width > centres.near)
    else:
        first, end = np.empty_like(num_below), np.empty_like(num_below)
        half_width = np.empty(len(num_below))
        is_cut = np.arange(len(num_below))
    if len(is_cut):
        first[is_cut], end[is_cut], half_width[is_cut] = _widen_cut(
            centres.take(is_cut), rows.scores, num_below[is_cut], needed
        )
    return _include_ties(centres.scores, rows, first, end, half_width)


def find_inside(
    centres: FloatArray, rows: SortedRows, num_below: IntArray, half_width: FloatArray
) -> tuple[IntArray, IntArray]:
    """Find the rows that are inside windows, by bisection.

    Args:
        centres: Score of each centre. (E,)
        rows: N rows.
        num_below: Number of rows below each centre. (E,)
        half_width: Distance from each centre to the ends of its window. (E,)

    Returns:
        First row of each window, and the row after its last row. Each (E,)
    """
    bounds = []
    for sign in (1, -1):  # rows that are not too far below, rows that are too far above
        low, high = (np.zeros_like(num_below), num_below) if sign > 0 else (
            num_below, np.full_like(num_below, len(rows))
        )  # fmt: skip
        while (low < high).any():
            middle = (low + high) >> 1
            distance = sign * (centres - rows.scores[middle])
            is_before = distance > half_width if sign > 0 else distance <= half_width
            is_before &= low < high
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        bounds.append(low)
    return bounds[0], bounds[1]


def _find_nearest(
    centres: FloatArray, scores: FloatArray, num_below: IntArray, num_nearest: int
) -> IntArray:
    """The first of the rows that are nearest to each centre, by bisection: (E,)."""
    low = np.maximum(num_below - num_nearest, 0)
    high = np.minimum(num_below, len(scores) - 1 - num_nearest)
    for _ in range(num_nearest.bit_length()):
        middle = (low + high) >> 1
        is_far = centres - scores[middle] > scores[middle + num_nearest] - centres
        is_far &= low < high
        low = np.where(is_far, middle + 1, low)
        high = np.where(is_far, high, middle)
    return low


def _widen_cut(
    centres: Centres, scores: FloatArray, num_below: IntArray, needed: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Widen windows that reach beyond the nearer end of the range, so that only one side grows.

    A window of half-width e whose centre has the distance d from that end is inside the range by
    the share (d + e) / 2e. So with n rows it is wide enough from e = d needed / (2n - needed) on.
    The window has the first number of rows for which this is closer than the next row; that number
    is found by bisection.
    """
    num_rows = len(scores) - 1
    scaled = centres.near * needed

    def find_distance(num_inside: IntArray) -> FloatArray:
        row = np.where(centres.is_low, num_inside - 1, num_rows - num_inside)
        return np.abs(centres.scores - scores[row])

    low = np.where(centres.is_low, num_below, num_rows - num_below)
    high = np.maximum(low, min(math.ceil(needed), num_rows))
    while (low < high).any():
        middle = (low + high) >> 1
        next_row = find_distance(np.minimum(middle + 1, num_rows))
        excess = 2 * middle - needed
        is_enough = scaled < next_row * excess
        # A window around the end of the range has one half inside, however narrow it is.
        is_enough |= (centres.near == 0) & (excess == 0) & (next_row > 0)
        is_enough |= low == high
        low = np.where(is_enough, low, middle + 1)
        high = np.where(is_enough, middle, high)
    excess = 2 * low - needed
    half_width = np.where(centres.near == 0, 0, np.inf)
    np.divide(scaled, excess, out=half_width, where=excess > 0)
    half_width = np.maximum(np.maximum(half_width, find_distance(low)), centres.near)
    first = np.where(centres.is_low, 0, num_rows - low)
    return first, np.where(centres.is_low, low, num_rows), half_width


def _include_ties(
    centres: FloatArray, rows: SortedRows, first: IntArray, end: IntArray, half_width: FloatArray
) -> Windows:
    """Include all rows that are as far from the centre as the outermost row."""
    first, end = rows.starts[first], rows.ends[end - 1]
    while True:
        more = np.flatnonzero(centres - rows.scores[first - 1] <= half_width)  # NaN before row 0
        if not len(more):
            break
        first[more] = rows.starts[first[more] - 1]
    while True:
        more = np.flatnonzero(rows.scores[end] - centres <= half_width)
        if not len(more):
            break
        end[more] = rows.ends[end[more]]
    return Windows(first, end, half_width)
