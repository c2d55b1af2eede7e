"""INFO entries of the VCF exports: the values of a table's columns as VCF text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import as_field_name
from evo2_tasks.table.calibrated import Calibrated
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.schema import FINAL_COLUMNS, Column, annotation_columns

PREFIX: Final = "evo2_"
"""Start of the names of our INFO fields by default."""

MISSING: Final = "."

_CHARACTERS: Final = r"\x00-\x20\x7f-\x9f\u2028\u2029%,;="
"""White space, control characters, and what has a meaning in INFO."""

_ESCAPED: Final = re.compile(f"[{_CHARACTERS}]")
_ESCAPED_IN_LIST: Final = re.compile(f"[{_CHARACTERS}&]")
_MAY_BE_SPECIAL: Final = r"[\x00-\x20\x7f-\x9f\x{2028}\x{2029}%,;=&]|^\.?$"
"""RE2 pattern of the texts that may have to be escaped; all others are written unchanged."""


_FINAL: Final = {column.name: column for column in FINAL_COLUMNS}


def find_columns(table: Path, names: Sequence[str], calibrated: Calibrated | None) -> list[Column]:
    """The columns of a table that become INFO fields.

    Args:
        table: The table.
        names: Columns of every table. Those that ``annotate`` made for this table follow.
        calibrated: The calibrated columns of the table, which are the last ones; None if it has
            none.

    Raises:
        InputError: The table cannot be read, or two columns would be one INFO field.
    """
    with open_table(table) as file:
        annotations = annotation_columns(file.schema_arrow)
    columns = [*(_FINAL[name] for name in names), *annotations]
    columns += [] if calibrated is None else calibrated.columns
    by_field: dict[str, str] = {}
    for column in columns:
        other = by_field.setdefault(name_field(column, ""), column.name)
        if other != column.name:
            raise InputError(
                f"{shown_path(table)}: the columns {other} and {column.name} would be one INFO "
                "field, since `-` becomes `_` in its name. Rename one of the two calibrations in "
                "the config, and run again."
            )
    return columns


def name_field(column: Column, prefix: str) -> str:
    """Name of the INFO field of a column. The name of a calibration may have `-`, a field may not.

    Args:
        column: The column.
        prefix: Start of the names of the fields.
    """
    return prefix + as_field_name(column.name)


def escape_text(text: str, *, in_list: bool = False) -> str:
    """Write a text as the value of an INFO field, or as one value of a list.

    Characters with a meaning in INFO, white space and control characters are percent-encoded, as
    VCF 4.3 demands (section 1.2). An empty text is a missing value.
    """
    if text == MISSING:
        return "%2E"
    pattern = _ESCAPED_IN_LIST if in_list else _ESCAPED
    return pattern.sub(_encode, text) or MISSING


def _encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def format_values(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Values of a column as VCF text; null where they are missing.

    The values of a list are joined by ``&``, and numbers have all their digits.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_list(values.type):
        return _join_list(values)
    texts = values.cast(pa.string())
    return _drop_missing(texts if pa.types.is_floating(values.type) else _escape(texts))


def _join_list(lists: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    items = _escape(lists.flatten().cast(pa.string()), in_list=True)
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, pc.fill_null(items, MISSING)), "&")
    return pc.if_else(pc.equal(joined, ""), None, joined)


def _escape(texts: Any, *, in_list: bool = False) -> Any:
    """Escape a column of texts; only the values that may need it are looked at one by one."""
    special = pc.fill_null(pc.match_substring_regex(texts, _MAY_BE_SPECIAL), False)
    if not pc.any(special).as_py():
        return texts
    escaped = [escape_text(text, in_list=in_list) for text in pc.filter(texts, special).to_pylist()]
    return pc.replace_with_mask(texts, special, pa.array(escaped, pa.string()))


def _drop_missing(texts: Any) -> Any:
    return pc.if_else(pc.equal(texts, MISSING), None, texts)


def format_entries(
    rows: pa.RecordBatch | pa.Table, columns: Sequence[Column], prefix: str, *, is_complete: bool
) -> pa.Array:
    """The INFO entries of rows, for example ``evo2_llr=-1.5;evo2_gene=MT-ND2``.

    Args:
        rows: Rows of a table with these columns.
        columns: The columns, one entry each.
        prefix: Start of the names of the entries.
        is_complete: Whether a missing value is written as ``.``; otherwise its entry is left out,
            and a row without entries is null.
    """
    entries = []
    for column in columns:
        values = format_values(rows[column.name])
        values = pc.fill_null(values, MISSING) if is_complete else values
        entries.append(pc.binary_join_element_wise(name_field(column, prefix), values, "="))
    joined = pc.binary_join_element_wise(*entries, ";", null_handling="skip")
    return pc.if_else(pc.equal(joined, ""), None, joined)
