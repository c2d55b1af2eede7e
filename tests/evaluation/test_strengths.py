"""The constant c by the 14 rules that combine evidence, and points of evidence."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, getcontext

import numpy as np
import pytest

from evo2_tasks.evaluation.strengths import (
    count_failed_rules,
    count_points,
    find_constant,
    find_posterior,
    find_ratio,
)

# Table 5 of Richards et al. 2015, row by row: very strong, strong, moderate, supporting criteria,
# the fewest of each, and the posterior probability of the class.
RULES = [
    *((rule, "0.99") for rule in [
        (1, 1, 0, 0), (1, 0, 2, 0), (1, 0, 1, 1), (1, 0, 0, 2),
        (0, 2, 0, 0), (0, 1, 3, 0), (0, 1, 2, 2), (0, 1, 1, 4),
    ]),
    *((rule, "0.9") for rule in [
        (1, 0, 1, 0), (0, 1, 1, 0), (0, 1, 0, 2), (0, 0, 3, 0), (0, 0, 2, 2), (0, 0, 1, 4),
    ]),
]  # fmt: skip


def count_plainly(constant: int, prior: str) -> int:
    """Rules that fail, in decimal arithmetic."""
    getcontext().prec = 40
    c, share = Decimal(constant), Decimal(prior)
    failed = 0
    for (very_strong, strong, moderate, supporting), least in RULES:
        exponent = (
            Decimal(supporting) / 8 + Decimal(moderate) / 4 + Decimal(strong) / 2 + very_strong
        )
        ratio = c**exponent
        posterior = ratio * share / ((ratio - 1) * share + 1)
        rounded = posterior.quantize(Decimal("0.001"), rounding=ROUND_HALF_EVEN)
        failed += rounded < Decimal(least)
    return failed


def test_there_are_14_rules() -> None:
    assert len(RULES) == 14


@pytest.mark.parametrize(
    ("prior", "expected"), [("0.0441", 1_124), ("0.1", 348), ("0.05", None), ("0.3", None)]
)
def test_smallest_constant_by_enumeration(prior: str, expected: int | None) -> None:
    found = next(c for c in range(1, 5_000) if count_plainly(c, prior) <= 1)
    assert expected is None or found == expected
    if prior != "0.1":  # for which the published constant is used
        assert find_constant(float(prior)) == found
    for constant in (found - 1, found):
        assert count_failed_rules(constant, float(prior)) == count_plainly(constant, prior)


@pytest.mark.parametrize("prior", ["0.000001", "0.001", "0.02", "0.5", "0.9", "0.98"])
def test_constant_is_the_smallest(prior: str) -> None:
    constant = find_constant(float(prior))
    assert count_plainly(constant, prior) <= 1
    assert constant > 1
    assert count_plainly(constant - 1, prior) > 1


def test_published_constants() -> None:
    assert find_constant(0.1) == 350
    assert find_constant(0.0441) == 1_124


@pytest.mark.parametrize("prior", [0, 1, 0.981, -0.1, 1e-9, float("nan")])
def test_prior_out_of_range(prior: float) -> None:
    with pytest.raises(ValueError, match="prior: expected"):
        find_constant(prior)


@pytest.mark.parametrize(
    ("points", "posterior"),
    [(1, 0.100), (2, 0.211), (4, 0.608), (8, 0.981), (-1, 0.0188), (-2, 0.00790), (-4, 0.001376)],
)
def test_published_posteriors(points: int, posterior: float) -> None:
    """Pejaver et al. 2022, for a prior of 0.0441; a benign one is 1 minus theirs."""
    found = find_posterior(find_ratio(points, 1_124), 0.0441)
    assert found == pytest.approx(posterior, rel=6e-3)


def test_points() -> None:
    edges = {k: 350 ** (k / 8) for k in (1, 2, 3, 4, 8)}
    low, high, expected = [], [], []
    for k, edge in edges.items():
        weaker = max((one for one in (0, *edges) if one < k), default=0)
        low += [edge * 1.001, edge * 0.999, 0.0, 0.0]
        high += [1e9, 1e9, 1 / edge / 1.001, 1 / edge * 1.001]
        expected += [k, weaker, -k, -weaker]
    low += [np.inf, 0.0, 0.2, np.nan]
    high += [np.inf, 0.0, 4.0, np.nan]
    expected += [8, -8, 0, 0]
    found = count_points(np.array(low), np.array(high), 350)
    assert found.dtype == np.int8
    assert found.tolist() == expected
