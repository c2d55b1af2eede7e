"""Work and memory of generating sequences, computed from the shape of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from evo2_tasks.config.generations import GenerateSettings
from evo2_tasks.cost.memory import DeviceMemory, activation_bytes_per_token
from evo2_tasks.cost.shapes import POSITIONS_PER_SLICE, VOCAB_SIZE, ModelShape

LAYER_SECONDS: Final = 1e-3
"""Time of a layer for one token of a small batch, without the arithmetic: calls, and reading the
weights. An estimate for GPUs of 2020 and later; evo2-mini needs less on a CPU."""


@dataclass(frozen=True, slots=True)
class GenerationWork:
    """The work for a prompt.

    Attributes:
        tokens: Tokens that go through the model: the prompt, and the bases of all candidates.
        calls: Calls of the model for single bases, one after the other.
    """

    tokens: int
    calls: int


def count_work(settings: GenerateSettings, prompt_length: int) -> GenerationWork:
    """Count the work for a prompt.

    Args:
        settings: The generation.
        prompt_length: Letters of the prompt.
    """
    candidates = settings.num_sequences * settings.beam_width * settings.samples_per_beam
    return GenerationWork(
        tokens=prompt_length + candidates * settings.length,
        calls=settings.length * math.ceil(candidates / settings.batch_size),
    )


def generation_memory(
    settings: GenerateSettings, shape: ModelShape, prompt_length: int
) -> DeviceMemory:
    """Memory that generating needs on the device of the model.

    Keys and values of the prompt are held once. Each kept candidate has those of its own bases, as
    if no two shared any, and each new one those of its chunk.

    Args:
        settings: The generation.
        shape: The model.
        prompt_length: Letters of the longest prompt.
    """
    dtype, num_devices = settings.model.dtype, max(1, settings.model.gpus)
    kept = settings.num_sequences * settings.beam_width
    candidates = kept * settings.samples_per_beam
    chunk = min(settings.chunk_length, settings.length)
    tokens = prompt_length + kept * settings.length + candidates * chunk
    at_once = max(
        min(prompt_length, settings.run.segment_length), min(settings.batch_size, candidates)
    )
    share = shape.largest_share(num_devices)
    logits = 2 * 4 * min(POSITIONS_PER_SLICE, at_once) * VOCAB_SIZE
    return DeviceMemory(
        weights=round(shape.weights_bytes(dtype) * share),
        keys_and_values=round(tokens * shape.kv_bytes_per_token(dtype) * share),
        state=round((1 + kept + candidates) * shape.state_bytes(dtype) * share),
        batch=round(at_once * activation_bytes_per_token(shape, dtype)) + logits,
    )
