"""Quantile and phred of scores in a background, compared with plain counting, scipy and pandas."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import percentileofscore, rankdata

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.backgrounds import (
    MIN_ALLELES,
    Background,
    load_background,
    make_background,
    place,
    read_background,
    write_background,
)
from evo2_tasks.evaluation.strata import Strata, StratumReader
from evo2_tasks.table.calibration_schema import background_schema
from evo2_tasks.table.parquet import write_table
from tests.table.build import slow_disk

TIED = st.integers(-3, 3).map(float)
NUMBER = st.one_of(TIED, st.floats(-1e6, 1e6))


def count(score: float, alleles: Sequence[float], harmful: str) -> tuple[float, float]:
    """The definition, allele by allele."""
    n = len(alleles)
    worse = sum(other < score if harmful == "low" else other > score for other in alleles)
    equal = sum(other == score for other in alleles)
    quantile = min(max((worse + 0.5 * equal) / n, 1 / (2 * n)), 1 - 1 / (2 * n))
    return quantile, -10 * math.log10((worse + equal + 1) / (n + 1))


@given(
    st.lists(NUMBER, min_size=1, max_size=40),
    st.lists(NUMBER, max_size=20),
    st.sampled_from(["low", "high"]),
)
def test_quantile_and_phred_by_their_definitions(
    alleles: list[float], scores: list[float], harmful: str
) -> None:
    scores += alleles  # the alleles of the background themselves too
    quantile, phred = place(np.array(scores), np.sort(alleles), harmful=harmful)
    expected = np.array([count(score, alleles, harmful) for score in scores])
    np.testing.assert_array_equal(quantile, expected[:, 0])
    np.testing.assert_allclose(phred, expected[:, 1], rtol=1e-12, atol=1e-12)
    assert not np.signbit(phred).any()


def test_quantile_is_the_rank_of_scipy() -> None:
    rng = np.random.default_rng(1)
    alleles, scores = rng.normal(size=500).round(1), rng.normal(size=300).round(1)
    quantile, _ = place(scores, np.sort(alleles), harmful="low")
    expected = percentileofscore(alleles, scores, kind="mean") / 100
    np.testing.assert_allclose(quantile, np.clip(expected, 1 / 1000, 1 - 1 / 1000), rtol=1e-12)
    # Of the background itself: the mid-rank, counted from one half.
    own, phred = place(alleles, np.sort(alleles), harmful="low")
    np.testing.assert_allclose(own, (rankdata(alleles) - 0.5) / 500, rtol=1e-12)
    up_to = pd.Series(alleles).rank(method="max")
    np.testing.assert_allclose(phred, -10 * np.log10((up_to + 1) / 501), rtol=1e-9, atol=1e-12)


@given(st.lists(NUMBER, min_size=1, max_size=30), st.lists(NUMBER, min_size=1, max_size=10))
def test_harmful_high_is_harmful_low_of_the_negated_score(
    alleles: list[float], scores: list[float]
) -> None:
    high = place(np.array(scores), np.sort(alleles), harmful="high")
    low = place(-np.array(scores), np.sort(-np.array(alleles)), harmful="low")
    np.testing.assert_array_equal(high, low)


def test_rarer_is_never_less_rare() -> None:
    alleles = np.sort(np.random.default_rng(2).normal(size=200).round(1))
    scores = np.linspace(-5, 5, 400)
    quantile, phred = place(scores, alleles, harmful="low")
    assert (np.diff(quantile) >= 0).all()
    assert (np.diff(phred) <= 0).all()
    assert quantile[0] == 1 / 400
    assert quantile[-1] == 1 - 1 / 400
    assert phred[0] == pytest.approx(10 * math.log10(201))
    assert phred[-1] == 0


def make_strata(names: Sequence[str | None]) -> Strata:
    distinct = sorted({name for name in names if name is not None})
    numbers = [-1 if name is None else distinct.index(name) for name in names]
    return Strata(tuple(distinct), np.array(numbers, dtype=np.int64))


def make(scores: Sequence[float], names: Sequence[str | None]) -> Background:
    return make_background(("gene",), np.array(scores, dtype=float), make_strata(names))


def compare(
    background: Background, scores: Sequence[float], names: Sequence[str | None]
) -> list[tuple[str, bool, float, float]]:
    found = background.compare(np.array(scores, dtype=float), make_strata(names), harmful="low")
    columns = found.strata.to_pylist(), found.is_fallback, found.quantile, found.phred
    return [(str(name), bool(is_fallback), float(quantile), float(phred))
            for name, is_fallback, quantile, phred in zip(*columns, strict=True)]  # fmt: skip


def test_each_row_is_compared_with_its_own_stratum_or_with_all() -> None:
    rng = np.random.default_rng(3)
    sizes = {"large": 250, "just": MIN_ALLELES, "small": MIN_ALLELES - 1, None: 120}
    names = rng.permutation(np.repeat(np.array([*sizes], dtype=object), [*sizes.values()]))
    alleles = pd.DataFrame({"name": names, "score": rng.normal(size=len(names)).round(1)})
    rows = ["large", "just", "small", "absent", None] * 40
    scores = rng.normal(size=len(rows)).round(1)
    found = compare(make(alleles["score"].tolist(), names), scores.tolist(), rows)
    for (stratum, is_fallback, quantile, phred), name, score in zip(
        found, rows, scores, strict=True
    ):
        has_own = name in ("large", "just")
        of = alleles[alleles["name"] == name] if has_own else alleles
        assert (stratum, is_fallback) == (name if has_own else "all", not has_own)
        expected = count(score, of["score"].tolist(), "low")
        assert (quantile, phred) == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.tuples(TIED, st.sampled_from([None, "a", "b"])), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_a_row_does_not_depend_on_the_other_rows(
    rows: list[tuple[float, str | None]], order: object
) -> None:
    background = make([*range(-60, 60), *range(-10, 10)], ["a"] * 120 + ["b"] * 20)
    together = compare(background, *zip(*rows, strict=True))
    alone = [compare(background, [score], [name])[0] for score, name in rows]
    assert together == alone


def test_a_background_without_strata_has_no_fallback() -> None:
    background = make_background((), np.arange(10.0), make_strata([None] * 10))
    assert compare(background, [4.0], [None]) == [
        ("all", False, 0.45, pytest.approx(-10 * math.log10(6 / 11)))
    ]


def test_a_background_without_alleles_gives_no_number() -> None:
    background = make_background(("gene",), np.empty(0), make_strata([]))
    ((stratum, is_fallback, quantile, phred),) = compare(background, [1.0], ["a"])
    assert (stratum, is_fallback) == ("all", True)
    assert math.isnan(quantile)
    assert math.isnan(phred)


def test_a_constant_background_gives_numbers() -> None:
    background = make([2.5] * 150, ["a"] * 150)
    found = compare(background, [2.4, 2.5, 2.6], ["a"] * 3)
    assert [row[2] for row in found] == [1 / 300, 0.5, 1 - 1 / 300]
    assert [row[3] for row in found] == pytest.approx([10 * math.log10(151), 0, 0], abs=1e-12)


@slow_disk
@given(
    alleles=st.lists(
        st.tuples(NUMBER, st.sampled_from([None, "", "all", "b", "a | b"])), max_size=400
    ),
    repeated=st.integers(1, 3),
)
def test_a_background_comes_back_from_its_file(
    alleles: list[tuple[float, str | None]], repeated: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("background") / "background.parquet"
    alleles *= repeated
    scores, names = [[row[i] for row in alleles] for i in (0, 1)]
    background = make(scores, names)
    with write_table(path, background_schema(), row_group_rows=50) as writer:
        write_background(background, writer)
    frame = pd.DataFrame({"stratum": pd.Series(names, dtype=object), "score": scores})
    expected = frame.sort_values(["stratum", "score"], na_position="last")
    stored = pq.read_table(path).to_pandas()
    assert stored["score"].tolist() == expected["score"].tolist()
    assert stored["stratum"].astype(object).where(stored["stratum"].notna(), None).tolist() == [
        None if name is None or pd.isna(name) else name for name in expected["stratum"]
    ]
    again = load_background(path, ("gene",))
    assert again.ends == background.ends
    np.testing.assert_array_equal(again.scores, background.scores)
    np.testing.assert_array_equal(again.everything, np.sort(scores))


def test_rows_without_a_score_are_no_background(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    scores = [1.0, None, math.nan, math.inf, -2.0, 0.5]
    genes = ["g", "g", "g", "h", None, "h"]
    pq.write_table(pa.table({"llr": pa.array(scores, from_pandas=False), "gene": genes}), path)
    background = read_background(StratumReader(("gene",), None, path), "llr")
    assert background.ends == {"g": 1, "h": 2}
    assert background.scores.tolist() == [1.0, 0.5, -2.0]


@pytest.mark.parametrize("values", [["-1.5"], [1], [None]], ids=str)
def test_a_column_that_holds_no_scores(tmp_path: Path, values: list[object]) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"llr": values}), path)
    with pytest.raises(InputError, match=r"t\.parquet: column llr has the type \w+, expected dou"):
        read_background(StratumReader((), None, path), "llr")
