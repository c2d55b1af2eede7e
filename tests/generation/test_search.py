"""Guided search against its definition: no cache, no batches, the whole text in each call."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from transformers import LogitsProcessor, LogitsProcessorList

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.cache import BranchLayer
from evo2_tasks.generation.records import Candidate, GeneratedSequence
from evo2_tasks.generation.scorers import ScorerError, WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import GcContent, OrfLength
from evo2_tasks.generation.settings import SamplingSettings, SearchSettings
from evo2_tasks.scoring.likelihood import window_log_probs

from .plain_search import next_log_probs, search_plainly

PROMPT = "GATTACACCGGTTACGTAACTG"
GC = WeightedScorer("gc_content", GcContent(0.8))
ORF = WeightedScorer("orf_length", OrfLength(needs_start=False, frame=0), weight=0.01)


def make_model(operators: Sequence[str]) -> Evo2ForCausalLM:
    torch.manual_seed(3)
    config = Evo2Config(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        operators=operators,
        hyena_se_groups=4,
        hyena_mr_groups=4,
        initializer_range=0.4,
    )
    return Evo2ForCausalLM(config).eval()


def run(
    model: Evo2ForCausalLM, settings: SearchSettings, *scorers: WeightedScorer, **more: Any
) -> tuple[list[Candidate], list[GeneratedSequence]]:
    search = Search(model, PROMPT, settings, scorers, **more)
    candidates = [one for step in search.run() for one in step.candidates]
    return candidates, search.results()


@pytest.mark.parametrize(
    ("beam_width", "samples_per_beam", "num_sequences", "batch_size"),
    [(1, 1, 1, 1), (1, 1, 3, 2), (1, 4, 2, 3), (3, 1, 1, 32), (2, 3, 2, 5), (2, 3, 2, 32)],
)
@pytest.mark.parametrize(
    "operators",
    [["hyena_se", "hyena_mr", "hyena_li", "attention"], ["attention"], ["hyena_li", "hyena_mr"]],
    ids="-".join,
)
def test_a_search_is_its_definition(
    operators: list[str],
    beam_width: int,
    samples_per_beam: int,
    num_sequences: int,
    batch_size: int,
) -> None:
    model = make_model(operators)
    settings = SearchSettings(
        length=17,
        chunk_length=5,
        seed=4,
        num_sequences=num_sequences,
        beam_width=beam_width,
        samples_per_beam=samples_per_beam,
        batch_size=batch_size,
    )
    scorers = [GC, ORF] if beam_width * samples_per_beam > 1 else []
    found, results = run(model, settings, *scorers, prompt_number=2)
    expected = search_plainly(model, PROMPT, settings, scorers, prompt_number=2)
    assert [
        (one.sequence, one.step, one.candidate, one.parent, one.bases, one.rank) for one in found
    ] == [(one.sequence, one.step, one.candidate, one.parent, one.bases, one.rank)
          for one in expected]  # fmt: skip
    assert [one.start for one in found] == [5 * one.step for one in expected]
    for one, plain in zip(found, expected, strict=True):
        assert one.log_prob == pytest.approx(plain.log_prob, abs=1e-4)
        assert one.total == pytest.approx(plain.total, abs=1e-12)
        assert len(one.scores) == len(scorers)
    for result in results:
        whole = (PROMPT + result.bases).encode()
        log_probs = window_log_probs(model, [whole], prepend_bos=False)[0][len(PROMPT) - 1 :]
        assert len(result.bases) == 17
        assert result.status == "generated"
        assert result.log_prob == pytest.approx(log_probs.sum(), abs=1e-4)
        assert result.total == max(
            one.total for one in found if one.sequence == result.sequence and one.step == 3
        )


def test_plain_sampling_depends_on_neither_chunks_nor_scorers_nor_company(
    small_model: Evo2ForCausalLM,
) -> None:
    settings = SearchSettings(length=40, chunk_length=40, num_sequences=6, seed=9)
    _, whole = run(small_model, settings)
    for chunk_length, batch_size, num_sequences, scorers in (
        (1, 6, 6, ()),
        (7, 1, 6, (GC,)),
        (64, 4, 2, ()),
        (16, 32, 3, (GC, ORF)),
    ):
        other = replace(
            settings,
            chunk_length=chunk_length,
            batch_size=batch_size,
            num_sequences=num_sequences,
        )
        _, results = run(small_model, other, *scorers)
        assert [one.bases for one in results] == [one.bases for one in whole[:num_sequences]]
    assert len({one.bases for one in whole}) == 6
    _, of_other_seed = run(small_model, replace(settings, seed=10))
    assert not {one.bases for one in of_other_seed} & {one.bases for one in whole}
    _, of_other_prompt = run(small_model, settings, prompt_number=1)
    assert not {one.bases for one in of_other_prompt} & {one.bases for one in whole}


class OnlyBases(LogitsProcessor):
    """Keeps generation to the four bases."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(scores, -torch.inf)
        kept[:, list(b"ACGT")] = scores[:, list(b"ACGT")]
        return kept


