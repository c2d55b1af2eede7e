"""Sums of the outputs of layers over the bases of whole sequences, in batches.

D channels of a layer's output.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.branches import ignore
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.scoring.layer_sums import LayerWatch, Span
from evo2_tasks.scoring.likelihood import BOS, SEGMENT_LENGTH, pad
from evo2_tasks.scoring.sequence_batches import run_batches
from evo2_tasks.scoring.sequences import Readings

Sums = Mapping[str, NDArray[np.float32]]
"""The sum of each layer's output over some tokens. (D,)"""


def sum_layers(
    model: Evo2ForCausalLM,
    ranges: Mapping[bytes, Sequence[Range]],
    layers: Sequence[str],
    *,
    prepend_bos: bool,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    on_call: Callable[[int, int], None] = ignore,
    on_halving: Callable[[int], None] = ignore,
) -> dict[bytes, dict[Range, Sums]]:
    """Run readings, each once, and sum the outputs of layers over some of their tokens.

    The outputs are summed in float32 on the device, call by call. Padding is in no sum.

    Args:
        model: The model, in eval mode.
        ranges: The ranges of each reading to sum over.
        layers: Published names of the layers.
        prepend_bos: Run a beginning-of-sequence token first. It is in no sum.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: A reading with more tokens than these goes through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        on_call: Called after each batch with the numbers of its readings and of their tokens.
        on_halving: Called if the device had too little memory, with the number of tokens that go
            through the model at once from then on.

    Raises:
        ValueError: The model has no such layer.
        torch.OutOfMemoryError: Not even a short segment of one reading fits.
    """
    watch = LayerWatch(model, layers, {})

    def run(batch: Sequence[bytes], segment_length: int) -> list[dict[Range, Sums]]:
        return _run_batch(
            model,
            batch,
            ranges,
            watch,
            bos=BOS if prepend_bos else b"",
            segment_length=segment_length,
            offload=offload,
        )

    with watch.watching():
        return run_batches(
            list(ranges),
            run,
            batch_tokens=batch_tokens,
            segment_length=segment_length,
            on_call=on_call,
            on_halving=on_halving,
        )


def _run_batch(
    model: Evo2ForCausalLM,
    batch: Sequence[bytes],
    ranges: Mapping[bytes, Sequence[Range]],
    watch: LayerWatch,
    *,
    bos: bytes,
    segment_length: int,
    offload: bool,
) -> list[dict[Range, Sums]]:
    """The sums of each reading of a batch."""
    asked = [(row, one) for row, reading in enumerate(batch) for one in ranges[reading]]
    watch.begin(
        [
            Span(row, start + len(bos), end + len(bos), place)
            for place, (row, (start, end)) in enumerate(asked)
        ]
    )
    with torch.inference_mode():
        ids = pad([bos + reading for reading in batch], model.device)  # (B, L)
        length = ids.shape[1]
        cache = None
        if length > segment_length:
            cache = new_cache(model.config, window_length=length, offload=offload)
        for start in range(0, length, segment_length):
            end = min(start + segment_length, length)
            watch.expect(start, end)
            model.model(input_ids=ids[:, start:end], cache=cache, use_cache=cache is not None)
        sums = watch.finish()
    found: list[dict[Range, Sums]] = [{} for _ in batch]
    for place, (row, one) in enumerate(asked):
        found[row][one] = {layer: values[place] for layer, values in sums.items()}
    return found


def mean_outputs(
    readings: Readings, found: Mapping[bytes, Mapping[Range, Sums]]
) -> dict[str, NDArray[np.float32]]:
    """The mean output of each layer over the bases of a sequence, on one strand. (D,).

    Args:
        readings: What the model has read of the sequence.
        found: The sums of :func:`sum_layers`.

    Returns:
        By layer; a layer whose values are not all finite is left out.
    """
    first, *others = (found[tokens][one] for tokens, one in readings.ranges)
    means = {}
    for layer, total in first.items():
        for other in others:
            total = total + other[layer]
        mean = total / np.float32(len(readings.whole))
        if np.isfinite(mean).all():
            means[layer] = mean
    return means
