"""The model on tensors that pretend to be on a GPU: none on another device or in another dtype.

Nothing is computed; torch only follows devices, dtypes and shapes through every operation, and an
operation of tensors on two devices is an error there as it is on a GPU.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2 import attention
from evo2_tasks.evo2.fp8 import PRODUCTS
from evo2_tasks.evo2.placement import bring_inputs, device_of, place_modules
from evo2_tasks.evo2.precision import KeepsFloat32
from evo2_tasks.evo2.rotary import RotaryEmbedding
from evo2_tasks.scoring.likelihood import next_token_log_probs, window_log_probs
from tests.evo2 import stand_in

CUDA = torch.device("cuda", 0)
OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li", "attention"]
DTYPES = [torch.float32, torch.bfloat16]
INDEX_LIMIT = 2**31  # elements that kernels with 32-bit indices reach
# The operations that see keys and values of all tokens: the cache makes room for more and copies
# them, which torch does in pieces; attention takes slices of them, and its kernel counts elements
# in 64 bits.
KEYS_OF_ALL = {
    "aten._scaled_dot_product_flash_attention.default",
    "aten.copy_.default",
    "aten.new_empty.default",
    "aten.slice.Tensor",
    "aten.as_strided.default",
    "prim.device.default",
}


class Watch(FakeTensorMode):
    """Notes the operations on or to another device, and the largest tensor that each one sees."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.is_aside = False  # while the tables of rotary positions are computed, on the CPU

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tree_leaves((args, kwargs, output)):
            # Single numbers may stay on the CPU, and so may the stock cache's empty beginning.
            if isinstance(tensor, Tensor) and tensor.dim() and tensor.numel():
                if tensor.device != CUDA and not self.is_aside:
                    self.elsewhere.add(str(func))
                # What an expanded tensor only repeats is no memory.
                last = sum(
                    (size - 1) * stride
                    for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
                )
                self.sizes[str(func)] = max(self.sizes.get(str(func), 0), last + 1)
        return output

    def forget(self) -> None:
        """Delete all notes."""
        self.elsewhere.clear()
        self.sizes.clear()


