"""The command ``show``: a table described for people who read it on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from evo2_tasks.evaluation.labels import ONE_SCORING, find_score_columns
from evo2_tasks.evaluation.results import is_metrics_file, read_metrics
from evo2_tasks.evaluation.text import describe_metrics
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import COMBINED, METRICS, TABLE, TABLES
from evo2_tasks.report.consequences import Consequences, summarize_consequences
from evo2_tasks.table.combined import (
    ENSEMBLES,
    combined_columns,
    read_combination,
)
from evo2_tasks.table.documents import Combination
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, read_object, read_provenance
from evo2_tasks.table.schema import (
    ADDED_COLUMNS,
    annotation_columns,
    carried_names,
)
from evo2_tasks.table.statements import read_statement, require_table
from evo2_tasks.table.statistics import Distribution, read_combined_statistics, read_statistics

ROW_COLUMNS: Final = (
    "contig", "pos", "ref", "alt", "status", "reason", "flags", "llr", "llr_aligned", "delta_score",
)  # fmt: skip
"""Columns of a row on the terminal; the file has more."""

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

ROW_ANNOTATIONS: Final = ("consequence", "gene")
"""Columns of ``annotate`` that follow, if the table has them."""

_WIDEST: Final = 20
"""Most characters of a cell; a longer text ends in an ellipsis."""


def show(file: Path) -> Iterator[str]:
    """Describe a table of scores and the metrics in the same folder, or a file of metrics alone.

    Args:
        file: The result of ``merge`` or of ``combine``, or the metrics that ``evaluate`` wrote.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing, broken or another table, or the metrics are those of
            another table.
    """
    if is_metrics_file(file):
        table = _find_table(file) if file.name == METRICS else None
        if table is not None:
            require_table(table, [read_statement(file, TABLES[METRICS])])
        yield from show_metrics(file, table)
        return
    combination = read_combination(file)
    if combination is None:
        read_provenance(file)  # refuses any other file, which has no metrics
    metrics = file.with_name(METRICS)
    has_metrics = metrics.exists()
    if has_metrics:
        require_table(file, [read_statement(metrics, TABLES[METRICS])])
    yield from show_table(file) if combination is None else show_combined(file, combination)
    if has_metrics:
        yield ""
        yield from show_metrics(metrics, file)


def _find_table(metrics: Path) -> Path | None:
    """The table in the folder of a file of metrics; None if there is none."""
    tables = (metrics.with_name(name) for name in (TABLE, COMBINED))
    return next((table for table in tables if table.exists()), None)


def show_metrics(file: Path, table: Path | None = None) -> Iterator[str]:
    """Describe the main metrics of a file that ``evaluate`` wrote.

    Args:
        file: The file of metrics.
        table: The table that was evaluated. Default: it is a table of ``merge``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    yield "how well the scores separate the labels, with 95 % intervals"
    columns = ONE_SCORING if table is None else find_score_columns(table)
    for line in describe_metrics(read_metrics(file), columns.main):
        yield f"  {line}"


