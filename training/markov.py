"""An interpolated Markov model of DNA: it predicts each base from the last few bases.

It is the baseline for a trained model, in bits per base and on labelled variants. The probability
of a base after a context of k bases combines the counts of that context with the probability after
the last k - 1 bases of the context, after Witten and Bell:

    p_k(b | c) = (n(c b) + w * t(c) * p_{k-1}(b | c')) / (n(c) + w * t(c))

n is a count, t(c) is the number of different bases seen after c, and c' is c without its first
base. Below order 0 all four bases are equally likely. Both strands are counted. Circular genomes
are treated as linear.

Witten and Bell use w = 1, for counts of independent events. Genomes of related species are not
independent, so their counts need a larger w. On held-out mammals, order 11 has 1.62 bits per base
with w = 1, 1.48 with 4, 1.43 with 16 and 1.48 with 64. The best value is used, which is in favour
of the baseline.

Source:
    Witten and Bell 1991, IEEE Transactions on Information Theory 37, method C, which has no w.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evo2_tasks.genome.reference import Reference

ORDER = 11
LOWER_WEIGHT = 16.0  # w
PIECE_BASES = 1 << 22  # bases that are counted in one step
OTHER = 4  # the digit of all other letters than A, C, G and T
SEPARATOR = np.frombuffer(b"-", dtype=np.uint8)

DIGITS = np.full(256, OTHER, dtype=np.int64)
DIGITS[list(b"ACGT")] = range(4)
COMPLEMENT = np.arange(256, dtype=np.uint8)
COMPLEMENT[list(b"ACGTRYSWKMBDHVN")] = list(b"TGCAYRSWMKVHDBN")

Bases = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MarkovModel:
    """The probabilities of an interpolated Markov model.

    Attributes:
        tables: For each order, from 0 on: log p, nats, of the last base of each (order + 1)-mer.
            The index is the k-mer as a number to base 4 (A 0, C 1, G 2, T 3).
    """

    tables: tuple[npt.NDArray[np.float32], ...]

    @property
    def order(self) -> int:
        """Largest number of bases that a prediction uses."""
        return len(self.tables) - 1

    def truncate(self, order: int) -> MarkovModel:
        """The model of a lower order from the same counts."""
        return MarkovModel(self.tables[: order + 1])

    def log_probs(self, bases: Bases) -> FloatArray:
        """Log p of each base, given the bases before it, nats.

        The first bases, and those after a letter other than A, C, G and T, have a shorter context.

        Args:
            bases: Upper-case ASCII. (N,)

        Returns:
            Log p; NaN for letters other than A, C, G and T. (N,)
        """
        log_probs = np.full(len(bases), np.nan)
        for order, ends, codes in read_kmers(bases, self.order + 1):
            log_probs[ends] = self.tables[order][codes]
        return log_probs

    def bits_per_base(self, windows: Iterable[Bases]) -> float:
        """Bits per base of windows, without their first base, which most models do not predict."""
        log_probs = np.concatenate([self.log_probs(window)[1:] for window in windows])
        return float(-np.nanmean(log_probs) / math.log(2))


def read_kmers(bases: Bases, longest: int) -> Iterator[tuple[int, IntArray, IntArray]]:
    """The longest k-mer that ends at each base, with at most ``longest`` bases.

    Yields:
        For each k: k - 1, the positions in ``bases`` at which k-mers of this length end, and these
        k-mers as numbers to base 4.
    """
    digits = DIGITS[bases]
    places = np.arange(len(bases))
    last_other = np.maximum.accumulate(np.where(digits == OTHER, places, -1))
    lengths = np.minimum(places - last_other, longest)  # 0 for a letter that is not a base
    codes = np.zeros(len(bases), dtype=np.int64)
    for order in range(longest):
        codes[order:] += digits[: len(digits) - order] << (2 * order)
        ends = np.flatnonzero(lengths == order + 1)
        if len(ends):
            yield order, ends, codes[ends]


def train_markov(
    sequences: Iterable[Bases], order: int = ORDER, lower_weight: float = LOWER_WEIGHT
) -> MarkovModel:
    """Count sequences and their reverse complements, and interpolate.

    Args:
        sequences: Upper-case ASCII. No k-mer spans two sequences.
        order: Number of bases that a prediction uses; the table has 4 ** (order + 1) numbers.
        lower_weight: Weight of the lower orders, w above; more than 0.
    """
    # By order. At first, lower orders count only the k-mers with no base before them.
    counts = [np.zeros(4 ** (low + 1)) for low in range(order + 1)]
    for piece in join_sequences(sequences):
        for strand in (piece, COMPLEMENT[piece[::-1]]):
            for low, _, codes in read_kmers(strand, order + 1):
                counts[low] += np.bincount(codes, minlength=len(counts[low]))
    for low in range(order - 1, -1, -1):
        counts[low] += counts[low + 1].reshape(4, -1).sum(axis=0)

    tables = []
    shorter = np.full(1, 0.25)  # of each base after the context without its first base
    for of_order in counts:
        of_context = of_order.reshape(-1, 4)
        num_seen = of_context.sum(axis=1, keepdims=True)
        weight = lower_weight * (of_context > 0).sum(axis=1, keepdims=True)
        lower = np.resize(shorter, of_order.shape).reshape(-1, 4)
        p = np.divide(
            of_context + weight * lower,
            num_seen + weight,
            out=lower,
            where=num_seen > 0,
        )
        shorter = p.ravel()
        tables.append(np.log(shorter).astype(np.float32))
    return MarkovModel(tuple(tables))


def join_sequences(sequences: Iterable[Bases]) -> Iterator[Bases]:
    """Sequences joined into larger pieces, with a letter between them that is not a base."""
    parts: list[Bases] = []
    num_bases = 0
    for sequence in sequences:
        parts += [sequence, SEPARATOR]
        num_bases += len(sequence)
        if num_bases >= PIECE_BASES:
            yield np.concatenate(parts)
            parts, num_bases = [], 0
    if parts:
        yield np.concatenate(parts)


def haplotype_llr(model: MarkovModel, before: Bases, ref: Bases, alt: Bases, after: Bases) -> float:
    """Log-likelihood ratio of two haplotypes, alt against ref, nats, the mean of both strands.

    An allele changes the probability of its own bases and of as many bases after it as the order of
    the model. With this number of bases on each side, the result is that of two whole genomes.

    Args:
        model: The model.
        before: Bases before the allele, as many as the order of the model.
        ref: Reference allele.
        alt: Alternate allele.
        after: Bases after the allele, as many as the order of the model.
    """
    total = 0.0
    for sign, allele in ((1, alt), (-1, ref)):
        haplotype = np.concatenate([before, allele, after])
        forward = model.log_probs(haplotype)[len(before) :]
        reverse = model.log_probs(COMPLEMENT[haplotype[::-1]])[len(after) :]
        total += sign * float(np.nansum(forward) + np.nansum(reverse)) / 2
    return total


def variant_llr(
    model: MarkovModel, reference: Reference, contig: str, start: int, ref: str, alt: str
) -> float:
    """Log-likelihood ratio of a variant of a reference, nats; ``start`` is 0-based."""
    end = start + len(ref)
    left, right = start - model.order, end + model.order
    if not reference.is_circular(contig):
        left, right = max(0, left), min(right, reference.contigs[contig])
    before, after = reference.fetch(contig, left, start), reference.fetch(contig, end, right)
    return haplotype_llr(model, *map(as_bases, (before, ref, alt, after)))


def as_bases(text: str) -> Bases:
    """Text as ASCII codes."""
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
