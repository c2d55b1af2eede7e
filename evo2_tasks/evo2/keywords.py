"""The keywords of `forward`: two names for the cache, and no keyword without an effect.

transformers 5.24 renamed `past_key_values` to `cache`, in the arguments and the outputs of its
models, and 5.40 will remove the old name. Evo 2 accepts both names under every version. To
transformers it gives the name that the installed version has, `CACHE_NAME`.

A `forward` with `**kwargs` accepts any keyword. An unknown one would be lost without an error, and
a lost cache gives wrong DNA. `check_keywords` therefore refuses what neither Evo 2 nor transformers
knows.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import TransformersKwargs

CACHE_NAMES = ("cache", "past_key_values")
# The name of the cache in the installed version of transformers.
_OUTPUTS = {field.name for field in fields(BaseModelOutputWithPast)}
CACHE_NAME = "cache" if "cache" in _OUTPUTS else "past_key_values"

# Keywords that transformers passes through a model to its attention functions, output recorders
# and loss, those of its debugger, which write files and change nothing, and the tokenizer that
# `generate` needs for its stop strings.
PASSED_KEYWORDS = TransformersKwargs.__optional_keys__ | {
    *("debug_io", "debug_io_dir", "prune_layers", "tokenizer")
}
# Those of the loss of a causal language model. Collators of transformers make the first.
LOSS_KEYWORDS = frozenset({"shift_labels", "ignore_index"})
# Those of several sequences in one row.
PACKING_KEYWORDS = frozenset(
    {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx"}
)


def check_keywords(
    model: object, kwargs: Mapping[str, Any], others: Collection[str] = frozenset()
) -> None:
    """Refuse further keywords of a `forward` that would be lost or half obeyed.

    Args:
        model: The module whose `forward` got them.
        kwargs: The keywords that are not parameters of that `forward`.
        others: Names that it accepts besides those that transformers passes through.

    Raises:
        TypeError: A keyword is not known.
        ValueError: A keyword requests what a convolution cannot do.
    """
    for name, value in kwargs.items():
        if name not in PASSED_KEYWORDS and name not in others:
            raise TypeError(
                f"{type(model).__name__}.forward() got an unknown keyword argument '{name}'."
            )
        if value is not None and name in PACKING_KEYWORDS:
            raise ValueError(
                f"Evo 2 cannot run packed sequences ({name}): its convolutions would read across "
                "their borders. Pad the sequences instead."
            )
        if name == "is_causal" and value is not None and not value:
            raise ValueError("Evo 2 cannot run with is_causal=False: its convolutions are causal.")


def one_cache(cache: Cache | None, past_key_values: Cache | None) -> Cache | None:
    """The cache, given by one of its two names.

    Raises:
        TypeError: It is given by both names.
    """
    if cache is None:
        return past_key_values
    if past_key_values is not None:
        raise TypeError("The cache is given twice, as cache and as past_key_values; give one.")
    return cache


def rename_cache(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for a function of transformers, with its name of the cache.

    Raises:
        TypeError: The cache is given by both names.
    """
    renamed = {name: value for name, value in kwargs.items() if name not in CACHE_NAMES}
    if len(renamed) < len(kwargs):
        renamed[CACHE_NAME] = one_cache(*(kwargs.get(name) for name in CACHE_NAMES))
    return renamed
