"""How two scores of the same alleles differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.metrics import spearman


@dataclass(frozen=True, slots=True)
class Differences:
    """How a score differs from another one.

    Attributes:
        alleles: Alleles that have both scores.
        rms: Root mean square of the differences, nats.
        p99: Difference that 99 % of the alleles do not exceed, nats.
        largest: Largest difference, nats.
        spearman: Rank correlation of the two scores; None if it does not exist.
    """

    alleles: int
    rms: float
    p99: float
    largest: float
    spearman: float | None


def compare_scores(
    scores: npt.NDArray[np.float64], exact: npt.NDArray[np.float64]
) -> Differences | None:
    """Compare a score with another one of the same alleles.

    Args:
        scores: The score, nats; NaN where there is none. (N,)
        exact: The score to compare with. (N,)

    Returns:
        The differences; None if no allele has both scores.
    """
    both = np.isfinite(scores) & np.isfinite(exact)
    if not both.any():
        return None
    differences = np.abs(scores - exact)[both]
    try:
        correlation = spearman(exact[both], scores[both])
    except ValueError:  # one allele, or equal scores
        correlation = None
    return Differences(
        alleles=int(both.sum()),
        rms=float(np.sqrt(np.mean(differences**2))),
        p99=float(np.quantile(differences, 0.99)),
        largest=float(differences.max()),
        spearman=correlation,
    )
