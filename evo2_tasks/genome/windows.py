"""The windows of an allele: their position and bases, or the status if there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from evo2_tasks.genome.alleles import (
    TrimmedAllele,
    Verdict,
    judge_bases,
    judge_text,
    resolve_iupac,
    trim,
)
from evo2_tasks.genome.records import SPANS_ORIGIN, Symbol
from evo2_tasks.genome.symbolic import SymbolicChange, make_change
from evo2_tasks.genome.window_layout import (
    DEFAULT_MIN_CONTEXT,
    TO_SCORE,
    Layout,
    PlacedAllele,
    WindowSettings,
    WindowSize,
    find_limits,
    find_window,
    left_align,
    size_windows,
    why_too_long,
)
from evo2_tasks.genome.window_pairs import Edit

if TYPE_CHECKING:
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference

__all__ = [
    "DEFAULT_MIN_CONTEXT",
    "TO_SCORE",
    "AlignedAllele",
    "PlacedAllele",
    "ResolvedAllele",
    "WindowSettings",
    "WindowSize",
    "align_allele",
    "compare_ref",
    "locate_allele",
    "place_allele",
    "resolve_allele",
]

MAX_SYMBOLIC_BASES = 1 << 20
"""Symbolic alleles up to this length are written out without regard to the windows."""

REF_MISMATCHES = frozenset({"ref_alt_swapped", "ref_mismatch"})
"""Statuses of alleles whose REF is not in the reference.

