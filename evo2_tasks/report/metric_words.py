"""Metrics in words: their names, the rows that they use, their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import (
    ALL,
    BRIER,
    BRIER_SKILL,
    BY_TYPE,
    CALIBRATION_ERROR,
    STRAND_AGREEMENT,
    THRESHOLD,
    WITH,
    WITHIN,
)
from evo2_tasks.io.words import counted
from evo2_tasks.report.comparison import NamedMetric
from evo2_tasks.report.words import count, interval, listed, printable

PRECISION: Final = "average_precision"
SENSITIVITY: Final = "sensitivity_at_0.95_specificity"

METRIC_NAMES: Final = {
    "auroc": "AUROC",
    PRECISION: "average precision",
    SENSITIVITY: "sensitivity at 0.95 specificity",
    THRESHOLD: "threshold",
    "spearman": "Spearman",
    STRAND_AGREEMENT: "agreement of the strands",
    BRIER: "Brier score",
    BRIER_SKILL: "Brier skill",
    CALIBRATION_ERROR: "calibration error",
}


def describe_subset(row: MetricRow) -> str:
    """The subset of rows: all, snv, LOCUS: tRNA, within LOCUS."""
    group, column = printable(row.group or ""), printable(row.column or "")
    if row.subset == ALL:
        return ALL
    if row.subset == BY_TYPE:
        return group
    if row.subset in (WITH, WITHIN):
        return f"{row.subset} {column}"
    return f"{column}: {group}"


def describe_rows(row: MetricRow) -> str:
    """The number of rows: 52 positive, 961 negative."""
    if row.num_positive is None or row.num_negative is None:
        return counted(row.num_rows, "row")
    return f"{count(row.num_positive)} positive, {count(row.num_negative)} negative"


def describe_other_rows(row: MetricRow, first: MetricRow) -> str:
    """The number of rows in parentheses if it differs from that of the first metric."""
    return f" ({counted(row.num_rows, 'row')})" if row.num_rows != first.num_rows else ""


def list_values(metrics: Sequence[NamedMetric]) -> str:
    """Values as in a sentence: llr 0.873 [0.859, 0.891] and CADD 0.8 (40 rows)."""
    _, first = metrics[0]
    return listed(
        [
            f"{printable(name)} "
            f"{'no value' if row.value is None else interval(row.value, row.low, row.high)}"
            f"{describe_other_rows(row, first)}"
            for name, row in metrics
        ]
    )
