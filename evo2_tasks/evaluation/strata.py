"""Strata: which alleles of a background a score is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import IntArray
from evo2_tasks.evaluation.values import MISSING, encode_texts, encode_types, without_accession
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import reverse_complement
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.snvs import find_change

TYPE: Final = "type"
"""The allele type, as an item of ``by``."""

TRINUCLEOTIDE: Final = "trinucleotide"
"""The substitution and its two neighbours, as an item of ``by``."""

SEPARATOR: Final = " | "
"""Between the values of several items in the name of a stratum."""

MOST_CHARACTERS: Final = 200
"""Most characters of a value in the name of a stratum. A name is in many rows."""

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {TYPE: ("ref", "alt"), TRINUCLEOTIDE: ("reference_contig", "pos", "ref", "alt")}
)
_BASES: Final = frozenset("ACGT")
_PURINES: Final = frozenset("AG")


@dataclass(frozen=True, slots=True)
class Strata:
    """The strata of N rows.

    Attributes:
        names: Their names, each once.
        numbers: The number of each row's stratum in ``names``; -1 where a row has none. (N,)
    """

    names: tuple[str, ...]
    numbers: IntArray


@dataclass(frozen=True, slots=True)
class StratumReader:
    """Finds the stratum of each row of a table.

    Attributes:
        by: Columns of text, ``type`` and ``trinucleotide``; empty if all rows are compared alike.
        reference: The reference of the table. Only ``trinucleotide`` needs it.
        source: The table, for messages.
    """

    by: tuple[str, ...]
    reference: Reference | None
    source: Path

    @property
    def columns(self) -> list[str]:
        """The columns of the table that are read."""
        return list(dict.fromkeys(name for item in self.by for name in _COLUMNS.get(item, (item,))))

    def require_columns(self) -> None:
        """Make sure that the table has the columns, and that they can be strata.

        Raises:
            InputError: A column is missing or has no groups, or the file is missing or broken.
        """
        with open_table(self.source) as file:
            schema = file.schema_arrow
        for item in self.by:
            if item in _COLUMNS:
                continue
            if item not in schema.names:
                raise InputError(
                    f"{shown_path(self.source)}: has no column '{shown(item)}', which `by` of the "
                    "calibration names. Add it to `carry` of the variant set, or remove it from "
                    "`by`."
                )
            kind = schema.field(item).type
            if not _has_groups(kind):
                raise InputError(
                    f"{shown_path(self.source)}: column '{shown(item)}' has the type {kind}, but "
                    "`by` of the calibration needs groups. Name a column of text or whole numbers, "
                    "`type` or `trinucleotide`."
                )

    def find(self, rows: pa.Table) -> Strata:
        """The strata of some rows of the table.

        A row has no stratum if one of the values is missing.

        Args:
            rows: N rows with ``columns``.

        Raises:
            InputError: The reference is another one than that of the table.
        """
        if not self.by:
            return Strata((), np.full(rows.num_rows, -1, dtype=np.int64))
        items = [self._find_item(item, rows) for item in self.by]
        return items[0] if len(items) == 1 else _combine(items)

    def _find_item(self, item: str, rows: pa.Table) -> Strata:
        if item == TYPE:
            return _make_strata(*encode_types(rows))
        if item == TRINUCLEOTIDE:
            if self.reference is None:
                raise ValueError(f"{TRINUCLEOTIDE}: expected a reference")
            return _number(find_trinucleotides(rows, self.reference, self.source))
        texts, numbers = encode_texts(rows[item])
        return _make_strata([_shorten(without_accession(text)) for text in texts], numbers)


def find_trinucleotides(rows: pa.Table, reference: Reference, source: Path) -> list[str | None]:
    """The substitution of each row with its neighbours in the reference: ``A[C>T]G``.

    A substitution of A or G is that of the other strand. The neighbours are those around the origin
    on circular contigs.

    Args:
        rows: Rows with ``reference_contig``, ``pos``, ``ref`` and ``alt``.
        reference: The reference of the rows.
        source: Their table, for messages.

    Returns:
        One text for each row; None for alleles that do not change exactly one base, at the ends of
        linear contigs, and next to a base other than A, C, G and T.

    Raises:
        InputError: The reference has another base than the REF of a row.
    """
    values = [rows[name].to_pylist() for name in _COLUMNS[TRINUCLEOTIDE]]
    alleles = [*zip(*values, strict=True)]
    found: list[str | None] = [None] * rows.num_rows
    # In the order of the genome, so that each of its blocks is read once, whatever the order of the
    # rows is.
    known = [number for number, allele in enumerate(alleles) if None not in allele]
    for number in sorted(known, key=lambda number: alleles[number][:2]):
        contig, pos, ref, alt = alleles[number]
        try:
            found[number] = _find_trinucleotide(reference, contig, pos, ref, alt)
        except LookupError as error:
            raise InputError(
                f"{shown_path(reference.path)}: has other sequences than when the scores of "
                f"{shown_path(source)} were made: they differ at {shown(contig)}:{pos}. Put the "
                "old file back, or score the variants again."
            ) from error
    return found


def _find_trinucleotide(
    reference: Reference, contig: str, pos: int, ref: str, alt: str
) -> str | None:
    """The substitution of one allele with its neighbours.

    Raises:
        LookupError: The reference does not have this contig, position or base.
    """
    offset = find_change(ref, alt) if len(ref) == len(alt) else -1
    if offset < 0:
        return None
    length = reference.contigs[contig]
    is_circular = reference.is_circular(contig)
    place = pos - 1 + offset  # 0-based
    if not 0 < pos <= length or not (is_circular or place < length):
        raise LookupError(place)
    place %= length
    old = reference.fetch(contig, place, place + 1)
    if old in _BASES and old != ref[offset]:
        raise LookupError(place)
    if not is_circular and not 0 < place < length - 1:
        return None
    around = reference.fetch(contig, place - 1, place + 2)
    bases, changed = around[0] + ref[offset] + around[2], alt[offset]
    if not _BASES.issuperset(bases + changed):
        return None
    if bases[1] in _PURINES:
        bases, changed = reverse_complement(bases), reverse_complement(changed)
    return f"{bases[0]}[{bases[1]}>{changed}]{bases[2]}"


def _has_groups(kind: pa.DataType) -> bool:
    """Whether the values of a column can be names of groups: text, flags or whole numbers."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer)
    return any(test(kind) for test in tests)


