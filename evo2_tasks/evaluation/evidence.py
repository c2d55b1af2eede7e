"""Likelihood ratios and evidence strengths from labelled rows, by the published local method.

Around each score a window is widened until it has enough labelled rows and enough rows of the
background. Its positive and negative rows give a likelihood ratio. Draws of whole clusters of
labelled rows give its bounds, and the bounds of the score thresholds of each strength.

The likelihood ratio is not forced to be monotone in the score. It is 0 where a window has no
positive row, and infinite where it has no negative row. A draw cannot contain rows that no labelled
row stands for, so draws alone would take such a ratio for certain. A window of a draw with fewer
than ``FEWEST_DRAWN`` negative rows therefore counts as one with this many, where evidence for
harmful is bounded; positive rows count in the same way, where evidence for benign is bounded.

Shapes: E centres (scores with a window), M background rows, N labelled rows, T draws.

Source:
    Pejaver et al. 2022, doi:10.1016/j.ajhg.2022.10.013. Ours differs in five points. Windows are
    widened continuously, not in steps. The ends of the range of scores are the lowest and highest
    score, not rounded to whole numbers, so that the unit of the score does not matter. The scores
    with a window are those of labelled rows and the two ends, not those of the background. Draws
    are of clusters, and the background is not drawn. Windows of draws have ``FEWEST_DRAWN`` rows of
    each kind at least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import (
    FloatArray,
    IntArray,
    number_groups,
    read_labels,
    read_numbers,
    require_finite,
    require_one_length,
)
from evo2_tasks.evaluation.draws import Resampling, draw_groups
from evo2_tasks.evaluation.labelled_windows import LabelledWindows
from evo2_tasks.evaluation.strengths import (
    BENIGN,
    HARMFUL,
    STRENGTHS,
    find_constant,
    find_posterior,
    find_ratio,
)

FEWEST_LABELLED: Final = 100
"""Labelled rows of both kinds together that a calibration needs."""

FEWEST_OF_KIND: Final = 10
"""Labelled rows of each kind that a calibration needs."""

FEWEST_DRAWN: Final = 3
"""Rows of a kind that a window of a draw has at least. Where none was found, fewer than this many
are expected, with a confidence of 95 %: exp(-3) is 0.05."""

OUTSIDE: Final = 0.05
"""Share of the draws that may be beyond a bound."""

DRAWS: Final = Resampling(num_resamples=10_000, seed=0)

AddDraws = Callable[[int], object]
"""Takes how many draws have been finished since the call before."""


@dataclass(frozen=True, slots=True)
class Ratios:
    """Likelihood ratios of scores, with bounds.

    Attributes:
        scores: Rising. (E,)
        lr: Likelihood ratio of all labelled rows. (E,)
        lr_low: Lower bound: at most ``OUTSIDE`` of the draws are below. (E,)
        lr_high: Upper bound: at most ``OUTSIDE`` of the draws are above. (E,)
    """

    scores: FloatArray
    lr: FloatArray
    lr_low: FloatArray
    lr_high: FloatArray

    def find(self, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Likelihood ratios of any scores.

        A score between two scores with a window has the likelihood ratio of the nearer one (of the
        lower one, if both are equally near), the smaller of their lower bounds and the larger of
        their upper bounds. A score beyond the first or last one has the values of that one.

        Args:
            scores: NaN where a row has no score. (K,)

        Returns:
            Likelihood ratio, lower bound and upper bound; NaN where a row has no score. Each (K,)
        """
        last = len(self.scores) - 1
        above = np.clip(np.searchsorted(self.scores, scores, side="left"), 0, last)
        below = np.clip(np.searchsorted(self.scores, scores, side="right") - 1, 0, last)
        is_nearer = self.scores[above] - scores < scores - self.scores[below]
        lr = np.where(is_nearer, self.lr[above], self.lr[below])
        low = np.minimum(self.lr_low[above], self.lr_low[below])
        high = np.maximum(self.lr_high[above], self.lr_high[below])
        missing = np.isnan(scores)
        lr[missing] = low[missing] = high[missing] = np.nan
        return lr, low, high


