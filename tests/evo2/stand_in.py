"""A device that is not there: its tensors compute on the CPU and carry the name of another device.

Unlike torch's fake tensors they have values, so whole runs can be tested: scoring, generation. An
operation fails if it needs float64 on the device, as on MPS, or tensors of two devices.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import CausalBias
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from transformers import PreTrainedModel

DEVICE = torch.device("mps", 0)
CPU = torch.device("cpu")
WIDE = {torch.float64, torch.complex128}
COPIES = {"aten::_to_copy", "aten::copy_"}


class OnDevice(Tensor):
    """A tensor on `DEVICE`, with its values in a tensor on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnDevice":
        there = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        there.values = values
        return there

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return run(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl


def values_of(tree: Any) -> Any:
    """The same arguments, with the values of tensors of the device."""
    return tree_map(lambda leaf: leaf.values if isinstance(leaf, OnDevice) else leaf, tree)


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation of torch as the device would."""
    name, device = func._schema.name, kwargs.get("device")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    if there and name not in COPIES:  # single numbers may stay on the CPU
        strangers = [one for one in tensors if not isinstance(one, OnDevice) and one.dim()]
        assert not strangers, f"{name}: tensors on {DEVICE} and on the CPU"
    is_there = bool(there) if device is None else torch.device(device).type == DEVICE.type
    output = func(
        *values_of(args), **values_of(kwargs if device is None else {**kwargs, "device": CPU})
    )
    if is_there or there:
        touched = [*tensors, *tree_leaves(output)]
        wide = [one for one in touched if isinstance(one, Tensor) and one.dtype in WIDE]
        assert not wide, f"{name}: float64 on {DEVICE}"
    if func._schema.is_mutable:  # what was written to is the result
        written = [
            args[place] if place < len(args) else kwargs[argument.name]
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        return written[0] if isinstance(output, Tensor) else output
    if not is_there:
        return output
    return tree_map(lambda leaf: OnDevice(leaf) if isinstance(leaf, Tensor) else leaf, output)


class Device(TorchDispatchMode):
    """Makes tensors on `DEVICE`, and moves others there."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return run(func, args, kwargs or {})


class WithoutGuard(TorchFunctionMode):
    """Functions that ask the device for a guard or for a kernel, by the operations behind them."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return REPLACED.get(func, func)(*args, **(kwargs or {}))


def index(tensor: Tensor, key: Any) -> Tensor:
    """``tensor[key]``."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(one is Ellipsis for one in keys):
        place = next(place for place, one in enumerate(keys) if one is Ellipsis)
        used = sum(one is not None for one in keys) - 1
        keys[place : place + 1] = [slice(None)] * (tensor.dim() - used)
    dim, chosen = 0, {}
    for one in keys:
        if one is None:
            tensor = tensor.unsqueeze(dim)
            dim += 1
        elif isinstance(one, slice):
            tensor = torch.ops.aten.slice.Tensor(tensor, dim, *one.indices(tensor.shape[dim]))
            dim += 1
        elif isinstance(one, Tensor | list):
            chosen[dim] = torch.as_tensor(one, device=tensor.device)
            dim += 1
        else:
            tensor = tensor.select(dim, int(one))
    if chosen:
        places = [chosen.get(place) for place in range(max(chosen) + 1)]
        tensor = torch.ops.aten.index.Tensor(tensor, places)
    return tensor


def put(tensor: Tensor, key: Any, value: Any) -> None:
    """``tensor[key] = value`` of slices and whole numbers."""
    value = torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
    torch.ops.aten.copy_.default(index(tensor, key), value)


def attend(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """torch's fused attention, which asks the device which kernel to run."""
    if not isinstance(query, OnDevice):
        return ATTEND(query, key, value, *args, **kwargs)
    return OnDevice(ATTEND(*values_of((query, key, value, *args)), **values_of(kwargs)))


def make(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
    """``torch.tensor``, which takes memory of the device before a mode sees it."""
    made = MAKE(data, **kwargs)
    return made if device is None else made.to(device)


ATTEND, MAKE = functional.scaled_dot_product_attention, torch.tensor
REPLACED: dict[Any, Callable[..., Any]] = {
    Tensor.__getitem__: index,
    Tensor.__setitem__: put,
    Tensor.__invert__: torch.ops.aten.bitwise_not.default,
    Tensor.copy_: torch.ops.aten.copy_.default,
    Tensor.contiguous: lambda tensor, **_: torch.ops.aten.contiguous.default(tensor),
    Tensor.tolist: lambda tensor: tensor.cpu().numpy().tolist(),
    Tensor.__float__: lambda tensor: tensor.item(),
    Tensor.float: lambda tensor: tensor.to(torch.float32),
    Tensor.bfloat16: lambda tensor: tensor.to(torch.bfloat16),
    ATTEND: attend,
    MAKE: make,
}


class Event:
    """`torch.Event`, of which a device that is not there has none."""

    def __init__(self, **_: object) -> None:
        """Nothing is waited for."""

    def record(self) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""


def put_on_device(model: nn.Module) -> None:
    """Put a model, or a part of it, on the device tensor by tensor: `nn.Module.to` cannot."""
    for module in model.modules():
        module.train(module.training)  # what it keeps of its weights is on the CPU
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                there = OnDevice(parameter.detach())
                module._parameters[name] = nn.Parameter(there, requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = OnDevice(buffer)
    if isinstance(model, PreTrainedModel):
        model.tie_weights()


@contextmanager
def device_modes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While this is open, torch has the device."""
    make_bias = CausalBias.__new__

    def make_without_modes(*arguments: Any) -> Any:
        with _disable_current_modes():
            return make_bias(*arguments)

    monkeypatch.setattr(CausalBias, "__new__", make_without_modes)
    monkeypatch.setattr(torch, "Event", Event)
    # A view of a wrapped tensor cannot be made in inference mode.
    monkeypatch.setattr(torch, "inference_mode", lambda _mode=True: torch.no_grad())
    with torch.no_grad(), Device(), WithoutGuard():
        yield
