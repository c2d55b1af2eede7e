"""Values of tracks, compared with whole windows that go through the model one at a time."""

import random

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.scoring.score import SHORTEST_SEGMENT
from evo2_tasks.scoring.track_values import NUM_VALUES, combine_strands, complement
from evo2_tasks.scoring.tracks import TrackWindow, score_windows

TOLERANCE = 2e-5  # float32 in batches of other shapes


def draw_windows(num: int) -> list[TrackWindow]:
    rng = random.Random(7)
    windows = []
    for _ in range(num):
        length = rng.choice([1, 2, 17, 150])
        tokens = "".join(rng.choices("ACGTNR", weights=[8, 8, 8, 8, 1, 1], k=length)).encode()
        # The last token is always wanted: the windows end there.
        wanted = {*rng.sample(range(length), rng.randint(0, length - 1)), length - 1}
        windows.append(TrackWindow(tokens, np.array(sorted(wanted), dtype=np.int64)))
    return [*windows, TrackWindow(windows[-1].tokens, np.array([len(windows[-1].tokens) - 1]))]


def plain_values(model: Evo2ForCausalLM, window: TrackWindow, *, bos: bool) -> np.ndarray:
    ids = torch.tensor([([0] if bos else []) + list(window.tokens)])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    rows = []
    for offset in window.offsets:
        if offset == 0 and not bos:
            rows.append([np.nan] * NUM_VALUES)
            continue
        before = logits[offset - 1 + bos]
        probs = [before[base].exp().item() for base in b"ACGT"]
        four = [np.log(prob / sum(probs)) for prob in probs]
        rows.append([*four, before.log_softmax(-1)[window.tokens[offset]].item()])
    return np.array(rows)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize(("batch_tokens", "segment_length"), [(1, 10**6), (400, 10**6), (400, 64)])
def test_values_are_those_of_each_window_alone(
    small_model: Evo2ForCausalLM, bos: bool, batch_tokens: int, segment_length: int
) -> None:
    windows = draw_windows(12)
    calls: list[tuple[int, int]] = []
    found = score_windows(
        small_model,
        windows,
        batch_tokens=batch_tokens,
        segment_length=segment_length,
        prepend_bos=bos,
        on_call=lambda num, tokens: calls.append((num, tokens)),
        on_halving=lambda _: pytest.fail("memory is not short"),
    )
    distinct = {window.tokens for window in windows}
    assert sum(num for num, _ in calls) == len(distinct) < len(windows)
    assert sum(tokens for _, tokens in calls) == sum(map(len, distinct))
    for window, values in zip(windows, found, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(
            values, plain_values(small_model, window, bos=bos), atol=TOLERANCE
        )


def test_memory_that_is_short_gives_smaller_batches_and_segments(
    small_model: Evo2ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = draw_windows(12)
    expected = score_windows(small_model, windows, batch_tokens=10**6, prepend_bos=False)
    run = type(small_model.model).forward

    def forward(self: torch.nn.Module, input_ids: torch.Tensor, **options: object) -> object:
        if input_ids.numel() > SHORTEST_SEGMENT:
            raise torch.OutOfMemoryError
        return run(self, input_ids=input_ids, **options)

    halvings: list[int] = []
    monkeypatch.setattr(type(small_model.model), "forward", forward)
    found = score_windows(
        small_model, windows, batch_tokens=10**6, prepend_bos=False, on_halving=halvings.append
    )
    assert halvings
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)
    monkeypatch.setattr(
        type(small_model.model),
        "forward",
        lambda *_args, **_options: (_ for _ in ()).throw(torch.OutOfMemoryError()),
    )
    with pytest.raises(torch.OutOfMemoryError):
        score_windows(small_model, windows, batch_tokens=10**6, prepend_bos=False)


def test_strands_are_combined_by_the_mean_of_their_logits() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=3, size=(2, 40, 4))
    shifts = rng.normal(scale=50, size=(2, 40, 1))
    four = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    tokens = rng.normal(size=(2, 40, 1))
    strands = [*np.concatenate([four, tokens], axis=2).astype(np.float32)]
    strands[0][0] = strands[1][1] = strands[0][2] = strands[1][2] = np.nan
    found = combine_strands(strands)
    mean = (logits + shifts).mean(axis=0)
    mean[0], mean[1] = logits[1, 0], logits[0, 1]
    probs = np.exp(mean - mean.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    entropy = -(probs * np.log2(probs)).sum(axis=1)
    logp_ref = tokens.mean(axis=0)[:, 0]
    logp_ref[0], logp_ref[1] = tokens[1, 0, 0], tokens[0, 1, 0]
    entropy[2] = logp_ref[2] = np.nan
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-5)
    np.testing.assert_allclose(found.logp_ref, logp_ref, atol=1e-6)


def test_entropy_stays_between_0_and_2() -> None:
    flat = np.log(np.full((1, 5), 0.25, dtype=np.float32))
    sure = np.array([[0, -200, -200, -200, 0]], dtype=np.float32)
    assert combine_strands([flat, flat]).entropy.tolist() == [2.0]
    assert str(combine_strands([sure]).entropy[0]) == "0.0"


def test_the_complement_swaps_a_and_t_and_c_and_g() -> None:
    assert complement(np.array([[1, 2, 3, 4, 5]], dtype=np.float32)).tolist() == [[4, 3, 2, 1, 5]]
