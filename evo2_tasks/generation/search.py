"""Guided search: sample chunks, score the sequences so far, keep the best, and go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.generation.records import GeneratedSequence, SearchStep
from evo2_tasks.generation.scorers import WeightedScorer
from evo2_tasks.generation.settings import SearchSettings


class Search:
    """All searches of a prompt, step by step.

    Args:
        model: The model, in eval mode.
        prompt: The prompt, ASCII characters.
        settings: How to search.
        scorers: What guides the search.
        prompt_number: Number of the prompt; the draws depend on it.
        on_tokens: Is told the number of tokens after each call of the model.

    Raises:
        ValueError: There is no token to begin with, or there are candidates to choose from and no
            scorer.
    """

    def __init__(
        self,
        model: Evo2ForCausalLM,
        prompt: str,
        settings: SearchSettings,
        scorers: Sequence[WeightedScorer] = (),
        *,
        prompt_number: int = 0,
        on_tokens: Callable[[int], None] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def next_step(self) -> int:
        """Number of the next step, 0-based."""
        raise NotImplementedError

    @property
    def is_finished(self) -> bool:
        """Whether there is no further step."""
        raise NotImplementedError

    def run_step(self) -> SearchStep:
        """Run the next step."""
        raise NotImplementedError

    def results(self) -> list[GeneratedSequence]:
        """The best sequence of each search so far."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write the state after the last step, atomically."""
        raise NotImplementedError

    def restore(self, path: Path) -> None:
        """Go on from a state that `save` wrote.

        Raises:
            ValueError: The file cannot be read, or is of another search.
        """
        raise NotImplementedError
