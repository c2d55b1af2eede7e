"""The published checkpoint files: one flat dict of tensors, saved by torch, maybe cut in parts.

No code from a file is executed. torch unpickles with ``weights_only=True``, and only to find the
position of each tensor. The bytes are then read from the mapped file, one tensor at a time.
"""

import io
import json
import math
import mmap
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .config import ATTENTION, HYENA_LI, Evo2Config
from .modeling import Evo2ForCausalLM

STORED_DTYPES = (torch.bfloat16, torch.float32)
MOST_NAMES_IN_AN_ERROR = 8
_FP8_VARIABLES = "extra_fp8_variables"


class StoredTensor(NamedTuple):
    """A tensor in a file: its shape, its dtype, and a function that reads it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    """The tensor, which is read-only."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor's own elements."""
        return math.prod(self.shape) * self.dtype.itemsize


class Fp8State(NamedTuple):
    """The FP8 scaling of one linear map in a published file."""

    tensors: dict[str, Tensor]
    variables: dict[str, Any]


class PublishedFile(io.RawIOBase):
    """A published checkpoint. Its parts are read as one file.

    Args:
        path: The ``.pt`` file, or its first part, ``.pt.part0``.

    Attributes:
        entries: Contents of the file by name: tensors without data, and opaque blobs.

    Raises:
        ValueError: The file is missing or is not in the published format.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._maps: list[memoryview] = []
        self._position = 0
        for part in find_parts(path):
            if part.stat().st_size:
                with part.open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._maps.append(memoryview(mapped))
        self._size = sum(map(len, self._maps))
        self.entries = self._load_entries()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Start of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in the joined file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current position."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        view[:length] = self.read_bytes(self._position, length, alignment=1)
        self._position += length
        return length

    def read_bytes(self, start: int, length: int, *, alignment: int) -> memoryview:
        """Bytes of the joined file, without a copy if they are in one part and aligned.

        Raises:
            ValueError: The file ends before them.
        """
        if start + length > self._size:
            raise ValueError(
                f"{self.path}: ends at byte {self._size}, before the end of a tensor; it is cut "
                "short or a part is missing."
            )
        pieces, skipped = [], 0
        for mapped in self._maps:
            first, last = max(start - skipped, 0), min(start + length - skipped, len(mapped))
            if first < last:
                pieces.append(mapped[first:last])
                if last - first == length and first % alignment == 0:
                    return pieces[0]
            skipped += len(mapped)
        return memoryview(bytearray().join(pieces))

    def read_tensor(self, entry: Tensor) -> Tensor:
        """The data of an entry. If it is a view of a larger storage, only its part is read."""
        if entry.numel() == 0:
            return torch.empty(entry.shape, dtype=entry.dtype)
        steps = zip(entry.shape, entry.stride(), strict=True)
        span = 1 + sum((size - 1) * stride for size, stride in steps)
        storage: Any = entry.untyped_storage()
        start = storage._checkpoint_offset + entry.storage_offset() * entry.itemsize
        data = self.read_bytes(start, span * entry.itemsize, alignment=entry.itemsize)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            flat = torch.frombuffer(data, dtype=entry.dtype)
        return flat.as_strided(entry.shape, entry.stride()).contiguous()

    def _load_entries(self) -> dict[str, Any]:
        unreadable = f"{self.path}: not a checkpoint in the format of torch.save, or incomplete"
        if not zipfile.is_zipfile(self):
            raise ValueError(f"{unreadable}.")
        self.seek(0)
        try:
            # BytesIO for the blobs; torch pickles an empty one as a call of bytes.
            with torch.serialization.safe_globals([io.BytesIO, bytes]):
                entries = torch.load(self, map_location="meta", weights_only=True)  # type: ignore[arg-type] # a RawIOBase is enough
        except pickle.UnpicklingError as error:
            reason = _reason(error)
            raise ValueError(f"{self.path}: not a file of tensors only: {reason}") from error
        except Exception as error:
            raise ValueError(f"{unreadable}: {_reason(error)}") from error
        if not isinstance(entries, dict) or not all(isinstance(key, str) for key in entries):
            raise ValueError(f"{self.path}: holds a {type(entries).__name__}, not named tensors.")
        for name, entry in entries.items():
            if isinstance(entry, Mapping):
                raise ValueError(
                    f"{self.path}: not the flat published layout; its {name!r} is a dict of "
                    f"{len(entry)} entries. Save that dict as a file of its own."
                )
        return entries


def find_parts(path: Path) -> list[Path]:
    """The files that make up a published one, in order.

    Raises:
        ValueError: There is no such file, or a part before the last is missing.
    """
    if path.is_file() and not re.search(r"\.part\d+$", path.name):
        return [path]
    stem = re.sub(r"\.part0$", "", path.name)
    numbers = {
        int(match[1]): part
        for part in path.parent.glob("*")
        if (match := re.fullmatch(re.escape(stem) + r"\.part(\d+)", part.name))
    }
    if not numbers:
        raise ValueError(f"{path}: no such file, and no {stem}.part0 next to it.")
    missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
    if missing:
        raise ValueError(f"{path}: part {missing[0]} is missing; there are {sorted(numbers)}.")
    return [numbers[index] for index in sorted(numbers)]


def published_name(name: str) -> str:
    """The published name of one of our parameters or modules."""
    name = re.sub(r"^model\.embed_tokens\b", "embedding_layer", name)
    name = re.sub(r"^model\.norm\b", "norm", name)
    name = re.sub(r"^model\.layers\.", "blocks.", name)
    name = re.sub(r"\.mixer\.(?=(projections|out_filter_dense|filter)\b)", ".", name)
    return name.replace(".mixer.", ".inner_mha_cls.")


def expected_shapes(config: Evo2Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor in a checkpoint of this config, by our names."""
    with torch.device("meta"):
        model = Evo2ForCausalLM(config)
    tied = model.all_tied_weights_keys
    return {
        name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied
    }


