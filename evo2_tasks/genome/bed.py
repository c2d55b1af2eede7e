"""Reading BED files: the regions of a saturation set, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.genome.records import CarryField, InvalidRecord
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown

CARRY_FIELDS = {
    "name": CarryField("name", "string", description="Name of the region"),
    "score": CarryField("score", "string", description="Score of the region"),
    "strand": CarryField("strand", "string", description="Strand of the region"),
}
"""The columns of a BED file that can be carried along, in their order from the fourth on."""

_HEADINGS = (b"track", b"browser")
_THICK, _BLOCKS = slice(6, 8), slice(9, 12)

Interval = tuple[int, int]
"""Start and end on a contig, 0-based and half-open."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A line of a BED file.

    Attributes:
        contig: Contig as the file spells it.
        start: Start of the region, 0-based.
        end: End of the region, 0-based and exclusive.
        blocks: Parts of the region in the order of the contig, for example exons. If the line has
            fewer than twelve columns, the whole region is the only block.
        thick: The coding part. If the line has fewer than eight columns, this is the whole region.
        strand: ``+``, ``-``, or ``.`` if the line has no strand.
        texts: Name, score and strand as in the line; null where a column is missing or ``.``.
    """

    contig: str
    start: int
    end: int
    blocks: tuple[Interval, ...]
    thick: Interval
    strand: str
    texts: tuple[str | None, ...]


def read_features(path: Path) -> Iterator[Feature | InvalidRecord]:
    """Read a BED file (plain, gzip or bgzip); headings, comments and blank lines are skipped."""
    for number, line in enumerate(read_lines(path), start=1):
        kept = drop_mark(line) if number == 1 else line
        if is_data(kept):
            try:
                yield parse_feature(kept)
            except ValueError as error:
                yield InvalidRecord(str(error), number)


def is_data(line: bytes) -> bool:
    """Whether a line is data: not blank, not a comment, and not a genome browser's heading."""
    words = line.split(maxsplit=1)
    return bool(words) and not line.startswith(b"#") and words[0] not in _HEADINGS


def looks_like_feature(line: bytes) -> bool:
    """Whether the first three columns of a line are those of BED."""
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
        ValueError: The line cannot be read; the message is the reason.
    """
    cells = _split(line)
    if len(cells) < 3 or not cells[0]:
        raise ValueError("expected at least three columns: chrom, chromStart and chromEnd")
    start, end = _parse_interval(cells[1:3], "chromStart and chromEnd")
    if start == end:
        raise ValueError("chromStart and chromEnd are equal, so the region has no bases")
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
        raise ValueError(f"{names} are '{span}', expected integers from 0 on, the smaller first")
    return start, end


def _parse_blocks(start: int, end: int, cells: Sequence[bytes]) -> tuple[Interval, ...]:
    """The blocks on the contig. They must be sorted and separate, and reach from start to end."""
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
            "blockCount, blockSizes and blockStarts do not describe sorted, separate blocks from "
            "chromStart to chromEnd; if these columns hold something else, remove all columns "
            "after strand"
        )
    return blocks
