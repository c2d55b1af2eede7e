"""The state of the model after the kept sequences of a search, and its file.

Keys and values of attention are held at three places, so that no token is held twice:

- those of the prompt once for all sequences;
- those of the bases that all kept sequences of a search share, once for each search. When a step
  leaves only sequences with a common beginning, this beginning moves here;
- those of the other bases once for each kept sequence.

The candidates of a step add those of their own chunk. The state of the convolutions has a fixed
size, and each kept sequence and each candidate has its own.

S searches, R kept sequences of all searches, B candidates of a batch, H heads, d channels of a
head, n tokens of a chunk, P tokens of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from evo2_tasks.evo2.cache import (
    AttentionFreeCache,
    BranchLayer,
    GrowingLayer,
    WindowLayer,
    fork_cache,
    new_cache,
    select,
)
from evo2_tasks.evo2.config import ATTENTION
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.generation.sampling import Predictions, predict
from evo2_tasks.generation.tensor_files import TensorFile, write_tensors


class Pick(NamedTuple):
    """A candidate that is kept.

    Attributes:
        search: Number of its search.
        parent: The kept sequence that it continues, as a row of the state before.
        batch: The batch of candidates that it is in.
        row: Its row in the batch.
    """

    search: int
    parent: int
    batch: int
    row: int


class KeptState:
    """The state of the model after the kept sequences; at first, one sequence: the prompt.

    Args:
        model: The model.
        prompt: Tokens of the prompt. (1, P)
        tokens: Tokens of the letters whose logits are kept. (A,)
        num_searches: Number S of searches.
        length: Most tokens that are generated in each search.
        segment_length: More tokens of the prompt than these go through the model in several calls.
    """

    def __init__(
        self,
        model: Evo2ForCausalLM,
        prompt: Tensor,
        tokens: Tensor,
        *,
        num_searches: int,
        length: int,
        segment_length: int,
    ) -> None:
        self._config = model.config
        self._num_searches = num_searches
        self._num_prompt = prompt.shape[1]
        self.cache: Cache = new_cache(model.config, window_length=self._num_prompt)
        for start in range(0, self._num_prompt, segment_length):
            piece = prompt[:, start : start + segment_length]
            outputs = model.model(input_ids=piece, cache=self.cache, use_cache=True)
        self.predictions = predict(model, outputs.last_hidden_state, tokens)
        self._attention = [
            index for index, operator in enumerate(model.config.operators) if operator == ATTENTION
        ]
        self._prompt_layers = {index: self.cache.layers[index] for index in self._attention}
        self._shared = {index: WindowLayer(length, offload=False) for index in self._attention}
        self._own: dict[int, GrowingLayer | None] = dict.fromkeys(self._attention)
        self._num_tokens = self._num_prompt

    def fork(self, rows: Sequence[int], num_tokens: int) -> Cache:
        """A cache for candidates.

        Args:
            rows: The kept sequence that each candidate continues.
            num_tokens: Number of tokens that each will add.
        """
        return fork_cache(self._config, self.cache, rows, branch_length=num_tokens)

    def advance(
        self,
        forks: Sequence[Cache],
        predictions: Sequence[Predictions],
        picks: Sequence[Pick],
        *,
        num_tokens: int,
        num_common: int,
    ) -> None:
        """Keep some candidates, and forget the sequences that were kept before.

        Args:
            forks: The caches of the candidates, by batch.
            predictions: What the model predicts after them, by batch.
            picks: The candidates to keep, those of one search next to each other.
            num_tokens: Number of tokens that each candidate added.
            num_common: How many more tokens, after those that are known to be shared, all kept
                sequences of each search have in common.
        """
        states: dict[str, Tensor] = {}
        for index, operator in enumerate(self._config.operators):
            layers = [fork.layers[index] for fork in forks]
            if operator == ATTENTION:
                keys = _gather([layer.own.keys for layer in layers], picks)
                values = _gather([layer.own.values for layer in layers], picks)
                self._keep(index, keys, values, picks, num_common)
                continue
            for state_idx in layers[0].conv_states:
                if layers[0].has_previous_state[state_idx]:
                    of_batches = [layer.conv_states[state_idx] for layer in layers]
                    states[_convolution(index, state_idx)] = _gather(of_batches, picks)
            if layers[0].recurrent_states[0] is not None:
                of_batches = [layer.recurrent_states[0] for layer in layers]
                states[_recurrent(index)] = _gather(of_batches, picks)
        self.predictions = Predictions(
            _gather([one.logits for one in predictions], picks),
            _gather([one.total for one in predictions], picks),
        )
        self._num_tokens += num_tokens
        self._make_cache(states, [pick.search for pick in picks])

    def _keep(
        self, index: int, keys: Tensor, values: Tensor, picks: Sequence[Pick], num_common: int
    ) -> None:
        """Add the keys and values of a chunk, (R, H, n, d), to those of an attention layer."""
        old = self._own[index]
        if old is not None:
            parents = torch.tensor([pick.parent for pick in picks])
            keys = torch.cat([select(old.keys, parents), keys], dim=2)
            values = torch.cat([select(old.values, parents), values], dim=2)
        if num_common:
            # One kept sequence of each search. Of a search that has ended nothing is needed.
            first = {pick.search: row for row, pick in reversed([*enumerate(picks)])}
            rows = torch.tensor([first.get(search, 0) for search in range(self._num_searches)])
            self._shared[index].update(
                select(keys[:, :, :num_common], rows), select(values[:, :, :num_common], rows)
            )
        self._own[index] = _hold(keys[:, :, num_common:], values[:, :, num_common:])

    def _make_cache(self, states: Mapping[str, Tensor], searches: Sequence[int]) -> None:
        """Put the parts of the state together.

        Args:
            states: The states of the convolutions. Each (R, ...)
            searches: The search of each kept sequence.
        """
        self._states, self._searches = states, list(searches)
        cache = new_cache(self._config)
        if isinstance(cache, AttentionFreeCache):
            cache.num_tokens = self._num_tokens
        for index, operator in enumerate(self._config.operators):
            if operator == ATTENTION:
                of_search = BranchLayer(
                    self._prompt_layers[index], [0] * self._num_searches, self._shared[index]
                )
                cache.layers[index] = BranchLayer(of_search, searches, self._own[index])
                continue
            for state_idx in cache.layers[index].conv_states:
                state = states.get(_convolution(index, state_idx))
                if state is not None:
                    cache.update_conv_state(state, index, state_idx)
            state = states.get(_recurrent(index))
            if state is not None:
                cache.update_recurrent_state(state, index)
        self.cache = cache

    def save(self, path: Path, statement: Mapping[str, object]) -> None:
        """Write the state to a file, atomically and tensor by tensor.

        The state of the prompt is not part of it.

        Args:
            path: The file.
            statement: What the state is of, in plain JSON.
        """
        tensors = dict(self._states)
        tensors["logits"], tensors["total"] = self.predictions
        for index in self._attention:
            shared, own = self._shared[index], self._own[index]
            num = shared.get_seq_length()
            for search in range(self._num_searches if num else 0):
                here = slice(search, search + 1)
                tensors[_shared_keys(index, search)] = shared.keys[here, :, :num]
                tensors[_shared_values(index, search)] = shared.values[here, :, :num]
            if own is not None:
                tensors[_own_keys(index)], tensors[_own_values(index)] = own.keys, own.values
        stated = {
            **statement,
            "num_tokens": self._num_tokens - self._num_prompt,
            "searches": self._searches,
        }
        write_tensors(path, tensors, stated)

    def restore(self, file: TensorFile, statement: Mapping[str, Any]) -> None:
        """Take the state from a file that `save` wrote.

        Args:
            file: The file.
            statement: What it states.

        Raises:
            ValueError: A tensor is missing, or has another shape or dtype than this model gives.
        """
        searches: list[int] = statement["searches"]
        states: dict[str, Tensor] = {}
        for index, operator in enumerate(self._config.operators):
            if operator == ATTENTION:
                self._read_keys(file, index, len(searches))
                continue
            layer = self.cache.layers[index]
            for state_idx, of_prompt in layer.conv_states.items():
                if layer.has_previous_state[state_idx]:
                    name = _convolution(index, state_idx)
                    states[name] = file.read_rows(name, len(searches), of_prompt)
            if layer.recurrent_states[0] is not None:
                name = _recurrent(index)
                states[name] = file.read_rows(name, len(searches), layer.recurrent_states[0])
        self.predictions = Predictions(
            file.read_rows("logits", len(searches), self.predictions.logits),
            file.read_rows("total", len(searches), self.predictions.total),
        )
        self._num_tokens = self._num_prompt + statement["num_tokens"]
        self._make_cache(states, searches)

    def _read_keys(self, file: TensorFile, index: int, num_rows: int) -> None:
        """Read the keys and values of an attention layer."""
        like = self._prompt_layers[index].keys  # (1, H, P, d)
        if _shared_keys(index, 0) in file:
            pair = [
                torch.cat(
                    [
                        file.read_tokens(name(index, search), 1, like)
                        for search in range(self._num_searches)
                    ]
                )
                for name in (_shared_keys, _shared_values)
            ]
            self._shared[index].update(*pair)
        if _own_keys(index) in file:
            self._own[index] = _hold(
                file.read_tokens(_own_keys(index), num_rows, like),
                file.read_tokens(_own_values(index), num_rows, like),
            )


def _hold(keys: Tensor, values: Tensor) -> GrowingLayer | None:
    """A layer with a copy of some keys and values, (R, H, n, d); None if n is 0."""
    if not keys.shape[2]:
        return None
    layer = GrowingLayer()
    layer.update(keys, values)
    return layer


def _gather(of_batches: Sequence[Tensor], picks: Sequence[Pick]) -> Tensor:
    """The rows of the kept candidates, from the tensors of all batches. (R, ...)."""
    order = sorted(range(len(picks)), key=lambda one: picks[one].batch)
    parts = [
        select(tensor, torch.tensor([pick.row for pick in picks if pick.batch == number]))
        for number, tensor in enumerate(of_batches)
        if any(pick.batch == number for pick in picks)
    ]
    if len(parts) == 1:
        return parts[0]
    places = torch.empty(len(picks), dtype=torch.long)
    places[order] = torch.arange(len(picks))
    return select(torch.cat(parts), places)


def _convolution(layer: int, state: int) -> str:
    return f"{layer}.convolution.{state}"


def _recurrent(layer: int) -> str:
    return f"{layer}.recurrent"


def _shared_keys(layer: int, search: int) -> str:
    return f"{layer}.shared.{search}.keys"


def _shared_values(layer: int, search: int) -> str:
    return f"{layer}.shared.{search}.values"


def _own_keys(layer: int) -> str:
    return f"{layer}.own.keys"


def _own_values(layer: int) -> str:
    return f"{layer}.own.values"
