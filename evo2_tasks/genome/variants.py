"""Reading files of variants in any format, as one stream of alleles."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evo2_tasks.errors import InputError
from evo2_tasks.genome.alleles import find_why_left_out, split_alleles
from evo2_tasks.genome.bcf import BcfReader, VcfRegionReader
from evo2_tasks.genome.carried_types import AskedType, CarriedTypes
from evo2_tasks.genome.columns import NO_COLUMNS
from evo2_tasks.genome.formats import (
    FORMAT_WORDS,
    REGION_FORMATS,
    WITHOUT_BASES,
    Format,
    find_format,
)
from evo2_tasks.genome.genotypes import Genotypes, SampleKey, find_samples, read_genotypes
from evo2_tasks.genome.interval_lists import read_intervals
from evo2_tasks.genome.records import (
    CarryField,
    Filters,
    InvalidRecord,
    NoAllele,
    Record,
    Variant,
    VariantCounts,
)
from evo2_tasks.genome.saturation import Kind, SaturationReader
from evo2_tasks.genome.symbolic import describe_symbols
from evo2_tasks.genome.variant_lists import VariantListReader
from evo2_tasks.genome.variant_tables import ParquetReader, TextTableReader, has_hgvs
from evo2_tasks.genome.vcf import VcfReader, sample_names
from evo2_tasks.io.bgzip import find_compression
from evo2_tasks.io.vcf_text import VcfHeader, read_vcf
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference
    from evo2_tasks.genome.sample_genomes import SampleGenome

__all__ = [
    "CarryField",
    "Filters",
    "Variant",
    "VariantCounts",
    "VariantSource",
    "find_format",
    "needs_reference",
    "open_variants",
]

logger = logging.getLogger(__name__)

MAX_LOGGED_INVALID = 1_000


class VariantReader(Protocol):
    """The interface of the reader of each format."""

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields with their types."""

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """The records in the order of the file; each call reads the file from its start."""

    def log_problems(self) -> None:
        """Log which values could not be carried in the last pass."""


