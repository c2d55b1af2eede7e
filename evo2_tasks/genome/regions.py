"""Stretches of contigs that the user asked for, each position once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown, shown_path

_SPAN = re.compile(r"([0-9][0-9,]*)(-([0-9][0-9,]*)?)?")
_LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a contig, 0-based and half-open.

    Attributes:
        contig: As the file names it.
        start: First base.
        end: Base after the last one.
        previous_end: End of the region before it on the same contig, 0 if there is none. A record
            that starts before it has been found with that region already.
    """

    contig: str
    start: int
    end: int
    previous_end: int = 0


def find_regions(texts: Sequence[str], contigs: Sequence[str], path: Path) -> list[Region]:
    """Parse regions, put them into the order of the contigs, and merge those that touch.

    Args:
        texts: ``chr1``, ``chr1:1,001-2,000``, ``chr1:1001-`` or ``chr1:1001``, 1-based.
        contigs: Of the file, in its order.
        path: The file, for messages.

    Raises:
        InputError: A region is none of these, or is on none of the contigs.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for text in texts:
        contig, start, end = _parse_region(text, contigs, path)
        spans.setdefault(contig, []).append((start, end))
    regions: list[Region] = []
    for contig in contigs:
        merged: list[Region] = []
        for start, end in sorted(spans.get(contig, [])):
            if merged and start <= merged[-1].end:
                last = merged.pop()
                merged.append(Region(contig, last.start, max(last.end, end), last.previous_end))
            else:
                merged.append(Region(contig, start, end, merged[-1].end if merged else 0))
        regions += merged
    return regions


def region_contigs(texts: Sequence[str]) -> Iterator[str]:
    """Every name that the contig of a region can have: a name may hold colons itself."""
    for text in texts:
        yield text
        yield text.rpartition(":")[0]


def _parse_region(text: str, contigs: Sequence[str], path: Path) -> tuple[str, int, int]:
    if text in contigs:
        return text, 0, _LAST
    contig, _, span = text.rpartition(":")
    if contig not in contigs:
        names = ", ".join(shown(name) for name in contigs[:8])
        raise InputError(
            f"{shown_path(path)}: regions: '{shown(text)}' is on no contig of the file, whose "
            f"contigs are: {names}{', ...' if len(contigs) > 8 else ''}."
        )
    found = _SPAN.fullmatch(span)
    start = int(found[1].replace(",", "")) if found else 0
    end = start
    if found and found[2]:
        end = int(found[3].replace(",", "")) if found[3] else _LAST
    if not 1 <= start <= end <= _LAST:
        raise InputError(
            f"{shown_path(path)}: regions: '{shown(text)}' is no region; expected a contig or "
            f"contig:first-last, 1-based, such as chr1:1,001-2,000."
        )
    return contig, start - 1, end
