"""The command ``show``: a table described for people who read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_counts,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.commands.show_calibrations import (
    is_calibration_file,
    show_calibrated,
    show_calibration,
)
from evo2_tasks.commands.show_embeddings import (
    has_embeddings,
    has_profiles,
    show_embeddings,
    show_profiles,
    show_sequence_embeddings,
)
from evo2_tasks.commands.show_files import show_audit, show_columns
from evo2_tasks.commands.show_generations import show_generation, show_steps
from evo2_tasks.commands.show_haplotypes import show_compounds, show_haplotypes
from evo2_tasks.commands.show_probes import show_predictions
from evo2_tasks.commands.show_sequences import show_sequences
from evo2_tasks.commands.show_tracks import show_tracks
from evo2_tasks.evaluation.labels import ONE_SCORING, find_score_columns
from evo2_tasks.evaluation.results import is_metrics_file, read_metrics
from evo2_tasks.evaluation.text import describe_metrics
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CALIBRATED, COMBINED, METRICS, TABLE, TABLES
from evo2_tasks.report.consequences import Consequences, summarize_consequences
from evo2_tasks.table.calibrated import open_calibrated, read_calibrated
from evo2_tasks.table.calibration_schema import names_calibration
from evo2_tasks.table.combined import (
    ENSEMBLES,
    combined_columns,
    read_combination,
)
from evo2_tasks.table.documents import Combination
from evo2_tasks.table.generation_schema import is_generation_table, is_steps_table
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.probes import is_predictions, require_predictions
from evo2_tasks.table.provenance import PREFIX, read_object, read_provenance
from evo2_tasks.table.schema import (
    ADDED_COLUMNS,
    annotation_columns,
    audit_schema,
    carried_names,
    compounds_schema,
    haplotypes_schema,
    is_result,
    tracks_schema,
)
from evo2_tasks.table.sequence_embeddings import has_sequence_embeddings
from evo2_tasks.table.sequence_schema import is_sequences_table
from evo2_tasks.table.statements import read_statement, require_calibrated, require_table
from evo2_tasks.table.statistics import read_combined_statistics, read_statistics

ROW_COLUMNS: Final = (
    "contig", "pos", "ref", "alt", "status", "reason", "flags", "llr", "llr_aligned", "delta_score",
)  # fmt: skip
"""Columns of a row on the terminal; the file has more."""

ROW_ANNOTATIONS: Final = ("consequence", "gene")
"""Columns of ``annotate`` that follow, if the table has them."""


def show(file: Path) -> Iterator[str]:
    """Describe a table of scores with its metrics and calibrations, or another file of a run.

    Args:
        file: The result of ``merge`` or of ``combine``, or another Parquet file that a step wrote.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, no step wrote it, or a file next to it is of
            another table.
    """
    with open_table(file) as parquet:
        schema = parquet.schema_arrow
    combination = read_combination(file)
    if combination is not None:
        _require_metrics_of(file)
        yield from show_combined(file, combination)
        yield from _show_metrics_of(file)
    elif is_result(schema):
        _require_metrics_of(file)
        calibrated = open_calibrated(file)
        yield from show_table(file)
        if calibrated is not None:
            yield ""
            yield from show_calibrated(calibrated, is_alone=False)
        yield from _show_metrics_of(file)
    elif is_metrics_file(file):
        table = _find_table(file) if file.name == METRICS else None
        if table is not None:
            _require_metrics_of(table)
        yield from show_metrics(file, table)
    elif names_calibration(schema) or file.name == CALIBRATED:
        table = _find_table(file) if file.name == CALIBRATED else None
        calibrated = None if table is None else open_calibrated(table)
        yield from show_calibrated(calibrated or read_calibrated(file))
    elif is_calibration_file(file):
        yield from show_calibration(file)
    elif is_predictions(schema):
        yield from show_predictions(file)
    elif is_generation_table(schema.names):
        yield from show_generation(file)
    elif is_steps_table(schema.names):
        yield from show_steps(file)
    elif is_sequences_table(schema.names):
        yield from show_sequences(file)
    elif schema.names == audit_schema().names:
        yield from show_audit(file)
    elif has_embeddings(schema):
        yield from show_embeddings(file)
    elif has_sequence_embeddings(schema):
        yield from show_sequence_embeddings(file)
    elif has_profiles(schema):
        yield from show_profiles(file)
    elif schema.names == haplotypes_schema().names:
        yield from show_haplotypes(file)
    elif schema.names == compounds_schema().names:
        yield from show_compounds(file)
    elif schema.names == tracks_schema().names:
        yield from show_tracks(file)
    else:
        yield from show_columns(file)


def _require_metrics_of(table: Path) -> None:
    """Make sure that the metrics next to a table, if there are any, are of this table."""
    metrics = table.with_name(METRICS)
    if metrics.exists():
        require_table(table, [read_statement(metrics, TABLES[METRICS])])


def _show_metrics_of(table: Path) -> Iterator[str]:
    """Describe the metrics next to a table, if there are any."""
    metrics = table.with_name(METRICS)
    if metrics.exists():
        yield ""
        yield from show_metrics(metrics, table)


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
    require_calibrated(file, TABLES[METRICS])
    require_predictions(file, TABLES[METRICS])
    yield "how well the scores separate the labels, with 95 % intervals"
    columns = ONE_SCORING if table is None else find_score_columns(table)
    for line in describe_metrics(read_metrics(file), columns.main):
        yield f"  {line}"


def show_table(table: Path, *, first_rows: int = FIRST_ROWS) -> Iterator[str]:
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
    yield from format_pairs(
        {
            "rows": f"{counts.alleles:,} in {num_row_groups:,} row groups",
            "order": provenance.order,
            "carried": ", ".join(map(escape_text, carried)) or "nothing",
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
            **flatten("annotations.", _find_annotation_source(table)),
        }
    )
    yield ""
    yield from format_counts("rows by status", counts.by_status, counts.alleles)
    yield ""
    if counts.by_reason:
        yield from format_counts("rows by reason", counts.by_reason, counts.alleles)
        yield ""
    yield from format_counts("rows by flag", counts.by_flag, counts.scored)
    if statistics.llr.count:
        yield ""
        yield from format_quantiles("llr, nats", statistics.llr)
    consequences = summarize_consequences(table)
    if consequences is not None:
        yield ""
        yield from _format_consequences(consequences, counts.scored)
    if first_rows and counts.alleles:
        yield ""
        yield from _say_how_many(first_rows, counts.alleles)
        names = [*ROW_COLUMNS, *(name for name in ROW_ANNOTATIONS if name in made)]
        rows = read_rows(table, names, added=ADDED_COLUMNS, batch_rows=first_rows)
        yield from format_rows(islice(rows, 1), names)


def show_combined(
    table: Path, combination: Combination, *, first_rows: int = FIRST_ROWS
) -> Iterator[str]:
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
    yield from format_pairs(
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
        yield from format_pairs(flatten("", stated | one.signature.as_json()))
    yield ""
    yield from format_counts("rows by status", by_status, total)
    yield ""
    yield "rows that each scoring scores"
    yield from format_pairs(
        {escape_text(name): f"{statistics.scored_by[name]:,}" for name in scorings}
    )
    for name, distribution in statistics.scores.items():
        yield ""
        if distribution.count:
            yield from format_quantiles(_name_score(name), distribution)
        else:
            yield escape_text(f"{name}: {combination.ensembles.get(name) or 'no value in any row'}")
    if first_rows and total:
        yield ""
        yield from _say_how_many(first_rows, total)
        names = [*ROW_COLUMNS[:5], *statistics.scores]
        yield from format_rows(islice(read_rows(table, names, batch_rows=first_rows), 1), names)


def _say_how_many(first_rows: int, total: int) -> Iterator[str]:
    """A heading, if not all rows follow."""
    if first_rows < total:
        yield f"the first {first_rows:,} of {total:,} rows"


def _name_score(name: str) -> str:
    """A score with its unit; ensembles have none."""
    return escape_text(name) if name in ENSEMBLES else f"{escape_text(name)}, nats"


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
    yield from format_pairs(
        {name: "  ".join(map(str.rjust, row, widths)) for name, row in cells.items()}
    )
