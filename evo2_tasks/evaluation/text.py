"""Figures as lines of text, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evo2_tasks.evaluation.schema import ALL, WITHIN

TOLD_METRICS = ("auroc", "spearman")


def describe_figures(figures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The figures to look at first: AUROC or Spearman of all rows, and within groups.

    Args:
        figures: Rows of ``figures.parquet``.

    Yields:
        Lines of text.
    """
    for figure in figures:
        if figure["metric"] in TOLD_METRICS and figure["subset"] in (ALL, WITHIN):
            score = figure["score"] + (f" minus {figure['minus']}" if figure["minus"] else "")
            within = f" within {figure['column']}" if figure["column"] else ""
            yield f"{figure['label']}: {figure['metric']} of {score}{within}: {shown(figure)}"


def shown(figure: Mapping[str, Any]) -> str:
    """A figure with its interval and what it rests on, or why there is none."""
    rests_on = (
        f"{figure['num_rows']:,} rows"
        if figure["num_positive"] is None
        else f"{figure['num_positive']:,} against {figure['num_negative']:,}"
    )
    if figure["num_unscored"]:
        rests_on += f", {figure['num_unscored']:,} without a score"
    if figure["value"] is None:
        return f"none, {rests_on}: {figure['reason']}"
    sign = "+" if figure["minus"] else ""
    value = f"{figure['value']:{sign}.3f}"
    if figure["low"] is None:
        return f"{value}, {rests_on}: {figure['reason']}"
    return f"{value} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}], {rests_on}"
