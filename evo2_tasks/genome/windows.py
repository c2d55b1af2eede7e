"""The windows of an allele: where they lie, what they read, and the status that forbids them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.genome.alleles import (
    Edit,
    count_left_shift,
    count_right_shift,
    rotate_left,
    text_status,
    trim,
)

if TYPE_CHECKING:
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference

Strand = Literal["forward", "reverse"]

Fetch = Callable[[str, int, int], str]
"""The bases of a reference contig between two positions, as `Reference.fetch` gives them."""

MAX_PIECE_BASES = 1 << 20

DEFAULT_MIN_CONTEXT = 512

_ASKED: Mapping[str, tuple[Strand, ...]] = {
    "both": ("forward", "reverse"),
    "forward": ("forward",),
    "reverse": ("reverse",),
}

# Letters of IUPAC; any other byte stays what it is.
_COMPLEMENT = str.maketrans("ACGTURYSWKMBDHVN", "TGCAAYRSWMKVHDBN")


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How windows are laid, as the config's scoring says it; the same for all alleles.

    Attributes:
        window_length: Bases of a window.
        window_placement: ``centered`` on each allele, or ``tiled`` over the contig.
        window_step: Distance of tiled windows; null for a quarter of the window.
        strands: Which strands are read.
        horizon: Tokens to score from the first difference on; null for all of them.
        max_allele_length: Longest trimmed allele; null for a quarter of the window.
        max_n_share: Largest share of bases other than A, C, G, T in a window.
        min_context: Tokens before the first difference, and from it on, below which a row is
            flagged; null for the lesser of 512 and a quarter of the window.
        prepend_bos: Whether a token stands before the window, so that its first base is predicted.
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
        """Refuse what would let an allele lie outside its window."""
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


@dataclass(frozen=True, slots=True)
class PlacedAllele:
    """An allele with its status, and its windows where it has them.

    Attributes:
        status: ``scored`` where nothing forbids a score.
        flags: What to know about a scored allele.
        reference_contig: As the FASTA names it; null if it has no such contig.
        window_start: First base of the reference window, before any cut; may be negative on a
            circular contig.
        window_end: Base after its last one; may pass the length of a circular contig.
        edit_start: First changed base of the left-aligned trimmed allele, 0-based.
        edit_ref: Number of bases that it replaces.
        edit_alt: Bases that replace them.
        length_fwd: Tokens of each of the forward strand's two windows, as they are cut; null where
            the strand has no score.
        prefix_fwd: Tokens before the first difference.
        length_rev: As ``length_fwd``, of the reverse strand.
        prefix_rev: As ``prefix_fwd``, of the reverse strand.
    """

    status: str
    flags: tuple[str, ...] = ()
    reference_contig: str | None = None
    window_start: int | None = None
    window_end: int | None = None
    edit_start: int | None = None
    edit_ref: int | None = None
    edit_alt: str | None = None
    length_fwd: int | None = None
    prefix_fwd: int | None = None
    length_rev: int | None = None
    prefix_rev: int | None = None


class _Limits(NamedTuple):
    """The settings as they are on one contig."""

    window_length: int
    window_step: int
    max_allele_length: int
    min_context: int


class _Contig(NamedTuple):
    """A sequence of the reference."""

    reference: Reference
    name: str
    length: int
    circular: bool

    def fetch(self, start: int, end: int) -> str:
        return self.reference.fetch(self.name, start, end)

    def wrap(self, position: int) -> int:
        """A position that passed 0 or the length of a circle, back on it."""
        return position % self.length if self.circular else position


class _Reading(NamedTuple):
    """What one strand reads, before a horizon.

    Attributes:
        length: Tokens of each of its two windows.
        prefix: Tokens before the first difference; not below ``length`` if there is none.
    """

    length: int
    prefix: int


def place_allele(variant: Variant, reference: Reference, settings: WindowSettings) -> PlacedAllele:
    """Find the status of an allele, and lay its windows.

    Args:
        variant: One row of the input, with the status that reading gave it, if any.
        reference: The sequences that it changes.
        settings: The windows of the scoring.

    Returns:
        The first status that applies, in the order of the closed list; ``scored`` stands for an
        allele that is to be scored.
    """
    contig, ref, alt = variant.contig, variant.ref, variant.alt
    if contig is None:
        return PlacedAllele("invalid_record")
    name = reference.resolve(contig)
    if ref is None or alt is None:
        return PlacedAllele(variant.status or "invalid_record", reference_contig=name)
    status = variant.status or text_status(ref, alt)
    if status is not None:
        return PlacedAllele(status, reference_contig=name)
    start = variant.start
    edit = trim(start, ref, alt)
    if edit.ref.strip("ACGT") or edit.alt.strip("ACGT"):
        return PlacedAllele("non_acgt_allele", reference_contig=name)
    if name is None:
        return PlacedAllele("contig_not_found")
    on = _Contig(reference, name, reference.contigs[name], reference.is_circular(name))
    if start < 0 or start + len(ref) > on.length:
        return PlacedAllele("position_out_of_range", reference_contig=name)
    if on.fetch(start, start + len(ref)) != ref:
        return PlacedAllele(_find_mismatch(on, start, ref, alt), reference_contig=name)
    limits = _contig_limits(settings, on)
    if max(len(edit.ref), len(edit.alt)) > limits.max_allele_length:
        return PlacedAllele("too_long", reference_contig=name)
    return _lay_windows(edit, on, settings, limits, is_alias=contig != name)


def needed_intervals(
    placed: PlacedAllele, contig_length: int, circular: bool
) -> list[tuple[int, int]]:
    """The bases of the reference contig that `strand_sequences` reads for an allele.

    Args:
        placed: An allele with or without windows.
        contig_length: Of its reference contig.
        circular: Whether that contig is circular.

    Returns:
        Sorted intervals that do not touch, within 0 and the length of the contig.
    """
    intervals: list[tuple[int, int]] = []
    lengths: Mapping[Strand, int | None] = {
        "forward": placed.length_fwd,
        "reverse": placed.length_rev,
    }
    for strand, length in lengths.items():
        if length is not None:
            for start, end in _ranges(placed, strand, contig_length, circular):
                intervals += _wrap(start, end, contig_length, circular)
    return merge_intervals(intervals)


def merge_intervals(
    intervals: Iterable[tuple[int, int]], max_length: int | None = None
) -> list[tuple[int, int]]:
    """Sort intervals, merge those that touch, and cut the merged ones into pieces.

    Args:
        intervals: 0-based and half-open.
        max_length: Longest piece; null for no cut.
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    if max_length is None:
        return merged
    return [
        (first, min(first + max_length, end))
        for start, end in merged
        for first in range(start, end, max_length)
    ]


