"""What a search reports: the candidates of each step, and the sequences at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that a step added to a kept sequence, or to the prompt.

    Attributes:
        sequence: Number of the search, 0-based.
        step: Number of the step, 0-based.
        candidate: Number of the candidate in this search and step, 0-based. Candidate ``c``
            continues the kept candidate of rank ``c // samples_per_beam``.
        parent: Number of the kept candidate of the step before that it continues; None in the
            first step, in which all continue the prompt.
        start: Number of generated bases before the chunk.
        bases: The chunk.
        log_prob: Log-probability of the chunk under the model, given the prompt and all bases
            before it, over all tokens of the model, whatever the sampling settings are. Nats. Not
            finite if the model's output is not.
        scores: Value of each scorer for the whole sequence up to the end of the chunk.
        total: Sum of the scores, each times its weight; 0 without scorers.
        rank: Rank among the kept candidates of the search, 0 for the best; None if it is not kept.
    """

    sequence: int
    step: int
    candidate: int
    parent: int | None
    start: int
    bases: str
    log_prob: float
    scores: tuple[float, ...]
    total: float
    rank: int | None

    @property
    def chosen(self) -> bool:
        """Whether it is kept."""
        return self.rank is not None


@dataclass(frozen=True, slots=True)
class SearchStep:
    """A step of all searches of a prompt.

    Attributes:
        step: Its number, 0-based.
        candidates: All candidates, by search and number.
    """

    step: int
    candidates: tuple[Candidate, ...]


Status = Literal["generated", "no_candidate"]


@dataclass(frozen=True, slots=True)
class GeneratedSequence:
    """The result of a search.

    Attributes:
        sequence: Number of the search, 0-based.
        status: ``generated``; or ``no_candidate`` if a step had no candidate to keep, because the
            model's output was not finite or a scorer gave minus infinity. Its bases are then those
            of the best sequence of the last step that had one.
        bases: The generated bases, without the prompt.
        log_prob: Log-probability of these bases under the model, given the prompt, over all tokens
            of the model. Nats.
        scores: Value of each scorer for these bases.
        total: Sum of the scores, each times its weight.
    """

    sequence: int
    status: Status
    bases: str
    log_prob: float
    scores: tuple[float, ...]
    total: float
