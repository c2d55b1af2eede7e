"""BCF, and regions of indexed BCF or bgzipped VCF: what htslib is needed for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, InvalidRecord, Record
from evo2_tasks.genome.regions import find_regions, region_contigs
from evo2_tasks.genome.vcf import parse_line, parse_position, read_header
from evo2_tasks.io.bgzip import check_bgzip_end
from evo2_tasks.io.lines import read_lines
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

NUM_COLUMNS = 8  # of a record without samples
INDEX_SUFFIXES = (".csi", ".tbi")


class BcfReader:
    """The records of a BCF file, all of them or those of some regions.

    Each record passes as a line of VCF text, as ``bcftools view`` prints it, so that BCF and VCF
    share one parser and give one table.

    Args:
        path: The file.
        carry: INFO fields, or the columns ID, QUAL and FILTER, to carry along.
        regions: As ``chr1:1,001-2,000`` or ``chr1``; needs an index.
    """

    def __init__(
        self, path: Path, carry: Sequence[str] = (), regions: Sequence[str] | None = None
    ) -> None:
        check_bgzip_end(path)
        self.path = path
        self._regions = None
        with _open_bcf(path) as file:
            header = _raw_text(file.header).split(b"\n")
            self._columns = read_header(header).carried_columns(path, carry)
            if regions is not None:
                if file.index is None:
                    raise InputError(
                        f"{shown_path(path)}: regions need an index beside the file; make it with: "
                        f"bcftools index FILE"
                    )
                # Looked up one by one: to list them fails on headers whose numbers have gaps.
                known = {name for name in region_contigs(regions) if name in file.header.contigs}
                contigs = sorted(known, key=lambda name: file.header.contigs[name].id)
                self._regions = find_regions(regions, contigs, path)

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """The records in the order of the file, those of regions by contig and position."""
        with _open_bcf(self.path) as file:
            for line in self._read_lines(file):
                record = parse_line(line, self._columns)
                if record is None or line.count(b"\t") != NUM_COLUMNS - 1:
                    record = InvalidRecord("one of its fields holds a tab")
                yield record

    def log_problems(self) -> None:
        """Say which carried values could not be read by their type in the pass just made."""
        self._columns.log_problems()

    def _read_lines(self, file: pysam.VariantFile) -> Iterator[bytes]:
        if self._regions is None:
            yield from map(_raw_text, file)
            return
        for region in self._regions:
            for record in file.fetch(region.contig, region.start, region.end):
                if record.start >= region.previous_end:
                    yield _raw_text(record)


class VcfRegionReader:
    """The records of some regions of a bgzipped VCF with an index.

    Args:
        path: The file.
        carry: INFO fields, or the columns ID, QUAL and FILTER, to carry along.
        regions: As ``chr1:1,001-2,000`` or ``chr1``.
    """

    def __init__(self, path: Path, carry: Sequence[str], regions: Sequence[str]) -> None:
        if not any(path.with_name(path.name + suffix).is_file() for suffix in INDEX_SUFFIXES):
            raise InputError(
                f"{shown_path(path)}: regions need an index beside the file; make it with: "
                f"tabix -p vcf FILE"
            )
        check_bgzip_end(path)
        self.path = path
        header = read_header(read_lines(path))
        self._columns = header.carried_columns(path, carry)
        with _open_tabix(path) as file:
            # The index knows only those that have records.
            contigs = list(dict.fromkeys([*file.contigs, *header.contigs]))
            found = find_regions(regions, contigs, path)
            self._regions = [region for region in found if region.contig in file.contigs]

    @property
    def carry_fields(self) -> tuple[CarryField, ...]:
        """The carried fields, typed by the header."""
        return self._columns.fields

    def records(self) -> Iterator[Record | InvalidRecord]:
        """The records by contig, in the order of the file, and position."""
        with _open_tabix(self.path) as file:
            for line in self._read_lines(file):
                record = parse_line(line, self._columns)
                if record is not None:
                    yield record

    def log_problems(self) -> None:
        """Say which carried values could not be read by their type in the pass just made."""
        self._columns.log_problems()

    def _read_lines(self, file: pysam.TabixFile) -> Iterator[bytes]:
        for region in self._regions:
            for text in file.fetch(region.contig, region.start, region.end):
                line = text.encode("latin-1")
                pos = parse_position(line.split(b"\t", 2)[1])
                if pos is None or pos > region.previous_end:
                    yield line


@contextmanager
def _open_bcf(path: Path) -> Iterator[pysam.VariantFile]:
    with _htslib_errors(path, "BCF"):
        file = pysam.VariantFile(str(path), "r")
        with _closing(file):
            file.subset_samples([])  # so that records are printed without them
            yield file


@contextmanager
def _open_tabix(path: Path) -> Iterator[pysam.TabixFile]:
    with _htslib_errors(path, "indexed VCF"):
        # Latin-1 maps bytes to characters one to one, so that the bytes can be had back.
        file = pysam.TabixFile(str(path), encoding="latin-1")
        with _closing(file):
            yield file


@contextmanager
def _htslib_errors(path: Path, kind: str) -> Iterator[None]:
    """One line instead of what htslib prints and pysam raises, in whatever place it does."""
    verbosity = pysam.set_verbosity(0)
    try:
        yield
    except (OSError, ValueError, RuntimeError, AssertionError, KeyError, MemoryError) as error:
        raise InputError(
            f"{shown_path(path)}: cannot be read as {kind}: {shown(error)}. The file or its index "
            f"is damaged; make them again."
        ) from error
    finally:
        pysam.set_verbosity(verbosity)


@contextmanager
def _closing(file: pysam.VariantFile | pysam.TabixFile) -> Iterator[None]:
    """Close a file whose closing fails if reading did, without hiding the first error."""
    try:
        yield
    except BaseException:
        try:
            file.close()
        except OSError as error:
            logger.debug("closing after an error: %s", shown(error))
        raise
    file.close()


def _raw_text(thing: pysam.VariantRecord | pysam.VariantHeader) -> bytes:
    """The line of a record, or a header, in the bytes that it has."""
    try:
        return str(thing).removesuffix("\n").encode()
    except UnicodeDecodeError as error:
        return bytes(error.object).removesuffix(b"\n")  # text in Latin-1 is text as well
