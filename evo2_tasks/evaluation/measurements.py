"""All metrics of labelled rows: for each score and subset, with intervals and numbers of rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

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
    threshold_at,
)
from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import (
    ALL,
    BY_GROUP,
    BY_TYPE,
    STRAND_AGREEMENT,
    THRESHOLD,
    WITH,
    WITHIN,
    explain_fine_groups,
    name_sequence_free,
)
from evo2_tasks.evaluation.values import Text
from evo2_tasks.io.words import shown

logger = logging.getLogger(__name__)

SPECIFICITY: Final = 0.95
MAIN_SCORE: Final = "llr"
ALIGNED: Final = "llr_aligned"
INDELS: Final = ("insertion", "deletion", "indel")
NO_THRESHOLD: Final = f"no threshold with a specificity of {SPECIFICITY:g} finds a positive row"
FOLDS: Final = 5
MOST_GROUPS: Final = 50
"""Values of a group column for which metrics are computed: those with the most rows."""

DRAWN_NUMBERS: Final = 2e7
FEWEST_RESAMPLES: Final = 200
"""Draws for large sets. Small sets get 2,000; a large set needs fewer for the same precision."""

MakeMetric = Callable[[], MetricRow]
"""Computes one metric, with its interval."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the N rows, and how their metrics are named in the table.

    Attributes:
        kind: One of ``schema.SUBSETS``.
        inside: Which rows it contains. (N,)
        column: Group column or baseline.
        group: Value of the group column, or type of variant.
        strata: If given, only pairs of rows of the same stratum are compared. (N,)
    """

    kind: str
    inside: BoolArray
    column: str | None = None
    group: str | None = None
    strata: Text | None = None


def make_resampling(num_rows: int) -> Resampling:
    """Choose the number of draws for the intervals of so many rows."""
    most = Resampling().num_resamples
    return Resampling(int(np.clip(DRAWN_NUMBERS / max(num_rows, 1), FEWEST_RESAMPLES, most)))


def plan_metrics(rows: LabelledRows, resampling: Resampling) -> list[MakeMetric]:
    """List all metrics of the rows; each is computed when it is called.

    - ``llr`` and the baselines have each metric in each subset.
    - The difference between ``llr`` and each baseline has the main metric.
    - ``llr_aligned`` is included where there are indels.
    - The scores of single strands and of the group columns are evaluated on all rows only.
    - A baseline that some of the scored rows lack is evaluated on the other rows, together with
      ``llr``, and not on all rows.

    A metric that the data do not define has a reason in place of its value.

    Args:
        rows: The labelled rows.
        resampling: How intervals are computed.
    """
    planner = _Planner(rows, resampling)
    llr = rows.scores[MAIN_SCORE]
    partial_baselines = {
        name: scores for name, scores in rows.baselines.items() if _is_partial(scores, llr)
    }
    others = {
        name: scores for name, scores in rows.baselines.items() if name not in partial_baselines
    } | {
        name_sequence_free(column): predict_by_group(rows, values)
        for column, values in rows.groups.items()
    }
    has_indels = bool(np.isin(rows.types, INDELS).any())
    own = {name: rows.scores[name] for name in rows.scores if name != ALIGNED or has_indels}
    everything = Subset(ALL, np.ones(len(rows), dtype=bool))

    planned = [*planner.plan_scores(own | others, everything, planner.metrics)]
    if "llr_fwd" in own:
        planned.append(partial(planner.measure_strand_agreement, everything))
    planned += planner.plan_differences(llr, others, everything)
    for name, scores in partial_baselines.items():
        subset = replace(everything, kind=WITH, column=name)
        both = np.where(np.isfinite(scores), llr, np.nan)
        planned += planner.plan_scores({MAIN_SCORE: both, name: scores}, subset, planner.metrics)
        planned += planner.plan_differences(both, {name: scores}, subset)
    for subset in split_rows(rows):
        is_indels = subset.kind == BY_TYPE and subset.group in INDELS
        aligned = {ALIGNED: rows.scores[ALIGNED]} if is_indels else {}
        others = rows.baselines | aligned
        metrics = (planner.main_metric,) if subset.kind == WITHIN else planner.metrics
        planned += planner.plan_scores({MAIN_SCORE: llr} | others, subset, metrics)
        planned += planner.plan_differences(llr, others, subset)
    return planned


def _is_partial(scores: FloatArray, llr: FloatArray) -> bool:
    """Whether some of the rows with an ``llr`` have this score and some do not."""
    has_number = np.isfinite(scores[np.isfinite(llr)])
    return bool(has_number.any() and not has_number.all())


def split_rows(rows: LabelledRows) -> list[Subset]:
    """The subsets besides all rows: each type, pairs within a group column, each group."""
    subsets = []
    types = Counter(rows.types.tolist())
    if len(types) > 1:
        subsets += [
            Subset(BY_TYPE, rows.types == name, group=name) for name, _ in types.most_common()
        ]
    for column, values in rows.groups.items():
        if rows.has_classes:
            everything = np.ones(len(rows), dtype=bool)
            subsets.append(Subset(WITHIN, everything, column=column, strata=values))
        by_size = Counter(values.tolist()).most_common()
        problem = explain_fine_groups(column, [number for _, number in by_size[:MOST_GROUPS]])
        if problem:
            logger.warning("%s", problem)
        if len(by_size) > MOST_GROUPS:
            logger.info(
                "%s: %d values; only the %d with the most rows are evaluated",
                column,
                len(by_size),
                MOST_GROUPS,
            )
        subsets += [
            Subset(BY_GROUP, values == value, column=column, group=value)
            for value, _ in by_size[:MOST_GROUPS]
        ]
    return subsets


def predict_by_group(rows: LabelledRows, groups: Text) -> FloatArray:
    """Predict the label from a group column alone, without any sequence.

    The rows of a cluster are predicted from the rows of other clusters, by five-fold
    cross-validation among the rows that have an ``llr``.

    Args:
        rows: The labelled rows.
        groups: Value of the group column. (N,)

    Returns:
        Predictions; all NaN where a class has too few clusters. (N,)
    """
    is_scored = np.isfinite(rows.scores[MAIN_SCORE])
    target, clusters = rows.target[is_scored], rows.clusters[is_scored]
    predictions = np.full(len(rows), np.nan)
    classes = [target, ~target] if rows.has_classes else [np.ones(len(target), dtype=bool)]
    num_folds = min([FOLDS, *(len(np.unique(clusters[of_class])) for of_class in classes)])
    if num_folds < 2:
        return predictions
    encoder = OneHotEncoder(handle_unknown="ignore")
    if rows.has_classes:
        folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = LogisticRegression(), "decision_function"
    else:
        folds = GroupKFold(num_folds, shuffle=True, random_state=0)
        model, method = Ridge(), "predict"
    predictions[is_scored] = cross_val_predict(
        make_pipeline(encoder, model),
        groups[is_scored].reshape(-1, 1),
        target,
        groups=clusters,
        cv=folds,
        method=method,
    )
    return predictions


@dataclass(frozen=True, slots=True)
class _Planner:
    """Lists and computes metrics of the rows of a subset."""

    rows: LabelledRows
    resampling: Resampling

    @property
    def main_metric(self) -> Metric:
        """The metric in which scores are compared."""
        return AUROC if self.rows.has_classes else SPEARMAN

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics for this kind of label, the main one first."""
        if not self.rows.has_classes:
            return (self.main_metric,)
        return (
            self.main_metric,
            AVERAGE_PRECISION,
            sensitivity_at(SPECIFICITY),
            threshold_at(SPECIFICITY),
        )

    def plan_scores(
        self, scores: Mapping[str, FloatArray], subset: Subset, metrics: Sequence[Metric]
    ) -> Iterator[MakeMetric]:
        """Each of these metrics of each of these scores."""
        for name, values in scores.items():
            for metric in metrics:
                yield partial(self.measure_score, metric, name, values, subset)

    def plan_differences(
        self, llr: FloatArray, others: Mapping[str, FloatArray], subset: Subset
    ) -> Iterator[MakeMetric]:
        """The main metric of ``llr`` minus that of each other score."""
        for minus, other in others.items():
            yield partial(self.measure_difference, llr, minus, other, subset)

    def measure_score(
        self, metric: Metric, name: str, scores: FloatArray, subset: Subset
    ) -> MetricRow:
        """A metric of a score."""
        rows, inside = self.rows, subset.inside
        result = estimate(
            metric,
            rows.target[inside],
            scores[inside],
            groups=rows.clusters[inside],
            strata=subset.strata,
            resampling=self.resampling,
        )
        row = self._make_row(name, None, subset, result, result, scores)
        return row if metric.name != THRESHOLD else self._as_in_table(row)

    def _as_in_table(self, row: MetricRow) -> MetricRow:
        """A threshold with the sign that the score has in the table."""
        if row.value is not None and np.isnan(row.value):
            return replace(row, value=None, low=None, high=None, reason=NO_THRESHOLD)
        if row.value is None or row.score not in self.rows.low_is_harmful:
            return row
        low, high = (None if end is None else -end for end in (row.high, row.low))
        return replace(row, value=-row.value, low=low, high=high)

    def measure_difference(
        self, llr: FloatArray, minus: str, other: FloatArray, subset: Subset
    ) -> MetricRow:
        """The main metric of ``llr`` minus that of another score."""
        rows, inside = self.rows, subset.inside
        result = compare(
            self.main_metric,
            rows.target[inside],
            llr[inside],
            other[inside],
            groups=rows.clusters[inside],
            strata=subset.strata,
            resampling=self.resampling,
        )
        return self._make_row(MAIN_SCORE, minus, subset, result, result.first, llr + other)

    def measure_strand_agreement(self, subset: Subset) -> MetricRow:
        """Rank correlation of the scores of the two strands."""
        forward, reverse = self.rows.scores["llr_fwd"], self.rows.scores["llr_rev"]
        result = estimate(
            SPEARMAN, forward, reverse, groups=self.rows.clusters, resampling=self.resampling
        )
        row = self._make_row(MAIN_SCORE, None, subset, result, result, forward + reverse)
        return replace(row, metric=STRAND_AGREEMENT)

    def _make_row(
        self,
        name: str,
        minus: str | None,
        subset: Subset,
        result: Estimate | Difference,
        counts: Estimate,
        scores: FloatArray,
    ) -> MetricRow:
        unscored = self.rows.status[subset.inside & np.isnan(scores)]
        return MetricRow(
            label=self.rows.label.field,
            definition=self.rows.label.definition,
            score=name,
            minus=minus,
            metric=result.metric,
            subset=subset.kind,
            column=subset.column,
            group=subset.group,
            value=result.value,
            low=result.low,
            high=result.high,
            reason=self._find_reason(minus or name, result),
            num_rows=counts.num_rows,
            num_positive=counts.num_positive,
            num_negative=counts.num_negative,
            prevalence=counts.prevalence,
            num_unscored=result.num_unscored,
            unscored_by_status=Counter(unscored.tolist()).most_common(),
            num_clusters=counts.num_groups,
            num_resamples=result.num_resamples,
            num_dropped=result.num_dropped,
            left_out=Counter(self.rows.left_out).most_common(),
        )

    def _find_reason(self, name: str, result: Estimate | Difference) -> str:
        """Why the value or the interval is missing, traced to the label or the baseline."""
        if result.value is None and self.rows.why_no_metrics:
            return self.rows.why_no_metrics
        if result.reason == NO_SCORE and np.isfinite(self.rows.scores[MAIN_SCORE]).any():
            if name in self.rows.baselines:
                return f"no scored row has a number in {shown(name)}"
            if name not in self.rows.scores:
                return "a class has too few positions for cross-validation"
        return result.reason
