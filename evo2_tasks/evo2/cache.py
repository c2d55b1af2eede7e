"""The state that the model keeps between calls, in transformers' `DynamicCache`.

The stock cache can hold all of this state: keys and values, two convolution states for each layer,
and a recurrent state. It has five limits, and this module works around them:

- It takes its length from an attention layer and raises an error if there is none, and `generate`
  requests that length at its start. A model of Hyena layers only therefore gets
  `AttentionFreeCache`, which counts tokens.
- Only later versions have methods that return a state. `convolution_state` and `recurrent_state`
  read the attributes that all versions have.
- It copies all keys and values for each new token. `GrowingLayer` writes the new ones behind the
  old ones.
- It does not know the length of a window in advance, and its offloading works with CUDA only.
  `WindowLayer` holds keys and values once, on the device or in host memory.
- It can be continued in one way only. `fork_cache` makes states for several branches that continue
  from the same tokens, and `repeat_sequences` makes one cache the state of several samples of each
  prompt. `BranchLayer` shares the keys and values among them.

`extend_context` adds keys and values to any of these caches and gives what the new tokens see, in
the parts in which the cache holds it. `Cache.update` gives the same in one tensor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from .attention import Context, Trunk, group_branches
from .config import ATTENTION, Evo2Config

# Largest number of tokens to make further room for. All keys are copied once in so many steps, and
# the room stays small compared with the keys of a long sequence.
MOST_ROOM = 8192


class AttentionFreeCache(DynamicCache):
    """The stock cache with a count of its tokens. The model updates the count."""

    is_compileable = False  # a compiled graph would treat the count as a constant

    def __init__(self, config: Evo2Config) -> None:
        super().__init__(config=config)
        self.num_tokens = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens that went through the model so far."""
        return self.num_tokens

    @property
    def is_linear(self) -> list[bool]:
        """False for each layer: `generate` asks no cache of linear layers alone for its length."""
        return [False] * len(self.layers)

    def reset(self) -> None:
        """Delete all states and set the count to 0."""
        super().reset()
        self.num_tokens = 0


class GrowingLayer(DynamicLayer):
    """Keys and values of an attention layer, with room for those of later tokens.

    As in the stock layer, `keys` and `values` are those of the tokens so far, and each method may
    replace them. They are the first part of larger tensors unless a method replaced them.

    Args:
        max_length: Largest number of tokens to make room for in advance; None if it is not known.
    """

    def __init__(self, max_length: int | None = None) -> None:
        super().__init__()
        self.keys: Tensor
        self.values: Tensor
        self.max_length = max_length
        self._room: tuple[Tensor, Tensor] | None = None
        self._held: tuple[Tensor, Tensor] | None = None  # `keys` and `values`, if parts of the room

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, (B, H, L, d), and give all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        tensors: tuple[Tensor, ...] = (self.keys, self.values, key_states, value_states)
        needs_gradient = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
        if needs_gradient or torch.compiler.is_compiling():  # neither allows writing in place
            keys, values = super().update(key_states, value_states, *args, **kwargs)
            return keys, values
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        room = self._room
        if room is None or not self._fits(room[0], end):
            length = self._choose_room(start, end)
            room = (
                _extend(self.keys if start else None, key_states, length),
                _extend(self.values if start else None, value_states, length),
            )
        room[0][:, :, start:end] = key_states
        room[1][:, :, start:end] = value_states
        keys, values = room[0][:, :, :end], room[1][:, :, :end]
        self._room, self._held = room, (keys, values)
        self.keys, self.values = keys, values
        return keys, values

    def _fits(self, room: Tensor, end: int) -> bool:
        """Whether later tokens can be written behind the keys and values as they are."""
        held = self._held
        is_held = held is not None and self.keys is held[0] and self.values is held[1]
        # torch refuses to write to tensors of inference mode outside of it.
        can_write = torch.is_inference_mode_enabled() or not room.is_inference()
        return is_held and can_write and end <= room.shape[2]

    def _choose_room(self, start: int, end: int) -> int:
        """Number of tokens to make room for: twice as many as there are, or `MOST_ROOM` more.

        Without a known length the first call gets no further room: it may be the only one.
        """
        length = end if start == 0 and self.max_length is None else end + min(end, MOST_ROOM)
        return length if self.max_length is None else max(end, min(length, self.max_length))

    def offload(self) -> None:
        """Move keys and values to host memory."""
        self._room = self._held = None
        super().offload()

    def reset(self) -> None:
        """Delete keys and values."""
        self._room = self._held = None
        super().reset()


