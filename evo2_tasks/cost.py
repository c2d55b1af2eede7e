"""What a model costs: its shape, parameters, operations, memory and time, by arithmetic.

Light, as Snakemake imports it in every job: shapes are read from files of text.

D channels, I channels inside the MLP, L tokens, V vocabulary.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evo2_tasks.config import ModelConfig, checkpoint_path
from evo2_tasks.errors import InputError
from evo2_tasks.hub import find_release, parse_hub_name

PUBLISHED_RATES = Path(__file__).parent / "published_rates.json"
ITEM_BYTES = {"float32": 4, "bfloat16": 2}
VOCAB_SIZE = 512
FEATURIZER_TAPS = 3

# Of the order of layers that all releases have.
STRIPES = ("hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_se", "hyena_mr", "hyena_li")
# Names of the layer lists in published descriptions.
LAYER_LISTS = {
    "hcs_layer_idxs": "hyena_se",
    "hcm_layer_idxs": "hyena_mr",
    "hcl_layer_idxs": "hyena_li",
    "attn_layer_idxs": "attention",
}


@dataclass(frozen=True)
class ModelShape:
    """The numbers of a model that its cost follows from."""

    operators: tuple[str, ...]
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    hyena_se_groups: int
    hyena_mr_groups: int
    hyena_se_length: int = 7
    hyena_mr_length: int = 128
    state_size: int = 16

    @property
    def num_layers(self) -> int:
        """Layers of the model."""
        return len(self.operators)

    @property
    def num_attention(self) -> int:
        """Attention layers among them."""
        return self.operators.count("attention")

    @property
    def parameters(self) -> int:
        """Parameters, the embedding counted once."""
        D, I = self.hidden_size, self.intermediate_size  # noqa: E741, N806 - as in the legend
        num = Counter(self.operators)
        every_layer = 3 * D * D + D * D + D + 3 * D * I + 2 * D
        featurizers = 3 * D * FEATURIZER_TAPS * (self.num_layers - num["attention"])
        short = num["hyena_se"] * self.hyena_se_groups * self.hyena_se_length
        medium = num["hyena_mr"] * (self.hyena_mr_groups * self.hyena_mr_length + D)
        long = num["hyena_li"] * (2 * D * self.state_size + D)
        return (
            self.num_layers * every_layer
            + featurizers
            + short
            + medium
            + long
            + (VOCAB_SIZE * D + D)
        )

    def largest_share(self, num_devices: int) -> float:
        """Share of the layers that the fullest of several devices has."""
        return math.ceil(self.num_layers / num_devices) / self.num_layers

    def most_attention(self, num_devices: int) -> int:
        """Attention layers on that of several devices that has the most of them."""
        counts = Counter(
            index * num_devices // self.num_layers
            for index, operator in enumerate(self.operators)
            if operator == "attention"
        )
        return max(counts.values(), default=0)

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations of one token of a window of so many, a product counted as two.

        The convolutions are counted as written, tap by tap, and causal attention as half of the
        square.
        """
        D, I = self.hidden_size, self.intermediate_size  # noqa: E741, N806 - as in the legend
        num = Counter(self.operators)
        products = self.num_layers * (4 * D * D + 3 * D * I) + VOCAB_SIZE * D
        taps = 3 * FEATURIZER_TAPS * (self.num_layers - num["attention"])
        taps += num["hyena_se"] * self.hyena_se_length + num["hyena_mr"] * self.hyena_mr_length
        taps += num["hyena_li"] * 2 * self.state_size
        return 2.0 * products + 2.0 * D * taps + 2.0 * D * length * num["attention"]

    def weights_bytes(self, dtype: str) -> int:
        """Bytes of the weights; poles and residues stay in float32."""
        poles = self.operators.count("hyena_li") * 2 * self.hidden_size * self.state_size
        item = ITEM_BYTES[dtype]
        return (self.parameters - poles) * item + poles * 4

    def kv_bytes_per_token(self, dtype: str) -> int:
        """Bytes of the keys and values of one token, all attention layers together."""
        return 2 * self.num_attention * self.hidden_size * ITEM_BYTES[dtype]

    def state_bytes(self, dtype: str) -> int:
        """Bytes of what the other layers keep of one sequence: last inputs, and states."""
        D, item = self.hidden_size, ITEM_BYTES[dtype]  # noqa: N806 - as in the legend
        num = Counter(self.operators)
        featurizers = 3 * D * (FEATURIZER_TAPS - 1) * (self.num_layers - num["attention"]) * item
        short = num["hyena_se"] * D * (self.hyena_se_length - 1) * item
        medium = num["hyena_mr"] * D * (self.hyena_mr_length - 1) * 4
        return featurizers + short + medium + num["hyena_li"] * D * self.state_size * 4


