"""Finding alleles in the files of a score store.

All work is done on arrays of a row group. The alleles are sorted once; a row group is read only if
its range of positions contains the position of an allele.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.table.store_files import (
    FileName,
    GoneError,
    Place,
    list_files,
    open_store_file,
    warn_once,
    warning_of_damage,
)
from evo2_tasks.table.store_rows import (
    DEVICE,
    KEY_COLUMNS,
    Ints,
    choose_smallest,
    found_schema,
    keys_schema,
    make_matrix,
    rank_text,
    read_scores,
    sort_groups,
    strand_columns,
    whole,
)

logger = logging.getLogger(__name__)

LISTINGS: Final = 12
"""How often a folder is listed again because files in it were removed."""

FIRST_WAIT_S: Final = 0.01
"""Wait before the second listing, which doubles each time: a network file system may show a removed
file for some seconds."""


class Queries:
    """The distinct alleles to find, sorted by position.

    Args:
        alleles: The columns of `keys_schema`.

    Attributes:
        starts: ``edit_start`` of each distinct allele, 0-based. (N,)
        places: For each row of ``alleles`` its distinct allele; -1 for a row with a null.
    """

    def __init__(self, alleles: pa.Table) -> None:
        keys = alleles.select(KEY_COLUMNS).cast(keys_schema()).combine_chunks()
        self.places = np.full(keys.num_rows, -1, dtype=np.int64)
        valid = np.ones(keys.num_rows, dtype=bool)
        for column in keys.columns:
            valid &= column.is_valid().to_numpy()
        keys = keys.filter(pa.array(valid)).combine_chunks()
        encoded = pc.dictionary_encode(whole(keys.column("edit_alt")))
        self._alts = encoded.dictionary
        matrix = make_matrix(keys, encoded.indices.to_numpy(zero_copy_only=False))
        order, is_first = sort_groups(matrix)
        distinct = np.cumsum(is_first) - 1
        places = np.empty(len(matrix), dtype=np.int64)
        places[order] = distinct
        self.places[valid] = places
        self._matrix = matrix[order[is_first]]
        self.starts = self._matrix[:, 0]

    def __len__(self) -> int:
        return len(self._matrix)

    def between(self, first: int, last: int) -> slice:
        """The alleles whose position is in ``first..last``, both included, 0-based."""
        return slice(
            int(np.searchsorted(self.starts, first, side="left")),
            int(np.searchsorted(self.starts, last, side="right")),
        )

    def match(self, keys: pa.Table, within: slice) -> tuple[Ints, Ints]:
        """Find rows that are among the alleles.

        Args:
            keys: The keys of rows.
            within: The alleles that they may be.

        Returns:
            Numbers of the rows that are, and for each of them the number of its allele.
        """
        positions = self.starts[within]
        starts = keys.column("edit_start").to_numpy()
        first = np.searchsorted(positions, starts, side="left")
        last = np.searchsorted(positions, starts, side="right")
        rows = np.flatnonzero(first < last)
        # Only alleles at the positions of rows, each once: a file may span many others.
        searched = _join_ranges(first[rows], last[rows]) + within.start
        matrix = self._matrix[searched]
        codes, matrix[:, 2] = np.unique(matrix[:, 2], return_inverse=True)
        alts = self._alts.take(pa.array(codes))
        keys = keys.take(pa.array(rows))
        found = pc.index_in(whole(keys.column("edit_alt")), value_set=alts)
        is_known = found.is_valid().to_numpy(zero_copy_only=False)
        rows, keys = rows[is_known], keys.filter(pa.array(is_known))
        stored = make_matrix(keys, found.drop_null().to_numpy(zero_copy_only=False))
        number = _find_rows(matrix, stored)
        is_hit = number >= 0
        return rows[is_hit], searched[number[is_hit]]


def _join_ranges(first: Ints, last: Ints) -> Ints:
    """The numbers in sorted ranges, each range once, ``last`` excluded."""
    first, places = np.unique(first, return_index=True)
    sizes = last[places] - first
    before = np.cumsum(sizes) - sizes
    return np.repeat(first - before, sizes) + np.arange(sizes.sum())


def _find_rows(searched: Ints, stored: Ints) -> Ints:
    """For each stored row the number of the equal one among distinct searched rows, or -1."""
    order, is_first = sort_groups(np.concatenate([searched, stored]))
    group = np.cumsum(is_first) - 1
    number_of_group = np.full(len(order), -1, dtype=np.int64)
    is_searched = order < len(searched)
    number_of_group[group[is_searched]] = order[is_searched]
    found = np.empty(len(stored), dtype=np.int64)
    found[order[~is_searched] - len(searched)] = number_of_group[group[~is_searched]]
    return found


class Found(NamedTuple):
    """Rows of a store that have searched alleles.

    Attributes:
        numbers: Number of the allele of each row. (M,)
        rows: Their scores and devices.
    """

    numbers: Ints
    rows: pa.Table


def find_rows(store: Path, place: Place, queries: Queries, strands: Sequence[Strand]) -> Found:
    """Find all rows of the alleles.

    Args:
        store: Folder of the store.
        place: Signature and contig.
        queries: The alleles.
        strands: The strands whose scores are read.
    """
    columns = [*(name for strand in strands for name in strand_columns(strand)), DEVICE]
    schema = pa.schema([*((name, pa.float64()) for name in columns[:-1]), (DEVICE, pa.string())])
    parts = [Found(np.empty(0, dtype=np.int64), schema.empty_table())]
    if len(queries):
        for rows, numbers in _read_folder(place.folder(store), place, queries, columns):
            parts.append(Found(numbers, rows.cast(schema)))
    return Found(
        np.concatenate([part.numbers for part in parts]),
        pa.concat_tables([part.rows for part in parts]),
    )


def _read_folder(
    folder: Path, place: Place, queries: Queries, columns: Sequence[str]
) -> Iterator[tuple[pa.Table, Ints]]:
    """Rows of a folder that have searched alleles, and the number of the allele of each row."""
    read: set[FileName] = set()
    for listing in range(LISTINGS):
        if listing:
            time.sleep(FIRST_WAIT_S * 2**listing)
        gone: list[Path] = []
        for name, path in list_files(folder).items():
            within = queries.between(name.first, name.last)
            if name in read or within.start == within.stop:
                continue
            try:
                yield from _read_file(path, name, place, queries, columns)
            except GoneError:
                gone.append(path)
            else:
                read.add(name)
        if not gone:
            return
    for path in gone:
        warn_once(path, "it is listed, but does not exist")


def _read_file(
    path: Path, name: FileName, place: Place, queries: Queries, columns: Sequence[str]
) -> Iterator[tuple[pa.Table, Ints]]:
    """Rows of a file that have searched alleles; damaged row groups are one warning.

    Raises:
        GoneError: The file was removed.
    """
    with warning_of_damage(path), open_store_file(path, name, place) as file:
        for number, group in enumerate(file.row_groups):
            within = queries.between(group.first, group.last)
            if within.start == within.stop:
                continue
            with warning_of_damage(path):
                reader = file.open_row_group(number)
                rows, numbers = queries.match(reader.read(KEY_COLUMNS), within)
                if len(rows):
                    found = reader.read(columns).select(columns)
                    yield found.take(pa.array(rows)), numbers


def choose_rows(
    queries: Queries, found: Found, strands: Sequence[Strand], device: str | None
) -> pa.Table:
    """Choose the scores of each allele.

    Args:
        queries: The alleles.
        found: The rows of the alleles.
        strands: The asked strands.
        device: Kind of device that must have computed the scores; None for any.

    Returns:
        The columns of `found_schema`, a row for each row of the alleles.
    """
    scores = {strand: read_scores(found.rows, strand) for strand in strands}
    ranks, names = rank_text(found.rows.column(DEVICE))
    if device is not None:
        other = pc.not_equal(whole(found.rows.column(DEVICE)), device).to_numpy(
            zero_copy_only=False
        )
        for of_strand in scores.values():
            of_strand[other] = np.nan
    pairs = found.numbers * len(names) + ranks
    is_partial = np.zeros(len(pairs), dtype=np.int64)
    for of_strand in scores.values():
        is_partial |= ~np.isin(pairs, pairs[~np.isnan(of_strand[:, 0])])
    columns: list[pa.Array] = []
    for of_strand in scores.values():
        chosen = choose_smallest(found.numbers, of_strand, is_partial, ranks)
        row_of = np.full(len(queries) + 1, -1, dtype=np.int64)  # the last is that of -1
        row_of[found.numbers[chosen]] = chosen
        row = row_of[queries.places]
        is_hit = row >= 0
        values = np.full((len(row), of_strand.shape[1]), np.nan)
        values[is_hit] = of_strand[row[is_hit]]
        columns += [pa.array(column, from_pandas=True) for column in values.T]
        codes = np.full(len(row), -1)
        codes[is_hit] = ranks[row[is_hit]]
        indices = pa.array(codes, pa.int32(), mask=~is_hit)
        columns.append(pa.DictionaryArray.from_arrays(indices, names))
    return pa.table(columns, schema=found_schema(strands))
