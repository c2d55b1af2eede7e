"""The most direct form of each operator, to compare the model's own forms with.

Channels come before tokens: featurizer and ``hyena_se`` by torch's depthwise convolution,
``hyena_mr`` by an FFT of twice the length, and ``hyena_li`` by the same FFT with a filter that is
the sum of all its exponentials at full length. The published implementation computes ``hyena_mr``
and ``hyena_li`` in this way. The arithmetic is float32, or float64 for float64 inputs.

Shapes: B batch, L tokens, D channels, K taps, H heads, d channels of a head.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evo2_tasks.evo2.config import HYENA_LI, HYENA_MR, HYENA_SE
from evo2_tasks.evo2.layers import HyenaFilter
from evo2_tasks.evo2.operators import widened


def plain_fir(u: Tensor, taps: Tensor) -> Tensor:
    """Depthwise convolution, last tap for the current token. (B, D, L), (D, 1, K) -> (B, D, L)."""
    filtered = functional.conv1d(
        widened(u), widened(taps), padding=taps.shape[-1] - 1, groups=u.shape[1]
    )
    return filtered[..., : u.shape[-1]].to(u.dtype)


def plain_fft(u: Tensor, h: Tensor) -> Tensor:
    """Causal convolution, not rounded, first tap for the current token. (B, D, L), (D, K)."""
    length = u.shape[-1]
    spectrum = torch.fft.rfft(widened(h), n=2 * length) * torch.fft.rfft(widened(u), n=2 * length)
    filtered: Tensor = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
    return filtered


def plain_hyena(
    filter_: HyenaFilter, projected: Tensor, inner: Callable[[Any, Tensor], Tensor] | None
) -> Tensor:
    """Featurizer, gate, inner filter, gate. (B, L, 3D) -> (B, L, D)."""
    featurized = plain_fir(projected.transpose(1, 2), filter_.short_filter_weight)
    x2, x1, v = featurized[:, 0::3], featurized[:, 1::3], featurized[:, 2::3]  # 3 x (B, D, L)
    u = x1 * v
    return (x2 * (u if inner is None else inner(filter_, u))).transpose(1, 2)


def plain_se(filter_: Any, u: Tensor) -> Tensor:
    """The inner filter of ``hyena_se``. (B, D, L) -> (B, D, L)."""
    return plain_fir(u, filter_.h.repeat_interleave(u.shape[1] // filter_.h.shape[0], dim=0))


def plain_mr(filter_: Any, u: Tensor) -> Tensor:
    """The inner filter of ``hyena_mr``. (B, D, L) -> (B, D, L)."""
    h = filter_.h[..., : u.shape[-1]].squeeze(1)
    h = h.repeat_interleave(u.shape[1] // h.shape[0], dim=0)
    return (plain_fft(u, h) + widened(u) * widened(filter_.D[:, None])).to(u.dtype)


def plain_li(filter_: Any, u: Tensor) -> Tensor:
    """The inner filter of ``hyena_li``. (B, D, L) -> (B, D, L)."""
    time = torch.arange(u.shape[-1], device=u.device)
    h = (filter_.residues[..., None] * torch.exp(filter_.log_poles * time)).sum(1)  # (D, L)
    skip: Tensor = u * filter_.D[:, None]
    return plain_fft(u, h).to(u.dtype) + skip


PLAIN_INNER = {HYENA_SE: plain_se, HYENA_MR: plain_mr, HYENA_LI: plain_li}


def plain_norm(norm: Any, hidden_states: Tensor) -> Tensor:
    """The norm of a layer. (B, L, D) -> (B, L, D)."""
    rms = hidden_states.norm(2, dim=-1, keepdim=True) * hidden_states.shape[-1] ** -0.5
    normed: Tensor = norm.scale * (hidden_states / (rms + norm.eps))
    return normed


def plain_attention(_: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention of rotated queries and keys. (B, H, L, d) -> (B, L, D)."""
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.transpose(1, 2).flatten(2)
