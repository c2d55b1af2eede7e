"""Interval lists of Picard and GATK: regions whose positions count from 1, both ends included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from evo2_tasks.genome.bed import Feature, RegionError
from evo2_tasks.genome.records import InvalidRecord
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown

HEADER_LINES = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t")

_REGION = re.compile(r"(?P<contig>[^\s>@]\S*):(?P<first>[0-9][0-9,]*)(-(?P<last>[0-9][0-9,]*))?")


def read_intervals(path: Path) -> Iterator[Feature | InvalidRecord]:
    """Read an interval list (plain, gzip or bgzip); its header and blank lines are skipped."""
    for number, line in enumerate(read_lines(path, max_line_bytes=MAX_ROW_BYTES), start=1):
        kept = drop_mark(line) if number == 1 else line
        if is_interval_data(kept):
            try:
                yield parse_interval(kept)
            except RegionError as error:
                yield InvalidRecord(error.reason, str(error), number)


def is_interval_data(line: bytes) -> bool:
    """Whether a line is data: not blank, not a comment and not of a SAM header."""
    return bool(line.strip(b" \t")) and not line.startswith((b"#", *HEADER_LINES))


def looks_like_region(line: bytes) -> bool:
    """Whether a line is a region as GATK and samtools write it, for example ``chr1:101-110``."""
    return _REGION.fullmatch(decode(line).strip(" \t")) is not None


def parse_interval(line: bytes) -> Feature:
    """Read a data line: ``chr1:101-110``, or the columns contig, start, end, strand and name.

    Raises:
        RegionError: The line cannot be read.
    """
    text = decode(line).strip(" \t")
    region = _REGION.fullmatch(text)
    cells = text.split("\t")
    strand = name = None
    if region is not None:
        contig = region["contig"]
        ends = [region["first"], region["last"] or region["first"]]
    elif len(cells) >= 3 and cells[0]:
        contig, *ends = cells[:3]
        strand, name, *_ = *cells[3:5], None, None
    else:
        raise RegionError(
            "too_few_columns",
            f"the line is '{shown(text)}', expected contig, start and end separated by tabs, or "
            f"contig:start-end",
        )
    first, last = (parse_position(end.replace(",", "").encode()) for end in ends)
    if first is None or last is None or not 1 <= first <= last:
        raise RegionError(
            "bad_region",
            f"start and end are '{shown(' '.join(ends))}', expected integers from 1 on, the "
            f"smaller first",
        )
    whole = (first - 1, last)
    texts = (None if name in ("", ".") else name, None, strand if strand in ("+", "-") else None)
    return Feature(contig, *whole, (whole,), whole, texts[-1] or ".", texts)
