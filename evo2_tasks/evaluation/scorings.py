"""The scorings of a variant set compared with each other, on the same labelled rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.estimates import Difference, compare
from evo2_tasks.evaluation.labels import MAIN_SCORE, LabelledRows, read_labelled_rows
from evo2_tasks.evaluation.measurements import make_resampling
from evo2_tasks.evaluation.metrics import AUROC, SPEARMAN
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.words import shown_path


@dataclass(frozen=True, slots=True)
class ScoringDifference:
    """How much better the ``llr`` of one scoring separates a label than that of another.

    Attributes:
        label: Field of the label.
        first: Name of the first scoring.
        second: Name of the second scoring.
        difference: The main metric of the first minus that of the second, with its interval.
    """

    label: str
    first: str
    second: str
    difference: Difference


def pair_scorings(scorings: Sequence[str], most: int) -> list[tuple[str, str]]:
    """The pairs of scorings in order, at most so many."""
    return list(combinations(scorings, 2))[:most]


def compare_scorings(
    tables: Mapping[str, Path], label: LabelSettings, *, most_pairs: int
) -> Iterator[ScoringDifference]:
    """Compare the scorings of a variant set in pairs, on the labelled rows that both score.

    The interval is that of a paired bootstrap: both scorings have the same draws.

    Args:
        tables: The tables by scoring, all of one variant set.
        label: The label.
        most_pairs: Most pairs of scorings to compare.

    Raises:
        InputError: A table lacks a column, or the tables have different labelled rows.
    """
    rows = {scoring: read_labelled_rows(table, label) for scoring, table in tables.items()}
    for first, second in pair_scorings(list(tables), most_pairs):
        _require_same_rows(rows[first], rows[second], tables[first], tables[second])
        one = rows[first]
        difference = compare(
            AUROC if one.has_classes else SPEARMAN,
            one.target,
            one.scores[MAIN_SCORE],
            rows[second].scores[MAIN_SCORE],
            groups=one.clusters,
            resampling=make_resampling(len(one)),
        )
        yield ScoringDifference(label.field, first, second, difference)


def _require_same_rows(one: LabelledRows, other: LabelledRows, *tables: Path) -> None:
    if not (
        np.array_equal(one.alleles, other.alleles) and np.array_equal(one.target, other.target)
    ):
        first, second = map(shown_path, tables)
        raise InputError(
            f"{first} and {second}: their labelled rows differ: they are of different runs. Run "
            "`merge` again."
        )