def _release(
    num_layers: int, hidden_size: int, intermediate_size: int, heads: int, groups: int
) -> ModelShape:
    stripes = STRIPES * math.ceil(num_layers / len(STRIPES))
    return ModelShape(
        operators=stripes[:num_layers],
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=heads,
        hyena_se_groups=groups,
        hyena_mr_groups=groups,
    )


_7B = _release(32, 4096, 11_264, 32, 256)
_7B_BASE = replace(_7B, intermediate_size=11_008)
_20B = _release(24, 8192, 22_528, 64, 512)
_40B_OPERATORS = _release(32, 1, 1, 1, 1).operators + _release(18, 1, 1, 1, 1).operators
_40B = replace(_20B, operators=_40B_OPERATORS)

RELEASE_SHAPES: Mapping[str, ModelShape] = {
    "evo2_1b_base": _release(25, 1920, 5120, 15, 128),
    "evo2_7b": _7B,
    "evo2_7b_base": _7B_BASE,
    "evo2_7b_262k": _7B_BASE,
    "evo2_7b_microviridae": _7B_BASE,
    "evo2_20b": _20B,
    "evo2_40b": _40B,
    "evo2_40b_base": replace(_40B, intermediate_size=21_888),
}


def read_shape(name: str, model: ModelConfig) -> ModelShape:
    """The shape of a model of the config, from its files of text or by the release that it is.

    Raises:
        InputError: No file tells it, and no release is named.
    """
    path = checkpoint_path(model)
    on_hub = parse_hub_name(model.checkpoint)
    published = find_release(on_hub.repository) if on_hub is not None else None
    release = published.model if published else model.model or path.name.partition(".")[0]
    if model.config is not None:
        return _shape_of(_read_mapping(model.config), model.config)
    if not path.is_dir() and release in RELEASE_SHAPES:
        return RELEASE_SHAPES[release]
    file = path / "config.json"
    if on_hub is not None and not file.exists():
        raise InputError(
            f"models.{name}: nothing tells the shape of {on_hub} before it is fetched. Run "
            f"`evo2-tasks fetch {on_hub}`."
        )
    if not file.exists():
        raise InputError(
            f"models.{name}: {file} does not exist, so nothing tells the model's shape. Name the "
            "release by `model`, or convert the checkpoint first."
        )
    return _shape_of(_read_mapping(file), file)


