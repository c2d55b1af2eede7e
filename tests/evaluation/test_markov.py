"""The interpolated Markov model, on sequences short enough to count by hand."""

from collections import Counter

import numpy as np
import pytest

from training import markov
from training.markov import COMPLEMENT, MarkovModel, as_bases, haplotype_llr, train_markov

TEXTS = ["ACGTTGCAACGGTACA", "TTACGNACGAACC", "GA", "N"]


def reverse_complement(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def p_by_hand(texts: list[str], context: str, base: str, weight: float) -> float:
    """The formula of the module, by counting in text."""
    lower = 0.25 if not context else p_by_hand(texts, context[1:], base, weight)
    counts: Counter[str] = Counter()
    for text in texts + [reverse_complement(text) for text in texts]:
        for i in range(len(text) - len(context)):
            kmer = text[i : i + len(context) + 1]
            if kmer[:-1] == context and "N" not in kmer:
                counts[kmer[-1]] += 1
    if not counts:
        return lower
    kinds = weight * len(counts)
    return (counts[base] + kinds * lower) / (counts.total() + kinds)


@pytest.fixture(scope="module")
def model() -> MarkovModel:
    return train_markov(map(as_bases, TEXTS), order=3, lower_weight=2)


@pytest.mark.parametrize("text", ["ACGTACGGTTACA", "CCCCCC", "ACNGTNNACGTA", "N", "T"])
def test_probabilities_are_those_of_the_formula(model: MarkovModel, text: str) -> None:
    expected = []
    for i, base in enumerate(text):
        context = text[max(0, i - 3) : i].rpartition("N")[2]
        expected.append(
            np.nan if base == "N" else np.log(p_by_hand(TEXTS, context, base, weight=2))
        )
    np.testing.assert_allclose(model.log_probs(as_bases(text)), expected, rtol=1e-6)


def test_probabilities_of_the_four_bases_sum_to_one(model: MarkovModel) -> None:
    for table in model.tables:
        np.testing.assert_allclose(np.exp(table.reshape(-1, 4)).sum(axis=1), 1, rtol=1e-6)


def test_order_0_without_interpolation_is_the_composition() -> None:
    model = train_markov([as_bases("AAAC")], order=0, lower_weight=1e-9)
    np.testing.assert_allclose(np.exp(model.tables[0]), np.array([3, 1, 1, 3]) / 8, rtol=1e-6)


def test_it_learns_the_chain_that_made_the_sequence() -> None:
    # The next base is one of two.
    random = np.random.default_rng(1)
    steps = random.integers(2, size=200_000)
    states = np.cumsum(1 + steps) % 4
    text = np.array(list(b"ACGT"), dtype=np.uint8)[states]
    # Its reverse complement is counted too, so the truth is the mixture of both strands.
    both = np.concatenate([text, COMPLEMENT[text[::-1]]])
    p = np.zeros((4, 4))
    for strand in (text, COMPLEMENT[text[::-1]]):
        digits = markov.DIGITS[strand]
        np.add.at(p, (digits[:-1], digits[1:]), 1)
    share = p.sum(axis=1) / p.sum()
    p /= p.sum(axis=1, keepdims=True)
    entropy = -(share[:, None] * p * np.log2(p, out=np.zeros((4, 4)), where=p > 0)).sum()
    model = train_markov([text], order=1)
    bits = -np.nanmean(model.log_probs(both)) / np.log(2)
    assert bits == pytest.approx(entropy, abs=0.002)
    assert bits < 1.9


def test_a_lower_order_is_part_of_a_higher_one(model: MarkovModel) -> None:
    lower = train_markov(map(as_bases, TEXTS), order=1, lower_weight=2)
    assert model.truncate(1).order == 1
    for one, other in zip(model.truncate(1).tables, lower.tables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_bits_per_base_leave_out_first_bases_and_letters_that_are_no_base(
    model: MarkovModel,
) -> None:
    windows = [as_bases("ACGTN"), as_bases("TTGC\x01\x01")]
    log_probs = [model.log_probs(window) for window in windows]
    expected = -np.concatenate([log_probs[0][1:4], log_probs[1][1:4]]).mean() / np.log(2)
    assert model.bits_per_base(windows) == pytest.approx(expected)


def test_pieces_do_not_change_the_counts(
    model: MarkovModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markov, "PIECE_BASES", 3)
    again = train_markov(map(as_bases, TEXTS), order=3, lower_weight=2)
    for one, other in zip(model.tables, again.tables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_strand_is_as_good_as_the_other() -> None:
    text = "ACGGTTACGATCGATTACGGA" * 3
    forward = train_markov([as_bases(text)], order=4)
    reverse = train_markov([as_bases(reverse_complement(text))], order=4)
    for one, other in zip(forward.tables, reverse.tables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("ref", "alt"), [("A", "G"), ("AC", "A"), ("G", "GTT"), ("CG", "TA")])
def test_the_llr_is_that_of_whole_sequences_on_both_strands(
    model: MarkovModel, ref: str, alt: str
) -> None:
    left, right = "TTACGATGCA", "GGATTACAAC"
    total = {}
    for allele in (ref, alt):
        text = left + allele + right
        total[allele] = sum(
            model.log_probs(as_bases(strand)).sum() for strand in (text, reverse_complement(text))
        )
    llr = haplotype_llr(
        model, as_bases(left[-3:]), as_bases(ref), as_bases(alt), as_bases(right[:3])
    )
    assert llr == pytest.approx((total[alt] - total[ref]) / 2, abs=1e-5)
    swapped = haplotype_llr(
        model, as_bases(left[-3:]), as_bases(alt), as_bases(ref), as_bases(right[:3])
    )
    assert swapped == -llr


def test_an_n_beside_a_variant_is_left_out(model: MarkovModel) -> None:
    llr = haplotype_llr(model, as_bases("ANA"), as_bases("C"), as_bases("T"), as_bases("GNA"))
    assert np.isfinite(llr)
    assert llr != 0
