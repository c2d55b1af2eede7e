"""VCF text: the header lines and data lines of a VCF (plain, gzip or bgzip) or of a BCF."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.io.htslib import header_lines, open_bcf, record_line
from evo2_tasks.io.lines import decode, drop_mark, read_lines, read_start
from evo2_tasks.io.words import shown, shown_path

BCF_MAGIC: Final = b"BCF\2"
"""First bytes of a BCF file after decompression."""

COLUMNS: Final = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO")
"""The columns of a VCF without samples."""

MAX_FIXED_BYTES: Final = 1 << 27
"""Most bytes of the columns CHROM to INFO of a record. Within them, steps stay in their memory."""

MAX_INFO_BYTES: Final = 1 << 25
MAX_ALTS: Final = 1_000_000
MAX_HEADER_BYTES: Final = 1 << 28
"""Most bytes of the header, with `_LINE_BYTES` more for each line."""

MAX_COLUMNS_BYTES: Final = 1 << 25
"""Most bytes of the ``#CHROM`` line, which names the samples."""

NUM_KEYS: Final = 5
"""Columns that every data line must have: CHROM, POS, ID, REF and ALT."""

_LINE_BYTES = 64  # memory of a line besides its text

_INTEGER = re.compile(rb"[+-]?[0-9]+")
_BASES = re.compile(rb"[ACGTUNRYSWKMBDHV]+", re.IGNORECASE)
_ALLELES = re.compile(rb"[ACGTUNRYSWKMBDHV,.*]+|.*[<\[\]].*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'([A-Za-z0-9_.]+)=("(?:[^"\\]|\\.)*"|[^,]*)')
_CONTIG = re.compile(rb'<[^\0,<>]+>|[^\0,<>"\[ ]([^\0,<>]*[^\0,<> ])?')
_VERSION = re.compile(r"VCFv(\d+)\.(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VcfHeader:
    """The header lines as they are in the file.

    Attributes:
        meta: Lines that begin with ``##``.
        columns: The ``#CHROM`` line; None if there is none.
    """

    meta: tuple[bytes, ...]
    columns: bytes | None

    def version(self) -> tuple[int, int] | None:
        """The VCF version, for example (4, 3); None if ``##fileformat`` does not state one."""
        version = None
        for line in self.meta:
            if line.startswith(b"##fileformat="):
                match = _VERSION.search(decode(line))
                version = (int(match[1]), int(match[2])) if match else version
        return version

    def definitions(self, kind: str) -> Iterator[dict[str, str]]:
        """The attributes of each line such as ``##INFO=<ID=DP,Number=1,...>``.

        Args:
            kind: What is defined, for example ``INFO`` or ``contig``.
        """
        start = f"##{kind}=<".encode()
        for line in self.meta:
            if line.startswith(start):
                inside = decode(line).partition("<")[2].rstrip().removesuffix(">")
                yield {key: _unquote(value) for key, value in _ATTRIBUTE.findall(inside)}


class Unreadable(NamedTuple):
    """Why a line of an input cannot be read.

    Attributes:
        reason: The reason in the table, of a closed list.
        explanation: The reason in the log, with what the line holds.
    """

    reason: str
    explanation: str


class DataLine(NamedTuple):
    """A data line whose first five columns can be read.

    Attributes:
        cells: The first eight columns, as many as the line has, and the unsplit rest.
        pos: POS.
        alts: The entries of ALT.
    """

    cells: list[bytes]
    pos: int
    alts: list[str]


def read_vcf(path: Path, *, samples: bool = True) -> tuple[VcfHeader, Iterator[tuple[int, bytes]]]:
    """Read a VCF, plain or compressed, or a BCF.

    Args:
        path: The file.
        samples: Whether the lines of a BCF have the sample columns; those of a VCF always have
            them.

    Returns:
        The header, and the data lines with their numbers (from 1, header lines included). The
        lines of a BCF are those that ``bcftools view`` prints.

    Raises:
        InputError: The file cannot be read. Reading the data lines raises it too.
    """
    is_bcf = read_start(path, len(BCF_MAGIC)) == BCF_MAGIC
    lines = _read_bcf(path, samples=samples) if is_bcf else read_lines(path, begins_line)
    header, data = split_header(lines, path)
    return header, ((number, check_sizes(line, path, number)) for number, line in data)


def check_sizes(line: bytes, path: Path, number: int | None = None) -> bytes:
    """Make sure that a data line is not larger than that of any real file, and return it.

    Args:
        line: Without its line end.
        path: The file.
        number: Number of the line, from 1; None if the file has no lines.

    Raises:
        InputError: CHROM to INFO, INFO or the number of ALT alleles are above their limits.
    """
    if len(line) < MAX_ALTS:  # every limit is above this
        return line
    fixed = line.split(b"\t", len(COLUMNS))[: len(COLUMNS)]
    size = sum(map(len, fixed))
    problem = None
    if size > MAX_FIXED_BYTES:
        problem = f"the columns CHROM to INFO have {size:,} bytes, more than {MAX_FIXED_BYTES:,}"
    elif len(fixed) == len(COLUMNS) and len(fixed[-1]) > MAX_INFO_BYTES:
        problem = f"INFO has {len(fixed[-1]):,} bytes, more than {MAX_INFO_BYTES:,}"
    elif len(fixed) >= NUM_KEYS and (num_alts := fixed[4].count(b",") + 1) > MAX_ALTS:
        problem = f"there are {num_alts:,} ALT alleles, more than {MAX_ALTS:,}"
    if problem is not None:
        place = ":".join(shown(decode(cell[:80])) for cell in fixed[:2])
        where = f"the record at {place}" if number is None else f"line {number}"
        raise InputError(
            f"{shown_path(path)}: {where}: {problem}. Leave the record out, or write a long allele "
            "as a symbolic one (<DEL>, <INS>)."
        )
    return line


def _read_bcf(path: Path, *, samples: bool) -> Iterator[bytes]:
    with open_bcf(path, samples=samples) as file:
        yield from header_lines(file)
        yield from map(record_line, file)


def split_header(
    lines: Iterable[bytes], path: Path
) -> tuple[VcfHeader, Iterator[tuple[int, bytes]]]:
    """Separate the header lines from the data lines.

    Args:
        lines: All lines of a file, without their ends.
        path: The file, for messages.

    Returns:
        The header, and the data lines with their numbers (from 1, header lines included).

    Raises:
        InputError: The header is larger than that of any real file.
    """
    num_bytes = 0
    numbered = enumerate(lines, start=1)
    meta: list[bytes] = []
    columns: bytes | None = None
    first: list[tuple[int, bytes]] = []
    for number, line in numbered:
        text = drop_mark(line) if number == 1 else line
        if text.startswith(b"##"):
            meta.append(text)
            num_bytes += len(text) + _LINE_BYTES
            if num_bytes > MAX_HEADER_BYTES:
                raise InputError(
                    f"{shown_path(path)}: line {number}: the header has more than "
                    f"{MAX_HEADER_BYTES:,} bytes. Shorten it, for example by the ##contig lines of "
                    "contigs without variants (bcftools reheader)."
                )
        elif text[: len(COLUMNS[0])].upper() == COLUMNS[0]:
            columns = text
            if len(columns) > MAX_COLUMNS_BYTES:
                raise InputError(
                    f"{shown_path(path)}: line {number}: the names of the columns have "
                    f"{len(columns):,} bytes, more than {MAX_COLUMNS_BYTES:,}. Leave out the "
                    "samples (bcftools view --drop-genotypes)."
                )
        elif is_data(text):
            first.append((number, text))
            break
    data = ((number, line) for number, line in chain(first, numbered) if is_data(line))
    return VcfHeader(tuple(meta), columns), data


def is_data(line: bytes) -> bool:
    """Whether a line is a data line: not blank, and not one that begins with ``#``."""
    return not line.startswith(b"#") and bool(line.strip(b" \t"))


def parse_data_line(line: bytes) -> DataLine | Unreadable:
    """Read the first columns of a data line, or say why they cannot be read.

    Args:
        line: Without its line end.
    """
    # The columns after INFO are not split: there may be a hundred thousand samples.
    cells = line.split(b"\t", len(COLUMNS))
    if len(cells) < NUM_KEYS:
        has_blanks = len(line.split()) >= NUM_KEYS
        hint = "; there are blanks between the columns where tabs are expected"
        explanation = (
            f"{len(cells)} columns, expected {NUM_KEYS} or more{hint if has_blanks else ''}"
        )
        return Unreadable("too_few_columns", explanation)
    keys = cells[:NUM_KEYS]
    if not all(keys):
        name = decode(COLUMNS[keys.index(b"")]).removeprefix("#")
        return Unreadable("empty_column", f"column {name} is empty")
    pos = parse_position(cells[1])
    if pos is None:
        explanation = f"POS '{shown(decode(cells[1]))}' is not a 64-bit integer"
        return Unreadable("bad_position", explanation)
    alts = decode(cells[4]).split(",")
    if "" in alts:
        return Unreadable("empty_alt", "an entry of ALT is empty")
    return DataLine(cells, pos, alts)


def is_vcf_contig(name: bytes) -> bool:
    """Whether htslib reads a contig of this name, also if the header lacks it."""
    return bool(_CONTIG.fullmatch(name))


def parse_position(text: bytes) -> int | None:
    """A position as an integer; None if the text is not a 64-bit integer."""
    if len(text) < 19 and text.isdigit():
        return int(text)
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    if len(digits) > 19:  # checked before int(), which refuses thousands of digits
        return None
    value = -int(digits) if text.startswith(b"-") else int(digits)
    return value if -(2**63) <= value < 2**63 else None


def begins_line(text: bytes) -> bool:
    r"""Whether a text after a lone ``\r`` begins a line, and does not continue a value."""
    if text.startswith(b"##") or text[: len(COLUMNS[0])].upper() == COLUMNS[0]:
        return True
    cells = text.split(b"\t", NUM_KEYS)
    return len(cells) >= NUM_KEYS and (
        parse_position(cells[1]) is not None or _are_alleles(cells[3], cells[4])
    )


def looks_like_data(line: bytes) -> bool:
    """Whether the first five columns of a line are those of VCF, for a file without a header."""
    cells = line.split(b"\t", NUM_KEYS)
    return (
        len(cells) >= NUM_KEYS
        and parse_position(cells[1]) is not None
        and _are_alleles(cells[3], cells[4])
    )


def _are_alleles(ref: bytes, alt: bytes) -> bool:
    return _BASES.fullmatch(ref) is not None and _ALLELES.fullmatch(alt) is not None


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
