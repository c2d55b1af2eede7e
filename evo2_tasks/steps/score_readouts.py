"""The step ``score_readouts``: the scores of a shard, and what else the model is asked for.

It takes the place of ``score`` for a scoring with read-outs: an audit, embeddings, profiles.
Finished scores and finished read-outs of a shard are kept, so that a read-out can be added to a
finished run.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.config.resolve import ReadOutSettings
from evo2_tasks.cost.embeddings import layer_width, name_layers
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import writing
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import READOUTS_RUN, readout_parts, segments_file, shard_run_file
from evo2_tasks.scoring.windows import slice_parts
from evo2_tasks.steps.score import (
    PlacedWindows,
    ScoringJob,
    find_hits,
    load_scoring_jobs,
    make_provenance,
    open_windows,
    read_part,
    start_job,
    write_scores,
)
from evo2_tasks.table.documents import ReadoutsRun, ReadoutStatements, ShardRun
from evo2_tasks.table.hits import Hits
from evo2_tasks.table.pairs import count_tokens, digest_pairs, read_pairs
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import Provenance, as_json, read_provenance, require_source
from evo2_tasks.table.readout_parts import (
    PassReadouts,
    ReadoutParts,
    finished_file,
    is_finished,
    kept_audit,
    publish,
    remove_others,
)
from evo2_tasks.table.segments import Segments
from evo2_tasks.table.shard_readouts import LayerFile, ProfileFile, ReadoutFile, write_shard

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

logger = logging.getLogger(__name__)


def score_readouts(
    settings: ReadOutSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    out: Path | None,
    readouts: Path,
    audited: Path | None,
    threads: int | None,
    scores: Path | None = None,
    hits: Path | None = None,
) -> None:
    """Score a shard like ``score``, and make its read-outs.

    Scores that an earlier job has finished from the same windows, with the same model and the same
    settings, are kept as they are; so are read-outs. Finished parts are kept like those of
    ``score``.

    Args:
        settings: The model, the windows, how the work is done, and the read-outs.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows, from ``windows``.
        out: The scores, as ``score`` writes them, with the JSON file next to them.
        readouts: Folder to write: a file for each read-out, and JSON files.
        audited: Folder of the files that ``audit`` wrote; None without an audit.
        threads: CPU threads of the model; None leaves the choice to torch.
        scores: In the place of ``out``: finished scores, which are not written.
        hits: Scores of the store, from ``lookup``. None with a store: those next to the folder of
            the scores (``hits_file``), if ``lookup`` has written them. The read-outs do not use
            them.

    Raises:
        InputError: A file cannot be read, the files do not belong together or to these settings, or
            the model cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    if (out is None) == (scores is None):
        raise InputError("score-readouts: name the scores, by either --out or --scores.")
    started = time.monotonic()
    settings = name_layers(settings)
    placed = open_windows(settings.score, windows_file, segments_file)
    found = None if out is None else find_hits(placed, out, hits)
    whole = open_audited(settings, placed, audited)
    files = list_files(settings)
    with Interruption() as interruption:
        job = start_job(settings.score, threads, interruption, started=started, found=None)
        shard = start_readouts(job, placed, files, readouts)
        if scores is not None:
            require_scores(placed, job, scores)
        elif out is not None and job.model is not None:
            write_missing_scores(job, placed, out, found, shard)
        if shard.passes is not None:
            read_out(job, placed, shard.passes)
            write_files(placed, shard)
        if whole is not None and job.model is not None:
            write_audit(job.model, job, whole, shard, out or scores or readouts)
        if files:
            state_readouts(job, settings, shard, files)


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """Where the read-outs of a shard are, and which of them are missing.

    Attributes:
        folder: The folder to write.
        parts: The folder of the parts, and of the finished files.
        provenance: The provenance of the scores and read-outs of the shard.
        passes: The read-outs to make; None without embeddings and profiles.
    """

    folder: Path
    parts: Path
    provenance: Provenance
    passes: PassReadouts | None


