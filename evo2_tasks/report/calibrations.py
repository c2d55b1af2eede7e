"""The calibrations of a scoring: the files that the report shows, and whether they fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import CALIBRATED
from evo2_tasks.report.bins import FloatArray
from evo2_tasks.report.calibrated_scores import CalibratedScores, Counted, count_calibrated
from evo2_tasks.table.calibrated import open_calibrated
from evo2_tasks.table.calibration_schema import RATIO_COLUMNS, STRENGTH_COLUMNS
from evo2_tasks.table.calibrations import (
    BACKGROUND_TABLE,
    LABELLED_TABLE,
    CalibrationFiles,
    open_calibration,
)
from evo2_tasks.table.documents import Calibration
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.statements import require_stated_settings

MOST_RATIOS: Final = 600
"""Most scores whose likelihood ratio is drawn."""


@dataclass(frozen=True, slots=True)
class NamedCalibration:
    """A calibration that the config names.

    Attributes:
        file: Its ``calibration.parquet``, with the other files next to it.
        settings: What ``fit_calibration`` must have made it with; None if it is of an earlier run.
    """

    file: Path
    settings: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Threshold:
    """A row of ``calibration.parquet``; ``STRENGTH_COLUMNS`` describes the fields."""

    direction: str
    strength: str
    points: int
    posterior: float
    lr: float
    threshold: float | None
    bound: float | None
    share_without: float | None
    reached: bool
    reason: str | None

    @property
    def name(self) -> str:
        """The strength in words."""
        return self.strength.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Ratios:
    """Likelihood ratios by score, from all labelled rows.

    Attributes:
        scores: Rising, nats. (N,)
        lr: Likelihood ratio; 0 and infinity are possible. (N,)
        low: Lower bound; NaN without one. (N,)
        high: Upper bound; NaN without one. (N,)
        num_scores: Scores of the file, of which ``MOST_RATIOS`` at most are here.
    """

    scores: FloatArray
    lr: FloatArray
    low: FloatArray
    high: FloatArray
    num_scores: int


@dataclass(frozen=True, slots=True)
class CalibrationEvidence:
    """A calibration of a scoring.

    Attributes:
        name: Name of the calibration in the config.
        stated: What its files state about it.
        thresholds: The strengths of both directions; none without labels.
        ratios: The likelihood ratios; None if there are none.
        scores: The alleles of the set.
        ratio_column: The column of its likelihood ratios, which ``evaluate`` names as the score of
            their metrics; None without labels.
        is_own_set: Whether the labelled rows are rows of this table.
        background: The background as the config of its run names it; None without one.
        labelled: The variant set with the labels; None without labels.
    """

    name: str
    stated: Calibration
    thresholds: Sequence[Threshold]
    ratios: Ratios | None
    scores: CalibratedScores
    ratio_column: str | None
    is_own_set: bool
    background: str | None
    labelled: str | None


def read_calibrations(
    table: Path,
    named: Mapping[str, NamedCalibration],
    labels: Sequence[LabelSettings],
    *,
    table_digest: str,
) -> list[CalibrationEvidence]:
    """Read the calibrations of a scoring, and count the alleles of its table by them.

    Args:
        table: The table of scores, with ``calibrated.parquet`` next to it.
        named: The calibrations of the set, by name; empty without calibrations.
        labels: The labels of the variant set.
        table_digest: SHA-256 of the table.

    Raises:
        InputError: A file is missing or broken, or was made from another table or calibration, or
            with other settings.
    """
    if not named:
        return []
    calibrated = open_calibrated(table, table_digest=table_digest)
    if calibrated is None:
        raise InputError(
            f"{shown_path(table.with_name(CALIBRATED))}: does not exist. Run `calibrate` first."
        )
    parts = {one.calibration: one for one in calibrated.parts}
    if [*parts] != [*named]:
        raise InputError(
            f"{shown_path(calibrated.path)}: has the columns of {_listed(parts)}, but the config "
            f"names {_listed(named)}. Run `calibrate` again."
        )
    sources = SourceFiles()
    opened = {name: open_calibration(one.file, sources) for name, one in named.items()}
    used = calibrated.provenance.inputs or {}
    for name, one in opened.items():
        expected = named[name].settings
        if expected is not None:
            require_stated_settings(one.file, expected, "fit_calibration")
        if used.get(name) != one.digest:
            raise InputError(
                f"{shown_path(calibrated.path)}: was made with another version of "
                f"{shown_path(one.file)}. Run `calibrate` again."
            )
    counted = [
        Counted(
            part=parts[name],
            score=one.statement.score,
            background=one.background if parts[name].has_background else None,
            has_strata=bool(one.statement.by),
            label=choose_label(labels, one.statement.label),
        )
        for name, one in opened.items()
    ]
    scores = count_calibrated(table, calibrated, counted)
    found = [
        CalibrationEvidence(
            name=name,
            stated=one.statement,
            thresholds=_read_thresholds(one),
            ratios=_read_ratios(one.ratios),
            scores=of_set,
            ratio_column=parts[name].columns["lr"].name if parts[name].has_labels else None,
            is_own_set=one.has_labelled_rows(table, table_digest),
            background=one.source(BACKGROUND_TABLE),
            labelled=one.source(LABELLED_TABLE),
        )
        for (name, one), of_set in zip(opened.items(), scores, strict=True)
    ]
    sources.require_unchanged()
    return found


def choose_label(labels: Sequence[LabelSettings], field: str | None) -> LabelSettings | None:
    """The label of a set whose classes are shown next to a calibration.

    It is that of the same field as the label of the calibration, else the first with two classes.

    Args:
        labels: The labels of the set.
        field: Field of the label of the calibration; None without one.
    """
    of_classes = [label for label in labels if label.harmful is None]
    same = [label for label in of_classes if label.field == field]
    return next(iter([*same, *of_classes]), None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(shown, names)) or "no calibration"


def _read_thresholds(one: CalibrationFiles) -> list[Threshold]:
    columns = [column.name for column in STRENGTH_COLUMNS]
    required = [column.name for column in STRENGTH_COLUMNS if not column.nullable]
    rows = [row for batch in read_rows(one.file, columns) for row in batch.to_pylist()]
    has_labels = one.statement.label is not None
    is_whole = all(row[name] is not None for row in rows for name in required)
    if bool(rows) != has_labels or not is_whole or not all(0 < row["lr"] < inf for row in rows):
        raise InputError(
            f"{shown_path(one.file)}: its strengths are not as `fit_calibration` writes them. Run "
            "`fit_calibration` again."
        )
    return [Threshold(**row) for row in rows]


def _read_ratios(file: Path) -> Ratios | None:
    """The likelihood ratios from all labelled rows; None if there are none."""
    pieces = []
    for batch in read_rows(file, [column.name for column in RATIO_COLUMNS]):
        rows = batch.filter(pc.is_null(batch.column("fold")))
        pieces.append(
            np.stack([pc.fill_null(rows.column(name), math.inf).to_numpy(zero_copy_only=False)
                      for name in ("score", "lr", "lr_low", "lr_high")])
        )  # fmt: skip
    numbers = np.concatenate(pieces, axis=1) if pieces else np.empty((4, 0))
    num_scores = numbers.shape[1]
    if not num_scores:
        return None
    drawn = np.unique(np.linspace(0, num_scores - 1, MOST_RATIOS).round().astype(np.int64))
    scores, lr, low, high = numbers[:, drawn]
    return Ratios(scores, lr, low, high, num_scores)
