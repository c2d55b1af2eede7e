"""The input projections in FP8, as in the reference, on any device and without its library.

1B, 20B and 40B were trained with these matrix multiplications in E4M3, an 8-bit float with 3
fraction bits, with scales that are constant at inference. Kinds of GPU differ in how they sum the
products of a matrix multiplication. Each way of summing is a mode.

Shapes: M tokens, K inputs, N outputs of a linear map.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .operators import full_precision
from .precision import float64_device

E4M3_MAX = 448.0
E4M3_LEAST_NORMAL = 2.0**-6  # the smallest number with all three fraction bits
FRACTION_BITS = 13  # of the sum on Hopper and Ada
# Lower than the exponent of every sum of E4M3 products that is not 0.
LEAST_EXPONENT = -64
# Weights that are rounded in one step, or products that are summed in one step: enough for a GPU,
# few enough for the cache of a CPU.
ELEMENTS_AT_ONCE = 2**20


def round_to_e4m3(matrix: Tensor, scale: float) -> Tensor:
    """Scale in float32 and round to E4M3: to nearest, ties to even, saturating; nan stays nan.

    A step of E4M3 is an eighth of the power of two below the number. After 1.5 * 2 ** 23 steps are
    added, float32 cannot represent fractions of a step, so the sum is rounded to whole steps.
    torch's own conversion to 8 bits and back gives the same values and takes ten times as long on
    a CPU.

    Args:
        matrix: Any float dtype. (M, K)
        scale: Factor of the matrix.

    Returns:
        Values of E4M3, in the dtype of the matrix, which can represent all of them. (M, K)
    """
    rounded = torch.empty_like(matrix)
    rows = max(1, ELEMENTS_AT_ONCE // matrix.shape[1])
    for some, result in zip(matrix.split(rows), rounded.split(rows), strict=True):
        scaled = (some.to(torch.float32) * scale).clamp_(-E4M3_MAX, E4M3_MAX)
        power = (scaled.view(torch.int32) & 0xFF << 23).view(torch.float32)
        steps = power.clamp_(min=E4M3_LEAST_NORMAL).mul_(1.5 * 2**20)
        result.copy_(scaled.add_(steps).sub_(steps))
    return rounded


def fp8_linear(
    hidden_states: Tensor, weight: Tensor, scales: tuple[float, float, float], mode: str
) -> Tensor:
    """A linear map without bias whose operands are rounded to E4M3.

    Args:
        hidden_states: Input of the map. (..., K)
        weight: Weight of the map, as in the checkpoint. It is rounded again in each call. This
            needs no second copy of the weight, and takes as long as the matrix multiplication for
            about a hundred tokens. (N, K)
        scales: Factors of the input and of the weight before they are rounded, and of the sums.
        mode: How products are summed, a key of `PRODUCTS`.

    Returns:
        The sums, scaled in float32 and rounded to the dtype of the input once. (..., N)

    Raises:
        ValueError: There is no such mode. The backward pass always raises it.

    Source:
        Transformer Engine's Linear at inference: static scales per tensor, format E4M3.
    """
    if mode not in PRODUCTS:
        raise ValueError(f"fp8: {mode!r} unknown; expected off, {', '.join(PRODUCTS)}.")
    output: Tensor = _Fp8Linear.apply(hidden_states, weight, scales, mode)
    return output


class _Fp8Linear(torch.autograd.Function):
    """`fp8_linear` for autograd, without a gradient."""

    @staticmethod
    def forward(
        hidden_states: Tensor, weight: Tensor, scales: tuple[float, float, float], mode: str
    ) -> Tensor:
        input_scale, weight_scale, output_scale = scales
        x = round_to_e4m3(hidden_states.flatten(0, -2), input_scale)
        w = round_to_e4m3(weight, weight_scale).to(x.dtype)
        with full_precision(x):
            output = PRODUCTS[mode](x, w, output_scale)
        return output.view(*hidden_states.shape[:-1], weight.shape[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        raise ValueError(
            "FP8 projections have no gradient: load the model with fp8='off' to train it."
        )


def sum_in_float32(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Sum the products in float32, by the device's own matrix multiplication.

    That function applies its factor to the float32 sum before it rounds.

    Args:
        x: E4M3 values. (M, K)
        weight: E4M3 values, in the same dtype. (N, K)
        scale: Factor of the sums.

    Returns:
        In the dtype of the operands. (M, N)
    """
    return torch.addmm(x.new_zeros(()), x, weight.T, beta=0, alpha=scale)


