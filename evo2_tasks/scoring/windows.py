"""The two windows of one allele on one strand, and parts of many such pairs."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from evo2_tasks.genome.window_pairs import Strand


class Sized(Protocol):
    """A pair of windows that belongs to a row, as far as cutting into parts needs it."""

    @property
    def row(self) -> int:
        """Number of its allele in the shard, 0-based."""

    @property
    def ref(self) -> Hashable:
        """The same for equal reference windows of one length, else different."""

    @property
    def length(self) -> int:
        """Number of tokens in each window."""

    @property
    def prefix(self) -> int:
        """Number of tokens before the first difference."""


AnySized = TypeVar("AnySized", bound=Sized)


@dataclass(frozen=True, slots=True)
class WindowPair:
    """The reference and the alternate window of one allele on one strand, in reading direction.

    Attributes:
        row: Number of its allele in the shard, 0-based.
        strand: The strand that both windows are read on, ``forward`` or ``reverse``.
        ref_seq: Upper-case bases of the reference window; each byte is a token.
        alt_seq: The same for the alternate window, of equal length.
        prefix: Number of tokens before the first difference.
        num_ref: Number of tokens of the trimmed reference allele, which start at ``prefix``.
        num_alt: Number of tokens of the trimmed alternate allele, which start at ``prefix`` too.
    """

    row: int
    strand: Strand
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
        """Number of tokens in each window."""
        return len(self.ref_seq)


def slice_parts(
    pairs: Iterable[AnySized], part_tokens: int, most_pairs: int | None = None
) -> Iterator[list[AnySized]]:
    """Cut a shard's pairs into parts of about ``part_tokens`` tokens each.

    The cuts depend on the pairs alone, not on batches or time, so that a later job finds the same
    parts. All pairs of one allele are in one part. Of a part's tokens, each reference window is
    counted once, and each alternate window from its first difference on.

    Args:
        pairs: The pairs of a shard, those of one allele next to each other.
        part_tokens: Number of tokens at which a part ends. Its last allele may exceed it.
        most_pairs: Number of pairs at which a part ends in the same way; None for any number.

    Yields:
        The pairs of each part, in order, never empty.
    """
    part: list[AnySized] = []
    seen: set[tuple[Hashable, int]] = set()
    num_tokens = 0
    for pair in pairs:
        is_full = num_tokens >= part_tokens or (most_pairs is not None and len(part) >= most_pairs)
        if part and is_full and pair.row != part[-1].row:
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
