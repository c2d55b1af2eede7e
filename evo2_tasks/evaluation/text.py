"""Metrics as lines of text, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from evo2_tasks.evaluation.labels import MAIN_SCORE
from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import ALL, BY_TYPE, OF_PROBABILITIES, WITH, WITHIN
from evo2_tasks.io.words import LONG, shown

MAIN_METRICS = ("auroc", "spearman", *OF_PROBABILITIES)
MAIN_SUBSETS = (ALL, WITH, WITHIN)


def describe_metrics(
    rows: Iterable[MetricRow], main_scores: Collection[str] = (MAIN_SCORE,)
) -> Iterator[str]:
    """The metrics to look at first: AUROC or Spearman of all rows, by type, and within groups.

    The metrics of likelihood ratios follow.

    Of the metrics that lack a value for the same reason, only the first is described.

    Args:
        rows: Rows of ``metrics.parquet``.
        main_scores: The scores that are described by type too.

    Yields:
        Lines of text.
    """
    label = None
    reasons: set[str] = set()
    for row in rows:
        if row.label != label:
            label, reasons = row.label, set()
            yield shown(f"{label}: {row.definition}", LONG)
        is_repeated = row.value is None and row.reason in reasons
        if _is_main(row, main_scores) and not is_repeated:
            reasons.add(row.reason)
            score = row.score + (f" minus {row.minus}" if row.minus else "")
            name = f"{row.metric} of {score}{_describe_subset(row)}"
            yield shown(f"{label}: {name}: {format_value(row)}", LONG)


def _is_main(row: MetricRow, main_scores: Collection[str]) -> bool:
    """Whether a metric is one of those to look at first."""
    is_of_type = row.subset == BY_TYPE and row.minus is None and row.score in main_scores
    return row.metric in MAIN_METRICS and (row.subset in MAIN_SUBSETS or is_of_type)


def _describe_subset(row: MetricRow) -> str:
    """The rows that a metric uses; empty for all rows, and where the scores' names state it."""
    if row.subset == BY_TYPE:
        return f", {row.group}"
    if row.column in (None, row.score, row.minus):
        return ""
    return f" {row.subset} {row.column}"


def format_value(row: MetricRow) -> str:
    """A metric's value, interval and number of rows, or the reason why it has no value."""
    rows = (
        f"{row.num_rows:,} rows"
        if row.num_positive is None
        else f"{row.num_positive:,} positive, {row.num_negative:,} negative"
    )
    if row.lr_reasons is not None:
        rows += _describe_ratios(row, row.lr_reasons)
    elif row.num_unscored:
        rows += f", {row.num_unscored:,} without a score"
    if row.value is None:
        return f"no value, {rows}: {row.reason}"
    sign = "+" if row.minus else ""
    value = f"{row.value:{sign}.3f}"
    if row.low is None or row.high is None:
        return f"{value}, {rows}: {row.reason}"
    if row.is_small:
        rows += "; few rows, so the interval is too narrow"
    return f"{value} [{row.low:{sign}.3f}, {row.high:{sign}.3f}], {rows}"


def _describe_ratios(row: MetricRow, reasons: Sequence[tuple[str, int]]) -> str:
    """How many rows have no likelihood ratio, and how many have one from folds."""
    num_lacking = sum(number for _, number in reasons)
    num_unscored = row.num_unscored - num_lacking
    parts = [f"{num_unscored:,} without a score"] if num_unscored else []
    if num_lacking:
        names = ", ".join(f"{name}: {number:,}" for name, number in reasons)
        parts.append(f"{num_lacking:,} without a likelihood ratio ({names})")
    if row.num_from_folds:
        parts.append(f"{row.num_from_folds:,} with a likelihood ratio from folds")
    return "".join(f", {part}" for part in parts)
