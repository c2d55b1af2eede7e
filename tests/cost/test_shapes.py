"""Shapes of models: numbers copied from the model, parameters, bytes, and files."""

from pathlib import Path

import pytest
import torch
import yaml

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.config.resolve import resolve_model
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.cost import shapes
from evo2_tasks.cost.shapes import RELEASE_SHAPES, read_shape
from evo2_tasks.errors import InputError
from evo2_tasks.evo2 import config, file_values, operators, tokenizer
from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.config import PRESETS, PUBLISHED_OPERATORS, striped_operators
from evo2_tasks.scoring import likelihood
from tests.cost.build import OPERATORS, make_config, shape_of

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def test_copied_numbers_equal_their_originals() -> None:
    defaults = Evo2Config()
    narrow = make_config(16, ("hyena_li",), 176).to_published()
    del narrow["inner_mlp_size"]
    copies_and_originals = {
        "VOCAB_SIZE": (shapes.VOCAB_SIZE, defaults.vocab_size),
        "VOCAB_SIZE of the tokenizer": (shapes.VOCAB_SIZE, tokenizer.VOCAB_SIZE),
        "FEATURIZER_LENGTH": (shapes.FEATURIZER_LENGTH, defaults.featurizer_length),
        "HYENA_SE_LENGTH": (shapes.HYENA_SE_LENGTH, defaults.hyena_se_length),
        "HYENA_MR_LENGTH": (shapes.HYENA_MR_LENGTH, defaults.hyena_mr_length),
        "STATE_SIZE": (shapes.STATE_SIZE, defaults.state_size),
        "INNER_SIZE_MULTIPLE": (
            shapes.INNER_SIZE_MULTIPLE,
            Evo2Config.from_published(narrow).intermediate_size,
        ),
        "CHUNK_LENGTH": (shapes.CHUNK_LENGTH, operators.CHUNK_LENGTH),
        "MAX_LAYERS": (shapes.MAX_LAYERS, file_values.MAX_LAYERS),
        "MOST": (shapes.MOST, config.MOST),
        "POSITIONS_PER_SLICE": (shapes.POSITIONS_PER_SLICE, likelihood.POSITIONS_PER_SLICE),
        "STRIPES": (list(shapes.STRIPES * 7), striped_operators(49)),
        "LAYER_LISTS": (
            shapes.LAYER_LISTS,
            {f"{theirs}_layer_idxs": ours for ours, theirs in PUBLISHED_OPERATORS.items()},
        ),
        "ITEM_BYTES": (
            shapes.ITEM_BYTES,
            {name: getattr(torch, name).itemsize for name in shapes.ITEM_BYTES},
        ),
        "RELEASE_SHAPES": (
            shapes.RELEASE_SHAPES,
            {name: shape_of(Evo2Config.from_preset(name)) for name in PRESETS},
        ),
    }
    differing = {name: pair for name, pair in copies_and_originals.items() if pair[0] != pair[1]}
    assert not differing


@pytest.mark.parametrize("release", PRESETS)
def test_the_number_of_parameters_is_that_of_the_model(release: str) -> None:
    with torch.device("meta"):
        model = Evo2ForCausalLM(Evo2Config.from_preset(release))
    assert RELEASE_SHAPES[release].parameters == model.num_parameters()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_of_weights_and_state(dtype: str) -> None:
    config = make_config(64, OPERATORS, 176)
    model = Evo2ForCausalLM(config).eval().to(getattr(torch, dtype))
    shape = shape_of(config)
    stored = sum(tensor.nbytes for tensor in model.parameters())
    assert shape.weights_bytes(dtype) == stored
    cache = new_cache(config)
    with torch.inference_mode():
        model(torch.randint(65, 85, (1, 200)), past_key_values=cache, use_cache=True)
    kv = state = 0
    for layer in cache.layers:
        if getattr(layer, "keys", None) is not None:
            kv += layer.keys.nbytes + layer.values.nbytes
        for states in ("conv_states", "recurrent_states"):
            held = getattr(layer, states, None) or {}
            tensors = held.values() if isinstance(held, dict) else held
            state += sum(tensor.nbytes for tensor in tensors if tensor is not None)
    assert 200 * shape.kv_bytes_per_token(dtype) == kv
    assert shape.state_bytes(dtype) == pytest.approx(state, rel=0.15)


def test_a_shape_is_read_from_the_files_next_to_the_weights() -> None:
    mini = read_shape(resolve_model("models.m", "m", ModelConfig(checkpoint="evo2-mini")))
    assert mini.parameters == 3_231_168
    folder = GOLDEN / "tiny_7b_1m"
    published = ModelConfig(checkpoint=folder / "model.pt", config=folder / "config.yml")
    model = Evo2Config.from_published(yaml.safe_load((folder / "config.yml").read_text()))
    assert read_shape(resolve_model("models.m", "m", published)) == shape_of(model)
    by_name = ModelConfig(checkpoint="weights/evo2_40b.pt.part0")
    assert read_shape(resolve_model("models.m", "m", by_name)) == RELEASE_SHAPES["evo2_40b"]
    named = ModelConfig(checkpoint="weights/mine.pt", model="evo2_7b")
    assert read_shape(resolve_model("models.m", "m", named)) == RELEASE_SHAPES["evo2_7b"]


def test_the_shape_of_a_release_on_a_hub_is_known_before_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    commit = "0123456789" * 4
    released = ModelConfig(checkpoint=Path(f"evo-design/evo-2-7b-8k-microviridae@{commit}"))
    assert (
        read_shape(resolve_model("models.m", "m", released))
        == RELEASE_SHAPES["evo2_7b_microviridae"]
    )
    other = ModelConfig(checkpoint=Path(f"lab/evo2@{commit}"))
    with pytest.raises(
        InputError, match=rf"models\.m: .* Run `evo2-tasks fetch lab/evo2@{commit}`"
    ):
        read_shape(resolve_model("models.m", "m", other))
    folder = tmp_path / "evo2-tasks" / "lab--evo2" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"hidden_size": 1920}')
    assert read_shape(resolve_model("models.m", "m", other)) == RELEASE_SHAPES["evo2_1b_base"]


def test_a_shape_that_no_file_states_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"models\.m: .*config\.json does not exist.*`model`"):
        read_shape(resolve_model("models.m", "m", ModelConfig(checkpoint=tmp_path)))
    (tmp_path / "config.json").write_text('{"hidden_size": "many"}')
    with pytest.raises(
        InputError,
        match=r'hidden_size: expected a whole number, got "many"\. Expected the config\.json',
    ):
        read_shape(resolve_model("models.m", "m", ModelConfig(checkpoint=tmp_path)))
