"""Published files, folders, and the way between them: every kept tensor in its bits and dtype."""

import io
import json
import os
import pickle
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.evo2 import checkpoints, folders
from evo2_tasks.evo2 import config as evo2_config
from evo2_tasks.evo2.checkpoints import (
    _state_other_values,
    convert_published,
    export_published,
    layer_digests,
    load_model,
    read_release,
    set_fp8,
    weights_digest,
)
from evo2_tasks.evo2.config import PRESETS

FIXTURES = ["tiny_7b_1m", "tiny_1b_8k", "tiny_40b_1m"]
Entries = dict[str, Any]


def load(path: Path, dtype: torch.dtype = torch.float32, **kwargs: Any) -> Evo2ForCausalLM:
    return load_model(path, dtype=dtype, devices=[torch.device("cpu")], **kwargs)


def read_published(path: Path) -> Entries:
    with torch.serialization.safe_globals([io.BytesIO]):
        entries: Entries = torch.load(path, weights_only=True)
    return entries


def is_extra(name: str) -> bool:
    return name.endswith((".filter.t", ".mixer.dense._extra_state", "unembed.weight"))


def check_same(one: Entries, other: Entries) -> None:
    """Equal names, bits and dtypes, but for what says nothing."""
    names = {name for name in one if not is_extra(name)}
    assert names == {name for name in other if not is_extra(name)}
    for name in names:
        if isinstance(one[name], io.BytesIO):
            states = [torch.load(io.BytesIO(entries[name].getvalue())) for entries in (one, other)]
            assert states[0].keys() == states[1].keys(), name
            for key, value in states[0].items():
                same = torch.equal if isinstance(value, Tensor) else lambda a, b: a == b
                assert same(value, states[1][key]), (name, key)
        else:
            assert one[name].dtype == other[name].dtype, name
            assert torch.equal(one[name], other[name]), name


class Publish:
    """Writes published files of small models."""

    def __init__(self, folder: Path, make_config: Any, make_published: Any) -> None:
        self.folder, self.make_config, self.make_published = folder, make_config, make_published

    def __call__(
        self,
        change: Callable[[Entries], object] | None = None,
        *,
        name: str = "model.pt",
        operators: list[str] | None = None,
        **kwargs: Any,
    ) -> tuple[Path, Path]:
        """A file, whose entries `change` may alter, and its YAML config."""
        config = self.make_config(operators, **kwargs)
        entries = self.make_published(config)
        if change is not None:
            change(entries)
        file, yml = self.folder / name, self.folder / f"{name}.yml"
        torch.save(entries, file)
        yml.write_text(yaml.safe_dump(config.to_published()))
        return file, yml


@pytest.fixture
def publish(tmp_path: Path, make_config: Any, make_published: Any) -> Publish:
    return Publish(tmp_path, make_config, make_published)