def fp8_modules(config: Evo2Config) -> list[str]:
    """Our names of the linear maps that may have FP8 scales in a published file."""
    return [
        f"model.layers.{layer}.{module}"
        for layer, operator in enumerate(config.operators)
        for module in (
            *("mlp.l1", "mlp.l2", "mlp.l3"),
            *(["mixer.Wqkv"] if operator == ATTENTION else []),
            *([] if operator == ATTENTION else ["mixer.projections", "mixer.out_filter_dense"]),
        )
    ]


def fp8_name(module: str) -> str:
    """The published name of the FP8 scaling of one of our modules."""
    return f"{published_name(module)}._extra_state"


def ignored_names(config: Evo2Config) -> set[str]:
    """Published entries that are not needed: unused output matrix, time axes, empty states."""
    names = {"unembed.weight"}
    for layer, operator in enumerate(config.operators):
        if operator == ATTENTION:
            names |= {f"blocks.{layer}.mixer.{module}._extra_state" for module in ("dense", "attn")}
        elif operator == HYENA_LI:
            names.add(f"blocks.{layer}.mixer.mixer.filter.t")
    return names


def find_mismatches(
    stored: Mapping[str, tuple[int, ...] | None], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """The mismatches between stored and expected tensors, by name and shape.

    Args:
        stored: Shape of each stored entry; None for an entry that is not a tensor.
        expected: Shape of each expected tensor.

    Returns:
        One phrase for each kind of mismatch; empty if there is no mismatch.
    """
    wrong = [
        f"{name} is {'not a tensor' if stored[name] is None else list(stored[name] or ())} "
        f"instead of {list(shape)}"
        for name, shape in expected.items()
        if name in stored and stored[name] != shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in stored],
        "unknown": [name for name in stored if name not in expected],
        "wrong shape": wrong,
    }
    return [f"{kind}: {_join(names)}" for kind, names in kinds.items() if names]


