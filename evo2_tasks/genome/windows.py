"""The windows of an allele: their position and bases, or the status if there are none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.genome.alleles import (
    TrimmedAllele,
    Verdict,
    count_left_shift,
    count_right_shift,
    judge_bases,
    judge_text,
    resolve_iupac,
    rotate_left,
    trim,
)
from evo2_tasks.genome.records import SPANS_ORIGIN, Symbol
from evo2_tasks.genome.symbolic import SymbolicChange, make_change
from evo2_tasks.genome.window_pairs import STRANDS, Edit, PlacedPair, Strand, common_length

if TYPE_CHECKING:
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference

DEFAULT_MIN_CONTEXT = 512

MAX_SYMBOLIC_BASES = 1 << 20
"""Symbolic alleles up to this length are written out without regard to the windows."""

TO_SCORE = "to_score"
"""Status of an allele that can be scored, before the model has run."""

REF_MISMATCHES = frozenset({"ref_alt_swapped", "ref_mismatch"})
"""Statuses of alleles whose REF is not in the reference.

On another assembly, three of four REF bases do not match. In a third of these cases the ALT base is
in their place, so both statuses count as mismatches.
"""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How windows are placed: the settings of one scoring, the same for all its alleles.

    Attributes:
        window_length: Length of a window, bases.
        window_placement: ``centered`` on each allele, or ``tiled`` over the contig.
        window_step: Distance between the starts of tiled windows, bases; null for a quarter of
            the window.
        strands: Which strands the model reads.
        horizon: Number of tokens to score from the first difference on; null for all of them.
        max_allele_length: Length of the longest trimmed allele that gets windows, bases; null for
            a quarter of the window.
        max_n_share: Largest share of bases other than A, C, G, T in a window.
        min_context: A row is flagged if it has fewer tokens than this before the first difference,
            or from the first difference on; null for the smaller of 512 and a quarter of the
            window.
        prepend_bos: Whether a BOS token comes before the window, so that the model predicts the
            window's first base too.
    """

    window_length: int = 8192
    window_placement: Literal["centered", "tiled"] = "centered"
    window_step: int | None = None
    strands: Literal["both", "forward", "reverse"] = "both"
    horizon: int | None = None
    max_allele_length: int | None = None
    max_n_share: float = 0.5
    min_context: int | None = None
    prepend_bos: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that would put an allele outside its window."""
        for name in ("window_length", "window_step", "horizon"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        limits = _find_limits(self, self.window_length, False)
        off_center = limits.window_step // 2 if self.window_placement == "tiled" else 0
        room = self.window_length - self.window_length // 2 - off_center
        if limits.max_allele_length > room:
            name = "max_allele_length" if self.max_allele_length else "window_step"
            raise ValueError(f"{name} is too large for a window_length of {self.window_length}")


class WindowSize(NamedTuple):
    """The size of the two windows of one strand.

    Attributes:
        length: Number of tokens in each of the two windows.
        prefix: Number of tokens before the first difference. If the windows do not differ, this is
            ``length`` or more.
    """

    length: int
    prefix: int


class PlacedAllele(NamedTuple):
    """An allele with its status, and with its windows if it has any.

    Attributes:
        status: ``to_score`` if the allele can be scored, else the status that says why it cannot.
        reason: Which cause the status has; null if the status has only one.
        flags: Names of the flags of an allele that can be scored.
        reference_contig: Name of the contig in the FASTA; null if the FASTA has no such contig.
        window_start: Start of the reference window before any cut, 0-based; may be negative on a
            circular contig.
        window_end: End of the reference window before any cut, 0-based and exclusive; may exceed
            the length of a circular contig.
        edit_start: First changed base of the trimmed, left-aligned allele, 0-based.
        edit_ref: Number of reference bases that the allele replaces.
        edit_alt: The bases that replace them.
        background: Edits of both windows: bases of REF at IUPAC letters of the reference.
        length_fwd: Number of tokens in each of the two windows of the forward strand, after the
            cuts; null if the strand has no score.
        prefix_fwd: Number of tokens before the first difference on the forward strand; null if the
            strand has no score.
        length_rev: Like ``length_fwd``, for the reverse strand.
        prefix_rev: Like ``prefix_fwd``, for the reverse strand.
    """

    status: str
    reason: str | None = None
    flags: tuple[str, ...] = ()
    reference_contig: str | None = None
    window_start: int | None = None
    window_end: int | None = None
    edit_start: int | None = None
    edit_ref: int | None = None
    edit_alt: str | None = None
    background: tuple[Edit, ...] = ()
    length_fwd: int | None = None
    prefix_fwd: int | None = None
    length_rev: int | None = None
    prefix_rev: int | None = None

    @property
    def pair(self) -> PlacedPair | None:
        """The interval of the windows and the allele's edit; None if the allele has no windows."""
        contig, start, end = self.reference_contig, self.window_start, self.window_end
        first, num_ref, alt = self.edit_start, self.edit_ref, self.edit_alt
        if contig is None or start is None or end is None:
            return None
        if first is None or num_ref is None or alt is None:
            return None
        return PlacedPair(contig, start, end, self.background, (Edit(first, num_ref, alt),))

    @property
    def sizes(self) -> dict[Strand, WindowSize]:
        """The size of the windows of each strand that has a score."""
        sizes: dict[Strand, WindowSize] = {}
        if self.length_fwd is not None and self.prefix_fwd is not None:
            sizes["forward"] = WindowSize(self.length_fwd, self.prefix_fwd)
        if self.length_rev is not None and self.prefix_rev is not None:
            sizes["reverse"] = WindowSize(self.length_rev, self.prefix_rev)
        return sizes


