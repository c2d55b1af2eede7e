"""The metrics against scikit-learn, scipy and a loop over pairs, for plain and drawn rows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from evo2_tasks.evaluation.drawn_metrics import AurocTally, prepare_labels, prepare_spearman
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    Metric,
    auroc,
    average_precision,
    sensitivity_at,
    sensitivity_at_specificity,
    spearman,
    threshold_at,
)

CLASS_METRICS = [
    AUROC,
    AVERAGE_PRECISION,
    sensitivity_at(0.9),
    sensitivity_at(0.5),
    threshold_at(0.9),
]


def make_case(seed: int, num: int = 60, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and scores with many ties."""
    random = np.random.default_rng(seed)
    labels = random.random(num) < 0.3
    labels[:2] = True, False
    return labels, random.integers(levels, size=num) + 2.0 * labels


def measure_drawn(
    metric: Metric, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """A metric where each row is drawn as often as its weight. (B, N) to (B,)"""
    assert metric.tally is not None
    statistic = prepare_labels([metric.tally], labels, scores, np.arange(len(labels)))
    return statistic(weights.T.astype(np.int32))[0]


def auroc_by_loop(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, strata: np.ndarray
) -> float:
    won = pairs = 0.0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels):
            if strata[i] == strata[j]:
                weight = weights[i] * weights[j]
                pairs += weight
                won += weight * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return won / pairs


def sensitivity_by_loop(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, specificity: float
) -> float:
    best = 0.0
    for threshold in np.unique(scores):
        is_above = scores >= threshold
        kept = weights[~labels & ~is_above].sum() / weights[~labels].sum()
        if kept >= specificity - 1e-9:
            best = max(best, weights[labels & is_above].sum() / weights[labels].sum())
    return best


def threshold_by_loop(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, specificity: float
) -> float:
    best = sensitivity_by_loop(labels, scores, weights, specificity)
    for threshold in np.unique(scores)[::-1]:
        found = weights[labels & (scores >= threshold)].sum() / weights[labels].sum()
        if best and found == best:
            return float(threshold)
    return np.nan


ORACLES: dict[str, Callable[..., float]] = {
    "auroc": lambda y, s, w: roc_auc_score(y, s, sample_weight=w),
    "average_precision": lambda y, s, w: average_precision_score(y, s, sample_weight=w),
    "sensitivity_at_0.9_specificity": lambda y, s, w: sensitivity_by_loop(y, s, w, 0.9),
    "sensitivity_at_0.5_specificity": lambda y, s, w: sensitivity_by_loop(y, s, w, 0.5),
    "threshold_at_0.9_specificity": lambda y, s, w: threshold_by_loop(y, s, w, 0.9),
}


