"""The registry of read-outs, with one of the test's own: largest drop of one token's log_prob."""

from dataclasses import dataclass, fields

import pytest

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.runtime.canaries import canary_pairs
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.embeddings import Embeddings
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.readouts import OUTPUTS, READOUTS, SUMS, ReadOut, Records, WindowOutput
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.schema import SCORE_COLUMNS


@dataclass(frozen=True)
class Drop:
    drop: float


@dataclass(frozen=True)
class Drops:
    name: str = "drops"
    columns: tuple[str, ...] = ("drop",)
    needs: frozenset[str] = frozenset({"log_probs"})

    def read(
        self, pair: WindowPair, ref: WindowOutput, alt: WindowOutput, *, horizon: bool
    ) -> Drop | None:
        return Drop(float((ref.log_probs - alt.log_probs)[pair.prefix - 1 :].max()))


def score(model: Evo2ForCausalLM, readouts: list[ReadOut]) -> Records:
    return score_part(
        model, canary_pairs(), readouts, batch_tokens=4096, horizon=False, prepend_bos=False
    )


def test_every_readout_fills_fields_of_its_record_from_outputs_of_a_pass() -> None:
    made = [SUMS, Embeddings(("norm",), 3), Profile(3)]
    assert {readout.name: type(readout) for readout in made} == READOUTS
    for readout in made:
        assert readout.needs <= OUTPUTS
    assert {field.name for field in fields(WindowOutput)} == OUTPUTS
    assert SUMS.columns == tuple(field.name for field in fields(Score)) == SCORE_COLUMNS


def test_another_readout_has_its_records_and_changes_no_score(small_model: Evo2ForCausalLM) -> None:
    alone = score(small_model, [SUMS]).of(SUMS)
    drops = Drops()
    both = score(small_model, [SUMS, drops])
    assert both.of(SUMS) == alone
    for pair, found in zip(canary_pairs(), both.of(drops), strict=True):
        ref, alt = (
            window_log_probs(small_model, [seq], prepend_bos=False)[0]
            for seq in (pair.ref_seq, pair.alt_seq)
        )
        assert found.drop == pytest.approx(max(ref - alt), abs=1e-4)


def test_a_readout_that_was_not_made_has_no_records(small_model: Evo2ForCausalLM) -> None:
    with pytest.raises(KeyError):
        score(small_model, [Drops()]).of(SUMS)


def test_a_readout_that_needs_what_no_pass_gives_is_refused(small_model: Evo2ForCausalLM) -> None:
    layers = Drops(needs=frozenset({"log_probs", "hidden_states"}))
    with pytest.raises(ValueError, match="drops needs hidden_states, which a pass does not give"):
        score(small_model, [layers])
