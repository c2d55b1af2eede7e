"""The built-in scorers. Each reads the generated bases alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evo2_tasks.generation.functions import load_function
from evo2_tasks.generation.scorers import Scorer
from evo2_tasks.genome.orfs import STOP_CODONS, Strands, find_orfs
from evo2_tasks.genome.window_pairs import reverse_complement

IUPAC: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{base: base for base in "ACGT"},
        "R": "AG",
        "Y": "CT",
        "S": "CG",
        "W": "AT",
        "K": "GT",
        "M": "AC",
        "B": "CGT",
        "D": "AGT",
        "H": "ACT",
        "V": "ACG",
        "N": "ACGT",
    }
)
"""The bases that each IUPAC letter stands for."""

MOST_K: Final = 31
"""Longest k-mer of `RepeatContent`, whose bases fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class GcContent:
    """Share of G and C: minus its distance from a target, so 0 is best.

    Attributes:
        target: The share, from 0 to 1.
    """

    target: float

    def __post_init__(self) -> None:
        _require(0 <= self.target <= 1, "target", self.target, "a share from 0 to 1")

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        return [-abs(_gc_share(sequence) - self.target) for sequence in sequences]


@dataclass(frozen=True, slots=True)
class GcPattern:
    """Share of G and C in each of consecutive windows: minus the mean distance from its target.

    Window i has target ``i % len(targets)``. The last window of a partial sequence may be short;
    each window counts with its number of bases.

    Attributes:
        targets: The shares, from 0 to 1, in turn.
        window: Number of bases of a window.
    """

    targets: tuple[float, ...]
    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        _require(
            bool(self.targets) and all(0 <= target <= 1 for target in self.targets),
            "targets",
            list(self.targets),
            "one or more shares from 0 to 1",
        )
        _require(self.window >= 1, "window", self.window, "1 or more")

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        return [-self._distance(sequence) for sequence in sequences]

    def _distance(self, sequence: str) -> float:
        total = 0.0
        for number, start in enumerate(range(0, len(sequence), self.window)):
            bases = sequence[start : start + self.window]
            target = self.targets[number % len(self.targets)]
            total += len(bases) * abs(_gc_share(bases) - target)
        return total / len(sequence)


@dataclass(frozen=True, slots=True)
class Motif:
    """Number of places of a motif or k-mer: as many as possible, or close to a count.

    Attributes:
        motif: IUPAC letters, for example ``TATAWAW``. Places may overlap.
        count: The target: the score is then minus the distance of the number from it. None: the
            score is the number.
        strands: On which strands it counts. A place that matches on both counts once.
    """

    motif: str
    count: int | None = None
    strands: Strands = "both"
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        motif = self.motif.upper()
        _require(
            bool(motif) and not set(motif) - set(IUPAC),
            "motif",
            repr(self.motif),
            f"one or more of the letters {''.join(IUPAC)}",
        )
        _require(self.count is None or self.count >= 0, "count", self.count, "0 or more")
        _require_strands(self.strands)
        spellings = {motif: None}
        if self.strands == "both":
            spellings[reverse_complement(motif)] = None
        text = "|".join("".join(f"[{IUPAC[letter]}]" for letter in one) for one in spellings)
        object.__setattr__(self, "_pattern", re.compile(f"(?=(?:{text}))"))

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        numbers = [sum(1 for _ in self._pattern.finditer(one)) for one in sequences]
        if self.count is None:
            return [float(number) for number in numbers]
        return [-float(abs(number - self.count)) for number in numbers]


class Predictor(Protocol):
    """Predicts a number for each base of each sequence, for example accessibility."""

    def __call__(self, sequences: Sequence[str], prompt: str) -> Sequence[ArrayLike]:
        """Predict.

        Args:
            sequences: The generated bases of each candidate so far, without the prompt.
            prompt: The prompt.

        Returns:
            For each sequence, a number for each of its bases.
        """


