"""Score a part: run its windows, shared tokens once, and make the read-outs of each pair."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import Outputs, ignore, run_pass
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.scoring.layer_sums import LayerWatch
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH
from evo2_tasks.scoring.passes import Pass, plan_passes
from evo2_tasks.scoring.readouts import OUTPUTS, LayerReadOut, ReadOut, Records, WindowOutput
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
    readouts: Sequence[ReadOut[Any]],
    *,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    horizon: bool,
    prepend_bos: bool,
    on_call: Callable[[int, int], None] = ignore,
    on_halving: Callable[[int], None] = ignore,
) -> Records:
    """Run the windows of a part, and make the read-outs of each pair.

    If the device has too little memory for a pass, the rest is planned again with half the budget.

    Args:
        model: The model, in eval mode.
        pairs: Windows of some alleles and strands.
        readouts: The read-outs to make.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: A window with more tokens than these goes through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        horizon: Whether a horizon cut the windows.
        prepend_bos: Predict the first token of a window too, after a beginning-of-sequence token.
        on_call: Called after each call of the model with the number of windows that it finished
            and the number of tokens that it ran.
        on_halving: Called if the device had too little memory, with the number of tokens that go
            through the model at once from then on.

    Returns:
        The records of each pair, in order.

    Raises:
        ValueError: A read-out needs an output that a pass does not give, or a layer that the model
            does not have.
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    for readout in readouts:
        if not readout.needs <= OUTPUTS:
            missing = ", ".join(sorted(readout.needs - OUTPUTS))
            raise ValueError(f"{readout.name} needs {missing}, which a pass does not give")
    shared = share_pairs(pairs, prepend_bos=prepend_bos)
    of_layers = [readout for readout in readouts if isinstance(readout, LayerReadOut)]
    watch = _watch_layers(model, pairs, shared, of_layers) if of_layers else None
    with nullcontext() if watch is None else watch.watching():
        outputs = _run_windows(
            model,
            shared,
            watch,
            batch_tokens=batch_tokens,
            segment_length=segment_length,
            offload=offload,
            prepend_bos=prepend_bos,
            on_call=on_call,
            on_halving=on_halving,
        )
    records: dict[str, list[Any]] = {readout.name: [] for readout in readouts}
    for pair, windows in zip(pairs, shared, strict=True):
        ref_ranges, alt_ranges = _find_ranges(pair, of_layers)
        ref = WindowOutput(
            outputs.log_probs(windows.ref)[: windows.alt_length - 1],
            outputs.layer_sums.of(windows.ref, ref_ranges),
        )
        alt = WindowOutput(
            outputs.log_probs(windows.alt), outputs.layer_sums.of(windows.alt, alt_ranges)
        )
        for readout in readouts:
            records[readout.name].append(readout.read(pair, ref, alt, horizon=horizon))
    return Records(records)


def _watch_layers(
    model: Evo2ForCausalLM,
    pairs: Sequence[WindowPair],
    shared: Sequence[SharedPair],
    readouts: Sequence[LayerReadOut[Any]],
) -> LayerWatch:
    """What sums the outputs of the layers that some read-outs need.

    Raises:
        ValueError: The model does not have such a layer.
    """
    layers = [layer for readout in readouts for layer in readout.layers]
    wanted: dict[bytes, dict[Range, None]] = {}
    for pair, windows in zip(pairs, shared, strict=True):
        ref_ranges, alt_ranges = _find_ranges(pair, readouts)
        wanted.setdefault(windows.ref, {}).update(dict.fromkeys(ref_ranges))
        wanted.setdefault(windows.alt, {}).update(dict.fromkeys(alt_ranges))
    return LayerWatch(model, layers, {window: [*ranges] for window, ranges in wanted.items()})


def _find_ranges(
    pair: WindowPair, readouts: Sequence[LayerReadOut[Any]]
) -> tuple[list[Range], list[Range]]:
    """The tokens of both windows of a pair over which the read-outs need sums."""
    ref_ranges: list[Range] = []
    alt_ranges: list[Range] = []
    for readout in readouts:
        of_ref, of_alt = readout.find_ranges(pair)
        ref_ranges += of_ref
        alt_ranges += of_alt
    return ref_ranges, alt_ranges


def share_pairs(pairs: Iterable[WindowPair], *, prepend_bos: bool) -> list[SharedPair]:
    """Find for each pair the first token of its alternate window that has to be run.

    A horizon cuts reference windows to different lengths. If one of them begins with another one,
    the two are run as one.
    """
    pairs = list(pairs)
    longest: dict[bytes, bytes] = {}
    latest = b""
    for seq in sorted({pair.ref_seq for pair in pairs}, reverse=True):
        if not latest.startswith(seq):  # in this order, a window follows those that begin with it
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


def _run_windows(
    model: Evo2ForCausalLM,
    shared: Sequence[SharedPair],
    watch: LayerWatch | None,
    *,
    batch_tokens: int,
    segment_length: int,
    offload: bool,
    prepend_bos: bool,
    on_call: Callable[[int, int], None],
    on_halving: Callable[[int], None],
) -> Outputs:
    """Run all windows of some pairs, in smaller batches or segments if memory is short."""
    done = Outputs()
    passes = deque(plan_passes(shared, batch_tokens))
    while passes:
        planned = passes.popleft()
        found = _try_pass(
            model,
            planned,
            watch,
            prepend_bos=prepend_bos,
            segment_length=segment_length,
            offload=offload,
            on_call=on_call,
        )
        if found is not None:
            done.add(found)
            continue
        # The traceback of the error is gone, and with it the tensors that did not fit.
        if model.device.type != "cpu":
            torch.accelerator.empty_cache()
        if planned.largest_batch:
            batch_tokens = planned.largest_batch // 2
            left = [pair for pair in shared if pair.ref not in done.trunks or pair.alt not in done]
            passes = deque(plan_passes(left, batch_tokens))
            on_halving(batch_tokens)
        else:
            segment_length = min(segment_length, planned.longest_row) // 2
            passes.appendleft(planned)
            on_halving(segment_length)
    return done


def _try_pass(
    model: Evo2ForCausalLM,
    planned: Pass[bytes],
    watch: LayerWatch | None,
    *,
    prepend_bos: bool,
    segment_length: int,
    offload: bool,
    on_call: Callable[[int, int], None],
) -> Outputs | None:
    """Run a pass; None if the device has too little memory for it, but can run smaller ones.

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    try:
        return run_pass(
            model,
            planned,
            prepend_bos=prepend_bos,
            segment_length=segment_length,
            offload=offload,
            on_call=on_call,
            watch=watch,
        )
    except torch.OutOfMemoryError:
        is_short = min(segment_length, planned.longest_row) <= SHORTEST_SEGMENT
        if is_short and not planned.largest_batch:
            raise
        return None
