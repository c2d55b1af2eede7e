"""The scored changes of single bases and of codons of a table, whatever the spelling of alleles."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.report.words import printable
from evo2_tasks.table.parquet import distinct_values, open_table, read_rows
from evo2_tasks.table.schema import carried_names
from evo2_tasks.table.snvs import find_change

BASES: Final = "ACGT"
CODONS: Final = tuple(map("".join, product(BASES, repeat=3)))

SNV, CODON, DELETION, FIRST_DELETION = range(4)
"""Kinds of changes. A deletion is spelled with the base before it; that of the first base of a
contig is spelled with the base after it."""

Changes = npt.NDArray[Any]
"""Rows of ``_CHANGE``, in the order of the table."""

_CHANGE: Final = np.dtype(
    [
        ("contig", np.int64),  # number in ``ChangeReader.contigs``
        ("pos", np.int64),  # of the changed base, or of the first base of the codon; 1-based
        ("kind", np.int8),
        ("ref", np.int64),  # base or codon; for a deletion the base that it is spelled with
        ("alt", np.int64),  # base or codon; for a deletion the deleted base
        ("llr", np.float64),  # nats
        ("name", np.int64),  # number in ``ChangeReader.names``
        ("strand", np.int64),  # number in ``ChangeReader.strands``
    ]
)
_BASE_NUMBERS: Final = {base: number for number, base in enumerate(BASES)}
_CODON_NUMBERS: Final = {codon: number for number, codon in enumerate(CODONS)}


class ChangeReader:
    """Reads the scored substitutions, deletions of one base and codons of a table.

    A codon of which one base differs is both a codon and a substitution.

    Attributes:
        contigs: Contigs as the input spells them.
        names: Names of the regions of a BED file, for readers; empty where the table has none.
        strands: Strands of the regions; empty where the table has none.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or another table.
    """

    def __init__(self, table: Path) -> None:
        self._table = table
        self.contigs = distinct_values(table, "contig")
        self.names = [""]
        self.strands = ["", "+", "-"]
        self._numbers = {"": 0}
        with open_table(table) as file:
            schema = file.schema_arrow
        self._texts = [
            name
            for name in ("name", "strand")
            if name in carried_names(schema) and _is_text(schema.field(name).type)
        ]

    def read(self) -> Iterator[Changes]:
        """Read the changes, in pieces.

        Raises:
            InputError: The file is broken.
        """
        known = pa.array(self.contigs, pa.string())
        for batch in read_rows(self._table, ["contig", "pos", "ref", "alt", "llr", *self._texts]):
            contig = pc.index_in(batch.column("contig").cast(pa.string()), value_set=known)
            is_kept = pc.and_(pc.is_valid(batch.column("llr")), pc.is_valid(contig))
            rows = batch.filter(is_kept)
            yield self._find(rows, contig.filter(is_kept).to_numpy(zero_copy_only=False))

    def _find(self, rows: pa.RecordBatch, contig: npt.NDArray[Any]) -> Changes:
        """The changes of some rows with a score."""
        ref, alt = rows.column("ref"), rows.column("alt")
        is_single = np.ones(rows.num_rows, dtype=bool)
        for alleles in (ref, alt):
            is_single &= pc.utf8_length(alleles).to_numpy(zero_copy_only=False) == 1
        single = np.flatnonzero(is_single)
        pos = rows.column("pos").to_numpy()
        codes = [_code_bases(alleles.take(pa.array(single))) for alleles in (ref, alt)]
        columns = [single, pos[single], np.full(len(single), SNV), *codes]
        found = np.stack(columns, axis=1)[(codes[0] >= 0) & (codes[1] >= 0)]
        others = np.flatnonzero(~is_single)
        texts = (alleles.take(pa.array(others)).to_pylist() for alleles in (ref, alt))
        more = [
            (number, *change)
            for number, *allele in zip(others.tolist(), pos[others].tolist(), *texts, strict=True)
            for change in find_changes(*allele)
        ]
        if more:
            found = np.concatenate([found, more])
            found = found[np.argsort(found[:, 0], kind="stable")]
        return self._make_changes(rows, contig, found)

    def _make_changes(
        self, rows: pa.RecordBatch, contig: npt.NDArray[Any], found: npt.NDArray[np.int64]
    ) -> Changes:
        """Changes from (C, 5) numbers: row, position, kind, ``ref`` and ``alt``."""
        numbers, pos, kind, ref, alt = found.T
        changes = np.zeros(len(found), dtype=_CHANGE)
        changes["contig"], changes["llr"] = contig[numbers], rows.column("llr").to_numpy()[numbers]
        changes["pos"], changes["kind"], changes["ref"], changes["alt"] = pos, kind, ref, alt
        if "name" in self._texts:
            changes["name"] = self._number_names(rows.column("name"))[numbers]
        if "strand" in self._texts:
            strands = rows.column("strand").cast(pa.string()).to_pylist()
            codes = [self.strands.index(one) if one in self.strands else 0 for one in strands]
            changes["strand"] = np.array(codes, dtype=np.int64)[numbers]
        return changes

    def _number_names(self, column: Any) -> npt.NDArray[np.int64]:
        numbers = []
        for text in column.cast(pa.string()).to_pylist():
            name = printable(text or "")
            if name not in self._numbers:
                self._numbers[name] = len(self.names)
                self.names.append(name)
            numbers.append(self._numbers[name])
        return np.array(numbers, dtype=np.int64)

    def name_deletion(self, row: Any) -> str:
        """Position and alleles of a deletion as in the table: ``102 AC>A``."""
        pos, other, deleted = int(row["pos"]), BASES[row["ref"]], BASES[row["alt"]]
        if row["kind"] == FIRST_DELETION:
            return f"{pos} {deleted}{other}>{other}"
        return f"{pos - 1} {other}{deleted}>{other}"


def _code_bases(alleles: Any) -> npt.NDArray[np.int64]:
    """The number of each base; -1 for any other character."""
    codes = np.full(256, -1, dtype=np.int64)
    for base, number in _BASE_NUMBERS.items():
        codes[ord(base)] = number
    text = "".join(alleles.to_pylist()).encode("ascii", "replace")
    return codes[np.frombuffer(text, dtype=np.uint8)]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    )


def find_changes(pos: int, ref: str, alt: str) -> Iterator[tuple[int, int, int, int]]:
    """The changes that an allele makes: position, kind, ``ref`` and ``alt`` as in ``Changes``."""
    if len(ref) == len(alt):
        offset = 0 if len(ref) == 1 else find_change(ref, alt)
        if offset >= 0 and ref[offset] in _BASE_NUMBERS and alt[offset] in _BASE_NUMBERS:
            yield pos + offset, SNV, _BASE_NUMBERS[ref[offset]], _BASE_NUMBERS[alt[offset]]
        if ref in _CODON_NUMBERS and alt in _CODON_NUMBERS:
            yield pos, CODON, _CODON_NUMBERS[ref], _CODON_NUMBERS[alt]
    elif len(ref) == 2 and len(alt) == 1 and {*ref} <= _BASE_NUMBERS.keys():
        first, second = (_BASE_NUMBERS[base] for base in ref)
        if alt == ref[0]:
            yield pos + 1, DELETION, first, second
        elif alt == ref[1]:
            yield pos, FIRST_DELETION, second, first
