"""Times of the operators on a device, compared with matrix multiplication of the same shapes.

The matrix multiplications are the five of a layer, in bfloat16: projections, output, and the three
of the MLP. A layer that spent no time on anything else would reach 1 of their speed.

Shapes: B batch, L tokens, D channels, K taps.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.config import ATTENTION, HYENA_MR
from evo2_tasks.evo2.operators import full_convolutions
from evo2_tasks.scoring.branches import run_branches
from evo2_tasks.scoring.likelihood import next_token_log_probs, pad
from evo2_tasks.verification.device_checks import OPERATORS, Bench, describe_error, random_windows
from evo2_tasks.verification.plain_operators import plain_fft

MATMULS, LAYER, OPERATOR, WHOLE = "matmuls", "layer", "operator", "whole"
NUM_BRANCHES = 4
NEW_TOKENS = 16
CONVOLUTION = "convolution of "  # how the names of the forms of a convolution begin


class Timing(NamedTuple):
    """Something to time."""

    name: str
    prepare: Callable[[], Callable[[], object]]
    """Makes the inputs and returns what is timed."""
    tokens: int
    """Number of tokens that it runs."""
    part: str = WHOLE
    """`MATMULS`, `LAYER`, `OPERATOR`, or `WHOLE` if it is not compared with a layer."""


@dataclass(frozen=True, slots=True)
class Time:
    """A measured time.

    Attributes:
        name: What was timed.
        status: ``measured``, ``error`` (it ended with an exception) or ``not_run``.
        ms: Median time of a run, in milliseconds.
        tokens_per_s: Tokens per second.
        matmul_tflop_per_s: Rate of the matrix multiplications in it, 10^12 operations per second.
        matmul_speed: Speed of a layer as a share of that of its matrix multiplications alone.
        matmul_time: Time of an operator as a share of that of a layer's matrix multiplications.
        reason: The exception, or why it was not run.
    """

    name: str
    status: str
    ms: float | None = None
    tokens_per_s: float | None = None
    matmul_tflop_per_s: float | None = None
    matmul_speed: float | None = None
    matmul_time: float | None = None
    reason: str = ""


def make_timings(bench: Bench) -> Iterator[Timing]:
    """What is timed, the matrix multiplications of a layer first."""
    length = bench.sizes.timed_window
    yield Timing("matrix multiplications of a layer", partial(matmuls, bench), length, MATMULS)
    for index, operator in enumerate(OPERATORS):
        yield Timing(operator, partial(operator_alone, bench, index), length, OPERATOR)
    for index, operator in enumerate(OPERATORS):
        yield Timing(f"layer of {operator}", partial(whole_layer, bench, index), length, LAYER)
    for num_taps, dtype in ((3, "bfloat16"), (7, "bfloat16"), (128, "float32")):
        for form in CONVOLUTIONS:
            prepare = partial(convolution, bench, num_taps, getattr(torch, dtype), form)
            name = f"{CONVOLUTION}{num_taps} taps, {dtype}, {form}"
            yield Timing(name, prepare, length, OPERATOR)
    yield Timing("window", partial(window, bench), length)
    yield Timing("window in four segments", partial(window, bench, 4), length)
    offloaded = partial(window, bench, 4, offload=True)
    yield Timing("window in four segments, kv_cache offload", offloaded, length)
    name = f"{NUM_BRANCHES} branches of half a window after a trunk of half a window"
    yield Timing(name, partial(branches, bench), NUM_BRANCHES * (length // 2))
    for batch in (1, 8):
        name = f"generation, {batch} at once"
        yield Timing(name, partial(generation, bench, batch), batch * NEW_TOKENS)


def channels_last(u: Tensor, taps: Tensor) -> Tensor:
    """The model's form: an image of height 1, channels last. (B, L, D), (D, K) -> (B, L, D)."""
    image = functional.pad(u, (0, 0, taps.shape[1] - 1, 0)).transpose(1, 2).unsqueeze(2)
    with full_convolutions(u):
        filtered = functional.conv2d(image, taps[:, None, None, :], groups=taps.shape[0])
    return filtered.squeeze(2).transpose(1, 2)


def channels_first(u: Tensor, taps: Tensor) -> Tensor:
    """Transposed before and after. (B, L, D), (D, K) -> (B, L, D)."""
    rows = functional.pad(u.transpose(1, 2), (taps.shape[1] - 1, 0)).contiguous()
    with full_convolutions(u):
        filtered = functional.conv1d(rows, taps[:, None], groups=taps.shape[0])
    return filtered.transpose(1, 2).contiguous()


def by_fft(u: Tensor, taps: Tensor) -> Tensor:
    """FFT of twice the length, transposed before and after. (B, L, D), (D, K) -> (B, L, D)."""
    filtered = plain_fft(u.transpose(1, 2).contiguous(), taps.flip(1))
    return filtered.to(u.dtype).transpose(1, 2).contiguous()


CONVOLUTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "channels last": channels_last,
    "channels first": channels_first,
    "fft": by_fft,
}


