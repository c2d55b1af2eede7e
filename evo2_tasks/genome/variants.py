"""Files of variants in any format, as one stream of alleles."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

from evo2_tasks.errors import InputError
from evo2_tasks.genome.alleles import split_alleles
from evo2_tasks.genome.bcf import BcfReader, VcfRegionReader
from evo2_tasks.genome.carry import parse_number
from evo2_tasks.genome.lines import drop_mark, find_compression, read_start, shown_path
from evo2_tasks.genome.records import (
    CarryField,
    Filters,
    InvalidRecord,
    Record,
    Variant,
    VariantCounts,
    shown,
)
from evo2_tasks.genome.variant_tables import (
    ParquetReader,
    TextTableReader,
    find_wrong_delimiter,
    is_table_header,
)
from evo2_tasks.genome.vcf import VcfReader, looks_like_data

__all__ = [
    "CarryField",
    "Filters",
    "Variant",
    "VariantCounts",
    "VariantSource",
    "find_format",
    "open_variants",
]

logger = logging.getLogger(__name__)

Format = Literal["vcf", "bcf", "table", "parquet"]

VCF_COLUMNS = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT")
MAX_LOGGED_INVALID = 1_000

_BINARY_MAGIC = {
    b"BAM\1": "a BAM file",
    b"CRAM": "a CRAM file",
    b"PK\3\4": "a zip archive",
    b"\xfd7zXZ": "an xz file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x89HDF": "an HDF5 file",
    b"TBI\1": "a tabix index",
    b"CSI\1": "a csi index",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


_TEXT_MARKS = {
    b">": "FASTA",
    b"@": "FASTQ or SAM",
    b"##gff": "GFF",
    b"{": "JSON",
    b"<": "HTML or XML",
}


class VariantReader(Protocol):
    """What the reader of each format offers."""

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The fields that go along, typed."""

    def records(self) -> Iterator[Record | InvalidRecord]:
        """The records in the order of the file, anew at each call."""

    def log_problems(self) -> None:
        """Say what could not be carried in the pass just made."""


class VariantSource:
    """The alleles of a file of variants; each iteration reads the file anew.

    Attributes:
        path: The file.
        format: Found from the content.
        carry_fields: What ``Variant.carried`` holds.
        counts: What the last complete iteration has read.
    """

    def __init__(
        self,
        path: Path,
        file_format: Format,
        reader: VariantReader,
        filters: Filters,
        numbers: Collection[str] = (),
    ) -> None:
        self.path = path
        self.format = file_format
        self.carry_fields = reader.carry_fields
        self.counts = VariantCounts()
        self._reader = reader
        self._filters = filters
        self._text_numbers = [
            (place, field.name)
            for place, field in enumerate(self.carry_fields)
            if field.name in numbers and field.type == "string"
        ]

    def __iter__(self) -> Iterator[Variant]:
        nulls = (None,) * len(self.carry_fields)
        num_records = num_alleles = num_invalid = num_filtered = 0
        for index, record in enumerate(self._reader.records()):
            num_records += 1
            if isinstance(record, InvalidRecord):
                num_invalid += 1
                num_alleles += 1
                self._log_invalid(record, index, num_invalid)
                yield Variant(index, 0, None, None, None, None, "invalid_record", nulls)
                continue
            for variant in split_alleles(record, index, self._filters):
                num_alleles += 1
                num_filtered += variant.status is not None
                yield variant
        self.counts = VariantCounts(num_records, num_alleles, num_invalid, num_filtered)
        if num_invalid > MAX_LOGGED_INVALID:
            logger.warning(
                "%s: %d records in all cannot be read", shown_path(self.path), num_invalid
            )
        self._reader.log_problems()

    def count(self) -> VariantCounts:
        """Count records and alleles in a pass of its own, without logging what it meets.

        Raises:
            InputError: A carried field that has to be a number holds another text.
        """
        num_records = num_alleles = num_invalid = 0
        for index, record in enumerate(self._reader.records()):
            num_records += 1
            if isinstance(record, InvalidRecord):
                num_invalid += 1
                num_alleles += 1
            else:
                num_alleles += len(record.alts)
                for place, name in self._text_numbers:
                    for values in record.carried:
                        self._require_number(name, values[place], index)
        return VariantCounts(num_records, num_alleles, num_invalid)

    def _require_number(self, name: str, value: object, index: int) -> None:
        """Make sure that a field that the file has as text holds numbers all the same."""
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and parse_number(str(one), "float") is None:
                raise InputError(
                    f"{shown_path(self.path)}: record {index}: '{shown(name)}' is "
                    f"'{shown(one)}', expected a number, since the config names it under "
                    f"`baselines` or as a label with `harmful`."
                )

    def _log_invalid(self, record: InvalidRecord, index: int, num_invalid: int) -> None:
        if num_invalid <= MAX_LOGGED_INVALID:
            line = "" if record.line is None else f" (line {record.line})"
            logger.warning(
                "%s: record %d%s: invalid record: %s",
                shown_path(self.path), index, line, record.reason,
            )  # fmt: skip


