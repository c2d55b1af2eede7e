"""Alleles as text: one record into its alleles, what is no sequence, common ends, shifting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from evo2_tasks.genome.records import Filters, Record, Variant

# Bases to compare at first when an allele is shifted, and at most at once.
_FIRST_STEP = 32
_LAST_STEP = 4096

_BREAKEND = re.compile(r"[\[\]]|^\.[A-Za-z]+\Z|^[A-Za-z]+\.\Z")
_SYMBOLIC = re.compile(r"<.*>", re.DOTALL)


class Edit(NamedTuple):
    """What an allele changes, without the bases that ref and alt have in common at their ends.

    Attributes:
        start: First changed base, 0-based; for an insertion the base after it.
        ref: Bases that are replaced.
        alt: Bases that replace them.
    """

    start: int
    ref: str
    alt: str


def split_alleles(record: Record, index: int, num_before: int, filters: Filters) -> list[Variant]:
    """The rows of a record, with the status of those that the filters leave out.

    Args:
        record: A readable record, or a piece of one.
        index: Its 0-based number.
        num_before: Alleles of the pieces before this one.
        filters: What to leave out.
    """
    ref = upper_letters(record.ref)
    left_out = (filters.pass_only and record.filters != "PASS") or is_other_contig(
        record.contig, filters
    )
    variants = []
    for i, spelled in enumerate(record.alts):
        alt = upper_letters(spelled)
        filtered = left_out or _is_too_long(ref, alt, filters.max_length)
        variants.append(
            Variant(
                index,
                0 if len(record.alts) == 1 and alt == "." else num_before + i + 1,
                record.contig,
                record.pos,
                ref,
                alt,
                "filtered" if filtered else None,
                record.carried[i] if record.carried else (),
            )
        )
    return variants


def is_other_contig(contig: str, filters: Filters) -> bool:
    """Whether a contig is none of those to keep."""
    return filters.contigs is not None and contig not in filters.contigs


def upper_letters(allele: str) -> str:
    """An allele in upper case if it is letters only, else as it is spelled."""
    return allele.upper() if allele.isascii() and allele.isalpha() else allele


def text_status(ref: str, alt: str) -> str | None:
    """The status of an allele that is no sequence or no change, told from its text alone."""
    if alt == ".":
        return "missing_allele"
    if alt == ref:
        return "not_a_variant"
    if alt.isalpha():
        return None
    if alt == "*":
        return "overlapping_deletion"
    if _BREAKEND.search(alt):
        return "breakend"
    return "symbolic_allele" if _SYMBOLIC.search(alt) else None


def trim(start: int, ref: str, alt: str) -> Edit:
    """Drop the bases that ref and alt have in common, at the right end first.

    Args:
        start: 0-based position of the first base of ``ref``.
        ref: Bases of the reference.
        alt: Bases instead of them, not the same.
    """
    if len(ref) == len(alt) == 1:
        return Edit(start, ref, alt)
    right = _common_prefix(ref[::-1], alt[::-1])
    if right:
        ref, alt = ref[:-right], alt[:-right]
    left = _common_prefix(ref, alt)
    return Edit(start + left, ref[left:], alt[left:])


def count_right_shift(fetch: Callable[[int, int], str], start: int, unit: str, limit: int) -> int:
    """How far an inserted or deleted ``unit`` can move right over the bases from ``start`` on.

    It can as far as these bases repeat the unit, at most ``limit`` bases.

    Args:
        fetch: The bases between two positions.
        start: First base after the unit.
        unit: The inserted or deleted bases.
        limit: Number of bases to look at.
    """
    done, step = 0, _FIRST_STEP
    while done < limit:
        size = min(step, limit - done)
        bases = fetch(start + done, start + done + size)
        same = _common_prefix(bases, _repeat(unit, done % len(unit), size))
        done += same
        if same < size:
            break
        step = min(2 * step, _LAST_STEP)
    return done


def count_left_shift(fetch: Callable[[int, int], str], end: int, unit: str, limit: int) -> int:
    """How far an inserted or deleted ``unit`` can move left over the bases before ``end``."""
    backwards = unit[::-1]

    def fetch_backwards(first: int, last: int) -> str:
        return fetch(end - last, end - first)[::-1]

    return count_right_shift(fetch_backwards, 0, backwards, limit)


def rotate_left(unit: str, shift: int) -> str:
    """The unit as it reads after moving ``shift`` bases to the left."""
    turn = shift % len(unit)
    return unit[-turn:] + unit[:-turn] if turn else unit


def _is_too_long(ref: str, alt: str, max_length: int | None) -> bool:
    if max_length is None or not (ref.isalpha() and alt.isalpha()):
        return False
    return max(len(ref), len(alt)) > max_length


def _repeat(unit: str, offset: int, size: int) -> str:
    return (unit * ((offset + size) // len(unit) + 1))[offset : offset + size]


def _common_prefix(one: str, other: str) -> int:
    """Number of characters that two texts begin with in common."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(i for i in range(size) if one[i] != other[i])
