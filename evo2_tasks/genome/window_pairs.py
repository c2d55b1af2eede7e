"""The two windows of a row, and the bases of the reference that they need.

A pair of windows is an interval of the reference with background edits (the reference window)
against the same interval with the background edits and the edits of the allele (the alternate
window). An allele that is scored alone has an empty background and one edit. A haplotype puts the
other variants of a chromosome into the background, a compound has several edits.

On each strand both windows begin at the same base in reading direction: at ``start`` on the forward
strand, before ``end`` on the reverse strand. From there each window reads its own sequence, so that
an insertion or a deletion moves the end that is read last. Both windows have the same length. It is
at most ``end - start``, and less where one of the sequences ends earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

Strand = Literal["forward", "reverse"]

STRANDS: Mapping[str, tuple[Strand, ...]] = {
    "both": ("forward", "reverse"),
    "forward": ("forward",),
    "reverse": ("reverse",),
}
"""The strands that each value of the config key ``strands`` asks for."""

Fetch = Callable[[str, int, int], str]
"""A function with the arguments and the result of `Reference.fetch`."""

Interval = tuple[int, int]
"""Start and end, 0-based and half-open."""

# IUPAC letters only; any other byte stays as it is.
_COMPLEMENT = str.maketrans("ACGTURYSWKMBDHVN", "TGCAAYRSWMKVHDBN")


class Edit(NamedTuple):
    """Bases of the reference that are replaced.

    Attributes:
        start: First replaced base, 0-based. For an insertion the base after it.
        num_ref: Number of bases that are replaced.
        alt: Bases that replace them.
    """

    start: int
    num_ref: int
    alt: str

    @property
    def end(self) -> int:
        """Base after the last replaced one."""
        return self.start + self.num_ref


class PlacedPair(NamedTuple):
    """An interval of the reference, and what is changed in the two windows that it gives.

    Edits may come in any order. Those of the background and the allele together must not overlap,
    and none may reach across the place where a strand begins to read. One kind of overlap is
    allowed: an edit of the allele may replace a base that the background has put there.

    Attributes:
        contig: Name of the reference contig.
        start: First base of the interval, 0-based. May be negative on a circular contig.
        end: Base after its last one. May pass the length of a circular contig.
        background: Edits of both windows.
        edits: Edits of the alternate window alone.
    """

    contig: str
    start: int
    end: int
    background: tuple[Edit, ...]
    edits: tuple[Edit, ...]


def common_length(pair: PlacedPair, strand: Strand, contig_length: int, circular: bool) -> int:
    """Length of both windows of a strand, before a horizon cuts them.

    Args:
        pair: The interval and its edits.
        strand: Which strand reads.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Returns:
        Tokens. At most those of the interval. Less where one of the two sequences has fewer bases
        from where the strand begins to read.

    Raises:
        ValueError: The edits overlap, or one reaches across the place where the strand begins.
    """
    num_bases = contig_length
    if not circular:
        num_bases = contig_length - pair.start if strand == "forward" else pair.end
    length = pair.end - pair.start
    for edits in _edits_of_windows(pair, strand, contig_length, circular):
        num_left = num_bases
        for _, num_ref, alt in edits:
            num_left += len(alt) - num_ref
        if num_left < length:
            length = num_left
    return length


def strand_sequences(
    fetch: Fetch,
    pair: PlacedPair,
    strand: Strand,
    length: int,
    contig_length: int,
    circular: bool,
) -> tuple[bytes, bytes]:
    """The reference and the alternate window of one strand, in reading direction.

    Args:
        fetch: Returns the bases of an interval between 0 and the contig's length. It is called
            only for intervals within those of `needed_intervals`.
        pair: The interval and its edits.
        strand: Which strand reads.
        length: Tokens of each window, at most `common_length`.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Returns:
        The two windows in upper case, each of the given length.

    Raises:
        ValueError: The edits overlap, or one reaches across the place where the strand begins.
    """

    def bases(piece: Interval | str) -> str:
        if isinstance(piece, str):
            return piece
        return "".join(fetch(pair.contig, *one) for one in _wrap(piece, contig_length, circular))

    ref_seq, alt_seq = (
        "".join(map(bases, _pieces(pair, edits, strand, length)))
        for edits in _edits_of_windows(pair, strand, contig_length, circular)
    )
    if strand == "reverse":
        ref_seq, alt_seq = reverse_complement(ref_seq), reverse_complement(alt_seq)
    return ref_seq.encode(), alt_seq.encode()


def needed_intervals(
    pair: PlacedPair, lengths: Mapping[Strand, int], contig_length: int, circular: bool
) -> list[Interval]:
    """The intervals of the reference contig that `strand_sequences` reads for a pair.

    Args:
        pair: The interval and its edits.
        lengths: Tokens of each window, for each strand that reads.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Returns:
        Intervals between 0 and the contig's length, 0-based and half-open, sorted. No two of them
        overlap or touch.

    Raises:
        ValueError: The edits overlap, or one reaches across the place where a strand begins.
    """
    intervals: list[Interval] = []
    for strand, length in lengths.items():
        for edits in _edits_of_windows(pair, strand, contig_length, circular):
            for piece in _pieces(pair, edits, strand, length):
                if not isinstance(piece, str):
                    intervals += _wrap(piece, contig_length, circular) if circular else (piece,)
    return merge_intervals(intervals)


def merge_intervals(intervals: Iterable[Interval], max_length: int | None = None) -> list[Interval]:
    """Sort intervals, merge those that touch, and cut the merged ones into pieces.

    Args:
        intervals: Intervals, 0-based and half-open.
        max_length: Largest length of a piece, bases; null to leave the merged intervals whole.
    """
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    if max_length is None:
        return merged
    return [
        (first, min(first + max_length, end))
        for start, end in merged
        for first in range(start, end, max_length)
    ]


def reverse_complement(bases: str) -> str:
    """The reverse complement of upper-case bases; IUPAC letters are complemented too."""
    return bases.translate(_COMPLEMENT)[::-1]


def _edits_of_windows(
    pair: PlacedPair, strand: Strand, contig_length: int, circular: bool
) -> tuple[list[Edit], list[Edit]]:
    """The edits that a strand can meet in each of its two windows, sorted by position."""
    edits = _find_edits(pair.edits, pair, strand, contig_length, circular)
    if not pair.background and len(edits) < 2:
        return [], edits
    background = _find_edits(pair.background, pair, strand, contig_length, circular)
    both = [one for one in background if not any(_replaces(edit, one) for edit in edits)] + edits
    background.sort(key=_position)
    both.sort(key=_position)
    for in_order in (background, both):
        for one, other in pairwise(in_order):
            if other.start < one.end or _position(other) == _position(one):
                raise ValueError(f"{one} and {other} change the same bases")
    return background, both


def _replaces(edit: Edit, other: Edit) -> bool:
    """Whether an edit replaces all bases of a substitution."""
    return len(other.alt) == other.num_ref and edit.start <= other.start < other.end <= edit.end


def _position(edit: Edit) -> Interval:
    return edit.start, edit.end


def _find_edits(
    edits: Iterable[Edit], pair: PlacedPair, strand: Strand, contig_length: int, circular: bool
) -> list[Edit]:
    """The edits that a strand can meet, in coordinates that go on from those of the interval.

    Edits before the strand's first base in reading direction are left out. A circular contig has no
    such edits: what is outside of the interval comes last in reading direction.
    """
    found = []
    for edit in edits:
        start, num_ref, _ = edit
        if circular:
            start = pair.start + (start - pair.start) % contig_length
            if strand == "reverse" and start >= pair.end < start + num_ref:
                start -= contig_length
            edit = edit._replace(start=start)
        end = start + num_ref
        if strand == "forward":
            is_ahead, is_behind = start >= pair.start, end <= pair.start
            is_whole = not circular or end <= pair.start + contig_length
        else:
            is_ahead, is_behind = end <= pair.end, start >= pair.end
            is_whole = not circular or start >= pair.end - contig_length
        if not (is_ahead or is_behind) or not is_whole:
            raise ValueError(f"{edit} reaches across the place where the {strand} strand begins")
        if is_ahead:
            found.append(edit)
    return found


def _pieces(
    pair: PlacedPair, edits: Sequence[Edit], strand: Strand, length: int
) -> list[Interval | str]:
    """The pieces of a window, from left to right: intervals of the contig, and new bases."""
    if strand == "forward":
        return _read_right(pair.start, edits, length)
    return _read_left(pair.end, edits, length)


def _read_right(position: int, edits: Sequence[Edit], length: int) -> list[Interval | str]:
    """The pieces of the ``length`` bases from ``position`` to the right."""
    pieces: list[Interval | str] = []
    for start, num_ref, alt in edits:
        num_before = min(start - position, length)
        new = alt[: length - num_before]
        pieces += [(position, position + num_before), new]
        position = start + num_ref
        length -= num_before + len(new)
        if not length:
            return pieces
    pieces.append((position, position + length))
    return pieces


def _read_left(position: int, edits: Sequence[Edit], length: int) -> list[Interval | str]:
    """The pieces of the ``length`` bases from ``position`` to the left, in order on the contig."""
    pieces: list[Interval | str] = []
    for start, num_ref, alt in reversed(edits):
        num_after = min(position - start - num_ref, length)
        new = alt[max(0, len(alt) - (length - num_after)) :]
        pieces += [(position - num_after, position), new]
        position = start
        length -= num_after + len(new)
        if not length:
            break
    pieces.append((position - length, position))
    pieces.reverse()
    return pieces


def _wrap(interval: Interval, contig_length: int, circular: bool) -> list[Interval]:
    """Split an interval into intervals between 0 and the contig's length; drop empty ones."""
    start, end = interval
    if not circular:
        return [interval] if start < end else []
    pieces = []
    while start < end:
        first = start % contig_length
        size = min(end - start, contig_length - first)
        pieces.append((first, first + size))
        start += size
    return pieces
