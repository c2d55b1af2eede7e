"""The input of the report about combined tables: several scorings of the same alleles.

A combined table is read once, piece by piece. Correlations and quantiles are computed from a
sample, so that memory does not grow with the number of rows.

Shapes: M scores (of scorings and ensembles), R sampled rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import LabelledRows, find_score_columns, read_labelled_rows
from evo2_tasks.evaluation.metrics import mean_ranks
from evo2_tasks.evaluation.results import Curve, MetricRow, read_curves, read_metrics
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.digests import digest_file, require_unchanged
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import COMBINED, CURVES, METRICS, TABLE, TABLES
from evo2_tasks.report.bins import MOST_SAMPLED, FloatArray
from evo2_tasks.table.combined import member_column, read_combination
from evo2_tasks.table.documents import Combination, CombinedScoring
from evo2_tasks.table.parquet import count_rows, read_rows
from evo2_tasks.table.provenance import differing_keys, require_source
from evo2_tasks.table.schema import STATUS
from evo2_tasks.table.statements import read_statement, require_stated_settings, require_table

FOLLOWING: Final = ("max_allele_length", "min_context", "window_step")
"""Settings of a scoring whose defaults follow the window length."""

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a score in some rows.

    Attributes:
        quantiles: The ``QUANTILES`` of the score.
        num_rows: The rows.
    """

    quantiles: Sequence[float]
    num_rows: int


@dataclass(frozen=True, slots=True)
class WindowLength:
    """A scoring among those that differ in window length alone.

    Attributes:
        scoring: Name of the scoring.
        score: Column of its score.
        length: Window length, bases.
        spread: Its scores in the rows that are scored in all scorings.
        by_class: The same of the positive and the negative rows, by label with two classes.
        spearman: Rank correlation with the scores of the longest windows; None where it is
            undefined.
        rms: Root mean square of the differences from these, nats; None if no row has both.
    """

    scoring: str
    score: str
    length: int
    spread: Spread
    by_class: Mapping[str, Mapping[str, Spread]]
    spearman: float | None
    rms: float | None


@dataclass(frozen=True, slots=True)
class CombinedEvidence:
    """A combined table of the variant set.

    Attributes:
        stated: What it states about its scorings and ensembles.
        num_rows: Rows of the table.
        scores: Columns of the scores of the scorings, then the ensembles. (M,)
        step: One row in ``step`` of those that are scored in all scorings is sampled.
        num_sampled: The sampled rows. R
        correlations: Rank correlation of each two scores in the sampled rows; NaN where it is
            undefined. (M, M)
        lengths: Groups of scorings that differ in window length alone, the shortest window first.
        metrics: How well the scores separate the labels; empty without labels.
        curves: Curves of the scores and labels; empty without labels.
    """

    stated: Combination
    num_rows: int
    scores: Sequence[str]
    step: int
    num_sampled: int
    correlations: FloatArray
    lengths: Sequence[Sequence[WindowLength]]
    metrics: Sequence[MetricRow]
    curves: Sequence[Curve]


def read_combined_evidence(
    folder: Path,
    labels: Sequence[LabelSettings],
    *,
    table_digests: Mapping[str, str],
    settings: Mapping[str, Any],
    evaluate_settings: Mapping[str, Any] | None = None,
) -> CombinedEvidence:
    """Read the files of a combination.

    Args:
        folder: Its folder, in that of the variant set.
        labels: The labels of the variant set; if there are any, the table was evaluated.
        table_digests: SHA-256 of the table of each scoring of the variant set.
        settings: What the table must have been made with.
        evaluate_settings: What its metrics must have been made with. Default: they are not
            compared.

    Raises:
        InputError: A file is missing or broken, belongs to another table, was made with other
            settings, or was replaced meanwhile.
    """
    table = folder / COMBINED
    needed = {COMBINED: "combine", **({METRICS: "evaluate", CURVES: "evaluate"} if labels else {})}
    for name, command in needed.items():
        if not (folder / name).exists():
            raise InputError(
                f"{shown_path(folder / name)}: does not exist. Run `{command}` for the "
                f"combination {folder.name} first."
            )
    digest = digest_file(table)
    require_stated_settings(table, settings, "combine")
    stated = read_combination(table)
    if stated is None:
        raise InputError(f"{shown_path(table)}: is not a table of `combine`. Run `combine` again.")
    for one in stated.scorings:
        source = folder.parent.parent / one.name / TABLE
        require_source(table, one.table, source, table_digests.get(one.name))
    if labels:
        statements = [read_statement(folder / name, TABLES[name]) for name in (METRICS, CURVES)]
        require_table(table, statements, table_digest=digest)
        for name in (METRICS, CURVES) if evaluate_settings is not None else ():
            require_stated_settings(folder / name, evaluate_settings or {}, TABLES[name])
    evidence = _summarize(table, stated, labels)
    require_unchanged(table, digest)
    return evidence


