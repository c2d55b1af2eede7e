"""Probes: linear models that predict a label, or a number, from embeddings and scores of alleles.

The penalty of a probe is chosen by nested cross-validation. A row gets an out-of-fold score from a
probe that was trained on the rows outside of its fold, with the penalty that predicts best among
these. So neither the weights nor the penalty know the row.

- The inner folds of a fold are the other folds. The probe for the inner fold J of the fold I is
  trained on the rows outside of both, so it serves the inner fold I of the fold J too.
- The loss of a penalty is the mean log loss of the rows of all inner folds, or the mean squared
  error for numbers. Of equal losses, the stronger penalty is chosen.
- The out-of-fold scores of a fold are shifted so that its training rows have the log-odds, or the
  mean, of all rows. Without this shift a fold with more positive rows has lower scores, because its
  training rows have fewer, and a probe without signal is worse than chance.
- The final probe is trained on all rows, with the penalty that predicts the folds best.
- Control: the same is done with targets that are shuffled within groups. The metric within groups
  is then at chance level, or something leaks.

Higher scores are more harmful, because the target is true, or high, where a row is harmful.

Memory: N * P * 4 bytes for the features, which are not copied as a whole, and for the training set
at hand at most N * P * 4 bytes more for labels, or N * P * 8 bytes for numbers.

The file is long because it holds the whole procedure, from the checks to the control.

Shapes: N rows, P features, F folds, G penalties, T targets (the real one, then the shuffled ones).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit
from scipy.stats import t as student_t

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    number_groups,
    require_finite,
    require_one_length,
)
from evo2_tasks.evaluation.draws import DEFAULT_RESAMPLING, Resampling
from evo2_tasks.evaluation.estimates import Estimate, estimate, estimate_together
from evo2_tasks.evaluation.folds import NO_FOLD
from evo2_tasks.evaluation.metrics import AUROC, AVERAGE_PRECISION, SPEARMAN
from evo2_tasks.evaluation.probe_folds import ProbeFolds, ProbeRows, make_probe_folds
from evo2_tasks.evaluation.probe_models import (
    LABEL,
    MOST_ITERATIONS,
    NUMBER,
    Features,
    FitCounts,
    FittedProbe,
    find_complete,
    find_constant,
    list_penalties,
    predict_together,
    train,
)
from evo2_tasks.evaluation.probe_statements import FoldsBy, Kind
from evo2_tasks.io.words import counted

FEWEST_ROWS: Final = 50
"""Labelled rows with features that a probe needs."""

FEWEST_OF_CLASS: Final = 10
"""Rows of each class that a probe needs."""

FEWEST_TRAINING: Final = 20
"""Rows that a training set needs."""

LARGEST_NUMBER: Final = 1e100
"""Largest target number, with or without a sign."""

NUM_SHUFFLES: Final = 10
FEW_SHUFFLES: Final = 3
MANY_ROWS: Final = 10_000
"""Rows from which ``FEW_SHUFFLES`` give a narrow interval."""

CONFIDENCE: Final = 0.99

WITHOUT_DRAWS: Final = Resampling(0)

AddWork = Callable[[int], object]
"""Takes how many training sets have been finished since the call before."""


@dataclass(frozen=True, slots=True)
class ShuffledMetric:
    """A metric of out-of-fold scores after the targets were shuffled within groups.

    Attributes:
        values: Its value for each shuffle for which it is defined.
        mean: Mean of the values; None if there is none.
        low: Lower end of the 99 % confidence interval of the mean; None with fewer than two values.
        high: Upper end of this interval.
        reason: Why there is no mean; empty if there is one.
    """

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """What the same procedure finds in shuffled targets.

    Attributes:
        metric: ``auroc``, whose chance level is 0.5, or ``spearman``, whose chance level is 0.
        num_shuffles: Number of shuffles.
        num_shuffled: Rows in groups with different targets: shuffling changes only these.
        within: The metric within groups: that of pairs of rows of a group, or ``spearman`` of the
            differences from the means of the groups. If it is not at chance level, something leaks.
        overall: The metric of all rows. It is above chance level where the features show the group
            of a row, and the groups differ in their share of positive rows.
    """

    metric: Literal["auroc", "spearman"]
    num_shuffles: int
    num_shuffled: int
    within: ShuffledMetric
    overall: ShuffledMetric


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a probe was made, and its out-of-fold scores.

    Attributes:
        kind: ``label`` or ``number``.
        folds_by: What folds keep together.
        num_folds: F.
        num_groups: Genes, contigs or blocks of the rows with features.
        num_rows: Rows with features.
        num_positive: Positive rows among them; None for numbers.
        num_without_features: Labelled rows that are left out because they have no features.
        num_features: P.
        num_constant: Features with one value in all rows.
        num_overlapping: Rows whose window overlaps that of a row in another fold.
        num_left_out: For each fold: rows of other folds that do not train for it, because their
            windows overlap windows of the fold. (F,)
        fold: Fold of each row, from 0; ``NO_FOLD`` where a row has no features. (N,)
        groups: Number of each row's group; -1 where a row has no features. (N,)
        scores: Out-of-fold score of each row, high = harmful; NaN where a row has no features. (N,)
        naive_scores: Out-of-fold scores with the penalty of the final probe, which was chosen with
            these rows: they are optimistic, and show by how much. (N,)
        penalties: Chosen penalty of each fold. (F,)
        final_penalty: Penalty of the final probe.
        num_fits: Models that were fitted.
        num_not_converged: How many of them did not converge.
        control: What shuffled targets give.
        seed: Seed of the shuffles.
    """

    kind: Kind
    folds_by: FoldsBy
    num_folds: int
    num_groups: int
    num_rows: int
    num_positive: int | None
    num_without_features: int
    num_features: int
    num_constant: int
    num_overlapping: int
    num_left_out: tuple[int, ...]
    fold: IntArray
    groups: IntArray
    scores: FloatArray
    naive_scores: FloatArray
    penalties: tuple[float, ...]
    final_penalty: float
    num_fits: int
    num_not_converged: int
    control: Control
    seed: int

    def state(self) -> list[str]:
        """What a reader has to know about the fit; each item is a sentence."""
        return [sentence for sentence in _state(self) if sentence]


