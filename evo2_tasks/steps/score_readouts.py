"""The step ``score_readouts``: the scores of a shard, and what else the model is asked for.

It takes the place of ``score`` for a scoring with read-outs. Finished scores of a shard are kept,
so that a read-out can be added to a finished run.
"""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.config.resolve import ReadOutSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import writing
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.layout import AUDIT, segments_file, shard_run_file
from evo2_tasks.steps.score import (
    PlacedWindows,
    find_hits,
    make_provenance,
    open_windows,
    start_job,
    write_scores,
)
from evo2_tasks.table.documents import ShardRun
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import as_json, read_provenance, require_source

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

logger = logging.getLogger(__name__)


def score_readouts(
    settings: ReadOutSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    readouts: Path,
    audited: Path | None,
    threads: int | None,
    hits: Path | None = None,
) -> None:
    """Score a shard like ``score``, and make its read-outs.

    Scores that an earlier job has finished from the same windows, with the same model and the same
    settings, are kept as they are. Finished parts are kept like those of ``score``.

    Args:
        settings: The model, the windows, how the work is done, and the read-outs.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows, from ``windows``.
        out: The scores, as ``score`` writes them, with the JSON file next to them.
        readouts: Folder to write: a file for each read-out, with a JSON file next to it.
        audited: Folder of the files that ``audit`` wrote; None without an audit.
        threads: CPU threads of the model; None leaves the choice to torch.
        hits: Scores of the store, from ``lookup``. None with a store: those next to the folder of
            the scores (``hits_file``), if ``lookup`` has written them. The read-outs do not use
            them.

    Raises:
        InputError: A file cannot be read, the files do not belong together or to these settings, or
            the model cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    placed = open_windows(settings.score, windows_file, segments_file)
    found = find_hits(placed, out, hits)
    whole = open_audited(settings, placed, audited)
    with Interruption() as interruption:
        job = start_job(settings.score, threads, interruption, started=started, found=None)
        if job.model is not None and has_scores(placed, job.model, out):
            logger.info("%s: finished by an earlier job; kept", out)
        else:
            remove_scores(out)
            write_scores(job, placed, out, parts=parts_folder(out), found=found)
        if whole is not None:
            write_scores(job, whole, readouts / AUDIT, parts=parts_folder(out, "audit"))


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