@pytest.mark.parametrize("metric", CLASS_METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("levels", [2, 12, 10_000])
def test_weighted_rows_give_what_an_independent_computation_gives(
    metric: Metric, levels: int
) -> None:
    for seed in range(5):
        labels, scores = make_case(seed, levels=levels)
        weights = np.random.default_rng(seed).integers(4, size=(7, len(labels))).astype(float)
        weights[:, :2] += 1
        weights[0] = 1
        expected = [ORACLES[metric.name](labels, scores, row) for row in weights]
        np.testing.assert_allclose(
            measure_drawn(metric, labels, scores, weights), expected, rtol=1e-12
        )
        value = metric.compute(labels, scores)
        assert value == pytest.approx(expected[0], rel=1e-12, nan_ok=True)


def test_sensitivity_is_read_off_the_roc_curve() -> None:
    labels, scores = make_case(3)
    false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
    expected = max(t for f, t in zip(false_rate, true_rate, strict=True) if 1 - f >= 0.8)
    assert sensitivity_at_specificity(labels, scores, 0.8) == expected


def test_specificity_that_a_threshold_meets_exactly_is_met() -> None:
    # 20 negative rows, of which one may lie above; 1 - 0.95 times 20 is no 1 in floating point.
    labels = np.array([True] + [False] * 20)
    scores = np.array([0.5, 1.0] + [0.0] * 19)
    assert sensitivity_at_specificity(labels, scores, 0.95) == 1
    assert sensitivity_at_specificity(labels, scores, 0.96) == 0
    drawn = measure_drawn(sensitivity_at(0.95), labels, scores, np.full((1, 21), 3))
    np.testing.assert_array_equal(drawn, [1])


def test_spearman_of_weighted_rows_is_that_of_rows_repeated() -> None:
    random = np.random.default_rng(1)
    numbers, scores = random.integers(5, size=40) * 1.0, random.integers(9, size=40) * 1.0
    weights = random.integers(4, size=(20, 40)).astype(float)
    expected = [
        spearmanr(*(np.repeat(one, row.astype(int)) for one in (numbers, scores))).statistic
        for row in weights
    ]
    statistic = prepare_spearman(numbers, scores, np.arange(40))
    drawn = statistic(weights.T.astype(np.int32))
    np.testing.assert_allclose(drawn[0], expected, rtol=1e-12)
    assert spearman(numbers, scores) == pytest.approx(spearmanr(numbers, scores).statistic)


def test_pairs_within_strata_are_those_of_a_loop() -> None:
    for seed in range(5):
        labels, scores = make_case(seed)
        random = np.random.default_rng(seed)
        strata = random.integers(4, size=len(labels))
        labels[strata == 3] = False  # a stratum without pairs
        weights = random.integers(3, size=(6, len(labels))).astype(float)
        expected = [auroc_by_loop(labels, scores, row, strata) for row in weights]
        statistic = prepare_labels([AurocTally], labels, scores, np.arange(len(labels)), strata)
        drawn = statistic(weights.T.astype(np.int32))
        np.testing.assert_allclose(drawn[0], expected, rtol=1e-12)


@pytest.mark.parametrize("metric", CLASS_METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("weighted_class", [True, False])
def test_weights_of_one_class_only_leave_a_metric_undefined(
    metric: Metric, weighted_class: bool
) -> None:
    labels, scores = make_case(1)
    weights = np.stack([labels == weighted_class, np.ones(len(labels))]).astype(float)
    values = measure_drawn(metric, labels, scores, weights)
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


CASES = st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@given(CASES)
def test_ranks_alone_count(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], dtype=float)
    for compute in (auroc, average_precision):
        assert compute(labels, scores) == compute(labels, np.exp(scores / 7) * 3 - 100)


@given(CASES)
def test_turned_scores_or_swapped_labels_give_the_complement(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], dtype=float)
    value = auroc(labels, scores)
    assert 0 <= value <= 1
    assert auroc(labels, -scores) == pytest.approx(1 - value)
    assert auroc(~labels, scores) == pytest.approx(1 - value)


@given(CASES, st.integers(1, 4))
def test_a_weight_is_a_row_repeated(rows: list[tuple[bool, int]], times: int) -> None:
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], dtype=float)
    repeats = 1 + np.arange(len(rows)) % times
    for metric in CLASS_METRICS:
        expected = metric.compute(np.repeat(labels, repeats), np.repeat(scores, repeats))
        weighted = measure_drawn(metric, labels, scores, repeats[None])
        assert weighted[0] == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_a_score_without_worth_gives_one_half_and_the_prevalence() -> None:
    labels = np.array([True] * 3 + [False] * 27)
    assert auroc(labels, np.zeros(30)) == 0.5
    assert average_precision(labels, np.zeros(30)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([True, True], [1.0, 2.0], "no scored row is negative"),
        ([False, False], [1.0, 2.0], "no scored row is positive"),
        ([True, False], [1.0, np.nan], "finite numbers"),
        ([True, False], [1.0, np.inf], "finite numbers"),
        ([True, False], [1.0, 2.0, 3.0], "one length, got 2, 3"),
        ([1, 0], [1.0, 2.0], "booleans"),
    ],
)
def test_undefined_metrics_are_errors(labels: list, scores: list, message: str) -> None:
    for compute in (auroc, average_precision):
        with pytest.raises(ValueError, match=message):
            compute(labels, scores)


def test_no_correlation_with_a_constant_or_a_lone_row() -> None:
    with pytest.raises(ValueError, match="all scores are equal"):
        spearman([1, 2, 3], [5, 5, 5])
    with pytest.raises(ValueError, match="all target numbers are equal"):
        spearman([1, 1, 1], [5, 6, 7])
    with pytest.raises(ValueError, match="only one row"):
        spearman([1], [5])


def test_a_specificity_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, got 95"):
        sensitivity_at(95)
