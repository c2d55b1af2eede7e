"""Distinct pairs of windows of haplotypes: each once, in an order that the input does not decide.

An allele beside the same neighbours has the same windows in every sample, and so has the same
compound. The pairs are sorted by their place on the reference, so that the order of records and
samples changes neither which pairs a shard has nor their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from evo2_tasks.genome.windows import PlacedAllele
from evo2_tasks.table.schema import windows_schema
from evo2_tasks.table.sorting import sort_rows

BATCH_ROWS: Final = 8_192

OF_INPUT: Final = frozenset({"alias_contig", "resolved_symbolic"})
"""Flags that say how the input spells an allele. Its rows have them, its pairs do not."""

_KEYS: Final = ("contig_number", "first_base", "digest", "digest_end")
_NO_WINDOW: Final = -(2**62)


class Spelled(NamedTuple):
    """An allele of a pair, as a VCF could spell it.

    Attributes:
        contig: Name of the contig in the reference.
        pos: Position of the first base of ``ref``, 1-based.
        ref: Bases of the reference.
        alt: The bases in their place.
    """

    contig: str | None
    pos: int | None
    ref: str | None
    alt: str | None


class PairNumbers:
    """Numbers pairs of windows in the order in which they are met; equal ones have one number.

    Args:
        contigs: Number of each reference contig in the order of the reference, by its name.
    """

    def __init__(self, contigs: Mapping[str, int]) -> None:
        self._contigs = contigs
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, placed: PlacedAllele) -> tuple[int, tuple[int, ...] | None]:
        """The number of a pair, and, if it is new, the values that sort it among the others.

        Args:
            placed: An allele with its windows and the edits of its neighbours.
        """
        plain = without_input_flags(placed)
        digest = hashlib.blake2b(repr(tuple(plain)).encode(), digest_size=16).digest()
        known = self._numbers.get(digest)
        if known is not None:
            return known, None
        number = self._numbers[digest] = len(self._numbers)
        contig = self._contigs.get(placed.reference_contig or "", -1)
        first = _NO_WINDOW if placed.window_start is None else placed.window_start
        halves = (int.from_bytes(half, signed=True) for half in (digest[:8], digest[8:]))
        return number, (contig, first, *halves)


def without_input_flags(placed: PlacedAllele) -> PlacedAllele:
    """The windows of an allele, whatever the spelling of the allele in the input."""
    flags = tuple(flag for flag in placed.flags if flag not in OF_INPUT)
    return placed._replace(flags=flags)


class PairBuffer:
    """Collects new pairs, with the values that sort them, as tables."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []
        schema = windows_schema()
        self._names = [*_KEYS, *schema.names]
        self._schema = pa.schema(
            [
                *(pa.field(name, pa.int64(), nullable=False) for name in _KEYS),
                *(field.with_type(_plain(field.type)).with_nullable(True) for field in schema),
            ]
        ).remove_metadata()

    def add(
        self, number: int, key: tuple[int, ...], spelled: Spelled, placed: PlacedAllele
    ) -> Iterator[pa.Table]:
        """Add a pair; gives a table if enough pairs are collected."""
        values = dict(zip(PlacedAllele._fields, without_input_flags(placed), strict=True))
        values |= {"record": number, "allele": 1, **spelled._asdict()}
        self._rows.append((*key, *(values[name] for name in self._names[len(_KEYS) :])))
        if len(self._rows) >= BATCH_ROWS:
            yield self.take()

    def take(self) -> pa.Table:
        """The pairs that are collected, as a table."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._names)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._rows.clear()
        return pa.table(arrays, schema=self._schema)


def sort_pairs(tables: Iterable[pa.Table], folder: Path) -> Iterator[pa.Table]:
    """Sort pairs by their place on the reference.

    Args:
        tables: The tables of a ``PairBuffer``.
        folder: Folder for temporary files without names.

    Yields:
        Rows of a file of windows, in pieces.

    Raises:
        InputError: The folder cannot be written to.
    """
    for table in sort_rows(tables, _KEYS, folder=folder):
        yield table.drop_columns(list(_KEYS))


def find_shard(row: int, num_pairs: int, num_shards: int) -> int:
    """The shard of a pair, from 1; shards have nearly equal sizes.

    Args:
        row: Place of the pair among the sorted pairs, from 0.
        num_pairs: Number of pairs.
        num_shards: Number of shards.
    """
    return (row * num_shards + num_shards - 1) // num_pairs + 1


def cut_shards(
    tables: Iterable[pa.Table], num_pairs: int, num_shards: int
) -> Iterator[tuple[int, pa.Table]]:
    """Divide sorted pairs into shards.

    Args:
        tables: The pairs, in pieces.
        num_pairs: Their number.
        num_shards: Number of shards.

    Yields:
        The number of the shard, from 1, and rows of it; nothing for a shard without pairs.
    """
    first = 0
    for table in tables:
        start = 0
        while start < table.num_rows:
            shard = find_shard(first, num_pairs, num_shards)
            end = min(table.num_rows, start + shard * num_pairs // num_shards - first)
            yield shard, table.slice(start, end - start)
            first += end - start
            start = end


def _plain(kind: Any) -> Any:
    """The type of a text that is not encoded by a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
