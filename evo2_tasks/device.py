"""The device that a model runs on, and what a table says of it."""

import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from evo2_tasks.errors import InputError
from evo2_tasks.table.provenance import package_version

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def find_device(where: str, gpus: int) -> torch.device:
    """The device that a model's ``gpus`` asks for.

    Args:
        where: Who says so, for messages: ``models.NAME``, or a command.
        gpus: How many are asked for.

    Raises:
        InputError: A GPU is asked for and none is there.
    """
    if gpus == 0:
        return torch.device("cpu")
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        raise InputError(
            f"{where}.gpus: {gpus} asked for, but torch {torch.__version__} sees none on "
            f"{platform.node()}. Ask the scheduler for one, or set gpus: 0 to run on the CPU."
        )
    return device


def describe_device(device: torch.device) -> str:
    """The device as people call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def device_class(device: torch.device) -> str:
    """The kind of device: two of one kind compute the same numbers, bit for bit."""
    if device.type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return describe_device(device)


def driver_version(nvidia_driver: Path = NVIDIA_DRIVER) -> str | None:
    """Version of the GPU driver of this machine, by what the NVIDIA kernel module says of itself.

    Args:
        nvidia_driver: The file in which it says so; its first line ends in version and date.

    Returns:
        Such as ``550.54.15``; None where there is no such driver.
    """
    try:
        text = nvidia_driver.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D*([0-9]+(?:\.[0-9]+)+)", text)
    return found[1] if found else None


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Where a shard ran: what may differ between two runs of one table."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    described = {
        "device": describe_device(device),
        "device_class": device_class(device),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": driver_version(),
        "node": platform.node(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "version": package_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peak_memory_mb": round(peak_kib * (1 if sys.platform == "darwin" else 1024) / 1e6, 1),
    }
    if device.type != "cpu":
        peak = torch.accelerator.max_memory_allocated(device)
        described["peak_device_memory_mb"] = round(peak / 1e6, 1)
    return described
