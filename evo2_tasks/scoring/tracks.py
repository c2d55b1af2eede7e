"""Log-probabilities of the bases at some tokens of reference windows.

B batch, L tokens, D channels, V vocabulary, N tokens whose values are taken.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import ignore
from evo2_tasks.scoring.likelihood import BOS, POSITIONS_PER_SLICE, SEGMENT_LENGTH, pad
from evo2_tasks.scoring.score import SHORTEST_SEGMENT
from evo2_tasks.scoring.track_values import NUM_VALUES

_BASES = list(b"ACGT")


class TrackWindow(NamedTuple):
    """A window in reading direction, and the tokens whose values are taken.

    Attributes:
        tokens: Upper-case bases, up to the last token whose values are taken.
        offsets: The tokens whose values are taken, ascending, at least one. (N,)
    """

    tokens: bytes
    offsets: NDArray[np.int64]


def score_windows(
    model: Evo2ForCausalLM,
    windows: Sequence[TrackWindow],
    *,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    prepend_bos: bool,
    on_call: Callable[[int, int], None] = ignore,
    on_halving: Callable[[int], None] = ignore,
) -> list[NDArray[np.float32]]:
    """Log-probabilities of the four bases and of the token itself, at some tokens of windows.

    Equal windows are run once. The logits of a few positions are in memory at a time. If the device
    has too little memory for a batch, the rest is run in smaller batches.

    Args:
        model: The model, in eval mode.
        windows: The windows.
        batch_tokens: Budget of tokens that go through the model at once, padding included. A longer
            window has a batch of its own.
        segment_length: A window with more tokens than these goes through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        prepend_bos: Predict the first token of a window too, after a beginning-of-sequence token.
        on_call: Called after each batch with the number of windows that it finished and the number
            of tokens that it ran.
        on_halving: Called if the device had too little memory, with the number of tokens that go
            through the model at once from then on.

    Returns:
        For each window, nats: log p of A, C, G and T, normalised over these four; and of the token,
        over the whole vocabulary. NaN at the first token, if nothing is before it. (N, 5)

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    wanted: dict[bytes, NDArray[np.int64]] = {}
    for window in windows:
        known = wanted.get(window.tokens)
        wanted[window.tokens] = (
            window.offsets if known is None else np.union1d(known, window.offsets)
        )
    found: dict[bytes, NDArray[np.float32]] = {}
    waiting = deque(_cut_batches(list(wanted), batch_tokens))
    while waiting:
        batch = waiting.popleft()
        values = _try_batch(
            model,
            [(tokens, wanted[tokens]) for tokens in batch],
            segment_length=segment_length,
            offload=offload,
            prepend_bos=prepend_bos,
        )
        if values is not None:
            found.update(zip(batch, values, strict=True))
            on_call(len(batch), sum(map(len, batch)))
            continue
        # The traceback of the error is gone, and with it the tensors that did not fit.
        if model.device.type != "cpu":
            torch.accelerator.empty_cache()
        if len(batch) > 1:
            batch_tokens = len(batch) * len(batch[-1]) // 2
            waiting = deque(_cut_batches([one for one in wanted if one not in found], batch_tokens))
            on_halving(batch_tokens)
        else:
            segment_length = min(segment_length, len(batch[0])) // 2
            waiting.appendleft(batch)
            on_halving(segment_length)
    return [
        found[window.tokens][np.searchsorted(wanted[window.tokens], window.offsets)]
        for window in windows
    ]


def _cut_batches(windows: Sequence[bytes], batch_tokens: int) -> list[list[bytes]]:
    """Batches within the budget, the shortest windows first."""
    batches: list[list[bytes]] = []
    for tokens in sorted(windows, key=len):
        if not batches or (len(batches[-1]) + 1) * len(tokens) > batch_tokens:
            batches.append([])
        batches[-1].append(tokens)
    return batches


def _try_batch(
    model: Evo2ForCausalLM,
    batch: Sequence[tuple[bytes, NDArray[np.int64]]],
    *,
    segment_length: int,
    offload: bool,
    prepend_bos: bool,
) -> list[NDArray[np.float32]] | None:
    """Run a batch; None if the device has too little memory for it, but can run smaller ones.

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one window fits.
    """
    try:
        with torch.inference_mode():
            return _run_batch(
                model,
                batch,
                segment_length=segment_length,
                offload=offload,
                prepend_bos=prepend_bos,
            )
    except torch.OutOfMemoryError:
        is_short = min(segment_length, len(batch[-1][0])) <= SHORTEST_SEGMENT
        if is_short and len(batch) == 1:
            raise
        return None


def _run_batch(
    model: Evo2ForCausalLM,
    batch: Sequence[tuple[bytes, NDArray[np.int64]]],
    *,
    segment_length: int,
    offload: bool,
    prepend_bos: bool,
) -> list[NDArray[np.float32]]:
    """The values of each window of a batch. (N, 5) each."""
    bos = BOS if prepend_bos else b""
    ids = pad([bos + tokens for tokens, _ in batch], model.device)  # (B, L)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    length = inputs.shape[1]
    # The token at offset i is predicted at the position before it, which a BOS moves by one.
    places = [offsets - 1 + len(bos) for _, offsets in batch]
    values = [np.full((len(of_row), NUM_VALUES), np.nan, dtype=np.float32) for of_row in places]
    cache = None
    if length > segment_length:
        cache = new_cache(model.config, window_length=length, offload=offload)
    for start in range(0, length, segment_length):
        here = slice(start, start + segment_length)
        hidden = model.model(
            input_ids=inputs[:, here], cache=cache, use_cache=cache is not None
        ).last_hidden_state  # (B, segment, D)
        num = hidden.shape[1]
        ends = [np.searchsorted(of_row, (start, start + num)) for of_row in places]
        chosen = np.concatenate(
            [
                of_row[first:last] - start + row * num
                for row, (of_row, (first, last)) in enumerate(zip(places, ends, strict=True))
            ]
        )
        picked = _read_values(model, hidden, targets[:, here], torch.from_numpy(chosen))
        before = 0
        for own, (first, last) in zip(values, ends, strict=True):
            own[first:last] = picked[before : before + last - first]
            before += last - first
    return values


def _read_values(
    model: Evo2ForCausalLM, hidden: Tensor, targets: Tensor, chosen: Tensor
) -> NDArray[np.float32]:
    """The values at some positions, with logits of a few positions at a time.

    Args:
        model: The model, whose output matrix is used.
        hidden: Its last hidden states. (B, L, D)
        targets: The token after each position. (B, L)
        chosen: The positions, as places in the flat tensors. (N,)

    Returns:
        Nats. (N, 5)
    """
    positions, tokens = hidden.flatten(0, 1), targets.flatten()
    values = torch.empty((len(chosen), NUM_VALUES), dtype=torch.float32)
    for start in range(0, len(chosen), POSITIONS_PER_SLICE):
        here = chosen[start : start + POSITIONS_PER_SLICE].to(positions.device)
        logits = model.lm_head(positions[here]).float()  # (positions, V)
        of_bases = logits[:, _BASES].log_softmax(dim=-1)
        of_token = logits.gather(-1, tokens[here, None]) - logits.logsumexp(-1, keepdim=True)
        values[start : start + len(here)] = torch.cat([of_bases, of_token], dim=-1).cpu()
    return values.numpy()
