"""The command ``doctor``: a report on how a model runs on this device, to send to somebody."""

import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.commands.verify import arithmetic_of, load, release_of
from evo2_tasks.config.resolve import ModelSettings
from evo2_tasks.evo2.config import FP8_MODES
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.io.files import write_json
from evo2_tasks.runtime.devices import describe_machine, devices_of
from evo2_tasks.runtime.speed import measure_tokens_per_s
from evo2_tasks.verification.comparison import measure
from evo2_tasks.verification.device_checks import random_windows
from evo2_tasks.verification.device_fp8 import compare_products
from evo2_tasks.verification.device_report import examine
from evo2_tasks.verification.expected import Check, Finding, read_published, status_of

logger = logging.getLogger(__name__)

# Keys of `describe_machine` that go into the report: none that identifies the machine or its owner.
MACHINE = (
    *("version", "python", "torch", "transformers", "driver", "device", "device_class"),
    *("cpu_capability", "threads"),
)
PEAKS = ("peak_memory_mb", "peak_device_memory_mb")
WINDOW_LENGTHS, QUICK_LENGTHS = (8_192, 65_536), (512, 2_048)
SECONDS, QUICK_SECONDS = 10.0, 1.0  # duration of the measurement of a rate
QUICK_MODES = ("off", "emulate")


def doctor(settings: ModelSettings, *, out: Path, quick: bool, threads: int | None) -> None:
    """Measure a model on this device: values in each FP8 mode, speed, FP8 matrix multiplication.

    The device itself is checked with a model of random weights too, as by benchmarks/gpu/run.sh.

    Args:
        settings: The checkpoint, and how to run it.
        out: The JSON file to write. It has no paths, and no names of machines or users.
        quick: Whether to leave out the slow FP8 modes, to measure short windows for a second, and
            to check the device with a small model.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The checkpoint cannot be read or run, or the file cannot be written.
    """
    loaded = load(settings, threads)
    model, release = loaded.model, release_of(settings)
    checks = choose_checks(release, quick=quick)
    own_mode = model.config.fp8
    values = {}
    for mode in QUICK_MODES if quick else FP8_MODES:
        if mode != "off" and not model.config.has_fp8_scales:
            values[mode] = {"not_run": "the checkpoint has no FP8 scales"}
            continue
        model.config.fp8 = mode
        logger.info("values, fp8 %s", mode)
        values[mode] = take_values(model, checks, loaded.dtype, compared=release is not None)
    model.config.fp8 = own_mode
    lengths, seconds = (QUICK_LENGTHS, QUICK_SECONDS) if quick else (WINDOW_LENGTHS, SECONDS)
    rates = [measure_rate(model, length, seconds) for length in lengths]
    logger.info("checks of the device, with a model of random weights")
    device_checks = examine(
        model.device, small=quick or model.device.type == "cpu", show=logger.info
    )
    machine = describe_machine(devices_of(model))
    write_json(
        out,
        {
            **{key: machine[key] for key in MACHINE},
            "release": release,
            "weights": loaded.weights_digest,
            "parameters": model.num_parameters(),
            "dtype": loaded.dtype,
            "fp8": own_mode,
            "load_s": round(loaded.load_s, 3),
            "figures": values,
            "rates": rates,
            "fp8_products": compare_products(model.device),
            "device_checks": device_checks,
        },
    )
    logger.info("%s written; send it to the person who asked for it", out)


def choose_checks(release: str | None, *, quick: bool) -> list[Check]:
    """The checks of a release: their short forms, or all checks if there is no short form.

    For a model that is not a release these are the checks of the 1B, which are then only measured.
    With ``quick``, checks without a short form are left out.
    """
    checks = read_published(release or "evo2_1b_base").checks
    short = [check.shortened() for check in checks if check.num_short]
    return short if short or quick else list(checks)


def take_values(
    model: Evo2ForCausalLM, checks: list[Check], dtype: str, *, compared: bool
) -> dict[str, Any]:
    """Measure a model, and compare it with the known values if they are those of this model."""
    started = time.monotonic()
    here = arithmetic_of(model, dtype)
    measured: dict[str, dict[str, list[float | None]]] = {}
    findings: list[Finding] = []
    for check in checks:
        values = measure(model, check)
        findings += check.judge(values, here) if compared else []
        measured[check.name] = {
            quantity: [value if math.isfinite(value) else None for value in some]
            for quantity, some in values.items()
        }
    return {
        "status": status_of(findings),
        "findings": [asdict(finding) for finding in findings],
        "measured": measured,
        "seconds": round(time.monotonic() - started, 3),
    }


def measure_rate(model: Evo2ForCausalLM, length: int, seconds: float) -> dict[str, Any]:
    """Rate of the model for windows of one length, one at a time, and the peak memory so far."""
    try:
        rate = measure_tokens_per_s(
            model, random_windows(1, length), seconds=seconds, prepend_bos=False
        )
    except torch.OutOfMemoryError:
        return {"window_length": length, "not_run": "out of memory"}
    logger.info("windows of %s: %s tokens/s", f"{length:,}", f"{rate:,.0f}")
    machine = describe_machine(devices_of(model))
    peaks = {key: machine[key] for key in PEAKS if key in machine}
    return {"window_length": length, "tokens_per_s": float(f"{rate:.4g}"), **peaks}
