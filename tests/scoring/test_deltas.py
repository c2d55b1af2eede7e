"""Scores of an allele against the definitions, computed by a plain loop over labelled tokens."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.scoring.deltas import Score, average_strands, score_strand
from evo2_tasks.scoring.windows import WindowPair, slice_parts

bases = st.text("ACGT", min_size=1, max_size=6)


def table_log_prob(context: str, token: str) -> float:
    """A model given as a table: any context has its own probabilities."""
    return -1.5 + random.Random(f"{context[-5:]}|{token}|{len(context)}").uniform(-1.4, 1.4)


def window_log_probs(window: str, *, prepend_bos: bool) -> list[float]:
    start = 0 if prepend_bos else 1
    return [table_log_prob(window[:t], window[t]) for t in range(start, len(window))]


def plain_scores(
    prefix: str, ref: str, alt: str, downstream: str, length: int, *, bos: bool
) -> dict[str, float | None]:
    """Label each token by what it is, then add up by label: no index arithmetic."""
    ref_tokens = [(base, ("prefix", i)) for i, base in enumerate(prefix)]
    alt_tokens = list(ref_tokens)
    ref_tokens += [(base, ("allele", i)) for i, base in enumerate(ref)]
    alt_tokens += [(base, ("allele", i)) for i, base in enumerate(alt)]
    ref_tokens += [(base, ("genome", i)) for i, base in enumerate(downstream)]
    alt_tokens += [(base, ("genome", i)) for i, base in enumerate(downstream)]
    ref_tokens, alt_tokens = ref_tokens[:length], alt_tokens[:length]
    assert len(ref_tokens) == len(alt_tokens) == length

    def by_label(tokens: list[tuple[str, tuple[str, int]]]) -> dict[tuple[str, int], float]:
        text = "".join(base for base, _ in tokens)
        return {
            label: table_log_prob(text[:t], base)
            for t, (base, label) in enumerate(tokens)
            if t > 0 or bos
        }

    ref_log_probs, alt_log_probs = by_label(ref_tokens), by_label(alt_tokens)
    sums: dict[str, float | None] = {
        "llr_allele": sum(v for k, v in alt_log_probs.items() if k[0] == "allele")
        - sum(v for k, v in ref_log_probs.items() if k[0] == "allele"),
        "ll_ref": sum(ref_log_probs.values()),
        "ll_alt": sum(alt_log_probs.values()),
    }
    common = [k for k in ref_log_probs if k[0] == "genome" and k in alt_log_probs]
    sums["llr_downstream"] = sum(alt_log_probs[k] - ref_log_probs[k] for k in common)
    sums["llr_end"] = sum(
        v for k, v in alt_log_probs.items() if k[0] == "genome" and k not in ref_log_probs
    ) - sum(v for k, v in ref_log_probs.items() if k[0] == "genome" and k not in alt_log_probs)
    sums["llr"] = sums["ll_alt"] - sums["ll_ref"]
    sums["delta_score"] = sums["llr"] / len(ref_log_probs)
    if len(ref) == len(alt):
        sums["llr_aligned"] = sums["llr"]
    elif common:
        h = sum(-ref_log_probs[k] for k in common) / len(common)
        sums["llr_aligned"] = (
            sums["llr_allele"] + sums["llr_downstream"] + (len(alt) - len(ref)) * h
        )
    else:
        sums["llr_aligned"] = None
    return sums


@given(
    prefix=st.text("ACGT", min_size=1, max_size=20),
    ref=st.text("ACGT", max_size=5),
    alt=st.text("ACGT", max_size=5),
    downstream=st.text("ACGTN", max_size=30),
    cut=st.integers(0, 8),
    bos=st.booleans(),
)
def test_scores_are_the_definitions_sums(
    prefix: str, ref: str, alt: str, downstream: str, cut: int, bos: bool
) -> None:
    ref_hap, alt_hap = prefix + ref + downstream, prefix + alt + downstream
    length = max(len(prefix) + 1, min(len(ref_hap), len(alt_hap)) - cut)
    if min(len(ref_hap), len(alt_hap)) < length:
        return
    pair = WindowPair(
        0,
        "forward",
        ref_hap[:length].encode(),
        alt_hap[:length].encode(),
        len(prefix),
        len(ref),
        len(alt),
    )
    ref_log_probs = window_log_probs(ref_hap[:length], prepend_bos=bos)
    alt_log_probs = window_log_probs(alt_hap[:length], prepend_bos=bos)
    score = score_strand(
        pair,
        np.array(ref_log_probs, np.float64),
        np.array(alt_log_probs, np.float64),
        horizon=False,
    )
    assert score is not None
    for name, value in plain_scores(prefix, ref, alt, downstream, length, bos=bos).items():
        assert getattr(score, name) == (
            None if value is None else pytest.approx(value, abs=1e-9)
        ), name


def test_a_horizon_leaves_no_sums_over_whole_windows() -> None:
    pair = WindowPair(0, "forward", b"ACGT", b"ACTT", 2, 1, 1)
    log_probs = np.full(3, -1.0, np.float32)
    score = score_strand(pair, log_probs, log_probs - 1, horizon=True)
    assert score is not None
    assert (score.delta_score, score.ll_ref, score.ll_alt) == (None, None, None)
    assert score.llr == -2.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_any_token_that_is_not_finite_spoils_the_strand(bad: float, where: int) -> None:
    pair = WindowPair(0, "forward", b"ACGT", b"ACTT", 2, 1, 1)
    good = np.full(3, -1.0, np.float32)
    broken = good.copy()
    broken[where] = bad
    assert score_strand(pair, broken, good, horizon=False) is None
    assert score_strand(pair, good, broken, horizon=False) is None


def test_the_mean_of_strands_is_null_where_one_is() -> None:
    mean = average_strands([Score(llr=1.0, llr_aligned=2.0), Score(llr=2.0)])
    assert mean == Score(llr=1.5)


@given(
    lengths=st.lists(st.integers(1, 40), max_size=30),
    part_tokens=st.integers(1, 200),
    most_pairs=st.none() | st.integers(1, 8),
)
def test_parts_keep_order_and_never_divide_an_allele(
    lengths: list[int], part_tokens: int, most_pairs: int | None
) -> None:
    pairs = [
        WindowPair(row, strand, b"A" * n, b"C" * n, 0, 1, 1)
        for row, n in enumerate(lengths)
        for strand in ("forward", "reverse")
    ]
    parts = list(slice_parts(pairs, part_tokens, most_pairs))
    most = most_pairs or len(pairs) + 1
    assert [pair for part in parts for pair in part] == pairs
    rows = [{pair.row for pair in part} for part in parts]
    assert sum(map(len, rows)) == len(lengths)

    def tokens(some: list[WindowPair]) -> int:
        references = {pair.ref_seq for pair in some}
        return sum(map(len, references)) + sum(len(pair.alt_seq) for pair in some)

    for part in parts[:-1]:
        assert tokens(part) >= part_tokens or len(part) >= most
    for part in parts:
        before = [pair for pair in part if pair.row != part[-1].row]
        assert tokens(before) < part_tokens
        assert len(before) < most