def _summarize(
    table: Path, stated: Combination, labels: Sequence[LabelSettings]
) -> CombinedEvidence:
    scores = find_score_columns(table).main
    step = max(1, math.ceil(stated.scored / MOST_SAMPLED))
    sample = _sample(table, scores, step)
    labelled = {label.field: read_labelled_rows(table, label) for label in labels}
    return CombinedEvidence(
        stated=stated,
        num_rows=count_rows(table),
        scores=scores,
        step=step,
        num_sampled=sample.shape[1],
        correlations=correlate(sample),
        lengths=[
            _compare_lengths(group, stated.score, dict(zip(scores, sample, strict=True)), labelled)
            for group in group_by_length(stated.scorings)
        ],
        metrics=read_metrics(table.with_name(METRICS)) if labels else [],
        curves=read_curves(table.with_name(CURVES)) if labels else [],
    )


def _sample(table: Path, scores: Sequence[str], step: int) -> FloatArray:
    """The scores of every N-th row that is scored in all scorings. (M, R)."""
    pieces = [np.empty((len(scores), 0))]
    num_seen = 0
    for batch in read_rows(table, [STATUS.name, *scores]):
        rows = batch.filter(pc.equal(batch.column(STATUS.name), "scored"))
        start = -num_seen % step
        values = [rows.column(name).to_numpy(zero_copy_only=False)[start::step] for name in scores]
        pieces.append(np.array(values, dtype=np.float64).reshape(len(scores), -1))
        num_seen += rows.num_rows
    return np.concatenate(pieces, axis=1)


def correlate(sample: FloatArray) -> FloatArray:
    """Spearman's correlation of each two of M scores, each on the rows that have both.

    Args:
        sample: The scores; NaN where a row has none. (M, R)

    Returns:
        The correlations; NaN where there are fewer than two rows, or all values are equal. (M, M)
    """
    found = np.full((len(sample), len(sample)), np.nan)
    for one, first in enumerate(sample):
        for other in range(one, len(sample)):
            both = np.isfinite(first) & np.isfinite(sample[other])
            ranks = np.array([mean_ranks(scores[both]) for scores in (first, sample[other])])
            if both.sum() > 1 and np.ptp(ranks, axis=1).all():
                found[one, other] = found[other, one] = np.corrcoef(ranks)[0, 1]
    return found


def group_by_length(scorings: Sequence[CombinedScoring]) -> list[list[CombinedScoring]]:
    """Groups of scorings that differ in window length alone, and in what follows it.

    Returns:
        Groups of two and more scorings, the shortest window first.
    """
    groups: list[list[CombinedScoring]] = []
    for one in scorings:
        rest = _without_length(one)
        for group in groups:
            if not differing_keys(rest, _without_length(group[0])):
                group.append(one)
                break
        else:
            groups.append([one])
    sizes = [[find_length(one) for one in group] for group in groups]
    return [
        sorted(group, key=find_length)
        for group, lengths in zip(groups, sizes, strict=True)
        if len(group) > 1 and 0 not in lengths and len({*lengths}) == len(group)
    ]


def find_length(one: CombinedScoring) -> int:
    """The window length of a scoring, bases; 0 if its signature does not state it."""
    length = one.signature.scoring.get("window_length")
    return length if isinstance(length, int) else 0


def _without_length(one: CombinedScoring) -> dict[str, Any]:
    signature = one.signature.as_json()
    dropped = ("window_length", *FOLLOWING)
    kept = {key: value for key, value in signature["scoring"].items() if key not in dropped}
    return {**signature, "scoring": kept}


def _compare_lengths(
    group: Sequence[CombinedScoring],
    score: str,
    sample: Mapping[str, FloatArray],
    labelled: Mapping[str, LabelledRows],
) -> list[WindowLength]:
    """The scores of each window length, next to those of the longest windows."""
    columns = {one.name: member_column(one.name, score) for one in group}
    longest = sample[columns[group[-1].name]]
    found = []
    for one in group:
        column = columns[one.name]
        values = sample[column]
        both = np.isfinite(values) & np.isfinite(longest)
        correlation = correlate(np.stack([values, longest]))[0, 1]
        differences = (values - longest)[both]
        found.append(
            WindowLength(
                scoring=one.name,
                score=column,
                length=find_length(one),
                spread=_measure(values),
                by_class={
                    field: {
                        # Labelled rows have the scores with the sign turned.
                        "positive": _measure(-rows.scores[column][rows.target]),
                        "negative": _measure(-rows.scores[column][~rows.target]),
                    }
                    for field, rows in labelled.items()
                    if rows.has_classes
                },
                spearman=float(correlation) if np.isfinite(correlation) else None,
                rms=float(np.sqrt(np.mean(differences**2))) if both.any() else None,
            )
        )
    return found


def _measure(values: FloatArray) -> Spread:
    finite = values[np.isfinite(values)]
    found = np.quantile(finite, QUANTILES) if len(finite) else np.full(len(QUANTILES), np.nan)
    return Spread(found.tolist(), len(finite))
