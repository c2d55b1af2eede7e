"""Folds of labelled rows: what is said of the rows of a fold is learnt from other rows.

Shapes: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.arrays import BoolArray, IntArray, number_groups, require_one_length
from evo2_tasks.evaluation.values import Text

MOST_FOLDS: Final = 10
FEWEST_FOLDS: Final = 5
BY_GENE, BY_CONTIG, BY_BLOCK = "gene", "contig", "block"
NO_FOLD: Final = -1

CLOSE: Final = (1e-5, 1e-8)
"""Relative and absolute difference of equal spreads: those of numpy's ``isclose``."""


@dataclass(frozen=True, slots=True)
class Folds:
    """The fold of each row, and the rows that are too close to a fold.

    Attributes:
        kind: What is kept together: ``gene``, ``contig`` or ``block``.
        num_folds: Number of folds; 0 if there are too few.
        fold: Fold of each row, from 0; ``NO_FOLD`` if there are none. (N,)
        is_outside: Whether a row may be used for a fold. (folds, N)
        reason: Why there are no folds; empty if there are.
    """

    kind: str
    num_folds: int
    fold: IntArray
    is_outside: BoolArray
    reason: str


def make_folds(
    target: BoolArray,
    contigs: Text,
    positions: IntArray,
    genes: Text | None,
    *,
    window_length: int,
    circles: Mapping[str, int] | None = None,
) -> Folds:
    """Choose the fold of each labelled row.

    Rows of a gene stay together if the genes are known; the rows of a contig without a gene are
    then kept together too. Else rows of a contig stay together, if there are at least
    ``FEWEST_FOLDS`` contigs. There are at most ``MOST_FOLDS`` folds of genes or contigs, which are
    alike in labels. With fewer contigs, the folds are ``MOST_FOLDS`` blocks of neighbouring
    positions with about as many rows each, and rows less than a window away from a block are not
    used for it.

    The folds do not depend on the order of the rows.

    Args:
        target: True where a row is positive. (N,)
        contigs: Contig of each row. (N,)
        positions: Position of each row, 1-based. (N,)
        genes: Gene of each row, empty where a row has none; None if no genes are known. (N,)
        window_length: Bases of a window.
        circles: Lengths of the circular contigs, in bases.
    """
    require_one_length(target, contigs, positions)
    num_rows = len(target)
    if genes is not None and any(genes):
        kind, groups = BY_GENE, number_genes(contigs, genes)
    else:
        kind, groups = BY_CONTIG, number_groups(contigs)
        if groups.max(initial=-1) + 1 < FEWEST_FOLDS:
            kind = BY_BLOCK
    if kind == BY_BLOCK:
        fold = _cut_blocks(contigs, positions)
    else:
        num_groups = int(groups.max(initial=-1)) + 1
        fold = stratify(target, groups, min(MOST_FOLDS, num_groups)) if num_groups else groups
    fold = number_groups(fold)
    num_folds = int(fold.max(initial=-1)) + 1
    if num_folds < FEWEST_FOLDS:
        reason = f"{num_folds} folds by {kind}; at least {FEWEST_FOLDS} are needed"
        none = np.full(num_rows, NO_FOLD)
        return Folds(kind, 0, none, np.empty((0, num_rows), dtype=bool), reason)
    is_outside = fold != np.arange(num_folds)[:, None]
    if kind == BY_BLOCK:
        for number in range(num_folds):
            is_outside[number] &= ~count_overlaps(
                fold == number, contigs, positions, positions + window_length, circles or {}
            ).astype(bool)
    return Folds(kind, num_folds, fold, is_outside, "")


def number_genes(contigs: Text, genes: Text) -> IntArray:
    """Number the genes; the rows of a contig without a gene have one number.

    Args:
        contigs: Contig of each row. (N,)
        genes: Gene of each row, empty where a row has none. (N,)
    """
    return number_groups(np.where(genes == "", contigs, ""), genes)


