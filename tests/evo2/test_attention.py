"""Attention after a cache: in parts that are merged, against one softmax over all keys."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2 import attention
from evo2_tasks.evo2.attention import Context, Trunk, attend, attend_joined, group_branches
from evo2_tasks.evo2.cache import fork_cache, new_cache

SCALING = 0.3
TOLERANCES = {  # of an output, in units of the largest value
    torch.float64: 1e-12,
    torch.float32: 2e-6,
    torch.bfloat16: 2**-7,  # each part is rounded, then the merged output
}
CUDA_KERNELS = {
    SDPBackend.FLASH_ATTENTION: "_scaled_dot_product_flash_attention",
    SDPBackend.EFFICIENT_ATTENTION: "_scaled_dot_product_efficient_attention",
    SDPBackend.CUDNN_ATTENTION: "_scaled_dot_product_cudnn_attention",
}


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax step by step, in float64, of the last tokens: output and log-sum-exp."""
    scores = query.double() @ key.double().mT * SCALING
    length, total = scores.shape[-2:]
    hidden = torch.ones(length, total, dtype=torch.bool).triu(total - length + 1)
    scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ value.double(), scores.logsumexp(-1)


def draw_heads(generator: torch.Generator, *shape: int, dtype: torch.dtype) -> Tensor:
    return (2 * torch.randn(shape, generator=generator)).to(dtype)


