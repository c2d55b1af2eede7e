"""Scorers of sequences against plain loops."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.generation.functions import load_function
from evo2_tasks.generation.likelihood import Likelihood, group_by_beginning
from evo2_tasks.generation.scorers import ScorerError, Scores, WeightedScorer, score_sequences
from evo2_tasks.generation.sequence_scorers import (
    BUILT_IN,
    IUPAC,
    EditDistance,
    GcContent,
    GcPattern,
    Motif,
    OrfLength,
    Peaks,
    RepeatContent,
)
from evo2_tasks.genome.orfs import STOP_CODONS
from evo2_tasks.scoring.likelihood import window_log_probs

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}

dna = st.text("ACGT", min_size=1, max_size=60)
few_letters = st.text("AC", min_size=1, max_size=40)  # with many repeats


def reverse(sequence: str) -> str:
    return "".join(COMPLEMENT[base] for base in reversed(sequence))


@given(dna, st.floats(0, 1))
def test_gc_content(sequence: str, target: float) -> None:
    share = sum(base in "GC" for base in sequence) / len(sequence)
    assert GcContent(target)([sequence], "") == [-abs(share - target)]


@given(dna, st.lists(st.floats(0, 1), min_size=1, max_size=3), st.integers(1, 20))
def test_gc_pattern(sequence: str, targets: list[float], window: int) -> None:
    total, start = 0.0, 0
    while start < len(sequence):
        piece = sequence[start : start + window]
        share = sum(base in "GC" for base in piece) / len(piece)
        total += abs(share - targets[start // window % len(targets)]) * len(piece)
        start += window
    (score,) = GcPattern(tuple(targets), window)([sequence], "")
    assert score == pytest.approx(-total / len(sequence), abs=1e-12)


@given(
    st.text("ACG", min_size=1, max_size=40),
    st.text("ACRWN", min_size=1, max_size=4),
    st.sampled_from(["both", "forward"]),
)
def test_motif(sequence: str, motif: str, strands: Any) -> None:
    def matches(piece: str) -> bool:
        return all(base in IUPAC[letter] for base, letter in zip(piece, motif, strict=True))

    places = [
        sequence[start : start + len(motif)] for start in range(len(sequence) - len(motif) + 1)
    ]
    number = sum(
        matches(piece) or (strands == "both" and matches(reverse(piece))) for piece in places
    )
    assert Motif(motif, strands=strands)([sequence], "") == [number]
    assert Motif(motif.lower(), 2, strands)([sequence], "") == [-abs(number - 2)]


def longest_plainly(
    sequence: str, code: int, starts: set[str], *, needs_start: bool, forward: bool, frames: range
) -> int:
    longest = 0
    for read in [sequence] if forward else [sequence, reverse(sequence)]:
        for frame in frames:
            length, is_open = 0, not needs_start
            for place in range(frame, len(read) - 2, 3):
                codon = read[place : place + 3]
                if codon in STOP_CODONS[code]:
                    length, is_open = 0, not needs_start
                    continue
                is_open = is_open or codon in starts
                length += 3 * is_open
                longest = max(longest, length)
    return longest


@given(st.text("ATG", min_size=1, max_size=80), st.booleans(), st.booleans())
def test_orf_length(sequence: str, needs_start: bool, forward: bool) -> None:
    scorer = OrfLength(2, "forward" if forward else "both", needs_start)
    starts = {"ATA", "ATC", "ATG", "ATT", "GTG"}
    expected = longest_plainly(
        sequence, 2, starts, needs_start=needs_start, forward=forward, frames=range(3)
    )
    assert scorer([sequence], "") == [expected]
    for frame in (0, 1, 2):
        expected = longest_plainly(
            sequence,
            2,
            starts,
            needs_start=needs_start,
            forward=True,
            frames=range(frame, frame + 1),
        )
        scorer = OrfLength(2, "both", needs_start, frame)  # type: ignore[arg-type] # one of three
        assert scorer([sequence], "") == [expected]


def infix_distance_plainly(query: str, target: str) -> int:
    before = [0] * (len(target) + 1)  # a stretch of the target may begin anywhere
    for number, base in enumerate(query, 1):
        now = [number]
        for place, other in enumerate(target, 1):
            now.append(min(before[place - 1] + (base != other), before[place] + 1, now[-1] + 1))
        before = now
    return min(before)


@given(dna, dna, st.sampled_from(["both", "forward"]), st.none() | st.floats(0, 1))
def test_edit_distance(sequence: str, given_one: str, strands: Any, target: float | None) -> None:
    distances = [infix_distance_plainly(sequence, given_one)]
    if strands == "both":
        distances.append(infix_distance_plainly(sequence, reverse(given_one)))
    share = min(distances) / len(sequence)
    expected = share if target is None else -abs(share - target)
    assert EditDistance(given_one, target, strands)([sequence], "") == [expected]


def test_a_copy_of_a_part_has_the_distance_0() -> None:
    given_one = "GATTACATTTGCCGATA"
    scorer = EditDistance(given_one)
    assert scorer([given_one[3:12], reverse(given_one[2:9]), "GGGGGG"], "") == [0, 0, 4 / 6]


@given(few_letters | st.text("ACGTN", min_size=1, max_size=40), st.integers(1, 6))
def test_repeat_content(sequence: str, k: int) -> None:
    places = range(len(sequence) - k + 1)
    kmers = {place: sequence[place : place + k] for place in places}
    kmers = {place: kmer for place, kmer in kmers.items() if "N" not in kmer}
    counts = Counter(min(kmer, reverse(kmer)) for kmer in kmers.values())
    repeated = {
        base
        for place, kmer in kmers.items()
        if counts[min(kmer, reverse(kmer))] > 1
        for base in range(place, place + k)
    }
    assert RepeatContent(k, 0.25)([sequence], "") == [-abs(len(repeated) / len(sequence) - 0.25)]


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], None]:
    """Writes a module of the user's own, which is forgotten at the end."""

    def write(text: str) -> None:
        (tmp_path / "my_scorers.py").write_text(text)

    yield write  # type: ignore[misc] # a fixture
    sys.modules.pop("my_scorers", None)


