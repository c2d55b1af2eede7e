"""BED text: the regions of a saturation set, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.genome.records import CarryField, InvalidRecord
from evo2_tasks.genome.vcf import parse_position
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.words import shown

CARRY_FIELDS = {
    "name": CarryField("name", "string", description="Name of the region"),
    "score": CarryField("score", "string", description="Score of the region"),
    "strand": CarryField("strand", "string", description="Strand of the region"),
}
"""What can be carried along from a BED file, in the order of its columns from the fourth on."""

_HEADINGS = (b"track", b"browser")
_THICK, _BLOCKS = slice(6, 8), slice(9, 12)

Interval = tuple[int, int]
"""Start and end on a contig, 0-based and half-open."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A line of a BED file.

    Attributes:
        contig: As the file spells it.
        start: First base.
        end: Base after the last one.
        blocks: Its parts in the order of the contig: exons, say. One, the whole, where the line
            has fewer than twelve columns.
        thick: The coding part; the whole where the line has fewer than eight columns.
        strand: ``+``, ``-``, or ``.`` where the line does not say.
        texts: Name, score and strand as they stand there; null where they do not.
    """

    contig: str
    start: int
    end: int
    blocks: tuple[Interval, ...]
    thick: Interval
    strand: str
    texts: tuple[str | None, ...]


def read_features(path: Path) -> Iterator[Feature | InvalidRecord]:
    """The lines of a BED file, plain, gzip or bgzip, without headings, comments and blank lines."""
    for number, line in enumerate(read_lines(path), start=1):
        kept = drop_mark(line) if number == 1 else line
        if is_data(kept):
            try:
                yield parse_feature(kept)
            except ValueError as error:
                yield InvalidRecord(str(error), number)


def is_data(line: bytes) -> bool:
    """Whether a line is neither blank nor a comment nor a heading of a genome browser."""
    words = line.split(maxsplit=1)
    return bool(words) and not line.startswith(b"#") and words[0] not in _HEADINGS


def looks_like_feature(line: bytes) -> bool:
    """Whether a line is one of BED by its first three columns."""
    try:
        parse_feature(b"\t".join(_split(line)[:3]))
    except ValueError:
        return False
    return True


def parse_feature(line: bytes) -> Feature:
    """Read a data line.

    Args:
        line: Without its line end. Columns are separated by tabs, or by spaces if there is no tab.

    Raises:
        ValueError: It cannot be read; says why.
    """
    cells = _split(line)
    if len(cells) < 3 or not cells[0]:
        raise ValueError("expected chrom, chromStart and chromEnd")
    start, end = _parse_interval(cells[1:3], "chromStart and chromEnd")
    if start == end:
        raise ValueError("chromStart and chromEnd are equal, the region has no bases")
    texts = tuple(_text(cells, column) for column in range(3, 3 + len(CARRY_FIELDS)))
    strand = texts[-1] or "."
    if strand not in ("+", "-", "."):
        raise ValueError(f"strand is '{shown(strand)}', expected +, - or .")
    thick: Interval = (start, end)
    blocks: tuple[Interval, ...] = (thick,)
    if len(cells) >= _THICK.stop:
        thick = _parse_interval(cells[_THICK], "thickStart and thickEnd")
    if len(cells) >= _BLOCKS.stop:
        blocks = _parse_blocks(start, end, cells[_BLOCKS])
    return Feature(decode(cells[0]), start, end, blocks, thick, strand, texts)


def _split(line: bytes) -> list[bytes]:
    return line.split(b"\t") if b"\t" in line else line.split()


def _text(cells: Sequence[bytes], column: int) -> str | None:
    text = decode(cells[column]) if column < len(cells) else ""
    return None if text in ("", ".") else text


def _parse_interval(cells: Sequence[bytes], names: str) -> Interval:
    start, end = (parse_position(cell) for cell in cells)
    if start is None or end is None or not 0 <= start <= end:
        span = " ".join(shown(decode(cell), 30) for cell in cells)
        raise ValueError(f"{names} are '{span}', expected two positions from 0 on in order")
    return start, end


def _parse_blocks(start: int, end: int, cells: Sequence[bytes]) -> tuple[Interval, ...]:
    """The blocks on the contig, which have to lie from start to end, in order and apart."""
    count = parse_position(cells[0])
    sizes, offsets = (
        [parse_position(text) or 0 for text in cell.removesuffix(b",").split(b",")]
        for cell in cells[1:]
    )
    blocks = tuple(
        (start + offset, start + offset + size)
        for size, offset in zip(sizes, offsets, strict=False)
    )
    edges = [start, *(edge for block in blocks for edge in block), end]
    if (
        not len(sizes) == len(offsets) == count
        or edges != sorted(edges)
        or (blocks[0][0], blocks[-1][1]) != (start, end)
        or any(first == last for first, last in blocks)
    ):
        raise ValueError(
            "blockCount, blockSizes and blockStarts are no blocks from chromStart to chromEnd; cut "
            "the line behind its strand if these columns are something else"
        )
    return blocks
