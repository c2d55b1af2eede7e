"""The step ``merge``: all shards of a scoring as one table."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evo2_tasks.config.objects import as_written
from evo2_tasks.config.resolve import AuditSettings, MergeSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.differences import compare_scores
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import writing
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import (
    AUDIT,
    AUDIT_RUN,
    REFERENCE,
    REUSED,
    hits_file,
    shard_file,
    shard_run_file,
)
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.windows import require_placed
from evo2_tasks.table.annotations import describe_annotations, require_annotations
from evo2_tasks.table.audit import (
    AUDITED_SCORES,
    digest_windows,
    read_audit,
    read_scores_of,
    same_but_horizon,
)
from evo2_tasks.table.documents import Audit, AuditError, AuditWork, RunReference, ShardRun, Split
from evo2_tasks.table.hits import Hits, open_hits
from evo2_tasks.table.joined import JoinedTable, open_joined, written_by
from evo2_tasks.table.merge import ReusedAlleles, merge_shards
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.reference_blocks import read_blocks
from evo2_tasks.table.run import read_shards, require_equal_devices, summarize_run
from evo2_tasks.table.schema import REFERENCE_CONTIG
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
    joined: Sequence[Path] = (),
) -> None:
    """Combine all shards into the table, and write ``run.json`` about the run.

    At the end, the finished parts that the scoring jobs have kept are removed.

    Args:
        settings: The order of the rows, which devices may be mixed, and the settings that the files
            must have been made with.
        split_file: The ``split.json``, which states the numbers of shards and alleles.
        windows_folder: Folder of the files that ``windows`` wrote.
        scores_folder: Folder of the files that ``score`` wrote.
        out: The table. If the scoring has an audit, the table of ``merge_audit`` is next to it.
        run_json: Counts, times, devices and versions; and the observed error of an audit.
        joined: The tables of ``annotate`` and ``carry``; each is needed if the config asks for its
            columns.

    Raises:
        InputError: A shard is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    files.add(split_file)
    split = Split.read(split_file)
    if split.statements is not None:
        require_settings(split_file, split.statements.settings, settings.split.triggers(), "split")
    num_shards = split.shards
    names = [shard_file(shard, num_shards) for shard in range(1, num_shards + 1)]
    lengths = read_contig_lengths(split, split_file, files)
    contig_order = read_contig_order(settings, split, split_file, files)
    chains = [
        (split_file.with_name(name), windows_folder / name, scores_folder / name) for name in names
    ]
    shards = read_chains(settings, split, split_file, chains, files)
    signature = read_provenance(scores_folder / names[0]).signature
    require_equal_devices(
        shards,
        dtype=settings.score.model.dtype,
        fp8=uses_fp8(signature),
        allow_mixed=settings.allow_mixed_devices,
    )
    audited = None
    if settings.audit is not None:
        audited = read_audited(settings.audit, out.with_name(AUDIT), chains, signature, files)
    reused = find_reused(settings, out.with_name(REUSED), chains, shards, files)
    counts, table_digest = merge_shards(
        [windows_folder / name for name in names],
        [scores_folder / name for name in names],
        out,
        expected_alleles=split.alleles,
        joined=read_joined(settings, split, split_file, joined, files),
        contig_order=contig_order,
        files=files,
        reused=reused,
    )
    if reused is None:
        with writing(out):
            out.with_name(REUSED).unlink(missing_ok=True)
    provenance = read_provenance(out)
    summarize_run(
        counts,
        shards,
        split,
        model=provenance.model,
        signature=provenance.signature,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        table_digest=table_digest,
        contigs=keep_contigs(lengths, out),
        reference=describe_reference(settings, split),
        audit=audited,
    ).write(run_json)
    by_status = ", ".join(f"{status} {number:,}" for status, number in counts.by_status.items())
    logger.info("%s: %s: %s", out, counted(counts.alleles, "row"), by_status or "none")
    warn_without_score(out, counts.by_status)
    remove_parts(scores_folder)


def describe_reference(settings: MergeSettings, split: Split) -> RunReference:
    """The reference of the variant set, for ``run.json``."""
    reference = settings.windows.reference
    return RunReference(
        name=reference.name,
        digest=split.reference.digest,
        fasta=as_written(reference.fasta),
        circular_contigs=reference.circular_contigs,
    )


