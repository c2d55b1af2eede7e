"""The edits of one haplotype, and the place of an allele among them."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

from evo2_tasks.genome.carried_alleles import CarriedAlleles
from evo2_tasks.genome.codon_spans import CodonFinder
from evo2_tasks.genome.haplotype_windows import (
    Background,
    align_in_haplotype,
    make_haplotype,
)
from evo2_tasks.genome.window_layout import WindowSettings, find_limits, find_tile
from evo2_tasks.genome.window_pairs import Edit
from evo2_tasks.genome.windows import Contig

_FIRST_EDITS = 64  # neighbours to the left that are looked at first when an allele is left-aligned


class Neighbours(NamedTuple):
    """The neighbours of an allele on a haplotype.

    Attributes:
        alleles: Numbers of the alleles in the background, in the order of the contig.
        shift: By how many bases the allele moves left among them.
        differs: Whether any window can differ because of the allele.
        offset: Bases of the haplotype from the start of a tiled window to the allele; None for a
            centered window.
        start: First base of the contig in the window, 0-based; may be negative on a circle.
        end: The base after its last one; may pass the length of a circle.
        overlaps: Whether kept alleles overlap the allele, so that they are not in the background.
    """

    alleles: tuple[int, ...]
    shift: int
    differs: bool
    offset: int | None
    start: int
    end: int
    overlaps: bool

    @property
    def key(self) -> tuple[object, ...]:
        """The same for two backgrounds of an allele if they give the same windows."""
        return self.alleles, self.shift, self.differs, self.offset

    def background(self, alleles: CarriedAlleles) -> Background:
        """The edits of the neighbours."""
        return Background(
            tuple(alleles.edit(number) for number in self.alleles),
            tuple(edit for number in self.alleles for edit in alleles.letters(number)),
            self.shift,
            self.differs,
            self.offset,
        )


class Spans:
    """Intervals of a contig, in the order of their starts.

    Args:
        alleles: All alleles.
        numbers: Those whose intervals these are, by rank.
        period: Length of a circular contig, bases; 0 for a linear one.
    """

    def __init__(self, alleles: CarriedAlleles, numbers: Iterable[int], period: int) -> None:
        self._alleles = alleles
        self.numbers = array("i", numbers)
        self._period = period
        self._reach = array("q")
        reach = 0
        for number in self.numbers:
            reach = max(reach, alleles.end[number])
            self._reach.append(reach)

    def find(self, start: int, end: int) -> Iterable[int]:
        """Places in ``numbers`` of those that share a base with a range, or insert within it."""
        if not self.numbers:
            return
        period = self._period
        for turn in (-period, 0, period) if period else (0,):
            first, last = start - turn, end - turn
            place = bisect_left(self.numbers, last, key=self._alleles.start.__getitem__)
            while place and self._reach[place - 1] > first:
                place -= 1
                if self._alleles.end[self.numbers[place]] > first:
                    yield place

    def find_near(self, others: Sequence[int], reach: int, *, is_chain: bool) -> Sequence[int]:
        """Those between the first and the last of some alleles, and those not far from these.

        Args:
            others: The other alleles, by rank; at least one.
            reach: Most bases to them that are not deleted; in a chain to the nearest one of it.
            is_chain: Whether each one that is found takes the search further.
        """
        alleles, numbers = self._alleles, self.numbers
        ranks = alleles.rank
        low = bisect_left(numbers, ranks[others[0]], key=ranks.__getitem__)
        high = bisect_left(numbers, ranks[others[-1]], key=ranks.__getitem__)
        bound = alleles.start[others[0]] - reach
        while low and self._reach[low - 1] >= bound:
            low -= 1
            one = numbers[low]
            deleted = max(0, -alleles.change[one])
            bound = min(bound, alleles.start[one] - reach) if is_chain else bound - deleted
        bound = max(alleles.end[one] for one in others) + reach
        while high < len(numbers) and alleles.start[numbers[high]] <= bound:
            one = numbers[high]
            deleted = max(0, -alleles.change[one])
            bound = max(bound, alleles.end[one] + reach) if is_chain else bound + deleted
            high += 1
        return numbers[low:high]

    def find_clusters(self, is_wanted: Callable[[int], object]) -> Iterator[int]:
        """The wanted alleles, and those that overlap or touch them, directly or through others.

        Args:
            is_wanted: Whether an allele is wanted.
        """
        firsts = [
            place
            for place in range(1, len(self.numbers))
            if self._alleles.start[self.numbers[place]] > self._reach[place - 1]
        ]
        for first, after in pairwise([0, *firsts, len(self.numbers)]):
            cluster = self.numbers[first:after]
            if any(map(is_wanted, cluster)):
                yield from cluster

    def touch(self, start: int, end: int, besides: int) -> bool:
        """Whether any allele but one shares a base with a range, or inserts within it."""
        return any(self.numbers[place] != besides for place in self.find(start, end))


class HaplotypeEdits:
    """The alleles of one haplotype: those that are kept, and those that overlap a kept one.

    Places of alleles count from the first kept one. On a circular contig they go on around the
    circle, in both directions: place ``-1`` is the last allele, one circle before.

    Args:
        alleles: All alleles.
        numbers: Those on the haplotype, by rank, each once. All are located, on one contig.
        contig: The contig.
    """

    def __init__(self, alleles: CarriedAlleles, numbers: Iterable[int], contig: Contig) -> None:
        self._alleles = alleles
        self._contig = contig
        self.kept = array("i")
        dropped: list[int] = []
        for number in numbers:
            (dropped if self._overlaps_kept(number) else self.kept).append(number)
        self.dropped = Spans(alleles, dropped, contig.length if contig.circular else 0)
        self._shifts = array("q", [0])
        for number in self.kept:
            self._shifts.append(self._shifts[-1] + alleles.change[number])

    def edits(self) -> list[Edit]:
        """The edits of the kept alleles, 0-based on the contig."""
        return [self._alleles.edit(number) for number in self.kept]

    def look_around(self, number: int, settings: WindowSettings) -> Neighbours:
        """Find the neighbours of an allele in its window.

        Args:
            number: The allele. It may be on the haplotype or not.
            settings: The window settings of a scoring.
        """
        first, last = self._find_place(number)
        lost = self._shift(last) - self._shift(first)
        contig, alleles = self._contig, self._alleles
        size = len(self.kept)
        left = range(last - size if contig.circular else 0, first)
        right = range(last, first + size if contig.circular else size)
        length = contig.length + self._shift(size) - lost
        place = alleles.start[number] + self._shift(first)
        shift, differs = self._align(number, left, right, place)
        window = min(settings.window_length, length) if contig.circular else settings.window_length
        aligned = place - shift
        start, offset, low = aligned - window // 2, None, first
        if settings.window_placement == "tiled":
            tile = self._find_tile(alleles.start[number], settings)
            # A neighbour that deletes the first base of the window moves its start.
            low = left.start + bisect_right(left, tile, key=self._contig_end)
            start = self._find_kept(tile, left)
            offset = aligned - start
        end = start + window
        # The alternate window of a deletion reads as many bases more on either side.
        extra = max(0, -alleles.change[number])
        if contig.circular and window + 2 * extra >= length:
            chosen = [*right]
        else:
            low = min(low, left.start + bisect_left(left, start - extra + 1, key=self._end))
            high = right.start + bisect_left(right, end + extra + lost, key=self._start)
            chosen = [*range(low, first), *range(last, high)]
        # Around a circle, one allele may be at both ends of the window.
        numbers = {self._number(one) for one in chosen}
        background = sorted(numbers, key=alleles.rank.__getitem__)
        bounds = (
            self._find_base(start, place, lost, left, right, is_end=False),
            self._find_base(end, place, lost, left, right, is_end=True),
        )
        overlaps = any(self._number(one) != number for one in range(first, last))
        return Neighbours(tuple(background), shift, differs, offset, *bounds, overlaps)

    def find_groups(self, distance: int) -> list[tuple[int, ...]]:
        """The maximal groups of two or more kept alleles, in the order of the contig.

        On a circular contig a group may go on across position 0.

        Args:
            distance: Most unchanged bases between two neighbours of a group.
        """
        size = len(self.kept)
        last = size if self._contig.circular else size - 1
        firsts = [
            place
            for place in range(1, last + 1)
            if self._contig_start(place) - self._contig_end(place - 1) > distance
        ]
        if not self._contig.circular:
            firsts = [0, *firsts, size]
        elif firsts:
            firsts.append(firsts[0] + size)
        else:
            firsts = [0, size]
        return [
            tuple(self._number(place) for place in range(first, after))
            for first, after in pairwise(firsts)
            if after - first > 1
        ]

    def find_codon_groups(self, codons: CodonFinder) -> list[tuple[int, ...]]:
        """The maximal groups of two or more kept alleles that touch one codon, or are linked so.

        The members are in the order of the contig. Where a circular contig has fewer bases from the
        first to the last one across position 0, a group goes on there.

        Args:
            codons: Finds the codons of an allele.
        """
        groups = {number: [number] for number in self.kept}
        spans = sorted((*span, number) for number in self.kept for span in codons.find(number))
        for _, of_transcript in groupby(spans, itemgetter(0)):
            before = last = -2  # before the first codon
            for _, first, end, number in of_transcript:
                if first <= last and groups[number] is not groups[before]:
                    added = groups[number]
                    groups[before] += added
                    groups.update(dict.fromkeys(added, groups[before]))
                if first > last or end > last:
                    last, before = end, number
        distinct = {id(group): group for group in groups.values() if len(group) > 1}
        found = [sorted(group, key=self._alleles.rank.__getitem__) for group in distinct.values()]
        if self._contig.circular:
            found = [self._turn(group) for group in found]
        return [tuple(group) for group in found]

    def _turn(self, members: list[int]) -> list[int]:
        """Alleles of a circular contig, after the widest gap between two of them."""
        starts = [self._alleles.start[one] for one in members]
        starts.append(starts[0] + self._contig.length)
        gaps = [
            start - self._alleles.end[one] for one, start in zip(members, starts[1:], strict=True)
        ]
        first = (gaps.index(max(gaps)) + 1) % len(members)
        return [*members[first:], *members[:first]]

    def _overlaps_kept(self, number: int) -> bool:
        """Whether an allele overlaps a kept one; the alleles come in order."""
        size = len(self.kept)
        if size and self._overlaps(size - 1, number):
            return True
        if not self._contig.circular:
            return False
        # An allele across position 0 may overlap the first ones.
        place, end = size, self._alleles.end[number]
        while place < 2 * size and self._contig_start(place) < end:
            if self._overlaps(place, number):
                return True
            place += 1
        return False

    def _find_place(self, number: int) -> tuple[int, int]:
        """The places of an allele and of the kept ones that overlap it: first, and after the last.

        If there are none, both are the place of the first kept allele after it.
        """
        ranks, size = self._alleles.rank, len(self.kept)
        first = last = bisect_left(self.kept, ranks[number], key=ranks.__getitem__)
        if first < size and self.kept[first] == number:
            return first, first + 1
        circular = self._contig.circular
        while (first > 0 or circular) and last - first < size and self._overlaps(first - 1, number):
            first -= 1
        while (last < size or circular) and last - first < size and self._overlaps(last, number):
            last += 1
        return first, last

    def _align(self, number: int, left: range, right: range, place: int) -> tuple[int, bool]:
        """By how many bases an allele moves left among its neighbours, and whether it differs.

        Args:
            number: The allele.
            left: The places of the kept alleles before it.
            right: Those after it.
            place: Where it is on the haplotype.
        """
        alleles, circular = self._alleles, self._contig.circular
        differs = alleles.differs(number)
        touches = bool(left) and self._contig_end(left[-1]) == alleles.start[number]
        if not alleles.is_indel(number) or not (touches or (circular and not differs)):
            return 0, differs
        aligned = alleles.aligned(number)
        first = right.start if circular else max(left.start, left.stop - _FIRST_EDITS)
        while True:
            near = right if circular else range(first, left.stop)
            numbers = [self._number(one) for one in near]
            haplotype = make_haplotype(
                aligned.contig,
                [alleles.edit(one) for one in numbers],
                [letter for one in numbers for letter in alleles.letters(one)],
            )
            _, shift, differs = align_in_haplotype(aligned, haplotype)
            if circular or first == left.start or self._end(first - 1) < place - shift:
                return shift, differs
            first = max(left.start, first - (left.stop - first))

    def _find_tile(self, position: int, settings: WindowSettings) -> int:
        """Start of the tiled window of an allele, 0-based on the contig; at most ``position``."""
        contig = self._contig
        limits = find_limits(settings, contig)
        tile = find_tile(position - limits.window_length // 2, contig, limits.window_step)
        return position - (position - tile) % contig.length if contig.circular else tile

    def _find_kept(self, base: int, left: range) -> int:
        """Place on the haplotype of a base of the contig, or of the next one that is not deleted.

        A base that is replaced by as many bases as before is not deleted.

        Args:
            base: The base, 0-based on the contig.
            left: The places of the kept alleles that may come before it.
        """
        while True:
            after = left.start + bisect_right(left, base, key=self._contig_start)
            if after == left.start or self._contig_end(after - 1) <= base:
                return base + self._shift(after)
            inside = after - 1
            if self._alleles.change[self._number(inside)] == 0:
                return self._start(inside) + base - self._contig_start(inside)
            base = self._contig_end(inside)

    def _find_base(
        self, bound: int, place: int, lost: int, left: range, right: range, *, is_end: bool
    ) -> int:
        """The base of the contig at a bound of a window, 0-based; beside it, if the bound is new.

        Args:
            bound: Start or end of the window, 0-based on the haplotype.
            place: Where the allele is on the haplotype.
            lost: By how many bases the kept alleles that overlap it would move what is after them.
            left: The places of the kept alleles before it.
            right: Those after it.
            is_end: Whether the bound is the end of the window.
        """
        if bound > place:
            left, bound = right, bound + lost
        if is_end:
            inside = left.start + bisect_left(left, bound, key=self._start) - 1
            cuts = inside >= left.start and self._end(inside) > bound
        else:
            inside = left.start + bisect_right(left, bound, key=self._end)
            cuts = inside < left.stop and self._start(inside) < bound
        if not cuts:
            return bound - self._shift(inside + is_end)
        if self._alleles.change[self._number(inside)] == 0:
            return self._contig_start(inside) + bound - self._start(inside)
        return self._contig_end(inside) if is_end else self._contig_start(inside)

    def _number(self, place: int) -> int:
        """The allele at a place."""
        return self.kept[place % len(self.kept)]

    def _shift(self, place: int) -> int:
        """By how many bases the alleles before a place move what is after them."""
        turns, place = divmod(place, len(self.kept)) if self.kept else (0, 0)
        return self._shifts[place] + turns * self._shifts[-1]

    def _contig_start(self, place: int) -> int:
        """First changed base of the allele at a place, 0-based on the contig."""
        turns, place = divmod(place, len(self.kept))
        return self._alleles.start[self.kept[place]] + turns * self._contig.length

    def _contig_end(self, place: int) -> int:
        """The base after its last changed one."""
        turns, place = divmod(place, len(self.kept))
        return self._alleles.end[self.kept[place]] + turns * self._contig.length

    def _start(self, place: int) -> int:
        """First new base of the allele at a place, 0-based on the haplotype."""
        return self._contig_start(place) + self._shift(place)

    def _end(self, place: int) -> int:
        """The base after its last new one."""
        return self._contig_end(place) + self._shift(place + 1)

    def _overlaps(self, place: int, number: int) -> bool:
        """Whether the allele at a place overlaps an allele."""
        start, end = self._contig_start(place), self._contig_end(place)
        first, last = self._alleles.start[number], self._alleles.end[number]
        if start < end and first < last:
            return start < last and first < end
        if start == end and first == last:
            return start == first
        return start < first < end or first < start < last
