"""The command ``convert``: a published checkpoint to a folder, or back."""

import logging
from pathlib import Path

import torch  # noqa: F401 - before transformers, which warns on stderr where torch is missing

from evo2_tasks.config.resolve import find_checkpoint
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import (
    convert_published,
    export_published,
    find_published_config,
)
from evo2_tasks.hub import explain_checkpoint

logger = logging.getLogger(__name__)


def convert(source: Path, out: Path, *, model: str | None, config: Path | None) -> None:
    """Convert a published checkpoint to a folder for ``from_pretrained``, or the folder back.

    Args:
        source: A published file, or a folder, or the name of one: of a model that comes with the
            package, or of one on a hub that `fetch` has downloaded.
        out: The folder, or a file that ends in ``.pt``.
        model: Release that the published file is; None finds it by name and shapes.
        config: Published ``.yml`` description of a file that is no release. Default: for a file
            without the name of a release, the ``.yml`` next to it, which this command writes.

    Raises:
        InputError: The source cannot be read or is no such checkpoint.
    """
    found = find_checkpoint(source)
    try:
        if found.is_dir():
            if out.suffix != ".pt":
                raise InputError(
                    f"convert: {source} is already a folder for from_pretrained ({found}). To "
                    f"convert it to a published file, name a file that ends in .pt, not {out}."
                )
            export_published(found, out)
        else:
            if model is None and config is None:
                config = find_published_config(found)
                if config is not None:
                    logger.info("%s: its config is %s", found, config)
            convert_published(found, out, model=model, config=config)
    except (ValueError, OSError) as error:
        hint = None if found.exists() else explain_checkpoint(source)
        raise InputError(f"convert: {error}" + (f" {hint}." if hint else "")) from error
    logger.info("%s: converted from %s", out, found)
