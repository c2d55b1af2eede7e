"""What generations will take, for ``plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from evo2_tasks.config.generations import GenerateSettings
from evo2_tasks.cost.generation import LAYER_SECONDS, count_work, generation_memory
from evo2_tasks.cost.memory import PROCESS_MB, SEQUENCE_HEAP_FACTOR
from evo2_tasks.cost.shapes import ModelShape, read_shape
from evo2_tasks.genome.prompts import TO_GENERATE
from evo2_tasks.io.files import local_file
from evo2_tasks.steps.read_prompts import list_prompts

SECONDS_PER_HOUR = 3600.0


def plan_generations(
    generations: Sequence[GenerateSettings],
    *,
    add_time: Callable[[str, float, int], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Estimate work, memory and time of each generation.

    Args:
        generations: The generations.
        add_time: Gives the keys about time and price, from the name of a model, operations and
            number of GPUs.

    Raises:
        InputError: A file cannot be read, or the shape of a model is not known.
    """
    estimates = []
    for one in generations:
        shape = read_shape(one.model)
        by_status, lengths = _count(one)
        work = [count_work(one, length) for length in lengths]
        tokens = sum(each.tokens for each in work)
        context = max(lengths, default=0) + one.length
        flops = tokens * shape.flops_per_token(context)
        estimate: dict[str, Any] = {
            "generation": one.name,
            "model": one.model.name,
            "gpus": one.gpus,
            "parameters": shape.parameters,
            "prompts": by_status.total(),
            "by_status": dict(by_status.most_common()),
            "windows": one.num_sequences * len(lengths),
            "tokens": tokens,
            "flops": flops,
            "memory_mb": _memory_mb(one, shape, max(lengths, default=1)),
        }
        estimate |= add_time(one.model.name, flops, one.gpus)
        if "hours" in estimate:
            calls = sum(each.calls for each in work)
            more = calls * LAYER_SECONDS * shape.num_layers / SECONDS_PER_HOUR
            if "price" in estimate:
                estimate["price"] *= (estimate["hours"] + more) / estimate["hours"]
            estimate["hours"] += more
        estimates.append(estimate)
    return estimates


def _memory_mb(settings: GenerateSettings, shape: ModelShape, longest: int) -> dict[str, int]:
    """Memory of a job, MB."""
    memory = generation_memory(settings, shape, longest)
    memory_mb = memory.in_mb()
    if settings.model.gpus == 0:
        held = memory.weights + SEQUENCE_HEAP_FACTOR * (memory.total - memory.weights)
        memory_mb["process"] = round(PROCESS_MB + held / 1e6)
    return memory_mb


def _count(settings: GenerateSettings) -> tuple[Counter[str], list[int]]:
    """The prompts by status, and the letters of those that are continued."""
    by_status, lengths = Counter[str](), []
    path = settings.prompts.fasta or settings.prompts.bed
    with ExitStack() as stack:
        local = None if path is None else stack.enter_context(local_file(path))
        for prompt in list_prompts(settings.prompts, local):
            by_status[prompt.status] += 1
            if prompt.status == TO_GENERATE:
                lengths.append(prompt.length)
    return by_status, lengths


def describe_generation(estimate: Mapping[str, Any]) -> Iterator[str]:
    """The first lines about a generation."""
    yield f"{estimate['generation']}, generation ({estimate['model']})"
    yield f"  prompts                 {estimate['prompts']:,}"
    for status, number in estimate["by_status"].items():
        name = "can be continued" if status == TO_GENERATE else status
        yield f"    {name:<22}{number:,}"
    yield f"  sequences               {estimate['windows']:,}"
