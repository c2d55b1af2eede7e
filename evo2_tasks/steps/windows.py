"""The step ``windows``: status and windows of each allele, and the reference bases they need."""

from collections import Counter
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path

from evo2_tasks.config.resolve import WindowsSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import (
    Variant,
)
from evo2_tasks.genome.window_pairs import merge_intervals, needed_intervals
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele
from evo2_tasks.io.digests import describe_file, digest_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown_path
from evo2_tasks.runtime.inputs import open_reference
from evo2_tasks.table.documents import ReferenceStatement, Split
from evo2_tasks.table.parquet import (
    RowBuffer,
    count_rows,
    read_rows,
    write_table,
)
from evo2_tasks.table.provenance import (
    Provenance,
    make_windows_signature,
    package_version,
    require_source,
)
from evo2_tasks.table.schema import windows_schema
from evo2_tasks.table.segments import write_segments
from evo2_tasks.table.statistics import warn_without_score

INTERVALS_AT_ONCE = 65_536

KEYS = ("record", "allele", "contig", "pos", "ref", "alt")

# Of a shard, in the order of the fields of `Variant`.
COLUMNS = (*KEYS, "status")

read_keys = attrgetter(*KEYS)


def windows(
    settings: WindowsSettings,
    *,
    shard: Path,
    split_file: Path,
    out: Path,
    segments_file: Path,
) -> None:
    """Give each allele of a shard its status and its windows.

    Args:
        settings: The reference and the windows of the scoring.
        shard: A shard that ``split`` wrote.
        split_file: The ``split.json`` next to it.
        out: The rows of the shard with their windows.
        segments_file: The reference bases that the windows need, each once.

    Raises:
        InputError: A file cannot be read, or the reference is not the one that ``split`` read.
    """
    split = Split.read(split_file)
    reference = open_reference(settings.reference)
    require_unchanged(reference, split.reference, split_file)
    window_settings = WindowSettings(**asdict(settings.scoring))
    signature = make_windows_signature(
        reference_digest=split.reference.digest, scoring=asdict(settings.scoring)
    )
    source = digest_file(shard)
    provenance = Provenance(signature, package_version(), source=source)
    statuses: Counter[str] = Counter()
    needed = NeededBases(reference)
    with (
        write_table(out, windows_schema(), metadata=provenance.metadata()) as writer,
        Progress("windows", total=count_rows(shard), unit="alleles") as progress,
    ):
        rows = RowBuffer(writer, [*KEYS, *PlacedAllele._fields], progress)
        for batch in read_rows(shard, COLUMNS):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                variant = Variant(*values)
                placed = place_allele(variant, reference, window_settings)
                rows.add(*read_keys(variant), *placed)
                statuses[placed.status] += 1
                needed.add(placed)
        rows.flush()
        require_source(out, source, shard)
    write_segments(reference, needed.intervals, segments_file)
    warn_without_score(shard, statuses)


class NeededBases:
    """Collects which bases of a reference the windows of a shard read.

    Attributes:
        intervals: 0-based, half-open intervals by reference contig; they may overlap.
    """

    def __init__(self, reference: Reference) -> None:
        self.intervals: dict[str, list[tuple[int, int]]] = {}
        self._reference = reference

    def add(self, placed: PlacedAllele) -> None:
        """Add the bases of an allele's windows, if it has windows."""
        pair = placed.pair
        if pair is None:
            return
        intervals = self.intervals.setdefault(pair.contig, [])
        intervals += needed_intervals(
            pair,
            {strand: size.length for strand, size in placed.sizes.items()},
            self._reference.contigs[pair.contig],
            self._reference.is_circular(pair.contig),
        )
        if len(intervals) >= INTERVALS_AT_ONCE:
            self.intervals[pair.contig] = merge_intervals(intervals)


def require_unchanged(
    reference: Reference, described: ReferenceStatement, split_file: Path
) -> None:
    """Make sure that a reference has the sequences that ``split`` found in it.

    Args:
        reference: The reference as it is now.
        described: What ``split.json`` states about it: size, time and digest.
        split_file: The ``split.json``, for messages.

    Raises:
        InputError: It has other sequences.
    """
    if describe_file(reference.path) == {
        "size": described.size,
        "mtime_ns": described.mtime_ns,
    }:
        return
    if reference.seqcol_digest() != described.digest:
        raise InputError(
            f"{shown_path(reference.path)} has other sequences than when {shown_path(split_file)} "
            "was written; run split again, or put the old file back."
        )
