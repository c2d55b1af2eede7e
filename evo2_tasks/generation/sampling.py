"""Sampling letters from what the model predicts, one token after the other.

B sequences, A letters, n tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.generation.settings import SamplingSettings


class Predictions(NamedTuple):
    """What the model predicts for the next token of some sequences.

    Attributes:
        logits: Logits of the letters, float32. (B, A)
        total: Log of the sum of the exponentials of all V logits, so that ``logits - total`` is the
            log-probability, nats. (B,)
    """

    logits: Tensor
    total: Tensor

    def select(self, rows: list[int]) -> Predictions:
        """Those of some sequences."""
        chosen = torch.tensor(rows, device=self.logits.device)
        return Predictions(self.logits.index_select(0, chosen), self.total.index_select(0, chosen))


class Chunk(NamedTuple):
    """Tokens that were sampled.

    Attributes:
        letters: Number of each letter. (B, n), on the CPU
        log_probs: Log-probability of each token over the vocabulary, nats, float32. (B, n), on the
            CPU
        predictions: What the model predicts after them; None if it was not asked for.
    """

    letters: Tensor
    log_probs: Tensor
    predictions: Predictions | None


def letter_probabilities(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Probabilities from which a letter is drawn; see `SamplingSettings`.

    Args:
        logits: Logits of the letters. (B, A)
        settings: How to sample, with a temperature above 0.

    Returns:
        Probabilities, 0 for letters that are not kept. (B, A)
    """
    # The largest logit becomes 0: a temperature near 0 then leaves the likeliest letter, not NaN.
    below_best = logits - logits.amax(-1, keepdim=True)
    scaled = below_best / max(settings.temperature, torch.finfo(logits.dtype).tiny)
    num_letters = logits.shape[-1]
    if settings.top_k is None and settings.top_p is None:
        return scaled.softmax(-1)
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(num_letters, device=logits.device)
    removed = rank >= (num_letters if settings.top_k is None else settings.top_k)
    ordered = ordered.masked_fill(removed, -torch.inf)
    if settings.top_p is not None:
        likely = ordered.softmax(-1)
        before = likely.cumsum(-1) - likely  # probability of the likelier letters
        ordered = ordered.masked_fill((before >= settings.top_p) & (rank > 0), -torch.inf)
    return torch.empty_like(scaled).scatter_(-1, order, ordered).softmax(-1)


def choose_letters(logits: Tensor, uniform: Tensor, settings: SamplingSettings) -> Tensor:
    """Draw a letter for each sequence.

    Args:
        logits: Logits of the letters. (B, A)
        uniform: A number from 0 on and below 1 for each sequence. (B,)
        settings: How to sample.

    Returns:
        The number of the first letter whose cumulative probability is above the number. (B,)
    """
    if settings.temperature == 0:
        return logits.argmax(-1)
    cumulative = letter_probabilities(logits, settings).cumsum(-1)
    # The last letter of positive probability, and those after it, get exactly 1.
    edges = cumulative / cumulative[:, -1:]
    return (edges <= uniform[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1)


def predict(model: Evo2ForCausalLM, hidden_states: Tensor, tokens: Tensor) -> Predictions:
    """Predictions at the last position.

    Args:
        model: The model, whose output matrix is used.
        hidden_states: Its last hidden states. (B, L, D)
        tokens: The token of each letter. (A,)
    """
    logits = model.lm_head(hidden_states[:, -1])  # (B, V)
    return Predictions(
        logits.index_select(-1, tokens.to(logits.device)), torch.logsumexp(logits, -1)
    )


def sample_chunk(
    model: Evo2ForCausalLM,
    cache: Cache,
    predictions: Predictions,
    uniform: Tensor,
    settings: SamplingSettings,
    *,
    run_last: bool,
    on_tokens: Callable[[int], None],
) -> Chunk:
    """Continue some sequences by as many tokens each.

    Args:
        model: The model.
        cache: The state of the sequences, which is updated.
        predictions: What the model predicts for their next token.
        uniform: A random number for each token. (B, n)
        settings: How to sample.
        run_last: Whether the last token goes through the model too, so that the sequences can be
            continued.
        on_tokens: Called after each call of the model with its number of tokens.
    """
    device = predictions.logits.device
    tokens = torch.tensor(list(settings.letters.encode("ascii")), device=device)
    uniform = uniform.to(device)
    letters: list[Tensor] = []
    log_probs: list[Tensor] = []
    num = uniform.shape[1]
    for position in range(num):
        chosen = choose_letters(predictions.logits, uniform[:, position], settings)  # (B,)
        of_chosen = predictions.logits.gather(-1, chosen[:, None]).squeeze(-1)
        letters.append(chosen)
        log_probs.append(of_chosen - predictions.total)
        if position == num - 1 and not run_last:
            break
        outputs = model.model(
            input_ids=tokens[chosen][:, None].to(model.device), cache=cache, use_cache=True
        )
        predictions = predict(model, outputs.last_hidden_state, tokens)
        on_tokens(len(chosen))
    return Chunk(
        torch.stack(letters, dim=1).cpu(),
        torch.stack(log_probs, dim=1).cpu(),
        predictions if run_last else None,
    )
