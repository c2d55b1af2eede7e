"""Folds of labelled rows: genes, contigs or blocks of positions stay together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.evaluation.folds import Folds, make_folds
from evo2_tasks.evaluation.values import to_array


def fold(
    contigs: list[str],
    positions: list[int],
    genes: list[str] | None = None,
    *,
    target: list[bool] | None = None,
    window_length: int = 100,
    circles: Mapping[str, int] | None = None,
) -> Folds:
    return make_folds(
        np.array(target if target is not None else [row % 3 == 0 for row in range(len(contigs))]),
        to_array(contigs),
        np.array(positions, dtype=np.int64),
        None if genes is None else to_array(genes),
        window_length=window_length,
        circles=circles,
    )


def folds_of(names: list[str], folds: Folds) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, number in zip(names, folds.fold.tolist(), strict=True):
        found.setdefault(name, set()).add(number)
    return found


def test_genes_stay_together() -> None:
    random = np.random.default_rng(0)
    genes = [f"g{number}" for number in random.integers(40, size=400)]
    folds = fold(["1"] * 400, random.integers(1, 10**6, 400).tolist(), genes)
    assert (folds.kind, folds.num_folds, folds.reason) == ("gene", 10, "")
    assert all(len(numbers) == 1 for numbers in folds_of(genes, folds).values())
    sizes = np.bincount(folds.fold)
    assert sizes.min() > 25
    np.testing.assert_array_equal(folds.is_outside, folds.fold != np.arange(10)[:, None])


def test_rows_without_a_gene_stay_together_by_contig() -> None:
    genes = ["a", "b", "c", "", "", "", ""]
    contigs = ["1", "1", "1", "1", "2", "2", "1"]
    folds = fold(contigs, [1, 2, 3, 4, 5, 6, 7], genes)
    assert folds.num_folds == 5
    assert folds.fold[3] == folds.fold[6]
    assert folds.fold[4] == folds.fold[5]
    assert len({*folds.fold.tolist()}) == 5


@pytest.mark.parametrize("genes", [None, [""] * 60])
def test_contigs_if_no_gene_is_known(genes: list[str] | None) -> None:
    contigs = [f"chr{number % 6}" for number in range(60)]
    folds = fold(contigs, list(range(1, 61)), genes)
    assert (folds.kind, folds.num_folds) == ("contig", 6)
    assert all(len(numbers) == 1 for numbers in folds_of(contigs, folds).values())


def test_few_genes_make_no_folds() -> None:
    folds = fold(["1"] * 80, list(range(1, 81)), ["a", "b", "c", "d"] * 20)
    assert (folds.kind, folds.num_folds) == ("gene", 0)
    assert folds.reason == "4 folds by gene; at least 5 are needed"
    assert set(folds.fold.tolist()) == {-1}


def test_blocks_of_positions() -> None:
    """With few contigs: ten blocks, and a gap of one window around each."""
    positions = list(range(1, 2_001, 2))
    folds = fold(["1"] * 1_000, positions, window_length=51)
    assert (folds.kind, folds.num_folds) == ("block", 10)
    assert np.bincount(folds.fold).tolist() == [100] * 10
    assert (np.diff(folds.fold) >= 0).all()
    inside = np.array(positions)[folds.fold == 4]
    used = np.array(positions)[folds.is_outside[4]]
    assert inside.min() - used[used < inside.min()].max() == 52  # 50 is too close
    assert used[used > inside.max()].min() - inside.max() == 52


def test_blocks_keep_positions_together() -> None:
    folds = fold(["1"] * 90, [position for position in range(1, 31) for _ in range(3)])
    assert all(len(set(folds.fold[first : first + 3].tolist())) == 1 for first in range(0, 90, 3))


def test_few_positions_make_no_folds() -> None:
    folds = fold(["1"] * 100, [1, 2, 3, 4] * 25)
    assert folds.reason == "4 folds by block; at least 5 are needed"


def test_gap_around_the_origin() -> None:
    """On a circle, the last positions are next to the first."""
    positions = list(range(1, 1_001))
    linear = fold(["MT"] * 1_000, positions, window_length=30)
    circular = fold(["MT"] * 1_000, positions, window_length=30, circles={"MT": 1_000})
    expected = {*range(130, 1_001)}
    assert {*np.flatnonzero(linear.is_outside[0]) + 1} == expected
    assert {*np.flatnonzero(circular.is_outside[0]) + 1} == expected - {*range(972, 1_001)}
    assert {*np.flatnonzero(circular.is_outside[9]) + 1} == {*range(30, 872)}


def test_a_gap_is_on_the_same_contig() -> None:
    contigs = ["1"] * 500 + ["2"] * 500
    folds = fold(contigs, [*range(1, 501), *range(1, 501)], window_length=10_000)
    assert folds.is_outside[0].tolist() == [False] * 500 + [True] * 500


def test_no_rows() -> None:
    assert fold([], [], target=[]).reason == "0 folds by block; at least 5 are needed"


def test_one_kind_of_label() -> None:
    contigs = [f"chr{number % 6}" for number in range(60)]
    assert fold(contigs, list(range(60)), target=[True] * 60).num_folds == 6


@settings(max_examples=100)
@given(st.data())
def test_order_of_rows_does_not_matter_and_no_row_is_its_own(data: st.DataObject) -> None:
    size = data.draw(st.integers(5, 60))
    names = st.sampled_from("abcdefg")
    contigs = data.draw(st.lists(names, min_size=size, max_size=size))
    positions = data.draw(st.lists(st.integers(1, 500), min_size=size, max_size=size))
    genes = data.draw(st.none() | st.lists(names | st.just(""), min_size=size, max_size=size))
    target = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    folds = fold(contigs, positions, genes, target=target)
    order = data.draw(st.permutations(range(size)))
    again = fold(
        [contigs[row] for row in order],
        [positions[row] for row in order],
        None if genes is None else [genes[row] for row in order],
        target=[target[row] for row in order],
    )
    assert again.fold.tolist() == folds.fold[order].tolist()
    np.testing.assert_array_equal(again.is_outside, folds.is_outside[:, order])
    for row, number in enumerate(folds.fold.tolist()):
        if number >= 0:
            assert not folds.is_outside[number, row]
            same = (folds.fold == number).nonzero()[0]
            assert not folds.is_outside[number, same].any()
