"""Run one pass of the model: its trunks up to each fork, and from there the branches.

R trunks, B rows, L tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache

from evo2_tasks.evo2.cache import fork_cache, new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.layer_sums import LayerSums, LayerWatch, PassSums, Span
from evo2_tasks.scoring.likelihood import BOS, PAD, log_probs_from, pad
from evo2_tasks.scoring.passes import Pass


def ignore(*_numbers: int) -> None:
    """Do nothing: the default of callbacks."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The log-probabilities of a window that was run from a fork on.

    Attributes:
        trunk: The window that has the same tokens before the fork.
        fork: Number of predictions that it shares with the trunk.
        log_probs: Its own predictions, nats. (n - fork,)
    """

    trunk: bytes
    fork: int
    log_probs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of the model for windows.

    Attributes:
        trunks: Log-probabilities of the predicted tokens of windows that were run whole, nats.
        branches: Those of windows that were run from a fork on.
        layer_sums: Sums of the outputs of layers, if they were asked for.
    """

    trunks: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)
    branches: dict[bytes, Branch] = field(default_factory=dict)
    layer_sums: LayerSums = field(default_factory=LayerSums)

    def add(self, other: "Outputs") -> None:
        """Add the windows of another pass."""
        self.trunks.update(other.trunks)
        self.branches.update(other.branches)
        self.layer_sums.add(other.layer_sums)

    def __contains__(self, window: bytes) -> bool:
        """Whether a window has been run."""
        return window in self.trunks or window in self.branches

    def log_probs(self, window: bytes) -> NDArray[np.float32]:
        """Log-probabilities of all predicted tokens of a window, nats.

        Raises:
            KeyError: The window has not been run.
        """
        if window in self.trunks:
            return self.trunks[window]
        branch = self.branches[window]
        return np.concatenate([self.trunks[branch.trunk][: branch.fork], branch.log_probs])


def run_pass(
    model: Evo2ForCausalLM,
    planned: Pass[bytes],
    *,
    prepend_bos: bool,
    segment_length: int,
    offload: bool,
    on_call: Callable[[int, int], None] = ignore,
    watch: LayerWatch | None = None,
) -> Outputs:
    """Run the windows of a pass.

    Args:
        model: The model, in eval mode.
        planned: The pass. A window is its tokens, without a beginning-of-sequence token.
        prepend_bos: Put a beginning-of-sequence token (id 0) before each window.
        segment_length: More tokens than these go through the model in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        on_call: Called after each call of the model with the number of windows that it finished
            and the number of tokens that it ran.
        watch: Sums the outputs of layers, if they are asked for. The last token of a window, which
            predicts nothing, is run only if a sum needs it.

    Returns:
        The outputs for all windows of the pass.
    """
    bos = BOS if prepend_bos else b""
    ids = pad([bos + window for window in planned.trunks], model.device)  # (R, L)
    last = planned.forks[-1].offset
    before = np.empty((len(ids), last), dtype=np.float32)
    cache = new_cache(model.config, window_length=last, offload=offload) if last else None
    done = Outputs()
    sums = None if watch is None else PassSums(planned, watch.wanted, len(bos))
    start = 0
    with torch.inference_mode():
        for fork in planned.forks:
            end = fork.offset
            if end > start:
                spans = [] if sums is None else sums.spans_of_trunks(start, end)
                with summing(watch, sums, spans):
                    before[:, start:end] = _run_trunks(
                        model, ids, start, end, cache, segment_length=segment_length, watch=watch
                    )
                on_call(0, len(ids) * (end - start))
                start = end
            for call in fork.calls:
                spans = [] if sums is None else sums.spans_of_branches(call, end)
                with summing(watch, sums, spans):
                    rows = run_branches(
                        model,
                        [(bos + row.window)[end:] for row in call],
                        cache if end else None,
                        [row.trunk for row in call],
                        segment_length=segment_length,
                        offload=offload,
                        watch=watch,
                        num_needed=max((span.end for span in spans), default=0),
                    )
                for row, own in zip(call, rows, strict=True):
                    trunk = planned.trunks[row.trunk]
                    if row.window == trunk:
                        done.trunks[trunk] = np.concatenate([before[row.trunk], own])
                    else:
                        done.branches[row.window] = Branch(trunk, end, own)
                on_call(len(call), sum(row.length for row in call))
    if sums is not None:
        done.layer_sums.add_pass(sums)
    return done


@contextmanager
def summing(
    watch: LayerWatch | None, sums: PassSums | None, spans: Sequence[Span]
) -> Iterator[None]:
    """Add the sums over the spans of a call, which is in the ``with`` block, to those of a pass."""
    if watch is None or sums is None:
        yield
        return
    watch.begin(spans)
    try:
        yield
        sums.add(spans, watch.finish())
    finally:
        watch.begin(())


def _run_trunks(
    model: Evo2ForCausalLM,
    ids: Tensor,
    start: int,
    end: int,
    cache: Cache | None,
    *,
    segment_length: int,
    watch: LayerWatch | None,
) -> NDArray[np.float32]:
    """Run the tokens of all trunks between two forks; give what they predict. (R, end - start)."""
    inputs, targets = ids[:, start:end], ids[:, start + 1 : end + 1]
    log_probs = log_probs_from(
        model, inputs, targets, cache, segment_length=segment_length, watch=watch
    )
    values: NDArray[np.float32] = log_probs.cpu().numpy()
    return values


def run_branches(
    model: Evo2ForCausalLM,
    rows: Sequence[bytes],
    cache: Cache | None,
    trunks: Sequence[int],
    *,
    segment_length: int,
    offload: bool,
    watch: LayerWatch | None = None,
    num_needed: int = 0,
) -> list[NDArray[np.float32]]:
    """Run rows of tokens that continue from a cache, or that have nothing before them.

    Args:
        model: The model.
        rows: Tokens of each row.
        cache: The state of the trunks, which is not changed; None for rows without a trunk.
        trunks: Index of the trunk that each row continues.
        segment_length: More tokens than these go through the model in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        watch: Sums the outputs of layers, if they are asked for.
        num_needed: Sums need the outputs for this many first tokens of the rows. The last token of
            the longest row, which predicts nothing, is run only if it is one of them.

    Returns:
        Log-probability of each token but the first of each row, nats.
    """
    ids = pad(rows, model.device)  # (B, L)
    targets = ids[:, 1:]
    if num_needed == ids.shape[1]:
        inputs, targets = ids, functional.pad(targets, (0, 1), value=PAD[0])
    else:
        inputs = ids[:, :-1]
    length = inputs.shape[1] if inputs.shape[1] > segment_length else None
    forked = None
    if cache is not None:
        forked = fork_cache(model.config, cache, trunks, branch_length=length, offload=offload)
    elif length is not None:
        forked = new_cache(model.config, window_length=length, offload=offload)
    log_probs = log_probs_from(
        model, inputs, targets, forked, segment_length=segment_length, watch=watch
    )
    values = log_probs.cpu().numpy()
    return [own[: len(row) - 1].copy() for own, row in zip(values, rows, strict=True)]
