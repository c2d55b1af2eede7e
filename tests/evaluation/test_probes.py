"""Probes: nested cross-validation, its scores, and the control with shuffled targets.

The oracle is scikit-learn as its manual shows it: Pipeline, GridSearchCV, cross_val_predict.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student_t
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation import probe_models, probes
from evo2_tasks.evaluation.metrics import auroc, spearman
from evo2_tasks.evaluation.probe_folds import ProbeRows, make_probe_folds
from evo2_tasks.evaluation.probe_models import FittedProbe, list_penalties
from evo2_tasks.evaluation.probes import Control, fit_probe
from evo2_tasks.evaluation.values import to_array
from tests.evaluation.build_probes import Features, draw_features, draw_genes, place

Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def log_odds(labels: Labels) -> float:
    return math.log(labels.sum() / (~labels).sum())


def make_labels(features: Features, *, signal: float = 1.5, seed: int = 0) -> Labels:
    """Labels that depend on the first feature."""
    random = np.random.default_rng([seed, 9])
    return signal * features[:, 0] + random.normal(size=len(features)) > 0


# Agreement with scikit-learn.


@pytest.mark.parametrize(("num_features", "rounding"), [(12, 1e-5), (700, 3e-3)])
def test_nested_scores_are_those_of_scikit_learn(num_features: int, rounding: float) -> None:
    """For each fold GridSearchCV chooses the penalty, with the other folds as inner folds.

    With 700 features the models are fitted to coordinates of the rows, and both fits stop when no
    gradient of the mean loss is above 1e-4.
    """
    genes = np.repeat(
        np.arange(20), 15
    )  # 5 folds of 4 genes: the mean of the folds is that of the rows
    features = draw_features(300, num_features)
    target = make_labels(features)
    penalties = list_penalties(num_features)
    rows = place(genes)
    folds = make_probe_folds("gene", target, rows)
    assert np.bincount(folds.fold).tolist() == [60] * 5
    probe, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=0)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    grid = {"logisticregression__C": [1 / penalty for penalty in penalties]}
    for fold in range(5):
        outside = folds.fold != fold
        search = GridSearchCV(
            pipeline, grid, scoring="neg_log_loss", cv=PredefinedSplit(folds.fold[outside])
        ).fit(features[outside], target[outside])
        assert result.penalties[fold] == 1 / search.best_params_["logisticregression__C"]
        expected = search.decision_function(features[~outside])
        shift = log_odds(target) - log_odds(target[outside])
        np.testing.assert_allclose(result.scores[~outside], expected + shift, atol=rounding)

    # The final probe: one cross-validation with all folds.
    cv = PredefinedSplit(folds.fold)
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=cv).fit(features, target)
    assert result.final_penalty == 1 / search.best_params_["logisticregression__C"]
    np.testing.assert_allclose(
        probe.predict(features), search.decision_function(features), atol=rounding
    )


def test_folds_of_unequal_size_count_each_row_once() -> None:
    """The loss is the mean of the rows, so a small fold weighs less than a large one."""
    genes = draw_genes(200, 9)
    features = draw_features(200, 40)
    target = make_labels(features, signal=0.7)
    rows = place(genes)
    fold = make_probe_folds("gene", target, rows).fold
    _, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=0)
    losses, penalties = [], list_penalties(40)
    for penalty in penalties:
        pipeline = make_pipeline(
            StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1_000)
        )
        odds = cross_val_predict(
            pipeline, features, target, cv=PredefinedSplit(fold), method="predict_proba"
        )
        losses.append(log_loss(target, odds[:, 1]))
    assert result.final_penalty == penalties[int(np.argmin(losses))]


@pytest.mark.parametrize(("num_rows", "num_features"), [(150, 20), (90, 400)])
def test_ridge_has_its_closed_form(num_rows: int, num_features: int) -> None:
    genes = draw_genes(num_rows, 10)
    features = draw_features(num_rows, num_features)
    random = np.random.default_rng(1)
    target = 2 * features[:, 0] + random.normal(size=num_rows) + 5
    rows = place(genes)
    fold = make_probe_folds("gene", target, rows).fold
    probe, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=0)

    penalties = list_penalties(num_features)

    def solve(inside: npt.NDArray[Any], penalty: float) -> Any:
        x = features[inside].astype(np.float64)
        mean, scale, y_mean = x.mean(axis=0), x.std(axis=0), target[inside].mean()
        z = (x - mean) / scale
        gram = z @ z.T + penalty * np.eye(len(z))
        weights = z.T @ np.linalg.solve(gram, target[inside] - y_mean)
        return lambda some: (some - mean) / scale @ weights + y_mean

    everything = np.ones(num_rows, dtype=bool)
    predict = solve(everything, result.final_penalty)
    np.testing.assert_allclose(probe.predict(features), predict(features), rtol=1e-9)
    for number, penalty in enumerate(result.penalties):
        outside = fold != number
        expected = solve(outside, penalty)(features[~outside])
        shift = target.mean() - target[outside].mean()
        np.testing.assert_allclose(result.scores[~outside], expected + shift, rtol=1e-9)
        losses = [
            sum(
                ((solve(outside & (fold != inner), one)(features[fold == inner])
                  - target[fold == inner]) ** 2).sum()
                for inner in {*fold[outside].tolist()}
            )
            for one in penalties
        ]  # fmt: skip
        assert penalty == penalties[int(np.argmin(losses))]
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=result.final_penalty))
    wide = features.astype(np.float64)
    expected = pipeline.fit(wide, target).predict(wide)
    np.testing.assert_allclose(probe.predict(features), expected, rtol=1e-9)


# What a probe finds, and what it does not.


def test_a_planted_signal_is_found() -> None:
    """Nearly as well as with the feature that has the signal."""
    features = draw_features(600, 50)
    target = make_labels(features)
    _, result = fit_probe(
        features, target, place(draw_genes(600, 30)), folds_by="gene", num_shuffles=0
    )
    best = auroc(target, features[:, 0].astype(np.float64))
    assert best > 0.85
    assert best - 0.03 < auroc(target, result.scores) < best + 0.005


def test_high_scores_are_of_positive_rows_or_high_numbers() -> None:
    features = -draw_features(300, 3)
    signal = -features[:, 0].astype(np.float64)
    rows = place(draw_genes(300, 12))
    for target in (signal > 0, signal):
        probe, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=0)
        assert spearman(signal, result.scores) > 0.95
        assert spearman(signal, probe.predict(features)) > 0.95


def test_shuffled_labels_are_at_chance_within_groups() -> None:
    """The labels differ in prevalence between classes of genes, which the features show."""
    genes = draw_genes(600, 30)
    is_harmful_class = genes % 2 == 0
    features = draw_features(600, 20)
    features[:, 0] += 4 * is_harmful_class
    random = np.random.default_rng(5)
    target = random.random(600) < np.where(is_harmful_class, 0.8, 0.2)
    _, result = fit_probe(features, target, place(genes), folds_by="gene")
    control = result.control
    assert (control.metric, control.num_shuffles) == ("auroc", 10)
    assert control.within.low is not None
    assert control.within.high is not None
    assert control.within.low < 0.5 < control.within.high
    assert control.within.high - control.within.low < 0.1
    # Which class a gene is of is known after the shuffles too.
    assert control.overall.low is not None
    assert control.overall.low > 0.7
    for values in (control.within.values, control.overall.values):
        assert len(set(values)) == 10
    assert "something may leak" not in " ".join(result.state())


def test_labels_without_signal_are_at_chance_and_not_below() -> None:
    """Folds differ in their share of positive rows; pooled scores must not show this."""
    values = []
    for seed in range(10):
        genes = draw_genes(120, 6, seed)
        target = np.random.default_rng([seed, 3]).random(120) < np.where(genes < 3, 0.7, 0.3)
        features = draw_features(120, 70, seed)
        _, result = fit_probe(
            features, target, place(genes, seed=seed), folds_by="gene", num_shuffles=0
        )
        values.append(auroc(target, result.scores))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < 3 * error < 0.1


def test_groups_with_one_label_each_are_stated() -> None:
    """Shuffling changes nothing then, and no pair of rows can be compared."""
    genes = draw_genes(200, 20)
    features = draw_features(200, 3)
    target = genes % 2 == 0
    _, result = fit_probe(features, target, place(genes), folds_by="gene", num_shuffles=2)
    assert result.control.num_shuffled == 0
    assert result.control.within.mean is None
    stated = " ".join(result.state())
    assert "shuffling the labels within groups changes nothing" in stated


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.49, 0.5, 0.52), "is 0.503 [0.416, 0.591]."),
        (
            (0.6, 0.61, 0.62),
            "is 0.610 [0.553, 0.667], which is not the chance level of 0.5: something may leak "
            "between folds.",
        ),
        ((0.6,), "is not known: there is one shuffle."),
    ],
)
def test_a_control_that_is_not_at_chance_is_stated(
    values: tuple[float, ...], expected: str
) -> None:
    """The interval is Student's, of 99 %."""
    features = draw_features(60, 2)
    _, result = fit_probe(
        features, features[:, 0] > 0, place(np.arange(60) % 6), folds_by="gene", num_shuffles=0
    )
    within = probes.summarise([*values])
    if len(values) > 1:
        interval = student_t.interval(
            0.99, len(values) - 1, np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
        )
        np.testing.assert_allclose((within.low, within.high), interval)
    control = Control("auroc", len(values), 60, within, within)
    stated = replace(result, control=control).state()[-1]
    assert stated.endswith(f"auroc within groups {expected}")


