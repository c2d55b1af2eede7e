"""The outputs of the reference implementation, computed in the same way, for comparison.

Its logits and its log-softmax are bfloat16. This rounding is used nowhere else: scores are float32.

L tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from evo2_tasks.evo2.modeling import Evo2ForCausalLM

Rounding = Callable[[Tensor], Tensor]
ROUNDINGS: dict[str, Rounding] = {"float32": Tensor.float, "bfloat16": Tensor.bfloat16}
_COMPLEMENT = bytes.maketrans(b"ACGTacgt", b"TGCAtgca")


def mean_scores(model: Evo2ForCausalLM, sequences: Sequence[str], rounding: str) -> list[float]:
    """Mean log-probability per token of each sequence, without its first token, over both strands.

    Args:
        model: The model, in eval mode.
        sequences: Bases. Neighbouring sequences of equal length go through the model together.
        rounding: Rounding of logits and log-softmax, a key of `ROUNDINGS`.

    Source:
        Upstream evo2/scoring.py at 53f1959, score_sequences_rc.
    """
    scores: list[float] = []
    for _, group in groupby(sequences, len):
        forward = [sequence.encode() for sequence in group]
        reverse = [sequence.translate(_COMPLEMENT)[::-1] for sequence in forward]
        input_ids = _ids(model, [*forward, *reverse])
        log_probs = _logits(model, input_ids, rounding)[:, :-1].log_softmax(dim=-1)
        of_tokens = log_probs.gather(-1, input_ids[:, 1:, None]).squeeze(-1).float()
        scores += of_tokens.mean(dim=-1).view(2, -1).mean(dim=0).tolist()
    return scores


def predictions(
    model: Evo2ForCausalLM, sequences: Sequence[str], rounding: str
) -> dict[str, list[float]]:
    """Cross-entropy (nats) and accuracy (share of tokens predicted as the likeliest) of sequences.

    Args:
        model: The model, in eval mode.
        sequences: Texts, which go through the model one at a time.
        rounding: Rounding of logits and cross-entropy, a key of `ROUNDINGS`.

    Source:
        Upstream evo2/test/test_evo2.py at 53f1959, test_forward_pass.
    """
    losses, accuracies = [], []
    for sequence in sequences:
        input_ids = _ids(model, [sequence.encode()])
        logits, targets = _logits(model, input_ids, rounding)[0, :-1], input_ids[0, 1:]
        losses.append(functional.cross_entropy(logits, targets).item())
        accuracies.append((logits.argmax(dim=-1) == targets).float().mean().item())
    return {"loss": losses, "accuracy": accuracies}


def last_logits(model: Evo2ForCausalLM, prompt: str, tokens: str, rounding: str) -> list[float]:
    """Logits of some tokens after a prompt.

    Args:
        model: The model, in eval mode.
        prompt: A text.
        tokens: The tokens whose logits are returned, one byte each.
        rounding: Rounding of the logits, a key of `ROUNDINGS`.
    """
    logits = _logits(model, _ids(model, [prompt.encode()]), rounding)[0, -1]
    return [float(logits[token]) for token in tokens.encode()]


def _ids(model: Evo2ForCausalLM, sequences: Sequence[bytes]) -> Tensor:
    """Token ids of texts of equal length. (B, L)."""
    return torch.tensor([list(sequence) for sequence in sequences], device=model.device)


@torch.inference_mode()
def _logits(model: Evo2ForCausalLM, input_ids: Tensor, rounding: str) -> Tensor:
    """Rounded logits. (B, L) -> (B, L, V)."""
    logits: Tensor = model(input_ids, use_cache=False).logits
    return ROUNDINGS[rounding](logits)
