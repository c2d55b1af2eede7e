"""The step ``identify``: by which files the store knows a model. It does not open the model."""

import logging
from collections.abc import Sequence
from pathlib import Path

from evo2_tasks.config.resolve import IdentifySettings, ModelSettings, list_checkpoint
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.identities import Identity
from evo2_tasks.table.provenance import as_json
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models

logger = logging.getLogger(__name__)


def identify(settings: IdentifySettings, *, out: Path) -> None:
    """Compute the digests of the files of a model, and state what the store knows of the model.

    Args:
        settings: The model and the store.
        out: The JSON file to write.

    Raises:
        InputError: A file of the checkpoint or the store cannot be read.
    """
    key = make_model_key(settings.model)
    known = None
    if settings.store is not None:
        known = choose_record(settings.model, read_models(settings.store, key))
    Identity(
        key=key,
        weights=None if known is None else known.weights,
        fp8=None if known is None else known.fp8,
        settings=as_json(settings.triggers()),
    ).write(out)


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
