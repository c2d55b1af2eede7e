import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.checkpoints import recognise
from evo2_tasks.evo2.config import NEEDS_FP8, PRESETS
from evo2_tasks.evo2.published import expected_shapes

# Layers of each operator: se, mr, li, attention.
LAYERS_1B = (
    [0, 4, 7, 11, 14, 18, 21],
    [1, 5, 8, 12, 15, 19, 22],
    [2, 6, 9, 13, 16, 20, 23],
    [3, 10, 17, 24],
)
LAYERS_7B = (
    [0, 4, 7, 11, 14, 18, 21, 25, 28],
    [1, 5, 8, 12, 15, 19, 22, 26, 29],
    [2, 6, 9, 13, 16, 20, 23, 27, 30],
    [3, 10, 17, 24, 31],
)
LAYERS_20B = (
    [0, 4, 7, 11, 14, 18, 21],
    [1, 5, 8, 12, 15, 19, 22],
    [2, 6, 9, 13, 16, 20, 23],
    [3, 10, 17],
)
LAYERS_40B = (
    [0, 4, 7, 11, 14, 18, 21, 25, 28, 32, 36, 39, 43, 46],
    [1, 5, 8, 12, 15, 19, 22, 26, 29, 33, 37, 40, 44, 47],
    [2, 6, 9, 13, 16, 20, 23, 27, 30, 34, 38, 41, 45, 48],
    [3, 10, 17, 24, 31, 35, 42, 49],
)
# hidden, layers, heads, inner, groups, rope base, rope scale, longest, parameters with the RoPE
# frequencies, tensors with the unused output matrix, bytes with norms and frequencies in float32.
RELEASES: dict[str, tuple[Any, ...]] = {
    "evo2_1b_base": (
        *(1920, LAYERS_1B, 15, 5120, 128, 1e4, 1, 8_192),
        *(1_107_990_016, 270, 2_219_002_624),
    ),
    "evo2_7b_base": (
        *(4096, LAYERS_7B, 32, 11008, 256, 1e4, 1, 32_768),
        *(6_481_059_904, 345, 12_969_206_528),
    ),
    "evo2_7b_microviridae": (
        *(4096, LAYERS_7B, 32, 11008, 256, 1e4, 1, 32_768),
        *(6_481_059_904, 345, 12_969_206_528),
    ),
    "evo2_7b_262k": (
        *(4096, LAYERS_7B, 32, 11008, 256, 1e4, 32, 262_144),
        *(6_481_059_904, 345, 12_969_206_528),
    ),
    "evo2_7b": (
        *(4096, LAYERS_7B, 32, 11264, 256, 1e4, 128, 1_048_576),
        *(6_581_723_200, 345, 13_170_533_120),
    ),
    "evo2_20b": (
        *(8192, LAYERS_20B, 64, 22528, 512, 1e6, 128, 1_048_576),
        *(19_738_780_352, 261, 39_490_422_528),
    ),
    "evo2_40b_base": (
        *(8192, LAYERS_40B, 64, 21888, 512, 1e6, 1, 8_192),
        *(40_331_142_656, 537, 80_679_669_760),
    ),
    "evo2_40b": (
        *(8192, LAYERS_40B, 64, 22528, 512, 1e6, 128, 1_048_576),
        *(41_117_574_656, 537, 82_252_533_760),
    ),
}


def test_there_is_a_preset_for_each_release() -> None:
    assert set(PRESETS) == set(RELEASES)
    assert set(RELEASES) >= NEEDS_FP8


@pytest.mark.parametrize("name", RELEASES)
def test_presets_are_the_published_configs(name: str) -> None:
    hidden, layers, heads, inner, groups, base, scale, longest, *_ = RELEASES[name]
    config = Evo2Config.from_preset(name)
    assert (config.hidden_size, config.num_attention_heads) == (hidden, heads)
    assert config.intermediate_size == inner
    assert config.hyena_se_groups == config.hyena_mr_groups == groups
    assert config.rope_parameters["rope_theta"] == base
    assert config.rope_factor == scale
    assert config.max_position_embeddings == longest
    words = ("hyena_se", "hyena_mr", "hyena_li", "attention")
    for word, indices in zip(words, layers, strict=True):
        assert [i for i, operator in enumerate(config.operators) if operator == word] == indices
    assert config.num_hidden_layers == sum(map(len, layers))
    assert (config.vocab_size, config.state_size, config.featurizer_length) == (512, 16, 3)
    assert (config.hyena_se_length, config.hyena_mr_length) == (7, 128)
    assert config.norm_eps == 1e-6
    assert config.head_dim == 128


