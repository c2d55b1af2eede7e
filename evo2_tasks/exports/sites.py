"""The table as sites: a sorted VCF without samples, for programs that annotate other VCFs.

- A line for each scored allele, with one ALT. Rows without a score are in the table only. So are
  symbolic alleles that the reference resolves, because the table does not have their bases, and
  those of HGVS whose REF goes across the origin of a circular contig.
- The alleles of a set with ``haplotype_of`` whose REF only the haplotype has are in the table only.
- The contig has its name in the reference, and the contigs have the order of the reference.
- The bases that REF and ALT share at their ends are removed, the right end first, so that each
  keeps at least one base. An allele that the table has several times is one line, that of its first
  row. Alleles are not left-aligned, which needs the reference; ``flags`` has ``moved`` for those
  that can move left.
- A missing value has no INFO entry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.exports.vcf_header import add_definitions, make_sites_header
from evo2_tasks.exports.vcf_index import remove_indexes, require_gz, write_index
from evo2_tasks.exports.vcf_info import MISSING, PREFIX, find_columns, format_entries
from evo2_tasks.exports.vcf_lines import Tally
from evo2_tasks.genome.alleles import resolve_letters, trim_to_vcf
from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import replace_atomically, require_other_file, writing
from evo2_tasks.io.vcf_text import is_vcf_contig
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.table.calibrated import Calibrated, open_calibrated, read_calibrated_rows
from evo2_tasks.table.documents import Run
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import HAPLOTYPE_REF, Column
from evo2_tasks.table.sorting import group_rows, sort_rows
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

SITE_COLUMNS: Final = ("llr", "flags")
"""Columns of every table that become INFO fields, before those of ``annotate`` and
``calibrate``."""

_PLACE: Final = ("contig", "pos")
_ALLELE: Final = (*_PLACE, "ref", "alt")
_KEYS: Final = (*_PLACE, "row")
_MAX_LENGTH: Final = 2**62
"""In place of a length that is not known."""

_READ: Final = ("record", "allele", "reference_contig", "pos", "ref", "alt", "llr")


def write(table: Path, out: Path) -> int:
    """Write the scored alleles of a table as a sorted VCF with one ALT per line, and its index.

    Args:
        table: The table from ``merge``.
        out: The file to write, named ``.gz``.

    Returns:
        Number of lines.

    Raises:
        InputError: A file cannot be read or written, or ``run.json`` or ``calibrated.parquet`` is
            about another table.
    """
    require_other_file(out, table)
    require_gz(out)
    digest = digest_file(table)
    contigs = order_contigs(table, read_run_of(table, table_digest=digest))
    calibrated = open_calibrated(table, table_digest=digest)
    columns = find_columns(table, SITE_COLUMNS, calibrated)
    provenance = read_provenance(table)
    tally = Tally(table, target="the sites")
    allowed = {name: length for name, length in contigs.items() if is_vcf_contig(name.encode())}
    header = make_sites_header({name.encode(): length for name, length in allowed.items()})
    meta = add_definitions(header.meta, columns, provenance, PREFIX)
    num_repeated = 0
    with replace_atomically(out) as temporary:
        alleles = read_alleles(table, calibrated, contigs, columns, tally)
        sorted_rows = sort_rows(alleles, _KEYS, folder=out.parent)
        with writing(out), temporary.open("wb") as file, BgzfWriter(file) as vcf:
            vcf.write(b"".join(line + b"\n" for line in [*meta, header.columns]))
            for group in group_rows(sorted_rows, _PLACE):
                rows = drop_repeated(group)
                num_repeated += group.num_rows - rows.num_rows
                tally.records += rows.num_rows
                tally.end = max(tally.end, _last_base(rows))
                vcf.write(format_lines(rows, list(contigs)))
        remove_indexes(out)
    tally.report()
    if num_repeated:
        logger.info("%s: %s rows repeat an allele of another row", out, f"{num_repeated:,}")
    if not tally.records:
        logger.warning("%s: no allele has a score", shown_path(table))
    logger.info("%s: %s", out, counted(tally.records, "allele"))
    write_index(out, tally, meta)
    return tally.records


def order_contigs(table: Path, run: Run | None) -> dict[str, int | None]:
    """The contigs of a table in the order of the reference, and the length of each.

    ``run.json`` of an earlier version does not state them. Then the contigs have the order in which
    the table names them, and no length.

    Args:
        table: The table from ``merge``.
        run: The ``run.json`` next to it; None if there is none.
    """
    stated = {} if run is None or run.contigs is None else run.contigs
    if not stated:
        logger.info("%s: the order of the contigs in the reference is not known", shown_path(table))
    others = dict.fromkeys(distinct_values(table, "reference_contig"))
    return {**stated, **{name: None for name in others if name not in stated}}


def read_alleles(
    table: Path,
    calibrated: Calibrated | None,
    contigs: Mapping[str, int | None],
    columns: Sequence[Column],
    tally: Tally,
) -> Iterator[pa.Table]:
    """Read the scored alleles in their shortest spelling, in the order of the table.

    Args:
        table: The table from ``merge``.
        calibrated: Its calibrated columns; None if it has none.
        contigs: Its contigs and their lengths, in bases.
        columns: Columns that become INFO entries.
        tally: Gets the alleles that a VCF cannot hold.

    Yields:
        Rows with the keys of the sort, ``ref``, ``alt`` and ``info``.
    """
    known = pa.array([*contigs], pa.string())
    is_allowed = np.array([is_vcf_contig(name.encode()) for name in contigs], dtype=bool)
    lengths = np.array(
        [_MAX_LENGTH if length is None else length for length in contigs.values()], dtype=np.int64
    )
    names = [*dict.fromkeys([*_READ, *(column.name for column in columns)])]
    num_before = 0
    for batch in read_calibrated_rows(table, calibrated, names):
        rows = batch.append_column("row", pa.array(num_before + np.arange(batch.num_rows)))
        num_before += batch.num_rows
        rows = rows.filter(pc.is_valid(rows.column("llr")))
        contig = pc.index_in(rows.column("reference_contig").cast(pa.string()), value_set=known)
        rows = rows.append_column("contig", contig.cast(pa.int64()))
        is_named = is_allowed[rows.column("contig").to_numpy()]
        rows = _keep(rows, is_named, "VCF forbids its contig's name", tally)
        is_spelled = np.ones(rows.num_rows, dtype=bool)
        for name in ("ref", "alt"):
            is_bases = pc.match_substring_regex(rows.column(name), "^[A-Za-z]+$")
            is_spelled &= pc.fill_null(is_bases, False).to_numpy(zero_copy_only=False)
        rows = _keep(rows, is_spelled, "its alleles are not spelled in bases", tally)
        is_of_reference = [HAPLOTYPE_REF not in flags for flags in rows.column("flags").to_pylist()]
        rows = _keep(
            rows, np.array(is_of_reference, dtype=bool), "its REF is not in the reference", tally
        )
        info = format_entries(rows, columns, PREFIX, is_complete=False)
        pos, *alleles = _shorten(rows)
        ref, alt = (pa.array(texts, pa.string()) for texts in alleles)
        length = lengths[rows.column("contig").to_numpy()]
        # On a circular contig, REF may go on at the first base.
        pos = np.where(pos > length, pos - length, pos)
        found = pa.record_batch(
            [rows.column("contig"), pos, ref, alt, rows.column("row"), info],
            names=[*_ALLELE, "row", "info"],
        )
        is_inside = pos + pc.utf8_length(ref).to_numpy() - 1 <= length
        _keep(rows, is_inside, "its REF goes across the origin of its contig", tally)
        yield pa.Table.from_batches([found.filter(pa.array(is_inside))])


def _keep(
    rows: pa.RecordBatch, is_kept: npt.NDArray[np.bool_], reason: str, tally: Tally
) -> pa.RecordBatch:
    """The rows that a VCF can hold; the others are logged."""
    left_out = rows.select(["record", "allele"]).filter(pa.array(~is_kept))
    for keys in left_out.to_pylist():
        tally.leave_out("record {record}, allele {allele}".format(**keys), reason)
    return rows.filter(pa.array(is_kept))


def _shorten(rows: pa.RecordBatch) -> tuple[npt.NDArray[np.int64], list[str], list[str]]:
    """Position, REF and ALT of each row in the shortest spelling that VCF allows."""
    pos = rows.column("pos").to_numpy(zero_copy_only=False).copy()
    ref, alt = rows.column("ref").to_pylist(), rows.column("alt").to_pylist()
    for row, (one, other) in enumerate(zip(ref, alt, strict=True)):
        if len(one) > 1 and len(other) > 1:
            pos[row], one, other = trim_to_vcf(int(pos[row]), one, other)
        if len(one) > 1 or len(other) > 1:
            one, other = resolve_letters(one), resolve_letters(other)
        ref[row], alt[row] = one, other
    return pos, ref, alt


def drop_repeated(group: pa.Table) -> pa.Table:
    """Sort the alleles of each position, and keep the first row of each allele.

    Args:
        group: All rows of some positions.
    """
    order = [(name, "ascending") for name in (*_ALLELE, "row")]
    rows = group.take(pc.sort_indices(group, order))
    is_new = np.ones(rows.num_rows, dtype=bool)
    pairs = [(rows[name].slice(1), rows[name].slice(0, rows.num_rows - 1)) for name in _ALLELE]
    is_new[1:] = ~np.logical_and.reduce([pc.equal(*pair).to_numpy() for pair in pairs])
    return rows.filter(pa.array(is_new))


def _last_base(rows: pa.Table) -> int:
    """Largest 1-based last position of a REF allele."""
    ends = pc.add(rows["pos"], pc.utf8_length(rows["ref"]))
    return int(pc.max(ends).as_py()) - 1


def format_lines(rows: pa.Table, contigs: Sequence[str]) -> bytes:
    """Data lines of alleles."""
    names = pa.array(contigs, pa.string()).take(rows["contig"].combine_chunks())
    cells = [names, rows["pos"].cast(pa.string()), MISSING, rows["ref"], rows["alt"]]
    cells += [MISSING, MISSING, pc.fill_null(rows["info"], MISSING)]
    lines = pc.binary_join_element_wise(*cells, "\t").to_pylist()
    return "".join(f"{line}\n" for line in lines).encode()