def test_numbers_that_are_shuffled_are_at_chance() -> None:
    genes = draw_genes(300, 12)
    features = draw_features(300, 10)
    target = features[:, 1] + 3.0 * genes  # the genes differ in their mean
    _, result = fit_probe(features, target, place(genes), folds_by="gene")
    assert result.control.metric == "spearman"
    within = result.control.within
    assert within.low is not None
    assert within.high is not None
    assert within.low < 0 < within.high


def solve_ridge(features: Features, target: Numbers, penalty: float, new: Numbers) -> Numbers:
    """Predictions for new rows, by the normal equations."""
    x = features.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / scale
    gram = z.T @ z + penalty * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (target - target.mean()))
    return (new - mean) / scale @ weights + target.mean()  # type: ignore[no-any-return]


def test_nested_selection_is_not_optimistic_and_the_naive_one_is() -> None:
    """The squared error of out-of-fold scores, minus that of the same models on new rows.

    The error of the mean, which has no penalty to choose, is taken off both, because it varies in
    the same way.
    """
    genes = np.repeat(np.arange(3), 20)
    weights = np.where(np.arange(40) < 10, 0.15, 0)
    differences = []
    for seed in range(80):
        random = np.random.default_rng([seed, 4])
        features, new = draw_features(60, 40, seed), random.normal(size=(500, 40))
        target = features @ weights + random.normal(size=60)
        of_new = new @ weights + random.normal(size=500)
        rows = place(genes, seed=seed)
        _, result = fit_probe(features, target, rows, folds_by="gene", num_shuffles=0)
        for scores, penalties in (
            (result.scores, result.penalties),
            (result.naive_scores, [result.final_penalty] * 3),
        ):
            observed, expected = [], []
            for fold, penalty in enumerate(penalties):
                inside = result.fold != fold
                mean = target[inside].mean()
                errors = (scores - target.mean() + mean - target)[~inside] ** 2
                observed.append(errors - (mean - target[~inside]) ** 2)
                predicted = solve_ridge(features[inside], target[inside], penalty, new)
                expected.append((predicted - of_new) ** 2 - (mean - of_new) ** 2)
            differences.append(np.concatenate(observed).mean() - np.mean(expected))
    nested, naive = np.array(differences).reshape(-1, 2).T
    error = [np.std(one, ddof=1) / math.sqrt(len(one)) for one in (nested, naive)]
    assert abs(nested.mean()) < 2.5 * error[0] < 0.05
    assert naive.mean() < -2.5 * error[1]


