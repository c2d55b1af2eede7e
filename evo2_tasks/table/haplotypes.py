"""The scores of haplotypes and compounds: those of pairs of windows, given to who has them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import COMPOUNDS, CONSEQUENCE_COLUMNS, HAPLOTYPES, TABLE
from evo2_tasks.table.parquet import TableWriter, decode_texts, read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.statistics import Counts

HAPLOTYPES_MEANINGS: Final[Mapping[str, str]] = {
    "haplotypes_digest": f"SHA-256 of `{HAPLOTYPES}`",
    "compounds_digest": f"SHA-256 of `{COMPOUNDS}`",
    "samples": "number of samples",
    "rows": f"number of rows of `{HAPLOTYPES}`",
    "alone": "how many of these have an empty `background`, so that their scores are copied from "
    f"`{TABLE}`",
    "by_status": "number of these rows with each status that occurs",
    "by_flag": "number of these rows with each flag that occurs",
    "compounds": f"number of rows of `{COMPOUNDS}`",
    "compounds_by_status": "number of these rows with each status that occurs",
    "compounds_by_flag": "number of these rows with each flag that occurs",
    "pairs": "number of distinct pairs of windows that all these rows need; each is run once",
    "genotypes": "number of genotypes (`calls`: samples times records), and of those that are "
    "`missing`, `partly_missing` (`1|.`), `unreadable` or `unphased`",
    "windows_run": "number of windows that went through the model",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all jobs of `score_haplotypes`, in seconds",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
}
"""Keys of ``haplotypes.json``, and their meanings."""

SUFFIXES: Final = ("", *STRAND_SUFFIXES.values())
"""The mean of the asked strands, and each strand."""

_LLR: Final = tuple(f"llr{suffix}" for suffix in SUFFIXES)
_KEYS: Final = ("record", "allele")
_VALUES: Final = (*_LLR, "status", "reason", "flags")
_SPELLED: Final = ("contig", "pos", "ref", "alt")

OF_SPELLING: Final = ("alias_contig", "iupac_ref", "moved", "resolved_symbolic")
"""Flags of an allele that say how the input spells it. They hold beside other alleles too."""

_SEPARATOR: Final = "&"
_NO_FLAGS: Final = pa.scalar("")


class Alleles(NamedTuple):
    """The alleles of a table of scores, sorted by their keys.

    Attributes:
        keys: Key of each allele, rising. (N,)
        step: What a record adds to a key.
        values: Scores, status, reason and flags of each.
    """

    keys: npt.NDArray[np.int64]
    step: int
    values: pa.Table

    def find(self, records: Any, alleles: Any) -> npt.NDArray[np.int64]:
        """The rows of some alleles.

        Args:
            records: Their records, an Arrow array.
            alleles: Their numbers in the record, an Arrow array.

        Raises:
            KeyError: The table does not have one of them.
        """
        numbers = _as_numpy(alleles)
        keys = _make_keys(_as_numpy(records), numbers, self.step)
        places = np.searchsorted(self.keys, keys)
        found = (places < len(self.keys)) & (numbers < self.step)
        found[found] = self.keys[places[found]] == keys[found]
        if not found.all():
            raise KeyError(int(np.flatnonzero(~found)[0]))
        return places.astype(np.int64)


def read_alleles(table: Path) -> Alleles:
    """Read the scores of the alleles alone.

    Args:
        table: The table of ``merge``, with rows in any order.

    Raises:
        InputError: The table cannot be read.
    """
    batches = [
        pa.table({name: decode_texts(batch.column(name)) for name in (*_KEYS, *_VALUES)})
        for batch in read_rows(table, [*_KEYS, *_VALUES])
    ]
    if not batches:
        return Alleles(np.empty(0, np.int64), 1, _empty_values())
    rows = pa.concat_tables(batches).combine_chunks()
    records, alleles = (_as_numpy(rows.column(name).combine_chunks()) for name in _KEYS)
    step = int(alleles.max(initial=0)) + 1
    keys = _make_keys(records, alleles, step)
    values = rows.select(_VALUES)
    if (np.diff(keys) < 0).any():
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values.take(pa.array(order))
    return Alleles(keys, step, values)


def read_pair_scores(pairs_files: Sequence[Path], scores_files: Sequence[Path]) -> pa.Table:
    """Read the scores of the pairs of windows of all shards, in the order of their numbers.

    Args:
        pairs_files: The pairs of each shard, from ``haplotypes``.
        scores_files: Their scores, from ``score``.

    Raises:
        InputError: A file cannot be read, or the rows are not those of the pairs.
    """
    tables = [_empty_values()]
    numbers = [np.empty(0, np.int64)]
    for pairs_file, scores_file in zip(pairs_files, scores_files, strict=True):
        of_pairs = _read_whole(pairs_file, ["record", "flags"])
        of_scores = _read_whole(scores_file, ["record", *_VALUES[:-1]])
        numbers.append(of_pairs.column("record").to_numpy())
        if not of_scores.column("record").equals(of_pairs.column("record")):
            raise InputError(
                f"{shown_path(scores_file)}: has other pairs than {shown_path(pairs_file)}. Delete "
                "the first file, and run again."
            )
        tables.append(
            of_scores.drop_columns("record").append_column("flags", of_pairs.column("flags"))
        )
    order = np.argsort(np.concatenate(numbers), kind="stable")
    if not np.array_equal(np.concatenate(numbers)[order], np.arange(len(order))):
        raise InputError(
            f"{shown_path(pairs_files[0].parent)}: the files of the shards do not have each pair "
            "once. Delete the folder, and run again."
        )
    return pa.concat_tables(tables).combine_chunks().take(pa.array(order))


class _Rows:
    """Writes rows with scores, and counts them."""

    def __init__(self, alleles: Alleles, pairs: pa.Table, writer: TableWriter) -> None:
        self.counts = Counts()
        self._alleles = alleles
        self._pairs = pairs
        self._writer = writer

    def _write(self, columns: dict[str, Any], values: pa.Table, flags: Sequence[Any]) -> None:
        """Write columns, with status and reason of some scores and all flags."""
        columns["status"] = values.column("status")
        columns["reason"] = values.column("reason")
        columns["flags"] = _join_flags(flags, pc.equal(values.column("status"), "scored"))
        rows = pa.table(columns)
        self.counts.add(rows)
        self._writer.write(rows)


class CarrierRows(_Rows):
    """Writes ``haplotypes.parquet``: scores alone and beside the neighbours.

    Args:
        alleles: The scores of the alleles alone.
        pairs: The scores of the pairs of windows.
        writer: The table.

    Attributes:
        counts: The rows by status and flag.
    """

    def __init__(self, alleles: Alleles, pairs: pa.Table, writer: TableWriter) -> None:
        super().__init__(alleles, pairs, writer)
        self._num_alone = alleles.values.num_rows
        self._values = pa.concat_tables([alleles.values, pairs]).combine_chunks()

    def write(self, rows: pa.RecordBatch) -> None:
        """Write some rows of the file of ``haplotypes``.

        Raises:
            KeyError: The table of scores lacks one of the alleles.
        """
        alone = self._alleles.find(rows.column("record"), rows.column("allele"))
        pairs = rows.column("pair")
        has_pair = _as_numpy(pc.is_valid(pairs)).astype(bool)
        found = np.where(has_pair, self._num_alone + _as_numpy(pc.fill_null(pairs, 0)), alone)
        values = self._values.take(pa.array(found))
        of_alleles = self._values.select([*_LLR, "flags"]).take(pa.array(alone))
        spelled = _only(of_alleles.column("flags"), OF_SPELLING)
        flags = [values.column("flags"), spelled, rows.column("flags")]
        columns = {
            name: rows.column(name)
            for name in (*_KEYS, "sample", "haplotype", "background", "phase_set")
        }
        for suffix in SUFFIXES:
            columns[f"llr_alone{suffix}"] = of_alleles.column(f"llr{suffix}")
            columns[f"llr_background{suffix}"] = values.column(f"llr{suffix}")
        columns["num_background"] = pc.list_value_length(rows.column("background"))
        self._write(columns, values, flags)


class GroupRows(_Rows):
    """Writes ``compounds.parquet``: scores of the members together, and the sum of those alone.

    Args:
        alleles: The scores of the alleles alone.
        pairs: The scores of the pairs of windows.
        writer: The table.
        joint: The joint consequence of each row.

    Attributes:
        counts: The rows by status and flag.
    """

    def __init__(
        self,
        alleles: Alleles,
        pairs: pa.Table,
        writer: TableWriter,
        joint: Iterable[Consequence],
    ) -> None:
        super().__init__(alleles, pairs, writer)
        self._joint = iter(joint)

    def write(self, rows: pa.RecordBatch) -> None:
        """Write some rows of the file of ``haplotypes``.

        Raises:
            KeyError: The table of scores lacks one of the members.
        """
        values = self._pairs.take(rows.column("pair"))
        members = rows.column("members")
        items = members.flatten()
        places = self._alleles.find(items.field("record"), items.field("allele"))
        row_of = _as_numpy(pc.list_parent_indices(members))
        columns = {
            name: rows.column(name)
            for name in ("sample", "haplotype", "phase_set", "members", *_SPELLED)
        }
        for suffix in SUFFIXES:
            of_members = self._alleles.values.column(f"llr{suffix}").take(pa.array(places))
            sums = np.zeros(rows.num_rows)
            # One after the other, in the order of the members; a null makes the sum null.
            np.add.at(sums, row_of, of_members.to_numpy())
            total = pa.array(sums, mask=np.isnan(sums))
            joint = values.column(f"llr{suffix}")
            columns[f"llr_joint{suffix}"] = joint
            columns[f"llr_sum{suffix}"] = total
            columns[f"interaction{suffix}"] = pc.subtract(joint, total)
        joint = [*islice(self._joint, rows.num_rows)]
        for name in CONSEQUENCE_COLUMNS:
            kind = self._writer.schema.field(name).type
            columns[name] = pa.array([getattr(one, name) for one in joint], kind)
        flags = [values.column("flags"), rows.column("flags")]
        self._write(columns, values, flags)


def _join_flags(lists: Sequence[Any], is_scored: Any) -> Any:
    """The flags of several columns, each once; none where a row is not scored."""
    texts = pc.binary_join_element_wise(*map(_as_text, lists), _SEPARATOR)
    coded = pc.if_else(_one_chunk(is_scored), texts, _NO_FLAGS).dictionary_encode()
    distinct = [
        [*dict.fromkeys(flag for flag in text.split(_SEPARATOR) if flag)]
        for text in coded.dictionary.to_pylist()
    ]
    flags = pa.array(distinct, pa.list_(pa.field("element", pa.string(), nullable=False)))
    return flags.take(coded.indices)


def _as_text(flags: Any) -> Any:
    """Lists of flags, each as one text."""
    # Arrow joins lists whose items may be null, and has no function for other lists.
    return pc.binary_join(_one_chunk(flags).cast(pa.list_(pa.string())), _SEPARATOR)


def _only(flags: Any, kept: Sequence[str]) -> Any:
    """Lists of flags, without all but some of the flags."""
    coded = _as_text(flags).dictionary_encode()
    distinct = [
        [flag for flag in text.split(_SEPARATOR) if flag in kept]
        for text in coded.dictionary.to_pylist()
    ]
    return pa.array(distinct, pa.list_(pa.string())).take(coded.indices)


class AlleleDigest:
    """Makes a digest of alleles that does not depend on their order."""

    def __init__(self) -> None:
        self._records: list[npt.NDArray[np.int64]] = []
        self._alleles: list[npt.NDArray[np.int64]] = []
        self._sums: list[npt.NDArray[np.int64]] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Add alleles with the columns of ``DIGESTED``."""
        spelled = (rows.column(name).to_pylist() for name in _SPELLED)
        sums = [zlib.crc32(repr(values).encode()) for values in zip(*spelled, strict=True)]
        self._records.append(_as_numpy(rows.column("record")))
        self._alleles.append(_as_numpy(rows.column("allele")))
        self._sums.append(np.array(sums, dtype=np.int64))

    def hexdigest(self) -> str:
        """SHA-256 of the alleles, as hexadecimal digits."""
        empty = [np.empty(0, np.int64)]
        records, alleles, sums = (
            np.concatenate([*empty, *one]) for one in (self._records, self._alleles, self._sums)
        )
        order = np.lexsort((alleles, records))
        digest = hashlib.sha256()
        for part in (records, alleles, sums):
            digest.update(part[order].astype("<i8").tobytes())
        return digest.hexdigest()