def _shorten(text: str) -> str:
    """A text of limited length; different texts stay different."""
    if len(text) <= MOST_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: MOST_CHARACTERS // 2]}... (SHA-256 {digest})"


def _number(values: Iterable[str | None]) -> Strata:
    numbers: dict[str | None, int] = {None: -1}
    found = [numbers.setdefault(value, len(numbers) - 1) for value in values]
    del numbers[None]
    return Strata(tuple(name for name in numbers if name is not None), np.array(found, np.int64))


def _make_strata(texts: Sequence[str], numbers: IntArray) -> Strata:
    """Strata from texts, of which some can be equal or missing, and the number of each row's."""
    distinct = _number(None if text in ("", MISSING) else text for text in texts)
    return Strata(distinct.names, distinct.numbers[numbers] if len(texts) else numbers)


def _combine(items: Sequence[Strata]) -> Strata:
    """The strata of several items together: their values, joined."""
    stacked = np.stack([item.numbers for item in items])
    distinct, inverse = np.unique(stacked, axis=1, return_inverse=True)
    names = [
        None if min(numbers) < 0 else SEPARATOR.join(
            _escape(item.names[number]) for item, number in zip(items, numbers, strict=True)
        )
        for numbers in distinct.T.tolist()
    ]  # fmt: skip
    of_distinct = _number(names)
    return Strata(of_distinct.names, of_distinct.numbers[inverse.reshape(-1)])


def _escape(value: str) -> str:
    """A value that cannot be mistaken for two values with a separator."""
    return value.replace("\\", "\\\\").replace("|", "\\|")
