"""Log-probabilities of windows under the model: padding, batches, the output matrix in slices.

B batch, L tokens, D channels, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache

from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.layer_sums import LayerWatch

BOS = bytes([0])
PAD = bytes([1])
SEGMENT_LENGTH = 65_536  # number of tokens of a window that go through the model in one call
POSITIONS_PER_SLICE = 4096  # (4096, 512) logits in float32 are 8 MB


def window_log_probs(
    model: Evo2ForCausalLM,
    windows: Sequence[bytes],
    *,
    prepend_bos: bool,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
) -> list[NDArray[np.float32]]:
    """Log-probability of each predicted token of each window, in one run of the model.

    The model predicts token ``t + 1`` at position ``t``. Shorter windows are padded on the right.
    A causal model does not see padding on the right, and the predictions of padding are cut off.

    Args:
        model: The model, in eval mode.
        windows: Token strings of any lengths, each of at least one token.
        prepend_bos: Put a beginning-of-sequence token (id 0) before each window, so that its first
            token is predicted too.
        segment_length: Longer windows go through the model in segments of this many tokens.
        offload: Between segments, keep keys and values of attention in host memory.

    Returns:
        log p(token | tokens before it) for each window, nats: all tokens but the first, or all
        with ``prepend_bos``. (L - 1,) or (L,)

    Source:
        Upstream evo2/scoring.py at 53f1959, logits_to_logprobs. Ours takes the log-softmax in
        float32, and its scores contain no padding.
    """
    bos = BOS if prepend_bos else b""
    input_ids = pad([bos + window for window in windows], model.device)
    with torch.inference_mode():
        log_probs = next_token_log_probs(
            model, input_ids, segment_length=segment_length, offload=offload
        )
    rows = log_probs.cpu().numpy()  # (B, L - 1)
    return [
        row[: len(bos) + len(window) - 1].copy() for row, window in zip(rows, windows, strict=True)
    ]


def pad(rows: Sequence[bytes], device: torch.device) -> Tensor:
    """Token strings as a tensor, the shorter ones padded on the right. (B, L)."""
    length = max(map(len, rows))
    padded = bytearray(b"".join(row.ljust(length, PAD) for row in rows))
    return (
        torch.frombuffer(padded, dtype=torch.uint8).view(len(rows), length).to(device, torch.long)
    )


def next_token_log_probs(
    model: Evo2ForCausalLM,
    input_ids: Tensor,
    *,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
) -> Tensor:
    """Log-probability of each token after the first, without all logits in memory at once.

    A window longer than a segment goes through the model in segments, each of which continues from
    the cache of the one before. Then only the keys and values of attention grow with its length.

    Args:
        model: The model.
        input_ids: Tokens. (B, L)
        segment_length: Number of tokens in a segment.
        offload: Between segments, keep keys and values of attention in host memory.

    Returns:
        log p(input_ids[:, t + 1] | input_ids[:, : t + 1]), nats, float32. (B, L - 1)
    """
    inputs, targets = (
        input_ids[:, :-1],
        input_ids[:, 1:],
    )  # (B, L - 1); the last one predicts no token
    length = inputs.shape[1]
    cache = None
    if length > segment_length:
        cache = new_cache(model.config, window_length=length, offload=offload)
    return log_probs_from(model, inputs, targets, cache, segment_length=segment_length)


def log_probs_from(
    model: Evo2ForCausalLM,
    inputs: Tensor,
    targets: Tensor,
    cache: Cache | None,
    *,
    segment_length: int,
    watch: LayerWatch | None = None,
) -> Tensor:
    """Run tokens, from the start or continuing from a cache, and take what they predict.

    Args:
        model: The model.
        inputs: Tokens. (B, L)
        targets: The token after each of them. (B, L)
        cache: The state after the tokens before, which is updated. None if there are no tokens
            before, and at most one segment to run.
        segment_length: Number of tokens that go through the model in one call.
        watch: Sums the outputs of layers; it is told which tokens are run.

    Returns:
        Log-probability of each target, nats, float32. (B, L)
    """
    log_probs = torch.empty(targets.shape, dtype=torch.float32, device=targets.device)
    for start in range(0, inputs.shape[1], segment_length):
        here = slice(start, start + segment_length)
        if watch is not None:
            watch.expect(start, min(start + segment_length, inputs.shape[1]))
        outputs = model.model(input_ids=inputs[:, here], cache=cache, use_cache=cache is not None)
        log_probs[:, here] = target_log_probs(model, outputs.last_hidden_state, targets[:, here])
    return log_probs


def target_log_probs(model: Evo2ForCausalLM, hidden_states: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of one token at each position, with logits of a few positions at a time.

    Args:
        model: The model, whose output matrix is used.
        hidden_states: Its last hidden states. (B, L, D)
        targets: The token of each position. (B, L)

    Returns:
        Nats, float32. (B, L)
    """
    positions = hidden_states.flatten(0, 1)
    tokens = targets.flatten()
    log_probs = []
    for start in range(0, len(tokens), POSITIONS_PER_SLICE):
        here = slice(start, start + POSITIONS_PER_SLICE)
        logits = model.lm_head(positions[here])  # (positions, V)
        log_probs.append(logits.gather(-1, tokens[here, None]).squeeze(-1) - logits.logsumexp(-1))
    return torch.cat(log_probs).view(targets.shape)
