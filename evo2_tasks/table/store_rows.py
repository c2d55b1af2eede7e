"""Rows of the score store: their columns, their keys, and the choice among rows of one key.

Within a store's folder of a signature and a contig, five columns identify an allele in its window.
A row has the scores of one strand or of both, and the kind of device that computed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.schema import CONTIG_TYPE, STRAND_SUFFIXES, Column

KEY: Final = (
    Column(
        "edit_start",
        pa.int64(),
        "First changed base of the trimmed, left-aligned allele; for an insertion the base after "
        "it",
        "base, 0-based",
        nullable=False,
    ),
    Column("edit_ref", pa.int32(), "Length of the trimmed ref allele", "bases", nullable=False),
    Column("edit_alt", pa.string(), "Trimmed, left-aligned alt allele", nullable=False),
    Column(
        "window_start",
        pa.int64(),
        "Start of the reference window before any cut; below 0 where it wraps around a circular "
        "contig",
        "base, 0-based",
        nullable=False,
    ),
    Column(
        "window_length",
        pa.int32(),
        "Length of the reference window before any cut",
        "bases",
        nullable=False,
    ),
)
"""Columns that identify an allele in its window, in the order in which rows are sorted."""

KEY_COLUMNS: Final = tuple(column.name for column in KEY)

DEVICE: Final = "device"
"""Column with the kind of device that computed the scores of a row."""


Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def strand_columns(strand: Strand) -> tuple[str, ...]:
    """Names of the score columns of a strand."""
    return tuple(name + STRAND_SUFFIXES[strand] for name in SCORE_NAMES)


def device_column(strand: Strand) -> str:
    """Name of the column of a lookup with the kind of device of a strand's scores."""
    return DEVICE + STRAND_SUFFIXES[strand]


def keys_schema() -> pa.Schema:
    """Schema of the keys to look up. A row with a null is never found."""
    return pa.schema([(column.name, column.type) for column in KEY])


def store_schema() -> pa.Schema:
    """Schema of the files of a store, and of the rows to write.

    A strand without an ``llr`` is not stored; its other columns are null too.
    """
    scores = [(name, pa.float64()) for strand in STRAND_SUFFIXES for name in strand_columns(strand)]
    return pa.schema([*(column.field() for column in KEY), *scores, (DEVICE, CONTIG_TYPE)])


def found_schema(strands: Sequence[Strand]) -> pa.Schema:
    """Schema of what a lookup finds: the scores of each asked strand, and their kind of device."""
    fields = []
    for strand in strands:
        fields += [(name, pa.float64()) for name in strand_columns(strand)]
        fields.append((device_column(strand), CONTIG_TYPE))
    return pa.schema(fields)


def make_keys(windows: pa.Table) -> pa.Table:
    """The keys of rows of a windows file, one for each row.

    Args:
        windows: Rows with the columns ``edit_start``, ``edit_ref``, ``edit_alt``, ``background``,
            ``window_start`` and ``window_end`` of a windows file.

    Returns:
        The columns of :func:`keys_schema`. All are null in rows without windows, and in rows whose
        windows have a background, which are never stored.
    """
    length = pc.subtract(windows.column("window_end"), windows.column("window_start"))
    columns = {name: windows.column(name) for name in KEY_COLUMNS[:-1]} | {KEY_COLUMNS[-1]: length}
    plain = pc.equal(pc.list_value_length(windows.column("background")), 0)
    for column in columns.values():
        plain = pc.and_(plain, pc.is_valid(column))
    schema = keys_schema()
    return pa.table(
        [
            pc.if_else(plain, columns[field.name], pa.scalar(None, columns[field.name].type)).cast(
                field.type
            )
            for field in schema
        ],
        schema=schema,
    )


