"""The regions of a track set: each line of the file with its status, and the bases to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.bed import Feature, read_features
from evo2_tasks.genome.formats import FORMAT_WORDS, REGION_FORMATS, find_format
from evo2_tasks.genome.interval_lists import read_intervals
from evo2_tasks.genome.records import InvalidRecord
from evo2_tasks.genome.window_pairs import Interval, merge_intervals
from evo2_tasks.io.words import shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

_INTERVALS_AT_ONCE = 65_536


class TrackRegion(NamedTuple):
    """A line of the file of regions.

    Attributes:
        record: Number of the line among those with data, 0-based.
        contig: Contig as the file spells it; None if the line cannot be read.
        start: Start of the region, 0-based; None if the line cannot be read.
        end: End of the region, 0-based and exclusive; None if the line cannot be read.
        name: Name of the region; None if it has none.
        reference_contig: Contig as the reference spells it; None if it is not found.
        status: ``scored`` if all its bases are in the tracks, else why not.
        reason: More about the status; None if the region is scored.
        num_bases: Number of its bases in the tracks. Those between the blocks of a region are not.
    """

    record: int
    contig: str | None
    start: int | None
    end: int | None
    name: str | None
    reference_contig: str | None
    status: str
    reason: str | None
    num_bases: int


def find_reader(path: Path) -> Callable[[Path], Iterator[Feature | InvalidRecord]]:
    """What reads the lines of a file of regions.

    Args:
        path: A BED file or an interval list.

    Raises:
        InputError: The file is neither.
    """
    file_format = find_format(path, has_regions=True)
    if file_format not in REGION_FORMATS:
        raise InputError(
            f"{shown_path(path)}: a track set needs the regions of a BED file or an interval "
            f"list, but this is {FORMAT_WORDS[file_format]}. Name a BED file."
        )
    return read_intervals if file_format == "intervals" else read_features


class TrackRegions:
    """Reads the regions of a file, and collects their bases.

    Args:
        path: A BED file or an interval list.
        reference: The reference.

    Raises:
        InputError: The file is neither.
    """

    def __init__(self, path: Path, reference: Reference) -> None:
        self._path = path
        self._read = find_reader(path)
        self._reference = reference
        self._found: dict[str, list[Interval]] = {}
        self._lengths: dict[str, int] = {}  # of the lists when they were last merged

    def __iter__(self) -> Iterator[TrackRegion]:
        for record, feature in enumerate(self._read(self._path)):
            if isinstance(feature, InvalidRecord):
                yield TrackRegion(
                    record, None, None, None, None, None, "invalid_record", feature.reason, 0
                )
            else:
                yield self._place(record, feature)

    def stretches(self) -> dict[str, list[Interval]]:
        """The bases of the regions that were read: sorted, separate intervals (0-based, half-open).

        They are by contig, in the order of the reference.
        """
        contigs = self._reference.contigs
        return {name: merge_intervals(self._found[name]) for name in contigs if name in self._found}

    def _place(self, record: int, feature: Feature) -> TrackRegion:
        own = record, feature.contig, feature.start, feature.end, feature.texts[0]
        contig = self._reference.resolve(feature.contig)
        if contig is None:
            reason = self._reference.why_not_found(feature.contig)
            return TrackRegion(*own, None, "contig_not_found", reason, 0)
        length = self._reference.contigs[contig]
        inside = [(start, min(end, length)) for start, end in feature.blocks if start < length]
        num_bases = sum(end - start for start, end in inside)
        if inside:
            self._add(contig, inside)
        if feature.end > length:
            status, reason = "position_out_of_range", "after_end"
            return TrackRegion(*own, contig, status, reason, num_bases)
        return TrackRegion(*own, contig, "scored", None, num_bases)

    def _add(self, contig: str, intervals: list[Interval]) -> None:
        held = self._found.setdefault(contig, [])
        held += intervals
        if len(held) >= _INTERVALS_AT_ONCE + 2 * self._lengths.get(contig, 0):
            held[:] = merge_intervals(held)
            self._lengths[contig] = len(held)
