"""Regions: stretches of contigs, and how a user writes them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.genome.contigs import bare_name
from evo2_tasks.io.words import shown, shown_path

TELOMERE: Final = -1
"""Start of a whole contig: VCF position 0, before the first base."""

OPEN_END: Final = 2**63 - 1
"""End of a region without a last position."""

_MAX_DIGITS: Final = 18
_SPAN: Final = re.compile(r"(?P<first>[0-9,]+)(?P<dash>-(?P<last>[0-9,]*))?")


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a contig, 0-based and half-open.

    Attributes:
        contig: Name of the contig.
        start: First position.
        end: Position after the last one.
        previous_end: End of the previous region on the same contig, 0 if there is none. A record
            that starts before it was already found with that region.
    """

    contig: str
    start: int = TELOMERE
    end: int = OPEN_END
    previous_end: int = 0


def parse_region(text: str, contigs: Collection[str], source: Path) -> Region:
    """Read a region as bcftools does; positions are 1-based and both ends are included.

    Examples are ``chr17``, ``chr17:43,044,295`` (one position), ``chr17:43,044,295-43,045,000`` and
    ``chr17:43,044,295-`` (to the end). Names with colons are read as htslib reads them: a text
    that is the name of a contig is this whole contig, and else the last colon ends the name. If
    both are possible (contigs ``HLA:1`` and ``HLA``), braces around the name are needed:
    ``{HLA:1}`` is the contig and ``{HLA}:1`` the position.

    Args:
        text: The region.
        contigs: Names of the contigs to choose from.
        source: The file or table that has these contigs, for messages.

    Raises:
        InputError: The text is not a region, is on none of the contigs, or can be read in two ways.
    """
    where = f"{shown_path(source)}: region '{shown(text)}'"
    known = [(name, span) for name, span in _readings(text) if name in contigs]
    if not known:
        raise InputError(f"{where}: {_describe_contigs(text, contigs)}")
    regions = [region for name, span in known if (region := _with_span(name, span)) is not None]
    if not regions:
        raise InputError(
            f"{where}: '{shown(known[0][1])}' is not a range of positions. Expected a contig, or "
            f"contig:first-last counted from 1, for example chr1:1,001-2,000."
        )
    if len(regions) > 1 and not _is_in_braces(text, *known[0]):
        name, _, span = text.rpartition(":")
        raise InputError(
            f"{where}: is the name of a contig, and also a range of positions on the contig "
            f"'{shown(name)}'. Write '{{{shown(text)}}}' for the whole contig, or "
            f"'{{{shown(name)}}}:{shown(span)}' for the positions."
        )
    if regions[0].start >= regions[0].end:
        raise InputError(f"{where}: ends before it begins.")
    return regions[0]


def find_regions(
    texts: Sequence[str], contigs: Sequence[str], path: Path, last_pos: int = OPEN_END
) -> list[Region]:
    """Read the regions to look up in an index, sort them, and merge those that touch.

    Args:
        texts: Regions as :func:`parse_region` reads them.
        contigs: Contigs of the file, in its order.
        path: The file, for messages.
        last_pos: Last position that the format of the file can have.

    Returns:
        The regions in the order of the contigs; positions start at 0 and end at ``last_pos``.

    Raises:
        InputError: A text is not a region, or is on none of the contigs.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for text in texts:
        region = parse_region(text, contigs, path)
        is_whole = region == Region(region.contig)
        start = 0 if is_whole else region.start
        if not 0 <= start < last_pos:
            raise InputError(
                f"{shown_path(path)}: region '{shown(text)}': positions must be between 1 and "
                f"{last_pos:,}."
            )
        spans.setdefault(region.contig, []).append((start, min(region.end, last_pos)))
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
    """Every name that the contig of one of these regions can have."""
    for text in texts:
        yield from (name for name, _ in _readings(text))


def _readings(text: str) -> Iterator[tuple[str, str | None]]:
    """The ways to read a region, the preferred one first: a contig's name, and its positions."""
    if text.startswith("{") and "}" in text:
        name, _, span = text[1:].rpartition("}")
        yield name, span.removeprefix(":") if span else None
    yield text, None
    name, colon, span = text.rpartition(":")
    if colon:
        yield name, span


def _is_in_braces(text: str, name: str, span: str | None) -> bool:
    """Whether braces in the text mark the contig of a reading."""
    return text == f"{{{name}}}" + ("" if span is None else f":{span}")


def _with_span(contig: str, span: str | None) -> Region | None:
    """A region from its contig and its positions; None if these are not a range."""
    if span is None:
        return Region(contig)
    match = _SPAN.fullmatch(span)
    if match is None:
        return None
    first, last = ((match[name] or "").replace(",", "") for name in ("first", "last"))
    if not first or max(len(first), len(last)) > _MAX_DIGITS:
        return None
    start = int(first) - 1
    if match["dash"] is None:
        return Region(contig, start, start + 1)
    return Region(contig, start, int(last) if last else OPEN_END)


def _describe_contigs(text: str, contigs: Collection[str]) -> str:
    """Why a region is on none of the contigs, and which contigs there are."""
    if not contigs:
        return "there are no contigs."
    name = next((name for name, _ in _readings(text) if name != text), text)
    near = get_close_matches(name, contigs, n=3) or sorted(contigs)[:8]
    listed = ", ".join(f"'{shown(contig)}'" for contig in near)
    more = ", ..." if len(contigs) > len(near) else ""
    same = next((contig for contig in contigs if bare_name(contig) == bare_name(name)), None)
    hint = "" if same is None else f" Did you mean '{shown(same)}'?"
    return f"there is no contig '{shown(name)}'; there are {listed}{more}.{hint}"
