"""Tables of variants: TSV and CSV with a header (plain, gzip or bgzip), and Parquet."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.genome.columns import (
    KEY_NAMES,
    NO_COLUMNS,
    TableColumns,
    find_columns,
    find_hgvs,
    has_keys,
)
from evo2_tasks.genome.hgvs import looks_like_hgvs, read_hgvs
from evo2_tasks.genome.records import CarryField, FieldType, InvalidRecord, NoAllele, Record
from evo2_tasks.genome.table_cells import (
    begins_hgvs_row,
    begins_row,
    find_delimiter,
    is_allele,
    join_lines,
    parse_pos,
    split_cells,
    split_header,
)
from evo2_tasks.io.files import open_file
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import Unreadable
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

NULL_TEXTS = frozenset({"", ".", "NA"})

_BASES = re.compile(r"[ACGTN]+", re.IGNORECASE)
_START_NAME = re.compile(r"start(?![a-z])", re.IGNORECASE)
_END_NAME = re.compile(r"(end|stop)(?![a-z])", re.IGNORECASE)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_ROW_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "';'", " ": "blanks"}
_BATCH_ROWS = 16_384
MAX_CHUNK_BYTES = 1 << 29
"""Most bytes of a column of texts in a row group, uncompressed."""
_NUM_ROWS_COMPARED = 100


class TextTableReader:
    """Reads the rows of a TSV or CSV file.

    A quoted cell may hold delimiters, quotes and line breaks. Blanks around a cell are not part of
    it. A column of row names without a name in the header (R writes it) is skipped. Carried
    columns are text, exactly as in the file. An empty cell, ``.`` and ``NA`` are null.

    Args:
        path: The file.
        carry: Columns to carry along.
        columns: Names of the columns of contig, pos, ref and alt that are not the usual ones, or
            of the column of HGVS.
        reference: The reference of the variants; a column of HGVS needs it.

    Raises:
        InputError: A column is missing or occurs more than once.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str] = (),
        columns: Mapping[str, str] = NO_COLUMNS,
        reference: Reference | None = None,
    ) -> None:
        self.path = path
        columns = name_columns(path, columns)
        self._named = columns
        self._begins = begins_hgvs_row if "hgvs" in columns else begins_row
        self._reference = reference
        lines = _table_lines(path, columns)
        first = next(lines)
        self._delimiter = find_delimiter(first[1])
        joined = join_lines(chain([first], lines), self._delimiter, begins=self._begins)
        number, header = next(joined)
        where = f"{shown_path(path)}: line {number}"
        names = split_header(header)
        self._columns = find_columns(names, carry, columns, where)
        self._require_delimiter(where)
        has_row_names = self._has_row_names()
        if has_row_names:
            self._columns = self._columns.after_row_names()
        sample = list(islice(self._rows(self._columns.num_columns), _NUM_ROWS_COMPARED))
        rows = [cells for _, cells in sample if isinstance(cells, list)]
        require_start_from_one([""] * has_row_names + names, self._columns, rows, where)
        widths = Counter(map(len, rows)).most_common(1)
        self._usual_width = widths[0][0] if widths and 2 * widths[0][1] > len(rows) else 0
        self.has_filters = self._columns.filters is not None
        self.carry_fields = tuple(CarryField(name, "string") for name in carry)

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """All rows in the order of the file."""
        columns = self._columns
        for number, cells in self._rows(columns.num_columns):
            if isinstance(cells, str):
                yield InvalidRecord("open_quote", cells, number)
                continue
            if len(cells) > columns.num_columns and self._has_too_many(cells):
                explanation = f"{len(cells)} columns, but the header has {columns.num_columns}"
                yield InvalidRecord("too_many_columns", explanation, number)
                continue
            cells += [""] * (columns.num_columns - len(cells))
            carried = tuple(_as_cell(cells[column].strip()) for column in columns.carried)
            filters = None if columns.filters is None else cells[columns.filters].strip()
            keys = [cells[column].strip() for column in columns.keys]
            yield _make_record(keys, filters, carried, self._reference, number)

    def log_problems(self) -> None:
        """Do nothing: every value fits into text."""

    def _rows(self, num_columns: int) -> Iterator[tuple[int, list[str] | str]]:
        """The rows: the number of the first line, and the cells or why they cannot be read."""
        lines = _table_lines(self.path, self._named)
        lines = join_lines(lines, self._delimiter, num_columns, self._begins)
        next(lines)
        for number, line in lines:
            yield number, split_cells(decode(line), self._delimiter, num_columns)

    def _has_too_many(self, cells: Sequence[str]) -> bool:
        """Whether cells beyond the header hold text, or an ALT such as C,G is not in quotes."""
        if any(map(str.strip, cells[self._columns.num_columns :])):
            return True
        if self._columns.is_hgvs or self._delimiter != "," or len(cells) == self._usual_width:
            return False
        after_alt = cells[self._columns.keys[-1] + 1].strip()
        return _BASES.fullmatch(after_alt) is not None

    def _require_delimiter(self, where: str) -> None:
        """Make sure that the rows are separated as the header is."""
        lines = islice(_table_lines(self.path, self._named), 1, 1 + _NUM_ROWS_COMPARED)
        rows = [text for _, text in lines if text.strip(b" \t") and not text.startswith(b"#")]
        delimiter = self._delimiter.encode()
        for other, name in _ROW_DELIMITERS.items():
            split = [
                re.sub(other.encode() + b"+", b"\t", row) for row in rows if other.encode() in row
            ]
            if (
                rows
                and sum(map(self._begins, split)) == len(rows)
                and not any(delimiter in row for row in rows)
            ):
                raise InputError(
                    f"{where}: the columns of the header are separated by "
                    f"{_ROW_DELIMITERS[self._delimiter]}, those of the rows by {name}. Write both "
                    f"with tabs."
                )

    def _has_row_names(self) -> bool:
        """Whether the rows have one column before those that the header names, as R writes it.

        Names of rows are unique. In ``MT,3,243,A,G`` the comma is that of the position 3,243.
        """
        plain, shifted = (
            [
                cells
                for _, cells in islice(self._rows(columns.num_columns), _NUM_ROWS_COMPARED)
                if len(cells) >= columns.num_columns
                and isinstance(cells, list)
                and _are_keys(cells, columns)
            ]
            for columns in (self._columns, self._columns.after_row_names())
        )
        if self._delimiter == "," and not self._columns.is_hgvs:
            pos = self._columns.keys[1]
            if all(_THOUSANDS.fullmatch(",".join(cells[pos : pos + 2])) for cells in shifted):
                return False
        names = {cells[0] for cells in shifted}
        return len(shifted) > len(plain) and len(names) == len(shifted)