class VariantSource:
    """The alleles of a file of variants; each iteration reads the file from its start.

    Attributes:
        path: The file.
        format: Format of the file, recognised by its content.
        carry_fields: The fields of ``Variant.carried``, in its order.
        counts: Counts of the last complete iteration.
    """

    def __init__(
        self,
        path: Path,
        file_format: Format,
        reader: VariantReader,
        filters: Filters,
        types: CarriedTypes,
    ) -> None:
        self.path = path
        self.format = file_format
        self.carry_fields = types.fields
        self.counts = VariantCounts()
        self._is_without_info = file_format not in ("vcf", "bcf")
        self._reader = reader
        self._filters = filters
        self._types = types

    def __iter__(self) -> Iterator[Variant]:
        num_records = num_alleles = num_invalid = num_filtered = num_before = num_dashes = 0
        unseen = [i for i, field in enumerate(self.carry_fields) if not field.is_defined]
        for record in self._reader.records():
            if not _goes_on(record):
                num_records += 1
                num_before = 0
            if isinstance(record, InvalidRecord):
                num_invalid += 1
                self._log_invalid(record, num_records - 1, num_invalid)
            elif isinstance(record, Record):
                num_dashes += record.ref == "-" or "-" in record.alts
            for variant in self._make_rows(record, num_records - 1, num_before):
                num_alleles += 1
                if unseen:
                    unseen = [place for place in unseen if variant.carried[place] is None]
                num_filtered += variant.status == "filtered"
                yield variant
            num_before += _count_alleles(record)
        self.counts = VariantCounts(num_records, num_alleles, num_invalid, num_filtered)
        if unseen and num_records > num_invalid:
            raise InputError(self._describe_unknown(self.carry_fields[unseen[0]]))
        if num_invalid > MAX_LOGGED_INVALID:
            logger.warning(
                "%s: %d records in total cannot be read", shown_path(self.path), num_invalid
            )
        if num_dashes:
            logger.warning(
                "%s: records with '-' as an allele, as in ANNOVAR and MAF: %d. They have no score; "
                "write both alleles with the base before them, as in VCF",
                shown_path(self.path), num_dashes,
            )  # fmt: skip
        self._reader.log_problems()

    def count(self) -> VariantCounts:
        """Count records and alleles in a separate pass, without logging invalid records."""
        num_records = num_alleles = num_invalid = 0
        for record in self._reader.records():
            num_records += not _goes_on(record)
            num_invalid += isinstance(record, InvalidRecord)
            num_alleles += max(1, _count_alleles(record))
        return VariantCounts(num_records, num_alleles, num_invalid)

    def read_header(self) -> VcfHeader:
        """The header lines of a VCF or BCF; none for other formats."""
        if self.format in ("vcf", "bcf"):
            return read_vcf(self.path, samples=False)[0]
        return VcfHeader((), None)

    def find_samples(
        self, samples: Sequence[str] | None, key: SampleKey = "haplotypes.samples"
    ) -> dict[str, int]:
        """Find some samples of a VCF or BCF.

        Args:
            samples: Names of the samples; None for all.
            key: The key of the variant set that names them, for messages.

        Returns:
            The place of each sample among those of the file, sorted by name.

        Raises:
            InputError: The file is not a VCF or BCF, or does not have the samples.
        """
        self._find_reader_of_samples(key)
        header, _ = read_vcf(self.path)
        return find_samples(
            sample_names(header), samples=samples, source=shown_path(self.path), key=key
        )

    def read_genotypes(
        self, samples: Sequence[str] | None, key: SampleKey = "haplotypes.samples"
    ) -> Genotypes:
        """Read the genotypes of some samples of a VCF or BCF, in a separate pass.

        Args:
            samples: Names of the samples; None for all.
            key: The key of the variant set that names them, for messages.

        Raises:
            InputError: The file is not a VCF or BCF, does not have the samples, or cannot be read.
        """
        reader = self._find_reader_of_samples(key)
        header, _ = read_vcf(self.path)
        return read_genotypes(
            reader.sample_lines(),
            sample_names(header),
            samples=samples,
            source=shown_path(self.path),
            key=key,
        )

    def _find_reader_of_samples(self, key: SampleKey) -> VcfReader | BcfReader | VcfRegionReader:
        reader = self._reader
        if not isinstance(reader, (VcfReader, BcfReader, VcfRegionReader)):
            asked = key.partition(".")[0]
            needs = "need" if asked.endswith("s") else "needs"
            raise InputError(
                f"{shown_path(self.path)}: {asked} {needs} the genotypes of a VCF or BCF, but this "
                f"is {FORMAT_WORDS[self.format]}. Remove {asked}, or name a VCF or BCF."
            )
        return reader

    def _make_rows(
        self, record: Record | NoAllele | InvalidRecord, index: int, num_before: int
    ) -> list[Variant]:
        if isinstance(record, Record):
            converted = [self._types.convert(values, index) for values in record.carried]
            record = record._replace(carried=converted)
            if self._is_without_info and any("<" in alt for alt in record.alts):
                symbols = describe_symbols(record.pos, record.ref, record.alts)
                record = record._replace(symbols=symbols)
            return split_alleles(record, index, num_before, self._filters)
        if isinstance(record, NoAllele):
            contig, pos, status, reason, values, filters = record
            carried = self._types.convert(values, index)
            why_left_out = find_why_left_out(contig, filters, self._filters)
            if why_left_out is None and status == "too_long":
                longest = self._filters.max_length
                why_left_out = "long_allele" if longest is not None else None
            if why_left_out is not None:
                status, reason = "filtered", why_left_out
            return [Variant(index, 0, contig, pos, None, None, status, carried, reason)]
        nulls = (None,) * len(self.carry_fields)
        status, reason = "invalid_record", record.reason
        return [Variant(index, 0, None, None, None, None, status, nulls, reason)]

    def _describe_unknown(self, field: CarryField) -> str:
        near = " or ".join(map(shown, field.near))
        hint = f"Did you mean {near}? " if near else ""
        return (
            f"{shown_path(self.path)}: carry: the header does not define '{shown(field.name)}', "
            f"and no record has it. {hint}INFO fields, ID, QUAL, FILTER and FORMAT fields of a "
            "sample (S1:GQ) can be carried."
        )

    def _log_invalid(self, record: InvalidRecord, index: int, num_invalid: int) -> None:
        if num_invalid <= MAX_LOGGED_INVALID:
            line = "" if record.line is None else f" (line {record.line})"
            logger.warning(
                "%s: record %d%s: invalid record: %s",
                shown_path(self.path), index, line, record.explanation,
            )  # fmt: skip


