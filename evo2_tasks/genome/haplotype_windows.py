"""The windows of an allele among its neighbours: a haplotype takes the place of the contig.

The other alleles of a chromosome are edits of the reference contig. The contig with these edits is
a sequence of its own, a haplotype, with coordinates of its own. An allele gets its windows there by
the rules of :func:`~evo2_tasks.genome.windows.place_allele`, as if the haplotype were the
reference: it is left-aligned in the haplotype, and the windows are bases of the haplotype.

A row of a file of such windows has the fields of a `PlacedAllele`. ``background`` has all edits of
the haplotype, 0-based on the reference contig. ``window_start``, ``window_end`` and ``edit_start``
are 0-based on the haplotype with these edits. `read_haplotype` makes that haplotype again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from evo2_tasks.genome.alleles import TrimmedAllele
from evo2_tasks.genome.window_layout import (
    Layout,
    LeftAligned,
    PlacedAllele,
    WindowSettings,
    find_limits,
    left_align,
    move_left,
    size_windows,
    why_too_long,
)
from evo2_tasks.genome.window_pairs import (
    Edit,
    Fetch,
    Interval,
    PlacedPair,
    Strand,
    common_length,
    merge_intervals,
    needed_intervals,
    strand_sequences,
)
from evo2_tasks.genome.windows import AlignedAllele, Contig

FetchBases = Callable[[int, int], str]
"""Returns the bases of a contig from a start to an end, 0-based and half-open."""


class _Piece(NamedTuple):
    """A piece of a haplotype: the bases of the contig from ``start`` to ``end``, or new bases."""

    first: int
    size: int
    start: int
    end: int
    alt: str | None


class Haplotype:
    """A reference contig with edits, and the coordinates of the sequence that they make.

    Base 0 of the haplotype is the first base of the contig, or what replaces it. On a circular
    contig with an edit across position 0 it is the first base after this edit.

    Args:
        name: Name of the contig.
        contig_length: Length of the contig, bases.
        circular: Whether it is circular.
        edits: The edits, 0-based on the contig. On a circular contig one of them may end after the
            length.
        fetch: Returns bases of the contig; called only within 0 and its length.
        count: Returns the number of bases other than A, C, G and T in such a range.
        letters: Edits that replace an IUPAC letter of the contig by the base of REF. Letters in the
            replaced bases of other edits are left out.

    Raises:
        ValueError: Two edits change the same bases, or one is not within the contig.
    """

    def __init__(
        self,
        name: str,
        contig_length: int,
        circular: bool,
        edits: Iterable[Edit],
        fetch: FetchBases,
        count: Callable[[int, int], int] | None = None,
        letters: Iterable[Edit] = (),
    ) -> None:
        self.name = name
        self.circular = circular
        self._contig_length = contig_length
        self._fetch = fetch
        self._count = count
        self._edits = sorted(edits)
        self._origin = max(0, self._edits[-1].end - contig_length) if self._edits else 0
        self._check()
        self.letters = tuple(
            letter
            for letter in sorted(set(letters))
            if not any(self._replaces(edit, letter.start) for edit in self._edits)
        )
        self.background = tuple(sorted([*self._edits, *self.letters]))
        self._shifts = [0]
        for _, num_ref, alt in self._edits:
            self._shifts.append(self._shifts[-1] + len(alt) - num_ref)
        self._pieces: list[_Piece] = []
        self.length = self._cut_pieces()
        self._firsts = [piece.first for piece in self._pieces]

    def fetch(self, start: int, end: int) -> str:
        """The bases from ``start`` to ``end``, 0-based on the haplotype; a circle wraps."""
        return "".join(
            piece.alt[first:last] if piece.alt is not None else self._read(piece, first, last)
            for piece, first, last in self._parts(start, end)
        )

    def count_non_acgt(self, start: int, end: int) -> int:
        """Number of bases other than A, C, G and T in a range, before letters are replaced."""
        if self._count is None:
            raise ValueError("the haplotype was made without a function that counts")
        if 0 <= start < end <= self.length and not self._count(*self._find_cover(start, end)):
            return 0
        return sum(
            self._count(piece.start + first, piece.start + last)
            for piece, first, last in self._parts(start, end)
            if piece.alt is None
        )

    def wrap(self, position: int) -> int:
        """The position, on a circular haplotype modulo its length."""
        return position % self.length if self.circular else position

    def find_edit(self, start: int, end: int) -> int:
        """Where bases of the contig are on the haplotype that no edit changes.

        Args:
            start: The first of them, 0-based on the contig.
            end: The base after the last one; ``start`` for the place of an insertion.
        """
        num_before = bisect_left(self._edits, Edit(start, end - start, ""))
        return self.wrap(start - self._origin + self._shifts[num_before])

    def find_place(self, position: int) -> int | None:
        """Where a base of the contig is on the haplotype; None if the haplotype lacks it.

        A base is not lacking if it is replaced by one other, alone or with its neighbours.

        Args:
            position: The base, 0-based on the contig.
        """
        if self._find_loss(position) is not None:
            return None
        return self.find_edit(position, position + 1)

    def find_next(self, position: int) -> int:
        """Where the first base from a position of the contig on is that the haplotype has.

        Args:
            position: The position, 0-based on the contig.

        Returns:
            Its place on the haplotype; the length of a linear haplotype that ends before it.
        """
        base = self._skip_losses(position)
        return self.length if base == self._contig_length else self.find_edit(base, base + 1)

    def find_base(self, place: int) -> int:
        """The base of the contig at a place of the haplotype, or the next one that it has.

        Args:
            place: The place, 0-based on the haplotype, at most its length.

        Returns:
            0-based; the length of a linear contig if no base follows.
        """
        if place == self.length:
            return self._contig_length
        piece = self._pieces[bisect_right(self._firsts, place) - 1]
        if piece.alt is None or piece.size == piece.end - piece.start:
            base = piece.start + place - piece.first
            return base % self._contig_length if self.circular else base
        return self._skip_losses(piece.end)

    def find_bounds(self, start: int, end: int) -> Interval:
        """The bases of the contig in a range of the haplotype: the first, and after the last.

        Bases that the haplotype inserts are between two bases of the contig.

        Args:
            start: Start of the range, 0-based on the haplotype; may be negative on a circle.
            end: Its end, after ``start``; may pass the length of a circle.
        """
        turns, offset = divmod(start, self.length)
        first = self._pieces[bisect_right(self._firsts, offset) - 1]
        low = first.start
        if first.alt is None or first.size == first.end - first.start:
            low += offset - first.first
        low += turns * self._contig_length
        turns, offset = divmod(end - 1, self.length)
        last = self._pieces[bisect_right(self._firsts, offset) - 1]
        high = last.end
        if last.alt is None or last.size == last.end - last.start:
            high = last.start + offset - last.first + 1
        return low, high + turns * self._contig_length

    def find_edits(self, start: int, end: int) -> list[Edit]:
        """The edits that change the bases of a range of the haplotype, in order.

        Args:
            start: Start of the range, 0-based on the haplotype; may be negative on a circle.
            end: Its end, after ``start``; may pass the length of a circle.
        """
        if self.circular and end - start >= self.length:
            return self._edits
        turn = start - self.wrap(start)
        ranges = [(start - turn, end - turn)]
        if self.circular and end - turn > self.length:
            ranges.append((start - turn - self.length, end - turn - self.length))
        found = set()
        for low, high in ranges:
            first = bisect_right(range(len(self._edits)), low, key=self._end)
            found |= {*range(first, bisect_left(range(len(self._edits)), high, key=self._start))}
        return [self._edits[number] for number in sorted(found)]

    def contig_intervals(self, intervals: Iterable[Interval]) -> list[Interval]:
        """The bases of the contig that some ranges of the haplotype read.

        Args:
            intervals: 0-based and half-open ranges of the haplotype.

        Returns:
            0-based and half-open intervals of the contig, sorted. No two overlap or touch.
        """
        return merge_intervals(
            interval
            for start, end in intervals
            for piece, first, last in self._parts(start, end)
            if piece.alt is None
            for interval in self._wrap_interval(piece.start + first, piece.start + last)
        )

    def _check(self) -> None:
        if not self._edits:
            return
        first, last = self._edits[0], self._edits[-1]
        if first.start < 0 or last.end > self._contig_length * (2 if self.circular else 1):
            raise ValueError(f"the edits {first} to {last} are not within {self.name}")
        for one, other in pairwise(self._edits):
            if other.start < one.start + one.num_ref or other[:2] == one[:2]:
                raise ValueError(f"{one} and {other} change the same bases")
        if first.start < self._origin:
            raise ValueError(f"{last} and {first} change the same bases")

    def _start(self, number: int) -> int:
        """Where the new bases of an edit begin, 0-based on the haplotype, not wrapped."""
        return self._edits[number].start - self._origin + self._shifts[number]

    def _end(self, number: int) -> int:
        """Where they end."""
        return self._start(number) + len(self._edits[number].alt)

    def _skip_losses(self, base: int) -> int:
        """A base of the contig, or the next one that the haplotype has; the length if none is."""
        while True:
            if base >= self._contig_length:
                if not self.circular:
                    return self._contig_length
                base -= self._contig_length
            loss = self._find_loss(base)
            if loss is None:
                return base
            base = loss.end

    def _find_loss(self, position: int) -> Edit | None:
        """The edit because of which the haplotype lacks a base of the contig; None if it has it."""
        near = bisect_right(self._edits, position, key=attrgetter("start"))
        for edit in (*self._edits[max(0, near - 1) : near], *self._edits[-1:]):
            if self._replaces(edit, position) and len(edit.alt) != edit.num_ref:
                return edit
        return None

    def _replaces(self, edit: Edit, position: int) -> bool:
        return edit.start <= position < edit.end or (
            self.circular and edit.start <= position + self._contig_length < edit.end
        )

    def _cut_pieces(self) -> int:
        """Cut the haplotype into pieces, and return its length."""
        pieces, first, place = self._pieces, 0, self._origin
        for start, num_ref, alt in self._edits:
            if start > place:
                pieces.append(_Piece(first, start - place, place, start, None))
                first += start - place
            place = start + num_ref
            if alt:
                pieces.append(_Piece(first, len(alt), start, place, alt))
                first += len(alt)
        end = self._contig_length + self._origin
        if end > place:
            pieces.append(_Piece(first, end - place, place, end, None))
            first += end - place
        return first

    def _find_cover(self, start: int, end: int) -> Interval:
        """The shortest interval of the contig with all its bases that are in a range."""
        one = self._pieces[bisect_right(self._firsts, start) - 1]
        other = self._pieces[bisect_right(self._firsts, end - 1) - 1]
        first = one.start if one.alt is not None else one.start + start - one.first
        last = other.end if other.alt is not None else other.start + end - other.first
        return first, last

    def _parts(self, start: int, end: int) -> Iterable[tuple[_Piece, int, int]]:
        """The pieces of a range, each with its first and last base within the piece."""
        if not self.circular and not 0 <= start <= end <= self.length:
            raise ValueError(f"{start}..{end} is not within the haplotype of {self.name}")
        while start < end:
            offset = self.wrap(start)
            number = bisect_right(self._firsts, offset) - 1
            piece = self._pieces[number]
            first = offset - piece.first
            last = min(piece.size, first + end - start)
            yield piece, first, last
            start += last - first

    def _read(self, piece: _Piece, first: int, last: int) -> str:
        start = piece.start + first
        bases = "".join(
            self._fetch(*interval) for interval in self._wrap_interval(start, piece.start + last)
        )
        for letter in self.letters:
            for offset in (letter.start - start, letter.start + self._contig_length - start):
                if 0 <= offset < len(bases):
                    bases = bases[:offset] + letter.alt + bases[offset + 1 :]
        return bases

    def _wrap_interval(self, start: int, end: int) -> list[Interval]:
        """Split a range that passes the contig's length; it does so on a circular contig only."""
        length = self._contig_length
        if end <= length:
            return [(start, end)]
        if start >= length:
            return [(start - length, end - length)]
        return [(start, length), (0, end - length)]