def _extend(so_far: Tensor | None, new: Tensor, length: int) -> Tensor:
    """A tensor for the states of so many tokens, with those so far. (B, H, length, d)."""
    extended = new.new_empty(*new.shape[:2], length, new.shape[3])
    if so_far is not None:
        extended[:, :, : so_far.shape[2]] = so_far
    return extended


class WindowLayer(DynamicLayer):
    """Keys and values of an attention layer over a window of known length, each held once.

    The stock layer joins old and new keys in a new tensor. During that step they are in memory
    twice, and each tensor needs a larger block of memory than the one before. With ``offload`` keys
    and values are kept in host memory, and an update copies those of its layer to the device, so
    that the device holds one layer at a time. The host memory is not pinned, so copies run at the
    speed of pageable memory.
    """

    def __init__(self, length: int, *, offload: bool) -> None:
        super().__init__()
        self.length = length
        self.offload = offload
        self.num_tokens = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, (B, H, L, d), and give all, on their device."""
        start, end = self.num_tokens, self.num_tokens + key_states.shape[2]
        if not start:
            device = torch.device("cpu") if self.offload else key_states.device
            shape = (*key_states.shape[:2], self.length, key_states.shape[-1])
            self.keys = torch.empty(shape, dtype=key_states.dtype, device=device)
            self.values = torch.empty_like(self.keys)
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.num_tokens = end
        device = key_states.device
        return self.keys[:, :, :end].to(device), self.values[:, :, :end].to(device)

    def get_seq_length(self) -> int:
        """Number of tokens whose keys and values are stored."""
        return self.num_tokens


class Level:
    """Keys and values of some trunks, as the branches that continue them see them.

    Args:
        layer: Keys and values of the R trunks.
        rows: The trunk that each branch continues.
        num_tokens: Number of first tokens that the branches see, at least 1.
    """

    def __init__(
        self, layer: WindowLayer | GrowingLayer, rows: Sequence[int], num_tokens: int
    ) -> None:
        self.layer = layer
        self.num_tokens = num_tokens
        self.set_rows(list(rows))

    def set_rows(self, rows: list[int]) -> None:
        """Let branches continue these trunks."""
        self.rows = rows
        self.groups = group_branches(rows, len(self.layer.keys))

    def trunk(self, device: torch.device) -> Trunk:
        """The keys and values, on a device."""
        keys, values = (
            states[:, :, : self.num_tokens].to(device)
            for states in (self.layer.keys, self.layer.values)
        )
        return Trunk(keys, values, self.groups)


class BranchLayer(DynamicLayer):
    """Keys and values of branches. Those of the tokens before the fork are held once for all.

    Branches may themselves be continued by branches. There is a `Level` for the tokens before each
    fork, the first tokens first.

    Args:
        before: Keys and values of the trunks. (R trunks)
        rows: The trunk that each branch continues.
        own: Keys and values of the branches; None if the branch is one call.
    """

    def __init__(
        self,
        before: "WindowLayer | GrowingLayer | BranchLayer",
        rows: Sequence[int],
        own: WindowLayer | GrowingLayer | None,
    ) -> None:
        # Not the stock layer's, which would set the keys and values.
        self.num_rows = len(rows)
        self.own = own
        self.levels: list[Level] = []
        last: WindowLayer | GrowingLayer | None
        if isinstance(before, BranchLayer):
            self._first: WindowLayer | GrowingLayer = before._first
            last = before.own
            for level in before.levels:
                above = [level.rows[row] for row in rows]
                self.levels.append(Level(level.layer, above, level.num_tokens))
        else:
            self._first = last = before
        if last is not None and last.get_seq_length():
            self.levels.append(Level(last, rows, last.get_seq_length()))
        self.is_initialized = True

    @property
    def num_before(self) -> int:
        """Number of tokens before the last fork."""
        return sum(level.num_tokens for level in self.levels)

    @property
    def keys(self) -> Tensor:
        """Keys of all tokens of each branch, in a new tensor. (B, H, L, d)."""
        return self._join()[0]

    @property
    def values(self) -> Tensor:
        """Values of all tokens of each branch, in a new tensor. (B, H, L, d)."""
        return self._join()[1]

    def _join(self) -> tuple[Tensor, Tensor]:
        if self.own is not None and self.own.get_seq_length():
            own = self.own.keys, self.own.values
        else:
            own = self._nothing(self._first.keys), self._nothing(self._first.values)
        return Context(*own, self._trunks(own[0].device)).join()

    def _nothing(self, states: Tensor) -> Tensor:
        """States of no token of each branch."""
        return states.new_empty(self.num_rows, states.shape[1], 0, states.shape[3])

    def _trunks(self, device: torch.device) -> tuple[Trunk, ...]:
        return tuple(level.trunk(device) for level in self.levels)

    def extend(self, key_states: Tensor, value_states: Tensor) -> Context:
        """Add the keys and values of some tokens, (B, H, L, d), and give what these tokens see."""
        if self.own is not None:
            key_states, value_states = self.own.update(key_states, value_states)
        return Context(key_states, value_states, self._trunks(key_states.device))

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, (B, H, L, d), and give all, joined."""
        return self.extend(key_states, value_states).join()

    def get_seq_length(self) -> int:
        """Number of tokens before and after the fork."""
        return self.num_before + (self.own.get_seq_length() if self.own is not None else 0)

    def reset(self) -> None:
        """Delete keys and values."""
        self.levels, self.own = [], GrowingLayer()

    def crop(self, tokens_to_remove: int) -> None:
        """Remove tokens at the end, given as a negative number."""
        num = -tokens_to_remove
        if self.own is not None:
            from_own = min(num, self.own.get_seq_length())
            self.own.crop(-from_own)
            num -= from_own
        while num > 0 and self.levels:
            last = self.levels[-1]
            from_last = min(num, last.num_tokens)
            last.num_tokens -= from_last
            num -= from_last
            if last.num_tokens == 0:
                self.levels.pop()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Give each branch the tokens of another one."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some branches."""
        if self.own is not None and self.own.get_seq_length():
            self.own.batch_select_indices(indices.to(self.own.keys.device))
        one_trunk = all(len(level.layer.keys) == 1 for level in self.levels)
        if one_trunk and len(indices) == self.num_rows:
            return  # of the same trunk; the indices stay on their device
        chosen = indices.tolist()
        self.num_rows = len(chosen)
        for level in self.levels:
            rows = [level.rows[row] for row in chosen]
            if rows != level.rows:
                level.set_rows(rows)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each branch."""
        if self.own is not None:
            self.own.batch_repeat_interleave(repeats)
        self.num_rows *= repeats
        for level in self.levels:
            level.set_rows([row for row in level.rows for _ in range(repeats)])

    def offload(self) -> None:
        """Move keys and values to host memory; a `WindowLayer` has them where it keeps them."""
        for layer in self._layers():
            if isinstance(layer, GrowingLayer):
                layer.offload()

    def prefetch(self) -> None:
        """Move keys and values back to their device."""
        for layer in self._layers():
            if isinstance(layer, GrowingLayer):
                layer.prefetch()

    def _layers(self) -> list[WindowLayer | GrowingLayer]:
        own = [] if self.own is None else [self.own]
        return [*(level.layer for level in self.levels), *own]


def extend_context(cache: Cache, layer_idx: int, keys: Tensor, values: Tensor) -> Context:
    """Add the keys and values of new tokens to a layer of a cache.

    Args:
        cache: Any cache without unused space and padding.
        layer_idx: The attention layer.
        keys: Keys of the new tokens. (B, H, L, d)
        values: Their values. (B, H, L, d)

    Returns:
        All that the new tokens see.
    """
    layer = cache.layers[layer_idx]
    if isinstance(layer, BranchLayer):
        return layer.extend(keys, values)
    return Context(*cache.update(keys, values, layer_idx))


def select(state: Tensor, rows: Tensor) -> Tensor:
    """Some sequences of a state, on the device of the state."""
    return state.index_select(0, rows.to(state.device))


def convolution_state(cache: Cache, layer_idx: int, state_idx: int) -> Tensor | None:
    """The last inputs of a filter, (B, D, K - 1); None at the start of a sequence."""
    layer = cache.layers[layer_idx]
    state: Tensor | None = layer.conv_states[state_idx]
    return state if layer.has_previous_state[state_idx] else None


def extend_convolution_state(cache: Cache, layer_idx: int, state_idx: int, new: Tensor) -> Tensor:
    """Add the input of one token, (B, D), to a state and give what its filter sees, (B, K, D).

    The sequence has earlier tokens. From the first such call on, the channels of a token are
    adjacent in the memory of the state, so a step copies whole rows; its shape stays (B, D, K - 1).
    """
    layer = cache.layers[layer_idx]
    by_token = layer.conv_states[state_idx].transpose(1, 2)  # (B, K - 1, D)
    window = torch.cat([by_token.to(new.dtype), new[:, None]], dim=1)
    if not (by_token.is_contiguous() or torch.compiler.is_compiling()):
        by_token = torch.empty_like(by_token, memory_format=torch.contiguous_format)
        layer.conv_states[state_idx] = by_token.transpose(1, 2)
    by_token.copy_(window[:, 1:])
    return window


def recurrent_state(cache: Cache, layer_idx: int) -> Tensor | None:
    """The state of a modal filter, (B, D, S); None at the start of a sequence."""
    state: Tensor | None = cache.layers[layer_idx].recurrent_states[0]
    return state


def fork_cache(
    config: Evo2Config,
    cache: Cache,
    rows: Sequence[int],
    *,
    branch_length: int | None = None,
    offload: bool = False,
) -> Cache:
    """A cache for branches that continue from the state of another cache, which stays unchanged.

    Args:
        config: The model's config.
        cache: A cache for a known number of tokens. It can be continued itself once the branches
            are done.
        rows: The sequence of the cache that each of the B branches continues.
        branch_length: Tokens of a branch that goes through the model in several calls; None if the
            branch is one call, after which its keys and values are not needed.
        offload: Keep the keys and values of the branches in host memory between calls.
    """
    forked = new_cache(config)
    if isinstance(forked, AttentionFreeCache) and isinstance(cache, AttentionFreeCache):
        forked.num_tokens = cache.num_tokens
    chosen = torch.tensor(rows)
    for index, operator in enumerate(config.operators):
        layer = cache.layers[index]
        if operator == ATTENTION:
            own = None if branch_length is None else WindowLayer(branch_length, offload=offload)
            forked.layers[index] = BranchLayer(layer, rows, own)
            continue
        for state_idx, state in layer.conv_states.items():
            if layer.has_previous_state[state_idx]:
                forked.update_conv_state(select(state, chosen), index, state_idx)
        state = layer.recurrent_states[0]
        if state is not None:
            forked.update_recurrent_state(select(state, chosen), index)
    return forked


def repeat_sequences(cache: Cache, rows: Sequence[int], *, shares_keys: bool) -> None:
    """Let several sequences continue each sequence of a cache.

    Args:
        cache: The cache, which changes.
        rows: The sequence that each of the new ones continues.
        shares_keys: Hold the keys and values of a `GrowingLayer` once; else each sequence gets a
            copy. The other state is copied.
    """
    chosen = torch.tensor(rows)
    for index, layer in enumerate(cache.layers):
        if shares_keys and isinstance(layer, GrowingLayer):
            num_more = None
            if layer.max_length is not None:
                num_more = max(0, layer.max_length - layer.get_seq_length())
            cache.layers[index] = BranchLayer(layer, rows, GrowingLayer(num_more))
        else:
            layer.reorder_cache(chosen)


def new_cache(
    config: Evo2Config,
    *,
    window_length: int | None = None,
    offload: bool = False,
    max_length: int | None = None,
) -> Cache:
    """An empty cache for a model with this config.

    Args:
        config: The model's config.
        window_length: Number of tokens that will go through the model; None if it is not known.
        offload: Keep keys and values of attention in host memory; needs `window_length`.
        max_length: Largest number of tokens that may go through the model, where their number is
            not known.
    """
    if ATTENTION not in config.operators:
        return AttentionFreeCache(config)
    cache = DynamicCache(config=config)
    for index, operator in enumerate(config.operators):
        if operator != ATTENTION:
            continue
        if window_length is None:
            cache.layers[index] = GrowingLayer(max_length)
        else:
            cache.layers[index] = WindowLayer(window_length, offload=offload)
    return cache
