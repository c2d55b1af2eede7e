"""Caches that grow in place or share a prompt, against the stock cache after the same calls."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.cache import BranchLayer, GrowingLayer, new_cache, repeat_sequences
from evo2_tasks.evo2.keywords import CACHE_NAME

OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li"]
HEADS, CHANNELS = 2, 3
NEVER = 511  # an end-of-document token that these models do not come upon


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draw_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(2, 256, shape, generator=torch.Generator().manual_seed(seed))


def save_and_load(layer: DynamicLayer) -> DynamicLayer:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded: DynamicLayer = torch.load(file, weights_only=False)
    return loaded


def move_away_and_back(layer: DynamicLayer) -> DynamicLayer:
    layer.offload()
    layer.prefetch()
    return layer


CALLS: dict[str, Callable[[DynamicLayer], DynamicLayer | None]] = {
    "crop": lambda layer: layer.crop(-1) if layer.get_seq_length() > 1 else None,
    "repeat": lambda layer: layer.batch_repeat_interleave(2),
    "select": lambda layer: layer.batch_select_indices(torch.tensor([1, 0])),
    "reorder": lambda layer: layer.reorder_cache(torch.tensor([1, 1])),
    "copy": copy.deepcopy,
    "save": save_and_load,
    "offload": move_away_and_back,
    "reset": lambda layer: layer.reset(),
}
steps = st.lists(st.one_of(st.sampled_from(sorted(CALLS)), st.integers(1, 5)), max_size=12)


def apply_steps(layer: DynamicLayer, some: list[str | int], batch: int) -> list[Tensor]:
    """Keys and values after each step; a number adds so many tokens."""
    seen = []
    for index, step in enumerate(some):
        if isinstance(step, int):
            new = draw(2 * index, batch, HEADS, step, CHANNELS)
            seen += list(layer.update(new, draw(2 * index + 1, *new.shape)))
        else:
            layer = CALLS[step](layer) or layer
            if layer.get_seq_length():
                if step in ("select", "reorder"):
                    batch = 2
                if step == "repeat":
                    batch *= 2
                seen += [layer.keys, layer.values]
        seen.append(torch.tensor(layer.get_seq_length()))
    return seen


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)


@settings(deadline=None, max_examples=100)
@given(steps, st.one_of(st.none(), st.integers(1, 20)))
def test_a_growing_layer_is_the_stock_layer(some: list[str | int], length: int | None) -> None:
    assert_same(apply_steps(GrowingLayer(length), some, 2), apply_steps(DynamicLayer(), some, 2))


@settings(deadline=None, max_examples=100)
@given(steps, st.integers(1, 3), st.integers(1, 5))
def test_branches_of_a_layer_are_the_repeated_stock_layer(
    some: list[str | int], num_trunks: int, num_before: int
) -> None:
    copies = 2
    before = draw(100, num_trunks, HEADS, num_before, CHANNELS)
    trunk, stock = GrowingLayer(), DynamicLayer()
    for layer in (trunk, stock):
        layer.update(before, -before)
    rows = [row for row in range(num_trunks) for _ in range(copies)]
    stock.batch_repeat_interleave(copies)
    branches = BranchLayer(trunk, rows, GrowingLayer())
    assert torch.equal(branches.keys, stock.keys)
    batch = len(rows)
    assert_same(apply_steps(branches, some, batch), apply_steps(stock, some, batch))


def test_a_growing_layer_rarely_moves_its_keys() -> None:
    layer, known = GrowingLayer(), GrowingLayer(100)
    places: dict[DynamicLayer, set[int]] = {layer: set(), known: set()}
    for length in [20] + 80 * [1]:
        for one, seen in places.items():
            keys, _ = one.update(*2 * [draw(0, 1, HEADS, length, CHANNELS)])
            seen.add(keys.untyped_storage().data_ptr())
            assert keys.untyped_storage().nbytes() <= 4 * HEADS * CHANNELS * 2 * 100
    assert len(places[layer]) <= 4
    assert known.keys.untyped_storage().nbytes() == 4 * HEADS * CHANNELS * 100


def test_keys_of_inference_mode_are_extended_outside_of_it() -> None:
    layer, new = GrowingLayer(50), draw(0, 1, HEADS, 3, CHANNELS)
    with torch.inference_mode():
        layer.update(new, new)
    keys, _ = layer.update(new, new)
    assert torch.equal(keys, torch.cat([new, new], dim=2))


def test_gradients_pass_through_a_growing_cache(make_model: Any) -> None:
    model, ids = make_model(OPERATORS), draw_ids(1, 20)
    gradients = []
    for cache in (new_cache(model.config), DynamicCache(config=model.config)):
        model.zero_grad()
        pieces = [
            model(piece, **{CACHE_NAME: cache}).logits for piece in ids.split([12, 1, 7], dim=1)
        ]
        torch.cat(pieces, dim=1).square().sum().backward()
        gradients.append(model.model.embed_tokens.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def model(make_model: Any) -> Evo2ForCausalLM:
    return make_model(OPERATORS)


def generate(model: Evo2ForCausalLM, *inputs: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": NEVER, **kwargs}
    return model.generate(*inputs, **settings)


MODES = {
    "samples": {"do_sample": True, "num_return_sequences": 4},
    "beams": {"num_beams": 4, "num_return_sequences": 3},
}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_prompt_is_run_once_and_its_keys_are_held_once(model: Evo2ForCausalLM, mode: str) -> None:
    num_tokens = []
    hook = model.model.embed_tokens.register_forward_hook(
        lambda _, inputs, __: num_tokens.append(inputs[0].numel())
    )
    prompts = draw_ids(2, 30)
    output = generate(model, prompts, return_dict_in_generate=True, **MODES[mode])
    hook.remove()
    assert num_tokens == [2 * 30] + 7 * [2 * 4]
    layer = output[CACHE_NAME].layers[3]
    assert layer.levels[0].layer.keys.shape[0] == 2
    assert layer.own.get_seq_length() == 7
    assert layer.keys.shape == layer.values.shape == (8, 3, 37, 8)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_padded_prompts_with_several_continuations(
    make_model: Any, mode: str, implementation: str
) -> None:
    model = make_model(OPERATORS, attn_implementation=implementation)
    prompts, mask = draw_ids(2, 30), torch.ones(2, 30, dtype=torch.long)
    mask[0, :9] = 0
    cached = generate(model, prompts, attention_mask=mask, **MODES[mode])
    expected = generate(model, prompts, attention_mask=mask, use_cache=False, **MODES[mode])
    assert torch.equal(cached, expected)


def test_what_else_a_shared_prompt_returns(model: Evo2ForCausalLM) -> None:
    names = ("output_scores", "output_logits", "output_hidden_states")
    settings = dict.fromkeys(names, True) | {"return_dict_in_generate": True}
    shared = generate(model, draw_ids(2, 30), **settings, **MODES["samples"])
    rows = generate(model, draw_ids(2, 30).repeat_interleave(4, dim=0), **settings, do_sample=True)
    assert torch.equal(shared.sequences, rows.sequences)
    for got, expected in zip(shared.logits, rows.logits, strict=True):
        assert torch.allclose(got, expected, atol=5e-5)
    for got, expected in zip(shared.hidden_states, rows.hidden_states, strict=True):
        assert [one.shape for one in got] == [one.shape for one in expected]


def test_the_cache_of_samples_is_passed_on(model: Evo2ForCausalLM) -> None:
    first = generate(model, draw_ids(1, 30), return_dict_in_generate=True, **MODES["samples"])
    cache = {CACHE_NAME: copy.deepcopy(first[CACHE_NAME])}
    expected = generate(model, first.sequences, use_cache=False)
    assert torch.equal(generate(model, first.sequences, **cache), expected)


def test_embedded_prompts_and_prompts_in_pieces(model: Evo2ForCausalLM) -> None:
    prompts = draw_ids(2, 30)
    expected = generate(model, prompts, **MODES["samples"])
    embedded = model.get_input_embeddings()(prompts).detach()
    assert torch.equal(
        generate(model, inputs_embeds=embedded, **MODES["samples"]), expected[:, 30:]
    )
    assert torch.equal(generate(model, prompts, prefill_chunk_size=7, **MODES["samples"]), expected)


def test_keys_that_are_not_shared_are_copied(model: Evo2ForCausalLM) -> None:
    for shares_keys, kind in ((True, BranchLayer), (False, GrowingLayer)):
        cache = new_cache(model.config)
        with torch.no_grad():
            model(draw_ids(2, 30), **{CACHE_NAME: cache})
            repeat_sequences(cache, [0, 0, 1], shares_keys=shares_keys)
            logits = model(draw_ids(3, 1, seed=1), **{CACHE_NAME: cache}).logits
            together = torch.cat([draw_ids(2, 30)[[0, 0, 1]], draw_ids(3, 1, seed=1)], dim=1)
            expected = model(together).logits[:, -1:]
        assert type(cache.layers[3]) is kind
        assert torch.allclose(logits, expected, atol=5e-5)
