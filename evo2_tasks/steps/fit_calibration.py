"""The step ``fit_calibration``: a calibration of a scoring, from a background and from labels."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.config.resolve import FitCalibrationSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.backgrounds import (
    Background,
    read_background,
    write_background,
)
from evo2_tasks.evaluation.strata import StratumReader
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import BACKGROUND
from evo2_tasks.runtime.inputs import open_reference
from evo2_tasks.table.calibrations import (
    BACKGROUND_TABLE,
    LABELLED_TABLE,
    SCHEMAS,
    make_calibration_metadata,
)
from evo2_tasks.table.documents import Calibration
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import (
    Provenance,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)


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
    evidence = fit_evidence(settings, labelled, scores)
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
    describe(statement, out_folder)


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
    settings: FitCalibrationSettings, table: Path | None, background: Background
) -> FittedEvidence:
    """Measure the evidence that the labels give; without labels there is none.

    Args:
        settings: The label and the prior.
        table: The table with the labels.
        background: The scores of the background, of which windows have a share.

    Raises:
        InputError: The table cannot be read, or lacks a column.
    """
    if table is None or settings.field is None or settings.label is None:
        return FittedEvidence()
    raise NotImplementedError


def describe(statement: Calibration, folder: Path) -> None:
    """Write a line to the log about what the calibration was made from."""
    parts = []
    if statement.num_background is not None:
        parts.append(f"{statement.num_background:,} background alleles")
    if statement.label is not None:
        parts.append(f"{statement.num_positive:,} positive, {statement.num_negative:,} negative")
    logger.info("%s: %s", folder, "; ".join(parts))
