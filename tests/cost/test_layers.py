"""Names, modules and widths of layers, against the modules of real small models."""

import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cost.layers import DEFAULT_LAYERS, default_layer, find_layer, list_layers
from evo2_tasks.cost.shapes import RELEASE_SHAPES
from tests.cost.build import OPERATORS, make_config, shape_of

# Modules whose output is no tensor, is that of another module, or has no token of its own.
NOT_LISTED = {"", "model", "model.layers", "lm_head"}
INSIDE = ("mixer", "mlp", "mixer.rotary_emb")


@pytest.mark.parametrize("operators", [OPERATORS, ("attention",), ("hyena_li", "hyena_mr")])
def test_layers_are_the_modules_of_the_model_with_their_widths(operators: tuple[str, ...]) -> None:
    config = make_config(64, operators, 176)
    model = Evo2ForCausalLM(config).eval()
    ran: list[str] = []
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str):
        def hook(_module: object, _args: object, output: object) -> None:
            ran.append(name)
            shapes[name] = tuple(getattr(output, "shape", ()))

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        model(torch.randint(65, 85, (2, 11)), use_cache=False)
    layers = list_layers(shape_of(config))
    assert {layer.module: (2, 11, layer.width) for layer in layers} == {
        name: shape
        for name, shape in shapes.items()
        if name not in NOT_LISTED and not any(name.endswith(f".{end}") for end in INSIDE)
    }
    modules = [layer.module for layer in layers]
    assert modules == [name for name in ran if name in modules], "in the order in which they run"
    assert len({layer.name for layer in layers}) == len(layers)


def test_a_layer_is_found_by_both_names() -> None:
    shape = RELEASE_SHAPES["evo2_7b"]
    for layer in list_layers(shape):
        assert find_layer(layer.name, shape) == find_layer(layer.module, shape) == layer
    assert find_layer("model.layers.28.mlp.l3", shape).name == "blocks.28.mlp.l3"
    assert find_layer("blocks.3.inner_mha_cls.Wqkv", shape).width == 3 * 4096
    assert find_layer("model.norm", shape).name == "norm"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.32", "It has 32 blocks, blocks.0 to blocks.31."),
        ("model.layers.99.mlp.l3", "It has 32 blocks, blocks.0 to blocks.31."),
        ("blocks.28.mlp.l4", "blocks.28.mlp.l3"),
        ("blocks.28.mlp", "blocks.28.mlp.l3"),
        ("blocks.3.filter", "blocks.3 is a block of attention; expected one of blocks.3.pre_norm"),
        ("blocks.0.inner_mha_cls.Wqkv", "blocks.0 is a block of hyena_se; expected one of"),
        ("block.20", "blocks.20"),
        ("blocks-26", "blocks.26"),
        ("Norm", "norm"),
        ("", "embedding_layer, blocks.31, blocks.31.mlp.l3, norm"),
        ("blocks.007", "blocks.7"),
        ("blocks.-1", "Similar names"),
        ("blocks.1\n", "blocks.1"),
        ("blocks.٣", "Similar names"),
    ],
)
def test_a_name_that_no_layer_has_is_refused_with_similar_ones(name: str, expected: str) -> None:
    with pytest.raises(ValueError, match="is not a layer of this model") as refused:
        find_layer(name, RELEASE_SHAPES["evo2_7b"])
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_default_layers_exist() -> None:
    for release, name in DEFAULT_LAYERS.items():
        assert find_layer(name, RELEASE_SHAPES[release]).name == name == default_layer(release)
    assert default_layer("evo2_40b") == "blocks.20"
    assert default_layer("evo2_7b") == "blocks.28.mlp.l3"
    assert default_layer("evo2_1b_base") is None
    assert default_layer("evo2-mini") is None
    assert default_layer(None) is None
