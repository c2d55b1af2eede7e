"""The model: any cut of a sequence, any company in a batch, any dtype, any way to save it."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
)

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Model, Evo2Tokenizer
from evo2_tasks.evo2.layers import LongFilter
from evo2_tasks.evo2.operators import CHUNK_LENGTH
from evo2_tasks.evo2.rotary import RotaryEmbedding

TOLERANCE = 5e-5  # of float32 logits of these models, which reach about 7
OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention"]
KEPT = {"log_poles", "residues", "inv_freq"}
operator_lists = st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=6)


def draw_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 512, shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def logits_of(model: Evo2ForCausalLM, input_ids: Tensor, **kwargs: Any) -> Tensor:
    return model(input_ids, use_cache=False, **kwargs).logits


@torch.inference_mode()
def logits_in_pieces(
    model: Evo2ForCausalLM, input_ids: Tensor, cuts: list[int], mask: Tensor | None = None
) -> Tensor:
    pieces, cache, end = [], None, 0
    for piece in input_ids.split(cuts, dim=1):
        end += piece.shape[1]
        seen = None if mask is None else mask[:, :end]
        output = model(piece, attention_mask=seen, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        pieces.append(output.logits)
    return torch.cat(pieces, dim=1)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), operators=operator_lists)
def test_any_model_in_any_pieces_is_one_pass(
    make_model: Any, data: st.DataObject, operators: list[str]
) -> None:
    heads, half, groups = (data.draw(st.integers(1, 3)) for _ in range(3))
    hidden_size = 2 * half * heads * groups
    model = make_model(
        operators,
        hidden_size=hidden_size,
        num_attention_heads=heads,
        intermediate_size=data.draw(st.integers(1, 30)),
        hyena_se_groups=groups,
        hyena_mr_groups=groups * heads,
        hyena_mr_length=data.draw(st.sampled_from([1, 5, 128])),
        hyena_se_length=data.draw(st.integers(1, 8)),
        featurizer_length=data.draw(st.integers(1, 4)),
        rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    ).double()  # a statement about the arithmetic, not about its rounding
    cuts = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    input_ids = draw_ids(2, sum(cuts), seed=len(cuts))
    whole = logits_of(model, input_ids)
    assert torch.allclose(logits_in_pieces(model, input_ids, cuts), whole, atol=1e-10)
    prompt = input_ids[:, :3]
    settings_ = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": 511}
    cached = model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings_)
    plain = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), use_cache=False, **settings_
    )
    assert torch.equal(cached, plain)


@pytest.fixture(scope="module")
def model(make_model: Any) -> Evo2ForCausalLM:
    return make_model([*OPERATORS, "hyena_li", "hyena_se"])


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 70])
def test_token_by_token_is_one_pass(model: Evo2ForCausalLM, length: int) -> None:
    input_ids = draw_ids(2, length)
    pieces = logits_in_pieces(model, input_ids, [1] * length)
    assert torch.allclose(pieces, logits_of(model, input_ids), atol=TOLERANCE)


def test_a_batch_gives_what_its_sequences_give(model: Evo2ForCausalLM) -> None:
    input_ids = draw_ids(5, 66)
    together = logits_of(model, input_ids)
    for index in range(5):
        alone = logits_of(model, input_ids[index : index + 1])[0]
        assert torch.allclose(together[index], alone, atol=TOLERANCE)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(make_model: Any, side: str, implementation: str) -> None:
    model = make_model([*OPERATORS, "hyena_mr"])
    model.set_attn_implementation(implementation)
    sequences = [draw_ids(length, seed=length) for length in (70, 41, 3)]
    input_ids = draw_ids(3, 70, seed=99)  # the padding is any tokens: the mask decides
    mask = torch.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        here = slice(70 - len(sequence), None) if side == "left" else slice(len(sequence))
        input_ids[row, here], mask[row, here] = sequence, 1
    expected = [logits_of(model, sequence[None])[0] for sequence in sequences]
    # In pieces, some rows are still all padding, one-token pieces included.
    for logits in (
        logits_of(model, input_ids, attention_mask=mask),
        logits_in_pieces(model, input_ids, [1, 30, 1, 1, 34, 1, 2], mask),
    ):
        assert bool(logits.isfinite().all())
        for row in range(3):
            assert torch.allclose(logits[row, mask[row] == 1], expected[row], atol=TOLERANCE)


@pytest.mark.parametrize("arguments", [{"do_sample": False}, {"num_beams": 3}])
def test_generation_from_a_batch_padded_on_the_left(
    model: Evo2ForCausalLM, arguments: dict[str, Any]
) -> None:
    sequences = [draw_ids(length, seed=length) for length in (40, 9, 2)]
    input_ids, mask = torch.ones(3, 40, dtype=torch.long), torch.zeros(3, 40, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        input_ids[row, -len(sequence) :], mask[row, -len(sequence) :] = sequence, 1
    arguments = {**arguments, "max_new_tokens": 12, "eos_token_id": 511}
    together = model.generate(input_ids, attention_mask=mask, **arguments)
    for row, sequence in enumerate(sequences):
        alone = model.generate(
            sequence[None], attention_mask=torch.ones(1, len(sequence)), **arguments
        )
        assert torch.equal(together[row, 40:], alone[0, len(sequence) :])


def test_sampling_repeats_with_its_seed(model: Evo2ForCausalLM) -> None:
    prompt = draw_ids(2, 8)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                num_return_sequences=2,
                max_new_tokens=5,
            )
        )
    assert torch.equal(*runs)
    assert runs[0].shape[0] == 4


def test_generation_goes_on_from_a_cache(model: Evo2ForCausalLM) -> None:
    arguments = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": 511}
    prompt = draw_ids(1, 50)
    with torch.no_grad():
        cache = model(prompt[:, :33], use_cache=True).past_key_values
    continued = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), past_key_values=cache, **arguments
    )
    plain = model.generate(prompt, attention_mask=torch.ones_like(prompt), **arguments)
    assert torch.equal(continued, plain)


def test_a_state_forks(model: Evo2ForCausalLM) -> None:
    prefix, branches = draw_ids(1, 37), draw_ids(4, 29, seed=1)
    with torch.inference_mode():
        cache = model(prefix, use_cache=True).past_key_values
        assert type(cache) is DynamicCache
        cache.reorder_cache(torch.zeros(4, dtype=torch.long))
        forked = model(branches, past_key_values=cache).logits
    whole = logits_of(model, torch.cat([prefix.expand(4, -1), branches], dim=1))
    assert torch.allclose(forked, whole[:, 37:], atol=TOLERANCE)


def test_a_reset_cache_is_a_new_one(make_model: Any) -> None:
    model, input_ids = make_model(["hyena_se", "hyena_mr", "hyena_li"]), draw_ids(2, 40)
    with torch.inference_mode():
        cache = model(draw_ids(2, 20, seed=5), use_cache=True).past_key_values
        cache.reset()
        again = model(input_ids, past_key_values=cache).logits
    assert torch.allclose(again, logits_of(model, input_ids), atol=TOLERANCE)


def test_a_cache_of_unknown_layers_is_refused(model: Evo2ForCausalLM) -> None:
    with pytest.raises(ValueError, match="DynamicCache"):
        model(draw_ids(1, 4), past_key_values=DynamicCache())


def test_a_mask_that_does_not_cover_the_cache_is_refused(model: Evo2ForCausalLM) -> None:
    cache = model(draw_ids(1, 4), use_cache=True).past_key_values
    with pytest.raises(ValueError, match="4 in the cache"):
        model(draw_ids(1, 3), attention_mask=torch.ones(1, 3), past_key_values=cache)


def test_tokens_come_as_ids_or_as_embeddings(model: Evo2ForCausalLM) -> None:
    input_ids = draw_ids(2, 12)
    embedded = model.get_input_embeddings()(input_ids)
    with torch.inference_mode():
        assert torch.equal(model(inputs_embeds=embedded).logits, model(input_ids).logits)
    with pytest.raises(ValueError, match="exactly one"):
        model(input_ids, inputs_embeds=embedded)
    with pytest.raises(ValueError, match="exactly one"):
        model()


def test_outputs_on_request(make_model: Any) -> None:
    model = make_model(attn_implementation="eager")
    input_ids = draw_ids(2, 9)
    with torch.inference_mode():
        output = model(input_ids, output_hidden_states=True, output_attentions=True)
        last = model(input_ids, logits_to_keep=2).logits
        as_tuple = model(input_ids, return_dict=False)
    assert [tuple(state.shape) for state in output.hidden_states] == [(2, 9, 24)] * 5
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 3, 9, 9)]
    assert torch.allclose(last, output.logits[:, -2:], atol=1e-6)
    assert torch.equal(as_tuple[0], output.logits)


def test_loss_is_the_mean_over_labels(model: Evo2ForCausalLM) -> None:
    input_ids = draw_ids(2, 30)
    labels = input_ids.clone()
    labels[0, :7] = -100
    with torch.inference_mode():
        output = model(input_ids, labels=labels)
    log_probs = output.logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None])[..., 0]
    counted = log_probs[labels[:, 1:] != -100]
    assert float(output.loss) == pytest.approx(-float(counted.mean()), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(make_model: Any, checkpointing: bool) -> None:
    model, input_ids = make_model().train(), draw_ids(2, 60)
    if checkpointing:
        model.gradient_checkpointing_enable()
    model(input_ids, labels=input_ids, use_cache=False).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


def test_gradients_flow_through_the_cache(make_model: Any) -> None:
    model, input_ids = make_model().train(), draw_ids(2, 40)

    def gradients(cuts: list[int]) -> list[Tensor]:
        logits, cache = [], None
        for piece in input_ids.split(cuts, dim=1):
            output = model(piece, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits.append(output.logits)
        loss = model.loss_function(torch.cat(logits, dim=1), input_ids, vocab_size=512)
        return list(torch.autograd.grad(loss, list(model.parameters())))

    for one, other in zip(gradients([40]), gradients([9, 1, 30]), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def is_kept(name: str) -> bool:
    return name.rpartition(".")[2] in KEPT


def check_bfloat16(model: Evo2ForCausalLM, original: Evo2ForCausalLM) -> None:
    """Kept tensors have their bits, all others are rounded."""
    expected = original.state_dict()
    for name, tensor in model.state_dict().items():
        if is_kept(name):
            assert tensor.dtype == torch.float32, name
            assert torch.equal(tensor, expected[name]), name
        else:
            assert tensor.dtype == torch.bfloat16, name
            assert torch.equal(tensor, expected[name].bfloat16()), name


@pytest.mark.parametrize(
    "narrow",
    [
        lambda model: model.to(torch.bfloat16),
        lambda model: model.bfloat16(),
        lambda model: model.to("cpu", torch.bfloat16),
        lambda model: model.half().bfloat16(),
        lambda model: model.double().bfloat16(),
    ],
    ids=["to", "bfloat16", "to device", "over float16", "over float64"],
)
def test_poles_residues_and_frequencies_stay_in_float32(make_model: Any, narrow: Any) -> None:
    model = make_model()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not is_kept(name):
                tensor.copy_(tensor.bfloat16())  # so that a way over float16 loses nothing
                tensor[tensor.abs() < 1e-4] = 0
    original = copy.deepcopy(model)
    check_bfloat16(narrow(model), original)


def test_gradients_of_kept_tensors_stay_in_float32(make_model: Any) -> None:
    model = make_model().train()
    model(draw_ids(1, 9), labels=draw_ids(1, 9)).loss.backward()
    for name, parameter in model.bfloat16().named_parameters():
        assert parameter.grad.dtype == (torch.float32 if is_kept(name) else torch.bfloat16), name


def test_loading_in_bfloat16_keeps_them_too(make_model: Any, tmp_path: Path) -> None:
    original = make_model()
    original.save_pretrained(tmp_path)
    for dtype in (torch.bfloat16, "bfloat16"):
        check_bfloat16(Evo2ForCausalLM.from_pretrained(tmp_path, dtype=dtype), original)


def test_a_new_bfloat16_model_keeps_them_too(make_config: Any) -> None:
    config = make_config()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Evo2ForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == (torch.float32 if is_kept(name) else torch.bfloat16), name
    wide = {name for name, tensor in Evo2ForCausalLM(config).named_parameters() if tensor.numel()}
    assert wide == {name for name, _ in model.named_parameters()}


def test_bfloat16_logits_are_float32_and_close(make_model: Any) -> None:
    model, input_ids = make_model(), draw_ids(2, 50)
    exact = logits_of(model, input_ids)
    model.bfloat16()
    with torch.inference_mode():
        last = model.model(input_ids, use_cache=False).last_hidden_state
        rounded = model.lm_head(last[:, 10:20])
    logits = logits_of(model, input_ids)
    assert logits.dtype == last.dtype == torch.float32
    assert not torch.equal(last, last.bfloat16().float())
    assert torch.equal(rounded, logits[:, 10:20]) or torch.allclose(
        rounded, logits[:, 10:20], atol=1e-5
    )
    assert float((logits - exact).abs().mean()) < 0.1
    pieces = logits_in_pieces(model, input_ids, [20, 1, 29])
    assert float((pieces - logits).abs().mean()) < 0.05


def test_new_frequencies_are_rounded_as_the_released_ones(golden_folder: Path) -> None:
    stored = torch.load(golden_folder / "tiny_1b_8k" / "model.pt", weights_only=False)
    config = Evo2Config(
        operators=["attention"], hidden_size=48, num_attention_heads=3, intermediate_size=8
    )
    new = RotaryEmbedding(config).initial_frequencies()
    assert torch.equal(new, stored["blocks.3.inner_mha_cls.rotary_emb.inv_freq"].float())


@pytest.mark.parametrize("factor", [1.0, 128.0])
def test_angles_are_right_at_a_million_tokens(make_config: Any, factor: float) -> None:
    rope = {"rope_type": "linear", "rope_theta": 1e4, "factor": factor}
    rotary = RotaryEmbedding(make_config(rope_parameters=rope))
    rotary.inv_freq.copy_(rotary.initial_frequencies())
    position = torch.tensor([[0, 1, 123_457, 1_048_575]])
    cos, sin = rotary(position, torch.float32)
    angles = position[0, :, None].double() / factor * rotary.inv_freq.double()
    assert torch.equal(cos[0, 0], angles.cos().float())
    assert torch.equal(sin[0, 0], angles.sin().float())


def test_a_kept_filter_is_never_stale(make_model: Any) -> None:
    model, other = make_model(["hyena_li"]), make_model(["hyena_li"], seed=1)
    input_ids = draw_ids(1, CHUNK_LENGTH + 9)
    layer: LongFilter = model.model.layers[0].mixer.filter

    def check() -> Tensor:
        """What the model says now is what a fresh copy of it says."""
        now = logits_of(model, input_ids)
        assert layer._expanded is not None
        assert torch.equal(now, logits_of(copy.deepcopy(model), input_ids))
        return now

    seen = [check()]
    assert torch.equal(check(), seen[0])
    model.load_state_dict(other.state_dict())
    seen.append(check())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(input_ids, labels=input_ids).loss.backward()
    optimizer.step()
    model.eval()
    seen.append(check())
    with torch.no_grad():
        layer.residues.mul_(1.5)
    seen.append(check())
    model.load_state_dict(make_model(["hyena_li"], seed=2).state_dict(), assign=True)
    seen.append(check())
    model.load_state_dict(make_model(["hyena_li"], seed=3).state_dict(), assign=True)
    seen.append(check())
    model.train()
    layer.log_poles.data = layer.log_poles.data * 1.2
    model.eval()
    seen.append(check())
    for index, one in enumerate(seen):
        assert not any(torch.equal(one, later) for later in seen[index + 1 :])


def test_a_filter_does_not_grow_with_the_sequence(make_model: Any) -> None:
    model = make_model(["hyena_li"])
    layer: LongFilter = model.model.layers[0].mixer.filter
    sizes = []
    for length in (10, 700):
        logits_of(model, draw_ids(1, length))
        assert layer._expanded is not None
        sizes.append([tensor.shape for tensor in layer._expanded[-1]])
    assert sizes[0] == sizes[1]


def test_save_and_load(make_model: Any, tmp_path: Path) -> None:
    model, input_ids = make_model(), draw_ids(2, 20)
    model.save_pretrained(tmp_path)
    Evo2Tokenizer().save_pretrained(tmp_path)
    expected = logits_of(model, input_ids)
    for loaded in (
        Evo2ForCausalLM.from_pretrained(tmp_path),
        AutoModelForCausalLM.from_pretrained(tmp_path),
    ):
        assert type(loaded) is Evo2ForCausalLM
        assert torch.equal(logits_of(loaded, input_ids), expected)
        assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    base = AutoModel.from_pretrained(tmp_path)
    assert type(base) is Evo2Model
    assert type(AutoConfig.from_pretrained(tmp_path)) is Evo2Config
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is Evo2Tokenizer


def test_copies_and_pickles(make_model: Any) -> None:
    model, input_ids = make_model(), draw_ids(1, 20)
    expected = logits_of(model, input_ids)
    for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 # our own
        assert torch.equal(logits_of(one, input_ids), expected)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function:DeprecationWarning")  # dynamo
def test_compiles_without_graph_breaks(make_model: Any) -> None:
    model, input_ids = make_model(), draw_ids(1, 40)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.inference_mode():
        assert torch.allclose(
            compiled(input_ids, use_cache=False).logits, logits_of(model, input_ids), atol=1e-5
        )


def test_new_weights_make_a_model_that_knows_nothing(make_config: Any) -> None:
    torch.manual_seed(0)
    config = make_config(hidden_size=96, initializer_range=0.02, hyena_mr_groups=24)
    model, input_ids = Evo2ForCausalLM(config).eval(), draw_ids(4, 100)
    with torch.inference_mode():
        loss = float(model(input_ids, labels=input_ids).loss)
    assert loss == pytest.approx(math.log(512), abs=0.3)
    for name, parameter in model.named_parameters():
        assert bool(parameter.isfinite().all()), name
    assert bool((model.model.layers[2].mixer.filter.log_poles < 0).all())
