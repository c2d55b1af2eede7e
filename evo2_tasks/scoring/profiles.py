"""The read-out `Profile`: difference of log-probability, token by token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.scoring.windows import WindowPair

if TYPE_CHECKING:
    from evo2_tasks.scoring.readouts import WindowOutput


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """The profile of one allele on one strand.

    Attributes:
        values: Nats, from the first difference on. (n,), n at most the tokens that were asked for.
    """

    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Profile:
    """The differences of log-probability whose sum is ``llr``, in reading direction.

    The entries of the allele come first. Each is the alternate token's log-probability minus that
    of the reference token of the same number; a token that only one allele has counts alone. Then
    come the downstream tokens that both windows have, aligned by their position in the genome, and
    then those that only one window has, at its end.

    Attributes:
        tokens: Number of entries to keep.
    """

    tokens: int
    name: str = field(default="profile", init=False)
    columns: tuple[str, ...] = field(default=("profile",), init=False)
    needs: frozenset[str] = field(default=frozenset({"log_probs"}), init=False)

    def read(
        self,
        pair: WindowPair,
        ref: WindowOutput,
        alt: WindowOutput,
        *,
        horizon: bool,
    ) -> ProfileRecord | None:
        """Make the record of one pair; None if a log-probability is not finite."""
        if not (np.isfinite(ref.log_probs).all() and np.isfinite(alt.log_probs).all()):
            return None
        first = pair.prefix - (len(pair.ref_seq) - len(ref.log_probs))
        ref_allele, ref_after = np.split(ref.log_probs[first:].astype(np.float64), [pair.num_ref])
        alt_allele, alt_after = np.split(alt.log_probs[first:].astype(np.float64), [pair.num_alt])
        values = np.concatenate(
            [_subtract(alt_allele, ref_allele), _subtract(alt_after, ref_after)]
        )
        return ProfileRecord(values[: self.tokens].astype(np.float32))


def _subtract(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference of two arrays; the shorter one has zeros at its end."""
    difference = np.zeros(max(len(one), len(other)))
    difference[: len(one)] = one
    difference[: len(other)] -= other
    return difference