def list_files(settings: ReadOutSettings) -> list[ReadoutFile]:
    """The files of the embeddings and the profiles of a shard.

    Args:
        settings: The read-outs, with the published names of the layers.

    Raises:
        InputError: The shape of the model cannot be read.
    """
    files: list[ReadoutFile] = []
    asked = settings.embeddings
    if asked is not None:
        files += [
            LayerFile(
                layer,
                layer_width(layer, settings.score.model),
                asked.tokens,
                asked.keep_strands,
            )
            for layer in asked.layers
        ]
    if settings.profile is not None:
        files.append(ProfileFile(settings.profile))
    return files


def start_readouts(
    job: ScoringJob, placed: PlacedWindows, files: list[ReadoutFile], folder: Path
) -> ShardFiles:
    """Find out which read-outs of a shard are missing, and remove those that are stale.

    Args:
        job: The job, with the model.
        placed: The windows.
        files: The files that are asked for.
        folder: The folder to write.
    """
    if job.model is None:
        raise ValueError("read-outs need the model")
    parts, provenance = readout_parts(folder), make_provenance(placed, job.model)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / READOUTS_RUN).unlink(missing_ok=True)
    remove_others(parts, files)
    missing = []
    for one in files:
        if is_finished(parts, one, provenance):
            logger.info("%s: finished by an earlier job; kept", finished_file(parts, one))
        else:
            missing.append(one)
    devices = job.model.loaded.devices
    key = load_scoring_jobs().part_key(placed.settings, provenance.signature, devices)
    stores = [ReadoutParts(parts, one, placed.source, key) for one in missing]
    for store in stores:
        store.remove_stale()
    return ShardFiles(folder, parts, provenance, PassReadouts(files, stores) if files else None)


def write_missing_scores(
    job: ScoringJob, placed: PlacedWindows, out: Path, found: Hits | None, shard: ShardFiles
) -> None:
    """Score the shard, unless an earlier job has; the missing read-outs are from the same passes.

    Args:
        job: The job.
        placed: The windows.
        out: The scores.
        found: What the store has, if it is asked.
        shard: The read-outs.
    """
    if job.model is not None and has_scores(placed, job.model, out):
        logger.info("%s: finished by an earlier job; kept", out)
        return
    remove_scores(out)
    write_scores(job, placed, out, parts=parts_folder(out), found=found, readouts=shard.passes)


def require_scores(placed: PlacedWindows, job: ScoringJob, scores: Path) -> None:
    """Make sure that scores are finished, so that read-outs are of the same windows and model.

    Raises:
        InputError: They are not.
    """
    if job.model is None or not has_scores(placed, job.model, scores):
        raise InputError(
            f"{shown_path(scores)}: is not finished, or is of other windows, another model or "
            "other settings. Score the shard again with `evo2-tasks score`, or name the file by "
            "--out instead of --scores."
        )


