"""Folds for probes: a row is predicted by a probe that saw nothing of its group and its window.

Rows of a gene, of a contig or of a block of positions are in one fold. Windows of rows in different
folds can still overlap: genes have neighbours, and blocks have ends. A row whose window shares a
base with a window of the held-out fold is therefore left out of training for that fold.

Shapes: N rows, F folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, IntArray, number_groups, require_one_length
from evo2_tasks.evaluation.folds import count_overlaps, number_genes, stratify
from evo2_tasks.evaluation.probe_statements import FoldsBy
from evo2_tasks.evaluation.values import Text
from evo2_tasks.io.words import counted, shown

BY_GENE: Final = "gene"
BY_CONTIG: Final = "contig"
BY_POSITION: Final = "position"

NUM_FOLDS: Final = 5
"""Folds of a probe, if there are enough groups."""

FEWEST_FOLDS: Final = 3
"""Without the held-out fold, two others are left to choose the penalty."""


@dataclass(frozen=True, slots=True)
class ProbeRows:
    """Where N labelled rows are, and what they are.

    Attributes:
        contigs: Contig of each row, as the FASTA names it (``reference_contig``). (N,)
        positions: ``pos`` of each row, 1-based. (N,)
        refs: REF of each row. (N,)
        alts: ALT of each row. (N,)
        starts: ``window_start`` of each row, 0-based. (N,)
        ends: ``window_end`` of each row, exclusive. (N,)
        genes: Gene of each row, empty where a row has none; None if no genes are known. (N,)
        circles: Lengths of the circular contigs, in bases.
    """

    contigs: Text
    positions: IntArray
    refs: Text
    alts: Text
    starts: IntArray
    ends: IntArray
    genes: Text | None = None
    circles: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        genes = () if self.genes is None else (self.genes,)
        arrays = (self.positions, self.refs, self.alts, self.starts, self.ends, *genes)
        require_one_length(self.contigs, *arrays)
        if not (self.starts < self.ends).all():
            raise ValueError("windows: expected at least one base in each.")

    def __len__(self) -> int:
        return len(self.contigs)

    def find_reach(self) -> tuple[IntArray, IntArray]:
        """Where the bases begin and end that the model reads for each row.

        Next to a deletion, the window of the alternate allele has as many bases more as it lost, on
        the side that a strand reads last.

        Returns:
            Starts, 0-based, and ends, exclusive. Each (N,)
        """
        lost = [max(len(ref) - len(alt), 0) for ref, alt in zip(self.refs, self.alts, strict=True)]
        more = np.array(lost, dtype=np.int64)
        return self.starts - more, self.ends + more

    def take(self, is_row: BoolArray) -> ProbeRows:
        """Some of the rows."""
        return ProbeRows(
            contigs=self.contigs[is_row],
            positions=self.positions[is_row],
            refs=self.refs[is_row],
            alts=self.alts[is_row],
            starts=self.starts[is_row],
            ends=self.ends[is_row],
            genes=None if self.genes is None else self.genes[is_row],
            circles=self.circles,
        )


@dataclass(frozen=True, slots=True)
class ProbeFolds:
    """The fold of each row, and which rows train the probe of a fold.

    Attributes:
        by: What is kept together.
        num_folds: F.
        fold: Fold of each row, from 0. (N,)
        groups: Number of each row's gene, contig or block. (N,)
        is_outside: Whether a row may be used to train for a fold: it is in another fold, and its
            window shares no base with a window of the fold. (F, N)
        num_overlapping: Rows whose window overlaps that of a row in another fold.
    """

    by: FoldsBy
    num_folds: int
    fold: IntArray
    groups: IntArray
    is_outside: BoolArray
    num_overlapping: int

    @property
    def num_groups(self) -> int:
        """Number of genes, contigs or blocks."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def num_left_out(self) -> list[int]:
        """Rows of other folds that do not train for a fold, because windows overlap."""
        in_others = self.fold != np.arange(self.num_folds)[:, None]
        return (in_others & ~self.is_outside).sum(axis=1).tolist()  # type: ignore[no-any-return]


def make_probe_folds(by: FoldsBy, target: npt.NDArray[Any], rows: ProbeRows) -> ProbeFolds:
    """Choose the folds of labelled rows.

    - ``gene``: rows of a gene are in one fold. Genes that share a position are one group, and a row
      without a gene belongs to the gene of another row at its position. The other rows of a contig
      without a gene are one group.
    - ``contig``: rows of a contig are in one fold.
    - ``position``: a fold is a block of neighbouring positions, which is at least as long as a
      window.

    Folds of genes and contigs are alike in labels. The folds do not depend on the order of the
    rows.

    Args:
        by: What is kept together.
        target: True where a row is positive, or a number. (N,)
        rows: Where the rows are.

    Raises:
        InputError: There are too few groups, or ``gene`` is asked for and no row has a gene.
        ValueError: The arrays differ in length.
    """
    require_one_length(target, rows.contigs)
    if by == BY_POSITION:
        fold = groups = number_groups(_cut_long_blocks(rows))
    else:
        groups = _number_genes(rows) if by == BY_GENE else number_groups(rows.contigs)
        num_groups = int(groups.max(initial=-1)) + 1
        fold = groups
        if num_groups >= FEWEST_FOLDS:
            classes = target if target.dtype == bool else target > np.median(target)
            fold = number_groups(stratify(classes, groups, min(NUM_FOLDS, num_groups)))
    num_folds = int(fold.max(initial=-1)) + 1
    if num_folds < FEWEST_FOLDS:
        raise InputError(_explain_few(by, num_folds))
    starts, ends = rows.find_reach()
    overlaps = np.array(
        [
            count_overlaps(fold == number, rows.contigs, starts, ends, rows.circles)
            for number in range(num_folds)
        ]
    )
    is_other = fold != np.arange(num_folds)[:, None]
    folds = ProbeFolds(
        by=by,
        num_folds=num_folds,
        fold=fold,
        groups=groups,
        is_outside=is_other & (overlaps == 0),
        num_overlapping=int((is_other & (overlaps > 0)).any(axis=0).sum()),
    )
    require_no_leak(folds.fold, rows)
    return folds