@st.composite
def contexts(
    draw: Callable[[Any], Any], dtypes: Sequence[torch.dtype] = tuple(TOLERANCES)
) -> tuple[Tensor, Context, list[list[int]]]:
    """Queries, what they see, and which row of each trunk a sequence continues."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from(dtypes))
    batch, heads = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    channels = draw(st.integers(1, 9))
    length, num_earlier = (draw(st.sampled_from([0, 1, 2, 31, 70])) for _ in range(2))
    length += 1
    rows: list[list[int]] = []
    trunks = []

    def pair(num: int, tokens: int) -> list[Tensor]:
        shape = (num, heads, tokens, channels)
        return [draw_heads(generator, *shape, dtype=dtype) for _ in range(2)]

    for num_before in draw(st.lists(st.sampled_from([1, 2, 31, 70]), max_size=3)):
        num_rows = draw(st.integers(1, 4))
        chosen = draw(st.lists(st.integers(0, num_rows - 1), min_size=batch, max_size=batch))
        rows.append(chosen)
        trunks.append(Trunk(*pair(num_rows, num_before), group_branches(chosen, num_rows)))
    query = draw_heads(generator, batch, heads, length, channels, dtype=dtype)
    return query, Context(*pair(batch, num_earlier + length), tuple(trunks)), rows


def join_plainly(context: Context, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    keys = [trunk.keys[chosen] for trunk, chosen in zip(context.trunks, rows, strict=True)]
    values = [trunk.values[chosen] for trunk, chosen in zip(context.trunks, rows, strict=True)]
    return torch.cat([*keys, context.keys], dim=2), torch.cat([*values, context.values], dim=2)


def require_close(attended: Tensor, expected: Tensor, values: Tensor) -> None:
    tolerance = TOLERANCES[attended.dtype] * values.abs().max().double()
    assert (attended.double() - expected).abs().max() <= tolerance


@settings(deadline=None, max_examples=150)
@given(contexts())
def test_merged_parts_are_one_softmax(drawn: tuple[Tensor, Context, list[list[int]]]) -> None:
    query, context, rows = drawn
    key, value = join_plainly(context, rows)
    expected = plain_attention(query, key, value)[0].transpose(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "attend_joined", None)  # not needed here
        attended = attend(query, context, SCALING)
    assert attended.dtype == query.dtype
    require_close(attended, expected, value)


@settings(deadline=None, max_examples=60)
@given(contexts())
def test_without_a_log_sum_exp_the_keys_are_joined(
    drawn: tuple[Tensor, Context, list[list[int]]],
) -> None:
    """The plain kernel of torch gives none; both ways agree."""
    query, context, rows = drawn
    key, value = join_plainly(context, rows)
    joined = context.join()
    assert torch.equal(joined[0], key)
    assert torch.equal(joined[1], value)
    with sdpa_kernel(SDPBackend.MATH):
        attended = attend(query, context, SCALING)
    require_close(attended, attend(query, context, SCALING).double(), 2 * value)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([1, 100, 700, 2**26]))
def test_joined_attention_in_blocks_is_masked_attention(
    num_cached: int, length: int, elements: int
) -> None:
    generator = torch.Generator().manual_seed(num_cached)
    total = num_cached + length
    query, key, value = (
        draw_heads(generator, 2, 3, tokens, 8, dtype=torch.float32)
        for tokens in (length, total, total)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "MASK_ELEMENTS", elements)
        attended = attend_joined(query, key, value, SCALING)
    require_close(attended, plain_attention(query, key, value)[0], value)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_every_branch_is_in_one_group_with_its_trunk(rows: list[int]) -> None:
    found = {}
    for group in group_branches(rows, 6):
        trunks = range(6)[group.trunks]
        if isinstance(group.branches, slice):
            branches = list(range(len(rows)))[group.branches]
        else:
            branches = group.branches.tolist()
        copies = len(branches) // len(trunks)
        assert copies * len(trunks) == len(branches)
        found.update({b: trunks[place // copies] for place, b in enumerate(branches)})
    assert found == dict(enumerate(rows))


def test_gradients_of_queries_keys_and_values() -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = [
        draw_heads(generator, num, 2, tokens, 4, dtype=torch.float64).requires_grad_()
        for num, tokens in ((3, 5), (3, 7), (3, 7), (2, 6), (2, 6))
    ]
    rows = [0, 1, 0]

    def run(query: Tensor, key: Tensor, value: Tensor, *shared: Tensor) -> Tensor:
        context = Context(key, value, (Trunk(*shared, group_branches(rows, 2)),))
        return attend(query, context, SCALING)

    assert torch.autograd.gradcheck(run, tensors)


# The operators for CUDA. Without a GPU, torch cannot choose among them or run them: the choice is
# made here, and a stand-in computes what the operator documents, in the layout of its fake kernel.


def stand_in(name: str, called: list[str]) -> Callable[..., tuple[Any, ...]]:
    operator = getattr(torch.ops.aten, name).default

    def run(query: Tensor, key: Tensor, value: Tensor, *args: Any, scale: float) -> tuple[Any, ...]:
        called.append(name)
        assert scale == SCALING
        like = [torch.empty_like(tensor, device="meta") for tensor in (query, key, value)]
        _, layout, *rest = operator(*like, *args, scale=scale)
        is_causal = next(
            (
                value
                for argument, value in zip(operator._schema.arguments[3:], args, strict=False)
                if argument.name == "is_causal"
            ),
            False,
        )
        assert key.shape[2] == query.shape[2] or not is_causal
        scores = query.double() @ key.double().mT * scale
        if is_causal:
            hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -torch.inf)
        total = torch.full(layout.shape, torch.nan, dtype=layout.dtype)
        total.view(*query.shape[:2], -1)[..., : query.shape[2]] = scores.logsumexp(-1)
        return (scores.softmax(-1) @ value.double()).to(query.dtype), total, *rest

    return run


@pytest.mark.parametrize("backend", CUDA_KERNELS)
@settings(deadline=None, max_examples=40)
@given(contexts([torch.float32, torch.bfloat16]))
def test_the_kernels_for_cuda(
    backend: SDPBackend, drawn: tuple[Tensor, Context, list[list[int]]]
) -> None:
    query, context, rows = drawn
    key, value = join_plainly(context, rows)
    expected = plain_attention(query, key, value)[0].transpose(1, 2)
    name, called = CUDA_KERNELS[backend], []
    kernel = attention.KERNELS["cuda", backend.value]
    with pytest.MonkeyPatch.context() as patch:
        run = stand_in(name, called)
        patch.setattr(torch, "_fused_sdp_choice", lambda *_, **__: backend.value)
        patch.setattr(attention, "KERNELS", {("cpu", backend.value): kernel})
        patch.setattr(torch.ops.aten, name, run)
        attended = attend(query, context, SCALING)
    assert set(called) == {name}
    require_close(attended, expected, value)


def test_a_device_without_such_a_kernel_joins() -> None:
    """The choices of torch that give no log-sum-exp to us, on any kind of device."""
    for device in ("cpu", "cuda", "mps", "xpu"):
        assert (device, SDPBackend.MATH.value) not in attention.KERNELS
        assert (device, SDPBackend.OVERRIDEABLE.value) not in attention.KERNELS


# In the model


@pytest.fixture(scope="module")
def model(make_model: Any) -> Evo2ForCausalLM:
    return make_model(["attention", "hyena_mr", "attention"])


def draw_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 512, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, ...]]:
    """Queries, keys and values of each kernel; and no other way to attend after a cache."""
    seen: list[tuple[Tensor, ...]] = []

    def watched(kernel: attention.Kernel) -> attention.Kernel:
        def run(query: Tensor, key: Tensor, value: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
            seen.append((query, key, value))
            return kernel(query, key, value, *args)

        return run

    kernels = {choice: watched(kernel) for choice, kernel in attention.KERNELS.items()}
    monkeypatch.setattr(attention, "KERNELS", kernels)
    monkeypatch.setattr(attention, "attend_joined", None)
    return seen


@pytest.mark.parametrize("length", [20, 1])
@pytest.mark.parametrize("with_mask", [False, True])
def test_a_continuation_makes_no_mask(
    model: Evo2ForCausalLM, seen: list[tuple[Tensor, ...]], length: int, with_mask: bool
) -> None:
    input_ids = draw_ids(2, 40 + length)
    mask = torch.ones(2, 40 + length) if with_mask else None
    with torch.inference_mode():
        cache = model(input_ids[:, :40], use_cache=True).past_key_values
        seen.clear()
        output = model(input_ids[:, 40:], attention_mask=mask, past_key_values=cache)
        whole = model(input_ids, use_cache=False)
    shapes = [tuple(tensor.shape[2] for tensor in one[:2]) for one in seen]
    assert shapes == ([(20, 20), (20, 40)] * 2 if length == 20 else [(1, 41)] * 2)
    assert torch.allclose(output.logits, whole.logits[:, 40:], atol=5e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 999),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from(["left", "right", "random", "none"]),
)
def test_continuations_with_masks_are_those_of_eager_attention(
    model: Evo2ForCausalLM, seed: int, num_cached: int, length: int, padding: str
) -> None:
    input_ids = draw_ids(3, num_cached + length, seed=seed)
    mask = torch.ones_like(input_ids)
    generator = torch.Generator().manual_seed(seed)
    if padding == "left":
        mask[1, : num_cached // 2] = 0
    elif padding == "right":
        mask[1, num_cached + length - length // 2 :] = 0
    elif padding == "any":
        mask = (torch.rand(mask.shape, generator=generator) < 0.7).long()
        mask[:, 0] = 1
    logits = {}
    try:
        for implementation in ("sdpa", "eager"):
            model.set_attn_implementation(implementation)
            with torch.inference_mode():
                cache = model(
                    input_ids[:, :num_cached], attention_mask=mask[:, :num_cached], use_cache=True
                ).past_key_values
                output = model(
                    input_ids[:, num_cached:], attention_mask=mask, past_key_values=cache
                )
            logits[implementation] = output.logits[mask[:, num_cached:].bool()]
    finally:
        model.set_attn_implementation("sdpa")
    assert torch.allclose(logits["sdpa"], logits["eager"], atol=5e-5)


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_branches_of_several_trunks_in_several_calls(
    make_model: Any, seen: list[tuple[Tensor, ...]], dtype: torch.dtype, offload: bool
) -> None:
    model = make_model(["attention", "hyena_li", "attention"]).to(dtype)
    trunks, rows = draw_ids(2, 50), [0, 1, 1, 0, 1]
    tails = draw_ids(5, 30, seed=1)
    with torch.inference_mode():
        cache = new_cache(model.config, window_length=50, offload=offload)
        model(trunks, cache=cache, use_cache=True)
        forked = fork_cache(model.config, cache, rows, branch_length=30, offload=offload)
        seen.clear()
        pieces = [
            model(piece, cache=forked, use_cache=True).logits
            for piece in tails.split([13, 16, 1], 1)
        ]
        whole = model(torch.cat([trunks[rows], tails], dim=1), use_cache=False).logits[:, 50:]
    assert max(len(key) for _, key, _ in seen if key.shape[2] == 50) == 1
    difference = (torch.cat(pieces, dim=1) - whole).abs()
    if dtype == torch.float32:
        assert difference.max() < 5e-5
    else:
        assert difference.mean() < 0.02  # as for segments


def test_branches_of_branches_continue_all_tokens_before_them(make_model: Any) -> None:
    model = make_model(["attention", "hyena_li", "hyena_mr", "attention"])
    ids = [draw_ids(2, 50), draw_ids(3, 20, seed=1), draw_ids(5, 9, seed=2)]
    first, second = [0, 1, 1], [2, 0, 0, 2, 2]
    with torch.inference_mode():
        cache = new_cache(model.config, window_length=50)
        model(ids[0], cache=cache, use_cache=True)
        forked = fork_cache(model.config, cache, first, branch_length=20)
        model(ids[1], cache=forked, use_cache=True)
        again = fork_cache(model.config, forked, second, branch_length=9)
        pieces = [
            model(piece, cache=again, use_cache=True).logits for piece in ids[2].split([1, 7, 1], 1)
        ]
        before = torch.cat([ids[0][first], ids[1]], dim=1)[second]
        whole = model(torch.cat([before, ids[2]], dim=1), use_cache=False).logits[:, 70:]
    assert again.get_seq_length() == 79
    assert (torch.cat(pieces, dim=1) - whole).abs().max() < 5e-5
    keys = again.layers[0].keys
    layer = fork_cache(model.config, again, [0, 1, 2, 3, 4]).layers[0]
    assert torch.equal(layer.keys, keys)
    layer.crop(-(9 + 20 + 5))  # to the middle of the first tokens
    assert layer.get_seq_length() == 45
    assert torch.equal(layer.keys, keys[:, :, :45])
    layer.batch_select_indices(torch.tensor([4, 1, 1]))
    layer.batch_repeat_interleave(2)
    assert torch.equal(layer.keys, keys[[4, 4, 1, 1, 1, 1], :, :45])


def test_a_trunk_of_65_536_tokens_is_held_once(
    make_model: Any, seen: list[tuple[Tensor, ...]]
) -> None:
    """Keys and values of 16 branches of 1,024 tokens, compared with those of one."""
    model = make_model(["attention"], hidden_size=8, num_attention_heads=1, intermediate_size=8)
    num_before, length = 65_536, 1024
    cache = new_cache(model.config, window_length=num_before)
    layer = cache.layers[0]
    trunk = torch.zeros(1, 1, num_before, 8)
    layer.update(trunk, trunk)
    held, largest = {}, {}
    for num in (1, 16):
        seen.clear()
        forked = fork_cache(model.config, cache, [0] * num)
        with (
            torch.inference_mode(),
            profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled,
        ):
            model.model(draw_ids(num, length), cache=forked, use_cache=True)
        distinct = {one.data_ptr(): one.nbytes for _, *pair in seen for one in pair}
        held[num] = sum(distinct.values())
        events = profiled.profiler.kineto_results.events()
        largest[num] = max(event.nbytes() for event in events if event.name() == "[memory]")
    assert held[16] <= 1.3 * held[1]
    assert layer.keys.nbytes > 16 * length * 4 * 3 * 8  # more than any activation of the branches
    assert max(largest.values()) < layer.keys.nbytes  # so neither keys nor a mask are copied
