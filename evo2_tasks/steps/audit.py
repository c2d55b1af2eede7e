"""The step ``audit``: the alleles that are scored with whole windows too, and these windows."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evo2_tasks.config.resolve import AuditSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.blocks import digest_contigs
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import lift_horizon
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.layout import REFERENCE, segments_file, shard_file
from evo2_tasks.runtime.inputs import open_reference
from evo2_tasks.steps.windows import NeededBases, require_placed, require_stated
from evo2_tasks.table.audit import choose_audited, digest_windows, take_rows
from evo2_tasks.table.documents import Split
from evo2_tasks.table.pairs import PLACEMENT_COLUMNS, as_placed
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    make_windows_signature,
    package_version,
    require_source,
)
from evo2_tasks.table.reference_blocks import read_blocks
from evo2_tasks.table.schema import windows_schema
from evo2_tasks.table.segments import write_segments

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
    stated = require_stated(settings.windows.split, split, split_file)
    blocks_file = split_file.with_name(REFERENCE)
    require_source(split_file, stated.blocks, blocks_file, files.add(blocks_file))
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    placed = [windows_folder / name for name in names]
    for path in placed:
        files.add(path)
        shard = split_file.with_name(path.name)
        require_placed(settings.windows, split, path, shard, stated.shards.get(path.name))
    contigs = digest_contigs(read_blocks(blocks_file))
    chosen = choose_audited(placed, contigs, settings.share)
    reference = open_reference(settings.windows.reference)
    outputs = [out / name for name in names]
    with removing(outputs):
        for path, rows, target in zip(placed, chosen, outputs, strict=True):
            provenance = Provenance(
                make_windows_signature(
                    reference_digest=split.reference.digest,
                    scoring={**asdict(settings.windows.scoring), "horizon": None},
                ),
                package_version(),
                source=files.digest(path),
                settings=settings.triggers(),
                inputs={"windows": digest_windows(map(files.digest, placed))},
            )
            write_whole_windows(take_rows(path, rows), target, reference, provenance)
        reference.require_same(read_blocks(blocks_file))
        files.require_unchanged()
    logger.info("%s: %s alleles to audit", out, f"{sum(map(len, chosen)):,}")


@contextmanager
def removing(outputs: Sequence[Path]) -> Iterator[None]:
    """Remove the files of windows if the body finds that they must not be used."""
    try:
        yield
    except InputError:
        for path in outputs:
            path.unlink(missing_ok=True)
            segments_file(path).unlink(missing_ok=True)
        raise


def write_whole_windows(
    rows: Iterator[Mapping[str, Any]], out: Path, reference: Reference, provenance: Provenance
) -> None:
    """Write rows of a windows file without the cut by a horizon, and the bases that they need.

    Args:
        rows: Rows of alleles that can be scored.
        out: The file of windows.
        reference: The reference of the windows.
        provenance: The provenance of the file.
    """
    names = windows_schema().names
    needed = NeededBases(reference)
    with write_table(out, windows_schema(), metadata=provenance.metadata()) as writer:
        buffer = RowBuffer(writer, names)
        for row in rows:
            placed = as_placed({name: row[name] for name in PLACEMENT_COLUMNS})
            contig = str(placed.reference_contig)
            whole = lift_horizon(placed, reference.contigs[contig], reference.is_circular(contig))
            values = {**row, **whole._asdict()}
            buffer.add(*(values.get(name) for name in names))
            needed.add(whole)
        buffer.flush()
        with write_segments(
            reference,
            needed.intervals,
            segments_file(out),
            source=writer.digest(),
            reference_digest=str(provenance.signature["reference"]),
        ):
            pass
