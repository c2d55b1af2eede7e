"""All figures of labelled rows: for each score, subset and metric, with intervals and coverage."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from evo2_tasks.evaluation.estimates import Difference, Estimate, Resampling, compare, estimate
from evo2_tasks.evaluation.labels import LabelledRows, Text
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    SPEARMAN,
    BoolArray,
    FloatArray,
    Metric,
    sensitivity_at,
)
from evo2_tasks.evaluation.schema import ALL, BY_GROUP, BY_TYPE, STRAND_AGREEMENT, WITHIN

logger = logging.getLogger(__name__)

SPECIFICITY: Final = 0.95
CLASS_METRICS: Final = (AUROC, AVERAGE_PRECISION, sensitivity_at(SPECIFICITY))
NUMBER_METRICS: Final = (SPEARMAN,)
MAIN_SCORE: Final = "llr"
ALIGNED: Final = "llr_aligned"
INDELS: Final = ("insertion", "deletion", "indel")
SEQUENCE_FREE: Final = "sequence-free: "
FOLDS: Final = 5
MOST_GROUPS: Final = 50
"""Values of a group column that get figures of their own, those with the most rows."""

DRAWN_NUMBERS: Final = 2e7
FEWEST_RESAMPLES: Final = 200
"""Draws are 2,000, fewer where the rows are many: no interval of a large set needs so many."""

Figure = dict[str, Any]
"""A row by the columns of ``schema.FIGURE_COLUMNS``."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the rows, and how a figure of them is named."""

    kind: str
    inside: BoolArray  # (N,)
    column: str | None = None
    group: str | None = None
    strata: Text | None = None  # of the rows inside


def make_resampling(num_rows: int) -> Resampling:
    """How many draws intervals of so many rows rest on."""
    most = Resampling().num_resamples
    return Resampling(int(np.clip(DRAWN_NUMBERS / max(num_rows, 1), FEWEST_RESAMPLES, most)))


def plan_figures(rows: LabelledRows, resampling: Resampling) -> list[Callable[[], Figure]]:
    """All figures of the rows, each to be made by a call.

    ``llr`` and the baselines have each metric in each subset, and the difference of ``llr`` from
    each baseline has the first metric; ``llr_aligned`` is there where indels are; strands alone
    and the group columns alone are measured on all rows only. What the data do not give is a
    figure with a reason in place of its value.

    Args:
        rows: The labelled rows.
        resampling: How intervals are made.
    """
    metrics = CLASS_METRICS if rows.has_classes else NUMBER_METRICS
    sequence_free = {
        f"{SEQUENCE_FREE}{name}": predict_by_group(rows, groups)
        for name, groups in rows.groups.items()
    }
    others = rows.baselines | sequence_free
    has_indels = bool(np.isin(rows.types, INDELS).any())
    own = {name: rows.scores[name] for name in rows.scores if name != ALIGNED or has_indels}
    everything, *subsets = make_subsets(rows)
    measure = _Measure(rows, resampling)

    planned: list[Callable[[], Figure]] = [
        partial(measure.of, metric, name, scores, everything)
        for name, scores in (own | others).items()
        for metric in metrics
    ]
    if "llr_fwd" in own:
        planned.append(partial(measure.strand_agreement, everything))
    planned += [
        partial(measure.difference, metrics[0], name, scores, everything)
        for name, scores in others.items()
    ]
    for subset in subsets:
        is_indels = subset.kind == BY_TYPE and subset.group in INDELS
        aligned = {ALIGNED: rows.scores[ALIGNED]} if is_indels else {}
        compared = rows.baselines | aligned
        planned += [
            partial(measure.of, metric, name, scores, subset)
            for name, scores in ({MAIN_SCORE: rows.scores[MAIN_SCORE]} | compared).items()
            for metric in (metrics[:1] if subset.kind == WITHIN else metrics)
        ]
        planned += [
            partial(measure.difference, metrics[0], name, scores, subset)
            for name, scores in compared.items()
        ]
    return planned


