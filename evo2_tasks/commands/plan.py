"""The command ``plan``: what a run will take, before it runs. Without torch."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo2_tasks.commands.plan_generations import describe_generation, plan_generations
from evo2_tasks.commands.plan_sequences import describe_sequences, plan_sequences
from evo2_tasks.commands.plan_store import KnownModel, StoreSearch, find_model
from evo2_tasks.commands.plan_tracks import (
    count_track_work,
    describe_regions,
    estimate_track_work,
)
from evo2_tasks.config.generations import GenerateSettings
from evo2_tasks.config.resolve import PlannedScoring, ReadOutSettings
from evo2_tasks.config.sequences import ScoreSequencesSettings
from evo2_tasks.config.tracks import MergeTracksSettings
from evo2_tasks.cost.embeddings import (
    bytes_per_allele,
    embeddings_memory,
    name_layers,
    shard_bytes_per_allele,
)
from evo2_tasks.cost.layers import find_layer
from evo2_tasks.cost.memory import (
    CPU_HEAP_FACTOR,
    PROCESS_MB,
    device_memory,
    limit_batch,
    suggest_batch_tokens,
)
from evo2_tasks.cost.rates import PUBLISHED_RATES, Rate, Rates, choose_rate
from evo2_tasks.cost.shapes import ModelShape, read_shape
from evo2_tasks.cost.tokens import Work, count_work
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.words import counted, duration

logger = logging.getLogger(__name__)

SECONDS_PER_HOUR = 3600.0

BYTES_PER_GB = 1e9

COSTS = ("windows", "tokens", "flops", "hours", "price")
"""What a store saves."""


def plan(
    scorings: Sequence[PlannedScoring],
    *,
    tracks: Sequence[MergeTracksSettings] = (),
    sequences: Sequence[ScoreSequencesSettings] = (),
    generations: Sequence[GenerateSettings] = (),
    rates_file: Path | None,
    device: str | None,
    device_memory_gb: float | None,
    price: float | None,
    job_hours: float,
) -> list[dict[str, Any]]:
    """Estimate work, memory, time and price of each scoring of each variant set.

    Args:
        scorings: The scorings of the variant sets of a run.
        tracks: The track sets of a run, each with each of its scorings.
        sequences: The sequence sets of a run, each with each of its scorings.
        generations: The generations of a run.
        rates_file: Measured rates; None takes the published ones.
        device: Text in the name of the device to estimate for; None takes any device.
        device_memory_gb: Memory of the device, to suggest ``batch_tokens`` for.
        price: Price of one hour of one device.
        job_hours: Target length of one scoring job, hours; the number of shards follows from it.

    Returns:
        For each scoring of each variant set: alleles by status, windows, tokens, operations and
        memory; and, if a rate is known for the device, hours, shards and price. With a store, these
        are for the alleles that it does not have, ``store`` has the numbers of alleles, and
        ``without_store`` has windows, tokens, operations, hours and price of all alleles. Then the
        same for each scoring of each track set, with regions and bases in the place of alleles, and
        of each sequence set, with ``sequences`` in the place of ``alleles``, and of each
        generation, with ``prompts`` in their place.

    Raises:
        InputError: A file cannot be read, or the shape of a model is not known.
    """
    rates = Rates.read(rates_file or PUBLISHED_RATES).rates
    shapes = {one.score.model.name: read_shape(one.score.model) for one in scorings}
    estimates = []
    warned: set[str] = set()
    models: dict[str, KnownModel] = {}
    for one in scorings:
        model, shape = one.score.model, shapes[one.score.model.name]
        path = one.score.run.store
        if path is not None and model.name not in models:
            models[model.name] = find_model(one, path)
        readouts = name_layers(one.readouts)
        found = count_with_store(one, models.get(model.name))
        work = found.work
        for warning in work.warnings:
            if warning not in warned:  # once for all scorings of a set
                logger.warning("%s", warning)
        warned.update(work.warnings)
        estimate: dict[str, Any] = {
            "variant_set": one.split.variant_set,
            "scoring": one.score.name,
            **estimate_work(one, shape, work),
            **estimate_readouts(readouts, shape, work),
        }
        if device_memory_gb is not None:
            estimate["suggested_batch_tokens"] = suggest_batch(one, shape, device_memory_gb)
        rate = choose_rate(rates, model.name, device, gpus=model.gpus)

        def add_time(flops: float, rate: Rate | None = rate, gpus: int = model.gpus) -> Any:
            return estimate_time(flops, rate, gpus=gpus, price=price, job_hours=job_hours)

        estimate |= add_time(estimate["flops"])
        if found.alleles is not None:
            estimate["store"] = found.alleles
        if found.all_alleles is not None:
            whole = estimate_work(one, shape, found.all_alleles)
            whole |= add_time(whole["flops"])
            estimate["without_store"] = {name: whole[name] for name in COSTS if name in whole}
        estimates.append(estimate)
    for settings in tracks:
        model = settings.score.score.model
        estimate = estimate_track_work(settings, read_shape(model), count_track_work(settings))
        rate = choose_rate(rates, model.name, device, gpus=model.gpus)
        estimate |= estimate_time(
            estimate["flops"], rate, gpus=model.gpus, price=price, job_hours=job_hours
        )
        estimates.append(estimate)

    def add_time_of(model: str, flops: float, gpus: int) -> dict[str, Any]:
        rate = choose_rate(rates, model, device, gpus=gpus)
        return estimate_time(flops, rate, gpus=gpus, price=price, job_hours=job_hours)

    estimates += plan_sequences(sequences, add_time=add_time_of, device_memory_gb=device_memory_gb)
    return estimates + plan_generations(generations, add_time=add_time_of)


@dataclass(frozen=True, slots=True)
class FoundWork:
    """The work of a scoring, with the scores that a store has taken off.

    Attributes:
        work: The work that is left.
        alleles: What is known of the store: numbers of alleles that have windows and of those that
            the store has, or the reason why they are not known; None without a store.
        all_alleles: The work of all alleles; None if the store has none of them.
    """

    work: Work
    alleles: dict[str, Any] | None = None
    all_alleles: Work | None = None


def count_with_store(planned: PlannedScoring, known: KnownModel | None) -> FoundWork:
    """Count the work of a scoring, and look its alleles up in the store.

    Args:
        planned: The scoring.
        known: What the store knows of its model; None without a store.
    """
    if known is None:
        return FoundWork(count_work(planned))
    if known.record is None:
        return FoundWork(count_work(planned), {"reason": known.explain(planned)})
    search = StoreSearch(planned, known.store, known.record)
    work = count_work(planned, visitor=search)
    alleles: dict[str, Any] = {"alleles": search.num_alleles, "hits": search.num_hits}
    if not search.num_hits:
        return FoundWork(work, alleles)
    return FoundWork(count_work(planned, known=search.known), alleles, work)


def suggest_batch(
    planned: PlannedScoring, shape: ModelShape, device_memory_gb: float
) -> int | None:
    """The largest ``batch_tokens`` for a device; None if the model does not fit.

    The passes of an audit, whose windows are whole, must fit too.
    """
    model, scoring, run = planned.score.model, planned.score.scoring, planned.score.run
    suggested = [
        suggest_batch_tokens(
            shape,
            model.dtype,
            window_length=scoring.window_length,
            segment_length=run.segment_length,
            horizon=horizon,
            memory=device_memory_gb * BYTES_PER_GB,
            num_devices=max(1, model.gpus),
        )
        for horizon in list_horizons(planned)
    ]
    fitting = [tokens for tokens in suggested if tokens is not None]
    return min(fitting) if len(fitting) == len(suggested) else None


def list_horizons(planned: PlannedScoring) -> list[int | None]:
    """The horizon of a scoring, and None for the whole windows of an audit."""
    return [planned.score.scoring.horizon, *([] if planned.audit is None else [None])]


def add_up(estimates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The estimates of a whole run: the sums of those of its scorings.

    Returns:
        Alleles to score, bases of tracks if there are any, windows, tokens and operations; and, if
        a rate is known for each scoring, hours on GPUs and on CPUs, and the price if there is one.
    """
    total: dict[str, Any] = {
        "alleles": _count_to_score(estimates, "alleles"),
        **({"sequences": number} if (number := _count_to_score(estimates, "sequences")) else {}),
        **({"bases": bases} if (bases := sum(one.get("bases", 0) for one in estimates)) else {}),
        **{key: sum(one[key] for one in estimates) for key in ("windows", "tokens", "flops")},
    }
    if all("hours" in one for one in estimates):
        total["gpu_hours"] = sum(one["hours"] for one in estimates if one["gpus"])
        total["cpu_hours"] = sum(one["hours"] for one in estimates if not one["gpus"])
    if all("price" in one for one in estimates):
        total["price"] = sum(one["price"] for one in estimates)
    return total


