"""Cells of text tables: quotes, blanks, and numbers as R, pandas and spreadsheets write them."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

from evo2_tasks.genome.hgvs import looks_like_hgvs
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown

DELIMITERS = ("\t", ",")
MIN_COLUMNS = 4
"""The columns that a table of variants needs: contig, pos, ref and alt."""

NO_CLOSING_QUOTE = "a quoted field has no closing quote"

# A quoted field: quotes in it are doubled (RFC 4180), or have a backslash before them (R).
_DOUBLED = r'"((?:[^"]++|"")*+)"'
_ESCAPED = r'"((?:[^"\\]++|\\.)*+)"'
_UNFINISHED = re.compile(r' *"(?:(?:[^"]++|"")*+|(?:[^"\\]++|\\.)*+)\Z', re.DOTALL)
_FIELDS = {
    delimiter: re.compile(
        rf" *{_DOUBLED} *(?={delimiter}|\Z)| *{_ESCAPED} *(?={delimiter}|\Z)|([^{delimiter}]*+)",
        re.DOTALL,
    )
    for delimiter in DELIMITERS
}
_QUOTED_IN_CSV = re.compile(rf"(?:^|,) *{_DOUBLED} *(?=,|\Z)", re.DOTALL)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_ALLELE = re.compile(r"[ACGTUNRYSWKMBDHV]+|\*|<.*>", re.IGNORECASE)
# As spreadsheets write a large number: 43,045,712 becomes 4.30E+07. R and pandas write e+07.
_ROUNDED = re.compile(r"[+-]?[0-9]\.[0-9]{2}E\+(0?[3-9]|[1-9][0-9])")
_WITH_SEPARATORS = re.compile(r"[0-9]{1,3}([, '_.][0-9]{3})+")
_MAX_DIGITS = 19
_MAX_JOINED = 1_000


def split_cells(text: str, delimiter: str, num_columns: int | None = None) -> list[str] | str:
    """The cells of a line, without the quotes around them.

    In a CSV a quote at the start of a cell opens a quoted cell, which must be closed. In a TSV it
    does so only if the cell is closed properly, and if the line then has the right number of
    columns. Else the quote is part of the text.

    Args:
        text: The line. A quoted cell may contain line breaks.
        delimiter: A tab or a comma.
        num_columns: Number of columns of the table; null if it is not known.

    Returns:
        The cells, or the reason why the line cannot be read.
    """
    if '"' not in text:
        return text.split(delimiter)
    cells = _split_quoted(text, delimiter)
    if delimiter == "\t" and (isinstance(cells, str) or len(cells) != num_columns):
        literal = [_unquote(cell) for cell in text.split("\t")]
        if isinstance(cells, str) or len(literal) == num_columns:
            return literal
    return cells


def join_lines(
    lines: Iterator[tuple[int, bytes]],
    delimiter: str,
    num_columns: int | None = None,
    begins: Callable[[bytes], bool] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Put the lines of each row together that has line breaks in quotes.

    Blank lines and comments, which begin with ``#``, are skipped; the header is no comment. A line
    with an open quote stays as it is if it has all columns and the next line can be a row.

    Args:
        lines: The header and the rows, with their numbers.
        delimiter: A tab or a comma.
        num_columns: Number of columns that a row must have to be put together; not checked for the
            header.
        begins: Whether a text can be a row. Default: `begins_row`.

    Yields:
        The number of the first line, and the text.
    """
    ahead: deque[tuple[int, bytes]] = deque()

    def take() -> tuple[int, bytes] | None:
        return ahead.popleft() if ahead else next(lines, None)

    begins = begins or begins_row
    expected: int | None = None
    is_header = True
    while (line := take()) is not None:
        number, text = line
        if not text.strip(b" \t") or (text.startswith(b"#") and not is_header):
            continue
        is_header = False
        if _has_open_quote(text, delimiter):
            read: list[tuple[int, bytes]] = []
            joined = text
            is_whole = _has_columns(text, delimiter, expected)
            while (
                len(read) < _MAX_JOINED
                and len(joined) <= MAX_ROW_BYTES
                and (more := take()) is not None
            ):
                read.append(more)
                is_row = begins(more[1]) and _has_columns(more[1], delimiter, expected)
                if is_whole and is_row:
                    break
                joined += b"\n" + more[1]
                if b'"' in more[1] and not _has_open_quote(joined, delimiter):
                    cells = _split_quoted(decode(joined), delimiter)
                    if isinstance(cells, list) and expected in (None, len(cells)):
                        text, read = joined, []
                    break
            ahead.extendleft(reversed(read))
        yield number, text
        expected = num_columns


