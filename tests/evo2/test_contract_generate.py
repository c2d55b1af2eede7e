"""`generate` in every mode that the model has, and a clear refusal of those that it has not."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    TextIteratorStreamer,
)
from transformers.generation.streamers import BaseStreamer

from evo2_tasks import Evo2ForCausalLM, Evo2Tokenizer

WITH_ATTENTION = ["hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li"]
WITHOUT_ATTENTION = ["hyena_li", "hyena_mr", "hyena_se"]
MODES = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 40, "temperature": 0.8},
    "beams": {"do_sample": False, "num_beams": 3, "num_return_sequences": 2},
    "sampled beams": {"do_sample": True, "num_beams": 3},
    "several samples": {"do_sample": True, "num_return_sequences": 3},
}
NEVER = 511  # an end-of-document token that these models do not come upon


@pytest.fixture(scope="module", params=[WITH_ATTENTION, WITHOUT_ATTENTION], ids=["with", "without"])
def model(request: pytest.FixtureRequest, make_model: Any) -> Evo2ForCausalLM:
    """With attention layers, and without any."""
    return make_model(request.param)


@pytest.fixture(scope="module")
def tokenizer() -> Evo2Tokenizer:
    return Evo2Tokenizer()


def draw_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(2, 256, shape, generator=torch.Generator().manual_seed(seed))


def generate(model: Evo2ForCausalLM, *inputs: Any, **kwargs: Any) -> Tensor:
    torch.manual_seed(0)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": NEVER, **kwargs}
    return model.generate(*inputs, **settings)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_is_the_same_without_a_cache(model: Evo2ForCausalLM, mode: str) -> None:
    prompt = draw_ids(2, 30)
    cached = generate(model, prompt, **MODES[mode])
    assert cached.shape == (2 * MODES[mode].get("num_return_sequences", 1), 38)
    assert torch.equal(cached, generate(model, prompt, use_cache=False, **MODES[mode]))


@pytest.mark.parametrize("mode", ["greedy", "beams"])
def test_every_sequence_of_a_padded_batch_goes_its_own_way(
    model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer, mode: str
) -> None:
    prompts = ["ACGTTGCAACGT", "TTG", "A"]
    together = generate(
        model, **tokenizer(prompts, padding=True, return_tensors="pt"), **MODES[mode]
    )
    alone = [
        generate(model, **tokenizer(one, return_tensors="pt"), **MODES[mode]) for one in prompts
    ]
    for from_batch, expected, prompt in zip(
        together.unflatten(0, (len(prompts), -1)), alone, prompts, strict=True
    ):
        assert torch.equal(from_batch[:, 12:], expected[:, len(prompt) :])


@pytest.mark.parametrize(
    "arguments", [{"cache_implementation": "static"}, {"prefill_chunk_size": 7}]
)
def test_other_ways_to_hold_and_to_fill_the_cache(
    model: Evo2ForCausalLM, arguments: dict[str, Any]
) -> None:
    prompt, mask = draw_ids(2, 30), torch.ones(2, 30, dtype=torch.long)
    mask[0, :5] = 0
    expected = generate(model, prompt, attention_mask=mask)
    assert torch.equal(generate(model, prompt, attention_mask=mask, **arguments), expected)


def test_prompts_come_as_embeddings(model: Evo2ForCausalLM) -> None:
    prompt = draw_ids(2, 30)
    expected = generate(model, prompt)
    embedded = model.get_input_embeddings()(prompt)
    assert torch.equal(generate(model, inputs_embeds=embedded), expected[:, 30:])


def test_a_cache_is_passed_on_from_call_to_call(model: Evo2ForCausalLM) -> None:
    prompt = draw_ids(2, 30)
    expected = generate(model, prompt, max_new_tokens=12)
    first = generate(model, prompt, max_new_tokens=5, return_dict_in_generate=True)
    second = generate(
        model, first.sequences, past_key_values=first.past_key_values, max_new_tokens=7
    )
    assert torch.equal(second, expected)


def test_a_long_prompt_is_read_in_pieces(make_model: Any) -> None:
    model, prompt = make_model(WITH_ATTENTION), draw_ids(2, 90)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():  # as `generate` does
        for piece in prompt[:, :80].split(32, dim=1):
            model(piece, past_key_values=cache, logits_to_keep=1)
    expected = generate(model, prompt)
    assert torch.equal(generate(model, prompt, past_key_values=cache), expected)


@pytest.mark.parametrize("arguments", [{"assistant": True}, {"prompt_lookup_num_tokens": 3}])
def test_assisted_generation_is_refused(
    model: Evo2ForCausalLM, make_model: Any, arguments: dict[str, Any]
) -> None:
    """A recurrent state cannot go back to before the tokens that were guessed wrong."""
    if "assistant" in arguments:
        arguments = {"assistant_model": make_model()}
    with pytest.raises(ValueError, match="not supported with stateful models") as refusal:
        generate(model, draw_ids(1, 10), **arguments)
    assert "\n" not in str(refusal.value)


def test_the_quantized_cache_is_refused(make_model: Any) -> None:
    with pytest.raises(ValueError, match="only full attention layers"):
        generate(make_model(), draw_ids(1, 10), cache_implementation="quantized")


def test_the_end_of_document_ends_a_sequence(model: Evo2ForCausalLM) -> None:
    prompt = draw_ids(2, 30)
    free = generate(model, prompt)
    end = int(free[0, 32])
    ended = generate(model, prompt, eos_token_id=end, pad_token_id=1)
    length = 1 + free[0, 30:].tolist().index(end)
    assert torch.equal(ended[0, : 30 + length], free[0, : 30 + length])
    assert set(ended[0, 30 + length :].tolist()) <= {1}


def test_the_tokens_of_the_config_end_and_pad(model: Evo2ForCausalLM) -> None:
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (0, 1)
    assert model.generation_config.bos_token_id is None


class StopAtLength(StoppingCriteria):
    """Stop a sequence that has so many tokens."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), input_ids.shape[1] >= self.length)