def convolution(bench: Bench, num_taps: int, dtype: torch.dtype, form: str) -> Callable[[], object]:
    """A depthwise convolution over time."""
    length, width = bench.sizes.timed_window, bench.sizes.hidden_size
    u = torch.randn(1, length, width, device=bench.device).to(dtype)
    taps = torch.randn(width, num_taps, device=bench.device).to(dtype)
    return partial(CONVOLUTIONS[form], u, taps)


def matmuls(bench: Bench) -> Callable[[], object]:
    """The five matrix multiplications of a layer."""
    weights = linear_weights(bench)
    length = bench.sizes.timed_window
    inputs = {
        width: torch.randn(length, width, device=bench.device).to(torch.bfloat16)
        for width in {weight.shape[1] for weight in weights}
    }

    def run() -> None:
        for weight in weights:
            torch.mm(inputs[weight.shape[1]], weight.t())

    return run


def linear_weights(bench: Bench) -> list[Tensor]:
    """The five weight matrices of a layer; they have the same shapes in every layer."""
    layer = bench.narrow.model.layers[OPERATORS.index(HYENA_MR)]
    return [one for name, one in layer.named_parameters() if name.endswith(".weight")]


def operator_alone(bench: Bench, index: int) -> Callable[[], object]:
    """An operator without its linear maps."""
    mixer: Any = copy.copy(bench.narrow.model.layers[index].mixer)
    shape = (1, bench.sizes.timed_window, 3 * bench.sizes.hidden_size)
    projected = torch.randn(shape, device=bench.device).to(torch.bfloat16)
    if OPERATORS[index] != ATTENTION:
        return lambda: mixer.filter(projected, None)
    mixer._modules = {**mixer._modules, "Wqkv": nn.Identity(), "out_proj": nn.Identity()}
    return lambda: mixer(projected, **positions(bench))


def whole_layer(bench: Bench, index: int) -> Callable[[], object]:
    """A layer: norms, operator, MLP."""
    layer = bench.narrow.model.layers[index]
    shape = (1, bench.sizes.timed_window, bench.sizes.hidden_size)
    hidden_states = torch.randn(shape, device=bench.device).to(torch.bfloat16)
    return lambda: layer(hidden_states, **positions(bench))


def positions(bench: Bench) -> dict[str, Any]:
    """The arguments of a layer for a window from its start."""
    return {
        "position_ids": range(bench.sizes.timed_window),
        "attention_mask": None,
        "is_token": None,
        "cache": None,
    }


def window(bench: Bench, num_segments: int = 1, *, offload: bool = False) -> Callable[[], object]:
    """The log-probabilities of a window."""
    length = bench.sizes.timed_window
    ids = pad(random_windows(1, length + 1), bench.device)
    segment_length = -(-length // num_segments)
    return partial(
        next_token_log_probs, bench.narrow, ids, segment_length=segment_length, offload=offload
    )


def branches(bench: Bench) -> Callable[[], object]:
    """Branches that continue the state of one trunk, which has been run."""
    half = bench.sizes.timed_window // 2
    rows = random_windows(1 + NUM_BRANCHES, half + 1)
    cache = new_cache(bench.narrow.config, window_length=half)
    trunk = pad(rows[:1], bench.device)[:, :half]
    bench.narrow.model(trunk, past_key_values=cache, use_cache=True)
    trunks = [0] * NUM_BRANCHES
    return lambda: run_branches(
        bench.narrow, rows[1:], cache, trunks, segment_length=half, offload=False
    )


def generation(bench: Bench, batch: int) -> Callable[[], object]:
    """Single tokens after a prompt. The prompt is a small part of the time."""
    model: Any = bench.narrow
    prompts = pad(random_windows(batch, 64), bench.device)
    return lambda: model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=1,
    )


def run_timings(bench: Bench, *, seconds: float, until: float) -> Iterator[Time]:
    """Time everything, one after the other. What fails does not end the rest.

    Args:
        bench: The device and the model.
        seconds: Time for the runs of each.
        until: Value of ``time.monotonic()`` after which nothing more is timed.

    Yields:
        The times, as soon as they are known.
    """
    matmul_ms = math.nan
    for timing in make_timings(bench):
        if time.monotonic() > until:
            yield Time(timing.name, "not_run", reason="the time for all measurements is over")
            continue
        try:
            with torch.no_grad():
                ms = 1e3 * time_call(timing.prepare(), bench.device, seconds)
            operations = 2 * timing.tokens * sum(map(torch.numel, linear_weights(bench)))
        except Exception as error:  # whatever it is, it is the result of this measurement
            yield Time(timing.name, "error", reason=describe_error(error))
            continue
        if timing.part == MATMULS:
            matmul_ms = ms
        yield Time(
            timing.name,
            "measured",
            ms,
            1e3 * timing.tokens / ms,
            1e-9 * operations / ms if timing.part in (MATMULS, LAYER) else None,
            matmul_ms / ms if timing.part == LAYER else None,
            ms / matmul_ms if timing.part == OPERATOR else None,
        )


def time_call(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median time of a run in seconds, after two runs to warm up."""
    taken: list[float] = []
    for turn in range(2 + 50):
        started = time.monotonic()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        if turn >= 2:
            taken.append(time.monotonic() - started)
        if len(taken) >= 3 and sum(taken) > seconds:
            break
    return median(taken)
