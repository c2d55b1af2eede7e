"""Open a model: its devices, its checkpoint, and the comparison with published values."""

import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.config.resolve import ModelSettings, checkpoint_files
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.checkpoints import (
    load_model,
    read_release,
    weights_digest,
)
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.hub import explain_checkpoint, parse_hub_name
from evo2_tasks.runtime.devices import (
    describe_devices,
    device_class,
    driver_version,
    find_devices,
)
from evo2_tasks.runtime.node_copies import copied_to_node
from evo2_tasks.table.provenance import FP8_OFF, FP8_OFF_ALLOWED
from evo2_tasks.verification.comparison import verify_once
from evo2_tasks.verification.expected import Arithmetic

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, and what its tables state about it.

    Attributes:
        model: The model, in eval mode, on its devices.
        devices: Its devices, in the order of its layers.
        dtype: Data type of its weights.
        fp8: How its input projections are computed, one of `FP8_VALUES`.
        weights_digest: SHA-256 of its tensors as they were loaded.
        load_s: Seconds that loading took.
    """

    model: Evo2ForCausalLM
    devices: list[torch.device]
    dtype: str
    fp8: str
    weights_digest: str
    load_s: float


def open_model(settings: ModelSettings, cache: Path | None) -> LoadedModel:
    """Load a model on the devices that its settings ask for.

    Args:
        settings: The checkpoint and how to run it.
        cache: Folder on the node's own disk to copy the checkpoint to first; None for no copy.

    Raises:
        InputError: There are fewer devices, the checkpoint cannot be read, or it needs FP8 and the
            settings turn it off.
    """
    started = time.monotonic()
    devices = find_devices(settings.where, settings.gpus)
    if settings.gpus == 0:
        keep_freed_memory()
    try:
        with local_checkpoint(settings, cache) as checkpoint:
            model = load_model(
                checkpoint,
                dtype=getattr(torch, settings.dtype),
                devices=devices,
                model=settings.model,
                config=settings.config,
                fp8=settings.fp8,
                allow_without_fp8=settings.allow_without_fp8,
            )
    except ValueError as error:
        hint = None if settings.checkpoint.exists() else explain_checkpoint(settings.written)
        raise InputError(f"{settings.where}: {error}" + (f" {hint}." if hint else "")) from error
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{settings.where}: the weights do not fit into the memory of "
            f"{describe_devices(devices)}."
        ) from error
    fp8 = str(model.config.fp8)
    if fp8 == FP8_OFF and settings.allow_without_fp8:
        fp8 = FP8_OFF_ALLOWED
    digest = weights_digest(model)
    load_s = time.monotonic() - started
    logger.info(
        "%s: %s parameters in %s, fp8 %s, on %s of %s, loaded in %.1f s; torch %s, driver %s",
        settings.where,
        f"{model.num_parameters():,}",
        settings.dtype,
        fp8,
        describe_devices(devices),
        platform.node(),
        load_s,
        torch.__version__,
        driver_version() or "none",
    )
    return LoadedModel(model, devices, settings.dtype, fp8, digest, load_s)


def verify_model(settings: ModelSettings, loaded: LoadedModel) -> dict[str, Any]:
    """Make sure, once for each kind of device, that a published model gives its published values.

    Args:
        settings: The checkpoint and how to run it.
        loaded: The model.

    Returns:
        The result; see `verify_once`.

    Raises:
        InputError: It does not, and ``allow_without_fp8`` is not set; or it is not known which
            model it is, because a file of the checkpoint cannot be read.
    """
    model, checkpoint = loaded.model, settings.checkpoint
    try:
        release = read_release(checkpoint, model=settings.model, config=settings.config)
    except ValueError as error:
        raise InputError(f"{settings.where}: {error}") from error
    verification, complaint = verify_once(
        model,
        Arithmetic(loaded.dtype, model.config.fp8, device_class(loaded.devices)),
        checkpoint=checkpoint,
        release=release,
        weights_digest=loaded.weights_digest,
    )
    if complaint is not None:
        if not settings.allow_without_fp8:
            raise InputError(f"{settings.where}: {settings.written}: {complaint}")
        logger.warning("%s: %s", settings.where, complaint)
    reason = f" ({verification['reason']})" if "reason" in verification else ""
    logger.info(
        "%s: comparison with published values: %s%s", settings.name, verification["status"], reason
    )
    return verification


@contextmanager
def local_checkpoint(settings: ModelSettings, cache: Path | None) -> Iterator[Path]:
    """The place to load a checkpoint from: a copy on this node if the run asks for one."""
    path = settings.checkpoint
    if parse_hub_name(settings.written) is not None and not path.exists():
        raise ValueError(
            f"{settings.written} is not in {path}. Run `evo2-tasks fetch`, and set HF_HOME to the "
            "same folder for all jobs."
        )
    files = checkpoint_files(settings)
    if cache is None or not files or not all(file.is_file() for file in files):
        yield path
        return
    with copied_to_node(files, cache) as folder:
        copy = folder if path.is_dir() else folder / path.name
        try:
            yield copy
        except ValueError as error:  # a fault of the source, because the copy has the same content
            raise ValueError(str(error).replace(str(copy), str(path))) from error
