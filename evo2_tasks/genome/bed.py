"""Reading BED files: the regions of a saturation set, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.genome.records import CarryField, InvalidRecord
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown

CARRY_FIELDS = {
    "name": CarryField("name", "string", description="Name of the region"),
    "score": CarryField("score", "string", description="Score of the region"),
    "strand": CarryField("strand", "string", description="Strand of the region"),
}
"""The columns of a BED file that can be carried along, in their order from the fourth on."""

STRANDS = (b"+", b"-", b".", b"*", b"")
"""What the sixth column may hold. ``*`` is Bioconductor's spelling of no strand."""

_HEADINGS = (b"track", b"browser")
_HEADER_NAMES = (
    {"chrom", "chr", "chromosome", "contig", "seqnames", "seqname", "seqid"},
    {"start", "chromstart", "chrom_start", "chr_start"},
    {"end", "stop", "chromend", "chrom_end", "chr_end"},
)
_STRAND, _THICK, _BLOCKS = 5, slice(6, 8), slice(9, 12)

Interval = tuple[int, int]
"""Start and end on a contig, 0-based and half-open."""


class RegionError(ValueError):
    """A line that is not a region.

    Attributes:
        reason: The reason in the table, of a closed list; the message is for the log.
    """

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BedLayout:
    """Which of the optional columns of a BED file have the meaning that BED gives them.

    Many files have columns of their own after the third or the sixth column, for example
    narrowPeak. A meaning holds if it fits at least half of the lines that have the columns. A line
    that it does not fit is then a bad line.

    Attributes:
        has_header: Whether the first data line names the columns.
        has_strand: Whether the sixth column is the strand.
        has_thick: Whether the seventh and eighth are thickStart and thickEnd.
        has_blocks: Whether the tenth to twelfth are blockCount, blockSizes and blockStarts.
    """

    has_header: bool = False
    has_strand: bool = True
    has_thick: bool = True
    has_blocks: bool = True


@dataclass(frozen=True, slots=True)
class Feature:
    """A line of a BED file.

    Attributes:
        contig: Contig as the file spells it.
        start: Start of the region, 0-based.
        end: End of the region, 0-based and exclusive.
        blocks: Parts of the region in the order of the contig, for example exons. If the line has
            no such columns, the whole region is the only block.
        thick: The coding part. If the line has no such columns, this is the whole region.
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
    layout = find_layout(line for _, line in _data_lines(path))
    for index, (number, line) in enumerate(_data_lines(path)):
        if index == 0 and layout.has_header:
            continue
        try:
            yield parse_feature(line, layout)
        except RegionError as error:
            yield InvalidRecord(error.reason, str(error), number)


def find_layout(lines: Iterable[bytes]) -> BedLayout:
    """Find out from all data lines what the optional columns of a BED file are."""
    has_header = False
    strands, thicks, blocks = ([0, 0] for _ in range(3))
    for index, line in enumerate(lines):
        cells = _split(line)
        has_header = has_header or (index == 0 and is_header(line))
        if len(cells) <= _STRAND or not looks_like_feature(line):
            continue
        start, end = _parse_interval(cells[1:3], "")
        strands[cells[_STRAND] in STRANDS] += 1
        if len(cells) >= _THICK.stop:
            thicks[_is_thick(start, end, cells)] += 1
        if len(cells) >= _BLOCKS.stop:
            blocks[_is_blocked(cells)] += 1
    has_thick = thicks[1] >= thicks[0]
    return BedLayout(
        has_header=has_header,
        has_strand=strands[1] >= strands[0],
        has_thick=has_thick,
        has_blocks=has_thick and blocks[1] >= blocks[0],
    )


def is_header(line: bytes) -> bool:
    """Whether a line names the columns, for example ``chrom start end``."""
    names = [decode(cell).strip('"').lstrip("#").lower() for cell in _split(line)[:3]]
    return len(names) == 3 and all(map(set.__contains__, _HEADER_NAMES, names))


def _data_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(
        read_lines(path, _begins_line, max_line_bytes=MAX_ROW_BYTES), start=1
    ):
        kept = drop_mark(line) if number == 1 else line
        if is_data(kept):
            yield number, kept


def is_data(line: bytes) -> bool:
    """Whether a line is data: not blank, not a comment, and not a genome browser's heading."""
    words = line.split(maxsplit=1)
    return bool(words) and not line.startswith(b"#") and words[0] not in _HEADINGS


