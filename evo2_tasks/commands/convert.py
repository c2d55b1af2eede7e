"""The command ``convert``: a published checkpoint to a folder, or back."""

import logging
from pathlib import Path

import torch  # noqa: F401 - before transformers, which warns on stderr where torch is missing

from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import (
    convert_published,
    export_published,
)

logger = logging.getLogger(__name__)


def convert(source: Path, out: Path, *, model: str | None, config: Path | None) -> None:
    """Convert a published checkpoint to a folder for ``from_pretrained``, or the folder back.

    Args:
        source: A published file, or a folder.
        out: The folder, or a file that ends in ``.pt``.
        model: Release that the published file is; None finds it by name and shapes.
        config: Published ``.yml`` description of a file that is no release.

    Raises:
        InputError: The source cannot be read or is no such checkpoint.
    """
    try:
        if source.is_dir():
            export_published(source, out)
        else:
            convert_published(source, out, model=model, config=config)
    except (ValueError, OSError) as error:
        raise InputError(f"convert: {error}") from error
    logger.info("%s: converted from %s", out, source)