def test_peaks(module: Callable[[str], None], tmp_path: Path) -> None:
    module(
        "def predict(sequences, prompt):\n"
        "    return [[10 * (base == 'G') + (base == 'C') for base in one] for one in sequences]\n"
    )
    scorer = Peaks("my_scorers:predict", ((2, 4), (6, 7)), 1, 9, tmp_path)
    ideal, constant, partial, half = scorer(["AAGGAAGA", "GGGGGGGG", "A", "AAGAAAGG"], "")
    assert (ideal, constant, partial) == (1.0, 0.5, 1.0)
    assert half == pytest.approx((2 / 3 + 4 / 5) / 2)
    (linear,) = Peaks("my_scorers:predict", ((0, 1),), 0, 20, tmp_path)(["GC"], "")
    assert linear == pytest.approx((10 / 20 + 1 - 1 / 20) / 2)
    module("def predict(sequences, prompt):\n    return [[1.0] for one in sequences]\n")
    sys.modules.pop("my_scorers")
    wrong = Peaks("my_scorers:predict", (), 0, 1, tmp_path)
    with pytest.raises(ValueError, match=r"an array of shape \(1,\) for 4 bases"):
        wrong(["ACGT"], "")


def test_a_function_of_the_user_is_found_in_the_folder(
    module: Callable[[str], None], tmp_path: Path
) -> None:
    module(
        "def count_boxes(sequences, prompt):\n"
        "    return [one.count('TATAAA') for one in sequences]\n"
    )
    loaded = load_function("my_scorers:count_boxes", tmp_path)
    assert loaded.file == tmp_path / "my_scorers.py"
    assert len(loaded.digest) == 64
    assert str(tmp_path) not in sys.path
    scorers = [WeightedScorer("boxes", loaded.function, 2.0), WeightedScorer("gc", GcContent(0.5))]
    assert score_sequences(scorers, ["TATAAATATAAA", "GCGC"], "A") == [
        Scores((2.0, -0.5), 3.5),
        Scores((0.0, -0.5), -0.5),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("count_boxes", "", "'count_boxes' is not of the form module:function"),
        ("my-scorers:f", "", "'my-scorers:f' is not of the form module:function"),
        ("my_scorers:f()", "", "is not of the form module:function"),
        ("no_such_module:f", "", "'no_such_module:f': there is no module no_such_module in "),
        ("my_scorers:f", "g = 1", "'my_scorers:f': the module has no function f"),
        ("my_scorers:g", "g = 1", "'my_scorers:g': the module has no function g"),
        ("my_scorers:f", "import no_such_module", "the module imports no_such_module, which is"),
        ("my_scorers:f", "1 / 0", "importing the module failed: ZeroDivisionError: division"),
        ("my_scorers:f", "raise SystemExit", "importing the module failed: SystemExit"),
        ("my_scorers:f", "def f(:", "importing the module failed: SyntaxError: "),
        ("sys:exit", "", "'sys:exit': the module has no file"),
    ],
)
def test_a_function_that_cannot_be_had_is_named(
    module: Callable[[str], None], tmp_path: Path, name: str, text: str, message: str
) -> None:
    module(text)
    with pytest.raises(ValueError, match=r"^'") as raised:
        load_function(name, tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gc_content", {"target": 1.5}, "target is 1.5; expected a share from 0 to 1."),
        ("gc_pattern", {"targets": [], "window": 5}, "targets is []; expected one or more"),
        ("gc_pattern", {"targets": [0.5], "window": 0}, "window is 0; expected 1 or more."),
        ("motif", {"motif": "TATAX"}, "motif is 'TATAX'; expected one or more of the letters A"),
        ("motif", {"motif": "TATA", "count": -1}, "count is -1; expected 0 or more."),
        ("motif", {"motif": "A", "strands": "reverse"}, "strands is reverse; expected both or"),
        ("orf_length", {"genetic_code": 7}, "genetic_code is 7; expected one of 1, 2, 3"),
        ("orf_length", {"frame": 3}, "frame is 3; expected 0, 1 or 2."),
        ("edit_distance", {"sequence": ""}, "sequence is ''; expected the letters of one or more"),
        ("edit_distance", {"sequence": "ACGT", "target": 2}, "target is 2; expected from 0 to 1."),
        ("repeat_content", {"k": 32}, "k is 32; expected 1 to 31."),
        (
            "peaks",
            {"predictor": "a:b", "peaks": [[3, 3]], "low": 0, "high": 1},
            "peaks is [[3, 3]]; expected pairs of a first base and a base after the last one",
        ),
        (
            "peaks",
            {"predictor": "a:b", "peaks": [], "low": 1, "high": 1},
            "low is 1; expected less than high, which is 1.",
        ),
    ],
)
def test_settings_without_a_meaning_are_refused(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="; expected ") as raised:
        BUILT_IN[name](**settings)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(("first", "second"), [(1e308, 1e308), (1e308, -1e308), (-1e308, 0)])
