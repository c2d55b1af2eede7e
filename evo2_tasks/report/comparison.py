"""Which figures of labels stand together: under which names, in which order, of which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from evo2_tasks.evaluation.schema import ALL, SEQUENCE_FREE
from evo2_tasks.report.evidence import Curve, Figure
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS

MAIN_SCORE: Final = "llr"

MAIN_METRICS: Final = {"auroc": 0.5, "spearman": 0.0}
"""Metrics that are drawn as dots, and what a score that says nothing has."""

Named = tuple[str, Figure]
"""A figure and the name of its score on the page."""
NamedCurve = tuple[str, Curve]
"""A curve and the name of its score on the page."""
ScoreNames = Mapping[tuple[str, str], str]
"""The name on the page by scoring and score."""

One = TypeVar("One", Figure, Curve)


def is_headline(figure: Figure) -> bool:
    """Whether it is the one to know first of a label: ``llr`` on all rows."""
    is_plain = figure.minus is None and figure.score == MAIN_SCORE
    return is_plain and figure.subset == ALL and figure.metric in MAIN_METRICS


def make_names(figures: Mapping[str, Sequence[Figure]]) -> ScoreNames:
    """The names of all scores; of several scorings, their own name stands before it.

    A baseline has one name if its figures are alike in all scorings. They are not where the
    scorings score different rows, since it is measured on the rows that have a score.

    Args:
        figures: By scoring, all of one label.
    """
    of_score: dict[str, dict[str, list[Figure]]] = {}
    for scoring, of_scoring in figures.items():
        for figure in of_scoring:
            of_score.setdefault(figure.score, {}).setdefault(scoring, []).append(figure)
    names = {}
    for score, by_scoring in of_score.items():
        first, *others = by_scoring.values()
        is_alike = score not in ALL_SCORE_COLUMNS and all(one == first for one in others)
        for scoring in by_scoring:
            is_plain = len(figures) == 1 or is_alike
            names[scoring, score] = score if is_plain else f"{scoring}: {score}"
    return names


def give_names(items: Mapping[str, Sequence[One]], names: ScoreNames) -> list[tuple[str, One]]:
    """Figures or curves of all scorings with their names; what has one name in all comes once.

    ``llr`` of every scoring comes first, then baselines, what needs no sequence, ``llr_aligned``
    and the strands.
    """
    owners: dict[str, str] = {}
    for (scoring, _), name in names.items():
        owners.setdefault(name, scoring)
    named = [
        (names[scoring, one.score], one)
        for scoring, of_scoring in items.items()
        for one in of_scoring
        if owners[names[scoring, one.score]] == scoring
    ]
    return sorted(named, key=lambda one: _rank(one[1].score))


def _rank(score: str) -> int:
    order = (MAIN_SCORE, "", SEQUENCE_FREE, "llr_aligned", "llr_fwd", "llr_rev")
    kind = SEQUENCE_FREE if score.startswith(SEQUENCE_FREE) else score
    return order.index(kind if kind in order else "")


def keep_comparable(figures: Sequence[Figure]) -> list[Figure]:
    """The figures that are of the same rows as that of ``llr``, in each subset.

    Args:
        figures: Of one scoring and label, no differences.
    """
    num_rows = {one.place: one.num_rows for one in figures if one.score == MAIN_SCORE}
    return [one for one in figures if one.num_rows == num_rows[one.place]]