class Background(NamedTuple):
    """The place of an allele among its neighbours: what decides its windows.

    Attributes:
        edits: The neighbours' edits that the windows read, 0-based on the reference contig.
        letters: Bases of the neighbours' REF in place of IUPAC letters of the reference.
        shift: By how many bases the allele moves left in the haplotype.
        differs: Whether any window can differ because of the allele.
        offset: Bases of the haplotype from the start of the window to the allele; None for a
            centered window.
    """

    edits: tuple[Edit, ...]
    letters: tuple[Edit, ...]
    shift: int
    differs: bool
    offset: int | None


def make_haplotype(
    contig: Contig, background: Sequence[Edit], letters: Iterable[Edit]
) -> Haplotype:
    """The haplotype of a contig with the edits of an allele's neighbours.

    Args:
        contig: The contig. The bases of REF in it, in place of IUPAC letters, stay.
        background: The edits, 0-based on the contig.
        letters: More bases of REF in place of IUPAC letters.
    """

    def fetch(start: int, end: int) -> str:
        return contig.reference.fetch(contig.name, start, end)

    return Haplotype(
        contig.name,
        contig.length,
        contig.circular,
        background,
        fetch,
        contig.count_non_acgt,
        [*contig.letters, *letters],
    )


def align_in_haplotype(allele: AlignedAllele, haplotype: Haplotype) -> LeftAligned:
    """Left-align an allele in a haplotype, 0-based there. No edit may overlap the allele."""
    start, ref, alt = allele.aligned
    place = haplotype.find_edit(start, start + len(ref))
    return left_align(TrimmedAllele(place, ref, alt), haplotype)