@dataclass(frozen=True, slots=True)
class Peaks:
    """Presence and absence of peaks: agreement of a predicted per-base array with a pattern.

    The presence of a base is 0 where its prediction is ``low`` or less, 1 where it is ``high`` or
    more, and linear between. The score is the mean presence of the bases inside the peaks, and the
    mean absence (1 - presence) of those outside, averaged: 1 is best, and a constant array has 0.5.
    A partial sequence that has bases of one kind only gets the mean of this kind.

    Attributes:
        predictor: ``module:function`` of a `Predictor`.
        peaks: Where peaks have to be: first base and the base after the last one, 0-based, of the
            generated bases.
        low: Prediction of a base without a peak.
        high: Prediction of a base in a peak, above ``low``.
        folder: Folder in which the module is searched first.
    """

    predictor: str
    peaks: tuple[tuple[int, int], ...]
    low: float
    high: float
    folder: Path = Path()
    _function: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "peaks", tuple((start, end) for start, end in self.peaks))
        _require(
            all(0 <= start < end for start, end in self.peaks),
            "peaks",
            [list(peak) for peak in self.peaks],
            "pairs of a first base and a base after the last one, from 0 on",
        )
        _require(self.low < self.high, "low", self.low, f"less than high, which is {self.high}")
        object.__setattr__(self, "_function", load_function(self.predictor, self.folder).function)

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        predicted = list(self._function(sequences, prompt))
        if len(predicted) != len(sequences):
            raise ValueError(
                f"{self.predictor} gave {len(predicted)} arrays for {len(sequences)} sequences."
            )
        return [
            self._agree(np.asarray(array, dtype=np.float64), len(sequence))
            for array, sequence in zip(predicted, sequences, strict=True)
        ]

    def _agree(self, predicted: NDArray[np.float64], num_bases: int) -> float:
        if predicted.shape != (num_bases,):
            raise ValueError(
                f"{self.predictor} gave an array of shape {predicted.shape} for {num_bases} bases; "
                "expected one number for each base."
            )
        presence = np.clip((predicted - self.low) / (self.high - self.low), 0, 1)
        is_peak = np.zeros(num_bases, dtype=bool)
        for start, end in self.peaks:
            is_peak[start:end] = True
        kinds = [kind for kind in (presence[is_peak], 1 - presence[~is_peak]) if len(kind)]
        return float(np.mean([kind.mean() for kind in kinds]))


@dataclass(frozen=True, slots=True)
class OrfLength:
    """Number of bases of the longest open reading frame, without its stop codon.

    A frame that is still open at the end of the partial sequence counts up to there.

    Attributes:
        genetic_code: NCBI's number of the genetic code.
        strands: On which strands frames are read.
        needs_start: Whether a frame begins with a start codon; else it is any stretch without a
            stop codon.
        frame: 0, 1 or 2: only forward frames whose codons begin at base ``frame`` modulo 3 of the
            generated bases. None for all frames.
    """

    genetic_code: int = 1
    strands: Strands = "both"
    needs_start: bool = True
    frame: Literal[0, 1, 2] | None = None

    def __post_init__(self) -> None:
        codes = ", ".join(map(str, STOP_CODONS))
        _require(
            self.genetic_code in STOP_CODONS, "genetic_code", self.genetic_code, f"one of {codes}"
        )
        _require_strands(self.strands)
        _require(self.frame in (None, 0, 1, 2), "frame", self.frame, "0, 1 or 2")

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        return [float(self._longest(sequence)) for sequence in sequences]

    def _longest(self, sequence: str) -> int:
        strands = self.strands if self.frame is None else "forward"
        orfs = find_orfs(sequence, self.genetic_code, strands=strands, needs_start=self.needs_start)
        return max(
            (
                3 * orf.num_codons
                for orf in orfs
                if self.frame is None or orf.start % 3 == self.frame
            ),
            default=0,
        )


