"""The bootstrap that sorts once, against a plain one that repeats rows and sorts for each draw.

Both have the same draws, so each value is the same, and not only the interval on average.
"""

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold

from evo2_tasks.evaluation import drawn_metrics, draws, estimates
from evo2_tasks.evaluation.draws import Resampling, draw_groups
from evo2_tasks.evaluation.estimates import compare, estimate, estimate_together
from evo2_tasks.evaluation.folds import stratify
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    PROBABILITY_METRICS,
    SPEARMAN,
    Metric,
    sensitivity_at,
    threshold_at,
)
from tests.evaluation.plain_bootstrap import draw_counts, draw_plainly, measure_plainly

OF_LABELS = [AUROC, AVERAGE_PRECISION, sensitivity_at(0.95), threshold_at(0.9)]
METRICS = [*OF_LABELS, SPEARMAN, *PROBABILITY_METRICS]
NUM_DRAWS = 40
CASES = {
    "few rows": {"num": 9, "num_groups": 5},
    "a row is a group": {"num": 80, "num_groups": None},
    "ties": {"num": 300, "num_groups": 90, "levels": 4},
    "two scores": {"num": 200, "num_groups": 60, "levels": 2},
    "few groups": {"num": 400, "num_groups": 3},
    "one huge group": {"num": 600, "num_groups": 150, "huge": 400},
    "few positive rows": {"num": 500, "num_groups": 200, "prevalence": 0.02},
    "few negative rows": {"num": 500, "num_groups": 200, "prevalence": 0.97, "levels": 30},
    "many rows": {"num": 12_000, "num_groups": 3_000},
}


