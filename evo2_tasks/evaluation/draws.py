"""The draws of a bootstrap: how often each group of rows is drawn.

Shapes: B draws, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]
"""How often each group was drawn in each draw. (G, B)"""

COUNTS_AT_ONCE: Final = 1 << 23
"""Counts in memory at once: 32 MB for any number of groups."""

MOST_AT_ONCE: Final = 64
"""Most draws at once. With more, the numbers of a draw no longer fit the cache of a CPU."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are computed.

    Attributes:
        num_resamples: Number of draws.
        seed: The same seed and groups give the same draws.
        confidence: Share of the draws that are inside the interval.
    """

    num_resamples: int = 2_000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.num_resamples < 0 or not 0 < self.confidence < 1:
            raise ValueError(
                f"resampling: expected num_resamples of at least 0 and a confidence between 0 and "
                f"1, got {self.num_resamples} and {self.confidence}."
            )


DEFAULT_RESAMPLING: Final = Resampling()


def draw_groups(num_groups: int, resampling: Resampling) -> Iterator[Counts]:
    """Draw as many groups as there are, with replacement, and count how often each was drawn.

    The draws do not depend on how many of them are in memory at once.

    Args:
        num_groups: G.
        resampling: Number of draws, and their seed.

    Yields:
        Counts of some more draws, each as often as there are draws in total. (G, B)
    """
    random = np.random.default_rng(resampling.seed)
    at_once = max(1, min(MOST_AT_ONCE, COUNTS_AT_ONCE // max(num_groups, 1)))
    num_blocks = max(1, -(-resampling.num_resamples // at_once))
    for block in np.array_split(np.arange(resampling.num_resamples), num_blocks):
        counts = np.empty((num_groups, len(block)), dtype=np.int32)
        for draw in range(len(block)):
            drawn = random.integers(num_groups, size=num_groups)
            counts[:, draw] = np.bincount(drawn, minlength=num_groups)
        if len(block):
            yield counts