@dataclass(frozen=True, slots=True)
class Threshold:
    """The scores at which a strength of evidence begins.

    Attributes:
        direction: ``harmful`` or ``benign``.
        strength: One of ``STRENGTHS``.
        points: Its points; below 0 for ``benign``.
        posterior: Posterior probability of a harmful variant that it needs: at least this, or at
            most this for ``benign``.
        lr: Likelihood ratio that it needs.
        threshold: From all labelled rows: this score, and each one beyond it, reaches the
            likelihood ratio. None if no score does.
        bound: The conservative bound of the threshold over all draws; None if it is not reached.
        share_without: Share of the draws without a threshold; None without draws.
        reason: Why the strength is not reached; empty if it is.
    """

    direction: str
    strength: str
    points: int
    posterior: float
    lr: float
    threshold: float | None
    bound: float | None
    share_without: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What labelled rows say about scores.

    Attributes:
        prior: Prior probability that a variant is harmful.
        constant: The constant c: the likelihood ratio of very strong evidence.
        num_positive: Positive rows with a score.
        num_negative: Negative rows with a score.
        num_background: Rows of the background with a score; 0 without a background.
        num_clusters: Clusters that are drawn.
        draws: Number of draws, and their seed.
        thresholds: One for each direction and strength.
        ratios: None if there are too few labelled rows.
        reason: Why there are no likelihood ratios; empty if there are.
    """

    prior: float
    constant: int
    num_positive: int
    num_negative: int
    num_background: int
    num_clusters: int
    draws: Resampling
    thresholds: tuple[Threshold, ...]
    ratios: Ratios | None
    reason: str


def explain_few_labels(num_positive: int, num_negative: int) -> str:
    """Explain why so few labelled rows allow no calibration; empty if they are enough."""
    if num_positive + num_negative < FEWEST_LABELLED:
        return (
            f"{num_positive + num_negative} labelled rows have a score; at least "
            f"{FEWEST_LABELLED} are needed"
        )
    for kind, number in (("positive", num_positive), ("negative", num_negative)):
        if number < FEWEST_OF_KIND:
            return f"{number} {kind} rows have a score; at least {FEWEST_OF_KIND} are needed"
    return ""


def fit_evidence(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    harmful: str,
    prior: float,
    background: npt.ArrayLike | None = None,
    draws: Resampling = DRAWS,
    add_draws: AddDraws = lambda number: None,
) -> Evidence:
    """Fit likelihood ratios and thresholds to labelled rows.

    The result does not depend on the order of the rows, if the numbers of the clusters do not.

    Args:
        labels: True where a row is positive (harmful). (N,)
        scores: NaN where a row has no score; such rows are left out. (N,)
        clusters: Number of each row's cluster; the rows of a cluster are drawn together. (N,)
        harmful: Which scores are harmful: ``low`` or ``high``.
        prior: Prior probability that a variant is harmful.
        background: Scores of the background, NaN where one is missing; None or empty if there is
            none. A window then needs a share of the labelled rows instead. (M,)
        draws: Number of draws, and their seed.
        add_draws: Called with the number of draws that are done.

    Raises:
        ValueError: The arrays have other types or lengths, or a score is infinite.
    """
    is_positive, values = read_labels(labels), read_numbers(scores)
    groups = np.asarray(clusters, dtype=np.int64)
    require_one_length(is_positive, values, groups)
    others = np.empty(0) if background is None else read_numbers(background)
    is_scored = ~np.isnan(values)
    is_positive, values, groups = is_positive[is_scored], values[is_scored], groups[is_scored]
    others = others[~np.isnan(others)]
    require_finite(values, others)
    constant = find_constant(prior)
    num_positive = int(is_positive.sum())
    num_negative = len(values) - num_positive
    groups = number_groups(groups)
    num_clusters = int(groups.max(initial=-1)) + 1
    reason = explain_few_labels(num_positive, num_negative)
    if not reason and num_clusters < 2:
        reason = "all labelled rows with a score are one cluster, so there are no draws"
    evidence = Evidence(
        prior=prior,
        constant=constant,
        num_positive=num_positive,
        num_negative=num_negative,
        num_background=len(others),
        num_clusters=num_clusters,
        draws=draws,
        thresholds=_list_thresholds(prior, constant, reason),
        ratios=None,
        reason=reason,
    )
    if reason:
        return evidence
    turn = -1.0 if harmful == "low" else 1.0  # inside, higher is more harmful
    rows = LabelledWindows.make(is_positive, turn * values, groups, turn * others)
    lr = rows.divide(*rows.count(np.ones(num_clusters, dtype=np.int32)))
    bounds = _Bounds.make(evidence.thresholds, draws.num_resamples)
    for low, high in _draw_ratios(rows, num_clusters, draws):
        bounds.add(low, high)
        add_draws(low.shape[1])
    scores = turn * rows.centres.scores + 0.0  # no -0.0
    thresholds = tuple(
        _find_threshold(one, scores, lr, np.concatenate(num_reached))
        for one, num_reached in zip(evidence.thresholds, bounds.num_reached, strict=True)
    )
    order = slice(None, None, int(turn))
    ratios = Ratios(
        scores[order], lr[order], bounds.low.find_last()[order], -bounds.high.find_last()[order]
    )
    return replace(evidence, thresholds=thresholds, ratios=ratios)


def _count_outside(num_draws: int) -> int:
    """Most draws that may be beyond a bound."""
    return math.floor(OUTSIDE * num_draws)


def _list_thresholds(prior: float, constant: int, reason: str) -> tuple[Threshold, ...]:
    """What each strength needs; none is reached yet."""
    listed = []
    for direction, sign in ((HARMFUL, 1), (BENIGN, -1)):
        for strength, number in STRENGTHS.items():
            lr = find_ratio(sign * number, constant)
            listed.append(
                Threshold(
                    direction=direction,
                    strength=strength,
                    points=sign * number,
                    posterior=find_posterior(lr, prior),
                    lr=lr,
                    threshold=None,
                    bound=None,
                    share_without=None,
                    reason=reason,
                )
            )
    return tuple(listed)


def _draw_ratios(
    rows: LabelledWindows, num_clusters: int, draws: Resampling
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Likelihood ratio of each centre in some more draws.

    Yields:
        Those that bound evidence for harmful, and those that bound evidence for benign. Each (E, B)
    """
    for counts in draw_groups(num_clusters, draws):
        low, high = np.empty((2, len(rows.centres.scores), counts.shape[1]))
        for draw in range(counts.shape[1]):
            positive, negative = rows.count(counts[:, draw])
            low[:, draw] = rows.divide(positive, np.maximum(negative, FEWEST_DRAWN))
            high[:, draw] = rows.divide(np.maximum(positive, FEWEST_DRAWN), negative)
        yield low, high


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Reads the likelihood ratios of draws, some draws after the other.

    Attributes:
        needed: The strengths.
        low: Keeps the lowest of the likelihood ratios that bound evidence for harmful.
        high: Keeps the highest of those that bound evidence for benign, with their sign turned.
        num_reached: For each strength, and the draws of each call: how many centres reach it.
    """

    needed: tuple[Threshold, ...]
    low: _Smallest
    high: _Smallest
    num_reached: tuple[list[IntArray], ...]

    @classmethod
    def make(cls, needed: tuple[Threshold, ...], num_draws: int) -> Self:
        """Prepare for so many draws."""
        most = _count_outside(num_draws) + 1
        return cls(needed, _Smallest(most), _Smallest(most), tuple([] for _ in needed))

    def add(self, low: FloatArray, high: FloatArray) -> None:
        """Read some more draws, as ``_draw_ratios`` yields them."""
        self.low.add(low)
        self.high.add(-high)
        for one, num_reached in zip(self.needed, self.num_reached, strict=True):
            num_reached.append(_count_reached(one, low if one.direction == HARMFUL else high))


class _Smallest:
    """Keeps the smallest numbers of each row of a matrix whose columns come in parts.

    Args:
        number: How many to keep.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._parts: list[FloatArray] = []

    def add(self, columns: FloatArray) -> None:
        """Read some more columns: (E, B)."""
        self._parts.append(columns)
        if sum(part.shape[1] for part in self._parts) > 2 * self._number:
            self._drop()

    def find_last(self) -> FloatArray:
        """The largest of the numbers that are kept: (E,)."""
        self._drop()
        last: FloatArray = self._parts[0].max(axis=1)
        return last

    def _drop(self) -> None:
        columns = np.concatenate(self._parts, axis=1)
        if columns.shape[1] > self._number:
            columns.partition(self._number - 1, axis=1)
            columns = columns[:, : self._number].copy()
        self._parts = [columns]


