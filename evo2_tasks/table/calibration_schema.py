"""The columns of the tables of ``fit_calibration`` and ``calibrate``.

``calibrate`` writes ``calibrated.parquet`` next to a table of scores, with the columns of each
calibration of the variant set. Which columns belong to which calibration is in the metadata of
their Arrow fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown
from evo2_tasks.table.schema import ALLELE, CONTIG_TYPE, RECORD, Column

ALL_STRATA: Final = "all"
"""The stratum of a row that is compared with the whole background."""

UNBOUNDED: Final = "unbounded"
"""Reason of a row whose likelihood ratio is infinite. Tables hold no infinite number."""

LR_REASON_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_score": "the score that the calibration uses is null in this row",
        "too_few_labels": "fewer than 100 labelled rows of both kinds together have this score, or "
        "fewer than 10 of one kind, or all of them are one cluster of the bootstrap",
        "too_few_folds": "the row has a label of the calibration, and its labelled rows make fewer "
        "than 5 folds, so that no likelihood ratio can be made without the row itself",
        "too_few_labels_in_other_folds": "the row has a label of the calibration, and the labelled "
        "rows outside of its fold are too few",
        UNBOUNDED: "the window of the score has no negative row, so the likelihood ratio has no "
        "upper limit. `lr_low` and `evidence` hold",
    }
)
"""Why a scored row has no likelihood ratio. A row has the first reason in this order that
applies."""

BACKGROUND_COLUMNS: Final = (
    Column(
        "stratum",
        CONTIG_TYPE,
        f"The stratum of the background that the row is compared with; `{ALL_STRATA}` is the whole "
        "background. Null if the row does not have the score of the calibration",
    ),
    Column(
        "stratum_fallback",
        pa.bool_(),
        "Whether the row is compared with the whole background because its own stratum has fewer "
        "than 100 alleles, or because it has no stratum. Null if the row does not have this score",
    ),
    Column(
        "quantile",
        pa.float64(),
        "Quantile of the score in the background, counted from the harmful end: (number more "
        "harmful + half of the number of equal) / n, from 1/(2n) to 1 - 1/(2n) for n background "
        "alleles. Low means rare and harmful. Null if the row does not have this score, or if the "
        "background has no allele with it",
    ),
    Column(
        "phred",
        pa.float64(),
        "-10 log10((number as harmful or more + 1) / (n + 1)) for n background alleles. High means "
        "rare and harmful. Null where `quantile` is null",
    ),
)
"""Columns of a calibration with a background."""

EVIDENCE_COLUMNS: Final = (
    Column(
        "lr",
        pa.float64(),
        "Likelihood ratio of the score: how many times as likely it is among positive as among "
        "negative rows. Null if the row is not scored, or for the reason in `lr_reason`",
    ),
    Column(
        "lr_low",
        pa.float64(),
        "Lower bound of the likelihood ratio: the 5 % quantile over the draws of the bootstrap",
    ),
    Column(
        "lr_high",
        pa.float64(),
        "Upper bound of the likelihood ratio: the 95 % quantile over the draws of the bootstrap. "
        "Also null if it is infinite",
    ),
    Column(
        "evidence",
        pa.int8(),
        "Evidence strength by the published method; not for clinical use. 1, 2, 3, 4 or 8 points "
        "for harmful, -1, -2, -3, -4 or -8 for benign, 0 for neither. Null if `lr` is, but not "
        "for the reason `unbounded`",
        "points",
    ),
    Column(
        "lr_reason",
        CONTIG_TYPE,
        "Why a scored row has no likelihood ratio, of a closed list; null if it has one, or is "
        "not scored",
    ),
)
"""Columns of a calibration with labels."""

CALIBRATED_COLUMNS: Final = (RECORD, ALLELE, *BACKGROUND_COLUMNS, *EVIDENCE_COLUMNS)
"""Columns of ``calibrated.parquet`` of one calibration with a background and labels."""

STRENGTH_COLUMNS: Final = (
    Column("direction", pa.string(), "`harmful` or `benign`", nullable=False),
    Column(
        "strength",
        pa.string(),
        "`supporting`, `moderate`, `strong` or `very_strong`",
        nullable=False,
    ),
    Column(
        "points",
        pa.int8(),
        "1, 2, 4 or 8 for harmful, -1, -2, -4 or -8 for benign",
        "points",
        nullable=False,
    ),
    Column(
        "posterior",
        pa.float64(),
        "The posterior probability of a positive variant that the strength requires: at least this "
        "for harmful, at most this for benign",
        nullable=False,
    ),
    Column(
        "lr",
        pa.float64(),
        "The likelihood ratio that the strength requires: at least this for harmful, at most this "
        "for benign",
        nullable=False,
    ),
    Column(
        "threshold",
        pa.float64(),
        "From all labelled rows: this score, and each one further towards the end of the "
        "direction, has the required posterior; null if no score has it",
        "nats",
    ),
    Column(
        "bound",
        pa.float64(),
        "The conservative 5 % quantile of this threshold over the draws of the bootstrap; null if "
        "the strength is not reached",
        "nats",
    ),
    Column(
        "share_without",
        pa.float64(),
        "Share of the draws in which no score has the required posterior; null without draws",
    ),
    Column(
        "reached",
        pa.bool_(),
        "Whether a bound exists: at most 5 % of the draws are without a threshold",
        nullable=False,
    ),
    Column("reason", pa.string(), "Why the strength is not reached; null if it is"),
)
"""Columns of ``calibration.parquet``: one row for each strength and direction."""

BACKGROUND_SCORE_COLUMNS: Final = (
    Column("stratum", CONTIG_TYPE, "The stratum; null for alleles without one"),
    Column("score", pa.float64(), "Score of a background allele", "nats", nullable=False),
)
"""Columns of ``background.parquet``, sorted by both: one row for each background allele."""

RATIO_COLUMNS: Final = (
    Column(
        "fold",
        pa.int32(),
        "The fold that is left out; null where all labelled rows are used",
    ),
    Column("score", pa.float64(), "The score", "nats", nullable=False),
    Column("lr", pa.float64(), "Likelihood ratio at this score; null if it is infinite"),
    Column(
        "lr_low", pa.float64(), "Lower bound: the 5 % quantile over the draws; null if infinite"
    ),
    Column(
        "lr_high", pa.float64(), "Upper bound: the 95 % quantile over the draws; null if infinite"
    ),
)
"""Columns of ``ratios.parquet``, sorted by fold and score."""

FOLD_COLUMNS: Final = (
    RECORD,
    ALLELE,
    Column("fold", pa.int32(), "The fold of the labelled row; null if it has none"),
)
"""Columns of ``folds.parquet``: the labelled rows of a calibration."""

_CALIBRATION: Final = b"calibration"
"""Key of the field metadata that names the calibration of a column."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""A name in the config."""


