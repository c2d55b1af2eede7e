"""The cache has two names, and no keyword of `forward` is lost without an error."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.keywords import CACHE_NAMES, LOSS_KEYWORDS, PASSED_KEYWORDS

IDS = torch.tensor([[65, 67, 71, 84, 84, 71, 67, 65]])
KNOWN = {
    "input_ids", "attention_mask", "position_ids", "inputs_embeds", "use_cache", "labels",
    "logits_to_keep", "return_dict", "output_hidden_states", "output_attentions",
    "self", "args", "kwargs", *CACHE_NAMES, *LOSS_KEYWORDS, *PASSED_KEYWORDS,
}  # fmt: skip


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_cache_by_either_name_continues_the_sequence(
    small_model: Evo2ForCausalLM, name: str
) -> None:
    whole = small_model(IDS).logits
    cache = new_cache(small_model.config)
    small_model(IDS[:, :5], **{name: cache}, use_cache=True)
    rest = small_model(IDS[:, 5:], **{name: cache}, use_cache=True)
    torch.testing.assert_close(rest.logits, whole[:, 5:], atol=1e-5, rtol=1e-5)


def test_both_names_at_once_are_refused(small_model: Evo2ForCausalLM) -> None:
    caches = {name: new_cache(small_model.config) for name in CACHE_NAMES}
    for model in (small_model, small_model.model):
        with pytest.raises(TypeError, match="given twice"):
            model(IDS, **caches)


@settings(max_examples=50)
@given(st.from_regex(r"[a-z][a-z_]{0,15}", fullmatch=True).filter(lambda word: word not in KNOWN))
def test_an_unknown_keyword_is_refused(small_model: Evo2ForCausalLM, word: str) -> None:
    for model in (small_model, small_model.model):
        with pytest.raises(TypeError, match=f"unknown keyword argument '{word}'"):
            model(IDS, **{word: 1})


def test_generate_continues_from_its_own_cache(small_model: Evo2ForCausalLM) -> None:
    """The oracle: each token from the whole sequence, without a cache."""
    generated = small_model.generate(IDS, max_new_tokens=6, do_sample=False)
    ids = IDS
    for _ in range(6):
        ids = torch.cat([ids, small_model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert generated.tolist() == ids.tolist()


@pytest.fixture(scope="module")
def without_attention() -> Evo2ForCausalLM:
    torch.manual_seed(5)
    config = Evo2Config(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        operators=["hyena_se", "hyena_mr", "hyena_li"],
        hyena_se_groups=4,
        hyena_mr_groups=4,
        initializer_range=0.3,
    )
    return Evo2ForCausalLM(config).eval()


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_cache_that_cannot_count_its_tokens_is_refused(
    without_attention: Evo2ForCausalLM, name: str
) -> None:
    """With the stock cache, transformers 5.24 ran the whole sequence again: wrong DNA."""
    stock = DynamicCache(config=without_attention.config)
    without_attention(IDS[:, :5], **{name: stock}, use_cache=True)
    with pytest.raises(ValueError, match="does not know how many tokens went through it"):
        without_attention.generate(IDS, max_new_tokens=3, do_sample=False, **{name: stock})


@pytest.mark.parametrize("name", CACHE_NAMES)
@pytest.mark.parametrize("has_attention", [False, True])
def test_generate_continues_a_cache_as_if_there_were_none(
    small_model: Evo2ForCausalLM, without_attention: Evo2ForCausalLM, name: str, has_attention: bool
) -> None:
    model = small_model if has_attention else without_attention
    expected = model.generate(IDS, max_new_tokens=5, do_sample=False, use_cache=False)
    cache = new_cache(model.config)
    model(IDS[:, :5], **{name: cache}, use_cache=True)
    found = model.generate(IDS, max_new_tokens=5, do_sample=False, **{name: cache})
    assert found.tolist() == expected.tolist()
