"""The windows of tracks: how they are laid over a contig, and which bases are taken from each.

Windows begin at multiples of a step from the first base of the contig, whatever the regions are. So
the window of a base, and with it its values, depend on the contig and the settings alone. The step
is ``window_length - min_context``. Each strand takes a base from the window in which it reads the
most bases before it. Forward, this is the first window that has the base; on the reverse strand, it
is the last one. Where several windows end at the last base of a linear contig, the first of them is
taken, and the others are not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evo2_tasks.genome.window_layout import DEFAULT_MIN_CONTEXT
from evo2_tasks.genome.window_pairs import Interval, Strand


class TakenFrom(NamedTuple):
    """A window of a strand, and the bases that the strand takes from it.

    Attributes:
        start: First base of the window, 0-based.
        end: Base after its last one. May pass the length of a circular contig.
        first: First base that is taken from it, between 0 and the length of the contig.
        last: Base after the last one that is taken from it.
    """

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """How windows are laid over a contig.

    Attributes:
        length: Length of the contig, bases.
        circular: Whether it is circular.
        window_length: Length of a window, bases; at most that of a circular contig.
        step: Bases from the beginning of a window to that of the next one.
    """

    length: int
    circular: bool
    window_length: int
    step: int

    def find(self, base: int, strand: Strand) -> TakenFrom:
        """The window from which a strand takes a base.

        Args:
            base: The base, 0-based, between 0 and the length of the contig.
            strand: The strand that reads.
        """
        find = self._find_forward if strand == "forward" else self._find_reverse
        return find(base)

    def _find_forward(self, base: int) -> TakenFrom:
        window, step, length = self.window_length, self.step, self.length
        reached = base - window  # the first window that has the base begins after this one
        if reached < 0 and not self.circular:
            return TakenFrom(0, min(window, length), 0, min(window, length))
        turn = length if reached < 0 else 0
        start = ((reached + turn) // step + 1) * step
        # On a circle the window at base 0 follows the last one, at a shorter step.
        before = start - step
        if self.circular and start >= length:
            start = length
        end = start % length + window if self.circular else min(start + window, length)
        first, last = (one - turn + window for one in (before, start))
        return TakenFrom(start % length, end, max(first, 0), min(last, length))

    def _find_reverse(self, base: int) -> TakenFrom:
        window, step, length = self.window_length, self.step, self.length
        number = base // step
        if not self.circular:
            number = min(number, max(0, -((window - length) // step)))
        start = number * step
        end = start + window if self.circular else min(start + window, length)
        is_last = start + step >= length or (not self.circular and end == length)
        return TakenFrom(start, end, start, length if is_last else start + step)

    def count_context(self, taken: TakenFrom, base: int, strand: Strand) -> int:
        """Number of bases that a strand reads in a window before a base of it."""
        at = self.unroll(taken, base)
        return at - taken.start if strand == "forward" else taken.end - 1 - at

    def unroll(self, taken: TakenFrom, base: int) -> int:
        """The position of a base in the coordinates of a window, which may pass the length."""
        return base if base >= taken.start else base + self.length


def lay_windows(
    length: int, *, circular: bool, window_length: int, min_context: int | None
) -> Tiling:
    """Lay windows over a contig.

    Args:
        length: Length of the contig, bases.
        circular: Whether it is circular.
        window_length: Length of a window, bases.
        min_context: Least bases that a strand reads before a base, except near the ends of a linear
            contig. None for the lesser of 512 and a quarter of the window. A circular contig may
            have no more than these; its windows then begin at steps of a quarter of its length.
    """
    window = min(window_length, length) if circular else window_length
    least = min(DEFAULT_MIN_CONTEXT, window // 4) if min_context is None else min_context
    step = window - least if least < window else max(1, window // 4)
    return Tiling(length, circular, window, step)


class Tile(NamedTuple):
    """A window that a strand reads, and the bases of the regions that are taken from it.

    Attributes:
        reference_contig: Name of the contig.
        strand: The strand that reads.
        start: First base of the window, 0-based.
        end: Base after its last one. May pass the length of a circular contig.
        pieces: Bases that are taken from it: sorted, separate intervals on the contig, 0-based and
            half-open.
    """

    reference_contig: str
    strand: Strand
    start: int
    end: int
    pieces: tuple[Interval, ...]

    @property
    def num_bases(self) -> int:
        """Number of bases that are taken from it."""
        return sum(end - start for start, end in self.pieces)

    def find_read(self, contig_length: int) -> Interval:
        """The part of the window that the strand has to read: up to the last base that is taken.

        Args:
            contig_length: Length of the contig, bases.

        Returns:
            Its start and end in the coordinates of the window.
        """
        turn = 0 if self.pieces[0][0] >= self.start else contig_length
        if self.strand == "forward":
            return self.start, self.pieces[-1][1] + turn
        return self.pieces[0][0] + turn, self.end

    def list_contexts(self, contig_length: int) -> Iterator[range]:
        """Number of bases that the strand reads before each base, for each of the pieces.

        Args:
            contig_length: Length of the contig, bases.
        """
        turn = 0 if self.pieces[0][0] >= self.start else contig_length
        for first, last in self.pieces:
            if self.strand == "forward":
                yield range(first + turn - self.start, last + turn - self.start)
            else:
                yield range(self.end - 1 - first - turn, self.end - 1 - last - turn, -1)


def tile_regions(
    stretches: Mapping[str, Sequence[Interval]],
    tilings: Mapping[str, Tiling],
    strands: Sequence[Strand],
) -> Iterator[Tile]:
    """Find the windows that have to be read for the bases of some regions.

    Args:
        stretches: Sorted, separate intervals (0-based, half-open) by contig.
        tilings: How windows are laid over each of these contigs.
        strands: The strands to read.

    Yields:
        The windows in the order of the contigs and of the first base that is taken. Of the windows
        of one strand, each base is taken from one, and the bases come in the order of the contigs.
    """
    for contig, intervals in stretches.items():
        tiles = [
            Tile(contig, strand, taken.start, taken.end, pieces)
            for strand in strands
            for taken, pieces in _take(intervals, tilings[contig], strand)
        ]
        yield from sorted(tiles, key=lambda tile: tile.pieces[0][0])


def _take(
    intervals: Iterable[Interval], tiling: Tiling, strand: Strand
) -> Iterator[tuple[TakenFrom, tuple[Interval, ...]]]:
    """The windows of a strand with the pieces of the intervals that it takes from each."""
    taken: TakenFrom | None = None
    pieces: list[Interval] = []
    for start, end in intervals:
        at = start
        while at < end:
            if taken is None or at >= taken.last:
                if taken is not None:
                    yield taken, tuple(pieces)
                taken, pieces = tiling.find(at, strand), []
            stop = min(end, taken.last)
            pieces.append((at, stop))
            at = stop
    if taken is not None:
        yield taken, tuple(pieces)


def cut_stretches(
    stretches: Mapping[str, Sequence[Interval]], num_slices: int
) -> list[dict[str, list[Interval]]]:
    """Cut intervals into slices of about equally many bases, in order.

    Args:
        stretches: Sorted, separate intervals (0-based, half-open) by contig.
        num_slices: Number of slices; some are empty if there are fewer bases.
    """
    total = sum(end - start for intervals in stretches.values() for start, end in intervals)
    slices: list[dict[str, list[Interval]]] = [{} for _ in range(num_slices)]
    number = num_before = 0
    for contig, intervals in stretches.items():
        for start, end in intervals:
            at = start
            while at < end:
                while num_before >= (number + 1) * total // num_slices:
                    number += 1
                stop = min(end, at + (number + 1) * total // num_slices - num_before)
                slices[number].setdefault(contig, []).append((at, stop))
                num_before += stop - at
                at = stop
    return slices
