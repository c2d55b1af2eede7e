"""Merging the files of a score store, while others read and write it.

The merged files are complete before the first old one is removed. So the rows of a removed file
are always in another file, whatever else runs and wherever a process is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from evo2_tasks.io.files import writing
from evo2_tasks.table.store_files import (
    DamagedFileError,
    FileName,
    GoneError,
    Place,
    StoreFile,
    list_files,
    open_store_file,
    warn_once,
)
from evo2_tasks.table.store_rows import merge_rows, store_schema
from evo2_tasks.table.store_writer import FILE_ROWS, StoreWriter

FAN_IN: Final = 64
"""Most files that are merged at once."""

STEP_ROWS: Final = 2**17
"""Rows that are sorted at once, if the files do not need more."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes:
        files_before: Number of files before it.
        files_after: Number of files after it.
        rows_before: Number of rows before it.
        rows_after: Number of rows after it: one for each allele in its window and kind of device.
    """

    files_before: int
    files_after: int
    rows_before: int
    rows_after: int


def compact_place(store: Path, place: Place) -> Compaction:
    """Merge the files of a contig that overlap or are small; full files that do not are left.

    A damaged file is one warning, and is left as it is.

    Args:
        store: Folder of the store.
        place: Signature and contig.

    Raises:
        InputError: The folder cannot be written to.
    """
    folder = place.folder(store)
    before = set(list_files(folder))
    names, left_out = set(before), set[FileName]()
    while groups := choose_groups(names):
        for group in groups:
            try:
                made = _merge(store, place, group)
            except _UnusableError as error:
                left_out.add(error.name)
                # Another compaction may have put its rows into a file that was not there before.
                names = set(list_files(folder)) - left_out
                break
            for name in set(group) - made:
                with writing(folder):
                    (folder / str(name)).unlink(missing_ok=True)
            names = names - set(group) | made
    after = list_files(folder)
    return Compaction(
        files_before=len(before),
        files_after=len(after),
        rows_before=sum(name.rows for name in before),
        rows_after=sum(name.rows for name in after),
    )


def choose_groups(names: Iterable[FileName]) -> list[list[FileName]]:
    """Choose the files to merge with one another.

    A file stays as it is if it overlaps with no other and has at least half of the rows of a full
    file. The files between two such files are merged.

    Args:
        names: The files.
    """
    runs: list[list[FileName]] = [[]]
    for cluster in _find_clusters(names):
        if len(cluster) == 1 and cluster[0].rows >= FILE_ROWS / 2:
            runs.append([])
        else:
            runs[-1] += cluster
    groups = [run[i : i + FAN_IN] for run in runs for i in range(0, len(run), FAN_IN)]
    return [group for group in groups if len(group) > 1]


def _find_clusters(names: Iterable[FileName]) -> Iterator[list[FileName]]:
    """Files that overlap, by the order of their positions."""
    cluster: list[FileName] = []
    last = -1
    for name in sorted(names):
        if cluster and name.first > last:
            yield cluster
            cluster = []
        cluster.append(name)
        last = max(last, name.last)
    if cluster:
        yield cluster


class _UnusableError(Exception):
    """A file is damaged or was removed.

    Attributes:
        name: The file.
    """

    def __init__(self, name: FileName) -> None:
        super().__init__(str(name))
        self.name = name


def _merge(store: Path, place: Place, group: Sequence[FileName]) -> set[FileName]:
    """Merge files; gives the names of the merged ones.

    Raises:
        _UnusableError: A file is damaged or was removed.
        InputError: The merged files cannot be written.
    """
    folder = place.folder(store)
    with ExitStack() as stack:
        files = {}
        for name in group:
            with _naming(name, folder):
                files[name] = stack.enter_context(open_store_file(folder / str(name), name, place))
        writer = stack.enter_context(StoreWriter(store, place))
        for rows in _merge_sorted(files, folder):
            writer.add(rows)
        writer.finish()
        return writer.files


def _merge_sorted(files: Mapping[FileName, StoreFile], folder: Path) -> Iterator[pa.Table]:
    """The rows of sorted files in order, without duplicates, in pieces.

    Raises:
        _UnusableError: A file is damaged.
    """
    row_groups = sorted(
        (group.first, name, number)
        for name, file in files.items()
        for number, group in enumerate(file.row_groups)
    )
    columns = store_schema().names
    pending: list[pa.Table] = []
    num_left = 0
    for i, (_, name, number) in enumerate(row_groups):
        with _naming(name, folder):
            pending.append(files[name].open_row_group(number).read(columns))
        is_last = i == len(row_groups) - 1
        # What is left of the last step is sorted again, so a step takes more than that.
        if is_last or sum(rows.num_rows for rows in pending) >= max(STEP_ROWS, 2 * num_left):
            rows = merge_rows(pa.concat_tables(pending, promote_options="permissive"))
            end = rows.num_rows
            if not is_last:
                starts = rows.column(0).to_numpy()
                end = int(np.searchsorted(starts, row_groups[i + 1][0], side="left"))
            yield rows.slice(0, end)
            pending = [rows.slice(end)]
            num_left = rows.num_rows - end


@contextmanager
def _naming(name: FileName, folder: Path) -> Iterator[None]:
    """Name the file that is damaged or was removed."""
    try:
        yield
    except DamagedFileError as error:
        warn_once(folder / str(name), error)
        raise _UnusableError(name) from error
    except GoneError as error:
        raise _UnusableError(name) from error
