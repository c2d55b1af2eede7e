"""Header lines of the VCF export: those of the input, repaired if needed, and our definitions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from evo2_tasks.exports.vcf_info import name_field
from evo2_tasks.io.vcf_text import COLUMNS, VcfHeader
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.provenance import Provenance, canonical_json
from evo2_tasks.table.schema import Column

logger = logging.getLogger(__name__)

_FILE_FORMAT: Final = b"##fileformat="
_DEFAULT_FORMAT: Final = b"##fileformat=VCFv4.2"
_VCF_TYPES: Final = {pa.float64(): "Float", pa.int64(): "Integer", pa.int8(): "Integer"}


@dataclass(frozen=True, slots=True)
class OutputHeader:
    """A header that htslib accepts.

    Attributes:
        meta: Lines that begin with ``##``; ``##fileformat`` is the first.
        columns: The ``#CHROM`` line.
        num_samples: Number of sample columns.
    """

    meta: tuple[bytes, ...]
    columns: bytes
    num_samples: int


def make_sites_header(contigs: Mapping[bytes, int | None]) -> OutputHeader:
    """The header of a VCF without samples.

    Args:
        contigs: Names of the contigs, all of them allowed in VCF, and the length of each, in bases,
            or None.
    """
    lines = [
        b"##contig=<ID=%s%s>" % (name, b"" if length is None else b",length=%d" % length)
        for name, length in contigs.items()
    ]
    return OutputHeader((_DEFAULT_FORMAT, *lines), b"\t".join(COLUMNS), num_samples=0)


def repair_header(source: Path, header: VcfHeader, first_line: bytes | None) -> OutputHeader:
    """Change a header so that htslib accepts it, and log what was missing.

    Args:
        source: The file, for messages.
        header: Its header.
        first_line: Its first data line; None if it has none.
    """
    readable = [line for line in header.meta if b"\0" not in line]
    formats = [line for line in readable if line.startswith(_FILE_FORMAT + b"VCF")]
    others = [line for line in readable if not line.startswith(_FILE_FORMAT)]
    if not formats:
        logger.warning(
            "%s: no ##fileformat line; the output has VCF version 4.2.", shown_path(source)
        )
    samples: list[bytes]
    if header.columns is None:
        logger.warning(
            "%s: no #CHROM line; the samples in the output are named by number.", shown_path(source)
        )
        width = len(COLUMNS) if first_line is None else first_line.count(b"\t") + 1
        samples = [b""] * (width - len(COLUMNS) - 1)
    else:
        cells = header.columns.split(b"\t")
        if len(cells) < len(COLUMNS):
            cells = header.columns.split()
        samples = cells[len(COLUMNS) + 1 :]
    names = [
        b"sample_%d" % number if b"\0" in name or not name else name
        for number, name in enumerate(samples, start=1)
    ]
    line = b"\t".join([*COLUMNS, *([b"FORMAT", *names] if names else [])])
    return OutputHeader(((formats or [_DEFAULT_FORMAT])[0], *others), line, num_samples=len(names))


def add_definitions(
    meta: Sequence[bytes], columns: Sequence[Column], provenance: Provenance, prefix: str
) -> tuple[bytes, ...]:
    """Add the lines that define our INFO fields and state version, model and signature.

    Args:
        meta: Header lines that begin with ``##``. Lines of an earlier export with this prefix are
            left out.
        columns: The table's columns that become INFO fields.
        provenance: Version, model and signature of the table.
        prefix: Start of the names of our INFO fields.
    """
    values = {
        "version": shown_path(provenance.version),
        "model": shown_path(provenance.model or ""),
        "signature": canonical_json(provenance.signature),
    }
    own = [f"##{prefix}{key}={value}" for key, value in values.items()]
    own += [_info_line(column, prefix) for column in columns]
    starts = tuple(line.split("=", 1)[0].encode() + b"=" for line in own[: len(values)])
    starts += tuple(f"##INFO=<ID={name_field(column, prefix)},".encode() for column in columns)
    kept = (line for line in meta if not line.startswith(starts))
    return (*kept, *(line.encode() for line in own))


def _info_line(column: Column, prefix: str) -> str:
    unit = "" if column.unit == "none" else f" [{column.unit}]"
    text = f"{column.description}{unit}".replace("`", "")
    kind = _VCF_TYPES.get(column.type, "String")
    name = name_field(column, prefix)
    return f'##INFO=<ID={name},Number=A,Type={kind},Description="{text}">'