@pytest.mark.parametrize("name", RELEASES)
def test_presets_have_the_published_sizes(name: str) -> None:
    *_, parameters, tensors, size = RELEASES[name]
    shapes = expected_shapes(Evo2Config.from_preset(name))
    counts = {key: torch.Size(shape).numel() for key, shape in shapes.items()}
    assert sum(counts.values()) == parameters
    unused = "model.embed_tokens.weight"
    assert len(counts) + 1 == tensors
    wide = (".scale", ".inv_freq", ".log_poles", ".residues")
    widths = {key: 4 if key.endswith(wide) else 2 for key in counts}
    stored = sum(counts[key] * widths[key] for key in counts)
    assert stored + counts[unused] * 2 == size


def test_the_default_is_the_smallest_release() -> None:
    assert Evo2Config().to_dict() == Evo2Config.from_preset("evo2_1b_base").to_dict()


@pytest.mark.parametrize("name", RELEASES)
def test_releases_are_recognised(name: str) -> None:
    twins = {"evo2_7b_microviridae": "evo2_7b_base"}
    assert recognise(Evo2Config.from_preset(name)) == twins.get(name, name)
    assert recognise(Evo2Config.from_preset(name, intermediate_size=64)) is None


@pytest.mark.parametrize("name", RELEASES)
def test_published_spelling_there_and_back(name: str) -> None:
    config = Evo2Config.from_preset(name)
    published = yaml.safe_load(yaml.safe_dump(config.to_published()))
    assert Evo2Config.from_published(published).to_dict() == config.to_dict()


def test_config_json_there_and_back(tmp_path: Path) -> None:
    config = Evo2Config.from_preset("evo2_40b", round_weights_to="bfloat16")
    config.save_pretrained(tmp_path)
    loaded = Evo2Config.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "evo2"


def test_published_config_of_a_fixture(golden_folder: Path) -> None:
    published = yaml.safe_load((golden_folder / "tiny_1b_8k" / "config.yml").read_text())
    config = Evo2Config.from_published(published)
    assert config.norm_eps == 1e-3
    assert (config.hyena_se_groups, config.hyena_mr_groups) == (16, 8)
    assert config.head_dim == 16
    del published["inner_mlp_size"]
    assert Evo2Config.from_published(published).intermediate_size == 128  # 8 * 48 / 3
    published["inner_size_multiple_of"] = 100
    assert Evo2Config.from_published(published).intermediate_size == 200


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hyena_flip_x1x2": True}, "hyena_flip_x1x2"),
        ({"proj_groups": 4}, "proj_groups"),
        ({"mlp_activation": "silu"}, "mlp_activation"),
        ({"evo2_style_activations": None}, "evo2_style_activations"),
        ({"column_split_hyena": None}, "column_split_hyena"),
        ({"hidden_size": None}, "hidden_size"),
        ({"attn_layer_idxs": [2]}, "attn_layer_idxs"),
        ({"attn_layer_idxs": []}, r"layers \[3\]"),
        ({"attn_layer_idxs": [3, 9]}, "layer 9"),
    ],
)
def test_published_configs_of_other_models_are_refused(
    golden_folder: Path, change: dict[str, Any], named: str
) -> None:
    published = yaml.safe_load((golden_folder / "tiny_1b_8k" / "config.yml").read_text())
    published |= change
    published = {key: value for key, value in published.items() if value is not None}
    with pytest.raises(ValueError, match=named):
        Evo2Config.from_published(published)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"operators": ["hyena_xl"]}, "hyena_xl"),
        ({"operators": []}, "at least one"),
        ({"operators": ["attention"], "num_hidden_layers": 2}, "num_hidden_layers"),
        ({"operators": ["attention"], "layer_types": ["conv"]}, "layer_types"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": "12"}, "hidden_size"),
        ({"hyena_se_groups": 7}, "hyena_se_groups"),
        ({"hyena_mr_groups": 7}, "hyena_mr_groups"),
        ({"num_attention_heads": 7}, "num_attention_heads"),
        ({"hidden_size": 384, "num_attention_heads": 128}, "odd size 3"),
        ({"norm_eps": -1.0}, "norm_eps"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"rope_parameters": {"rope_type": "linear", "factor": -2.0}}, "above 0"),
        ({"round_weights_to": "float16"}, "round_weights_to"),
    ],
)
def test_impossible_values_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Evo2Config(**arguments)


def test_what_no_layer_uses_is_not_checked() -> None:
    config = Evo2Config(operators=["hyena_se"], hidden_size=10, hyena_se_groups=5)
    assert config.layer_types == ["conv"]


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="evo2_7b_262k"):
        Evo2Config.from_preset("evo2_8b")


def test_the_model_has_the_names_that_the_layout_says(make_config: Any) -> None:
    with torch.device("meta"):
        names = {
            name.replace("model.layers.", "")
            for name in Evo2ForCausalLM(make_config(["hyena_mr", "attention"])).state_dict()
        }
    assert {"0.mixer.filter.h", "0.mixer.projections.weight", "1.mixer.Wqkv.weight"} <= names
    assert "1.mixer.rotary_emb.inv_freq" in names
