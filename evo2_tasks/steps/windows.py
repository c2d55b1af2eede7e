"""The step ``windows``: status and windows of each allele, and the reference bases they need."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path

from evo2_tasks.config.resolve import SplitSettings, WindowsSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.haplotype_windows import haplotype_intervals
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import merge_intervals, needed_intervals
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import REFERENCE, shard_file
from evo2_tasks.runtime.references import open_placement, open_reference
from evo2_tasks.table.documents import Split, SplitStatements
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
    read_provenance,
    require_settings,
    require_source,
)
from evo2_tasks.table.reference_blocks import read_blocks
from evo2_tasks.table.schema import ADDED_COLUMNS, windows_schema
from evo2_tasks.table.segments import write_segments
from evo2_tasks.table.statistics import warn_without_score

INTERVALS_AT_ONCE = 65_536

KEYS = ("record", "allele", "contig", "pos", "ref", "alt")

# Of a shard, named like the fields of `Variant`.
COLUMNS = (*KEYS, "status", "reason", "sv_length", "sv_sequence")

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
        InputError: A file cannot be read, or the shard, the reference or the settings are not those
            of ``split``.
    """
    files = SourceFiles()
    files.add(split_file)
    split = Split.read(split_file)
    source = files.add(shard)
    blocks_file = split_file.with_name(REFERENCE)
    require_split(settings, split, split_file, shard, files)
    reference = open_reference(settings.reference)
    place = open_placement(settings.split, reference)
    window_settings = WindowSettings(**asdict(settings.scoring))
    provenance = Provenance(
        make_windows_signature(
            reference_digest=split.reference.digest,
            scoring=asdict(settings.scoring),
            haplotype_of=state_haplotype(settings.split, files),
        ),
        package_version(),
        source=source,
        settings=settings.triggers(),
        inputs=split.inputs,
    )
    statuses: Counter[str] = Counter()
    needed = NeededBases(reference)
    in_genome = settings.split.haplotype_of is not None
    schema = windows_schema(in_genome=in_genome)
    names = [*KEYS, *PlacedAllele._fields]
    names += [name for name in schema.names if name not in names]
    with (
        write_table(out, schema, metadata=provenance.metadata()) as writer,
        Progress("windows", total=count_rows(shard), unit="alleles") as progress,
    ):
        rows = RowBuffer(writer, names, progress)
        for variant in read_shard(shard):
            placed, *bounds = place(variant, window_settings)
            rows.add(*read_keys(variant), *placed, *(bounds if in_genome else ()))
            statuses[placed.status] += 1
            needed.add(placed)
        rows.flush()
        with write_segments(
            reference,
            needed.intervals,
            segments_file,
            source=writer.digest(),
            reference_digest=split.reference.digest,
        ):
            reference.require_same(read_blocks(blocks_file))
            files.require_unchanged()
    warn_without_score(shard, statuses)


def state_haplotype(settings: SplitSettings, files: SourceFiles) -> dict[str, object] | None:
    """The haplotype in whose genome a set makes its changes, for the signature; None without one.

    Args:
        settings: The variant set.
        files: Gets the file of genotypes.

    Raises:
        InputError: The file cannot be read.
    """
    asked = settings.haplotype_of
    if asked is None:
        return None
    digest = files.add(asked.variants)
    return {"variants": digest, "sample": asked.sample, "haplotype": asked.haplotype}


def read_shard(shard: Path) -> Iterator[Variant]:
    """The alleles of a shard.

    Raises:
        InputError: The file cannot be read.
    """
    for batch in read_rows(shard, COLUMNS, added=ADDED_COLUMNS):
        columns = [batch.column(name).to_pylist() for name in COLUMNS]
        for values in zip(*columns, strict=True):
            yield Variant(**dict(zip(COLUMNS, values, strict=True)))


def require_split(
    settings: WindowsSettings, split: Split, split_file: Path, shard: Path, files: SourceFiles
) -> None:
    """Make sure that ``split.json`` states the files next to it and the settings of the config.

    Args:
        settings: The settings that the shards must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``.
        shard: The shard.
        files: Has the shard, and gets the other files.

    Raises:
        InputError: It states others, or an earlier version wrote it, which did not state them.
    """
    stated = require_stated(settings.split, split, split_file)
    require_source(split_file, stated.shards.get(shard.name), shard, files.digest(shard))
    blocks_file = split_file.with_name(REFERENCE)
    require_source(split_file, stated.blocks, blocks_file, files.add(blocks_file))
    report = settings.reference.assembly_report
    report_digest = None if report is None else files.add(report)
    name = report or "the assembly report"
    require_source(split_file, stated.assembly_report, name, report_digest)
    of = settings.split.haplotype_of
    genotypes = None if of is None else files.add(of.variants)
    name = "the genotypes of haplotype_of" if of is None else of.variants
    require_source(split_file, stated.haplotype_of, name, genotypes)


