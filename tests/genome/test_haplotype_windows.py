"""The bases and coordinates of a haplotype, against edits of a Python list of bases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.genome.haplotype_windows import Haplotype
from evo2_tasks.genome.window_pairs import Edit
from tests.genome.plain_haplotypes import PlainContig, PlainEdit, PlainHaplotype

BASES = st.text("ACGTN", min_size=1, max_size=24)


@st.composite
def haplotypes(draw: st.DrawFn) -> tuple[str, bool, list[Edit]]:
    """A contig, whether it is circular, and edits that do not overlap."""
    bases = draw(BASES)
    circular = draw(st.booleans())
    plain = PlainContig(bases, circular)
    kept: list[PlainEdit] = []
    last = len(bases) - 1 if circular else len(bases)
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, last))
        most = len(bases) - 1 if circular else len(bases) - start
        num_ref = draw(st.integers(0, min(5, most)))
        alt = draw(st.text("ACGT", min_size=0 if num_ref else 1, max_size=5))
        edit = PlainEdit(start, num_ref, len(alt), alt, 0, 0)
        if not any(plain.overlap(edit, other) for other in kept):
            kept.append(edit)
    return bases, circular, [Edit(edit.start, edit.num_ref, edit.alt) for edit in kept]


def make(bases: str, circular: bool, edits: list[Edit]) -> Haplotype:
    def fetch(start: int, end: int) -> str:
        assert 0 <= start <= end <= len(bases)
        return bases[start:end]

    def count(start: int, end: int) -> int:
        return sum((bases + bases)[i] == "N" for i in range(start, end))

    return Haplotype("c", len(bases), circular, edits, fetch, count)


def make_plain(bases: str, circular: bool, edits: list[Edit]) -> str:
    own = PlainEdit(-1, 1, 0, "", -1, 0)
    others = [PlainEdit(start, num_ref, len(alt), alt, 0, 0) for start, num_ref, alt in edits]
    if not any(edit.num_ref < len(bases) or edit.alt for edit in edits) and edits:
        return ""
    return "".join(PlainHaplotype.make(PlainContig(bases, circular), others, own).bases)


@given(haplotypes(), st.data())
def test_bases_agree_with_a_list(case: tuple[str, bool, list[Edit]], data: st.DataObject) -> None:
    bases, circular, edits = case
    haplotype, plain = make(*case), make_plain(*case)
    assert haplotype.length == len(plain)
    assert haplotype.fetch(0, haplotype.length) == plain
    if not plain:
        return
    size = len(plain)
    start = data.draw(st.integers(-2 * size, 2 * size) if circular else st.integers(0, size))
    end = start + data.draw(st.integers(0, 2 * size if circular else size - start))
    expected = "".join(plain[i % size] for i in range(start, end))
    assert haplotype.fetch(start, end) == expected
    others = make(bases.replace("N", "n"), circular, edits).fetch(start, end)
    assert haplotype.count_non_acgt(start, end) == others.count("n")
    assert edits == [] or set(haplotype.background) == set(edits)


@given(haplotypes(), st.data())
def test_only_the_bases_of_the_intervals_are_read(
    case: tuple[str, bool, list[Edit]], data: st.DataObject
) -> None:
    bases, circular, edits = case
    read: set[int] = set()

    def fetch(start: int, end: int) -> str:
        read.update(range(start, end))
        return bases[start:end]

    haplotype = Haplotype("c", len(bases), circular, edits, fetch)
    start = data.draw(st.integers(0, haplotype.length))
    end = data.draw(st.integers(start, haplotype.length))
    haplotype.fetch(start, end)
    intervals = haplotype.contig_intervals([(start, end)])
    assert {base for first, last in intervals for base in range(first, last)} == read
    assert intervals == sorted(intervals)


@given(haplotypes(), st.data())
def test_an_unchanged_base_is_found(
    case: tuple[str, bool, list[Edit]], data: st.DataObject
) -> None:
    bases, circular, edits = case
    changed = {(edit.start + i) % len(bases) for edit in edits for i in range(edit.num_ref)}
    kept = [base for base in range(len(bases)) if base not in changed]
    if not kept:
        return
    base = data.draw(st.sampled_from(kept))
    marked = bases[:base] + "x" + bases[base + 1 :]
    place = make_plain(marked, circular, edits).index("x")
    assert make(*case).find_edit(base, base + 1) == place
    inserts = any(edit.start == base and not edit.num_ref for edit in edits)
    if not inserts:
        assert make(*case).find_edit(base, base) == place


@pytest.mark.parametrize(
    ("circular", "edits"),
    [
        (False, [Edit(2, 3, ""), Edit(4, 1, "A")]),
        (False, [Edit(2, 0, "A"), Edit(2, 0, "C")]),
        (False, [Edit(2, 3, ""), Edit(3, 0, "C")]),
        (True, [Edit(8, 4, ""), Edit(1, 1, "A")]),
        (True, [Edit(9, 2, "A"), Edit(0, 0, "C")]),
    ],
)
def test_edits_of_the_same_bases_are_refused(circular: bool, edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="change the same bases"):
        make("ACGTACGTAC", circular, edits)


@pytest.mark.parametrize("edit", [Edit(-1, 1, "A"), Edit(9, 2, "")])
def test_an_edit_outside_of_a_linear_contig_is_refused(edit: Edit) -> None:
    with pytest.raises(ValueError, match="not within"):
        make("ACGTACGTAC", False, [edit])


def test_a_range_outside_of_a_linear_haplotype_is_refused() -> None:
    with pytest.raises(ValueError, match="not within the haplotype"):
        make("ACGT", False, [Edit(1, 1, "")]).fetch(0, 4)