def _begins_line(text: bytes) -> bool:
    r"""Whether a text after a lone ``\r`` begins a line, and does not continue a name."""
    return text.startswith(b"#") or looks_like_feature(text)


def looks_like_feature(line: bytes) -> bool:
    """Whether the first three columns of a line are those of BED."""
    try:
        parse_feature(b"\t".join(_split(line)[:3]))
    except RegionError:
        return False
    return True


def parse_feature(line: bytes, layout: BedLayout = BedLayout()) -> Feature:
    """Read a data line.

    Args:
        line: Without its line end. Columns are separated by tabs, or by spaces if there is no tab.
        layout: What the optional columns are.

    Raises:
        RegionError: The line cannot be read.
    """
    cells = _split(line)
    if len(cells) < 3 or not cells[0]:
        raise RegionError(
            "too_few_columns", "expected at least three columns: chrom, chromStart and chromEnd"
        )
    start, end = _parse_interval(cells[1:3], "chromStart and chromEnd")
    if start == end:
        raise RegionError(
            "bad_region",
            "chromStart and chromEnd are equal, so the region has no bases; BED counts from 0, "
            "and the end of one base is its start + 1. If the file counts from 1, subtract 1 from "
            "each start: else the first base of every other region is missing",
        )
    texts = tuple(_text(cells, column) for column in range(3, 3 + len(CARRY_FIELDS)))
    strand = "."
    if layout.has_strand and len(cells) > _STRAND:
        if cells[_STRAND] not in STRANDS:
            raise RegionError(
                "bad_strand", f"strand is '{shown(decode(cells[_STRAND]))}', expected +, - or ."
            )
        strand = decode(cells[_STRAND]) if cells[_STRAND] in (b"+", b"-") else "."
    thick: Interval = (start, end)
    blocks: tuple[Interval, ...] = (thick,)
    if layout.has_thick and len(cells) >= _THICK.stop:
        thick = _parse_interval(cells[_THICK], "thickStart and thickEnd", "bad_blocks")
    if layout.has_blocks and len(cells) >= _BLOCKS.stop:
        blocks = _parse_blocks(start, end, cells[_BLOCKS])
    return Feature(decode(cells[0]), start, end, blocks, thick, strand, texts)


def _split(line: bytes) -> list[bytes]:
    return line.split(b"\t") if b"\t" in line else line.split()


def _text(cells: Sequence[bytes], column: int) -> str | None:
    text = decode(cells[column]) if column < len(cells) else ""
    return None if text in ("", ".") else text


def _is_thick(start: int, end: int, cells: Sequence[bytes]) -> bool:
    """Whether a line has a coding part in its region, or the zeros that stand for none."""
    try:
        first, last = _parse_interval(cells[_THICK], "")
    except RegionError:
        return False
    return start <= first <= last <= end or first == last == 0


def _is_blocked(cells: Sequence[bytes]) -> bool:
    """Whether a line has a number and two lists of so many numbers where BED has the blocks."""
    count, *lists = cells[_BLOCKS]
    numbers = [[parse_position(one) for one in _split_list(cell)] for cell in lists]
    return all(None not in one and len(one) == parse_position(count) for one in numbers)


def _split_list(cell: bytes) -> list[bytes]:
    return cell.removesuffix(b",").split(b",")


def _parse_interval(cells: Sequence[bytes], names: str, reason: str = "bad_region") -> Interval:
    start, end = (parse_position(cell) for cell in cells)
    if start is None or end is None or not 0 <= start <= end:
        span = " ".join(shown(decode(cell), 30) for cell in cells)
        raise RegionError(
            reason, f"{names} are '{span}', expected integers from 0 on, the smaller first"
        )
    return start, end


def _parse_blocks(start: int, end: int, cells: Sequence[bytes]) -> tuple[Interval, ...]:
    """The blocks on the contig. They must be sorted and separate, and reach from start to end."""
    count = parse_position(cells[0])
    sizes, offsets = (
        [parse_position(text) or 0 for text in _split_list(cell)] for cell in cells[1:]
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
        raise RegionError(
            "bad_blocks",
            "blockCount, blockSizes and blockStarts do not describe sorted, separate blocks from "
            "chromStart to chromEnd",
        )
    return blocks
