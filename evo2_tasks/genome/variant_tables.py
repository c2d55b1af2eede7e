"""Variants as tables: TSV, CSV (plain, gzip or bgzip) and Parquet, a header naming the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.errors import InputError
from evo2_tasks.genome.carry import parse_number
from evo2_tasks.genome.records import CarryField, FieldType, InvalidRecord, Record
from evo2_tasks.genome.vcf import parse_position
from evo2_tasks.io.files import open_file
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.words import shown, shown_path

# Names of the columns in any case, the first one with or without a "#" before it.
KEY_NAMES: Mapping[str, tuple[str, ...]] = {
    "contig": ("contig", "chrom", "chr", "chromosome"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference", "ref_allele", "reference_allele"),
    "alt": ("alt", "alternate", "alternative", "alt_allele", "alternate_allele"),
}
FILTER_NAMES = ("filter",)
NULL_TEXTS = frozenset({"", ".", "NA"})

_BATCH_ROWS = 16_384
_TYPE_ORDER: tuple[FieldType, ...] = ("int", "float", "bool", "string")
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Where a table has what, as indices of its columns."""

    num_columns: int
    keys: tuple[int, ...]
    filters: int | None
    carried: tuple[int, ...]


class TextTableReader:
    """The rows of a TSV or CSV file.

    A row is a line: a quoted field of a CSV may hold commas and quotes, but no line break. Fields
    of a TSV are taken as they are. A carried column has the narrowest type that fits all its
    values: integer, number, true/false, or text; an empty field, ``.`` and ``NA`` are null.

    Args:
        path: The file.
        carry: Columns to carry along.
    """

    def __init__(self, path: Path, carry: Sequence[str] = ()) -> None:
        self.path = path
        _, header = next(_table_lines(path))
        self._delimiter = find_delimiter(header)
        names = split_header(header)
        self._columns = find_columns(names, carry, path)
        self.has_filters = self._columns.filters is not None
        types = self._find_types()
        self.carry_fields = tuple(map(CarryField, carry, types))

    def records(self) -> Iterator[Record | InvalidRecord]:
        """All rows in the order of the file."""
        columns = self._columns
        for number, line in self._rows():
            cells = self._split(line)
            if cells is None:
                yield InvalidRecord("a quoted field has no proper end", number)
                continue
            if any(cells[columns.num_columns :]):
                reason = f"{len(cells)} columns, the header has {columns.num_columns}"
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
        """Say nothing: types that are found from the values fit all of them."""

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        rows = _table_lines(self.path)
        next(rows)
        return rows

    def _split(self, line: bytes) -> list[str] | None:
        """The fields of a line; null if a quote is opened and not closed."""
        text = decode(line)
        if self._delimiter == "\t" or '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader([text], strict=True))
        except csv.Error:
            return None

    def _find_types(self) -> list[FieldType]:
        """The type of each carried column: the first that none of its values contradicts."""
        fitting = [list(_TYPE_ORDER) for _ in self._columns.carried]
        seen = [False] * len(fitting)
        for _, line in self._rows() if fitting else ():
            cells = self._split(line) or []
            for index, column in enumerate(self._columns.carried):
                text = cells[column] if column < len(cells) else ""
                if text not in NULL_TEXTS:
                    seen[index] = True
                    fitting[index] = [kind for kind in fitting[index] if _fits(text, kind)]
        return [kinds[0] if known else "string" for kinds, known in zip(fitting, seen, strict=True)]


class ParquetReader:
    """The rows of a Parquet file.

    Args:
        path: The file.
        carry: Columns to carry along, in their own types; what is no number, truth value or text,
            nor a list of them, goes along as text.
    """

    def __init__(self, path: Path, carry: Sequence[str] = ()) -> None:
        self.path = path
        with _open_parquet(path) as file:
            schema = file.schema_arrow
        self._names = list(schema.names)
        self._columns = find_columns(self._names, carry, path)
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
        """Say nothing: the values have types of their own."""


def find_delimiter(header: bytes) -> str:
    """What stands between the columns: the tab, or the comma if there is none."""
    return "\t" if b"\t" in header else ","


def split_header(header: bytes) -> list[str]:
    """The names of the columns, without the ``#`` of the first."""
    names = [name.strip().strip('"') for name in decode(header).split(find_delimiter(header))]
    return [names[0].lstrip("#"), *names[1:]]


def find_wrong_delimiter(header: bytes) -> str:
    """What stands between the columns of a header that is one but for that; else nothing."""
    for delimiter in (";", "|", " "):
        if is_table_header(b"\t".join(header.split(delimiter.encode()))):
            return delimiter
    return ""


def is_table_header(line: bytes) -> bool:
    """Whether a line names the columns that a table of variants needs."""
    lowered = {name.lower() for name in split_header(line)}
    return all(lowered.intersection(names) for names in KEY_NAMES.values())


def find_columns(names: Sequence[str], carry: Sequence[str], path: Path) -> TableColumns:
    """Find the columns by their names.

    Raises:
        InputError: One that is needed or to be carried is missing, or is there twice.
    """
    keys = []
    for key, aliases in KEY_NAMES.items():
        found = [i for i, name in enumerate(names) if name.lower() in aliases]
        if len(found) != 1:
            problem = "no column is" if not found else "several columns are"
            raise InputError(
                f"{shown_path(path)}: {problem} named as the {key} of a variant; expected exactly "
                f"one of: {', '.join(aliases)} (in any case)."
            )
        keys += found
    filters = [i for i, name in enumerate(names) if name.lower() in FILTER_NAMES]
    carried = []
    for name in carry:
        found = [i for i, candidate in enumerate(names) if candidate == name]
        if len(found) != 1 or list(carry).count(name) != 1:
            problem = "is named twice" if found else "is no column of the table"
            raise InputError(
                f"{shown_path(path)}: '{shown(name)}', which the config names, {problem}; the "
                f"columns are: {shown(', '.join(names), 400)}."
            )
        carried += found
    return TableColumns(
        len(names), tuple(keys), filters[0] if len(filters) == 1 else None, tuple(carried)
    )


def _table_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The header and the rows with their line numbers, without blank lines and what is above."""
    in_table = False
    for number, line in enumerate(read_lines(path), start=1):
        kept = drop_mark(line) if number == 1 else line
        in_table = in_table or is_table_header(kept)
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
        return InvalidRecord(f"pos '{shown(pos_text)}' is no integer of 64 bits", number)
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
    if pa.types.is_integer(value) and value != pa.uint64():  # uint64 does not fit into int64
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
        return str(int(value))  # integers with missing values are often stored so
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value)
