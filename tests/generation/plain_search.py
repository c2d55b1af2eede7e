"""Sampling and guided search without a cache, batches or chunks: the definition, step by step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.generation.draws import draw_uniform
from evo2_tasks.generation.scorers import WeightedScorer
from evo2_tasks.generation.settings import SearchSettings


class PlainCandidate(NamedTuple):
    sequence: int
    step: int
    candidate: int
    parent: int | None
    bases: str
    log_prob: float
    total: float
    rank: int | None


class _Kept(NamedTuple):
    candidate: int | None
    bases: str


@torch.no_grad()
def next_log_probs(model: Evo2ForCausalLM, text: bytes) -> np.ndarray:
    """Log-probabilities of all tokens after a text, by one call over all of it."""
    logits = model(torch.tensor([list(text)]), use_cache=False).logits[0, -1]
    return logits.double().log_softmax(-1).numpy()


def sample_plainly(
    model: Evo2ForCausalLM, before: bytes, uniform: Sequence[float], temperature: float
) -> tuple[str, float]:
    """Letters and their log-probability. With temperature 0 the likeliest letters."""
    text, log_prob = before, 0.0
    for number in uniform:
        log_probs = next_log_probs(model, text)
        of_letters = log_probs[list(b"ACGT")]
        if temperature:
            weights = np.exp(of_letters / temperature)
            chosen = int(np.searchsorted(np.cumsum(weights) / weights.sum(), number, side="right"))
        else:
            chosen = int(np.argmax(of_letters))
        letter = b"ACGT"[chosen]
        log_prob += log_probs[letter]
        text += bytes([letter])
    return text[len(before) :].decode(), log_prob


def search_plainly(
    model: Evo2ForCausalLM,
    prompt: str,
    settings: SearchSettings,
    scorers: Sequence[WeightedScorer] = (),
    prompt_number: int = 0,
) -> list[PlainCandidate]:
    """All candidates, by step, search and number."""
    found = []
    kept = [[_Kept(None, "")] for _ in range(settings.num_sequences)]
    start = step = 0
    while start < settings.length:
        num = min(settings.chunk_length, settings.length - start)
        for search, parents in enumerate(kept):
            copies = settings.samples_per_beam * (settings.beam_width if step == 0 else 1)
            sampled = []
            for number in range(len(parents) * copies):
                parent = parents[number // copies]
                uniform = draw_uniform(settings.seed, prompt_number, search, number, start, num)
                bases, log_prob = sample_plainly(
                    model,
                    (prompt + parent.bases).encode(),
                    uniform.tolist(),
                    settings.sampling.temperature,
                )
                whole = parent.bases + bases
                total = sum(one.weight * one.scorer([whole], prompt)[0] for one in scorers)
                sampled.append((parent, bases, log_prob, total))
            order = sorted(range(len(sampled)), key=lambda number: (-sampled[number][3], number))
            ranks = {number: rank for rank, number in enumerate(order[: settings.beam_width])}
            found += [
                PlainCandidate(
                    search,
                    step,
                    number,
                    parent.candidate,
                    bases,
                    log_prob,
                    total,
                    ranks.get(number),
                )
                for number, (parent, bases, log_prob, total) in enumerate(sampled)
            ]
            kept[search] = [
                _Kept(number, sampled[number][0].bases + sampled[number][1]) for number in ranks
            ]
        start += num
        step += 1
    return found
