"""What a model costs by arithmetic, against models: their parameters, and their measured memory."""

import gc
import json
import random
from pathlib import Path

import pytest
import torch
import yaml
from torch.profiler import ProfilerActivity, profile

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.cost.memory import device_memory, suggest_batch_tokens
from evo2_tasks.cost.rates import PUBLISHED_RATES, choose_rate, find_rate, read_rates
from evo2_tasks.cost.shapes import RELEASE_SHAPES, ModelShape, read_shape
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.config import PRESETS
from evo2_tasks.evo2.placement import device_of, place_modules
from evo2_tasks.runtime.canaries import score_canaries
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
STRIPES = ("hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_se")


def shape_of(config: Evo2Config) -> ModelShape:
    names = set(ModelShape.__dataclass_fields__) - {"operators"}
    return ModelShape(tuple(config.operators), **{name: getattr(config, name) for name in names})


@pytest.mark.parametrize("release", PRESETS)
def test_shapes_of_the_releases_and_their_parameters(release: str) -> None:
    config = Evo2Config(**PRESETS[release])
    assert RELEASE_SHAPES[release] == shape_of(config)
    with torch.device("meta"):
        model = Evo2ForCausalLM(config)
    assert RELEASE_SHAPES[release].parameters == model.num_parameters()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_of_weights_and_state(dtype: str) -> None:
    config = make_config(64, list(STRIPES), 176)
    model = Evo2ForCausalLM(config).eval().to(getattr(torch, dtype))
    shape = shape_of(config)
    stored = sum(tensor.nbytes for tensor in model.parameters())
    assert shape.weights_bytes(dtype) == stored
    cache = new_cache(config)
    with torch.inference_mode():
        model(torch.randint(65, 85, (1, 200)), past_key_values=cache, use_cache=True)
    kv = state = 0
    for layer in cache.layers:
        if getattr(layer, "keys", None) is not None:
            kv += layer.keys.nbytes + layer.values.nbytes
        for states in ("conv_states", "recurrent_states"):
            held = getattr(layer, states, None) or {}
            tensors = held.values() if isinstance(held, dict) else held
            state += sum(tensor.nbytes for tensor in tensors if tensor is not None)
    assert 200 * shape.kv_bytes_per_token(dtype) == kv
    assert shape.state_bytes(dtype) == pytest.approx(state, rel=0.15)


def test_a_shape_is_read_from_what_lies_beside_the_weights() -> None:
    mini = read_shape("m", ModelConfig(checkpoint="evo2-mini"))
    assert mini.parameters == 3_231_168
    folder = GOLDEN / "tiny_7b_1m"
    published = ModelConfig(checkpoint=folder / "model.pt", config=folder / "config.yml")
    model = Evo2Config.from_published(yaml.safe_load((folder / "config.yml").read_text()))
    assert read_shape("m", published) == shape_of(model)
    by_name = ModelConfig(checkpoint="weights/evo2_40b.pt.part0")
    assert read_shape("m", by_name) == RELEASE_SHAPES["evo2_40b"]
    named = ModelConfig(checkpoint="weights/mine.pt", model="evo2_7b")
    assert read_shape("m", named) == RELEASE_SHAPES["evo2_7b"]


def test_the_shape_of_a_release_on_a_hub_is_known_before_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    commit = "0123456789" * 4
    released = ModelConfig(checkpoint=Path(f"evo-design/evo-2-7b-8k-microviridae@{commit}"))
    assert read_shape("m", released) == RELEASE_SHAPES["evo2_7b_microviridae"]
    other = ModelConfig(checkpoint=Path(f"lab/evo2@{commit}"))
    with pytest.raises(
        InputError, match=rf"models\.m: .* Run `evo2-tasks fetch lab/evo2@{commit}`"
    ):
        read_shape("m", other)
    folder = tmp_path / "evo2-tasks" / "lab--evo2" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"hidden_size": 1920}')
    assert read_shape("m", other) == RELEASE_SHAPES["evo2_1b_base"]


