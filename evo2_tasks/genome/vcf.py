"""Variants of a VCF, line by line. A line that cannot be read costs one row, never the run."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from evo2_tasks.genome.carry import INFO_COLUMN, CarriedColumns, InfoField, SampleFields
from evo2_tasks.genome.records import CarryField, InvalidRecord, Record, Symbol
from evo2_tasks.genome.symbolic import describe_symbols
from evo2_tasks.io.lines import decode
from evo2_tasks.io.vcf_text import COLUMNS, Unreadable, VcfHeader, parse_data_line, read_vcf
from evo2_tasks.io.words import shown_path

logger = logging.getLogger(__name__)

_NOTHING_CARRIED: tuple[tuple[object, ...], ...] = ()


class VcfReader:
    """The records of one VCF file, plain, gzip or bgzip.

    Args:
        path: The file.
        carry: Names of the INFO fields, or of the columns ID, QUAL and FILTER, to carry along.
        texts: Names of ``carry`` whose values are text, exactly as in the file.
        whole: Names of ``carry`` whose text is not divided into values.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str] = (),
        texts: Collection[str] = (),
        whole: Collection[str] = (),
    ) -> None:
        self.path = path
        header, _ = read_vcf(path)
        self._columns = carried_columns(header, path, carry, texts, whole)
        if header.version() is None:
            logger.warning("%s: no ##fileformat line; read as VCF 4.2", shown_path(path))
        if header.columns is None:
            logger.warning("%s: no #CHROM line; columns are taken in order", shown_path(path))

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """All data lines in the order of the file."""
        lines = read_vcf(self.path)[1]  # without the header, which may have a million contigs
        for number, line in lines:
            yield make_record(line, self._columns, number)

    def sample_lines(self) -> Iterator[bytes]:
        """The lines of `records`, with their sample columns."""
        for _, line in read_vcf(self.path)[1]:
            yield line

    def log_problems(self) -> None:
        """Log which carried values of the last pass did not have the type of their field."""
        self._columns.log_problems()


def carried_columns(
    header: VcfHeader,
    path: Path,
    carry: Sequence[str],
    texts: Collection[str] = (),
    whole: Collection[str] = (),
) -> CarriedColumns:
    """The fields to carry along from a file with this header.

    Args:
        header: The header; of two INFO definitions with one ID, the first counts.
        path: The file, for messages.
        carry: Names of the fields.
        texts: Names of ``carry`` whose values are text, exactly as in the file.
        whole: Names of ``carry`` whose text is not divided into values.

    Raises:
        InputError: A field is named twice.
    """
    info = _read_definitions(header, "INFO")
    samples = SampleFields(sample_names(header), _read_definitions(header, "FORMAT"))
    version = header.version()
    percent_encoded = version is not None and version >= (4, 3)
    return CarriedColumns(
        shown_path(path),
        carry,
        info,
        percent_encoded=percent_encoded,
        texts=texts,
        whole=whole,
        samples=samples,
    )


def _read_definitions(header: VcfHeader, kind: str) -> dict[str, InfoField]:
    """The fields that the header defines; of two definitions with one ID, the first counts."""
    fields: dict[str, InfoField] = {}
    for attributes in header.definitions(kind):
        field = InfoField(
            id=attributes.get("ID", ""),
            number=attributes.get("Number", "."),
            type=attributes.get("Type", "String"),
            description=attributes.get("Description", ""),
        )
        fields.setdefault(field.id, field)
    return fields


def sample_names(header: VcfHeader) -> list[str]:
    """The names of the samples, in the order of their columns."""
    return decode(header.columns or b"").split("\t")[len(COLUMNS) + 1 :]


def contig_names(header: VcfHeader) -> list[str]:
    """The contigs that the header defines, in its order."""
    return [attributes.get("ID", "") for attributes in header.definitions("contig")]


def make_record(
    line: bytes, columns: CarriedColumns, number: int | None = None
) -> Record | InvalidRecord:
    """Turn a data line into a record.

    Args:
        line: Without its line end.
        columns: What to carry along.
        number: Number of the line in the file, from 1; None if the file has no lines.
    """
    data = parse_data_line(line)
    if isinstance(data, Unreadable):
        return InvalidRecord(*data, number)
    cells, pos, alts = data
    filters = decode(cells[6]) if len(cells) > 6 else None
    carried = columns.values(cells, alts) if columns.fields else _NOTHING_CARRIED
    contig, ref = decode(cells[0]), decode(cells[3])
    symbols: Sequence[Symbol] = ()
    if b"<" in cells[4]:
        info = cells[INFO_COLUMN] if len(cells) > INFO_COLUMN else b""
        symbols = describe_symbols(pos, ref, alts, info)
    return Record(contig, pos, ref, alts, filters, carried, symbols=symbols)