def require_no_leak(fold: IntArray, rows: ProbeRows) -> None:
    """Make sure that no allele and no position is in two folds.

    Args:
        fold: Fold of each row. (N,)
        rows: Where the rows are.

    Raises:
        InputError: A position is in two folds. The message names an allele and the folds.
    """
    require_one_length(fold, rows.contigs)
    places = number_groups(rows.contigs, rows.positions)
    order = np.lexsort((np.arange(len(places)), places))
    differs = (places[order][1:] == places[order][:-1]) & (fold[order][1:] != fold[order][:-1])
    if not differs.any():
        return
    first, second = order[np.flatnonzero(differs)[0] :][:2].tolist()
    place = f"{shown(rows.contigs[first])}:{rows.positions[first]}"
    alleles = [f"{shown(rows.refs[row])}>{shown(rows.alts[row])}" for row in (first, second)]
    numbers = f"in the folds {int(fold[first]) + 1} and {int(fold[second]) + 1}"
    what = f"the allele {place} {alleles[0]} is {numbers}"
    if alleles[0] != alleles[1]:
        what = f"the position {place} is {numbers}, with the alleles {' and '.join(alleles)}"
    raise InputError(
        f"{what}, so the probe would be tested on what it was trained on. Give the rows of a "
        "position one gene, or choose another `folds_by`."
    )


def _explain_few(by: FoldsBy, num_folds: int) -> str:
    """Why so few folds are refused."""
    needed = f"at least {FEWEST_FOLDS} are needed"
    if by == BY_POSITION:
        return (
            f"folds_by: position: the labelled rows make {counted(num_folds, 'block')} at least as "
            f"long as a window; {needed}. Use a shorter window, more positions, or another "
            "`folds_by`."
        )
    return (
        f"folds_by: {by}: the labelled rows are of {counted(num_folds, by)}; {needed}. Use labels "
        f"of more {by}s, or another `folds_by`."
    )


def _number_genes(rows: ProbeRows) -> IntArray:
    """Number the genes so that the rows of a position have one number.

    Raises:
        InputError: No row has a gene.
    """
    if rows.genes is None or not (rows.genes != "").any():
        raise InputError(
            "folds_by: gene: no labelled row has a gene. Name a GFF under `gff` of the reference, "
            "or choose another `folds_by`."
        )
    genes, places = (
        number_genes(rows.contigs, rows.genes),
        number_groups(rows.contigs, rows.positions),
    )
    has_gene = rows.genes != ""
    num_genes, num_places = (int(numbers.max()) + 1 for numbers in (genes, places))
    # A graph of genes and positions, with an edge where a row of the gene is at the position.
    edges = (genes[has_gene], num_genes + places[has_gene])
    size = num_genes + num_places
    graph = coo_array((np.ones(int(has_gene.sum())), edges), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    is_genic = np.bincount(places[has_gene], minlength=num_places) > 0
    numbers = np.where(is_genic[places], component[num_genes + places], component[genes])
    return number_groups(numbers)


def _cut_long_blocks(rows: ProbeRows) -> IntArray:
    """Cut the rows, in the order of contig and position, into blocks.

    A block ends with the rows that are its share, but not before it is as long as a window or its
    contig ends: the blocks before and after it then have no common window.
    """
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    first, last = rows.find_reach()
    length = int((last - first).max())
    places = number_groups(rows.contigs, rows.positions)
    _, first_rows, sizes = np.unique(places, return_index=True, return_counts=True)
    contigs, positions = rows.contigs[first_rows].tolist(), rows.positions[first_rows].tolist()
    ends = np.cumsum(sizes).tolist()
    blocks = [0]
    begin = positions[0]  # of the block, on the contig at hand
    for number in range(1, len(positions)):
        is_same = contigs[number] == contigs[number - 1]
        is_long = not is_same or positions[number - 1] - begin + 1 >= length
        is_full = ends[number - 1] * NUM_FOLDS >= len(rows) * (blocks[-1] + 1)
        blocks.append(blocks[-1] + int(is_full and is_long))
        if blocks[-1] != blocks[-2] or not is_same:
            begin = positions[number]
    is_short = positions[-1] - begin + 1 < length
    if is_short and blocks[-1] and contigs[blocks.index(blocks[-1]) - 1] == contigs[-1]:
        blocks = [min(block, blocks[-1] - 1) for block in blocks]
    return np.array(blocks, dtype=np.int64)[places]
