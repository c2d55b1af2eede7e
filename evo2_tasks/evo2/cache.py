"""What the model keeps from call to call, in transformers' `DynamicCache`.

That cache holds all of it: keys and values, two convolution states a layer, a recurrent state. In
two points it falls short:

- It reads its length off an attention layer and raises where there is none, and `generate` asks
  for that length first thing. So a model of Hyena layers alone has a cache that counts tokens.
- Only later versions can be asked for a state; so `convolution_state` and `recurrent_state` read
  what all of them hold.
"""

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

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


def convolution_state(cache: Cache, layer_idx: int, state_idx: int) -> Tensor | None:
    """The last inputs of a filter, (B, D, K - 1); None at the start of a sequence."""
    layer = cache.layers[layer_idx]
    state: Tensor | None = layer.conv_states[state_idx]
    return state if layer.has_previous_state[state_idx] else None


def recurrent_state(cache: Cache, layer_idx: int) -> Tensor | None:
    """The state of a modal filter, (B, D, S); None at the start of a sequence."""
    state: Tensor | None = cache.layers[layer_idx].recurrent_states[0]
    return state


def new_cache(config: Evo2Config) -> Cache:
    """An empty cache for a model with this config."""
    if ATTENTION in config.operators:
        return DynamicCache(config=config)
    return AttentionFreeCache(config)
