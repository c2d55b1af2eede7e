"""The score of an allele for every horizon, from one run of its whole windows.

A window that is cut by a horizon is the first part of the whole window, and so are its
log-probabilities: the model reads from left to right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.scoring.deltas import score_strand
from evo2_tasks.scoring.readouts import WindowOutput
from evo2_tasks.scoring.windows import WindowPair

SHORTEST_HORIZON: Final = 16


@dataclass(frozen=True, slots=True)
class PairLogProbs:
    """The log-probabilities of the predicted tokens of both windows of a pair, nats. (n - 1,)."""

    ref: NDArray[np.float32]
    alt: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PerToken:
    """A read-out of all log-probabilities. It fills no column of a table."""

    name: str = "per_token"
    columns: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset({"log_probs"})

    def read(
        self, _pair: WindowPair, ref: WindowOutput, alt: WindowOutput, *, horizon: bool
    ) -> PairLogProbs:
        """Keep the log-probabilities of both windows."""
        return PairLogProbs(ref.log_probs, alt.log_probs)


PER_TOKEN: Final = PerToken()


def list_horizons(largest: int) -> list[int]:
    """The horizons to look at: powers of two, and the largest that the windows allow."""
    powers = [SHORTEST_HORIZON]
    while powers[-1] * 2 < largest:
        powers.append(powers[-1] * 2)
    return [*(power for power in powers if power < largest), largest]


def cut_pair(pair: WindowPair, horizon: int) -> WindowPair:
    """The pair of windows, cut by a horizon."""
    end = pair.prefix + horizon
    return replace(pair, ref_seq=pair.ref_seq[:end], alt_seq=pair.alt_seq[:end])


def score_horizons(
    pair: WindowPair, log_probs: PairLogProbs, horizons: list[int]
) -> Iterator[float | None]:
    """The ``llr`` of a strand for each horizon, and then without one.

    Args:
        pair: The whole windows.
        log_probs: What the model gives for them.
        horizons: Numbers of tokens to score from the first difference on.

    Yields:
        Nats; None if a log-probability is not finite.
    """
    first = len(pair.ref_seq) - len(log_probs.ref)  # tokens that are not predicted: 1, or 0
    for horizon in [*horizons, len(pair.ref_seq)]:
        some = cut_pair(pair, horizon)
        num = len(some.ref_seq) - first
        score = score_strand(some, log_probs.ref[:num], log_probs.alt[:num], horizon=True)
        yield None if score is None else score.llr