class WithoutGuard(TorchFunctionMode):
    """Indexing and copying by the operations behind them.

    `Tensor`'s own methods first ask the device for a guard, which a build for CPUs lacks.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__getitem__:
            return stand_in.index(*args)
        if func is Tensor.__setitem__:
            tensor, key, value = args
            return torch.ops.aten.copy_.default(stand_in.index(tensor, key), value)
        if func is Tensor.copy_:
            return torch.ops.aten.copy_.default(*args, **(kwargs or {}))
        if func is Tensor.contiguous:
            return torch.ops.aten.contiguous.default(*args)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    # torch's own bias is a kind of tensor that cannot pretend; this is what it writes out.
    attend = torch.nn.functional.scaled_dot_product_attention

    def attend_with_bias(
        query: Tensor, *tensors: Tensor, attn_mask: Any = None, **kwargs: Any
    ) -> Any:
        if isinstance(attn_mask, tuple):
            length, total = attn_mask
            bias = torch.ones(length, total, dtype=torch.bool, device=query.device)
            attn_mask = bias.tril(total - length)
        return attend(query, *tensors, attn_mask=attn_mask, **kwargs)

    find_tables = RotaryEmbedding.forward

    def find_aside(embedding: RotaryEmbedding, *arguments: Any) -> tuple[Tensor, Tensor]:
        mode.is_aside = True
        cos, sin = find_tables(embedding, *arguments)
        mode.is_aside = False
        assert cos.device == sin.device == embedding.inv_freq.device
        return cos, sin

    monkeypatch.setattr(RotaryEmbedding, "forward", find_aside)

    def choose(query: Tensor, *_: object, **__: object) -> int:
        """The kernel of a real GPU; a build for CPUs cannot choose."""
        flash, efficient = SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION
        return (flash if query.dtype.itemsize == 2 else efficient).value

    monkeypatch.setattr(torch, "_fused_sdp_choice", choose)
    monkeypatch.setattr(attention, "causal_lower_right", lambda length, total: (length, total))
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend_with_bias)
    with Watch() as mode, WithoutGuard():
        yield mode


def make_fake(
    config: Evo2Config,
    dtype: torch.dtype = torch.float32,
    devices: Sequence[torch.device] = (CUDA,),
) -> Evo2ForCausalLM:
    """A model on the pretended GPUs, put there tensor by tensor: `nn.Module.to` cannot.

    Without gradients, for which torch asks the device for its streams and aborts.
    """
    model = Evo2ForCausalLM(config).eval()
    places = place_modules(config, devices)
    for path, module in model.named_modules():
        kept = module.float32_names if isinstance(module, KeepsFloat32) else ()
        for name, parameter in list(module.named_parameters(recurse=False)):
            device = device_of(f"{path}.{name}", places)
            there = parameter.detach().to(device, torch.float32 if name in kept else dtype)
            module._parameters[name] = torch.nn.Parameter(there, requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = buffer.to(device_of(f"{path}.{name}", places))
    model.tie_weights()
    return model


def draw_ids(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long, device=CUDA)


@pytest.fixture
def config(make_config: Any) -> Evo2Config:
    return make_config(OPERATORS)


pytestmark = pytest.mark.usefixtures("watch")


@pytest.mark.parametrize("layer", range(3))
def test_a_tensor_on_the_wrong_device_is_seen(watch: Watch, config: Evo2Config, layer: int) -> None:
    model = make_fake(config)
    tensors = model.model.layers[layer].mixer.filter._parameters
    tensors["short_filter_weight"] = tensors["short_filter_weight"].cpu()
    watch.forget()
    with contextlib.suppress(RuntimeError), torch.no_grad():
        model(draw_ids(1, 5), use_cache=False)
    assert watch.elsewhere


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward(watch: Watch, config: Evo2Config, dtype: torch.dtype) -> None:
    model = make_fake(config, dtype)
    streams: list[Tensor] = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _, __, output: streams.append(output))
    watch.forget()
    with torch.no_grad():
        logits = model(draw_ids(2, 70), use_cache=False).logits
    assert isinstance(logits, FakeTensor)
    assert (logits.shape, logits.dtype, logits.device) == ((2, 70, 512), torch.float32, CUDA)
    assert {(stream.dtype, stream.device) for stream in streams} == {(dtype, CUDA)}
    assert not watch.elsewhere


@pytest.mark.parametrize("mode", sorted(PRODUCTS))
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_in_fp8(watch: Watch, config: Evo2Config, dtype: torch.dtype, mode: str) -> None:
    config.fp8, config.fp8_scales = mode, [[50.0, 800.0, 2.5e-5]] * config.num_hidden_layers
    model = make_fake(config, dtype)
    outputs: list[Tensor] = []
    projections = model.model.layers[0].mixer.projections
    projections.register_forward_hook(lambda _, __, output: outputs.append(output))
    watch.forget()
    with torch.no_grad():
        model(draw_ids(2, 70), use_cache=False)
    assert [(output.dtype, output.device) for output in outputs] == [(dtype, CUDA)]
    assert not watch.elsewhere


@pytest.mark.parametrize("dtype", DTYPES)
def test_continuation_and_forking(watch: Watch, config: Evo2Config, dtype: torch.dtype) -> None:
    model = make_fake(config, dtype)
    watch.forget()
    with torch.no_grad():
        cache = model(draw_ids(1, 40), use_cache=True).past_key_values
        cache.reorder_cache(torch.zeros(3, dtype=torch.long, device=CUDA))
        for length in (33, 1):
            output = model(draw_ids(3, length), past_key_values=cache)
            assert output.logits.shape == (3, length, 512)
    assert not watch.elsewhere
    assert cache.get_seq_length(3) == 40 + 33 + 1
    for layer, operator in zip(cache.layers, config.operators, strict=True):
        if operator == "attention":
            states = [layer.keys, layer.values]
            assert {state.dtype for state in states} == {dtype}
        else:
            states = [state for state in layer.conv_states.values() if state is not None]
            if operator == "hyena_li":
                recurrent = layer.recurrent_states[0]
                assert recurrent.dtype == torch.float32
                states.append(recurrent)
        assert {state.device for state in states} == {CUDA}
        assert {state.shape[0] for state in states} == {3}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_of_generation(watch: Watch, config: Evo2Config, dtype: torch.dtype) -> None:
    """What `generate` does for each token; its loop reads values, which fake tensors lack."""
    model = make_fake(config, dtype)
    input_ids, cache = draw_ids(2, 20), None
    watch.forget()
    with torch.no_grad():
        for _ in range(3):
            inputs = model.prepare_inputs_for_generation(
                input_ids if cache is None else input_ids[:, -1:],
                past_key_values=cache,
                use_cache=True,
            )
            output = model(**inputs)
            cache = output.past_key_values
            token = output.logits[:, -1].argmax(-1, keepdim=True)
            input_ids = torch.cat([input_ids, token], dim=1)
    assert input_ids.device == CUDA
    assert not watch.elsewhere


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("segment_length", [1000, 25])
def test_scoring(watch: Watch, config: Evo2Config, dtype: torch.dtype, segment_length: int) -> None:
    model = make_fake(config, dtype)
    watch.forget()
    with torch.no_grad():
        log_probs = next_token_log_probs(model, draw_ids(2, 71), segment_length=segment_length)
    assert (log_probs.shape, log_probs.dtype, log_probs.device) == ((2, 70), torch.float32, CUDA)
    assert not watch.elsewhere


def states_of(layer: Any) -> list[Tensor]:
    """What a layer keeps in the cache."""
    if hasattr(layer, "keys"):
        return [layer.keys, layer.values]
    states = [*layer.conv_states.values(), *layer.recurrent_states.values()]
    return [state for state in states if state is not None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_devices", [2, 3])
def test_several_devices(
    watch: Watch, config: Evo2Config, dtype: torch.dtype, num_devices: int
) -> None:
    """An operation of tensors on two devices is an error; left is where things lie."""
    devices = [torch.device("cuda", index) for index in range(num_devices)]
    model = make_fake(config, dtype, devices)
    places = place_modules(config, devices)
    bring_inputs(model, places)
    watch.forget()
    with torch.no_grad():
        cache = model(draw_ids(1, 40), use_cache=True).past_key_values
        cache.reorder_cache(torch.zeros(3, dtype=torch.long, device=CUDA))
        for length in (33, 1):
            output = model(draw_ids(3, length), past_key_values=cache)
            assert (output.logits.shape, output.logits.device) == ((3, length, 512), CUDA)
        log_probs = next_token_log_probs(model, draw_ids(2, 71), segment_length=25)
    assert (log_probs.shape, log_probs.device) == ((2, 70), CUDA)
    for index, layer in enumerate(cache.layers):
        states = states_of(layer)
        assert states
        assert {state.device for state in states} == {places[f"model.layers.{index}"]}


def test_a_layer_does_not_take_inputs_from_another_device(config: Evo2Config) -> None:
    model = make_fake(config, devices=[CUDA, torch.device("cuda", 1)])
    with pytest.raises(RuntimeError, match="cuda:1 and cuda:0"), torch.no_grad():
        model(draw_ids(1, 5), use_cache=False)


def test_offloaded_keys_come_and_go_by_copies_alone(watch: Watch, config: Evo2Config) -> None:
    model = make_fake(config, torch.bfloat16)
    watch.forget()
    with torch.no_grad():
        log_probs = next_token_log_probs(model, draw_ids(2, 71), segment_length=25, offload=True)
    assert log_probs.device == CUDA
    assert "aten.copy_.default" in watch.elsewhere
    copies = {"_to_copy.default", "copy_.default", "empty_strided.default"}
    memory = {"empty.memory_format", "empty_like.default", "slice.Tensor", "as_strided.default"}
    devices = {"prims.device_put.default", "prim.device.default"}
    assert watch.elsewhere <= {f"aten.{name}" for name in copies | memory} | devices


def test_windows_go_to_the_device_of_the_model(
    watch: Watch, config: Evo2Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = make_fake(config), []

    def remember(_: object, input_ids: Tensor, **__: Any) -> Tensor:
        seen.append(input_ids)
        raise InterruptedError

    monkeypatch.setattr("evo2_tasks.scoring.likelihood.next_token_log_probs", remember)
    watch.allow_non_fake_inputs = True  # the bytes are real
    with pytest.raises(InterruptedError):
        window_log_probs(model, [b"ACGT", b"AC"], prepend_bos=True)
    assert (seen[0].device, seen[0].dtype, seen[0].shape) == (CUDA, torch.long, (2, 5))


@pytest.mark.parametrize("num_cached", [0, 1_048_576 - 65_536])
def test_a_segment_of_the_largest_model_stays_below_32_bit_indices(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, num_cached: int
) -> None:
    """One layer of each operator, the first and the last segment of a million tokens.

    The widest tensor of a segment of 65,536 tokens is 65,536 x 24,576, queries, keys and values or
    the projections: 0.75 of the limit. Keys and values of a million tokens are 4 times the limit
    each; of those, only copies in the cache and the attention kernel see more than a segment.
    """

    def attend(query: Tensor, *_: object, **__: object) -> Tensor:
        return torch.empty_like(query)  # without a GPU, the one here would write out its products

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    operators = ["hyena_se", "hyena_mr", "hyena_li", "attention"]
    config = Evo2Config.from_preset("evo2_40b", operators=operators, num_hidden_layers=4)
    model = make_fake(config, torch.bfloat16)
    cache = None
    with torch.no_grad():
        if num_cached:
            cache = model.model(draw_ids(1, 32), use_cache=True).past_key_values
            keys = torch.empty(1, 64, num_cached, 128, dtype=torch.bfloat16, device=CUDA)
            cache.layers[3].keys = cache.layers[3].values = keys
        watch.forget()
        model.model(draw_ids(1, 65_536), past_key_values=cache, use_cache=True)
    assert not watch.elsewhere
    large = {name for name, size in watch.sizes.items() if size >= INDEX_LIMIT}
    assert large <= KEYS_OF_ALL if num_cached else not large
