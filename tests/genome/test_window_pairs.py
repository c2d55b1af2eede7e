"""Both windows of a pair against plain strings: whole haplotypes, edited base by base and cut.

The oracle has no intervals: it applies edits to a Python string from right to left, and cuts the
string where a strand begins to read.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.genome.window_pairs import (
    Edit,
    PlacedPair,
    common_length,
    needed_intervals,
    strand_sequences,
)

COMPLEMENT = dict(zip("ACGT", "TGCA", strict=True))


def apply_edits(sequence: str, edits: list[Edit]) -> str:
    """The sequence with its edits, the last one first, so that no position moves."""
    for edit in sorted(edits, key=lambda one: (one.start, one.end), reverse=True):
        assert edit.end <= len(sequence)
        sequence = sequence[: edit.start] + edit.alt + sequence[edit.end :]
    return sequence


def read_haplotype(
    sequence: str, edits: list[Edit], pair: PlacedPair, strand: str, circular: bool
) -> str:
    """All bases that a strand can read of an edited sequence, in reading direction."""
    length = len(sequence)
    if circular:
        # The circle, cut open where the strand begins to read.
        cut = (pair.start if strand == "forward" else pair.end) % length
        sequence = sequence[cut:] + sequence[:cut]
        edits = [edit._replace(start=(edit.start - cut) % length) for edit in edits]
        if strand == "reverse":
            is_last = (pair.end - pair.start) == length
            # An insertion where the circle is cut is the first that is read, except in a window
            # of the whole circle, whose start it is.
            edits = [
                edit._replace(start=length)
                if edit.start == 0 and edit.num_ref == 0 and not is_last
                else edit
                for edit in edits
            ]
        read = apply_edits(sequence, edits)
    elif strand == "forward":
        ahead = [edit for edit in edits if edit.start >= pair.start]
        read = apply_edits(sequence, ahead)[pair.start :]
    else:
        ahead = [edit for edit in edits if edit.end <= pair.end]
        read = apply_edits(sequence[: pair.end], ahead)
    if strand == "reverse":
        return "".join(COMPLEMENT[base] for base in reversed(read))
    return read


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, bool, PlacedPair]:
    """A contig, and a pair on it with any number of edits, none across a start of reading."""
    sequence = draw(st.text("ACGT", min_size=1, max_size=40))
    length = len(sequence)
    circular = draw(st.booleans())
    size = draw(st.integers(1, length))
    start = draw(st.integers(-length, length) if circular else st.integers(0, length - size))
    end = start + size
    # Edits touch at most, and begin and end where neither strand begins to read in between.
    marks = {start % length, end % length} if circular else {start, end}
    edits = []
    position = 0
    while position < length and draw(st.booleans()):
        first = draw(st.integers(position, length - 1))
        last = draw(st.integers(first, min(length, first + 5)))
        crossed = [mark for mark in marks if first < mark < last]
        last = min([last, *crossed])
        alt = draw(st.text("ACGT", max_size=5))
        edits.append(Edit(first, last - first, alt))
        # Two insertions in one place have no order.
        position = max(last, first + 1) if last > first else first + 1
    in_background = draw(st.lists(st.booleans(), min_size=len(edits), max_size=len(edits)))
    background = [edit for edit, is_in in zip(edits, in_background, strict=True) if is_in]
    own = [edit for edit, is_in in zip(edits, in_background, strict=True) if not is_in]
    return (
        sequence,
        circular,
        PlacedPair(
            "c",
            start,
            end,
            tuple(draw(st.permutations(background))),
            tuple(draw(st.permutations(own))),
        ),
    )


@settings(max_examples=600)
@given(case=pairs(), strand=st.sampled_from(["forward", "reverse"]), data=st.data())
def test_windows_are_edited_strings(
    case: tuple[str, bool, PlacedPair], strand: str, data: st.DataObject
) -> None:
    sequence, circular, pair = case
    background = list(pair.background)
    ref = read_haplotype(sequence, background, pair, strand, circular)
    alt = read_haplotype(sequence, [*background, *pair.edits], pair, strand, circular)

    place = (len(sequence), circular)
    length = min(pair.end - pair.start, len(ref), len(alt))
    assert common_length(pair, strand, *place) == length

    length = data.draw(st.integers(0, length), label="length as a horizon cuts it")
    needed = needed_intervals(pair, {strand: length}, *place)

    def fetch(name: str, start: int, end: int) -> str:
        assert name == "c"
        assert any(first <= start < end <= last for first, last in needed)
        return sequence[start:end]

    found = strand_sequences(fetch, pair, strand, length, *place)
    assert found == (ref[:length].encode(), alt[:length].encode())


@settings(max_examples=200)
@given(case=pairs())
def test_no_base_is_fetched_that_no_window_needs(case: tuple[str, bool, PlacedPair]) -> None:
    sequence, circular, pair = case
    place = (len(sequence), circular)
    lengths = {strand: common_length(pair, strand, *place) for strand in ("forward", "reverse")}
    fetched = set()

    def fetch(_name: str, start: int, end: int) -> str:
        fetched.update(range(start, end))
        return sequence[start:end]

    for strand, length in lengths.items():
        strand_sequences(fetch, pair, strand, length, *place)
    needed = needed_intervals(pair, lengths, *place)
    assert fetched == {base for start, end in needed for base in range(start, end)}


def test_a_deletion_in_the_background_reads_further() -> None:
    pair = PlacedPair("c", 2, 8, (Edit(3, 2, ""),), (Edit(6, 1, "T"),))
    sequence = "AACGGACAGTCC"

    def fetch(_name: str, start: int, end: int) -> str:
        return sequence[start:end]

    forward = strand_sequences(fetch, pair, "forward", 6, len(sequence), False)
    assert forward == (b"CACAGT", b"CATAGT")  # C AC AGT: bases 2, 5..9
    assert common_length(pair, "reverse", len(sequence), False) == 6
    reverse = strand_sequences(fetch, pair, "reverse", 6, len(sequence), False)
    assert reverse == (b"TGTGTT", b"TATGTT")  # AACACA from the right


@pytest.mark.parametrize(
    ("background", "edits"),
    [
        ((Edit(4, 2, ""),), (Edit(5, 1, "A"),)),
        ((Edit(4, 0, "A"),), (Edit(4, 0, "C"),)),
        ((Edit(4, 2, "A"),), (Edit(5, 0, "C"),)),
    ],
)
def test_edits_of_the_same_bases_are_refused(background, edits) -> None:
    with pytest.raises(ValueError, match="change the same bases"):
        common_length(PlacedPair("c", 2, 8, background, edits), "forward", 12, False)


@pytest.mark.parametrize(
    ("strand", "circular", "edit"),
    [
        ("forward", False, Edit(1, 2, "")),
        ("reverse", False, Edit(7, 2, "A")),
        ("forward", True, Edit(1, 3, "")),
        ("reverse", True, Edit(7, 3, "")),
    ],
)
def test_an_edit_across_the_start_of_reading_is_refused(strand, circular, edit) -> None:
    pair = PlacedPair("c", 2, 8, (), (edit,))
    with pytest.raises(ValueError, match=f"where the {strand} strand begins"):
        common_length(pair, strand, 12, circular)