class _Limits(NamedTuple):
    """The settings that depend on the contig, with their values on one contig."""

    window_length: int
    window_step: int
    max_allele_length: int
    min_context: int


class _Contig(NamedTuple):
    """A sequence of the reference, in which some IUPAC letters may be bases of REF."""

    reference: Reference
    name: str
    length: int
    circular: bool
    background: tuple[Edit, ...] = ()

    def fetch(self, start: int, end: int) -> str:
        bases = self.reference.fetch(self.name, start, end)
        for edit in self.background:
            first = edit.start - start
            # On a circular contig the range may pass the base several times.
            places = (
                range(first % self.length, len(bases), self.length) if self.circular else [first]
            )
            for place in places:
                if 0 <= place < len(bases):
                    bases = bases[:place] + edit.alt + bases[place + 1 :]
        return bases

    def wrap(self, position: int) -> int:
        """The position, on a circular contig modulo its length."""
        return position % self.length if self.circular else position


class _Located(NamedTuple):
    """An allele whose REF is in the reference; the bases of a symbolic one are not read yet."""

    change: TrimmedAllele | SymbolicChange
    contig: _Contig

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
    limits = _contig_limits(settings, on)
    reason = _why_too_long(change, limits.max_allele_length)
    if reason is not None:
        return PlacedAllele("too_long", reason, reference_contig=on.name)
    trimmed = located.spell()
    verdict = None if located.is_small() else judge_bases(trimmed.ref, trimmed.alt)
    if verdict is not None:
        return PlacedAllele(*verdict, reference_contig=on.name)
    placed = _lay_windows(trimmed, on, settings, limits, is_alias=variant.contig != on.name)
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
    aligned, _ = _left_align(located.spell(), located.contig)
    return ResolvedAllele(located.contig.name, aligned)


def lift_horizon(placed: PlacedAllele, contig_length: int, circular: bool) -> PlacedAllele:
    """The windows of an allele as they are before a horizon cuts them.

    Args:
        placed: The allele.
        contig_length: Length of its reference contig, bases.
        circular: Whether that contig is circular.
    """
    pair = placed.pair
    if pair is None:
        return placed
    lengths = {
        strand: common_length(pair, strand, contig_length, circular) for strand in placed.sizes
    }
    return placed._replace(length_fwd=lengths.get("forward"), length_rev=lengths.get("reverse"))


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
    on = _Contig(reference, name, reference.contigs[name], reference.is_circular(name))
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
        on = on._replace(background=tuple(edits))
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
    on = _Contig(reference, name, reference.contigs[name], reference.is_circular(name))
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


