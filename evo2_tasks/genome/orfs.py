"""Open reading frames of a sequence, by NCBI's genetic codes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from evo2_tasks.genome.codons import START_CODONS
from evo2_tasks.genome.window_pairs import reverse_complement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Strands = Literal["both", "forward"]

_STOPS: Final = {
    1: "TAA TAG TGA",
    2: "TAA TAG AGA AGG",
    3: "TAA TAG",
    4: "TAA TAG",
    5: "TAA TAG",
    6: "TGA",
    9: "TAA TAG",
    10: "TAA TAG",
    11: "TAA TAG TGA",
    12: "TAA TAG TGA",
    13: "TAA TAG",
    14: "TAG",
    15: "TAA TGA",
    16: "TAA TGA",
    21: "TAA TAG",
    22: "TCA TAA TGA",
    23: "TTA TAA TAG TGA",
    24: "TAA TAG",
    25: "TAA TAG",
    26: "TAA TAG TGA",
    27: "TGA",
    28: "TAA TAG TGA",
    29: "TGA",
    30: "TGA",
    31: "TAA TAG",
    33: "TAG",
}

STOP_CODONS: Final[Mapping[int, frozenset[str]]] = MappingProxyType(
    {code: frozenset(codons.split()) for code, codons in _STOPS.items()}
)
"""Codons that may end translation in each of NCBI's genetic codes.

In codes 27, 28 and 31 some of them are also read as an amino acid; they count as stops.
"""

_CODES: Final = np.full(256, 64, dtype=np.int16)  # 64: not A, C, G or T
_CODES[list(b"ACGT")] = range(4)


@dataclass(frozen=True, slots=True)
class Orf:
    """An open reading frame.

    Attributes:
        start: First base on the forward strand, 0-based.
        end: After the last base on the forward strand, with the stop codon if there is one.
        strand: The strand that is read.
        num_codons: Number of codons without the stop codon.
        has_stop: Whether it ends with a stop codon; if not, it ends with the last whole codon of
            the sequence.
    """

    start: int
    end: int
    strand: Literal["forward", "reverse"]
    num_codons: int
    has_stop: bool


def find_orfs(
    bases: str,
    genetic_code: int = 1,
    *,
    strands: Strands = "both",
    needs_start: bool = True,
    min_codons: int = 1,
) -> list[Orf]:
    """Find the longest open reading frame before each stop codon and before each end.

    Args:
        bases: A linear sequence, upper case. A codon with a letter other than A, C, G and T is
            neither a start nor a stop.
        genetic_code: NCBI's number of the code, one of ``STOP_CODONS``.
        strands: ``both``, or ``forward`` alone.
        needs_start: Whether it begins with a start codon; else it begins after the stop codon
            before it, or with the first whole codon of the sequence.
        min_codons: Fewest codons, without the stop codon, at least 1.

    Returns:
        The frames, in the order of their first bases on the forward strand.
    """
    starts, stops = START_CODONS[genetic_code], STOP_CODONS[genetic_code]
    found = []
    for strand in ("forward", "reverse")[: 1 + (strands == "both")]:
        read = bases if strand == "forward" else reverse_complement(bases)
        codons = _number_codons(read)
        is_stop, is_start = _mark(codons, stops), _mark(codons, starts)
        for frame in range(3):
            spans = _find_in_frame(is_start[frame::3], is_stop[frame::3], needs_start=needs_start)
            for first, end, has_stop in spans:
                if end - first < min_codons:
                    continue
                low, high = frame + 3 * first, frame + 3 * (end + has_stop)
                if strand == "reverse":
                    low, high = len(bases) - high, len(bases) - low
                found.append(Orf(low, high, strand, end - first, has_stop))  # type: ignore[arg-type] # one of the two
    return sorted(found, key=lambda orf: (orf.start, orf.end, orf.strand))


def _number_codons(bases: str) -> NDArray[np.int16]:
    """Number of the codon that begins at each base, 0 to 63; more for other letters."""
    codes = _CODES[np.frombuffer(bases.encode("ascii"), dtype=np.uint8)]
    if len(codes) < 3:
        return np.empty(0, dtype=np.int16)
    numbers: NDArray[np.int16] = 16 * codes[:-2] + 4 * codes[1:-1] + codes[2:]
    return numbers


def _mark(codons: NDArray[np.int16], chosen: frozenset[str]) -> NDArray[np.bool_]:
    """Which codons are among the chosen ones."""
    return np.isin(codons, [int(_number_codons(codon)[0]) for codon in chosen])


def _find_in_frame(
    is_start: NDArray[np.bool_], is_stop: NDArray[np.bool_], *, needs_start: bool
) -> list[tuple[int, int, bool]]:
    """The stretches without a stop: first codon, codon after the last one, whether a stop follows.

    Args:
        is_start: Which codons of the frame are start codons.
        is_stop: Which are stop codons.
        needs_start: Whether a stretch begins with its first start codon.
    """
    stops = np.flatnonzero(is_stop)
    firsts = np.concatenate([[0], stops + 1])
    ends = np.concatenate([stops, [len(is_stop)]])
    if needs_start:
        starts = np.concatenate([np.flatnonzero(is_start), [len(is_start)]])
        firsts = starts[np.searchsorted(starts[:-1], firsts)]
    return [
        (int(first), int(end), number < len(stops))
        for number, (first, end) in enumerate(zip(firsts, ends, strict=True))
        if first < end
    ]
