"""The step ``calibrate``: the quantile and the evidence of each row of a table."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.resolve import CalibrateSettings, CalibrationSource
from evo2_tasks.evaluation.applied_evidence import INFINITE, NO_REASON, NO_SCORE, FittedRatios
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray
from evo2_tasks.evaluation.backgrounds import Background, load_background, select_scored
from evo2_tasks.evaluation.strata import TRINUCLEOTIDE, StratumReader
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.calibration_schema import (
    LR_REASON_MEANINGS,
    CalibratedPart,
    calibrated_schema,
    make_calibrated_part,
)
from evo2_tasks.table.calibrations import (
    BACKGROUND_TABLE,
    CALIBRATIONS,
    LABELLED_TABLE,
    CalibrationFiles,
    open_calibration,
)
from evo2_tasks.table.parquet import count_rows, read_rows, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    canonical_json,
    package_version,
    read_provenance,
    require_same_signature,
    require_source,
)
from evo2_tasks.table.schema import ALLELE, RECORD, STATUS
from evo2_tasks.table.statements import read_run_of, require_stated_settings

logger = logging.getLogger(__name__)

KEYS = (RECORD.name, ALLELE.name)


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A calibration that is ready for the rows of a table.

    Attributes:
        files: The calibration.
        part: Its columns.
        background: The scores of its background; None if it has none.
        ratios: Its likelihood ratios; None if it has no labels.
        strata: Finds the strata of the table's rows.
    """

    files: CalibrationFiles
    part: CalibratedPart
    background: Background | None
    ratios: FittedRatios | None
    strata: StratumReader

    @property
    def columns(self) -> list[str]:
        """Columns of the table that are read."""
        return [self.files.statement.score, STATUS.name, *self.strata.columns]

    def calibrate(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """The columns of some rows of the table, by their names in the file."""
        score = self.files.statement.score
        rows, scores, has_score = select_scored(batch, score, self.strata.source)
        values: dict[str, pa.Array] = {}
        if self.background is not None:
            harmful = self.files.statement.harmful
            found = self.background.compare(scores, self.strata.find(rows), harmful=harmful)
            values |= {
                "stratum": found.strata,
                "stratum_fallback": pa.array(found.is_fallback),
                "quantile": make_numbers(found.quantile),
                "phred": make_numbers(found.phred),
            }
        values = {name: spread(array, has_score) for name, array in values.items()}
        if self.ratios is not None:
            values |= self.find_evidence(self.ratios, batch, scores, has_score)
        return {self.part.columns[name].name: array for name, array in values.items()}

    def find_evidence(
        self,
        ratios: FittedRatios,
        batch: pa.RecordBatch,
        scores: FloatArray,
        has_score: BoolArray,
    ) -> dict[str, pa.Array]:
        """The columns of evidence of some rows.

        Args:
            ratios: The likelihood ratios.
            batch: N rows.
            scores: The scores of those that have one. (M,)
            has_score: Which rows these are. (N,)
        """
        record, allele = (
            batch.column(name).to_numpy()[has_score].astype(np.int64) for name in KEYS
        )
        found = ratios.apply(record, allele, scores)
        status = batch.column(STATUS.name).cast(pa.string())
        is_scored = pc.equal(status, "scored").to_numpy(zero_copy_only=False)
        reasons = np.where(is_scored, NO_SCORE, NO_REASON)
        reasons[has_score] = np.where(np.isinf(found.lr), INFINITE, found.reason)
        has_ratio = found.reason == NO_REASON
        return {
            "lr": spread(make_numbers(found.lr), has_score),
            "lr_low": spread(make_numbers(found.lr_low), has_score),
            "lr_high": spread(make_numbers(found.lr_high), has_score),
            "evidence": spread(pa.array(found.points, mask=~has_ratio), has_score),
            "lr_reason": pa.DictionaryArray.from_arrays(
                pa.array(reasons, pa.int32(), mask=reasons == NO_REASON),
                pa.array([*LR_REASON_MEANINGS], pa.string()),
            ),
        }


def calibrate(
    settings: CalibrateSettings, *, calibrations: Mapping[str, Path], table: Path, out: Path
) -> None:
    """Compare each row of a table with the calibrations of its variant set.

    The table stays as it is. The numbers of a row depend on this row and the calibrations alone.

    Args:
        settings: The calibrations of the variant set, and its reference.
        calibrations: The ``calibration.parquet`` of each calibration; the other three files of the
            calibration are next to it.
        table: The result of ``merge``.
        out: The file to write.

    Raises:
        InputError: A file is missing, or was replaced meanwhile; a calibration has another
            signature than the table, or was made from another version of it; or the table lacks a
            column.
    """
    return_large_arrays()
    files = SourceFiles()
    table_digest = files.add(table)
    read_run_of(table, table_digest=table_digest)
    source = read_provenance(table)
    opened = {}
    for one in settings.calibrations:
        found = opened[one.name] = open_calibration(calibrations[one.name], files)
        require_same_signature(found.file, found.provenance.signature, table, source.signature)
        require_fitted(one, found, settings.variant_set, table, table_digest)
    own = {name for name, found in opened.items() if found.has_labelled_rows(table, table_digest)}
    calibrators = make_calibrators(settings, opened, own, table)
    provenance = Provenance(
        source.signature,
        package_version(),
        model=source.model,
        order=source.order,
        source=table_digest,
        settings=settings.triggers(),
        inputs={name: found.digest for name, found in opened.items()},
    )
    stated = {
        name: {
            **found.statement.as_json(),
            LABELLED_TABLE: table_digest if name in own else found.table_digest(LABELLED_TABLE),
        }
        for name, found in opened.items()
    }
    metadata = {**provenance.metadata(), CALIBRATIONS: canonical_json(stated)}
    schema = calibrated_schema([one.part for one in calibrators])
    columns = list(dict.fromkeys([*KEYS, *(name for one in calibrators for name in one.columns)]))
    with (
        write_table(out, schema, metadata=metadata) as writer,
        Progress("calibrate", total=count_rows(table), unit="alleles") as progress,
    ):
        for batch in read_rows(table, columns):
            made = {key: batch.column(key) for key in KEYS}
            for calibrator in calibrators:
                made |= calibrator.calibrate(batch)
            writer.write(pa.table(made))
            progress.add(batch.num_rows)
        files.require_unchanged()
    logger.info("%s: %s, %s", out, counted(writer.num_rows, "allele"), ", ".join(opened))


def require_fitted(
    source: CalibrationSource,
    found: CalibrationFiles,
    variant_set: str,
    table: Path,
    table_digest: str,
) -> None:
    """Make sure that a calibration of this run is the one that the config describes.

    Args:
        source: What the config states about the calibration.
        found: The calibration.
        variant_set: The variant set of the table.
        table: The table.
        table_digest: Its SHA-256.

    Raises:
        InputError: It was made with other settings, or from another version of the table.
    """
    fit = source.fit
    if fit is None:
        return
    require_stated_settings(found.file, fit.triggers(), "fit_calibration")
    for key, named in ((BACKGROUND_TABLE, fit.background), (LABELLED_TABLE, fit.labelled)):
        if named == variant_set:
            require_source(found.file, found.table_digest(key), table, table_digest)


def make_calibrators(
    settings: CalibrateSettings,
    opened: Mapping[str, CalibrationFiles],
    own: Collection[str],
    table: Path,
) -> list[Calibrator]:
    """Load the calibrations of a table.

    Args:
        settings: The reference of the table.
        opened: The calibrations by their names.
        own: Those whose labelled rows are rows of the table: these get their likelihood ratios from
            other folds.
        table: The table.

    Raises:
        InputError: A file cannot be read, or the table lacks a column.
    """
    reference: Reference | None = None
    if any(TRINUCLEOTIDE in found.statement.by for found in opened.values()):
        reference = open_reference(settings.reference)
    calibrators = []
    for name, found in opened.items():
        by, has_background = found.statement.by, found.statement.num_background is not None
        strata = StratumReader(by if has_background else (), reference, table)
        strata.require_columns()
        part = make_calibrated_part(
            name,
            has_background=has_background,
            has_labels=found.statement.label is not None,
            is_prefixed=len(opened) > 1,
        )
        background = load_background(found.background, by) if has_background else None
        ratios = None
        if found.statement.c is not None:
            folds = found.folds if name in own else None
            ratios = FittedRatios.load(found.ratios, folds, int(found.statement.c))
        calibrators.append(Calibrator(found, part, background, ratios, strata))
    return calibrators


def make_numbers(values: FloatArray) -> pa.Array:
    """Numbers as a column; NaN and infinity are null."""
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def spread(values: pa.Array, is_row: BoolArray) -> pa.Array:
    """Values of some rows as a column of all rows; the others are null.

    Args:
        values: The values. (M,)
        is_row: Which rows they are. (N,)
    """
    return values.take(pa.array(np.cumsum(is_row) - 1, pa.int64(), mask=~is_row))