@pytest.mark.parametrize("name", FIXTURES)
def test_there_and_back(golden_folder: Path, tmp_path: Path, name: str) -> None:
    source = golden_folder / name
    folder, exported = tmp_path / "folder", tmp_path / "exported.pt"
    convert_published(source / "model.pt", folder, config=source / "config.yml")
    export_published(folder, exported)
    check_same(read_published(source / "model.pt"), read_published(exported))
    again = tmp_path / "again"
    convert_published(exported, again, config=tmp_path / "exported.yml")
    assert {path.name for path in folder.iterdir()} == {path.name for path in again.iterdir()}
    for path in folder.iterdir():
        if path.name != "conversion.json":  # which says what it was made of
            assert path.read_bytes() == (again / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_way_to_load_gives_the_same_weights(
    golden_folder: Path, tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    source, folder = golden_folder / name, tmp_path / "folder"
    convert_published(source / "model.pt", folder, config=source / "config.yml")
    direct = load(source / "model.pt", dtype, config=source / "config.yml")
    assert not direct.training
    digests = {
        weights_digest(direct),
        weights_digest(load(folder, dtype)),
        weights_digest(Evo2ForCausalLM.from_pretrained(folder, dtype=dtype)),
        weights_digest(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)),
    }
    assert len(digests) == 1
    assert direct.lm_head.weight is direct.model.embed_tokens.weight
    assert type(AutoTokenizer.from_pretrained(folder)) is Evo2Tokenizer
    assert direct.generation_config.eos_token_id == 0
    assert load(folder, dtype).generation_config.pad_token_id == 1


@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    operators=st.lists(
        st.sampled_from(["hyena_se", "hyena_mr", "hyena_li", "attention"]), min_size=1, max_size=5
    ),
    eps=st.sampled_from([1e-6, 0.25]),
    factor=st.sampled_from([1.0, 16.0]),
    groups=st.integers(1, 3),
)
def test_any_geometry_there_and_back(
    tmp_path_factory: pytest.TempPathFactory,
    make_config: Any,
    make_published: Any,
    operators: list[str],
    eps: float,
    factor: float,
    groups: int,
) -> None:
    tmp_path = tmp_path_factory.mktemp("geometry")
    rope = {"rope_type": "linear", "rope_theta": 5e5, "factor": factor}
    file, yml = Publish(tmp_path, make_config, make_published)(
        operators=operators,
        hidden_size=10 * groups,
        num_attention_heads=groups,
        hyena_se_groups=groups,
        hyena_mr_groups=5,
        norm_eps=eps,
        rope_parameters=rope,
    )
    convert_published(file, tmp_path / "folder", config=yml)
    export_published(tmp_path / "folder", tmp_path / "back.pt")
    check_same(read_published(file), read_published(tmp_path / "back.pt"))
    loaded = load(tmp_path / "folder")
    assert (loaded.config.norm_eps, loaded.config.rope_factor) == (eps, factor)
    assert weights_digest(loaded) == weights_digest(load(file, config=yml))


def store_wide(entries: Entries) -> None:
    """Projections and norms in float32, with digits that bfloat16 has not."""
    generator = torch.Generator().manual_seed(7)
    for name, entry in entries.items():
        if name.endswith((".projections.weight", ".scale")):
            entries[name] = torch.randn(entry.shape, generator=generator)


def round_all(entries: Entries) -> None:
    for name, entry in entries.items():
        if name.endswith((".projections.weight", ".scale")):
            entries[name] = entry.bfloat16()


def test_weights_stored_wider_than_the_reference_holds_them(
    publish: Publish, tmp_path: Path
) -> None:
    wide, yml = publish(store_wide, name="wide.pt")
    narrow, _ = publish(lambda entries: (store_wide(entries), round_all(entries)), name="narrow.pt")
    folder = tmp_path / "folder"
    convert_published(wide, folder, config=yml)
    held = weights_digest(load(narrow, config=yml))
    assert weights_digest(load(wide, config=yml)) == held
    assert weights_digest(load(folder)) == held
    loaded = Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert weights_digest(loaded) == held
    # Stored bits are kept, and a model that was loaded and saved is not rounded again.
    stored = load_file(folder / "model.safetensors")
    assert stored["model.layers.0.mixer.projections.weight"].dtype == torch.float32
    export_published(folder, tmp_path / "back.pt")
    check_same(read_published(wide), read_published(tmp_path / "back.pt"))
    with torch.no_grad():
        loaded.model.norm.scale.add_(1e-5)
    loaded.save_pretrained(tmp_path / "trained")
    again = Evo2ForCausalLM.from_pretrained(tmp_path / "trained", dtype=torch.float32)
    assert weights_digest(again) == weights_digest(loaded) != held


def test_weights_in_bfloat16_need_no_rounding(publish: Publish, tmp_path: Path) -> None:
    file, yml = publish()
    convert_published(file, tmp_path / "folder", config=yml)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["round_weights_to"] is None
    assert config["dtype"] == "bfloat16"


