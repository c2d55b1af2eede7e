"""A device without float64, such as Apple's MPS: every run needs float64 on the CPU only.

The device is a stand-in that computes on the CPU. Its kernels may sum in another order than those
that the model uses on a CPU, so the results are those of the CPU within the rounding of the dtype.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.fp8 import PRODUCTS
from evo2_tasks.evo2.placement import bring_inputs, place_modules
from evo2_tasks.scoring import reference
from evo2_tasks.scoring.embeddings import EmbeddingRecord, Embeddings
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.reference import last_logits, mean_scores, predictions
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from tests.evo2.stand_in import DEVICE, OnDevice, device_modes, put_on_device

TOLERANCE = {torch.float32: 5e-5, torch.bfloat16: 0.3}  # logits, nats of a token
RNG = random.Random(4)
WINDOWS = [bytes(RNG.choices(b"ACGT", k=length)) for length in (150, 150, 61)]


@pytest.fixture(scope="module", params=TOLERANCE, ids=str)
def models(request: pytest.FixtureRequest, make_model: Any) -> tuple[Any, Any]:
    """The same model on the CPU and on the stand-in."""
    operators = ["hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li", "attention"]
    scales = [[50.0, 800.0, 2.5e-5]] * len(operators)
    here = make_model(operators, fp8_scales=scales).to(request.param)
    there = copy.deepcopy(here)
    put_on_device(there)
    return here, there


@pytest.fixture
def here(models: tuple[Any, Any]) -> Evo2ForCausalLM:
    return models[0]


@pytest.fixture
def there(models: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Evo2ForCausalLM]:
    with device_modes(monkeypatch):
        assert models[1].device == DEVICE
        yield models[1]


@pytest.mark.usefixtures("there")
def test_the_stand_in_refuses_float64() -> None:
    tensor = torch.ones(3).to(DEVICE)
    assert isinstance(tensor, OnDevice)
    assert tensor.cpu().double().tolist() == [1.0, 1.0, 1.0]
    for refused in (
        lambda: tensor.double(),
        lambda: tensor.to("cpu", torch.float64),  # the device itself would change the dtype
        lambda: torch.ones(3, dtype=torch.float64).to(DEVICE, torch.float32),
        lambda: torch.arange(3, dtype=torch.float64, device=DEVICE),
    ):
        with pytest.raises(AssertionError, match="float64 on mps"):
            refused()
    with pytest.raises(AssertionError, match="and on the CPU"):
        torch.mul(tensor, torch.ones(3))


@pytest.mark.parametrize("mode", ["off", *sorted(PRODUCTS)])
def test_logits(here: Evo2ForCausalLM, there: Evo2ForCausalLM, mode: str) -> None:
    input_ids = torch.randint(0, 512, (2, 45), generator=torch.Generator().manual_seed(1))
    here.config.fp8 = there.config.fp8 = mode
    padded = torch.ones(2, 45, dtype=torch.long)
    padded[1, :7] = 0
    for mask in (None, padded):
        expected = here(input_ids, attention_mask=mask, use_cache=False).logits
        mask = mask if mask is None else mask.to(DEVICE)
        logits = there(input_ids.to(DEVICE), attention_mask=mask, use_cache=False).logits
        # The logits of padding are of no use.
        differences = (logits.cpu() - expected).abs().amax(-1)[padded.bool() | (mask is None)]
        assert differences.max() <= TOLERANCE[here.dtype]
    here.config.fp8 = there.config.fp8 = "off"


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("segment_length", [1000, 40])
def test_scoring(
    here: Evo2ForCausalLM, there: Evo2ForCausalLM, segment_length: int, offload: bool
) -> None:
    settings = {"prepend_bos": True, "segment_length": segment_length, "offload": offload}
    expected = window_log_probs(here, WINDOWS, **settings)
    for one, other in zip(window_log_probs(there, WINDOWS, **settings), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[here.dtype])
    assert first_non_finite_module(there, WINDOWS[0], prepend_bos=True, segment_length=40) is None


@pytest.mark.parametrize("segment_length", [1000, 40])
def test_sharing(here: Evo2ForCausalLM, there: Evo2ForCausalLM, segment_length: int) -> None:
    ref = WINDOWS[0]
    pairs = [
        WindowPair(row, "forward", ref, ref[:at] + b"N" + ref[at + 1 :], at, 1, 1)
        for row, at in enumerate((70, 71, 140))
    ]
    settings = {"batch_tokens": 600, "segment_length": segment_length, "offload": True}
    settings |= {"horizon": False, "prepend_bos": False}
    embeddings = Embeddings(("embedding_layer", "blocks.0.filter", "blocks.5", "norm"), 32)
    readouts = [SUMS, embeddings]
    expected, found = (score_part(model, pairs, readouts, **settings) for model in (here, there))
    for one, other in zip(found.of(SUMS), expected.of(SUMS), strict=True):
        assert one.llr == pytest.approx(other.llr, abs=80 * TOLERANCE[here.dtype])
    require_close(found.of(embeddings), expected.of(embeddings), here.dtype)


def require_close(
    found: list[EmbeddingRecord], expected: list[EmbeddingRecord], dtype: torch.dtype
) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.ref.keys() == other.ref.keys()
        for layer, values in other.ref.items():
            atol = TOLERANCE[dtype] / 10 * np.abs(values).max()
            np.testing.assert_allclose(one.ref[layer], values, rtol=0, atol=atol)
            np.testing.assert_allclose(one.delta[layer], other.delta[layer], rtol=0, atol=2 * atol)


@pytest.mark.usefixtures("there")
def test_embeddings_of_a_model_on_two_devices(here: Evo2ForCausalLM) -> None:
    """The outputs of a layer are summed where they are."""
    parts = copy.deepcopy(here)
    for layer in parts.model.layers[3:]:
        put_on_device(layer)
    places = place_modules(here.config, [torch.device("cpu"), DEVICE])
    bring_inputs(parts, places)
    seen = []
    for number, layer in enumerate(parts.model.layers):
        layer.register_forward_hook(lambda _module, _args, output: seen.append(output.device))
        assert next(layer.parameters()).device == places[f"model.layers.{number}"]
    ref = WINDOWS[0]
    pairs = [WindowPair(0, "forward", ref, ref[:70] + b"N" + ref[71:], 70, 1, 1)]
    settings = {"batch_tokens": 600, "horizon": False, "prepend_bos": False}
    embeddings = Embeddings(("blocks.0", "blocks.2.mlp.l3", "blocks.3", "blocks.5", "norm"), 32)
    expected, found = (
        score_part(model, pairs, [embeddings], **settings).of(embeddings) for model in (here, parts)
    )
    assert set(seen) == {torch.device("cpu"), DEVICE}
    require_close(found, expected, here.dtype)


def test_generation(here: Evo2ForCausalLM, there: Evo2ForCausalLM) -> None:
    prompts = torch.tensor([list(WINDOWS[0][:30]), list(WINDOWS[1][:30])])
    mask = torch.ones_like(prompts)
    mask[1, :4] = 0
    for given in (None, mask):
        settings = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 1}
        expected = here.generate(prompts, attention_mask=given, **settings)
        given = given if given is None else given.to(DEVICE)
        found = there.generate(prompts.to(DEVICE), attention_mask=given, **settings)
        if here.dtype == torch.float32:  # bfloat16 may round two likely tokens to equal logits
            assert torch.equal(found.cpu(), expected)
        else:
            assert found.shape == expected.shape


def test_published_values(
    here: Evo2ForCausalLM, there: Evo2ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its inference mode began when the module was imported; see `device_modes`.
    monkeypatch.setattr(reference, "_logits", reference._logits.__wrapped__)
    texts = [window.decode() for window in WINDOWS]
    for rounding in ("float32", "bfloat16"):
        close = {"abs": TOLERANCE[here.dtype if rounding == "float32" else torch.bfloat16]}
        assert mean_scores(there, texts, rounding) == pytest.approx(
            mean_scores(here, texts, rounding), **close
        )
        found, expected = (predictions(model, texts, rounding) for model in (there, here))
        assert found["loss"] == pytest.approx(expected["loss"], **close)
        assert last_logits(there, texts[0], "ACGT", rounding) == pytest.approx(
            last_logits(here, texts[0], "ACGT", rounding), **close
        )
