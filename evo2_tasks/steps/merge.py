"""The step ``merge``: all shards of a scoring as one table."""

import logging
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from evo2_tasks.config.resolve import MergeSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown
from evo2_tasks.layout import shard_file, shard_run_file
from evo2_tasks.runtime.inputs import open_reference
from evo2_tasks.table.carried import open_carried
from evo2_tasks.table.documents import Split
from evo2_tasks.table.merge import merge_shards
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    read_provenance,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import read_shards, require_equal_devices, summarize_run
from evo2_tasks.table.statistics import warn_without_score

logger = logging.getLogger(__name__)


def merge(
    settings: MergeSettings,
    *,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    out: Path,
    run_json: Path,
    carried: Path | None = None,
) -> None:
    """Combine all shards into the table, and write ``run.json`` about the run.

    At the end, the finished parts that the scoring jobs have kept are removed.

    Args:
        settings: The order of the rows, and which devices may be mixed.
        split_file: The ``split.json``, which states the numbers of shards and alleles.
        windows_folder: Folder of the files that ``windows`` wrote.
        scores_folder: Folder of the files that ``score`` wrote.
        out: The table.
        run_json: Counts, times, devices and versions.
        carried: The table of ``carry``; it is needed if the config carries anything.

    Raises:
        InputError: A shard is missing, or the shards do not fit together.
    """
    split = Split.read(split_file)
    num_shards = split.shards
    names = [shard_file(shard, num_shards) for shard in range(1, num_shards + 1)]
    contig_order = None
    if settings.sort_by_position is not None:
        contig_order = list(open_reference(settings.sort_by_position).contigs)
    shards = read_shards([shard_run_file(scores_folder / name) for name in names])
    signature = read_provenance(scores_folder / names[0]).signature
    require_equal_devices(
        shards,
        dtype=settings.dtype,
        fp8=uses_fp8(signature),
        allow_mixed=settings.allow_mixed_devices,
    )
    for name in names:
        chain = [split_file.with_name(name), windows_folder / name, scores_folder / name]
        for source, result in pairwise(chain):
            require_source(result, read_provenance(result).source, source)
    carried_columns = None
    if carried is not None:
        carried_columns = open_carried(carried, settings.carried, split.variants_digest)
    elif settings.carried:
        raise InputError(
            f"merge: the config carries {shown(', '.join(settings.carried), 400)}. Name the file "
            "that `carry` wrote."
        )
    counts, table_digest = merge_shards(
        [windows_folder / name for name in names],
        [scores_folder / name for name in names],
        out,
        expected_alleles=split.alleles,
        carried=carried_columns,
        contig_order=contig_order,
    )
    provenance = read_provenance(out)
    summarize_run(
        counts,
        shards,
        split,
        model=provenance.model,
        signature=provenance.signature,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        table_digest=table_digest,
    ).write(run_json)
    by_status = ", ".join(f"{status} {number:,}" for status, number in counts.by_status.items())
    logger.info("%s: %s rows: %s", out, f"{counts.alleles:,}", by_status or "none")
    warn_without_score(out, counts.by_status)
    remove_parts(scores_folder)