def strand_sequences(
    fetch: Fetch, placed: PlacedAllele, strand: Strand, contig_length: int, circular: bool
) -> tuple[bytes, bytes]:
    """The reference and the alternate window of one strand, in reading direction.

    Args:
        fetch: Gives the bases of ranges within 0 and the length of the contig; those of
            `needed_intervals` are enough.
        placed: An allele that this strand has a length for.
        strand: Which strand reads.
        contig_length: Of the reference contig.
        circular: Whether that contig is circular.

    Returns:
        Two windows of the strand's length, upper case.
    """
    ranges = _ranges(placed, strand, contig_length, circular)
    name = placed.reference_contig or ""
    ref_seq, before, after = (
        "".join(fetch(name, *piece) for piece in _wrap(start, end, contig_length, circular))
        for start, end in ranges
    )
    alt_seq = before + (placed.edit_alt or "") + after
    if strand == "reverse":
        ref_seq, alt_seq = reverse_complement(ref_seq), reverse_complement(alt_seq)
    return ref_seq.encode(), alt_seq[: len(ref_seq)].encode()


def reverse_complement(bases: str) -> str:
    """The other strand of upper-case bases, IUPAC letters included."""
    return bases.translate(_COMPLEMENT)[::-1]


def _find_mismatch(contig: _Contig, start: int, ref: str, alt: str) -> str:
    """The status of an allele whose ``ref`` is not at ``start``."""
    end = start + len(alt)
    fits = len(alt) >= len(ref) and end <= contig.length and contig.fetch(start, end) == alt
    return "ref_alt_swapped" if fits else "ref_mismatch"


def _contig_limits(settings: WindowSettings, contig: _Contig) -> _Limits:
    """The settings on a contig: a circular one lowers them where its windows are shorter."""
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
    edit: Edit, contig: _Contig, settings: WindowSettings, limits: _Limits, *, is_alias: bool
) -> PlacedAllele:
    """Left-align an allele that fits the reference, and see what its strands read."""
    aligned, differs = _left_align(edit, contig)
    start, end = _find_window(aligned.start, contig, settings, limits)
    num_other = contig.reference.count_non_acgt(contig.name, start, end)
    readings: dict[Strand, _Reading] = {}
    flags: tuple[str, ...] = ()
    if num_other and num_other / (end - start) > settings.max_n_share:
        status = "too_many_n"
    else:
        for strand in _ASKED[settings.strands]:
            readings[strand] = _read(strand, aligned, start, end, contig)
        needs = 0 if settings.prepend_bos else 1
        # A strand without context has no score; the other one keeps its own.
        predicted = {
            strand: reading
            for strand, reading in readings.items()
            if differs and needs <= reading.prefix < reading.length
        }
        status = "scored" if len(predicted) == len(readings) else "no_context"
        readings = predicted
    if status == "scored":
        is_moved = aligned.start != contig.wrap(edit.start)
        flags = _find_flags(readings.values(), settings, limits, num_other, is_alias, is_moved)
    length_fwd, prefix_fwd = _cut(readings.get("forward"), settings.horizon)
    length_rev, prefix_rev = _cut(readings.get("reverse"), settings.horizon)
    return PlacedAllele(
        status,
        flags,
        contig.name,
        start,
        end,
        aligned.start,
        len(aligned.ref),
        aligned.alt,
        length_fwd,
        prefix_fwd,
        length_rev,
        prefix_rev,
    )