def test_views_of_larger_storages(publish: Publish, tmp_path: Path) -> None:
    def make_views(entries: Entries) -> None:
        embedding = entries["embedding_layer.weight"]
        vocab, width = embedding.shape
        wide = torch.randn(vocab, 3 * width).bfloat16()
        wide[:, 5 : 5 + width] = embedding
        entries["embedding_layer.weight"] = wide[:, 5 : 5 + width]  # offset and row stride
        l3 = entries["blocks.1.mlp.l3.weight"]
        entries["blocks.1.mlp.l3.weight"] = l3.t().contiguous().t()  # transposed
        both = torch.cat([entries["blocks.0.mlp.l1.weight"], entries["blocks.0.mlp.l2.weight"]])
        entries["blocks.0.mlp.l1.weight"], entries["blocks.0.mlp.l2.weight"] = both.chunk(2)
        big = torch.zeros(1_000_000)
        big[77 : 77 + 24 * 5] = entries["blocks.2.filter.residues"].flatten()
        entries["blocks.2.filter.residues"] = big[77 : 77 + 24 * 5].view(24, 5)
        entries["norm.scale"] = torch.tensor(0.5).bfloat16().expand(24)  # stride 0

    def pack(entries: Entries) -> None:
        entries["norm.scale"] = torch.full((24,), 0.5).bfloat16()

    views, yml = publish(make_views, name="views.pt")
    packed, _ = publish(pack, name="packed.pt")
    assert views.stat().st_size > packed.stat().st_size + 4_000_000
    assert weights_digest(load(views, config=yml)) == weights_digest(load(packed, config=yml))
    convert_published(views, tmp_path / "folder", config=yml)
    weights = tmp_path / "folder" / "model.safetensors"
    assert weights.stat().st_size < packed.stat().st_size


@pytest.mark.parametrize("number", [2, 3, 11])
@pytest.mark.parametrize("named", ["model.pt", "model.pt.part0"])
def test_parts_are_read_as_one_file(
    publish: Publish, tmp_path: Path, number: int, named: str
) -> None:
    file, yml = publish()
    data, length = file.read_bytes(), file.stat().st_size // number + 1
    expected = weights_digest(load(file, config=yml))
    file.unlink()
    for part in range(number):  # odd lengths, so tensors lie unaligned and across parts
        piece = data[part * length : (part + 1) * length]
        (tmp_path / f"model.pt.part{part}").write_bytes(piece)
    assert weights_digest(load(tmp_path / named, config=yml)) == expected
    convert_published(tmp_path / named, tmp_path / "folder", config=yml)
    assert weights_digest(load(tmp_path / "folder")) == expected
    (tmp_path / f"model.pt.part{number - 2}").unlink()
    with pytest.raises(ValueError, match=f"part {number - 2} is missing|no such file"):
        load(tmp_path / "model.pt", config=yml)


def test_a_last_part_that_is_missing_shows(publish: Publish, tmp_path: Path) -> None:
    file, yml = publish()
    data = file.read_bytes()
    (tmp_path / "other.pt.part0").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="incomplete"):
        load(tmp_path / "other.pt", config=yml)


def drop(name: str) -> Callable[[Entries], object]:
    return lambda entries: entries.pop(name)


def put(name: str, value: Any) -> Callable[[Entries], object]:
    return lambda entries: entries.update({name: value})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop("norm.scale"), "missing: norm.scale"),
        (drop("blocks.2.filter.D"), "missing: blocks.2.filter.D"),
        (put("blocks.0.filter.D", torch.ones(24)), "unknown: blocks.0.filter.D"),
        (put("blocks.9.pre_norm.scale", torch.ones(24)), "unknown: blocks.9.pre_norm.scale"),
        (put("blocks.0.mixer.mixer.filter.t", torch.ones(1)), "unknown: blocks.0.mixer"),
        (put("blocks.0.mixer.dense._extra_state", None), "unknown: blocks.0.mixer.dense"),
        (put("blocks.3.projections._extra_state", None), "unknown: blocks.3.projections"),
        (put("norm.scale", torch.ones(1, 24)), r"wrong shape: norm.scale is \[1, 24\]"),
        (put("norm.scale", None), "norm.scale is not a tensor"),
        (put("norm.scale", torch.ones(24).double()), "norm.scale is torch.float64"),
        (
            put("blocks.2.filter.log_poles", torch.zeros(24, 5, 1)),
            "log_poles has values that are not below 0",
        ),
        (
            put("blocks.2.filter.log_poles", torch.full((24, 5, 1), torch.nan)),
            "blocks.2.filter.log_poles has values that are not below 0",
        ),
        (put("blocks.0.projections._extra_state", 3), "_extra_state cannot be read safely"),
        (
            put("blocks.0.projections._extra_state", io.BytesIO(b"junk")),
            "blocks.0.projections._extra_state cannot be read safely",
        ),
    ],
)
def test_tampered_files_are_refused_by_name(
    publish: Publish, tmp_path: Path, change: Callable[[Entries], object], named: str
) -> None:
    file, yml = publish(change)
    with pytest.raises(ValueError, match=named) as raised:
        convert_published(file, tmp_path / "folder", config=yml)
    assert "\n" not in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {file.name, yml.name}
    if "_extra_state" not in named:
        with pytest.raises(ValueError, match=named):
            load(file, config=yml)


