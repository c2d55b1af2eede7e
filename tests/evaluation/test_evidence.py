"""Likelihood ratios, thresholds and their bounds equal a plain port of the published definition."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from evo2_tasks.evaluation import evidence, labelled_windows
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.evidence import Evidence, Ratios, fit_evidence
from tests.evaluation.plain_evidence import (
    conservative,
    find_threshold,
    posteriors_of_draws,
)

PRIOR, C = 0.1, 350
STRENGTHS = {"supporting": 1, "moderate": 2, "strong": 4, "very_strong": 8}
NO_BACKGROUND = np.empty(0)


def to_grid(scores: np.ndarray) -> np.ndarray:
    """Scores as the plain port takes them; almost all stay distinct."""
    return np.round(scores * 2**20) / 2**20


def make_rows(seed: int, num_rows: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random labels, scores of which the low ones are harmful, and clusters."""
    random = np.random.default_rng(seed)
    labels = random.random(num_rows) < 0.4
    scores = to_grid(random.normal(size=num_rows) - 1.5 * labels)
    return labels, scores, random.integers(num_rows // 2, size=num_rows)


def fit(
    labels: np.ndarray,
    scores: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    num_draws: int = 40,
    seed: int = 0,
    harmful: str = "low",
    background: np.ndarray | None = None,
) -> Evidence:
    return fit_evidence(
        labels,
        scores,
        np.arange(len(labels)) if clusters is None else clusters,
        harmful=harmful,
        prior=PRIOR,
        background=background,
        draws=Resampling(num_draws, seed),
    )


def to_ratio(posteriors: np.ndarray) -> np.ndarray:
    """Likelihood ratios of posterior probabilities: odds after and before."""
    with np.errstate(divide="ignore"):
        return posteriors / (1 - posteriors) * (1 - PRIOR) / PRIOR


def check_against_port(
    labels: np.ndarray,
    scores: np.ndarray,
    clusters: np.ndarray,
    background: np.ndarray,
    num_draws: int = 20,
    least_rows: int = 100,
) -> None:
    """Compare everything with the plain port, low scores being harmful."""
    fitted = fit(labels, scores, clusters, num_draws=num_draws, background=background)
    ratios = fitted.ratios
    assert ratios is not None
    everything = np.concatenate([scores, background])
    centres = sorted({*scores.tolist(), everything.min(), everything.max()})
    assert ratios.scores.tolist() == centres
    # A window of a draw has at least three rows of the kind that speaks against the evidence.
    found = {
        sign: posteriors_of_draws(
            centres, labels, scores, clusters, background, prior=PRIOR, num_draws=num_draws,
            least_rows=least_rows, least_of_kind=(0, 3) if sign > 0 else (3, 0),
        )
        for sign in (1, -1)
    }  # fmt: skip
    np.testing.assert_allclose(ratios.lr, to_ratio(found[1][0]), rtol=1e-9)
    allowed = math.floor(0.05 * num_draws)
    low, high = (np.sort(to_ratio(found[sign][1:]), axis=0) for sign in (1, -1))
    np.testing.assert_allclose(ratios.lr_low, low[allowed], rtol=1e-9)
    np.testing.assert_allclose(ratios.lr_high, high[-1 - allowed], rtol=1e-9)
    for one in fitted.thresholds:
        points = STRENGTHS[one.strength] * (1 if one.direction == "harmful" else -1)
        assert one.points == points
        required = C ** (points / 8)
        assert one.lr == pytest.approx(required)
        assert one.posterior == pytest.approx(
            required * PRIOR / ((required - 1) * PRIOR + 1)
        )  # as published
        inwards = 1 if points > 0 else -1
        thresholds = [
            find_threshold(
                centres[::inwards],
                [(row > one.posterior) == (points > 0) for row in of_one[::inwards]],
            )
            for of_one in found[inwards]
        ]
        assert one.threshold == thresholds[0]
        assert one.bound == conservative(thresholds[1:], inwards)
        num_without = sum(threshold is None for threshold in thresholds[1:])
        assert one.share_without == num_without / num_draws
        assert bool(one.reason) == (one.bound is None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_background", [0, 1, 150, 600])
def test_random_rows_equal_the_published_definition(seed: int, num_background: int) -> None:
    labels, scores, clusters = make_rows(seed)
    random = np.random.default_rng(100 + seed)
    background = to_grid(random.normal(-1, 1.5, num_background))
    check_against_port(labels, scores, clusters, background, num_draws=1 if seed else 20)


@pytest.mark.parametrize("background", [NO_BACKGROUND, np.arange(-40.0, 40)])
def test_windows_of_a_share_of_many_rows(background: np.ndarray) -> None:
    """With more than 3,334 labelled rows and no background, 3 % of them are more than 100."""
    labels, scores, _ = make_rows(5, 3_600)
    scores = np.round(8 * scores)
    check_against_port(labels, scores, np.arange(3_600), background, num_draws=1)


@settings(max_examples=60)
@given(st.data())
def test_ties(data: st.DataObject) -> None:
    """Few distinct scores: many rows are as far from a centre as the outermost row."""
    num_rows = data.draw(st.integers(10, 30))
    whole = st.integers(-6, 6)
    scores = np.array(data.draw(st.lists(whole, min_size=num_rows, max_size=num_rows)), float)
    labels = np.arange(num_rows) % 3 == 0
    clusters = np.arange(num_rows) // data.draw(st.integers(1, 4))
    background = np.array(data.draw(st.lists(st.integers(-9, 9), max_size=60)), float)
    with pytest.MonkeyPatch.context() as patch:
        least = data.draw(st.integers(1, num_rows))
        patch.setattr(evidence, "FEWEST_LABELLED", 1)
        patch.setattr(evidence, "FEWEST_OF_KIND", 1)
        patch.setattr(labelled_windows, "WINDOW_ROWS", least)
        check_against_port(labels, scores, clusters, background, 20, least)


@pytest.mark.parametrize("harmful", ["low", "high"])
def test_harmful_end(harmful: str) -> None:
    """Turned scores have turned thresholds and the same likelihood ratios."""
    labels, scores, clusters = make_rows(1, 400)
    turn = 1 if harmful == "low" else -1
    expected = fit(labels, scores, clusters)
    found = fit(labels, turn * scores, clusters, harmful=harmful)
    assert expected.ratios is not None
    assert found.ratios is not None
    np.testing.assert_array_equal(found.ratios.scores, np.sort(turn * expected.ratios.scores))
    np.testing.assert_array_equal(found.ratios.lr, expected.ratios.lr[::turn])
    np.testing.assert_array_equal(found.ratios.lr_low, expected.ratios.lr_low[::turn])
    for one, other in zip(found.thresholds, expected.thresholds, strict=True):
        for name in ("threshold", "bound"):
            value = getattr(other, name)
            assert getattr(one, name) == (None if value is None else turn * value)


def test_order_of_rows_and_unit_of_scores_do_not_matter() -> None:
    labels, scores, clusters = make_rows(2, 300)
    background = np.random.default_rng(0).normal(size=500)
    expected = fit(labels, scores, clusters, background=background)
    order = np.random.default_rng(1).permutation(300)
    again = fit(labels[order], scores[order], clusters[order], background=background[::-1])
    assert again.thresholds == expected.thresholds
    assert again.ratios is not None
    assert expected.ratios is not None
    for name in ("scores", "lr", "lr_low", "lr_high"):
        assert getattr(again.ratios, name).tobytes() == getattr(expected.ratios, name).tobytes()
    scaled = fit(labels, scores / 4_096, clusters, background=background / 4_096)
    assert scaled.ratios is not None
    np.testing.assert_array_equal(scaled.ratios.lr_low, expected.ratios.lr_low)


def test_rows_without_a_score_do_not_count() -> None:
    labels, scores, clusters = make_rows(3, 300)
    expected = fit(labels, scores, clusters)
    more = fit(
        np.append(labels, [True, False]),
        np.append(scores, [np.nan, np.nan]),
        np.append(clusters, [7_000, 8_000]),
        background=np.array([np.nan]),
    )
    assert more.thresholds == expected.thresholds
    assert (more.num_positive, more.num_negative) == (labels.sum(), (~labels).sum())


def test_bounds_are_more_conservative_than_thresholds() -> None:
    """Every score from a bound on has a lower bound that reaches the strength."""
    labels, scores, clusters = make_rows(4, 1_000)
    fitted = fit(labels, scores, clusters, num_draws=200)
    assert fitted.ratios is not None
    num_reached = 0
    for one in fitted.thresholds:
        if one.bound is None:
            continue
        num_reached += 1
        if one.direction == "harmful":
            assert fitted.ratios.lr_low[fitted.ratios.scores <= one.bound].min() >= one.lr
        else:
            assert fitted.ratios.lr_high[fitted.ratios.scores >= one.bound].max() <= one.lr
    assert num_reached >= 4


def test_two_gaussians() -> None:
    """The likelihood ratio of two normal distributions of equal width is known."""
    random = np.random.default_rng(0)
    num_rows, shift = 40_000, 2.0
    labels = random.random(num_rows) < 0.5
    scores = random.normal(size=num_rows) - shift * labels
    fitted = fit(labels, scores, num_draws=100, background=random.normal(size=20_000) - 1)
    assert fitted.ratios is not None
    at = np.linspace(-3, 1, 41)
    true = norm.pdf(at, -shift) / norm.pdf(at)
    lr, low, high = fitted.ratios.find(at)
    np.testing.assert_allclose(np.log(lr), np.log(true), atol=0.35)
    assert np.mean((low <= true) & (true <= high)) > 0.7
    for one in fitted.thresholds:
        if abs(one.points) <= 4:  # log LR = -shift * score - shift ** 2 / 2
            exact = -(math.log(one.lr) + shift**2 / 2) / shift
            assert one.threshold == pytest.approx(exact, abs=0.2)
            assert (one.bound - exact) * one.points < 0.05  # beyond the exact threshold


@pytest.mark.parametrize(
    ("num_positive", "num_negative", "reason"),
    [
        (49, 50, "99 labelled rows have a score; at least 100 are needed"),
        (9, 200, "9 positive rows have a score; at least 10 are needed"),
        (200, 9, "9 negative rows have a score; at least 10 are needed"),
        (300, 0, "0 negative rows have a score; at least 10 are needed"),
        (0, 0, "0 labelled rows have a score; at least 100 are needed"),
    ],
)
def test_too_few_labelled_rows(num_positive: int, num_negative: int, reason: str) -> None:
    labels = np.arange(num_positive + num_negative) < num_positive
    fitted = fit(labels, np.linspace(0, 1, len(labels)))
    assert fitted.ratios is None
    assert fitted.reason == reason
    assert [one.reason for one in fitted.thresholds] == [reason] * 8
    assert all(one.bound is one.threshold is one.share_without is None for one in fitted.thresholds)


def test_just_enough_labelled_rows() -> None:
    assert fit(np.arange(100) < 10, np.linspace(0, 1, 100)).ratios is not None
    assert fit(np.arange(100) < 90, np.linspace(0, 1, 100)).ratios is not None


def test_scores_that_are_all_null() -> None:
    labels = np.arange(300) < 150
    fitted = fit(labels, np.full(300, np.nan))
    assert fitted.reason == "0 labelled rows have a score; at least 100 are needed"


def test_one_cluster() -> None:
    labels, scores, _ = make_rows(0, 300)
    fitted = fit(labels, scores, np.zeros(300, dtype=int))
    assert fitted.reason == "all labelled rows with a score are one cluster, so there are no draws"


@pytest.mark.parametrize("background", [None, np.full(500, 2.0), np.array([-1.0, 9.0])])
def test_constant_scores(background: np.ndarray | None) -> None:
    """Equal scores separate nothing: the likelihood ratio is 1."""
    fitted = fit(np.arange(300) % 3 == 0, np.full(300, 2.0), background=background)
    assert fitted.ratios is not None
    np.testing.assert_array_equal(fitted.ratios.lr, 1)
    assert not any(one.threshold or one.bound for one in fitted.thresholds)


def test_kinds_without_overlap() -> None:
    """A window without a row of one kind has the likelihood ratio 0 or infinity, not an error.

    Its bound is that of three rows of this kind: nobody knows how rare they are there.
    """
    labels = np.arange(600) < 300
    fitted = fit(labels, np.arange(600.0))
    assert fitted.ratios is not None
    assert fitted.ratios.lr[0] == math.inf
    assert fitted.ratios.lr[-1] == 0
    assert fitted.ratios.lr_low.max() <= 100 / 3 * 1.5
    assert fitted.ratios.lr_high.min() >= 3 / 100 / 1.5
    reached = {one.points for one in fitted.thresholds if not one.reason}
    assert reached == {1, 2, -1, -2}
    assert all(one.threshold is not None for one in fitted.thresholds)


def test_many_scores_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores with a window are spread by rank, and the first and last are among them."""
    labels, scores, clusters = make_rows(6, 500)
    every = fit(labels, scores, clusters).ratios
    monkeypatch.setattr(labelled_windows, "MOST_CENTRES", 50)
    some = fit(labels, scores, clusters).ratios
    assert every is not None
    assert some is not None
    assert len(some.scores) == 50
    assert some.scores[[0, -1]].tolist() == [scores.min(), scores.max()]
    places = np.searchsorted(every.scores, some.scores)
    assert np.diff(places).max() - np.diff(places).min() <= 1
    np.testing.assert_array_equal(some.lr_low, every.lr_low[places])


def test_scores_between_and_beyond() -> None:
    ratios = Ratios(
        scores=np.array([-2.0, 0.0, 4.0]),
        lr=np.array([9.0, 2.0, 0.5]),
        lr_low=np.array([5.0, 1.5, 0.1]),
        lr_high=np.array([12.0, 3.0, 0.7]),
    )
    at = np.array([-50.0, -2.0, -1.5, -1.0, -0.5, 0.0, 1.0, 2.0, 3.0, 4.0, 50.0, np.nan])
    lr, low, high = ratios.find(at)
    nan = np.nan
    np.testing.assert_array_equal(lr, [9, 9, 9, 9, 2, 2, 2, 2, 0.5, 0.5, 0.5, nan])
    np.testing.assert_array_equal(low, [5, 5, 1.5, 1.5, 1.5, 1.5, 0.1, 0.1, 0.1, 0.1, 0.1, nan])
    np.testing.assert_array_equal(high, [12, 12, 12, 12, 12, 3, 3, 3, 3, 0.7, 0.7, nan])


def test_progress_counts_all_draws() -> None:
    labels, scores, clusters = make_rows(0, 200)
    done: list[int] = []
    fit_evidence(
        labels, scores, clusters, harmful="low", prior=PRIOR, draws=Resampling(150),
        add_draws=done.append,
    )  # fmt: skip
    assert sum(done) == 150
    assert len(done) > 1


def test_seed() -> None:
    labels, scores, clusters = make_rows(0, 200)
    first, again, other = (
        dataclasses.astuple(fit(labels, scores, clusters, seed=seed).ratios) for seed in (0, 0, 1)
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))