def _judge_mismatch(contig: _Contig, start: int, ref: str, alt: str, bases: str) -> Verdict:
    """Why the ``ref`` of an allele is not at ``start``, where the reference has ``bases``."""
    end = start + len(alt)
    if len(alt) >= len(ref) and end <= contig.length and contig.fetch(start, end) == alt:
        return Verdict("ref_alt_swapped")
    differing = [pair for pair in zip(ref, bases, strict=True) if pair[0] != pair[1]]
    if any(one in "ACGT" and other in "ACGT" for one, other in differing):
        return Verdict("ref_mismatch", "other_bases")
    is_ref = any(one not in "ACGT" for one, _ in differing)
    return Verdict("ref_mismatch", "ref_not_acgt" if is_ref else "reference_not_acgt")


def _why_too_long(change: TrimmedAllele | SymbolicChange, max_length: int) -> str | None:
    """Which alleles are longer than the limit; null if none is."""
    is_long = change.num_ref > max_length, change.num_alt > max_length
    match is_long:
        case (True, True):
            return "long_ref_and_alt"
        case (True, False):
            return "long_ref"
        case (False, True):
            return "long_alt"
    return None


def _contig_limits(settings: WindowSettings, contig: _Contig) -> _Limits:
    """The settings on a contig. A circular contig shorter than the window lowers them."""
    window_length = settings.window_length
    if contig.circular:
        window_length = min(window_length, contig.length)
    return _find_limits(settings, window_length, contig.circular)


@lru_cache(maxsize=1024)
def _find_limits(settings: WindowSettings, window_length: int, circular: bool) -> _Limits:
    quarter = window_length // 4
    step, longest, least = settings.window_step, settings.max_allele_length, settings.min_context
    step = max(1, quarter) if step is None else step
    longest = quarter if longest is None else longest
    if circular:
        step, longest = min(step, max(1, quarter)), max(1, min(longest, quarter))
    least = min(DEFAULT_MIN_CONTEXT, quarter) if least is None else least
    return _Limits(window_length, step, longest, least)


def _lay_windows(
    trimmed: TrimmedAllele,
    contig: _Contig,
    settings: WindowSettings,
    limits: _Limits,
    *,
    is_alias: bool,
) -> PlacedAllele:
    """Left-align an allele whose REF matches the reference, and size the windows of each strand."""
    aligned, differs = _left_align(trimmed, contig)
    start, end = _find_window(aligned.start, contig, settings, limits)
    pair = PlacedPair(contig.name, start, end, contig.background, (aligned.edit,))
    num_other = contig.reference.count_non_acgt(contig.name, start, end)
    by_strand: dict[Strand, WindowSize] = {}
    flags: tuple[str, ...] = ()
    reason: str | None = None
    if num_other and num_other / (end - start) > settings.max_n_share:
        status = "too_many_n"
    else:
        for strand in STRANDS[settings.strands]:
            by_strand[strand] = _size_windows(strand, pair, aligned, contig)
        min_prefix = 0 if settings.prepend_bos else 1
        # A strand without context has no score; the other strand keeps its score.
        with_context = {
            strand: windows
            for strand, windows in by_strand.items()
            if differs and min_prefix <= windows.prefix < windows.length
        }
        status = TO_SCORE
        without = [windows for strand, windows in by_strand.items() if strand not in with_context]
        if without:
            is_first = differs and without[0].prefix < min(min_prefix, without[0].length)
            status, reason = "no_context", "first_token" if is_first else "no_difference"
        by_strand = with_context
    if status == TO_SCORE:
        is_moved = aligned.start != contig.wrap(trimmed.start)
        flags = _find_window_flags(by_strand.values(), settings, limits)
        flags += ("n_in_window",) if num_other else ()
        flags += ("alias_contig",) if is_alias else ()
        flags += ("iupac_ref",) if contig.background else ()
        flags += ("moved",) if is_moved else ()
    length_fwd, prefix_fwd = _cut(by_strand.get("forward"), settings.horizon)
    length_rev, prefix_rev = _cut(by_strand.get("reverse"), settings.horizon)
    return PlacedAllele(
        status,
        reason,
        flags,
        contig.name,
        start,
        end,
        aligned.start,
        len(aligned.ref),
        aligned.alt,
        contig.background,
        length_fwd,
        prefix_fwd,
        length_rev,
        prefix_rev,
    )


