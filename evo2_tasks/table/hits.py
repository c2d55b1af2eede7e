"""The hits of a shard: scores that the store has, as the step ``lookup`` found them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import hits_run_file
from evo2_tasks.table.documents import Lookup
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    read_object,
    read_provenance,
    require_source,
)
from evo2_tasks.table.schema import HITS_COLUMNS, STRAND_SUFFIXES, make_schema
from evo2_tasks.table.store_files import CONTIG_KEY
from evo2_tasks.table.store_models import ModelKey
from evo2_tasks.table.store_rows import device_column

KEYS: Final = ("record", "allele")
DEVICES: Final = tuple(map(device_column, STRAND_SUFFIXES))
"""Columns of the kind of device that each strand's scores were computed on."""

CONTIGS: Final = "contigs"
"""Key in the metadata of a file of hits: the name in the store of each contig of the shard."""
MODEL_KEY: Final = "model_key"
"""Key in the metadata of a file of hits: what the store knows the model by."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of a shard, or those of them that were computed on one kind of device.

    Attributes:
        path: The file of ``lookup``.
        digest: SHA-256 of the file.
        provenance: Its provenance. If the store does not know the model, the signature is a guess,
            or has no ``weights``; the file then has no hits.
        contigs: The name in the store of each reference contig of the shard.
        model_key: What the store knows the model by.
        found: What ``lookup`` states about the shard.
        device: The kind of device whose scores are used; None for all.
    """

    path: Path
    digest: str
    provenance: Provenance
    contigs: Mapping[str, str]
    model_key: ModelKey
    found: Lookup
    device: str | None = None

    def rows(self, columns: Sequence[str] = ()) -> HitRows:
        """The hits from the first one on, to be taken in the order of the windows.

        Args:
            columns: The columns to read besides the keys.
        """
        return HitRows(self, columns)

    def count(self) -> tuple[int, dict[str, int]]:
        """Number of hits, and of hits by kind of device.

        An allele whose strands were computed on two kinds of devices counts for both.

        Raises:
            InputError: The file cannot be read.
        """
        total, kinds = 0, Counter[str]()
        for batch in read_hits(self, DEVICES):
            total += batch.num_rows
            first, second = (batch.column(name).cast(pa.string()) for name in DEVICES)
            again = pc.fill_null(pc.equal(first, second), False)
            kinds.update(_count(first))
            kinds.update(_count(second.filter(pc.invert(again))))
        return total, dict(sorted(kinds.items()))

    def digest_keys(self) -> str:
        """SHA-256 of the keys of the hits: which alleles a plan leaves out.

        Raises:
            InputError: The file cannot be read.
        """
        digest = hashlib.sha256()
        for batch in read_hits(self, ()):
            keys = np.empty((batch.num_rows, 2), dtype="<i8")
            keys[:, 0], keys[:, 1] = (batch.column(name).to_numpy() for name in KEYS)
            digest.update(keys.tobytes())
        return digest.hexdigest()


def _count(values: pa.Array) -> dict[str, int]:
    counts = pc.value_counts(values.drop_null())
    return {one["values"]: one["counts"] for one in counts.to_pylist()}


def open_hits(path: Path, windows_file: Path, windows_digest: str, files: SourceFiles) -> Hits:
    """Open the hits of a shard.

    Args:
        path: The file of ``lookup``. Its JSON file is next to it.
        windows_file: The windows of the shard, for messages.
        windows_digest: SHA-256 of the windows.
        files: Gets the two files.

    Raises:
        InputError: A file is missing or damaged, or the hits are of other windows.
    """
    digest = files.add(path)
    run_file = hits_run_file(path)
    files.add(run_file)
    with open_table(path, [column.name for column in HITS_COLUMNS]) as file:
        schema = file.schema_arrow
    for column in HITS_COLUMNS:
        actual = schema.field(column.name).type
        if actual != column.type:
            raise InputError(
                f"{shown_path(path)}: column {column.name} has the type {actual}, expected "
                f"{column.type}. Run `lookup` again with this version."
            )
    provenance = read_provenance(path)
    require_source(path, provenance.source, windows_file, windows_digest)
    found = Lookup.read(run_file)
    require_source(run_file, found.table_digest, path, digest)
    stored = read_metadata(path)
    contigs, key = (read_object(path, stored, name) or {} for name in (CONTIGS, MODEL_KEY))
    for contig in contigs.values():
        if CONTIG_KEY.fullmatch(str(contig)) is None:
            raise InputError(
                f"{shown_path(path)}: {PREFIX}{CONTIGS} in the metadata has {shown(str(contig))}, "
                "which is not the name of a contig in a store. Run `lookup` again."
            )
    return Hits(
        path=path,
        digest=digest,
        provenance=provenance,
        contigs={name: str(contig) for name, contig in contigs.items()},
        model_key=ModelKey.parse(key, f"{shown_path(path)}: {PREFIX}{MODEL_KEY} in the metadata"),
        found=found,
    )


