"""All figures of labelled rows: for each score, subset and metric, with intervals and coverage."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from evo2_tasks.evaluation.estimates import Difference, Estimate, Resampling, compare, estimate
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    NO_SCORE,
    SPEARMAN,
    BoolArray,
    FloatArray,
    Metric,
    sensitivity_at,
)
from evo2_tasks.evaluation.schema import (
    ALL,
    BY_GROUP,
    BY_TYPE,
    SEQUENCE_FREE,
    STRAND_AGREEMENT,
    WITH,
    WITHIN,
)
from evo2_tasks.evaluation.values import Text
from evo2_tasks.io.words import shown

logger = logging.getLogger(__name__)

SPECIFICITY: Final = 0.95
CLASS_METRICS: Final = (AUROC, AVERAGE_PRECISION, sensitivity_at(SPECIFICITY))
NUMBER_METRICS: Final = (SPEARMAN,)
MAIN_SCORE: Final = "llr"
ALIGNED: Final = "llr_aligned"
INDELS: Final = ("insertion", "deletion", "indel")
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
    and the group columns alone are measured on all rows only. A baseline that only some of the
    scored rows have is measured beside ``llr`` on those, and not on all. What the data do not give
    is a figure with a reason in place of its value.

    Args:
        rows: The labelled rows.
        resampling: How intervals are made.
    """
    measure = _Measure(rows, resampling)
    metrics = measure.metrics
    llr = rows.scores[MAIN_SCORE]
    partial_baselines = {
        name: scores for name, scores in rows.baselines.items() if _is_partial(scores, llr)
    }
    others = {
        name: scores for name, scores in rows.baselines.items() if name not in partial_baselines
    } | {
        f"{SEQUENCE_FREE}{name}": predict_by_group(rows, groups)
        for name, groups in rows.groups.items()
    }
    has_indels = bool(np.isin(rows.types, INDELS).any())
    own = {name: rows.scores[name] for name in rows.scores if name != ALIGNED or has_indels}
    everything, *subsets = make_subsets(rows)

    planned = [*measure.each(own | others, everything, metrics)]
    if "llr_fwd" in own:
        planned.append(partial(measure.strand_agreement, everything))
    planned += measure.differences(llr, others, everything)
    for name, scores in partial_baselines.items():
        subset = Subset(WITH, everything.inside, column=name)
        there = np.where(np.isfinite(scores), llr, np.nan)
        planned += measure.each({MAIN_SCORE: there, name: scores}, subset, metrics)
        planned += measure.differences(there, {name: scores}, subset)
    for subset in subsets:
        is_indels = subset.kind == BY_TYPE and subset.group in INDELS
        aligned = {ALIGNED: rows.scores[ALIGNED]} if is_indels else {}
        compared = rows.baselines | aligned
        measured = metrics[:1] if subset.kind == WITHIN else metrics
        planned += measure.each({MAIN_SCORE: llr} | compared, subset, measured)
        planned += measure.differences(llr, compared, subset)
    return planned


def _is_partial(scores: FloatArray, llr: FloatArray) -> bool:
    """Whether some of the scored rows have a number, and some have none."""
    has_number = np.isfinite(scores[np.isfinite(llr)])
    return bool(has_number.any() and not has_number.all())


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

    Rows of one cluster are predicted from other clusters: five-fold cross-validation among the
    rows that have an ``llr``.

    Returns:
        Predictions, NaN throughout where there are too few clusters of a class. (N,)
    """
    scored = np.isfinite(rows.scores[MAIN_SCORE])
    target, clusters = rows.target[scored], rows.clusters[scored]
    predicted = np.full(len(rows), np.nan)
    kinds = [target, ~target] if rows.has_classes else [np.ones(len(target), dtype=bool)]
    num_folds = min([FOLDS, *(len(np.unique(clusters[kind])) for kind in kinds)])
    if num_folds < 2:
        return predicted
    encoder = OneHotEncoder(handle_unknown="ignore")
    if rows.has_classes:
        folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = LogisticRegression(), "decision_function"
    else:
        folds = GroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = Ridge(), "predict"
    predicted[scored] = cross_val_predict(
        make_pipeline(encoder, model),
        groups[scored].reshape(-1, 1),
        target,
        groups=clusters,
        cv=folds,
        method=method,
    )
    return predicted


@dataclass(frozen=True, slots=True)
class _Measure:
    """Makes figures of the rows of a subset."""

    rows: LabelledRows
    resampling: Resampling

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the target, the one of the differences first."""
        return CLASS_METRICS if self.rows.has_classes else NUMBER_METRICS

    def each(
        self, scores: Mapping[str, FloatArray], subset: Subset, metrics: Sequence[Metric]
    ) -> Iterator[Callable[[], Figure]]:
        """Metrics of several scores, by their names."""
        for name, values in scores.items():
            for metric in metrics:
                yield partial(self.of, metric, name, values, subset)

    def differences(
        self, llr: FloatArray, others: Mapping[str, FloatArray], subset: Subset
    ) -> Iterator[Callable[[], Figure]]:
        """The first metric of ``llr`` minus that of other scores, by their names."""
        for minus, other in others.items():
            yield partial(self.difference, llr, minus, other, subset)

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

    def difference(self, llr: FloatArray, minus: str, other: FloatArray, subset: Subset) -> Figure:
        """The first metric of ``llr`` minus that of another score."""
        rows, inside = self.rows, subset.inside
        figure = compare(
            self.metrics[0],
            rows.target[inside],
            llr[inside],
            other[inside],
            groups=rows.clusters[inside],
            strata=subset.strata,
            resampling=self.resampling,
        )
        return self._row(MAIN_SCORE, minus, subset, figure, llr + other)

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
            "label": self.rows.label.field,
            "definition": self.rows.label.definition,
            "score": name,
            "minus": minus,
            "metric": figure.metric,
            "subset": subset.kind,
            "column": subset.column,
            "group": subset.group,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "reason": self._reason(minus or name, figure),
            "num_rows": rests_on.num_rows,
            "num_positive": rests_on.num_positive,
            "num_negative": rests_on.num_negative,
            "prevalence": rests_on.prevalence,
            "num_unscored": figure.num_unscored,
            "unscored_by_status": Counter(unscored.tolist()).most_common(),
            "num_clusters": rests_on.num_groups,
            "num_resamples": figure.num_resamples,
            "num_dropped": figure.num_dropped,
            "left_out": Counter(self.rows.left_out).most_common(),
        }

    def _reason(self, name: str, figure: Estimate | Difference) -> str:
        """Why there is no value or no interval, of the labels or of the baseline if that is why."""
        if figure.value is None and self.rows.why_none:
            return self.rows.why_none
        if figure.reason == NO_SCORE and np.isfinite(self.rows.scores[MAIN_SCORE]).any():
            if name in self.rows.baselines:
                return f"no scored row has a number in {shown(name)}"
            if name.startswith(SEQUENCE_FREE):
                return "a class has too few positions to learn from others"
        return figure.reason
