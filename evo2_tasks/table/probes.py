"""The tables of predictions of probes: their columns, and what they state.

``fit_probe`` writes ``predictions.parquet`` next to a probe, and ``apply_probe`` writes
``applied.parquet``. Both have one row for each row of a table of scores, in its order, and state
this very table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.documents import Count, Document
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import APPLIED, PREDICTIONS, PROBES
from evo2_tasks.table.joined import KEYS
from evo2_tasks.table.parquet import count_rows, open_table, read_metadata
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    canonical_json,
    read_object,
    read_provenance,
    require_same_signature,
    require_settings,
)
from evo2_tasks.table.schema import ALLELE, RECORD, Column
from evo2_tasks.table.statements import Statement, require_table

STATEMENT: Final = PREFIX + "probe"
"""Key of the metadata with the :class:`Prediction`."""

TABLE_INPUT: Final = "table"
EMBEDDINGS_INPUT: Final = "embeddings"
PROBE_INPUT: Final = "probe"
"""Keys of ``inputs``: the table of scores, the embeddings, and the JSON file of a probe."""

FOLD: Final = Column(
    "fold",
    pa.int32(),
    "Fold of a row that the probe was trained on, from 0: its score comes from a probe that was "
    "trained without this fold. Null in other rows",
)
GROUP: Final = Column(
    "group",
    pa.int32(),
    "Number of the gene, contig or block of positions that the folds keep together, from 0. Null "
    "where `fold` is null",
)
SCORE: Final = Column(
    "score",
    pa.float64(),
    "Prediction of the probe; high is harmful. Log-odds for a label of two groups, a number for a "
    "label of numbers, whose sign is turned if low numbers are harmful. Null where the allele is "
    "not scored or has no embedding",
)
IN_TRAINING: Final = Column(
    "in_training",
    pa.bool_(),
    "Whether the probe was trained on this allele, so that its score is no independent prediction",
    nullable=False,
)

PREDICTION_COLUMNS: Final = (RECORD, ALLELE, FOLD, GROUP, SCORE)
"""Columns of ``predictions.parquet``."""

APPLIED_COLUMNS: Final = (RECORD, ALLELE, SCORE, IN_TRAINING)
"""Columns of ``applied.parquet``."""

FIT_STEP: Final = "fit_probe"
APPLY_STEP: Final = "apply_probe"


def predictions_schema() -> pa.Schema:
    """Schema of ``predictions.parquet``."""
    return pa.schema([column.field() for column in PREDICTION_COLUMNS])


def applied_schema() -> pa.Schema:
    """Schema of ``applied.parquet``."""
    return pa.schema([column.field() for column in APPLIED_COLUMNS])


class Prediction(Document):
    """The key ``probe`` in the metadata of a table of predictions.

    Attributes:
        name: Name of the probe in the config.
        layer: Layer of the embeddings; None if the probe uses ``llr`` alone.
        label: Field of the label that it was trained on.
        definition: Which rows have this label, in the words of the config.
        folds_by: What was kept together in the folds.
        trained: Rows that it was trained on.
        predicted: Rows of this table with a prediction.
        in_training: Rows of this table that it was trained on.
    """

    remedy: ClassVar[str] = "Make the file again: delete it, and run the workflow."

    name: str
    layer: str | None
    label: str
    definition: str
    folds_by: Literal["gene", "contig", "position"]
    trained: Count
    predicted: Count
    in_training: Count

    @property
    def full_name(self) -> str:
        """Its name and its layer, as metrics and reports have them."""
        return f"{self.name} ({self.layer})" if self.layer is not None else self.name


@dataclass(frozen=True, slots=True)
class Predictions:
    """A table of predictions that belongs to a table of scores.

    Attributes:
        path: The file.
        stated: What it states about the probe.
        provenance: Signature, version, settings and inputs that it states.
        is_fitted: Whether the probe was trained on this table; else it was applied to it.
    """

    path: Path
    stated: Prediction
    provenance: Provenance
    is_fitted: bool

    @property
    def step(self) -> str:
        """The step that writes the file."""
        return FIT_STEP if self.is_fitted else APPLY_STEP


def make_prediction_metadata(provenance: Provenance, stated: Prediction) -> dict[str, str]:
    """The metadata of a table of predictions.

    Args:
        provenance: The signature, settings and inputs; its ``source`` is the table of scores.
        stated: What it states about the probe.
    """
    return {**provenance.metadata(), STATEMENT: canonical_json(stated.as_json())}


def is_predictions(schema: pa.Schema) -> bool:
    """Whether a table has the columns of ``fit_probe`` or of ``apply_probe``."""
    return schema.names in (predictions_schema().names, applied_schema().names)


def read_predictions(path: Path) -> Predictions:
    """Read what a table of predictions states, without its rows.

    Raises:
        InputError: The file is missing or broken, or is another table.
    """
    with open_table(path, KEYS) as file:
        schema = file.schema_arrow
    is_fitted = schema.names == predictions_schema().names
    expected = predictions_schema() if is_fitted else applied_schema()
    step = FIT_STEP if is_fitted else APPLY_STEP
    if schema.names != expected.names or schema.types != expected.types:
        raise InputError(
            f"{shown_path(path)}: does not have the columns of {PREDICTIONS} or {APPLIED}. Run "
            f"`{FIT_STEP}` or `{APPLY_STEP}` again."
        )
    text = read_metadata(path).get(STATEMENT)
    if text is None:
        raise InputError(
            f"{shown_path(path)}: the metadata does not state the probe. Run `{step}` again."
        )
    stated = Prediction.parse_text(text, f"{shown_path(path)}: {STATEMENT} in the metadata")
    return Predictions(path, stated, read_provenance(path), is_fitted)


def open_predictions(
    path: Path, table: Path, *, table_digest: str, settings: Mapping[str, Any] | None = None
) -> Predictions:
    """Open a table of predictions, and make sure that it is of this table of scores.

    Args:
        path: The table of predictions.
        table: The table of scores.
        table_digest: Its SHA-256.
        settings: What the predictions must have been made with. Default: they are not compared.

    Raises:
        InputError: It is missing or broken, or was made from another table or with other settings.
    """
    found = read_predictions(path)
    require_table(
        table, [Statement(path, found.provenance.source, found.step)], table_digest=table_digest
    )
    signature = read_provenance(table).signature
    require_same_signature(path, found.provenance.signature, table, signature)
    if settings is not None:
        require_settings(path, found.provenance.settings, settings, found.step)
    if count_rows(path) != count_rows(table):
        raise InputError(
            f"{shown_path(path)} has {count_rows(path):,} rows, but {shown_path(table)} has "
            f"{count_rows(table):,}. Run `{found.step}` again."
        )
    return found


def name_predictions(path: Path, table: Path) -> str:
    """The key of ``inputs`` for a table of predictions: its path from the folder of the table."""
    return path.relative_to(table.parent).as_posix()


def require_predictions(file: Path, step: str) -> None:
    """Make sure that a file was made from the predictions of probes next to it, if from any.

    Args:
        file: A Parquet file that was made from a table and predictions.
        step: The step that writes the file.

    Raises:
        InputError: It was made from other predictions.
    """
    stated = read_object(file, read_metadata(file), "inputs") or {}
    for name, digest in stated.items():
        if not name.startswith(f"{PROBES}/"):
            continue
        predictions = file.parent / name
        if not predictions.resolve().is_relative_to(file.parent.resolve()):
            continue
        if predictions.exists() and digest_file(predictions) != digest:
            raise InputError(
                f"{shown_path(file)} was made from another version of {shown_path(predictions)}. "
                f"One of them was replaced or changed. Run `{step}` again: delete "
                f"{shown_path(file.name)} and run the workflow, or run the command by hand."
            )
