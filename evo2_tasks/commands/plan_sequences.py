"""What sequence sets will take, for ``plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evo2_tasks.config.sequences import ScoreSequencesSettings
from evo2_tasks.cost.memory import (
    CANARY_TOKENS,
    PROCESS_MB,
    SEQUENCE_HEAP_FACTOR,
    sequence_memory,
    suggest_batch_tokens,
)
from evo2_tasks.cost.shapes import ModelShape, read_shape
from evo2_tasks.genome.sequences import read_sequences
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.files import local_file
from evo2_tasks.steps.score_sequence_set import reading_settings
from evo2_tasks.table.sequence_rows import judge_length, judge_record

BYTES_PER_GB = 1e9


def plan_sequences(
    scorings: Sequence[ScoreSequencesSettings],
    *,
    add_time: Callable[[str, float, int], dict[str, Any]],
    device_memory_gb: float | None,
) -> list[dict[str, Any]]:
    """Estimate work, memory and time of each scoring of each sequence set.

    Args:
        scorings: The scorings of the sequence sets.
        add_time: Gives the keys about time and price, from the name of a model, operations and
            number of GPUs.
        device_memory_gb: Memory of the device, to suggest ``batch_tokens`` for.

    Raises:
        InputError: A file cannot be read, or the shape of a model is not known.
    """
    estimates = []
    for one in scorings:
        shape = read_shape(one.model)
        counted = _count(one)
        longest = max(1, counted.pop("longest"))
        flops = counted["tokens"] * shape.flops_per_token(longest)
        estimate: dict[str, Any] = {
            "sequence_set": one.split.sequence_set,
            "scoring": one.name,
            "model": one.model.name,
            "gpus": one.model.gpus,
            "parameters": shape.parameters,
            **counted,
            "flops": flops,
            "memory_mb": _memory_mb(one, shape, longest, counted["tokens"]),
        }
        if device_memory_gb is not None:
            estimate["suggested_batch_tokens"] = suggest_batch_tokens(
                shape,
                one.model.dtype,
                window_length=max(2, longest),
                segment_length=one.run.segment_length,
                horizon=None,
                memory=device_memory_gb * BYTES_PER_GB,
                num_devices=max(1, one.model.gpus),
            )
        estimates.append(estimate | add_time(one.model.name, flops, one.model.gpus))
    return estimates


def _count(settings: ScoreSequencesSettings) -> dict[str, Any]:
    """Sequences by status, readings and tokens, and the longest sequence; equal ones count each."""
    reading = reading_settings(settings)
    by_status = Counter[str]()
    tokens = windows = longest = 0
    with local_file(settings.split.sequences) as path:
        for record in read_sequences(path, settings.split.max_length):
            status = judge_length(
                judge_record(record).status, record.length, record.num_other, reading
            )
            by_status[status] += 1
            if status == TO_SCORE:
                tokens += reading.count_tokens(record.length)
                has_origin = reading.count_context(record.length) > 0
                windows += len(reading.strands) * (2 if has_origin else 1)
                longest = max(longest, record.length)
    return {
        "sequences": by_status.total(),
        "by_status": dict(by_status.most_common()),
        "windows": windows,
        "tokens": tokens,
        "longest": longest,
    }


def _memory_mb(
    settings: ScoreSequencesSettings, shape: ModelShape, longest: int, tokens: int
) -> dict[str, int]:
    """Memory of a job, MB."""
    model, run = settings.model, settings.run
    memory = sequence_memory(
        shape,
        model.dtype,
        longest=longest,
        batch_tokens=max(CANARY_TOKENS, min(run.batch_tokens, tokens)),
        segment_length=run.segment_length,
        num_devices=max(1, model.gpus),
        offload=run.kv_cache == "offload",
    )
    memory_mb = memory.in_mb()
    if model.gpus == 0:
        held = memory.weights + SEQUENCE_HEAP_FACTOR * (memory.total - memory.weights)
        memory_mb["process"] = round(PROCESS_MB + held / 1e6)
    return memory_mb


def describe_sequences(estimate: Mapping[str, Any]) -> Iterator[str]:
    """The first lines of an estimate as text: its sequences."""
    yield f"{estimate['sequence_set']}, {estimate['scoring']} ({estimate['model']})"
    yield f"  sequences               {estimate['sequences']:,}"
    for status, number in estimate["by_status"].items():
        name = "can be scored" if status == TO_SCORE else status
        yield f"    {name:<22}{number:,}"
    yield f"  readings                {estimate['windows']:,}"
