"""Reading the profiles of alleles that the run has, next to a table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
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
    """The profile of an allele on each strand that has one, as :func:`read_profiles` gives it."""
    return read_profiles(profiles, table, {(record, allele)}).get((record, allele), {})


def read_profiles(
    profiles: Path, table: Path, keys: Collection[tuple[int, int]]
) -> dict[tuple[int, int], dict[str, NDArray[np.float32]]]:
    """The profiles of some alleles; no others are kept in memory.

    Args:
        profiles: The profiles of the table.
        table: The table of scores.
        keys: ``record`` and ``allele`` of each.

    Returns:
        By ``record`` and ``allele``, for each strand that has a profile: differences of
        log-probability from the first difference on, nats. (n,)

    Raises:
        InputError: A file cannot be read, or the profiles were made with other settings than the
            scores.
    """
    if read_provenance(profiles).signature != read_provenance(table).signature:
        raise InputError(
            f"{shown_path(profiles)}: was made with other settings or another model than "
            f"{shown_path(table)}. Run the workflow again."
        )
    records = pa.array(sorted({record for record, _ in keys}), pa.int64())
    found: dict[tuple[int, int], dict[str, NDArray[np.float32]]] = {}
    for rows in read_rows(profiles, ["record", "allele", *STRAND_COLUMNS.values()]):
        is_asked = pc.is_in(rows.column("record"), value_set=records)
        for row in rows.filter(is_asked).to_pylist():
            key = (row["record"], row["allele"])
            if key in keys:
                found[key] = {
                    strand: np.array(row[column], dtype=np.float32)
                    for strand, column in STRAND_COLUMNS.items()
                    if row[column] is not None
                }
        if len(found) == len(keys):
            break
    return found
