"""The convolutions of Evo 2: many tokens at once, from an incoming state to an outgoing one.

Each function takes the tokens of one call and the state after the previous call (None at the start
of a sequence). It returns the outputs and the state for the next call, so a sequence can be cut
anywhere. The arithmetic is at least float32, also under autocast and with TF32 enabled.

Shapes: B batch, L tokens, D channels, K taps, S modal state, C tokens of a chunk, N chunks.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Tokens of a chunk in `modal_filter`: few enough that computing its filter is cheap, and enough
# that the steps from chunk to chunk are cheap.
CHUNK_LENGTH = 32
# Up to this number of taps, the gradient of each tap is computed by a pass over the tokens. With
# more taps it is computed in blocks.
FEW_TAPS = 8
# A call of at least so many tokens for each earlier input of a filter needs no padded copy.
LONG_CALL = 16
# Tokens of a block in the gradient of many taps.
GRADIENT_BLOCK_LENGTH = 64


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in its own dtype if that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context without autocast on the device of the tensor."""
    return torch.autocast(tensor.device.type, enabled=False)


def full_convolutions(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which cuDNN computes float32 convolutions in float32; its default is TF32."""
    if not (tensor.is_cuda and tensor.dtype == torch.float32):
        return nullcontext()
    cudnn = torch.backends.cudnn
    flags: AbstractContextManager[object] = cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )
    return flags


def causal_fir(u: Tensor, taps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Filter each channel over time with its own taps. The last tap is for the current token.

    ``y[t] = sum_k taps[k] * u[t - (K - 1) + k]``, with zeros before the first token. The reference
    stores the taps of the featurizer and of ``hyena_se`` in this order, and those of ``hyena_mr``
    in reverse order.

    Args:
        u: Input. (B, L, D)
        taps: Filter of each channel. (D, K)
        state: The last inputs before `u`. (B, D, K - 1)

    Returns:
        Output, summed in float32 and rounded to the dtype of `u` once, (B, L, D), and the last
        inputs after `u`, (B, D, K - 1).
    """
    length, history = u.shape[1], taps.shape[1] - 1
    if state is not None and torch.is_grad_enabled():
        state = state.clone()  # the cache writes the next state into this tensor
    filtered: Tensor = _DepthwiseFilter.apply(u, taps.to(u.dtype), state)
    past = u if length >= history else _with_past(u, history, state)
    return filtered, past[:, past.shape[1] - history :].transpose(1, 2)


def _with_past(u: Tensor, history: int, state: Tensor | None) -> Tensor:
    """The inputs with those before them, or with zeros. (B, L, D) -> (B, history + L, D)."""
    if state is None:
        return functional.pad(u, (0, 0, history, 0))
    return torch.cat([state.transpose(1, 2).to(u.dtype), u], dim=1)


def fir_step(window: Tensor, taps: Tensor) -> Tensor:
    """One output of `causal_fir`, from the K inputs that it depends on.

    Args:
        window: The last inputs. (B, K, D)
        taps: Filter of each group of adjacent channels. (G, K)

    Returns:
        Output, summed in float32 and rounded to the dtype of `window` once. (B, D)
    """
    grouped = widened(window).unflatten(2, (taps.shape[0], -1))  # (B, K, G, D / G)
    # Not a matrix multiplication, which may be rounded to TF32.
    filtered: Tensor = (grouped * widened(taps).t()[..., None]).sum(1)
    return filtered.flatten(1).to(window.dtype)


def _depthwise_filter(u: Tensor, taps: Tensor, state: Tensor | None) -> Tensor:
    """The outputs of `causal_fir`. (B, L, D), (D, K), (B, D, K - 1) -> (B, L, D)."""
    length, history = u.shape[1], taps.shape[1] - 1
    if length < LONG_CALL * history:
        return _convolve(_with_past(u, history, state), taps, padding=0)
    # A padded copy of a long input costs more time than the outputs after its end.
    filtered = _convolve(u, taps, padding=history)[:, :length]
    if state is not None and history:
        first = _with_past(u[:, :history], history, state)
        filtered[:, :history] = _convolve(first, taps, padding=0)
    return filtered


def _convolve(u: Tensor, taps: Tensor, *, padding: int) -> Tensor:
    """Filter each channel, with zeros on both sides. (B, L, D) -> (B, L + 2 padding - K + 1, D)."""
    with full_precision(u), full_convolutions(u):
        # (B, L, D) is an image of height 1 in channels-last order, so it needs no transposition.
        image = u.transpose(1, 2).unsqueeze(2)
        weight = taps[:, None, None, :]
        filtered = functional.conv2d(image, weight, padding=(0, padding), groups=len(taps))
    return filtered.squeeze(2).transpose(1, 2)


class _DepthwiseFilter(torch.autograd.Function):
    """`_depthwise_filter` with a gradient of the taps by matrix multiplications.

    torch's own gradient takes a second, this one 20 ms (512 channels, 128 taps, 8192 tokens).
    """

    @staticmethod
    def forward(u: Tensor, taps: Tensor, state: Tensor | None) -> Tensor:
        return _depthwise_filter(u, taps, state)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor
    ) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        u, taps, state = ctx.saved_tensors
        history = taps.shape[1] - 1
        grad_u = grad_taps = grad_state = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            grad_padded = _convolve(grad, taps.flip(1), padding=history)
            grad_u = grad_padded[:, history:]
            if state is not None:
                grad_state = grad_padded[:, :history].transpose(1, 2).to(state.dtype)
        if ctx.needs_input_grad[1]:
            padded = _with_past(u, history, state)
            grad_taps = _correlate(padded, grad, history + 1).to(taps.dtype)
        return grad_u, grad_taps, grad_state


