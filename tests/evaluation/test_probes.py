"""Probes: nested cross-validation, its scores, and the control with shuffled targets.

The oracle is scikit-learn as its manual shows it: Pipeline, GridSearchCV, cross_val_predict.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evo2_tasks.evaluation.probe_folds import make_probe_folds
from evo2_tasks.evaluation.probe_models import list_penalties
from evo2_tasks.evaluation.probes import fit_probe
from tests.evaluation.build_probes import Features, draw_features, draw_genes, place

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