def test_a_shape_that_nothing_tells_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"models\.m: .*config\.json does not exist.*`model`"):
        read_shape("m", ModelConfig(checkpoint=tmp_path))
    (tmp_path / "config.json").write_text('{"hidden_size": "many"}')
    with pytest.raises(InputError, match="is no description"):
        read_shape("m", ModelConfig(checkpoint=tmp_path))


def make_config(hidden_size: int, operators: list[str], intermediate_size: int) -> Evo2Config:
    return Evo2Config(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=max(1, hidden_size // 64),
        operators=operators,
        hyena_se_groups=hidden_size // 16,
        hyena_mr_groups=hidden_size // 16,
    )


def measure_peak(
    config: Evo2Config, dtype: str, *, rows: int, length: int, segment_length: int
) -> int:
    """Most bytes that torch's allocator held beside the model while windows were scored."""
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
    gc.collect()  # an earlier model must not go while this one is looked at
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        score_part(
            model,
            pairs,
            batch_tokens=rows * (length + 2),  # both ends of a window, with the token before
            segment_length=segment_length,
            horizon=False,
            prepend_bos=False,
            on_call=lambda *_: None,
            on_halving=lambda _: None,
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
        (128, STRIPES, 336, 8, 1024, 10_000),
        (256, STRIPES, 1100, 3, 1500, 10_000),
        (192, STRIPES, 2000, 2, 2048, 10_000),
        (32, STRIPES, 64, 2, 4096, 10_000),
        (128, ("hyena_se", "hyena_mr", "attention"), 336, 4, 1024, 10_000),
        (128, ("hyena_mr", "hyena_mr", "hyena_mr"), 128, 4, 1024, 10_000),
        (128, ("attention", "attention", "attention"), 128, 4, 1024, 10_000),
        (64, STRIPES, 176, 1, 8192, 1024),
        (64, STRIPES, 176, 1, 6000, 4096),
        (256, STRIPES, 688, 2, 2048, 512),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_by_arithmetic_is_what_is_measured(
    hidden_size: int,
    operators: tuple[str, ...],
    intermediate_size: int,
    rows: int,
    length: int,
    segment_length: int,
    dtype: str,
) -> None:
    config = make_config(hidden_size, list(operators), intermediate_size)
    expected = device_memory(
        shape_of(config),
        dtype,
        window_length=length,
        batch_tokens=rows * length,
        segment_length=segment_length,
        on_cpu=True,
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
def test_the_fullest_of_several_devices_is_reckoned(release: str, num_devices: int) -> None:
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


def test_published_rates_have_a_source_and_agree_with_the_shapes() -> None:
    rates = read_rates(PUBLISHED_RATES)
    shapes = RELEASE_SHAPES | {"evo2-mini": read_shape("m", ModelConfig(checkpoint="evo2-mini"))}
    for rate in rates:
        assert "http" in rate.source or "evo2-tasks calibrate" in rate.source
        flops = shapes[rate.model].flops_per_token(rate.window_length)
        assert rate.flops_per_token == pytest.approx(flops, rel=1e-6)
    found = find_rate(rates, "gh200")
    assert found is not None
    assert found.model == "evo2_7b"
    assert find_rate(rates, "abacus") is None


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_published_table_has_a_rate_for_any_model(gpus: int) -> None:
    rate = choose_rate(read_rates(PUBLISHED_RATES), "a model of ours", None, gpus=gpus)
    assert rate is not None
    assert rate.device.startswith("cpu") == (gpus == 0)


@pytest.mark.parametrize("text", ["", "{}", '{"rates": [{}]}', "[1]"])
def test_what_is_no_rate_table_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rates.json"
    file.write_text(text)
    with pytest.raises(InputError, match="calibrate"):
        read_rates(file)


def test_a_rate_of_nothing_is_refused(tmp_path: Path) -> None:
    rate = json.loads(PUBLISHED_RATES.read_text())["rates"][0] | {"tokens_per_s": 0}
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"rates": [rate]}))
    with pytest.raises(InputError, match="calibrate"):
        read_rates(file)
