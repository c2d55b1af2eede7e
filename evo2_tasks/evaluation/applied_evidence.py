"""Likelihood ratios and points of evidence of the rows of a table.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.evaluation.arrays import FloatArray, IntArray
from evo2_tasks.evaluation.evidence import Ratios
from evo2_tasks.evaluation.strengths import count_points
from evo2_tasks.table.calibration_schema import LR_REASON_MEANINGS, folds_schema, ratios_schema
from evo2_tasks.table.parquet import read_rows

NO_REASON: Final = -1
NO_SCORE, FEW_LABELS, FEW_FOLDS, FEW_OTHERS, INFINITE = range(len(LR_REASON_MEANINGS))
"""Places of the reasons in ``LR_REASON_MEANINGS``."""

_ALL_ROWS: Final = -1
"""The number for "not in a fold": such a row has the likelihood ratios of all labelled rows."""

_NO_FOLD: Final = -2
"""The number of the fold of a labelled row without one."""


@dataclass(frozen=True, slots=True)
class AppliedEvidence:
    """Evidence for some rows.

    Attributes:
        lr: Likelihood ratio; NaN where there is none. (N,)
        lr_low: Lower bound. (N,)
        lr_high: Upper bound. (N,)
        points: Points of evidence; only where there is a likelihood ratio. (N,)
        reason: Place of the reason in ``LR_REASON_MEANINGS``; ``NO_REASON`` where there is a
            likelihood ratio. (N,)
    """

    lr: FloatArray
    lr_low: FloatArray
    lr_high: FloatArray
    points: npt.NDArray[np.int8]
    reason: IntArray


@dataclass(frozen=True, slots=True)
class FittedRatios:
    """The likelihood ratios of a calibration, and which of them are for which row.

    Attributes:
        constant: The constant c.
        ratios: Likelihood ratios by the fold that is left out; under -1 those of all labelled rows.
        step: A row has the key ``record`` times this, plus ``allele``.
        keys: Keys of the labelled rows that belong to the table, rising. (L,)
        folds: Fold of each of them. (L,)
    """

    constant: int
    ratios: Mapping[int, Ratios]
    step: int
    keys: IntArray
    folds: IntArray

    @classmethod
    def load(cls, ratios: Path, folds: Path | None, constant: int) -> Self:
        """Read the files of a calibration.

        Args:
            ratios: ``ratios.parquet``.
            folds: ``folds.parquet``, if the calibration was made from the same table; else None.
            constant: The constant c.

        Raises:
            InputError: A file is missing or broken.
        """
        rows = _read_whole(ratios, ratios_schema())
        fold = rows["fold"].fill_null(_ALL_ROWS).to_numpy()
        by_fold = {}
        for number in np.unique(fold).tolist():
            inside = rows.filter(pa.array(fold == number))
            by_fold[number] = Ratios(
                inside["score"].to_numpy(),
                *(
                    inside[name].fill_null(np.inf).to_numpy()
                    for name in ("lr", "lr_low", "lr_high")
                ),
            )
        records = alleles = numbers = np.empty(0, dtype=np.int64)
        if folds is not None:
            own = _read_whole(folds, folds_schema())
            records, alleles = (
                own[name].to_numpy().astype(np.int64) for name in ("record", "allele")
            )
            numbers = own["fold"].fill_null(_NO_FOLD).to_numpy().astype(np.int64)
        step = int(alleles.max(initial=0)) + 1
        keys = records * step + alleles
        order = np.argsort(keys)
        return cls(constant, by_fold, step, keys[order], numbers[order])

    def apply(self, records: IntArray, alleles: IntArray, scores: FloatArray) -> AppliedEvidence:
        """Find the evidence of some rows.

        Args:
            records: ``record`` of each row. (N,)
            alleles: ``allele`` of each row. (N,)
            scores: Finite scores. (N,)
        """
        lr, low, high = np.full((3, len(scores)), np.nan)
        reason = np.full(len(scores), NO_REASON)
        fold = self._find_folds(records, alleles)
        if _ALL_ROWS not in self.ratios:
            reason[:] = FEW_LABELS
            fold[:] = _NO_FOLD
        reason[(fold == _NO_FOLD) & (reason == NO_REASON)] = FEW_FOLDS
        for number in np.unique(fold[fold != _NO_FOLD]).tolist():
            inside = np.flatnonzero(fold == number)
            if number in self.ratios:
                lr[inside], low[inside], high[inside] = self.ratios[number].find(scores[inside])
            else:
                reason[inside] = FEW_OTHERS
        return AppliedEvidence(lr, low, high, count_points(low, high, self.constant), reason)

    def _find_folds(self, records: IntArray, alleles: IntArray) -> IntArray:
        """Fold of each row; -1 for a row that is not one of the labelled rows: (N,)."""
        fold = np.full(len(records), _ALL_ROWS)
        if not len(self.keys):
            return fold
        keys = records * self.step + alleles
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        is_own = (self.keys[places] == keys) & (alleles < self.step)
        fold[is_own] = self.folds[places[is_own]]
        return fold


def _read_whole(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a file whose columns have the types of a schema; they may or may not allow nulls."""
    batches = [*read_rows(path, schema.names)]
    return pa.Table.from_batches(batches, batches[0].schema if batches else schema)
