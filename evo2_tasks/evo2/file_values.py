"""Values of a checkpoint's `config.json` by which transformers would load code or other files.

What a user passes to `from_pretrained` in Python is the user's own decision. A value in a file is
not: whoever wrote the file chose it.
"""

from collections.abc import Mapping

ATTENTION_IN_FILES = ("eager", "sdpa")
"""Attention implementations that a file may name: those that torch computes without a compiler."""

DTYPES_IN_FILES = ("float32", "bfloat16", "float16", "float64")
MAX_LAYERS = 1_000
"""More layers than any model has. Lists of that length are made before any weight is read."""

# Each of these has an effect in transformers, and no Evo 2 model has it.
_REFUSED = {
    "experts_implementation": "Evo 2 has no experts",
    "quantization_config": "the weights must be saved without quantization",
    "fusion_config": "the layers must not be replaced",
    "per_layer_config": "all layers have the same settings",
    "distributed_config": "the weights must be in safetensors files",
    "transformers_weights": "the weights are in model.safetensors or its parts",
    "text_config": "Evo 2 has no parts with a config of their own",
    "text_encoder": "Evo 2 has no parts with a config of their own",
    "decoder": "Evo 2 has no parts with a config of their own",
    "generator": "Evo 2 has no parts with a config of their own",
}


def check_file_values(values: Mapping[str, object]) -> None:
    """Refuse values of a `config.json` by which transformers would load code or other files.

    A null is allowed everywhere.

    Args:
        values: The keys of the file.

    Raises:
        ValueError: A value is refused. The message names the key and what is allowed.
    """
    for key, value in values.items():
        if value is None:
            continue
        name = str(key).removeprefix("_").removesuffix("_internal")
        if name == "attn_implementation":
            if value not in ATTENTION_IN_FILES:
                raise ValueError(
                    f"{key}: {value!r} is not allowed in a file; expected one of "
                    f"{', '.join(ATTENTION_IN_FILES)}. Remove the key."
                )
        elif name in ("dtype", "torch_dtype"):
            if value not in DTYPES_IN_FILES:
                raise ValueError(
                    f"{key}: {value!r} unknown; expected one of {', '.join(DTYPES_IN_FILES)}."
                )
        elif name in _REFUSED:
            raise ValueError(f"{key}: is not allowed: {_REFUSED[name]}. Remove the key.")
