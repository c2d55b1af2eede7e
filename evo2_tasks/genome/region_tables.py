"""Tables of regions that are not BED, or that count from 1 though BED counts from 0.

Such a table is refused with one line that says how to write it as BED. Read as BED, it would lose
the first base of each region.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evo2_tasks.genome.bed import is_header

_LENGTH_NAMES = ("width", "length")
_BIOCONDUCTOR_NAMES = ("seqnames", "seqname", "seqid")
"""Names of the first column in R, where positions count from 1."""

# The columns of contig, start and end, by words in their names.
_COLUMNS = (
    re.compile(r"chr|contig|^seq_?(names?|id)$|scaffold"),
    re.compile(r"start|begin|^from$"),
    re.compile(r"end|stop|^to$"),
)
_SUBTRACT = (
    "awk {separator}-v OFS='\\t' '{condition}{{{quotes}print ${contig}, ${start} - 1, ${end}}}'"
)

Rows = Sequence[Sequence[str]]


def explain_header(names: Sequence[str], rows: Rows, delimiter: str, quotes: bool) -> str | None:
    """Why a table with a header is not BED; None if it is.

    Args:
        names: The names of the columns.
        rows: The cells of some rows.
        delimiter: A tab, another character, or nothing for blanks.
        quotes: Whether the rows have quotes.
    """
    lowered = [name.lower() for name in names]
    place = next((i for i, name in enumerate(lowered) if name in _LENGTH_NAMES), None)
    closed, half_open = (0.0, 0.0)
    if place is not None:
        closed, half_open = (_share(rows, place, more) for more in (1, 0))
    has_names = is_header("\t".join(names).encode()) and delimiter in ("", "\t")
    is_of_r = lowered[0] in _BIOCONDUCTOR_NAMES and half_open < 0.5
    if has_names and not is_of_r and closed < 0.5:
        return explain_rows(rows)
    num_named = sum(len(row) == len(names) + 1 for row in rows)
    shift = int(2 * num_named > len(rows))  # R writes names of the rows before them
    found = [
        next((i + 1 + shift for i, name in enumerate(lowered) if pattern.search(name)), None)
        for pattern in _COLUMNS
    ]
    contig, start, end = found
    if contig is None or start is None or end is None:
        return None  # a bad line, or a title
    how = _describe_subtraction((contig, start, end), delimiter, quotes, has_header=True)
    if closed >= 0.5:
        return f"the lengths show that the positions count from 1, but BED counts from 0. {how}"
    if not has_names:
        return (
            "this is the header of a table that is not BED, which has chrom, start from 0 and end "
            "in the first columns, separated by tabs. If the starts count from 1, as in BioMart, "
            f"subtract 1: {how}"
        )
    return (
        "this is the header of a data frame of Bioconductor, whose positions count from 1, but BED "
        f"counts from 0. Subtract 1 from the starts: {how}"
    )


def explain_rows(rows: Rows) -> str | None:
    """Why rows are not of a BED; None if they can be: most regions would have no bases."""
    if _share(rows, None, 0) <= 0.5:
        return None
    how = _describe_subtraction((1, 2, 3), "\t", quotes=False, has_header=False)
    return (
        "most regions end where they start, which shows that the positions count from 1, "
        f"but BED counts from 0. Subtract 1 from the starts: {how}"
    )


def _share(rows: Rows, length: int | None, more: int) -> float:
    """The share of rows whose end is start + length - more; without a column, the length is 0."""
    num = 0
    for row in rows:
        cells = [*row[1:3], *([row[length]] if length is not None and length < len(row) else [])]
        numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit()]
        if len(numbers) == 2 + (length is not None):
            num += numbers[1] == numbers[0] + sum(numbers[2:]) - more
    return num / len(rows) if rows else 0.0


def _describe_subtraction(
    columns: tuple[int, int, int], delimiter: str, quotes: bool, *, has_header: bool
) -> str:
    separator = {"\t": "-F'\\t' ", "": ""}.get(delimiter, f"-F'{delimiter}' ")
    contig, start, end = columns
    command = _SUBTRACT.format(
        separator=separator,
        condition="NR > 1 " if has_header else "",
        quotes='gsub(/"/, ""); ' if quotes else "",
        contig=contig,
        start=start,
        end=end,
    )
    return f"{command} FILE > NEW.bed"
