"""The state that the model keeps between calls, in transformers' `DynamicCache`.

The stock cache can hold all of this state: keys and values, two convolution states for each layer,
and a recurrent state. It has four limits, and this module works around them:

- It takes its length from an attention layer and raises an error if there is none, and `generate`
  requests that length at its start. A model of Hyena layers only therefore gets
  `AttentionFreeCache`, which counts tokens.
- Only later versions have methods that return a state. `convolution_state` and `recurrent_state`
  read the attributes that all versions have.
- It does not know the length of a window in advance, and its offloading works with CUDA only.
  `WindowLayer` holds keys and values once, on the device or in host memory.
- It can be continued in one way only. `fork_cache` makes states for several branches that continue
  from the same tokens, and `BranchLayer` shares the keys and values among them.

`extend_context` adds keys and values to any of these caches and gives what the new tokens see, in
the parts in which the cache holds it. `Cache.update` gives the same in one tensor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from .attention import Context, Group, Trunk, group_branches
from .config import ATTENTION, Evo2Config


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


class BranchLayer(DynamicLayer):
    """Keys and values of branches. Those of the tokens before the fork are held once for all.

    Args:
        before: Keys and values of the trunks. (R trunks)
        groups: Which branches continue which trunks.
        own: Keys and values of the branches; None if the branch is one call.
    """

    def __init__(
        self, before: WindowLayer, groups: tuple[Group, ...], own: WindowLayer | None
    ) -> None:
        super().__init__()
        self.before = before
        self.groups = groups
        self.own = own
        self.num_before = before.num_tokens

    def extend(self, key_states: Tensor, value_states: Tensor) -> Context:
        """Add the keys and values of some tokens, (B, H, L, d), and give what these tokens see."""
        if self.own is not None:
            key_states, value_states = self.own.update(key_states, value_states)
        keys, values = (
            states[:, :, : self.num_before].to(key_states.device)
            for states in (self.before.keys, self.before.values)
        )
        return Context(key_states, value_states, Trunk(keys, values, self.groups))

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, (B, H, L, d), and give all, joined."""
        return self.extend(key_states, value_states).join()

    def get_seq_length(self) -> int:
        """Number of tokens before and after the fork."""
        return self.num_before + (self.own.num_tokens if self.own is not None else 0)


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
    """Add the input of one token, (B, D), to a state and give what its filter sees, (B, D, K).

    The sequence has earlier tokens. The state is written in place.
    """
    state: Tensor = cache.layers[layer_idx].conv_states[state_idx]
    window = torch.cat([state.to(new.dtype), new[..., None]], dim=-1)
    state.copy_(window[..., 1:])
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
            groups = group_branches(rows, len(layer.keys))
            forked.layers[index] = BranchLayer(layer, groups, own)
            continue
        for state_idx, state in layer.conv_states.items():
            if layer.has_previous_state[state_idx]:
                forked.update_conv_state(select(state, chosen), index, state_idx)
        state = layer.recurrent_states[0]
        if state is not None:
            forked.update_recurrent_state(select(state, chosen), index)
    return forked


def new_cache(
    config: Evo2Config, *, window_length: int | None = None, offload: bool = False
) -> Cache:
    """An empty cache for a model with this config.

    Args:
        config: The model's config.
        window_length: Number of tokens that will go through the model; None if it is not known.
        offload: Keep keys and values of attention in host memory; needs `window_length`.
    """
    if ATTENTION not in config.operators:
        return AttentionFreeCache(config)
    cache = DynamicCache(config=config)
    if window_length is not None:
        for index, operator in enumerate(config.operators):
            if operator == ATTENTION:
                cache.layers[index] = WindowLayer(window_length, offload=offload)
    return cache
