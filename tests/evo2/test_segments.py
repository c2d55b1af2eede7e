"""Long inputs in pieces: segments of a window, angles, gradients."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache, StaticCache

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2 import rotary
from evo2_tasks.evo2.rotary import RotaryEmbedding
from evo2_tasks.scoring.likelihood import next_token_log_probs, window_log_probs

TOLERANCE = 5e-5  # nats a token; the logits of these models reach about 7
OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention"]
operator_lists = st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=6)


def draw_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 512, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model(make_model: Any) -> Evo2ForCausalLM:
    return make_model([*OPERATORS, "hyena_li", "hyena_se", "attention"])


@torch.inference_mode()
def log_probs_of(model: Evo2ForCausalLM, input_ids: Tensor) -> Tensor:
    """The plain way: all logits at once. (B, L - 1)."""
    log_probs = model(input_ids, use_cache=False).logits.log_softmax(-1)[:, :-1]
    return log_probs.gather(-1, input_ids[:, 1:, None]).squeeze(-1)


@settings(deadline=None, max_examples=40)
@given(operator_lists, st.integers(1, 3), st.integers(1, 150), st.integers(1, 160), st.booleans())
def test_segments_of_any_length_are_one_pass(
    make_model: Any,
    operators: list[str],
    batch: int,
    length: int,
    segment_length: int,
    offload: bool,
) -> None:
    model, input_ids = make_model(operators), draw_ids(batch, length, seed=length)
    with torch.inference_mode():
        log_probs = next_token_log_probs(
            model, input_ids, segment_length=segment_length, offload=offload
        )
    assert log_probs.shape == (batch, length - 1)
    assert torch.allclose(log_probs, log_probs_of(model, input_ids), atol=TOLERANCE)


def test_windows_longer_than_a_segment_in_bfloat16(make_model: Any) -> None:
    model = make_model(OPERATORS).bfloat16()
    windows = [
        bytes(draw_ids(length, seed=length).tolist()[i] % 256 for i in range(length))
        for length in (300, 120, 40)
    ]
    whole = window_log_probs(model, windows, prepend_bos=True)
    cut = window_log_probs(model, windows, prepend_bos=True, segment_length=97)
    for one, other in zip(whole, cut, strict=True):
        assert np.isfinite(one).all()
        # Some activations fall to the other side of a rounding.
        assert np.abs(one - other).mean() < 0.02


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_cache_of_fixed_length_is_not_read_past_its_tokens(
    model: Evo2ForCausalLM, implementation: str
) -> None:
    model.set_attn_implementation(implementation)
    input_ids, cache = draw_ids(1, 60), StaticCache(config=model.config, max_cache_len=100)
    with torch.inference_mode():
        pieces = [model(piece, past_key_values=cache).logits for piece in input_ids.split(25, 1)]
        whole = model(input_ids, use_cache=False).logits
    model.set_attn_implementation("sdpa")
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=TOLERANCE)


def test_gradients_through_a_continuation(model: Evo2ForCausalLM) -> None:
    input_ids = draw_ids(1, 50)
    with torch.no_grad():
        cache = model(input_ids[:, :30], use_cache=True).past_key_values
    loss = model(input_ids[:, 30:], past_key_values=cache, labels=input_ids[:, 30:]).loss
    model.zero_grad()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    model.zero_grad()


@pytest.mark.parametrize("factor", [1.0, 128.0])
def test_angles_at_a_million_tokens(make_config: Any, factor: float) -> None:
    rope = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": factor}
    config = make_config(
        ["attention"], hidden_size=256, num_attention_heads=2, rope_parameters=rope
    )
    embedding = RotaryEmbedding(config)
    positions = torch.tensor([[0, 1, 1023, 65_536, 999_983, 1_048_575]])
    cos, sin = embedding(positions, torch.float32)
    angles = positions[0].numpy()[:, None] / factor * embedding.inv_freq.double().numpy()
    np.testing.assert_allclose(cos[0, 0].double(), np.cos(angles), atol=1e-7)
    np.testing.assert_allclose(sin[0, 0].double(), np.sin(angles), atol=1e-7)
    assert embedding(positions, torch.bfloat16)[0].dtype == torch.bfloat16


def test_kept_tables_are_those_of_the_positions(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order of calls, beyond the longest table, after new frequencies, in another dtype."""
    monkeypatch.setattr(rotary, "TABLE_LENGTH", 100)
    embedding = RotaryEmbedding(make_config())

    def require_equal(positions: range, dtype: torch.dtype) -> None:
        plain = embedding._compute(torch.tensor([[*positions]]), dtype)
        for table, expected in zip(embedding(positions, dtype), plain, strict=True):
            assert torch.equal(table, expected)

    for start, length in ((0, 5), (30, 1), (3, 40), (60, 1), (99, 1), (90, 30), (2_000, 7), (0, 2)):
        require_equal(range(start, start + length), torch.float32)
        require_equal(range(start, start + length), torch.bfloat16)
    embedding.inv_freq.mul_(0.5)
    require_equal(range(3, 9), torch.bfloat16)
    embedding.inv_freq = embedding.inv_freq * 3
    require_equal(range(3, 9), torch.bfloat16)
    assert copy.deepcopy(embedding)._tables is None


