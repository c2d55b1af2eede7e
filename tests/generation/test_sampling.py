"""Draws and sampling of letters, compared with transformers and with plain formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from evo2_tasks.generation.draws import draw_uniform
from evo2_tasks.generation.sampling import choose_letters, letter_probabilities
from evo2_tasks.generation.settings import SamplingSettings, SearchSettings

logits_of_4 = st.lists(
    st.floats(-20, 20, width=32, allow_subnormal=False), min_size=4, max_size=4, unique=True
)


@given(
    logits_of_4,
    st.floats(0.1, 4),
    st.none() | st.integers(1, 6),
    st.none() | st.floats(0.05, 1),
)
def test_probabilities_are_those_of_transformers(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    settings = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    scores = torch.tensor([logits])
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p is not None and top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(None, scores).softmax(-1)
    found = letter_probabilities(scores, settings)
    if top_p is not None:  # a letter on the edge may be kept or not, by rounding
        cumulative = expected.sort(descending=True).values.cumsum(-1)
        if (cumulative - top_p).abs().min() < 1e-5 or len(expected[expected > 0]) == 1:
            return
        if not torch.equal(found > 0, expected > 0):
            whole = letter_probabilities(scores, SamplingSettings(temperature, top_k))
            edges = whole.sort(descending=True).values.cumsum(-1)
            assert (edges - top_p).abs().min() < 1e-5
            return
    assert torch.allclose(found, expected, atol=1e-6)


@given(logits_of_4, st.integers(0, 2**24 - 1), st.none() | st.integers(1, 3))
def test_a_letter_is_where_its_number_falls_in_the_cumulative_probability(
    logits: list[float], number: int, top_k: int | None
) -> None:
    settings = SamplingSettings(top_k=top_k)
    scores, uniform = torch.tensor([logits]), torch.tensor([number / 2**24])
    chosen = int(choose_letters(scores, uniform, settings))
    probabilities = letter_probabilities(scores, settings)[0].double()
    assert probabilities[chosen] > 0
    assert probabilities[:chosen].sum() <= uniform.double() + 1e-6
    assert probabilities[: chosen + 1].sum() >= uniform.double() - 1e-6


def test_the_largest_number_draws_a_letter_of_positive_probability() -> None:
    uniform = torch.tensor([1 - 2.0**-24])
    for seed in range(2000):
        logits = 5 * torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
        for top_k in (1, 2, 3, None):
            settings = SamplingSettings(top_k=top_k)
            chosen = choose_letters(logits, uniform, settings)
            assert letter_probabilities(logits, settings)[0, chosen] > 0


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 5e-324])
def test_a_temperature_near_0_takes_the_likeliest_letter(temperature: float) -> None:
    settings = SamplingSettings(temperature=temperature)
    logits = torch.tensor([[-9.0, -3.0, -6.0, -5.0], [9.0, 1.0, 9.0, -torch.inf]])
    expected = torch.tensor([[0.0, 1, 0, 0], [0.5, 0, 0.5, 0]])
    assert torch.equal(letter_probabilities(logits, settings), expected)
    assert choose_letters(logits, torch.tensor([0.9, 0.9]), settings).tolist() == [1, 2]


def test_of_equally_likely_letters_temperature_0_takes_the_first() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
    assert choose_letters(logits, torch.tensor([0.99]), SamplingSettings(temperature=0)) == 1


@given(st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))
def test_a_number_depends_on_its_position_alone(start: int, first: int, second: int) -> None:
    whole = draw_uniform(7, 1, 2, 3, start, first + second)
    parts = draw_uniform(7, 1, 2, 3, start, first), draw_uniform(7, 1, 2, 3, start + first, second)
    assert np.array_equal(whole, np.concatenate(parts))


def test_numbers_are_uniform_and_streams_differ() -> None:
    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (-1, 0, 0, 0)]
    streams = [draw_uniform(*key, 0, 5000) for key in keys]
    for stream in streams:
        assert kstest(stream, "uniform").pvalue > 0.001
        assert stream.min() >= 0
        assert stream.max() < 1
    correlation = np.corrcoef(streams) - np.eye(len(keys))
    assert np.abs(correlation).max() < 0.06


def test_seeds_give_the_same_numbers_in_later_versions() -> None:
    found = draw_uniform(1, 0, 0, 0, 2, 3) * 2**24
    assert found.tolist() == [12090674, 6707259, 4531979]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more."),
        ({"temperature": float("nan")}, "temperature is nan; expected 0 or more."),
        ({"top_k": 0}, "top_k is 0; expected 1 or more."),
        ({"top_p": 0.0}, "top_p is 0.0; expected above 0, at most 1."),
        ({"letters": "AA"}, "letters is 'AA'; expected printable ASCII characters, each once."),
        ({"letters": ""}, "letters is ''; expected printable ASCII characters, each once."),
    ],
)
def test_sampling_settings_without_a_meaning_are_refused(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.") + "$"):
        SamplingSettings(**settings)  # type: ignore[arg-type] # that is what is tested


def test_search_settings_count_steps_and_bases() -> None:
    settings = SearchSettings(length=300, chunk_length=128)
    assert settings.num_steps == 3
    assert [settings.count_bases(step) for step in range(3)] == [128, 128, 44]
    with pytest.raises(ValueError, match=r"^beam_width is 0; expected 1 or more\.$"):
        SearchSettings(length=1, beam_width=0)
