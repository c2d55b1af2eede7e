"""What ``show`` prints about the tables of a generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_counts,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.generation_schema import SCORE_PREFIX, list_scorers
from evo2_tasks.table.parquet import count_rows, decode_texts, open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, read_object
from evo2_tasks.table.statistics import Distribution

ROW_COLUMNS: Final = ("record", "prompt", "sequence", "status", "length", "log_prob", "total")
"""Columns of a row of the sequences on the terminal; the file has more."""

STEP_ROW_COLUMNS: Final = (
    "record", "sequence", "step", "candidate", "parent", "log_prob", "total", "chosen",
)  # fmt: skip
"""Columns of a row of the steps on the terminal; the file has more."""


def show_generation(table: Path) -> Iterator[str]:
    """Describe a table of generated sequences: provenance, counts, quantiles, first rows.

    Args:
        table: The table of ``merge_generation`` or ``generate``, or that of a shard.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken.
    """
    names = _list_names(table)
    by_status = Counter[str]()
    columns: list[str] = [
        name
        for name in ("gc", "reference_match", "copied", "total")
        if name in names and (name != "total" or list_scorers(names))
    ]
    columns += [SCORE_PREFIX + name for name in list_scorers(names)]
    found = {name: Distribution() for name in columns}
    for batch in read_rows(table, ("status", *columns)):
        by_status.update(decode_texts(batch.column("status")).to_pylist())
        for name, one in found.items():
            one.add(batch.column(name).drop_null().cast("float64").to_numpy())
    yield from _describe(table)
    yield ""
    yield from format_counts("rows by status", dict(by_status.most_common()), by_status.total())
    for name, one in found.items():
        if one.count:
            yield ""
            yield from format_quantiles(name, one)
    yield from _show_rows(table, ROW_COLUMNS)


def show_steps(table: Path) -> Iterator[str]:
    """Describe a table of the steps of a generation: provenance, counts, first rows.

    Args:
        table: The table.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken.
    """
    chosen = Counter[str]()
    for batch in read_rows(table, ("chosen",)):
        chosen.update("kept" if one else "not kept" for one in batch.column("chosen").to_pylist())
    yield from _describe(table)
    yield ""
    yield from format_counts("candidates", dict(chosen.most_common()), chosen.total())
    yield from _show_rows(table, STEP_ROW_COLUMNS)


def _list_names(table: Path) -> list[str]:
    with open_table(table) as file:
        return [*file.schema_arrow.names]


def _describe(table: Path) -> Iterator[str]:
    """Provenance and number of rows."""
    stored = read_metadata(table)
    yield shown_path(table)
    yield from format_pairs(
        {
            "rows": f"{count_rows(table):,}",
            "version": escape_text(stored.get(f"{PREFIX}version", "")),
            "model": escape_text(stored.get(f"{PREFIX}model", "")),
            **flatten("", read_object(table, stored, "signature") or {}),
        }
    )


def _show_rows(table: Path, names: tuple[str, ...]) -> Iterator[str]:
    if count_rows(table):
        yield ""
        rows = read_rows(table, names, batch_rows=FIRST_ROWS)
        yield from format_rows(islice(rows, 1), names)
