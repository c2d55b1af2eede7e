"""The devices that a model runs on, and their description in a table."""

import os
import platform
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from evo2_tasks.errors import InputError
from evo2_tasks.runtime.claims import claim_devices
from evo2_tasks.runtime.processes import describe_process

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def find_devices(where: str, gpus: int) -> list[torch.device]:
    """The devices for a model's ``gpus``: those that no other job on this machine has taken.

    Args:
        where: What names the model, for messages: ``models.NAME``, or a command.
        gpus: Number of GPUs; 0 for the CPU.

    Raises:
        InputError: There are fewer GPUs.
    """
    if gpus == 0:
        return [torch.device("cpu")]
    device = torch.accelerator.current_accelerator(check_available=True)
    found = 0 if device is None else torch.accelerator.device_count()
    if device is None or found < gpus:
        in_config = where.startswith("models.")
        asked = f"{where}.gpus: {gpus}" if in_config else f"{where}: --gpus {gpus}"
        raise InputError(
            f"{asked} required, but torch {torch.__version__} sees "
            f"{found or 'none'} on {platform.node()}. Request as many GPUs from the scheduler, or "
            f"{'set gpus: 0' if in_config else 'add --gpus 0'} to run on the CPU."
        )
    visible = [torch.device(device.type, index) for index in range(found)]
    return claim_devices(where, visible, gpus)


def describe_devices(devices: Sequence[torch.device]) -> str:
    """The names of devices; equal ones are counted."""
    counts = Counter(map(_describe, devices))
    return " + ".join(f"{n} x {name}" if n > 1 else name for name, n in counts.items())


def devices_of(model: torch.nn.Module) -> list[torch.device]:
    """The devices of a model, in the order of its layers."""
    return list(dict.fromkeys(parameter.device for parameter in model.parameters()))


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def device_class(devices: Sequence[torch.device]) -> str:
    """The kind of devices. Devices of one kind compute the same numbers, bit for bit.

    The number of devices does not matter, because each layer runs as a whole on one device.
    """
    if devices[0].type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return " + ".join(dict.fromkeys(map(_describe, devices)))


def driver_version(nvidia_driver: Path = NVIDIA_DRIVER) -> str | None:
    """Version of the GPU driver of this machine, from the NVIDIA kernel module.

    Args:
        nvidia_driver: The module's file, whose first line ends with version and date.

    Returns:
        The version, for example ``550.54.15``; None if there is no such driver.
    """
    try:
        text = nvidia_driver.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D*([0-9]+(?:\.[0-9]+)+)", text)
    return found[1] if found else None


def describe_machine(devices: Sequence[torch.device]) -> dict[str, Any]:
    """The machine that a shard ran on: what may differ between two runs of one table."""
    described = {
        **describe_process(),
        "device": describe_devices(devices),
        "device_class": device_class(devices),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": driver_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if devices[0].type != "cpu":
        peak = max(map(torch.accelerator.max_memory_allocated, devices))
        described["peak_device_memory_mb"] = round(peak / 1e6, 1)
    return described