def test_stopping_criteria(model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer) -> None:
    prompt = draw_ids(2, 30)
    stopped = generate(model, prompt, stopping_criteria=[StopAtLength(33)])
    assert torch.equal(stopped, generate(model, prompt, max_new_tokens=3))
    text = tokenizer.decode([int(generate(model, prompt[:1])[0, 34]) % 256])
    stopped = generate(model, prompt[:1], stop_strings=[text], tokenizer=tokenizer)
    assert stopped.shape[1] <= 38


class AllowedTokens(LogitsProcessor):
    """Keep generation to some tokens."""

    def __init__(self, allowed: list[int]) -> None:
        self.allowed = allowed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        forbidden[:, self.allowed] = False
        return scores.masked_fill(forbidden, -torch.inf)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_generation_can_be_kept_to_the_four_bases(
    model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer, mode: str
) -> None:
    only_bases = LogitsProcessorList([AllowedTokens(tokenizer.encode("ACGT"))])
    generated = generate(model, draw_ids(2, 30), logits_processor=only_bases, **MODES[mode])
    for text in tokenizer.batch_decode(generated[:, 30:]):
        assert len(text) == 8
        assert set(text) <= set("ACGT")


class Collect(BaseStreamer):
    """Keep what comes."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.has_ended = False

    def put(self, value: Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.has_ended = True


def test_streamers_get_every_token(model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer) -> None:
    prompt, streamer = draw_ids(1, 30), Collect()
    generated = generate(model, prompt, streamer=streamer)
    assert streamer.tokens == generated[0].tolist()
    assert streamer.has_ended
    of_text = TextIteratorStreamer(tokenizer, skip_prompt=True)
    generate(model, prompt, streamer=of_text)
    assert "".join(of_text) == tokenizer.decode(generated[0, 30:])


def test_what_generate_can_return_beside_the_tokens(make_model: Any) -> None:
    model = make_model(WITH_ATTENTION, attn_implementation="eager")
    names = ("output_scores", "output_logits", "output_hidden_states", "output_attentions")
    output = generate(
        model, draw_ids(2, 30), return_dict_in_generate=True, **dict.fromkeys(names, True)
    )
    assert len(output.scores) == len(output.logits) == 8
    assert torch.equal(output.logits[0].argmax(-1), output.sequences[:, 30])
    assert [len(states) for states in output.hidden_states] == [len(WITH_ATTENTION) + 1] * 8
    assert [len(weights) for weights in output.attentions] == [1] * 8
    assert output.attentions[-1][0].shape == (2, 3, 1, 37)
