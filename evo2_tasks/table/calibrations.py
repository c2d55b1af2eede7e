"""The files of a calibration: what they state, and whether they belong together.

``fit_calibration`` writes four files into a folder. ``calibration.parquet`` is the last one. It
states the SHA-256 of the other three, and of the tables that they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import BACKGROUND, CALIBRATION, FOLDS, RATIOS
from evo2_tasks.table.calibration_schema import (
    background_schema,
    calibration_schema,
    folds_schema,
    ratios_schema,
)
from evo2_tasks.table.documents import Calibration
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, Provenance, canonical_json, read_provenance
from evo2_tasks.table.schema import ALLELE, ALT, CONTIG, POS, RECORD, REF

STATEMENT: Final = PREFIX + "calibration"
"""Key of the metadata with the :class:`Calibration`."""

CALIBRATIONS: Final = PREFIX + "calibrations"
"""Key of the metadata of ``calibrated.parquet`` with the :class:`Calibration` of each name, and
under ``LABELLED_TABLE`` the SHA-256 of the table with its labels: that of the calibrated table
itself, if the labelled rows are rows of it."""

BACKGROUND_TABLE: Final = "background"
"""Key of ``inputs`` and of the settings for the table of the background."""

LABELLED_TABLE: Final = "labelled"
"""Key of ``inputs`` and of the settings for the table with the labels."""

SCHEMAS: Final = {
    BACKGROUND: background_schema,
    RATIOS: ratios_schema,
    FOLDS: folds_schema,
    CALIBRATION: calibration_schema,
}
"""The files in the order in which they are written, and the schema of each."""


_KEYS: Final = (RECORD.name, ALLELE.name)
_ALLELE_COLUMNS: Final = (*_KEYS, CONTIG.name, POS.name, REF.name, ALT.name)
_SOME_ALLELES: Final = 10_000


@dataclass(frozen=True, slots=True)
class CalibrationFiles:
    """A calibration whose files belong together.

    Attributes:
        file: The ``calibration.parquet``.
        digest: SHA-256 of this file.
        statement: What it was made from.
        provenance: The signature of its scores, and the SHA-256 of the tables that it was made
            from.
    """

    file: Path
    digest: str
    statement: Calibration
    provenance: Provenance

    @property
    def background(self) -> Path:
        """The scores of the background."""
        return self.file.with_name(BACKGROUND)

    @property
    def ratios(self) -> Path:
        """The likelihood ratios."""
        return self.file.with_name(RATIOS)

    @property
    def folds(self) -> Path:
        """The folds of the labelled rows."""
        return self.file.with_name(FOLDS)

    def table_digest(self, key: str) -> object:
        """SHA-256 of a table that the calibration was made from; None if there is no such table.

        Args:
            key: ``BACKGROUND_TABLE`` or ``LABELLED_TABLE``.
        """
        return (self.provenance.inputs or {}).get(key)

    def source(self, key: str) -> str | None:
        """A table that the calibration was made from, as the config of its run names it.

        Args:
            key: ``BACKGROUND_TABLE`` or ``LABELLED_TABLE``.
        """
        name = (self.provenance.settings or {}).get(key)
        return None if name is None else str(name)

    def has_labelled_rows(self, table: Path, table_digest: str) -> bool:
        """Whether the labelled rows of the calibration are rows of a table.

        That is so for the table that it was made from, and for one of the same alleles: with other
        carried columns, in another order, or with other alleles without a label.

        Args:
            table: The result of ``merge``.
            table_digest: Its SHA-256.

        Raises:
            InputError: A file is missing or broken.
        """
        if self.table_digest(LABELLED_TABLE) == table_digest:
            return True
        expected = self.statement.labelled_alleles
        return expected is not None and digest_alleles(table, read_keys(self.folds)) == expected


def read_keys(table: Path) -> npt.NDArray[np.int64]:
    """``record`` and ``allele`` of the rows of a table: (N, 2).

    Raises:
        InputError: The file is missing or broken.
    """
    batches = [
        np.stack([batch.column(name).to_numpy().astype(np.int64) for name in _KEYS], axis=1)
        for batch in read_rows(table, _KEYS)
    ]
    return np.concatenate([np.empty((0, 2), dtype=np.int64), *batches])


def digest_alleles(table: Path, keys: npt.NDArray[np.int64]) -> str:
    """SHA-256 of some alleles of a table, whatever the order of its rows is.

    Args:
        table: The result of ``merge``.
        keys: ``record`` and ``allele`` of the alleles. (N, 2)

    Raises:
        InputError: The table is missing or broken.
    """
    step = int(keys[:, 1].max(initial=0)) + 1
    wanted = np.unique(keys[:, 0] * step + keys[:, 1])
    pieces = []
    for batch in read_rows(table, _ALLELE_COLUMNS):
        record, allele = (batch.column(name).to_numpy().astype(np.int64) for name in _KEYS)
        is_wanted = (allele < step) & np.isin(record * step + allele, wanted)
        pieces.append(pa.Table.from_batches([batch]).filter(pa.array(is_wanted)))
    digest = hashlib.sha256()
    if pieces:
        found = pa.concat_tables(pieces).sort_by([(name, "ascending") for name in _KEYS])
        for rows in found.select(_ALLELE_COLUMNS).to_batches(_SOME_ALLELES):
            for row in rows.to_pylist():
                digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def make_calibration_metadata(provenance: Provenance, statement: Calibration) -> dict[str, str]:
    """The metadata of a file of a calibration.

    Args:
        provenance: The signature of the scores, the settings, and the SHA-256 of the files that it
            was made from.
        statement: What the calibration was made from.
    """
    return {**provenance.metadata(), STATEMENT: canonical_json(statement.as_json())}


def open_calibration(file: Path, files: SourceFiles) -> CalibrationFiles:
    """Open a calibration, and make sure that its four files belong together.

    Args:
        file: The ``calibration.parquet``.
        files: Gets the four files.

    Raises:
        InputError: A file is missing or broken, is not a file of a calibration, or was replaced by
            one of another calibration.
    """
    digest = files.add(file)
    provenance = read_provenance(file)
    text = read_metadata(file).get(STATEMENT)
    if text is None:
        raise InputError(
            f"{shown_path(file)}: the metadata contains no calibration. Expected a "
            f"{CALIBRATION} that `fit_calibration` wrote."
        )
    statement = Calibration.parse_text(text, f"{shown_path(file)}: {STATEMENT} in the metadata")
    for name, make_schema in SCHEMAS.items():
        sibling = file.with_name(name) if name != CALIBRATION else file
        if sibling != file:
            _require_sibling(file, provenance.inputs or {}, sibling, files)
        with open_table(sibling, make_schema().names) as opened:
            _require_types(sibling, opened.schema_arrow, make_schema())
    return CalibrationFiles(file, digest, statement, provenance)


def _require_types(file: Path, found: pa.Schema, expected: pa.Schema) -> None:
    """Make sure that the columns of a file have the types of a schema."""
    for column in expected:
        kind = found.field(column.name).type
        if kind != column.type:
            raise InputError(
                f"{shown_path(file)}: the column {column.name} has the type {kind}, expected "
                f"{column.type}. Another version wrote it: run `fit_calibration` again."
            )


def _require_sibling(
    file: Path, inputs: Mapping[str, object], sibling: Path, files: SourceFiles
) -> None:
    if not sibling.exists():
        raise InputError(
            f"{shown_path(sibling)}: does not exist; a calibration has four files in one folder. "
            f"Put the file next to {shown_path(file)}, or run `fit_calibration` again."
        )
    if files.add(sibling) != inputs.get(sibling.name):
        raise InputError(
            f"{shown_path(sibling)} does not belong to {shown_path(file)}: one of them was "
            "replaced or changed. Copy all files of the calibration again, or run "
            "`fit_calibration` again."
        )