def find_reused(
    settings: MergeSettings,
    target: Path,
    chains: Sequence[tuple[Path, Path, Path]],
    shards: Sequence[ShardRun],
    files: SourceFiles,
) -> ReusedAlleles | None:
    """The hits of the scores that are from a store; None if no store was used.

    Args:
        settings: The store, if the config has one.
        target: The table to list the alleles in.
        chains: Each shard, its windows and its scores.
        shards: What the scoring jobs state, in the same order.
        files: Has the windows and the scores, and gets the hits.

    Raises:
        InputError: The hits of a shard are missing, or are others than those of its scores.
    """
    if settings.score.run.store is None and all(shard.reused is None for shard in shards):
        return None
    found: dict[Path, Hits] = {}
    for (_, windows, scores), shard in zip(chains, shards, strict=True):
        made, path = shard.statements, hits_file(scores)
        if made is None or made.hits is None:
            continue
        run_file = shard_run_file(scores)
        if not path.exists():
            raise InputError(
                f"{shown_path(path)}: is missing. It lists which of {shown_path(scores)} are "
                f"scores of the store. Delete {shown_path(run_file)}, so that the shard is scored "
                "again."
            )
        hits = open_hits(path, windows, files.digest(windows), files)
        require_source(run_file, made.hits, path, hits.digest)
        found[scores] = replace(hits, device=made.hits_device)
    return ReusedAlleles(target, found)


def read_contig_lengths(
    split: Split, split_file: Path, files: SourceFiles
) -> dict[str, int] | None:
    """Length of each contig of the reference, in its order; None if an earlier version split.

    Raises:
        InputError: The file that states them is missing or of another split.
    """
    if split.statements is None:
        return None
    blocks_file = split_file.with_name(REFERENCE)
    require_source(split_file, split.statements.blocks, blocks_file, files.add(blocks_file))
    return {block.reference_contig: block.end for block in read_blocks(blocks_file)}


def keep_contigs(lengths: Mapping[str, int] | None, table: Path) -> dict[str, int] | None:
    """The lengths of the contigs that a table has."""
    if lengths is None:
        return None
    present = {*distinct_values(table, REFERENCE_CONTIG.name)}
    return {contig: length for contig, length in lengths.items() if contig in present}


def read_contig_order(
    settings: MergeSettings, split: Split, split_file: Path, files: SourceFiles
) -> Sequence[str] | None:
    """The contigs in the order of the reference, if the rows are sorted by position.

    Raises:
        InputError: The reference has other contigs than when ``split`` read it.
    """
    if settings.sort_by_position is None:
        return None
    reference = open_reference(settings.sort_by_position)
    if split.statements is not None:
        blocks_file = split_file.with_name(REFERENCE)
        require_source(split_file, split.statements.blocks, blocks_file, files.add(blocks_file))
        reference.require_same(read_blocks(blocks_file))
    return list(reference.contigs)


def read_joined(
    settings: MergeSettings,
    split: Split,
    split_file: Path,
    paths: Sequence[Path],
    files: SourceFiles,
) -> list[JoinedTable]:
    """The tables of ``annotate`` and ``carry``, those of which the config asks for.

    Args:
        settings: The settings that the tables must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``.
        paths: The tables, in any order.
        files: Gets the tables.

    Returns:
        The tables in the order of their columns.

    Raises:
        InputError: A table is missing, is named twice, or does not fit the config and the shards.
    """
    by_step: dict[str, Path] = {}
    for path in paths:
        files.add(path)
        step = written_by(path)
        if step in by_step:
            raise InputError(f"merge: two files of `{step}` are named. Name one.")
        by_step[step] = path
    asked = {
        "annotate": (settings.annotate.columns, settings.annotate.triggers()),
        "carry": (settings.carry.carried, settings.carry.triggers()),
    }
    tables = []
    for step, (names, triggers) in asked.items():
        if step in by_step:
            path = by_step[step]
            stated = describe_annotations(path) if step == "annotate" else {}
            tables.append(open_joined(path, step, names, split.variants_digest, triggers, stated))
        elif names:
            raise InputError(
                f"merge: the config asks for {shown(', '.join(names), 400)}. Name the file that "
                f"`{step}` wrote."
            )
    if "annotate" in by_step:
        require_reference(settings, split, split_file, by_step["annotate"], files)
    return tables


