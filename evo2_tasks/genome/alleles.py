"""Alleles as text: splitting a record, symbolic alleles, trimming, shifting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from evo2_tasks.genome.records import SPANS_ORIGIN, Filters, Record, Symbol, Variant
from evo2_tasks.genome.window_pairs import Edit

# Number of bases compared in the first step of shifting an allele, and at most in a later step.
_FIRST_STEP = 32
_LAST_STEP = 4096

_BREAKEND = re.compile(r"[\[\]]|^\.[A-Za-z]+\Z|^[A-Za-z]+\.\Z")
_SYMBOLIC = re.compile(r"<.*>", re.DOTALL)
_SYMBOLIC_TYPES = {
    "<DEL>": "deletion", "<DUP>": "insertion", "<DUP:TANDEM>": "insertion", "<INS>": "insertion",
    "<INV>": "mnv",
}  # fmt: skip
_NO_SYMBOL = Symbol()


# The alphabetically first base of each IUPAC letter; N has none.
_FIRST_BASES = {
    "R": "A", "Y": "C", "S": "C", "W": "A", "K": "G", "M": "A", "B": "C", "D": "A", "H": "A",
    "V": "A",
}  # fmt: skip


_AS_BASES = {
    code: ord(_FIRST_BASES.get(chr(code), "A")) for code in range(256) if chr(code) not in "ACGT\n"
}


class Verdict(NamedTuple):
    """Why an allele has no score: its status, and which cause; null if the status has only one."""

    status: str
    reason: str | None = None


class TrimmedAllele(NamedTuple):
    """An allele without the bases that ref and alt share at their ends.

    Attributes:
        start: First changed base, 0-based; for an insertion the base after it.
        ref: The replaced bases; empty for an insertion.
        alt: The bases that replace them; empty for a deletion.
    """

    start: int
    ref: str
    alt: str

    @property
    def num_ref(self) -> int:
        """Number of reference bases that it replaces."""
        return len(self.ref)

    @property
    def num_alt(self) -> int:
        """Number of bases that replace them."""
        return len(self.alt)

    @property
    def edit(self) -> Edit:
        """The change that it makes to the reference."""
        return Edit(self.start, len(self.ref), self.alt)


def split_alleles(record: Record, index: int, num_before: int, filters: Filters) -> list[Variant]:
    """The rows of a record; rows that the filters leave out have the status ``filtered``.

    Args:
        record: A readable record, or a piece of one.
        index: Number of the record, 0-based.
        num_before: Number of alleles in the earlier pieces of the record.
        filters: The filters of the variant set.
    """
    ref = upper_letters(record.ref)
    why_left_out = find_why_left_out(record.contig, record.filters, filters) or record.left_out
    status = SPANS_ORIGIN if record.spans_origin else None
    variants = []
    for i, spelled in enumerate(record.alts):
        alt = upper_letters(spelled)
        symbol = record.symbols[i] if record.symbols else _NO_SYMBOL
        reason = why_left_out
        if reason is None and _is_too_long(ref, alt, filters.max_length):
            reason = "long_allele"
        variants.append(
            Variant(
                index,
                0 if len(record.alts) == 1 and alt == "." else num_before + i + 1,
                record.contig,
                record.pos,
                ref,
                alt,
                status if reason is None else "filtered",
                record.carried[i] if record.carried else (),
                reason or symbol.reason,
                symbol.length,
                symbol.sequence,
            )
        )
    return variants


def find_why_left_out(contig: str, filter_text: str | None, filters: Filters) -> str | None:
    """Why the filters leave a record out, by its FILTER or its contig; null if they keep it."""
    if filters.pass_only and filter_text != "PASS":
        return "not_pass"
    if filters.contigs is not None and contig not in filters.contigs:
        return "other_contig"
    return None


def upper_letters(allele: str) -> str:
    """An allele in upper case if it consists of ASCII letters only; else unchanged."""
    return allele.upper() if allele.isascii() and allele.isalpha() else allele


def judge_text(ref: str, alt: str) -> Verdict | None:
    """Why an allele is not a sequence, or changes nothing; null for all others.

    A symbolic allele has no reason here: its record knows it.
    """
    if alt == ".":
        return Verdict("missing_allele", "no_alt")
    if alt == ref:
        return Verdict("not_a_variant", "alt_is_ref")
    if alt.isalpha():
        return None
    if alt == "*":
        return Verdict("overlapping_deletion")
    if _BREAKEND.search(alt):
        has_mate = "[" in alt or "]" in alt
        return Verdict("breakend", "paired_breakend" if has_mate else "single_breakend")
    return Verdict("symbolic_allele") if _SYMBOLIC.search(alt) else None


def judge_bases(ref: str, alt: str) -> Verdict | None:
    """Why a trimmed allele has other characters than A, C, G and T; null if it has none."""
    if not (ref.strip("ACGT") or alt.strip("ACGT")):
        return None
    if "-" in (ref, alt):
        return Verdict("non_acgt_allele", "dash")
    is_letters = (ref + alt).isalpha()
    return Verdict("non_acgt_allele", "other_letters" if is_letters else "unknown_form")


def trim(start: int, ref: str, alt: str) -> TrimmedAllele:
    """Remove the bases that ref and alt share at their ends, at the right end first.

    Args:
        start: 0-based position of the first base of ``ref``.
        ref: The reference allele.
        alt: The alternate allele; differs from ``ref``.
    """
    if len(ref) == len(alt) == 1:
        return TrimmedAllele(start, ref, alt)
    right = _common_prefix(ref[::-1], alt[::-1])
    if right:
        ref, alt = ref[:-right], alt[:-right]
    left = _common_prefix(ref, alt)
    return TrimmedAllele(start + left, ref[left:], alt[left:])


def trim_to_vcf(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Remove the bases that ref and alt share at their ends, the right end first, down to one base.

    Args:
        pos: 1-based position of the first base of ``ref``.
        ref: The reference allele, at least one base.
        alt: The alternate allele, at least one base; differs from ``ref``.

    Returns:
        Position, ref and alt as ``bcftools norm`` writes an allele that is left-aligned.
    """
    most = min(len(ref), len(alt)) - 1
    right = min(most, _common_prefix(ref[::-1], alt[::-1]))
    if right:
        ref, alt = ref[:-right], alt[:-right]
    left = min(most - right, _common_prefix(ref, alt))
    return pos + left, ref[left:], alt[left:]


