"""Figures as lines of text, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evo2_tasks.evaluation.schema import ALL, BY_TYPE, WITH, WITHIN, is_small
from evo2_tasks.io.words import LONG, shown

TOLD_METRICS = ("auroc", "spearman")
TOLD_SUBSETS = (ALL, WITH, WITHIN)


def describe_figures(figures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The figures to look at first: AUROC or Spearman of all rows, by type, and within groups.

    Of figures without a value only the first with each reason is told.

    Args:
        figures: Rows of ``figures.parquet``.

    Yields:
        Lines of text.
    """
    label = None
    reasons: set[str] = set()
    for figure in figures:
        if figure["label"] != label:
            label, reasons = figure["label"], set()
            yield shown(f"{label}: {figure['definition']}", LONG)
        is_told = figure["subset"] in TOLD_SUBSETS or (
            figure["subset"] == BY_TYPE and figure["minus"] is None and figure["score"] == "llr"
        )
        is_known = figure["value"] is None and figure["reason"] in reasons
        if figure["metric"] in TOLD_METRICS and is_told and not is_known:
            reasons.add(figure["reason"])
            score = figure["score"] + (f" minus {figure['minus']}" if figure["minus"] else "")
            told = f"{figure['metric']} of {score}{_subset(figure)}: {_value(figure)}"
            yield shown(f"{label}: {told}", LONG)


def _subset(figure: Mapping[str, Any]) -> str:
    """Which rows it is of, where that is not said by the scores that it names."""
    if figure["subset"] == BY_TYPE:
        return f", {figure['group']}"
    if figure["column"] in (None, figure["score"], figure["minus"]):
        return ""
    return f" {figure['subset']} {figure['column']}"


def _value(figure: Mapping[str, Any]) -> str:
    """A figure with its interval and what it rests on, or why there is none."""
    counts = figure["num_rows"], figure["num_positive"], figure["num_negative"]
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
    if is_small(*counts):
        rests_on += ": few, the interval is too narrow"
    return f"{value} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}], {rests_on}"