def test_all_that_is_wrong_is_one_error(publish: Publish) -> None:
    def change(entries: Entries) -> None:
        drop("norm.scale")(entries)
        put("more", torch.ones(1))(entries)
        put("blocks.0.pre_norm.scale", torch.ones(3))(entries)

    file, yml = publish(change)
    with pytest.raises(ValueError, match=r"norm.scale.*more.*blocks\.0\.pre_norm\.scale"):
        load(file, config=yml)


def test_files_of_another_kind_are_refused(publish: Publish, tmp_path: Path) -> None:
    _, yml = publish()
    cases = {
        "flat published layout": {"module": {"norm.scale": torch.ones(24)}},
        "holds a list": [torch.ones(24)],
        "holds a Tensor": torch.ones(24),
        "not a file of tensors only": {"norm.scale": Path("a")},
    }
    for named, content in cases.items():
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(ValueError, match=named):
            load(tmp_path / "other.pt", config=yml)
    (tmp_path / "other.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="in the format of torch"):
        load(tmp_path / "other.pt", config=yml)
    with pytest.raises(ValueError, match="no such file"):
        load(tmp_path / "nothing.pt", config=yml)


class Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sprung),)


@pytest.mark.parametrize("place", ["entry", "blob of torch", "blob of pickle"])
def test_no_code_runs_from_a_file(publish: Publish, tmp_path: Path, place: str) -> None:
    sprung = tmp_path / "sprung"

    def change(entries: Entries) -> None:
        name = "blocks.0.projections._extra_state"
        if place == "entry":
            entries["norm.scale"] = Trap(sprung)
        elif place == "blob of torch":
            entries[name] = io.BytesIO()
            torch.save({"scale_fwd": Trap(sprung)}, entries[name])
        else:
            data = pickle.dumps({"scale_fwd": Trap(sprung)})
            entries[name] = torch.frombuffer(bytearray(data), dtype=torch.uint8)

    file, yml = publish(change)
    with pytest.raises(ValueError, match=r"safely|tensors only"):
        convert_published(file, tmp_path / "folder", config=yml)
    assert not sprung.exists()


class TransformerEngineRecipe:
    """Stands for what newer versions of Transformer Engine pickle beside the scales."""

    __module__ = "transformer_engine.common.recipe"
    __qualname__ = "DelayedScaling"