def _count_to_score(estimates: Sequence[dict[str, Any]], kind: str) -> int:
    """Number of alleles or of sequences to score."""
    return sum(one["by_status"].get(TO_SCORE, 0) for one in estimates if kind in one)


def estimate_work(planned: PlannedScoring, shape: ModelShape, work: Work) -> dict[str, Any]:
    """Operations of a scoring, and memory of its jobs."""
    model, scoring, run = planned.score.model, planned.score.scoring, planned.score.run
    memories = [
        device_memory(
            shape,
            model.dtype,
            window_length=scoring.window_length,
            batch_tokens=limit_batch(
                run.batch_tokens,
                work.by_status.total() / planned.split.shards,
                window_length=scoring.window_length,
                strands=scoring.strands,
            ),
            segment_length=run.segment_length,
            horizon=horizon,
            num_devices=max(1, model.gpus),
            offload=run.kv_cache == "offload",
        )
        for horizon in list_horizons(planned)
    ]
    memory = max(memories, key=lambda one: one.total)
    memory_mb = memory.in_mb()
    if model.gpus == 0:
        held = memory.weights + CPU_HEAP_FACTOR * (memory.total - memory.weights)
        in_shard = work.by_status.total() / planned.split.shards
        held += embeddings_memory(name_layers(planned.readouts), in_shard)
        memory_mb["process"] = round(PROCESS_MB + held / 1e6)
    return {
        "model": model.name,
        "gpus": model.gpus,
        "parameters": shape.parameters,
        "alleles": work.by_status.total(),
        "by_status": dict(work.by_status.most_common()),
        **({} if planned.audit is None else {"audited": work.audited}),
        **({} if planned.haplotypes is None else {"haplotype_pairs": work.pairs}),
        "windows": work.windows,
        "tokens": work.tokens,
        "flops": work.tokens * shape.flops_per_token(scoring.window_length),
        "memory_mb": memory_mb,
    }


