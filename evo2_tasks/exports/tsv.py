r"""The table as tab-separated text that every reader reads in the same way.

A header line, then one line per row. Rules for a cell with text:

- Control characters and line separators are written as ``\t``, ``\n``, ``\r``, ``\x1f``,
  ``\u2028``, a backslash as ``\\``; in a list also ``;`` as ``\x3b``.
- A ``'`` is put before a cell that a spreadsheet would read as a formula or a reader as quoted text
  (it begins with ``=``, ``+``, ``-``, ``@``, their full-width forms, ``"`` or ``'``), and before an
  empty text. A reader removes one ``'`` at the start of a cell.

Null is an empty cell. The values of a list are joined by ``;``, and the parts of such a value
(``record`` and ``allele`` of an allele in a background) by ``:``. Numbers have as many digits as
are needed to read the same number again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import replace_atomically, require_other_file, writing
from evo2_tasks.io.words import counted
from evo2_tasks.layout import CALIBRATED
from evo2_tasks.table.calibrated import open_calibrated, read_calibrated_rows
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.schema import annotation_columns, is_result
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\\"
_LEADING: Final = "=+@'\"\uff1d\uff0b\uff0d\uff20-"
_ESCAPED: Final = re.compile(f"[{_CONTROL}]")
_ESCAPED_IN_LIST: Final = re.compile(f"[{_CONTROL};]")
_STRAND: Final = "transcript_strand"
_NAMES: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}

_SPECIAL: Final = rf"[\x00-\x1f\x7f-\x9f\x{{2028}}\x{{2029}}\\;]|^[{_LEADING}]|^$"
"""RE2 pattern of the texts that may have to be escaped; all others are written unchanged."""


def escape_text(text: str, *, in_list: bool = False) -> str:
    """Escape a cell with text, or one value of a list."""
    pattern = _ESCAPED_IN_LIST if in_list else _ESCAPED
    escaped = pattern.sub(lambda match: _escape_character(match[0]), text)
    return "'" + escaped if not escaped or escaped[0] in _LEADING else escaped


def _escape_character(character: str) -> str:
    code = ord(character)
    return _NAMES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _escape_texts(texts: Any, *, in_list: bool = False) -> Any:
    """Escape a column of texts; only the values that may need it are looked at one by one."""
    special = pc.fill_null(pc.match_substring_regex(texts, _SPECIAL), False)
    if not pc.any(special).as_py():
        return texts
    escaped = [escape_text(text, in_list=in_list) for text in pc.filter(texts, special).to_pylist()]
    return pc.replace_with_mask(texts, special, pa.array(escaped, texts.type))


def _spell(column: Any) -> Any:
    """The cells of a column."""
    kind = column.type
    if pa.types.is_list(kind):
        texts = _spell_items(column.flatten())
        lists = pa.ListArray.from_arrays(_offsets(column), pc.fill_null(texts, ""))
        return pc.binary_join(lists, ";")
    texts = column.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        texts = _escape_texts(texts)
    return pc.fill_null(texts, "")


def _spell_items(items: Any) -> Any:
    """The items of lists; the parts of an item, such as `record` and `allele`, with colons."""
    if pa.types.is_struct(items.type):
        return pc.binary_join_element_wise(*map(_spell_items, items.flatten()), ":")
    if pa.types.is_string(items.type):
        return _escape_texts(items, in_list=True)
    return items.cast(pa.string())


def _offsets(lists: Any) -> Any:
    """Start of each list among the flattened items; a null list counts as empty."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int32())
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])


def format_header(names: Iterable[str]) -> str:
    """The header line."""
    return "\t".join(map(escape_text, names))


def format_rows(rows: pa.RecordBatch) -> list[str]:
    """One line per row, without line ends."""
    strands = {column.name for column in annotation_columns(rows.schema)} & {_STRAND}
    cells = [
        # `+` and `-` alone are no formulas.
        pc.fill_null(column.cast(pa.string()), "") if name in strands else _spell(column)
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
    ]
    return cast(list[str], pc.binary_join_element_wise(*cells, "\t").to_pylist())


def write(table: Path, out: Path) -> int:
    """Write a table as tab-separated UTF-8 text, bgzip-compressed if the file is named ``.gz``.

    The columns of the ``calibrated.parquet`` next to a table of ``merge`` follow those of the
    table.

    Args:
        table: A Parquet file.
        out: The file to write.

    Returns:
        Number of rows.

    Raises:
        InputError: A file cannot be read or written, or ``run.json`` or ``calibrated.parquet`` is
            about another table.
    """
    require_other_file(out, table, table.with_name(CALIBRATED))
    with open_table(table) as parquet:
        schema = parquet.schema_arrow
    digest = digest_file(table)
    if is_result(schema):  # not a table of another step
        read_run_of(table, table_digest=digest)
    calibrated = open_calibrated(table, table_digest=digest)
    names = [*schema.names, *([] if calibrated is None else calibrated.names)]
    num_rows = 0
    with (
        replace_atomically(out) as temporary,
        writing(out),
        temporary.open("wb") as plain,
        BgzfWriter(plain) if out.suffix == ".gz" else nullcontext(plain) as file,
    ):
        file.write(format_header(names).encode() + b"\n")
        for batch in read_calibrated_rows(table, calibrated):
            file.write("".join(f"{line}\n" for line in format_rows(batch)).encode())
            num_rows += batch.num_rows
    logger.info("%s: %s", out, counted(num_rows, "row"))
    return num_rows
