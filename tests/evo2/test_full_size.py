"""The published files at their full size: written sparse, they take no room on the disk."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.checkpoints import choose_config, recognise
from evo2_tasks.evo2.config import PRESETS
from evo2_tasks.evo2.folders import plan_shards
from evo2_tasks.evo2.published import PublishedFile, match_published, published_name
from tests.evo2.layout import BF16, FP32, Dtypes, blob_names, layout, split_sparse, write_sparse


class Published(NamedTuple):
    """What is known of a published file."""

    parameters: int
    num_bf16: int
    num_fp32: int
    tensor_bytes: int
    dtypes: Dtypes
    num_blobs: int
    blobs: dict[str, list[str]]


FEW = {"hyena": ["projections"], "attention": ["mixer.dense"]}
SOME = {"hyena": ["projections"], "attention": ["mixer.dense", "mixer.attn"]}
MLP = ["mlp.l1", "mlp.l2", "mlp.l3"]
MOST = {
    "hyena": ["projections", "out_filter_dense", *MLP],
    "attention": ["inner_mha_cls.Wqkv", "mixer.dense", *MLP],
}
ALL = {**MOST, "attention": [*MOST["attention"], "mixer.attn"]}
WIDE_40B = Dtypes(norms=FP32, inv_freq=FP32)
WIDE_20B = Dtypes(inv_freq=FP32, projections=FP32)

# The registry that github.com/tcztzy/evo.cpp (c281681e) made of the real files: tensors by dtype,
# their bytes, FP8 states. Parameters are the elements of all tensors, RoPE frequencies among them
# and the embedding counted once. Of the microviridae file only the geometry is known.
FILES = {
    "evo2_1b_base": Published(1_107_990_016, 256, 14, 2_218_806_272, Dtypes(), 25, FEW),
    "evo2_7b": Published(6_581_723_200, 327, 18, 13_170_000_000, Dtypes(), 37, SOME),
    "evo2_7b_base": Published(6_481_059_904, 327, 18, 12_968_673_408, Dtypes(), 32, FEW),
    "evo2_7b_262k": Published(6_481_059_904, 327, 18, 12_968_673_408, Dtypes(), 32, FEW),
    "evo2_7b_microviridae": Published(6_481_059_904, 327, 18, 12_968_673_408, Dtypes(), 32, FEW),
    "evo2_20b": Published(19_738_780_352, 223, 38, 47_945_336_576, WIDE_20B, 123, ALL),
    "evo2_40b": Published(41_117_574_656, 400, 137, 82_252_533_760, WIDE_40B, 258, ALL),
    "evo2_40b_base": Published(40_331_142_656, 400, 137, 80_679_669_760, WIDE_40B, 250, MOST),
}


@pytest.mark.parametrize("release", PRESETS)
def test_the_layout_is_that_of_the_published_files(release: str) -> None:
    known, config = FILES[release], Evo2Config.from_preset(release)
    tensors = layout(config, known.dtypes)
    assert Counter(stored.dtype for stored in tensors.values()) == {
        BF16: known.num_bf16,
        FP32: known.num_fp32,
    }
    sizes = {name: torch.Size(stored.shape).numel() for name, stored in tensors.items()}
    assert sum(n * tensors[name].dtype.itemsize for name, n in sizes.items()) == known.tensor_bytes
    assert sum(sizes.values()) - sizes["unembed.weight"] == known.parameters
    assert len(blob_names(config, known.blobs)) == known.num_blobs


@pytest.mark.parametrize("release", PRESETS)
def test_a_model_of_full_size_has_the_tensors_of_its_file(release: str) -> None:
    config = Evo2Config.from_preset(release, dtype=torch.bfloat16)
    with torch.device("meta"):
        model = Evo2ForCausalLM(config).to(torch.bfloat16)
    tensors = layout(config)
    del tensors["unembed.weight"]
    ours = {published_name(name): tensor for name, tensor in model.state_dict().items()}
    del ours["lm_head.weight"]
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == {
        name: stored.shape for name, stored in tensors.items()
    }
    wide = {name for name, tensor in ours.items() if tensor.dtype == FP32}
    assert wide == {
        name for name in tensors if name.endswith(("log_poles", "residues", "inv_freq"))
    }
    assert {ours[name].dtype for name in ours.keys() - wide} == {BF16}
    assert sum(tensor.numel() for tensor in ours.values()) == FILES[release].parameters


@pytest.mark.parametrize("release", PRESETS)
def test_a_file_of_full_size_is_read_in_place(release: str, tmp_path: Path) -> None:
    known, config = FILES[release], Evo2Config.from_preset(release)
    path = tmp_path / f"{release}.pt"
    write_sparse(path, config, known.dtypes, blob_names(config, known.blobs))
    assert path.stat().st_size > known.tensor_bytes
    assert path.stat().st_blocks * 512 < 5_000_000
    if "40b" in release:
        path = split_sparse(path, 2)[0]
    file = PublishedFile(path)
    chosen = choose_config(file)
    assert chosen.to_dict() == config.to_dict()
    # Where several fit, the first one of that geometry.
    assert recognise(chosen) == release.replace("microviridae", "base")
    tensors, states = match_published(file, chosen)
    expected = layout(config, known.dtypes)
    del expected["unembed.weight"]
    assert {published_name(name): tensor[:2] for name, tensor in tensors.items()} == expected
    says_nothing = [name for name in known.blobs["attention"] if name.startswith("mixer.")]
    num_attention = config.operators.count("attention")
    assert len(states) == known.num_blobs - num_attention * len(says_nothing)
    sizes = [shard.num_bytes for shard in plan_shards(tensors)]
    assert max(sizes) < 4_100_000_000
    unused = known.tensor_bytes - 512 * config.hidden_size * 2
    assert unused < sum(sizes) < unused + 200_000
