"""Log-likelihoods of sequences: against one sequence at a time, and the definition of a circle."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.scoring import sequence_batches
from evo2_tasks.scoring.reference import mean_scores
from evo2_tasks.scoring.sequence_batches import run_readings
from evo2_tasks.scoring.sequences import (
    MOST_ROWS,
    ReadingSettings,
    SequenceToScore,
    plan_batches,
    score_reading,
    slice_sequences,
)

TOKEN_TOLERANCE = 2e-5  # float32 in batches of other shapes, nats per token
LINEAR = ReadingSettings(
    strands=("forward", "reverse"),
    min_context=None,
    prepend_bos=False,
    max_n_share=0.5,
    per_base=False,
)


def draw(rng: random.Random, length: int) -> bytes:
    return "".join(rng.choices("ACGTN", weights=[8, 8, 8, 8, 1], k=length)).encode()


def reverse(bases: bytes) -> bytes:
    return bases.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1]


def plain_log_probs(model: Evo2ForCausalLM, tokens: bytes, *, bos: bool = False) -> np.ndarray:
    """One sequence alone, in one call, without padding; log-softmax in float64."""
    ids = torch.tensor([([0] if bos else []) + list(tokens)])
    with torch.no_grad():
        log_probs = model(ids).logits.double().log_softmax(-1)[0]
    return np.array([log_probs[t, token].item() for t, token in enumerate(ids[0, 1:])])


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize(("batch_tokens", "segment_length"), [(1, 64), (90, 7), (100_000, 64)])
def test_a_sequence_has_the_score_that_it_has_alone(
    small_model: Evo2ForCausalLM, bos: bool, batch_tokens: int, segment_length: int
) -> None:
    rng = random.Random(1)
    sequences = [draw(rng, length) for length in (1, 2, 3, 3, 9, 30, 31, 80, 200)]
    run: list[tuple[int, int]] = []
    found = run_readings(
        small_model,
        [*sequences, *sequences],
        prepend_bos=bos,
        batch_tokens=batch_tokens,
        segment_length=segment_length,
        on_call=lambda readings, tokens: run.append((readings, tokens)),
    )
    predicted = {one for one in sequences if len(one) > 1 or bos}
    assert set(found) == predicted
    assert sum(readings for readings, _ in run) == len(predicted)
    assert sum(tokens for _, tokens in run) == sum(map(len, predicted))
    for tokens, log_probs in found.items():
        expected = plain_log_probs(small_model, tokens, bos=bos)
        assert len(log_probs) == len(tokens) - 1 + bos
        np.testing.assert_allclose(log_probs, expected, atol=TOKEN_TOLERANCE)
        score = score_reading(log_probs)
        assert score is not None
        assert score.ll == pytest.approx(expected.sum(), abs=TOKEN_TOLERANCE * len(tokens))


def test_padding_is_never_counted(small_model: Evo2ForCausalLM) -> None:
    """The error of a mean over padded rows is large, and it is absent here."""
    short, long = draw(random.Random(2), 10), draw(random.Random(3), 90)
    found = run_readings(small_model, [short, long], prepend_bos=False, batch_tokens=1_000)
    alone = plain_log_probs(small_model, short)
    padded = plain_log_probs(small_model, short + bytes([1]) * 80)
    assert abs(padded.mean() - alone.mean()) > 0.01
    assert abs(padded.sum() - alone.sum()) > 1
    assert found[short].mean() == pytest.approx(alone.mean(), abs=TOKEN_TOLERANCE)


def test_equal_lengths_have_the_mean_of_the_reference(small_model: Evo2ForCausalLM) -> None:
    rng = random.Random(4)
    sequences = ["".join(rng.choices("ACGT", k=40)) for _ in range(3)]
    expected = mean_scores(small_model, sequences, "float32")
    for sequence, mean in zip(sequences, expected, strict=True):
        readings = [LINEAR.list_readings(sequence.encode(), one) for one in LINEAR.strands]
        found = run_readings(
            small_model,
            [tokens for one in readings for tokens in one.tokens],
            prepend_bos=False,
            batch_tokens=1_000,
        )
        ours = [one.join(found).mean() for one in readings]
        assert sum(ours) / 2 == pytest.approx(mean, abs=TOKEN_TOLERANCE)


@pytest.mark.parametrize("strand", ["forward", "reverse"])
@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize(("length", "min_context"), [(2, 9), (3, 1), (7, 9), (20, 4), (21, 10)])
def test_each_base_of_a_circle_is_predicted_from_the_bases_before_it(
    small_model: Evo2ForCausalLM, strand: str, bos: bool, length: int, min_context: int
) -> None:
    """Base by base: from all bases since the origin, or from some before it and these."""
    circle = replace(LINEAR, min_context=min_context, prepend_bos=bos)
    bases = draw(random.Random(length), length)
    read = bases if strand == "forward" else reverse(bases)
    context = min(min_context, length // 2)
    expected = []
    for i in range(length):
        before = read[:i] if i >= context else read[length - context :] + read[:i]
        assert len(before) >= context
        expected.append(plain_log_probs(small_model, before + read[i : i + 1], bos=bos)[-1])
    readings = circle.list_readings(bases, "forward" if strand == "forward" else "reverse")
    found = run_readings(
        small_model, readings.tokens, prepend_bos=bos, batch_tokens=1_000, segment_length=16
    )
    log_probs = readings.join(found)
    assert len(log_probs) == length == circle.count_predicted(length)
    assert 2 * sum(map(len, readings.tokens)) == circle.count_tokens(length)
    np.testing.assert_allclose(log_probs, expected, atol=TOKEN_TOLERANCE)


@given(st.integers(0, 60), st.integers(0, 40))
def test_no_reading_of_a_circle_has_a_base_twice(length: int, min_context: int) -> None:
    bases = bytes(range(65, 65 + length))  # all different
    circle = replace(LINEAR, min_context=min_context)
    readings = circle.list_readings(bases, "forward")
    for tokens in readings.tokens:
        assert len(set(tokens)) == len(tokens)
        assert tokens in bases + bases
    assert (readings.origin is None) == (min(min_context, length // 2) == 0)


@given(st.lists(st.integers(1, 30), max_size=30), st.integers(1, 100))
def test_batches_keep_the_budget_and_leave_nothing_out(lengths: list[int], budget: int) -> None:
    readings = list(dict.fromkeys(bytes([65 + i] * n) for i, n in enumerate(lengths)))
    batches = plan_batches(readings, budget)
    assert sorted(one for batch in batches for one in batch) == sorted(readings)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget


def test_less_memory_gives_the_same_log_probs(
    small_model: Evo2ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(5)
    readings = [draw(rng, length) for length in (5, 70, 90, 90, 200, 300)]
    expected = run_readings(small_model, readings, prepend_bos=False, batch_tokens=2_000)
    run = sequence_batches.window_log_probs

    def run_if_small(model: Evo2ForCausalLM, windows: list[bytes], **options: object) -> object:
        at_once = min(max(map(len, windows)), int(str(options["segment_length"])))
        if len(windows) * at_once > 130:
            raise torch.OutOfMemoryError
        return run(model, windows, **options)

    monkeypatch.setattr(sequence_batches, "window_log_probs", run_if_small)
    halved: list[int] = []
    found = run_readings(
        small_model, readings, prepend_bos=False, batch_tokens=2_000, on_halving=halved.append
    )
    assert halved
    assert found.keys() == expected.keys()
    for tokens, log_probs in found.items():
        np.testing.assert_allclose(log_probs, expected[tokens], atol=TOKEN_TOLERANCE)
    monkeypatch.setattr(sequence_batches, "window_log_probs", lambda *_args, **_options: fail())
    with pytest.raises(torch.OutOfMemoryError):
        run_readings(small_model, readings, prepend_bos=False, batch_tokens=2_000)


def fail() -> None:
    raise torch.OutOfMemoryError


def test_a_value_that_is_not_finite_gives_no_score() -> None:
    assert score_reading(np.array([-1, np.nan], dtype=np.float32)) is None
    assert score_reading(np.array([-1, -np.inf], dtype=np.float32)) is None


# --- parts


def cut(bases: list[bytes], part_tokens: int, settings: ReadingSettings = LINEAR) -> list[int]:
    """Number of sequences of each part."""
    sequences = (SequenceToScore(row, one) for row, one in enumerate(bases))
    parts = list(slice_sequences(sequences, part_tokens, settings))
    assert [one.row for part in parts for one in part] == list(range(len(bases)))
    assert [one.bases for part in parts for one in part] == bases
    return [len(part) for part in parts]


def test_a_part_ends_at_its_tokens_and_equal_sequences_count_once() -> None:
    assert cut([b"A" * 10, b"C" * 10, b"G" * 10, b"T" * 10], 40) == [2, 2]
    assert cut([b"A" * 10] * 6, 40) == [6]
    assert cut([b"A" * 10] * 6, 40, replace(LINEAR, per_base=True)) == [2, 2, 2]
    assert cut([b"A" * 500, b"C"], 40) == [1, 1]
    assert cut([], 40) == []


def test_a_part_of_equal_sequences_holds_their_bases_once_and_has_an_end() -> None:
    copies = (SequenceToScore(row, bytes(bytearray(b"ACGT" * 10))) for row in range(MOST_ROWS + 1))
    first, second = slice_sequences(copies, 10**9, LINEAR)
    assert (len(first), len(second)) == (MOST_ROWS, 1)
    assert len({id(one.bases) for one in first}) == 1
