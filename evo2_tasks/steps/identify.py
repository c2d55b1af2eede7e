"""The step ``identify``: by which files the store knows a model. It does not open the model."""

import logging
from pathlib import Path

from evo2_tasks.config.resolve import IdentifySettings
from evo2_tasks.runtime.score_store import choose_record, make_model_key, state_files
from evo2_tasks.table.identities import Identity
from evo2_tasks.table.provenance import as_json
from evo2_tasks.table.store_models import read_models

logger = logging.getLogger(__name__)


def identify(settings: IdentifySettings, *, out: Path) -> None:
    """Compute the digests of the files of a model, and state what the store knows of the model.

    Args:
        settings: The model and the store.
        out: The JSON file to write.

    Raises:
        InputError: A file of the checkpoint or the store cannot be read.
    """
    states = state_files(settings.model)
    key = make_model_key(settings.model)
    known = None
    if settings.store is not None:
        known = choose_record(settings.model, read_models(settings.store, key))
    Identity(
        key=key,
        weights=None if known is None else known.weights,
        fp8=None if known is None else known.fp8,
        states=states,
        settings=as_json(settings.triggers()),
    ).write(out)
