"""The step ``tile``: the regions of a track set, and the windows that their bases are read from."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from evo2_tasks.config.objects import as_written
from evo2_tasks.config.tracks import TileSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.fasta import digest_sequences
from evo2_tasks.genome.letters import require_dna
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.tiles import Tile, Tiling, cut_stretches, lay_windows, tile_regions
from evo2_tasks.genome.track_regions import TrackRegion, TrackRegions
from evo2_tasks.genome.window_pairs import STRANDS, Interval, merge_intervals
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import TILE_COUNTS, TRACK_REGIONS, segments_file, shard_file
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.documents import ReferenceStatement, TileCounts
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    make_windows_signature,
    package_version,
)
from evo2_tasks.table.schema import tiles_schema, track_regions_schema
from evo2_tasks.table.segments import write_segments
from evo2_tasks.table.tracks import unroll_interval, write_tiles

logger = logging.getLogger(__name__)


def tile(settings: TileSettings, *, regions: Path | None, out: Path) -> None:
    """Read the regions of a track set, and find the windows that their bases are read from.

    Args:
        settings: The regions, the reference, the windows and the number of shards.
        regions: File to read instead of the configured one.
        out: Folder to write: the regions with their status, and for each shard a file of windows
            and their reference bases.

    Raises:
        InputError: A file cannot be read, or no base can be read from any region.
    """
    path = settings.regions if regions is None else regions
    files = SourceFiles()
    report = settings.reference.assembly_report
    inputs = {} if report is None else {"assembly_report": files.add(report)}
    with local_file(path) as local:
        inputs["regions"] = files.add(local)
        reference = open_reference(settings.reference)
        regions_read = TrackRegions(local, reference)
        by_status = count_regions(regions_read, path)
        stretches = regions_read.stretches()
        sequences = reference.read_sequences()
        require_dna(reference.path, sequences, {*stretches})
        digest = digest_sequences(sequences)
        provenance = Provenance(
            make_windows_signature(reference_digest=digest, scoring=asdict(settings.scoring)),
            package_version(),
            source=inputs["regions"],
            settings=settings.triggers(),
            inputs=inputs,
        )
        out.mkdir(parents=True, exist_ok=True)
        with write_regions(TrackRegions(local, reference), out / TRACK_REGIONS, provenance) as of:
            digests = {TRACK_REGIONS: of}
            files.require_unchanged()
    windows = tokens = 0
    for number, of_shard in enumerate(cut_stretches(stretches, settings.shards), start=1):
        shard = out / shard_file(number, settings.shards)
        tiles = lay_tiles(settings, of_shard, reference)
        digests[shard.name] = write_shard(tiles, shard, reference, provenance)
        windows += len(tiles)
        tokens += sum(end - start for start, end in find_reads(tiles, reference))
    reference.require_same(block for one in sequences for block in one.blocks)
    TileCounts(
        shards=settings.shards,
        regions=as_written(path),
        records=by_status.total(),
        by_status=dict(by_status),
        bases=sum(end - start for one in stretches.values() for start, end in one),
        windows=windows,
        tokens=tokens,
        reference=ReferenceStatement(name=settings.reference.name, digest=digest),
        fasta=as_written(settings.reference.fasta),
        contigs={name: reference.contigs[name] for name in stretches},
        files=digests,
        settings=as_json(settings.triggers()),
        inputs=inputs,
    ).write(out / TILE_COUNTS)
    logger.info(
        "%s: %s, %s to read", out, counted(by_status.total(), "region"), counted(windows, "window")
    )


def count_regions(rows: Iterable[TrackRegion], path: Path) -> Counter[str]:
    """Count the regions by status, and log those with bases that are not in the tracks.

    Args:
        rows: The regions.
        path: Their file, for messages.

    Raises:
        InputError: No region has a base that can be read.
    """
    by_status: Counter[str] = Counter()
    first, has_bases = "", False
    for row in rows:
        by_status[row.status] += 1
        has_bases = has_bases or row.num_bases > 0
        if row.status != "scored" and not first:
            place = "" if row.contig is None else f" ({shown(row.contig)}:{row.start}-{row.end})"
            first = f"; the first is data line {row.record + 1}{place}: {row.status}, {row.reason}"
    if not by_status:
        raise InputError(
            f"{shown_path(path)}: has no regions. Expected lines of a BED file: contig, start, end."
        )
    wrong = {name: num for name, num in by_status.items() if name != "scored"}
    counts = ", ".join(f"{num:,} {name}" for name, num in wrong.items())
    if not has_bases:
        raise InputError(
            f"{shown_path(path)}: no region has a base in the reference: {counts}{first}. Check "
            "that the file and the reference are of one assembly, or add the names of the contigs "
            "to contig_aliases."
        )
    if wrong:
        logger.warning(
            "%s: %d of %d regions are not, or not completely, in the tracks: %s%s",
            shown_path(path), sum(wrong.values()), by_status.total(), counts, first,
        )  # fmt: skip
    return by_status


@contextmanager
def write_regions(rows: Iterable[TrackRegion], out: Path, provenance: Provenance) -> Iterator[str]:
    """Write the regions with their status; gives the SHA-256 of the file.

    The file appears at the end of the body, if the body does not fail.
    """
    schema = track_regions_schema()
    with write_table(out, schema, metadata=provenance.metadata()) as writer:
        buffer = RowBuffer(writer, schema.names)
        for row in rows:
            buffer.add(*row)
        buffer.flush()
        yield writer.digest()


def lay_tiles(
    settings: TileSettings, stretches: Mapping[str, Sequence[Interval]], reference: Reference
) -> list[Tile]:
    """The windows for the bases of a shard."""
    scoring = settings.scoring
    tilings: dict[str, Tiling] = {
        name: lay_windows(
            reference.contigs[name],
            circular=reference.is_circular(name),
            window_length=scoring.window_length,
            min_context=scoring.min_context,
        )
        for name in stretches
    }
    return list(tile_regions(stretches, tilings, STRANDS[scoring.strands]))


def find_reads(tiles: Sequence[Tile], reference: Reference) -> list[Interval]:
    """The part of each window that has to be read, in the coordinates of the window."""
    return [one.find_read(reference.contigs[one.reference_contig]) for one in tiles]


def write_shard(
    tiles: Sequence[Tile], out: Path, reference: Reference, provenance: Provenance
) -> str:
    """Write the windows of a shard and their reference bases; gives the SHA-256 of the windows."""
    needed: dict[str, list[Interval]] = {}
    for one, read in zip(tiles, find_reads(tiles, reference), strict=True):
        intervals = unroll_interval(read, reference.contigs[one.reference_contig])
        needed.setdefault(one.reference_contig, []).extend(intervals)
    with write_table(out, tiles_schema(), metadata=provenance.metadata()) as writer:
        write_tiles(tiles, writer)
        digest = writer.digest()
        with write_segments(
            reference,
            {name: merge_intervals(intervals) for name, intervals in needed.items()},
            segments_file(out),
            source=digest,
            reference_digest=str(provenance.signature["reference"]),
        ):
            pass
    return digest
