"""The step ``merge_audit``: the scores of whole windows of the audited alleles as one table."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evo2_tasks.config.resolve import MergeAuditSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import AUDIT, shard_file, shard_readout, shard_run_file
from evo2_tasks.table.audit import (
    AUDITED_SCORES,
    digest_windows,
    same_but_horizon,
    window_name,
)
from evo2_tasks.table.documents import AuditWork, ShardRun, Split
from evo2_tasks.table.parquet import open_table, reading_table, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import count_devices, read_shards, require_equal_devices
from evo2_tasks.table.schema import audit_schema

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditedShard:
    """The files of a shard that belong to its audit.

    Attributes:
        windows: The windows, from ``windows``.
        whole: The whole windows of the audited alleles, from ``audit``.
        scores: The scores, from ``score_readouts``.
        audit: The scores of the whole windows, from ``score_readouts``.
    """

    windows: Path
    whole: Path
    scores: Path
    audit: Path


def merge_audit(
    settings: MergeAuditSettings,
    *,
    split_file: Path,
    windows_folder: Path,
    audited_folder: Path,
    scores_folder: Path,
    readouts_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the scores of whole windows of all shards into one table.

    Args:
        settings: What the files must have been made with, and which devices may be mixed.
        split_file: The ``split.json``, which states the number of shards.
        windows_folder: Folder of the files that ``windows`` wrote.
        audited_folder: Folder of the files that ``audit`` wrote.
        scores_folder: Folder of the scores that ``score_readouts`` wrote.
        readouts_folder: Folder of the read-outs that ``score_readouts`` wrote.
        out: The table.
        run_json: The windows, tokens, time and devices of the audit.

    Raises:
        InputError: A file is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    files.add(split_file)
    split = Split.read(split_file)
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    shards = [
        AuditedShard(
            windows_folder / name,
            audited_folder / name,
            scores_folder / name,
            shard_readout(readouts_folder, Path(name), AUDIT),
        )
        for name in names
    ]
    for shard in shards:
        files.add(shard.windows)
    windows = digest_windows(files.digest(shard.windows) for shard in shards)
    audits = [require_audited(settings, shard, windows, files) for shard in shards]
    first = read_provenance(shards[0].audit)
    for shard in shards:
        signature = read_provenance(shard.audit).signature
        require_same_signature(shards[0].audit, first.signature, shard.audit, signature)
    require_equal_devices(
        [*read_shards([shard_run_file(shard.scores) for shard in shards]), *audits],
        dtype=settings.score.model.dtype,
        fp8=uses_fp8(first.signature),
        allow_mixed=settings.allow_mixed_devices,
    )
    provenance = Provenance(
        first.signature,
        ",".join(sorted({read_provenance(shard.audit).version for shard in shards})),
        model=first.model,
        settings=settings.audit.triggers(),
        inputs={"windows": windows},
    )
    with write_table(out, audit_schema(), metadata=provenance.metadata()) as writer:
        for shard in shards:
            writer.write(read_shard(shard))
        files.require_unchanged()
        table_digest = writer.digest()
    AuditWork(
        table_digest=table_digest,
        windows_run=sum(one.windows_run for one in audits),
        tokens_run=sum(one.tokens_run for one in audits),
        wall_s=round(sum(one.wall_s for one in audits), 3),
        devices=count_devices(audits),
    ).write(run_json)
    logger.info("%s: %s audited", out, counted(writer.num_rows, "allele"))


def require_audited(
    settings: MergeAuditSettings, shard: AuditedShard, windows: str, files: SourceFiles
) -> ShardRun:
    """Make sure that the files of a shard were made from each other, and with these settings.

    Args:
        settings: The settings that the files must have been made with.
        shard: The files.
        windows: Digest of the windows of all shards, from which the alleles were chosen.
        files: Has the windows, and gets the other files.

    Returns:
        What the job states about the audit.

    Raises:
        InputError: A file is missing, or was made from another source or with other settings.
    """
    whole = read_provenance(shard.whole)
    whole_digest = files.add(shard.whole)
    require_source(shard.whole, whole.source, shard.windows, files.digest(shard.windows))
    chosen_from = (whole.inputs or {}).get("windows")
    require_source(shard.whole, chosen_from, "the windows of all shards", windows)
    require_settings(shard.whole, whole.settings, settings.audit.triggers(), "audit")
    run_file = shard_run_file(shard.audit)
    files.add(run_file)
    run = ShardRun.read(run_file).model_copy(update={"shard": f"{shard.whole.stem} (audit)"})
    audit_digest = files.add(shard.audit)
    audited = read_provenance(shard.audit)
    require_source(shard.audit, audited.source, shard.whole, whole_digest)
    made, expected = run.statements, settings.score.without_horizon().triggers()
    require_source(run_file, made and made.scores, shard.audit, audit_digest)
    require_settings(run_file, made and made.settings, expected, "score_readouts")
    scores = same_but_horizon(read_provenance(shard.scores).signature)
    require_same_signature(shard.audit, audited.signature, shard.scores, scores)
    return run


def read_shard(shard: AuditedShard) -> pa.Table:
    """The rows of a shard, under the names of the table of the audit.

    Raises:
        InputError: A file cannot be read, or the rows are not those of the audited alleles.
    """
    keys = ["record", "allele"]
    rows = read_columns(shard.audit, [*keys, *AUDITED_SCORES])
    if not rows.select(keys).equals(read_columns(shard.whole, keys)):
        raise InputError(
            f"{shown_path(shard.audit)}: has other alleles than {shown_path(shard.whole)}. Delete "
            "the first file, and run again."
        )
    return rows.rename_columns([*keys, *map(window_name, AUDITED_SCORES)])


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of a table with few rows."""
    with open_table(path, names) as file, reading_table(path):
        return file.read(columns=list(names), use_threads=False).replace_schema_metadata()
