"""Numbers of words, compared with a plain loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.genome.words import WORDS, count_words, gc_of_words, word_distance


@given(st.text("ACGTN", max_size=40), st.integers(1, 7))
def test_words_are_those_of_a_plain_loop(bases: str, piece: int) -> None:
    pieces = [bases[i : i + piece] for i in range(0, len(bases), piece)]
    places = [bases[i : i + 3] for i in range(len(bases) - 2)]
    expected = [places.count(word) for word in WORDS]
    assert count_words(pieces).tolist() == expected


def test_the_distance_is_0_for_equal_shares_and_1_without_a_common_word() -> None:
    one = count_words(["ACGACGA"])
    assert word_distance(one, 3 * one) == pytest.approx(0)
    assert word_distance(one, count_words(["TTTTT"])) == pytest.approx(1)
    assert word_distance(count_words(["AAAC"]), count_words(["AAAA"])) == pytest.approx(0.5)
    assert word_distance(one, count_words(["AC"])) is None
    assert gc_of_words(count_words(["GCGAA"])) == pytest.approx(1)
    assert gc_of_words(count_words([])) is None
