"""The shape of a model: the numbers that determine its cost.

The room `evo2/` imports torch, so its numbers cannot be imported here. All numbers that are copied
from `evo2/` and `scoring/` are in this file, each with its original next to it. The test
tests/cost/test_shapes.py compares each of them with its original.

D channels, I channels inside the MLP, L tokens, V vocabulary.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from evo2_tasks.config.resolve import ModelSettings
from evo2_tasks.config.text import read_text
from evo2_tasks.config.yaml_files import read_yaml
from evo2_tasks.errors import InputError
from evo2_tasks.hub import find_release, parse_hub_name
from evo2_tasks.io.documents import Document
from evo2_tasks.io.words import shown_path

ITEM_BYTES = {"float32": 4, "bfloat16": 2}  # torch: itemsize of the dtypes

# Defaults of evo2.config.Evo2Config.
VOCAB_SIZE = 512
FEATURIZER_LENGTH = 3
HYENA_SE_LENGTH = 7
HYENA_MR_LENGTH = 128
STATE_SIZE = 16

# evo2.config.striped_operators: the order of the layers, which repeats.
STRIPES = ("hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_se", "hyena_mr", "hyena_li")

# evo2.config.Evo2Config.from_published: MLP width of a published config that does not state it.
INNER_SIZE_MULTIPLE = 64

# evo2.file_values.MAX_LAYERS and evo2.config.MOST: more than any model has.
MAX_LAYERS = 1_000
MOST = 2**24

# evo2.operators.CHUNK_LENGTH: tokens of a chunk of the modal filter.
CHUNK_LENGTH = 32

# scoring.likelihood.POSITIONS_PER_SLICE: positions whose logits are computed in one step.
POSITIONS_PER_SLICE = 4096

# evo2.config.PUBLISHED_OPERATORS: names of the layer lists in published configs.
LAYER_LISTS = {
    "hcs_layer_idxs": "hyena_se",
    "hcm_layer_idxs": "hyena_mr",
    "hcl_layer_idxs": "hyena_li",
    "attn_layer_idxs": "attention",
}


@dataclass(frozen=True)
class ModelShape:
    """The numbers of a model that determine its cost."""

    operators: tuple[str, ...]
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    hyena_se_groups: int
    hyena_mr_groups: int
    hyena_se_length: int = HYENA_SE_LENGTH
    hyena_mr_length: int = HYENA_MR_LENGTH
    state_size: int = STATE_SIZE

    @property
    def num_layers(self) -> int:
        """Number of layers of the model."""
        return len(self.operators)

    @property
    def num_attention(self) -> int:
        """Number of attention layers."""
        return self.operators.count("attention")

    @property
    def parameters(self) -> int:
        """Number of parameters. The output matrix is the embedding and is counted once."""
        D, I = self.hidden_size, self.intermediate_size  # noqa: E741, N806 - as in the legend
        num = Counter(self.operators)
        every_layer = 3 * D * D + D * D + D + 3 * D * I + 2 * D
        featurizers = 3 * D * FEATURIZER_LENGTH * (self.num_layers - num["attention"])
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
        """Share of the layers on the device that holds the most of them."""
        return math.ceil(self.num_layers / num_devices) / self.num_layers

    def most_attention(self, num_devices: int) -> int:
        """Number of attention layers on the device that holds the most of them."""
        counts = Counter(
            index * num_devices // self.num_layers
            for index, operator in enumerate(self.operators)
            if operator == "attention"
        )
        return max(counts.values(), default=0)

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations for one token of a window of `length` tokens.

        A multiplication with its addition counts as two operations. The convolutions are counted
        tap by tap, although the model computes some of them in another way. Causal attention is
        counted as half of the full square.
        """
        D, I = self.hidden_size, self.intermediate_size  # noqa: E741, N806 - as in the legend
        num = Counter(self.operators)
        matrices = self.num_layers * (4 * D * D + 3 * D * I) + VOCAB_SIZE * D
        taps = 3 * FEATURIZER_LENGTH * (self.num_layers - num["attention"])
        taps += num["hyena_se"] * self.hyena_se_length + num["hyena_mr"] * self.hyena_mr_length
        taps += num["hyena_li"] * 2 * self.state_size
        return 2.0 * matrices + 2.0 * D * taps + 2.0 * D * length * num["attention"]

    def weights_bytes(self, dtype: str) -> int:
        """Bytes of the weights. Poles and residues stay in float32."""
        poles = self.operators.count("hyena_li") * 2 * self.hidden_size * self.state_size
        item = ITEM_BYTES[dtype]
        return (self.parameters - poles) * item + poles * 4

    def kv_bytes_per_token(self, dtype: str) -> int:
        """Bytes of the keys and values of one token, summed over all attention layers."""
        return 2 * self.num_attention * self.hidden_size * ITEM_BYTES[dtype]

    def state_bytes(self, dtype: str) -> int:
        """Bytes that the Hyena layers keep of one sequence: last inputs, and recurrent states."""
        D, item = self.hidden_size, ITEM_BYTES[dtype]  # noqa: N806 - as in the legend
        num = Counter(self.operators)
        featurizers = 3 * D * (FEATURIZER_LENGTH - 1) * (self.num_layers - num["attention"]) * item
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

