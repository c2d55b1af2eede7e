"""The table as VCF: the scored VCF with INFO fields added, or a VCF made from the table alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import pyarrow as pa

from evo2_tasks.config.objects import local_copy
from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf_header import add_definitions, make_sites_header, repair_header
from evo2_tasks.exports.vcf_index import remove_indexes, require_gz, write_index
from evo2_tasks.exports.vcf_info import PREFIX, find_columns, format_entries, name_field
from evo2_tasks.exports.vcf_lines import Row, Tally, annotate_lines, make_lines
from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import replace_atomically, require_other_file, writing
from evo2_tasks.io.vcf_text import is_vcf_contig, read_vcf
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import RUN, run_file_of
from evo2_tasks.table.calibrated import Calibrated, open_calibrated, read_calibrated_rows
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.provenance import Provenance, read_provenance
from evo2_tasks.table.schema import ADDED_COLUMNS, FINAL_COLUMNS, SCORE_COLUMNS, Column
from evo2_tasks.table.sorting import sort_rows
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

VCF_COLUMNS: Final = ("status", "reason", "flags", *SCORE_COLUMNS)
"""Columns of every table that become INFO fields by default, before those of ``annotate`` and
``calibrate``."""

_VCF_FORMATS: Final = ("vcf", "bcf")
_KEY_COLUMNS: Final = ("record", "allele", "contig", "pos", "ref", "alt")
_EXPORTABLE: Final = tuple(
    column.name for column in FINAL_COLUMNS if column.name not in _KEY_COLUMNS
)
_PREFIX: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*")


@dataclass(frozen=True, slots=True)
class VcfExport:
    """What an export wrote.

    Attributes:
        records: Number of lines written.
        annotated: Number of these lines that have rows in the table.
        left_out: Number of lines that VCF does not allow; they are in the table only.
        index: The index next to the file; None if there is none.
    """

    records: int
    annotated: int
    left_out: int
    index: Path | None


def write(table: Path, out: Path, *, variants: Path | None = None) -> int:
    """Write a table as VCF: the scored VCF or BCF with INFO fields added.

    If the scored file has another format, the VCF is made from the table alone, without samples.

    Args:
        table: The table from ``merge``.
        out: The file to write, named ``.gz``.
        variants: The scored file, if it has moved. Default: the file that ``run.json`` next to the
            table names.

    Returns:
        Number of records.

    Raises:
        InputError: The scored file is not known, the table was not made from it, ``run.json`` is
            about another table, or a file cannot be read or written.
    """
    digest = digest_file(table)
    run = read_run_of(table, table_digest=digest)
    source = None if run is None else run.variants
    if variants is None:
        if source is None:
            problem = f"{shown_path(table)}: there is no {RUN} next to it, which names"
            if run is not None:
                problem = f"{shown_path(run_file_of(table))}: does not name"
            raise InputError(f"{problem} the file of scored variants. Name it with --variants.")
        variants = local_copy(Path(source.variants))
        if source.format in _VCF_FORMATS and not variants.exists():
            raise InputError(
                f"{shown_path(run_file_of(table))}: the file of scored variants, "
                f"{shown_path(variants)}, does not exist. Name it with --variants."
            )
    is_vcf = source is None or source.format in _VCF_FORMATS
    done = export_vcf(
        table,
        out,
        variants=variants if is_vcf else None,
        is_part=source is not None and source.regions is not None,
        table_digest=digest,
    )
    logger.info("%s: %s, %s with rows", out, counted(done.records, "record"), f"{done.annotated:,}")
    return done.records


def export_vcf(
    table: Path,
    target: Path,
    *,
    variants: Path | None,
    is_part: bool = False,
    columns: Sequence[str] = VCF_COLUMNS,
    prefix: str = PREFIX,
    table_digest: str | None = None,
) -> VcfExport:
    """Write a bgzip-compressed VCF with the table's columns as INFO fields.

    All header lines, data lines and samples of the input are kept byte by byte, except for the
    line ends. Lines that VCF does not allow are left out and logged. A line with fewer than eight
    columns, or with too few samples, is completed with ``.``. An index is made if the lines are
    sorted.

    Args:
        table: The table that ``merge`` wrote.
        target: The file to write, named ``.gz``.
        variants: The VCF or BCF that was scored; None makes a VCF without samples from the table
            alone.
        is_part: Whether the table has only some of the file's lines, those of ``regions``. The
            other lines are kept unchanged.
        columns: Columns of every table to add. Those of ``annotate`` follow, then those of the
            ``calibrated.parquet`` next to the table.
        prefix: Start of the names of the INFO fields. Fields of an earlier export with this prefix
            are replaced.
        table_digest: SHA-256 of the table, if it is known. Default: it is computed if needed.

    Returns:
        Counts of the written lines, and the index.

    Raises:
        InputError: The table was not made from these variants, ``calibrated.parquet`` was made
            from another table, or a file cannot be read or written.
    """
    calibrated = open_calibrated(table, table_digest=table_digest)
    added = _choose(table, columns, calibrated)
    if not _PREFIX.fullmatch(prefix):
        raise InputError(
            f"export: prefix {prefix!r} cannot be the start of the name of an INFO field."
        )
    require_gz(target)
    require_other_file(target, table, *([variants] if variants else []))
    provenance = read_provenance(table)
    tally = Tally(variants or table)
    with replace_atomically(target) as temporary:
        rows = _read_rows(table, calibrated, provenance, added, prefix, folder=target.parent)
        if variants is None:
            contigs = [name.encode() for name in distinct_values(table, "contig")]
            header = make_sites_header({name: None for name in contigs if is_vcf_contig(name)})
            lines = make_lines(rows, tally)
        else:
            source_header, data = read_vcf(variants)
            first = list(islice(data, 1))
            header = repair_header(variants, source_header, first[0][1] if first else None)
            lines = annotate_lines(
                chain(first, data),
                rows,
                tally,
                table=table,
                num_samples=header.num_samples,
                prefix=prefix.encode(),
                keys=frozenset(name_field(column, prefix).encode() for column in added),
                is_part=is_part,
            )
        meta = add_definitions(header.meta, added, provenance, prefix)
        with writing(target), temporary.open("wb") as file, BgzfWriter(file) as out:
            for line in chain(meta, [header.columns], lines):
                out.write(line + b"\n")
        remove_indexes(target)
    return VcfExport(
        tally.records, tally.annotated, tally.left_out, write_index(target, tally, meta)
    )


def _choose(table: Path, names: Sequence[str], calibrated: Calibrated | None) -> list[Column]:
    unknown = [name for name in names if name not in _EXPORTABLE]
    if unknown:
        raise InputError(
            f"export: {unknown[0]!r} cannot become an INFO field. Allowed are "
            f"{', '.join(_EXPORTABLE)}."
        )
    return find_columns(table, names, calibrated)


def _read_rows(
    table: Path,
    calibrated: Calibrated | None,
    provenance: Provenance,
    columns: Sequence[Column],
    prefix: str,
    *,
    folder: Path,
) -> Iterator[Row]:
    """Rows in the order of the input, with the INFO entries of each as VCF text."""
    names = [*_KEY_COLUMNS, *(column.name for column in columns)]
    tables: Iterator[pa.Table] = (
        pa.Table.from_batches([batch])
        for batch in read_calibrated_rows(table, calibrated, names, added=ADDED_COLUMNS)
    )
    if provenance.order != "input":
        tables = sort_rows(tables, ["record", "allele"], folder=folder)
    for rows in tables:
        info = format_entries(rows, columns, prefix, is_complete=True)
        keys = [rows[name].to_pylist() for name in _KEY_COLUMNS]
        yield from zip(*keys, info.to_pylist(), strict=True)
