"""Attention of tokens that continue a cache.

Each new token sees all tokens before the call, and the new tokens up to itself. So the attention
has parts that need no mask: the new tokens among themselves (causal), and the earlier tokens of
their own sequence or of the trunks that several branches share. Each part is computed by a fused
kernel of torch, which also gives the log-sum-exp of the scores. The parts are then merged: with
log-sum-exps l1 and l2, the second part has the weight ``sigmoid(l2 - l1)``.

A fused kernel without a mask sees the first query at the first key, so it can be causal only if
there are as many queries as keys. torch has no public function that gives the log-sum-exp on a CPU
(`varlen_attn` is for CUDA and 16 bits, `flex_attention` writes all scores out without a compiler),
so `KERNELS` names torch's own operators.

B sequences, R trunks, H heads, L new tokens, S or P earlier tokens, d channels of a head.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend
from torch.nn.attention.bias import causal_lower_right

from .operators import widened

MASK_ELEMENTS = 2**23  # largest mask that attention writes out, unless LEAST_QUERIES need more
LEAST_QUERIES = 64

Kernel = Callable[[Tensor, Tensor, Tensor, bool, float], tuple[Tensor, Tensor]]
"""Attention of queries, keys and values, causal or not, with a factor of the dot products. Returns
the output, (B, H, L, d), and the log-sum-exp of each query's scores, natural logarithm, (B, H, L).
"""


class Group(NamedTuple):
    """Branches of a range of trunks; of each trunk equally many.

    Attributes:
        trunks: The trunks.
        branches: The branches, those of the first trunk first: a range, or the index of each.
    """

    trunks: slice
    branches: slice | Tensor


class Trunk(NamedTuple):
    """Keys and values that several sequences share.

    Attributes:
        keys: Keys of all trunks, on the device of the layer. (R, H, P, d)
        values: Their values. (R, H, P, d)
        groups: Which sequences see which trunk; each sequence is in one group.
    """

    keys: Tensor
    values: Tensor
    groups: tuple[Group, ...]


class Context(NamedTuple):
    """The keys and values that the new tokens of some sequences see.

    Attributes:
        keys: Keys of each sequence's own tokens, the L new ones at the end. (B, H, S + L, d)
        values: Their values. (B, H, S + L, d)
        trunks: Keys and values of the tokens before these, in their order.
    """

    keys: Tensor
    values: Tensor
    trunks: tuple[Trunk, ...] = ()

    def join(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, with those of the trunks copied for each sequence."""
        if not self.trunks:
            return self.keys, self.values
        keys = [_copy_for_branches(trunk.keys, trunk.groups, self.keys) for trunk in self.trunks]
        values = [
            _copy_for_branches(trunk.values, trunk.groups, self.values) for trunk in self.trunks
        ]
        return torch.cat([*keys, self.keys], dim=2), torch.cat([*values, self.values], dim=2)


def _copy_for_branches(shared: Tensor, groups: tuple[Group, ...], own: Tensor) -> Tensor:
    """The states of the trunks, (R, H, P, d), for each sequence. (B, H, P, d)."""
    copied = own.new_empty(*own.shape[:2], shared.shape[2], own.shape[3])
    for trunks, branches in groups:
        of_group = shared[trunks]
        copies = len(copied[branches]) // len(of_group)
        copied[branches] = of_group.repeat_interleave(copies, dim=0)
    return copied


def group_branches(rows: Sequence[int], num_trunks: int) -> tuple[Group, ...]:
    """Group the branches by their trunk.

    Args:
        rows: The trunk that each branch continues.
        num_trunks: Number R of trunks.

    Returns:
        One group if a range of trunks has all branches, and equally many of each; else one for each
        trunk with a branch.
    """
    of_trunk: list[list[int]] = [[] for _ in range(num_trunks)]
    for branch, trunk in enumerate(rows):
        of_trunk[trunk].append(branch)
    first, end = min(rows), max(rows) + 1
    if len(set(map(len, of_trunk[first:end]))) == 1:
        return (Group(slice(first, end), _as_range([b for some in of_trunk for b in some])),)
    return tuple(
        Group(slice(trunk, trunk + 1), _as_range(branches))
        for trunk, branches in enumerate(of_trunk)
        if branches
    )


def _as_range(branches: list[int]) -> slice | Tensor:
    """A range, which needs no copy, if the branches are one."""
    first, num = branches[0], len(branches)
    if branches == list(range(first, first + num)):
        return slice(first, first + num)
    return torch.tensor(branches)


class _NoLogSumExpError(Exception):
    """The kernel for some tensors gives no log-sum-exp."""


def attend(query: Tensor, context: Context, scaling: float) -> Tensor:
    """Causal attention of new tokens to themselves and to all tokens before them.

    Args:
        query: Queries of the new tokens. (B, H, L, d)
        context: The keys and values that they see.
        scaling: Factor of the dot products of queries and keys.

    Returns:
        Output of the attention. (B, L, H, d)
    """
    try:
        attended = _attend_in_parts(query, context, scaling)
    except _NoLogSumExpError:
        attended = attend_joined(query, *context.join(), scaling)
    return attended.transpose(1, 2)


