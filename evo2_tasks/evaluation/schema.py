"""The columns of the two tables that ``evaluate`` writes: metrics and points of curves."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from evo2_tasks.io.words import shown
from evo2_tasks.table.schema import Column

ALL, WITH, BY_TYPE, BY_GROUP, WITHIN = "all", "with", "type", "group", "within"
SUBSETS: Final = MappingProxyType(
    {
        ALL: "all labelled rows",
        WITH: "the rows with a value in a baseline that some of the scored rows lack",
        BY_TYPE: "the rows of one type of variant: `snv`, `mnv`, `insertion`, `deletion`, `indel` "
        "or `symbolic`; `<DEL>` is a deletion, `<DUP>` and `<INS>` are insertions, `<INV>` is an "
        "`mnv`; other alleles that are not spelled in bases (`<CNV>`, a breakend, `*`, `.`) are "
        "`symbolic` and never have a score",
        BY_GROUP: "the rows with one value in a column of `groups`",
        WITHIN: "all labelled rows, but only pairs of rows with the same value in a column of "
        "`groups` are compared; the pairs of all values are pooled",
    }
)
"""The subsets of rows on which a metric is computed, and what they contain."""

_SEQUENCE_FREE: Final = "sequence-free: "
_PROBE: Final = "probe: "

FEWEST_ROWS: Final = 10
"""Rows (of each class, if there are classes) below which an interval is too narrow to trust."""

FEWEST_VALUES: Final = 5
"""Fewest values of a group column that are checked for being too many."""

STRAND_AGREEMENT: Final = "strand_agreement"
THRESHOLD: Final = "threshold_at_0.95_specificity"
BRIER, BRIER_SKILL = "brier", "brier_skill"
CALIBRATION_ERROR: Final = "expected_calibration_error"
METRICS: Final = MappingProxyType(
    {
        "auroc": "share of pairs of a positive and a negative row in which the positive row is "
        "ranked as more harmful (the area under the ROC curve); chance level 0.5",
        "average_precision": "area under the precision-recall curve; its chance level is the "
        "prevalence",
        "sensitivity_at_0.95_specificity": "share of the positive rows above a threshold that "
        "0.95 of the negative rows are below; chance level 0.05",
        THRESHOLD: "the threshold of that sensitivity, with the sign that the score has in the "
        "table: for `llr`, rows at or below it are called positive",
        "spearman": "Spearman's rank correlation with a number, both oriented so that higher is "
        "more harmful; chance level 0",
        STRAND_AGREEMENT: "Spearman's rank correlation of `llr_fwd` and `llr_rev`",
        BRIER: "mean squared difference between the probability that follows from `lr` and the "
        "label (1 for positive, 0 for negative); lower is better",
        BRIER_SKILL: "1 minus the Brier score divided by that of the prevalence as the probability "
        "of every row; chance level 0",
        CALIBRATION_ERROR: "mean difference between the mean probability and the share of positive "
        "rows in ten bins, weighted by the rows of each bin; lower is better",
    }
)
"""The metrics and their definitions."""

OF_PROBABILITIES: Final = (BRIER, BRIER_SKILL, CALIBRATION_ERROR)
"""The metrics of the probabilities that follow from likelihood ratios."""

_TEXT = pa.string()
_COUNT = pa.int64()
_NUMBER = pa.float64()

METRIC_COLUMNS: Final = (
    Column("label", _TEXT, "INFO field or column of the labels", nullable=False),
    Column(
        "definition",
        _TEXT,
        "Which rows are labelled, in the words of the config: `positive: ...; negative: ...; "
        "where ...`",
        nullable=False,
    ),
    Column(
        "score",
        _TEXT,
        "The score that is evaluated: a score column of the table, a baseline, or "
        "`sequence-free: ` and a group column, for the cross-validated prediction from that "
        "column alone",
        nullable=False,
    ),
    Column(
        "minus",
        _TEXT,
        "For a difference of two scores: the score whose metric is subtracted, on the rows that "
        "have both scores; null otherwise",
    ),
    Column("metric", _TEXT, "Name of the metric, see the list below", nullable=False),
    Column("subset", _TEXT, "Kind of the subset of rows, see the list below", nullable=False),
    Column(
        "column",
        _TEXT,
        "For the subsets `group` and `within`: the group column; for `with`: the baseline",
    ),
    Column(
        "group",
        _TEXT,
        "For the subset `group`: the value of the group column; for `type`: the type of variant",
    ),
    Column("value", _NUMBER, "The metric, or the difference; null where the data do not define it"),
    Column("low", _NUMBER, "Lower end of the 95 % interval; null where there is no interval"),
    Column("high", _NUMBER, "Upper end of the 95 % interval; null where there is no interval"),
    Column(
        "reason",
        _TEXT,
        "Why the value or the interval is missing; empty if neither is missing",
        nullable=False,
    ),
    Column("num_rows", _COUNT, "Rows from which the value is computed", "rows", nullable=False),
    Column("num_positive", _COUNT, "Positive rows among them; null for a numeric label", "rows"),
    Column("num_negative", _COUNT, "Negative rows among them; null for a numeric label", "rows"),
    Column("prevalence", _NUMBER, "Share of the positive rows; null for a numeric label"),
    Column(
        "num_unscored",
        _COUNT,
        "Labelled rows that are left out because they have no score",
        "rows",
        nullable=False,
    ),
    Column(
        "unscored_by_status",
        pa.map_(_TEXT, _COUNT),
        "The rows without a score by their status; rows with status `scored` lack the baseline",
        "rows",
        nullable=False,
    ),
    Column(
        "num_clusters",
        _COUNT,
        "Clusters that the bootstrap draws: positions, or values of `resample_by`",
        nullable=False,
    ),
    Column("num_resamples", _COUNT, "Draws from which the interval is computed", nullable=False),
    Column(
        "num_dropped",
        _COUNT,
        "Draws that are left out because the metric is undefined for them",
        nullable=False,
    ),
    Column(
        "left_out",
        pa.map_(_TEXT, _COUNT),
        "Rows of the table without a label, each counted under the first reason that applies: "
        "`no value`, `another value`, `positive and negative`, `where` and a field, "
        "`min_review_stars`",
        "rows",
        nullable=False,
    ),
)
"""Columns of ``metrics.parquet``: one row for each metric, score and subset of rows."""

RATIO_METRIC_COLUMNS: Final = (
    Column(
        "num_from_folds",
        _COUNT,
        "For `lr`: rows whose `lr` comes from a fold, that is from labelled rows of other folds; "
        "for the others it comes from all labelled rows of the calibration. Null for other scores, "
        "and if the config has no longer the label of a calibration that was made from this table",
        "rows",
    ),
    Column(
        "lr_reasons",
        pa.map_(_TEXT, _COUNT),
        "For `lr`: the scored rows without a likelihood ratio, by their `lr_reason`, without those "
        "of the reason `unbounded`, whose probability is 1; null for other scores",
        "rows",
    ),
)
"""Columns that follow if a calibration of the variant set has labels."""

CALIBRATION_CURVE: Final = "calibration"
CURVES: Final = MappingProxyType(
    {
        "roc": "`x`: share of the negative rows above the threshold; `y`: share of the positive "
        "rows above it",
        "precision_recall": "`x`: recall; `y`: precision",
        "cumulative": "for a class of at most 200 rows, a point for each row: `x`: its score; `y`: "
        "share of the class with this score or a lower one",
        "distribution": "`x`: middle of a bin of the score; `y`: share of the class in the bin",
        "number": "for a numeric label, a point for each tenth of the rows in the order of the "
        "score: `x`: median of the score; `y`: median of the label; `low` and `high`: quartiles of "
        "the label",
        CALIBRATION_CURVE: "for `lr`, a point for each of ten bins of the rows in the order of "
        "`lr`: `x`: mean of the probabilities that follow from `lr`; `y`: share of positive rows",
    }
)
"""The curves and their axes. Scores and numbers have the sign that they have in the table."""

CURVE_COLUMNS: Final = (
    Column("label", _TEXT, "INFO field or column of the labels", nullable=False),
    Column("score", _TEXT, "The score that is evaluated, as in the metrics", nullable=False),
    Column("curve", _TEXT, "Kind of the curve, see the list below", nullable=False),
    Column(
        "part",
        _TEXT,
        "For a distribution and for shares at or below a score: `positive` or `negative`; null "
        "otherwise",
    ),
    Column("x", _NUMBER, "See the list below", nullable=False),
    Column("y", _NUMBER, "See the list below; null where it is undefined"),
    Column(
        "low", _NUMBER, "Lower end of the 95 % interval of `y`; null where there is no interval"
    ),
    Column(
        "high", _NUMBER, "Upper end of the 95 % interval of `y`; null where there is no interval"
    ),
    Column("record", _COUNT, "The row of a point that is one row: its `record` in the table"),
    Column("allele", _COUNT, "The row of a point that is one row: its `allele` in the table"),
)
"""Columns of ``curves.parquet``: one row for each point, in the order of ``x`` within a curve."""


def name_sequence_free(column: str) -> str:
    """Name of the score that a group column alone predicts, without any sequence."""
    return f"{_SEQUENCE_FREE}{column}"


def is_sequence_free(score: str) -> bool:
    """Whether a score is predicted from a group column alone."""
    return score.startswith(_SEQUENCE_FREE)


def name_probe(probe: str) -> str:
    """Name of the score that a probe predicts."""
    return f"{_PROBE}{probe}"


def is_probe(score: str) -> bool:
    """Whether a score is the prediction of a probe."""
    return score.startswith(_PROBE)


def is_small(num_rows: int, num_positive: int | None, num_negative: int | None) -> bool:
    """Whether a metric has so few rows that its interval is too narrow to trust."""
    counts = (
        [num_rows] if num_positive is None or num_negative is None else [num_positive, num_negative]
    )
    return min(counts) < FEWEST_ROWS


def explain_fine_groups(column: str, sizes: Sequence[int]) -> str:
    """Explain why groups have too few rows to be evaluated: most rows have a value of their own.

    Args:
        column: The group column.
        sizes: Labelled rows of its values, of the largest ones if there are many.

    Returns:
        A sentence; empty if the groups are large enough.
    """
    num_alone = sum(size == 1 for size in sizes)
    if len(sizes) < FEWEST_VALUES or 2 * num_alone < sum(sizes):
        return ""
    return (
        f"groups: {shown(column)}: {num_alone} of its {len(sizes)} most frequent values belong to "
        "one labelled variant each, and one variant cannot be evaluated. Name a field whose values "
        "are shared by many variants, for example a consequence or a gene"
    )


def metrics_schema(*, has_ratios: bool = False) -> pa.Schema:
    """Schema of ``metrics.parquet``.

    Args:
        has_ratios: Whether it has the columns about likelihood ratios.
    """
    columns = [*METRIC_COLUMNS, *(RATIO_METRIC_COLUMNS if has_ratios else ())]
    return pa.schema([column.field() for column in columns])


def curves_schema() -> pa.Schema:
    """Schema of ``curves.parquet``."""
    return pa.schema([column.field() for column in CURVE_COLUMNS])
