"""The command ``measure``: how many tokens per second a device runs."""

import logging
from pathlib import Path

import torch

from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.cost.rates import Rate, Rates
from evo2_tasks.cost.shapes import read_shape
from evo2_tasks.runtime.devices import (
    describe_devices,
    device_class,
)
from evo2_tasks.runtime.models import open_model
from evo2_tasks.runtime.speed import measure_tokens_per_s
from evo2_tasks.table.provenance import (
    package_version,
)
from evo2_tasks.verification.device_checks import random_windows

logger = logging.getLogger(__name__)


def measure(settings: ScoreSettings, *, out: Path, threads: int | None, seconds: float) -> None:
    """Measure how many tokens per second a model runs on this device, and add the rate to a file.

    Args:
        settings: The scoring: its model and windows, in the run's batches.
        out: File of rates; a rate of the same model, window length, device and threads is replaced.
        threads: CPU threads of the model; None leaves the choice to torch.
        seconds: Time to measure, after one batch to warm up.

    Raises:
        InputError: The model cannot run as the config says, or the file does not hold rates.
    """
    model, scoring, run = settings.model, settings.scoring, settings.run
    rates = Rates.read(out).rates if out.exists() else ()
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_model(model, run.model_cache)
    length = scoring.window_length
    windows = random_windows(max(1, run.batch_tokens // length), length)
    tokens_per_s = measure_tokens_per_s(
        loaded.model,
        windows,
        seconds=seconds,
        prepend_bos=scoring.prepend_bos,
        segment_length=run.segment_length,
        offload=run.kv_cache == "offload",
    )
    rate = Rate(
        device=device_class(loaded.devices),
        model=model.name,
        window_length=length,
        tokens_per_s=float(f"{tokens_per_s:.4g}"),
        flops_per_token=read_shape(model).flops_per_token(length),
        source=f"measured: evo2-tasks {package_version()}, torch {torch.__version__}, "
        f"{loaded.dtype}, {len(windows)} windows at once",
        threads=torch.get_num_threads() if model.gpus == 0 else None,
    )

    def subject(one: Rate) -> tuple[object, ...]:
        return one.device, one.model, one.window_length, one.threads

    kept = [one for one in rates if subject(one) != subject(rate)]
    Rates(rates=(*kept, rate)).write(out)
    logger.info(
        "%s, windows of %s: %s tokens/s on %s",
        model.name,
        f"{length:,}",
        f"{tokens_per_s:,.0f}",
        describe_devices(loaded.devices),
    )
