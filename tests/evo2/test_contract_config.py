"""The config does what people who know transformers expect of one."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evo2_tasks import Evo2Config, Evo2Model
from evo2_tasks.evo2 import PRESETS


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_way_there_and_back_is_identity(preset: str, tmp_path: Path) -> None:
    config = Evo2Config.from_preset(preset, dtype="bfloat16")
    config.save_pretrained(tmp_path)
    for again in (
        Evo2Config.from_pretrained(tmp_path),
        Evo2Config.from_json_file(str(tmp_path / "config.json")),
        Evo2Config.from_dict(config.to_dict()),
        Evo2Config.from_dict(json.loads(config.to_json_string())),
        copy.deepcopy(config),
    ):
        assert {**again.to_dict(), "_name_or_path": ""} == {**config.to_dict(), "_name_or_path": ""}
        assert again.dtype == torch.bfloat16


def test_unknown_keys_are_kept(make_config: Any, tmp_path: Path) -> None:
    values = {**make_config().to_dict(), "trained_on": "phages"}
    config = Evo2Config.from_dict(values)
    assert config.trained_on == "phages"
    config.save_pretrained(tmp_path)
    assert Evo2Config.from_pretrained(tmp_path).trained_on == "phages"


def test_keys_can_be_replaced_on_loading(make_config: Any, tmp_path: Path) -> None:
    make_config().save_pretrained(tmp_path)
    config, unused = Evo2Config.from_pretrained(
        tmp_path, use_cache=False, unheard_of=1, return_unused_kwargs=True
    )
    assert config.use_cache is False
    assert unused == {"unheard_of": 1}


@pytest.mark.parametrize("conv", ["conv", "linear_attention"])
def test_layer_types_are_read_in_both_spellings(make_config: Any, conv: str) -> None:
    given = [conv, conv, "linear_attention", "full_attention"]
    assert make_config(layer_types=given).layer_types == given


def test_layer_types_follow_the_operators(make_config: Any) -> None:
    config = make_config(["attention", "hyena_li", "hyena_mr", "hyena_se"])
    assert config.layer_types == ["full_attention", "linear_attention", "conv", "conv"]
    with pytest.raises(ValueError, match="layer_types"):
        make_config(["attention", "hyena_li"], layer_types=["linear_attention", "full_attention"])
    with pytest.raises(ValueError, match="num_hidden_layers"):
        make_config(["attention", "hyena_li"], num_hidden_layers=3)


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_dtype_has_two_names(make_config: Any, key: str, dtype: Any) -> None:
    assert make_config(**{key: dtype}).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", True),
        ("intermediate_size", 2.5),
        ("num_hidden_layers", "4"),
        ("operators", "hyena_se"),
        ("operators", 4),
        ("featurizer_length", 0),
        ("state_size", None),
        ("norm_eps", "small"),
        ("norm_eps", float("nan")),
        ("initializer_range", -0.02),
        ("rope_parameters", "linear"),
        ("rope_parameters", {"rope_type": "linear", "rope_theta": 1e4}),
        ("rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": -1}),
        ("rope_parameters", {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2}),
        ("tie_word_embeddings", "no"),
        ("use_cache", 1),
    ],
)
def test_wrong_values_are_refused_by_name(make_config: Any, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        make_config(**{key: value})


def test_a_rope_type_set_later_is_refused_by_the_model(make_config: Any) -> None:
    config = make_config()
    config.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(ValueError, match="'yarn' unknown"):
        Evo2Model(config)
