"""Log-probabilities of whole sequences: what the model reads of each, and in which batches.

A *reading* is a string of tokens that goes through the model from its first token on. A linear
sequence is one reading. A circular one has no first base: each base has others before it. It is two
readings, and each base is predicted in the one that has more bases before it:

- the whole sequence, from its first base to its last one;
- the last bases of the sequence, and then as many of the first ones, which so have bases before
  them too. There are ``min_context`` of each, and at most half of the sequence.

No reading has a base twice. If the bases before the origin were just put before the whole sequence,
the model would read them again at its end, and it predicts what it has read before too well.

L tokens.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.genome.window_pairs import Strand, reverse_complement
from evo2_tasks.scoring.embeddings import Range

LogProbs = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Readings:
    """What the model reads of a sequence on one strand.

    Attributes:
        whole: The sequence in reading direction.
        origin: Of a circular sequence of two bases or more: its last bases, and then as many of the
            first ones. Else None.
    """

    whole: bytes
    origin: bytes | None

    @property
    def tokens(self) -> tuple[bytes, ...]:
        """The readings."""
        return (self.whole,) if self.origin is None else (self.whole, self.origin)

    @property
    def ranges(self) -> tuple[tuple[bytes, Range], ...]:
        """The readings, and the tokens of each that stand for bases: each base is in one of them.

        A base is taken from the reading in which it has more bases before it.
        """
        if self.origin is None:
            return ((self.whole, (0, len(self.whole))),)
        context = len(self.origin) // 2
        of_origin = (self.origin, (context, len(self.origin)))
        return ((self.whole, (context, len(self.whole))), of_origin)

    def join(self, found: Mapping[bytes, LogProbs]) -> LogProbs:
        """The prediction of each base, from the reading in which it has more bases before it.

        Args:
            found: Log-probability of each predicted token of a reading, nats: all but the first, or
                all after a beginning-of-sequence token. A reading without any may be left out.

        Returns:
            Those of the last tokens of the sequence that are predicted, which are all tokens of a
            circular sequence of two bases or more. (L - 1,) or (L,)
        """
        whole = found.get(self.whole, np.empty(0, dtype=np.float32))
        if self.origin is None:
            return whole
        context = len(self.origin) // 2
        after = whole[len(whole) - (len(self.whole) - context) :]
        return np.concatenate([found[self.origin][-context:], after])


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How sequences are read.

    Attributes:
        strands: The asked strands.
        min_context: Of circular sequences: how many bases before the first one are read. None for
            linear sequences.
        prepend_bos: Whether a reading begins with a beginning-of-sequence token.
        max_n_share: Largest share of letters other than A, C, G, T in a sequence that is read.
        per_base: Whether the log-probability of each base is kept.
    """

    strands: tuple[Strand, ...]
    min_context: int | None
    prepend_bos: bool
    max_n_share: float
    per_base: bool

    def count_context(self, length: int) -> int:
        """Number of bases before the first one that are read; 0 for a linear sequence."""
        return 0 if self.min_context is None else min(self.min_context, length // 2)

    def count_predicted(self, length: int) -> int:
        """Number of bases that are predicted on each strand, of a sequence of ``length`` bases."""
        if self.prepend_bos or self.count_context(length):
            return length
        return max(0, length - 1)

    def count_tokens(self, length: int) -> int:
        """Number of tokens of all readings of a sequence, over the asked strands."""
        return len(self.strands) * (length + 2 * self.count_context(length))

    def list_readings(self, bases: bytes, strand: Strand) -> Readings:
        """What the model reads of a sequence on one strand.

        Args:
            bases: Letters in upper case, on the forward strand.
            strand: The strand.
        """
        if strand == "reverse":
            bases = reverse_complement(bases.decode("ascii")).encode("ascii")
        context = self.count_context(len(bases))
        return Readings(bases, bases[-context:] + bases[:context] if context else None)


def plan_batches(readings: Iterable[bytes], batch_tokens: int) -> list[list[bytes]]:
    """Group readings of similar lengths into batches, the shortest first.

    Args:
        readings: Distinct readings.
        batch_tokens: Most tokens of a batch, padding included. A longer reading is a batch of its
            own.

    Returns:
        The batches. They depend on the readings, their order and the budget alone.
    """
    batches: list[list[bytes]] = []
    for reading in sorted(readings, key=len):
        if not batches or (len(batches[-1]) + 1) * len(reading) > batch_tokens:
            batches.append([])
        batches[-1].append(reading)
    return batches


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """The log-likelihood of a sequence on one strand.

    Attributes:
        ll: Sum over the predicted tokens, nats.
        log_probs: Log-probability of each of these tokens, nats, in reading direction.
    """

    ll: float
    log_probs: LogProbs


def score_reading(log_probs: LogProbs) -> SequenceScore | None:
    """Sum the log-probabilities of a sequence, in float64; None if one of them is not finite."""
    if not np.isfinite(log_probs).all():
        return None
    return SequenceScore(float(log_probs.astype(np.float64).sum()), log_probs)


@dataclass(frozen=True, slots=True)
class SequenceToScore:
    """A sequence that the model has to read.

    Attributes:
        row: Number of its row in the shard, 0-based.
        bases: Its bases, upper-case letters.
    """

    row: int
    bases: bytes


MOST_ROWS = 50_000
"""Most sequences of a part, so that a part of short or of equal sequences fits into memory."""


def slice_sequences(
    sequences: Iterable[SequenceToScore],
    part_tokens: int,
    settings: ReadingSettings,
    most_rows: int = MOST_ROWS,
) -> Iterator[list[SequenceToScore]]:
    """Cut the sequences of a shard into parts of about ``part_tokens`` tokens each.

    The cuts depend on the sequences alone, so that a later job finds the same parts. Equal
    sequences of a part become one object and count once, unless each base is kept of each of them.

    Args:
        sequences: The sequences of a shard.
        part_tokens: Number of tokens at which a part ends. Its last sequence may exceed it.
        settings: How they are read.
        most_rows: Most sequences of a part.

    Yields:
        The sequences of each part, in order, never empty.
    """
    part: list[SequenceToScore] = []
    seen: dict[bytes, bytes] = {}
    num_tokens = 0
    for one in sequences:
        if part and (num_tokens >= part_tokens or len(part) == most_rows):
            yield part
            part, num_tokens = [], 0
            seen.clear()
        if settings.per_base or one.bases not in seen:
            num_tokens += settings.count_tokens(len(one.bases))
        part.append(SequenceToScore(one.row, seen.setdefault(one.bases, one.bases)))
    if part:
        yield part


def digest_sequences(part: Iterable[SequenceToScore]) -> str:
    """SHA-256 of the sequences of a part, and of their rows."""
    digest = hashlib.sha256()
    for one in part:
        digest.update(f"{one.row} {len(one.bases)} ".encode())
        digest.update(one.bases)
    return digest.hexdigest()
