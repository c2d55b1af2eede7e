"""The step ``fit_calibration``: a calibration of a scoring, from a background and from labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.config.resolve import FitCalibrationSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.backgrounds import (
    MIN_ALLELES,
    Background,
    read_background,
    write_background,
)
from evo2_tasks.evaluation.evidence import DRAWS, Evidence, Ratios, Threshold
from evo2_tasks.evaluation.evidence import fit_evidence as fit_labelled
from evo2_tasks.evaluation.folds import NO_FOLD, Folds, make_folds
from evo2_tasks.evaluation.labels import LabelledRows, read_labelled_rows
from evo2_tasks.evaluation.selection import LabelSettings, orient
from evo2_tasks.evaluation.strata import StratumReader
from evo2_tasks.evaluation.values import MISSING, Text, to_array
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import BACKGROUND, CALIBRATION, FOLDS, RATIOS
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.evaluate import make_label_settings
from evo2_tasks.table.calibration_schema import (
    calibration_schema,
    folds_schema,
    ratios_schema,
)
from evo2_tasks.table.calibrations import (
    BACKGROUND_TABLE,
    LABELLED_TABLE,
    SCHEMAS,
    digest_alleles,
    make_calibration_metadata,
)
from evo2_tasks.table.documents import Calibration
from evo2_tasks.table.parquet import open_table, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

REFERENCE_CONTIG, POS, GENE = "reference_contig", "pos", "gene"
"""Columns of the table that folds are made from."""


@dataclass(frozen=True, slots=True)
class FittedEvidence:
    """The evidence that labels give; empty without labels.

    Attributes:
        rows: Rows of each file by its name.
        statement: Values of :class:`Calibration` that are about labels.
    """

    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    statement: Mapping[str, object] = field(default_factory=dict)


def fit_calibration(
    settings: FitCalibrationSettings,
    *,
    scoring: str,
    background: Path | None,
    labelled: Path | None,
    out_folder: Path,
) -> None:
    """Make a calibration of a scoring.

    Args:
        settings: The score, the strata of the background, and the label.
        scoring: Name of the scoring, for messages.
        background: The table of the background; None if the calibration has none.
        labelled: The table with the labels; None if the calibration has none.
        out_folder: The folder of the files.

    Raises:
        InputError: A table is missing, lacks a column, was replaced meanwhile, or is not the one of
            ``run.json`` next to it; or the two tables have different signatures.
    """
    return_large_arrays()
    files = SourceFiles()
    tables = name_tables(settings, background=background, labelled=labelled)
    source = read_sources(tables, files)
    scores = fit_background(settings, scoring, background)
    window_length = source.signature["scoring"]["window_length"]
    evidence = fit_evidence(settings, labelled, scores, window_length)
    statement = Calibration.model_validate(
        {
            "name": settings.name,
            "score": settings.score,
            "harmful": settings.harmful,
            "by": settings.by,
            "num_background": None if background is None else len(scores.scores),
            **evidence.statement,
        }
    )
    files.require_unchanged()
    inputs = {key: files.digest(table) for key, table in tables.items()}
    # The last file states the SHA-256 of the others.
    for name, make_schema in SCHEMAS.items():
        provenance = replace(source, settings=settings.triggers(), inputs=inputs)
        metadata = make_calibration_metadata(provenance, statement)
        with write_table(out_folder / name, make_schema(), metadata=metadata) as writer:
            if name == BACKGROUND:
                write_background(scores, writer)
            elif name in evidence.rows:
                writer.write(evidence.rows[name])
            inputs[name] = writer.digest()
    describe(statement, scores, out_folder)


def name_tables(
    settings: FitCalibrationSettings, *, background: Path | None, labelled: Path | None
) -> dict[str, Path]:
    """The tables by what they are for.

    Raises:
        InputError: The config names a table that is not given, or the other way round.
    """
    given = {BACKGROUND_TABLE: background, LABELLED_TABLE: labelled}
    named = {BACKGROUND_TABLE: settings.background, LABELLED_TABLE: settings.labelled}
    keys = {BACKGROUND_TABLE: "background", LABELLED_TABLE: "set"}
    for table, key in keys.items():
        where = f"calibrations.{settings.name}"
        if named[table] is not None and given[table] is None:
            raise InputError(f"config: {where} has a `{key}`. Give its table with --{table}.")
        if named[table] is None and given[table] is not None:
            raise InputError(
                f"config: {where} has no `{key}`. Add the key, or leave out --{table}."
            )
    return {name: table for name, table in given.items() if table is not None}


def read_sources(tables: Mapping[str, Path], files: SourceFiles) -> Provenance:
    """Read the signature of the tables, which must be the same.

    Args:
        tables: The tables by what they are for.
        files: Gets the tables.

    Returns:
        The signature and the model.

    Raises:
        InputError: The signatures differ, or a table is not the one of ``run.json`` next to it.
    """
    first = next(iter(tables.values()))
    for table in tables.values():
        read_run_of(table, table_digest=files.add(table))
        one, other = (read_provenance(path).signature for path in (first, table))
        require_same_signature(first, one, table, other)
    found = read_provenance(first)
    return Provenance(found.signature, package_version(), model=found.model)


def fit_background(
    settings: FitCalibrationSettings, scoring: str, table: Path | None
) -> Background:
    """Read the scores of the background; without one there are none.

    Args:
        settings: The score and the strata.
        scoring: Name of the scoring, for messages.
        table: The table of the background.

    Raises:
        InputError: The table cannot be read, or lacks a column.
    """
    if table is None:
        return Background((), np.empty(0), {})
    reference = None if settings.reference is None else open_reference(settings.reference)
    background = read_background(StratumReader(settings.by, reference, table), settings.score)
    if not len(background.scores):
        logger.warning(
            "%s: no row has %s, so that the calibration %s of %s gives no quantile",
            shown_path(table), settings.score, settings.name, scoring,
        )  # fmt: skip
    return background


def fit_evidence(
    settings: FitCalibrationSettings,
    table: Path | None,
    background: Background,
    window_length: int,
) -> FittedEvidence:
    """Measure the evidence that the labels give; without labels there is none.

    Args:
        settings: The label and the prior.
        table: The table with the labels.
        background: The scores of the background, of which windows have a share.
        window_length: Bases of a window of the scoring.

    Raises:
        InputError: The table cannot be read, or lacks a column.
    """
    if table is None or settings.field is None or settings.label is None:
        return FittedEvidence()
    label = make_label_settings(settings.field, settings.label)
    rows, places = read_labels(table, label)
    if rows.why_no_metrics:
        logger.warning("%s: %s: %s", table, label.field, rows.why_no_metrics)
    scores = orient(rows.scores[settings.score], "low")  # as in the table
    has_score = np.isfinite(scores)
    folds = split_into_folds(
        rows.target[has_score], places.take(has_score), settings, window_length
    )
    outside = [np.flatnonzero(has_score)[is_outside] for is_outside in folds.is_outside]
    fitted, by_fold = fit_all(settings, rows, scores, background, outside)
    if fitted.reason:
        logger.warning("%s: no evidence from %s: %s", shown_path(table), label.field, fitted.reason)
    elif folds.reason:
        logger.warning(
            "%s: the labelled rows get no likelihood ratio: %s", shown_path(table), folds.reason
        )
    fold = np.full(len(rows), NO_FOLD)
    fold[has_score] = folds.fold
    return FittedEvidence(
        rows={
            RATIOS: make_ratio_rows({None: fitted.ratios, **by_fold}),
            FOLDS: make_fold_rows(rows, fold),
            CALIBRATION: make_strength_rows(fitted.thresholds),
        },
        statement={
            "label": label.field,
            "definition": label.definition,
            "num_positive": fitted.num_positive,
            "num_negative": fitted.num_negative,
            "prior": fitted.prior,
            "c": fitted.constant,
            "draws": 0 if fitted.ratios is None else fitted.draws.num_resamples,
            "seed": fitted.draws.seed,
            "folds": folds.num_folds,
            "fold_kind": folds.kind,
            "reason": fitted.reason or None,
            "labelled_alleles": digest_alleles(table, rows.alleles),
        },
    )


@dataclass(frozen=True, slots=True)
class Places:
    """Where N rows are.

    Attributes:
        contigs: Contig of each row, as the FASTA names it. (N,)
        positions: Position of each row, 1-based. (N,)
        genes: Gene of each row, empty where a row has none; None if no genes are known. (N,)
    """

    contigs: Text
    positions: IntArray
    genes: Text | None

    def take(self, is_row: BoolArray) -> "Places":
        """Some of the rows."""
        genes = None if self.genes is None else self.genes[is_row]
        return Places(self.contigs[is_row], self.positions[is_row], genes)


def read_labels(table: Path, label: LabelSettings) -> tuple[LabelledRows, Places]:
    """Read the labelled rows, and where they are.

    Raises:
        InputError: The table cannot be read, or lacks a column.
    """
    with open_table(table) as file:
        has_genes = GENE in file.schema_arrow.names
    names = [REFERENCE_CONTIG, POS, *([GENE] if has_genes else [])]
    rows = read_labelled_rows(table, label, groups=names)
    positions = [0 if text == MISSING else int(text) for text in rows.groups[POS]]
    genes = None
    if has_genes:
        genes = to_array("" if text == MISSING else text for text in rows.groups[GENE])
    return rows, Places(rows.groups[REFERENCE_CONTIG], np.array(positions, dtype=np.int64), genes)


def split_into_folds(
    target: BoolArray, places: Places, settings: FitCalibrationSettings, window_length: int
) -> Folds:
    """Choose the folds of the labelled rows with a score.

    Raises:
        InputError: The reference cannot be read.
    """
    circles = {}
    if settings.reference is not None and settings.reference.circular_contigs:
        lengths = open_reference(settings.reference).contigs
        circles = {name: lengths[name] for name in settings.reference.circular_contigs}
    return make_folds(
        target,
        places.contigs,
        places.positions,
        places.genes,
        window_length=window_length,
        circles=circles,
    )


def fit_all(
    settings: FitCalibrationSettings,
    rows: LabelledRows,
    scores: FloatArray,
    background: Background,
    outside: Sequence[IntArray],
) -> tuple[Evidence, dict[int | None, Ratios | None]]:
    """Fit the evidence to all labelled rows, and to those outside of each fold.

    Args:
        settings: The prior.
        rows: The labelled rows.
        scores: Their scores as in the table, NaN where one is missing. (N,)
        background: The scores of the background.
        outside: Rows that each fold may use.

    Returns:
        The evidence from all rows, and the likelihood ratios by fold; None for a fold outside of
        which are too few rows.
    """
    everything = np.arange(len(rows))
    with Progress(
        "evidence", total=DRAWS.num_resamples * (1 + len(outside)), unit="draws"
    ) as progress:

        def fit(numbers: IntArray) -> Evidence:
            return fit_labelled(
                rows.target[numbers],
                scores[numbers],
                rows.clusters[numbers],
                harmful=settings.harmful,
                prior=settings.prior,
                background=background.scores,
                draws=DRAWS,
                add_draws=progress.add,
            )

        fitted = fit(everything)
        if fitted.ratios is None:
            return fitted, {}
        return fitted, {fold: fit(numbers).ratios for fold, numbers in enumerate(outside)}


def make_ratio_rows(ratios: Mapping[int | None, Ratios | None]) -> pa.Table:
    """The rows of ``ratios.parquet``, from the likelihood ratios by fold."""
    schema = ratios_schema()
    parts = [
        pa.table(
            [
                pa.array([fold] * len(one.scores), pa.int32()),
                *(
                    pa.array(values, mask=np.isinf(values))
                    for values in (one.scores, one.lr, one.lr_low, one.lr_high)
                ),
            ],
            schema=schema,
        )
        for fold, one in ratios.items()
        if one is not None
    ]
    return pa.concat_tables([schema.empty_table(), *parts])


def make_fold_rows(rows: LabelledRows, fold: IntArray) -> pa.Table:
    """The rows of ``folds.parquet``: all labelled rows, in the order of the table."""
    schema = folds_schema()
    record, allele = rows.alleles.T
    values = [pa.array(record), pa.array(allele), pa.array(fold, mask=fold == NO_FOLD)]
    return pa.table(
        [value.cast(field.type) for value, field in zip(values, schema, strict=True)],
        schema=schema,
    )


def make_strength_rows(thresholds: Sequence[Threshold]) -> pa.Table:
    """The rows of ``calibration.parquet``."""
    rows = [
        {**asdict(one), "reached": one.bound is not None, "reason": one.reason or None}
        for one in thresholds
    ]
    return pa.Table.from_pylist(rows, schema=calibration_schema())


def describe(statement: Calibration, background: Background, folder: Path) -> None:
    """Write a line to the log about what the calibration was made from."""
    parts = []
    if statement.num_background is not None:
        parts.append(f"{statement.num_background:,} background alleles")
    if statement.by:
        parts.append(
            f"{len(background.strata):,} of {len(background.ends):,} strata have the "
            f"{MIN_ALLELES} alleles to compare with, the others are compared with all"
        )
    if statement.label is not None:
        parts.append(f"{statement.num_positive:,} positive, {statement.num_negative:,} negative")
    logger.info("%s: %s", folder, "; ".join(parts))
    if statement.by and statement.num_background and not background.strata:
        logger.warning(
            "%s: `by` (%s) has no effect: no stratum of the background has %d alleles, so every "
            "score is compared with the whole background. Use a larger background, or other "
            "entries of `by`.",
            folder,
            ", ".join(map(shown, statement.by)),
            MIN_ALLELES,
        )
