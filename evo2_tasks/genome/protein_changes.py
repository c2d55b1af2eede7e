"""Changes of a protein: as ``bcftools csq`` states them, and as the table spells them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

MAX_CHARACTERS: Final = 40
"""Most characters of ``amino_acids``."""

_MOST_SIDE: Final = 16
_CHANGE: Final = re.compile(r"([0-9]+)([^0-9>.]*)(?:\.\.[0-9]+)?(?:>[0-9]+([^0-9>.]*)(\.\.)?.*)?")


class ProteinChange(NamedTuple):
    """Amino acids as csq states them, cut where they are many.

    Attributes:
        position: Number of the first of them, from 1.
        ref: Amino acids of the reference; ``*`` is a stop.
        alt: Amino acids of the allele; equal to ``ref`` if they do not change.
    """

    position: int
    ref: str
    alt: str


@lru_cache(maxsize=10_000)
def parse_change(text: str) -> ProteinChange | None:
    """Read the amino acids of csq: ``24W>24R``, ``24W`` if they stay; null if there are none."""
    found = _CHANGE.fullmatch(text)
    if found is None:
        return None
    position, ref, alt, _ = found.groups()
    return ProteinChange(int(position), ref, ref if alt is None else alt)


def spell_change(change: ProteinChange, terms: frozenset[str]) -> str:
    """The change of a protein in at most 40 characters: ``W24R``, ``W24*``, ``W24Rfs``, ``TY5I``.

    Args:
        change: The amino acids.
        terms: The terms of the allele. A frameshift is spelled by the first amino acid that
            changes.
    """
    position, ref, alt = change.position, change.ref, change.alt
    if "frameshift_variant" in terms:
        place = next(
            (n for n, pair in enumerate(zip(ref, alt, strict=False)) if pair[0] != pair[1]), None
        )
        if place is None:
            return f"{ref[:1]}{position}fs"
        first = alt[place]
        return f"{ref[place]}{position + place}{first if first == '*' else first + 'fs'}"
    return shorten(f"{shorten(ref, _MOST_SIDE)}{position}{shorten(alt, _MOST_SIDE)}")


def trim_change(change: ProteinChange) -> ProteinChange:
    """A change without the equal amino acids at its ends; one is left on each side."""
    position, ref, alt = change
    if ref == alt:
        return change
    while min(len(ref), len(alt)) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while min(len(ref), len(alt)) > 1 and ref[0] == alt[0]:
        position, ref, alt = position + 1, ref[1:], alt[1:]
    return ProteinChange(position, ref, alt)


def shorten(text: str, most: int = MAX_CHARACTERS) -> str:
    """Cut a long text; three dots then take the place of its end.

    Args:
        text: A change of a protein, or its amino acids.
        most: Most characters of the result.
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."
