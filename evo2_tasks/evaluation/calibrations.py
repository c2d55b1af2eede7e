"""The calibrated columns of labelled rows, and the metrics of their likelihood ratios.

A quantile among strata of the background is one more score. Likelihood ratios give probabilities,
whose metrics are in ``probabilities``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, number_groups
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import AddWork
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.measurements import PlannedMetrics, Subset
from evo2_tasks.evaluation.probabilities import draw_calibration_curve, to_even_odds
from evo2_tasks.evaluation.results import Curve, MetricRow
from evo2_tasks.evaluation.schema import ALL, CALIBRATION_CURVE
from evo2_tasks.evaluation.selection import LabelSettings, Selection, orient
from evo2_tasks.evaluation.values import Text, read_texts
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.calibrated import Calibrated, read_calibrated_rows
from evo2_tasks.table.calibration_schema import UNBOUNDED, CalibratedPart
from evo2_tasks.table.calibrations import CALIBRATIONS, LABELLED_TABLE
from evo2_tasks.table.parquet import open_table, read_metadata
from evo2_tasks.table.provenance import PREFIX, read_object

_STRATUM: Final = "stratum"
_QUANTILE: Final = "quantile"
_RATIO: Final = "lr"
_REASON: Final = "lr_reason"


@dataclass(frozen=True, slots=True)
class LabelledRatios:
    """The likelihood ratios of a calibration for the N labelled rows.

    Attributes:
        score: Name of the column of ratios.
        even: Probabilities at even odds; NaN where a row has no ratio. (N,)
        reason: Why a scored row has no ratio. (N,)
        is_from_folds: Whether a ratio was made without the fold of the row; None if it is not known
            which rows have a label of the calibration. (N,)
    """

    score: str
    even: FloatArray
    reason: Text
    is_from_folds: BoolArray | None


@dataclass(frozen=True, slots=True)
class LabelledCalibrations:
    """The calibrated columns of the N labelled rows.

    Attributes:
        quantiles: Quantiles by the name of their column, of calibrations whose rows are of several
            strata. A lower quantile is more harmful. Each (N,)
        ratios: The ratios of each calibration with labels.
    """

    quantiles: Mapping[str, FloatArray]
    ratios: Sequence[LabelledRatios]


NO_CALIBRATIONS: Final = LabelledCalibrations({}, ())


def find_own_labels(
    calibrated: Calibrated, labels: Mapping[str, LabelSettings]
) -> dict[str, LabelSettings | None]:
    """Find the labels from which calibrations were made, of those made from this very table.

    Args:
        calibrated: The calibrated columns of the table.
        labels: The labels of the variant set by their fields.

    Returns:
        Labels by calibration; None if the file does not state it, or the variant set does not have
        it any more.

    Raises:
        InputError: The file is broken.
    """
    key = CALIBRATIONS.removeprefix(PREFIX)
    stated = read_object(calibrated.path, read_metadata(calibrated.path), key) or {}
    own: dict[str, LabelSettings | None] = {}
    for part in calibrated.parts:
        made_from = stated.get(part.calibration)
        if not part.has_labels:
            continue
        if not isinstance(made_from, Mapping):
            own[part.calibration] = None
        elif made_from.get(LABELLED_TABLE) == calibrated.provenance.source:
            label = labels.get(str(made_from.get("label")))
            is_same = label is not None and label.definition == made_from.get("definition")
            own[part.calibration] = label if is_same else None
    return own


def read_labelled_calibrations(
    table: Path,
    calibrated: Calibrated,
    label: LabelSettings,
    own_labels: Mapping[str, LabelSettings | None],
) -> LabelledCalibrations:
    """Read the calibrated columns of the rows that have a label.

    Args:
        table: The result of ``merge``.
        calibrated: The file next to it.
        label: The field of labels.
        own_labels: The label of each calibration that was made from the rows of this very table;
            None if the config does not have this label any more.

    Raises:
        InputError: A file is broken, or the two have other rows.
    """
    parts = calibrated.parts
    names = [
        part.columns[name].name
        for part in parts
        for name in (_STRATUM, _QUANTILE, _RATIO, _REASON)
        if name in part.columns
    ]
    fields = [name for one in (label, *own_labels.values()) if one for name in one.fields]
    selection = Selection(label, table)
    own = {name: Selection(one, table) for name, one in own_labels.items() if one}
    with open_table(calibrated.path, names) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
    pieces = [schema.empty_table()]
    is_own = {name: [np.empty(0, dtype=bool)] for name in own}
    for batch in read_calibrated_rows(table, calibrated, [*dict.fromkeys([*fields, *names])]):
        rows = pa.Table.from_batches([batch])
        is_labelled, _ = selection.choose(rows)
        pieces.append(rows.select(names).cast(schema).filter(pa.array(is_labelled)))
        for name, one in own.items():
            is_own[name].append(one.choose(rows)[0][is_labelled])
    found = pa.concat_tables(pieces)
    ratios = []
    for part in parts:
        if part.has_labels:
            known = part.calibration not in own_labels or part.calibration in own
            of_own = is_own.get(part.calibration, [np.zeros(found.num_rows, dtype=bool)])
            is_from_folds = np.concatenate(of_own) if known else None
            ratios.append(_make_ratios(found, part, is_from_folds, calibrated.path))
    return LabelledCalibrations(
        quantiles={
            part.columns[_QUANTILE].name: _read_numbers(found, part, _QUANTILE)
            for part in parts
            if part.has_background and _has_strata(found, part)
        },
        ratios=ratios,
    )


def _has_strata(rows: pa.Table, part: CalibratedPart) -> bool:
    """Whether rows are compared with different strata: otherwise their order is that of the score.

    A row that is not scored has no stratum.
    """
    strata = rows[part.columns[_STRATUM].name].cast(pa.string()).drop_null()
    return len(pc.unique(strata)) > 1


def _read_numbers(rows: pa.Table, part: CalibratedPart, name: str) -> FloatArray:
    """A column of numbers; NaN where there is none. (N,)."""
    values: FloatArray = rows[part.columns[name].name].to_numpy().astype(np.float64, copy=True)
    return values


def _make_ratios(
    rows: pa.Table, part: CalibratedPart, is_from_folds: BoolArray | None, source: Path
) -> LabelledRatios:
    name, ratios = part.columns[_RATIO].name, _read_numbers(rows, part, _RATIO)
    reason = read_texts(rows[part.columns[_REASON].name])
    ratios[reason == UNBOUNDED] = np.inf
    if (ratios < 0).any():
        raise InputError(
            f"{shown_path(source)}: column {name}: expected numbers from 0 on, got "
            f"{ratios[ratios < 0][0]:g}. Run `calibrate` again."
        )
    even = to_even_odds(ratios)
    return LabelledRatios(
        score=name,
        even=even,
        reason=reason,
        is_from_folds=None if is_from_folds is None else is_from_folds & np.isfinite(even),
    )


def add_quantiles(rows: LabelledRows, calibrations: LabelledCalibrations) -> LabelledRows:
    """Add the quantiles to the baselines, with which the scores of the table are compared."""
    quantiles = {name: orient(one, "low") for name, one in calibrations.quantiles.items()}
    return replace(
        rows,
        baselines=rows.baselines | quantiles,
        low_is_harmful=rows.low_is_harmful | quantiles.keys(),
    )


@dataclass(frozen=True, slots=True)
class PlannedRatios:
    """The metrics of the likelihood ratios of a calibration, on all labelled rows.

    Attributes:
        ratios: The ratios.
        planned: The metrics of their probabilities.
    """

    ratios: LabelledRatios
    planned: PlannedMetrics

    def count_work(self) -> int:
        """The work of all metrics, as ``estimates.count_work`` counts it."""
        return self.planned.count_work()

    def measure(self, add_work: AddWork = lambda work: None) -> list[MetricRow]:
        """Compute the metrics, and count the rows without a ratio and those with one from folds.

        Args:
            add_work: Called with the work that is done.
        """
        is_lacking = self.planned.rows.is_scored & np.isnan(self.ratios.even)
        lacking = Counter(self.ratios.reason[is_lacking].tolist()).most_common()
        is_from_folds = self.ratios.is_from_folds
        return [
            replace(
                row,
                reason=self._explain(row, lacking),
                num_from_folds=None if is_from_folds is None else int(is_from_folds.sum()),
                lr_reasons=lacking,
            )
            for row in self.planned.measure(add_work)
        ]

    def _explain(self, row: MetricRow, lacking: Sequence[tuple[str, int]]) -> str:
        """Why the value or the interval is missing, with the reasons why rows have no ratio."""
        if row.value is not None or not lacking or self.planned.rows.why_no_metrics:
            return row.reason
        reasons = ", ".join(f"{reason} ({number:,})" for reason, number in lacking)
        if row.num_rows:
            return f"{row.reason}; scored rows without a likelihood ratio: {reasons}"
        return f"no scored row has a likelihood ratio: {reasons}"


def plan_ratios(
    rows: LabelledRows, calibrations: LabelledCalibrations, resampling: Resampling
) -> list[PlannedRatios]:
    """List the metrics of the likelihood ratios; there are none for a numeric label.

    Args:
        rows: The labelled rows.
        calibrations: Their calibrated columns.
        resampling: How intervals are computed.
    """
    everything = Subset(ALL, np.arange(len(rows), dtype=np.int32))
    return [
        PlannedRatios(
            ratios,
            PlannedMetrics(
                rows, resampling, everything, {ratios.score: ratios.even}, (), is_probability=True
            ),
        )
        for ratios in calibrations.ratios
        if rows.has_classes
    ]


def make_ratio_curves(
    rows: LabelledRows, calibrations: LabelledCalibrations, resampling: Resampling
) -> Iterator[Curve]:
    """Make the calibration curve of the likelihood ratios of each calibration.

    Arguments as for ``plan_ratios``.

    Yields:
        Curves; none of a numeric label, and none if the rows with a ratio are of one class.
    """
    for ratios in calibrations.ratios if rows.has_classes else ():
        has_ratio = np.isfinite(ratios.even)
        target = rows.target[has_ratio]
        if target.any() and not target.all():
            clusters = number_groups(rows.clusters[has_ratio])
            points = draw_calibration_curve(target, ratios.even[has_ratio], clusters, resampling)
            yield Curve(rows.label.field, ratios.score, CALIBRATION_CURVE, None, *points)
