"""With the same number of sampled bases, guided search reaches a target better than samples do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.generation.scorers import Scorer, WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import GcPattern, OrfLength
from evo2_tasks.generation.settings import SearchSettings

ROOT = Path(__file__).parent.parent.parent
PROMPT = "".join((ROOT / "data" / "rCRS.fa").read_text().splitlines()[1:5])
NUM_SEARCHES, BUDGET, LENGTH = 4, 4, 240


@pytest.fixture(scope="module")
def mini() -> Evo2ForCausalLM:
    folder = ROOT / "evo2_tasks" / "checkpoints" / "evo2-mini"
    return Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def samples(mini: Evo2ForCausalLM) -> list[str]:
    settings = SearchSettings(length=LENGTH, num_sequences=NUM_SEARCHES * BUDGET, seed=1)
    search = Search(mini, PROMPT, settings)
    list(search.run())
    return [one.bases for one in search.results()]


@pytest.mark.parametrize(
    "scorer",
    [GcPattern((0.3, 0.6), 16), OrfLength(1, needs_start=False, frame=0)],
    ids=["windows of GC content", "frame without stop codons"],
)
def test_guided_search_beats_as_many_samples(
    mini: Evo2ForCausalLM, samples: list[str], scorer: Scorer
) -> None:
    settings = SearchSettings(
        length=LENGTH,
        chunk_length=16,
        num_sequences=NUM_SEARCHES,
        beam_width=2,
        samples_per_beam=BUDGET // 2,
        seed=1,
    )
    search = Search(mini, PROMPT, settings, [WeightedScorer("target", scorer)])
    list(search.run())
    guided = np.mean([one.total for one in search.results()])
    plain = np.reshape(scorer(samples, PROMPT), (NUM_SEARCHES, BUDGET))
    assert guided > plain.max(axis=1).mean() > plain.mean()