def estimate_readouts(settings: ReadOutSettings, shape: ModelShape, work: Work) -> dict[str, Any]:
    """Bytes of the embeddings of each layer: of an allele, and of all alleles that are scored.

    Args:
        settings: The read-outs, with the published names of the layers.
        shape: The shape of the model.
        work: The alleles.
    """
    asked, strands = settings.embeddings, settings.score.scoring.strands
    if asked is None:
        return {}
    alleles = work.by_status.get(TO_SCORE, 0)
    layers = []
    for layer in asked.layers:
        width = find_layer(layer, shape).width
        own = bytes_per_allele(width, asked, strands=strands)
        of_shard = shard_bytes_per_allele(width, asked, strands=strands)
        layers.append(
            {
                "layer": layer,
                "width": width,
                "dtype": asked.dtype,
                "bytes_per_allele": own,
                "bytes": own * alleles,
                "bytes_of_shards": of_shard * alleles,
            }
        )
    return {"embeddings": layers}


def estimate_time(
    flops: float, rate: Rate | None, *, gpus: int, price: float | None, job_hours: float
) -> dict[str, Any]:
    """Hours of one device, the number of shards for jobs of the target length, and the price."""
    if rate is None:
        return {"rate": None}
    hours = flops / rate.flops_per_s / SECONDS_PER_HOUR
    estimate: dict[str, Any] = {
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
        estimate["price"] = hours * max(1, gpus) * price
    return estimate


def describe_estimates(estimates: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The estimates as text."""
    for estimate in estimates:
        memory = estimate["memory_mb"]
        if "track_set" in estimate:
            yield from describe_regions(estimate)
        elif "sequence_set" in estimate:
            yield from describe_sequences(estimate)
        elif "generation" in estimate:
            yield from describe_generation(estimate)
        else:
            yield f"{estimate['variant_set']}, {estimate['scoring']} ({estimate['model']})"
            yield f"  alleles                 {estimate['alleles']:,}"
            for status, number in estimate["by_status"].items():
                name = "can be scored" if status == TO_SCORE else status
                yield f"    {name:<22}{number:,}"
        if "audited" in estimate:
            yield f"  audited                 {estimate['audited']:,}, with whole windows too"
        if "store" in estimate:
            yield f"  store                   {describe_store(estimate)}"
        if "haplotype_pairs" in estimate:
            yield (
                f"  haplotypes              {estimate['haplotype_pairs']:,} distinct pairs of "
                "windows, of alleles with neighbours and of compounds"
            )
        for layer in estimate.get("embeddings", ()):
            yield (
                f"  embeddings              {layer['layer']}, {layer['dtype']}: "
                f"{layer['bytes_per_allele']:,} bytes per allele, {_mb(layer['bytes'] / 1e6)} in "
                f"all, and {_mb(layer['bytes_of_shards'] / 1e6)} in readouts/"
            )
        if "sequence_set" not in estimate and "generation" not in estimate:
            yield f"  windows                 {estimate['windows']:,}, distinct within a part"
        yield f"  tokens                  {estimate['tokens']:,}"
        yield f"  operations              {estimate['flops']:.3g} FLOP"
        place = "on device" if estimate["gpus"] <= 1 else f"on each of {estimate['gpus']}"
        yield f"  {f'memory {place}':<24}{_mb(memory['device'])}"
        for name in ("weights", "keys_and_values", "state", "batch"):
            yield f"    {name.replace('_', ' '):<22}{_mb(memory[name])}"
        if "process" in memory:
            yield f"  memory of a job         {_mb(memory['process'])}"
        if "suggested_batch_tokens" in estimate:
            suggested = estimate["suggested_batch_tokens"]
            text = "none: the model does not fit" if suggested is None else f"{suggested:,}"
            yield f"  batch_tokens            {text} (suggested)"
        rate = estimate["rate"]
        if rate is None:
            yield (
                "  time                    unknown: no rate is known for this device; measure one "
                "with evo2-tasks measure"
            )
            continue
        device = "GPU" if estimate["gpus"] else "CPU"
        yield f"  time                    {duration(3600 * estimate['hours'])} of one {device}"
        yield (
            f"    by                    {rate['tokens_per_s']:,.0f} tokens/s of {rate['model']} on "
            f"{rate['device']}, windows of {rate['window_length']:,}"
        )
        yield f"    source                {rate['source']}"
        yield f"  shards                  {estimate['suggested_shards']:,} (suggested)"
        if "price" in estimate:
            yield f"  price                   {estimate['price']:,.2f}"
    if len(estimates) > 1:
        total = add_up(estimates)
        yield f"total of {len(estimates)} scorings"
        yield f"  alleles to score        {total['alleles']:,}"
        if "bases" in total:
            yield f"  bases of tracks         {total['bases']:,}"
        if "sequences" in total:
            yield f"  sequences to score      {total['sequences']:,}"
        yield f"  windows                 {total['windows']:,}"
        yield f"  tokens                  {total['tokens']:,}"
        yield f"  operations              {total['flops']:.3g} FLOP"
        times = [
            f"{duration(3600 * total[key])} of one {device}"
            for key, device in (("gpu_hours", "GPU"), ("cpu_hours", "CPU"))
            if total.get(key)
        ]
        unknown = "unknown: no rate is known for some of the scorings"
        yield f"  time                    {', '.join(times) or unknown}"
        if "price" in total:
            yield f"  price                   {total['price']:,.2f}"


def describe_store(estimate: Mapping[str, Any]) -> str:
    """What a store has of the alleles of a scoring, and what that saves."""
    store, device = estimate["store"], "GPU" if estimate["gpus"] else "CPU"
    if "hits" not in store:
        return str(store["reason"])
    verb = "is" if 1 in (store["hits"], store["alleles"]) else "are"
    text = f"{store['hits']:,} of {counted(store['alleles'], 'allele')} {verb} in the store"
    whole = estimate.get("without_store", {})
    if "hours" in whole:
        less, more = (duration(3600 * one["hours"]) for one in (estimate, whole))
        text += f": {less} of one {device} instead of {more}"
    elif whole:
        text += f": {estimate['tokens']:,} tokens instead of {whole['tokens']:,}"
    return text


def _mb(megabytes: float) -> str:
    return f"{megabytes / 1000:,.1f} GB" if megabytes >= 10_000 else f"{megabytes:,.0f} MB"