def _join(names: list[str]) -> str:
    rest = len(names) - MOST_NAMES_IN_AN_ERROR
    listed = ", ".join(names[:MOST_NAMES_IN_AN_ERROR])
    return f"{listed} and {rest} more" if rest > 0 else listed


def published_mismatches(file: PublishedFile, config: Evo2Config) -> list[str]:
    """The mismatches between a published file and a config; see `find_mismatches`."""
    expected = {published_name(name): shape for name, shape in expected_shapes(config).items()}
    passed_over = ignored_names(config) | {fp8_name(module) for module in fp8_modules(config)}
    stored = {
        name: tuple(entry.shape) if isinstance(entry, Tensor) else None
        for name, entry in file.entries.items()
        if name not in passed_over
    }
    return find_mismatches(stored, expected)


def match_published(
    file: PublishedFile, config: Evo2Config
) -> tuple[dict[str, StoredTensor], dict[str, Fp8State]]:
    """Find each tensor of a config in a published file, under our names.

    Args:
        file: The published file.
        config: The config that the file should match.

    Returns:
        The tensors, and the FP8 scaling of the linear maps that have one in the file.

    Raises:
        ValueError: A tensor is missing or unknown, or has another shape or another dtype.
    """
    mismatches = published_mismatches(file, config)
    if mismatches:
        found = "; ".join(mismatches)
        raise ValueError(f"{file.path}: the tensors do not match the config. {found}.")
    tensors = {}
    for name in expected_shapes(config):
        entry = file.entries[published_name(name)]
        if entry.dtype not in STORED_DTYPES:
            raise ValueError(
                f"{file.path}: {published_name(name)} is {entry.dtype}, not bfloat16 or float32."
            )
        tensors[name] = StoredTensor(
            tuple(entry.shape), entry.dtype, partial(file.read_tensor, entry)
        )
    states = {module: read_fp8_state(file, fp8_name(module)) for module in fp8_modules(config)}
    return tensors, {module: state for module, state in states.items() if state.tensors}


def read_fp8_state(file: PublishedFile, name: str) -> Fp8State:
    """Read a blob of Transformer Engine, in one of its two forms, without running code from it.

    Raises:
        ValueError: The blob contains objects that cannot be read safely.
    """
    blob = file.entries.get(name)
    try:
        if isinstance(blob, io.BytesIO) and blob.getvalue():
            state = torch.load(io.BytesIO(blob.getvalue()), map_location="cpu", weights_only=True)
        elif isinstance(blob, Tensor) and blob.numel():
            state = _TensorUnpickler(io.BytesIO(file.read_tensor(blob).numpy().tobytes())).load()
        elif blob is None or isinstance(blob, io.BytesIO | Tensor):
            return Fp8State({}, {})
        else:
            raise TypeError(f"it is a {type(blob).__name__}")
        variables = state.get(_FP8_VARIABLES, {})
        json.dumps(variables)
    except Exception as error:
        raise ValueError(f"{file.path}: {name} cannot be read safely: {_reason(error)}") from error
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return Fp8State(tensors, variables)


def make_fp8_blob(state: Fp8State) -> io.BytesIO:
    """The FP8 scaling of one linear map as the blob of a published file."""
    blob = io.BytesIO()
    torch.save({**state.tensors, _FP8_VARIABLES: state.variables}, blob)
    blob.seek(0)
    return blob


def _reason(error: Exception) -> str:
    """An error in one line. torch names the refused object in the middle of a long text."""
    text = str(error).strip() or repr(error)
    refused = re.search(r"(?:Unsupported|Trying to|Can only)[^\n]*", text)
    return (refused[0] if refused else text.splitlines()[0]).split(". ")[0]


class _Inert:
    """Replacement for objects of Transformer Engine, without content and behaviour."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that creates plain values and tensors only."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): _load_storage,
        }
        if (module, name) in known:
            return known[module, name]
        if module.split(".")[0] == "transformer_engine":
            return _Inert
        raise pickle.UnpicklingError(f"it requires {module}.{name}")


def _load_storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
