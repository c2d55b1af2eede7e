"""All metrics of labelled rows: for each score and subset, with intervals and numbers of rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, number_groups
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import (
    AddWork,
    Difference,
    Estimate,
    Together,
    count_work,
    estimate_together,
)
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    NO_SCORE,
    PROBABILITY_METRICS,
    SPEARMAN,
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
from evo2_tasks.io.words import shown

logger = logging.getLogger(__name__)

SPECIFICITY: Final = 0.95
INDELS: Final = ("insertion", "deletion", "indel")
NO_THRESHOLD: Final = f"no threshold with a specificity of {SPECIFICITY:g} finds a positive row"
NO_PREDICTION: Final = "no scored row has a prediction that does not come from its own training"
MOST_GROUPS: Final = 50
"""Values of a group column for which metrics are computed: those with the most rows."""

DRAWN_NUMBERS: Final = 2e7
FEWEST_RESAMPLES: Final = 200
"""Draws for large sets. Small sets get 2,000; a large set needs fewer for the same precision."""


NO_STRANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({})

RowNumbers = npt.NDArray[np.int32]
"""Numbers of rows or strata: half the memory of other numbers, for each of many subsets."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the N rows, and how their metrics are named in the table.

    Attributes:
        kind: One of ``schema.SUBSETS``.
        inside: The numbers of the rows that it contains.
        column: Group column or baseline.
        group: Value of the group column, or type of variant.
        strata: If given, only pairs of rows of the same stratum are compared. (N,)
    """

    kind: str
    inside: RowNumbers
    column: str | None = None
    group: str | None = None
    strata: RowNumbers | None = None


def make_resampling(num_rows: int) -> Resampling:
    """Choose the number of draws for the intervals of so many rows."""
    most = Resampling().num_resamples
    return Resampling(int(np.clip(DRAWN_NUMBERS / max(num_rows, 1), FEWEST_RESAMPLES, most)))


def _predict_by_groups(rows: LabelledRows) -> dict[str, FloatArray]:
    """Predictions of the label from each group column alone, without a sequence."""
    if not rows.groups:
        return {}
    from evo2_tasks.evaluation.sequence_free import predict_by_groups  # noqa: PLC0415 # scikit-learn

    return predict_by_groups(rows)


def plan_metrics(rows: LabelledRows, resampling: Resampling) -> list[PlannedMetrics]:
    """List all metrics of the rows, subset after subset; each is computed when it is measured.

    The main scores are ``llr``, or in a combined table the score of each scoring and the ensembles.

    - The main scores and the baselines have each metric in each subset.
    - The difference between a main score and each baseline has the main metric. So has the
      difference between two main scores, on all rows and by type.
    - A probe is evaluated like a baseline. Its difference from each main score has the main metric
      in each subset, and on all rows also its difference from each other score.
    - ``llr_aligned`` is included where there are indels.
    - The scores of single strands and of the group columns are evaluated on all rows only.
    - A baseline or a probe that some of the scored rows lack is evaluated on the other rows,
      together with the main scores, and not on all rows.

    A metric that the data do not define has a reason in place of its value.

    Args:
        rows: The labelled rows.
        resampling: How intervals are computed.
    """
    main, aligned = rows.main_scores, rows.columns.aligned
    is_scored = rows.is_scored
    partial = {
        name: scores
        for name, scores in (rows.probes | rows.baselines).items()
        if _is_partial(scores, is_scored)
    }
    probes = {name: scores for name, scores in rows.probes.items() if name not in partial}
    others = {name: scores for name, scores in rows.baselines.items() if name not in partial} | {
        name_sequence_free(column): predictions
        for column, predictions in _predict_by_groups(rows).items()
    }
    has_indels = bool(np.isin(rows.types, INDELS).any())
    left_out = () if has_indels else (*aligned.values(),)
    own = {name: scores for name, scores in rows.scores.items() if name not in left_out}
    everything = Subset(ALL, np.arange(len(rows), dtype=np.int32))
    pairs = [*combinations(main, 2)]

    def plan(subset: Subset, scores: Mapping[str, FloatArray], compared: Iterable[tuple[str, str]],
             strands: Mapping[str, tuple[str, str]] = NO_STRANDS) -> PlannedMetrics:  # fmt: skip
        return PlannedMetrics(rows, resampling, subset, scores, tuple(compared), strands)

    strands = {name: both for name, both in rows.columns.strands.items() if {*both} <= {*own}}
    all_pairs = [*pairs, *product(probes, main), *product(main, others), *product(probes, others)]
    planned = [plan(everything, own | probes | others, all_pairs, strands=strands)]
    for name, scores in partial.items():
        subset = replace(everything, kind=WITH, column=name)
        both = {one: np.where(np.isfinite(scores), of_main, np.nan)
                for one, of_main in main.items()}  # fmt: skip
        compared = product([name], main) if name in rows.probes else product(main, [name])
        planned.append(plan(subset, both | {name: scores}, compared))
    for subset in split_rows(rows):
        is_type = subset.kind == BY_TYPE
        of_indels = aligned if is_type and subset.group in INDELS else {}
        more = rows.probes | rows.baselines
        more |= {name: rows.scores[name] for name in of_indels.values()}
        more_pairs = [
            *product(rows.probes, main), *product(main, rows.baselines), *of_indels.items()
        ]  # fmt: skip
        planned.append(plan(subset, main | more, [*(pairs if is_type else []), *more_pairs]))
    return planned


def _is_partial(scores: FloatArray, is_scored: BoolArray) -> bool:
    """Whether some of the scored rows have this score and some do not."""
    has_number = np.isfinite(scores[is_scored])
    return bool(has_number.any() and not has_number.all())


def _find(inside: BoolArray) -> RowNumbers:
    """The numbers of the rows that a subset contains."""
    return np.flatnonzero(inside).astype(np.int32)


def split_rows(rows: LabelledRows) -> list[Subset]:
    """The subsets besides all rows: each type, pairs within groups, each group."""
    subsets = []
    types = Counter(rows.types.tolist())
    everything = np.arange(len(rows), dtype=np.int32)
    if len(types) > 1:
        subsets += [
            Subset(BY_TYPE, _find(rows.types == name), group=name)
            for name, _ in types.most_common()
        ]
    for name, numbers in rows.probe_groups.items() if rows.has_classes else ():
        has_group = numbers >= 0
        strata = np.where(has_group, numbers, 0).astype(np.int32)
        subsets.append(Subset(WITHIN, _find(has_group), column=name, strata=strata))
    for column, values in rows.groups.items():
        if rows.has_classes:
            strata = number_groups(values).astype(np.int32)
            subsets.append(Subset(WITHIN, everything, column=column, strata=strata))
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
            Subset(BY_GROUP, _find(values == value), column=column, group=value)
            for value, _ in by_size[:MOST_GROUPS]
        ]
    return subsets


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Scores that the same rows have, so that their metrics are computed together.

    Attributes:
        num_rows: The rows that have all of these scores.
        metrics: Metrics by name of the score.
    """

    num_rows: int
    metrics: dict[str, list[Metric]] = field(default_factory=dict)

    def add(self, name: str, metrics: Sequence[Metric]) -> None:
        """Add metrics of a score, each once."""
        own = self.metrics.setdefault(name, [])
        names = {metric.name for metric in own}
        own += [metric for metric in metrics if metric.name not in names]


