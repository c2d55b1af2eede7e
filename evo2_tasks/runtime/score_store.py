"""The store in a run: by what it knows a model, which scores are reused, and which are added."""

import errno
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.config.resolve import ModelSettings, ScoreSettings, list_checkpoint
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.table.hits import Hits
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    differing_keys,
    package_version,
    uses_fp8,
)
from evo2_tasks.table.run import canary_tolerance, find_differing_canary
from evo2_tasks.table.store import Store
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models, write_model
from evo2_tasks.table.store_shards import write_new_scores

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

logger = logging.getLogger(__name__)

_NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def state_files(settings: ModelSettings) -> dict[str, tuple[int, int]]:
    """Size in bytes and time of the last change in ns of the files of a model, by their paths.

    Files that are missing are left out.
    """
    states = {}
    for path in list_checkpoint(settings):
        with suppress(OSError):
            found = path.stat()
            states[str(path)] = (found.st_size, found.st_mtime_ns)
    return states


def is_unchanged(settings: ModelSettings, found: Hits) -> bool:
    """Whether the files of a model are those that ``identify`` read; a change is one warning.

    They are read again only if a size or a time differs: a file that replaces another may be older.

    Args:
        settings: The model.
        found: What ``lookup`` found, with what ``identify`` read.

    Raises:
        InputError: A file cannot be read.
    """
    states = state_files(settings)
    if states == found.found.states or make_model_key(settings) == found.model_key:
        return True
    logger.warning(
        "%s: the files of the checkpoint have changed since `identify` has read them, so the model "
        "is opened. If this job has no GPU for it, delete models/%s.identity.json in the folder of "
        "the results, and run again.",
        settings.where,
        settings.name,
    )
    return False


def make_model_key(settings: ModelSettings) -> ModelKey:
    """What the store knows a model by: the digests of its files, and how it is run.

    Raises:
        InputError: A file of the checkpoint cannot be read, or there is none.
    """
    files = [path for path in list_checkpoint(settings) if path != settings.config]
    if not files:
        raise InputError(
            f"{settings.where}: {shown_path(settings.checkpoint)}: has no files of a checkpoint "
            "(.json and .safetensors)."
        )
    digests = {}
    with Progress("identify", total=len(files), unit="files") as progress:
        for path in files:
            digests[path.name] = digest_file(path)
            progress.add(1)
    return ModelKey(
        files=digests,
        model=settings.model,
        config=None if settings.config is None else digest_file(settings.config),
        dtype=settings.dtype,
        fp8=settings.fp8,
        allow_without_fp8=settings.allow_without_fp8,
    )


def choose_record(settings: ModelSettings, records: Sequence[ModelRecord]) -> ModelRecord | None:
    """The record of a model in a store; None if there is none, or if several contradict each other.

    Args:
        settings: The model, for the warning.
        records: The records that the store has of its files.
    """
    distinct = {(record.weights, record.fp8): record for record in records}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if len({weights for weights, _ in distinct}) > 1:
        logger.warning(
            "%s: the store has several digests of the weights of this checkpoint; its scores are "
            "not used. Remove the wrong record in its folder `models`.",
            settings.where,
        )
    elif distinct:
        logger.warning(
            "%s: the store has scores of this model with several FP8 modes (%s); none are used. "
            "Set %s.fp8 to one of them.",
            settings.where,
            ", ".join(sorted(fp8 for _, fp8 in distinct)),
            settings.where,
        )
    return None


def choose_hits(
    found: Hits | None, provenance: Provenance, device: str | None, *, allow_mixed: bool
) -> Hits | None:
    """The scores of the store that may be used next to those of a model.

    Args:
        found: What ``lookup`` found; None without a store.
        provenance: The provenance of the scores of the model.
        device: The kind of device that the model runs on; None if no model is open.
        allow_mixed: Whether scores of other kinds of devices may be used.

    Returns:
        The hits to use; None if no hit can be used, with a warning where there are hits.
    """
    if found is None or not found.found.hits:
        return None
    keys = differing_keys(as_json(found.provenance.signature), as_json(provenance.signature))
    if keys:
        logger.warning(
            "%s: the %s scores of the store are not used: they differ from those of this model in "
            "%s%s",
            shown_path(found.path),
            f"{found.found.hits:,}",
            ", ".join(keys),
            # Without a record of the model, `lookup` can only guess.
            ""
            if found.found.weights is None
            else ". The files of the checkpoint have changed since `identify` has read them",
        )
        return None
    if allow_mixed or device is None:
        return found
    chosen = replace(found, device=device)
    num_chosen, _ = chosen.count()
    if num_chosen < found.found.hits:
        logger.warning(
            "%s: %s of %s scores of the store are not used, because another kind of device than %s "
            "computed them, and run.allow_mixed_devices is false",
            shown_path(found.path),
            f"{found.found.hits - num_chosen:,}",
            f"{found.found.hits:,}",
            shown(device),
        )
    return chosen if num_chosen else None


