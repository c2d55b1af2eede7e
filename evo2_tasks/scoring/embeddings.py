"""The read-out `Embeddings`: mean output of some layers from the first difference on.

D channels of a layer's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.scoring.windows import WindowPair

if TYPE_CHECKING:
    from evo2_tasks.scoring.readouts import WindowOutput

Range = tuple[int, int]
"""Tokens of a window: first and last plus one, 0-based. A beginning-of-sequence token is no token
of the window.
"""


@dataclass(frozen=True, slots=True)
class EmbeddingRecord:
    """The embeddings of one allele on one strand, float32.

    A layer whose values are not all finite is in neither of the two.

    Attributes:
        ref: Mean output of each layer over the tokens of the reference window. (D,)
        delta: The mean over the tokens of the alternate window minus ``ref``. (D,)
    """

    ref: Mapping[str, NDArray[np.float32]]
    delta: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Mean outputs of layers over the first aligned tokens of both windows of a pair.

    The aligned tokens begin at the first difference, in reading direction. They are the allele
    tokens that both windows have, and then the downstream tokens that both have, aligned by their
    position in the genome. So the surplus tokens of an insertion or a deletion do not count.

    Attributes:
        layers: Published names of the layers, for example ``blocks.20``.
        tokens: Number of aligned tokens. If the windows have fewer, the mean is over these.
    """

    layers: tuple[str, ...]
    tokens: int
    name: str = field(default="embeddings", init=False)
    columns: tuple[str, ...] = field(default=("ref_embedding", "delta_embedding"), init=False)
    needs: frozenset[str] = field(default=frozenset({"layer_sums"}), init=False)

    def find_ranges(self, pair: WindowPair) -> tuple[list[Range], list[Range]]:
        """The aligned tokens of a pair, as ranges of the reference and of the alternate window."""
        left = len(pair.ref_seq) - pair.prefix  # tokens from the first difference on
        num_allele = min(pair.num_ref, pair.num_alt, left, self.tokens)
        num_common = max(0, left - max(pair.num_ref, pair.num_alt))
        num_downstream = min(num_common, self.tokens - num_allele)

        def ranges(num_own: int) -> list[Range]:
            first, after = pair.prefix, pair.prefix + num_own
            if first + num_allele == after:  # no surplus token is between the two
                both = [(first, after + num_downstream)]
            else:
                both = [(first, first + num_allele), (after, after + num_downstream)]
            return [(start, end) for start, end in both if end > start]

        return ranges(pair.num_ref), ranges(pair.num_alt)

    def read(
        self,
        pair: WindowPair,
        ref: WindowOutput,
        alt: WindowOutput,
        *,
        horizon: bool,
    ) -> EmbeddingRecord | None:
        """Make the record of one pair; None if no token is aligned or no layer is finite."""
        ref_ranges, alt_ranges = self.find_ranges(pair)
        num = np.float32(sum(end - start for start, end in ref_ranges))
        if not num:
            return None
        means, deltas = {}, {}
        for layer in self.layers:
            mean = _add_up(ref, ref_ranges, layer) / num
            delta = _add_up(alt, alt_ranges, layer) / num - mean
            if np.isfinite(mean).all() and np.isfinite(delta).all():
                means[layer], deltas[layer] = mean, delta
        return EmbeddingRecord(means, deltas) if means else None


def _add_up(output: WindowOutput, ranges: Sequence[Range], layer: str) -> NDArray[np.float32]:
    """The sum of a layer's output over some ranges, in their order. (D,)."""
    first, *others = (output.layer_sums[one][layer] for one in ranges)
    for other in others:
        first = first + other
    return first
