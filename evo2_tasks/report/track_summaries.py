"""What the page of a track set shows of a scoring: its regions, and the bases of the first ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import TILES, TRACK_REGIONS, TRACK_TABLE, TRACKS_RUN
from evo2_tasks.table.documents import TracksRun
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.provenance import read_provenance, require_source
from evo2_tasks.table.tracks import TrackBases, read_track_bases

MOST_LISTED: Final = 500
"""Lines of the file of regions that the page lists, for each scoring."""
MOST_DRAWN: Final = 12
"""Regions that are drawn, for each scoring."""
LOGO_BASES: Final = 200
"""Bases of a region that its logo has."""
MOST_BINS: Final = 2_000
"""Points of the lines of a region."""
VALUES: Final = ("entropy", "logp_ref")

_REGION_COLUMNS: Final = (
    "record", "contig", "start", "end", "name", "reference_contig", "status", "reason", "num_bases",
)  # fmt: skip


@dataclass(slots=True)
class Mean:
    """A mean of the values that are not NaN.

    Attributes:
        total: Their sum.
        number: How many they are.
    """

    total: float = 0.0
    number: int = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Add values."""
        known = values[~np.isnan(values)]
        self.total += float(known.sum(dtype=np.float64))
        self.number += len(known)

    @property
    def value(self) -> float | None:
        """The mean; None without values."""
        return self.total / self.number if self.number else None


class BinnedMeans:
    """Means along a region, in bins of equal width.

    Args:
        start: First base, 0-based.
        end: End of the region.

    Attributes:
        width: Bases of a bin; the last bin may have fewer.
    """

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.width = -(-(end - start) // MOST_BINS)
        num = -(-(end - start) // self.width)
        self._totals = {name: np.zeros(num) for name in VALUES}
        self._numbers = {name: np.zeros(num, dtype=np.int64) for name in VALUES}

    def add(self, bases: TrackBases) -> None:
        """Add bases of the region."""
        places = (bases.start - self.start) // self.width
        for name in VALUES:
            values = getattr(bases, name)
            known = ~np.isnan(values)
            size = len(self._totals[name])
            self._totals[name] += np.bincount(places[known], values[known], size)
            self._numbers[name] += np.bincount(places[known], minlength=size)

    def middles(self) -> NDArray[np.float64]:
        """The middle of each bin as a 1-based position."""
        firsts = self.start + self.width * np.arange(len(self._totals["entropy"]))
        middles: NDArray[np.float64] = (firsts + np.minimum(firsts + self.width, self.end) + 1) / 2
        return middles

    def means(self, name: str) -> NDArray[np.float64]:
        """The mean of each bin; NaN where it has no value."""
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = self._totals[name] / self._numbers[name]
        return means


@dataclass(slots=True)
class Region:
    """A line of the file of regions, and the bases of the table between its start and its end.

    Attributes:
        row: The line, by the columns of the file of ``tile``.
        is_listed: Whether the table of the page has it.
        is_drawn: Whether it is drawn.
        bins: Means along the region; None if it is not drawn, or its logo has all of its bases.
        num_bases: Bases of the table between start and end.
        entropy: Mean entropy, bits.
        logp_ref: Mean log-probability of the reference, nats.
        logo: The first bases, if the region is drawn.
    """

    row: dict[str, Any]
    is_listed: bool
    is_drawn: bool
    bins: BinnedMeans | None
    num_bases: int = 0
    entropy: Mean = field(default_factory=Mean)
    logp_ref: Mean = field(default_factory=Mean)
    logo: list[TrackBases] = field(default_factory=list)

    def add(self, bases: TrackBases) -> None:
        """Add bases of the region."""
        missing = LOGO_BASES - self.num_bases
        if self.is_drawn and missing > 0:
            # A copy, because a slice would keep the whole piece of the table in memory.
            self.logo.append(copy.deepcopy(bases.take(slice(missing))))
        self.num_bases += len(bases.start)
        self.entropy.add(bases.entropy)
        self.logp_ref.add(bases.logp_ref)
        if self.bins is not None:
            self.bins.add(bases)

    def first_bases(self) -> TrackBases:
        """The bases of the logo."""
        pieces = [one[1:] for one in self.logo]
        return TrackBases(
            self.logo[0].contig, *(np.concatenate(each) for each in zip(*pieces, strict=True))
        )


class TrackSummary(NamedTuple):
    """What the page shows of a scoring.

    Attributes:
        scoring: Its name.
        run: What ``tracks.json`` states.
        regions: The regions that are listed or drawn, in the order of the file.
        entropy: Mean entropy of all bases, bits.
        logp_ref: Mean log-probability of the reference of all bases, nats.
    """

    scoring: str
    run: TracksRun
    regions: Sequence[Region]
    entropy: Mean
    logp_ref: Mean

    def list_drawn(self) -> list[Region]:
        """The regions that are drawn."""
        return [region for region in self.regions if region.is_drawn and region.num_bases]


def read_track_summary(folder: Path, scoring: str, files: SourceFiles) -> TrackSummary:
    """Read the tracks of a scoring, piece by piece.

    Args:
        folder: Folder of the scoring.
        scoring: Its name.
        files: Gets the files that are read.

    Raises:
        InputError: A file is missing or broken, or the files do not belong together.
    """
    table, run_file = folder / TRACK_TABLE, folder / TRACKS_RUN
    regions_file = folder / TILES / TRACK_REGIONS
    files.add(run_file)
    files.add(regions_file)
    run = TracksRun.read(run_file)
    if files.add(table) != run.table_digest:
        raise InputError(
            f"{shown_path(run_file)}: is about another table than {shown_path(table)}. Run "
            "`merge_tracks` again."
        )
    stated = (read_provenance(table).inputs or {}).get("regions")
    source = read_provenance(regions_file).source
    require_source(table, stated, "the file of regions", source)
    regions = list(_choose_regions(regions_file, run))
    by_contig: dict[str, list[Region]] = {}
    for region in regions:
        if region.row["num_bases"]:
            by_contig.setdefault(region.row["reference_contig"], []).append(region)
    entropy, logp_ref = Mean(), Mean()
    for bases in read_track_bases(table):
        entropy.add(bases.entropy)
        logp_ref.add(bases.logp_ref)
        for region in by_contig.get(bases.contig, ()):
            ends = region.row["start"], region.row["end"]
            inside = slice(*np.searchsorted(bases.start, ends).tolist())
            if inside.start < inside.stop:
                region.add(bases.take(inside))
    return TrackSummary(scoring, run, regions, entropy, logp_ref)


def _choose_regions(source: Path, run: TracksRun) -> Iterator[Region]:
    """The first lines of the file, and the first regions that have bases."""
    num_drawn = num_read = 0
    for batch in read_rows(source, _REGION_COLUMNS):
        for row in batch.to_pylist():
            is_drawn = num_drawn < MOST_DRAWN and row["num_bases"] > 0
            num_drawn += is_drawn
            bins = None
            if is_drawn:
                end = min(row["end"], run.contigs[row["reference_contig"]])
                bins = BinnedMeans(row["start"], end) if end - row["start"] > LOGO_BASES else None
            if is_drawn or num_read < MOST_LISTED:
                yield Region(row, num_read < MOST_LISTED, is_drawn, bins)
            num_read += 1
        if num_read >= MOST_LISTED and num_drawn >= MOST_DRAWN:
            return
