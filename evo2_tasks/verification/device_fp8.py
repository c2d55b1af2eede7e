"""The FP8 matrix multiplication of a device, compared with our FP8 modes."""

from typing import Any

import torch
from torch import Tensor

from evo2_tasks.evo2.fp8 import PRODUCTS, round_to_e4m3

INNER_SIZES = (32, 4_096)  # products in one sum: those of one instruction, and of many
OUTER_SIZE = 64
# What torch raises where a device, or the type of a matrix on it, has no FP8.
NO_FP8 = (RuntimeError, ValueError, NotImplementedError, TypeError)


def draw_e4m3(inner: int) -> tuple[Tensor, Tensor]:
    """Two random matrices of E4M3 values. 2 x (64, K)."""
    generator = torch.Generator().manual_seed(1)
    x, weight = (
        round_to_e4m3(torch.randn(OUTER_SIZE, inner, generator=generator), 2.0) for _ in range(2)
    )
    return x, weight


def compare_products(device: torch.device) -> dict[str, Any]:
    """Compare the FP8 matrix multiplication of a device with each of our FP8 modes, bit by bit.

    Args:
        device: The device that multiplies, with ``torch._scaled_mm``.

    Returns:
        ``sums``, the number of sums of each multiplication, and for each number of products in a
        sum and each of torch's two ways of summing, the number of sums that have the same bits in
        each mode. Or ``not_run``, the reason why the device did not multiply.
    """
    counts: dict[str, Any] = {"sums": OUTER_SIZE**2}
    for inner in INNER_SIZES:
        x, weight = draw_e4m3(inner)
        rules = {mode: multiply(x, weight, 1.0) for mode, multiply in PRODUCTS.items()}
        for name, is_fast in (("fast", True), ("precise", False)):
            try:
                sums = scaled_product(x, weight, device, is_fast=is_fast)
            except NO_FP8 as error:
                # The message of the error may have paths.
                return {"not_run": f"torch._scaled_mm: {type(error).__name__}"}
            counts[f"{inner}, {name}"] = {
                mode: int((sums == rule).sum()) for mode, rule in rules.items()
            }
    return counts


def scaled_product(x: Tensor, weight: Tensor, device: torch.device, *, is_fast: bool) -> Tensor:
    """Matrix product of E4M3 numbers by the device's own FP8, as float32 on the CPU."""
    one = torch.ones((), device=device)
    return torch._scaled_mm(
        x.to(device, torch.float8_e4m3fn),
        weight.to(device, torch.float8_e4m3fn).t(),
        scale_a=one,
        scale_b=one,
        out_dtype=torch.float32,
        use_fast_accum=is_fast,
    ).cpu()
