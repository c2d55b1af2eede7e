"""Stretches in which every substitution is scored, as matrices of changes by positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evo2_tasks.report.bins import FloatArray, IntArray
from evo2_tasks.report.changes import BASES, CODON, CODONS, SNV, ChangeReader, Changes

STRETCH_POSITIONS: Final = 60
"""Positions of a stretch; the last stretch of a region has half to one and a half times as many."""

MOST_STRETCHES: Final = 8
"""Most stretches that are kept: those with the lowest mean."""

FEWEST_POSITIONS: Final = 10
LARGEST_GAP: Final = 10
"""Largest distance between neighbouring positions of a region."""

_LEAST_SHARE: Final = 0.5
"""Least share of the positions with all three substitutions in a saturated stretch, and of the 63
other codons in a codon that is shown."""

_FEWEST_ROWS: Final = math.ceil(_LEAST_SHARE * FEWEST_POSITIONS) * (len(BASES) - 1)
_CUT_AT: Final = STRETCH_POSITIONS * 3 // 2


@dataclass(frozen=True, slots=True)
class Codons:
    """C codons in which most other codons are scored.

    Attributes:
        first_pos: Position of the first base of each codon, 1-based. (C,)
        refs: The codons of the reference as in the table, on the forward strand.
        llr: ``llr`` by the alternate codon, in the order of ``CODONS``, nats; NaN where there is no
            score. (64, C)
    """

    first_pos: IntArray
    refs: Sequence[str]
    llr: FloatArray


@dataclass(frozen=True, slots=True)
class Stretch:
    """P neighbouring positions and their changes.

    Attributes:
        contig: Contig as the input spells it.
        first_pos: First position, 1-based.
        bases: Bases of the reference, a blank where the base is unknown.
        llr: ``llr`` by the alternate base, in the order of ``BASES``, nats; NaN where there is no
            score. (4, P)
        deletions: ``llr`` of the deletion of each base, nats; NaN where there is no score. (P,)
        deletion_names: Position and alleles of each deletion as in the table; empty where it has no
            score.
        codons: Its codons; None if there are none.
        names: Names of its regions in the BED file, if the table carries them.
        strand: ``+`` or ``-`` if the table carries the strand of its regions and it is the same.
    """

    contig: str
    first_pos: int
    bases: str
    llr: FloatArray
    deletions: FloatArray
    deletion_names: Sequence[str]
    codons: Codons | None
    names: Sequence[str]
    strand: str

    @property
    def last_pos(self) -> int:
        """Last position, 1-based."""
        return self.first_pos + len(self.bases) - 1

    @property
    def means(self) -> FloatArray:
        """Mean ``llr`` of each position, nats, (P,); NaN where no substitution is scored."""
        numbers = np.isfinite(self.llr).sum(axis=0)
        sums = np.nansum(self.llr, axis=0)
        means: FloatArray = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
        return means


@dataclass(frozen=True, slots=True)
class Saturation:
    """The saturated stretches of a table.

    Attributes:
        stretches: The stretches with the lowest mean, in the order of the table.
        num_stretches: Number of all stretches.
        num_positions: Positions of all stretches.
    """

    stretches: Sequence[Stretch]
    num_stretches: int
    num_positions: int


def find_saturation(table: Path) -> Saturation:
    """Find the stretches of a table in which most positions have all three substitutions.

    The rows must be sorted by position, as the rows of regions are. Memory does not grow with the
    table.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    reader = ChangeReader(table)
    finder = _Finder(reader)
    for rows in reader.read():
        finder.add(rows)
    return finder.finish()


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A stretch that is kept so far, with its mean ``llr`` and its number in the table."""

    mean: float
    number: int
    stretch: Stretch


class _Finder:
    """Cuts rows into stretches while they are read."""

    def __init__(self, reader: ChangeReader) -> None:
        self._reader = reader
        self._pending: Changes | None = None
        self._kept: list[_Kept] = []
        self._num_stretches = self._num_positions = 0

    def add(self, rows: Changes) -> None:
        """Add more rows."""
        rows = rows if self._pending is None else np.concatenate([self._pending, rows])
        contig, pos = rows["contig"], rows["pos"]
        is_end = (np.diff(contig) != 0) | (abs(np.diff(pos)) > LARGEST_GAP)
        starts = np.append(0, np.flatnonzero(is_end) + 1)
        sizes = np.diff(starts)
        # In most tables all rows are far from each other, and no region is large enough to look at.
        for region in np.flatnonzero(sizes >= _FEWEST_ROWS):
            self._cut(rows[starts[region] : starts[region + 1]], is_whole=True)
        self._pending = self._cut(rows[starts[-1] :], is_whole=False)

    def finish(self) -> Saturation:
        """The saturated stretches of all rows."""
        if self._pending is not None:
            self._cut(self._pending, is_whole=True)
        kept = sorted(self._kept, key=lambda one: one.number)
        stretches = [one.stretch for one in kept]
        return Saturation(stretches, self._num_stretches, self._num_positions)

    def _cut(self, rows: Changes, *, is_whole: bool) -> Changes:
        """Cut stretches off a region; return the remaining rows, none if the region is whole."""
        if not len(rows):
            return rows
        # The substitutions of a codon are not sorted by position.
        rows = rows[np.argsort(rows["pos"], kind="stable")]
        pos = rows["pos"]
        start = 0
        while pos[-1] - pos[start] >= _CUT_AT:
            end = int(np.searchsorted(pos, pos[start] + STRETCH_POSITIONS))
            self._keep(rows[start:end])
            start = end
        if is_whole:
            self._keep(rows[start:])
            start = len(rows)
        return rows[start:]

    def _keep(self, rows: Changes) -> None:
        """Keep a stretch if it is saturated and among those with the lowest mean so far."""
        substitutions = rows[rows["kind"] == SNV]
        if len(substitutions) < _FEWEST_ROWS:
            return
        stretch = _make_stretch(rows, substitutions, self._reader)
        num_whole = int((np.isfinite(stretch.llr).sum(axis=0) == len(BASES) - 1).sum())
        num_positions = len(stretch.bases)
        if num_positions < FEWEST_POSITIONS or num_whole < _LEAST_SHARE * num_positions:
            return
        self._num_positions += num_positions
        mean = float(np.nanmean(stretch.llr))
        self._kept.append(_Kept(mean, self._num_stretches, stretch))
        self._num_stretches += 1
        if len(self._kept) > MOST_STRETCHES:
            self._kept.remove(max(self._kept, key=lambda one: (one.mean, one.number)))


def _make_stretch(rows: Changes, substitutions: Changes, reader: ChangeReader) -> Stretch:
    first_pos = int(substitutions["pos"][0])
    at = substitutions["pos"] - first_pos
    num_positions = int(at[-1]) + 1
    llr = np.full((len(BASES), num_positions), np.nan)
    llr[substitutions["alt"], at] = substitutions["llr"]
    bases = np.full(num_positions, " ")
    bases[at] = np.array(list(BASES))[substitutions["ref"]]
    deletions = np.full(num_positions, np.nan)
    deletion_names = [""] * num_positions
    for row in rows[(rows["kind"] != SNV) & (rows["kind"] != CODON)]:
        place = int(row["pos"]) - first_pos
        if 0 <= place < num_positions:
            deletions[place] = row["llr"]
            deletion_names[place] = reader.name_deletion(row)
    # A change that two regions of the BED file share has two rows.
    names = [reader.names[code] for code in dict.fromkeys(substitutions["name"].tolist())]
    strands = {reader.strands[code] for code in np.unique(substitutions["strand"]).tolist()}
    return Stretch(
        contig=reader.contigs[int(substitutions["contig"][0])],
        first_pos=first_pos,
        bases="".join(bases.tolist()),
        llr=llr,
        deletions=deletions,
        deletion_names=deletion_names,
        codons=_make_codons(rows[rows["kind"] == CODON]),
        names=[name for name in names if name],
        strand=strands.pop() if len(strands) == 1 else "",
    )


def _make_codons(rows: Changes) -> Codons | None:
    """The codons of which most others are scored; None if there are none."""
    starts, at, numbers = np.unique(rows["pos"], return_inverse=True, return_counts=True)
    llr = np.full((len(CODONS), len(starts)), np.nan)
    llr[rows["alt"], at] = rows["llr"]
    refs = np.zeros(len(starts), dtype=np.int64)
    refs[at] = rows["ref"]
    keep = numbers >= _LEAST_SHARE * (len(CODONS) - 1)
    if not keep.any():
        return None
    return Codons(starts[keep], [CODONS[ref] for ref in refs[keep].tolist()], llr[:, keep])
