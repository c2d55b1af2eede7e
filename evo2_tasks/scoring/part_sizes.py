"""What the embeddings of a part take in memory, which limits the pairs of windows of a part."""

from collections.abc import Sequence
from typing import Final

MOST_BYTES: Final = 128 * 2**20
"""Embeddings that a part has in memory, about."""

PAIR_BYTES: Final = 1_500
"""Memory for a pair of windows and a layer besides the numbers of its embeddings, at most. With one
layer, ``tracemalloc`` counts 1,180 bytes of records and keys, and 220 for each further one."""


def embedding_bytes(widths: Sequence[int]) -> int:
    """Bytes of the two embeddings of a pair of windows in float32, of all layers.

    Args:
        widths: Number of channels of each layer.
    """
    return sum(2 * 4 * width + PAIR_BYTES for width in widths)


def most_pairs(widths: Sequence[int]) -> int | None:
    """Number of pairs of windows at which a part ends; None without embeddings.

    Args:
        widths: Number of channels of each layer.
    """
    return max(1, MOST_BYTES // embedding_bytes(widths)) if widths else None
