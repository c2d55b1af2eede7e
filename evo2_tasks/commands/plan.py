"""The command ``plan``: what a run will take, before it runs. Without torch."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evo2_tasks.config.resolve import model_dtype
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.cost.memory import CPU_HEAP_FACTOR, PROCESS_MB, device_memory, suggest_batch_tokens
from evo2_tasks.cost.rates import PUBLISHED_RATES, Rate, choose_rate, read_rates
from evo2_tasks.cost.shapes import ModelShape, read_shape
from evo2_tasks.cost.tokens import Work, count_work

SECONDS_PER_HOUR = 3600.0

BYTES_PER_GB = 1e9


def plan(
    config: RunConfig,
    *,
    rates_file: Path | None,
    device: str | None,
    device_memory_gb: float | None,
    price: float | None,
    job_hours: float,
) -> list[dict[str, Any]]:
    """Reckon what each scoring of each variant set will take.

    Args:
        config: The run's config.
        rates_file: Measured rates; None takes the published ones.
        device: Words of the name of the device to reckon with; None takes any.
        device_memory_gb: Memory of the device, for a suggestion of ``batch_tokens``.
        price: Of an hour of one device.
        job_hours: Hours that a job of the suggested shards shall take.

    Returns:
        For each scoring of each variant set: alleles by status, windows, tokens, operations,
        memory, and by the rate hours, shards and price.

    Raises:
        InputError: A file cannot be read, or nothing tells a model's shape.
    """
    rates = read_rates(rates_file or PUBLISHED_RATES)
    shapes = {name: read_shape(name, model) for name, model in config.models.items()}
    bills = []
    for variant_set, settings in config.variant_sets.items():
        for scoring in settings.scorings:
            model_name = config.scorings[scoring].model
            model, shape = config.models[model_name], shapes[model_name]
            work = count_work(config, variant_set, scoring)
            bill: dict[str, Any] = {"variant_set": variant_set, "scoring": scoring}
            bill |= reckon(config, scoring, shape, work)
            if device_memory_gb is not None:
                bill["suggested_batch_tokens"] = suggest_batch_tokens(
                    shape,
                    model_dtype(model),
                    window_length=config.scorings[scoring].window_length,
                    segment_length=config.run.segment_length,
                    horizon=config.scorings[scoring].horizon,
                    memory=device_memory_gb * BYTES_PER_GB,
                    num_devices=max(1, model.gpus),
                )
            rate = choose_rate(rates, model_name, device, gpus=model.gpus)
            bill |= reckon_time(
                bill["flops"], rate, gpus=model.gpus, price=price, job_hours=job_hours
            )
            bills.append(bill)
    return bills


def reckon(config: RunConfig, scoring: str, shape: ModelShape, work: Work) -> dict[str, Any]:
    """Operations and memory of a scoring."""
    settings = config.scorings[scoring]
    model = config.models[settings.model]
    dtype = model_dtype(model)
    memory = device_memory(
        shape,
        dtype,
        window_length=settings.window_length,
        batch_tokens=config.run.batch_tokens,
        segment_length=config.run.segment_length,
        horizon=settings.horizon,
        num_devices=max(1, model.gpus),
        offload=config.run.kv_cache == "offload",
        on_cpu=model.gpus == 0,
    )
    reckoned: dict[str, Any] = {
        "model": settings.model,
        "gpus": model.gpus,
        "parameters": shape.parameters,
        "alleles": work.by_status.total(),
        "by_status": dict(work.by_status.most_common()),
        "windows": work.windows,
        "tokens": work.tokens,
        "flops": work.tokens * shape.flops_per_token(settings.window_length),
        "memory_mb": {
            "weights": round(memory.weights / 1e6),
            "keys_and_values": round(memory.keys_and_values / 1e6),
            "state": round(memory.state / 1e6),
            "batch": round(memory.batch / 1e6),
            "device": round(memory.total / 1e6),
        },
    }
    if model.gpus == 0:
        held = memory.weights + CPU_HEAP_FACTOR * (memory.total - memory.weights)
        reckoned["memory_mb"]["process"] = round(PROCESS_MB + held / 1e6)
    return reckoned


def reckon_time(
    flops: float, rate: Rate | None, *, gpus: int, price: float | None, job_hours: float
) -> dict[str, Any]:
    """Hours of a device, the shards that make jobs of a wanted length, and the price."""
    if rate is None:
        return {"rate": None}
    hours = flops / rate.flops_per_s / SECONDS_PER_HOUR
    reckoned: dict[str, Any] = {
        "rate": {
            "device": rate.device,
            "model": rate.model,
            "window_length": rate.window_length,
            "tokens_per_s": rate.tokens_per_s,
            "source": rate.source,
        },
        "hours": hours,
        "suggested_shards": max(1, math.ceil(hours / job_hours)),
    }
    if price is not None:
        reckoned["price"] = hours * max(1, gpus) * price
    return reckoned


def describe_bills(bills: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The bills as text."""
    for bill in bills:
        memory = bill["memory_mb"]
        yield f"{bill['variant_set']}, {bill['scoring']} ({bill['model']})"
        yield f"  alleles                 {bill['alleles']:,}"
        for status, number in bill["by_status"].items():
            yield f"    {status:<22}{number:,}"
        yield f"  windows                 {bill['windows']:,}, distinct within a part"
        yield f"  tokens                  {bill['tokens']:,}"
        yield f"  operations              {bill['flops']:.3g} FLOP"
        place = "on device" if bill["gpus"] <= 1 else f"on each of {bill['gpus']}"
        yield f"  {f'memory {place}':<24}{_mb(memory['device'])}"
        for name in ("weights", "keys_and_values", "state", "batch"):
            yield f"    {name.replace('_', ' '):<22}{_mb(memory[name])}"
        if "process" in memory:
            yield f"  memory of a job         {_mb(memory['process'])}"
        if "suggested_batch_tokens" in bill:
            suggested = bill["suggested_batch_tokens"]
            said = "none: the model does not fit" if suggested is None else f"{suggested:,}"
            yield f"  batch_tokens            {said} (suggested)"
        rate = bill["rate"]
        if rate is None:
            yield "  time               unknown: no rate of such a device; see evo2-tasks calibrate"
            continue
        device = "GPU" if not rate["device"].startswith("cpu") else "CPU"
        yield f"  time                    {_hours(bill['hours'])} of one {device}"
        yield (
            f"    by                    {rate['tokens_per_s']:,.0f} tokens/s of {rate['model']} on "
            f"{rate['device']}, windows of {rate['window_length']:,}"
        )
        yield f"    source                {rate['source']}"
        yield f"  shards                  {bill['suggested_shards']:,} (suggested)"
        if "price" in bill:
            yield f"  price                   {bill['price']:,.2f}"


def _mb(megabytes: float) -> str:
    return f"{megabytes / 1000:,.1f} GB" if megabytes >= 10_000 else f"{megabytes:,.0f} MB"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.0f} seconds"
