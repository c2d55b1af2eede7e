"""The step ``merge_sequences``: the table of a sequence set, from its shards."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.sequences import MergeSequencesSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import shard_file, shard_run_file
from evo2_tasks.table.documents import ShardRun
from evo2_tasks.table.parquet import (
    TableWriter,
    decode_texts,
    read_metadata,
    read_rows,
    write_table,
)
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    package_version,
    read_object,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import (
    count_devices,
    find_verification,
    read_shards,
    require_equal_devices,
    without_statements,
)
from evo2_tasks.table.sequence_documents import SequenceSplit, SequencesRun
from evo2_tasks.table.sequence_rows import SCORED, SequenceCounts
from evo2_tasks.table.sequence_schema import sequences_table_schema

logger = logging.getLogger(__name__)


def merge_sequences(
    settings: MergeSequencesSettings,
    *,
    split_file: Path,
    scores_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the tables of all shards, and write the JSON file about the run.

    At the end, the finished parts that the scoring jobs have kept are removed.

    Args:
        settings: The settings that the files must have been made with.
        split_file: The ``split.json`` of ``split_sequences``, next to the shards.
        scores_folder: Folder of the tables of the shards.
        out: The table.
        run_json: Counts, times, devices and versions.

    Raises:
        InputError: A shard is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    files.add(split_file)
    split = SequenceSplit.read(split_file)
    require_settings(split_file, split.settings, settings.score.split.triggers(), "split_sequences")
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    tables = [scores_folder / name for name in names]
    run_files = [shard_run_file(table) for table in tables]
    for run_file in run_files:
        files.add(run_file)
    shards = read_shards(run_files)
    signatures = [
        _require_scored(settings, split_file, split, table, shard, files)
        for table, shard in zip(tables, shards, strict=True)
    ]
    signature = signatures[0]
    for table, other in zip(tables[1:], signatures[1:], strict=True):
        require_same_signature(tables[0], signature, table, other)
    require_equal_devices(
        shards,
        dtype=settings.score.model.dtype,
        fp8=uses_fp8(signature),
        allow_mixed=settings.allow_mixed_devices,
    )
    versions = {read_metadata(table).get(f"{PREFIX}version", package_version()) for table in tables}
    provenance = Provenance(
        signature,
        ", ".join(sorted(versions)),
        model=settings.score.model.name,
        source=split.sequences_digest,
    )
    counts = SequenceCounts()
    schema = sequences_table_schema(per_base=settings.score.per_base)
    with write_table(out, schema, metadata=provenance.metadata()) as writer:
        for table in tables:
            _copy_rows(table, writer, counts)
        if writer.num_rows != split.records:
            raise InputError(
                f"{shown_path(scores_folder)}: the shards have {writer.num_rows:,} rows, and the "
                f"FASTA has {split.records:,} records. Delete the folder, and run again."
            )
        files.require_unchanged()
        table_digest = writer.digest()
    SequencesRun(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        table_digest=table_digest,
        model=provenance.model,
        signature=dict(signature),
        sequences=split.sequences,
        sequences_digest=split.sequences_digest,
        records=split.records,
        bases=split.bases,
        scored=counts.by_status[SCORED],
        predicted=counts.predicted,
        by_status=dict(counts.by_status.most_common()),
        by_reason=dict(counts.by_reason.most_common()),
        by_flag=dict(counts.by_flag.most_common()),
        windows_run=sum(shard.windows_run for shard in shards),
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        verification=find_verification(shards),
        devices=count_devices(shards),
        shards=tuple(map(without_statements, shards)),
    ).write(run_json)
    by_status = ", ".join(f"{status} {number:,}" for status, number in counts.by_status.items())
    logger.info("%s: %s: %s", out, counted(split.records, "row"), by_status or "none")
    if split.records and not counts.by_status[SCORED]:
        logger.warning("%s: NO SCORE: no sequence has a log-likelihood; see `status`", out)
    remove_parts(scores_folder)


def _require_scored(
    settings: MergeSequencesSettings,
    split_file: Path,
    split: SequenceSplit,
    table: Path,
    shard: ShardRun,
    files: SourceFiles,
) -> Mapping[str, Any]:
    """Make sure that the table of a shard was made from the shard, and with these settings.

    Returns:
        The signature of the table.

    Raises:
        InputError: It was made from another shard or with other settings, or is missing.
    """
    digest, stored = files.add(table), read_metadata(table)
    source = split_file.with_name(table.name)
    require_source(table, stored.get(f"{PREFIX}source"), source, split.files.get(table.name))
    run_file, made = shard_run_file(table), shard.statements
    require_source(run_file, made and made.scores, table, digest)
    require_settings(
        run_file, made and made.settings, settings.score.triggers(), "score_sequence_set"
    )
    signature = read_object(table, stored, "signature")
    if signature is None:
        raise InputError(f"{shown_path(table)}: states no signature. Score the shard again.")
    return signature


def _copy_rows(table: Path, writer: TableWriter, counts: SequenceCounts) -> None:
    """Copy the rows of a shard to the table, and count them.

    Raises:
        InputError: The table cannot be read, or a file cannot be written.
    """
    for batch in read_rows(table, writer.schema.names):
        writer.write(batch)
        for name, numbers in (("status", counts.by_status), ("reason", counts.by_reason)):
            numbers.update(_count(decode_texts(batch.column(name))))
        counts.by_flag.update(_count(batch.column("flags").flatten()))
        counts.bases += pc.sum(batch.column("length")).as_py() or 0
        is_scored = pc.equal(decode_texts(batch.column("status")), SCORED)
        counts.predicted += pc.sum(batch.column("predicted").filter(is_scored)).as_py() or 0


def _count(values: pa.Array) -> dict[str, int]:
    """How often each value occurs."""
    return {one["values"]: one["counts"] for one in values.drop_null().value_counts().to_pylist()}
