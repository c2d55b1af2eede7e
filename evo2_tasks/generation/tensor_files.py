"""Files of tensors, written tensor by tensor: the memory does not hold a second copy of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from evo2_tasks.io.files import replace_atomically, writing

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}
_STATEMENT = "statement"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], statement: Mapping[str, object]
) -> None:
    """Write a safetensors file, atomically.

    Args:
        path: The file.
        tensors: The tensors, on any devices.
        statement: What they are, in plain JSON.

    Raises:
        InputError: The file cannot be written.

    Source:
        The format is described at github.com/huggingface/safetensors. The library's own `save_file`
        copies all tensors before it writes the first.
    """
    ordered = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    entries: dict[str, object] = {"__metadata__": {_STATEMENT: json.dumps(statement)}}
    start = 0
    for name in ordered:
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.dtype.itemsize
        entries[name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header = header.ljust(-(-len(header) // 8) * 8)
    with replace_atomically(path) as temporary, writing(path), temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in ordered:
            plain = tensors[name].detach().cpu().contiguous()
            file.write(plain.reshape(-1).view(torch.uint8).numpy().data)


class TensorFile:
    """A file that `write_tensors` wrote; use it as a context manager.

    Args:
        path: The file.

    Raises:
        ValueError: It cannot be read, or is of another kind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="pt")
            self._names = set(self._file.keys())  # type: ignore[no-untyped-call] # safetensors has no types here
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path}: cannot be read: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call] # the same

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @property
    def statement(self) -> dict[str, Any]:
        """What the file states.

        Raises:
            ValueError: It states nothing.
        """
        metadata = self._file.metadata() or {}  # type: ignore[no-untyped-call] # the same
        try:
            stated: dict[str, Any] = json.loads(metadata[_STATEMENT])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self._path}: states nothing about its tensors.") from error
        return stated

    def read_rows(self, name: str, num_rows: int, like: Tensor) -> Tensor:
        """Read a tensor that has other rows than another one, to the device of that one.

        Args:
            name: Its name.
            num_rows: The length of its first dimension.
            like: A tensor of its dtype, whose other dimensions are the same.

        Raises:
            ValueError: There is no such tensor in the file.
        """
        return self._read(name, [num_rows, *like.shape[1:]], like)

    def read_tokens(self, name: str, num_rows: int, like: Tensor) -> Tensor:
        """Read keys or values of any number of tokens n, to the device of others.

        Args:
            name: Their name.
            num_rows: The number of sequences B.
            like: Others of the layer. (B', H, n', d)

        Returns:
            The keys or values. (B, H, n, d)

        Raises:
            ValueError: There is no such tensor in the file.
        """
        return self._read(name, [num_rows, like.shape[1], None, like.shape[3]], like)

    def _read(self, name: str, shape: list[int | None], like: Tensor) -> Tensor:
        if name not in self._names:
            raise ValueError(f"{self._path}: has no tensor {name}.")
        tensor: Tensor = self._file.get_tensor(name)  # type: ignore[no-untyped-call] # the same
        if (
            tensor.dtype != like.dtype
            or tensor.ndim != len(shape)
            or any(one not in (None, num) for one, num in zip(shape, tensor.shape, strict=True))
        ):
            raise ValueError(
                f"{self._path}: tensor {name} has the shape {list(tensor.shape)} and the dtype "
                f"{tensor.dtype}, which this model does not give."
            )
        return tensor.to(like.device)