@dataclass(frozen=True, slots=True)
class EditDistance:
    """Distance to a given sequence, so that a search stays away from it or at a set distance.

    It is the smallest number of substitutions, insertions and deletions between the generated bases
    and any stretch of the given sequence, divided by the number of generated bases: 0 for a copy of
    any part of it, at most 1.

    Attributes:
        sequence: The bases of the given sequence.
        target: The score is minus the distance from this target. None: the score is the distance.
        strands: ``both`` compares with its reverse complement too, and takes the smaller distance.
    """

    sequence: str
    target: float | None = None
    strands: Strands = "both"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequence", self.sequence.upper())
        _require(
            self.sequence.isascii() and self.sequence.isalpha(),
            "sequence",
            repr(self.sequence[:20]),
            "the letters of one or more bases",
        )
        _require(self.target is None or 0 <= self.target <= 1, "target", self.target, "from 0 to 1")
        _require_strands(self.strands)

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        targets = [self.sequence]
        if self.strands == "both":
            targets.append(reverse_complement(self.sequence))
        shares = [
            min(infix_distance(one, target) for target in targets) / len(one) for one in sequences
        ]
        return shares if self.target is None else [-abs(share - self.target) for share in shares]


def infix_distance(query: str, target: str) -> int:
    """Smallest edit distance between a sequence and any stretch of another one.

    Args:
        query: The whole of this sequence is compared.
        target: A stretch of this sequence is compared.
    """
    import edlib  # noqa: PLC0415 # an extra that other scorers do not need

    distance: int = edlib.align(query, target, mode="HW", task="distance")["editDistance"]
    return distance


@dataclass(frozen=True, slots=True)
class RepeatContent:
    """Share of bases in repeats: minus its distance from a target, so 0 is best.

    A base is in a repeat if it is in a k-mer that occurs more than once in the sequence, itself or
    as its reverse complement.

    Attributes:
        k: Length of the k-mers, from 1 to 31.
        target: The share, from 0 to 1.
    """

    k: int = 16
    target: float = 0.0

    def __post_init__(self) -> None:
        _require(1 <= self.k <= MOST_K, "k", self.k, f"1 to {MOST_K}")
        _require(0 <= self.target <= 1, "target", self.target, "a share from 0 to 1")

    def __call__(self, sequences: Sequence[str], prompt: str) -> list[float]:
        """Score sequences; see `Scorer`."""
        return [-abs(repeat_share(sequence, self.k) - self.target) for sequence in sequences]


_CODES: Final = np.full(256, 4, dtype=np.uint64)  # 4: not A, C, G or T
_CODES[list(b"ACGT")] = range(4)


def repeat_share(sequence: str, k: int) -> float:
    """Share of bases in a k-mer that occurs more than once on the two strands together.

    Args:
        sequence: Bases, upper case. A k-mer with another letter than A, C, G and T does not count.
        k: Length of the k-mers, from 1 to 31.
    """
    num_kmers = len(sequence) - k + 1
    if num_kmers < 1:
        return 0.0
    codes = _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    forward = np.zeros(num_kmers, dtype=np.uint64)
    reverse = np.zeros(num_kmers, dtype=np.uint64)
    for offset in range(k):
        here = codes[offset : offset + num_kmers]
        forward |= (here & 3) << np.uint64(2 * (k - 1 - offset))
        reverse |= (3 - (here & 3)) << np.uint64(2 * offset)
    is_whole = np.convolve(codes == 4, np.ones(k), mode="valid") < 0.5  # no other letter
    places = np.flatnonzero(is_whole)
    kmers = np.minimum(forward, reverse)[places]
    _, which, counts = np.unique(kmers, return_inverse=True, return_counts=True)
    repeated = places[counts[which] > 1]
    changes = np.zeros(len(sequence) + 1, dtype=np.int64)
    np.add.at(changes, repeated, 1)
    np.add.at(changes, repeated + k, -1)
    return float(np.count_nonzero(changes[:-1].cumsum()) / len(sequence))


BUILT_IN: Final[Mapping[str, type[Scorer]]] = MappingProxyType(
    {
        "gc_content": GcContent,
        "gc_pattern": GcPattern,
        "motif": Motif,
        "peaks": Peaks,
        "orf_length": OrfLength,
        "edit_distance": EditDistance,
        "repeat_content": RepeatContent,
    }
)
"""The scorers that need no model, by their name in the config. Their fields are their settings."""


def _gc_share(bases: str) -> float:
    return (bases.count("G") + bases.count("C")) / len(bases)


def _require_strands(strands: str) -> None:
    _require(strands in ("both", "forward"), "strands", strands, "both or forward")


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value}; expected {expected}.")
