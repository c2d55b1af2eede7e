"""The layout of windows around an allele: interval, sizes, status and flags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from evo2_tasks.genome.alleles import (
    TrimmedAllele,
    count_left_shift,
    count_right_shift,
    rotate_left,
)
from evo2_tasks.genome.window_pairs import STRANDS, Edit, PlacedPair, Strand, common_length

DEFAULT_MIN_CONTEXT = 512

TO_SCORE = "to_score"
"""Status of an allele that can be scored, before the model has run."""


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


class PlacedChange(NamedTuple):
    """A change of a genome with its windows.

    Attributes:
        placed: Status, flags and windows; see ``haplotype_windows`` for the coordinates.
        start: Start of the reference window before any cut, 0-based on the reference contig; None
            without windows.
        end: Its end, exclusive.
    """

    placed: PlacedAllele
    start: int | None
    end: int | None


class Limits(NamedTuple):
    """The settings that depend on the contig, with their values on one contig."""

    window_length: int
    window_step: int
    max_allele_length: int
    min_context: int


class WindowSequence(Protocol):
    """A sequence in which windows are placed: a contig of the reference, or a haplotype of one."""

    @property
    def name(self) -> str:
        """Name of the reference contig."""

    @property
    def length(self) -> int:
        """Its length, bases."""

    @property
    def circular(self) -> bool:
        """Whether it is circular."""

    @property
    def background(self) -> tuple[Edit, ...]:
        """The edits that make it from the contig, 0-based on the contig."""

    @property
    def letters(self) -> tuple[Edit, ...]:
        """Those edits that replace an IUPAC letter of the reference by the base of REF."""

    def fetch(self, start: int, end: int) -> str:
        """The bases from ``start`` to ``end``, 0-based and half-open; a circle wraps."""

    def count_non_acgt(self, start: int, end: int) -> int:
        """Number of bases other than A, C, G and T in a range, before letters are replaced."""

    def wrap(self, position: int) -> int:
        """The position, on a circular sequence modulo its length."""


def find_limits(settings: WindowSettings, sequence: WindowSequence) -> Limits:
    """The settings on a sequence. A circular contig shorter than the window lowers them."""
    window_length = settings.window_length
    if sequence.circular:
        window_length = min(window_length, sequence.length)
    return _find_limits(settings, window_length, sequence.circular)


@lru_cache(maxsize=1024)
def _find_limits(settings: WindowSettings, window_length: int, circular: bool) -> Limits:
    quarter = window_length // 4
    step, longest, least = settings.window_step, settings.max_allele_length, settings.min_context
    step = max(1, quarter) if step is None else step
    longest = quarter if longest is None else longest
    if circular:
        step, longest = min(step, max(1, quarter)), max(1, min(longest, quarter))
    least = min(DEFAULT_MIN_CONTEXT, quarter) if least is None else least
    return Limits(window_length, step, longest, least)


class Layout(NamedTuple):
    """An allele at its place in a sequence, and its window there.

    Attributes:
        aligned: The allele, left-aligned in the sequence.
        differs: Whether any window can differ because of it.
        start: Start of the reference window before any cut, 0-based.
        end: Its end, exclusive.
    """

    aligned: TrimmedAllele
    differs: bool
    start: int
    end: int


def size_windows(
    layout: Layout,
    sequence: WindowSequence,
    settings: WindowSettings,
    limits: Limits,
    *,
    is_alias: bool,
    is_moved: bool,
) -> PlacedAllele:
    """Size the windows of each strand, and find the status and the flags of the allele.

    Args:
        layout: The allele and its window.
        sequence: The contig or the haplotype.
        settings: The window settings of the scoring.
        limits: The settings in this sequence.
        is_alias: Whether the input has another name for the contig.
        is_moved: Whether left-aligning moved the allele.
    """
    aligned, differs, start, end = layout
    pair = PlacedPair(sequence.name, start, end, (), (aligned.edit,))
    num_other = sequence.count_non_acgt(start, end)
    by_strand: dict[Strand, WindowSize | None] = {}
    flags: tuple[str, ...] = ()
    reason: str | None = None
    if num_other and num_other / (end - start) > settings.max_n_share:
        status = "too_many_n"
    else:
        for strand in STRANDS[settings.strands]:
            by_strand[strand] = _size_windows(strand, pair, aligned, sequence)
        min_prefix = 0 if settings.prepend_bos else 1
        # A strand without context has no score; the other strand keeps its score.
        without = [
            strand
            for strand, windows in by_strand.items()
            if windows is None or not differs or not min_prefix <= windows.prefix < windows.length
        ]
        status = TO_SCORE
        if without:
            first = by_strand[without[0]]
            is_first = first is None or first.prefix < min(min_prefix, first.length)
            status = "no_context"
            reason = "first_token" if differs and is_first else "no_difference"
        for strand in without:
            del by_strand[strand]
    if status == TO_SCORE:
        sizes = [windows for windows in by_strand.values() if windows is not None]
        flags = _find_window_flags(sizes, settings, limits)
        flags += ("n_in_window",) if num_other else ()
        flags += ("alias_contig",) if is_alias else ()
        flags += ("iupac_ref",) if sequence.letters else ()
        flags += ("moved",) if is_moved else ()
    length_fwd, prefix_fwd = _cut(by_strand.get("forward"), settings.horizon)
    length_rev, prefix_rev = _cut(by_strand.get("reverse"), settings.horizon)
    return PlacedAllele(
        status,
        reason,
        flags,
        sequence.name,
        start,
        end,
        aligned.start,
        len(aligned.ref),
        aligned.alt,
        sequence.background,
        length_fwd,
        prefix_fwd,
        length_rev,
        prefix_rev,
    )


def why_too_long(num_ref: int, num_alt: int, max_length: int) -> str | None:
    """Which alleles are longer than the limit; null if none is."""
    is_long = num_ref > max_length, num_alt > max_length
    match is_long:
        case (True, True):
            return "long_ref_and_alt"
        case (True, False):
            return "long_ref"
        case (False, True):
            return "long_alt"
    return None


class LeftAligned(NamedTuple):
    """An allele as far left as a sequence allows.

    Attributes:
        allele: The allele there.
        shift: By how many bases it moved.
        differs: Whether any window can differ because of it. No window can if the whole of a
            circular sequence repeats the inserted or deleted bases.
    """

    allele: TrimmedAllele
    shift: int
    differs: bool


def left_align(trimmed: TrimmedAllele, sequence: WindowSequence) -> LeftAligned:
    """Move an insertion or deletion as far left as the sequence allows; others do not move."""
    start, ref, alt = trimmed
    if ref and alt:
        return LeftAligned(TrimmedAllele(sequence.wrap(start), ref, alt), 0, True)
    unit = ref or alt
    limit = sequence.length + len(unit) if sequence.circular else start
    shift = count_left_shift(sequence.fetch, start, unit, limit)
    is_round = sequence.circular and shift == limit
    return LeftAligned(move_left(trimmed, shift, sequence), shift, not is_round)


def move_left(allele: TrimmedAllele, shift: int, sequence: WindowSequence) -> TrimmedAllele:
    """Move an allele to the left by a number of bases that the sequence allows."""
    start, ref, alt = allele
    if ref and alt:
        return allele
    moved = rotate_left(ref or alt, shift)
    return TrimmedAllele(sequence.wrap(start - shift), moved if ref else "", moved if alt else "")


def find_window(
    position: int, sequence: WindowSequence, settings: WindowSettings, limits: Limits
) -> tuple[int, int]:
    """Start and end of the reference window of an allele that begins at ``position``."""
    start = position - limits.window_length // 2
    if settings.window_placement == "tiled":
        start = find_tile(start, sequence, limits.window_step)
    end = start + limits.window_length
    return (start, end) if sequence.circular else (max(0, start), min(end, sequence.length))


def find_tile(ideal: int, sequence: WindowSequence, step: int) -> int:
    """The start of the tiled window nearest to an ideal start: a multiple of ``step``."""
    last = (sequence.length - 1) // step
    if not sequence.circular:
        nearest = -((step - 2 * ideal) // (2 * step))  # nearest integer, halves rounded down
        return min(max(nearest, 0), last) * step
    ideal = sequence.wrap(ideal)
    before = ideal // step
    # After the last tiled window comes the first one again, around the circle.
    after = (before + 1) * step if before < last else sequence.length
    return before * step if ideal - before * step <= after - ideal else sequence.wrap(after)


def _size_windows(
    strand: Strand, pair: PlacedPair, aligned: TrimmedAllele, sequence: WindowSequence
) -> WindowSize | None:
    """The size of the windows of a strand, before a horizon cuts them.

    A tiled window of a haplotype may not hold its allele: what the neighbours insert or delete can
    move the allele out of it.

    Returns:
        None if the strand begins to read inside the allele.
    """
    num_ref, size = len(aligned.ref), pair.end - pair.start
    offset = sequence.wrap(aligned.start - pair.start)
    if sequence.circular and offset >= size and offset + num_ref > sequence.length:
        offset -= sequence.length  # the allele begins before the window and ends in it
    first, last = offset, offset + num_ref
    is_round = sequence.circular and last > sequence.length
    if is_round or (first < 0 < last if strand == "forward" else first < size < last):
        return None
    length = common_length(pair, strand, sequence.length, sequence.circular)
    if first < 0 if strand == "forward" else first + bool(num_ref) > size:
        return WindowSize(length, length)  # the strand does not read the allele
    prefix = first if strand == "forward" else size - last
    if strand == "forward" and not (num_ref and aligned.alt):
        # On the reverse strand, left-aligned is already as far as the allele can move.
        after = pair.start + last
        unit = aligned.ref or aligned.alt
        prefix += count_right_shift(sequence.fetch, after, unit, length - prefix)
    return WindowSize(length, prefix)


def _find_window_flags(
    windows: Collection[WindowSize], settings: WindowSettings, limits: Limits
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