def test_fp8_states_in_all_their_forms(publish: Publish, tmp_path: Path) -> None:
    scales = {"scale_fwd": torch.tensor([2.0, 3.0, 1.0]), "amax_history_fwd": torch.rand(1024, 3)}

    def change(entries: Entries) -> None:
        pickled = bytearray(pickle.dumps({**scales, "extra_fp8_variables": {"num_gemms": 1}}))
        entries["blocks.0.projections._extra_state"] = torch.frombuffer(pickled, dtype=torch.uint8)
        entries["blocks.1.projections._extra_state"] = torch.empty(0, dtype=torch.uint8)
        entries["blocks.2.projections._extra_state"] = None
        entries["blocks.2.mlp.l1._extra_state"] = io.BytesIO()
        entries["blocks.3.inner_mha_cls.Wqkv._extra_state"] = io.BytesIO()

    file, yml = publish(change)
    convert_published(file, tmp_path / "folder", config=yml)
    with safe_open(tmp_path / "folder" / "fp8_scales.safetensors", framework="pt") as stored:
        names = set(stored.keys())
    prefix = "model.layers.0.mixer.projections"
    assert names == {f"{prefix}.scale_fwd", f"{prefix}.amax_history_fwd"}
    export_published(tmp_path / "folder", tmp_path / "back.pt")
    blob = read_published(tmp_path / "back.pt")["blocks.0.projections._extra_state"]
    state = torch.load(blob, weights_only=True)
    assert torch.equal(state["amax_history_fwd"], scales["amax_history_fwd"])
    assert state["extra_fp8_variables"] == {"num_gemms": 1}


INPUT_IDS = torch.tensor([list(b"ACGTTGCAACGTACGGTTACAGATTACA")])


@torch.no_grad()
def logits_of(model: Evo2ForCausalLM) -> Tensor:
    logits: Tensor = model(INPUT_IDS, use_cache=False).logits
    return logits


def put_scales(entries: Entries, **tensors: Tensor) -> None:
    """Scales of different size in each layer, as training would leave them."""
    for layer in range(3):
        blob = io.BytesIO()
        weight = entries[f"blocks.{layer}.projections.weight"]
        scale = torch.tensor([50.1 + layer, 448 / float(weight.abs().max()), 1.0])
        torch.save({"scale_fwd": scale, **tensors}, blob)
        blob.seek(0)
        entries[f"blocks.{layer}.projections._extra_state"] = blob


def test_fp8_scales_go_into_the_config(publish: Publish, tmp_path: Path) -> None:
    file, yml = publish(put_scales)
    convert_published(file, tmp_path / "folder", config=yml)
    config = Evo2ForCausalLM.from_pretrained(tmp_path / "folder").config
    assert (config.fp8, config.fp8_scales[3]) == ("off", None)
    for layer in range(3):
        blob = read_published(file)[f"blocks.{layer}.projections._extra_state"]
        one, other, _ = torch.load(blob, weights_only=True)["scale_fwd"]
        expected = [float(one), float(other), float(1 / one * (1 / other))]
        assert config.fp8_scales[layer] == expected
    inverse = torch.tensor([3.0, 5.0, 7.0])
    file, yml = publish(lambda entries: put_scales(entries, scale_inv_fwd=inverse))
    assert load(file, config=yml).config.fp8_scales[0][2] == 15


