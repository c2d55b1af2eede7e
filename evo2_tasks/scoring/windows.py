"""What is to be scored: the two windows of one allele on one strand, and slices of many of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Sized(Protocol):
    """What is cut into parts: it belongs to a row and takes a number of tokens."""

    @property
    def row(self) -> int:
        """Which allele of the shard it is."""

    @property
    def num_tokens(self) -> int:
        """Tokens of both windows together."""


AnySized = TypeVar("AnySized", bound=Sized)


@dataclass(frozen=True, slots=True)
class WindowPair:
    """The reference and the alternate window of one allele on one strand, in reading direction.

    Attributes:
        row: Which allele of the shard it is, 0-based.
        strand: ``fwd`` or ``rev``.
        ref_seq: Upper-case bases of the reference window; each byte is a token.
        alt_seq: The same for the alternate window, of equal length.
        prefix: Tokens before the first difference.
        num_ref: Tokens of the trimmed reference allele; they start at ``prefix``.
        num_alt: Tokens of the trimmed alternate allele; they start at ``prefix`` too.
    """

    row: int
    strand: str
    ref_seq: bytes
    alt_seq: bytes
    prefix: int
    num_ref: int
    num_alt: int

    @property
    def num_tokens(self) -> int:
        """Tokens of both windows together."""
        return len(self.ref_seq) + len(self.alt_seq)


def slice_parts(pairs: Iterable[AnySized], part_tokens: int) -> Iterator[list[AnySized]]:
    """Cut a shard's pairs into parts of about ``part_tokens`` tokens.

    The cuts follow from the pairs alone, never from batches or time, and all pairs of one allele
    are in one part: a later try sees the same parts.

    Args:
        pairs: The pairs of a shard, those of one allele next to each other.
        part_tokens: Tokens at which a part is closed; the last allele may pass it.

    Yields:
        The pairs of each part, in order, never empty.
    """
    part: list[AnySized] = []
    num_tokens = 0
    for pair in pairs:
        if part and num_tokens >= part_tokens and pair.row != part[-1].row:
            yield part
            part, num_tokens = [], 0
        part.append(pair)
        num_tokens += pair.num_tokens
    if part:
        yield part


def batch_windows(windows: Iterable[bytes], batch_tokens: int) -> Iterator[list[bytes]]:
    """Group distinct windows into batches that stay within a budget of tokens, padding included.

    Args:
        windows: Token strings, each once.
        batch_tokens: Rows times the longest row of a batch stays at or below it; a window longer
            than the budget is a batch of its own.

    Yields:
        Batches of windows, the shortest windows first, equal lengths in the order they came.
    """
    batch: list[bytes] = []
    for window in sorted(windows, key=len):
        if batch and (len(batch) + 1) * len(window) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