def store_scores(
    settings: ScoreSettings,
    windows: Path,
    found: Hits,
    used: Hits | None,
    provenance: Provenance,
    model: "ScoringModel",
    out: Path,
    digest: str,
) -> None:
    """Add the new scores of a shard to the store, if the config asks for it.

    A store that cannot be written is one warning: the scores of the run are complete.

    Args:
        settings: The store, and the model.
        windows: The windows of the shard.
        found: What ``lookup`` found.
        used: The hits whose scores the shard has; None if it has none.
        provenance: The provenance of the scores.
        model: The model.
        out: The scores.
        digest: SHA-256 of the scores.
    """
    run = settings.run
    if run.store is None or not run.store_write:
        return
    try:
        store = Store(run.store)
        state_model(store, settings.model, found, model)
        written = write_new_scores(
            store,
            found,
            used,
            windows=windows,
            scores=out,
            digest=digest,
            provenance=provenance,
            device=model.device_class,
        )
    except InputError as error:
        cause = error.__cause__
        is_read_only = isinstance(cause, OSError) and cause.errno in _NO_PERMISSION
        advice = "; to only read the store, set run.store_write: false" if is_read_only else ""
        logger.warning("the new scores are not in the store: %s%s", error, advice)
        return
    logger.info("%s: %s added", shown_path(store.path), counted(written, "allele"))


def state_model(store: Store, settings: ModelSettings, found: Hits, model: "ScoringModel") -> None:
    """Write into the store what weights the files of a checkpoint have, unless it knows that.

    The files may have changed since ``identify`` read them. So they are read again first.

    Args:
        store: The store.
        settings: The model.
        found: States the files that ``identify`` read.
        model: The model.

    Raises:
        InputError: A file cannot be read or has changed, or the store cannot be written.
    """
    loaded = model.loaded
    known = [
        one
        for one in read_models(store.path, found.model_key)
        if (one.weights, one.fp8) == (loaded.weights_digest, loaded.fp8)
    ]
    for one in known:
        require_canaries(settings, one, model)
    if known:
        return
    if make_model_key(settings) != found.model_key:
        raise InputError(
            f"{settings.where}: the files of the checkpoint have changed since `identify` has read "
            f"them. Delete models/{settings.name}.identity.json in the folder of the results, and "
            "run again."
        )
    write_model(
        store.path,
        ModelRecord(
            key=found.model_key,
            weights=loaded.weights_digest,
            fp8=loaded.fp8,
            version=package_version(),
            name=settings.name,
            canaries=model.canaries,
        ),
    )


def require_canaries(settings: ModelSettings, known: ModelRecord, model: "ScoringModel") -> None:
    """Make sure that this device scores fixed alleles as the first device of the store did.

    `merge` compares the devices of a run, but only after the jobs have written to the store.

    Args:
        settings: The model.
        known: The record of the model in the store.
        model: The model on this device.

    Raises:
        InputError: The scores differ, so that one of the devices gives wrong scores.
    """
    expected = known.canaries
    if expected is None or len(expected) != len(model.canaries):
        return
    tolerance = canary_tolerance(dtype=model.loaded.dtype, fp8=uses_fp8({"fp8": model.loaded.fp8}))
    number = find_differing_canary(expected, model.canaries, tolerance)
    if number is not None:
        raise InputError(
            f"{settings.where}: canary {number} has the score {model.canaries[number - 1]} nats on "
            f"{shown(model.device_class)}, and {expected[number - 1]} in the record of the store; "
            f"allowed difference {tolerance:g}. One of the two devices gives wrong scores. Check "
            "the device with: evo2-tasks doctor."
        )