def sum_in_groups(
    x: Tensor,
    weight: Tensor,
    scale: float,
    *,
    add_group: Callable[[Tensor, Tensor, Tensor], Tensor],
    group: int,
) -> Tensor:
    """Sum the products exactly as a tensor core does: group after group along K.

    Args:
        x: E4M3 values. (M, K)
        weight: E4M3 values. (N, K)
        scale: Factor of the sums.
        add_group: Adds the products of a group to the sums: (M, G), (N, G), (M, N) -> (M, N).
        group: Number of products G that are summed in one step.

    Returns:
        In the dtype of `x`. (M, N)
    """
    groups = x.to(torch.float32).split(group, dim=1)
    outputs = []
    for rows in weight.split(max(1, ELEMENTS_AT_ONCE // (len(x) * group))):
        sums = torch.zeros(len(x), len(rows), dtype=torch.float32, device=x.device)
        for a, b in zip(groups, rows.to(torch.float32).split(group, dim=1), strict=True):
            sums = add_group(a, b, sums)
        outputs.append((sums * scale).to(x.dtype))
    return torch.cat(outputs, dim=1)


def add_truncated(a: Tensor, b: Tensor, sums: Tensor) -> Tensor:
    """Add the products of a group as Hopper and Ada do: aligned, truncated, summed as integers.

    The exponent of a product is the sum of the exponents of its operands, without a carry. All
    terms are aligned to the largest exponent among the products and the sum so far, and truncated
    towards zero to 13 fraction bits of it. The new sum is truncated to 13 fraction bits of its own
    exponent.

    Args:
        a: E4M3 values in float32. (M, G)
        b: E4M3 values in float32. (N, G)
        sums: The sums so far, float32. (M, N)

    Returns:
        The new sums, float32. (M, N)

    Source:
        Khattak and Mikaitis, Accurate Models of NVIDIA Tensor Cores, arXiv 2512.07004.
    """
    largest = (_exponents(a)[:, None] + _exponents(b)).amax(dim=-1)  # (M, N)
    largest = torch.maximum(largest, _exponents(sums)).clamp_(min=LEAST_EXPONENT)
    unit = _power_of_two(FRACTION_BITS - largest)
    terms = (a[:, None] * b).mul_(unit[..., None]).trunc_()  # (M, N, G), below 2^15
    total = terms.sum(dim=-1) + (sums * unit).trunc()  # below 2^24, so exact
    total = total * _power_of_two(largest - FRACTION_BITS)
    cut: Tensor = total.view(torch.int32) & -(2 ** (23 - FRACTION_BITS))
    return cut.view(torch.float32)


def add_rounded(a: Tensor, b: Tensor, sums: Tensor) -> Tensor:
    """Add the products of a group as Blackwell does: exactly, then rounded to nearest float32.

    All terms are multiples of 2^-18 and below 2^31, so float64 sums them exactly in any order. A
    device without float64 leaves this to the CPU.

    Args:
        a: E4M3 values in float32. (M, G)
        b: E4M3 values in float32. (N, G)
        sums: The sums so far, float32. (M, N)

    Returns:
        The new sums, float32. (M, N)
    """
    there = float64_device(sums.device)
    a, b, so_far = (tensor.to(there).double() for tensor in (a, b, sums))
    return (a @ b.T + so_far).float().to(sums.device)


def _exponents(tensor: Tensor) -> Tensor:
    """``floor(log2 |x|)`` of float32 values, int32; -127 for 0."""
    return (tensor.view(torch.int32) >> 23 & 0xFF) - 127


def _power_of_two(exponents: Tensor) -> Tensor:
    """``2 ** n`` in float32, exact on every device."""
    return (exponents + 127 << 23).view(torch.float32)


# How each mode sums products. Along K, a group has the length of one instruction on Hopper, and of
# half an instruction on Ada.
PRODUCTS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "emulate": sum_in_float32,
    "hopper": partial(sum_in_groups, add_group=add_truncated, group=32),
    "ada": partial(sum_in_groups, add_group=add_truncated, group=16),
    "blackwell": partial(sum_in_groups, add_group=add_rounded, group=32),
}
