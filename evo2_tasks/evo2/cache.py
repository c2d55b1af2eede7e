"""What the model keeps from call to call, in transformers' `DynamicCache`.

That cache holds all of it: keys and values, two convolution states a layer, a recurrent state. In
three points it falls short:

- It reads its length off an attention layer and raises where there is none, and `generate` asks
  for that length first thing. So a model of Hyena layers alone has a cache that counts tokens.
- Only later versions can be asked for a state; so `convolution_state` and `recurrent_state` read
  what all of them hold.
- Its offloading is for CUDA alone, with streams; `HostLayer` copies on any device.
"""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from .config import ATTENTION, Evo2Config


class AttentionFreeCache(DynamicCache):
    """The stock cache with a count of its tokens, which the model keeps."""

    is_compileable = False  # to a compiled graph the count is a constant

    def __init__(self, config: Evo2Config) -> None:
        super().__init__(config=config)
        self.num_tokens = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that went through the model so far."""
        return self.num_tokens

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.num_tokens = 0


class HostLayer(DynamicLayer):
    """Keys and values of an attention layer, which wait in host memory.

    An update brings those of its own layer to the device, so that one layer's lie there at a time.
    Host memory is not pinned: a copy is at the speed of pageable memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[tuple[Tensor, Tensor]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, (B, H, L, d), and give all, on their device."""
        self.pieces.append((key_states.to("cpu"), value_states.to("cpu")))
        # Filled piece by piece: a concatenation would hold all of them twice.
        shape = (*key_states.shape[:2], self.get_seq_length(), key_states.shape[-1])
        keys, values = key_states.new_empty(shape), value_states.new_empty(shape)
        start = 0
        for piece in self.pieces:
            end = start + piece[0].shape[2]
            keys[:, :, start:end].copy_(piece[0])
            values[:, :, start:end].copy_(piece[1])
            start = end
        return keys, values

    def get_seq_length(self) -> int:
        """Tokens whose keys and values wait."""
        return sum(keys.shape[2] for keys, _ in self.pieces)


def convolution_state(cache: Cache, layer_idx: int, state_idx: int) -> Tensor | None:
    """The last inputs of a filter, (B, D, K - 1); None at the start of a sequence."""
    layer = cache.layers[layer_idx]
    state: Tensor | None = layer.conv_states[state_idx]
    return state if layer.has_previous_state[state_idx] else None


def recurrent_state(cache: Cache, layer_idx: int) -> Tensor | None:
    """The state of a modal filter, (B, D, S); None at the start of a sequence."""
    state: Tensor | None = cache.layers[layer_idx].recurrent_states[0]
    return state


def new_cache(config: Evo2Config, *, offload: bool = False) -> Cache:
    """An empty cache for a model with this config.

    Args:
        config: The model's config.
        offload: Keep keys and values of attention in host memory.
    """
    if ATTENTION not in config.operators:
        return AttentionFreeCache(config)
    cache = DynamicCache(config=config)
    if offload:
        for index, operator in enumerate(config.operators):
            if operator == ATTENTION:
                cache.layers[index] = HostLayer()
    return cache
