"""Log-probabilities of windows under the model: padding, batches, the output matrix in slices.

B batch, L tokens, D channels, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo2_tasks.evo2.modeling import Evo2ForCausalLM

BOS_ID = 0
PAD_ID = 1
POSITIONS_PER_SLICE = 4096  # (4096, 512) logits in fp32 are 8 MB


def window_log_probs(
    model: Evo2ForCausalLM, windows: Sequence[bytes], *, prepend_bos: bool
) -> list[NDArray[np.float32]]:
    """Log-probability of each predicted token of each window, from one run of the model.

    The model predicts token ``t + 1`` at position ``t``. Shorter windows are padded on the right,
    which a causal model does not see; what it predicts for the padding is cut off.

    Args:
        model: The model, in eval mode; the windows go to its device.
        windows: Token strings of any lengths, at least one token each.
        prepend_bos: Put id 0 before each window, so that its first token is predicted too.

    Returns:
        log p(token | tokens before it) for each window, nats: all tokens but the first, or all
        with ``prepend_bos``. (L - 1,) or (L,)

    Source:
        Upstream evo2/scoring.py at 53f1959, logits_to_logprobs; ours takes the log-softmax in
        fp32 and leaves no padding in a score.
    """
    bos = bytes([BOS_ID]) if prepend_bos else b""
    length = max(len(window) for window in windows) + len(bos)
    padded = b"".join((bos + window).ljust(length, bytes([PAD_ID])) for window in windows)
    input_ids = torch.frombuffer(bytearray(padded), dtype=torch.uint8).view(len(windows), length)
    input_ids = input_ids.to(model.device, torch.long)  # (B, L)
    with torch.inference_mode():
        log_probs = next_token_log_probs(model, input_ids).cpu().numpy()  # (B, L - 1)
    return [
        row[: len(bos) + len(window) - 1].copy()
        for row, window in zip(log_probs, windows, strict=True)
    ]


def next_token_log_probs(model: Evo2ForCausalLM, input_ids: Tensor) -> Tensor:
    """Log-probability of each token after the first, without ever holding all logits.

    Args:
        model: The model.
        input_ids: Tokens. (B, L)

    Returns:
        log p(input_ids[:, t + 1] | input_ids[:, : t + 1]), nats, float32. (B, L - 1)
    """
    hidden_states = model.model(input_ids=input_ids, use_cache=False).last_hidden_state
    hidden_states = hidden_states[:, :-1].flatten(0, 1)  # (B * (L - 1), D)
    targets = input_ids[:, 1:].flatten()  # (B * (L - 1),)
    log_probs = torch.empty(targets.shape, dtype=torch.float32, device=targets.device)
    for start in range(0, len(targets), POSITIONS_PER_SLICE):
        here = slice(start, start + POSITIONS_PER_SLICE)
        logits = model.lm_head(hidden_states[here])  # (positions, V)
        chosen = logits.gather(-1, targets[here, None]).squeeze(-1)
        log_probs[here] = chosen - logits.logsumexp(-1)
    return log_probs.view(input_ids.shape[0], -1)
