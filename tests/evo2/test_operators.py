"""Each operator against the loop that defines it, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from evo2_tasks.evo2.operators import (
    CHUNK_LENGTH,
    causal_fir,
    fir_step,
    make_modal_filter,
    modal_filter,
    modal_step,
)

Array = NDArray[np.float64]
lengths = st.integers(1, 3 * CHUNK_LENGTH + 5)
batches = st.integers(1, 3)


def slow_fir(u: Array, taps: Array) -> Array:
    """y[t] = sum_k taps[k] u[t - (K - 1) + k]."""
    y = np.zeros_like(u)
    num_taps = taps.shape[1]
    for t in range(u.shape[1]):
        for k in range(num_taps):
            if t - (num_taps - 1) + k >= 0:
                y[:, t] += taps[:, k] * u[:, t - (num_taps - 1) + k]
    return y


def slow_modal(u: Array, log_poles: Array, residues: Array) -> tuple[Array, Array]:
    """One token after the other: s = exp(P) s + u, y = sum R s."""
    state = np.zeros((u.shape[0], *log_poles.shape))
    y = np.zeros_like(u)
    for t in range(u.shape[1]):
        state = np.exp(log_poles) * state + u[:, t, :, None]
        y[:, t] = (residues * state).sum(-1)
    return y, state


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_poles(seed: int, channels: int, modes: int) -> Tensor:
    """Log poles of memories from one token to a few thousand."""
    uniform = torch.rand(channels, modes, generator=torch.Generator().manual_seed(seed))
    return -(10 ** (-3.5 * uniform.double()))


@settings(deadline=None, max_examples=40)
@given(lengths, batches, st.integers(1, 5), st.sampled_from([1, 2, 3, 7, 50, 128]))
def test_fir_is_the_loop(length: int, batch: int, channels: int, num_taps: int) -> None:
    u, taps = draw(0, batch, length, channels), draw(1, channels, num_taps)
    y, state = causal_fir(u.float(), taps.float(), None)
    np.testing.assert_allclose(y, slow_fir(u.numpy(), taps.numpy()), atol=1e-4)
    padded = np.concatenate([np.zeros((batch, num_taps - 1, channels)), u.numpy()], axis=1)
    last = padded[:, padded.shape[1] - (num_taps - 1) :].transpose(0, 2, 1)
    np.testing.assert_allclose(state, last, atol=1e-6)


@pytest.mark.parametrize("has_past", [False, True])
@pytest.mark.parametrize(("length", "num_taps"), [(5, 1), (31, 3), (32, 3), (500, 7), (2100, 128)])
def test_a_long_call_has_the_bits_of_a_padded_one(
    length: int, num_taps: int, has_past: bool
) -> None:
    u, taps = draw(0, 3, length, 32).float(), draw(1, 32, num_taps).float()
    past = draw(2, 3, 32, num_taps - 1).float() if has_past else None
    y, after = causal_fir(u, taps, past)
    before = torch.zeros(3, 32, num_taps - 1) if past is None else past
    padded = torch.cat([before, u.transpose(1, 2)], dim=2)  # (B, D, L + K - 1)
    image = padded[:, :, None].contiguous(memory_format=torch.channels_last)
    expected = torch.conv2d(image, taps[:, None, None], groups=32)[:, :, 0]
    assert torch.equal(y.transpose(1, 2), expected)
    assert torch.equal(after, padded[..., length:])


@settings(deadline=None, max_examples=40)
@given(lengths, batches, st.integers(1, 5), st.integers(1, 16))
def test_modal_filter_is_the_recurrence(length: int, batch: int, channels: int, modes: int) -> None:
    u, residues = draw(0, batch, length, channels), draw(1, channels, modes)
    log_poles = draw_poles(2, channels, modes)
    modal = make_modal_filter(log_poles.float(), residues.float(), CHUNK_LENGTH)
    y, state = modal_filter(u.float(), modal, None)
    slow_y, slow_state = slow_modal(u.numpy(), log_poles.numpy(), residues.numpy())
    scale = max(1.0, float(np.abs(slow_y).max()))
    np.testing.assert_allclose(y, slow_y, atol=3e-6 * scale)
    np.testing.assert_allclose(state, slow_state, atol=3e-6 * max(1, np.abs(slow_state).max()))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 45), min_size=1, max_size=6), batches, st.integers(0, 99))
def test_any_cut_into_calls_gives_the_same(cuts: list[int], batch: int, seed: int) -> None:
    u = draw(seed, batch, sum(cuts), 4)
    taps, residues = draw(seed + 1, 4, 20), draw(seed + 2, 4, 3)
    modal = make_modal_filter(draw_poles(seed, 4, 3), residues, CHUNK_LENGTH)
    fir_state = modal_state = None
    fir, filtered = [], []
    for piece in u.split(cuts, dim=1):
        y, fir_state = causal_fir(piece, taps, fir_state)
        fir.append(y)
        y, modal_state = modal_filter(piece, modal, modal_state)
        filtered.append(y)
    whole, whole_state = modal_filter(u, modal, None)
    assert torch.allclose(torch.cat(fir, dim=1), causal_fir(u, taps, None)[0], atol=1e-12)
    assert torch.allclose(torch.cat(filtered, dim=1), whole, atol=1e-11)
    assert torch.allclose(modal_state, whole_state, atol=1e-11)


@settings(deadline=None, max_examples=40)
@given(lengths, batches, st.integers(1, 3), st.sampled_from([2, 3, 7, 128]), st.integers(0, 99))
def test_steps_are_the_loops(
    length: int, batch: int, groups: int, num_taps: int, seed: int
) -> None:
    u, taps = draw(seed, batch, length, 2 * groups), draw(seed + 1, groups, num_taps)
    log_poles, residues = draw_poles(seed, 2 * groups, 3), draw(seed + 2, 2 * groups, 3)
    window, state = u.new_zeros(batch, num_taps, 2 * groups), u.new_zeros(batch, 2 * groups, 3)
    fir, filtered = [], []
    for token in u.unbind(1):
        window = torch.cat([window[:, 1:], token[:, None]], dim=1)
        fir.append(fir_step(window, taps))
        y, state = modal_step(token, log_poles.exp(), residues, state)
        filtered.append(y)
    slow_y, slow_state = slow_modal(u.numpy(), log_poles.numpy(), residues.numpy())
    each_channel = np.repeat(taps.numpy(), 2, axis=0)
    np.testing.assert_allclose(torch.stack(fir, 1), slow_fir(u.numpy(), each_channel), atol=1e-12)
    np.testing.assert_allclose(torch.stack(filtered, 1), slow_y, atol=1e-10)
    np.testing.assert_allclose(state, slow_state, atol=1e-10)


@pytest.mark.parametrize("num_taps", [3, 128])
def test_a_step_in_bfloat16_is_rounded_once(num_taps: int) -> None:
    window, taps = draw(0, 2, num_taps, 6).bfloat16(), draw(1, 3, num_taps).bfloat16()
    exact = (window.double() * taps.double().repeat_interleave(2, dim=0).t()).sum(1)
    assert torch.equal(fir_step(window, taps), exact.float().bfloat16())


@pytest.mark.parametrize(
    ("length", "num_taps"), [(1, 3), (5, 7), (40, 3), (200, 7), (90, 50), (150, 128)]
)
def test_gradients_of_fir_are_those_of_the_loop(length: int, num_taps: int) -> None:
    u, taps = draw(0, 2, length, 3).requires_grad_(), draw(1, 3, num_taps).requires_grad_()
    past = draw(2, 2, 3, num_taps - 1).requires_grad_()
    weight = draw(3, 2, length, 3)
    padded = torch.cat([past.transpose(1, 2), u], dim=1)
    slow = sum(taps[:, k] * padded[:, k : k + length] for k in range(num_taps))
    expected = torch.autograd.grad(slow, (u, taps, past), weight)
    got = torch.autograd.grad(causal_fir(u, taps, past)[0], (u, taps, past), weight)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("length", [1, 20, 32, 75])
def test_gradients_of_the_modal_filter_are_right(length: int) -> None:
    u, log_poles = draw(0, 2, length, 3).requires_grad_(), draw_poles(1, 3, 2).requires_grad_()
    residues, past = draw(2, 3, 2).requires_grad_(), draw(3, 2, 3, 2).requires_grad_()
    time = torch.arange(length + 1.0, dtype=torch.float64)
    powers = torch.exp(log_poles[..., None] * time)  # (D, S, L + 1)
    impulse = (residues[..., None] * powers).sum(1)
    read = torch.einsum("ds,dsl,bds->bld", residues, powers[..., 1:], past)
    slow = torch.stack(
        [
            sum(impulse[:, t - j] * u[:, j] for j in range(t + 1)) + read[:, t]
            for t in range(length)
        ],
        dim=1,
    )
    after = torch.einsum("dsl,bld->bds", powers[..., :-1].flip(-1), u)
    after = after + powers[..., -1] * past
    inputs, weights = (u, log_poles, residues, past), (draw(4, *slow.shape), draw(5, *after.shape))
    expected = torch.autograd.grad((slow, after), inputs, weights)
    modal = make_modal_filter(log_poles, residues, min(CHUNK_LENGTH, length))
    got = torch.autograd.grad(modal_filter(u, modal, past), inputs, weights)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


@pytest.mark.parametrize("num_taps", [3, 7])
def test_bfloat16_is_rounded_once(num_taps: int) -> None:
    u, taps = draw(0, 2, 200, 5).bfloat16(), draw(1, 5, num_taps).bfloat16()
    y, _ = causal_fir(u, taps, None)
    exact = torch.from_numpy(slow_fir(u.double().numpy(), taps.double().numpy()))
    assert y.dtype == torch.bfloat16
    # Half a step of bfloat16, which has 8 significant bits, and what float32 sums lose.
    assert bool(((y.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all())


def test_autocast_leaves_the_filters_alone() -> None:
    u, residues = draw(0, 1, 100, 4).float(), draw(1, 4, 3).float()
    log_poles, taps = draw_poles(2, 4, 3).float(), draw(3, 4, 20).float()
    expected = modal_filter(u, make_modal_filter(log_poles, residues, CHUNK_LENGTH), None)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = modal_filter(u, make_modal_filter(log_poles, residues, CHUNK_LENGTH), None)[0]
        fir = causal_fir(u, taps, None)[0]
    assert torch.equal(got, expected)
    assert torch.equal(fir, causal_fir(u, taps, None)[0])
