"""The step ``identify``: the digests of a checkpoint's files, by which a store knows the model."""

from pathlib import Path

from evo2_tasks.config.resolve import IdentifySettings
from evo2_tasks.errors import InputError


def identify(settings: IdentifySettings, *, out: Path) -> None:
    """Compute the digests of the files of a checkpoint, without torch.

    Args:
        settings: The model and the store.
        out: A JSON file to write: the key of the model's record in the store, and what the store
            knows of the model, or null.

    Raises:
        InputError: A file of the checkpoint cannot be read.
    """
    raise InputError(f"{out}: identify is not written yet.")