@dataclass(frozen=True, slots=True)
class CalibratedPart:
    """The columns of one calibration in ``calibrated.parquet``.

    Attributes:
        calibration: Name of the calibration.
        columns: Its columns in the file by their names without a prefix: ``quantile`` has the
            column ``common.quantile`` if there are several calibrations.
    """

    calibration: str
    columns: Mapping[str, Column]

    @property
    def has_background(self) -> bool:
        """Whether it has the columns of ``BACKGROUND_COLUMNS``."""
        return BACKGROUND_COLUMNS[0].name in self.columns

    @property
    def has_labels(self) -> bool:
        """Whether it has the columns of ``EVIDENCE_COLUMNS``."""
        return EVIDENCE_COLUMNS[0].name in self.columns


def make_calibrated_part(
    calibration: str, *, has_background: bool, has_labels: bool, is_prefixed: bool
) -> CalibratedPart:
    """The columns that a calibration gives a table.

    Args:
        calibration: Its name.
        has_background: Whether it has a background.
        has_labels: Whether it was made from labels.
        is_prefixed: Whether the columns are prefixed by its name, since there are several
            calibrations.
    """
    columns = (*(BACKGROUND_COLUMNS * has_background), *(EVIDENCE_COLUMNS * has_labels))
    prefix = f"{calibration}." if is_prefixed else ""
    return CalibratedPart(
        calibration,
        {
            column.name: replace(
                column,
                name=prefix + column.name,
                description=f"{column.description} (calibration `{calibration}`)",
            )
            for column in columns
        },
    )


def calibrated_schema(parts: Sequence[CalibratedPart]) -> pa.Schema:
    """Schema of ``calibrated.parquet`` with the columns of these calibrations."""
    fields = [RECORD.field(), ALLELE.field()]
    for part in parts:
        name = part.calibration.encode()
        for column in part.columns.values():
            field = column.field()
            fields.append(field.with_metadata({**field.metadata, _CALIBRATION: name}))
    return pa.schema(fields)


def find_calibrated_parts(schema: pa.Schema, where: str) -> tuple[CalibratedPart, ...]:
    """The calibrations of a ``calibrated.parquet``, in the order of their columns.

    Args:
        schema: Its schema.
        where: The file, for messages.

    Raises:
        InputError: The columns are not those that ``calibrate`` writes.
    """
    columns: dict[str, list[str]] = {}
    for field in schema:
        if field.name not in (RECORD.name, ALLELE.name):
            columns.setdefault(_read_calibration(field), []).append(field.name)
    unnamed = columns.pop("", [])
    parts = tuple(
        make_calibrated_part(
            calibration,
            has_background=_has_one_of(names, BACKGROUND_COLUMNS),
            has_labels=_has_one_of(names, EVIDENCE_COLUMNS),
            is_prefixed=len(columns) > 1,
        )
        for calibration, names in columns.items()
    )
    expected = calibrated_schema(parts)
    found, wanted = ([(field.name, field.type) for field in one] for one in (schema, expected))
    wrong = unnamed + [name for name, kind in found if (name, kind) not in wanted]
    wrong += [name for name, kind in wanted if (name, kind) not in found]
    if wrong or found != wanted or not parts:
        what = f"the column {shown(wrong[0])} is" if wrong else "the columns are"
        raise InputError(f"{where}: {what} not as `calibrate` writes them. Run `calibrate` again.")
    return parts


def names_calibration(schema: pa.Schema) -> bool:
    """Whether a column of a schema names its calibration, as those of ``calibrate`` do."""
    return any(_read_calibration(field) for field in schema)


def _read_calibration(field: pa.Field) -> str:
    """The calibration that a field names; an empty text if it names none."""
    text = (field.metadata or {}).get(_CALIBRATION, b"").decode(errors="replace")
    return text if _NAME.fullmatch(text) else ""


def _has_one_of(names: Sequence[str], columns: Sequence[Column]) -> bool:
    return not {column.name for column in columns}.isdisjoint(
        name.rpartition(".")[2] for name in names
    )


def calibration_schema() -> pa.Schema:
    """Schema of ``calibration.parquet``."""
    return pa.schema([column.field() for column in STRENGTH_COLUMNS])


def background_schema() -> pa.Schema:
    """Schema of ``background.parquet``."""
    return pa.schema([column.field() for column in BACKGROUND_SCORE_COLUMNS])


def ratios_schema() -> pa.Schema:
    """Schema of ``ratios.parquet``."""
    return pa.schema([column.field() for column in RATIO_COLUMNS])


def folds_schema() -> pa.Schema:
    """Schema of ``folds.parquet``."""
    return pa.schema([column.field() for column in FOLD_COLUMNS])
