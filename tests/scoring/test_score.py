"""Scores of windows under a small model: against a plain loop, whatever the company."""

import copy
import random

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.runtime.canaries import canary_pairs, score_canaries
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import SHORTEST_SEGMENT, score_part
from evo2_tasks.scoring.windows import WindowPair

# float32 in batches of other shapes; per token, and for sums over up to 60 tokens
TOKEN_TOLERANCE = 2e-5
SUM_TOLERANCE = 1e-4


def draw(rng: random.Random, length: int) -> bytes:
    return "".join(rng.choices("ACGTN", weights=[8, 8, 8, 8, 1], k=length)).encode()


def draw_pairs(num: int) -> list[WindowPair]:
    """SNVs in windows of unequal length, some of them with a common reference window."""
    rng = random.Random(3)
    pairs: list[WindowPair] = []
    while len(pairs) < num:
        ref = draw(rng, rng.randint(2, 60))
        at = rng.randrange(1, len(ref))
        for alt in rng.sample([base for base in b"ACGT" if base != ref[at]], 2):
            alt_seq = ref[:at] + bytes([alt]) + ref[at + 1 :]
            pairs.append(WindowPair(len(pairs), "forward", ref, alt_seq, at, 1, 1))
    return pairs


def plain_log_probs(model: Evo2ForCausalLM, window: bytes, *, bos: bool) -> np.ndarray:
    ids = torch.tensor([([0] if bos else []) + list(window)])
    with torch.no_grad():
        log_probs = model(ids).logits.double().log_softmax(-1)[0]
    return np.array([log_probs[t, token].item() for t, token in enumerate(ids[0, 1:])])


@pytest.mark.parametrize("bos", [False, True])
def test_log_probs_are_those_of_each_window_alone(small_model: Evo2ForCausalLM, bos: bool) -> None:
    rng = random.Random(1)
    windows = [draw(rng, length) for length in (1, 2, 3, 7, 33, 60)]
    together = window_log_probs(small_model, windows, prepend_bos=bos)
    for window, log_probs in zip(windows, together, strict=True):
        assert len(log_probs) == len(window) - 1 + bos
        assert log_probs.dtype == np.float32
        np.testing.assert_allclose(
            log_probs, plain_log_probs(small_model, window, bos=bos), atol=TOKEN_TOLERANCE
        )


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_a_score_does_not_depend_on_company(
    small_model: Evo2ForCausalLM, batch_tokens: int
) -> None:
    pairs = draw_pairs(12)
    run: list[tuple[int, int]] = []
    scores = score_part(
        small_model,
        pairs,
        [SUMS],
        batch_tokens=batch_tokens,
        horizon=False,
        prepend_bos=False,
        on_call=lambda windows, tokens: run.append((windows, tokens)),
        on_halving=lambda _: pytest.fail("memory is not short"),
    ).of(SUMS)
    distinct = {seq for pair in pairs for seq in (pair.ref_seq, pair.alt_seq)}
    assert sum(windows for windows, _ in run) == len(distinct) < 2 * len(pairs)
    assert sum(tokens for _, tokens in run) < sum(map(len, distinct))
    for pair, score in zip(pairs, scores, strict=True):
        ref = plain_log_probs(small_model, pair.ref_seq, bos=False)
        alt = plain_log_probs(small_model, pair.alt_seq, bos=False)
        assert score is not None
        assert score.llr == pytest.approx((alt - ref).sum(), abs=SUM_TOLERANCE)
        assert score.ll_ref == pytest.approx(ref.sum(), abs=SUM_TOLERANCE)
        assert score.ll_alt == pytest.approx(alt.sum(), abs=SUM_TOLERANCE)


def test_the_order_of_the_alleles_changes_no_number(small_model: Evo2ForCausalLM) -> None:
    pairs = draw_pairs(10)

    def score(some: list[WindowPair]) -> dict[int, float | None]:
        scores = score_part(
            small_model,
            some,
            [SUMS],
            batch_tokens=128,
            horizon=False,
            prepend_bos=True,
        ).of(SUMS)
        return {pair.row: score.llr for pair, score in zip(some, scores, strict=True) if score}

    assert score(pairs[::-1]) == pytest.approx(score(pairs), abs=SUM_TOLERANCE)


@pytest.mark.parametrize("most_tokens", [100, 40])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    small_model: Evo2ForCausalLM, monkeypatch: pytest.MonkeyPatch, most_tokens: int
) -> None:
    """The allocation fails above a number of tokens: of several windows first, then of one."""
    rng = random.Random(5)
    pairs = []
    for row in range(6):
        ref = draw(rng, 90).replace(b"N", b"A")
        alt = ref[:40] + (b"C" if ref[40:41] != b"C" else b"G") + ref[41:]
        pairs.append(WindowPair(row, "forward", ref, alt, 40, 1, 1))
    run: list[int] = []
    budgets: list[int] = []

    def score() -> list[Score | None]:
        return score_part(
            small_model,
            pairs,
            [SUMS],
            batch_tokens=600,
            horizon=False,
            prepend_bos=False,
            on_call=lambda windows, _: run.append(windows),
            on_halving=budgets.append,
        ).of(SUMS)

    whole = score()
    assert not budgets
    forward = type(small_model.model).forward
    seen: list[int] = []

    def fail_above(self: object, input_ids: torch.Tensor, **options: object) -> object:
        seen.append(input_ids.numel())
        if input_ids.numel() > most_tokens:
            raise torch.OutOfMemoryError("no memory for that many tokens")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(small_model.model), "forward", fail_above)
    run.clear()
    if most_tokens < SHORTEST_SEGMENT:
        with pytest.raises(torch.OutOfMemoryError):
            score()
        assert min(seen) <= SHORTEST_SEGMENT
        return
    halved = score()
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[0] == 255  # half of five reference and five alternate ends of 51
    assert sum(run) == 12, "each window once"
    for one, other in zip(whole, halved, strict=True):
        assert one is not None
        assert other is not None
        assert other.llr == pytest.approx(one.llr, abs=SUM_TOLERANCE)


def test_the_module_that_is_not_finite_first_is_named(small_model: Evo2ForCausalLM) -> None:
    broken = copy.deepcopy(small_model)
    assert first_non_finite_module(broken, b"ACGT" * 8, prepend_bos=False) is None
    operator = broken.config.operators[1]
    with torch.no_grad():
        next(broken.model.layers[1].parameters()).fill_(torch.nan)
    found = first_non_finite_module(broken, b"ACGT" * 8, prepend_bos=False)
    assert found == f"model.layers.1 ({operator})"


def test_canaries_are_the_same_every_time(small_model: Evo2ForCausalLM) -> None:
    first = score_canaries(small_model)
    assert len(first) == len(set(first)) == 4
    assert score_canaries(small_model) == first
    for pair, llr in zip(canary_pairs(), first, strict=True):
        ref = plain_log_probs(small_model, pair.ref_seq, bos=False)
        alt = plain_log_probs(small_model, pair.alt_seq, bos=False)
        assert llr == pytest.approx((alt - ref).sum(), abs=5 * SUM_TOLERANCE)