def variant_type(ref: str, alt: str) -> str:
    """Type of an allele, from the lengths of ref and alt without common bases at their ends.

    Args:
        ref: Bases of the reference.
        alt: Bases instead of them, as in VCF.

    Returns:
        ``snv``, ``mnv``, ``insertion``, ``deletion`` or ``indel``. ``<DEL>``, ``<DUP>``, ``<INS>``
        and ``<INV>`` have the type of the allele written out. ``symbolic`` for others that are not
        spelled in letters (``<CNV>``, a breakend, ``*``, ``.``).
    """
    if alt in _SYMBOLIC_TYPES:
        return _SYMBOLIC_TYPES[alt]
    if not (ref + alt).isalpha():
        return "symbolic"
    changed = trim(0, ref, alt) if ref != alt else TrimmedAllele(0, "", "")
    match len(changed.ref), len(changed.alt):
        case (1, 1):
            return "snv"
        case (0, _):
            return "insertion"
        case (_, 0):
            return "deletion"
        case (num_ref, num_alt) if num_ref == num_alt:
            return "mnv"
    return "indel"


def resolve_iupac(bases: str, ref: str) -> list[int] | None:
    """Where REF has the base that VCF writes for an IUPAC letter of the reference.

    Args:
        bases: Bases of the reference, upper case.
        ref: REF at the same place and of the same length.

    Returns:
        The places where the two differ, from 0, if in each of them REF has the alphabetically first
        base of the reference's letter; else None.

    Source:
        VCF 4.3, section 1.6.1, REF.
    """
    places = [
        place for place, pair in enumerate(zip(bases, ref, strict=True)) if pair[0] != pair[1]
    ]
    if all(_FIRST_BASES.get(bases[place]) == ref[place] for place in places):
        return places
    return None


def first_bases(bases: str) -> str:
    """Bases of a reference in A, C, G, T: of an IUPAC letter its first base, A for all others."""
    return bases.translate(_AS_BASES)


def resolve_letters(allele: str) -> str:
    """Replace IUPAC letters by their first base and any other character by N, as in VCF 4.3."""
    if not allele.strip("ACGTN"):
        return allele
    return "".join(base if base in "ACGTN" else _FIRST_BASES.get(base, "N") for base in allele)


def count_right_shift(fetch: Callable[[int, int], str], start: int, unit: str, limit: int) -> int:
    """By how many bases an inserted or deleted ``unit`` can move right.

    It can move as far as the bases from ``start`` on repeat it.

    Args:
        fetch: Returns the bases between two positions, 0-based and half-open.
        start: First base after the unit, 0-based.
        unit: The inserted or deleted bases.
        limit: Largest result; no bases beyond it are compared.
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
    """By how many bases an inserted or deleted ``unit`` that begins at ``end`` can move left."""
    backwards = unit[::-1]

    def fetch_backwards(first: int, last: int) -> str:
        return fetch(end - last, end - first)[::-1]

    return count_right_shift(fetch_backwards, 0, backwards, limit)


def rotate_left(unit: str, shift: int) -> str:
    """The spelling of the unit after it moved ``shift`` bases to the left."""
    size = shift % len(unit)
    return unit[-size:] + unit[:-size] if size else unit


def _is_too_long(ref: str, alt: str, max_length: int | None) -> bool:
    if max_length is None or not (ref.isalpha() and alt.isalpha()):
        return False
    return max(len(ref), len(alt)) > max_length


def _repeat(unit: str, offset: int, size: int) -> str:
    return (unit * ((offset + size) // len(unit) + 1))[offset : offset + size]


def _common_prefix(one: str, other: str) -> int:
    """Length of the longest common prefix of two texts."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(i for i in range(size) if one[i] != other[i])