def open_variants(
    path: Path | str,
    *,
    carry: Sequence[str] = (),
    types: Mapping[str, AskedType] | None = None,
    numbers: Collection[str] = (),
    filters: Filters | None = None,
    regions: Sequence[str] | None = None,
    saturate: Collection[Kind] = (),
    columns: Mapping[str, str] = NO_COLUMNS,
    reference: Reference | None = None,
    whole: Collection[str] = (),
    genome: SampleGenome | None = None,
) -> VariantSource:
    """Open a file of variants, recognised by its content.

    The file is a VCF, a BCF, a table (TSV, CSV, Parquet), a list, or, with ``saturate``, a BED or
    an interval list.

    Args:
        path: The file. Text may be plain, gzip or bgzip.
        carry: Columns or INFO fields to carry along.
        types: Types of fields of ``carry`` that are asked for. Default: columns of text (a table, a
            BED) are text; other formats keep their types.
        numbers: Fields of ``carry`` that must hold numbers. Columns of text become numbers.
        filters: Alleles to leave out; their rows have the status ``filtered``.
        regions: Read only records that overlap these (``chr1:1,001-2,000``, 1-based), each once,
            through the index of a bgzipped VCF or a BCF. ``record`` then counts the records that
            were read.
        saturate: Kinds of alleles to make in the regions of a BED or an interval list.
        columns: Names of the columns of a table, by role: contig, pos, ref and alt, or hgvs.
            Default: the usual names.
        reference: The reference of the variants. A list, a table of HGVS, a BED and an interval
            list need it.
        whole: INFO fields of ``carry`` of a VCF or BCF whose text is not divided into values.
        genome: The genome of a sample in which to make the alleles of ``saturate``. Default: the
            reference.

    Raises:
        InputError: The file cannot be read at all. Iterating raises it as well, for example for
            truncated or damaged data, or for text in a field that must hold numbers.
        ValueError: The file needs a reference, and there is none.
    """
    path = Path(path)
    file_format = find_format(path, has_regions=bool(saturate), columns=columns)
    filters = filters or Filters()
    _check_saturate(path, file_format, saturate)
    _check_columns(path, file_format, columns)
    reader: VariantReader
    if regions is not None or file_format in ("vcf", "bcf"):
        texts = [name for name, asked in (types or {}).items() if asked == "text"]
        reader = _open_records(path, file_format, carry, regions, texts, whole)
    elif file_format in WITHOUT_BASES:
        if reference is None:
            raise ValueError("a list of variants and a BED file need a reference")
        if file_format == "bed":
            reader = SaturationReader(path, carry, saturate, reference, genome=genome)
        elif file_format == "intervals":
            reader = SaturationReader(path, carry, saturate, reference, read_intervals, genome)
        else:
            reader = VariantListReader(path, carry, reference)
        _check_filters(path, filters, has_filters=False)
    else:
        if reference is None and needs_reference(path, file_format, columns):
            raise ValueError("a table of HGVS needs a reference")
        table_reader = ParquetReader if file_format == "parquet" else TextTableReader
        reader = table = table_reader(path, carry, columns, reference)
        _check_filters(path, filters, has_filters=table.has_filters)
    has_types = file_format in ("vcf", "bcf", "parquet")
    carried = CarriedTypes(
        shown_path(path), reader.carry_fields, types or {}, numbers, has_types=has_types
    )
    return VariantSource(path, file_format, reader, filters, carried)


def needs_reference(path: Path, file_format: Format, columns: Mapping[str, str]) -> bool:
    """Whether a file can only be read with the reference, because it does not state all bases.

    Args:
        path: The file.
        file_format: Its format.
        columns: Names of the columns of a table, by role.

    Raises:
        InputError: The file cannot be read.
    """
    if file_format in ("table", "parquet"):
        return has_hgvs(path, columns, is_parquet=file_format == "parquet")
    return file_format in WITHOUT_BASES


def _open_records(
    path: Path,
    file_format: Format,
    carry: Sequence[str],
    regions: Sequence[str] | None,
    texts: Collection[str],
    whole: Collection[str],
) -> VariantReader:
    """Open a VCF or BCF; other formats have no regions to read."""
    if file_format == "bcf":
        return BcfReader(path, carry, regions, texts, whole)
    if regions is None:
        return VcfReader(path, carry, texts, whole)
    if file_format != "vcf" or find_compression(path) != "bgzip":
        raise InputError(
            f"{shown_path(path)}: regions need a VCF that is compressed with bgzip and indexed, "
            f"or an indexed BCF; make one with: bgzip FILE, then: tabix -p vcf FILE.gz"
        )
    return VcfRegionReader(path, carry, regions, texts, whole)


def _check_saturate(path: Path, file_format: Format, saturate: Collection[Kind]) -> None:
    """Make sure that ``saturate`` is set for a file of regions, and for no other format."""
    if file_format in REGION_FORMATS and not saturate:
        raise InputError(
            f"{shown_path(path)}: this is {FORMAT_WORDS[file_format]}, which lists regions, not "
            f"variants. Name the kinds of alleles to make in them, for example: saturate: [snv]"
        )
    if file_format not in REGION_FORMATS and saturate:
        raise InputError(
            f"{shown_path(path)}: saturate needs the regions of a BED file, but this is "
            f"{FORMAT_WORDS[file_format]}. Remove saturate, or name a BED file."
        )


def _check_columns(path: Path, file_format: Format, columns: Mapping[str, str]) -> None:
    """Make sure that ``columns`` is set for a table only."""
    if columns and file_format not in ("table", "parquet"):
        raise InputError(
            f"{shown_path(path)}: columns names the columns of a table (TSV, CSV, Parquet), but "
            f"this is {FORMAT_WORDS[file_format]}. Remove columns."
        )


def _check_filters(path: Path, filters: Filters, *, has_filters: bool) -> None:
    if filters.pass_only and not has_filters:
        raise InputError(
            f"{shown_path(path)}: filters.pass_only needs a column named filter, which the file "
            f"does not have. Remove pass_only, or add the column."
        )


def _goes_on(record: Record | NoAllele | InvalidRecord) -> bool:
    return isinstance(record, Record) and record.goes_on


def _count_alleles(record: Record | NoAllele | InvalidRecord) -> int:
    return len(record.alts) if isinstance(record, Record) else 0
