"""Reading the profiles of alleles that the run has, next to a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.provenance import read_provenance

STRAND_COLUMNS = {"forward": "profile_fwd", "reverse": "profile_rev"}


def read_profile(
    profiles: Path, table: Path, record: int, allele: int
) -> dict[str, NDArray[np.float32]]:
    """The profile of an allele on each strand that has one.

    Args:
        profiles: The profiles of the table.
        table: The table of scores.
        record: Number of the allele's record.
        allele: Number of the allele in its record.

    Returns:
        Differences of log-probability from the first difference on, nats, by strand. (n,)

    Raises:
        InputError: A file cannot be read, or the profiles were made with other settings than the
            scores.
    """
    if read_provenance(profiles).signature != read_provenance(table).signature:
        raise InputError(
            f"{shown_path(profiles)}: was made with other settings or another model than "
            f"{shown_path(table)}. Run the workflow again."
        )
    names = ["record", "allele", *STRAND_COLUMNS.values()]
    for rows in read_rows(profiles, names):
        is_row = pc.and_(
            pc.equal(rows.column("record"), record), pc.equal(rows.column("allele"), allele)
        )
        for row in rows.filter(is_row).to_pylist():
            return {
                strand: np.array(row[column], dtype=np.float32)
                for strand, column in STRAND_COLUMNS.items()
                if row[column] is not None
            }
    return {}