def _correlate(padded: Tensor, grad: Tensor, num_taps: int) -> Tensor:
    """``sum_bt grad[b, t, d] * padded[b, t + k, d]`` for each tap k. (D, K).

    With many taps, blocks of C positions are multiplied with the C + K - 1 inputs that affect them.
    The sums for each distance are then on the diagonals of the result.
    """
    length = grad.shape[1]
    if num_taps <= FEW_TAPS:
        wide = widened(grad)
        sums = [(wide * padded[:, k : k + length]).sum((0, 1)) for k in range(num_taps)]
        return torch.stack(sums, dim=1)
    block = min(GRADIENT_BLOCK_LENGTH, length)
    missing = -length % block
    reach = block + num_taps - 1
    with full_precision(grad):
        grad = _one_channel_a_row(functional.pad(widened(grad), (0, 0, 0, missing)))
        inputs = _one_channel_a_row(functional.pad(widened(padded), (0, 0, 0, missing)))
        grads = grad.unflatten(2, (-1, block)).flatten(1, 2)  # (D, B * N, C)
        # A matrix multiplication cannot read overlapping rows, so they are copied.
        reached = inputs.unfold(2, reach, block).contiguous().flatten(1, 2)  # (D, B * N, C + K - 1)
        products = grads.transpose(1, 2).bmm(reached)  # (D, C, C + K - 1)
    # Row i, column i + k is at position i * (C + K) + k of the flattened matrix.
    diagonals = products.as_strided(
        (products.shape[0], block, num_taps), (block * reach, reach + 1, 1)
    )
    correlation: Tensor = diagonals.sum(dim=1)
    return correlation


def _one_channel_a_row(u: Tensor) -> Tensor:
    """(B, L, D) -> (D, B, L), contiguous; reshaped to a matrix, which torch transposes fast."""
    B, L, D = u.shape
    return u.reshape(B * L, D).t().contiguous().view(D, B, L)


class ModalFilter(NamedTuple):
    """The filter ``h[t] = sum_s R_s exp(P_s t)`` within and between chunks of C tokens."""

    within: Tensor
    """Weight of input j in output i of the same chunk, ``h[i - j]``. (D, C, C), j before i."""
    collect: Tensor
    """Weight of input j in the state after the chunk, ``exp(P (C - 1 - j))``. (D, C, S)"""
    read: Tensor
    """Weight of the state before the chunk in output i, ``R exp(P (i + 1))``. (D, S, C)"""
    decays: Tensor
    """Factor of a state after n tokens, ``exp(P n)``, n from 0 to C. (C + 1, D, S)"""


