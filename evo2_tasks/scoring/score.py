"""Score a part: run what its windows do not share, then score each allele from its windows."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import Branch, run_pass
from evo2_tasks.scoring.deltas import Score, score_strand
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.windows import WindowPair

SHORTEST_SEGMENT = 64


class SharedPair(NamedTuple):
    """A pair for the planner: ``ref`` is the longest window that begins with its reference."""

    ref: bytes
    alt: bytes
    ref_length: int
    alt_length: int
    fork: int


def score_part(
    model: Evo2ForCausalLM,
    pairs: Sequence[WindowPair],
    *,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    horizon: bool,
    prepend_bos: bool,
    on_call: Callable[[int, int], None],
    on_halving: Callable[[int], None],
) -> list[Score | None]:
    """Run the windows of a part, what they share once, and score each pair.

    A pass for which the device has too little memory is planned again with half the budget.

    Args:
        model: The model, in eval mode.
        pairs: Windows of some alleles and strands.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: More tokens of a window than these go through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        horizon: Whether the windows were cut by a horizon.
        prepend_bos: Predict the first token of a window too, after id 0.
        on_call: Called after each call with the windows that it finished and the tokens it ran.
        on_halving: Called with the tokens that go through at once from here on, where the device
            had too little memory for more.

    Returns:
        The score of each pair, in order; None where a log-probability is not finite.

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    shared = share_pairs(pairs, prepend_bos=prepend_bos)
    trunks: dict[bytes, NDArray[np.float32]] = {}
    branches: dict[bytes, Branch[bytes]] = {}
    passes = deque(plan_passes(shared, batch_tokens))
    while passes:
        planned = passes.popleft()
        fits = True
        try:
            of_trunks, of_branches = run_pass(
                model,
                planned,
                prepend_bos=prepend_bos,
                segment_length=segment_length,
                offload=offload,
                on_call=on_call,
            )
        except torch.OutOfMemoryError:
            at_once = min(segment_length, planned.longest_row)
            if not planned.largest_batch and at_once <= SHORTEST_SEGMENT:
                raise
            fits = False
        if fits:
            trunks |= of_trunks
            branches |= of_branches
            continue
        # Outside of the handler, where the traceback no longer holds what did not fit.
        if model.device.type != "cpu":
            torch.accelerator.empty_cache()
        if planned.largest_batch:
            batch_tokens = planned.largest_batch // 2
            left = [
                pair
                for pair in shared
                if pair.ref not in trunks or not (pair.alt in trunks or pair.alt in branches)
            ]
            passes = deque(plan_passes(left, batch_tokens))
            on_halving(batch_tokens)
        else:
            segment_length = at_once // 2
            passes.appendleft(planned)
            on_halving(segment_length)
    return [
        score_strand(
            pair,
            trunks[window.ref][: window.alt_length - 1],
            join(window.alt, trunks, branches),
            horizon=horizon,
        )
        for pair, window in zip(pairs, shared, strict=True)
    ]


def share_pairs(pairs: Iterable[WindowPair], *, prepend_bos: bool) -> list[SharedPair]:
    """Say for each pair from where on its alternate window has to be run.

    Reference windows of which one begins with the other, as a horizon cuts them, are one.
    """
    pairs = list(pairs)
    longest: dict[bytes, bytes] = {}
    latest = b""
    for seq in sorted({pair.ref_seq for pair in pairs}, reverse=True):
        if not latest.startswith(seq):  # what begins with it sorts right after it
            latest = seq
        longest[seq] = latest
    bos = 1 if prepend_bos else 0
    return [
        SharedPair(
            longest[pair.ref_seq],
            pair.alt_seq,
            len(longest[pair.ref_seq]) + bos,
            len(pair.alt_seq) + bos,
            pair.prefix + bos - 1,
        )
        for pair in pairs
    ]


def join(
    window: bytes,
    trunks: Mapping[bytes, NDArray[np.float32]],
    branches: Mapping[bytes, Branch[bytes]],
) -> NDArray[np.float32]:
    """Log-probabilities of all predicted tokens of a window, nats."""
    if window in trunks:
        return trunks[window]
    branch = branches[window]
    return np.concatenate([trunks[branch.trunk][: branch.fork], branch.log_probs])
