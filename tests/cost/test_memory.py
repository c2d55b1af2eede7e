"""The memory estimate of scoring, compared with the memory that models allocate."""

import gc
import random

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.cost.memory import (
    CANARY_TOKENS,
    device_memory,
    limit_batch,
    suggest_batch_tokens,
)
from evo2_tasks.cost.shapes import RELEASE_SHAPES
from evo2_tasks.evo2.placement import device_of, place_modules
from evo2_tasks.runtime.canaries import canary_pairs, score_canaries
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from tests.cost.build import OPERATORS, make_config, shape_of


def measure_peak(
    config: Evo2Config, dtype: str, *, rows: int, length: int, segment_length: int
) -> int:
    """Peak bytes of torch's allocator while windows are scored, without the model."""
    torch.manual_seed(0)
    model = Evo2ForCausalLM(config).eval().to(getattr(torch, dtype))
    rng = random.Random(1)
    pairs = []
    for row in range(rows):
        ref_seq = bytes(rng.choices(b"ACGT", k=length))
        middle = length // 2
        other = b"A" if ref_seq[middle : middle + 1] != b"A" else b"C"
        alt_seq = ref_seq[:middle] + other + ref_seq[middle + 1 :]
        pairs.append(WindowPair(row, "forward", ref_seq, alt_seq, middle, 1, 1))
    score_canaries(model)  # expands the long filters
    gc.collect()  # an earlier model must not be freed during the measurement
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        score_part(
            model,
            pairs,
            [SUMS],
            batch_tokens=rows * (length + 2),  # both ends of a window, with the token before
            segment_length=segment_length,
            horizon=False,
            prepend_bos=False,
        )
    events = profiled.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize(
    ("hidden_size", "operators", "intermediate_size", "rows", "length", "segment_length"),
    [
        (128, OPERATORS, 336, 8, 1024, 10_000),
        (256, OPERATORS, 1100, 3, 1500, 10_000),
        (192, OPERATORS, 2000, 2, 2048, 10_000),
        (32, OPERATORS, 64, 2, 4096, 10_000),
        (128, ("hyena_se", "hyena_mr", "attention"), 336, 4, 1024, 10_000),
        (128, ("hyena_mr", "hyena_mr", "hyena_mr"), 128, 4, 1024, 10_000),
        (128, ("attention", "attention", "attention"), 128, 4, 1024, 10_000),
        (64, OPERATORS, 176, 1, 8192, 1024),
        (64, OPERATORS, 176, 1, 6000, 4096),
        (256, OPERATORS, 688, 2, 2048, 512),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_estimate_agrees_with_the_measured_memory(
    hidden_size: int,
    operators: tuple[str, ...],
    intermediate_size: int,
    rows: int,
    length: int,
    segment_length: int,
    dtype: str,
) -> None:
    config = make_config(hidden_size, operators, intermediate_size)
    expected = device_memory(
        shape_of(config),
        dtype,
        window_length=length,
        batch_tokens=rows * length,
        segment_length=segment_length,
    )
    measured = measure_peak(config, dtype, rows=rows, length=length, segment_length=segment_length)
    assert expected.total - expected.weights == pytest.approx(measured, rel=0.15)


def test_a_suggested_batch_fits_and_its_double_does_not() -> None:
    shape = RELEASE_SHAPES["evo2_7b"]

    def total(tokens: int) -> int:
        return device_memory(
            shape,
            "bfloat16",
            window_length=8192,
            batch_tokens=tokens,
            segment_length=65_536,
        ).total

    options = {"window_length": 8192, "segment_length": 65_536}
    tokens = suggest_batch_tokens(shape, "bfloat16", memory=80e9, **options)
    assert tokens is not None
    assert total(tokens) <= 0.8 * 80e9 < total(2 * tokens)
    assert suggest_batch_tokens(shape, "bfloat16", memory=12e9, **options) is None


@pytest.mark.parametrize("release", ["evo2_1b_base", "evo2_40b"])
@pytest.mark.parametrize("num_devices", [1, 2, 3])
def test_of_several_devices_the_fullest_is_estimated(release: str, num_devices: int) -> None:
    config = Evo2Config.from_preset(release)
    places = place_modules(config, [torch.device("cuda", i) for i in range(num_devices)])
    with torch.device("meta"):
        model = Evo2ForCausalLM(config).to(torch.bfloat16)
    held = [0] * num_devices
    for name, parameter in model.named_parameters():
        held[device_of(name, places).index] += parameter.nbytes
    attention = [0] * num_devices
    for index, operator in enumerate(config.operators):
        attention[places[f"model.layers.{index}"].index] += operator == "attention"
    shape = RELEASE_SHAPES[release]
    settings = {"window_length": 2**20, "batch_tokens": 2**16, "segment_length": 2**16}
    memory = device_memory(shape, "bfloat16", num_devices=num_devices, **settings)
    assert memory.weights == pytest.approx(max(held), rel=0.02)
    expected = max(attention) * 2 * 2**20 * config.hidden_size * 2
    assert memory.keys_and_values == expected


def test_two_devices_hold_what_one_does_not() -> None:
    shape, memory = RELEASE_SHAPES["evo2_40b"], 80e9
    options = {"window_length": 8192, "segment_length": 65_536, "memory": memory}
    assert suggest_batch_tokens(shape, "bfloat16", **options) is None
    tokens = suggest_batch_tokens(shape, "bfloat16", num_devices=2, **options)
    assert tokens is not None

    def total(tokens: int) -> int:
        settings = {"window_length": 8192, "segment_length": 65_536, "num_devices": 2}
        return device_memory(shape, "bfloat16", batch_tokens=tokens, **settings).total

    assert total(tokens) <= 0.8 * memory < total(2 * tokens)


@pytest.mark.parametrize("strands", ["both", "forward", "reverse"])
@pytest.mark.parametrize("alleles", [1, 3, 17])
def test_a_limited_batch_holds_all_windows_of_a_job(strands: str, alleles: int) -> None:
    """Whatever the strands, no batch of the job has more tokens than the limit allows."""
    limit = limit_batch(10**9, alleles, window_length=512, strands=strands)
    pairs = []
    for row in range(alleles):
        ref_seq = bytes(random.Random(row).choices(b"ACGT", k=512))
        alt_seq = ref_seq[:256] + bytes([ref_seq[256] ^ 2]) + ref_seq[257:]
        both = ("forward", "reverse") if strands == "both" else (strands,)
        pairs += [WindowPair(row, strand, ref_seq, alt_seq, 256, 1, 1) for strand in both]
    assert sum(len(pair.ref_seq) + len(pair.alt_seq) for pair in pairs) <= limit
    assert limit_batch(100, alleles, window_length=512, strands=strands) == 100


def test_the_canaries_count_as_a_batch() -> None:
    canaries = canary_pairs()
    assert len(canaries) * len(canaries[0].ref_seq) == CANARY_TOKENS
    assert limit_batch(10**9, 0, window_length=64, strands="both") == CANARY_TOKENS