def make_subsets(rows: LabelledRows) -> list[Subset]:
    """All rows, those of each type, those of each group, and pairs within groups."""
    everything = np.ones(len(rows), dtype=bool)
    subsets = [Subset(ALL, everything)]
    types = Counter(rows.types.tolist())
    if len(types) > 1:
        subsets += [
            Subset(BY_TYPE, rows.types == name, group=name) for name, _ in types.most_common()
        ]
    for column, names in rows.groups.items():
        if rows.has_classes:
            subsets.append(Subset(WITHIN, everything, column=column, strata=names))
        by_size = Counter(names.tolist()).most_common()
        if len(by_size) > MOST_GROUPS:
            logger.info(
                "%s: %d values; the %d with the most rows have figures of their own",
                column,
                len(by_size),
                MOST_GROUPS,
            )
        subsets += [
            Subset(BY_GROUP, names == name, column=column, group=name)
            for name, _ in by_size[:MOST_GROUPS]
        ]
    return subsets


def predict_by_group(rows: LabelledRows, groups: Text) -> FloatArray:
    """What a group column alone says of the target, learnt on other rows: no sequence is read.

    Rows of one cluster are predicted from other clusters: five-fold cross-validation.

    Returns:
        Predictions, NaN throughout where there are too few clusters of a class. (N,)
    """
    kinds = [rows.target, ~rows.target] if rows.has_classes else [np.ones(len(rows), dtype=bool)]
    num_folds = min([FOLDS, *(len(np.unique(rows.clusters[kind])) for kind in kinds)])
    if num_folds < 2:
        return np.full(len(rows), np.nan)
    encoder = OneHotEncoder(handle_unknown="ignore")
    if rows.has_classes:
        folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = LogisticRegression(), "decision_function"
    else:
        folds = GroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = Ridge(), "predict"
    predicted: FloatArray = cross_val_predict(
        make_pipeline(encoder, model),
        groups.reshape(-1, 1),
        rows.target,
        groups=rows.clusters,
        cv=folds,
        method=method,
    )
    return predicted


@dataclass(frozen=True, slots=True)
class _Measure:
    """Makes figures of the rows of a subset."""

    rows: LabelledRows
    resampling: Resampling

    def of(self, metric: Metric, name: str, scores: FloatArray, subset: Subset) -> Figure:
        """A metric of a score."""
        rows, inside = self.rows, subset.inside
        figure = estimate(
            metric,
            rows.target[inside],
            scores[inside],
            groups=rows.clusters[inside],
            strata=subset.strata,
            resampling=self.resampling,
        )
        return self._row(name, None, subset, figure, scores)

    def difference(self, metric: Metric, minus: str, other: FloatArray, subset: Subset) -> Figure:
        """A metric of ``llr`` minus that of another score."""
        rows, inside, scores = self.rows, subset.inside, self.rows.scores[MAIN_SCORE]
        figure = compare(
            metric,
            rows.target[inside],
            scores[inside],
            other[inside],
            groups=rows.clusters[inside],
            strata=subset.strata,
            resampling=self.resampling,
        )
        return self._row(MAIN_SCORE, minus, subset, figure, scores + other)

    def strand_agreement(self, subset: Subset) -> Figure:
        """Rank correlation of the scores of the two strands."""
        forward, reverse = self.rows.scores["llr_fwd"], self.rows.scores["llr_rev"]
        figure = estimate(
            SPEARMAN, forward, reverse, groups=self.rows.clusters, resampling=self.resampling
        )
        row = self._row(MAIN_SCORE, None, subset, figure, forward + reverse)
        return row | {"metric": STRAND_AGREEMENT}

    def _row(
        self,
        name: str,
        minus: str | None,
        subset: Subset,
        figure: Estimate | Difference,
        scores: FloatArray,
    ) -> Figure:
        rests_on = figure.first if isinstance(figure, Difference) else figure
        unscored = self.rows.status[subset.inside & np.isnan(scores)]
        return {
            "label": self.rows.field,
            "score": name,
            "minus": minus,
            "metric": figure.metric,
            "subset": subset.kind,
            "column": subset.column,
            "group": subset.group,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "reason": figure.reason,
            "num_rows": rests_on.num_rows,
            "num_positive": rests_on.num_positive,
            "num_negative": rests_on.num_negative,
            "prevalence": rests_on.prevalence,
            "num_unscored": figure.num_unscored,
            "unscored_by_status": Counter(unscored.tolist()).most_common(),
            "num_clusters": rests_on.num_groups,
            "num_resamples": figure.num_resamples,
            "num_dropped": figure.num_dropped,
        }
