"""Data lines of the VCF export: the lines of the input with the INFO of the table's rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import decode
from evo2_tasks.io.vcf_text import (
    COLUMNS,
    DataLine,
    Unreadable,
    is_vcf_contig,
    parse_data_line,
)
from evo2_tasks.io.words import shown_path

logger = logging.getLogger(__name__)


def _bad_names(separator: str, end: str) -> re.Pattern[bytes]:
    """A pattern for cells with a name that htslib cannot add to a header.

    Args:
        separator: What separates the names in the cell.
        end: What ends a name, besides the separator.
    """
    inside = f"[^{separator}{end}]*"
    wrong = f'[ "\\[]|{inside}[,<>]|{inside} (?:[{separator}{end}]|$)'
    return re.compile(f"(?:^|{separator})(?:{wrong})".encode())


_BAD_NAMES: Final = (
    (6, "filter", _bad_names(";", "")),
    (7, "INFO field", _bad_names(";", "=")),
    (8, "FORMAT field", _bad_names(":", "")),
)
"""Number of the column, what its names are, and the pattern of a cell with a wrong name."""

_ALLELE: Final = re.compile(r"[!-+\--~]+")  # printable and no comma

_MAX_POS: Final = (2**31 - 1) * 2**32 + 2**31 - 1
"""Last position that htslib can read."""

_NUM_LOGGED: Final = 10

_NO_INFO: Final = (b".", b"")

Row = tuple[int, int, str | None, int | None, str | None, str | None, str]
"""record, allele, contig, pos, ref, alt, and the INFO entries of this allele."""


@dataclass(slots=True)
class Tally:
    """Counts the written lines, and keeps what is needed to make an index.

    Attributes:
        source: The file of variants, or the table, for messages.
        target: What is written, for messages.
        records: Number of lines written.
        annotated: Number of these lines that have rows in the table.
        left_out: Number of lines that VCF does not allow.
        is_sorted: Whether the lines of each contig are together and sorted by position.
        end: Largest 1-based last position of a REF allele.
    """

    source: Path
    target: str = "the VCF"
    records: int = 0
    annotated: int = 0
    left_out: int = 0
    is_sorted: bool = True
    end: int = 0
    _seen: set[bytes] = field(default_factory=set)
    _last: tuple[bytes, int] = (b"", 0)

    def add(self, contig: bytes, pos: int, ref_length: int, *, is_annotated: bool) -> None:
        """Count a written line."""
        self.records += 1
        self.annotated += is_annotated
        self.end = max(self.end, pos + ref_length - 1)
        if contig != self._last[0]:
            self.is_sorted &= contig not in self._seen
            self._seen.add(contig)
        elif pos < self._last[1]:
            self.is_sorted = False
        self._last = (contig, pos)

    def leave_out(self, place: str, reason: str) -> None:
        """Count and log a line that is left out."""
        self.left_out += 1
        if self.left_out <= _NUM_LOGGED:
            logger.warning(
                "%s: %s is left out of %s: %s.",
                shown_path(self.source),
                place,
                self.target,
                reason,
            )

    def report(self) -> None:
        """Log the number of lines that were left out, if there were too many to log each."""
        if self.left_out > _NUM_LOGGED:
            logger.warning(
                "%s: %d lines are left out of %s.",
                shown_path(self.source),
                self.left_out,
                self.target,
            )


def annotate_lines(
    lines: Iterable[tuple[int, bytes]],
    rows: Iterable[Row],
    tally: Tally,
    *,
    table: Path,
    num_samples: int,
    prefix: bytes,
    keys: frozenset[bytes],
    is_part: bool,
) -> Iterator[bytes]:
    """Add the INFO entries of the rows to the lines that the rows were made from.

    Args:
        lines: Data lines of the input with their line numbers.
        rows: Rows of the table, sorted by record and allele.
        tally: Counts the lines.
        table: The table, for messages.
        num_samples: Number of sample columns that each line must have.
        prefix: Start of the names of our INFO fields.
        keys: The full names of our INFO fields. Existing fields of these names are replaced.
        is_part: Whether the table has only some of the lines.

    Yields:
        Lines of the output, without line ends.

    Raises:
        InputError: The table was not made from these lines.
    """
    records = (list(group) for _, group in groupby(rows, key=itemgetter(0)))
    if is_part:
        records = (group for group in records if group[0][2] is not None)
    waiting = next(records, None)
    number = 0
    for number, line in lines:
        data = parse_data_line(line)
        group: list[Row] = []
        if waiting is not None and _made_from(data, waiting):
            group, waiting = waiting, next(records, None)
        elif not is_part:
            raise _other_table(table, tally.source, number)
        reason = _why_no_vcf(data, line)
        if isinstance(data, Unreadable) or reason:
            tally.leave_out(_place(group, number), reason)
            continue
        cells = data.cells
        tally.add(cells[0], data.pos, len(cells[3]), is_annotated=bool(group))
        _complete(cells, num_samples)
        kept = _other_info(cells[7], keys) if prefix in cells[7] else cells[7].rstrip(b";")
        own = _info(group)
        cells[7] = kept + b";" + own if own and kept not in _NO_INFO else own or kept or b"."
        yield b"\t".join(cells)
    if waiting is not None:
        raise _other_table(table, tally.source, number + 1)
    tally.report()


def _place(rows: Sequence[Row], number: int) -> str:
    """How a message names a line: by its record, if the table has it, and its number."""
    return f"record {rows[0][0]} (line {number})" if rows else f"line {number}"


def _other_table(table: Path, source: Path, number: int) -> InputError:
    return InputError(
        f"{shown_path(source)}: line {number} is not the next record of {shown_path(table)}. Name "
        "the file that was scored."
    )


def _made_from(data: DataLine | Unreadable, rows: Sequence[Row]) -> bool:
    """Whether these rows were made from this line."""
    _, _, contig, pos, ref, _, _ = rows[0]
    if isinstance(data, Unreadable):
        return contig is None
    if data.pos != pos or not (_same(decode(data.cells[0]), contig)):
        return False
    if not _same(decode(data.cells[3]), ref):
        return False
    if len(rows) == 1:
        return _same(",".join(data.alts), rows[0][5])
    return len(data.alts) == len(rows) and all(map(_same, data.alts, (row[5] for row in rows)))


def _same(text: str, value: str | None) -> bool:
    """Whether two texts are equal; the table has alleles of letters in upper case."""
    return value is not None and text.upper() == value.upper()


def _why_no_vcf(data: DataLine | Unreadable, line: bytes) -> str:
    """Why htslib cannot read a line; empty if it can."""
    if isinstance(data, Unreadable):
        return data.explanation
    cells, pos, _ = data
    if not 0 <= pos <= _MAX_POS:
        return "POS is out of range"
    if not is_vcf_contig(cells[0]):
        return "VCF forbids its contig's name"
    for column, kind, bad_name in _BAD_NAMES:
        if column < len(cells) and bad_name.search(cells[column].partition(b"\t")[0]):
            return f"VCF forbids the name of a {kind}"
    if b"\0" in line:
        return "it holds a NUL character"
    return ""


def _complete(cells: list[bytes], num_samples: int) -> None:
    """Add missing columns, as many as the header has."""
    cells += [b"."] * (len(COLUMNS) - len(cells))
    if num_samples:
        samples = cells[8].split(b"\t") if len(cells) > 8 else [b"."]
        if len(samples) < num_samples + 1:
            cells[8:] = [*samples, *[b"."] * (num_samples + 1 - len(samples))]
        if cells[-1].endswith(b"\t") or not cells[-1]:
            cells[-1] += b"."


def _other_info(info: bytes, keys: frozenset[bytes]) -> bytes:
    """INFO without the fields of an earlier export."""
    entries = info.rstrip(b";").split(b";")
    return b";".join(entry for entry in entries if entry.partition(b"=")[0] not in keys)


def _info(rows: Sequence[Row]) -> bytes:
    """INFO entries with one value per ALT allele; empty for a record without ALT."""
    texts = [row[6] for row in rows if row[1] > 0]
    if len(texts) < 2:
        return "".join(texts).encode()
    entries = zip(*(text.split(";") for text in texts), strict=True)
    values = (",".join(each.partition("=")[2] for each in entry[1:]) for entry in entries)
    firsts = texts[0].split(";")
    return ";".join(map("{},{}".format, firsts, values)).encode()


def make_lines(rows: Iterable[Row], tally: Tally) -> Iterator[bytes]:
    """Make lines from the table alone, without ID, QUAL, FILTER and samples.

    Consecutive rows of a record with the same position and REF become one line.

    Args:
        rows: Rows of the table, sorted by record and allele.
        tally: Counts the lines.

    Yields:
        Lines without line ends.
    """
    for (record, *_), rows_of_line in groupby(rows, key=itemgetter(0, 3, 4)):
        group = list(rows_of_line)
        _, _, contig, pos, ref, _, _ = group[0]
        alts = ["." if row[5] is None else row[5] for row in group]
        if contig is None or pos is None or ref is None:
            tally.leave_out(f"record {record}", "it could not be read or has no bases")
        elif not 0 <= pos <= _MAX_POS:
            tally.leave_out(f"record {record}", "its position is out of range")
        elif not (contig.isprintable() and is_vcf_contig(contig.encode())):
            tally.leave_out(f"record {record}", "VCF forbids its contig's name")
        elif not all(_ALLELE.fullmatch(allele) for allele in (ref, *alts)):
            tally.leave_out(f"record {record}", "VCF forbids its alleles")
        else:
            tally.add(contig.encode(), pos, len(ref), is_annotated=True)
            cells = [contig, str(pos), ".", ref, ",".join(alts), ".", "."]
            yield b"\t".join([*(cell.encode() for cell in cells), _info(group) or b"."])
    tally.report()