def open_variants(
    path: Path | str,
    *,
    carry: Sequence[str] = (),
    numbers: Collection[str] = (),
    filters: Filters | None = None,
    regions: Sequence[str] | None = None,
) -> VariantSource:
    """Open a file of variants: VCF, BCF, TSV, CSV or Parquet, recognised by its content.

    Args:
        path: Text may be plain, gzip or bgzip.
        carry: Columns or INFO fields that go along.
        numbers: Those of them that have to be numbers, which ``VariantSource.count`` looks at.
        filters: What to leave out, as rows with the status ``filtered``.
        regions: Read only records that overlap these (``chr1:1,001-2,000``, 1-based), each once,
            through the index of a bgzipped VCF or a BCF; ``record`` counts what is read.

    Raises:
        InputError: The file cannot be read at all. Reading raises it as well, for what shows only
            later: truncated or damaged data.
    """
    path = Path(path)
    file_format = find_format(path)
    filters = filters or Filters()
    reader: VariantReader
    if file_format == "bcf":
        reader = BcfReader(path, carry, regions)
    elif regions is not None:
        if file_format != "vcf" or find_compression(path) != "bgzip":
            raise InputError(
                f"{shown_path(path)}: regions need a VCF that is compressed with bgzip and "
                f"indexed, or a BCF; make one with: bgzip FILE, then: tabix -p vcf FILE.gz"
            )
        reader = VcfRegionReader(path, carry, regions)
    elif file_format == "vcf":
        reader = VcfReader(path, carry)
    else:
        table_reader = ParquetReader if file_format == "parquet" else TextTableReader
        reader = table = table_reader(path, carry)
        if filters.pass_only and not table.has_filters:
            raise InputError(
                f"{shown_path(path)}: filters.pass_only needs a column named filter; the table has "
                f"none."
            )
    return VariantSource(path, file_format, reader, filters, numbers)


def find_format(path: Path) -> Format:
    """Recognise the format of a file by its content.

    Raises:
        InputError: It is none that is read here; says what it looks like.
    """
    start = read_start(path)
    if start.startswith(b"BCF\2"):
        return "bcf"
    if start.startswith(b"PAR1"):
        return "parquet"
    if not start:
        raise InputError(f"{shown_path(path)}: the file is empty, expected variants.")
    for magic, name in _BINARY_MAGIC.items():
        if start.startswith(magic):
            raise InputError(f"{shown_path(path)}: this is {name}, expected variants.")
    lines = [line.rstrip(b"\r") for line in drop_mark(start).split(b"\n")]
    found = _find_text_format([line for line in lines if line.strip(b" \t")])
    if found is not None:
        return found
    delimiter = find_wrong_delimiter(lines[0])
    if delimiter:
        raise InputError(
            f"{shown_path(path)}: line 1: the columns stand apart by '{delimiter}', expected tabs "
            f"or commas; write the table anew with one of them."
        )
    guess = next((name for mark, name in _TEXT_MARKS.items() if lines[0].startswith(mark)), "")
    raise InputError(
        f"{shown_path(path)}: line 1: '{shown(lines[0][:60].decode('latin-1'))}': "
        f"{f'this looks like {guess}, ' if guess else ''}expected VCF, BCF, Parquet, or a table "
        f"of tabs or commas whose header names the columns contig, pos, ref and alt."
    )


def _find_text_format(lines: Sequence[bytes]) -> Literal["vcf", "table"] | None:
    """Tell VCF and tables by their header lines, or VCF without any by half of its lines."""
    for line in lines:
        if line.startswith(b"##fileformat=VCF"):
            return "vcf"
        if is_table_header(line):
            names = tuple(line.upper().split(b"\t")[: len(VCF_COLUMNS)])
            return "vcf" if names == VCF_COLUMNS else "table"
        if not line.startswith(b"#"):
            break
    data = [line for line in lines if not line.startswith(b"#")]
    num_fitting = sum(map(looks_like_data, data))
    return "vcf" if num_fitting and 2 * num_fitting >= len(data) else None