def _attend_in_parts(query: Tensor, context: Context, scaling: float) -> Tensor:
    """`attend` without a mask and without a copy of a trunk. (B, H, L, d)."""
    new, earlier = _split(context, query.shape[2])
    output, total = _run_kernel(query, *new, is_causal=query.shape[2] > 1, scaling=scaling)
    output = widened(output)
    if earlier is not None:
        seen = _run_kernel(query, *earlier, is_causal=False, scaling=scaling)
        output, total = _merge(output, total, *seen)
    for trunk in context.trunks:
        for group in trunk.groups:
            seen = _attend_to_trunk(query, trunk, group, scaling)
            branches = group.branches
            merged, all_total = _merge(output[branches], total[branches], *seen)
            total[branches] = all_total
            if isinstance(branches, Tensor):  # a range is merged in place
                output[branches] = merged
    return output.to(query.dtype)


def _split(
    context: Context, length: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Keys and values of the new tokens, and of the own tokens before them, if there are any.

    One new token sees all others and itself, so all of them are one part.
    """
    num_earlier = context.keys.shape[2] - length
    if length == 1 or num_earlier == 0:
        return (context.keys, context.values), None
    new = context.keys[:, :, num_earlier:], context.values[:, :, num_earlier:]
    return new, (context.keys[:, :, :num_earlier], context.values[:, :, :num_earlier])


def _attend_to_trunk(
    query: Tensor, trunk: Trunk, group: Group, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention of n branches of each of some trunks to the one copy of the trunks' keys.

    The queries of all branches of a trunk are one sequence of queries.

    Returns:
        The output, (R n, H, L, d), and the log-sum-exp of the scores, (R n, H, L).
    """
    keys, values = trunk.keys[group.trunks], trunk.values[group.trunks]
    queries = query[group.branches].unflatten(0, (len(keys), -1))  # (R, n, H, L, d)
    num, length = queries.shape[1], queries.shape[3]
    stacked = queries.transpose(1, 2).flatten(2, 3)  # (R, H, n L, d)
    output, total = _run_kernel(stacked, keys, values, is_causal=False, scaling=scaling)
    output, total = (one.unflatten(2, (num, length)).transpose(1, 2) for one in (output, total))
    return output.flatten(0, 1), total.flatten(0, 1)


def _merge(
    output: Tensor, total: Tensor, other: Tensor, other_total: Tensor
) -> tuple[Tensor, Tensor]:
    """Merge attention to two sets of keys; the first output is written over.

    Args:
        output: Output for the first keys, float32 or wider. (B, H, L, d)
        total: Log-sum-exp of its scores. (B, H, L)
        other: Output for the other keys, in any dtype. (B, H, L, d)
        other_total: Log-sum-exp of its scores. (B, H, L)

    Returns:
        Output and log-sum-exp for all keys.
    """
    weight = torch.sigmoid(other_total - total)[..., None].to(output.dtype)
    return output.lerp_(widened(other), weight), torch.logaddexp(total, other_total)


def _run_kernel(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    """Run the kernel that torch chooses for these tensors.

    Returns:
        The output, (B, H, L, d), and the log-sum-exp of the scores, (B, H, L).

    Raises:
        _NoLogSumExpError: The kernel gives none, or a gradient is needed, which torch does not
            have of the log-sum-exp.
    """
    tensors = (query, key, value)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise _NoLogSumExpError
    choice = torch._fused_sdp_choice(*tensors, is_causal=is_causal, scale=scaling)
    kernel = KERNELS.get((query.device.type, choice))
    if kernel is None:
        raise _NoLogSumExpError
    return kernel(*tensors, is_causal, scaling)


def _run_flash_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    output, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, scale=scaling
    )
    return output, total


def _run_flash(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    channels = query.shape[-1]
    missing = -channels % 8  # the kernel takes a multiple of 8 channels
    if missing:  # torch would also copy for a padding of 0
        query, key, value = (functional.pad(one, (0, missing)) for one in (query, key, value))
    output, total, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, 0.0, is_causal, scale=scaling
    )
    return output[..., :channels], total


def _run_efficient(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    output, total, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, True, 0.0, is_causal, scale=scaling
    )
    return output, total[:, :, : query.shape[2]]  # rounded up to a multiple of 32 queries


def _run_cudnn(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    output, total, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(
        query, key, value, None, True, 0.0, is_causal, scale=scaling
    )
    return output, total.view(query.shape[:3])  # (B, H, L, 1)


KERNELS: Mapping[tuple[str, int], Kernel] = {
    ("cpu", SDPBackend.FLASH_ATTENTION.value): _run_flash_on_cpu,
    ("cuda", SDPBackend.FLASH_ATTENTION.value): _run_flash,
    ("cuda", SDPBackend.EFFICIENT_ATTENTION.value): _run_efficient,
    ("cuda", SDPBackend.CUDNN_ATTENTION.value): _run_cudnn,
}


def attend_joined(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention of the last L of S tokens to all before them, without an L x S mask.

    torch writes a mask out for the kernels that do not know the positions of the last queries, so
    the queries are processed in blocks.

    Args:
        query: Queries of the last tokens. (B, H, L, d)
        key: Keys of all tokens. (B, H, S, d)
        value: Values of all tokens. (B, H, S, d)
        scaling: Factor of the dot products of queries and keys.

    Returns:
        Output of the attention. (B, H, L, d)
    """
    length, total = query.shape[2], key.shape[2]
    block = max(LEAST_QUERIES, MASK_ELEMENTS // total)
    attended = torch.empty_like(query)  # separate pieces would fragment the memory of the masks
    for start in range(0, length, block):
        queries = query[:, :, start : start + block]
        end = total - length + start + queries.shape[2]
        bias = causal_lower_right(queries.shape[2], end)
        attended[:, :, start : start + block] = functional.scaled_dot_product_attention(
            queries, key[:, :, :end], value[:, :, :end], attn_mask=bias, scale=scaling
        )
    return attended
