"""evo2-mini, the model in the package: what its card says, and what it makes sharper."""

import json
import math
from pathlib import Path

import numpy as np
import pysam
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS
from evo2_tasks.scoring.likelihood import next_token_log_probs, window_log_probs

ROOT = Path(__file__).parent.parent.parent
FOLDER = BUNDLED_CHECKPOINTS / "evo2-mini"
EVALUATION = json.loads((ROOT / "training" / "figures" / "evaluation.json").read_text())
WINDOW_LENGTH = 2048  # of the card's losses
BITS_TOLERANCE = 1e-3  # bits per base; another CPU sums in another order
PROMISE = 1e-6  # nats for each token of a window, docs/scores.md


@pytest.fixture(scope="module")
def mini() -> Evo2ForCausalLM:
    return Evo2ForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def human_mitochondrion() -> str:
    with pysam.FastxFile(str(ROOT / "data" / "rCRS.fa")) as file:
        (record,) = file
    return str(record.sequence)


def test_its_loss_on_the_human_mitochondrion_is_the_cards(
    mini: Evo2ForCausalLM, human_mitochondrion: str
) -> None:
    """Windows one after the other, strands in turn, each base but the first: as the card says."""
    complement = str.maketrans("ACGTN", "TGCAN")
    total, num_bases = 0.0, 0
    starts = range(0, len(human_mitochondrion) - WINDOW_LENGTH + 1, WINDOW_LENGTH)
    for i, start in enumerate(starts):
        window = human_mitochondrion[start : start + WINDOW_LENGTH]
        window = window.translate(complement)[::-1] if i % 2 else window
        (log_probs,) = window_log_probs(mini, [window.encode()], prepend_bos=False)
        is_base = np.array([base != "N" for base in window[1:]])
        total, num_bases = total - log_probs[is_base].sum(), num_bases + is_base.sum()
    bits = total / num_bases / math.log(2)
    assert bits == pytest.approx(EVALUATION["bits_per_base"]["rCRS"]["model"], abs=BITS_TOLERANCE)
    assert (
        f"{EVALUATION['bits_per_base']['rCRS']['model']:.4f}" in (FOLDER / "README.md").read_text()
    )


def test_batches_and_padding_change_no_log_probability_by_more_than_promised(
    mini: Evo2ForCausalLM, human_mitochondrion: str
) -> None:
    windows = [
        human_mitochondrion[start : start + length].encode()
        for start, length in ((0, 700), (300, 512), (900, 64), (4000, 1024), (7000, 333))
    ]
    together = window_log_probs(mini, windows, prepend_bos=True)
    for window, in_batch in zip(windows, together, strict=True):
        (alone,) = window_log_probs(mini, [window], prepend_bos=True)
        assert abs(float((alone - in_batch).sum(dtype=np.float64))) < PROMISE * len(window)


def test_segments_change_no_log_probability_by_more_than_promised(
    mini: Evo2ForCausalLM, human_mitochondrion: str
) -> None:
    input_ids = torch.tensor([list(human_mitochondrion[:3000].encode())])
    with torch.inference_mode():
        whole = next_token_log_probs(mini, input_ids)
        cut = next_token_log_probs(mini, input_ids, segment_length=700)
    assert abs(float((whole - cut).double().sum())) < PROMISE * input_ids.shape[1]


def test_it_generates_with_and_without_a_cache_alike(
    mini: Evo2ForCausalLM, human_mitochondrion: str
) -> None:
    tokenizer = Evo2Tokenizer.from_pretrained(FOLDER)
    prompt = tokenizer(human_mitochondrion[2800:3245], return_tensors="pt")
    written = [
        mini.generate(**prompt, max_new_tokens=40, do_sample=False, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert torch.equal(*written)
    text = tokenizer.decode(written[0][0, prompt.input_ids.shape[1] :])
    assert set(text) <= set("ACGT")
    # The rest of tRNA-Leu(UUR), which mammals share: chance gives 10 of 40.
    truth = human_mitochondrion[3245:3285]
    assert sum(a == b for a, b in zip(text, truth, strict=True)) > 28
