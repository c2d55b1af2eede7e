"""The local posterior probability as the paper defines it, slow and plain: an oracle.

It widens each window through every distance at which something may change, counts with plain loops
over rows, and repeats each row as often as its cluster was drawn. Arithmetic is exact.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from fractions import Fraction

import numpy as np

from tests.evaluation.plain_bootstrap import draw_counts

LEAST_ROWS = 100
LEAST_SHARE = Fraction(0.03)
SCALE = 2**22
"""Scores are multiples of 2 / SCALE, so that all distances are whole numbers."""


def to_whole(score: float) -> int:
    whole = score * SCALE
    assert whole == int(whole)
    assert int(whole) % 2 == 0
    return int(whole)


def share_inside(centre: int, half: int, low: int, high: int) -> Fraction:
    """Share of a window that is inside the range of scores."""
    if half == 0:
        return Fraction(1)
    return Fraction(min(centre + half, high) - max(centre - half, low), 2 * half)


def window(
    centre: float,
    labelled: list[float],
    background: list[float],
    low: float,
    high: float,
    least_rows: int = LEAST_ROWS,
) -> list[int]:
    """The numbers of the labelled rows in the narrowest window that has enough rows."""
    middle, ends = to_whole(centre), (to_whole(low), to_whole(high))
    own = [abs(to_whole(score) - middle) for score in labelled]
    sets = [(sorted(own), Fraction(least_rows))]
    if background:
        others = sorted(abs(to_whole(score) - middle) for score in background)
        sets.append((others, LEAST_SHARE * len(others)))
    else:
        sets.append((sets[0][0], LEAST_SHARE * len(own)))
    widths = {0}.union(*(distances for distances, _ in sets))
    just_before = {width - 1 for width in widths if width}
    tried = sorted({*widths, *just_before, max(widths) + 1})

    def is_enough(half: int) -> bool:
        share = share_inside(middle, half, *ends)
        return all(bisect_right(one, half) >= needed * share for one, needed in sets)

    # Once a window is wide enough, a wider one is too: it has more rows, less of it is inside.
    half = tried[min(bisect_left(tried, True, key=is_enough), len(tried) - 1)]
    return [row for row, distance in enumerate(own) if distance <= half]


def posterior(
    centre: float,
    labels: list[bool],
    labelled: list[float],
    background: list[float],
    low: float,
    high: float,
    weight: float,
    least_rows: int = LEAST_ROWS,
    least_of_kind: tuple[int, int] = (0, 0),
) -> float:
    """Posterior probability that a variant with this score is harmful.

    Args:
        least_of_kind: Positive and negative rows that the window has at least.
    """
    rows = window(centre, labelled, background, low, high, least_rows)
    positive = sum(labels[row] for row in rows)
    negative = max(len(rows) - positive, least_of_kind[1])
    positive = max(positive, least_of_kind[0])
    return positive / (positive + weight * negative)


def find_threshold(scores: list[float], is_reached: list[bool]) -> float | None:
    """The last score, from the first one on, before the first that does not reach it."""
    found = None
    for score, reached in zip(scores, is_reached, strict=True):
        if not reached:
            break
        found = score
    return found


def conservative(thresholds: list[float | None], inwards: int) -> float | None:
    """The threshold that at most 5 % of the draws are beyond; None if more have none.

    Args:
        thresholds: Of the draws.
        inwards: 1 if thresholds of weaker evidence are higher, -1 if they are lower.
    """
    allowed = math.floor(0.05 * len(thresholds))
    found = sorted((one for one in thresholds if one is not None), key=lambda one: inwards * one)
    num_without = len(thresholds) - len(found)
    return None if num_without > allowed else found[allowed - num_without]


def posteriors_of_draws(
    centres: list[float],
    labels: np.ndarray,
    scores: np.ndarray,
    clusters: np.ndarray,
    background: np.ndarray,
    *,
    prior: float,
    num_draws: int,
    seed: int = 0,
    least_rows: int = LEAST_ROWS,
    least_of_kind: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Posterior probability at each centre from all rows, then from each draw. (1 + T, E)"""
    weight = labels.sum() / (~labels).sum() * (1 - prior) / prior
    everything = [*scores.tolist(), *background.tolist()]
    _, numbers = np.unique(clusters, return_inverse=True)
    drawn = [np.arange(len(labels))]
    drawn += [
        np.repeat(np.arange(len(labels)), counts[numbers])
        for counts in draw_counts(numbers.max() + 1, num_draws, seed)
    ]
    return np.array(
        [
            [
                posterior(
                    centre,
                    labels[rows].tolist(),
                    scores[rows].tolist(),
                    background.tolist(),
                    min(everything),
                    max(everything),
                    weight,
                    least_rows,
                    least_of_kind if number else (0, 0),
                )
                for centre in centres
            ]
            for number, rows in enumerate(drawn)
        ]
    )