def read_hits(hits: Hits, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The hits in pieces, with their keys and some columns.

    Raises:
        InputError: The file cannot be read.
    """
    names = list(dict.fromkeys([*KEYS, *columns, *(DEVICES if hits.device is not None else ())]))
    last: tuple[int, int] | None = None
    for batch in read_rows(hits.path, names):
        if hits.device is not None:
            kept = pa.array(np.ones(batch.num_rows, dtype=bool))
            for name in DEVICES:
                kind = batch.column(name).cast(pa.string())
                kept = pc.and_(kept, pc.fill_null(pc.equal(kind, hits.device), True))
            batch = batch.filter(kept)
        batch, last = _keep_first(batch, last)
        yield batch.select([*KEYS, *columns])


def _keep_first(
    batch: pa.RecordBatch, last: tuple[int, int] | None
) -> tuple[pa.RecordBatch, tuple[int, int] | None]:
    """The first row of each allele, which may have several: one for each kind of device.

    Args:
        batch: Some hits.
        last: The key of the row before them.

    Returns:
        The rows, and the key of the last one of the batch.
    """
    if not batch.num_rows:
        return batch, last
    record, allele = (batch.column(name).to_numpy() for name in KEYS)
    is_first = np.empty(len(record), dtype=bool)
    is_first[0] = last != (record[0], allele[0])
    is_first[1:] = (record[1:] != record[:-1]) | (allele[1:] != allele[:-1])
    last = int(record[-1]), int(allele[-1])
    return (batch if is_first.all() else batch.filter(pa.array(is_first))), last


class HitRows:
    """Reads hits side by side with the rows of the windows, which are in the same order.

    Args:
        hits: The hits.
        columns: The columns to read besides the keys.
    """

    def __init__(self, hits: Hits, columns: Sequence[str] = ()) -> None:
        self._hits = hits
        self._names = [*KEYS, *columns]
        self._batches = read_hits(hits, columns)
        self._rest: pa.Table | None = None

    def take(self, records: pa.Array, alleles: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Table]:
        """The hits among the next rows of the windows.

        Args:
            records: The ``record`` of each row.
            alleles: The ``allele`` of each row.

        Returns:
            The places of the hits among these rows, rising, and the hits.

        Raises:
            InputError: The file cannot be read, or has a hit that is not among the rows.
        """
        record, allele = records.to_numpy(), alleles.to_numpy()
        found = self._none()
        if len(record):
            found = self._read_up_to((int(record[-1]), int(allele[-1])))
        if not found.num_rows:
            return np.empty(0, dtype=np.int64), found
        distinct, numbers = np.unique(record, return_inverse=True)
        wanted = found.column("record").to_numpy()
        places = np.searchsorted(distinct, wanted).clip(max=len(distinct) - 1)
        # A record that these rows do not have gets a key that none of them has.
        known = np.where(distinct[places] == wanted, places, -1)
        keys = _join_keys(numbers, allele)
        own = _join_keys(known, found.column("allele").to_numpy())
        at = np.searchsorted(keys, own).clip(max=len(keys) - 1)
        if not (keys[at] == own).all() or (np.diff(at) <= 0).any():
            raise self._other_rows()
        return at.astype(np.int64), found

    def finish(self) -> None:
        """Make sure that all hits were among the rows.

        Raises:
            InputError: Some were not.
        """
        rest = 0 if self._rest is None else self._rest.num_rows
        if rest or any(batch.num_rows for batch in self._batches):
            raise self._other_rows()

    def _none(self) -> pa.Table:
        return make_schema([one for one in HITS_COLUMNS if one.name in self._names]).empty_table()

    def _read_up_to(self, last: tuple[int, int]) -> pa.Table:
        """The hits whose keys are at most ``last``; the others are kept for the next call."""
        pieces = []
        while True:
            rows, self._rest = self._rest, None
            if rows is None:
                batch = next(self._batches, None)
                if batch is None:
                    break
                rows = pa.Table.from_batches([batch])
            record, allele = (rows.column(name).to_numpy() for name in KEYS)
            later = (record > last[0]) | ((record == last[0]) & (allele > last[1]))
            end = int(np.argmax(later)) if later.any() else rows.num_rows
            pieces.append(rows.slice(0, end))
            if end < rows.num_rows:
                self._rest = rows.slice(end)
                break
        return pa.concat_tables(pieces) if pieces else self._none()

    def _other_rows(self) -> InputError:
        return InputError(
            f"{shown_path(self._hits.path)}: has alleles that its windows do not have, or has them "
            "in another order. Delete the file, and run `lookup` again."
        )


def _join_keys(
    numbers: npt.NDArray[np.integer[Any]], alleles: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.int64]:
    """One number for each pair of a small number and an ``allele``, in the same order."""
    return numbers.astype(np.int64) * 2**32 + alleles
