"""Rows of a region, without reading the rest of the table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.table.parquet import distinct_values, open_table, read_rows

_RANGE: Final = re.compile(r"(?P<start>[0-9,]+)(?P<dash>-(?P<end>[0-9,]*))?")
_CONTIGS: Final = ("contig", "reference_contig")
_MAX_POS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Region:
    """Positions of one contig, as a person writes them.

    Attributes:
        contig: As the input or the reference spells it.
        first_pos: 1-based.
        last_pos: 1-based, inclusive.
    """

    contig: str
    first_pos: int = 0
    last_pos: int = _MAX_POS


def parse_region(text: str, contigs: Collection[str]) -> Region:
    """Read a region as bcftools does.

    ``chr17``, ``chr17:43,044,295`` (one position), ``chr17:43,044,295-43,045,000`` (both ends
    included) or ``chr17:43,044,295-``. A name that holds colons may stand in braces:
    ``{HLA-A*01:01}:5-9``.

    Args:
        text: The region.
        contigs: Names that there are.

    Raises:
        InputError: It is none, can be read in two ways, or names no such contig.
    """
    readings = {region.contig: region for region in _readings(text) if region.contig in contigs}
    if len(readings) == 1:
        (region,) = readings.values()
        if region.first_pos > region.last_pos:
            raise InputError(f"region {text!r}: ends before it begins.")
        return region
    if readings:
        name = max(readings, key=len)
        raise InputError(
            f"region {text!r}: can be read in two ways. Put the contig's name in braces, as in "
            f"{{{name}}}."
        )
    if not contigs:
        raise InputError(f"region {text!r}: the table names no contig at all.")
    names = [region.contig for region in _readings(text)] or [text]
    near = get_close_matches(names[-1], contigs, n=3) or sorted(contigs)[:5]
    raise InputError(
        f"region {text!r}: the table has no contig {names[-1]!r}. It has "
        f"{', '.join(map(repr, near))}{', ...' if len(contigs) > len(near) else ''}."
    )


def _readings(text: str) -> list[Region]:
    """What a region can mean, the whole text as a name first."""
    if text.startswith("{") and "}" in text:
        name, _, rest = text[1:].rpartition("}")
        return [Region(name)] if not rest else _with_range(name, rest.removeprefix(":"))
    name, colon, span = text.rpartition(":")
    return [Region(text), *(_with_range(name, span) if colon else [])]


def _with_range(name: str, span: str) -> list[Region]:
    found = _RANGE.fullmatch(span)
    if found is None:
        return []
    digits = [(found[key] or "").replace(",", "") for key in ("start", "end")]
    if not digits[0] or any(len(number) > 18 for number in digits):
        return []
    first = int(digits[0])
    if found["dash"] is None:
        return [Region(name, first, first)]
    return [Region(name, first, int(digits[1]) if digits[1] else _MAX_POS)]


def find_rows(table: Path, region: str) -> Iterator[pa.RecordBatch]:
    """Rows whose ``pos`` lies in a region.

    Args:
        table: The result of ``merge``.
        region: As ``parse_region`` reads it; the contig by either of its two names.

    Yields:
        The rows in the order of the table.

    Raises:
        InputError: The region cannot be read, or the table.
    """
    contigs = {name for column in _CONTIGS for name in distinct_values(table, column)}
    wanted = parse_region(region, contigs)
    row_groups = find_row_groups(table, wanted)
    for batch in read_rows(table, row_groups=row_groups) if row_groups else ():
        rows = batch.filter(_in_region(batch, wanted))
        if rows.num_rows:
            yield rows


def _in_region(rows: pa.RecordBatch, region: Region) -> Any:
    named = pc.or_kleene(*(pc.equal(rows.column(name), region.contig) for name in _CONTIGS))
    pos = rows.column("pos")
    inside = pc.and_(pc.greater_equal(pos, region.first_pos), pc.less_equal(pos, region.last_pos))
    return pc.fill_null(pc.and_kleene(named, inside), False)


def find_row_groups(table: Path, region: Region) -> list[int]:
    """Row groups that can hold rows of a region, by their statistics."""
    with open_table(table, [*_CONTIGS, "pos"]) as file:
        metadata = file.metadata
        index = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
        return [
            number
            for number in range(metadata.num_row_groups)
            if _may_hold(metadata.row_group(number), index, region)
        ]


def _may_hold(row_group: Any, index: dict[str, int], region: Region) -> bool:
    def reaches(column: str, low: str | int, high: str | int) -> bool:
        found = row_group.column(index[column]).statistics
        if found is None:
            return True
        if not found.has_min_max:  # only nulls, or values too long for statistics
            return not found.has_null_count or found.null_count < row_group.num_rows
        return bool(found.min <= high and found.max >= low)

    return reaches("pos", region.first_pos, region.last_pos) and any(
        reaches(name, region.contig, region.contig) for name in _CONTIGS
    )