def read_out(job: ScoringJob, placed: PlacedWindows, readouts: PassReadouts) -> None:
    """Run the parts of a shard that lack a read-out. The passes for the scores may have made all.

    Args:
        job: The job.
        placed: The windows.
        readouts: The read-outs.

    Raises:
        InputError: A file cannot be read or written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    if readouts.digests or not readouts.stores:
        return
    if job.model is None:
        raise ValueError("read-outs need the model")
    run, scoring = placed.settings.run, placed.settings.scoring
    scorer = load_scoring_jobs().PartScorer(job.model.loaded, placed.settings, job.interruption)
    pairs = read_pairs(placed.file, Segments(placed.segments_file), STRANDS[scoring.strands])
    with Progress("read out", total=count_tokens(placed.file), unit="tokens") as progress:
        parts = slice_parts(pairs, run.part_tokens, readouts.most_pairs)
        for number, part in enumerate(parts):
            missing = readouts.find_missing(number, digest_pairs(part), len(part))
            tokens = sum(2 * pair.length for pair in part)
            if missing:
                read_part(part, number, scorer, readouts, missing, progress)
                progress.add(tokens - readouts.usage[-len(missing)].tokens_run)
            else:
                progress.skip(tokens)
            job.interruption.check()


def write_files(placed: PlacedWindows, shard: ShardFiles) -> None:
    """Write the finished files of a shard from their parts, and remove the parts.

    Raises:
        InputError: A file cannot be read or written.
    """
    if shard.passes is None:
        return
    strands = STRANDS[placed.settings.scoring.strands]
    for store in shard.passes.stores:
        one = store.file
        made = Provenance(
            shard.provenance.signature,
            shard.provenance.version,
            model=shard.provenance.model,
            source=shard.provenance.source,
            settings=as_json(one.settings),
        )
        target = finished_file(shard.parts, one)
        with write_table(target, one.schema, metadata=made.metadata()) as writer:
            write_shard(one, placed.file, store.read(shard.passes.digests), strands, writer)
            placed.files.require_unchanged()
    for store in shard.passes.stores:
        store.remove()


def write_audit(
    model: "ScoringModel", job: ScoringJob, whole: PlacedWindows, shard: ShardFiles, scores: Path
) -> None:
    """Score the whole windows of the audited alleles, unless an earlier job has.

    Args:
        model: The model.
        job: The job.
        whole: The windows.
        shard: The read-outs.
        scores: The scores of the shard, next to which the parts are.
    """
    kept = kept_audit(shard.parts)
    if has_scores(whole, model, kept):
        logger.info("%s: finished by an earlier job; kept", kept)
    else:
        write_scores(job, whole, kept, parts=parts_folder(scores, "audit"))
    for path in (kept, shard_run_file(kept)):
        publish(path, shard.folder / path.name)


def state_readouts(
    job: ScoringJob, settings: ReadOutSettings, shard: ShardFiles, files: list[ReadoutFile]
) -> None:
    """Put the finished files into the folder, and state what they are.

    Args:
        job: The job.
        settings: The settings of the read-outs.
        shard: The read-outs.
        files: The files.

    Raises:
        InputError: A file cannot be read or written.
    """
    if job.model is None:
        raise ValueError("read-outs need the model")
    digests = {}
    for one in files:
        source = finished_file(shard.parts, one)
        publish(source, shard.folder / one.file)
        digests[one.file] = digest_file(source)
    usage = [] if shard.passes is None else shard.passes.usage
    ReadoutsRun(
        alleles_tried=sum(part.alleles_tried for part in usage),
        tokens=sum(part.tokens for part in usage),
        windows_run=sum(part.windows_run for part in usage),
        tokens_run=sum(part.tokens_run for part in usage),
        wall_s=sum(part.wall_s for part in usage),
        canaries=job.model.canaries,
        verification=job.model.verification,
        **job.model.describe_machine(),
        made=ReadoutStatements(settings=as_json(settings.triggers()), files=digests),
    ).write(shard.folder / READOUTS_RUN)
    logger.info("%s: %s", shown_path(shard.folder), counted(len(files), "read-out"))


def open_audited(
    settings: ReadOutSettings, placed: PlacedWindows, audited: Path | None
) -> PlacedWindows | None:
    """Open the whole windows of the audited alleles of a shard, if the config asks for them.

    Raises:
        InputError: They are not named, cannot be read, or belong to other windows or settings.
    """
    if "audit" not in settings.readouts:
        return None
    if audited is None:
        raise InputError(
            f"score_readouts: scorings.{settings.score.name} has an audit. Name the folder that "
            "`audit` wrote."
        )
    path = audited / placed.file.name
    whole = open_windows(settings.score.without_horizon(), path, segments_file(path))
    require_source(path, read_provenance(path).source, placed.file, placed.source)
    return whole


def has_scores(placed: PlacedWindows, model: "ScoringModel", out: Path) -> bool:
    """Whether the scores of a shard are finished: from these windows, by this model as it is set.

    Args:
        placed: The windows.
        model: The model.
        out: The scores.
    """
    if not (out.exists() and shard_run_file(out).exists()):
        return False
    settings = placed.settings
    expected = make_provenance(placed, model)
    try:
        found, stated = read_provenance(out), ShardRun.read(shard_run_file(out)).statements
    except InputError as error:
        logger.warning("the shard is scored again: %s", error)
        return False
    return (
        stated is not None
        and stated.scores == digest_file(out)
        and dict(stated.settings) == as_json(settings.triggers())
        and found.source == expected.source
        and dict(found.signature) == as_json(expected.signature)
    )


def remove_scores(out: Path) -> None:
    """Remove scores that the job is going to replace, so that nothing takes them for its own."""
    for path in (shard_run_file(out), out):
        with writing(path):
            path.unlink(missing_ok=True)
