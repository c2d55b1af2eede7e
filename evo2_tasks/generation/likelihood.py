"""A scorer with a model: how likely the generated bases are under it.

The candidates of a search have long beginnings in common. A beginning that several sequences share
goes through the model once, and the rest of each sequence continues its state. The state of the
prompt is kept from call to call. Nothing else is, so a sequence has the same score whenever it is
scored together with the same others.

Cost of a call: the generated bases of each group of similar sequences, once, and of each sequence
what it has alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from transformers.cache_utils import Cache

from evo2_tasks.evo2.cache import fork_cache, new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import run_branches
from evo2_tasks.scoring.likelihood import BOS, SEGMENT_LENGTH, log_probs_from, pad


class Likelihood:
    """Mean log-probability of the generated bases under a model, given the prompt. Nats a base.

    The first base of a sequence without anything before it is not predicted and does not count.

    Args:
        model: The model, in eval mode; usually another one than the model that generates.
        batch_tokens: Most tokens that go through the model together, padding included. A single
            sequence may be longer.
        segment_length: More tokens of a sequence than these go through the model in several calls.
        prepend_bos: Put a beginning-of-sequence token (id 0) before the prompt.
    """

    def __init__(
        self,
        model: Evo2ForCausalLM,
        *,
        batch_tokens: int = SEGMENT_LENGTH,
        segment_length: int = SEGMENT_LENGTH,
        prepend_bos: bool = False,
    ) -> None:
        self._model = model
        self._batch_tokens = batch_tokens
        self._segment_length = segment_length
        self._bos = BOS if prepend_bos else b""
        self._prompt: bytes | None = None
        self._cache: Cache | None = None  # after all tokens of the prompt but the last one

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        distinct = sorted({sequence.encode("ascii") for sequence in sequences})
        scores: dict[bytes, float] = {}
        with torch.inference_mode():
            self._run_prompt(self._bos + prompt.encode("ascii"))
            alone = []
            for group in group_by_beginning(distinct):
                if len(group) == 1:
                    alone += group
                else:
                    scores |= self._score_group(group)
            scores |= self._score_alone(alone)
        return [scores[sequence.encode("ascii")] for sequence in sequences]

    def _run_prompt(self, prompt: bytes) -> None:
        """Run all tokens of the prompt but the last one, which predicts the first base."""
        if prompt == self._prompt:
            return
        self._cache = None
        if len(prompt) > 1:
            ids = pad([prompt], self._model.device)
            self._cache = new_cache(self._model.config, window_length=len(prompt) - 1)
            self._run(ids, self._cache)
        self._prompt = prompt

    def _run(self, ids: torch.Tensor, cache: Cache) -> list[float]:
        """Run all tokens but the last one; give the log-probability of all but the first."""
        log_probs = log_probs_from(
            self._model, ids[:, :-1], ids[:, 1:], cache, segment_length=self._segment_length
        )
        values: list[float] = log_probs[0].double().tolist()
        return values

    def _score_group(self, group: Sequence[bytes]) -> dict[bytes, float]:
        """Score sequences that share their beginning."""
        config = self._model.config
        num_shared = _count_shared(group)
        last = (self._prompt or b"")[-1:]
        beginning = last + group[0][:num_shared]
        if self._cache is None:
            cache = new_cache(config, window_length=len(beginning) - 1)
        else:
            cache = fork_cache(config, self._cache, [0], branch_length=len(beginning) - 1)
        of_beginning = self._run(pad([beginning], self._model.device), cache)
        rest = {one: beginning[-1:] + one[num_shared:] for one in group}
        of_rest = self._run_rows(rest, cache)
        return {one: _mean([*of_beginning, *of_rest[one]]) for one in group}

    def _score_alone(self, sequences: Sequence[bytes]) -> dict[bytes, float]:
        """Score sequences that share nothing but the prompt."""
        last = (self._prompt or b"")[-1:]
        rows = {one: last + one for one in sequences}
        return {one: _mean(values) for one, values in self._run_rows(rows, self._cache).items()}

    def _run_rows(self, rows: dict[bytes, bytes], cache: Cache | None) -> dict[bytes, list[float]]:
        """Run rows of tokens that continue a state; see `run_branches`."""
        found: dict[bytes, list[float]] = {}
        todo = sorted(rows, key=lambda one: len(rows[one]))
        while todo:
            num = 1
            while num < len(todo) and (num + 1) * len(rows[todo[num]]) <= self._batch_tokens:
                num += 1
            batch, todo = todo[:num], todo[num:]
            values = run_branches(
                self._model,
                [rows[one] for one in batch],
                cache,
                [0] * len(batch),
                segment_length=self._segment_length,
                offload=False,
            )
            found |= {
                one: of_row.astype("float64").tolist()
                for one, of_row in zip(batch, values, strict=True)
            }
        return found


def group_by_beginning(sequences: Sequence[bytes]) -> list[list[bytes]]:
    """Group sequences, in sorted order, whose first half at least is the same.

    Args:
        sequences: Distinct sequences, sorted.

    Returns:
        The groups. In each, neighbours share at least half of the longer one.
    """
    groups: list[list[bytes]] = [[one] for one in sequences[:1]]
    for before, one in pairwise(sequences):
        if 2 * _count_shared([before, one]) >= max(len(before), len(one)):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _count_shared(group: Sequence[bytes]) -> int:
    """Number of first bases that all sequences of a sorted group have in common."""
    first, last = group[0], group[-1]
    pairs = enumerate(zip(first, last, strict=False))
    return next((place for place, (one, other) in pairs if one != other), len(first))


def _mean(log_probs: Sequence[float]) -> float:
    return sum(log_probs) / len(log_probs) if log_probs else 0.0
