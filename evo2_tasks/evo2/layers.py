"""The layers of Evo 2: norms, gated MLP, attention, and the three gated convolutions.

Shapes: B batch, L tokens, D channels, G filter groups, K taps, S modal state, H heads.
Activations are (B, L, D) throughout.

The names and shapes of the parameters are those of the published checkpoints, so that a checkpoint
only needs renaming. Values are rounded to the dtype of the activations where the reference rounds,
except at the end: the final norm and the output matrix are always computed in float32, because the
score differences are smaller than the steps of bfloat16 logits.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention import attend
from .cache import (
    convolution_state,
    extend_context,
    extend_convolution_state,
    recurrent_state,
)
from .config import ATTENTION, HYENA_LI, HYENA_MR, HYENA_SE, Evo2Config
from .fp8 import fp8_linear
from .keywords import check_keywords, one_cache
from .operators import (
    CHUNK_LENGTH,
    ModalFilter,
    causal_fir,
    fir_step,
    full_precision,
    make_modal_filter,
    modal_filter,
    modal_step,
    widened,
)
from .precision import KeepsFloat32
from .rotary import RotaryEmbedding, rotate

FEATURIZER_STATE, FILTER_STATE = 0, 1  # indices of a layer's convolution states in the cache


class RMSNorm(nn.Module):
    """Division by the root mean square, with eps outside the root."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise; each step is rounded to the dtype of the input. (B, L, D) -> (B, L, D)."""
        norm = torch.linalg.vector_norm(hidden_states, dim=-1, keepdim=True)
        rms = norm * hidden_states.shape[-1] ** -0.5
        normed: Tensor = self.scale * (hidden_states / (rms + self.eps))
        return normed


class FinalNorm(RMSNorm):
    """The last norm, whose input, scale and output are float32."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise in float32. (B, L, D) -> (B, L, D)."""
        hidden_states = widened(hidden_states)
        with full_precision(hidden_states):
            norm = torch.linalg.vector_norm(hidden_states, dim=-1, keepdim=True)
            rms = norm * hidden_states.shape[-1] ** -0.5
            normed: Tensor = widened(self.scale) * (hidden_states / (rms + self.eps))
        return normed


class Linear(nn.Linear):
    """A linear map whose initial weights are drawn once, by `Evo2PreTrainedModel._init_weights`."""

    def reset_parameters(self) -> None:
        """Draw nothing: for 10^9 weights, a draw that is not used takes too long."""


class OutputMatrix(Linear):
    """The last linear map, computed in float32 for any dtype of its weight."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Logits of any slice of the last hidden states. (..., D) -> (..., V)."""
        hidden_states = widened(hidden_states)
        with full_precision(hidden_states):
            return functional.linear(hidden_states, self.weight.to(hidden_states.dtype))


