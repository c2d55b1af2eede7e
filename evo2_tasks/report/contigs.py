"""Scores along contigs: where the scored rows are, regions that are far apart, bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.report.bins import FloatArray, IntArray, round_width

BINS: Final = 240
"""Most bins of a panel."""

MOST_REGIONS: Final = 8
"""Most panels of one contig."""

MOST_BLOCKS: Final = 4_096
"""Most blocks in which the rows of a contig are counted; more are joined in pairs."""

FAR_SHARE: Final = 0.2
"""Regions are far apart if they cover at most this share of the positions from first to last."""

FEWEST_ROWS: Final = 3
"""Scored rows that make a region; a contig is divided only if it has two such regions."""


@dataclass(slots=True)
class Extent:
    """Where the scored rows of a contig are: the numbers of rows in blocks of equal width.

    Attributes:
        first_pos: Lowest position, 1-based.
        last_pos: Highest position.
        width: Positions per block.
        blocks: Numbers of the blocks with rows, rising; block 0 begins at position 1. (K,)
        counts: Rows of each block. (K,)
    """

    first_pos: int
    last_pos: int
    width: int = 1
    blocks: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    counts: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def num_rows(self) -> int:
        """Scored rows of the contig."""
        return int(self.counts.sum())

    def add(self, pos: IntArray) -> None:
        """Count more rows by their positions, at least one."""
        self.first_pos = min(self.first_pos, int(pos.min()))
        self.last_pos = max(self.last_pos, int(pos.max()))
        more = (pos - 1) // self.width
        self._set(
            np.concatenate([self.blocks, more]),
            np.concatenate([self.counts, np.ones(len(more), dtype=np.int64)]),
        )
        while len(self.blocks) > MOST_BLOCKS:
            self.width *= 2
            self._set(self.blocks // 2, self.counts)

    def _set(self, blocks: IntArray, counts: IntArray) -> None:
        self.blocks, places = np.unique(blocks, return_inverse=True)
        self.counts = np.bincount(places, weights=counts).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a contig with scored rows.

    Attributes:
        contig: Contig as the input spells it.
        first_pos: First position, 1-based.
        last_pos: Last position.
    """

    contig: str
    first_pos: int
    last_pos: int


@dataclass(frozen=True, slots=True)
class ContigBins:
    """The ``llr`` along a region in bins of equal width, K of which contain a scored row.

    Attributes:
        region: The region.
        is_whole: Whether it is the only region of its contig.
        num_rows: Scored rows of the region.
        width: Positions per bin.
        first_pos: First position of each bin, 1-based. (K,)
        counts: Scored rows of each bin. (K,)
        means: Mean ``llr``, nats. (K,)
        minimums: Lowest ``llr``, nats. (K,)
        lowest_rows: Number in the table of the first row with the lowest ``llr``. (K,)
    """

    region: Region
    is_whole: bool
    num_rows: int
    width: int
    first_pos: IntArray
    counts: IntArray
    means: FloatArray
    minimums: FloatArray
    lowest_rows: IntArray

    @property
    def contig(self) -> str:
        """Contig as the input spells it."""
        return self.region.contig


def find_regions(contig: str, extent: Extent) -> list[Region]:
    """Divide a contig where its scored rows are in a few regions that are far apart.

    The contig, and each region again, is divided at its largest gaps, as few as possible, so that
    the regions cover at most ``FAR_SHARE`` of it.

    Args:
        contig: Name of the contig.
        extent: Where its scored rows are.

    Returns:
        At most ``MOST_REGIONS`` regions, in order; one if the rows are not far apart.
    """
    pieces = [(0, len(extent.blocks))]
    at = 0
    while at < len(pieces):
        most = MOST_REGIONS - len(pieces) + 1
        parts = _divide(extent, *pieces[at], most)
        pieces[at : at + 1] = parts
        at += len(parts) == 1
    width, blocks = extent.width, extent.blocks
    return [
        Region(
            contig,
            max(extent.first_pos, int(blocks[start]) * width + 1),
            min(extent.last_pos, int(blocks[end - 1]) * width + width),
        )
        for start, end in pieces
    ]


