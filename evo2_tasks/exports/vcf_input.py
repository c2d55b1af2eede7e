"""The user's VCF or BCF as lines of bytes: what the export adds to, and keeps."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, cast

import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import reading
from evo2_tasks.io.words import first_line, shown_path

logger = logging.getLogger(__name__)

FIXED_COLUMNS: Final = (
    b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO",
)  # fmt: skip
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BCF_MAGIC: Final = b"BCF"
_FILE_FORMAT: Final = b"##fileformat="
_DEFAULT_FORMAT: Final = b"##fileformat=VCFv4.2"


@dataclass(frozen=True, slots=True)
class VcfHeader:
    """The header as htslib accepts it.

    Attributes:
        meta: Lines that begin with ``##``, ``##fileformat`` the first.
        columns: The ``#CHROM`` line.
        num_samples: Sample columns.
    """

    meta: tuple[bytes, ...]
    columns: bytes
    num_samples: int


def decode(cell: bytes) -> str:
    """Text of a cell: UTF-8, or Latin-1 where it is not."""
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")


def read_vcf(source: Path) -> tuple[VcfHeader, Iterator[tuple[int, bytes]]]:
    """Open a VCF, plain or compressed, or a BCF.

    Args:
        source: The file.

    Returns:
        The header, and the data lines with their numbers in the file (from 1) and without their
        ends. Blank lines and those that begin with ``#`` are no data.

    Raises:
        InputError: The file cannot be read.
    """
    lines = enumerate(_read_lines(source), start=1)
    meta: list[bytes] = []
    columns: bytes | None = None
    first: list[tuple[int, bytes]] = []
    for number, line in lines:
        text = line.removeprefix(_UTF8_MARK) if number == 1 else line
        if text.startswith(b"##"):
            meta.append(text)
        elif text[:6].upper() == FIXED_COLUMNS[0]:
            columns = text
        elif text.strip(b" \t") and not text.startswith(b"#"):
            first.append((number, text))
            break
    width = first[0][1].count(b"\t") + 1 if first else len(FIXED_COLUMNS)
    header = _make_header(source, meta, columns, width)
    return header, _data_lines(chain(first, lines))


def _data_lines(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for number, line in lines:
        if line.strip(b" \t") and not line.startswith(b"#"):
            yield number, line


def _make_header(
    source: Path, meta: Sequence[bytes], columns: bytes | None, width: int
) -> VcfHeader:
    """Put a header in the form that htslib accepts, and say what had to be changed.

    Args:
        source: Named in the log.
        meta: Lines that begin with ``##``.
        columns: The ``#CHROM`` line, if there is one.
        width: Columns of the first data line.
    """
    readable = [line for line in meta if b"\0" not in line]
    formats = [line for line in readable if line.startswith(_FILE_FORMAT + b"VCF")]
    others = [line for line in readable if not line.startswith(_FILE_FORMAT)]
    if not formats:
        logger.warning("%s: no ##fileformat line; VCF 4.2 is written.", shown_path(source))
    samples: list[bytes]
    if columns is None:
        logger.warning("%s: no #CHROM line; samples are named by number.", shown_path(source))
        samples = [b""] * (width - len(FIXED_COLUMNS) - 1)
    else:
        cells = columns.split(b"\t")
        if len(cells) < len(FIXED_COLUMNS):
            cells = columns.split()
        samples = cells[len(FIXED_COLUMNS) + 1 :]
    names = [
        b"sample_%d" % number if b"\0" in name or not name else name
        for number, name in enumerate(samples, start=1)
    ]
    line = b"\t".join([*FIXED_COLUMNS, *([b"FORMAT", *names] if names else [])])
    return VcfHeader(
        meta=((formats or [_DEFAULT_FORMAT])[0], *others), columns=line, num_samples=len(names)
    )


def _read_lines(source: Path) -> Iterator[bytes]:
    if not source.is_file():
        raise InputError(f"{shown_path(source)}: is no file. Name the VCF that was scored.")
    with reading(source), source.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        with cast(BinaryIO, gzip.open(file)) if is_gzip else file as text:
            start = text.read(len(_BCF_MAGIC))
            if start != _BCF_MAGIC:
                text.seek(0)
                yield from (line.removesuffix(b"\n").removesuffix(b"\r") for line in text)
                return
    yield from _read_bcf(source)


def _read_bcf(source: Path) -> Iterator[bytes]:
    """The lines that ``bcftools view`` prints; htslib and pysam fail in many ways on damage."""
    verbosity = pysam.set_verbosity(0)
    number = 0
    try:
        with pysam.VariantFile(str(source), "rb") as file:
            yield from _raw_text(file.header).splitlines()
            for record in file:
                number += 1
                yield _raw_text(record)
    except (OSError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise InputError(
            f"{shown_path(source)}: cannot be read after {number} records: {first_line(error)}"
        ) from error
    finally:
        pysam.set_verbosity(verbosity)


def _raw_text(thing: pysam.VariantRecord | pysam.VariantHeader) -> bytes:
    """The line of a record, or a header, in the bytes that it has."""
    try:
        return str(thing).removesuffix("\n").encode()
    except UnicodeDecodeError as error:
        return bytes(error.object).removesuffix(b"\n")
