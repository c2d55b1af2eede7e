"""Score a part: each distinct window once through the model, then each allele from its windows."""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.deltas import Score, score_strand
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH, window_log_probs
from evo2_tasks.scoring.windows import WindowPair, batch_windows

SHORTEST_SEGMENT = 64


def score_part(
    model: Evo2ForCausalLM,
    pairs: Sequence[WindowPair],
    *,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    horizon: bool,
    prepend_bos: bool,
    on_batch: Callable[[int, int], None],
    on_halving: Callable[[int], None],
) -> list[Score | None]:
    """Run the full windows of a part and score each pair.

    This is the plain path: the whole reference and the whole alternate window of every pair,
    identical windows once. A batch for which the device has too little memory is cut in two.

    Args:
        model: The model, in eval mode.
        pairs: Windows of some alleles and strands.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: Longer windows go through the model in segments of this many tokens.
        offload: Between segments, keep keys and values of attention in host memory.
        horizon: Whether the windows were cut by a horizon.
        prepend_bos: Predict the first token of a window too, after id 0.
        on_batch: Called after each batch with its number of windows and of tokens.
        on_halving: Called with the tokens that go through at once from here on, where the device
            had too little memory for more.

    Returns:
        The score of each pair, in order; None where a log-probability is not finite.

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    distinct = dict.fromkeys(seq for pair in pairs for seq in (pair.ref_seq, pair.alt_seq))
    log_probs: dict[bytes, NDArray[np.float32]] = {}
    batches = deque(batch_windows(distinct, batch_tokens))
    while batches:
        batch = batches.popleft()
        fits = True
        try:
            batch_log_probs = window_log_probs(
                model,
                batch,
                prepend_bos=prepend_bos,
                segment_length=segment_length,
                offload=offload,
            )
        except torch.OutOfMemoryError:
            if len(batch) == 1 and min(segment_length, len(batch[0])) <= SHORTEST_SEGMENT:
                raise
            fits = False
        if fits:
            log_probs.update(zip(batch, batch_log_probs, strict=True))
            on_batch(len(batch), sum(map(len, batch)))
            continue
        # Outside of the handler, where the traceback no longer holds what did not fit.
        if model.device.type != "cpu":
            torch.accelerator.empty_cache()
        longest = len(batch[-1])
        if len(batch) > 1:
            budget = len(batch) // 2 * longest
            waiting = [window for later in batches for window in later]
            batches = deque(batch_windows([*batch, *waiting], budget))
            on_halving(budget)
        else:
            segment_length = min(segment_length, longest) // 2
            batches.appendleft(batch)
            on_halving(segment_length)
    return [
        score_strand(pair, log_probs[pair.ref_seq], log_probs[pair.alt_seq], horizon=horizon)
        for pair in pairs
    ]