def _read_mapping(file: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(file.read_bytes())  # JSON is YAML
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected the description of a model.")
    return values


def _shape_of(values: Mapping[str, Any], file: Path) -> ModelShape:
    """The shape that a config.json or a published description states; 1B is the default."""
    default = RELEASE_SHAPES["evo2_1b_base"]
    try:
        if "num_layers" in values:
            return _published_shape(values)
        operators = values.get("operators", default.operators)
        number = {
            key: values.get(key, getattr(default, key))
            for key in ModelShape.__dataclass_fields__
            if key != "operators"
        }
        if not all(isinstance(value, int) for value in number.values()):
            raise TypeError("a number is missing")
        return ModelShape(operators=tuple(operators), **number)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: is no description of an Evo 2 model: {error}.") from error


def _published_shape(values: Mapping[str, Any]) -> ModelShape:
    places = {
        index: operator for key, operator in LAYER_LISTS.items() for index in values.get(key) or []
    }
    hidden_size = values["hidden_size"]
    multiple = values.get("inner_size_multiple_of", 64) * values.get("model_parallel_size", 1)
    default_size = math.ceil(int(8 * hidden_size / 3) / multiple) * multiple
    return ModelShape(
        operators=tuple(places[index] for index in range(values["num_layers"])),
        hidden_size=hidden_size,
        intermediate_size=values.get("inner_mlp_size") or default_size,
        num_attention_heads=values["num_attention_heads"],
        hyena_se_groups=values["hcs_filter_groups"],
        hyena_mr_groups=values["hcm_filter_groups"],
        hyena_se_length=values.get("hcs_filter_length", 7),
        hyena_mr_length=values.get("hcm_filter_length", 128),
        state_size=values.get("state_size", 16),
    )


CHUNK_LENGTH = 32  # of the model's modal filter
# A CPU job holds more than lives in its tensors: freed blocks stay with the process. Measured: 1.28
# to 1.32 with torch 2.13 at widths of 128 to 512.
CPU_HEAP_FACTOR = 1.3
# Python, torch, pyarrow and what loading leaves, of a process that scores.
PROCESS_MB = 550
SLICE_BYTES = 2 * 4 * 4096 * VOCAB_SIZE  # logits of some positions, as the scorer computes them
# Of attention over a cache where no fused kernel knows how its queries stand.
MASK_ELEMENTS = 2**23
LEAST_QUERIES = 64
MASK_BYTES = 11  # and half an item: measured


def activation_bytes_per_token(shape: ModelShape, dtype: str) -> float:
    """Bytes that live at the worst moment of a forward pass, for each token that goes through.

    The input of the model, of the layer and of the operator are there all the time (3 D), and so
    is what the operator or the MLP of that moment makes of them.
    """
    D, I, item = shape.hidden_size, shape.intermediate_size, ITEM_BYTES[dtype]  # noqa: E741, N806
    narrow = item < 4  # the filters compute in float32
    moments: list[float] = [
        item * (5 * D + 3 * I)
    ]  # the MLP: residual and operator's output, two halves, gate
    if shape.num_attention < shape.num_layers:
        moments.append(item * D * (3 + 3 + 3 + 3))  # the featurizer: input, padded, output
    if shape.num_attention:  # queries and keys are turned in float32
        moments.append(item * D * (3 + 3 + 1) + 4 * D * (2 + narrow))
    if "hyena_mr" in shape.operators:
        filtered = 4 * D * 3 + item * D if narrow else 4 * D * 3
        moments.append(item * D * (3 + 3 + 3 + 1) + filtered)
    if "hyena_li" in shape.operators:
        states = 3 * shape.state_size / CHUNK_LENGTH
        moments.append(item * D * (3 + 3 + 3 + 1) + 4 * D * (4 + states + narrow))
    return max(moments)


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes that scoring takes on its device."""

    weights: int
    keys_and_values: int
    state: int
    batch: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.keys_and_values + self.state + self.batch


def device_memory(
    shape: ModelShape,
    dtype: str,
    *,
    window_length: int,
    batch_tokens: int,
    segment_length: int,
    horizon: int | None = None,
    num_devices: int = 1,
    offload: bool = False,
    on_cpu: bool = False,
) -> DeviceMemory:
    """What scoring takes on its device, or on the fullest of several, by arithmetic.

    For substitutions in centered windows.

    Args:
        shape: The model's.
        dtype: Number type of its weights.
        window_length: Tokens of a window.
        batch_tokens: Tokens that go through at once; a longer row is a batch of its own.
        segment_length: More tokens of a row than these go through in several calls.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Devices that share the model, each a range of its layers.
        offload: Whether keys and values wait in host memory, but for those of one layer.
        on_cpu: Whether the device is a CPU, whose attention over a cache writes its mask out.
    """
    D, item = shape.hidden_size, ITEM_BYTES[dtype]  # noqa: N806 - as in the legend
    prefix = window_length // 2
    branch = min(horizon or window_length, window_length - prefix)
    rows = max(1, batch_tokens // branch)
    trunks = max(1, min(rows // 2, batch_tokens // 2 // prefix))
    at_once = max(trunks * min(prefix, segment_length), rows * min(branch, segment_length))
    moments: list[float] = [
        at_once * activation_bytes_per_token(shape, dtype),
        at_once * D * (2 * item + 2 * 4 + (4 if item < 4 else 0)),  # the final norm
        at_once * D * 4 + SLICE_BYTES,  # the output matrix
    ]
    kept = trunks * prefix + (rows * branch if branch > segment_length else 0)
    kv = 0
    if shape.num_attention:
        of_one = kept * shape.kv_bytes_per_token(dtype) // shape.num_attention
        kv = 0 if offload else of_one * shape.most_attention(num_devices)
        # Those of the trunks and of the branches are joined, a layer at a time.
        total = prefix + branch
        attention = float(item * D * (10 * at_once + 2 * rows * total))
        if on_cpu:
            queries = min(branch, segment_length, max(LEAST_QUERIES, MASK_ELEMENTS // total))
            attention += queries * total * (MASK_BYTES + item / 2)
        moments.append(attention)
    share = shape.largest_share(num_devices)
    return DeviceMemory(
        weights=round(shape.weights_bytes(dtype) * share),
        keys_and_values=kv,
        state=round((trunks + rows) * shape.state_bytes(dtype) * share),
        batch=round(max(moments)),
    )


def suggest_batch_tokens(
    shape: ModelShape,
    dtype: str,
    *,
    window_length: int,
    segment_length: int,
    memory: float,
    horizon: int | None = None,
    num_devices: int = 1,
    used: float = 0.8,
) -> int | None:
    """Tokens that fit at once, a power of two.

    Args:
        shape: The model's.
        dtype: Number type of its weights.
        window_length: Tokens of a window.
        segment_length: More tokens of a row than these go through in several calls.
        memory: Bytes of the device.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Such devices that share the model.
        used: Share of them to plan with; the rest is for what the allocator cannot use.

    Returns:
        None where not even the weights and a short batch fit.
    """
    fitting = [
        2**power
        for power in range(10, 31)
        if device_memory(
            shape,
            dtype,
            window_length=window_length,
            batch_tokens=2**power,
            segment_length=segment_length,
            horizon=horizon,
            num_devices=num_devices,
        ).total
        <= used * memory
    ]
    return max(fitting, default=None)


@dataclass(frozen=True)
class Rate:
    """How fast a device runs a model, as measured by somebody."""

    device: str
    model: str
    window_length: int
    tokens_per_s: float
    flops_per_token: float
    source: str
    threads: int | None = None

    @property
    def flops_per_s(self) -> float:
        """Operations per second that it comes to, which other models are reckoned by."""
        return self.tokens_per_s * self.flops_per_token


def read_rates(file: Path) -> list[Rate]:
    """A rate table: what ``calibrate`` writes, or the published one of the package.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    try:
        rates = [Rate(**values) for values in json.loads(file.read_bytes())["rates"]]
        if not all(rate.tokens_per_s > 0 and rate.flops_per_token > 0 for rate in rates):
            raise ValueError("a rate is not above 0")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: is no table of rates. Expected what `evo2-tasks calibrate` writes."
        ) from error
    return rates


def find_rate(rates: Sequence[Rate], device: str | None) -> Rate | None:
    """The last rate of a device whose name holds these words; of any device without them."""
    wanted = (device or "").lower()
    found = [rate for rate in rates if wanted in rate.device.lower()]
    return found[-1] if found else None


def choose_rate(rates: Sequence[Rate], model: str, device: str | None, *, gpus: int) -> Rate | None:
    """The rate to reckon with: of this model where there is one, else of another one."""
    of_kind = [rate for rate in rates if rate.device.startswith("cpu") == (gpus == 0)]
    of_model = [rate for rate in of_kind if rate.model == model]
    return find_rate(of_model, device) or find_rate(of_kind, device)