def place_in_haplotype(
    allele: AlignedAllele, background: Background, settings: WindowSettings
) -> PlacedAllele:
    """Find the status of an allele among its neighbours, and place its windows.

    Args:
        allele: The allele, on the reference.
        background: Its neighbours.
        settings: The window settings of the scoring.

    Returns:
        The allele with the status and the flags that :func:`place_allele` would give it with the
        haplotype as reference. ``background`` has the edits of the haplotype; the coordinates of
        the windows and of the allele are those of the haplotype (see `read_haplotype`).
    """
    haplotype = make_haplotype(allele.contig, background.edits, background.letters)
    limits = find_limits(settings, haplotype)
    start, ref, alt = allele.aligned
    reason = why_too_long(len(ref), len(alt), limits.max_allele_length)
    if reason is not None:
        return PlacedAllele("too_long", reason, reference_contig=haplotype.name)
    place = haplotype.find_edit(start, start + len(ref))
    return place_on(
        haplotype,
        TrimmedAllele(place, ref, alt),
        background,
        settings,
        is_alias=allele.is_alias,
        is_moved=allele.is_moved,
    )


def place_on(
    haplotype: Haplotype,
    allele: TrimmedAllele,
    background: Background,
    settings: WindowSettings,
    *,
    is_alias: bool,
    is_moved: bool,
) -> PlacedAllele:
    """Place the windows of an allele on a haplotype.

    Args:
        haplotype: The haplotype, with the edits of the background alone.
        allele: The allele, 0-based on the haplotype.
        background: The place of the allele among its neighbours.
        settings: The window settings of the scoring.
        is_alias: Whether the input has another name for the contig.
        is_moved: Whether left-aligning on the reference moved the allele.
    """
    limits = find_limits(settings, haplotype)
    aligned = move_left(allele, background.shift, haplotype)
    if background.offset is None:
        first = aligned.start - limits.window_length // 2
    else:
        first = haplotype.wrap(aligned.start - background.offset)
    end = first + limits.window_length
    if not haplotype.circular:
        first, end = max(0, first), min(end, haplotype.length)
    return size_windows(
        Layout(aligned, background.differs, first, end),
        haplotype,
        settings,
        limits,
        is_alias=is_alias,
        is_moved=is_moved or background.shift > 0,
    )


