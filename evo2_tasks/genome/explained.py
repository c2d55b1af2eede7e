"""An allele and its surroundings: its tokens on the genome, and the SNVs near it in its window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import (
    Edit,
    PlacedPair,
    Strand,
    common_length,
    strand_sequences,
)
from evo2_tasks.genome.windows import Contig, PlacedAllele
from evo2_tasks.io.words import shown

BASES = "ACGT"


@dataclass(frozen=True, slots=True)
class Sequences:
    """The two windows of a change on one strand, in reading direction.

    Attributes:
        strand: The strand.
        ref: The reference window.
        alt: The alternate window, of equal length.
        prefix: Number of tokens before the first difference.
        num_ref: Number of reference tokens that are replaced.
        num_alt: Number of tokens that replace them.
    """

    strand: Strand
    ref: bytes
    alt: bytes
    prefix: int
    num_ref: int
    num_alt: int


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where an entry of a profile is on the genome.

    Attributes:
        pos: 1-based position; None for an inserted base.
        base: Base of the plus strand of the reference there; empty for an inserted base.
        kind: ``allele``, ``downstream``, or ``end`` for a token that only one window has.
    """

    pos: int | None
    base: str
    kind: str


@dataclass(frozen=True, slots=True)
class NearbySnv:
    """An SNV near an allele, in the window of that allele.

    Attributes:
        pos: 1-based position.
        ref: Base of the reference.
        alt: The other base.
        windows: Its windows, on each strand on which its first token is predicted.
    """

    pos: int
    ref: str
    alt: str
    windows: tuple[Sequences, ...]


def parse_allele(text: str) -> Variant:
    """Read ``CONTIG:POS:REF:ALT``. The contig may have colons in its name.

    Raises:
        InputError: The text is something else.
    """
    contig, *rest = text.rsplit(":", 3)
    digits = rest[0].replace(",", "") if len(rest) == 3 else ""
    is_read = contig and digits.isascii() and digits.isdigit() and 0 < int(digits) < 2**62
    if not is_read or not all(one.isascii() and one.isalpha() for one in rest[1:]):
        raise InputError(
            f"'{shown(text)}' is not an allele; expected CONTIG:POS:REF:ALT with the position "
            "counted from 1 and both alleles in bases, for example chr17:43045712:A:G."
        )
    return Variant(0, 1, contig, int(digits), rest[1].upper(), rest[2].upper(), None)


def find_contig(placed: PlacedAllele, reference: Reference) -> Contig:
    """The contig of an allele that has windows."""
    name = placed.reference_contig or ""
    return Contig(
        reference, name, reference.contigs[name], reference.is_circular(name), placed.background
    )


def make_sequences(placed: PlacedAllele, contig: Contig) -> list[Sequences]:
    """The windows of an allele, on each strand that has a score."""
    pair = placed.pair
    if pair is None:
        return []
    (edit,) = pair.edits
    found = []
    for strand, size in placed.sizes.items():
        ref, alt = strand_sequences(
            contig.reference.fetch, pair, strand, size.length, contig.length, contig.circular
        )
        found.append(Sequences(strand, ref, alt, size.prefix, edit.num_ref, len(edit.alt)))
    return found


def count_entries(num_tokens: int, num_ref: int, num_alt: int) -> tuple[int, int, int]:
    """The entries of a whole profile: of the allele, downstream, and at the end of one window.

    Args:
        num_tokens: Number of tokens of each window from the first difference on.
        num_ref: Number of reference tokens that are replaced.
        num_alt: Number of tokens that replace them.
    """
    of_ref, of_alt = min(num_ref, num_tokens), min(num_alt, num_tokens)
    return max(of_ref, of_alt), num_tokens - max(of_ref, of_alt), abs(of_ref - of_alt)


def locate_tokens(
    placed: PlacedAllele, contig: Contig, strand: Strand, number: int
) -> list[TokenPlace]:
    """Where the first entries of a profile are on the genome.

    Args:
        placed: The allele.
        contig: Its contig.
        strand: The strand that reads.
        number: Number of entries.
    """
    pair = placed.pair
    if pair is None or strand not in placed.sizes:
        return []
    (edit,) = pair.edits
    size = placed.sizes[strand]
    counts = count_entries(size.length - size.prefix, edit.num_ref, len(edit.alt))
    num_allele, num_common, _ = counts
    step = 1 if strand == "forward" else -1
    first = pair.start + size.prefix if strand == "forward" else pair.end - 1 - size.prefix
    places = []
    for entry in range(number):
        if entry >= num_allele + num_common:
            places.append(TokenPlace(None, "", "end"))
            continue
        is_allele = entry < num_allele
        if is_allele and entry >= edit.num_ref:
            places.append(TokenPlace(None, "", "allele"))
            continue
        offset = entry if is_allele else edit.num_ref + entry - num_allele
        position = contig.wrap(first + step * offset)
        base = contig.fetch(position, position + 1)
        places.append(TokenPlace(position + 1, base, "allele" if is_allele else "downstream"))
    return places


def make_nearby_snvs(
    placed: PlacedAllele,
    contig: Contig,
    *,
    distance: int,
    horizon: int | None,
    prepend_bos: bool,
) -> Iterator[NearbySnv]:
    """All SNVs near an allele, in the allele's own window.

    The windows begin where those of the allele begin, so that they share what is before. Bases of
    the reference other than A, C, G and T have no SNVs.

    Args:
        placed: The allele.
        contig: Its contig.
        distance: Most bases between the first changed base of the allele and an SNV.
        horizon: Number of tokens of a window from the first difference on; None for all.
        prepend_bos: Whether the first token of a window is predicted too.
    """
    pair = placed.pair
    if pair is None:
        return
    middle = pair.edits[0].start
    if contig.circular:
        middle = pair.start + (middle - pair.start) % contig.length
    for at in range(max(middle - distance, pair.start), min(middle + distance + 1, pair.end)):
        position = contig.wrap(at)
        ref = contig.fetch(position, position + 1)
        if ref not in BASES:
            continue
        for alt in BASES.replace(ref, ""):
            change = pair._replace(edits=(Edit(position, 1, alt),))
            windows = tuple(
                _make_window(change, contig, strand, at, horizon)
                for strand in placed.sizes
                if prepend_bos or at != (pair.start if strand == "forward" else pair.end - 1)
            )
            yield NearbySnv(position + 1, ref, alt, windows)


def _make_window(
    change: PlacedPair, contig: Contig, strand: Strand, at: int, horizon: int | None
) -> Sequences:
    prefix = at - change.start if strand == "forward" else change.end - 1 - at
    length = common_length(change, strand, contig.length, contig.circular)
    if horizon is not None:
        length = min(length, prefix + horizon)
    ref, alt = strand_sequences(
        contig.reference.fetch, change, strand, length, contig.length, contig.circular
    )
    return Sequences(strand, ref, alt, prefix, 1, 1)
