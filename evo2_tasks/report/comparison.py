"""Metrics of several scorings next to each other: the names of their scores, order, same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from evo2_tasks.evaluation.results import Curve, MetricRow
from evo2_tasks.evaluation.schema import ALL, is_probe, is_sequence_free
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS

MAIN_SCORE: Final = "llr"

MAIN_METRICS: Final = {"auroc": 0.5, "spearman": 0.0}
"""Metrics that are drawn as dots, and the chance level of each."""

NamedMetric = tuple[str, MetricRow]
"""A metric, and the name of its score in the report."""
NamedCurve = tuple[str, Curve]
"""A curve, and the name of its score in the report."""
ScoreNames = Mapping[tuple[str, str], str]
"""The name in the report, by scoring and score."""

_PROBE_RANK: Final = 1
_BASELINE_RANK: Final = 2
_SEQUENCE_FREE_RANK: Final = 3
_SCORE_RANKS: Final = {MAIN_SCORE: 0, "llr_aligned": 4, "llr_fwd": 5, "llr_rev": 6}

Item = TypeVar("Item", MetricRow, Curve)


def is_headline(row: MetricRow) -> bool:
    """Whether a metric is the first to look at for its label: ``llr`` on all rows."""
    is_llr = row.minus is None and row.score == MAIN_SCORE
    return is_llr and row.subset == ALL and row.metric in MAIN_METRICS


def make_names(metrics: Mapping[str, Sequence[MetricRow]]) -> ScoreNames:
    """Name all scores; if there are several scorings, a name begins with the scoring.

    A baseline has one name if its metrics are the same in all scorings. They differ if the scorings
    score different rows, because a baseline is evaluated on the rows that have a score.

    Args:
        metrics: The metrics of one label, by scoring.
    """
    by_score: dict[str, dict[str, list[MetricRow]]] = {}
    for scoring, rows in metrics.items():
        for row in rows:
            by_score.setdefault(row.score, {}).setdefault(scoring, []).append(row)
    names = {}
    for score, by_scoring in by_score.items():
        first, *others = by_scoring.values()
        is_same = score not in ALL_SCORE_COLUMNS and all(rows == first for rows in others)
        for scoring in by_scoring:
            is_short = len(metrics) == 1 or is_same
            names[scoring, score] = score if is_short else f"{scoring}: {score}"
    return names


def name_items(items: Mapping[str, Sequence[Item]], names: ScoreNames) -> list[tuple[str, Item]]:
    """Metrics or curves of all scorings with the names of their scores, sorted by score.

    ``llr`` of every scoring comes first, then probes, baselines, sequence-free predictions,
    ``llr_aligned`` and the strands. A score that has one name in all scorings comes once.

    Args:
        items: Metrics or curves of one label, by scoring.
        names: The names of their scores.
    """
    owners: dict[str, str] = {}
    for (scoring, _), name in names.items():
        owners.setdefault(name, scoring)
    named = [
        (names[scoring, item.score], item)
        for scoring, of_scoring in items.items()
        for item in of_scoring
        if owners[names[scoring, item.score]] == scoring
    ]
    return sorted(named, key=lambda pair: _rank(pair[1].score))


def _rank(score: str) -> int:
    default = _SEQUENCE_FREE_RANK if is_sequence_free(score) else _BASELINE_RANK
    default = _PROBE_RANK if is_probe(score) else default
    return _SCORE_RANKS.get(score, default)


def keep_comparable(metrics: Sequence[MetricRow]) -> list[MetricRow]:
    """In each subset, keep the metrics that use the same rows as that of ``llr``.

    Args:
        metrics: One metric of the scores of one scoring and label, without differences.
    """
    num_rows = {row.place: row.num_rows for row in metrics if row.score == MAIN_SCORE}
    return [row for row in metrics if row.num_rows == num_rows[row.place]]