def _cut_blocks(contigs: Text, positions: IntArray) -> IntArray:
    """Cut the rows, in the order of contig and position, into blocks of whole positions."""
    places = number_groups(contigs, positions)
    sizes = np.bincount(places)
    before = np.cumsum(sizes) - sizes
    block: IntArray = (before * MOST_FOLDS // max(len(places), 1))[places]
    return block


def count_overlaps(
    is_inside: BoolArray,
    contigs: Text,
    starts: IntArray,
    ends: IntArray,
    circles: Mapping[str, int],
) -> IntArray:
    """Count, for each window, the windows of some rows that share a base with it.

    Args:
        is_inside: Those rows. (N,)
        contigs: Contig of each row. (N,)
        starts: Start of each window, 0-based; below 0 if a window crosses the origin of a circular
            contig. (N,)
        ends: End of each window, exclusive; above the length of a circular contig if a window
            crosses its origin. (N,)
        circles: Lengths of the circular contigs, in bases.

    Returns:
        Numbers of windows; the window of a row inside is counted too. (N,)
    """
    counts = np.zeros(len(contigs), dtype=np.int64)
    numbers = number_groups(contigs)
    order = np.argsort(numbers, kind="stable")
    ends_of_contigs = np.cumsum(np.bincount(numbers))
    for number in np.unique(numbers[is_inside]).tolist():
        here = order[ends_of_contigs[number - 1] if number else 0 : ends_of_contigs[number]]
        inside = here[is_inside[here]]
        first, last = np.sort(starts[inside]), np.sort(ends[inside])
        circle = circles.get(contigs[here[0]])
        for turn in (0,) if circle is None else (-circle, 0, circle):
            # A window overlaps all that begin before its end, except those that end before it.
            begun = np.searchsorted(first, ends[here] + turn, side="left")
            counts[here] += begun - np.searchsorted(last, starts[here] + turn, side="right")
    return counts


def stratify(target: BoolArray, clusters: IntArray, num_folds: int) -> IntArray:
    """Choose the fold of each row so that clusters stay together and folds are alike in labels.

    These are the folds of scikit-learn's ``StratifiedGroupKFold`` with ``shuffle`` and seed 0,
    which takes 0.3 ms for each cluster; this function takes a hundredth of that.

    Args:
        target: True where a row is positive. (N,)
        clusters: Number of each row's cluster. (N,)
        num_folds: Number of folds.

    Returns:
        Fold of each row, from 0. (N,)
    """
    clusters = number_groups(clusters)
    num_clusters = int(clusters.max()) + 1
    counts = np.stack(
        [np.bincount(clusters[one], minlength=num_clusters) for one in (~target, target)], axis=1
    )
    counts = counts[:, counts.any(axis=0)]
    shuffled = np.arange(num_clusters)
    np.random.RandomState(0).shuffle(shuffled)
    uneven = np.std(counts[shuffled].astype(np.float64), axis=1)
    order = shuffled[np.argsort(-uneven, kind="stable")]
    fold = np.empty(num_clusters, dtype=np.int64)
    fold[order] = _spread_evenly(counts[order], num_folds)
    of_rows: IntArray = fold[clusters]
    return of_rows


def _spread_evenly(counts: npt.NDArray[np.int64], num_folds: int) -> list[int]:
    """Give each cluster in turn to the fold with which the classes are spread most evenly.

    All sums are in the order in which numpy adds a column, so that ties are broken alike.

    Args:
        counts: Rows of each class in each cluster. (G, C)
        num_folds: Number of folds.

    Returns:
        Fold of each cluster. (G,)
    """
    totals = counts.sum(axis=0).tolist()
    classes = range(len(totals))
    of_folds = [[0] * num_folds for _ in classes]  # (C, folds)
    shares = [[0.0] * num_folds for _ in classes]
    chosen = []
    for of_cluster in counts.tolist():
        best, least, fewest = 0, math.inf, math.inf
        for fold in range(num_folds):
            spread, num_rows = 0.0, 0
            for one in classes:
                share = shares[one]
                before = share[fold]
                share[fold] = (of_folds[one][fold] + of_cluster[one]) / totals[one]
                total = 0.0
                for value in share:
                    total += value
                mean = total / num_folds
                total = 0.0
                for value in share:
                    total += (value - mean) * (value - mean)
                share[fold] = before
                spread += math.sqrt(total / num_folds)
                num_rows += of_folds[one][fold]
            spread /= len(totals)
            is_close = abs(spread - least) <= CLOSE[1] + CLOSE[0] * least
            if spread < least or (is_close and num_rows < fewest):
                best, least, fewest = fold, spread, num_rows
        chosen.append(best)
        for one in classes:
            of_folds[one][best] += of_cluster[one]
            shares[one][best] = of_folds[one][best] / totals[one]
    return chosen