def read_haplotype(
    placed: PlacedAllele, fetch: Fetch, contig_length: int, circular: bool
) -> Haplotype:
    """The haplotype of a row that `place_in_haplotype` has made.

    Args:
        placed: The row.
        fetch: Returns bases of the reference between 0 and the contig's length.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Raises:
        ValueError: The row has no windows.
    """
    contig = placed.reference_contig
    if contig is None:
        raise ValueError("a row without windows has no haplotype")

    def fetch_bases(start: int, end: int) -> str:
        return fetch(contig, start, end)

    return Haplotype(contig, contig_length, circular, placed.background, fetch_bases)


def haplotype_sequences(
    fetch: Fetch,
    placed: PlacedAllele,
    strand: Strand,
    length: int,
    contig_length: int,
    circular: bool,
) -> tuple[bytes, bytes]:
    """The reference and the alternate window of one strand of a row, in reading direction.

    Args:
        fetch: As for `strand_sequences`: bases of the reference.
        placed: A row that `place_in_haplotype` has made, and that has windows.
        strand: Which strand reads.
        length: Tokens of each window.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Returns:
        The two windows in upper case. Both have the edits of the haplotype.
    """
    haplotype = read_haplotype(placed, fetch, contig_length, circular)
    return strand_sequences(
        lambda _, start, end: haplotype.fetch(start, end),
        _pair_of(placed),
        strand,
        length,
        haplotype.length,
        circular,
    )