def make_modal_filter(log_poles: Tensor, residues: Tensor, chunk_length: int) -> ModalFilter:
    """Expand poles and residues over one chunk. The size does not depend on the sequence.

    Args:
        log_poles: P, below 0. (D, S)
        residues: R. (D, S)
        chunk_length: Tokens C of a chunk.
    """
    with full_precision(log_poles):
        time = torch.arange(chunk_length + 1, device=log_poles.device, dtype=log_poles.dtype)
        decays = torch.exp(log_poles * time[:, None, None])  # (C + 1, D, S)
        powers = decays.permute(1, 2, 0)  # (D, S, C + 1)
        impulse = torch.einsum("ds,dsc->dc", residues, powers[..., :-1])  # h, (D, C)
        # Window i of the padded response ends at h[i]; in reverse order, its entry j is h[i - j].
        windows = functional.pad(impulse, (chunk_length - 1, 0)).unfold(1, chunk_length, 1)
        return ModalFilter(
            within=windows.flip(2).transpose(1, 2).contiguous(),
            collect=powers[..., :-1].flip(2).transpose(1, 2).contiguous(),
            read=residues[..., None] * powers[..., 1:],
            decays=decays,
        )


def modal_filter(u: Tensor, modal: ModalFilter, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Convolve each channel with a sum of decaying exponentials, in chunks with carried state.

    ``y[t] = sum_{j <= t} h[t - j] u[j]``. The outputs of a chunk are the sum of two terms: its own
    inputs filtered by h, and the contribution of the state before the chunk. The state is
    ``s = sum_j exp(P)^(now - j) u[j]``.

    Args:
        u: Input, float32 or wider. (B, L, D)
        modal: The filter, for chunks of C tokens, or for at least L tokens.
        state: The state before these tokens. (B, D, S)

    Returns:
        Output, (B, L, D), and the state after these tokens, (B, D, S), both in the dtype of `u`.
    """
    B, L, D = u.shape
    C = min(modal.within.shape[1], L)
    N = -(-L // C)
    last = L - (N - 1) * C  # tokens of the last chunk
    within, collect = modal.within[:, :C, :C], modal.collect[:, -C:]
    with full_precision(u):
        padded = functional.pad(u, (0, 0, 0, N * C - L))
        # The matrix multiplications below are over time, with one matrix for each channel.
        rows = _one_channel_a_row(padded).view(D, B * N, C)
        gains = rows.bmm(collect).view(D, B, N, -1)  # contribution of each chunk to the state
        if state is None:
            now = gains.new_zeros(D, B, gains.shape[-1])
        else:
            # A copy, because the cache writes the next state into the tensor that it returned.
            now = state.transpose(0, 1).clone()
        before, decay = [now], modal.decays[C][:, None]  # the state before each chunk
        for gain in gains.unbind(2)[:-1]:
            now = torch.addcmul(gain, decay, now)
            before.append(now)
        states = torch.stack(before, dim=2).view(D, B * N, -1)
        y = torch.baddbmm(rows.bmm(within), states, modal.read[..., :C])  # (D, B * N, C)
        after = rows.view(D, B, N, C)[:, :, -1, :last].bmm(modal.collect[:, -last:])
        after = torch.addcmul(after, modal.decays[last][:, None], now)  # (D, B, S)
    y = y.view(D, B * N * C).t().contiguous().view(B, N * C, D)
    return y[:, :L], after.transpose(0, 1)


def modal_step(u: Tensor, decay: Tensor, residues: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One step of `modal_filter`.

    Args:
        u: Input, float32 or wider. (B, D)
        decay: Factor of a state after a token, exp(P). (D, S)
        residues: R. (D, S)
        state: The state before the token. (B, D, S)

    Returns:
        Output, (B, D), and the state after the token, (B, D, S).
    """
    after = torch.addcmul(u[..., None], decay, state)
    return (after * residues).sum(-1), after
