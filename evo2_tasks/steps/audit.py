"""The step ``audit``: the alleles that are scored with whole windows too, and these windows."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from evo2_tasks.config.resolve import AuditSettings
from evo2_tasks.genome.blocks import digest_contigs
from evo2_tasks.genome.haplotype_windows import lift_horizon
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import merge_intervals
from evo2_tasks.genome.windows import PlacedAllele
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import counted
from evo2_tasks.layout import REFERENCE, segments_file
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.windows import NeededBases, require_placed_shards
from evo2_tasks.table.audit import choose_audited, digest_windows, take_rows
from evo2_tasks.table.documents import Split
from evo2_tasks.table.pairs import PLACEMENT_COLUMNS, as_placed
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    make_windows_signature,
    package_version,
    read_provenance,
)
from evo2_tasks.table.reference_blocks import read_blocks
from evo2_tasks.table.schema import windows_schema
from evo2_tasks.table.segments import MAX_PIECE_BASES, write_segments

logger = logging.getLogger(__name__)


def audit(settings: AuditSettings, *, split_file: Path, windows_folder: Path, out: Path) -> None:
    """Choose the alleles to audit, and write their windows as they are without a horizon.

    Args:
        settings: The share of the alleles, and the settings that the windows must have been made
            with.
        split_file: The ``split.json``, which states the number of shards.
        windows_folder: Folder of the files that ``windows`` wrote.
        out: Folder to write: for each shard a file of windows and their reference bases, also if
            none of its alleles is audited.

    Raises:
        InputError: A file cannot be read, or the files or the reference are not those of ``split``
            and of these settings.
    """
    files = SourceFiles()
    files.add(split_file)
    split = Split.read(split_file)
    placed = require_placed_shards(settings.windows, split, split_file, windows_folder, files)
    blocks_file = split_file.with_name(REFERENCE)
    contigs = digest_contigs(read_blocks(blocks_file))
    chosen = choose_audited(placed, contigs, settings.share)
    reference = open_reference(settings.windows.reference)
    rows = [
        [lift_row(row, reference) for row in take_rows(path, numbers)]
        for path, numbers in zip(placed, chosen, strict=True)
    ]
    # Everything is read and compared before the first file appears.
    read_bases(reference, [row for of_shard in rows for row in of_shard])
    reference.require_same(read_blocks(blocks_file))
    files.require_unchanged()
    for path, of_shard in zip(placed, rows, strict=True):
        provenance = Provenance(
            make_windows_signature(
                reference_digest=split.reference.digest,
                scoring={**asdict(settings.windows.scoring), "horizon": None},
                haplotype_of=read_provenance(path).signature.get("haplotype_of"),
            ),
            package_version(),
            source=files.digest(path),
            settings=settings.triggers(),
            inputs={"windows": digest_windows(map(files.digest, placed))},
        )
        write_windows(of_shard, out / path.name, reference, provenance)
    logger.info("%s: %s to audit", out, counted(sum(map(len, chosen)), "allele"))


class WholeRow(NamedTuple):
    """A row of a windows file before the cut by a horizon.

    Attributes:
        values: Its values by column.
        placed: The allele with its windows.
    """

    values: Mapping[str, Any]
    placed: PlacedAllele


def lift_row(row: Mapping[str, Any], reference: Reference) -> WholeRow:
    """A row of a windows file, of an allele that can be scored, without the cut by a horizon."""
    placed = as_placed({name: row[name] for name in PLACEMENT_COLUMNS})
    contig = str(placed.reference_contig)
    whole = lift_horizon(placed, reference.contigs[contig], reference.is_circular(contig))
    return WholeRow({**row, **whole._asdict()}, whole)


def collect_bases(reference: Reference, rows: Iterable[WholeRow]) -> NeededBases:
    """The bases that the windows of some rows need."""
    needed = NeededBases(reference)
    for row in rows:
        needed.add(row.placed)
    return needed


def read_bases(reference: Reference, rows: Iterable[WholeRow]) -> None:
    """Read the bases that the windows of some rows need, so that the reference can compare them.

    When they are read again, the reference makes sure that they are the same.
    """
    for contig, intervals in collect_bases(reference, rows).intervals.items():
        for start, end in merge_intervals(intervals, MAX_PIECE_BASES):
            reference.fetch(contig, start, end)


def write_windows(
    rows: Sequence[WholeRow], out: Path, reference: Reference, provenance: Provenance
) -> None:
    """Write a file of windows, and the bases that they need.

    Args:
        rows: The rows.
        out: The file of windows.
        reference: The reference of the windows.
        provenance: The provenance of the file.
    """
    names = windows_schema().names
    with write_table(out, windows_schema(), metadata=provenance.metadata()) as writer:
        buffer = RowBuffer(writer, names)
        for row in rows:
            buffer.add(*(row.values.get(name) for name in names))
        buffer.flush()
        with write_segments(
            reference,
            collect_bases(reference, rows).intervals,
            segments_file(out),
            source=writer.digest(),
            reference_digest=str(provenance.signature["reference"]),
        ):
            pass
