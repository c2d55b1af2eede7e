"""The values of a base on a strand, and what both strands give together.

N bases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_VALUES = 5
"""Values of a base on a strand: log p of A, C, G and T among these four; of the token among all."""

_Floats = NDArray[np.float32]


class Combined(NamedTuple):
    """What the strands of a base give together.

    Attributes:
        logp_ref: Mean over the strands of the log-probability of the reference's token among the
            whole vocabulary, nats. (N,)
        entropy: Entropy of the distribution over the four bases, bits. (N,)
    """

    logp_ref: _Floats
    entropy: _Floats


def complement(values: _Floats) -> _Floats:
    """Values of the reverse strand by the bases of the forward strand. (N, 5) -> (N, 5)."""
    return values[:, [3, 2, 1, 0, 4]]


def drop_non_finite(values: _Floats) -> _Floats:
    """Values with NaN in place of all values of a base of which one is not finite. (N, 5)."""
    return np.where(np.isfinite(values).all(axis=1, keepdims=True), values, np.float32(np.nan))


def combine_strands(strands: list[_Floats]) -> Combined:
    """Combine the strands of some bases.

    The distribution over the four bases is the softmax of the mean of the strands' logits of these
    four. A constant that is added to the logits of a strand does not change it. So the mean of the
    strands' log-probabilities, each normalised over the four bases, gives the same distribution.

    Args:
        strands: The values of each strand by the bases of the forward strand. A strand whose values
            are NaN is left out; if all are NaN, the result is NaN. (N, 5) each

    Returns:
        The combined values.
    """
    mean = _average(strands)
    probs, log_probs = _normalise(mean[:, :4])
    entropy = -(probs * log_probs).sum(axis=1) / np.log(2)
    # Rounding may leave -0.0, or 2 and a little more.
    entropy = np.clip(entropy, 0.0, 2.0)
    return Combined(mean[:, 4].astype(np.float32), entropy.astype(np.float32))


def combine_bases(strands: Sequence[_Floats]) -> NDArray[np.float64]:
    """The probabilities of the four bases that the strands give together.

    ``entropy`` of :func:`combine_strands` is the entropy of this distribution.

    Args:
        strands: The log-probabilities of each strand by the bases of the forward strand. A strand
            whose values are NaN is left out; if all are NaN, the result is NaN. (N, 4) each

    Returns:
        The probabilities. (N, 4)
    """
    return _normalise(_average(strands))[0]


def _average(strands: Sequence[_Floats]) -> NDArray[np.float64]:
    """Mean of the strands that have values; NaN where none has."""
    stacked = np.stack(strands).astype(np.float64)  # (strands, N, values)
    is_known = ~np.isnan(stacked[:, :, :1])
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(is_known, stacked, 0.0).sum(axis=0) / is_known.sum(
            axis=0
        )
    return mean


def _normalise(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities and log-probabilities of the four bases, from their logits. (N, 4) each."""
    log_probs = logits - logits.max(axis=1, keepdims=True)
    probs = np.exp(log_probs)
    total = probs.sum(axis=1, keepdims=True)
    return probs / total, log_probs - np.log(total)
