"""The section that compares the scorings of a variant set: plots and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evo2_tasks.evaluation.scorings import ScoringDifference, compare_scorings, pair_scorings
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.words import counted
from evo2_tasks.report.bins import FloatArray, PairSample, PairSummary
from evo2_tasks.report.blocks import (
    LONG,
    NAME,
    NUMBER,
    Block,
    Cell,
    FigureIds,
    Grid,
    Note,
    Table,
    interval_cell,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.metric_words import METRIC_NAMES
from evo2_tasks.report.plots import plot_pairs
from evo2_tasks.report.rows import name_rows
from evo2_tasks.report.words import fixed, printable
from evo2_tasks.table.combined import read_together

MOST_PAIRS: Final = 6
"""Most pairs of scorings that are compared."""


@dataclass(frozen=True, slots=True)
class ScoringPair:
    """The ``llr`` of two scorings of the same alleles.

    Attributes:
        first: Name of the first scoring.
        second: Name of the second scoring.
        pairs: The ``llr`` of the alleles that both score; None if there are none.
        names: What the plot calls the alleles that it shows one by one, by number of the row.
    """

    first: str
    second: str
    pairs: PairSummary | None
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scorings of a variant set compared with each other.

    Attributes:
        pairs: Pairs of scorings, at most ``MOST_PAIRS``.
        num_pairs: Number of all pairs.
        differences: Differences of the main metric of each label.
    """

    pairs: Sequence[ScoringPair]
    num_pairs: int
    differences: Sequence[ScoringDifference]


def compare_tables(tables: Mapping[str, Path], labels: Sequence[LabelSettings]) -> Comparison:
    """Compare the scorings of a variant set in pairs.

    Args:
        tables: The result of ``merge`` of each scoring.
        labels: The labels of the variant set.

    Raises:
        InputError: A table is missing or broken, or the tables have different alleles.
    """
    pairs = [
        _compare_pair(first, second, tables[first], tables[second])
        for first, second in pair_scorings(list(tables), MOST_PAIRS)
    ]
    differences = [
        difference
        for label in labels
        if len(tables) > 1
        for difference in compare_scorings(tables, label, most_pairs=MOST_PAIRS)
    ]
    return Comparison(pairs, len(tables) * (len(tables) - 1) // 2, differences)


def _compare_pair(first: str, second: str, table: Path, other: Path) -> ScoringPair:
    num_rows = sum(
        int((np.isfinite(x) & np.isfinite(y)).sum()) for x, y in _read_scores(table, other)
    )
    sample = PairSample(
        f"llr of {printable(first)}", f"llr of {printable(second)}", num_rows=num_rows
    )
    num_read = 0
    for x, y in _read_scores(table, other):
        rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        sample.add(x[rows], y[rows], num_read + rows)
        num_read += len(x)
    pairs = sample.summarize()
    names = name_rows(table, pairs.named_rows) if pairs else {}
    return ScoringPair(first, second, pairs, names)


def _read_scores(table: Path, other: Path) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The ``llr`` of two tables of the same alleles, in pieces of the same rows."""
    for pieces in read_together([table, other], ["llr"]):
        x, y = (piece.column("llr").to_numpy(zero_copy_only=False) for piece in pieces)
        yield x.astype(np.float64), y.astype(np.float64)


def show_scorings(comparison: Comparison, ids: FigureIds) -> Iterator[Block]:
    """The scorings of the set against each other; nothing if there is one scoring."""
    if not comparison.pairs:
        return
    yield Note(
        "Each scoring has its own model, window or strands. Each plot and each row compares the "
        "llr of two scorings on the alleles that both of them score."
    )
    plots = [
        plot_pairs(
            ids(), f"llr of {printable(one.first)} and {printable(one.second)}", one.pairs,
            one.names,
            f"allele{'' if one.pairs.num_rows == 1 else 's'} with a score in both scorings",
        )
        for one in comparison.pairs
        if one.pairs is not None
    ]  # fmt: skip
    if plots:
        yield Grid(plots)
    yield _tabulate_pairs(comparison.pairs)
    for label in dict.fromkeys(one.label for one in comparison.differences):
        yield _tabulate_differences(
            label, [one for one in comparison.differences if one.label == label]
        )
    if comparison.num_pairs > len(comparison.pairs):
        more = counted(comparison.num_pairs - len(comparison.pairs), "more pair")
        yield Note(f"Not compared: {more} of scorings.")


def _tabulate_pairs(pairs: Sequence[ScoringPair]) -> Table:
    rows = []
    for one in pairs:
        found = one.pairs
        spearman = found.spearman if found else None
        rows.append(
            [
                Cell(printable(one.first)),
                Cell(printable(one.second)),
                whole_cell(found.num_rows if found else 0),
                number_cell(spearman, fixed(spearman)),
            ]
        )
    columns = [("scoring", NAME), ("other scoring", NAME), ("alleles with both scores", NUMBER),
               ("Spearman", NUMBER)]  # fmt: skip
    return Table("Rank correlation of the llr of two scorings", columns, rows)


def _tabulate_differences(label: str, differences: Sequence[ScoringDifference]) -> Table:
    first = differences[0].difference
    metric = METRIC_NAMES.get(first.metric, first.metric)
    has_classes = first.first.num_positive is not None
    counts = ["positive", "negative"] if has_classes else ["rows"]
    has_reasons = any(one.difference.reason for one in differences)
    rows = []
    for one in differences:
        found, result = one.difference, one.difference.first
        numbers = [result.num_positive, result.num_negative] if has_classes else [result.num_rows]
        rows.append(
            [
                Cell(printable(one.first)),
                Cell(printable(one.second)),
                number_cell(result.value, fixed(result.value)),
                number_cell(found.second.value, fixed(found.second.value)),
                interval_cell(found.value, found.low, found.high, sign=True),
                *(whole_cell(number) for number in numbers),
                *([Cell(printable(found.reason, 400))] if has_reasons else []),
            ]
        )
    columns = [
        ("scoring", NAME), ("other scoring", NAME), (metric, NUMBER),
        (f"{metric} of the other", NUMBER), ("difference", NUMBER),
        *((name, NUMBER) for name in counts), *([("remarks", LONG)] if has_reasons else []),
    ]  # fmt: skip
    return Table(
        f"{metric} of the llr of two scorings on the same rows, {printable(label)}", columns, rows,
        note="The interval of a difference is that of a paired bootstrap.",
    )  # fmt: skip
