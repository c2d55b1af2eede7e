"""Run a pass: its trunks up to each fork, and from there the branches.

R trunks, B rows, L tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache

from evo2_tasks.evo2.cache import fork_cache, new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.likelihood import BOS, log_probs_from, pad
from evo2_tasks.scoring.passes import Pass, Window


@dataclass(frozen=True, slots=True)
class Branch(Generic[Window]):
    """What the model says of a window: of its trunk up to the fork, and its own from there on.

    Attributes:
        trunk: The window whose tokens it has before the fork.
        fork: Predictions that it shares with it.
        log_probs: Its own predictions, nats. (n - fork,)
    """

    trunk: Window
    fork: int
    log_probs: NDArray[np.float32]


def run_pass(
    model: Evo2ForCausalLM,
    planned: Pass[bytes],
    *,
    prepend_bos: bool,
    segment_length: int,
    offload: bool,
    on_call: Callable[[int, int], None],
) -> tuple[dict[bytes, NDArray[np.float32]], dict[bytes, Branch[bytes]]]:
    """Run the windows of a pass.

    Args:
        model: The model, in eval mode.
        planned: The pass; a window is its tokens, without id 0 in front.
        prepend_bos: Put id 0 before each window.
        segment_length: More tokens than these go through the model in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        on_call: Called with the windows that were finished and the tokens that were run.

    Returns:
        Log-probabilities of the predicted tokens of each trunk, nats, and of each branch.
    """
    bos = BOS if prepend_bos else b""
    trunks = [bos + window for window in planned.trunks]
    ids = pad(trunks, model.device)  # (R, L)
    last = planned.forks[-1].offset
    before = np.empty((len(trunks), last), dtype=np.float32)
    cache = new_cache(model.config, window_length=last, offload=offload) if last else None
    of_trunks: dict[bytes, NDArray[np.float32]] = {}
    of_branches: dict[bytes, Branch[bytes]] = {}
    start = 0
    with torch.inference_mode():
        for fork in planned.forks:
            end = fork.offset
            if end > start:
                inputs, targets = ids[:, start:end], ids[:, start + 1 : end + 1]
                log_probs = log_probs_from(
                    model, inputs, targets, cache, segment_length=segment_length
                )
                before[:, start:end] = log_probs.cpu().numpy()
                on_call(0, len(trunks) * (end - start))
                start = end
            for call in fork.calls:
                rows = run_branches(
                    model,
                    [(bos + row.window)[end:] for row in call],
                    cache if end else None,
                    [row.trunk for row in call],
                    segment_length=segment_length,
                    offload=offload,
                )
                for row, own in zip(call, rows, strict=True):
                    trunk = planned.trunks[row.trunk]
                    if row.window == trunk:
                        of_trunks[trunk] = np.concatenate([before[row.trunk], own])
                    else:
                        of_branches[row.window] = Branch(trunk, end, own)
                on_call(len(call), sum(row.length for row in call))
    return of_trunks, of_branches


def run_branches(
    model: Evo2ForCausalLM,
    rows: Sequence[bytes],
    cache: Cache | None,
    trunks: Sequence[int],
    *,
    segment_length: int,
    offload: bool,
) -> list[NDArray[np.float32]]:
    """Run rows of tokens from where a cache stands, or from the start.

    Args:
        model: The model.
        rows: Tokens of each row.
        cache: The state of the trunks, which stays; None for rows from the start.
        trunks: Which trunk each row goes on from.
        segment_length: More tokens than these go through the model in several calls.
        offload: Between calls, keep keys and values of attention in host memory.

    Returns:
        Log-probability of each token but the first of each row, nats.
    """
    ids = pad(rows, model.device)  # (B, L)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    length = inputs.shape[1] if inputs.shape[1] > segment_length else None
    forked = None
    if cache is not None:
        index = torch.tensor(trunks, device=model.device)
        forked = fork_cache(model.config, cache, index, branch_length=length, offload=offload)
    elif length is not None:
        forked = new_cache(model.config, window_length=length, offload=offload)
    log_probs = log_probs_from(model, inputs, targets, forked, segment_length=segment_length)
    values = log_probs.cpu().numpy()
    return [own[: len(row) - 1].copy() for own, row in zip(values, rows, strict=True)]
