"""The sequence of a compound, drawn as text: the reference above the haplotype."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from evo2_tasks.errors import InputError
from evo2_tasks.genome.alleles import TrimmedAllele
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import AlignedAllele, locate_allele
from evo2_tasks.io.words import shown_path
from evo2_tasks.report.rows import Row

FLANK: Final = 8
"""Bases that are drawn on either side."""

MOST_BASES: Final = 24
"""Most bases of a part that are drawn; of a longer part, the first and the last ones are."""

MOST_PARTS: Final = 15
"""Most parts that are drawn: those between the flanks."""

GAP: Final = "-"


class Part(NamedTuple):
    """Bases of the reference, and those of the haplotype in their place; both of one length.

    Attributes:
        ref: Bases of the reference, gaps where the haplotype has more.
        alt: Bases of the haplotype, gaps where the reference has more.
        is_changed: Whether a member of the compound changes them.
    """

    ref: str
    alt: str
    is_changed: bool


class Drawing(NamedTuple):
    """The sequence around a compound.

    Attributes:
        parts: Its parts, from left to right.
    """

    parts: tuple[Part, ...]

    def as_html(self) -> Markup:
        """Two lines in a font of fixed width, with the changed bases marked."""
        lines = (
            Markup("").join(
                (Markup("<mark>{}</mark>") if part.is_changed else Markup("{}")).format(text)
                for part, text in zip(self.parts, texts, strict=True)
            )
            for texts in ([one.ref for one in self.parts], [one.alt for one in self.parts])
        )
        return Markup('<span class="bases">reference  {}\nhaplotype  {}</span>').format(*lines)


def draw_compound(compound: Row, members: Sequence[Row], reference: Reference) -> Drawing:
    """Draw a compound.

    Args:
        compound: ``contig`` as the reference spells it, ``pos``, ``ref`` and ``alt`` of all members
            together.
        members: Its members in their order, as in the table of scores.
        reference: The reference of the scores.

    Raises:
        InputError: The reference has other bases than the table.
    """
    contig, start, ref = compound["contig"], compound["pos"] - 1, compound["ref"]
    length = reference.contigs.get(contig, 0)
    edits = _locate(members, reference, start)
    if edits is None or not _agree(reference, contig, start, ref):
        raise InputError(
            f"{shown_path(reference.path)}: has other bases at {contig}:{compound['pos']} than the "
            "table of scores, so it was changed or replaced. Use the reference that the scores "
            "were made with, or run again."
        )
    end, circular = start + len(ref), reference.is_circular(contig)
    room = max(0, length - len(ref)) // 2
    left = min(FLANK, room if circular else start)
    right = min(FLANK, room if circular else length - end)
    before, after = (
        reference.fetch(contig, *ends) for ends in ((start - left, start), (end, end + right))
    )
    parts = [*_cut(ref, edits)]
    if len(parts) > MOST_PARTS:
        middle = MOST_PARTS // 2
        parts[middle : middle + len(parts) - MOST_PARTS] = [Part("…", "…", False)]
    whole = [Part(before, before, False), *map(_shorten, parts), Part(after, after, False)]
    return Drawing(tuple(part for part in whole if part.ref))


def _locate(members: Sequence[Row], reference: Reference, start: int) -> list[TrimmedAllele] | None:
    """The members as edits, with starts from that of the compound; None if one is nowhere."""
    edits = []
    for member in members:
        names = ("record", "allele", "contig", "pos", "ref", "alt")
        values = {name: member[name] for name in names}
        found = locate_allele(Variant(**values, status=None), reference)
        if not isinstance(found, AlignedAllele):
            return None
        first = found.aligned.start - start
        edits.append(found.aligned._replace(start=first + found.contig.length * (first < 0)))
    return edits


def _agree(reference: Reference, contig: str, start: int, ref: str) -> bool:
    """Whether the reference has these bases; its other letters than A, C, G and T may be any."""
    end, length = start + len(ref), reference.contigs.get(contig, 0)
    if not length or (end > length and not reference.is_circular(contig)):
        return False
    found = reference.fetch(contig, start, end)
    return all(one == base or base not in "ACGT" for one, base in zip(ref, found, strict=True))


def _cut(ref: str, edits: Sequence[TrimmedAllele]) -> Iterator[Part]:
    """The parts of a compound: those that a member changes, and those between them."""
    place = 0
    for first, old, new in edits:
        if first > place:
            yield Part(ref[place:first], ref[place:first], False)
        yield _align(old, new)
        place = first + len(old)
    if place < len(ref):
        yield Part(ref[place:], ref[place:], False)


def _align(ref: str, alt: str) -> Part:
    """A changed part, with gaps at the end of the shorter line."""
    size = max(len(ref), len(alt))
    return Part(ref.ljust(size, GAP), alt.ljust(size, GAP), True)


def _shorten(part: Part) -> Part:
    """A part without the bases in its middle, if it is long."""
    hidden = len(part.ref) - MOST_BASES
    if hidden <= 0:
        return part
    side = MOST_BASES // 2
    ref, alt = (f"{one[:side]}…{hidden:,}…{one[-side:]}" for one in part[:2])
    return Part(ref, alt, part.is_changed)
