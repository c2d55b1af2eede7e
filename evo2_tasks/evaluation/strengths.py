"""Strengths of evidence: the likelihood ratio that each needs, and the points that it gives.

A constant c scales them: k points of 8 need a likelihood ratio of c to the power of k / 8. The
constant depends on the prior probability, because the rules that combine evidence of several
strengths must lead to the classes that they were written for.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import FloatArray

HARMFUL, BENIGN = "harmful", "benign"

STRENGTHS: Final = MappingProxyType({"supporting": 1, "moderate": 2, "strong": 4, "very_strong": 8})
"""Strengths of evidence and their points."""

POINTS: Final = (1, 2, 3, 4, 8)
"""Numbers of points that a row can have, of either sign; other rows have 0."""

PUBLISHED_CONSTANTS: Final = MappingProxyType({0.1: 350, 0.0441: 1_124})
"""The constant c by prior, as published."""

LOWEST_PRIOR, HIGHEST_PRIOR = 1e-6, 0.98
"""Prior probabilities for which the rules have a meaning: with a higher one they need no evidence
at all. The config has the same limits."""

_SUPPORTING, _MODERATE, _STRONG, _VERY_STRONG = STRENGTHS.values()

_PATHOGENIC_RULES: Final = (
    _VERY_STRONG + _STRONG,
    _VERY_STRONG + 2 * _MODERATE,
    _VERY_STRONG + _MODERATE + _SUPPORTING,
    _VERY_STRONG + 2 * _SUPPORTING,
    2 * _STRONG,
    _STRONG + 3 * _MODERATE,
    _STRONG + 2 * _MODERATE + 2 * _SUPPORTING,
    _STRONG + _MODERATE + 4 * _SUPPORTING,
)
"""Fewest points of the rules for the class "pathogenic"."""

_LIKELY_PATHOGENIC_RULES: Final = (
    _VERY_STRONG + _MODERATE,
    _STRONG + _MODERATE,
    _STRONG + 2 * _SUPPORTING,
    3 * _MODERATE,
    2 * _MODERATE + 2 * _SUPPORTING,
    _MODERATE + 4 * _SUPPORTING,
)
"""Fewest points of the rules for the class "likely pathogenic"."""

_LEAST_POSTERIORS: Final = ((_PATHOGENIC_RULES, 0.99), (_LIKELY_PATHOGENIC_RULES, 0.9))
_MOST_FAILED: Final = 1


def find_constant(prior: float) -> int:
    """The likelihood ratio c of very strong evidence.

    It is the published one for a prior of 0.1 or 0.0441. For others it is the smallest whole number
    with which at most one of the 14 rules fails: a rule fails if its posterior probability, rounded
    to three decimals, is below 0.99 (pathogenic) or 0.9 (likely pathogenic).

    Args:
        prior: Prior probability that a variant is harmful.

    Raises:
        ValueError: The prior is not between ``LOWEST_PRIOR`` and ``HIGHEST_PRIOR``.

    Source:
        The rules: Richards et al. 2015, Table 5. Their posterior probabilities, and 350: Tavtigian
        et al. 2018. 1,124: Pejaver et al. 2022.
    """
    if not LOWEST_PRIOR <= prior <= HIGHEST_PRIOR:
        raise ValueError(f"prior: expected {LOWEST_PRIOR:g} to {HIGHEST_PRIOR:g}, got {prior}.")
    published = PUBLISHED_CONSTANTS.get(prior)
    if published is not None:
        return published
    above = 1
    while count_failed_rules(above, prior) > _MOST_FAILED:
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        if count_failed_rules(middle, prior) > _MOST_FAILED:
            below = middle
        else:
            above = middle
    return above


def count_failed_rules(constant: int, prior: float) -> int:
    """How many of the 14 rules do not reach the posterior probability of their class."""
    return sum(
        round(find_posterior(find_ratio(points, constant), prior), 3) < least
        for rules, least in _LEAST_POSTERIORS
        for points in rules
    )


def find_ratio(points: int, constant: int) -> float:
    """Likelihood ratio that a number of points needs; below 1 for negative points."""
    return math.pow(constant, points / _VERY_STRONG)


def find_posterior(ratio: float, prior: float) -> float:
    """Posterior probability that a variant with this likelihood ratio is harmful."""
    odds = ratio * prior / (1 - prior)
    return odds / (1 + odds)


def count_points(low: FloatArray, high: FloatArray, constant: int) -> npt.NDArray[np.int8]:
    """Points of evidence from the bounds of likelihood ratios.

    Args:
        low: Lower bound of each likelihood ratio; NaN where there is none. (N,)
        high: Upper bound. (N,)
        constant: The constant c, above 1.

    Returns:
        The most points that the lower bound reaches, or the least that the upper bound reaches;
        0 where neither reaches one. (N,)
    """
    points = np.zeros(len(low), dtype=np.int8)
    for number in POINTS:
        points[low >= find_ratio(number, constant)] = number
        points[high <= find_ratio(-number, constant)] = -number
    return points
