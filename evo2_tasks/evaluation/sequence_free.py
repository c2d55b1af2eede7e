"""Predictions of the label from a group column alone, without any sequence.

Shapes: N rows, G clusters, C classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from evo2_tasks.evaluation.arrays import FloatArray, number_groups
from evo2_tasks.evaluation.folds import stratify
from evo2_tasks.evaluation.labels import LabelledRows

FOLDS: Final = 5


def predict_by_groups(rows: LabelledRows) -> dict[str, FloatArray]:
    """Predict the label from each group column alone.

    The rows of a cluster are predicted from the rows of other clusters, by five-fold
    cross-validation among the rows that have a score.

    Args:
        rows: The labelled rows.

    Returns:
        Predictions by column, each (N,); all NaN where a class has too few clusters.
    """
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