def test_temperature_0_is_generate_without_sampling(small_model: Evo2ForCausalLM) -> None:
    settings = SearchSettings(length=60, chunk_length=13, sampling=SamplingSettings(temperature=0))
    _, results = run(small_model, settings)
    prompt = torch.tensor([list(PROMPT.encode())])
    output = small_model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=60,
        logits_processor=LogitsProcessorList([OnlyBases()]),
    )
    assert bytes(output[0, len(PROMPT) :].tolist()).decode() == results[0].bases
    _, likeliest = run(small_model, replace(settings, sampling=SamplingSettings(top_k=1)))
    assert likeliest[0].bases == results[0].bases


def test_the_first_letters_have_the_distribution_of_the_model(
    small_model: Evo2ForCausalLM,
) -> None:
    num = 4000
    settings = SearchSettings(length=1, num_sequences=num, batch_size=num, seed=1)
    _, results = run(small_model, settings)
    expected = torch.from_numpy(next_log_probs(small_model, PROMPT.encode())[list(b"ACGT")])
    expected = num * expected.softmax(-1).numpy()
    counts = [sum(one.bases == letter for one in results) for letter in "ACGT"]
    assert chisquare(counts, expected).pvalue > 0.001
    assert chisquare(counts, expected[[1, 0, 2, 3]]).pvalue < 1e-6  # the test can fail


@pytest.fixture
def guided() -> SearchSettings:
    return SearchSettings(
        length=32, chunk_length=8, beam_width=2, samples_per_beam=3, num_sequences=2, batch_size=5
    )


def veto(is_kept: Callable[[str], bool]) -> WeightedScorer:
    def score(sequences: Sequence[str], prompt: str) -> list[float]:
        return [float(one.count("G")) if is_kept(one) else -math.inf for one in sequences]

    return WeightedScorer("veto", score)


def test_minus_infinity_is_never_kept(small_model: Evo2ForCausalLM, guided: SearchSettings) -> None:
    found, results = run(small_model, guided, veto(lambda one: one.endswith(("A", "G"))), GC)
    assert any(one.total == -math.inf for one in found)
    assert all(one.bases.endswith(("A", "G")) for one in found if one.chosen)
    assert all(one.status == "generated" for one in results)


def test_a_search_without_a_candidate_ends_and_the_others_go_on(
    small_model: Evo2ForCausalLM, guided: SearchSettings
) -> None:
    settings = replace(guided, beam_width=1)
    _, unhindered = run(small_model, settings, veto(lambda one: True))
    start = unhindered[1].bases[:8]
    found, results = run(
        small_model, settings, veto(lambda one: len(one) <= 8 or not one.startswith(start))
    )
    assert [one.status for one in results] == ["generated", "no_candidate"]
    assert results[0].bases == unhindered[0].bases
    assert results[1].bases == start
    assert {one.step for one in found if one.sequence == 1} == {0, 1}


def test_all_searches_can_end(small_model: Evo2ForCausalLM, guided: SearchSettings) -> None:
    search = Search(small_model, PROMPT, guided, [veto(lambda one: len(one) < 20)])
    steps = list(search.run())
    assert [step.step for step in steps] == [0, 1, 2]
    assert search.is_finished
    assert [(one.status, len(one.bases)) for one in search.results()] == 2 * [("no_candidate", 16)]