# Rows, features and fits that need a statement.


def test_rows_without_features_are_left_out_and_counted() -> None:
    features = draw_features(300, 8)
    target = make_labels(features)
    rows = place(draw_genes(300, 15))
    missing = np.random.default_rng(2).random(300) < 0.2
    with_gaps = features.copy()
    with_gaps[missing, 3] = np.nan
    with_gaps[np.flatnonzero(missing)[0]] = np.inf
    probe, result = fit_probe(with_gaps, target, rows, folds_by="gene", num_shuffles=2)
    expected_probe, expected = fit_probe(
        features[~missing], target[~missing], rows.take(~missing), folds_by="gene", num_shuffles=2
    )
    np.testing.assert_array_equal(probe.weights, expected_probe.weights)
    np.testing.assert_array_equal(result.scores[~missing], expected.scores)
    assert np.isnan(result.scores[missing]).all()
    assert (result.fold[missing] == -1).all()
    assert result.control == expected.control
    assert (result.num_rows, result.num_without_features) == (int((~missing).sum()), missing.sum())
    assert f"{missing.sum()} labelled rows without features left out." in result.state()


def test_constant_features_have_no_weight() -> None:
    """Also if their value cannot be represented well, and differs in new rows."""
    features = draw_features(200, 5)
    features[:, 2] = 1_000.1
    target = make_labels(features)
    probe, result = fit_probe(
        features, target, place(draw_genes(200, 10)), folds_by="gene", num_shuffles=0
    )
    assert probe.weights[2] == 0
    assert result.num_constant == 1
    assert "1 feature with the same value in all rows." in result.state()
    changed = features.copy()
    changed[:, 2] = -1e30
    np.testing.assert_array_equal(probe.predict(changed), probe.predict(features))


