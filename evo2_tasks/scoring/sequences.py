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

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.genome.window_pairs import Strand, reverse_complement
from evo2_tasks.scoring.branches import ignore
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH, window_log_probs
from evo2_tasks.scoring.score import SHORTEST_SEGMENT

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

    def join(self, whole: LogProbs | None, origin: LogProbs | None) -> LogProbs:
        """The prediction of each base, from the reading in which it has more bases before it.

        Args:
            whole: Log-probabilities of the predicted tokens of the whole sequence, nats: all but
                the first, or all after a beginning-of-sequence token. None if there are none.
            origin: The same of the reading around the origin.

        Returns:
            Those of the last tokens of the sequence that are predicted, which are all tokens of a
            circular sequence of two bases or more. (L - 1,) or (L,)
        """
        if whole is None:
            return np.empty(0, dtype=np.float32)
        if origin is None or self.origin is None:
            return whole
        context = len(self.origin) // 2
        num_left = len(self.whole) - context
        return np.concatenate([origin[len(origin) - context :], whole[len(whole) - num_left :]])


def list_readings(bases: bytes, strand: Strand, *, min_context: int | None) -> Readings:
    """What the model reads of a sequence on one strand.

    Args:
        bases: Letters in upper case, on the forward strand.
        strand: The strand.
        min_context: Of a circular sequence: how many bases before its first one are read. None for
            a linear sequence.
    """
    if strand == "reverse":
        bases = reverse_complement(bases.decode("ascii")).encode("ascii")
    context = 0 if min_context is None else min(min_context, len(bases) // 2)
    return Readings(bases, bases[-context:] + bases[:context] if context else None)


def count_predicted(length: int, *, min_context: int | None, prepend_bos: bool) -> int:
    """Number of tokens of a sequence that are predicted on each strand.

    Args:
        length: Number of its bases.
        min_context: As in :func:`list_readings`.
        prepend_bos: Whether a reading begins with a beginning-of-sequence token.
    """
    has_context = min_context is not None and min(min_context, length // 2) > 0
    return length if prepend_bos or has_context else max(0, length - 1)


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


def run_readings(
    model: Evo2ForCausalLM,
    readings: Iterable[bytes],
    *,
    prepend_bos: bool,
    batch_tokens: int,
    segment_length: int = SEGMENT_LENGTH,
    offload: bool = False,
    on_call: Callable[[int, int], None] = ignore,
    on_halving: Callable[[int], None] = ignore,
) -> dict[bytes, LogProbs]:
    """Run readings, each distinct one once.

    Shorter readings of a batch are padded on the right. A causal model does not see this padding,
    and no prediction of it is kept. If the device has too little memory for a batch, the rest is
    planned again with half the budget.

    Args:
        model: The model, in eval mode.
        readings: Tokens.
        prepend_bos: Predict the first token too, after a beginning-of-sequence token.
        batch_tokens: Budget of tokens that go through the model at once, padding included.
        segment_length: A reading with more tokens than these goes through in several calls.
        offload: Between calls, keep keys and values of attention in host memory.
        on_call: Called after each batch with the numbers of its readings and of their tokens.
        on_halving: Called if the device had too little memory, with the number of tokens that go
            through the model at once from then on.

    Returns:
        By reading, the log-probability of each predicted token: all but the first, or all with
        ``prepend_bos``. A reading without any is left out. (L - 1,) or (L,)

    Raises:
        torch.OutOfMemoryError: Not even a short segment of one reading fits.
    """
    num_unpredicted = 0 if prepend_bos else 1
    distinct = [one for one in dict.fromkeys(readings) if len(one) > num_unpredicted]
    done: dict[bytes, LogProbs] = {}
    batches = deque(plan_batches(distinct, batch_tokens))
    while batches:
        batch = batches.popleft()
        found = _try_batch(
            model,
            batch,
            prepend_bos=prepend_bos,
            segment_length=segment_length,
            offload=offload,
        )
        if found is not None:
            done |= zip(batch, found, strict=True)
            on_call(len(batch), sum(map(len, batch)))
            continue
        # The traceback of the error is gone, and with it the tensors that did not fit.
        if model.device.type != "cpu":
            torch.accelerator.empty_cache()
        longest = len(batch[-1])
        if len(batch) > 1:
            batch_tokens = len(batch) * longest // 2
            batches = deque(plan_batches([*batch, *(b for one in batches for b in one)],
                                         batch_tokens))
            on_halving(batch_tokens)
        elif min(segment_length, longest) <= SHORTEST_SEGMENT:
            raise torch.OutOfMemoryError(f"a reading of {longest:,} tokens does not fit")
        else:
            segment_length = min(segment_length, longest) // 2
            batches.appendleft(batch)
            on_halving(segment_length)
    return done


def _try_batch(
    model: Evo2ForCausalLM,
    batch: Sequence[bytes],
    *,
    prepend_bos: bool,
    segment_length: int,
    offload: bool,
) -> list[LogProbs] | None:
    """Run a batch; None if the device has too little memory for it."""
    try:
        return window_log_probs(
            model,
            batch,
            prepend_bos=prepend_bos,
            segment_length=segment_length,
            offload=offload,
        )
    except torch.OutOfMemoryError:
        return None


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
    sequences: Iterable[SequenceToScore], part_tokens: int, *, tokens_of: Callable[[int], int],
    count_all: bool,
) -> Iterator[list[SequenceToScore]]:
    """Cut the sequences of a shard into parts of about ``part_tokens`` tokens each.

    The cuts depend on the sequences alone, so that a later job finds the same parts.

    Args:
        sequences: The sequences of a shard. Equal ones of a part become one object.
        part_tokens: Number of tokens at which a part ends. Its last sequence may exceed it.
        tokens_of: Number of tokens to read for a sequence of a number of bases.
        count_all: Whether a sequence counts each time that it occurs, not only the first time.

    Yields:
        The sequences of each part, in order, never empty.
    """
    part: list[SequenceToScore] = []
    seen: dict[bytes, bytes] = {}
    num_tokens = 0
    for one in sequences:
        if part and (num_tokens >= part_tokens or len(part) == MOST_ROWS):
            yield part
            part, num_tokens = [], 0
            seen.clear()
        if count_all or one.bases not in seen:
            num_tokens += tokens_of(len(one.bases))
        part.append(SequenceToScore(one.row, seen.setdefault(one.bases, one.bases)))
    if part:
        yield part