def test_every_way_to_load_gives_the_same_fp8(publish: Publish, tmp_path: Path) -> None:
    file, yml = publish(put_scales)
    convert_published(file, tmp_path / "folder", config=yml)
    plain = load(file, config=yml)
    models = [
        load(file, config=yml, fp8="emulate"),
        load(tmp_path / "folder", fp8="emulate"),
        Evo2ForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float32, fp8="emulate"),
    ]
    assert not torch.equal(logits_of(models[0]), logits_of(plain))
    for model in models[1:]:
        assert torch.equal(logits_of(model), logits_of(models[0]))
    assert len({weights_digest(model) for model in models}) == 1
    digest = weights_digest(models[0])
    assert digest != weights_digest(plain)
    models[0].config.fp8_scales[1][0] += 1.0
    assert weights_digest(models[0]) != digest
    plain.config.fp8_scales[1][0] += 1.0
    assert weights_digest(plain) == weights_digest(load(file, config=yml))
    with pytest.raises(ValueError, match="'float8' unknown"):
        load(file, config=yml, fp8="float8")


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_eps": 1e-2},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        {"initializer_range": 0.5, "max_position_embeddings": 64, "use_cache": False},
        {"fp8_projections": False, "eos_token_id": 4},
    ],
    ids=str,
)
def test_the_digest_shows_a_config_that_changes_the_output(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Only `config.json` is changed: the tensors of the file stay the same."""
    folder = tmp_path / "folder"
    shutil.copytree(checkpoint, folder)
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stated | changes))
    model, changed = load(checkpoint), load(folder)
    is_same = torch.equal(logits_of(changed), logits_of(model))
    assert is_same == (weights_digest(changed) == weights_digest(model))
    assert is_same == ("norm_eps" not in changes and "factor" not in str(changes))


@pytest.mark.parametrize("name", PRESETS)
def test_the_digest_of_a_release_is_that_of_its_tensors(name: str) -> None:
    """So that the tables of earlier versions state the same weights."""
    assert _state_other_values(Evo2Config.from_preset(name)) == ""
    assert _state_other_values(Evo2Config.from_preset(name, norm_eps=1e-5)) != ""


def test_a_release_that_needs_fp8_has_it(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = publish.make_config()
    small = {key: getattr(config, key) for key in checkpoints.GEOMETRY}
    for module in (checkpoints, evo2_config):
        monkeypatch.setattr(module, "PRESETS", {"evo2_small": small})
    monkeypatch.setattr(checkpoints, "NEEDS_FP8", {"evo2_small"})
    file, yml = publish(put_scales)
    convert_published(file, tmp_path / "folder")
    for checkpoint in (file, tmp_path / "folder"):
        model = load(checkpoint)
        assert model.config.fp8 == "emulate"
        with pytest.raises(ValueError, match=r"trained in FP8.*near random.*allow_without_fp8"):
            load(checkpoint, fp8="off")
        off = load(checkpoint, fp8="off", allow_without_fp8=True)
        assert not torch.equal(logits_of(off), logits_of(model))
        assert load(checkpoint, fp8="hopper").config.fp8 == "hopper"
    assert Evo2ForCausalLM.from_pretrained(tmp_path / "folder").config.fp8 == "emulate"
    # Trained on without FP8 and saved, or described as made without: it runs as its config says.
    off.save_pretrained(tmp_path / "tuned")
    assert load(tmp_path / "tuned", fp8="off").config.fp8 == "off"
    yml.write_text(yml.read_text().replace("input_projections: true", "input_projections: false"))
    assert load(file, config=yml).config.fp8 == "off"


@pytest.mark.parametrize("name", evo2_config.PRESETS)
def test_all_published_models_but_those_of_7b_need_fp8(name: str) -> None:
    config = Evo2Config.from_preset(name)
    set_fp8(config, {})
    assert config.fp8 == ("off" if "_7b" in name else "emulate")


@pytest.mark.parametrize("lost", [[0, 1, 2], [1]])
def test_lost_scales_show(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: list[int]
) -> None:
    def lose(entries: Entries) -> None:
        put_scales(entries)
        for layer in lost:
            entries[f"blocks.{layer}.projections._extra_state"] = io.BytesIO()

    file, yml = publish(lose)
    named = rf"needs FP8 scales, and the checkpoint has none for layer {lost[0]}"
    with pytest.raises(ValueError, match=named):
        load(file, config=yml, fp8="emulate")
    small = {key: getattr(publish.make_config(), key) for key in checkpoints.GEOMETRY}
    for module in (checkpoints, evo2_config):
        monkeypatch.setattr(module, "PRESETS", {"evo2_small": small})
    monkeypatch.setattr(checkpoints, "NEEDS_FP8", {"evo2_small"})
    with pytest.raises(ValueError, match=named):
        load(file)
    with pytest.raises(ValueError, match=named):
        convert_published(file, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_scale_that_is_no_scale_is_refused(publish: Publish) -> None:
    file, yml = publish(lambda entries: put_scales(entries, scale_inv_fwd=torch.zeros(3)))
    with pytest.raises(ValueError, match=r"fp8_scales.*layer 0"):
        load(file, config=yml)


def test_recipes_of_transformer_engine_are_passed_over(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "transformer_engine.common.recipe"
    module = types.ModuleType(name)
    module.DelayedScaling = TransformerEngineRecipe  # type: ignore[attr-defined]
    recipe = TransformerEngineRecipe()
    recipe.margin = 0  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        for package in ("transformer_engine", "transformer_engine.common", name):
            patch.setitem(sys.modules, package, module)
        data = pickle.dumps({"recipe": recipe, "scale_fwd": torch.ones(3)})
    blob = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    file, yml = publish(put("blocks.0.projections._extra_state", blob))
    convert_published(file, tmp_path / "folder", config=yml)
    stored = load_file(tmp_path / "folder" / "fp8_scales.safetensors")
    assert torch.equal(stored["model.layers.0.mixer.projections.scale_fwd"], torch.ones(3))


def test_large_checkpoints_are_sharded(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SHARD_BYTES", 10_000)
    file, yml = publish()
    folder = tmp_path / "folder"
    convert_published(file, folder, config=yml)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 3
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {path.name for path in shards}
    expected = weights_digest(load(file, config=yml))
    assert weights_digest(load(folder)) == expected
    loaded = Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert weights_digest(loaded) == expected
    export_published(folder, tmp_path / "back.pt")
    check_same(read_published(file), read_published(tmp_path / "back.pt"))
    shards[1].unlink()
    with pytest.raises(ValueError, match=shards[1].name):
        load(folder)


def test_nothing_half_written_stays(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, yml = publish()
    convert_published(file, tmp_path / "folder", config=yml)
    before = {path.name for path in tmp_path.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(folders, "write_shard", fail)
    with pytest.raises(OSError, match="No space"):
        convert_published(file, tmp_path / "other", config=yml)
    monkeypatch.setattr(checkpoints.torch, "save", fail)
    with pytest.raises(OSError, match="No space"):
        export_published(tmp_path / "folder", tmp_path / "other.pt")
    assert {path.name for path in tmp_path.iterdir()} - before <= {"other.yml"}


def test_what_exists_is_not_overwritten(publish: Publish, tmp_path: Path) -> None:
    file, yml = publish()
    (tmp_path / "empty").mkdir()
    convert_published(file, tmp_path / "empty", config=yml)
    with pytest.raises(ValueError, match="exists"):
        convert_published(file, tmp_path / "empty", config=yml)
    with pytest.raises(ValueError, match="exists"):
        export_published(tmp_path / "empty", file)


def test_a_folder_that_was_saved_twice_has_one_set_of_weights(
    make_model: Any, tmp_path: Path
) -> None:
    """transformers leaves files of the first save, and would load these weights, not the second."""
    first, second = make_model(seed=1), make_model(seed=2)
    first.save_pretrained(tmp_path)
    second.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    for read in (load, lambda folder: export_published(folder, tmp_path / "out.pt")):
        with pytest.raises(ValueError, match=r"has two sets of weights: model\.safetensors, and"):
            read(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert weights_digest(load(tmp_path)) == weights_digest(second)
    # In one file again: the index stays, and its files are gone.
    first.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert weights_digest(load(tmp_path)) == weights_digest(first)


def test_folders_that_do_not_fit_are_refused(make_model: Any, tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "intermediate_size": 21}))
    with pytest.raises(ValueError, match=r"mlp.l1.weight is \[20, 24\] instead of \[21, 24\]"):
        load(tmp_path)
    path.write_text(json.dumps({**config, "model_type": "lfm2"}))
    with pytest.raises(ValueError, match="lfm2"):
        load(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        load(tmp_path)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="its own config"):
        load(tmp_path, model="evo2_7b")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(tmp_path)


def test_an_output_matrix_of_its_own_cannot_be_published(make_model: Any, tmp_path: Path) -> None:
    model = make_model(tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "folder")
    assert weights_digest(load(tmp_path / "folder")) == weights_digest(model)
    with pytest.raises(ValueError, match="output matrix"):
        export_published(tmp_path / "folder", tmp_path / "out.pt")


def test_a_saved_model_loads(make_model: Any, tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path)
    assert weights_digest(load(tmp_path)) == weights_digest(model)


def test_which_release_a_checkpoint_says_it_is(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = {key: getattr(publish.make_config(), key) for key in checkpoints.GEOMETRY}
    for module in (checkpoints, evo2_config):
        monkeypatch.setattr(module, "PRESETS", {"evo2_one": small, "evo2_twin": small})
    file, yml = publish(name="evo2_twin.pt")
    assert read_release(file) == "evo2_twin"
    assert read_release(file, model="evo2_one") == "evo2_one"
    assert read_release(file, config=yml) is None
    convert_published(file, tmp_path / "converted")
    assert read_release(tmp_path / "converted") == "evo2_twin"
    # What was loaded and saved, trained on maybe, is no published model.
    load(tmp_path / "converted").save_pretrained(tmp_path / "saved")
    assert read_release(tmp_path / "saved") is None
    file, _ = publish(name="mine.pt")
    convert_published(file, tmp_path / "mine", config=yml)
    assert read_release(tmp_path / "mine") is None
    file.rename(tmp_path / "evo2_twin.pt.part0")
    convert_published(tmp_path / "evo2_twin.pt.part0", tmp_path / "parts")
    assert read_release(tmp_path / "parts") == "evo2_twin"


def test_a_folder_whose_file_is_cut_short_is_refused(make_model: Any, tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors: is cut short or damaged"):
        load(tmp_path)


def test_digests_of_layers_see_which_one_changed(make_model: Any) -> None:
    model = make_model(["hyena_se", "hyena_se", "attention"])
    digests = layer_digests(model)
    assert len(set(digests)) == 3
    model.model.layers[0], model.model.layers[1] = model.model.layers[1], model.model.layers[0]
    assert layer_digests(model) == [digests[1], digests[0], digests[2]]
    with torch.no_grad():
        model.model.layers[2].mlp.l1.weight[0, 0] += 1
    assert layer_digests(model)[:2] == [digests[1], digests[0]]
    assert layer_digests(model)[2] != digests[2]


def test_a_release_is_told_by_its_shapes_or_its_name(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = {key: getattr(publish.make_config(), key) for key in checkpoints.GEOMETRY}
    del small["operators"]
    rope = {"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0}
    presets = {
        "evo2_one": {**small, "num_hidden_layers": 3},
        "evo2_two": {**small, "num_hidden_layers": 4},
        "evo2_twin": {**small, "num_hidden_layers": 4, "rope_parameters": rope},
    }
    for module in (checkpoints, evo2_config):
        monkeypatch.setattr(module, "PRESETS", presets)
    three = ["hyena_se", "hyena_mr", "hyena_li"]
    file, _ = publish(operators=three, name="anything.pt")
    assert load(file).config.num_hidden_layers == 3
    file, _ = publish(name="anything.pt")
    with pytest.raises(ValueError, match=r"evo2_two, evo2_twin.*--model"):
        load(file)
    assert load(file, model="evo2_twin").config.rope_factor == 8
    with pytest.raises(ValueError, match="evo2_one"):
        load(file, model="evo2_three")
    file, _ = publish(name="evo2_twin.pt")
    assert load(file).config.rope_factor == 8
    file, _ = publish(operators=three, name="evo2_twin.pt")
    assert load(file).config.num_hidden_layers == 3
    file, _ = publish(drop("norm.scale"), name="evo2_twin.pt")
    with pytest.raises(ValueError, match=r"missing: norm\.scale"):
        load(file)
    file, yml = publish(operators=["attention"], name="anything.pt")
    with pytest.raises(ValueError, match="--config"):
        load(file)
    with pytest.raises(ValueError, match="not both"):
        load(file, model="evo2_one", config=yml)
    yml.write_text("a: [")
    with pytest.raises(ValueError, match="YAML"):
        load(file, config=yml)


def test_the_digest_sees_names_values_and_dtypes(make_model: Any) -> None:
    model, other = make_model(), make_model(seed=1)
    digest = weights_digest(model)
    assert len(digest) == 64
    assert weights_digest(make_model()) == digest
    assert weights_digest(other) != digest
    with torch.no_grad():
        model.model.norm.scale[3] += 1e-3
    assert weights_digest(model) != digest
    assert weights_digest(make_model().bfloat16()) != digest