def _count_reached(needed: Threshold, ratios: FloatArray) -> IntArray:
    """Centres from the end of a direction to the first one that does not reach a strength.

    Args:
        needed: The strength.
        ratios: Likelihood ratios of the centres, the most harmful last. (E, B)

    Returns:
        Number of centres. (B,)
    """
    is_harmful = needed.direction == HARMFUL
    from_end = ratios[::-1] if is_harmful else ratios
    is_short = from_end < needed.lr if is_harmful else from_end > needed.lr
    count: IntArray = np.where(is_short.any(axis=0), is_short.argmax(axis=0), len(ratios))
    return count


def _find_threshold(
    needed: Threshold, scores: FloatArray, lr: FloatArray, num_reached: IntArray
) -> Threshold:
    """Find a threshold in all labelled rows, and its bound in the draws.

    Args:
        needed: What the strength needs.
        scores: Score of each centre, the most harmful last. (E,)
        lr: Likelihood ratios from all labelled rows. (E,)
        num_reached: Centres that reach the strength in each draw. (T,)
    """
    from_end = scores[::-1] if needed.direction == HARMFUL else scores

    def find_score(number: int) -> float | None:
        return float(from_end[number - 1]) if number else None

    bound = find_score(int(np.sort(num_reached)[_count_outside(len(num_reached))]))
    share_without = float((num_reached == 0).mean())
    reason = ""
    if bound is None:
        reason = f"{share_without:.1%} of the draws have no threshold; at most {OUTSIDE:.0%} may"
    return replace(
        needed,
        threshold=find_score(int(_count_reached(needed, lr[:, None])[0])),
        bound=bound,
        share_without=share_without,
        reason=reason,
    )
