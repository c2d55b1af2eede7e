"""Predictions of the label from a group column alone, without any sequence.

Shapes: N rows, G clusters, C classes.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.estimates import number_groups
from evo2_tasks.evaluation.labels import LabelledRows

FOLDS: Final = 5
CLOSE: Final = (1e-5, 1e-8)
"""Relative and absolute difference of equal spreads: those of numpy's ``isclose``."""


def predict_by_groups(rows: LabelledRows) -> dict[str, FloatArray]:
    """Predict the label from each group column alone.

    The rows of a cluster are predicted from the rows of other clusters, by five-fold
    cross-validation among the rows that have a score.

    Args:
        rows: The labelled rows.

    Returns:
        Predictions by column, each (N,); all NaN where a class has too few clusters.
    """
    if not rows.groups:
        return {}
    is_scored = rows.is_scored
    target, clusters = rows.target[is_scored], rows.clusters[is_scored]
    classes = [target, ~target] if rows.has_classes else [np.ones(len(target), dtype=bool)]
    num_folds = min([FOLDS, *(len(np.unique(clusters[of_class])) for of_class in classes)])
    predicted = {name: np.full(len(rows), np.nan) for name in rows.groups}
    if num_folds < 2:
        return predicted
    if rows.has_classes:
        fold = stratify(target, clusters, num_folds)
        model, method = LogisticRegression(), "decision_function"
    else:
        fold = np.empty(len(target), dtype=np.int64)
        folds = GroupKFold(num_folds, shuffle=True, random_state=0)
        for number, (_, tested) in enumerate(folds.split(target, target, clusters)):
            fold[tested] = number
        model, method = Ridge(), "predict"
    for name, values in rows.groups.items():
        predicted[name][is_scored] = cross_val_predict(
            make_pipeline(OneHotEncoder(handle_unknown="ignore"), model),
            number_groups(values)[is_scored].reshape(-1, 1),
            target,
            cv=PredefinedSplit(fold),
            method=method,
        )
    return predicted


def stratify(target: BoolArray, clusters: IntArray, num_folds: int) -> IntArray:
    """Choose the fold of each row so that clusters stay together and folds are alike in labels.

    These are the folds of scikit-learn's ``StratifiedGroupKFold`` with ``shuffle`` and seed 0,
    which takes 0.3 ms for each cluster; this function takes a hundredth of that.

    Args:
        target: True where a row is positive; rows of both classes. (N,)
        clusters: Number of each row's cluster. (N,)
        num_folds: Number of folds; each class has at least as many clusters.

    Returns:
        Fold of each row, from 0. (N,)
    """
    clusters = number_groups(clusters)
    num_clusters = int(clusters.max()) + 1
    counts = np.stack(
        [np.bincount(clusters[one], minlength=num_clusters) for one in (~target, target)], axis=1
    )
    shuffled = np.arange(num_clusters)
    np.random.RandomState(0).shuffle(shuffled)
    uneven = np.std(counts[shuffled].astype(np.float64), axis=1)
    order = shuffled[np.argsort(-uneven, kind="stable")]
    fold = np.empty(num_clusters, dtype=np.int64)
    fold[order] = _spread_evenly(counts[order], num_folds)
    of_rows: IntArray = fold[clusters]
    return of_rows


def _spread_evenly(counts: npt.NDArray[np.int64], num_folds: int) -> list[int]:
    """Give each cluster in turn to the fold with which the classes are spread most evenly.

    All sums are in the order in which numpy adds a column, so that ties are broken alike.

    Args:
        counts: Rows of each class in each cluster. (G, C)
        num_folds: Number of folds.

    Returns:
        Fold of each cluster. (G,)
    """
    totals = counts.sum(axis=0).tolist()
    classes = range(len(totals))
    of_folds = [[0] * num_folds for _ in classes]  # (C, folds)
    shares = [[0.0] * num_folds for _ in classes]
    chosen = []
    for of_cluster in counts.tolist():
        best, least, fewest = 0, math.inf, math.inf
        for fold in range(num_folds):
            spread, num_rows = 0.0, 0
            for one in classes:
                share = shares[one]
                before = share[fold]
                share[fold] = (of_folds[one][fold] + of_cluster[one]) / totals[one]
                total = 0.0
                for value in share:
                    total += value
                mean = total / num_folds
                total = 0.0
                for value in share:
                    total += (value - mean) * (value - mean)
                share[fold] = before
                spread += math.sqrt(total / num_folds)
                num_rows += of_folds[one][fold]
            spread /= len(totals)
            is_close = abs(spread - least) <= CLOSE[1] + CLOSE[0] * least
            if spread < least or (is_close and num_rows < fewest):
                best, least, fewest = fold, spread, num_rows
        chosen.append(best)
        for one in classes:
            of_folds[one][best] += of_cluster[one]
            shares[one][best] = of_folds[one][best] / totals[one]
    return chosen