def haplotype_intervals(placed: PlacedAllele, contig_length: int, circular: bool) -> list[Interval]:
    """The intervals of the reference contig that `haplotype_sequences` reads for a row.

    Args:
        placed: A row that `place_in_haplotype` has made, and that has windows.
        contig_length: Length of the reference contig, bases.
        circular: Whether that contig is circular.

    Returns:
        0-based and half-open intervals of the contig, sorted. No two of them overlap or touch.
    """
    haplotype = read_haplotype(placed, _fetch_nothing, contig_length, circular)
    lengths = {strand: size.length for strand, size in placed.sizes.items()}
    return haplotype.contig_intervals(
        needed_intervals(_pair_of(placed), lengths, haplotype.length, circular)
    )


def lift_horizon(placed: PlacedAllele, contig_length: int, circular: bool) -> PlacedAllele:
    """The windows of a row as they are before a horizon cuts them.

    Args:
        placed: The row.
        contig_length: Length of its reference contig, bases.
        circular: Whether that contig is circular.
    """
    if placed.pair is None:
        return placed
    haplotype = read_haplotype(placed, _fetch_nothing, contig_length, circular)
    pair = _pair_of(placed)
    lengths = {
        strand: common_length(pair, strand, haplotype.length, circular) for strand in placed.sizes
    }
    return placed._replace(length_fwd=lengths.get("forward"), length_rev=lengths.get("reverse"))


def _pair_of(placed: PlacedAllele) -> PlacedPair:
    """The windows of a row on its haplotype, which has the background already."""
    pair = placed.pair
    if pair is None:
        raise ValueError("a row without windows has no pair")
    return pair._replace(background=())


def _fetch_nothing(contig: str, start: int, end: int) -> str:
    raise ValueError(f"{contig}:{start}-{end} is not to be read")
