"""Reads the weights of the folders of ``make_folders.py`` with programs in Python without torch.

Run by the environment of the readers:

    PYTHONPATH=. build/readers/bin/python tests/readers/models/read_folders.py READER FOLDERS OUT
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.readers.encode import encode

Tensors = Iterator[tuple[str, str, Any]]


def by_safetensors(path: Path) -> Tensors:
    """Name, dtype and values of each tensor, by safetensors without torch."""
    with importlib.import_module("safetensors").safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118 # not a mapping
            yield name, file.get_slice(name).get_dtype(), file.get_tensor(name)


def by_gguf(path: Path) -> Tensors:
    """The same by the reader with which gguf converts models for llama.cpp."""
    np = importlib.import_module("numpy")
    for name, tensor in (
        importlib.import_module("gguf.utility").SafetensorsLocal(path).tensors.items()
    ):
        data = np.asarray(tensor.mmap_bytes())
        if tensor.dtype == "BF16":
            values = (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = data.view({"F32": np.float32}[tensor.dtype])
        yield name, tensor.dtype, values.reshape(tensor.shape)


READERS: dict[str, tuple[str, Callable[[Path], Tensors]]] = {
    "safetensors without torch": ("safetensors", by_safetensors),
    "gguf": ("gguf", by_gguf),
}


def main(reader: str, folder: Path, out: Path) -> None:
    """Read the weights, write what the reader gave."""
    package, read = READERS[reader]
    tables: dict[str, Any] = {}
    for name in ("whole", "parts"):
        headers, values = {}, {}
        try:
            for path in sorted((folder / name).glob("*.safetensors")):
                for key, dtype, tensor in read(path):
                    headers[key] = encode([dtype, *tensor.shape])
                    values[key] = encode(tensor.ravel().tolist())
        except Exception as error:  # each reader has errors of its own
            headers = values = {"error": f"{type(error).__name__}: {error}"}
        tables |= {f"{name}: dtypes and shapes": headers, f"{name}: values": values}
    version = importlib.metadata.version(package)
    out.write_text(json.dumps({"version": version, "tables": tables, "answers": {}}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
