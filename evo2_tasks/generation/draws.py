"""The random numbers of generation: one for each position of each candidate.

Each candidate has a generator of its own, and its number for a position does not depend on the
numbers before. So the draws of a sequence do not depend on the other sequences, on the size of
batches or chunks, nor on where an interrupted run went on.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_BITS = 24  # of a float32
_PER_COUNT = 4  # numbers that Philox gives for each value of its counter


def draw_uniform(
    seed: int, prompt: int, sequence: int, candidate: int, start: int, num: int
) -> NDArray[np.float32]:
    """Uniform numbers for consecutive positions, from 0 on and below 1.

    Args:
        seed: Any whole number.
        prompt: Number of the prompt.
        sequence: Number of the sequence.
        candidate: Number of the candidate in each step of the search.
        start: First position, 0-based.
        num: Number of positions.

    Returns:
        Multiples of 2**-24. (num,)

    Source:
        Philox4x64, a counter-based generator (Salmon et al. 2011), as numpy has it. Its key is the
        first half of the SHA-256 of the first four numbers, its counter the position.
    """
    text = f"evo2-tasks generation {seed} {prompt} {sequence} {candidate}"
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    count, skipped = divmod(start, _PER_COUNT)
    raw = np.random.Philox(key=key, counter=count).random_raw(skipped + num)[skipped:]
    uniform: NDArray[np.float32] = (raw >> np.uint64(64 - _BITS)).astype(np.float32)
    return uniform * np.float32(2.0**-_BITS)