def fit_probe(
    features: Features,
    target: npt.NDArray[Any],
    rows: ProbeRows,
    *,
    folds_by: FoldsBy,
    seed: int = 0,
    num_shuffles: int | None = None,
    add_work: AddWork = lambda number: None,
) -> tuple[FittedProbe, ProbeResult]:
    """Fit a probe to labelled rows, and compute the out-of-fold score of each row.

    Rows with a feature that is not finite are left out and counted. The same arguments and the same
    number of threads give the same result.

    Args:
        features: NaN where a row has none. (N, P)
        target: For a label: true where a row is positive (harmful). For a number: float64, high =
            harmful. (N,)
        rows: Where the rows are.
        folds_by: What folds keep together.
        seed: Seed of the shuffles of the control.
        num_shuffles: Shuffles of the control. Default: ``NUM_SHUFFLES``, or ``FEW_SHUFFLES`` from
            ``MANY_ROWS`` rows on.
        add_work: Called when training sets are finished; ``count_training_sets`` is the most.

    Raises:
        InputError: There are too few rows, classes or groups, all features are constant, or the
            training rows of a fold are too few or of one class.
        ValueError: The arrays have other types or lengths, or a target is not finite.
    """
    kind = _find_kind(target)
    if features.ndim != 2 or features.dtype != np.float32 or not features.shape[1]:
        raise ValueError(
            f"features: expected float32 (N, P), got {features.dtype} {features.shape}."
        )
    require_one_length(features, target, rows.contigs)
    require_finite(target)
    has_features = find_complete(features)
    known = np.flatnonzero(has_features)
    _require_rows(kind, target[known], len(target) - len(known))
    is_constant = find_constant(features, known)
    if is_constant.all():
        raise InputError(
            f"all {len(is_constant):,} features have the same value in each of the "
            f"{len(known):,} labelled rows, so a probe has nothing to learn from."
        )
    if num_shuffles is None:
        num_shuffles = NUM_SHUFFLES if len(known) < MANY_ROWS else FEW_SHUFFLES
    folds = make_probe_folds(folds_by, target[known], rows.take(has_features))
    targets = [target[known], *_shuffle(target[known], folds.groups, num_shuffles, seed)]
    data = _Data(kind, features, known, targets, folds)
    data.require_training()
    inner = _find_inner_losses(data, add_work)
    outer = _fit_folds(data, inner.argmin(axis=2), add_work)
    final = int(outer.losses.argmin())
    everything = np.ones(len(known), dtype=bool)
    probe = data.train(everything, {final: [0]})[0, final]
    add_work(1)

    def spread(values: npt.NDArray[Any], missing: float) -> npt.NDArray[Any]:
        """Values of the rows with features, as values of all rows."""
        of_all = np.full(len(target), missing, dtype=values.dtype)
        of_all[known] = values
        return of_all

    return probe, ProbeResult(
        kind=kind,
        folds_by=folds_by,
        num_folds=folds.num_folds,
        num_groups=folds.num_groups,
        num_rows=len(known),
        num_positive=int(target[known].sum()) if kind == LABEL else None,
        num_without_features=len(target) - len(known),
        num_features=features.shape[1],
        num_constant=int(is_constant.sum()),
        num_overlapping=folds.num_overlapping,
        num_left_out=tuple(folds.num_left_out),
        fold=spread(folds.fold, NO_FOLD),
        groups=spread(folds.groups, -1),
        scores=spread(outer.scores[0], np.nan),
        naive_scores=spread(outer.by_penalty[final], np.nan),
        penalties=tuple(data.penalties[number] for number in inner[:, 0].argmin(axis=1)),
        final_penalty=data.penalties[final],
        num_fits=data.counts.num_fits,
        num_not_converged=data.counts.num_not_converged,
        control=_make_control(data, outer.scores),
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class ProbeMetrics:
    """Metrics of the out-of-fold scores of a probe, with intervals.

    Attributes:
        overall: Those of all rows: AUROC and average precision, or Spearman's correlation.
        within: AUROC of pairs of rows of a group of the folds; empty for numbers.
    """

    overall: tuple[Estimate, ...]
    within: tuple[Estimate, ...]


def measure_probe(
    result: ProbeResult,
    target: npt.NDArray[Any],
    clusters: IntArray,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> ProbeMetrics:
    """Compute the metrics of out-of-fold scores.

    Args:
        result: What ``fit_probe`` returned.
        target: As for ``fit_probe``. (N,)
        clusters: Number of each row's cluster; the rows of a cluster are drawn together. (N,)
        resampling: How the intervals are computed.
    """
    metrics = [AUROC, AVERAGE_PRECISION] if result.kind == LABEL else [SPEARMAN]
    together = estimate_together(
        target, {"": result.scores}, {"": metrics}, groups=clusters, resampling=resampling
    )
    within: tuple[Estimate, ...] = ()
    if result.kind == LABEL:
        within = (
            estimate(
                AUROC,
                target,
                result.scores,
                groups=clusters,
                strata=result.groups,
                resampling=resampling,
            ),
        )
    return ProbeMetrics(tuple(together.estimate("", metric) for metric in metrics), within)


def count_training_sets(num_folds: int) -> int:
    """How many training sets there are: one for each pair of folds, each fold, and all rows."""
    return num_folds * (num_folds - 1) // 2 + num_folds + 1


# Checks, and the shuffled targets.


def _find_kind(target: npt.NDArray[Any]) -> Kind:
    """What a target is.

    Raises:
        ValueError: It is neither booleans nor float64.
    """
    if target.ndim == 1 and target.dtype == bool:
        return LABEL
    if target.ndim == 1 and target.dtype == np.float64:
        return NUMBER
    raise ValueError(
        f"target: expected booleans or float64 (N,), got {target.dtype} {target.shape}."
    )


def _require_rows(kind: Kind, target: npt.NDArray[Any], num_missing: int) -> None:
    """Make sure that there are enough labelled rows with features.

    Raises:
        InputError: There are too few rows, or too few of a class, or all numbers are equal.
    """
    missing = f" ({num_missing:,} have a label but no features)" if num_missing else ""
    have = f"{counted(len(target), 'labelled row')} with features{missing}"
    if len(target) < FEWEST_ROWS:
        raise InputError(f"{have}; a probe needs at least {FEWEST_ROWS}.")
    if kind == NUMBER:
        if np.abs(target).max() > LARGEST_NUMBER:
            raise InputError(
                f"{have}: a number is above {LARGEST_NUMBER:g}, and a probe cannot square it."
            )
        if (target == target[0]).all():
            raise InputError(f"{have}: all have the same number, so a probe has nothing to learn.")
        return
    for name, number in (("positive", target.sum()), ("negative", (~target).sum())):
        if number < FEWEST_OF_CLASS:
            raise InputError(f"{have}: {number} {name}; a probe needs at least {FEWEST_OF_CLASS}.")


def _shuffle(
    target: npt.NDArray[Any], groups: IntArray, num_shuffles: int, seed: int
) -> list[npt.NDArray[Any]]:
    """Targets that are shuffled within groups."""
    in_groups = np.argsort(groups, kind="stable")
    shuffled = []
    for number in range(num_shuffles):
        random = np.random.default_rng([seed, number])
        # The rows of each group, in a random order.
        order = np.lexsort((random.random(len(target)), groups))
        one = np.empty_like(target)
        one[in_groups] = target[order]
        shuffled.append(one)
    return shuffled


# Training sets.


@dataclass(frozen=True, slots=True)
class _Data:
    """The rows with features, and their targets. N is the number of these rows.

    Attributes:
        kind: What the targets are.
        features: Those of all rows.
        known: The numbers of the rows with features among all rows. (N,)
        targets: T times (N,)
        folds: The folds of these rows.
        counts: The models that were fitted.
    """

    kind: Kind
    features: Features
    known: IntArray
    targets: Sequence[npt.NDArray[Any]]
    folds: ProbeFolds
    counts: FitCounts = field(default_factory=FitCounts)

    @property
    def penalties(self) -> list[float]:
        """The penalties to choose from."""
        return list_penalties(self.features.shape[1])

    def can_train(self, is_training: BoolArray, number: int) -> bool:
        """Whether rows can train a probe: there are enough, and of a label both classes."""
        target = self.targets[number][is_training]
        if len(target) < FEWEST_TRAINING:
            return False
        return bool((target != target[0]).any())

    def require_training(self) -> None:
        """Make sure that the probe of each fold can be trained.

        Raises:
            InputError: The training rows of a fold are too few, or of one class, or none of its
                inner folds can be used.
        """
        outside = self.folds.is_outside
        for number in range(self.folds.num_folds):
            where = f"fold {number + 1} of {self.folds.num_folds} by {self.folds.by}"
            left_out = self.folds.num_left_out[number]
            overlap = f" ({left_out:,} are left out because their windows overlap the fold's)"
            rows = f"{int(outside[number].sum()):,} training rows{overlap if left_out else ''}"
            if not self.can_train(outside[number], 0):
                raise InputError(
                    f"{where}: {rows}; a probe needs at least {FEWEST_TRAINING} with different "
                    "labels. Use a shorter window, more labelled rows, or another `folds_by`."
                )
            others = [one for one in range(self.folds.num_folds) if one != number]
            if not any(self.can_train(outside[number] & outside[one], 0) for one in others):
                raise InputError(
                    f"{where}: {rows}; without any other fold, the rest has fewer than "
                    f"{FEWEST_TRAINING} rows, or one label, so that the penalty cannot be chosen. "
                    "Use a shorter window, more labelled rows, or another `folds_by`."
                )

    def train(
        self, is_training: BoolArray, wanted: dict[int, list[int]]
    ) -> dict[tuple[int, int], FittedProbe]:
        """Fit models to some rows.

        Args:
            is_training: (N,)
            wanted: For numbers of penalties, the numbers of targets.

        Returns:
            The models by the numbers of target and penalty.
        """
        names = sorted({name for names in wanted.values() for name in names})
        if not names:
            return {}
        fitted = train(
            self.kind,
            self.features,
            self.known[is_training],
            {name: self.targets[name][is_training] for name in names},
            {self.penalties[penalty]: names for penalty, names in wanted.items()},
            self.counts,
        )
        return {
            (name, self.penalties.index(penalty)): one for (name, penalty), one in fitted.items()
        }

    def find_base(self, target: int, inside: BoolArray) -> float:
        """Score of some rows without features: their log-odds, or their mean.

        Args:
            target: Number of the target.
            inside: Those rows. (N,)
        """
        mean = float(self.targets[target][inside].mean())
        return math.log(mean / (1 - mean)) if self.kind == LABEL else mean

    def sum_losses(self, target: int, scores: FloatArray, is_tested: BoolArray) -> float:
        """The sum of the losses of rows.

        Args:
            target: Number of the target.
            scores: Scores of the tested rows.
            is_tested: (N,)
        """
        expected = self.targets[target][is_tested]
        if self.kind == NUMBER:
            return float(((scores - expected) ** 2).sum())
        return float(-log_expit(np.where(expected, scores, -scores)).sum())


def _find_inner_losses(data: _Data, add_work: AddWork) -> FloatArray:
    """Mean loss of each fold, target and penalty, of the rows of its inner folds.

    A pair of folds whose training rows are too few or of one class is left out.

    Returns:
        NaN is never in it; infinite where a shuffled target has no inner folds. (F, T, G)
    """
    folds, outside = data.folds.num_folds, data.folds.is_outside
    sums = np.zeros((folds, len(data.targets), len(data.penalties)))
    num_rows = np.zeros((folds, len(data.targets), 1))
    for one in range(folds):
        for other in range(one):
            is_training = outside[one] & outside[other]
            usable = [
                number for number in range(len(data.targets)) if data.can_train(is_training, number)
            ]
            fitted = data.train(is_training, dict.fromkeys(range(len(data.penalties)), usable))
            for held_out, inner in ((one, other), (other, one)):
                is_tested = (data.folds.fold == inner) & outside[held_out]
                if not fitted or not is_tested.any():
                    continue
                scores = predict_together([*fitted.values()], data.features, data.known[is_tested])
                for (target, penalty), of_model in zip(fitted, scores, strict=True):
                    sums[held_out, target, penalty] += data.sum_losses(target, of_model, is_tested)
                num_rows[held_out, usable] += is_tested.sum()
            add_work(1)
    with np.errstate(invalid="ignore"):
        return np.where(num_rows > 0, sums / num_rows, np.inf)


@dataclass(frozen=True, slots=True)
class _Outer:
    """The out-of-fold scores.

    Attributes:
        scores: With the penalty that was chosen without the fold; NaN where a shuffled target
            cannot be trained. (T, N)
        by_penalty: Of the real target, with each penalty. (G, N)
        losses: Mean loss of the real target with each penalty. (G,)
    """

    scores: FloatArray
    by_penalty: FloatArray
    losses: FloatArray


def _fit_folds(data: _Data, chosen: IntArray, add_work: AddWork) -> _Outer:
    """Fit the probes of the folds.

    Args:
        data: The rows and targets.
        chosen: Number of the penalty of each fold and target. (F, T)
        add_work: Called when a training set is finished.
    """
    num_rows, penalties = len(data.known), range(len(data.penalties))
    scores = np.full((len(data.targets), num_rows), np.nan)
    by_penalty = np.empty((len(data.penalties), num_rows))
    losses = np.zeros(len(data.penalties))
    everything = np.ones(num_rows, dtype=bool)
    for number in range(data.folds.num_folds):
        is_training = data.folds.is_outside[number]
        is_tested = data.folds.fold == number
        wanted: dict[int, list[int]] = {penalty: [0] for penalty in penalties}
        for target in range(1, len(data.targets)):
            if data.can_train(is_training, target):
                wanted[int(chosen[number, target])].append(target)
        for (target, penalty), probe in data.train(is_training, wanted).items():
            predicted = probe.predict_rows(data.features, data.known[is_tested])
            if target == 0:
                losses[penalty] += data.sum_losses(0, predicted, is_tested)
            predicted += data.find_base(target, everything) - data.find_base(target, is_training)
            if target == 0:
                by_penalty[penalty, is_tested] = predicted
            if penalty == chosen[number, target]:
                scores[target, is_tested] = predicted
        add_work(1)
    return _Outer(scores, by_penalty, losses / num_rows)


# The control.


def _make_control(data: _Data, scores: FloatArray) -> Control:
    """Evaluate the scores of the shuffled targets.

    Args:
        data: The rows and targets.
        scores: Out-of-fold scores of each target. (T, N)
    """
    groups = data.folds.groups
    in_order = np.lexsort((data.targets[0], groups))
    target, group = data.targets[0][in_order], groups[in_order]
    differs = (group[1:] == group[:-1]) & (target[1:] != target[:-1])
    is_mixed = np.isin(groups, group[1:][differs])
    overall, within = [], []
    for shuffled, of_target in zip(data.targets[1:], scores[1:], strict=True):
        overall.append(_measure(data.kind, shuffled, of_target, None))
        within.append(_measure(data.kind, shuffled, of_target, groups))
    return Control(
        metric="auroc" if data.kind == LABEL else "spearman",
        num_shuffles=len(data.targets) - 1,
        num_shuffled=int(is_mixed.sum()),
        within=summarise(within),
        overall=summarise(overall),
    )


def _measure(
    kind: Kind, target: npt.NDArray[Any], scores: FloatArray, groups: IntArray | None
) -> float | str:
    """The main metric of all rows, or within groups; a text says why there is none."""
    if kind == LABEL:
        found = estimate(AUROC, target, scores, strata=groups, resampling=WITHOUT_DRAWS)
        return found.reason if found.value is None else found.value
    if groups is not None:
        is_shared = np.bincount(groups)[groups] > 1
        numbers = number_groups(groups[is_shared])
        target, scores = (
            values[is_shared] - _average(values[is_shared], numbers) for values in (target, scores)
        )
    found = estimate(SPEARMAN, target, scores, resampling=WITHOUT_DRAWS)
    return found.reason if found.value is None else found.value


def _average(values: FloatArray, numbers: IntArray) -> FloatArray:
    """The mean of each row's group. (N,)."""
    means: FloatArray = np.bincount(numbers, weights=values) / np.bincount(numbers)
    return means[numbers]


def summarise(measured: Sequence[float | str]) -> ShuffledMetric:
    """Mean of the values, with its confidence interval."""
    values = [value for value in measured if not isinstance(value, str)]
    if not values:
        reason = next((value for value in measured if isinstance(value, str)), "no shuffles")
        return ShuffledMetric((), None, None, None, reason)
    mean = float(np.mean(values))
    if len(values) < 2:
        return ShuffledMetric((*values,), mean, None, None)
    width = float(
        student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        * np.std(values, ddof=1)
        / math.sqrt(len(values))
    )
    return ShuffledMetric((*values,), mean, mean - width, mean + width)


# What a reader has to know.


def _state(result: ProbeResult) -> list[str]:
    """Sentences about a fit; an empty one is left out."""
    left_out = sum(result.num_left_out)
    penalties = list_penalties(result.num_features)
    ends = [
        (penalties[0], "strongest", "the features help little there"),
        (penalties[-1], "weakest", "a weaker penalty could be better there"),
    ]
    return [
        f"{counted(result.num_without_features, 'labelled row')} without features left out."
        if result.num_without_features
        else "",
        f"{counted(result.num_constant, 'feature')} with the same value in all rows."
        if result.num_constant
        else "",
        f"{counted(result.num_overlapping, 'row')} with a window that overlaps a window of another "
        f"fold; such rows do not train for that fold ({left_out:,} of the training rows of all "
        "folds are left out)."
        if result.num_overlapping
        else "No windows of different folds overlap.",
        *(
            f"{counted(result.penalties.count(end), 'fold')} of {result.num_folds} chose the "
            f"{name} penalty of all, {end:g}: {meaning}."
            if end in result.penalties
            else ""
            for end, name, meaning in ends
        ),
        f"{result.num_not_converged:,} of {result.num_fits:,} models did not converge in "
        f"{MOST_ITERATIONS:,} iterations; their weights are approximate."
        if result.num_not_converged
        else "",
        _state_leak(result),
    ]


def _state_leak(result: ProbeResult) -> str:
    """What the control says about a leak."""
    control = result.control
    if not control.num_shuffles:
        return ""
    if not control.num_shuffled:
        return (
            "Control: the rows of each group have the same label, so shuffling the labels within "
            "groups changes nothing. Whether the probe tells variants apart, and not only groups, "
            "is not known."
        )
    within = control.within
    start = (
        f"Control: with labels shuffled within groups ({control.num_shuffled:,} of "
        f"{result.num_rows:,} rows are in groups with different labels), {control.metric} within "
        "groups is"
    )
    if within.mean is None or within.low is None or within.high is None:
        return f"{start} not known: {within.reason or 'there is one shuffle'}."
    interval = f"{within.mean:.3f} [{within.low:.3f}, {within.high:.3f}]"
    chance = 0.5 if control.metric == AUROC.name else 0.0
    if within.low <= chance <= within.high:
        return f"{start} {interval}."
    return (
        f"{start} {interval}, which is not the chance level of {chance:g}: something may leak "
        "between folds."
    )