On another assembly, three of four REF bases do not match. In a third of these cases the ALT base is
in their place, so both statuses count as mismatches.
"""


class Contig(NamedTuple):
    """A sequence of the reference, in which some IUPAC letters may be bases of REF.

    Attributes:
        reference: The reference.
        name: Name of the contig in it.
        length: Length of the contig, bases.
        circular: Whether it is circular.
        letters: Bases of REF in place of IUPAC letters.
    """

    reference: Reference
    name: str
    length: int
    circular: bool
    letters: tuple[Edit, ...] = ()

    @property
    def background(self) -> tuple[Edit, ...]:
        """The edits that make it from the contig."""
        return self.letters

    def fetch(self, start: int, end: int) -> str:
        """The bases from ``start`` to ``end``, 0-based and half-open; a circle wraps."""
        bases = self.reference.fetch(self.name, start, end)
        for edit in self.letters:
            first = edit.start - start
            # On a circular contig the range may pass the base several times.
            places = (
                range(first % self.length, len(bases), self.length) if self.circular else [first]
            )
            for place in places:
                if 0 <= place < len(bases):
                    bases = bases[:place] + edit.alt + bases[place + 1 :]
        return bases

    def count_non_acgt(self, start: int, end: int) -> int:
        """Number of bases other than A, C, G and T in a range, before letters are replaced."""
        return self.reference.count_non_acgt(self.name, start, end)

    def wrap(self, position: int) -> int:
        """The position, on a circular contig modulo its length."""
        return position % self.length if self.circular else position


class _Located(NamedTuple):
    """An allele whose REF is in the reference; the bases of a symbolic one are not read yet."""

    change: TrimmedAllele | SymbolicChange
    contig: Contig

    def spell(self) -> TrimmedAllele:
        """The allele in bases."""
        change = self.change
        return change if isinstance(change, TrimmedAllele) else change.spell(self.contig.fetch)

    def is_small(self) -> bool:
        """Whether the allele is spelled in bases, or can be without many of them in memory."""
        change = self.change
        return isinstance(change, TrimmedAllele) or change.length <= MAX_SYMBOLIC_BASES


class ResolvedAllele(NamedTuple):
    """An allele of bases whose REF is in the reference.

    Attributes:
        reference_contig: Name of the contig in the FASTA.
        trimmed: The allele, where the input spells it. Its REF has the bases of the input, also
            where the reference has an IUPAC letter.
    """

    reference_contig: str
    trimmed: TrimmedAllele


class AlignedAllele(NamedTuple):
    """An allele as an edit of the reference, left-aligned: the same for all its spellings.

    Attributes:
        contig: The contig, with the bases of REF in place of IUPAC letters.
        aligned: The allele, left-aligned.
        differs: False if a whole circular contig repeats the inserted or deleted bases.
        is_moved: Whether left-aligning moved it.
        is_alias: Whether the input has another name for the contig.
    """

    contig: Contig
    aligned: TrimmedAllele
    differs: bool
    is_moved: bool
    is_alias: bool


def place_allele(variant: Variant, reference: Reference, settings: WindowSettings) -> PlacedAllele:
    """Find the status of an allele, and place its windows.

    Args:
        variant: One row of the input. It may already have a status from the reader of the file.
        reference: The sequences that the variant changes.
        settings: The window settings of the scoring.

    Returns:
        The allele with the first status that applies, in the order of the closed list, or
        ``to_score`` if none of them applies.
    """
    located = _locate(variant, reference)
    if isinstance(located, PlacedAllele):
        return located
    change, on = located
    limits = find_limits(settings, on)
    reason = why_too_long(change.num_ref, change.num_alt, limits.max_allele_length)
    if reason is not None:
        return PlacedAllele("too_long", reason, reference_contig=on.name)
    trimmed = located.spell()
    verdict = None if located.is_small() else judge_bases(trimmed.ref, trimmed.alt)
    if verdict is not None:
        return PlacedAllele(*verdict, reference_contig=on.name)
    aligned, _, differs = left_align(trimmed, on)
    placed = size_windows(
        Layout(aligned, differs, *find_window(aligned.start, on, settings, limits)),
        on,
        settings,
        limits,
        is_alias=variant.contig != on.name,
        is_moved=aligned.start != on.wrap(trimmed.start),
    )
    if placed.status == TO_SCORE and isinstance(change, SymbolicChange):
        return placed._replace(flags=(*placed.flags, "resolved_symbolic"))
    return placed


def compare_ref(variant: Variant, reference: Reference) -> bool | None:
    """Whether REF of an allele is in the reference; None if REF cannot be compared.

    REF is compared for alleles that :func:`place_allele` gives a status from ``ref_alt_swapped``
    on, in the order of the closed list.
    """
    located = _locate(variant, reference)
    if isinstance(located, PlacedAllele):
        return False if located.status in REF_MISMATCHES else None
    return True


def resolve_allele(variant: Variant, reference: Reference) -> ResolvedAllele | None:
    """The change that an allele makes to the reference; None if it makes none that is known.

    An allele is resolved if :func:`place_allele` gives it ``too_long`` or a later status of the
    closed list. A symbolic allele of more than ``MAX_SYMBOLIC_BASES`` is not.
    """
    located = _locate(variant, reference)
    if isinstance(located, PlacedAllele) or not located.is_small():
        return None
    return ResolvedAllele(located.contig.name, located.spell())


def align_allele(variant: Variant, reference: Reference) -> ResolvedAllele | None:
    """Like :func:`resolve_allele`, with the allele left-aligned: the same for all its spellings."""
    located = _locate(variant, reference)
    if isinstance(located, PlacedAllele) or not located.is_small():
        return None
    aligned = left_align(located.spell(), located.contig).allele
    return ResolvedAllele(located.contig.name, aligned)


def locate_allele(variant: Variant, reference: Reference) -> AlignedAllele | PlacedAllele:
    """An allele as a left-aligned edit of the reference, or its status if it is not spelled out.

    An allele is located if :func:`place_allele` gives it ``too_long`` or a later status of the
    closed list. A symbolic allele is not: its status is then ``symbolic_allele``.
    """
    located = _locate(variant, reference)
    if isinstance(located, PlacedAllele):
        return located
    change, on = located
    if not isinstance(change, TrimmedAllele):
        return PlacedAllele("symbolic_allele", reference_contig=on.name)
    aligned, _, differs = left_align(change, on)
    is_moved = aligned.start != on.wrap(change.start)
    return AlignedAllele(on, aligned, differs, is_moved, variant.contig != on.name)


def _locate(variant: Variant, reference: Reference) -> _Located | PlacedAllele:
    """Trim an allele and compare its REF with the reference; if that fails, give its status."""
    contig, ref, alt = variant.contig, variant.ref, variant.alt
    if contig is None:
        return PlacedAllele("invalid_record", variant.reason)
    name = reference.resolve(contig)
    if variant.status not in (None, SPANS_ORIGIN) or ref is None or alt is None:
        status = variant.status or "invalid_record"
        return PlacedAllele(status, variant.reason, reference_contig=name)
    verdict = judge_text(ref, alt)
    if verdict is not None:
        if verdict.status == "symbolic_allele":
            return _locate_symbolic(variant, ref, alt, reference, name)
        return PlacedAllele(*verdict, reference_contig=name)
    start = variant.start
    trimmed = trim(start, ref, alt)
    verdict = judge_bases(trimmed.ref, trimmed.alt)
    if verdict is not None:
        return PlacedAllele(*verdict, reference_contig=name)
    if name is None:
        return PlacedAllele("contig_not_found", reference.why_not_found(contig))
    on = Contig(reference, name, reference.contigs[name], reference.is_circular(name))
    goes_round = variant.status == SPANS_ORIGIN and on.circular
    reason = _why_out_of_range(start, start + (1 if goes_round else len(ref)), on.length)
    if reason is not None:
        return PlacedAllele("position_out_of_range", reason, reference_contig=name)
    bases = on.fetch(start, start + len(ref))
    if bases != ref:
        resolved = resolve_iupac(bases, ref)
        if resolved is None:
            verdict = _judge_mismatch(on, start, ref, alt, bases)
            return PlacedAllele(*verdict, reference_contig=name)
        first, end = trimmed.start - start, trimmed.start - start + len(trimmed.ref)
        # In the padding around the trimmed REF the reference keeps its letters.
        places = [place for place in resolved if first <= place < end]
        edits = (Edit(on.wrap(start + place), 1, ref[place]) for place in places)
        on = on._replace(letters=tuple(edits))
    return _Located(trimmed, on)


def _locate_symbolic(
    variant: Variant, ref: str, alt: str, reference: Reference, name: str | None
) -> _Located | PlacedAllele:
    """Find what a symbolic allele changes in the contig ``name``; if that fails, give its status.

    The statuses come in the order of those of the same allele written out. A REF that says nothing
    about the base (an N) leaves the allele symbolic, so that it is not taken for a mismatch.
    """
    symbol = Symbol(variant.reason, variant.sv_length, variant.sv_sequence)
    if symbol.reason is not None or (symbol.length is None and symbol.sequence is None):
        return PlacedAllele("symbolic_allele", symbol.reason, reference_contig=name)
    verdict = judge_bases("", symbol.sequence or "")
    if verdict is not None:
        return PlacedAllele(*verdict, reference_contig=name)
    if name is None:
        return PlacedAllele("contig_not_found", reference.why_not_found(variant.contig or ""))
    on = Contig(reference, name, reference.contigs[name], reference.is_circular(name))
    start, after = variant.start, variant.start + 1
    end = max(start + len(ref), after + (symbol.length or 0))
    reason = _why_out_of_range(start, end, on.length)
    if reason is not None:
        return PlacedAllele("position_out_of_range", reason, reference_contig=name)
    bases = on.fetch(start, start + len(ref))
    if bases != ref and resolve_iupac(bases, ref) is None:
        verdict = _judge_mismatch(on, start, ref, alt, bases)
        if verdict.reason == "ref_not_acgt":
            verdict = Verdict("symbolic_allele", "unknown_ref")
        return PlacedAllele(*verdict, reference_contig=name)
    change = make_change(alt, after, symbol, on.fetch)
    if not change.length:
        return PlacedAllele("not_a_variant", "palindrome", reference_contig=name)
    located = _Located(change, on)
    if change.kind != "insertion" and located.is_small():
        end = change.start + change.length
        if reference.count_non_acgt(name, change.start, end):
            return PlacedAllele("non_acgt_allele", "other_letters", reference_contig=name)
    return located


def _why_out_of_range(start: int, end: int, length: int) -> str | None:
    """Why bases are not all on a contig; null if they are."""
    if start < 0:
        return "before_start"
    if start >= length:
        return "after_end"
    return "reaches_past_end" if end > length else None


def _judge_mismatch(contig: Contig, start: int, ref: str, alt: str, bases: str) -> Verdict:
    """Why the ``ref`` of an allele is not at ``start``, where the reference has ``bases``."""
    end = start + len(alt)
    if len(alt) >= len(ref) and end <= contig.length and contig.fetch(start, end) == alt:
        return Verdict("ref_alt_swapped")
    differing = [pair for pair in zip(ref, bases, strict=True) if pair[0] != pair[1]]
    if any(one in "ACGT" and other in "ACGT" for one, other in differing):
        return Verdict("ref_mismatch", "other_bases")
    is_ref = any(one not in "ACGT" for one, _ in differing)
    return Verdict("ref_mismatch", "ref_not_acgt" if is_ref else "reference_not_acgt")