def find_delimiter(header: bytes) -> str:
    """The delimiter of a table: the tab, or the comma if too few tabs are outside quotes.

    With few of both it can only be a table of HGVS, which needs one column.
    """
    outside = _QUOTED_IN_CSV.sub("", decode(header))
    num_tabs, is_small = outside.count("\t"), outside.count(",") < MIN_COLUMNS - 1
    return "\t" if num_tabs >= MIN_COLUMNS - 1 or (num_tabs and is_small) else ","


def split_header(header: bytes) -> list[str]:
    """The names of the columns, the first without its ``#``."""
    text, delimiter = decode(header), find_delimiter(header)
    cells = split_cells(text, delimiter)
    names = [cell.strip() for cell in (text.split(delimiter) if isinstance(cells, str) else cells)]
    return [names[0].lstrip("# ").strip('"').strip(), *names[1:]]


def begins_row(text: bytes) -> bool:
    """Whether a text after a line break can be a row: it has a position and two alleles."""
    cells = [cell.strip(b' "') for cell in re.split(rb"[\t,]", text)]
    return (
        len(cells) >= MIN_COLUMNS
        and sum(is_allele(decode(cell)) for cell in cells) > 1
        and any(isinstance(parse_pos(decode(cell)), int) for cell in cells)
    )


def begins_hgvs_row(text: bytes) -> bool:
    """Whether a text after a line break can be a row of a table of HGVS: a cell has a name."""
    return any(looks_like_hgvs(decode(cell).strip(' "')) for cell in re.split(rb"[\t,]", text))


def is_allele(text: str) -> bool:
    """Whether a text looks like bases or a symbolic allele."""
    return _ALLELE.fullmatch(text) is not None


def parse_pos(text: str) -> int | str:
    """A position: a whole number of 64 bits, also as ``500.0`` or ``1e+03``; else the reason."""
    pos = parse_position(text.encode())
    if pos is not None:
        return pos
    if _ROUNDED.fullmatch(text):
        return (
            f"pos '{shown(text)}' may be rounded, as spreadsheets do; show the column as a number "
            f"without decimals there, and save the file again"
        )
    if _DECIMAL.fullmatch(text):
        value = Decimal(text)
        # Checked before int(): 1e+999 has a thousand digits.
        if value.adjusted() < _MAX_DIGITS:
            if value != value.to_integral_value():
                return f"pos '{shown(text)}' is not a whole number"
            pos = parse_position(str(int(value)).encode())
            if pos is not None:
                return pos
    if _WITH_SEPARATORS.fullmatch(text):
        digits = re.sub("[^0-9]", "", text)
        return f"pos '{shown(text)}' has separators; expected a whole number such as {digits}"
    return f"pos '{shown(text)}' is not a 64-bit integer"


def _split_quoted(text: str, delimiter: str) -> list[str] | str:
    """The cells of a line by the rules of CSV, or the reason why it does not follow them."""
    cells = _read_csv(text, delimiter)
    if cells is not None and not any(cell.lstrip(" ").startswith('"') for cell in cells):
        return cells
    # Also a line with a backslash before a quote, blanks around quotes, or a very long cell.
    cells = []
    start = 0
    while start <= len(text):
        match = _match_field(text, delimiter, start)
        doubled, escaped, plain = match.groups()
        if doubled is not None:
            cells.append(doubled.replace('""', '"'))
        elif escaped is not None:
            cells.append(escaped.replace('\\"', '"'))
        elif plain.lstrip(" ").startswith('"'):
            return NO_CLOSING_QUOTE
        else:
            cells.append(plain)
        start = match.end() + 1
    return cells


def _read_csv(text: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _has_columns(line: bytes, delimiter: str, num_columns: int | None) -> bool:
    """Whether a line has as many columns as a row, if its quotes have no meaning."""
    return line.count(delimiter.encode()) + 1 >= (num_columns or 1)


def _has_open_quote(line: bytes, delimiter: str) -> bool:
    """Whether the last cell of a text begins with a quote and is not closed."""
    if b'"' not in line:
        return False
    text = decode(line)
    if _read_csv(text, delimiter) is not None:
        return False
    start = 0
    while start <= len(text):
        if _UNFINISHED.match(text, start):
            return True
        start = _match_field(text, delimiter, start).end() + 1
    return False


def _match_field(text: str, delimiter: str, start: int) -> re.Match[str]:
    match = _FIELDS[delimiter].match(text, start)
    if match is None:
        raise AssertionError("the last alternative of a field matches every text")
    return match


def _unquote(cell: str) -> str:
    """A cell without the quotes around it, if they are proper quotes of this cell alone."""
    cells = _split_quoted(cell, "\t")
    return cells[0] if len(cells) == 1 and not isinstance(cells, str) else cell