def require_reference(
    settings: MergeSettings, split: Split, split_file: Path, annotations: Path, files: SourceFiles
) -> None:
    """Make sure that annotations were made from the reference of the shards and from these genes.

    Raises:
        InputError: They were made from others.
    """
    gff = settings.annotate.gff
    stated = {"gff": None if gff is None else files.add(gff)}
    blocks = None
    if split.statements is not None:
        stated["assembly_report"] = split.statements.assembly_report
        blocks_file = split_file.with_name(REFERENCE)
        require_source(split_file, split.statements.blocks, blocks_file, files.add(blocks_file))
        blocks = read_blocks(blocks_file)
    require_annotations(annotations, stated, blocks)


def read_audited(
    settings: AuditSettings,
    table: Path,
    chains: Sequence[tuple[Path, Path, Path]],
    signature: Mapping[str, Any],
    files: SourceFiles,
) -> Audit:
    """Compare the scores of the audited alleles with those of their whole windows.

    Args:
        settings: What the table of the audit must have been made with.
        table: The table of the audit.
        chains: Each shard, its windows and its scores.
        signature: The signature of the scores.
        files: Has the windows and the scores, and gets the table of the audit.

    Raises:
        InputError: The table is missing, or was made from other windows, with other settings or by
            another model.
    """
    digest = files.add(table)
    work_file = table.with_name(AUDIT_RUN)
    files.add(work_file)
    work, stated = AuditWork.read(work_file), read_provenance(table)
    require_source(work_file, work.table_digest, table, digest)
    require_settings(table, stated.settings, settings.triggers(), "merge_audit")
    windows = digest_windows(files.digest(path) for _, path, _ in chains)
    require_source(
        table, (stated.inputs or {}).get("windows"), "the windows of all shards", windows
    )
    scores = chains[0][2]
    require_same_signature(table, stated.signature, scores, same_but_horizon(signature))
    exact = read_audit(table)
    found = read_scores_of([path for _, _, path in chains], exact.keys())
    errors = {}
    for name in AUDITED_SCORES:
        pairs = [(found.get(key, {}).get(name), values[name]) for key, values in exact.items()]
        both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        differences = compare_scores(both[:, 0], both[:, 1])
        if differences is not None:
            errors[name] = AuditError(**asdict(differences))
    return Audit(
        share=settings.share,
        alleles=len(exact),
        errors=errors,
        **work.as_json(),
    )


def read_chains(
    settings: MergeSettings,
    split: Split,
    split_file: Path,
    chains: Sequence[tuple[Path, Path, Path]],
    files: SourceFiles,
) -> list[ShardRun]:
    """Read what the scoring jobs state, and make sure that the files of each shard fit together.

    Args:
        settings: The settings that the files must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``, for messages.
        chains: Each shard, its windows and its scores.
        files: Gets all files.

    Raises:
        InputError: A file is missing, or see :func:`require_chain`.
    """
    run_files = [shard_run_file(scores) for _, _, scores in chains]
    for run_file in run_files:
        files.add(run_file)
    shards = read_shards(run_files)
    for paths, shard in zip(chains, shards, strict=True):
        require_chain(settings, split, split_file, paths, shard, files)
    return shards


def require_chain(
    settings: MergeSettings,
    split: Split,
    split_file: Path,
    paths: tuple[Path, Path, Path],
    shard: ShardRun,
    files: SourceFiles,
) -> None:
    """Make sure that the files of a shard were made from each other, and with these settings.

    Files of an earlier version lack some statements; these are not compared.

    Args:
        settings: The settings that the files must have been made with.
        split: Content of ``split.json``.
        split_file: The ``split.json``, for messages.
        paths: The shard, its windows and its scores.
        shard: Content of the JSON file next to the scores.
        files: Gets the files of the shard.

    Raises:
        InputError: A file was made from another version of its source, or with other settings.
    """
    shard_path, windows_path, scores_path = paths
    shard_digest = files.add(shard_path)
    if split.statements is not None:
        stated = split.statements.shards.get(shard_path.name)
        require_source(split_file, stated, shard_path, shard_digest)
    windows_digest = files.add(windows_path)
    placed = require_placed(settings.windows, split, windows_path, shard_path, shard_digest)
    scores_digest = files.add(scores_path)
    require_source(scores_path, read_provenance(scores_path).source, windows_path, windows_digest)
    # An earlier version wrote windows without settings, and its scores belong to such windows only.
    if placed.settings is not None or shard.statements is not None:
        run_path = shard_run_file(scores_path)
        made = shard.statements
        require_source(run_path, made and made.scores, scores_path, scores_digest)
        require_settings(run_path, made and made.settings, settings.score.triggers(), "score")