def test_many_more_features_than_rows() -> None:
    features = draw_features(300, 8_193)
    target = make_labels(features, signal=3)
    _, result = fit_probe(
        features, target, place(draw_genes(300, 15)), folds_by="gene", num_shuffles=1
    )
    assert np.isfinite(result.scores).all()
    assert result.num_not_converged == 0


def test_a_fit_that_does_not_converge_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_models, "MOST_ITERATIONS", 2)
    features = draw_features(200, 20)
    target = make_labels(features)
    _, result = fit_probe(
        features, target, place(draw_genes(200, 10)), folds_by="gene", num_shuffles=0
    )
    assert 0 < result.num_not_converged <= result.num_fits
    assert any("did not converge" in sentence for sentence in result.state())


def test_the_end_of_the_penalties_is_stated() -> None:
    noise = draw_features(200, 100)
    target = np.random.default_rng(11).random(200) < 0.5
    rows = place(draw_genes(200, 10))
    _, result = fit_probe(noise, target, rows, folds_by="gene", num_shuffles=0)
    strongest = result.penalties.count(1e6)
    assert strongest
    stated = " ".join(result.state())
    assert "of 5 chose the strongest penalty of all, 1e+06" in stated
    signal = noise[:, :2].copy()
    target = signal[:, 0] > 0
    _, result = fit_probe(signal, target, rows, folds_by="gene", num_shuffles=0)
    assert result.penalties == (0.1,) * 5
    assert "5 folds of 5 chose the weakest penalty of all, 0.1" in " ".join(result.state())


