"""Read-outs: the results that one pass of the model gives for each pair of windows.

A read-out makes one record from a pair of windows and from the outputs of the model for both. There
are three: the sums of log-probabilities, which are the scores of an allele, its embeddings
(`embeddings.py`) and its profile (`profiles.py`).

To add a read-out:

1. Write a frozen dataclass for its record, which holds the values of one pair. A value that does
   not exist is None.
2. Write a class with the members of `ReadOut`.
3. Add that class to `READOUTS`.
4. If it needs an output that `WindowOutput` does not have, add a field there and its name to
   `OUTPUTS`. `branches.run_pass` computes the output, and `score.score_part` puts it into the
   field.
5. Describe its columns in `table/schema.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.scoring.deltas import SCORE_NAMES, Score, score_strand
from evo2_tasks.scoring.embeddings import Embeddings, Range
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.windows import WindowPair

Record = TypeVar("Record")
Record_co = TypeVar("Record_co", covariant=True)


@dataclass(frozen=True, slots=True)
class WindowOutput:
    """The outputs of the model for one window.

    Attributes:
        log_probs: Log-probability of each predicted token, nats: all n tokens but the first, or all
            after a beginning-of-sequence token. (n - 1,) or (n,)
        layer_sums: For each range of tokens that a read-out asks for, the sum of the output of
            each layer over them, by the layer's published name. (D,)
    """

    log_probs: NDArray[np.float32]
    layer_sums: Mapping[Range, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)


OUTPUTS: Final = frozenset({"log_probs", "layer_sums"})
"""Names of the outputs that a pass of the model gives: the fields of `WindowOutput`."""


class ReadOut(Protocol[Record_co]):
    """A read-out: how to make one record for each pair of windows."""

    @property
    def name(self) -> str:
        """Its name, a key of `READOUTS`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it fills: fields of its record, without a strand's suffix."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of the outputs that it needs of a pass, some of `OUTPUTS`."""

    def read(
        self, pair: WindowPair, ref: WindowOutput, alt: WindowOutput, *, horizon: bool
    ) -> Record_co | None:
        """Make the record of one pair.

        Args:
            pair: The two windows.
            ref: The outputs for the reference window.
            alt: The outputs for the alternate window, of the same length.
            horizon: Whether a horizon cut the windows.

        Returns:
            The record, or None if an output that it uses is not finite.
        """


@runtime_checkable
class LayerReadOut(ReadOut[Record_co], Protocol[Record_co]):
    """A read-out that needs ``layer_sums``."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Published names of the layers whose output is summed."""

    def find_ranges(self, pair: WindowPair) -> tuple[list[Range], list[Range]]:
        """The tokens over which they are summed, of the reference and the alternate window."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of log-probabilities; see `score_strand`."""

    name: str = "sums"
    columns: tuple[str, ...] = SCORE_NAMES
    needs: frozenset[str] = frozenset({"log_probs"})

    def read(
        self, pair: WindowPair, ref: WindowOutput, alt: WindowOutput, *, horizon: bool
    ) -> Score | None:
        """Score one allele on one strand."""
        return score_strand(pair, ref.log_probs, alt.log_probs, horizon=horizon)


SUMS: Final = Sums()

READOUTS: Final[Mapping[str, type[ReadOut[Any]]]] = {
    "sums": Sums,
    "embeddings": Embeddings,
    "profile": Profile,
}
"""All read-outs, by name."""


class Records:
    """The records of the pairs of a part, by read-out.

    Args:
        by_name: For each name of a read-out, one record or None for each pair, in order.
    """

    def __init__(self, by_name: Mapping[str, list[Any]]) -> None:
        self._by_name = by_name

    def of(self, readout: ReadOut[Record]) -> list[Record | None]:
        """The records of one read-out: one for each pair, in order; None if it is not finite.

        Raises:
            KeyError: The read-out was not made.
        """
        records: list[Record | None] = self._by_name[readout.name]
        return records