def make_case(
    seed: int,
    *,
    num: int,
    num_groups: int | None,
    levels: int | None = None,
    huge: int = 0,
    prevalence: float = 0.3,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, two scores and groups; the second score has ties where the first has them."""
    random = np.random.default_rng(seed)
    labels = random.random(num) < prevalence
    labels[:4] = True, False, True, False
    first = random.normal(size=num) + labels
    second = first + random.normal(size=num)
    if levels is not None:
        first, second = (np.floor(one * levels / 8) for one in (first, second))
    groups = np.arange(num) if num_groups is None else random.integers(num_groups, size=num)
    groups[4 : 4 + huge] = 0
    groups[:4] = 0, 0, 1, 1  # no class is in one group only
    return labels, first, second, groups


def as_scores_of(metric: Metric, values: np.ndarray) -> np.ndarray:
    """Scores as the metric takes them; the highest and the lowest as certain probabilities."""
    if metric not in PROBABILITY_METRICS:
        return values
    even = expit(values)
    even[even == even.max()], even[even == even.min()] = 1, 0
    return even


def quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values[np.isfinite(values)], [0.025, 0.975])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_intervals_are_those_of_a_plain_bootstrap(metric: Metric, case: str, seed: int) -> None:
    settings: dict[str, Any] = CASES[case]
    labels, first, second, groups = make_case(seed, **settings)
    target = labels if metric.has_labels else second
    first = as_scores_of(metric, first)
    resampling = Resampling(NUM_DRAWS, seed=seed)
    found = estimate(metric, target, first, groups=groups, resampling=resampling)
    drawn = draw_plainly(metric.name, target, first, groups, num_draws=NUM_DRAWS, seed=seed)
    assert found.num_resamples == np.isfinite(drawn).sum()
    expected = measure_plainly(metric.name, target, first)
    assert found.value == pytest.approx(expected, rel=1e-12, nan_ok=True)
    if found.num_resamples:
        assert [found.low, found.high] == pytest.approx(quantiles(drawn), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_two_scores_have_the_same_draws(case: str) -> None:
    settings: dict[str, Any] = CASES[case]
    labels, first, second, groups = make_case(1, **settings)
    found = compare(AUROC, labels, first, second, groups=groups, resampling=Resampling(NUM_DRAWS))
    drawn = [
        draw_plainly("auroc", labels, one, groups, num_draws=NUM_DRAWS) for one in (first, second)
    ]
    ends = quantiles(drawn[0] - drawn[1])
    assert [found.low, found.high] == pytest.approx(ends, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("num_strata", [1, 3, 40])
@pytest.mark.parametrize("case", CASES)
def test_pairs_within_strata_are_those_of_a_plain_bootstrap(case: str, num_strata: int) -> None:
    settings: dict[str, Any] = CASES[case]
    labels, scores, _, groups = make_case(2, **settings)
    strata = np.random.default_rng(2).integers(num_strata, size=len(labels))
    strata[:4] = 0
    has_both = np.isin(strata, strata[labels]) & np.isin(strata, strata[~labels])
    found = estimate(
        AUROC, labels, scores, groups=groups, strata=strata, resampling=Resampling(NUM_DRAWS)
    )
    rows = labels[has_both], scores[has_both], groups[has_both]
    drawn = draw_plainly("auroc", *rows, num_draws=NUM_DRAWS, strata=strata[has_both])
    assert found.num_resamples == np.isfinite(drawn).sum()
    assert [found.low, found.high] == pytest.approx(quantiles(drawn), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("levels", [None, 20])
def test_no_piece_of_rows_or_draws_changes_an_interval(
    metric: Metric, levels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, first, second, groups = make_case(1, num=500, num_groups=150, levels=levels)
    target = labels if metric.has_labels else second
    first = as_scores_of(metric, first)
    scores = {"first": first, "second": first**2}
    metrics = {name: [metric] for name in scores}

    def measure() -> estimates.Estimate:
        resampling = Resampling(NUM_DRAWS)
        together = estimate_together(target, scores, metrics, groups=groups, resampling=resampling)
        return together.estimate("second", metric)

    expected = measure()
    monkeypatch.setattr(draws, "COUNTS_AT_ONCE", 700)  # 4 draws
    monkeypatch.setattr(drawn_metrics, "RUNS_AT_ONCE", 7)
    monkeypatch.setattr(drawn_metrics, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(drawn_metrics, "MOST_SUM", 10)  # counts of 64 bits
    monkeypatch.setattr(estimates, "ROWS_AT_ONCE", 1)  # one score
    found = measure()
    assert found.value == expected.value
    ends = [expected.low, expected.high]
    assert [found.low, found.high] == pytest.approx(ends, rel=1e-13)


def test_metrics_together_are_those_of_each() -> None:
    labels, first, second, groups = make_case(3, num=400, num_groups=120)
    resampling = Resampling(NUM_DRAWS)
    together = estimate_together(
        labels,
        {"first": first, "second": second},
        {"first": OF_LABELS, "second": [AUROC]},
        groups=groups,
        resampling=resampling,
    )
    for metric in OF_LABELS:
        alone = estimate(metric, labels, first, groups=groups, resampling=resampling)
        assert together.estimate("first", metric) == alone
    difference = compare(AUROC, labels, first, second, groups=groups, resampling=resampling)
    assert together.compare("first", "second", AUROC) == difference


def test_groups_are_drawn_as_often_as_there_are_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "COUNTS_AT_ONCE", 300)
    blocks = list(draw_groups(60, Resampling(23, seed=4)))
    assert max(block.shape[1] for block in blocks) == 5
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1).T, draw_counts(60, 23, 4))
    assert list(draw_groups(60, Resampling(0))) == []


def test_folds_are_those_of_scikit_learn() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        num = int(random.integers(10, 300))
        clusters = random.integers(random.integers(4, num), size=num)
        target = random.random(num) < random.choice([0.1, 0.3, 0.6])
        num_folds = min(5, *(len(np.unique(clusters[one])) for one in (target, ~target)))
        if num_folds < 2:
            continue
        expected = np.empty(num, dtype=int)
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
        for number, (_, tested) in enumerate(splitter.split(clusters, target, clusters)):
            expected[tested] = number
        np.testing.assert_array_equal(stratify(target, clusters, num_folds), expected)