def test_the_same_seed_gives_the_same_bytes() -> None:
    features = draw_features(200, 70)
    target = make_labels(features)
    rows = place(draw_genes(200, 10))
    one, other, third = (
        fit_probe(features, target, rows, folds_by="gene", seed=seed, num_shuffles=1)
        for seed in (1, 1, 2)
    )
    assert one[0].weights.tobytes() == other[0].weights.tobytes() == third[0].weights.tobytes()
    assert one[1].scores.tobytes() == other[1].scores.tobytes()
    assert one[1].control == other[1].control
    assert one[1].control != third[1].control


def test_a_score_does_not_depend_on_other_rows() -> None:
    random = np.random.default_rng(0)
    for num_features in (1, 3, 700, 8_193):
        features = draw_features(40, num_features)
        features[5, 0] = np.nan
        features[6, 0] = np.inf
        probe = FittedProbe("label", random.normal(size=num_features), 0.25)
        scores = probe.predict(features)
        assert np.isnan(scores[[5, 6]]).all()
        alone = np.concatenate([probe.predict(features[row : row + 1]) for row in range(40)])
        assert scores.tobytes() == alone.tobytes()
        backwards = probe.predict(features[::-1])[::-1]
        assert scores.tobytes() == backwards.tobytes()
        exact = [
            math.fsum(float(x) * w for x, w in zip(row, probe.weights, strict=True)) + 0.25
            for row in features[:5]
        ]
        np.testing.assert_allclose(scores[:5], exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("few rows", "49 labelled rows with features; a probe needs at least 50."),
        (
            "missing",
            "40 labelled rows with features (160 have a label but no features); a probe needs at "
            "least 50.",
        ),
        (
            "one class",
            "200 labelled rows with features: 9 positive; a probe needs at least 10.",
        ),
        (
            "constant",
            "all 4 features have the same value in each of the 200 labelled rows, so a probe has "
            "nothing to learn from.",
        ),
        (
            "equal numbers",
            "200 labelled rows with features: all have the same number, so a probe has nothing to "
            "learn.",
        ),
        (
            "large number",
            "200 labelled rows with features: a number is above 1e+100, and a probe cannot square "
            "it.",
        ),
        (
            "one gene has all positives",
            "fold 3 of 5 by gene: 160 training rows; a probe needs at least 20 with different "
            "labels. Use a shorter window, more labelled rows, or another `folds_by`.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_one_line(change: str, message: str) -> None:
    features = draw_features(200, 4)
    target: Any = make_labels(features)
    genes = np.arange(200) % 10
    if change == "few rows":
        features, target, genes = features[:49], target[:49], genes[:49]
    elif change == "missing":
        features[40:, 2] = np.nan
    elif change == "one class":
        target = np.arange(200) < 9
    elif change == "constant":
        features[:] = 3
    elif change == "equal numbers":
        target = np.full(200, 2.5)
    elif change == "large number":
        target = np.where(np.arange(200) == 3, -1e101, 1.0)
    elif change == "one gene has all positives":
        target = genes == 3
    with pytest.raises(InputError) as caught:
        fit_probe(features, target, place(genes), folds_by="gene", num_shuffles=1)
    assert str(caught.value) == message


def test_windows_that_leave_no_inner_folds_are_one_line() -> None:
    """Three blocks as long as a window: next to each, a block is left out."""
    features = draw_features(180, 4)
    positions = 10 * np.arange(180) + 1
    contigs, refs = to_array(["1"] * 180), to_array(["A"] * 180)
    rows = ProbeRows(contigs, positions, refs, refs, positions - 1, positions + 589)
    with pytest.raises(InputError) as caught:
        fit_probe(features, make_labels(features), rows, folds_by="position")
    assert str(caught.value) == (
        "fold 1 of 3 by position: 62 training rows (58 are left out because their windows overlap "
        "the fold's); without any other fold, the rest has fewer than 20 rows, or one label, so "
        "that the penalty cannot be chosen. Use a shorter window, more labelled rows, or another "
        "`folds_by`."
    )