def show_table(table: Path, *, first_rows: int = 5) -> Iterator[str]:
    """Describe a table: provenance, statuses, reasons, flags, quantiles, first rows.

    Args:
        table: The result of ``merge``.
        first_rows: How many rows to show.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    provenance = read_provenance(table)
    statistics = read_statistics(table)
    counts = statistics.counts
    with open_table(table) as file:
        num_row_groups = file.metadata.num_row_groups
        carried = carried_names(file.schema_arrow)
        made = [column.name for column in annotation_columns(file.schema_arrow)]
    yield shown_path(table)
    yield from _pairs(
        {
            "rows": f"{counts.alleles:,} in {num_row_groups:,} row groups",
            "order": provenance.order,
            "carried": ", ".join(map(escape_text, carried)) or "nothing",
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **_flatten("", provenance.signature),
            **_flatten("annotations.", _find_annotation_source(table)),
        }
    )
    yield ""
    yield from _format_counts("status", counts.by_status, counts.alleles)
    yield ""
    if counts.by_reason:
        yield from _format_counts("reason", counts.by_reason, counts.alleles)
        yield ""
    yield from _format_counts("flag", counts.by_flag, counts.scored)
    if statistics.llr.count:
        yield ""
        yield from _format_quantiles(statistics.llr)
    consequences = summarize_consequences(table)
    if consequences is not None:
        yield ""
        yield from _format_consequences(consequences, counts.scored)
    if first_rows and counts.alleles:
        yield ""
        names = [*ROW_COLUMNS, *(name for name in ROW_ANNOTATIONS if name in made)]
        rows = read_rows(table, names, added=ADDED_COLUMNS, batch_rows=first_rows)
        yield from format_rows(islice(rows, 1), names)


def show_combined(table: Path, combination: Combination, *, first_rows: int = 5) -> Iterator[str]:
    """Describe a combined table: its scorings, statuses, quantiles of its scores, first rows.

    Args:
        table: The result of ``combine``.
        combination: What it states about its scorings.
        first_rows: How many rows to show.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    statistics = read_combined_statistics(table, combination)
    by_status, total = statistics.by_status, sum(statistics.by_status.values())
    scorings = [one.name for one in combination.scorings]
    own = {column.name for column in combined_columns(scorings, [*combination.ensembles])}
    with open_table(table) as file:
        copied = [name for name in file.schema_arrow.names if name not in own]
    stored = read_metadata(table)
    yield shown_path(table)
    yield from _pairs(
        {
            "rows": f"{total:,}",
            "order": escape_text(stored.get(PREFIX + "order", "")),
            "annotated or carried": ", ".join(map(escape_text, copied)) or "nothing",
            "version": escape_text(stored.get(PREFIX + "version", "")),
            "combination": escape_text(combination.name),
            "score": combination.score,
            "ensembles": ", ".join(map(escape_text, combination.ensembles)) or "none",
        }
    )
    for one in combination.scorings:
        yield ""
        yield f"scoring {escape_text(one.name)}"
        stated = {"model": one.model or "", "version": one.version, "table": one.table}
        yield from _pairs(_flatten("", stated | one.signature.as_json()))
    yield ""
    yield from _format_counts("status", by_status, total)
    yield ""
    yield "rows that each scoring scores"
    yield from _pairs({escape_text(name): f"{statistics.scored_by[name]:,}" for name in scorings})
    for name, distribution in statistics.scores.items():
        yield ""
        if distribution.count:
            yield from _format_quantiles(distribution, name)
        else:
            yield escape_text(f"{name}: {combination.ensembles.get(name) or 'no value in any row'}")
    if first_rows and total:
        yield ""
        names = [*ROW_COLUMNS[:5], *statistics.scores]
        yield from format_rows(islice(read_rows(table, names, batch_rows=first_rows), 1), names)


def format_rows(
    batches: Iterable[pa.RecordBatch], names: Sequence[str] = ROW_COLUMNS
) -> Iterator[str]:
    """Format rows in aligned columns below a header line, long texts cut.

    Args:
        batches: Rows of a table.
        names: The columns.

    Yields:
        Lines of text.
    """
    widths = [0] * len(names)
    header: list[tuple[str, ...]] = [tuple(names)]
    for batch in batches:
        columns = [map(_cell, batch.column(name).to_pylist()) for name in names]
        rows = [*header, *zip(*columns, strict=True)]
        header = []
        # Earlier lines are printed already, so a column can only become wider.
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


def _find_annotation_source(table: Path) -> dict[str, Any]:
    """What the metadata of a table states about its genes and consequences, if it has them."""
    stated = read_object(table, read_metadata(table), "annotations") or {}
    settings, inputs = stated.get("settings", {}), stated.get("inputs", {})
    found = {
        "consequence_from": settings.get("consequence_from"),
        "gff": inputs.get("gff"),
        "genetic_codes": settings.get("genetic_codes"),
    }
    return {key: value for key, value in found.items() if value}


def _format_quantiles(llr: Distribution, name: str = "llr") -> Iterator[str]:
    title = escape_text(name) if name in ENSEMBLES else f"{escape_text(name)}, nats"
    yield title if llr.is_exact else f"{title} (quantiles are accurate to 0.2 %)"
    yield from _pairs(
        {
            "lowest": f"{llr.minimum:.4g}",
            **{f"{share:.0%}": f"{llr.quantile(share):.3g}" for share in QUANTILES},
            "highest": f"{llr.maximum:.4g}",
        }
    )


def _format_consequences(consequences: Consequences, total: int) -> Iterator[str]:
    yield "scored rows by consequence, and their median llr"
    if not consequences.scored:
        yield "  none"
        return
    cells = {
        "none" if one.term is None else escape_text(one.term): (
            f"{one.llr.count:,}", f"{one.llr.count / total:.1%}", f"{one.llr.quantile(0.5):.3g}"
        )
        for one in consequences.scored
    }  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*cells.values(), strict=True)]
    yield from _pairs({name: "  ".join(map(str.rjust, row, widths)) for name, row in cells.items()})


def _pairs(values: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, values))
    return (f"  {key.ljust(width)}  {value}".rstrip() for key, value in values.items())


def _format_counts(title: str, counts: Mapping[str, int], total: int) -> Iterator[str]:
    yield f"rows by {title}"
    if not counts:
        yield "  none"
        return
    cells = {name: (f"{number:,}", f"{number / total:.1%}") for name, number in counts.items()}
    width = max(len(number) for number, _ in cells.values())
    yield from _pairs(
        {name: f"{number.rjust(width)}  {share}" for name, (number, share) in cells.items()}
    )
