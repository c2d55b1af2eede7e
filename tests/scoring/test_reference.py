"""What the reference prints of a model, against its own numbers and a plain loop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.checkpoints import load_model
from evo2_tasks.scoring.reference import last_logits, mean_scores, predictions

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "tiny_1b_8k"


@pytest.fixture(scope="module")
def model() -> Evo2ForCausalLM:
    return load_model(
        GOLDEN / "model.pt",
        dtype=torch.float32,
        devices=[torch.device("cpu")],
        config=GOLDEN / "config.yml",
    )


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads((GOLDEN / "scores.json").read_text())


@pytest.mark.golden
def test_scores_of_both_strands_are_the_references(
    model: Evo2ForCausalLM, golden: dict[str, Any]
) -> None:
    for which in (0, 1):
        sequences = [pair[which] for pair in golden["pairs"]]
        ours = mean_scores(model, sequences, "float32")
        theirs = golden["scores"]["mean_rc"][("ref", "alt")[which]]
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.golden
def test_losses_are_the_references_log_probabilities(
    model: Evo2ForCausalLM, golden: dict[str, Any]
) -> None:
    tensors = load_file(GOLDEN / "logits.safetensors")
    for key, sequence in golden["sequences"].items():
        if len(sequence) > 1:
            [loss] = predictions(model, [sequence], "float32")["loss"]
            assert loss == pytest.approx(-float(tensors[f"fp32.logprobs.{key}"].mean()), abs=2e-5)


@pytest.mark.golden
def test_last_logits_are_the_references(model: Evo2ForCausalLM, golden: dict[str, Any]) -> None:
    tensors = load_file(GOLDEN / "logits.safetensors")
    for key, sequence in golden["sequences"].items():
        if (theirs := tensors.get(f"fp32.last.{key}")) is not None:
            ours = last_logits(model, sequence, "ACGTN", "float32")
            assert ours == pytest.approx(theirs[[65, 67, 71, 84, 78]].tolist(), abs=2e-4)


def test_reference_rounding_is_bfloat16_twice(model: Evo2ForCausalLM) -> None:
    """Logits are rounded, and so is their log-softmax: a mean is a multiple of a bfloat16 step."""
    sequences = ["ACGTTGCAACGGTAAC", "TTGACATTGACAGGCA", "ACGT"]
    scores = mean_scores(model, sequences, "bfloat16")
    for sequence, score in zip(sequences, scores, strict=True):
        strands = [sequence, sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]]
        total = 0.0
        for strand in strands:
            ids = torch.tensor([list(strand.encode())])
            with torch.no_grad():
                logits = model(ids, use_cache=False).logits[0].bfloat16()
            for position, token in enumerate(ids[0, 1:]):
                log_prob = logits[position].log_softmax(-1)[token]
                assert log_prob.dtype == torch.bfloat16
                total += float(log_prob)
        assert score == pytest.approx(total / 2 / (len(sequence) - 1), abs=1e-6)
        steps = score * 2 * (len(sequence) - 1) * 2**8
        assert steps == pytest.approx(round(steps), abs=1e-2)


def test_accuracy_is_the_share_of_likeliest_tokens(model: Evo2ForCausalLM) -> None:
    sequence = "ACGTTGCAACGGTAACTTGACATTGACAGGCA"
    ids = torch.tensor([list(sequence.encode())])
    with torch.no_grad():
        likeliest = model(ids, use_cache=False).logits[0, :-1].argmax(-1).tolist()
    hits = [a == b for a, b in zip(likeliest, sequence.encode()[1:], strict=True)]
    found = predictions(model, [sequence, "".join(map(chr, [65, *likeliest]))], "bfloat16")
    assert found["accuracy"][0] == pytest.approx(sum(hits) / len(hits), abs=1 / len(hits))
    assert len(found["accuracy"]) == len(found["loss"]) == 2


def test_case_counts_and_its_complement_is_kept(model: Evo2ForCausalLM) -> None:
    lower, mixed = mean_scores(model, ["acgttgca", "ACGTtgca"], "float32")
    strands = [mean_scores(model, [one], "float32")[0] for one in ("tgcaacgt", "tgcaACGT")]
    assert [lower, mixed] == pytest.approx(strands, abs=1e-6)
    assert lower != mixed
