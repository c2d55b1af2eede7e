"""The config of an Evo 2 model, the releases, and the keys of the published configs."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self, TypeGuard

from transformers import PreTrainedConfig

from .file_values import MAX_LAYERS, check_file_values

HYENA_SE = "hyena_se"  # a filter of a few taps; "hcs" in the published files
HYENA_MR = "hyena_mr"  # a filter of 128 taps; "hcm"
HYENA_LI = "hyena_li"  # a filter as long as the sequence, a sum of exponentials; "hcl"
ATTENTION = "attention"

# Each operator in the terms of transformers, which name the cached state of a layer.
LAYER_TYPES = {
    HYENA_SE: "conv",
    HYENA_MR: "conv",
    HYENA_LI: "linear_attention",
    ATTENTION: "full_attention",
}

# How the input projections of Hyena layers are computed: in the model's dtype, in FP8 with sums in
# float32, or in FP8 with sums as in a kind of GPU.
FP8_MODES = ("off", "emulate", "hopper", "ada", "blackwell")

PUBLISHED_OPERATORS = {HYENA_SE: "hcs", HYENA_MR: "hcm", HYENA_LI: "hcl", ATTENTION: "attn"}

# Published keys with only one supported value: that value, and the value that the reference assumes
# if the key is missing.
_FIXED_KEYS: dict[str, tuple[object, object]] = {
    "column_split": (True, True),
    "column_split_hyena": (False, True),
    "evo2_style_activations": (True, False),
    "final_norm": (True, True),
    "hyena_flip_x1x2": (False, False),
    "hyena_out_proj_bias": (True, True),
    "interleave": (True, True),
    "mha_out_proj_bias": (True, True),
    "mlp_activation": ("gelu", "gelu"),
    "proj_groups": (1, 1),
    "qkv_proj_bias": (False, True),
    "short_filter_bias": (False, False),
    "tie_embeddings": (True, True),
}

# Where the Auto classes find the code of a saved model, in the files that are saved next to it.
AUTO_MAP = {
    "AutoConfig": "config.Evo2Config",
    "AutoModel": "modeling.Evo2Model",
    "AutoModelForCausalLM": "modeling.Evo2ForCausalLM",
}
# The types of RoPE, and the numbers that each of them needs.
_ROPE_NUMBERS = {"default": ("rope_theta",), "linear": ("rope_theta", "factor")}
MOST = 2**24
"""More than any size of any model."""
_COUNTS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads"),
    *("featurizer_length", "hyena_se_length", "hyena_se_groups", "hyena_mr_length"),
    *("hyena_mr_groups", "state_size", "max_position_embeddings"),
)


class Evo2Config(PreTrainedConfig):
    """The shape of an Evo 2 (StripedHyena 2) model. The default is ``evo2_1b_base``.

    Args:
        vocab_size: Number of token ids: the bytes 0 to 255, and 256 ids that no text uses.
        hidden_size: Width D of the residual stream.
        intermediate_size: Inner width of the MLPs.
        num_attention_heads: Heads of the attention layers; the head size is even.
        operators: Operator of each layer: ``hyena_se``, ``hyena_mr``, ``hyena_li`` or
            ``attention``. Default: the order of the 1B and 7B models, `num_hidden_layers` long.
        num_hidden_layers: Number of layers. Default: the length of `operators`, or 25.
        layer_types: Derived from `operators`; if given, it has to agree.
        featurizer_length: Taps of the filter over the input projections.
        hyena_se_length: Taps of the ``hyena_se`` filters.
        hyena_se_groups: Filters of a ``hyena_se`` layer, each for ``D / groups`` adjacent channels.
        hyena_mr_length: Taps of the ``hyena_mr`` filters.
        hyena_mr_groups: Filters of a ``hyena_mr`` layer.
        state_size: Exponentials in each ``hyena_li`` filter.
        norm_eps: Added to the root mean square, outside the root.
        rope_parameters: ``rope_theta``, and ``rope_type`` ``default`` or ``linear``; ``linear``
            divides positions by ``factor``.
        max_position_embeddings: Longest sequence of the training. The computation does not use it.
        fp8_projections: Whether the release was trained with FP8 input projections. For
            information only; `fp8` determines the computation.
        fp8: How the input projections of Hyena layers are computed, one of `FP8_MODES`. It may be
            changed in a loaded model.
        fp8_scales: For each layer three factors: of the input of its projections and of their
            weight, before both are rounded to E4M3, and of the output. None for a layer without
            scales, and for a model without scales.
        round_weights_to: Dtype to which `from_pretrained` rounds all weights except those kept in
            float32, before it converts them to a wider dtype. It is set in converted checkpoints
            that store weights in a wider dtype than the reference uses. It is None in the loaded
            model, so that a model that is trained further and saved keeps its bits.
        initializer_range: Standard deviation of new weights.
        tie_word_embeddings: Whether the output matrix is the embedding.
        use_cache: Whether a forward pass returns a cache by default.
        eos_token_id: The end-of-document token.
        pad_token_id: The padding token. It has an embedding like any other.
        bos_token_id: None, since the models have no such token.

    Raises:
        ValueError: The arguments contradict each other, or the model does not support one of them.
    """

    model_type = "evo2"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache", "past_key_values"]
    default_theta = 10_000.0
    # One state for the featurizer and one for the inner filter, in each layer of the stock cache.
    number_of_conv_states: ClassVar[int] = 2

    vocab_size: int = 512
    hidden_size: int = 1920
    intermediate_size: int = 5120
    num_attention_heads: int = 15
    operators: list[str] = None  # type: ignore[assignment] # set in __post_init__
    num_hidden_layers: int = None  # type: ignore[assignment] # the same
    layer_types: list[str] = None  # type: ignore[assignment] # the same
    featurizer_length: int = 3
    hyena_se_length: int = 7
    hyena_se_groups: int = 128
    hyena_mr_length: int = 128
    hyena_mr_groups: int = 128
    state_size: int = 16
    norm_eps: float = 1e-6
    rope_parameters: dict[str, Any] = None  # type: ignore[assignment] # the same
    max_position_embeddings: int = 8192
    fp8_projections: bool = True
    fp8: str = "off"
    fp8_scales: list[list[float] | None] | None = None
    round_weights_to: str | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    use_cache: bool = True
    eos_token_id: int | list[int] | None = 0
    pad_token_id: int | None = 1
    bos_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Derive values from other values, and refuse contradictions."""
        if self.operators is None:
            num_layers = 25 if self.num_hidden_layers is None else self.num_hidden_layers
            _require_counts(num_hidden_layers=num_layers)
            _require_few_layers(num_layers)
            self.operators = striped_operators(num_layers)
        if not isinstance(self.operators, list | tuple) or not all(
            isinstance(operator, str) for operator in self.operators
        ):
            raise ValueError(f"operators: {_shown(self.operators)} is not a list of names.")
        self.operators = list(self.operators)
        if self.num_hidden_layers is None:
            self.num_hidden_layers = len(self.operators)
        unknown = sorted(set(self.operators) - set(LAYER_TYPES))
        if unknown:
            raise ValueError(f"operators: {unknown} unknown; expected {list(LAYER_TYPES)}.")
        derived = [LAYER_TYPES[operator] for operator in self.operators]
        # transformers 5.16 and 5.17 call a convolution linear attention, also in saved configs.
        older = ["linear_attention" if kind == "conv" else kind for kind in derived]
        if self.layer_types is not None and list(self.layer_types) not in (derived, older):
            raise ValueError(
                f"layer_types: {list(self.layer_types)} does not agree with operators, which give "
                f"{derived}."
            )
        self.layer_types = list(self.layer_types or derived)
        if not isinstance(self.rope_parameters, Mapping | None):
            raise ValueError(f"rope_parameters: {self.rope_parameters!r} is not a mapping.")
        self.rope_parameters = dict(self.rope_parameters or {})
        self.auto_map = dict(AUTO_MAP)
        super().__post_init__(**kwargs)
        self._check()

    def _check(self) -> None:
        if self.num_hidden_layers != len(self.operators) or not self.operators:
            raise ValueError(
                f"num_hidden_layers: {self.num_hidden_layers}, but operators names "
                f"{len(self.operators)} layers; there must be at least one."
            )
        _require_few_layers(self.num_hidden_layers)
        _require_counts(**{name: getattr(self, name) for name in _COUNTS})
        _require_token("bos_token_id", self.bos_token_id)
        _require_token("pad_token_id", self.pad_token_id)
        end = self.eos_token_id
        for token in end if isinstance(end, list | tuple) else [end]:
            _require_token("eos_token_id", token)
        for name in ("norm_eps", "initializer_range"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise ValueError(f"{name}: {_shown(value)} is not a number of at least 0.")
        for name in ("fp8_projections", "tie_word_embeddings", "use_cache"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(
                    f"{name}: {_shown(getattr(self, name))} is neither true nor false."
                )
        for operator, name in (
            (HYENA_SE, "hyena_se_groups"),
            (HYENA_MR, "hyena_mr_groups"),
            (ATTENTION, "num_attention_heads"),
        ):
            if operator in self.operators and self.hidden_size % getattr(self, name):
                raise ValueError(
                    f"{name}: {getattr(self, name)} does not divide hidden_size {self.hidden_size}."
                )
        if ATTENTION in self.operators and self.head_dim % 2:
            raise ValueError(
                f"num_attention_heads: {self.num_attention_heads} heads of hidden_size "
                f"{self.hidden_size} have the odd size {self.head_dim}; RoPE rotates pairs."
            )
        self._check_rope()
        self.check_fp8()
        if self.round_weights_to not in (None, "bfloat16"):
            raise ValueError(f"round_weights_to: {self.round_weights_to!r} is not 'bfloat16'.")

    def _check_rope(self) -> None:
        rope_type = self.rope_parameters.get("rope_type")
        if rope_type not in _ROPE_NUMBERS:
            raise ValueError(
                f"rope_parameters: rope_type {rope_type!r} unknown; expected {list(_ROPE_NUMBERS)}."
            )
        for name in _ROPE_NUMBERS[rope_type]:
            value = self.rope_parameters.get(name)
            if not _is_number(value) or value <= 0:
                raise ValueError(
                    f"rope_parameters: {name} {_shown(value)} is not a number above 0."
                )

    def check_fp8(self) -> None:
        """Check `fp8` and `fp8_scales`.

        Raises:
            ValueError: There is no such mode, or the scales do not fit the layers.
        """
        if self.fp8 not in FP8_MODES:
            raise ValueError(f"fp8: {self.fp8!r} unknown; expected {', '.join(FP8_MODES)}.")
        if self.fp8_scales is None:
            return
        if not isinstance(self.fp8_scales, list) or len(self.fp8_scales) != self.num_hidden_layers:
            raise ValueError(f"fp8_scales: not a list with {self.num_hidden_layers} layers.")
        for layer_idx, scales in enumerate(self.fp8_scales):
            if scales is not None and not (
                isinstance(scales, list)
                and len(scales) == 3
                and all(_is_number(scale) and scale > 0 for scale in scales)
            ):
                raise ValueError(
                    f"fp8_scales: {_shown(scales)} of layer {layer_idx} are not three numbers "
                    "above 0."
                )

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The config of a saved mapping; see `PreTrainedConfig.from_dict`.

        Raises:
            ValueError: The mapping has a value that a file may not have; see `check_file_values`.
        """
        check_file_values(config_dict)
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_file_values(cls, values: Mapping[str, Any]) -> Self:
        """The config of a saved model to compute scores with.

        Only the keys that describe an Evo 2 model are used. Other keys, which transformers keeps as
        attributes, are left out.

        Raises:
            ValueError: A value is not allowed, see `check_file_values`, or not possible.
        """
        check_file_values(values)
        own = {field.name for field in fields(cls)} - {
            field.name for field in fields(PreTrainedConfig)
        }
        own |= {"rope_theta", "rope_scaling"}  # as older versions of transformers write them
        used = {key: values[key] for key in own if key in values}
        names = ("attn_implementation", "_attn_implementation")
        attention = [values[key] for key in names if values.get(key) is not None]
        return cls(**used, **({"attn_implementation": attention[0]} if attention else {}))

    @property
    def has_fp8_scales(self) -> bool:
        """Whether every Hyena layer has FP8 scales."""
        scales = self.fp8_scales or [None] * self.num_hidden_layers
        pairs = zip(self.operators, scales, strict=True)
        return all(one is not None for operator, one in pairs if operator != ATTENTION)

    def fp8_scales_of(self, layer_idx: int) -> tuple[float, float, float]:
        """The FP8 scales of a layer: for its input, its weight and its output.

        Raises:
            ValueError: The checkpoint has no scales for this layer.
        """
        scales = None if self.fp8_scales is None else self.fp8_scales[layer_idx]
        if scales is None:
            raise ValueError(
                f"fp8: {self.fp8!r} needs FP8 scales, and the checkpoint has none for layer "
                f"{layer_idx}. The published file has them. Set fp8 to 'off' only for a model "
                "that was trained without FP8."
            )
        return scales[0], scales[1], scales[2]

    @property
    def head_dim(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def rope_factor(self) -> float:
        """The divisor of positions before RoPE."""
        self._check_rope()  # the parameters may have changed since the last check
        is_linear = self.rope_parameters["rope_type"] == "linear"
        return float(self.rope_parameters["factor"]) if is_linear else 1.0

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> Self:
        """The config of a released model.

        Args:
            name: The release, a key of `PRESETS`.
            **kwargs: Values that differ from the release.

        Raises:
            ValueError: There is no such release.
        """
        if name not in PRESETS:
            raise ValueError(f"model {name!r} unknown; expected {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[name], **kwargs})

    @classmethod
    def from_published(cls, published: Mapping[str, Any]) -> Self:
        """The config that a published YAML file describes.

        Args:
            published: The keys of the file. Keys without effect on the mathematics are ignored.

        Raises:
            ValueError: A key is missing, or has a value that no released model has.
        """
        for key, (fixed, default) in _FIXED_KEYS.items():
            if published.get(key, default) != fixed:
                given = repr(published[key]) if key in published else f"missing, so {default!r}"
                raise ValueError(
                    f"published config: {key} is {given}; only {fixed!r} is supported."
                )
        required = ("hidden_size", "num_layers", "num_attention_heads")
        missing = [key for key in required if key not in published]
        if missing:
            raise ValueError(f"published config: {', '.join(missing)} missing.")
        operators = _published_operators(published)
        keys = {
            "vocab_size": "vocab_size",
            "num_attention_heads": "num_attention_heads",
            "short_filter_length": "featurizer_length",
            "hcs_filter_length": "hyena_se_length",
            "hcs_filter_groups": "hyena_se_groups",
            "hcm_filter_length": "hyena_mr_length",
            "hcm_filter_groups": "hyena_mr_groups",
            "state_size": "state_size",
            "max_seqlen": "max_position_embeddings",
        }
        values = {ours: published[key] for key, ours in keys.items() if key in published}
        interpolated = published.get("use_interpolated_rotary_pos_emb", False)
        if not isinstance(interpolated, bool):
            raise ValueError(
                f"use_interpolated_rotary_pos_emb: {_shown(interpolated)} is neither true nor "
                "false."
            )
        factor = float(published.get("rotary_emb_scaling_factor", 1)) if interpolated else 1.0
        return cls(
            hidden_size=published["hidden_size"],
            intermediate_size=_published_intermediate_size(published),
            operators=operators,
            norm_eps=float(published.get("eps", 1e-6)),
            rope_parameters=_rope(float(published.get("rotary_emb_base", 1e6)), factor),
            fp8_projections=published.get("use_fp8_input_projections", False),
            **values,
        )

    def to_published(self) -> dict[str, Any]:
        """The keys of a published YAML file for this config, which `from_published` reads."""
        layers = {
            f"{theirs}_layer_idxs": [
                index for index, operator in enumerate(self.operators) if operator == ours
            ]
            for ours, theirs in PUBLISHED_OPERATORS.items()
        }
        published = {
            "model_name": "shc-evo2",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_filters": self.hidden_size,
            **layers,
            "num_layers": self.num_hidden_layers,
            "hcl_filter_groups": self.hidden_size,
            "hcm_filter_groups": self.hyena_mr_groups,
            "hcm_filter_length": self.hyena_mr_length,
            "hcs_filter_groups": self.hyena_se_groups,
            "hcs_filter_length": self.hyena_se_length,
            "short_filter_length": self.featurizer_length,
            "num_attention_heads": self.num_attention_heads,
            "inner_mlp_size": self.intermediate_size,
            "state_size": self.state_size,
            "eps": self.norm_eps,
            "rotary_emb_base": self.rope_parameters["rope_theta"],
            "max_seqlen": self.max_position_embeddings,
            "use_fp8_input_projections": self.fp8_projections,
            "tokenizer_type": "CharLevelTokenizer",
            "prefill_style": "fft",
            **{key: fixed for key, (fixed, _) in _FIXED_KEYS.items()},
        }
        if self.rope_factor != 1:
            published["use_interpolated_rotary_pos_emb"] = True
            published["rotary_emb_scaling_factor"] = self.rope_factor
        return published


def _require_counts(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: {_shown(value)} is not a whole number above 0.")
        if value > MOST and name != "max_position_embeddings":
            raise ValueError(f"{name}: {_shown(value)} is too large; at most {MOST:,} is allowed.")


def _require_few_layers(num_layers: int) -> None:
    if num_layers > MAX_LAYERS:
        raise ValueError(f"num_hidden_layers: {num_layers}; there can be at most {MAX_LAYERS:,}.")


def _is_number(value: object) -> TypeGuard[float]:
    # No NaN, no infinity, and no whole number that is too large for a float.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _require_token(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{name}: {_shown(value)} is not the id of a token.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def striped_operators(num_layers: int) -> list[str]:
    """The order of the layers in the 1B, 7B and 20B models: 4 layers, then groups of 7."""
    hyena = [HYENA_SE, HYENA_MR, HYENA_LI]
    stripe = [*hyena, *hyena, ATTENTION]
    layers = [*hyena, ATTENTION, *stripe * math.ceil(num_layers / len(stripe))]
    return layers[:num_layers]


def _rope(theta: float, factor: float = 1.0) -> dict[str, Any]:
    if factor == 1:
        return {"rope_type": "default", "rope_theta": theta}
    return {"rope_type": "linear", "rope_theta": theta, "factor": factor}


def _published_operators(published: Mapping[str, Any]) -> list[str]:
    num_layers = published["num_layers"]
    _require_counts(num_layers=num_layers)
    _require_few_layers(num_layers)
    operators: list[str | None] = [None] * num_layers
    for ours, theirs in PUBLISHED_OPERATORS.items():
        indices: Sequence[int] = published.get(f"{theirs}_layer_idxs") or []
        for index in indices:
            if not 0 <= index < num_layers or operators[index] is not None:
                raise ValueError(
                    f"published config: {theirs}_layer_idxs names layer {index}, which is in "
                    f"another list too or outside 0 to {num_layers - 1}."
                )
            operators[index] = ours
    named = [operator for operator in operators if operator is not None]
    if len(named) < num_layers:
        left = [index for index, operator in enumerate(operators) if operator is None]
        raise ValueError(f"published config: layers {left} are in none of the layer lists.")
    return named


def _published_intermediate_size(published: Mapping[str, Any]) -> Any:
    if published.get("inner_mlp_size") is not None:
        return published["inner_mlp_size"]
    multiple = published.get("inner_size_multiple_of", 64) * published.get("model_parallel_size", 1)
    return int(math.ceil(int(8 * published["hidden_size"] / 3) / multiple) * multiple)


_SHARED_7B: dict[str, Any] = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "hyena_se_groups": 256,
    "hyena_mr_groups": 256,
}
_SHARED_WIDE: dict[str, Any] = {
    "hidden_size": 8192,
    "num_attention_heads": 64,
    "hyena_se_groups": 512,
    "hyena_mr_groups": 512,
}
# The 40B models have 32 layers in the order of the 7B; then that order starts again.
_OPERATORS_40B = [*striped_operators(32), *striped_operators(18)]

# The releases, with the values of their published config files. `evo2_7b_base` and
# `evo2_7b_microviridae` are one architecture with two sets of weights.
PRESETS: dict[str, dict[str, Any]] = {
    "evo2_1b_base": {},
    "evo2_7b": {
        **_SHARED_7B,
        "intermediate_size": 11264,
        "rope_parameters": _rope(10_000.0, 128.0),
        "max_position_embeddings": 1_048_576,
    },
    "evo2_7b_base": {
        **_SHARED_7B,
        "intermediate_size": 11008,
        "max_position_embeddings": 32_768,
    },
    "evo2_7b_262k": {
        **_SHARED_7B,
        "intermediate_size": 11008,
        "rope_parameters": _rope(10_000.0, 32.0),
        "max_position_embeddings": 262_144,
    },
    "evo2_7b_microviridae": {
        **_SHARED_7B,
        "intermediate_size": 11008,
        "max_position_embeddings": 32_768,
    },
    "evo2_20b": {
        **_SHARED_WIDE,
        "num_hidden_layers": 24,
        "intermediate_size": 22528,
        "rope_parameters": _rope(1_000_000.0, 128.0),
        "max_position_embeddings": 1_048_576,
    },
    "evo2_40b": {
        **_SHARED_WIDE,
        "operators": _OPERATORS_40B,
        "intermediate_size": 22528,
        "rope_parameters": _rope(1_000_000.0, 128.0),
        "max_position_embeddings": 1_048_576,
    },
    "evo2_40b_base": {
        **_SHARED_WIDE,
        "operators": _OPERATORS_40B,
        "intermediate_size": 21888,
        "rope_parameters": _rope(1_000_000.0),
        "max_position_embeddings": 8_192,
    },
}

# These were trained with FP8 projections. In bfloat16 their predictions are near random.
NEEDS_FP8 = frozenset({"evo2_1b_base", "evo2_20b", "evo2_40b", "evo2_40b_base"})
