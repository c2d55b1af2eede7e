"""The reference implementation's numbers, and ours on the same weights."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.checkpoints import load_model

pytestmark = pytest.mark.golden

LOGITS_TOLERANCE = 2e-4  # of float32 logits up to about 18
MEAN_TOLERANCE = 1e-5  # of mean scores; of sums, times the number of tokens
# The reference's own bfloat16 run differs from its float32 run by this much.
BFLOAT16_MEAN, BFLOAT16_MAX = 0.05, 0.7


class Golden(NamedTuple):
    name: str
    model: Evo2ForCausalLM
    bfloat16: Evo2ForCausalLM
    tensors: dict[str, Tensor]
    scores: dict[str, Any]


@pytest.fixture(scope="module", params=["tiny_7b_1m", "tiny_1b_8k", "tiny_40b_1m"])
def golden(request: pytest.FixtureRequest, golden_folder: Path) -> Golden:
    folder = golden_folder / request.param

    def load(dtype: torch.dtype) -> Evo2ForCausalLM:
        return load_model(
            folder / "model.pt",
            dtype=dtype,
            devices=[torch.device("cpu")],
            config=folder / "config.yml",
        )

    return Golden(
        request.param,
        load(torch.float32),
        load(torch.bfloat16),
        load_file(folder / "logits.safetensors"),
        json.loads((folder / "scores.json").read_text()),
    )


def encode(sequences: list[str]) -> Tensor:
    return torch.tensor([list(sequence.encode()) for sequence in sequences])


@torch.inference_mode()
def log_probs(model: Evo2ForCausalLM, input_ids: Tensor) -> Tensor:
    """log p of each token after the first. (B, L - 1)."""
    log_softmax = model(input_ids, use_cache=False).logits.log_softmax(-1)
    return log_softmax[:, :-1].gather(-1, input_ids[:, 1:, None]).squeeze(-1)


def stored_logits(golden: Golden, run: str) -> list[tuple[Tensor, Tensor]]:
    """All stored logits of a run, ours and theirs."""
    model = golden.model if run == "fp32" else golden.bfloat16
    tensors, columns = golden.tensors, golden.tensors["cols"].long()
    pairs = []
    for key, sequence in golden.scores["sequences"].items():
        with torch.inference_mode():
            logits = model(encode([sequence]), use_cache=False).logits[0]
        if (theirs := tensors.get(f"{run}.full.{key}")) is not None:
            pairs.append((logits, theirs))
        if (theirs := tensors.get(f"{run}.cols.{key}")) is not None:
            pairs.append((logits[tensors[f"rows.{key}"].long()][:, columns], theirs))
        if (theirs := tensors.get(f"{run}.last.{key}")) is not None:
            pairs.append((logits[-1], theirs))
    return pairs


def largest_difference(pairs: list[tuple[Tensor, Tensor]]) -> float:
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def test_logits(golden: Golden) -> None:
    pairs = stored_logits(golden, "fp32")
    assert len(pairs) >= 20
    difference = largest_difference(pairs)
    print(f"{golden.name}: largest difference in float32 logits {difference:.1e}")
    assert difference < LOGITS_TOLERANCE


def test_every_stored_logit_is_compared(golden: Golden) -> None:
    stored = [key for key in golden.tensors if key.startswith(("fp32.full", "fp32.cols"))]
    stored += [key for key in golden.tensors if key.startswith("fp32.last")]
    assert len(stored_logits(golden, "fp32")) == len(stored)


def test_log_probs(golden: Golden) -> None:
    pairs = [
        (log_probs(golden.model, encode([sequence]))[0], golden.tensors[f"fp32.logprobs.{key}"])
        for key, sequence in golden.scores["sequences"].items()
        if len(sequence) > 1
    ]
    assert largest_difference(pairs) < LOGITS_TOLERANCE


def test_a_batch_padded_on_the_right(golden: Golden) -> None:
    input_ids, columns = golden.tensors["batch.ids"].long(), golden.tensors["cols"].long()
    with torch.inference_mode():
        logits = golden.model(input_ids, use_cache=False).logits[..., columns]
    assert largest_difference([(logits, golden.tensors["batch.fp32.cols"])]) < LOGITS_TOLERANCE


def test_the_stream_after_each_block_and_each_filter(golden: Golden) -> None:
    model, found = golden.model, {}
    hooks = []
    for index, layer in enumerate(model.model.layers):

        def keep_output(_: object, __: object, output: Tensor, index: int = index) -> None:
            found[f"block_out.{index}"] = output[0]

        def keep_input(_: object, args: tuple[Tensor], index: int = index) -> None:
            found[f"mixer_out.{index}"] = args[0][0]

        hooks.append(layer.register_forward_hook(keep_output))
        if hasattr(layer.mixer, "out_filter_dense"):
            hooks.append(layer.mixer.out_filter_dense.register_forward_pre_hook(keep_input))
    sequence = golden.scores["sequences"][golden.scores["probe_sequence"]]
    with torch.inference_mode():
        model(encode([sequence]), use_cache=False)
    for hook in hooks:
        hook.remove()
    stored = {key for key in golden.tensors if key.startswith(("block_out", "mixer_out"))}
    assert set(found) == stored
    for key in stored:
        scale = float(golden.tensors[key].abs().max())
        assert largest_difference([(found[key], golden.tensors[key])]) < 2e-5 * max(1, scale)


def reverse_complement(sequence: str) -> str:
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


@pytest.mark.parametrize("which", ["ref", "alt"])
def test_scores(golden: Golden, which: str) -> None:
    sequences = [pair[which == "alt"] for pair in golden.scores["pairs"]]
    reverse = [reverse_complement(sequence) for sequence in sequences]
    bos = ["\0" + sequence for sequence in sequences]
    reverse_bos = ["\0" + sequence for sequence in reverse]
    plain, other, with_bos, other_with_bos = (
        log_probs(golden.model, encode(batch)).double()
        for batch in (sequences, reverse, bos, reverse_bos)
    )
    tokens = len(sequences[0])
    expected = {
        "mean": (plain.mean(1), MEAN_TOLERANCE),
        "sum": (plain.sum(1), MEAN_TOLERANCE * tokens),
        "mean_bos": (with_bos.mean(1), MEAN_TOLERANCE),
        "mean_rc": ((plain.mean(1) + other.mean(1)) / 2, MEAN_TOLERANCE),
        "sum_rc_bos": ((with_bos.sum(1) + other_with_bos.sum(1)) / 2, MEAN_TOLERANCE * tokens),
    }
    for key, (ours, tolerance) in expected.items():
        theirs = torch.tensor(golden.scores["scores"][key][which])
        assert largest_difference([(ours, theirs)]) < tolerance, key


def test_scores_of_unequal_lengths(golden: Golden) -> None:
    ragged = golden.scores["ragged"]
    for prefix, key in (("", "single_mean"), ("\0", "single_mean_bos")):
        for sequence, theirs in zip(ragged["seqs"], ragged[key], strict=True):
            ours = log_probs(golden.model, encode([prefix + sequence])).double().mean()
            assert abs(float(ours) - theirs) < MEAN_TOLERANCE


def test_entropies(golden: Golden) -> None:
    theirs = golden.scores["positional_entropy_pair0_ref_first32"]
    sequence = golden.scores["pairs"][0][0]
    with torch.inference_mode():
        log_softmax = golden.model(encode([sequence])).logits[0].log_softmax(-1)
    entropies = -(log_softmax.exp() * log_softmax).sum(-1)[: len(theirs)]
    np.testing.assert_allclose(entropies.numpy(), theirs, atol=MEAN_TOLERANCE * 5)


def test_generation(golden: Golden) -> None:
    golden.model.generation_config.eos_token_id = None  # the reference does not stop either
    for run in golden.scores["generation"]:
        tokens = run["uncached"]["tokens"]
        prompt = encode([run["prompt"]])
        output = golden.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=len(tokens),
            do_sample=False,
        )
        assert output[0, prompt.shape[1] :].tolist() == tokens


def test_generation_without_a_cache(golden: Golden) -> None:
    for run in golden.scores["generation"]:
        tokens = torch.tensor([run["uncached"]["tokens"]])
        prompt = encode([run["prompt"]])
        with torch.inference_mode():
            logits = golden.model(torch.cat([prompt, tokens], dim=1), use_cache=False).logits
        # Each token is the one that a pass over all before it chooses.
        assert torch.equal(logits[:, prompt.shape[1] - 1 : -1].argmax(-1), tokens)


def test_generation_with_half_of_the_prompt_token_by_token(golden: Golden) -> None:
    run = golden.scores["generation"][0]
    prompt = encode([run["prompt"]])
    half, cache, tokens = prompt.shape[1] // 2, None, []
    with torch.inference_mode():
        for chunk in (prompt[:, :half], *prompt[:, half:].split(1, dim=1)):
            output = golden.model(chunk, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
        for _ in run["uncached"]["tokens"]:
            token = output.logits[:, -1:].argmax(-1)
            tokens.append(int(token))
            output = golden.model(token, past_key_values=cache)
    assert tokens == run["uncached"]["tokens"]


def test_bfloat16_is_within_its_noise(golden: Golden) -> None:
    pairs = stored_logits(golden, "bf16")
    differences = [(ours - theirs.float()).abs() for ours, theirs in pairs]
    mean = float(torch.cat([difference.flatten() for difference in differences]).mean())
    print(f"{golden.name}: bfloat16 logits differ by {mean:.3f} in the mean")
    assert mean < BFLOAT16_MEAN
    assert max(float(difference.max()) for difference in differences) < BFLOAT16_MAX
    for which in (0, 1):
        sequences = [pair[which] for pair in golden.scores["pairs"]]
        ours = log_probs(golden.bfloat16, encode(sequences)).mean(1)
        theirs = torch.tensor(golden.scores["scores"]["mean_bf16"][("ref", "alt")[which]])
        exact = torch.tensor(golden.scores["scores"]["mean"][("ref", "alt")[which]])
        noise = float((theirs - exact).abs().max())
        assert float((ours - exact).abs().max()) < 2 * noise
