"""What is to be scored: the two windows of one allele on one strand, and slices of many of them."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Sized(Protocol):
    """What is cut into parts: a pair of windows that belongs to a row."""

    @property
    def row(self) -> int:
        """Which allele of the shard it is."""

    @property
    def ref(self) -> Hashable:
        """What tells its reference window from others of that length."""

    @property
    def length(self) -> int:
        """Tokens of each window."""

    @property
    def prefix(self) -> int:
        """Tokens before the first difference."""


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
    def ref(self) -> bytes:
        """The reference window."""
        return self.ref_seq

    @property
    def length(self) -> int:
        """Tokens of each window."""
        return len(self.ref_seq)


def slice_parts(pairs: Iterable[AnySized], part_tokens: int) -> Iterator[list[AnySized]]:
    """Cut a shard's pairs into parts of about ``part_tokens`` tokens to run.

    The cuts follow from the pairs alone, never from batches or time, and all pairs of one allele
    are in one part: a later try sees the same parts. Each reference window counts once in a part,
    each alternate one from its first difference on.

    Args:
        pairs: The pairs of a shard, those of one allele next to each other.
        part_tokens: Tokens at which a part is closed; the last allele may pass it.

    Yields:
        The pairs of each part, in order, never empty.
    """
    part: list[AnySized] = []
    seen: set[tuple[Hashable, int]] = set()
    num_tokens = 0
    for pair in pairs:
        if part and num_tokens >= part_tokens and pair.row != part[-1].row:
            yield part
            part, num_tokens = [], 0
            seen.clear()
        part.append(pair)
        num_tokens += pair.length - pair.prefix
        if (pair.ref, pair.length) not in seen:
            seen.add((pair.ref, pair.length))
            num_tokens += pair.length
    if part:
        yield part
