"""How sequences are generated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

BASES: Final = "ACGT"


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next letter is drawn from what the model predicts.

    The probabilities of all other tokens are set to zero, those of the letters are raised to the
    power ``1 / temperature``, ``top_k`` and then ``top_p`` keep the likeliest letters, and the
    probabilities of the kept letters are divided by their sum.

    Attributes:
        temperature: Above 0; at 0 the likeliest letter is always taken, and of equally likely ones
            the first in ``letters``.
        top_k: Number of likeliest letters to keep; None for all.
        top_p: Keep the fewest likeliest letters whose probabilities add up to at least this much,
            above 0 and at most 1; None for all.
        letters: The letters that are generated, each an ASCII character, each once.

    Raises:
        ValueError: A setting has no meaning.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    letters: str = BASES

    def __post_init__(self) -> None:
        _require(0 <= self.temperature < float("inf"), "temperature", self.temperature, "0 or more")
        _require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "1 or more")
        _require(
            self.top_p is None or 0 < self.top_p <= 1, "top_p", self.top_p, "above 0, at most 1"
        )
        _require(
            bool(self.letters)
            and self.letters.isascii()
            and self.letters.isprintable()
            and len(set(self.letters)) == len(self.letters),
            "letters",
            repr(self.letters),
            "printable ASCII characters, each once",
        )


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How many sequences are generated from a prompt, how long they are, and how they are searched.

    Each sequence is the result of one search. A search adds a chunk of bases in each step: it
    samples ``beam_width * samples_per_beam`` candidates and keeps the ``beam_width`` best ones. The
    first step samples all of them from the prompt. A search with one candidate is plain sampling.

    Attributes:
        length: Number of bases to generate, without the prompt.
        num_sequences: Number of sequences.
        seed: Any whole number. The draws of a sequence depend on it, on the number of the prompt,
            the number of the sequence, the number of the candidate and the position. So they do
            not depend on what else is generated.
        chunk_length: Number of bases that a step adds; the last step adds the rest.
        beam_width: Number of candidates that a step keeps.
        samples_per_beam: Number of candidates that continue each kept one.
        sampling: How a letter is drawn.
        batch_size: Most candidates that go through the model together.
        segment_length: A longer prompt goes through the model in segments of this many tokens.
        prepend_bos: Put a beginning-of-sequence token (id 0) before the prompt, which may then be
            empty.

    Raises:
        ValueError: A number is not positive.
    """

    length: int
    num_sequences: int = 1
    seed: int = 0
    chunk_length: int = 128
    beam_width: int = 1
    samples_per_beam: int = 1
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    batch_size: int = 32
    segment_length: int = 65_536
    prepend_bos: bool = False

    def __post_init__(self) -> None:
        for name in (
            "length",
            "num_sequences",
            "chunk_length",
            "beam_width",
            "samples_per_beam",
            "batch_size",
            "segment_length",
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")

    @property
    def num_steps(self) -> int:
        """Number of steps of a search."""
        return -(-self.length // self.chunk_length)

    @property
    def num_candidates(self) -> int:
        """Number of candidates of a search in each step."""
        return self.beam_width * self.samples_per_beam

    def count_bases(self, step: int) -> int:
        """Number of bases that a step adds to each candidate.

        Args:
            step: Its number, 0-based.
        """
        return min(self.chunk_length, self.length - step * self.chunk_length)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value}; expected {expected}.")
