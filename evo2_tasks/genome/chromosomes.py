"""The alleles of one sample on one contig, by haplotype."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.genome.carried_alleles import NOWHERE, CarriedAlleles
from evo2_tasks.genome.codon_spans import CodonFinder
from evo2_tasks.genome.genotypes import NO_SET, UNNAMED_SET, UNPHASED, Genotypes
from evo2_tasks.genome.haplotype_edits import HaplotypeEdits, Neighbours, Spans
from evo2_tasks.genome.window_layout import WindowSettings

_WINDOWS_AROUND: Final = 4  # alleles that are this many windows away are in no common window

_FARTHEST: Final = 4 << 20  # bases; four times the longest window of a model

_Key = tuple[int, int]
"""A haplotype: its phase set, and its place in GT; 0 for a name of PSL, which needs no place.

The phase set of a haplotype that has only the alleles which are on every one is `NO_SET`.
"""


class RowNeighbours(NamedTuple):
    """The neighbours of an allele on a haplotype of a sample, and the remarks on them.

    Attributes:
        phase_set: Name of the phase set of the haplotype; null if it has none.
        flags: The remarks.
        neighbours: The neighbours.
    """

    phase_set: str | None
    flags: tuple[str, ...]
    neighbours: Neighbours


class PlacedHaplotype(NamedTuple):
    """A haplotype of a sample on a contig.

    Attributes:
        key: Its phase set and its place in GT.
        edits: Its alleles.
    """

    key: tuple[int, int]
    edits: HaplotypeEdits


class Group(NamedTuple):
    """Neighbouring alleles of one haplotype.

    Attributes:
        haplotype: Place in GT, from 1.
        phase_set: Name of the phase set; null if it has none.
        members: Numbers of the alleles, in the order of the contig.
    """

    haplotype: int
    phase_set: str | None
    members: tuple[int, ...]


class Chromosome:
    """The alleles of one sample on one contig.

    Args:
        alleles: All alleles.
        genotypes: Who carries them.
        entries: The entries of the sample on the contig, by rank of the allele.
        contig: Index of the contig.
    """

    def __init__(
        self,
        alleles: CarriedAlleles,
        genotypes: Genotypes,
        entries: NDArray[np.int64],
        contig: int,
    ) -> None:
        self._alleles = alleles
        self._genotypes = genotypes
        self._contig = alleles.reference_contig(contig)
        self._period = self._contig.length if self._contig.circular else 0
        everywhere: defaultdict[int, array[int]] = defaultdict(_integers)
        self._phased: defaultdict[_Key, array[int]] = defaultdict(_integers)
        self._in_set: defaultdict[int, array[int]] = defaultdict(_integers)
        self._places: dict[_Key, int] = {}
        hets, self._het_sets, self._het_places = array("i"), array("i"), array("i")
        left_out: defaultdict[_Key, array[int]] = defaultdict(_integers)
        for number, place, phase_set, is_everywhere in zip(
            alleles.entry[entries].tolist(),
            genotypes.haplotype[entries].tolist(),
            genotypes.phase_set[entries].tolist(),
            genotypes.everywhere[entries].tolist(),
            strict=True,
        ):
            key = (NO_SET, place) if is_everywhere else self._key(phase_set, place)
            if not alleles.located[number]:
                left_out[key].append(number)
                continue
            if phase_set > UNNAMED_SET:
                self._in_set[phase_set].append(number)
            if is_everywhere:
                everywhere[place].append(number)
            else:
                hets.append(number)
                self._het_sets.append(phase_set if place != UNPHASED else NO_SET)
                self._het_places.append(place)
                if place != UNPHASED:
                    self._phased[key].append(number)
                    self._places.setdefault(key, place)
        self._hets = Spans(alleles, hets, self._period)
        self._everywhere = {
            place: Spans(alleles, numbers, self._period) for place, numbers in everywhere.items()
        }
        self._left_out = {
            key: Spans(alleles, numbers, self._period) for key, numbers in left_out.items()
        }
        self._is_unnamed = all(one in (UNNAMED_SET, NO_SET) for one in self._het_sets)
        self._edits: dict[_Key, HaplotypeEdits] = {}
        self._coding: dict[int, array[int]] = {}
        self._candidates: dict[int, array[int]] = {}

    def forget(self) -> None:
        """Forget the haplotypes of earlier calls, which may have had other windows or genes."""
        self._edits.clear()
        self._coding.clear()

    def look_around(self, number: int, entry: int, settings: WindowSettings) -> RowNeighbours:
        """Find the neighbours of an allele on one of its haplotypes.

        Args:
            number: The allele, which is located.
            entry: The entry of the sample and the haplotype.
            settings: The window settings of a scoring.
        """
        reach = _WINDOWS_AROUND * settings.window_length
        place = int(self._genotypes.haplotype[entry])
        key, is_unclear = self._choose(number, entry, place, settings, reach)
        edits = self._find_edits(key, reach)
        neighbours = edits.look_around(number, settings)
        window = neighbours.start, neighbours.end
        flags = []
        if place == UNPHASED and self._hets.touch(*window, besides=number):
            flags.append("unphased")
        if is_unclear:
            flags.append("several_phase_sets")
        if neighbours.overlaps or edits.dropped.touch(*window, besides=number):
            flags.append("overlapping_background")
        if self._lacks(key, window, number):
            flags.append("incomplete_background")
        return RowNeighbours(self._name(key[0]), tuple(flags), neighbours)

    def find_haplotype(self, start: int, end: int, place: int) -> PlacedHaplotype:
        """The haplotype on which bases of the contig are: that of the nearest phased allele.

        Alleles of several phase sets are never together. So bases have the haplotype of the phase
        set whose alleles are nearest: those that change the bases, or the neighbours on either
        side; of two that are equally near, the one on the left.

        Args:
            start: The first of the bases, 0-based.
            end: The base after the last one.
            place: Place of the haplotype in GT, from 1.
        """
        key = (UNNAMED_SET, place)
        if not self._is_unnamed:
            near = self._find_nearest(start, end, place)
            key = (NO_SET, place) if near is None else self._key(self._het_sets[near], place)
        return PlacedHaplotype(key, self._find_edits(key, _FARTHEST))

    def find_remarks(self, key: _Key, window: tuple[int, int], place: int) -> tuple[str, ...]:
        """The remarks on a window of a haplotype of the sample.

        Args:
            key: The haplotype.
            window: The first base of the contig in the window, and the base after its last one.
            place: Place of the haplotype in GT, from 1.
        """
        sets = {
            self._het_sets[one]
            for one in self._hets.find(*window)
            if self._het_sets[one] == NO_SET or self._is_at(one, place)
        }
        flags = []
        if NO_SET in sets:
            flags.append("unphased")
        if sets.difference((NO_SET, key[0])):
            flags.append("several_phase_sets")
        if self._find_edits(key, _FARTHEST).dropped.touch(*window, besides=NOWHERE):
            flags.append("overlapping_background")
        if self._lacks(key, window, NOWHERE):
            flags.append("incomplete_background")
        return tuple(flags)

    def find_groups(self, near: int | CodonFinder) -> list[Group]:
        """The maximal groups of neighbouring alleles of each haplotype, in the order of the contig.

        A group of alleles that are on every haplotype is listed once for each place in GT, if none
        of them is in a group with phased alleles there.

        Args:
            near: Most unchanged bases between two neighbours of a group; or what finds the codons
                that link its members.
        """
        groups: list[Group] = []
        if self._is_unnamed:
            for place in sorted({*self._everywhere, *self._places.values()}):
                found = self._join((UNNAMED_SET, place), near)
                groups += [Group(place, None, members) for members in found]
        else:
            groups = self._find_groups_of_sets(near)
        ranks = self._alleles.rank
        groups.sort(key=lambda one: (ranks[one.members[0]], one.haplotype, one.phase_set or ""))
        return groups

    def _find_groups_of_sets(self, near: int | CodonFinder) -> list[Group]:
        """The groups of a sample with several phase sets, in no order."""
        groups: list[Group] = []
        joined: defaultdict[int, set[int]] = defaultdict(set)
        for key in sorted(self._phased):
            phased = set(self._phased[key])
            place = self._places[key]
            for members in self._join(key, near):
                if not phased.isdisjoint(members):
                    groups.append(Group(place, self._name(key[0]), members))
                    joined[place].update(members)
        for place in sorted(self._everywhere):
            found = self._join((NO_SET, place), near)
            groups += [
                Group(place, None, members)
                for members in found
                if joined[place].isdisjoint(members)
            ]
        return groups

    def _join(self, key: _Key, near: int | CodonFinder) -> Sequence[tuple[int, ...]]:
        """The groups of neighbouring alleles of a haplotype."""
        if not isinstance(near, CodonFinder):
            return self._find_edits(key, near, is_chain=True).find_groups(near)
        phased = self._phased.get(key, _integers())
        if phased and not self._is_unnamed and not any(map(near.find, phased)):
            return ()
        place = key[1] or 1
        spans = self._everywhere.get(place)
        others: Iterable[int] = ()
        if spans is not None and self._period:
            others = spans.numbers
        elif spans is not None:
            if place not in self._coding:
                self._coding[place] = array("i", spans.find_clusters(near.find))
            others = self._coding[place]
            if phased:  # those that overlap a phased one decide which of them is kept
                touching = spans.find_near(phased, 0, is_chain=True)
                others = merge(others, touching, key=self._alleles.rank.__getitem__)
        numbers = _unique(merge(phased, others, key=self._alleles.rank.__getitem__))
        return HaplotypeEdits(self._alleles, numbers, self._contig).find_codon_groups(near)

    def _key(self, phase_set: int, place: int) -> _Key:
        """The haplotype of a place in GT, or of a name of PSL."""
        if phase_set > UNNAMED_SET and self._genotypes.phase_sets[phase_set - 1].field == "PSL":
            return phase_set, 0
        return phase_set, place

    def _name(self, phase_set: int) -> str | None:
        return self._genotypes.phase_sets[phase_set - 1].name if phase_set > UNNAMED_SET else None

    def _lacks(self, key: _Key, window: tuple[int, int], besides: int) -> bool:
        """Whether a haplotype has alleles in a window that are no edits of the reference."""
        keys = {key, (NO_SET, key[1] or 1)}
        spans = [self._left_out[one] for one in keys if one in self._left_out]
        return any(one.touch(*window, besides=besides) for one in spans)

    def _is_at(self, het: int, place: int) -> bool:
        """Whether the phase set of a heterozygous allele has a haplotype at a place in GT.

        A phase set of PS has one at each place, a name of PSL at its own.
        """
        is_name = self._key(self._het_sets[het], place)[1] == 0
        return not is_name or self._het_places[het] == place

    def _find_nearest(self, start: int, end: int, place: int) -> int | None:
        """The nearest phased heterozygous allele, as its index in ``_hets``; None if none is near.

        Args:
            start: Start of the range to which it is near, 0-based.
            end: Its end.
            place: Place of the haplotype in GT, from 1.
        """
        alleles, numbers = self._alleles, self._hets.numbers
        inside = [one for one in self._hets.find(start, end) if self._is_phased(one, place)]
        if inside:
            return min(inside)
        if place not in self._candidates:
            found = (one for one in range(len(numbers)) if self._is_phased(one, place))
            self._candidates[place] = array("i", found)
        phased = self._candidates[place]
        size = len(phased)
        after = bisect_left(phased, end, key=lambda one: alleles.start[numbers[one]])
        near = []
        for number in (after - 1, after):
            if size and (self._period or 0 <= number < size):
                turns, index = divmod(number, size)
                allele, shift = numbers[phased[index]], turns * self._period
                first, last = alleles.start[allele] + shift, alleles.end[allele] + shift
                near.append((max(start - last, first - end), phased[index]))
        distance, nearest = min(near, key=itemgetter(0), default=(0, None))
        return nearest if distance <= _FARTHEST // 2 else None

    def _is_phased(self, het: int, place: int) -> bool:
        """Whether a heterozygous allele has a phase set with a haplotype at a place in GT."""
        return self._het_sets[het] != NO_SET and self._is_at(het, place)

    def _choose(
        self, number: int, entry: int, place: int, settings: WindowSettings, reach: int
    ) -> tuple[_Key, bool]:
        """The haplotype of an entry, and whether it could be of several phase sets."""
        phase_set = int(self._genotypes.phase_set[entry])
        if phase_set > UNNAMED_SET:
            return self._key(phase_set, place), False
        if place == UNPHASED:
            return (NO_SET, 1), False
        if self._is_unnamed or not self._genotypes.everywhere[entry]:
            return (UNNAMED_SET, place), False
        # An allele on every haplotype is in each phase set; its window decides which one counts.
        alone = (NO_SET, place)
        window = self._find_edits(alone, reach).look_around(number, settings)
        sets = {self._het_sets[one] for one in self._hets.find(window.start, window.end)}
        sets.discard(NO_SET)
        if phase_set in sets:
            return (phase_set, place), False
        if not sets:
            return alone, False
        [one, *others] = sets
        key = self._key(one, place)
        return (alone, True) if others or key[1] != place else (key, False)

    def _find_edits(self, key: _Key, reach: int, *, is_chain: bool = False) -> HaplotypeEdits:
        """The edits of a haplotype, with those on every haplotype that are near enough."""
        edits = self._edits.get(key)
        if edits is None:
            phased = self._phased.get(key, _integers())
            spans = self._everywhere.get(key[1] or 1)
            others: Sequence[int] = _integers() if spans is None else spans.numbers
            in_set = self._in_set.get(key[0])
            if spans is not None and in_set and not self._period:
                others = spans.find_near(in_set, reach, is_chain=is_chain)
            ranks = self._alleles.rank
            numbers = _unique(merge(phased, others, key=ranks.__getitem__))
            edits = self._edits[key] = HaplotypeEdits(self._alleles, numbers, self._contig)
        return edits


def _integers() -> array[int]:
    return array("i")


def _unique(numbers: Iterable[int]) -> Iterator[int]:
    """Sorted numbers, each once: a name of PSL may stand at two places of a call."""
    return (number for number, _ in groupby(numbers))
