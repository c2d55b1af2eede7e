"""Scores by consequence and by gene, from a table with the columns of ``annotate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.terms import RANKS, severity
from evo2_tasks.report.rows import name_rows
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.schema import CONSEQUENCE, annotation_columns
from evo2_tasks.table.statistics import Distribution

MOST_SINGLE: Final = 10
"""Most scored alleles of a consequence that are shown one by one."""

MOST_GENES: Final = 25
"""Most genes in the table of genes: those with the most scored alleles."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_COLUMNS: Final = (CONSEQUENCE.name, "gene", "gene_id", "llr")


@dataclass(slots=True)
class ConsequenceClass:
    """The alleles of one consequence.

    Attributes:
        term: The consequence; None for alleles without one.
        num_rows: Alleles.
        llr: Distribution of ``llr`` over the scored alleles, nats.
        genes: Numbers of their genes.
        first: ``llr`` of the first scored alleles, at most ``MOST_SINGLE`` and one more.
        rows: Numbers of these in the table.
    """

    term: str | None
    num_rows: int = 0
    llr: Distribution = field(default_factory=Distribution)
    genes: set[int] = field(default_factory=set)
    first: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @property
    def has_few(self) -> bool:
        """Whether the scored alleles are few enough to show each."""
        return self.llr.count <= MOST_SINGLE

    def add(self, llr: FloatArray, rows: IntArray, genes: IntArray) -> None:
        """Add more alleles; those without a score have NaN, those without a gene -1."""
        self.num_rows += len(llr)
        self.genes.update(np.unique(genes[genes >= 0]).tolist())
        is_scored = np.isfinite(llr)
        self.llr.add(llr[is_scored])
        num_more = MOST_SINGLE + 1 - len(self.first)
        self.first += llr[is_scored][:num_more].tolist()
        self.rows += rows[is_scored][:num_more].tolist()


@dataclass(frozen=True, slots=True)
class GeneScores:
    """The alleles of one gene.

    Attributes:
        gene: Name; the identifier if there is none.
        gene_id: Identifier; empty if there is none.
        num_rows: Alleles.
        num_scored: Alleles with a score.
        mean: Mean ``llr``, nats; NaN without a score.
        lowest: Lowest ``llr``, nats; NaN without a score.
    """

    gene: str
    gene_id: str
    num_rows: int
    num_scored: int
    mean: float
    lowest: float


@dataclass(frozen=True, slots=True)
class Consequences:
    """Scores by consequence and by gene.

    Attributes:
        classes: The consequences that occur, the most severe first, then other terms, then the
            alleles without one.
        genes: The genes with the most scored alleles, the most first.
        num_genes: All genes.
        names: What the plot calls the alleles that it shows one by one, by number of the row.
    """

    classes: Sequence[ConsequenceClass]
    genes: Sequence[GeneScores]
    num_genes: int
    names: Mapping[int, str]

    @property
    def scored(self) -> list[ConsequenceClass]:
        """The consequences with a scored allele."""
        return [one for one in self.classes if one.llr.count]


def summarize_consequences(table: Path) -> Consequences | None:
    """Summarize a table by consequence and gene. Memory grows with the number of genes.

    Args:
        table: The result of ``merge``.

    Returns:
        The summary; None if ``annotate`` made no consequences for this table.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    with open_table(table) as file:
        made = {column.name for column in annotation_columns(file.schema_arrow)}
    if CONSEQUENCE.name not in made:
        return None
    columns = [name for name in _COLUMNS if name in made or name == "llr"]
    classes: dict[str | None, ConsequenceClass] = {}
    genes = _Genes()
    num_read = 0
    for batch in read_rows(table, columns):
        llr = batch.column("llr").to_numpy(zero_copy_only=False).astype(np.float64)
        of_gene = genes.add(batch, llr)
        terms, codes = _encode(batch.column(CONSEQUENCE.name))
        for code in np.unique(codes).tolist():
            term = terms[code] if code >= 0 else None
            rows = np.flatnonzero(codes == code)
            known = classes.setdefault(term, ConsequenceClass(term))
            known.add(llr[rows], num_read + rows, of_gene[rows])
        num_read += batch.num_rows
    ordered = sorted(classes.values(), key=lambda one: _rank(one.term))
    singles = [row for one in ordered if one.has_few for row in one.rows]
    names = name_rows(table, singles)
    return Consequences(ordered, genes.most_scored(), len(genes.numbers), names)


def _rank(term: str | None) -> tuple[int, str]:
    """Sort key: the most severe first, then terms that are not known, then none."""
    return (len(RANKS) + 1, "") if term is None else severity(term)


def _encode(column: pa.Array) -> tuple[list[str], IntArray]:
    """The distinct texts of a column, and the number of each row's text; -1 for a missing one."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes: IntArray = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False)
    return column.dictionary.to_pylist(), codes.astype(np.int64)


class _Genes:
    """Counts and sums of each gene. Two genes of one name have two identifiers."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, str], int] = {}
        self._sums: FloatArray = np.zeros((4, 0))

    def add(self, batch: pa.RecordBatch, llr: FloatArray) -> IntArray:
        """Add rows with their ``llr``; gives the number of each row's gene, -1 without one."""
        texts = []
        for name in ("gene", "gene_id"):
            has_column = name in batch.schema.names
            column = batch.column(name) if has_column else pa.nulls(batch.num_rows, pa.string())
            texts.append(_encode(column))
        (names, name_codes), (ids, id_codes) = texts
        pairs, places = np.unique(np.stack([name_codes, id_codes]), axis=1, return_inverse=True)
        numbers = np.array(
            [
                self._number(names[one] if one >= 0 else "", ids[other] if other >= 0 else "")
                for one, other in pairs.T.tolist()
            ],
            dtype=np.int64,
        )
        found: IntArray = numbers[places.reshape(-1)] if batch.num_rows else numbers
        self._count(found, llr)
        return found

    def _number(self, gene: str, gene_id: str) -> int:
        if not gene and not gene_id:
            return -1
        return self.numbers.setdefault((gene, gene_id), len(self.numbers))

    def _count(self, genes: IntArray, llr: FloatArray) -> None:
        more = np.zeros((4, len(self.numbers)))
        more[3] = np.inf
        more[:, : self._sums.shape[1]] = self._sums
        has_gene = genes >= 0
        more[0] += np.bincount(genes[has_gene], minlength=len(self.numbers))
        scored = has_gene & np.isfinite(llr)
        more[1] += np.bincount(genes[scored], minlength=len(self.numbers))
        more[2] += np.bincount(genes[scored], llr[scored], minlength=len(self.numbers))
        np.minimum.at(more[3], genes[scored], llr[scored])
        self._sums = more

    def most_scored(self) -> list[GeneScores]:
        """The genes with the most scored alleles; of two with as many, the first of the table."""
        keys = list(self.numbers)
        rows, scored, sums, lowest = self._sums
        order = np.lexsort((np.arange(len(keys)), -scored))[:MOST_GENES]
        return [
            GeneScores(
                gene=keys[number][0] or keys[number][1],
                gene_id=keys[number][1],
                num_rows=int(rows[number]),
                num_scored=int(scored[number]),
                mean=float(sums[number] / scored[number]) if scored[number] else float("nan"),
                lowest=float(lowest[number]) if scored[number] else float("nan"),
            )
            for number in order.tolist()
        ]