def test_an_output_that_is_not_finite_is_never_kept(guided: SearchSettings) -> None:
    model = make_model(["hyena_se", "attention"])
    with torch.no_grad():
        model.model.embed_tokens.weight[ord("A")] = torch.nan
    prompt = PROMPT.replace("A", "C")
    settings = replace(guided, sampling=SamplingSettings(letters="CAGT"))
    search = Search(model, prompt, settings, [GC])
    found = [one for step in search.run() for one in step.candidates]
    # An A spoils what follows it, and the output matrix is the embedding.
    assert all(math.isnan(one.log_prob) and not one.chosen for one in found)
    assert all(one.status == "no_candidate" and not one.bases for one in search.results())


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda sequences, prompt: [0.0], "scorer bad: 1 number for 12 sequences; expected one"),
        (lambda sequences, prompt: [math.nan] * 12, "scorer bad: nan for a sequence of 8 bases"),
        (lambda sequences, prompt: [math.inf] * 12, "scorer bad: inf for a sequence of 8 bases"),
        (lambda sequences, prompt: sys.exit(0), "scorer bad: SystemExit: 0"),
        (lambda sequences, prompt: 1 / 0, "scorer bad: ZeroDivisionError: division by zero"),
        (lambda sequences, prompt: ["high"] * 12, "scorer bad: ValueError: could not convert"),
    ],
)
def test_a_scorer_that_gives_something_else_is_named(
    small_model: Evo2ForCausalLM, guided: SearchSettings, scorer: Any, message: str
) -> None:
    with pytest.raises(ScorerError, match=message):
        run(small_model, guided, WeightedScorer("bad", scorer))


def test_what_cannot_be_searched_is_refused(small_model: Evo2ForCausalLM) -> None:
    with pytest.raises(ValueError, match="there is no scorer to choose among so many candidates"):
        run(small_model, SearchSettings(length=5, samples_per_beam=2))
    with pytest.raises(ValueError, match="two scorers have one name"):
        run(small_model, SearchSettings(length=5), GC, GC)
    with pytest.raises(ValueError, match="the prompt is empty"):
        Search(small_model, "", SearchSettings(length=5))
    with pytest.raises(ValueError, match="other characters than ASCII"):
        Search(small_model, "ACGTÄ", SearchSettings(length=5))


def test_an_empty_prompt_begins_with_the_token_of_a_beginning(
    small_model: Evo2ForCausalLM,
) -> None:
    settings = SearchSettings(length=12, chunk_length=5, prepend_bos=True)
    search = Search(small_model, "", settings)
    list(search.run())
    (result,) = search.results()
    (log_probs,) = window_log_probs(small_model, [result.bases.encode()], prepend_bos=True)
    assert result.log_prob == pytest.approx(log_probs.sum(), abs=1e-4)


def test_keys_are_held_once_for_all_that_have_them_in_common(
    small_model: Evo2ForCausalLM,
) -> None:
    settings = SearchSettings(
        length=200, chunk_length=5, beam_width=6, samples_per_beam=2, batch_size=4
    )
    search = Search(small_model, PROMPT * 10, settings, [GC])
    most_own = 0
    while search.next_step < settings.num_steps - 1:
        search.run_step()
        layer = search._state.cache.layers[3]  # type: ignore[union-attr] # there is a state
        assert isinstance(layer, BranchLayer)
        tokens = [level.layer.get_seq_length() for level in layer.levels]
        rows = [len(level.layer.keys) for level in layer.levels]
        own = layer.own.get_seq_length() if layer.own is not None else 0
        assert tokens[0] == len(PROMPT) * 10
        assert sum(tokens) + own == len(PROMPT) * 10 + 5 * search.next_step
        assert rows == [1] * len(rows)  # the prompt, and what all six share
        most_own = max(most_own, own)
    assert most_own < 100  # of 195 bases


def test_a_long_prompt_goes_through_the_model_in_segments(small_model: Evo2ForCausalLM) -> None:
    settings = SearchSettings(length=30, num_sequences=2)
    _, whole = run(small_model, settings)
    _, in_segments = run(small_model, replace(settings, segment_length=5))
    assert [one.bases for one in in_segments] == [one.bases for one in whole]


def test_progress_counts_each_token_that_is_run_once(small_model: Evo2ForCausalLM) -> None:
    counts: list[int] = []
    settings = SearchSettings(length=20, chunk_length=6, num_sequences=3, batch_size=2)
    run(small_model, settings, on_tokens=counts.append)
    assert sum(counts) == 3 * (20 - 1)  # nothing follows the last base
    assert set(counts) == {1, 2}