@dataclass(frozen=True, slots=True)
class PlannedMetrics:
    """The metrics of a subset of the labelled rows.

    Attributes:
        rows: The labelled rows.
        resampling: How intervals are computed.
        subset: The subset.
        scores: Scores by name, of all labelled rows. Each (N,)
        pairs: Pairs of scores; the main metric of the second is subtracted from that of the first.
        strands: The scores of the two strands whose agreement is one of the metrics, by score.
        is_probability: Whether the scores are probabilities at even odds.
    """

    rows: LabelledRows
    resampling: Resampling
    subset: Subset
    scores: Mapping[str, FloatArray]
    pairs: tuple[tuple[str, str], ...]
    strands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    is_probability: bool = False

    @property
    def main_metric(self) -> Metric:
        """The metric in which scores are compared."""
        return AUROC if self.rows.has_classes else SPEARMAN

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics for this kind of scores, label and subset, the main one first."""
        if self.is_probability:
            return PROBABILITY_METRICS
        if not self.rows.has_classes or self.subset.strata is not None:
            return (self.main_metric,)
        return (
            self.main_metric,
            AVERAGE_PRECISION,
            sensitivity_at(SPECIFICITY),
            threshold_at(SPECIFICITY),
        )

    def count_work(self) -> int:
        """The work of all metrics, as ``estimates.count_work`` counts it."""
        bundles = {id(bundle): bundle for bundle in self._make_bundles().values()}.values()
        work = sum(
            count_work(bundle.num_rows, len(bundle.metrics), self.resampling) for bundle in bundles
        )
        of_strands = count_work(len(self.subset.inside), 1, self.resampling)
        return work + of_strands * len(self.strands)

    def measure(self, add_work: AddWork = lambda work: None) -> list[MetricRow]:
        """Compute the metrics: those of each score, the agreement of the strands, differences.

        Args:
            add_work: Called with the work that is done; its sum is less than ``count_work`` where
                metrics are undefined.
        """
        bundles = self._make_bundles()
        computed: dict[int, Together] = {}
        for bundle in bundles.values():
            if id(bundle) not in computed:
                computed[id(bundle)] = self._compute(bundle, add_work)
        found = {key: computed[id(bundle)] for key, bundle in bundles.items()}
        rows = [
            self._make_score_row(name, found[name, None].estimate(name, metric))
            for name in self.scores
            for metric in self.metrics
        ]
        rows += [self._measure_agreement(name, add_work) for name in self.strands]
        for name, minus in self.pairs:
            difference = found[name, minus].compare(name, minus, self.main_metric)
            scores = self.scores[name] + self.scores[minus]
            rows.append(self._make_row(name, minus, difference, difference.first, scores))
        return rows

    def _make_bundles(self) -> dict[tuple[str, str | None], _Bundle]:
        """The bundle of each score, and of each pair of scores."""
        scored = {name: np.isfinite(one[self.subset.inside]) for name, one in self.scores.items()}
        by_rows: dict[bytes, _Bundle] = {}
        bundles: dict[tuple[str, str | None], _Bundle] = {}
        for name, minus in [*((name, None) for name in self.scores), *self.pairs]:
            inside = scored[name] if minus is None else scored[name] & scored[minus]
            rows = np.packbits(inside).tobytes()
            bundle = by_rows.setdefault(rows, _Bundle(int(inside.sum())))
            bundles[name, minus] = bundle
            if minus is None:
                bundle.add(name, self.metrics)
            else:
                bundle.add(name, [self.main_metric])
                bundle.add(minus, [self.main_metric])
        return bundles

    def _compute(self, bundle: _Bundle, add_work: AddWork) -> Together:
        inside: RowNumbers | slice = self.subset.inside
        if len(self.subset.inside) == len(self.rows):
            inside = slice(None)  # without a copy
        strata = self.subset.strata
        return estimate_together(
            self.rows.target[inside],
            {name: self.scores[name][inside] for name in bundle.metrics},
            bundle.metrics,
            groups=self.rows.clusters[inside],
            strata=None if strata is None else strata[inside],
            resampling=self.resampling,
            add_work=add_work,
        )

    def _make_score_row(self, name: str, result: Estimate) -> MetricRow:
        """A metric of a score."""
        row = self._make_row(name, None, result, result, self.scores[name])
        return row if result.metric != THRESHOLD else self._as_in_table(row)

    def _as_in_table(self, row: MetricRow) -> MetricRow:
        """A threshold with the sign that the score has in the table."""
        if row.value is not None and np.isnan(row.value):
            return replace(row, value=None, low=None, high=None, reason=NO_THRESHOLD)
        if row.value is None or row.score not in self.rows.low_is_harmful:
            return row
        low, high = (None if end is None else -end for end in (row.high, row.low))
        return replace(row, value=-row.value, low=low, high=high)

    def _measure_agreement(self, name: str, add_work: AddWork) -> MetricRow:
        """Rank correlation of the scores of the two strands."""
        forward, reverse = (self.rows.scores[one] for one in self.strands[name])
        result = estimate_together(
            forward,
            {name: reverse},
            {name: [SPEARMAN]},
            groups=self.rows.clusters,
            resampling=self.resampling,
            add_work=add_work,
        ).estimate(name, SPEARMAN)
        row = self._make_row(name, None, result, result, forward + reverse)
        return replace(row, metric=STRAND_AGREEMENT)

    def _make_row(
        self,
        name: str,
        minus: str | None,
        result: Estimate | Difference,
        counts: Estimate,
        scores: FloatArray,
    ) -> MetricRow:
        subset = self.subset
        unscored = self.rows.status[subset.inside[np.isnan(scores[subset.inside])]]
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
            reason=self._find_reason([name] if minus is None else [name, minus], result),
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

    def _find_reason(self, names: Sequence[str], result: Estimate | Difference) -> str:
        """Why the value or the interval is missing, traced to the label or to one of the scores."""
        if result.value is None and self.rows.why_no_metrics:
            return self.rows.why_no_metrics
        if result.reason == NO_SCORE and self.rows.is_scored.any():
            for name in names:
                if why := self.rows.columns.ensembles.get(name):
                    return why
                if name in self.rows.scores:
                    continue
                if name in self.rows.probes:
                    return NO_PREDICTION
                if name in self.rows.baselines:
                    return f"no scored row has a number in {shown(name)}"
                return "a class has too few positions for cross-validation"
        return result.reason