def _left_align(edit: Edit, contig: _Contig) -> tuple[Edit, bool]:
    """Move an insertion or deletion as far left as the sequence allows.

    Returns:
        The allele, and whether it makes a difference at all: on a circle that repeats it all round
        it makes none that a window could show.
    """
    start, ref, alt = edit
    if ref and alt:
        return edit, True
    unit = ref or alt
    limit = contig.length + len(unit) if contig.circular else start
    shift = count_left_shift(contig.fetch, start, unit, limit)
    turned = rotate_left(unit, shift)
    aligned = Edit(contig.wrap(start - shift), turned if ref else "", turned if alt else "")
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
    """The multiple of ``step`` on the contig that is nearest to an ideal start."""
    last = (contig.length - 1) // step
    if not contig.circular:
        nearest = -((step - 2 * ideal) // (2 * step))  # rounded, a half downwards
        return min(max(nearest, 0), last) * step
    ideal = contig.wrap(ideal)
    before = ideal // step
    # The one after the last is the first, one round later.
    after = (before + 1) * step if before < last else contig.length
    return before * step if ideal - before * step <= after - ideal else contig.wrap(after)


def _read(strand: Strand, aligned: Edit, start: int, end: int, contig: _Contig) -> _Reading:
    """What a strand reads: as many tokens as both haplotypes have from where it begins."""
    num_ref, num_alt = len(aligned.ref), len(aligned.alt)
    offset = contig.wrap(aligned.start - start)
    prefix = offset if strand == "forward" else end - start - offset - num_ref
    if contig.circular:
        num_bases = contig.length - num_ref + num_alt
    elif strand == "forward":
        num_bases = prefix + num_alt + contig.length - aligned.start - num_ref
    else:
        num_bases = prefix + num_alt + aligned.start
    length = min(end - start, num_bases)
    if strand == "forward" and not (num_ref and num_alt):
        # Left-aligned, it is as far as it can go on the reverse strand already.
        after = start + offset + num_ref
        unit = aligned.ref or aligned.alt
        prefix += count_right_shift(contig.fetch, after, unit, length - prefix)
    return _Reading(length, prefix)


def _find_flags(
    readings: Collection[_Reading],
    settings: WindowSettings,
    limits: _Limits,
    num_other: int,
    is_alias: bool,
    is_moved: bool,
) -> tuple[str, ...]:
    """What to know about an allele that is to be scored."""
    min_downstream = limits.min_context if settings.horizon is None else settings.horizon
    flags = {
        "clipped": any(length < settings.window_length for length, _ in readings),
        "low_context": any(prefix < limits.min_context for _, prefix in readings),
        "low_downstream": any(length - prefix < min_downstream for length, prefix in readings),
        "n_in_window": num_other > 0,
        "alias_contig": is_alias,
        "moved": is_moved,
    }
    return tuple(flag for flag, applies in flags.items() if applies)


def _cut(reading: _Reading | None, horizon: int | None) -> tuple[int | None, int | None]:
    """Length and prefix as a horizon cuts them; null where the strand has no score."""
    if reading is None:
        return None, None
    length, prefix = reading
    return length if horizon is None else min(length, prefix + horizon), prefix


def _ranges(
    placed: PlacedAllele, strand: Strand, contig_length: int, circular: bool
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """What a strand reads of the contig: the reference window, and what is around the allele.

    On a circular contig the ranges go on from the window's start, so that they may begin before 0
    or end after the length.
    """
    start, end, first = placed.window_start, placed.window_end, placed.edit_start
    num_ref, alt = placed.edit_ref, placed.edit_alt
    length = placed.length_fwd if strand == "forward" else placed.length_rev
    if start is None or end is None or first is None or num_ref is None or alt is None:
        raise ValueError("the allele has no windows")
    if length is None:
        raise ValueError(f"the allele has no windows on the {strand} strand")
    if circular:
        first = start + (first - start) % contig_length
    last = first + num_ref
    if strand == "forward":
        num_after = max(0, length - (first - start) - len(alt))
        return (start, start + length), (start, first), (last, last + num_after)
    num_before = max(0, length - (end - last) - len(alt))
    return (end - length, end), (first - num_before, first), (last, end)


def _wrap(start: int, end: int, contig_length: int, circular: bool) -> list[tuple[int, int]]:
    """A range as plain intervals of the contig, in reading order; an empty one as none."""
    if not circular:
        return [(start, end)] if start < end else []
    pieces = []
    while start < end:
        first = start % contig_length
        size = min(end - start, contig_length - first)
        pieces.append((first, first + size))
        start += size
    return pieces


STRANDS: Mapping[str, tuple[Strand, ...]] = {
    "both": ("forward", "reverse"),
    "forward": ("forward",),
    "reverse": ("reverse",),
}
