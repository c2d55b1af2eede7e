"""The names of the parts of a model whose output can be taken, and their places in the model.

The names are those of the published implementation. It names the parts of its blocks; the modules
of ours are in other places.
"""

import re
from collections.abc import Mapping
from typing import Final

WHOLE_MODEL: Final[Mapping[str, str]] = {
    "embedding_layer": "model.embed_tokens",
    "norm": "model.norm",
}
"""Parts outside the blocks: published name, and module."""

BLOCK_PARTS: Final[Mapping[str, str]] = {
    "pre_norm": "pre_norm",
    "projections": "mixer.projections",
    "filter": "mixer.filter",
    "out_filter_dense": "mixer.out_filter_dense",
    "inner_mha_cls.Wqkv": "mixer.Wqkv",
    "inner_mha_cls.out_proj": "mixer.out_proj",
    "post_norm": "post_norm",
    "mlp.l1": "mlp.l1",
    "mlp.l2": "mlp.l2",
    "mlp.l3": "mlp.l3",
}
"""Parts of a block, in the order in which they run: published name, and module of ours."""


def module_path(name: str) -> str:
    """The module of a model that has a published name.

    Args:
        name: A published name, for example ``blocks.28.mlp.l3``.

    Returns:
        Its path in `Evo2ForCausalLM`, for example ``model.layers.28.mlp.l3``.

    Raises:
        ValueError: No part has this name.
    """
    if name in WHOLE_MODEL:
        return WHOLE_MODEL[name]
    found = re.fullmatch(r"blocks\.(0|[1-9][0-9]*)(?:\.(.+))?", name, re.ASCII)
    if found is None or found[2] not in (None, *BLOCK_PARTS):
        raise ValueError(f"{name!r} is not the name of a layer.")
    block = f"model.layers.{found[1]}"
    return block if found[2] is None else f"{block}.{BLOCK_PARTS[found[2]]}"
