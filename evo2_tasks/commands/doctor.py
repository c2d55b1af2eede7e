"""The command ``doctor``: what a model does on this device, in one file to send to a stranger."""

import logging
import math
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.commands.verify import arithmetic_of, load, release_of
from evo2_tasks.config.resolve import ModelSettings
from evo2_tasks.evo2.config import FP8_MODES
from evo2_tasks.evo2.fp8 import PRODUCTS, round_to_e4m3
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.io.files import write_json
from evo2_tasks.runtime.devices import describe_machine, devices_of
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.verification.comparison import measure
from evo2_tasks.verification.expected import Check, Finding, read_published, status_of

logger = logging.getLogger(__name__)

# Of what `describe_machine` says: nothing that tells whose machine it is.
MACHINE = (
    *("version", "python", "torch", "transformers", "driver", "device", "device_class"),
    *("cpu_capability", "threads"),
)
PEAKS = ("peak_memory_mb", "peak_device_memory_mb")
WINDOW_LENGTHS, QUICK_LENGTHS = (8_192, 65_536), (512, 2_048)
SECONDS, QUICK_SECONDS = 10.0, 1.0  # that a rate is measured for
QUICK_MODES = ("off", "emulate")
INNER_SIZES = (32, 4_096)  # products of a sum: one instruction, and many
OUTER_SIZE = 64


def doctor(settings: ModelSettings, *, out: Path, quick: bool, threads: int | None) -> None:
    """Measure a model on this device: its figures in every way of FP8, its speed, its FP8 products.

    Args:
        settings: The checkpoint, and how to run it.
        out: The JSON file to write. It holds no path, no name of a machine or a user.
        quick: Whether to leave the slow ways of FP8, and to measure short windows for a second.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The checkpoint cannot be read or run, or the file not written.
    """
    loaded = load(settings, threads)
    model, release = loaded.model, release_of(settings)
    checks = figures_to_take(release, quick=quick)
    own_mode = model.config.fp8
    figures = {}
    for mode in QUICK_MODES if quick else FP8_MODES:
        if mode != "off" and not model.config.has_fp8_scales:
            figures[mode] = {"not_run": "the checkpoint has no FP8 scales"}
            continue
        model.config.fp8 = mode
        logger.info("figures, fp8 %s", mode)
        figures[mode] = take_figures(model, checks, loaded.dtype, compared=release is not None)
    model.config.fp8 = own_mode
    lengths, seconds = (QUICK_LENGTHS, QUICK_SECONDS) if quick else (WINDOW_LENGTHS, SECONDS)
    rates = [measure_rate(model, length, seconds) for length in lengths]
    machine = describe_machine(devices_of(model))
    write_json(
        out,
        {
            **{key: machine[key] for key in MACHINE},
            "release": release,
            "weights": loaded.weights,
            "parameters": model.num_parameters(),
            "dtype": loaded.dtype,
            "fp8": own_mode,
            "load_s": round(loaded.load_s, 3),
            "figures": figures,
            "rates": rates,
            "fp8_products": compare_products(model.device),
        },
    )
    logger.info("%s: to be sent to whoever asked for it", out)


def figures_to_take(release: str | None, *, quick: bool) -> list[Check]:
    """The checks of a release, those in short form that have one, else all if there is time.

    Of any other model it is what is published of the 1B, to be measured and not compared.
    """
    checks = read_published(release or "evo2_1b_base").checks
    short = [check.shortened() for check in checks if check.num_short]
    return short if short or quick else list(checks)


def take_figures(
    model: Evo2ForCausalLM, checks: list[Check], dtype: str, *, compared: bool
) -> dict[str, Any]:
    """Measure a model, and compare it with the figures if it is the model that they are of."""
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
    """How fast windows go through the model one by one, and the memory up to then."""
    rng = random.Random(1)  # noqa: S311 - no secret
    window = bytes(rng.choices(b"ACGT", k=length))
    num_windows = -1  # the first is to warm up
    started = time.monotonic()
    try:
        while num_windows < 1 or time.monotonic() - started < seconds:
            window_log_probs(model, [window], prepend_bos=False)
            num_windows += 1
            if num_windows == 0:
                started = time.monotonic()
    except torch.OutOfMemoryError:
        return {"window_length": length, "not_run": "out of memory"}
    rate = num_windows * length / (time.monotonic() - started)
    logger.info("windows of %s: %s tokens/s", f"{length:,}", f"{rate:,.0f}")
    machine = describe_machine(devices_of(model))
    peaks = {key: machine[key] for key in PEAKS if key in machine}
    return {"window_length": length, "tokens_per_s": float(f"{rate:.4g}"), **peaks}


def compare_products(device: torch.device) -> dict[str, Any]:
    """Which of our rules the FP8 products of a device follow, counted by sums of equal bits.

    Args:
        device: Where to multiply, by ``torch._scaled_mm``.

    Returns:
        By products of a sum, and by torch's two ways of summing: how many sums are those of each
        mode, of how many; or why there are none.
    """
    generator = torch.Generator().manual_seed(1)
    counts: dict[str, Any] = {"sums": OUTER_SIZE**2}
    for inner in INNER_SIZES:
        x, weight = (
            round_to_e4m3(torch.randn(OUTER_SIZE, inner, generator=generator), 2.0)
            for _ in range(2)
        )
        rules = {mode: multiply(x, weight, 1.0) for mode, multiply in PRODUCTS.items()}
        for name, is_fast in (("fast", True), ("precise", False)):
            try:
                sums = _scaled_product(x, weight, device, is_fast=is_fast)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                # What it says may hold paths.
                return {"not_run": f"torch._scaled_mm: {type(error).__name__}"}
            counts[f"{inner}, {name}"] = {
                mode: int((sums == rule).sum()) for mode, rule in rules.items()
            }
    return counts


def _scaled_product(
    x: torch.Tensor, weight: torch.Tensor, device: torch.device, *, is_fast: bool
) -> torch.Tensor:
    """Sums of E4M3 products by the device's own FP8, float32 on the CPU."""
    one = torch.ones((), device=device)
    return torch._scaled_mm(
        x.to(device, torch.float8_e4m3fn),
        weight.to(device, torch.float8_e4m3fn).t(),
        scale_a=one,
        scale_b=one,
        out_dtype=torch.float32,
        use_fast_accum=is_fast,
    ).cpu()
