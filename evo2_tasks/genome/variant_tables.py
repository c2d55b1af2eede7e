"""Tables of variants: TSV and CSV with a header (plain, gzip or bgzip), and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.genome.carry import parse_number
from evo2_tasks.genome.columns import KEY_NAMES, NO_COLUMNS, find_columns, has_keys
from evo2_tasks.genome.records import CarryField, FieldType, InvalidRecord, Record
from evo2_tasks.io.files import open_file
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown, shown_path

NULL_TEXTS = frozenset({"", ".", "NA"})

_BATCH_ROWS = 16_384
_TYPE_ORDER: tuple[FieldType, ...] = ("int", "float", "bool", "string")
_BOOLS = {"true": True, "false": False}


class TextTableReader:
    """Reads the rows of a TSV or CSV file.

    Each line is one row: a quoted field of a CSV may contain commas and quotes, but no line break.
    Fields of a TSV are not unquoted. The type of a carried column is the first of integer, number,
    true/false and text that fits all its values. An empty field, ``.`` and ``NA`` are null.

    Args:
        path: The file.
        carry: Columns to carry along.
        columns: Names of the columns of contig, pos, ref and alt that are not the usual ones.

    Raises:
        InputError: A column is missing or occurs more than once.
    """

    def __init__(
        self, path: Path, carry: Sequence[str] = (), columns: Mapping[str, str] = NO_COLUMNS
    ) -> None:
        self.path = path
        self._named = columns
        number, header = next(_table_lines(path, columns))
        self._delimiter = find_delimiter(header)
        names = split_header(header)
        where = f"{shown_path(path)}: line {number}"
        self._columns = find_columns(names, carry, columns, where)
        self.has_filters = self._columns.filters is not None
        types = self._find_types()
        self.carry_fields = tuple(map(CarryField, carry, types))

    def records(self) -> Iterator[Record | InvalidRecord]:
        """All rows in the order of the file."""
        columns = self._columns
        for number, line in self._rows():
            cells = self._split(line)
            if cells is None:
                yield InvalidRecord("a quoted field has no closing quote", number)
                continue
            if any(cells[columns.num_columns :]):
                reason = f"{len(cells)} columns, but the header has {columns.num_columns}"
                yield InvalidRecord(reason, number)
                continue
            cells += [""] * (columns.num_columns - len(cells))
            carried = tuple(
                _parse(cells[column], field.type)
                for column, field in zip(columns.carried, self.carry_fields, strict=True)
            )
            filters = None if columns.filters is None else cells[columns.filters]
            keys = [cells[column] for column in columns.keys]
            yield _make_record(keys, filters, carried, number)

    def log_problems(self) -> None:
        """Do nothing: the types were found from the values, so all values fit."""

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        rows = _table_lines(self.path, self._named)
        next(rows)
        return rows

    def _split(self, line: bytes) -> list[str] | None:
        """The fields of a line; null if the quotes of a field are not closed properly."""
        text = decode(line)
        if self._delimiter == "\t" or '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader([text], strict=True))
        except csv.Error:
            return None

    def _find_types(self) -> list[FieldType]:
        """The type of each carried column: the first that fits all its values."""
        fitting = [list(_TYPE_ORDER) for _ in self._columns.carried]
        has_values = [False] * len(fitting)
        for _, line in self._rows() if fitting else ():
            cells = self._split(line) or []
            for index, column in enumerate(self._columns.carried):
                text = cells[column] if column < len(cells) else ""
                if text not in NULL_TEXTS:
                    has_values[index] = True
                    fitting[index] = [kind for kind in fitting[index] if _fits(text, kind)]
        return [
            kinds[0] if has_value else "string"
            for kinds, has_value in zip(fitting, has_values, strict=True)
        ]


class ParquetReader:
    """Reads the rows of a Parquet file.

    Args:
        path: The file.
        carry: Columns to carry along. Numbers, truth values, texts and lists of these keep their
            type; values of any other type become text.
        columns: Names of the columns of contig, pos, ref and alt that are not the usual ones.

    Raises:
        InputError: The file is not Parquet, or a column is missing or occurs more than once.
    """

    def __init__(
        self, path: Path, carry: Sequence[str] = (), columns: Mapping[str, str] = NO_COLUMNS
    ) -> None:
        self.path = path
        with _open_parquet(path) as file:
            schema = file.schema_arrow
        self._names = list(schema.names)
        self._columns = find_columns(self._names, carry, columns, shown_path(path))
        self.has_filters = self._columns.filters is not None
        self.carry_fields = tuple(
            _arrow_field(name, schema.field(column).type)
            for name, column in zip(carry, self._columns.carried, strict=True)
        )

    def records(self) -> Iterator[Record | InvalidRecord]:
        """All rows in the order of the file."""
        columns = self._columns
        used = [*columns.keys, *columns.carried]
        used += [] if columns.filters is None else [columns.filters]
        names = sorted({self._names[column] for column in used})
        with _open_parquet(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                values = [batch.column(self._names[column]).to_pylist() for column in used]
                for row in zip(*values, strict=True):
                    keys = [_as_text(value) for value in row[:4]]
                    carried = tuple(map(_as_carried, row[4:], self.carry_fields))
                    filters = _as_text(row[-1]) if self.has_filters else None
                    yield _make_record(keys, filters, carried)

    def log_problems(self) -> None:
        """Do nothing: the file states the types of its values."""


def find_delimiter(header: bytes) -> str:
    """The delimiter of a table: the tab, or the comma if the header has no tab."""
    return "\t" if b"\t" in header else ","


def split_header(header: bytes) -> list[str]:
    """The names of the columns, the first without its ``#``."""
    names = [name.strip().strip('"') for name in decode(header).split(find_delimiter(header))]
    return [names[0].lstrip("# "), *names[1:]]


def is_table_header(line: bytes, columns: Mapping[str, str] = NO_COLUMNS) -> bool:
    """Whether a line names all columns that a table of variants needs."""
    return has_keys(split_header(line), columns)


def _table_lines(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    """The header and the rows with their line numbers; blank lines and lines above are skipped."""
    in_table = False
    for number, line in enumerate(read_lines(path), start=1):
        kept = drop_mark(line) if number == 1 else line
        in_table = in_table or is_table_header(kept, columns)
        if in_table and kept.strip(b" \t"):
            yield number, kept


def _make_record(
    keys: Sequence[str],
    filters: str | None,
    carried: tuple[object, ...],
    number: int | None = None,
) -> Record | InvalidRecord:
    for name, key in zip(KEY_NAMES, keys, strict=True):
        if not key:
            return InvalidRecord(f"column {name} is empty", number)
    contig, pos_text, ref, alt = keys
    pos = parse_position(pos_text.encode())
    if pos is None:
        return InvalidRecord(f"pos '{shown(pos_text)}' is not a 64-bit integer", number)
    alts = alt.split(",")
    if "" in alts:
        return InvalidRecord("an entry of alt is empty", number)
    return Record(contig, pos, ref, alts, filters, (carried,) * len(alts) if carried else ())


def _fits(text: str, value_type: FieldType) -> bool:
    return value_type == "string" or _parse(text, value_type) is not None


def _parse(text: str, value_type: FieldType) -> object:
    if text in NULL_TEXTS:
        return None
    if value_type == "string":
        return text
    return _BOOLS.get(text.lower()) if value_type == "bool" else parse_number(text, value_type)


@contextmanager
def _open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with open_file(path) as handle, pq.ParquetFile(handle) as file:
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
