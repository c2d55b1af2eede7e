"""Haplotypes the slow way: a contig as a list of bases, and the rules of phasing written out.

Nothing here knows intervals, trees or prefix sums. A haplotype is made base by base, over the whole
contig, and an allele is placed on it as if it were the reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from evo2_tasks.genome.windows import WindowSettings

COMPLEMENT = dict(zip("ACGTNRY", "TGCANYR", strict=True))


class PlainEdit(NamedTuple):
    """A left-aligned edit; sorted as the rules say."""

    start: int
    num_ref: int
    num_alt: int
    alt: str
    record: int
    allele: int

    @property
    def key(self) -> tuple[int, int]:
        return self.record, self.allele


@dataclass
class PlainContig:
    bases: str
    circular: bool

    def replaced(self, edit: PlainEdit) -> list[int]:
        return [(edit.start + i) % len(self.bases) for i in range(edit.num_ref)]

    def overlap(self, one: PlainEdit, other: PlainEdit) -> bool:
        here, there = self.replaced(one), self.replaced(other)
        if not here and not there:
            return one.start == other.start
        return (
            bool({*here} & {*there})
            or (not here and one.start in there[1:])
            or (not there and other.start in here[1:])
        )

    def align(self, start: int, ref: str, alt: str, key: tuple[int, int]) -> PlainEdit:
        old, new = list(ref), list(alt)
        while old and new and old[-1] == new[-1]:
            old.pop()
            new.pop()
        while old and new and old[0] == new[0]:
            old.pop(0)
            new.pop(0)
            start += 1
        unit, moves, size = old or new, 0, len(self.bases)
        while not (old and new) and (start > 0 or self.circular):
            if self.bases[(start - 1) % size] != unit[-1] or moves == size + len(unit):
                break
            unit.insert(0, unit.pop())
            start, moves = start - 1, moves + 1
        start = start % size if self.circular else start
        return PlainEdit(start, len(old), len(new), "".join(new), *key)


Cell = tuple[str, int | None, list[int]]


@dataclass
class PlainHaplotype:
    """The bases of a haplotype.

    Attributes:
        bases: The bases.
        origins: The base of the contig that each of them is, or takes the place of; None if none.
        replaced: The bases of the contig that each of them replaces.
        place: Where the allele is whose neighbours the haplotype has.
        circular: Whether it is a circle.
    """

    bases: list[str]
    origins: list[int | None]
    replaced: list[list[int]]
    place: int
    circular: bool

    @classmethod
    def make(cls, contig: PlainContig, others: list[PlainEdit], own: PlainEdit) -> PlainHaplotype:
        size = len(contig.bases)
        before: list[list[Cell]] = [[] for _ in range(size + 1)]
        cells: list[list[Cell]] = [[(base, i, [i])] for i, base in enumerate(contig.bases)]
        for edit in others:
            replaced = contig.replaced(edit)
            same = len(edit.alt) == len(replaced)
            new: list[Cell] = [
                (base, replaced[i] if same else None, [replaced[i]] if same else replaced)
                for i, base in enumerate(edit.alt)
            ]
            if not replaced:
                before[edit.start] = new
                continue
            for base in replaced:
                cells[base] = []
            cells[replaced[0]] = new
        found: list[Cell] = []
        place = -1
        for i in range(size + 1):
            if own.num_ref == 0 and own.start == i:
                place = len(found) + len(before[i])
            found += before[i]
            if own.num_ref and own.start == i:
                place = len(found)
            found += cells[i] if i < size else []
        bases, origins, replaced = (list(column) for column in zip(*found, strict=True))
        return cls(bases, origins, replaced, place, contig.circular)


@dataclass
class Expected:
    status: str
    flags: set[str] = field(default_factory=set)
    strands: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    window: tuple[int, int] | None = None
    is_cut: tuple[bool, bool] = False, False  # whether the contig ends before the window does
    moved: int = 0


def expect_on(
    haplotype: PlainHaplotype, own: PlainEdit, ref: str, settings: WindowSettings, tile: int | None
) -> Expected:
    """The status, flags and windows of an allele on a haplotype.

    Args:
        haplotype: The haplotype.
        own: The allele.
        ref: Its replaced bases.
        settings: The window settings.
        tile: Place of the start of its tiled window; None for a centered one.
    """
    bases, circular = "".join(haplotype.bases), haplotype.circular
    size = len(bases)
    length = min(settings.window_length, size) if circular else settings.window_length
    longest = settings.max_allele_length
    longest = length // 4 if longest is None else longest
    if circular:
        longest = max(1, min(longest, length // 4))
    if max(own.num_ref, own.num_alt) > longest:
        return Expected("too_long")
    place, unit, moved = haplotype.place, list(ref or own.alt), 0
    while not (ref and own.alt) and (place > 0 or circular):
        if moved == size + len(unit) or bases[(place - 1) % size] != unit[-1]:
            break
        unit.insert(0, unit.pop())
        place, moved = place - 1, moved + 1
    differs = not (not (ref and own.alt) and circular and moved == size + len(unit))
    moves = not (ref and own.alt)
    new = "".join(unit) if moves and own.alt else own.alt
    place = place % size if circular else place
    start = place - length // 2 if tile is None else tile
    end = start + length
    is_cut = not circular and start < 0, not circular and end > size
    if not circular:
        start, end = max(0, start), min(end, size)
    window = "".join(bases[i % size] for i in range(start, end))
    num_other = sum(base not in "ACGT" for base in window)
    if num_other / len(window) > settings.max_n_share:
        return Expected("too_many_n", window=(start, end), is_cut=is_cut, moved=moved)
    strands, uncut, failed = {}, [], False
    for strand in ("forward", "reverse"):
        if settings.strands not in ("both", strand):
            continue
        both = read(strand, bases, circular, start, end, (place, own.num_ref, new))
        if both is None or not differs:
            failed = True
            continue
        one, other = both
        count = min(end - start, len(one), len(other))
        one, other = one[:count], other[:count]
        prefix = next((i for i in range(count) if one[i] != other[i]), count)
        if prefix == count or (prefix == 0 and not settings.prepend_bos):
            failed = True
            continue
        uncut.append((count, prefix))
        stop = None if settings.horizon is None else prefix + settings.horizon
        strands[strand] = one[:stop], other[:stop], prefix
    if failed:
        return Expected(
            "no_context", strands=strands, window=(start, end), is_cut=is_cut, moved=moved
        )
    least = settings.min_context
    least = min(512, length // 4) if least is None else least
    conditions = {
        "clipped": any(count < settings.window_length for count, _ in uncut),
        "low_context": any(prefix < least for _, prefix in uncut),
        "low_downstream": any(
            count - prefix < (settings.horizon or least) for count, prefix in uncut
        ),
        "n_in_window": num_other > 0,
    }
    flags = {flag for flag, holds in conditions.items() if holds}
    return Expected("to_score", flags, strands, (start, end), is_cut, moved)


def read(strand, bases, circular, start, end, edit):
    """Both haplotypes from where a strand begins to read; None if that is inside the allele."""
    place, num_ref, new = edit
    if circular:
        cut = (start if strand == "forward" else end) % len(bases)
        one = bases[cut:] + bases[:cut]
        at = (place - cut) % len(bases)
        if strand == "reverse" and not num_ref and not at and end - start < len(bases):
            at = len(bases)  # an insertion at the end of the window is in it
        if at + num_ref > len(bases):
            return None
        other = one[:at] + new + one[at + num_ref :]
    elif strand == "forward":
        if place < start < place + num_ref:
            return None
        one = other = bases[start:]
        if place >= start:
            other = bases[start:place] + new + bases[place + num_ref :]
    else:
        if place < end < place + num_ref:
            return None
        one = other = bases[:end]
        if place + num_ref <= end:
            other = bases[:place] + new + bases[place + num_ref : end]
    if strand == "forward":
        return one, other
    return tuple("".join(COMPLEMENT[base] for base in reversed(text)) for text in (one, other))


class PlainEntry(NamedTuple):
    """An allele that a sample carries on a haplotype."""

    edit: PlainEdit | None
    key: tuple[int, int]
    place: int | None
    phase_set: tuple[str, str] | None  # field and name; ("", "") without a name
    everywhere: bool


def read_call(text: str, ps: str, psl: str, record: int) -> list[PlainEntry]:
    """The rules of phasing for one genotype."""
    numbers = re.findall(r"[0-9]+|\.", text)
    marks = re.findall(r"[/|]", text)
    if len(marks) < len(numbers):
        marks.insert(0, "/" if "/" in marks else "|")
    names = psl.split(",") if psl not in ("", ".") else None
    found = []
    for allele in sorted({int(number) for number in numbers if number not in (".", "0")}):
        everywhere = all(number == str(allele) for number in numbers)
        unphased = False
        for i, number in enumerate(numbers):
            if number != str(allele):
                continue
            phase_set = None
            if marks[i] == "|":
                phase_set = ("", "") if ps in ("", ".") else ("PS", ps)
                if names is not None:
                    phase_set = ("PSL", names[i]) if names[i] != "." else None
            if everywhere or phase_set is not None:
                found.append(PlainEntry(None, (record, allele), i + 1, phase_set, everywhere))
            else:
                unphased = True
        if unphased:
            found.append(PlainEntry(None, (record, allele), None, None, False))
    return found


def find_others(contig: PlainContig, entries: list[PlainEntry], own: PlainEntry) -> list[PlainEdit]:
    """The kept edits of a haplotype that do not overlap an allele on it.

    Args:
        contig: The contig.
        entries: The located alleles of a sample on the contig.
        own: One of them, with the phase set that it is in.
    """
    members = set()
    for entry in entries:
        in_set = entry.phase_set is not None and entry.phase_set == own.phase_set
        same = in_set and (entry.phase_set[0] == "PSL" or entry.place == own.place)
        if own.place is None or own.phase_set is None:
            same = False
        if entry.everywhere:
            at = 1 if own.place is None or (own.phase_set or ("",))[0] == "PSL" else own.place
            same = entry.place == at
        if same and entry.edit is not None:
            members.add(entry.edit)
    kept: list[PlainEdit] = []
    for edit in sorted(members):
        if not any(contig.overlap(edit, other) for other in kept):
            kept.append(edit)
    assert own.edit is not None
    return [edit for edit in kept if edit != own.edit and not contig.overlap(edit, own.edit)]