def _divide(extent: Extent, start: int, end: int, most: int) -> list[tuple[int, int]]:
    """Divide the blocks from start to end at the fewest gaps that leave out most positions."""
    blocks = extent.blocks[start:end]
    gaps = np.diff(blocks) - 1
    length = int(blocks[-1] - blocks[0]) + 1
    by_size = np.argsort(-gaps, kind="stable")
    for number in range(1, min(most, len(blocks))):
        cuts = np.sort(by_size[:number]) + 1
        if length - gaps[by_size[:number]].sum() > FAR_SHARE * length:
            continue
        rows = np.add.reduceat(extent.counts[start:end], np.append(0, cuts))
        if (rows >= FEWEST_ROWS).sum() < 2:
            continue
        edges = [start, *(start + cuts).tolist(), end]
        return list(pairwise(edges))
    return [(start, end)]


class RegionBins:
    """Counts, sums and lowest ``llr`` of all regions in bins, while the rows are read.

    Args:
        regions: Regions of different contigs, those of one contig in order.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self._by_contig: dict[str, list[int]] = {}
        self._regions = list(regions)
        for number, region in enumerate(self._regions):
            self._by_contig.setdefault(region.contig, []).append(number)
        lengths = [one.last_pos - one.first_pos + 1 for one in self._regions]
        self._widths = [int(max(1, round_width(length / BINS))) for length in lengths]
        firsts = [
            (region.first_pos - 1) // width
            for region, width in zip(self._regions, self._widths, strict=True)
        ]
        sizes = [
            (region.last_pos - 1) // width - first + 1
            for region, width, first in zip(self._regions, self._widths, firsts, strict=True)
        ]
        self._firsts = firsts
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        self._counts = np.zeros(self._starts[-1], dtype=np.int64)
        self._sums = np.zeros(self._starts[-1])
        self._minimums = np.full(self._starts[-1], np.inf)
        self._lowest_rows = np.full(self._starts[-1], -1, dtype=np.int64)

    def add(
        self, by_contig: Mapping[str, IntArray], pos: IntArray, llr: FloatArray, first_row: int
    ) -> None:
        """Add more scored rows.

        Args:
            by_contig: Places of the scored rows of each contig in this batch.
            pos: Position of each row of the batch.
            llr: ``llr`` of each row of the batch, nats.
            first_row: Number in the table of the first row of the batch.
        """
        for contig, places in by_contig.items():
            numbers = self._by_contig.get(contig)
            if numbers is None:
                continue
            starts = np.array([self._regions[number].first_pos for number in numbers])
            of_row = np.searchsorted(starts, pos[places], side="right") - 1
            for at, number in enumerate(numbers):
                inside = places[of_row == at]
                self._add_region(number, pos[inside], llr[inside], first_row + inside)

    def _add_region(self, number: int, pos: IntArray, llr: FloatArray, rows: IntArray) -> None:
        if not len(pos):
            return
        bins = slice(self._starts[number], self._starts[number + 1])
        at = (pos - 1) // self._widths[number] - self._firsts[number]
        size = int(self._starts[number + 1] - self._starts[number])
        self._counts[bins] += np.bincount(at, minlength=size)
        self._sums[bins] += np.bincount(at, weights=llr, minlength=size)
        order = np.lexsort((rows, llr, at))
        is_lowest = np.append(True, np.diff(at[order]) > 0)
        lowest = order[is_lowest]
        is_lower = llr[lowest] < self._minimums[bins][at[lowest]]
        lowest = lowest[is_lower]
        self._minimums[bins][at[lowest]] = llr[lowest]
        self._lowest_rows[bins][at[lowest]] = rows[lowest]

    def finish(self) -> list[ContigBins]:
        """The bins of each region that contain a row."""
        results = []
        for number, region in enumerate(self._regions):
            of_region = slice(self._starts[number], self._starts[number + 1])
            counts = self._counts[of_region]
            used: npt.NDArray[np.int64] = np.flatnonzero(counts)
            width = self._widths[number]
            results.append(
                ContigBins(
                    region=region,
                    is_whole=len(self._by_contig[region.contig]) == 1,
                    num_rows=int(counts.sum()),
                    width=width,
                    first_pos=(self._firsts[number] + used) * width + 1,
                    counts=counts[used],
                    means=self._sums[of_region][used] / counts[used],
                    minimums=self._minimums[of_region][used],
                    lowest_rows=self._lowest_rows[of_region][used],
                )
            )
        return results
