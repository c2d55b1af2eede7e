"""VCF text, read line by line: a bad line costs one row, never the run."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.genome.carry import CarriedColumns, InfoField
from evo2_tasks.genome.records import CarryField, InvalidRecord, Record
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT")

_INTEGER = re.compile(rb"[+-]?[0-9]+")
_BASES = re.compile(rb"[ACGTUNRYSWKMBDHV]+", re.IGNORECASE)
_ALLELES = re.compile(rb"[ACGTUNRYSWKMBDHV,.*]+|.*[<\[\]].*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'([A-Za-z0-9_.]+)=("(?:[^"\\]|\\.)*"|[^,]*)')
_VERSION = re.compile(r"VCFv(\d+)\.(\d+)", re.IGNORECASE)
_NOTHING_CARRIED: tuple[tuple[object, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class VcfHeader:
    """What the lines above the data say.

    Attributes:
        version: As (4, 3); null if ``##fileformat`` is missing or unreadable.
        info: INFO definitions by ID; of two with one ID the first.
        contigs: As ``##contig`` lines name them.
        has_columns: Whether the ``#CHROM`` line is there.
    """

    version: tuple[int, int] | None
    info: dict[str, InfoField]
    contigs: tuple[str, ...]
    has_columns: bool

    def carried_columns(self, path: Path, carry: Sequence[str]) -> CarriedColumns:
        """The fields to carry along from a file with this header."""
        percent_encoded = self.version is not None and self.version >= (4, 3)
        return CarriedColumns(shown_path(path), carry, self.info, percent_encoded=percent_encoded)


class VcfReader:
    """The records of one VCF file, plain, gzip or bgzip.

    Args:
        path: The file.
        carry: INFO fields, or the columns ID, QUAL and FILTER, to carry along.
    """

    def __init__(self, path: Path, carry: Sequence[str] = ()) -> None:
        self.path = path
        self.header = read_header(read_lines(path))
        self._columns = self.header.carried_columns(path, carry)
        if self.header.version is None:
            logger.warning("%s: no ##fileformat line; read as VCF 4.2", shown_path(path))
        if not self.header.has_columns:
            logger.warning("%s: no #CHROM line; columns are taken in order", shown_path(path))

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """All data lines in the order of the file."""
        for number, line in enumerate(read_lines(self.path), start=1):
            record = parse_line(line if number > 1 else drop_mark(line), self._columns, number)
            if record is not None:
                yield record

    def log_problems(self) -> None:
        """Say which carried values could not be read by their type in the pass just made."""
        self._columns.log_problems()


def read_header(lines: Iterable[bytes]) -> VcfHeader:
    """Read the lines that begin with ``#``, up to the first data line."""
    version = None
    info: dict[str, InfoField] = {}
    contigs: list[str] = []
    has_columns = False
    for number, line in enumerate(lines):
        line = drop_mark(line) if number == 0 else line
        if not line.startswith(b"#"):
            if line.strip(b" \t"):
                break
            continue
        text = decode(line)
        if text.startswith("##fileformat="):
            found = _VERSION.search(text)
            version = (int(found[1]), int(found[2])) if found else version
        elif text.startswith("##INFO=<"):
            attributes = _read_attributes(text)
            field = InfoField(
                id=attributes.get("ID", ""),
                number=attributes.get("Number", "."),
                type=attributes.get("Type", "String"),
                description=attributes.get("Description", ""),
            )
            info.setdefault(field.id, field)
        elif text.startswith("##contig=<"):
            contigs.append(_read_attributes(text).get("ID", ""))
        elif text.upper().startswith("#CHROM"):
            has_columns = True
    return VcfHeader(version, info, tuple(contigs), has_columns)


def parse_line(
    line: bytes, columns: CarriedColumns, number: int | None = None
) -> Record | InvalidRecord | None:
    """Turn one line into a record; a blank line and one that begins with ``#`` are none.

    Args:
        line: Without its line end.
        columns: What to carry along.
        number: Of the line in the file, from 1, if it has lines.
    """
    # Everything after INFO is of no interest, and can be a hundred thousand samples.
    cells = line.split(b"\t", 8)
    if len(cells) < 5 or not all(cells[:5]):
        if line.startswith(b"#") or not line.strip(b" \t"):
            return None
        if len(cells) < 5:
            reason = f"{len(cells)} columns, expected 5 or more"
        else:
            reason = f"column {COLUMNS[cells.index(b'')]} is empty"
        return InvalidRecord(reason, number)
    contig, pos_text, _, ref, alt = cells[:5]
    if contig.startswith(b"#"):
        return None
    pos = parse_position(pos_text)
    if pos is None:
        reason = f"POS '{shown(decode(pos_text))}' is no integer of 64 bits"
        return InvalidRecord(reason, number)
    alts = decode(alt).split(",")
    if "" in alts:
        return InvalidRecord("an entry of ALT is empty", number)
    filters = decode(cells[6]) if len(cells) > 6 else None
    carried = columns.values(cells, alts) if columns.fields else _NOTHING_CARRIED
    return Record(decode(contig), pos, decode(ref), alts, filters, carried)


def parse_position(text: bytes) -> int | None:
    """A position as an integer of 64 bits; null if it is none."""
    if len(text) < 19 and text.isdigit():
        return int(text)
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    if len(digits) > 19:  # counted first: Python refuses to convert thousands of them
        return None
    value = -int(digits) if text.startswith(b"-") else int(digits)
    return value if -(2**63) <= value < 2**63 else None


def looks_like_data(line: bytes) -> bool:
    """Whether a line is one of VCF by its first five columns, even without a header above it."""
    cells = line.split(b"\t", 5)
    return (
        len(cells) >= 5
        and parse_position(cells[1]) is not None
        and _BASES.fullmatch(cells[3]) is not None
        and _ALLELES.fullmatch(cells[4]) is not None
    )


def _read_attributes(text: str) -> dict[str, str]:
    """The attributes of a header line such as ``##INFO=<ID=DP,Number=1,...>``."""
    inside = text.partition("<")[2].rstrip().removesuffix(">")
    return {key: _unquote(value) for key, value in _ATTRIBUTE.findall(inside)}


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
