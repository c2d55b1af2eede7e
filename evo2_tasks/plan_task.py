"""The command ``plan``: what a run will take, before it runs. Without torch."""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from evo2_tasks.config import RunConfig, ScoringConfig, model_dtype
from evo2_tasks.cost import (
    CPU_HEAP_FACTOR,
    PROCESS_MB,
    PUBLISHED_RATES,
    ModelShape,
    Rate,
    choose_rate,
    device_memory,
    read_rates,
    read_shape,
    suggest_batch_tokens,
)
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele
from evo2_tasks.progress import Progress
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.windows import slice_parts
from evo2_tasks.shard import STRANDS
from evo2_tasks.tasks import assign_shards, local_file, open_reference, open_variant_set

SECONDS_PER_HOUR = 3600.0
BYTES_PER_GB = 1e9


class PairSize(NamedTuple):
    """A pair of windows as far as planning needs it: where it belongs, and what is the same."""

    row: int
    ref: Hashable
    alt: Hashable
    length: int
    prefix: int
    bos: int

    @property
    def ref_length(self) -> int:
        """Tokens of the reference window."""
        return self.length + self.bos

    @property
    def alt_length(self) -> int:
        """Tokens of the alternate window."""
        return self.length + self.bos

    @property
    def fork(self) -> int:
        """Tokens of the alternate window that are not run again."""
        return self.prefix + self.bos - 1


@dataclass
class Work:
    """What a scoring of a variant set has to do."""

    by_status: Counter[str]
    windows: int = 0
    tokens: int = 0


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


def count_work(config: RunConfig, variant_set: str, scoring: str) -> Work:
    """Place all windows of a variant set and plan each part as the scorer does.

    Windows of one sequence at different places count as different here. In repeats a run may put
    windows together in another way, and take a few percent less or more.
    """
    settings = config.variant_set(variant_set)
    scoring_config = config.scoring(scoring)
    window_settings = WindowSettings(**scoring_config.model_dump(exclude={"model"}))
    reference = open_reference(config, settings.reference)
    work = Work(Counter())
    with local_file(settings.variants) as path:
        source = open_variant_set(config, variant_set, path)
        num_alleles = source.count().alleles
        progress = Progress(f"{variant_set}, {scoring}", total=num_alleles, unit="alleles")

        def pairs() -> Iterator[tuple[int, PairSize]]:
            assigned = assign_shards(iter(source), num_alleles, config.shards)
            for row, (shard, variant) in enumerate(assigned):
                placed = place_allele(variant, reference, window_settings)
                work.by_status[placed.status] += 1
                progress.add(1)
                for pair in _sizes(row, placed, scoring_config):
                    yield shard, pair

        with progress:
            for part in _slice_shards(pairs(), config.run.part_tokens):
                for planned in plan_passes(part, config.run.batch_tokens):
                    work.windows += planned.num_windows
                    work.tokens += planned.num_tokens
    return work


def _sizes(row: int, placed: PlacedAllele, scoring: ScoringConfig) -> Iterator[PairSize]:
    if placed.edit_alt is None:
        return
    contig = placed.reference_contig
    edit = (placed.edit_start, placed.edit_ref, placed.edit_alt)
    bos = 1 if scoring.prepend_bos else 0
    for strand in STRANDS[scoring.strands]:
        begin, length, prefix = placed.window_start, placed.length_fwd, placed.prefix_fwd
        if strand == "reverse":
            begin, length, prefix = placed.window_end, placed.length_rev, placed.prefix_rev
        if length is not None and prefix is not None:
            window = (strand, contig, begin)  # of two that begin here one is the other's beginning
            yield PairSize(row, window, (window, edit), length, prefix, bos)


def _slice_shards(
    pairs: Iterator[tuple[int, PairSize]], part_tokens: int
) -> Iterator[list[PairSize]]:
    """The parts of each shard, one after the other."""
    pending = next(pairs, None)
    while pending is not None:
        shard = pending[0]

        def of_shard(shard: int = shard) -> Iterator[PairSize]:
            nonlocal pending
            while pending is not None and pending[0] == shard:
                yield pending[1]
                pending = next(pairs, None)

        yield from slice_parts(of_shard(), part_tokens)


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
