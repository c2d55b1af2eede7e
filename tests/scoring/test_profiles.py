"""Profiles: token by token from whole windows, each run alone; their sum is the score."""

import numpy as np
import pytest

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.genome.reference import Reference
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.readouts import SUMS, WindowOutput
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from tests.scoring.drawn_pairs import SETTINGS, draw_pairs


def plain_profile(model: Evo2ForCausalLM, pair: WindowPair, *, bos: bool) -> list[float]:
    """The profile by its definition, one token after the other."""
    num = len(pair.ref_seq)
    ref, alt = (
        dict(zip(range(1 - bos, num), map(float, log_probs), strict=True))
        for log_probs in window_log_probs(model, [pair.ref_seq, pair.alt_seq], prepend_bos=bos)
    )
    values = []
    for i in range(max(pair.num_ref, pair.num_alt)):
        at = pair.prefix + i
        if at < num:
            values.append(
                (alt[at] if i < pair.num_alt else 0.0) - (ref[at] if i < pair.num_ref else 0.0)
            )
    after_ref = list(range(pair.prefix + pair.num_ref, num))
    after_alt = list(range(pair.prefix + pair.num_alt, num))
    for i in range(max(len(after_ref), len(after_alt))):
        one = alt[after_alt[i]] if i < len(after_alt) else 0.0
        other = ref[after_ref[i]] if i < len(after_ref) else 0.0
        values.append(one - other)
    return values


@pytest.mark.parametrize("name", SETTINGS)
def test_a_profile_is_token_by_token_what_the_score_sums(
    small_model: Evo2ForCausalLM, genome: Reference, name: str
) -> None:
    chosen = SETTINGS[name]
    pairs = draw_pairs(genome, chosen, 60, seed=21)
    assert {np.sign(pair.num_ref - pair.num_alt) for pair in pairs} == {-1, 0, 1}
    options = {"horizon": chosen.horizon is not None, "prepend_bos": chosen.prepend_bos}
    whole, short = Profile(1 << 20), Profile(10)
    records = score_part(small_model, pairs, [SUMS, whole], batch_tokens=900, **options)
    cut = score_part(small_model, pairs, [short], batch_tokens=900, **options).of(short)
    for pair, score, record, first in zip(
        pairs, records.of(SUMS), records.of(whole), cut, strict=True
    ):
        assert record.values.dtype == np.float32
        expected = plain_profile(small_model, pair, bos=chosen.prepend_bos)
        np.testing.assert_allclose(record.values, expected, rtol=0, atol=5e-5)
        total = np.abs(record.values.astype(np.float64)).sum()
        assert record.values.sum(dtype=np.float64) == pytest.approx(score.llr, abs=1e-7 * total)
        assert (first.values == record.values[:10]).all()


def test_a_profile_that_is_not_finite_is_none() -> None:
    pair = WindowPair(0, "forward", b"ACGTACGT", b"ACTTACGT", 2, 1, 1)
    good = WindowOutput(np.zeros(7, np.float32))
    for value in (np.nan, np.inf, -np.inf):
        bad = WindowOutput(np.array([0, 0, 0, 0, 0, 0, value], np.float32))
        assert Profile(2).read(pair, good, bad, horizon=False) is None
        assert Profile(2).read(pair, bad, good, horizon=False) is None
    assert len(Profile(2).read(pair, good, good, horizon=False).values) == 2
