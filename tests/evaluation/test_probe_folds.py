"""Folds for probes, and their leak checks, against plain loops over all pairs of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.folds import count_overlaps
from evo2_tasks.evaluation.probe_folds import (
    FEWEST_FOLDS,
    FoldsBy,
    ProbeFolds,
    ProbeRows,
    make_probe_folds,
    require_no_leak,
)
from evo2_tasks.evaluation.values import to_array


def make_rows(
    contigs: list[str],
    positions: list[int],
    *,
    genes: list[str] | None = None,
    refs: list[str] | None = None,
    alts: list[str] | None = None,
    window_length: int = 100,
    circles: Mapping[str, int] | None = None,
) -> ProbeRows:
    starts = np.array(positions, dtype=np.int64) - 1 - window_length // 2
    return ProbeRows(
        contigs=to_array(contigs),
        positions=np.array(positions, dtype=np.int64),
        refs=to_array(refs or ["A"] * len(contigs)),
        alts=to_array(alts or ["C"] * len(contigs)),
        starts=starts,
        ends=starts + window_length,
        genes=None if genes is None else to_array(genes),
        circles=circles or {},
    )


def fold_rows(by: FoldsBy, rows: ProbeRows) -> ProbeFolds:
    return make_probe_folds(by, np.arange(len(rows)) % 3 == 0, rows)


def share_a_base(rows: ProbeRows, one: int, other: int) -> bool:
    """Whether two windows have a base in common, base by base."""
    if rows.contigs[one] != rows.contigs[other]:
        return False
    length = rows.circles.get(rows.contigs[one])
    bases = []
    for row in (one, other):
        lost = max(len(rows.refs[row]) - 1, 0)  # of a deletion: so many more bases are read
        window = range(int(rows.starts[row]) - lost, int(rows.ends[row]) + lost)
        bases.append({base if length is None else base % length for base in window})
    return not bases[0].isdisjoint(bases[1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_row_trains_for_a_fold_whose_windows_it_has_seen(data: st.DataObject) -> None:
    size = data.draw(st.integers(3, 30))
    by: FoldsBy = data.draw(st.sampled_from(["gene", "contig", "position"]))
    names = st.sampled_from(["1", "2", "3", "4", "MT"])
    contigs = data.draw(st.lists(names, min_size=size, max_size=size))
    positions = data.draw(st.lists(st.integers(1, 90), min_size=size, max_size=size))
    genes = data.draw(
        st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=size, max_size=size)
    )
    window_length = data.draw(st.integers(1, 30))
    refs = data.draw(st.lists(st.sampled_from(["A", "AC", "ACGTA"]), min_size=size, max_size=size))
    rows = make_rows(
        contigs,
        positions,
        genes=genes,
        refs=refs,
        window_length=window_length,
        circles={"MT": 90},
    )
    try:
        folds = fold_rows(by, rows)
    except InputError:
        return
    assert folds.num_folds >= FEWEST_FOLDS
    assert sorted({*folds.fold.tolist()}) == [*range(folds.num_folds)]
    num_overlapping, left_out = 0, [0] * folds.num_folds
    for row in range(size):
        seen = {int(folds.fold[other]) for other in range(size) if share_a_base(rows, row, other)}
        num_overlapping += bool(seen - {int(folds.fold[row])})
        for fold in range(folds.num_folds):
            is_outside = folds.fold[row] != fold and fold not in seen
            assert folds.is_outside[fold, row] == is_outside
            left_out[fold] += folds.fold[row] != fold and fold in seen
    assert folds.num_overlapping == num_overlapping
    assert folds.num_left_out == left_out

    # Rows of a position, and of a group, are in one fold.
    by_place: dict[tuple[str, int], set[int]] = {}
    by_group: dict[int, set[int]] = {}
    for row, fold in enumerate(folds.fold.tolist()):
        by_place.setdefault((contigs[row], positions[row]), set()).add(fold)
        by_group.setdefault(int(folds.groups[row]), set()).add(fold)
    assert all(len(found) == 1 for found in [*by_place.values(), *by_group.values()])
    kept = {"gene": genes, "contig": contigs, "position": None}[by]
    if kept is not None:
        of_name: dict[str, set[int]] = {}
        for name, fold in zip(kept, folds.fold.tolist(), strict=True):
            of_name.setdefault(name, set()).add(fold)
        assert all(len(found) == 1 for name, found in of_name.items() if name)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_of_positions_are_as_long_as_a_window(data: st.DataObject) -> None:
    """So a window overlaps those of the two neighbouring blocks at most."""
    size = data.draw(st.integers(3, 40))
    contigs = data.draw(st.lists(st.sampled_from("12"), min_size=size, max_size=size))
    positions = data.draw(st.lists(st.integers(1, 300), min_size=size, max_size=size))
    window_length = data.draw(st.integers(1, 60))
    rows = make_rows(contigs, positions, window_length=window_length)
    try:
        folds = fold_rows("position", rows)
    except InputError:
        return
    in_order = folds.fold[np.lexsort((rows.positions, rows.contigs))]
    assert (np.diff(in_order) >= 0).all()
    for one in range(size):
        for other in range(size):
            if abs(int(folds.fold[one]) - int(folds.fold[other])) > 1:
                assert not share_a_base(rows, one, other)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_order_of_rows_does_not_matter(data: st.DataObject) -> None:
    size = 40
    random = np.random.default_rng(data.draw(st.integers(0, 1_000)))
    contigs = [f"c{number}" for number in random.integers(6, size=size)]
    positions = random.integers(1, 5_000, size=size).tolist()
    genes = [f"g{number}" if number else "" for number in random.integers(9, size=size)]
    target = random.random(size) < 0.4
    by: FoldsBy = data.draw(st.sampled_from(["gene", "contig", "position"]))
    order = random.permutation(size)
    rows = make_rows(contigs, positions, genes=genes)
    again = make_rows(
        [contigs[row] for row in order],
        [positions[row] for row in order],
        genes=[genes[row] for row in order],
    )
    folds = make_probe_folds(by, target, rows)
    np.testing.assert_array_equal(
        make_probe_folds(by, target[order], again).fold, folds.fold[order]
    )


def test_genes_that_share_a_position_are_one_group() -> None:
    """A row without a gene belongs to the gene at its position, and else to its contig."""
    genes = ["a", "b", "b", "", "", "", "c", "d"]
    rows = make_rows(["1"] * 8, [10, 10, 5_000, 10, 9_000, 9_500, 20_000, 30_000], genes=genes)
    groups = fold_rows("gene", rows).groups.tolist()
    assert len({*groups[:4]}) == 1
    assert groups[4] == groups[5]
    assert len({*groups}) == 4


def test_neighbouring_genes_are_in_other_folds_and_do_not_train_for_each_other() -> None:
    genes = [f"g{number}" for number in range(6) for _ in range(5)]
    positions = [1_000 * number + 10 * row for number in range(6) for row in range(5)]
    positions[5] = 100  # of gene 1, next to gene 0
    rows = make_rows(["1"] * 30, positions, genes=genes, window_length=200)
    folds = fold_rows("gene", rows)
    first, second = int(folds.fold[0]), int(folds.fold[5])
    assert first != second
    assert not folds.is_outside[first, 5]
    assert not folds.is_outside[second, :5].any()
    assert folds.num_overlapping == 6
    assert folds.num_left_out[first] == 1
    assert folds.num_left_out[second] == 5


@pytest.mark.parametrize(
    ("by", "contigs", "genes", "message"),
    [
        ("gene", ["1", "2", "3"], None, "folds_by: gene: no labelled row has a gene."),
        ("gene", ["1", "2", "3"], ["", "", ""], "folds_by: gene: no labelled row has a gene."),
        (
            "gene",
            ["1", "1", "1"],
            ["a", "b", "b"],
            "folds_by: gene: the labelled rows are of 2 genes; at least 3 are needed.",
        ),
        (
            "contig",
            ["1", "1", "1"],
            None,
            "folds_by: contig: the labelled rows are of 1 contig; at least 3 are needed.",
        ),
        (
            "position",
            ["1", "1", "1"],
            None,
            "folds_by: position: the labelled rows make 1 block at least as long as a window; at "
            "least 3 are needed.",
        ),
    ],
)  # fmt: skip
def test_too_few_groups_are_one_line(
    by: FoldsBy, contigs: list[str], genes: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        fold_rows(by, make_rows(contigs, [1, 50, 99], genes=genes))
    assert str(caught.value).startswith(message)


@settings(max_examples=100)
@given(st.data())
def test_a_position_in_two_folds_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    contigs = data.draw(st.lists(st.sampled_from("12"), min_size=size, max_size=size))
    positions = data.draw(st.lists(st.integers(1, 6), min_size=size, max_size=size))
    alts = data.draw(st.lists(st.sampled_from("CG"), min_size=size, max_size=size))
    fold = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    rows = make_rows(contigs, positions, alts=alts)
    leaks = [
        (one, other)
        for one in range(size)
        for other in range(one)
        if (contigs[one], positions[one]) == (contigs[other], positions[other])
        and fold[one] != fold[other]
    ]
    if not leaks:
        require_no_leak(np.array(fold), rows)
        return
    with pytest.raises(InputError) as caught:
        require_no_leak(np.array(fold), rows)
    named = {
        f"{contigs[one]}:{positions[one]} A>{alts[one]} is in the folds "
        f"{fold[other] + 1} and {fold[one] + 1}"
        if alts[one] == alts[other]
        else f"{contigs[one]}:{positions[one]} is in the folds {fold[other] + 1} and "
        f"{fold[one] + 1}, with the alleles A>{alts[other]} and A>{alts[one]}"
        for one, other in leaks
    }
    assert any(f" {name}, so the probe would be" in str(caught.value) for name in named)


def test_windows_around_the_origin() -> None:
    """On a circle, a window that crosses the origin overlaps windows at both ends of it."""
    contigs = to_array(["MT"] * 4)
    starts, ends = np.array([-10, 5, 92, 50]), np.array([10, 15, 102, 60])
    inside = np.array([True, False, False, False])
    circular = count_overlaps(inside, contigs, starts, ends, {"MT": 100})
    assert circular.tolist() == [1, 1, 1, 0]
    assert count_overlaps(inside, contigs, starts, ends, {}).tolist() == [1, 1, 0, 0]
