"""What guides a search: scorers of partial sequences, and their weighted sum.

A scorer is anything that can be called as `Scorer` states. `BUILT_IN` names those of the package.
They need no model; `evo2_tasks.generation.likelihood` has the one that does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evo2_tasks.io.words import counted, first_line


class Scorer(Protocol):
    """Gives each partial sequence a number.

    It has to give the same number for the same sequence in each call, whatever the other sequences
    of the call are.
    """

    def __call__(self, sequences: Sequence[str], prompt: str) -> Sequence[float]:
        """Score sequences.

        Args:
            sequences: The generated bases of each candidate so far, without the prompt.
            prompt: The prompt.

        Returns:
            A number for each sequence, in their order. Higher is better. Minus infinity means that
            the candidate is never kept.
        """


class ScorerError(ValueError):
    """A scorer gave something else than a number for each sequence."""


@dataclass(frozen=True, slots=True)
class WeightedScorer:
    """A scorer of a search.

    Attributes:
        name: Its name, which is unique in the search.
        scorer: The scorer.
        weight: Factor of its numbers in the sum, finite and not 0.
    """

    name: str
    scorer: Scorer
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or self.weight == 0:
            raise ValueError(
                f"{self.name}: weight is {self.weight}; expected a number other than 0."
            )


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a sequence.

    Attributes:
        each: The number of each scorer.
        total: Their sum, each times its weight; minus infinity if one of them is minus infinity.
    """

    each: tuple[float, ...]
    total: float


def score_sequences(
    scorers: Sequence[WeightedScorer], sequences: Sequence[str], prompt: str
) -> list[Scores]:
    """Run all scorers.

    Args:
        scorers: The scorers; without any the total of each sequence is 0.
        sequences: The generated bases of each candidate.
        prompt: The prompt.

    Raises:
        ScorerError: A scorer raised an error, or did not give one number above minus infinity, or
            minus infinity, for each sequence; or the sum is too large for a number.
    """
    columns = [_run_scorer(one, sequences, prompt) for one in scorers]
    scores = []
    for number in range(len(sequences)):
        each = tuple(column[number] for column in columns)
        scores.append(Scores(each, -math.inf if -math.inf in each else _add(scorers, each)))
    return scores


def _add(scorers: Sequence[WeightedScorer], each: Sequence[float]) -> float:
    """The sum of finite numbers, each times its weight."""
    try:
        total = math.fsum(one.weight * value for one, value in zip(scorers, each, strict=True))
    except (OverflowError, ValueError):  # the sum, or infinite products of both signs
        total = math.inf
    if not math.isfinite(total):
        names = ", ".join(one.name for one in scorers)
        raise ScorerError(
            f"scorers {names}: the sum of their numbers, each times its weight, is not finite; "
            "expected smaller numbers or weights."
        )
    return total


def _run_scorer(one: WeightedScorer, sequences: Sequence[str], prompt: str) -> list[float]:
    try:
        given = one.scorer(sequences, prompt)
        values = [float(value) for value in given]
    except (Exception, SystemExit) as error:  # a function that ends Python would end the job
        raise ScorerError(
            f"scorer {one.name}: {type(error).__name__}: {first_line(error)}"
        ) from error
    if len(values) != len(sequences):
        raise ScorerError(
            f"scorer {one.name}: {counted(len(values), 'number')} for "
            f"{counted(len(sequences), 'sequence')}; expected one for each."
        )
    for value, sequence in zip(values, sequences, strict=True):
        if math.isnan(value) or value == math.inf:
            raise ScorerError(
                f"scorer {one.name}: {value} for a sequence of {len(sequence):,} bases; expected a "
                "number, or minus infinity for a sequence that must not be kept."
            )
    return values
