"""The scores of one allele from the log-probabilities of its windows, in float64."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.scoring.windows import WindowPair


@dataclass(frozen=True, slots=True)
class Score:
    """The scores of one allele, on one strand or as the mean of two, in nats.

    A value that does not exist is None. ``llr`` is negative if the alternate allele is less likely
    than the reference allele.
    """

    llr: float | None = None
    llr_aligned: float | None = None
    llr_allele: float | None = None
    llr_downstream: float | None = None
    llr_end: float | None = None
    delta_score: float | None = None
    ll_ref: float | None = None
    ll_alt: float | None = None


SCORE_NAMES = tuple(field.name for field in fields(Score))
"""The columns of scores, without a strand's suffix."""


def score_strand(
    pair: WindowPair,
    ref_log_probs: NDArray[np.floating],
    alt_log_probs: NDArray[np.floating],
    *,
    horizon: bool,
) -> Score | None:
    """Score one allele on one strand.

    The sums run over the log-probabilities of tokens from the first difference on. After the
    allele, the tokens of the two windows are aligned by their position in the genome. The two
    windows have the same length, so for an indel one of them has tokens at its far end that the
    other one lacks. They are summed in ``llr_end``.

    Args:
        pair: The two windows, of n tokens each.
        ref_log_probs: log p of each predicted token of the reference window, nats. The last n - 1
            tokens are predicted, or all n after a beginning-of-sequence token. (n - 1,) or (n,)
        alt_log_probs: The same for the alternate window.
        horizon: Whether a horizon cut the windows. If so, the sums over whole windows do not
            exist.

    Returns:
        The strand's score, or None if the log-probability of any predicted token is not finite.
    """
    if not (np.isfinite(ref_log_probs).all() and np.isfinite(alt_log_probs).all()):
        return None
    num_predicted = len(ref_log_probs)
    first = pair.prefix - (len(pair.ref_seq) - num_predicted)  # index of the first difference
    ref = ref_log_probs.astype(np.float64)
    alt = alt_log_probs.astype(np.float64)
    ref_allele, ref_after = np.split(ref[first:], [pair.num_ref])
    alt_allele, alt_after = np.split(alt[first:], [pair.num_alt])
    num_common = min(len(ref_after), len(alt_after))

    llr_allele = float(alt_allele.sum() - ref_allele.sum())
    llr_downstream = float((alt_after[:num_common] - ref_after[:num_common]).sum())
    llr_end = float(alt_after[num_common:].sum() - ref_after[num_common:].sum())
    llr = llr_allele + llr_downstream + llr_end
    llr_aligned: float | None = llr
    if pair.num_alt != pair.num_ref:
        llr_aligned = None
        if num_common:
            mean_surprise = -float(ref_after[:num_common].mean())
            extra = pair.num_alt - pair.num_ref
            llr_aligned = llr_allele + llr_downstream + extra * mean_surprise
    return Score(
        llr=llr,
        llr_aligned=llr_aligned,
        llr_allele=llr_allele,
        llr_downstream=llr_downstream,
        llr_end=llr_end,
        delta_score=None if horizon else llr / num_predicted,
        ll_ref=None if horizon else float(ref.sum()),
        ll_alt=None if horizon else float(alt.sum()),
    )


def average_strands(strands: list[Score]) -> Score:
    """Average the scores of the strands that the scoring asks for.

    Args:
        strands: One score for each strand.

    Returns:
        The mean of each value; None if one strand lacks it.
    """

    def average(name: str) -> float | None:
        values = [getattr(strand, name) for strand in strands]
        return None if None in values else sum(values) / len(values)

    return Score(**{name: average(name) for name in SCORE_NAMES})
