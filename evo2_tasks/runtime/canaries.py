"""A few fixed alleles that every shard scores, so that a device that computes wrong is noticed."""

import random

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
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
    """``llr`` of each canary, nats; None where the model gives no number.

    Args:
        model: The model, in eval mode on the device to look at.
    """
    scores = score_part(
        model,
        canary_pairs(),
        batch_tokens=len(OFFSETS) * WINDOW_LENGTH,
        horizon=False,
        prepend_bos=False,
        on_call=lambda _windows, _tokens: None,
        on_halving=lambda _tokens: None,
    )
    return [None if score is None else score.llr for score in scores]
