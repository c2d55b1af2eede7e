"""The command ``show``: what a table is, and its rows, for people to read on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from evo2_tasks.evaluation.schema import figures_schema
from evo2_tasks.evaluation.text import describe_figures
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import FINAL_COLUMNS
from evo2_tasks.table.statistics import read_statistics

SHOWN_COLUMNS: Final = (
    "contig", "pos", "ref", "alt", "status", "flags", "llr", "llr_aligned", "delta_score",
)  # fmt: skip
"""Columns of a row on a terminal; the file has more."""

SHOWN_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

_WIDEST: Final = 20
"""Characters of a cell; what is cut ends in an ellipsis."""


def show(table: Path) -> Iterator[str]:
    """Describe a table and, if it was evaluated, its metrics; or a file of metrics alone.

    Args:
        table: The result of ``merge``, or the metrics from ``evaluate``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is neither.
    """
    columns = figures_schema().names
    with open_table(table) as file:
        is_figures = file.schema_arrow.names == columns
    figures = table if is_figures else table.with_name("figures.parquet")
    if not is_figures:
        yield from show_table(table)
    if figures.exists():
        yield "\nhow well the scores separate the labels, with intervals of 95 %"
        rows = [row for batch in read_rows(figures, columns) for row in batch.to_pylist()]
        yield from (f"  {line}" for line in describe_figures(rows))


def show_table(table: Path, *, first_rows: int = 5) -> Iterator[str]:
    """Describe a table: provenance, rows by status and flag, quantiles of ``llr``, first rows.

    Args:
        table: The result of ``merge``.
        first_rows: How many rows to show.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is no such table.
    """
    provenance = read_provenance(table)
    statistics = read_statistics(table)
    counts, llr = statistics.counts, statistics.llr
    with open_table(table) as file:
        num_row_groups = file.metadata.num_row_groups
        own = {column.name for column in FINAL_COLUMNS}
        carried = [name for name in file.schema_arrow.names if name not in own]
    yield shown_path(table)
    yield from _pairs(
        {
            "rows": f"{counts.alleles:,} in {num_row_groups:,} row groups",
            "order": provenance.order,
            "carried": ", ".join(map(escape_text, carried)) or "nothing",
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **_flatten("", provenance.signature),
        }
    )
    yield ""
    yield from _counted("status", counts.by_status, counts.alleles)
    yield ""
    yield from _counted("flag", counts.by_flag, counts.scored)
    if llr.count:
        yield ""
        yield "llr, nats, quantiles to 0.2 %"
        yield from _pairs(
            {
                "least": f"{llr.minimum:.4g}",
                **{f"{share:.0%}": f"{llr.quantile(share):.3g}" for share in SHOWN_QUANTILES},
                "greatest": f"{llr.maximum:.4g}",
            }
        )
    if first_rows and counts.alleles:
        yield ""
        first = islice(read_rows(table, SHOWN_COLUMNS, batch_rows=first_rows), 1)
        yield from format_rows(first)


def format_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """Rows in columns, a header line above them; only ``SHOWN_COLUMNS``, long alleles cut.

    Args:
        batches: Rows of a table.

    Yields:
        Lines of text.
    """
    widths = [0] * len(SHOWN_COLUMNS)
    header: list[tuple[str, ...]] = [SHOWN_COLUMNS]
    for batch in batches:
        columns = [map(_cell, batch.column(name).to_pylist()) for name in SHOWN_COLUMNS]
        rows = [*header, *zip(*columns, strict=True)]
        header = []
        # What is printed stays: later rows can only make a column wider.
        widths = [
            max(width, *map(len, cells))
            for width, cells in zip(widths, zip(*rows, strict=True), strict=True)
        ]
        for row in rows:
            yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _cell(value: Any) -> str:
    match value:
        case None:
            return "."
        case float():
            return f"{value:.4g}"
        case list():
            return ",".join(map(escape_text, value)) or "."
    text = escape_text(str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _flatten(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(f"{prefix}{key}.", value)
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[escape_text(prefix + key)] = escape_text(text)
    return flat


def _pairs(values: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, values))
    return (f"  {key.ljust(width)}  {value}".rstrip() for key, value in values.items())


def _counted(title: str, counts: Mapping[str, int], total: int) -> Iterator[str]:
    yield f"rows by {title}"
    if not counts:
        yield "  none"
        return
    cells = {name: (f"{number:,}", f"{number / total:.1%}") for name, number in counts.items()}
    width = max(len(number) for number, _ in cells.values())
    yield from _pairs(
        {name: f"{number.rjust(width)}  {share}" for name, (number, share) in cells.items()}
    )