def _left_align(trimmed: TrimmedAllele, contig: _Contig) -> tuple[TrimmedAllele, bool]:
    """Move an insertion or deletion as far left as the sequence allows.

    Returns:
        The moved allele, and whether any window can differ because of it. No window can if the
        whole of a circular contig repeats the inserted or deleted bases.
    """
    start, ref, alt = trimmed
    if ref and alt:
        return TrimmedAllele(contig.wrap(start), ref, alt), True
    unit = ref or alt
    limit = contig.length + len(unit) if contig.circular else start
    shift = count_left_shift(contig.fetch, start, unit, limit)
    moved = rotate_left(unit, shift)
    start = contig.wrap(start - shift)
    aligned = TrimmedAllele(start, moved if ref else "", moved if alt else "")
    return aligned, not (contig.circular and shift == limit)


def _find_window(
    position: int, contig: _Contig, settings: WindowSettings, limits: _Limits
) -> tuple[int, int]:
    """Start and end of the reference window of an allele that begins at ``position``."""
    start = position - limits.window_length // 2
    if settings.window_placement == "tiled":
        start = _find_tile(start, contig, limits.window_step)
    end = start + limits.window_length
    return (start, end) if contig.circular else (max(0, start), min(end, contig.length))


def _find_tile(ideal: int, contig: _Contig, step: int) -> int:
    """The start of the tiled window nearest to an ideal start: a multiple of ``step``."""
    last = (contig.length - 1) // step
    if not contig.circular:
        nearest = -((step - 2 * ideal) // (2 * step))  # nearest integer, halves rounded down
        return min(max(nearest, 0), last) * step
    ideal = contig.wrap(ideal)
    before = ideal // step
    # After the last tiled window comes the first one again, around the circle.
    after = (before + 1) * step if before < last else contig.length
    return before * step if ideal - before * step <= after - ideal else contig.wrap(after)


def _size_windows(
    strand: Strand, pair: PlacedPair, aligned: TrimmedAllele, contig: _Contig
) -> WindowSize:
    """The size of the windows of a strand, before a horizon cuts them."""
    num_ref, num_alt = len(aligned.ref), len(aligned.alt)
    offset = contig.wrap(aligned.start - pair.start)
    prefix = offset if strand == "forward" else pair.end - pair.start - offset - num_ref
    length = common_length(pair, strand, contig.length, contig.circular)
    if strand == "forward" and not (num_ref and num_alt):
        # On the reverse strand, left-aligned is already as far as the allele can move.
        after = pair.start + offset + num_ref
        unit = aligned.ref or aligned.alt
        prefix += count_right_shift(contig.fetch, after, unit, length - prefix)
    return WindowSize(length, prefix)


def _find_window_flags(
    windows: Collection[WindowSize], settings: WindowSettings, limits: _Limits
) -> tuple[str, ...]:
    """The flags that say how much the windows of an allele read."""
    min_downstream = limits.min_context if settings.horizon is None else settings.horizon
    clipped = low_context = low_downstream = False
    for length, prefix in windows:
        clipped |= length < settings.window_length
        low_context |= prefix < limits.min_context
        low_downstream |= length - prefix < min_downstream
    if not (clipped or low_context or low_downstream):
        return ()
    flags = {"clipped": clipped, "low_context": low_context, "low_downstream": low_downstream}
    return tuple(flag for flag, applies in flags.items() if applies)


def _cut(windows: WindowSize | None, horizon: int | None) -> tuple[int | None, int | None]:
    """Length and prefix after the cut by a horizon; null if the strand has no score."""
    if windows is None:
        return None, None
    length, prefix = windows
    return length if horizon is None else min(length, prefix + horizon), prefix