DIGESTED: Final = (*_KEYS, *_SPELLED)
"""Columns of the alleles that their digest is made from."""


def digest_alleles(tables: Iterable[Path]) -> str:
    """The digest of the alleles of a set, from its windows of all shards or from its table.

    Args:
        tables: Tables with the columns of ``DIGESTED``.

    Raises:
        InputError: A table cannot be read.
    """
    digest = AlleleDigest()
    for table in tables:
        for rows in read_rows(table, DIGESTED):
            digest.add(rows)
    return digest.hexdigest()


def _read_whole(path: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of a table, with texts that are not encoded."""
    batches = [
        pa.table({name: decode_texts(batch.column(name)) for name in names})
        for batch in read_rows(path, names)
    ]
    if batches:
        return pa.concat_tables(batches)
    fields = {"record": pa.int64()} | {field.name: field.type for field in _empty_values().schema}
    return pa.table({name: pa.array([], fields[name]) for name in names})


def _empty_values() -> pa.Table:
    kinds = {
        **dict.fromkeys(_LLR, pa.float64()),
        "status": pa.string(),
        "reason": pa.string(),
        "flags": pa.list_(pa.field("element", pa.string(), nullable=False)),
    }
    return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})


def _one_chunk(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _as_numpy(column: Any) -> npt.NDArray[np.int64]:
    return np.asarray(_one_chunk(column).to_numpy(zero_copy_only=False)).astype(np.int64)


def _make_keys(
    records: npt.NDArray[np.int64], alleles: npt.NDArray[np.int64], step: int
) -> npt.NDArray[np.int64]:
    return records * step + alleles
