"""Canaries: a few fixed alleles that every shard scores, to find devices that compute wrong."""

import random

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair

WINDOW_LENGTH = 512
SEED = 1
OFFSETS = (64, 192, 320, 448)


def canary_pairs() -> list[WindowPair]:
    """Four SNVs in one window of random bases, the same everywhere."""
    bases = random.Random(SEED).choices(b"ACGT", k=WINDOW_LENGTH)  # noqa: S311 - no secret
    ref_seq = bytes(bases)
    pairs = []
    for row, offset in enumerate(OFFSETS):
        alt = b"ACGT"[(b"ACGT".index(ref_seq[offset]) + 1) % 4]
        alt_seq = ref_seq[:offset] + bytes([alt]) + ref_seq[offset + 1 :]
        pairs.append(WindowPair(row, "forward", ref_seq, alt_seq, offset, 1, 1))
    return pairs


def score_canaries(model: Evo2ForCausalLM) -> list[float | None]:
    """``llr`` of each canary, nats; None if it is not finite.

    Args:
        model: The model, in eval mode, on the device to check.
    """
    records = score_part(
        model,
        canary_pairs(),
        [SUMS],
        batch_tokens=len(OFFSETS) * WINDOW_LENGTH,
        horizon=False,
        prepend_bos=False,
    )
    return [None if score is None else score.llr for score in records.of(SUMS)]