class MLP(nn.Module):
    """A gated linear map. Only the MLP of the first layer has a nonlinearity."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__()
        self.l1 = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.l2 = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.l3 = Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.has_activation = layer_idx == 0

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        gate = self.l1(hidden_states)
        if self.has_activation:
            gate = functional.gelu(gate)
        mixed: Tensor = self.l3(gate * self.l2(hidden_states))
        return mixed


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention step by step, for callers that need its weights."""
    weights = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = functional.softmax(weights, dim=-1, dtype=widened(weights).dtype).to(query.dtype)
    weights = functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    is_causal = True
    num_key_value_groups = 1

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.scaling = config.head_dim**-0.5
        self.Wqkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out_proj = Linear(config.hidden_size, config.hidden_size)
        self.rotary_emb = RotaryEmbedding(config)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_ids: Tensor | range,
        attention_mask: Tensor | None,
        is_token: Tensor | None,
        cache: Cache | None,
        is_continued: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, L, D) -> (B, L, D), and the weights if the attention implementation returns them.

        `attention_mask` contains the information of `is_token`, which is not used here. If
        `is_continued`, there is no mask and the cache holds tokens before these.
        """
        qkv = self.Wqkv(hidden_states).unflatten(-1, (-1, 3, self.head_dim))  # (B, L, H, 3, d)
        query, key, value = qkv.transpose(1, 2).unbind(3)  # 3 x (B, H, L, d)
        cos, sin = self.rotary_emb(position_ids, hidden_states.dtype)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if is_continued and cache is not None:
            context = extend_context(cache, self.layer_idx, key, value)
            attended = attend(query, context, self.scaling)
            return self.out_proj(attended.flatten(2)), None
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attend_with_mask = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, weights = attend_with_mask(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return self.out_proj(attended.flatten(2)), weights


class HyenaFilter(nn.Module):
    """The common part of the Hyena operators: featurizer, two gates, cache of the last inputs."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        channels, taps = 3 * config.hidden_size, config.featurizer_length
        self.short_filter_weight = nn.Parameter(torch.empty(channels, 1, taps))

    def forward(self, projected: Tensor, cache: Cache | None) -> Tensor:
        """Featurize, gate, filter, gate. (B, L, 3D) -> (B, L, D)."""
        taps = self.short_filter_weight.squeeze(1)
        featurized = self.run_fir(projected, taps, cache, FEATURIZER_STATE)
        x2, x1, v = featurized.unflatten(-1, (-1, 3)).unbind(-1)  # 3 x (B, L, D)
        gated: Tensor = x2 * self.convolve(x1 * v, cache)
        return gated

    def convolve(self, u: Tensor, cache: Cache | None) -> Tensor:
        """The inner filter. (B, L, D) -> (B, L, D)."""
        raise NotImplementedError

    def run_fir(self, u: Tensor, taps: Tensor, cache: Cache | None, state_idx: int) -> Tensor:
        """`causal_fir` with its state in the cache. Adjacent channels share one of (G, K) taps."""
        state = None
        if cache is not None:
            state = convolution_state(cache, self.layer_idx, state_idx)
            if state is not None and u.shape[1] == 1:
                window = extend_convolution_state(cache, self.layer_idx, state_idx, u[:, 0])
                return fir_step(window, taps)[:, None]
        expanded = taps.repeat_interleave(u.shape[-1] // taps.shape[0], dim=0)
        filtered, state = causal_fir(u, expanded, state)
        if cache is not None:
            cache.update_conv_state(state, self.layer_idx, state_idx)
        return filtered


class ShortFilter(HyenaFilter):
    """``hyena_se``: 7 taps per group of channels, the last for the current token; no skip."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.h = nn.Parameter(torch.empty(config.hyena_se_groups, 1, config.hyena_se_length))

    def convolve(self, u: Tensor, cache: Cache | None) -> Tensor:
        """The inner filter. (B, L, D) -> (B, L, D)."""
        return self.run_fir(u, self.h.squeeze(1), cache, FILTER_STATE)


class MediumFilter(HyenaFilter):
    """``hyena_mr``: 128 taps per group of channels, the first for the current token; a skip."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.h = nn.Parameter(torch.empty(config.hyena_mr_groups, 1, config.hyena_mr_length))
        self.D = nn.Parameter(torch.empty(config.hidden_size))

    def convolve(self, u: Tensor, cache: Cache | None) -> Tensor:
        """The inner filter, rounded once after the skip is added. (B, L, D) -> (B, L, D)."""
        wide = widened(u)
        taps = self.h.squeeze(1).flip(1)
        filtered = self.run_fir(wide, taps, cache, FILTER_STATE)
        return torch.addcmul(filtered, self.D.to(wide.dtype), wide).to(u.dtype)


class LongFilter(KeepsFloat32, HyenaFilter):
    """``hyena_li``: a sum of exponentials per channel, as long as the sequence; a skip."""

    float32_names = ("log_poles", "residues")

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        shape = (config.hidden_size, config.state_size)
        self.log_poles = nn.Parameter(torch.empty(*shape, 1, dtype=torch.float32))
        self.residues = nn.Parameter(torch.empty(*shape, dtype=torch.float32))
        self.D = nn.Parameter(torch.empty(config.hidden_size))
        self._expanded: tuple[Tensor, Tensor, tuple[int, int], ModalFilter] | None = None

    def convolve(self, u: Tensor, cache: Cache | None) -> Tensor:
        """The inner filter, rounded before the skip is added. (B, L, D) -> (B, L, D)."""
        state = None
        if cache is not None:
            state = recurrent_state(cache, self.layer_idx)
        modal = self.expand(u.shape[1])
        if state is not None and u.shape[1] == 1:
            if torch.is_grad_enabled():  # the cache writes the next state into this tensor
                state = state.clone()
            step, state = modal_step(widened(u[:, 0]), modal.decays[1], self.residues, state)
            filtered = step[:, None]
        else:
            filtered, state = modal_filter(widened(u), modal, state)
        if cache is not None:
            cache.update_recurrent_state(state, self.layer_idx)
        return filtered.to(u.dtype) + self.D.to(u.dtype) * u

    def expand(self, length: int) -> ModalFilter:
        """The filter over a chunk: computed in each call in training, once in inference.

        The stored filter is deleted when the mode, dtype or device of the module changes. It is
        computed again after a parameter was replaced or written to. A write through `.data` is not
        noticed until the next `train` or `eval`.
        """
        poles, residues = self.log_poles, self.residues
        if (
            self.training
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or poles.is_inference()  # writes to such a tensor cannot be noticed
            or residues.is_inference()
        ):
            return make_modal_filter(poles.squeeze(-1), residues, min(length, CHUNK_LENGTH))
        versions = poles._version, residues._version
        if self._expanded is not None:
            old_poles, old_residues, old_versions, modal = self._expanded
            if old_poles is poles and old_residues is residues and old_versions == versions:
                return modal
        modal = make_modal_filter(poles.squeeze(-1), residues, CHUNK_LENGTH)
        self._expanded = poles, residues, versions, modal
        return modal

    def train(self, mode: bool = True) -> Any:
        """Change the mode; see `nn.Module.train`."""
        self._expanded = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self._expanded = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_expanded": None}


FILTERS = {HYENA_SE: ShortFilter, HYENA_MR: MediumFilter, HYENA_LI: LongFilter}


class Projections(Linear):
    """The input projections of a Hyena layer, in FP8 if the config requests it."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.config = config
        self.layer_idx = layer_idx
        if config.fp8 != "off":
            config.fp8_scales_of(layer_idx)  # missing scales are an error before loading

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, 3D)."""
        mode = self.config.fp8
        if mode == "off":
            return super().forward(hidden_states)
        scales = self.config.fp8_scales_of(self.layer_idx)
        return fp8_linear(hidden_states, self.weight, scales, mode)


class Hyena(nn.Module):
    """A gated convolution."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__()
        self.projections = Projections(config, layer_idx)
        self.filter = FILTERS[config.operators[layer_idx]](config, layer_idx)
        self.out_filter_dense = Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        is_token: Tensor | None,
        cache: Cache | None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """(B, L, D) -> (B, L, D). Where `is_token` (B, L) is False, the input is set to zero."""
        projected = self.projections(hidden_states)
        if is_token is not None:
            projected = projected.masked_fill(~is_token[..., None], 0)
        return self.out_filter_dense(self.filter(projected, cache)), None


class Evo2Layer(GradientCheckpointingLayer):
    """A residual block: an operator over time, then an MLP."""

    def __init__(self, config: Evo2Config, layer_idx: int) -> None:
        super().__init__()
        operator = Attention if config.operators[layer_idx] == ATTENTION else Hyena
        self.pre_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mixer = operator(config, layer_idx)
        self.post_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = MLP(config, layer_idx)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_ids: Tensor | range | None = None,
        attention_mask: Tensor | None = None,
        is_token: Tensor | None = None,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        is_continued: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D); see `Attention.forward` for the arguments."""
        check_keywords(self, kwargs)
        mixed, _ = self.mixer(
            self.pre_norm(hidden_states),
            position_ids=position_ids,
            attention_mask=attention_mask,
            is_token=is_token,
            cache=one_cache(cache, past_key_values),
            is_continued=is_continued,
            **kwargs,
        )
        hidden_states = hidden_states + mixed
        fed_forward: Tensor = self.mlp(self.post_norm(hidden_states))
        return hidden_states + fed_forward
