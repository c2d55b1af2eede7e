"""Intervals, differences and coverage: what they rest on, and that they hold what they promise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from evo2_tasks.evaluation import draws
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import (
    compare,
    count_coverage,
    estimate,
    number_groups,
)
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    SPEARMAN,
    Metric,
    auroc,
    sensitivity_at,
)

METRICS = [AUROC, AVERAGE_PRECISION, SPEARMAN, sensitivity_at(0.9)]
FEW = Resampling(num_resamples=200)


def make_rows(
    seed: int, num: int = 200, *, effect: float = 1.0, prevalence: float = 0.25
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.random(num) < prevalence
    return labels, random.normal(size=num) + effect * labels


def make_neighbours(
    seed: int, num_groups: int = 80, size: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in groups of one label that share half of their score's variance."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.random(num_groups) < 0.3, size)
    groups = np.repeat(np.arange(num_groups), size)
    shared = np.repeat(random.normal(size=num_groups), size)
    scores = (shared + random.normal(size=len(labels))) / np.sqrt(2) + labels
    return labels, scores, groups


def delong_variance(labels: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """Covariance of AUROCs by DeLong, DeLong and Clarke-Pearson 1988: structural components."""
    of_positive, of_negative = [], []
    for one in scores:
        difference = one[labels][:, None] - one[~labels][None]
        won = (difference > 0) + 0.5 * (difference == 0)
        of_positive.append(won.mean(axis=1))
        of_negative.append(won.mean(axis=0))
    return np.cov(of_positive) / labels.sum() + np.cov(of_negative) / (~labels).sum()


def width(result: Any) -> float:
    return float(result.high - result.low)


def test_the_interval_of_independent_rows_is_about_that_of_delong() -> None:
    for seed in range(3):
        labels, scores = make_rows(seed, 400)
        expected = 2 * norm.ppf(0.975) * np.sqrt(delong_variance(labels, scores))
        assert width(estimate(AUROC, labels, scores)) == pytest.approx(expected, rel=0.1)


def test_the_interval_of_a_difference_is_about_that_of_delong() -> None:
    labels, first = make_rows(1, 400)
    second = first + np.random.default_rng(9).normal(size=400)
    covariance = delong_variance(labels, first, second)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = compare(AUROC, labels, first, second)
    assert difference.value == pytest.approx(auroc(labels, first) - auroc(labels, second))
    assert width(difference) == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(variance), rel=0.1)


def test_intervals_cover_the_truth_at_their_rate_if_neighbours_are_drawn_together() -> None:
    truth = norm.cdf(1 / np.sqrt(2))
    covered = {True: 0, False: 0}
    num = 250
    for seed in range(num):
        labels, scores, groups = make_neighbours(seed)
        for is_grouped in covered:
            drawn = groups if is_grouped else None
            result = estimate(
                AUROC, labels, scores, groups=drawn, resampling=Resampling(300, confidence=0.9)
            )
            assert result.low is not None
            assert result.high is not None
            covered[is_grouped] += result.low <= truth <= result.high
    # 250 binomial trials at 0.9 have a standard deviation of 0.019.
    assert 0.84 <= covered[True] / num <= 0.96
    assert covered[False] / num < 0.8  # each row for itself claims to know too much


def test_intervals_of_differences_cover_the_truth_at_their_rate() -> None:
    # Both scores are the same signal with own noise: their AUROCs are equal in truth.
    num, covered = 250, 0
    for seed in range(num):
        labels, scores, groups = make_neighbours(seed)
        random = np.random.default_rng([seed, 1])
        first, second = (scores + random.normal(size=len(scores)) for _ in range(2))
        difference = compare(
            AUROC, labels, first, second, groups=groups, resampling=Resampling(300, confidence=0.9)
        )
        assert difference.low is not None
        assert difference.high is not None
        covered += difference.low <= 0 <= difference.high
    assert 0.84 <= covered / num <= 0.96


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_an_estimate_counts_its_rows_groups_and_draws(metric: Metric) -> None:
    labels, scores = make_rows(1)
    target = labels if metric.has_labels else labels + np.arange(200) / 1000
    scores[[3, 5, 8]] = np.nan
    groups = np.arange(200) // 2
    result = estimate(metric, target, scores, groups=groups, resampling=FEW)
    keep = ~np.isnan(scores)
    assert result.value == metric.compute(target[keep], scores[keep])
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high
    assert (result.num_rows, result.num_unscored, result.num_groups) == (197, 3, 100)
    assert (result.num_resamples, result.num_dropped, result.reason) == (200, 0, "")
    if metric.has_labels:
        assert result.num_positive == labels[keep].sum()
        assert result.num_positive + result.num_negative == 197
        assert result.prevalence == pytest.approx(labels[keep].mean())
    else:
        assert result.num_positive is result.num_negative is result.prevalence is None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_draws_depend_on_the_seed_alone_and_not_on_their_pieces(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, scores = make_rows(2)
    target = labels if metric.has_labels else labels + np.arange(200) / 1000
    result = estimate(metric, target, scores, resampling=FEW)
    assert estimate(metric, target, scores, resampling=Resampling(200, seed=1)) != result
    monkeypatch.setattr(draws, "COUNTS_AT_ONCE", 1_000)
    assert estimate(metric, target, scores, resampling=FEW) == result


def test_the_order_of_rows_and_the_names_of_groups_do_not_count() -> None:
    labels, scores, groups = make_neighbours(1)
    result = estimate(AUROC, labels, scores, groups=groups, resampling=FEW)
    shuffled = np.random.default_rng(1).permutation(len(labels))
    names = np.array([f"site {group:04}" for group in groups])
    again = estimate(
        AUROC, labels[shuffled], scores[shuffled], groups=names[shuffled], resampling=FEW
    )
    assert again == result


def test_a_wider_confidence_holds_the_narrower_one() -> None:
    labels, scores = make_rows(1)
    wide = estimate(AUROC, labels, scores, resampling=Resampling(500, confidence=0.99))
    narrow = estimate(AUROC, labels, scores, resampling=Resampling(500, confidence=0.5))
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]


def test_a_comparison_rests_on_the_rows_that_have_both_scores() -> None:
    labels, first = make_rows(1)
    second = first + np.random.default_rng(1).normal(size=200)
    first[:10], second[5:20] = np.nan, np.nan
    difference = compare(AUROC, labels, first, second, resampling=FEW)
    assert difference.num_unscored == 20
    alone = estimate(AUROC, labels[20:], first[20:], resampling=FEW)
    assert difference.first == replace(alone, num_unscored=20)
    assert difference.value == pytest.approx(
        auroc(labels[20:], first[20:]) - auroc(labels[20:], second[20:])
    )


def test_a_score_does_not_differ_from_itself() -> None:
    labels, scores = make_rows(1)
    difference = compare(AUROC, labels, scores, scores * 2 + 1, resampling=FEW)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_pairs_within_strata_ignore_what_the_stratum_gives_away() -> None:
    random = np.random.default_rng(1)
    strata = np.repeat(["coding", "tRNA", "control"], 200)
    labels = random.random(600) < np.select([strata == "tRNA", strata == "coding"], [0.5, 0.1], 0)
    composition = (strata == "tRNA") * 1.0
    result = estimate(AUROC, labels, composition, strata=strata, resampling=FEW)
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)
    assert auroc(labels, composition) > 0.7
    # The stratum without a positive row gives no pair, and is left out of the numbers.
    assert result.num_rows == 400
    assert result.num_groups == 400
    signal = labels + random.normal(size=600)
    difference = compare(AUROC, labels, signal, composition, strata=strata, resampling=FEW)
    assert difference.first == estimate(AUROC, labels, signal, strata=strata, resampling=FEW)
    assert difference.value == pytest.approx(difference.first.value - 0.5)  # type: ignore[operator]


def test_one_stratum_is_none() -> None:
    labels, scores = make_rows(1)
    result = estimate(AUROC, labels, scores, strata=np.zeros(200), resampling=FEW)
    plain = estimate(AUROC, labels, scores, resampling=FEW)
    assert result.value == pytest.approx(plain.value)
    assert (result.low, result.high) == (plain.low, plain.high)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("num", [0, 7])
def test_nothing_scored_is_a_reason(metric: Metric, num: int) -> None:
    target = np.zeros(num, dtype=bool if metric.has_labels else float)
    result = estimate(metric, target, np.full(num, np.nan))
    assert (result.value, result.low, result.num_rows, result.num_unscored) == (None, None, 0, num)
    assert result.reason == "no labelled row has a score"
    difference = compare(metric, target, np.ones(num), np.full(num, np.nan))
    assert (difference.value, difference.low) == (None, None)
    assert difference.reason == "no labelled row has a score"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([True] * 6, "no scored row is negative"), ([False] * 6, "no scored row is positive")],
)
def test_one_class_is_a_reason(labels: list[bool], reason: str) -> None:
    for metric in (AUROC, AVERAGE_PRECISION, sensitivity_at(0.9)):
        result = estimate(metric, labels, np.arange(6))
        assert (result.value, result.low, result.high, result.reason) == (None, None, None, reason)
        assert result.num_positive == sum(labels)
    within = estimate(AUROC, labels, np.arange(6), strata=np.arange(6) // 2)
    assert within.reason == "no group has scored rows of both classes"


def test_a_lone_positive_row_has_a_value_and_no_interval() -> None:
    result = estimate(AUROC, [True] + [False] * 9, np.arange(10.0))
    assert (result.value, result.low, result.high) == (0, None, None)
    assert result.reason == "no interval: the positives are one cluster"


def test_ten_variants_have_an_interval_and_say_how_many_draws_had_one_class() -> None:
    labels = np.array([True, True] + [False] * 8)
    result = estimate(AUROC, labels, np.array([5, 3, 1, 2, 3, 4, 0, 1, 2, 2.0]))
    assert result.low is not None
    assert result.reason == ""
    assert result.num_resamples + result.num_dropped == 2_000
    # Neither of the two positive rows is drawn with probability 0.8 to the tenth, 0.107.
    assert 160 < result.num_dropped < 270


def test_ties_throughout_are_one_half() -> None:
    labels, _ = make_rows(1, 40)
    result = estimate(AUROC, labels, np.zeros(40), resampling=FEW)
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)


def test_no_draws_no_interval() -> None:
    labels, scores = make_rows(1)
    result = estimate(AUROC, labels, scores, resampling=Resampling(0))
    assert result.value == auroc(labels, scores)
    assert (result.low, result.reason) == (None, "no interval: the number of resamples is 0")


def test_a_target_number_that_is_missing_counts_as_unscored() -> None:
    result = estimate(SPEARMAN, [1, 2, np.nan, 4], [1, 2, 3, 5], resampling=FEW)
    assert (result.value, result.num_rows, result.num_unscored) == (1, 3, 1)


def test_arrays_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="one length, got 3, 3, 2, 3"):
        estimate(AUROC, [True, False, True], [1, 2, 3], groups=[1, 2])
    with pytest.raises(ValueError, match="expected the metric auroc, got average_precision"):
        estimate(AVERAGE_PRECISION, [True, False], [1, 2], strata=[1, 1])
    with pytest.raises(ValueError, match="finite numbers"):
        estimate(AUROC, [True, False], [1, np.inf])
    with pytest.raises(ValueError, match="confidence between 0 and 1, got 2000 and 95"):
        Resampling(confidence=95)


def test_coverage_counts_rows_and_reasons() -> None:
    coverage = count_coverage(
        [True, True, False, False, False],
        [1, np.nan, 2, np.nan, np.nan],
        ["scored", "too_long", "scored", "ref_mismatch", "too_long"],
    )
    assert (coverage.num_positive, coverage.num_positive_scored) == (2, 1)
    assert (coverage.num_negative, coverage.num_negative_scored) == (3, 1)
    assert coverage.num_unscored == 3
    assert list(coverage.unscored_by_status.items()) == [("too_long", 2), ("ref_mismatch", 1)]
    assert count_coverage([True], [np.nan]).unscored_by_status == {}


def test_groups_are_combinations_of_values() -> None:
    contig, pos = ["1", "1", "2", "2", "1"], [5, 6, 5, 5, 5]
    numbers = number_groups(contig, pos)
    assert numbers.tolist() == [0, 1, 2, 2, 0]
    assert number_groups([]).tolist() == []