# evo2.config.PRESETS: the released models.
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


def read_shape(model: ModelSettings) -> ModelShape:
    """The shape of a model, from its release or from its config file. Weights are not read.

    Raises:
        InputError: The model is not a known release, and its config file is missing or not valid.
    """
    path = model.checkpoint
    on_hub = parse_hub_name(model.written)
    published = find_release(on_hub.repository) if on_hub is not None else None
    release = published.model if published else model.model or path.name.partition(".")[0]
    if model.config is not None:
        return _shape_of(_read_mapping(model.config), model.config)
    if not path.is_dir() and release in RELEASE_SHAPES:
        return RELEASE_SHAPES[release]
    file = path / "config.json"
    if on_hub is not None and not file.exists():
        raise InputError(
            f"{model.where}: the shape of {on_hub} is not known before it is fetched. Run "
            f"`evo2-tasks fetch {on_hub}`."
        )
    if not file.exists():
        raise InputError(
            f"{model.where}: {file} does not exist, so the shape of the model is not known. Name "
            "its release by `model`, or convert the checkpoint first."
        )
    return _shape_of(_read_mapping(file), file)


def _read_mapping(file: Path) -> Mapping[str, Any]:
    name = str(file)
    values = read_yaml(read_text(file, name), name, allow_twice=True)  # JSON is YAML
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected the config of a model.")
    return values


_1B = RELEASE_SHAPES["evo2_1b_base"]

Size = Annotated[int, Field(ge=1, le=MOST)]
Operator = Annotated[str, Field(pattern="^(hyena_se|hyena_mr|hyena_li|attention)$")]


class SavedConfig(Document):
    """The keys of a config.json that determine the shape. Missing keys are those of the 1B."""

    remedy: ClassVar[str] = "Expected the config.json of an Evo 2 model."

    operators: Annotated[tuple[Operator, ...], Field(min_length=1, max_length=MAX_LAYERS)] = (
        _1B.operators
    )
    hidden_size: Size = _1B.hidden_size
    intermediate_size: Size = _1B.intermediate_size
    num_attention_heads: Size = _1B.num_attention_heads
    hyena_se_groups: Size = _1B.hyena_se_groups
    hyena_mr_groups: Size = _1B.hyena_mr_groups
    hyena_se_length: Size = HYENA_SE_LENGTH
    hyena_mr_length: Size = HYENA_MR_LENGTH
    state_size: Size = STATE_SIZE


class PublishedConfig(Document):
    """The keys of a published config that determine the shape."""

    remedy: ClassVar[str] = "Expected the published config of an Evo 2 model."

    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    hcs_layer_idxs: tuple[int, ...] | None = None
    hcm_layer_idxs: tuple[int, ...] | None = None
    hcl_layer_idxs: tuple[int, ...] | None = None
    attn_layer_idxs: tuple[int, ...] | None = None
    hidden_size: Size
    inner_mlp_size: Size | None = None
    inner_size_multiple_of: Size = INNER_SIZE_MULTIPLE
    model_parallel_size: Size = 1
    num_attention_heads: Size
    hcs_filter_groups: Size
    hcm_filter_groups: Size
    hcs_filter_length: Size = HYENA_SE_LENGTH
    hcm_filter_length: Size = HYENA_MR_LENGTH
    state_size: Size = STATE_SIZE


def _shape_of(values: Mapping[str, Any], file: Path) -> ModelShape:
    """The shape in a config.json or in a published config."""
    where = shown_path(file)
    if "num_layers" in values:
        return _published_shape(PublishedConfig.parse(values, where), where)
    config = SavedConfig.parse(values, where)
    return ModelShape(**{key: getattr(config, key) for key in ModelShape.__dataclass_fields__})


def _published_shape(config: PublishedConfig, where: str) -> ModelShape:
    places = {
        index: operator
        for key, operator in LAYER_LISTS.items()
        for index in getattr(config, key) or ()
    }
    missing = [index for index in range(config.num_layers) if index not in places]
    if missing:
        raise InputError(
            f"{where}: layer {missing[0]} is in none of the lists {', '.join(LAYER_LISTS)}. "
            f"{config.remedy}"
        )
    multiple = config.inner_size_multiple_of * config.model_parallel_size
    default_size = math.ceil(int(8 * config.hidden_size / 3) / multiple) * multiple
    return ModelShape(
        operators=tuple(places[index] for index in range(config.num_layers)),
        hidden_size=config.hidden_size,
        intermediate_size=config.inner_mlp_size or default_size,
        num_attention_heads=config.num_attention_heads,
        hyena_se_groups=config.hcs_filter_groups,
        hyena_mr_groups=config.hcm_filter_groups,
        hyena_se_length=config.hcs_filter_length,
        hyena_mr_length=config.hcm_filter_length,
        state_size=config.state_size,
    )