def test_single_tokens_make_few_tables(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, lengths = RotaryEmbedding(make_config()), []
    compute = embedding._compute

    def note(positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        lengths.append(positions.shape[1])
        return compute(positions, dtype)

    monkeypatch.setattr(embedding, "_compute", note)
    for position in range(1000):
        embedding(range(position, position + 1), torch.float32)
    assert lengths == [2**power for power in range(11)]


def test_tables_of_scoring_serve_training(model: Evo2ForCausalLM) -> None:
    """A tensor of inference mode cannot be saved for a backward pass."""
    input_ids = draw_ids(1, 12)
    trained = copy.deepcopy(model)
    with torch.inference_mode():
        trained(input_ids)
    trained(input_ids, labels=input_ids).loss.backward()
    assert all(torch.isfinite(one.grad).all() for one in trained.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_given_positions_are_those_of_the_tables(model: Evo2ForCausalLM, dtype: Any) -> None:
    """A range of positions, the same given as a tensor, and rows of different positions."""
    some = copy.deepcopy(model).to(dtype)
    input_ids, positions = draw_ids(2, 30), torch.arange(30)[None]
    with torch.inference_mode():
        expected = some(input_ids).logits
        assert torch.equal(some(input_ids, position_ids=positions).logits, expected)
        rows = torch.cat([positions, positions * 2])
        found = some(input_ids, position_ids=rows).logits
        assert torch.equal(found[0], expected[0])
        assert not torch.equal(found[1], expected[1])


def test_thirty_two_thousand_tokens_in_segments(make_model: Any) -> None:
    model = make_model(
        hidden_size=12,
        num_attention_heads=1,
        intermediate_size=8,
        hyena_se_groups=2,
        hyena_mr_groups=2,
    )
    input_ids = draw_ids(1, 32_768)
    with torch.inference_mode():
        whole = next_token_log_probs(model, input_ids, segment_length=32_768)
        cut = next_token_log_probs(model, input_ids, segment_length=5_000)
    assert torch.allclose(cut, whole, atol=TOLERANCE)


def test_the_segments_of_a_window_share_one_cache(model: Evo2ForCausalLM) -> None:
    seen: list[Any] = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs), with_kwargs=True
    )
    with torch.inference_mode():
        next_token_log_probs(model, draw_ids(2, 31), segment_length=10)
        next_token_log_probs(model, draw_ids(2, 31), segment_length=30)
    hook.remove()
    *cut, whole = seen
    assert [call["input_ids"].shape[1] for call in seen] == [10, 10, 10, 30]
    assert all(call["cache"] is cut[0]["cache"] for call in cut)
    assert isinstance(cut[0]["cache"], DynamicCache)
    assert whole["cache"] is None
