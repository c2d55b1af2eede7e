"""First, last and unreadable codons of a transcript, by NCBI's genetic codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from evo2_tasks.genome.genes import Transcript
from evo2_tasks.genome.window_pairs import Interval

_STARTS: Final = {
    0: "ATG",
    1: "ATG CTG TTG",
    2: "ATA ATC ATG ATT GTG",
    3: "ATA ATG GTG",
    4: "ATA ATC ATG ATT CTG GTG TTA TTG",
    5: "ATA ATC ATG ATT GTG TTG",
    6: "ATG",
    9: "ATG GTG",
    10: "ATG",
    11: "ATA ATC ATG ATT CTG GTG TTG",
    12: "ATG CTG",
    13: "ATA ATG GTG TTG",
    14: "ATG",
    15: "ATG",
    16: "ATG",
    21: "ATG GTG",
    22: "ATG",
    23: "ATG ATT GTG",
    24: "ATG CTG GTG TTG",
    25: "ATG GTG TTG",
    26: "ATG CTG",
    27: "ATG",
    28: "ATG",
    29: "ATG",
    30: "ATG",
    31: "ATG",
    33: "ATG CTG GTG TTG",
}

START_CODONS: Final[Mapping[int, frozenset[str]]] = MappingProxyType(
    {code: frozenset(codons.split()) for code, codons in _STARTS.items()}
)
"""Start codons of each genetic code of ``bcftools csq``: NCBI's, and 0.

0 has the amino acids of NCBI's standard code, and ATG as its only start codon.
"""

STANDARD_CODE: Final = 0
"""The genetic code of contigs without another one."""

_COMPLEMENT: Final = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True)
class Codons:
    """What csq does not know about the codons of a transcript.

    Attributes:
        first: Positions of the first codon on the contig, 0-based, in reading direction; empty if
            the transcript does not begin with a start codon of its genetic code.
        first_bases: Bases of that codon, in reading direction.
        starts: The start codons of the genetic code.
        incomplete: Bases of incomplete codons at both ends, as ranges on the contig.
        unreadable: Numbers of the codons with a base other than A, C, G and T, from 1.
    """

    first: tuple[int, ...]
    first_bases: str
    starts: frozenset[str]
    incomplete: tuple[Interval, ...]
    unreadable: frozenset[int]

    def replace_first(
        self, substitutions: Iterable[tuple[int, str, str]], strand: str | None
    ) -> str | None:
        """The first codon after substitutions; null if they change other bases too.

        Args:
            substitutions: First changed base, 0-based, the replaced bases, and the bases that
                replace them, as many.
            strand: Strand of the transcript.
        """
        codon = list(self.first_bases)
        for start, ref, alt in substitutions:
            if not self.first or len(ref) != len(alt):
                return None
            for place, base in enumerate(alt, start):
                if place in self.first:
                    codon[self.first.index(place)] = (
                        base if strand == "+" else base.translate(_COMPLEMENT)
                    )
                elif base != ref[place - start]:
                    return None
        changed = "".join(codon)
        return None if changed == self.first_bases else changed


def read_codons(
    transcript: Transcript, fetch: Callable[[str, int, int], str], genetic_code: int
) -> Codons:
    """Find the codons of a coding transcript that need another treatment than csq's.

    Args:
        transcript: The transcript.
        fetch: Returns bases of the reference, as `Reference.fetch`.
        genetic_code: Number of its genetic code.
    """
    forward = transcript.strand == "+"
    parts = transcript.cds if forward else transcript.cds[::-1]
    num_bases = transcript.cds_length
    rest = (num_bases - transcript.phase) % 3 if num_bases > transcript.phase else 0
    incomplete = _cut(parts, 0, transcript.phase, forward=forward)
    incomplete += _cut(parts, num_bases - rest, num_bases, forward=forward)
    bases = "".join(_read(transcript, part, fetch) for part in parts)[transcript.phase :]
    first: tuple[int, ...] = ()
    if transcript.phase == 0 and bases[:3] in START_CODONS[genetic_code]:
        spans = _cut(parts, 0, 3, forward=forward)
        places = [place for start, end in spans for place in _walk(start, end, forward=forward)]
        first = tuple(places)
    unreadable: frozenset[int] = frozenset()
    if bases.strip("ACGT") or any(base not in "ACGT" for base in set(bases)):
        unreadable = frozenset(
            place // 3 + 1 for place, base in enumerate(bases) if base not in "ACGT"
        )
    return Codons(first, bases[:3], START_CODONS[genetic_code], tuple(incomplete), unreadable)


def _read(transcript: Transcript, part: Interval, fetch: Callable[[str, int, int], str]) -> str:
    bases = fetch(transcript.contig, *part)
    return bases if transcript.strand == "+" else bases.translate(_COMPLEMENT)[::-1]


def _walk(start: int, end: int, *, forward: bool) -> range:
    return range(start, end) if forward else range(end - 1, start - 1, -1)


def _cut(parts: tuple[Interval, ...], first: int, last: int, *, forward: bool) -> list[Interval]:
    """The ranges on the contig of the coding bases ``first`` to ``last``, in reading direction."""
    ranges = []
    before = 0
    for start, end in parts:
        low, high = max(first - before, 0), min(last - before, end - start)
        if low < high:
            ranges.append((start + low, start + high) if forward else (end - high, end - low))
        before += end - start
    return ranges
