"""Variants of a BCF, and of the regions of an indexed BCF or bgzipped VCF."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, InvalidRecord, Record
from evo2_tasks.genome.regions import Region, find_regions, region_contigs
from evo2_tasks.genome.vcf import carried_columns, contig_names, make_record
from evo2_tasks.io.htslib import (
    find_index,
    header_lines,
    open_bcf,
    open_indexed_vcf,
    record_line,
)
from evo2_tasks.io.lines import CHUNK_BYTES, begins_after_return, read_start
from evo2_tasks.io.vcf_text import (
    COLUMNS,
    begins_line,
    check_sizes,
    is_data,
    parse_position,
    read_vcf,
    split_header,
)
from evo2_tasks.io.words import shown_path

_LAST_IN_BCF = 2**31 - 1
"""Last position that BCF can state."""


class BcfReader:
    """The records of a BCF file, all of them or those of some regions.

    Each record becomes a line of VCF text, as ``bcftools view`` prints it. So BCF and VCF have one
    parser and give the same table.

    Args:
        path: The file.
        carry: Names of the INFO fields, or of the columns ID, QUAL and FILTER, to carry along.
        regions: For example ``chr1:1,001-2,000`` or ``chr1``; they need an index.
        texts: Names of ``carry`` whose values are text, exactly as in the file.
        whole: Names of ``carry`` whose text is not divided into values.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str] = (),
        regions: Sequence[str] | None = None,
        texts: Collection[str] = (),
        whole: Collection[str] = (),
    ) -> None:
        self.path = path
        self._regions = None
        with open_bcf(path, samples=True) as file:
            header, _ = split_header(header_lines(file), path)
            self._columns = carried_columns(header, path, carry, texts, whole)
            self._num_tabs = len(COLUMNS) - 1
            if self._columns.needs_samples and header.columns is not None:
                self._num_tabs = header.columns.count(b"\t")
            if regions is not None:
                if file.index is None:
                    raise InputError(
                        f"{shown_path(path)}: regions need an index next to the file; make it "
                        f"with: bcftools index FILE"
                    )
                # pysam cannot list the contigs of a header whose contig numbers have gaps, so each
                # name is looked up.
                known = {name for name in region_contigs(regions) if name in file.header.contigs}
                contigs = sorted(known, key=lambda name: file.header.contigs[name].id)
                others = [name for name in contig_names(header) if name not in known]
                self._regions = find_regions(regions, [*contigs, *others], path, _LAST_IN_BCF)

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """The records in the order of the file; those of regions by contig and position."""
        with open_bcf(self.path, samples=self._columns.needs_samples) as file:
            for line in self._read_lines(file):
                if is_data(line) and line.count(b"\t") == self._num_tabs:
                    yield make_record(line, self._columns)
                else:
                    yield InvalidRecord("tab_in_field", "one of its fields holds a tab")

    def sample_lines(self) -> Iterator[bytes]:
        """The lines of `records`, with their sample columns."""
        with open_bcf(self.path, samples=True) as file:
            yield from self._read_lines(file)

    def log_problems(self) -> None:
        """Log which carried values of the last pass did not have the type of their field."""
        self._columns.log_problems()

    def _read_lines(self, file: pysam.VariantFile) -> Iterator[bytes]:
        if self._regions is None:
            for record in file:
                yield check_sizes(record_line(record), self.path)
            return
        for region in self._regions:
            for record in file.fetch(region.contig, region.start, region.end):
                if record.start >= region.previous_end:
                    yield check_sizes(record_line(record), self.path)


class VcfRegionReader:
    """The records of some regions of a bgzipped VCF with an index.

    Args:
        path: The file.
        carry: Names of the INFO fields, or of the columns ID, QUAL and FILTER, to carry along.
        regions: For example ``chr1:1,001-2,000`` or ``chr1``.
        texts: Names of ``carry`` whose values are text, exactly as in the file.
        whole: Names of ``carry`` whose text is not divided into values.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str],
        regions: Sequence[str],
        texts: Collection[str] = (),
        whole: Collection[str] = (),
    ) -> None:
        if find_index(path) is None:
            raise InputError(
                f"{shown_path(path)}: regions need an index next to the file; make it with: "
                f"tabix -p vcf FILE (or tabix -C -p vcf FILE, if positions are beyond 536,870,912)"
            )
        for line in read_start(path, CHUNK_BYTES).split(b"\n"):
            _require_one_record(line.rstrip(b"\r"), path)
        self.path = path
        header, _ = read_vcf(path)
        self._columns = carried_columns(header, path, carry, texts, whole)
        with open_indexed_vcf(path) as file:
            # The index lists only the contigs that have records.
            contigs = list(dict.fromkeys([*file.contigs, *contig_names(header)]))
            self._regions = [
                region
                for region in find_regions(regions, contigs, path)
                if region.contig in file.contigs
            ]

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """The records by contig in the order of the file, and by position."""
        with open_indexed_vcf(self.path) as file:
            for line in self._read_lines(file):
                if is_data(line):
                    yield make_record(line, self._columns)

    def sample_lines(self) -> Iterator[bytes]:
        """The lines of `records`, with their sample columns."""
        with open_indexed_vcf(self.path) as file:
            yield from filter(is_data, self._read_lines(file))

    def log_problems(self) -> None:
        """Log which carried values of the last pass did not have the type of their field."""
        self._columns.log_problems()

    def _read_lines(self, file: pysam.TabixFile) -> Iterator[bytes]:
        for region in self._regions:
            for text in file.fetch(region=_spell_region(region, file.contigs)):
                line = text.encode("latin-1").rstrip(b"\r")
                _require_one_record(line, self.path)
                pos = parse_position(line.split(b"\t", 2)[1])
                if pos is None or pos > region.previous_end:
                    yield check_sizes(line, self.path)


def _spell_region(region: Region, contigs: Collection[str]) -> str:
    """A region as htslib reads it: with braces if its text would be the name of another contig."""
    span = f"{region.start + 1}-{region.end}"
    text = f"{region.contig}:{span}"
    return f"{{{region.contig}}}:{span}" if text in contigs else text


def _require_one_record(line: bytes, path: Path) -> None:
    """Make sure that a line of an indexed file holds no record that the index does not list."""
    if begins_after_return(line, begins_line):
        raise InputError(
            f"{shown_path(path)}: some records end with a carriage return without a line feed, and "
            f"the index does not list the records behind them. Convert and index the file again: "
            f"bgzip -dc FILE | tr -s '\\r' '\\n' | bgzip > NEW.vcf.gz; tabix -p vcf NEW.vcf.gz"
        )
