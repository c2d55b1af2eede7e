"""Published files by the description of their layout, not by the code: names, shapes, dtypes.

With it files of any size are written that take no room on the disk, by torch itself.
"""

import io
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from evo2_tasks import Evo2Config

BF16, FP32 = torch.bfloat16, torch.float32
CHUNK_BYTES = 2**24


class Stored(NamedTuple):
    shape: tuple[int, ...]
    dtype: torch.dtype


class Dtypes(NamedTuple):
    """What differs from file to file; all the rest is bfloat16 but for poles and residues."""

    norms: torch.dtype = BF16
    inv_freq: torch.dtype = BF16
    projections: torch.dtype = BF16


def layout(config: Evo2Config, dtypes: Dtypes = Dtypes()) -> dict[str, Stored]:  # noqa: B008 # frozen
    """The tensors of a published file."""
    D, inner = config.hidden_size, config.intermediate_size  # noqa: N806 # as in the description
    G_se, G_mr = config.hyena_se_groups, config.hyena_mr_groups  # noqa: N806 # the same
    norms = dtypes.norms
    tensors = {
        "embedding_layer.weight": Stored((config.vocab_size, D), BF16),
        "unembed.weight": Stored((config.vocab_size, D), BF16),
        "norm.scale": Stored((D,), norms),
    }
    for layer, operator in enumerate(config.operators):
        block = {
            "pre_norm.scale": Stored((D,), norms),
            "post_norm.scale": Stored((D,), norms),
            "mlp.l1.weight": Stored((inner, D), BF16),
            "mlp.l2.weight": Stored((inner, D), BF16),
            "mlp.l3.weight": Stored((D, inner), BF16),
        }
        if operator == "attention":
            frequencies = D // config.num_attention_heads // 2
            block |= {
                "inner_mha_cls.Wqkv.weight": Stored((3 * D, D), BF16),
                "inner_mha_cls.out_proj.weight": Stored((D, D), BF16),
                "inner_mha_cls.out_proj.bias": Stored((D,), BF16),
                "inner_mha_cls.rotary_emb.inv_freq": Stored((frequencies,), dtypes.inv_freq),
            }
        else:
            block |= {
                "projections.weight": Stored((3 * D, D), dtypes.projections),
                "filter.short_filter_weight": Stored((3 * D, 1, config.featurizer_length), BF16),
                "out_filter_dense.weight": Stored((D, D), BF16),
                "out_filter_dense.bias": Stored((D,), BF16),
            }
        if operator == "hyena_se":
            block["filter.h"] = Stored((G_se, 1, config.hyena_se_length), BF16)
        elif operator == "hyena_mr":
            block["filter.h"] = Stored((G_mr, 1, config.hyena_mr_length), BF16)
            block["filter.D"] = Stored((D,), BF16)
        elif operator == "hyena_li":
            block["filter.log_poles"] = Stored((D, config.state_size, 1), FP32)
            block["filter.residues"] = Stored((D, config.state_size), FP32)
            block["filter.D"] = Stored((D,), BF16)
        tensors |= {f"blocks.{layer}.{name}": stored for name, stored in block.items()}
    return tensors


def blob_names(config: Evo2Config, kinds: dict[str, list[str]]) -> list[str]:
    """Names of the FP8 states, given the modules that have one by ``hyena`` and ``attention``."""
    return [
        f"blocks.{layer}.{module}._extra_state"
        for layer, operator in enumerate(config.operators)
        for module in kinds["attention" if operator == "attention" else "hyena"]
    ]


def make_blob(generator: torch.Generator) -> io.BytesIO:
    """An FP8 state as Transformer Engine saves it."""
    blob = io.BytesIO()
    state = {
        "scale_fwd": torch.rand(3, generator=generator),
        "amax_history_fwd": torch.rand(16, 3, generator=generator),
        "extra_fp8_variables": {"fp8_max_fwd": 448.0, "num_gemms": 1},
    }
    torch.save(state, blob)
    blob.seek(0)
    return blob


def write_sparse(path: Path, config: Evo2Config, dtypes: Dtypes, blobs: list[str]) -> None:
    """Write a published file of zeros that takes no room on the disk.

    As in the real ones, some tensors are views of larger storages: of each layer, `l1` and `l2` lie
    in one, and the filters of a layer in the middle of another.
    """
    generator = torch.Generator().manual_seed(0)
    entries: dict[str, Any] = {name: make_blob(generator) for name in blobs}
    with FakeTensorMode():
        for name, (shape, dtype) in layout(config, dtypes).items():
            if name.endswith("mlp.l2.weight"):
                continue
            if name.endswith("mlp.l1.weight"):
                both = torch.empty(2, *shape, dtype=dtype)
                entries[name], entries[name.replace("l1", "l2")] = both
            elif name.endswith("short_filter_weight"):
                entries[name] = torch.empty(3, *shape, dtype=dtype)[1]
            else:
                entries[name] = torch.empty(shape, dtype=dtype)
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(entries, path)


def fill_ends(path: Path, num_elements: int) -> None:
    """Give each tensor of a file of zeros random elements at its beginning and its end."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in mapped(path, writable=True).items():
        flat = tensor.view(-1)
        ends = (
            [flat] if len(flat) < 2 * num_elements else [flat[:num_elements], flat[-num_elements:]]
        )
        for end in ends:
            values = 0.3 * torch.randn(end.shape, generator=generator)
            end.copy_(-values.abs() - 1e-3 if name.endswith("log_poles") else values)
        if name.endswith("log_poles"):
            assert len(ends) == 1, "poles are below 0 throughout"


def mapped(path: Path, *, writable: bool = False) -> dict[str, Tensor]:
    """The tensors of a published file of one piece, as torch maps them into memory."""
    flags = mmap.MAP_SHARED if writable else mmap.MAP_PRIVATE
    with (
        torch.serialization.set_default_mmap_options(flags),
        torch.serialization.safe_globals([io.BytesIO]),
    ):
        entries = torch.load(path, mmap=True, weights_only=True)
    return {name: entry for name, entry in entries.items() if isinstance(entry, Tensor)}


def split_sparse(path: Path, number: int) -> list[Path]:
    """Cut a file into ``.part0``, ``.part1``, ... of nearly equal length, holes staying holes."""
    size = path.stat().st_size
    length = -(-size // number)
    parts = []
    with path.open("rb") as whole:
        for part in range(number):
            start, end = part * length, min((part + 1) * length, size)
            parts.append(path.with_name(f"{path.name}.part{part}"))
            with parts[-1].open("wb") as piece:
                for first, last in data_of(whole.fileno(), start, end):
                    for here in range(first, last, CHUNK_BYTES):
                        whole.seek(here)
                        piece.seek(here - start)
                        piece.write(whole.read(min(CHUNK_BYTES, last - here)))
                piece.truncate(end - start)
    return parts


def data_of(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that are no holes."""
    while start < end:
        try:
            first = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        start = os.lseek(descriptor, first, os.SEEK_HOLE)
        if first < end:
            yield first, min(start, end)
