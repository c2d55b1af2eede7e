"""The new scores of a shard, on their way to the score store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.io.digests import require_unchanged
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.hits import KEYS, Hits
from evo2_tasks.table.merge import read_aligned
from evo2_tasks.table.parquet import row_bytes
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import CONTIG_TYPE, STRAND_SUFFIXES
from evo2_tasks.table.store import Store
from evo2_tasks.table.store_rows import DEVICE, make_keys, store_schema, strand_columns

ROWS_AT_ONCE: Final = 262_144
BYTES_AT_ONCE: Final = 64 * 2**20
"""Most rows, and most bytes of long alleles, that are collected before they are written."""

WINDOW_COLUMNS: Final = (
    *KEYS,
    "reference_contig",
    "edit_start",
    "edit_ref",
    "edit_alt",
    "background",
    "window_start",
    "window_end",
)
"""Columns of a windows file that the key of an allele in the store is made from."""


def write_new_scores(
    store: Store,
    found: Hits,
    used: Hits | None,
    *,
    windows: Path,
    scores: Path,
    digest: str,
    provenance: Provenance,
    device: str,
) -> int:
    """Write the scores of a shard to the store, those of its hits left out.

    Args:
        store: The store.
        found: What ``lookup`` found of the shard.
        used: The hits whose scores the shard has; None if it has none.
        windows: The windows of the shard.
        scores: Its scores.
        digest: SHA-256 of the scores: nothing is written of another file.
        provenance: The provenance of the scores.
        device: The kind of devices that computed them.

    Returns:
        Number of alleles that were written.

    Raises:
        InputError: A file cannot be read or has changed, or the store cannot be written.
    """
    total = 0
    pending: dict[str, list[pa.Table]] = {}
    num_rows = num_bytes = 0

    def flush() -> int:
        require_unchanged(scores, digest)
        return sum(
            store.write(provenance.signature, contig, pa.concat_tables(tables))
            for contig, tables in pending.items()
        )

    for reference_contig, rows in _read_new_rows(windows, scores, used, device):
        contig = found.contigs.get(reference_contig)
        if contig is None:
            raise InputError(
                f"{shown_path(found.path)}: does not name the contig {shown(reference_contig)}. "
                "Run `lookup` again."
            )
        pending.setdefault(contig, []).append(rows)
        num_rows += rows.num_rows
        num_bytes += int(row_bytes(rows).sum())
        if num_rows >= ROWS_AT_ONCE or num_bytes >= BYTES_AT_ONCE:
            total += flush()
            pending.clear()
            num_rows = num_bytes = 0
    return total + (flush() if pending else 0)


def _read_new_rows(
    windows: Path, scores: Path, used: Hits | None, device: str
) -> Iterator[tuple[str, pa.Table]]:
    """The rows to store, contig by contig, in pieces."""
    strands: list[Strand] = [*STRAND_SUFFIXES]
    score_names = [name for strand in strands for name in strand_columns(strand)]
    known = None if used is None else used.rows()
    for window_rows, score_rows in read_aligned(
        windows, scores, WINDOW_COLUMNS, [*KEYS, *score_names]
    ):
        keys = make_keys(pa.Table.from_batches([window_rows]))
        is_new = pc.is_valid(keys.column(0)).to_numpy().copy()
        has_score = pc.or_(
            *(pc.is_valid(score_rows.column(f"llr{one}")) for one in ("_fwd", "_rev"))
        )
        is_new &= has_score.to_numpy(zero_copy_only=False)
        if known is not None:
            is_new[known.take(window_rows.column(KEYS[0]), window_rows.column(KEYS[1]))[0]] = False
        contigs = window_rows.column("reference_contig").cast(pa.string())
        columns = {name: keys.column(name) for name in keys.column_names}
        columns |= {name: score_rows.column(name) for name in score_names}
        columns[DEVICE] = pa.array([device] * window_rows.num_rows, pa.string()).cast(CONTIG_TYPE)
        table = pa.table([columns[name] for name in store_schema().names], schema=store_schema())
        for contig in contigs.filter(pa.array(is_new)).unique().to_pylist():
            of_contig = pc.fill_null(pc.equal(contigs, contig), False).to_numpy(
                zero_copy_only=False
            )
            yield contig, table.filter(pa.array(is_new & np.asarray(of_contig)))
