"""Metrics of probabilities, against scikit-learn and closed forms; draws are in test_bootstrap."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import estimate, estimate_together
from evo2_tasks.evaluation.metrics import PROBABILITY_METRICS
from evo2_tasks.evaluation.probabilities import (
    NUM_BINS,
    assign_bins,
    at_odds,
    draw_calibration_curve,
    to_even_odds,
)
from tests.evaluation.plain_bootstrap import assign_bins_plainly

BRIER, SKILL, ERROR = PROBABILITY_METRICS
RATIOS = st.one_of(
    st.sampled_from([0.0, 1e-320, 1e-9, 0.5, 1.0, 2.0, 1e9, 1e300, float("inf")]),
    st.floats(0, 1e6),
)


@given(ratio=RATIOS, odds=st.floats(1e-3, 1e3))
def test_a_probability_is_the_ratio_times_the_odds(ratio: float, odds: float) -> None:
    expected = 1.0 if np.isinf(ratio) else ratio * odds / (1 + ratio * odds)
    expected = 1.0 if np.isnan(expected) else expected  # both are beyond the largest number
    found = at_odds(to_even_odds([ratio]), odds)[0]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert 0 <= found <= 1


def test_a_missing_ratio_stays_missing() -> None:
    assert np.isnan(to_even_odds([np.nan, 1.0])).tolist() == [True, False]


@given(st.lists(st.tuples(st.booleans(), RATIOS), min_size=2, max_size=60))
def test_brier_and_calibration_error_are_those_of_scikit_learn(
    rows: list[tuple[bool, float]],
) -> None:
    labels, ratios = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    even = to_even_odds(ratios)
    probabilities = at_odds(even, labels.sum() / (~labels).sum())
    brier = brier_score_loss(labels, probabilities)
    assert BRIER.compute(labels, even) == pytest.approx(brier, abs=1e-12)
    of_share = brier_score_loss(labels, np.full(len(labels), labels.mean()))
    assert SKILL.compute(labels, even) == pytest.approx(1 - brier / of_share, abs=1e-9)
    bins = assign_bins_plainly(even)
    error = sum(
        abs(labels[bins == one].sum() - probabilities[bins == one].sum()) for one in set(bins)
    )
    assert ERROR.compute(labels, even) == pytest.approx(error / len(labels), abs=1e-12)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80))
def test_bins_are_those_of_a_loop_and_hold_equal_rows_together(values: list[int]) -> None:
    even = np.array(values) / 16
    bins = assign_bins(even)
    np.testing.assert_array_equal(bins, assign_bins_plainly(even))
    for value in set(values):
        assert len(set(bins[even == value / 16])) == 1
    assert (np.diff(bins[np.argsort(even)]) >= 0).all()


@pytest.mark.parametrize("num", [12, 57, 100, 238, 1_000])
@pytest.mark.parametrize("levels", [None, 7, 50])
def test_bins_are_the_quantile_bins_of_scikit_learn(num: int, levels: int | None) -> None:
    # With (num - 1) % 10 > 0, scikit-learn's interpolated ends lie between two rows.
    random = np.random.default_rng(num)
    values = random.random(num) if levels is None else random.integers(levels, size=num) / levels
    labels = random.random(num) < values
    bins = assign_bins(values)
    shares, means = calibration_curve(labels, values, n_bins=NUM_BINS, strategy="quantile")
    found = sorted(set(bins))
    assert [labels[bins == one].mean() for one in found] == pytest.approx(shares)
    assert [values[bins == one].mean() for one in found] == pytest.approx(means)


@pytest.mark.parametrize("num", [100, 103, 110, 1_009])
def test_bins_have_equal_numbers_of_rows(num: int) -> None:
    sizes = np.bincount(assign_bins(np.random.default_rng(1).random(num)))
    assert len(sizes) == NUM_BINS
    assert sizes.max() - sizes.min() <= 1


def test_certain_probabilities_that_are_right_have_no_error() -> None:
    labels = np.arange(40) < 10
    even = to_even_odds(np.where(labels, np.inf, 0.0))
    assert [metric.compute(labels, even) for metric in PROBABILITY_METRICS] == [0, 1, 0]


def test_a_ratio_of_one_for_every_row_has_no_skill_and_no_calibration_error() -> None:
    labels = np.arange(50) < 10
    even = to_even_odds(np.ones(50))
    values = [metric.compute(labels, even) for metric in PROBABILITY_METRICS]
    assert values == pytest.approx([0.2 * 0.8, 0, 0], abs=1e-12)


def test_the_order_of_rows_does_not_count() -> None:
    random = np.random.default_rng(3)
    labels, even = random.random(200) < 0.3, random.integers(9, size=200) / 8
    order = random.permutation(200)
    for metric in PROBABILITY_METRICS:
        assert metric.compute(labels[order], even[order]) == pytest.approx(
            metric.compute(labels, even), rel=1e-12
        )


def test_calibrated_ratios_have_about_the_error_of_finite_bins() -> None:
    """Two Gaussians with a known ratio: the error is that of 10 binomial shares, and not 0."""
    errors, num, share = [], 1_000, 0.3
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels = random.random(num) < share
        score = random.normal(np.where(labels, 0.5, -0.5))
        errors.append(ERROR.compute(labels, to_even_odds(np.exp(score))))
    # For each bin of many rows: the mean distance of a binomial share from its probability.
    random = np.random.default_rng(99)
    labels = random.random(10**6) < share
    score = random.normal(np.where(labels, 0.5, -0.5))
    probability = at_odds(expit(score), share / (1 - share))
    bins = assign_bins(score)
    in_bin = num // NUM_BINS
    counts = np.arange(in_bin + 1)
    expected = np.mean([
        (binom.pmf(counts, in_bin, mean) * np.abs(counts / in_bin - mean)).sum()
        for mean in (probability[bins == one].mean() for one in range(NUM_BINS))
    ])  # fmt: skip
    assert np.mean(errors) == pytest.approx(expected, rel=0.1)
    assert expected > 0.02


def test_a_wrong_scale_of_ratios_is_an_error_that_grows() -> None:
    random = np.random.default_rng(5)
    labels = random.random(5_000) < 0.3
    score = random.normal(np.where(labels, 0.5, -0.5))
    errors, skills = [], []
    for scale in (1, 2, 4):
        even = to_even_odds(np.exp(scale * score))
        errors.append(ERROR.compute(labels, even))
        skills.append(SKILL.compute(labels, even))
    assert errors == sorted(errors)
    assert errors[0] < 0.03 < errors[1]
    assert skills == sorted(skills, reverse=True)


def test_intervals_cover_the_truth_if_the_ratios_are_too_extreme() -> None:
    """Ratios of two Gaussians, squared; the truth is that of 300,000 rows."""

    def simulate(seed: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        labels = random.random(num_rows) < 0.3
        score = random.normal(np.where(labels, 0.75, -0.75))
        return labels, to_even_odds(np.exp(2 * 1.5 * score))

    truth = [metric.compute(*simulate(1, 300_000)) for metric in PROBABILITY_METRICS]
    covered = np.zeros(len(truth))
    for seed in range(100):
        labels, even = simulate(1_000 + seed, 300)
        together = estimate_together(
            labels, {"lr": even}, {"lr": PROBABILITY_METRICS}, resampling=Resampling(200)
        )
        found = [together.estimate("lr", metric) for metric in PROBABILITY_METRICS]
        covered += [
            (one.low or 0) <= true <= (one.high or 0)
            for one, true in zip(found, truth, strict=True)
        ]
    assert (covered >= 87).all()  # of 100 at a rate of 0.95, fewer once in a thousand times


def test_a_common_factor_of_all_ratios_is_an_error() -> None:
    """The odds are those of the rows, so they do not make up for ratios that are all too high."""
    random = np.random.default_rng(6)
    labels = random.random(5_000) < 0.3
    score = random.normal(np.where(labels, 0.5, -0.5))
    errors = [ERROR.compute(labels, to_even_odds(np.exp(score) * by)) for by in (1, 5)]
    assert errors[0] < 0.03 < 0.2 < errors[1]


@pytest.mark.parametrize("metric", PROBABILITY_METRICS, ids=lambda metric: metric.name)
def test_one_class_or_one_cluster_has_a_reason(metric: object) -> None:
    even = np.linspace(0.1, 0.9, 8)
    one_class = estimate(metric, np.ones(8, dtype=bool), even)  # type: ignore[arg-type]
    assert (one_class.value, one_class.reason) == (None, "no scored row is negative")
    labels = np.arange(8) < 3
    found = estimate(metric, labels, even, groups=labels)  # type: ignore[arg-type]
    assert found.value is not None
    assert found.low is None
    assert found.reason == "no interval: the positives are one cluster"


def test_a_point_of_the_curve_has_an_interval_if_its_rows_are_of_several_clusters() -> None:
    random = np.random.default_rng(7)
    even = np.linspace(0.01, 0.99, 200)
    labels = random.random(200) < even
    groups = np.arange(200)
    groups[40:60] = 40  # the third bin
    x, y, low, high = draw_calibration_curve(labels, even, groups, Resampling(60))
    assert (np.diff(x) > 0).all()
    assert np.isnan(low).tolist() == [number == 2 for number in range(10)]
    assert np.isnan(high).tolist() == np.isnan(low).tolist()
    others = np.arange(10) != 2
    assert ((low <= y) & (y <= high))[others].all()


@pytest.mark.parametrize("case", ["one positive cluster", "one negative cluster", "no draws"])
def test_a_curve_without_intervals_has_its_points(case: str) -> None:
    random = np.random.default_rng(8)
    even = random.random(100)
    labels = random.random(100) < even
    groups = np.arange(100)
    if case != "no draws":
        groups[labels == (case == "one positive cluster")] = 0
    found = draw_calibration_curve(labels, even, groups, Resampling(0 if case == "no draws" else 9))
    expected = draw_calibration_curve(labels, even, np.arange(100), Resampling(9))
    np.testing.assert_array_equal(found[:2], expected[:2])
    assert np.isnan(found[2:]).all()


@pytest.mark.parametrize("ratio", [0.0, np.inf])
def test_ratios_that_are_certain_of_every_row_are_numbers(ratio: float) -> None:
    labels = np.arange(40) < 10
    brier, skill, error = (
        metric.compute(labels, to_even_odds(np.full(40, ratio))) for metric in PROBABILITY_METRICS
    )
    wrong = 0.25 if ratio == 0 else 0.75
    assert (brier, error) == (wrong, wrong)
    assert skill == pytest.approx(1 - wrong / (0.25 * 0.75))
