"""The layers of a model whose output can be taken: their names, modules and widths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from evo2_tasks.cost.shapes import ModelShape
from evo2_tasks.scoring.layers import BLOCK_PARTS, module_path

# Brixi et al., Nature 2026, doi 10.1038/s41586-026-10176-5, Extended Data Fig. 5d and 5e: the
# authors compare the blocks of Evo 2 40B for a classifier of SNVs in BRCA1, and take block 20.
_40B = "blocks.20"
# README.md of github.com/ArcInstitute/evo2 at 53f1959, section "Embeddings": the example, for 7B.
# Other notebooks there use `blocks.26` (exons with evo2_7b_base, features of evo2_7b_262k).
_7B = "blocks.28.mlp.l3"

DEFAULT_LAYERS: Final[Mapping[str, str]] = {
    "evo2_40b": _40B,
    "evo2_40b_base": _40B,
    "evo2_7b": _7B,
    "evo2_7b_base": _7B,
    "evo2_7b_262k": _7B,
}
"""The layer that the authors use, by release. A network has the same default before and after its
context was extended. Other releases have none, because no source names one.
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose output can be taken.

    Attributes:
        name: Its published name, for example ``blocks.28.mlp.l3``.
        module: Path of its module in `Evo2ForCausalLM`.
        width: Number of values of its output for each token.
    """

    name: str
    module: str
    width: int


def list_layers(shape: ModelShape) -> tuple[Layer, ...]:
    """All layers of a model, in the order in which they run."""
    names = ["embedding_layer"]
    for number, operator in enumerate(shape.operators):
        parts = [part for part in BLOCK_PARTS if _has_part(operator, part)]
        names += [*(f"blocks.{number}.{part}" for part in parts), f"blocks.{number}"]
    names.append("norm")
    return tuple(Layer(name, module_path(name), _width(name, shape)) for name in names)


def find_layer(name: str, shape: ModelShape) -> Layer:
    """Find a layer by its published name, or by the path of its module.

    Args:
        name: For example ``blocks.28.mlp.l3`` or ``model.layers.28.mlp.l3``.
        shape: The shape of the model.

    Raises:
        ValueError: The model has no such layer. The message names similar ones.
    """
    layers = list_layers(shape)
    for layer in layers:
        if name in (layer.name, layer.module):
            return layer
    raise ValueError(f"{name!r} is not a layer of this model. {_suggest(name, shape, layers)}")


def default_layer(release: str | None) -> str | None:
    """The layer that the authors of a release use for embeddings; None if no source names one."""
    return None if release is None else DEFAULT_LAYERS.get(release)


def _suggest(name: str, shape: ModelShape, layers: tuple[Layer, ...]) -> str:
    """What to write instead of a name that no layer has."""
    named = re.match(r"(?:blocks|model\.layers)\.(\d{1,9})(?:\.|$)", name, re.ASCII)
    if named is not None and int(named[1]) >= shape.num_layers:
        return f"It has {shape.num_layers} blocks, blocks.0 to blocks.{shape.num_layers - 1}."
    if named is not None:
        block = f"blocks.{int(named[1])}"
        known = [one.name for one in layers if f"{one.name}.".startswith(f"{block}.")]
        operator = shape.operators[int(named[1])]
        return f"{block} is a block of {operator}; expected one of {', '.join(known)}."
    close = get_close_matches(name, [one.name for one in layers], n=3, cutoff=0.5)
    if not close:
        last = shape.num_layers - 1
        close = ["embedding_layer", f"blocks.{last}", f"blocks.{last}.mlp.l3", "norm"]
    return f"Similar names: {', '.join(close)}."


def _has_part(operator: str, part: str) -> bool:
    """Whether the blocks of an operator have a part."""
    of_hyena = part in ("projections", "filter", "out_filter_dense")
    of_attention = part.startswith("inner_mha_cls.")
    return not (of_hyena and operator == "attention") and not (
        of_attention and operator != "attention"
    )


def _width(name: str, shape: ModelShape) -> int:
    """Number of values of the output of a layer for each token."""
    if name.endswith((".projections", ".Wqkv")):
        return 3 * shape.hidden_size
    if name.endswith((".mlp.l1", ".mlp.l2")):
        return shape.intermediate_size
    return shape.hidden_size
