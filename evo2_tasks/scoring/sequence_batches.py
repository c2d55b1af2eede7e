"""Run the readings of sequences through the model, in batches of similar lengths.

L tokens.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import ignore
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH, window_log_probs
from evo2_tasks.scoring.score import SHORTEST_SEGMENT
from evo2_tasks.scoring.sequences import LogProbs, plan_batches

Found = TypeVar("Found")


def run_readings(
    model: Evo2ForCausalLM,
    readings: Iterable[bytes],
    *,
    prepend_bos: bool,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    on_call: Callable[[int, int], None] = ignore,
    on_halving: Callable[[int], None] = ignore,
) -> dict[bytes, LogProbs]:
    """Run readings, each distinct one once.

    Shorter readings of a batch are padded on the right. A causal model does not see this padding,
    and no prediction of it is kept. If the device has too little memory for a batch, the rest is
    planned again with half the budget.

    Args:
        model: The model, in eval mode.
        readings: Tokens.
        prepend_bos: Predict the first token too, after a beginning-of-sequence token.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: A reading with more tokens than these goes through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        on_call: Called after each batch with the numbers of its readings and of their tokens.
        on_halving: Called if the device had too little memory, with the number of tokens that go
            through the model at once from then on.

    Returns:
        By reading, the log-probability of each predicted token: all but the first, or all with
        ``prepend_bos``. A reading without any is left out. (L - 1,) or (L,)

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one reading fits.
    """
    num_unpredicted = 0 if prepend_bos else 1
    distinct = [one for one in dict.fromkeys(readings) if len(one) > num_unpredicted]

    def run(batch: Sequence[bytes], segment_length: int) -> list[LogProbs]:
        return window_log_probs(
            model,
            batch,
            prepend_bos=prepend_bos,
            segment_length=segment_length,
            offload=offload,
        )

    return run_batches(
        distinct,
        run,
        batch_tokens=batch_tokens,
        segment_length=segment_length,
        on_call=on_call,
        on_halving=on_halving,
    )


def run_batches(
    readings: Iterable[bytes],
    run: Callable[[Sequence[bytes], int], list[Found]],
    *,
    batch_tokens: int,
    segment_length: int,
    on_call: Callable[[int, int], None],
    on_halving: Callable[[int], None],
) -> dict[bytes, Found]:
    """Run readings in batches of similar lengths, and in smaller ones if the memory is too small.

    Args:
        readings: Distinct readings.
        run: Runs a batch, in segments of so many tokens. It gives what is found for each reading.
        batch_tokens: See :func:`run_readings`, as for the others.
        segment_length: Tokens of a segment at first.
        on_call: Called after each batch.
        on_halving: Called if the device had too little memory.

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one reading fits.
    """
    done: dict[bytes, Found] = {}
    batches = deque(plan_batches(readings, batch_tokens))
    while batches:
        batch = batches.popleft()
        found = _try_batch(run, batch, segment_length)
        if found is not None:
            done |= zip(batch, found, strict=True)
            on_call(len(batch), sum(map(len, batch)))
            continue
        # The traceback of the error is gone, and with it the tensors that did not fit.
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        longest = len(batch[-1])
        if len(batch) > 1:
            batch_tokens = len(batch) * longest // 2
            batches = deque(
                plan_batches([*batch, *(b for one in batches for b in one)], batch_tokens)
            )
            on_halving(batch_tokens)
        elif min(segment_length, longest) <= SHORTEST_SEGMENT:
            raise torch.OutOfMemoryError(f"a reading of {longest:,} tokens does not fit")
        else:
            segment_length = min(segment_length, longest) // 2
            batches.appendleft(batch)
            on_halving(segment_length)
    return done


def _try_batch(
    run: Callable[[Sequence[bytes], int], list[Found]], batch: Sequence[bytes], segment_length: int
) -> list[Found] | None:
    """Run a batch; None if the device has too little memory for it."""
    try:
        return run(batch, segment_length)
    except torch.OutOfMemoryError:
        return None
