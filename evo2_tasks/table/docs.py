"""The documentation page of the tables: ``python -m evo2_tasks.table.docs > docs/columns.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from evo2_tasks.exports.vcf import VCF_COLUMNS
from evo2_tasks.table.provenance import METADATA_MEANINGS, PREFIX
from evo2_tasks.table.run import RUN_MEANINGS
from evo2_tasks.table.schema import (
    FINAL_COLUMNS,
    FLAG_MEANINGS,
    SCORES_COLUMNS,
    SCORES_VERSION,
    SEGMENTS_COLUMNS,
    SHARD_COLUMNS,
    STATUS_MEANINGS,
    WINDOWS_COLUMNS,
    Column,
)

_INTRO: Final = """\
# Columns

<!-- Made by `python -m evo2_tasks.table.docs`; a test compares. -->

The result is one Parquet table, `results/{variant_set}/{scoring}/scores.parquet`, with one row for
each allele of the input. pandas, polars, DuckDB and R's arrow read it as it is:

```python
import pandas

table = pandas.read_parquet("results/mitomap/mini-512/scores.parquet")
scored = table[table["status"] == "scored"].sort_values("llr")
clipped = table[[("clipped" in flags) for flags in table["flags"]]]
```

pandas makes floats of whole numbers in a column that has a null, `pos` of an `invalid_record` for
one: `pandas.read_parquet(..., dtype_backend="pyarrow")` keeps them whole.

Rows stand in the order of the input, or by position where the config asks for it (contigs as in the
reference, then `pos`). They are joined to the input by (`record`, `allele`), or by (`contig`,
`pos`, `ref`, `alt`). Meaning and unit of a column are in its Arrow field's metadata, too. Columns
and INFO fields that `carry:` names follow at the end, typed by the input's header.

## The result
"""

_STATUS_INTRO: Final = """
## Status

Of those that apply, a row has the first. A row has an `llr` exactly if it is `scored`.

A run in which no row is `scored` ends as any other, with its table and exit code 0, and says so
loudly: `windows` and `merge` warn of `NO SCORE`, and the report begins with it.

Messages name a line of the input by its `record`, counted from 0 as in the table; the log adds
`(line N)`, counted from 1 with the header, as editors count.
"""

_FLAGS_INTRO: Final = """
## Flags

A row that is not `scored` has none.
"""

_METADATA_INTRO: Final = """
## Where a table comes from

Parquet key-value metadata, read by `evo2-tasks show scores.parquet`:
"""

_RUN_INTRO: Final = """
What a rerun may change is in `run.json` beside the table:
"""

_VERSION_RULE: Final = f"""
## Versions

`scores_version` is {SCORES_VERSION}. It is raised when the definition of a score changes, when the
list of statuses does, or when a number moves by more than the tolerance that is stated for it. The
changelog then says under *Scores* what changed and by how much. New columns and flags do not raise
it.

- Tables of one signature can be compared, ranked together and joined. Scores of different
  signatures cannot, and `merge` refuses to.
- A column keeps its name, type, unit and meaning; what would change one of them makes a new column
  or raises `scores_version`. Columns may be added: read them by name. Flags may be added: accept
  one that you do not know.
- Tables of an older `scores_version` stay readable by `show`, `query` and `export`.

## VCF

`evo2-tasks export scores.parquet --to vcf` keeps the input's lines, headers and samples, and adds
"""

_VCF_RULES: Final = """
with one value per ALT allele (`Number=A`), `.` where there is none, flags joined by `&`; and the
signature as `##evo2_signature`. An export to the same names replaces the earlier one. Numbers have
all their digits; programs that store a VCF's floats in 32 bits read about seven of them.

- A record without ALT (`.`) has no allele to annotate and gets no field.
- Lines that no VCF reader accepts are left out and named in the log: those with the status
  `invalid_record`, with POS below 0, with a contig, filter or INFO name that VCF forbids, or with a
  NUL character. The table has their rows. Cells of samples are passed on as they are.
- A line with fewer than eight columns, or with fewer samples than the header, is filled up with
  `.`. Line ends become `\\n`. A missing `##fileformat` or `#CHROM` line is added; comment lines
  that begin with a single `#` are dropped.
- Of a table that was made with `regions`, the other records are kept without fields.
- Sorted output is indexed (`.tbi`, or `.csi` for contigs above 512 Mb); unsorted output is not,
  which the log says.
- Input that was no VCF becomes a VCF without samples, made from the table alone.

## TSV

`evo2-tasks export scores.parquet --to tsv` writes one line per row below a line of names. Null is
an empty cell, values of a list are joined by `;`, numbers have all their digits. In text

- control characters and line separators are spelled `\\t`, `\\n`, `\\r`, `\\x1f`, `\\u2028`, a
  backslash `\\\\`, and in lists a semicolon `\\x3b`;
- a cell that begins with `=`, `+`, `-`, `@` (or their full-width forms), `"` or `'`, and a cell of
  no characters, has a `'` put before it, so that no spreadsheet runs it as a formula and no reader
  takes it for a quoted one. To get the text back, take one `'` off the start.

## Files between the steps

What a step writes and the next one reads, for those who run the steps by hand.
"""


def columns_page() -> str:
    """The page as Markdown."""
    fields = [f"- `evo2_{name}`" for name in VCF_COLUMNS]
    lines = [
        _INTRO,
        *column_table(FINAL_COLUMNS),
        _STATUS_INTRO,
        *meaning_table("status", STATUS_MEANINGS),
        _FLAGS_INTRO,
        *meaning_table("flag", FLAG_MEANINGS),
        _METADATA_INTRO,
        *meaning_table("key", {PREFIX + key: text for key, text in METADATA_MEANINGS.items()}),
        _RUN_INTRO,
        *meaning_table("key", RUN_MEANINGS),
        _VERSION_RULE,
        *fields,
        _VCF_RULES,
        *_step("split", "shards/{i}-of-{n}.parquet, then the carried columns", SHARD_COLUMNS),
        *_step("windows", "windows/{i}-of-{n}.parquet, then the carried columns", WINDOWS_COLUMNS),
        *_step("windows", "windows/{i}-of-{n}.segments.parquet", SEGMENTS_COLUMNS),
        *_step("score", "scores/{i}-of-{n}.parquet", SCORES_COLUMNS),
    ]
    return "\n".join(lines).rstrip() + "\n"


def type_name(kind: pa.DataType) -> str:
    """A type as people call it; a dictionary-encoded text is a category."""
    if pa.types.is_dictionary(kind):
        return "category"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map from {type_name(kind.key_type)} to {type_name(kind.item_type)}"
    return {"double": "float64"}.get(str(kind), str(kind))


def column_table(columns: Iterable[Column]) -> list[str]:
    """A Markdown table of columns, line by line."""
    rows = [
        f"| `{column.name}` | {type_name(column.type)} | {column.unit} "
        f"| {'yes' if column.nullable else 'no'} | {column.description} |"
        for column in columns
    ]
    return ["| column | type | unit | null | meaning |", "| --- | --- | --- | --- | --- |", *rows]


def meaning_table(title: str, meanings: Mapping[str, str]) -> list[str]:
    """A Markdown table of names and what they mean, line by line."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in meanings.items()]
    return [f"| {title} | meaning |", "| --- | --- |", *rows]


def _step(step: str, files: str, columns: Iterable[Column]) -> list[str]:
    path, _, rest = files.partition(",")
    return [f"### `{step}`: `{path}`{',' + rest if rest else ''}", "", *column_table(columns), ""]


if __name__ == "__main__":
    sys.stdout.write(columns_page())