class ParquetReader:
    """Reads the rows of a Parquet file.

    Args:
        path: The file.
        carry: Columns to carry along. Numbers, truth values, texts and lists of these keep their
            type; values of any other type become text. NaN is null.
        columns: Names of the columns of contig, pos, ref and alt that are not the usual ones, or
            of the column of HGVS.
        reference: The reference of the variants; a column of HGVS needs it.

    Raises:
        InputError: The file is not Parquet, or a column is missing or occurs more than once.
    """

    def __init__(
        self,
        path: Path,
        carry: Sequence[str] = (),
        columns: Mapping[str, str] = NO_COLUMNS,
        reference: Reference | None = None,
    ) -> None:
        self.path = path
        self._reference = reference
        with _open_parquet(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
        self._names = list(schema.names)
        named = _name_parquet_columns(self._names, columns)
        self._columns = find_columns(self._names, carry, named, shown_path(path))
        used = {*self._columns.keys, *self._columns.carried, self._columns.filters} - {None}
        # Equal texts are held once, so that a long REF with many ALTs does not fill the memory.
        self._texts = [
            name
            for column, name in enumerate(self._names)
            if column in used
            and (
                pa.types.is_string(schema.types[column])
                or pa.types.is_large_string(schema.types[column])
            )
        ]
        _require_small_chunks(metadata, self._texts, path)
        self._check_first_rows(is_named=bool(columns))
        self.has_filters = self._columns.filters is not None
        self.carry_fields = tuple(
            _arrow_field(name, schema.field(column).type)
            for name, column in zip(carry, self._columns.carried, strict=True)
        )

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """All rows in the order of the file."""
        columns = self._columns
        num_keys = len(columns.keys)
        used = [*columns.keys, *columns.carried]
        used += [] if columns.filters is None else [columns.filters]
        names = sorted({self._names[column] for column in used})
        with _open_parquet(self.path, self._texts) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                values = [_list_values(batch.column(self._names[column])) for column in used]
                for row in zip(*values, strict=True):
                    keys = [_as_text(value) for value in row[:num_keys]]
                    carried = tuple(map(_as_carried, row[num_keys:], self.carry_fields))
                    filters = _as_text(row[-1]) if self.has_filters else None
                    yield _make_record(keys, filters, carried, self._reference)

    def log_problems(self) -> None:
        """Do nothing: the file states the types of its values."""

    def _check_first_rows(self, *, is_named: bool) -> None:
        """Refuse positions that count from 0, and a column of HGVS of transcripts alone.

        Args:
            is_named: Whether the config names columns. It then names the column of HGVS.
        """
        rows = self._first_rows()
        where = shown_path(self.path)
        require_start_from_one(self._names, self._columns, rows, where)
        if not self._columns.is_hgvs:
            return
        column = self._columns.keys[0]
        texts = [row[column].strip() for row in rows if row[column].strip()]
        if texts and not is_named and not any(map(looks_like_hgvs, texts)):
            raise InputError(
                f"{where}: the column '{shown(self._names[column])}' has '{shown(texts[0])}', "
                f"expected HGVS of the genome, for example chr17:g.43045712A>G. Convert it, for "
                f"example with VariantValidator or Ensembl's Variant Recoder, or name another "
                f"column under columns.hgvs."
            )

    def _first_rows(self) -> list[list[str]]:
        """The first rows as text: pos, REF or HGVS, and what may be an end; others are empty."""
        used = {*(self._columns.keys[1:3] or self._columns.keys)}
        used |= {i for i, name in enumerate(self._names) if _END_NAME.search(name)}
        columns = [self._names[column] for column in sorted(used)]
        with _open_parquet(self.path) as file:
            batches = file.iter_batches(batch_size=_NUM_ROWS_COMPARED, columns=columns)
            batch = next(batches, None)
            if batch is None:
                return []
            texts = [
                [_as_text(value) for value in batch.column(self._names[column]).to_pylist()]
                if column in used
                else [""] * batch.num_rows
                for column in range(len(self._names))
            ]
        return [list(row) for row in zip(*texts, strict=True)]


def require_start_from_one(
    names: Sequence[str], columns: TableColumns, rows: Sequence[Sequence[str]], where: str
) -> None:
    """Refuse a start of a region as pos if the ends show that it counts from 0, as in BED.

    Args:
        names: The names in the header.
        columns: The columns that are read.
        rows: The cells of some rows.
        where: The file, and the line of the header if it has one, for messages.

    Raises:
        InputError: The column of pos is called a start, there is one of ends, and the difference
            of the two is the length of REF in most rows.
    """
    if columns.is_hgvs:
        return
    _, pos, ref, _ = columns.keys
    ends = [i for i, name in enumerate(names) if _END_NAME.search(name)]
    if not _START_NAME.search(names[pos]) or len(ends) != 1:
        return
    needed = max(pos, ref, *ends)
    lengths = []
    for row in (row for row in rows if len(row) > needed):
        start, end = (parse_pos(row[column].strip()) for column in (pos, *ends))
        bases = row[ref].strip()
        if isinstance(start, int) and isinstance(end, int) and _BASES.fullmatch(bases):
            lengths.append(end - start - len(bases))
    if lengths and 2 * lengths.count(0) > len(lengths):
        start_name, end_name = shown(names[pos]), shown(names[ends[0]])
        raise InputError(
            f"{where}: '{start_name}' counts from 0, because the length of REF is '{end_name}' - "
            f"'{start_name}'. Positions count from 1: add a column with '{start_name}' + 1, and "
            f"name it under columns.pos."
        )


def is_table_header(line: bytes, columns: Mapping[str, str] = NO_COLUMNS) -> bool:
    """Whether a line names all columns that a table of variants needs."""
    return has_keys(split_header(line), columns)


def name_columns(path: Path, columns: Mapping[str, str]) -> Mapping[str, str]:
    """The columns of a text table by role, with the column of HGVS if the table has only that.

    Args:
        path: The file.
        columns: Names of columns by role, as the config has them.
    """
    named: Mapping[str, str] = NO_COLUMNS
    if columns:
        return columns
    for number, line in enumerate(read_lines(path, max_line_bytes=MAX_ROW_BYTES), start=1):
        kept = drop_mark(line) if number == 1 else line
        if is_table_header(kept):
            return NO_COLUMNS
        hgvs = find_hgvs(split_header(kept))
        if hgvs is not None:
            named = {"hgvs": hgvs}
        if kept.strip(b" \t") and not kept.startswith(b"#"):
            break
    return named


def _name_parquet_columns(names: Sequence[str], columns: Mapping[str, str]) -> Mapping[str, str]:
    """The columns of a Parquet file by role; see :func:`name_columns`."""
    hgvs = find_hgvs(names)
    return columns if columns or hgvs is None else {"hgvs": hgvs}


def has_hgvs(path: Path, columns: Mapping[str, str], *, is_parquet: bool) -> bool:
    """Whether the variants of a table are in a column of HGVS.

    Args:
        path: The file.
        columns: Names of columns by role, as the config has them.
        is_parquet: Whether the table is a Parquet file.

    Raises:
        InputError: The file cannot be read.
    """
    if not is_parquet:
        return "hgvs" in name_columns(path, columns)
    with _open_parquet(path) as file:
        return "hgvs" in _name_parquet_columns(file.schema_arrow.names, columns)


def _table_lines(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    """The header and all lines after it, with their numbers; lines above it are skipped."""
    in_table = False
    begins = begins_hgvs_row if "hgvs" in columns else begins_row
    for number, line in enumerate(read_lines(path, begins, max_line_bytes=MAX_ROW_BYTES), start=1):
        kept = drop_mark(line) if number == 1 else line
        in_table = in_table or is_table_header(kept, columns)
        if in_table:
            yield number, kept


def _are_keys(cells: list[str] | str, columns: TableColumns) -> bool:
    """Whether cells have a position and a REF, or HGVS, in these columns."""
    if isinstance(cells, str) or len(cells) <= max(columns.keys):
        return False
    if columns.is_hgvs:
        return looks_like_hgvs(cells[columns.keys[0]].strip())
    _, pos, ref, _ = (cells[column].strip() for column in columns.keys)
    return isinstance(parse_pos(pos), int) and is_allele(ref)


def _make_record(
    keys: Sequence[str],
    filters: str | None,
    carried: tuple[object, ...],
    reference: Reference | None,
    number: int | None = None,
) -> Record | NoAllele | InvalidRecord:
    if len(keys) == 1 and reference is not None:
        return _read_name(keys[0], filters, carried, reference, number)
    for name, key in zip(KEY_NAMES, keys, strict=True):
        if not key:
            return InvalidRecord("empty_column", f"column {name} is empty", number)
    contig, pos_text, ref, alt = keys
    pos = parse_pos(pos_text)
    if isinstance(pos, str):
        return InvalidRecord("bad_position", pos, number)
    alts = [one.strip() for one in alt.split(",")]
    if "" in alts:
        return InvalidRecord("empty_alt", "an entry of alt is empty", number)
    return Record(contig, pos, ref, alts, filters, (carried,) * len(alts) if carried else ())


def _read_name(
    text: str,
    filters: str | None,
    carried: tuple[object, ...],
    reference: Reference,
    number: int | None,
) -> Record | NoAllele | InvalidRecord:
    """The record of a row with a column of HGVS."""
    name = text.strip()
    if not name:
        return InvalidRecord("empty_column", "column hgvs is empty", number)
    found = read_hgvs(name, reference)
    if isinstance(found, Unreadable):
        return InvalidRecord(*found, number)
    if isinstance(found, NoAllele):
        return found._replace(carried=carried, filters=filters)
    return found._replace(filters=filters, carried=(carried,) if carried else ())


def _as_cell(text: str) -> str | None:
    return None if text in NULL_TEXTS else text


def _list_values(column: pa.Array) -> list[object]:
    """The values of a column; equal values of a dictionary are one object."""
    if not pa.types.is_dictionary(column.type):
        values: list[object] = column.to_pylist()
        return values
    used = column.indices.unique().drop_null()  # the dictionary may be that of a million rows
    texts = column.dictionary.take(used).to_pylist()
    distinct = dict(zip(used.to_pylist(), texts, strict=True))
    return [None if index is None else distinct[index] for index in column.indices.to_pylist()]


def _require_small_chunks(metadata: pq.FileMetaData, names: Sequence[str], path: Path) -> None:
    """Make sure that the texts of a row group fit into memory.

    Raises:
        InputError: A column of a row group has more than ``MAX_CHUNK_BYTES``.
    """
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            if chunk.path_in_schema in names and chunk.total_uncompressed_size > MAX_CHUNK_BYTES:
                raise InputError(
                    f"{shown_path(path)}: row group {group}: the column "
                    f"'{shown(chunk.path_in_schema)}' has {chunk.total_uncompressed_size:,} bytes, "
                    f"more than {MAX_CHUNK_BYTES:,}. Write the file with smaller row groups."
                )


@contextmanager
def _open_parquet(path: Path, repeated: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; texts of the repeated columns are read as dictionaries."""
    try:
        with (
            open_file(path) as handle,
            pq.ParquetFile(handle, read_dictionary=list(repeated)) as file,
        ):
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
        raise InputError(f"{shown_path(path)}: cannot be read as Parquet: {reason}.") from error


def _arrow_field(name: str, arrow_type: pa.DataType) -> CarryField:
    is_list = pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type)
    value = arrow_type.value_type if is_list else arrow_type
    value = value.value_type if pa.types.is_dictionary(value) else value
    kind: FieldType = "string"
    if pa.types.is_integer(value) and value != pa.uint64():  # uint64 values may not fit into int64
        kind = "int"
    elif pa.types.is_floating(value):
        kind = "float"
    elif pa.types.is_boolean(value):
        kind = "bool"
    return CarryField(name, kind, is_list)


def _as_carried(value: object, field: CarryField) -> object:
    if isinstance(value, list) and field.is_list:
        return tuple(_as_carried(item, CarryField(field.name, field.type)) for item in value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return _as_text(value) if field.type == "string" and value is not None else value


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return decode(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas stores integers with missing values as floats
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value)
