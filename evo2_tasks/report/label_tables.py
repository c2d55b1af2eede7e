"""Tables of metrics: a row for each subset of rows and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import BY_GROUP, BY_TYPE, THRESHOLD
from evo2_tasks.report.blocks import (
    LONG,
    NAME,
    NUMBER,
    Cell,
    Table,
    interval_cell,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.comparison import MAIN_SCORE, NamedMetric
from evo2_tasks.report.metric_words import METRIC_NAMES, PRECISION, SENSITIVITY, describe_subset
from evo2_tasks.report.words import (
    breakable,
    count,
    decimal,
    fixed,
    listed,
    printable,
)

TableRows = Mapping[tuple[str, str], Mapping[str, MetricRow]]
"""The metrics of a table: by subset and score, then by metric."""


def tabulate_metrics(caption: str, head: str, metrics: Sequence[NamedMetric]) -> Table:
    """Tabulate metrics with their intervals and numbers of rows.

    A score without any value in a subset has no row for this subset; ``llr`` and likelihood ratios
    always have one.

    Args:
        caption: Caption of the table.
        head: Head of the column of subsets; empty if there is only one subset.
        metrics: Metrics or differences, in the order of the scores.
    """
    # The threshold of a sensitivity is in the same cell.
    names = list(dict.fromkeys(row.metric for _, row in metrics if row.metric != THRESHOLD))
    rows, missing_scores = _arrange(metrics)
    has_classes = any(row.num_positive is not None for _, row in metrics)
    remarks = [_make_remark(by_metric) for by_metric in rows.values()]
    columns = [("score", NAME)]
    for metric in names:
        columns.append((METRIC_NAMES.get(metric, metric), NUMBER))
        columns += [("prevalence", NUMBER)] if metric == PRECISION else []
    columns += [("positive", NUMBER), ("negative", NUMBER)] if has_classes else [("rows", NUMBER)]
    columns = [*([(head, NAME)] if head else []), *columns]
    columns += [("remarks", LONG)] if any(remarks) else []
    body = []
    for ((subset, score), by_metric), remark in zip(rows.items(), remarks, strict=True):
        first = next(iter(by_metric.values()))
        cells = [Cell(breakable(name)) for name in ([subset, score] if head else [score])]
        for metric in names:
            cells.append(_value_cell(by_metric.get(metric), by_metric.get(THRESHOLD)))
            if metric == PRECISION:
                cells.append(number_cell(first.prevalence, fixed(first.prevalence)))
        counts = [first.num_positive, first.num_negative] if has_classes else [first.num_rows]
        cells += [whole_cell(number) for number in counts]
        body.append([*cells, *([Cell(remark)] if any(remarks) else [])])
    has_unscored = any(
        status != "scored" for of_row in rows.values() for row in of_row.values()
        for status, _ in row.unscored_by_status
    )  # fmt: skip
    notes = ["Rows without a score are listed by their status."] if has_unscored else []
    if missing_scores:
        notes.append(
            f"No row for subsets in which no variant has a value: {listed(missing_scores)}."
        )
    note = " ".join(notes)
    return Table(caption, columns, body, note=note)


def _arrange(metrics: Sequence[NamedMetric]) -> tuple[TableRows, list[str]]:
    """The metrics of each row of the table, and the scores that lack a row in some subset."""
    places = {place: at for at, place in enumerate(dict.fromkeys(row.place for _, row in metrics))}
    rows: dict[tuple[str, str], dict[str, MetricRow]] = {}
    missing_scores: set[str] = set()
    for name, row in sorted(metrics, key=lambda named: places[named[1].place]):
        score = printable(f"{name} minus {row.minus}" if row.minus is not None else name)
        is_main = row.minus is None and (row.score == MAIN_SCORE or row.lr_reasons is not None)
        if not row.num_rows and not is_main:
            missing_scores.add(score)
            continue
        is_group = row.subset in (BY_TYPE, BY_GROUP) and row.minus is None
        subset = row.group or "" if is_group else describe_subset(row)
        rows.setdefault((printable(subset), score), {})[row.metric] = row
    return rows, sorted(missing_scores)


def _value_cell(row: MetricRow | None, threshold: MetricRow | None) -> Cell:
    if row is None:
        return Cell("")
    has_threshold = row.metric == SENSITIVITY and threshold and threshold.value is not None
    more = f"threshold {decimal(threshold.value)}" if threshold and has_threshold else ""
    return interval_cell(row.value, row.low, row.high, sign=row.minus is not None, more=more)


def _make_remark(by_metric: Mapping[str, MetricRow]) -> str:
    """Rows without a score by status, why values or intervals are missing, and few rows."""
    metrics = [*by_metric.values()]
    first = metrics[0]
    unscored = dict(first.unscored_by_status)
    num_without_baseline = unscored.pop("scored", 0)
    remarks = []
    if unscored:
        statuses = [f"{count(number)} {printable(name)}" for name, number in unscored.items()]
        remarks.append(", ".join(statuses))
    if first.lr_reasons is not None:
        remarks += [
            f"without a likelihood ratio: {count(number)} {printable(reason)}"
            for reason, number in first.lr_reasons
        ]
        if first.num_from_folds:
            remarks.append(f"likelihood ratios from folds: {count(first.num_from_folds)}")
    elif num_without_baseline:
        remarks.append(f"without the baseline: {count(num_without_baseline)}")
    names_by_reason: dict[str, list[str]] = {}
    for row in metrics:
        # Where there is no threshold, the sensitivity is 0.
        if row.reason and row.metric != THRESHOLD:
            name = METRIC_NAMES.get(row.metric, row.metric)
            names_by_reason.setdefault(row.reason, []).append(name)
    has_several = len(names_by_reason) > 1
    remarks += [
        printable(f"{listed(names)}: {reason}" if has_several else reason, 400)
        for reason, names in names_by_reason.items()
    ]
    if first.is_small and first.low is not None:
        remarks.append("few rows")
    return "; ".join(remarks)
