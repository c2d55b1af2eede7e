"""The columns of what ``evaluate`` writes: figures, and the points of curves."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import pyarrow as pa

from evo2_tasks.table.schema import Column

ALL, WITH, BY_TYPE, BY_GROUP, WITHIN = "all", "with", "type", "group", "within"
SUBSETS: Final = MappingProxyType(
    {
        ALL: "all labelled rows",
        WITH: "those that have a number in a baseline which only some of the scored rows have",
        BY_TYPE: "those of one type of variant: `snv`, `mnv`, `insertion`, `deletion`, `indel`, "
        "and `symbolic`: not spelled in bases (`<DEL>`, a breakend, `*`, `.`), never scored",
        BY_GROUP: "those with one value in a column of `groups`",
        WITHIN: "all, but pairs are formed within each value of a column of `groups` only, and "
        "pooled",
    }
)
"""What a figure is of, and what that means."""

SEQUENCE_FREE: Final = "sequence-free: "
"""What the name of a group column as a baseline begins with."""

FEWEST_ROWS: Final = 10
"""Rows of each class, or in all for a number, below which an interval is too narrow to trust."""

STRAND_AGREEMENT: Final = "strand_agreement"
METRICS: Final = MappingProxyType(
    {
        "auroc": "area under the ROC curve: the share of pairs of a positive and a negative row "
        "in which the positive one is ranked as more harmful; without worth 0.5",
        "average_precision": "area under precision against recall; without worth the prevalence",
        "sensitivity_at_0.95_specificity": "share of the positive rows above a threshold that "
        "0.95 of the negative ones are below; without worth 0.05",
        "spearman": "Spearman's rank correlation with a number, both so that higher is more "
        "harmful; without worth 0",
        STRAND_AGREEMENT: "Spearman's rank correlation of `llr_fwd` and `llr_rev`",
    }
)
"""The metrics, and what they mean."""

_TEXT = pa.string()
_COUNT = pa.int64()
_NUMBER = pa.float64()

FIGURE_COLUMNS: Final = (
    Column("label", _TEXT, "INFO field or column of the labels", nullable=False),
    Column(
        "definition",
        _TEXT,
        "What counts as the label, in the words of the config: `positive: ...; negative: ...; "
        "where ...`",
        nullable=False,
    ),
    Column(
        "score",
        _TEXT,
        "What is measured: a score column of the table, a baseline, or `sequence-free: ` and the "
        "group column that alone predicts, cross-validated",
        nullable=False,
    ),
    Column(
        "minus",
        _TEXT,
        "Score whose figure is subtracted, on the rows that have both; null where it is no "
        "difference",
    ),
    Column("metric", _TEXT, "A metric of the list below", nullable=False),
    Column("subset", _TEXT, "A subset of the list below", nullable=False),
    Column("column", _TEXT, "The group column, of `group` and `within`; the baseline, of `with`"),
    Column("group", _TEXT, "Its value, of `group`; the type, of `type`"),
    Column("value", _NUMBER, "The figure; null where the data do not give it"),
    Column("low", _NUMBER, "Lower end of the 95 % interval; null where there is none"),
    Column("high", _NUMBER, "Its upper end"),
    Column("reason", _TEXT, "Why there is no value or no interval; empty else", nullable=False),
    Column("num_rows", _COUNT, "Rows that it rests on", "rows", nullable=False),
    Column("num_positive", _COUNT, "Those that are positive; null for numbers", "rows"),
    Column("num_negative", _COUNT, "Those that are negative; null for numbers", "rows"),
    Column("prevalence", _NUMBER, "Share of the positive ones; null for numbers"),
    Column(
        "num_unscored", _COUNT, "Labelled rows left out, without a score", "rows", nullable=False
    ),
    Column(
        "unscored_by_status",
        pa.map_(_TEXT, _COUNT),
        "Why they have none: rows by status; `scored` are those that lack the baseline",
        "rows",
        nullable=False,
    ),
    Column(
        "num_clusters",
        _COUNT,
        "Positions, or values of `resample_by`, drawn as one",
        nullable=False,
    ),
    Column("num_resamples", _COUNT, "Draws that the interval rests on", nullable=False),
    Column("num_dropped", _COUNT, "Draws that left the figure undefined", nullable=False),
    Column(
        "left_out",
        pa.map_(_TEXT, _COUNT),
        "Rows of the table without a label, by the first reason: `no value`, `another value`, "
        "`positive and negative`, `where` and a field, `min_review_stars`",
        "rows",
        nullable=False,
    ),
)
"""``figures.parquet``: a row for each figure of a variant set and scoring."""

CURVES: Final = MappingProxyType(
    {
        "roc": "`x` share of the negative rows above the threshold, `y` of the positive ones",
        "precision_recall": "`x` recall, `y` precision",
        "distribution": "`x` middle of a bin of the score, `y` share of the class inside",
        "number": "`x` median of the score in a tenth of the rows, `y` median of the number, `low` "
        "and `high` its quartiles",
    }
)
"""The curves, and what their axes are; scores and numbers have the sign of the table."""

CURVE_COLUMNS: Final = (
    Column("label", _TEXT, "INFO field or column of the labels", nullable=False),
    Column("score", _TEXT, "As in the figures", nullable=False),
    Column("curve", _TEXT, "A curve of the list below", nullable=False),
    Column("part", _TEXT, "`positive` or `negative`, of a distribution"),
    Column("x", _NUMBER, "See the list", nullable=False),
    Column("y", _NUMBER, "See the list; null where it is undefined"),
    Column("low", _NUMBER, "Lower end of the 95 % interval of `y`; null where there is none"),
    Column("high", _NUMBER, "Its upper end"),
)
"""``curves.parquet``: points for drawing, in the order of ``x`` within a curve."""


def is_small(num_rows: int, num_positive: int | None, num_negative: int | None) -> bool:
    """Whether a figure rests on so few rows that its interval is too narrow to trust."""
    counts = (
        [num_rows] if num_positive is None or num_negative is None else [num_positive, num_negative]
    )
    return min(counts) < FEWEST_ROWS


def figures_schema() -> pa.Schema:
    """Schema of ``figures.parquet``."""
    return pa.schema([column.field() for column in FIGURE_COLUMNS])


def curves_schema() -> pa.Schema:
    """Schema of ``curves.parquet``."""
    return pa.schema([column.field() for column in CURVE_COLUMNS])