def sort_groups(matrix: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Sort rows of whole numbers, so that equal rows become neighbours.

    Returns:
        The order, and for each place in it whether the row differs from the one before. (N,), (N,)
    """
    order = np.lexsort(matrix.T[::-1])
    ordered = matrix[order]
    is_first = np.ones(len(matrix), dtype=bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, is_first


def rank_text(column: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """Number texts without nulls by their order as bytes.

    Returns:
        The number of each text, and the distinct texts, sorted. (N,), (M,)
    """
    encoded = whole(column.cast(pa.string())).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], encoded.dictionary.take(
        pa.array(order)
    )


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def read_scores(rows: pa.Table, strand: Strand) -> Floats:
    """The scores of a strand; a row is NaN throughout if it does not have the strand.

    A strand with a value that is not finite counts as absent.

    Returns:
        The columns of the strand, in their order. (N, 8)
    """
    columns = [rows.column(name) for name in strand_columns(strand)]
    scores = np.stack([column.to_numpy() for column in columns], axis=1)  # nulls become NaN
    is_present = columns[0].is_valid().to_numpy()
    for column in columns:
        is_present &= pc.fill_null(pc.is_finite(column), fill_value=True).to_numpy()
    scores[~is_present] = np.nan
    return scores


def choose_smallest(groups: Ints, scores: Floats, *before: Ints) -> Ints:
    """The row of each group with the smallest scores, among rows that have scores.

    Args:
        groups: The group of each row. (N,)
        scores: Its scores; an ``llr`` of NaN means that the row has none. (N, 8)
        before: What is compared before the scores, the most significant first. (N,) each

    Returns:
        One row for each group that has a row with scores, in the order of the groups.
    """
    rows = np.flatnonzero(~np.isnan(scores[:, 0]))
    # Whole numbers in the order of the floats: -0.0 is below 0.0, and NaN is above all.
    bits = scores[rows].view(np.int64)
    ordered = bits ^ ((bits >> 63) & np.int64(2**63 - 1))
    order = np.lexsort((*ordered.T[::-1], *(one[rows] for one in before[::-1]), groups[rows]))
    rows = rows[order]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = groups[rows[1:]] != groups[rows[:-1]]
    return rows[is_first]


def merge_rows(rows: pa.Table) -> pa.Table:
    """Sort rows, and keep one for each key and kind of device; leave out what is not stored.

    Each strand of such a row is chosen on its own. So a lookup finds the same scores as before.

    Args:
        rows: The columns of :func:`store_schema`.

    Raises:
        ValueError: A row with scores has no key or no device.
    """
    schema = store_schema()
    rows = rows.select(schema.names)
    scores = {strand: read_scores(rows, strand) for strand in STRAND_SUFFIXES}
    is_stored = ~np.all([np.isnan(of_strand[:, 0]) for of_strand in scores.values()], axis=0)
    if not is_stored.all():
        rows = rows.filter(pa.array(is_stored))
        scores = {strand: of_strand[is_stored] for strand, of_strand in scores.items()}
    for name in (*KEY_COLUMNS, DEVICE):
        if rows.column(name).null_count:
            raise ValueError(f"a row to store has scores, but no {name}")
    alts, _ = rank_text(rows.column("edit_alt"))
    devices, _ = rank_text(rows.column(DEVICE))
    matrix = np.concatenate([make_matrix(rows, alts), devices[:, None]], axis=1)
    order, is_first = sort_groups(matrix)
    firsts = order[is_first]
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = np.cumsum(is_first) - 1
    columns = {name: rows.column(name).take(pa.array(firsts)) for name in (*KEY_COLUMNS, DEVICE)}
    for strand, of_strand in scores.items():
        chosen = firsts
        kept = of_strand[firsts]
        if len(firsts) < len(order):
            chosen = choose_smallest(groups, of_strand)
            kept = np.full((len(firsts), len(SCORE_NAMES)), np.nan)
            kept[groups[chosen]] = of_strand[chosen]
        for i, name in enumerate(strand_columns(strand)):
            columns[name] = pa.array(kept[:, i], from_pandas=True)  # NaN becomes null
    return pa.table([columns[field.name] for field in schema], names=schema.names).cast(schema)


def make_matrix(keys: pa.Table, alts: npt.NDArray[np.integer]) -> Ints:
    """Keys as whole numbers, with a number in place of each alt.

    Args:
        keys: Rows with the key columns.
        alts: A number for the alt of each row. (N,)

    Returns:
        The key of each row. (N, 5)
    """
    columns = [alts if name == "edit_alt" else keys.column(name).to_numpy() for name in KEY_COLUMNS]
    return np.stack([column.astype(np.int64) for column in columns], axis=1)