def require_stated(settings: SplitSettings, split: Split, split_file: Path) -> SplitStatements:
    """Make sure that ``split.json`` states its files, and the settings of the config.

    Args:
        settings: The settings that the shards must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``.

    Raises:
        InputError: It states other settings, or an earlier version wrote it, which stated nothing.
    """
    if split.statements is None:
        raise InputError(
            f"{shown_path(split_file)}: an earlier version of evo2-tasks wrote this file, and it "
            "does not state the digests of the shards. Write it again with: evo2-tasks split "
            f"--config CONFIG --variant-set {settings.variant_set} --out "
            f"{shown_path(split_file.parent)}. The shards stay the same, and no finished job runs "
            "again."
        )
    require_settings(split_file, split.statements.settings, settings.triggers(), "split")
    return split.statements


def require_placed(
    settings: WindowsSettings,
    split: Split,
    windows_file: Path,
    shard: Path,
    shard_digest: str | None,
) -> Provenance:
    """Make sure that a windows file was made from a shard, its inputs, and with these settings.

    A file of an earlier version lacks some statements; these are not compared.

    Args:
        settings: The settings that the file must have been made with.
        split: Content of ``split.json``.
        windows_file: The windows.
        shard: The shard, for messages.
        shard_digest: SHA-256 of the shard.

    Returns:
        The provenance of the windows.

    Raises:
        InputError: The file was made from another version of its source, or with other settings.
    """
    placed = read_provenance(windows_file)
    require_source(windows_file, placed.source, shard, shard_digest)
    reference_digest = placed.signature.get("reference")
    require_source(windows_file, reference_digest, "the reference", split.reference.digest)
    if placed.inputs is not None and split.statements is not None:
        for key in sorted({*split.inputs, *placed.inputs}):
            name = f"the {key.replace('_', ' ')} of the config"
            require_source(windows_file, placed.inputs.get(key), name, split.inputs.get(key))
    if placed.settings is not None:
        require_settings(windows_file, placed.settings, settings.triggers(), "windows")
        return placed
    # An earlier version wrote it: the signature has those settings that it knew.
    scoring = placed.signature.get("scoring")
    known = scoring if isinstance(scoring, dict) else {}
    asked = {key: value for key, value in asdict(settings.scoring).items() if key in known}
    require_settings(windows_file, known, known | asked, "windows")
    return placed


def require_placed_shards(
    settings: WindowsSettings,
    split: Split,
    split_file: Path,
    windows_folder: Path,
    files: SourceFiles,
) -> list[Path]:
    """Make sure that the windows of all shards were made from the shards and with these settings.

    Args:
        settings: The settings that the files must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``.
        windows_folder: Folder of the files that ``windows`` wrote.
        files: Gets the windows, and the digests of the reference's blocks.

    Returns:
        The windows of each shard.

    Raises:
        InputError: A file is missing, or was made from another source or with other settings.
    """
    stated = require_stated(settings.split, split, split_file)
    blocks_file = split_file.with_name(REFERENCE)
    require_source(split_file, stated.blocks, blocks_file, files.add(blocks_file))
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    paths = [windows_folder / name for name in names]
    for path in paths:
        files.add(path)
        shard = split_file.with_name(path.name)
        require_placed(settings, split, path, shard, stated.shards.get(path.name))
    return paths


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
        contig = self._reference.contigs[pair.contig], self._reference.is_circular(pair.contig)
        intervals = self.intervals.setdefault(pair.contig, [])
        if placed.background:
            intervals += haplotype_intervals(placed, *contig)
        else:
            lengths = {strand: size.length for strand, size in placed.sizes.items()}
            intervals += needed_intervals(pair, lengths, *contig)
        if len(intervals) >= INTERVALS_AT_ONCE:
            self.intervals[pair.contig] = merge_intervals(intervals)