def test_a_sum_that_is_not_finite_is_refused(first: float, second: float) -> None:
    scorers = [
        WeightedScorer(name, lambda sequences, prompt, value=value: [value], 10.0)  # type: ignore[misc] # a value of its own
        for name, value in (("one", first), ("two", second))
    ]
    with pytest.raises(ScorerError, match=r"^scorers one, two: the sum .* is not finite; expected"):
        score_sequences(scorers, ["A"], "")


def test_a_weight_is_a_number_other_than_0() -> None:
    for weight in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^gc: weight is .*; expected a number other than 0"):
            WeightedScorer("gc", GcContent(0.5), weight)


def test_each_built_in_scorer_explains_its_settings() -> None:
    for scorer in BUILT_IN.values():
        for field in fields(scorer):  # type: ignore[arg-type] # all are dataclasses
            if field.init:
                assert f"        {field.name}: " in (scorer.__doc__ or "")


@pytest.mark.parametrize("prepend_bos", [False, True])
@pytest.mark.parametrize("prompt", ["G", "GATTACA"])
@pytest.mark.parametrize("batch_tokens", [1, 40, 65_536])
def test_likelihood_is_that_of_whole_sequences(
    small_model: Evo2ForCausalLM, prompt: str, prepend_bos: bool, batch_tokens: int
) -> None:
    sequences = [
        *("ACGTACGTAC", "ACGTACGTGG", "ACGTACGTGGA", "ACGTACGT", "TTGACA", "TTGAAA", "C"),
        *("GGG", "ACGTACGTGG"),
    ]
    scorer = Likelihood(
        small_model, batch_tokens=batch_tokens, segment_length=4, prepend_bos=prepend_bos
    )
    found = scorer(sequences, prompt)
    again = scorer(sequences, prompt)
    assert found == again
    for sequence, score in zip(sequences, found, strict=True):
        (log_probs,) = window_log_probs(
            small_model, [(prompt + sequence).encode()], prepend_bos=prepend_bos
        )
        assert score == pytest.approx(log_probs[-len(sequence) :].mean(), abs=1e-5)
    (other,) = scorer(["ACGT"], "C" + prompt)
    (expected,) = Likelihood(small_model, prepend_bos=prepend_bos)(["ACGT"], "C" + prompt)
    assert other == pytest.approx(expected, abs=1e-5)


def test_a_common_beginning_goes_through_the_model_once(small_model: Evo2ForCausalLM) -> None:
    num_tokens = []

    def count(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        num_tokens.append(kwargs["input_ids"].numel())

    hook = small_model.model.register_forward_hook(count, with_kwargs=True)
    sequences = ["ACGT" * 100 + end for end in ("AAAA", "CCCC", "GGGG", "TTTT")]
    Likelihood(small_model)(sequences, "GATTACA")
    hook.remove()
    assert sum(num_tokens) == 6 + 400 + 4 * 4


@given(st.lists(st.text("AC", min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
def test_groups_share_at_least_half(texts: list[str]) -> None:
    sequences = sorted(text.encode() for text in texts)
    groups = group_by_beginning(sequences)
    assert [one for group in groups for one in group] == sequences
    for group in groups:
        for before, one in pairwise(group):
            shared = sum(
                before[:num] == one[:num] for num in range(1, min(len(before), len(one)) + 1)
            )
            assert 2 * shared >= max(len(before), len(one))


def test_a_user_may_write_a_scorer_as_a_class(small_model: Evo2ForCausalLM) -> None:
    class Shortest:
        def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
            return [-len(prompt + one) for one in sequences]

    (scores,) = score_sequences([WeightedScorer("short", Shortest(), -1.0)], ["ACGT"], "AC")
    assert scores == Scores((-6.0,), 6.0)
