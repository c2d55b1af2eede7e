"""GPUs that the jobs of one machine divide among themselves.

A scheduler such as SLURM gives each job GPUs of its own. Without one, all jobs see all GPUs, and
each would take the first. So a job locks a file for each GPU that it takes; the lock ends with the
process, however it ends.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from evo2_tasks.io.private_folders import open_lock, open_private_folder
from evo2_tasks.io.words import first_line, shown_path

logger = logging.getLogger(__name__)

_held: dict[str, IO[bytes]] = {}
"""The locked files of this process by the identity of the GPU: open, so that the locks last."""


def claim_devices(
    where: str, visible: Sequence[torch.device], number: int, *, folder: Path | None = None
) -> list[torch.device]:
    """Take GPUs that no other job of this user has taken; they are taken until the process ends.

    If too few are free, the job shares the first ones, as jobs do to which a scheduler has given
    the same GPU.

    Args:
        where: What names the model, for messages.
        visible: The GPUs that this process sees.
        number: How many to take, at most as many as are visible.
        folder: Folder of the locks. Default: a folder of the user on the machine's own disk.

    Returns:
        The GPUs, in the order of `visible`.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"evo2-tasks-{os.getuid()}-gpus"
    try:
        with (
            open_private_folder(folder) as opened,
            open_lock("claims.lock", folder=opened) as turn,
        ):
            fcntl.flock(turn, fcntl.LOCK_EX)  # one job at a time takes GPUs
            claims = _claim_free(visible, number, opened)
    except OSError as error:
        logger.warning(
            "%s: GPUs cannot be claimed: %s: %s", where, shown_path(folder), first_line(error)
        )
        return list(visible[:number])
    if len(claims) < number:
        for _, identity, lock in claims:
            if identity not in _held:
                lock.close()
        logger.warning(
            "%s: %d of %d GPUs are free, and the model needs %d: it shares the first ones with "
            "other jobs. Lower `gpu` under `resources` in the profile.",
            where,
            len(claims),
            len(visible),
            number,
        )
        return list(visible[:number])
    for device, identity, lock in claims:
        _held[identity] = lock
        logger.info("%s: takes GPU %s of %d", where, device.index, len(visible))
    return [device for device, _, _ in claims]


def _claim_free(
    visible: Sequence[torch.device], number: int, folder: int
) -> list[tuple[torch.device, str, IO[bytes]]]:
    """The first free GPUs, each with its identity and its locked file; fewer if fewer are free."""
    claims: list[tuple[torch.device, str, IO[bytes]]] = []
    for device in visible:
        if len(claims) == number:
            break
        identity = identify(device)
        lock = _held.get(identity) or open_lock(f"{identity}.lock", folder=folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            claims.append((device, identity, lock))
    return claims


def identify(device: torch.device) -> str:
    """A name of a GPU that is the same in all processes, whichever GPUs they see."""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return f"{device.type}-{device.index}"
