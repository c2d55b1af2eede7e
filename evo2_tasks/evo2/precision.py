"""What needs more precision than the activations have: where it is kept and computed."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

# Kinds of device on which torch computes in float64. MPS and some XPUs do not.
FLOAT64_DEVICES = ("cpu", "cuda", "meta")


class KeepsFloat32(nn.Module):
    """A module with tensors that need more precision than 16 bits and stay in float32.

    Moving the model to a narrower dtype leaves these tensors unchanged, to the bit. Moving it to
    another device or to float64 moves them too.
    """

    float32_names: ClassVar[tuple[str, ...]]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        kept = [getattr(self, name) for name in self.float32_names]
        kept += [tensor.grad for tensor in kept if tensor.grad is not None]

        def apply_widely(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            if any(tensor is one for one in kept) and applied.dtype.itemsize < 4:
                return tensor.to(applied.device, torch.float32)
            return applied

        return super()._apply(apply_widely, recurse)


def float64_device(device: torch.device) -> torch.device:
    """The device itself if it computes in float64, else the CPU."""
    return device if device.type in FLOAT64_DEVICES else torch.device("cpu")
