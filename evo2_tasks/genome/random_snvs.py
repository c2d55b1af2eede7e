"""Random SNVs of a reference: drawn without repetition, each with the same chance.

The changes of the eligible bases are numbered in the order of the genome: three for each A, C, G or
T, in the order of the alternate base. Change ``i`` gets output ``i`` of the generator SplitMix64,
and the changes with the smallest outputs are drawn. No two outputs of the generator are equal, so
there are no ties. Only whole numbers of 64 bits are computed, so each machine draws the same, and a
larger number with the same seed draws the same changes and more. One pass over the bases is enough,
and memory grows with the number to draw only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from evo2_tasks.errors import InputError
from evo2_tasks.genome.bed import Feature, Interval, read_features
from evo2_tasks.genome.formats import FORMAT_WORDS, REGION_FORMATS, find_format
from evo2_tasks.genome.interval_lists import read_intervals
from evo2_tasks.genome.records import InvalidRecord
from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.vcf_text import COLUMNS, is_vcf_contig
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

_BASES: Final = b"ACGT"
_CHUNK_BASES: Final = 1 << 15
_LEAST_HELD: Final = 1 << 16
"""Number of candidates that are held at least before the largest are dropped."""
_LINES_AT_ONCE: Final = 1 << 14

# The constants of SplitMix64.
_STEP: Final = 0x9E3779B97F4A7C15
_FIRST_FACTOR: Final = 0xBF58476D1CE4E5B9
_SECOND_FACTOR: Final = 0x94D049BB133111EB
_MASK: Final = 2**64 - 1

_CODES: Final = np.full(256, 4, dtype=np.uint8)
_CODES[list(_BASES)] = range(4)

_Numbers = npt.NDArray[np.uint64]
_Offsets = npt.NDArray[np.int64]
_Codes = npt.NDArray[np.uint8]
_Columns = tuple[_Numbers, _Offsets, _Offsets, _Codes, _Codes]


class RandomSnv(NamedTuple):
    """A drawn SNV.

    Attributes:
        reference_contig: Contig as the FASTA names it.
        pos: Position, 1-based.
        ref: Base of the reference, upper case.
        alt: The other base.
    """

    reference_contig: str
    pos: int
    ref: str
    alt: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawn SNVs in the order of the genome, as columns.

    Attributes:
        contigs: Names of the contigs.
        contig: Number of the contig of each SNV, int64. (N,)
        start: Its position, 0-based, int64. (N,)
        ref: Number of the base of the reference in A, C, G, T, uint8. (N,)
        alt: Number of the other base, uint8. (N,)
        possible: Number of the changes that could be drawn.
    """

    contigs: Sequence[str]
    contig: _Offsets
    start: _Offsets
    ref: _Codes
    alt: _Codes
    possible: int

    def __iter__(self) -> Iterator[RandomSnv]:
        columns = (self.contig, self.start, self.ref, self.alt)
        for first in range(0, len(self.start), _LINES_AT_ONCE):
            lists = (column[first : first + _LINES_AT_ONCE].tolist() for column in columns)
            for contig, start, ref, alt in zip(*lists, strict=True):
                bases = chr(_BASES[ref]), chr(_BASES[alt])
                yield RandomSnv(self.contigs[contig], start + 1, *bases)


def draw_snvs(
    reference: Reference, stretches: Mapping[str, Sequence[Interval]], *, number: int, seed: int
) -> Drawn:
    """Draw SNVs of some stretches of a reference, without repetition and all with equal chance.

    Args:
        reference: The reference.
        stretches: Sorted, separate stretches (0-based, half-open) by contig, in the order of the
            genome.
        number: How many SNVs to draw. If fewer are possible, all of them are drawn.
        seed: Seed of the generator.
    """
    smallest = _Smallest(number)
    key = _mix_one(seed)
    steps = np.arange(1, 3 * _CHUNK_BASES + 1, dtype=np.uint64) * np.uint64(_STEP)
    num_before = 0
    first_changes: list[int] = []
    num_bases = sum(end - start for intervals in stretches.values() for start, end in intervals)
    with Progress("draw", total=num_bases, unit="bases") as progress:
        for name, intervals in stretches.items():
            first_changes.append(num_before)
            for first, last in _cut(intervals):
                bases = np.frombuffer(reference.fetch(name, first, last).encode(), dtype=np.uint8)
                codes = _CODES[bases]
                num_changes = 3 * int(np.count_nonzero(codes < len(_BASES)))
                shift = np.uint64((key + num_before * _STEP) & _MASK)
                outputs = _mix(steps[:num_changes] + shift)
                chosen = np.flatnonzero(outputs <= smallest.largest)
                if len(chosen):
                    offsets = np.flatnonzero(codes < len(_BASES))[chosen // 3]
                    refs = codes[offsets]
                    alts = (chosen % 3).astype(np.uint8)
                    alts += alts >= refs
                    smallest.add(outputs[chosen], num_before + chosen, first + offsets, refs, alts)
                num_before += num_changes
                progress.add(last - first)
    changes, starts, ref_codes, alt_codes = smallest.finish()
    contig = np.searchsorted(first_changes, changes, side="right") - 1
    return Drawn([*stretches], contig, starts, ref_codes, alt_codes, num_before)


def find_stretches(
    reference: Reference,
    *,
    contigs: Sequence[str] | None,
    regions: Path | None,
    where: str,
) -> dict[str, list[Interval]]:
    """Find the stretches to draw from: whole contigs, the regions of a file, or all contigs.

    Args:
        reference: The reference.
        contigs: Names of contigs; None for no choice by contig.
        regions: A BED file or an interval list; None for no choice by region.
        where: The key of the config, for messages.

    Returns:
        Sorted, separate stretches (0-based, half-open) by contig, in the order of the FASTA.

    Raises:
        InputError: A contig is not in the reference, or the file or one of its regions cannot be
            used.
    """
    lengths = reference.contigs
    found: dict[str, list[Interval]] = {}
    if regions is not None:
        for name, interval in _read_regions(regions, reference):
            found.setdefault(name, []).append(interval)
    else:
        found = {name: [(0, length)] for name, length in lengths.items() if contigs is None}
        for place, contig in enumerate(contigs or ()):
            resolved = reference.resolve(contig)
            if resolved is None:
                names = shown(", ".join(lengths), 200)
                raise InputError(
                    f"{where}.contigs[{place}]: the reference {shown_path(reference.path)} has no "
                    f"contig '{shown(contig)}'; it has: {names}. Name one of them, or add the name "
                    "to contig_aliases."
                )
            found[resolved] = [(0, lengths[resolved])]
    return {name: _merge(found[name]) for name in lengths if name in found}


def write_random_snvs(
    target: Path,
    reference: Reference,
    *,
    number: int,
    seed: int,
    contigs: Sequence[str] | None,
    regions: Path | None,
    where: str,
) -> int:
    """Draw random SNVs and write them as a sorted, bgzipped VCF, one record for each SNV.

    Args:
        target: The file to write.
        reference: The reference.
        number: How many SNVs to draw.
        seed: Seed of the generator.
        contigs: Names of contigs to draw from; None for no choice by contig.
        regions: A BED file or an interval list to draw from; None for no choice by region.
        where: The key of the config, for messages.

    Returns:
        Number of the SNVs that could be drawn.

    Raises:
        InputError: Fewer SNVs are possible, a contig or a region cannot be used, or the file cannot
            be written.
    """
    stretches = find_stretches(reference, contigs=contigs, regions=regions, where=where)
    for name in stretches:
        if name.startswith("#") or not (name.isprintable() and is_vcf_contig(name.encode())):
            raise InputError(
                f"{where}: the contig '{shown(name)}' has a name that VCF does not allow, and the "
                "drawn SNVs become a VCF. Rename the contig, or choose others by contigs."
            )
    drawn = draw_snvs(reference, stretches, number=number, seed=seed)
    if drawn.possible < number:
        what = "the reference has" if contigs is None else "these contigs have"
        what = what if regions is None else f"the regions of {shown_path(regions)} have"
        raise InputError(
            f"{where}.number: {number:,} SNVs cannot be drawn, because {what} only "
            f"{drawn.possible:,} changes of A, C, G and T. Lower number, or choose more bases."
        )
    header = [
        "##fileformat=VCFv4.2",
        *(f"##contig=<ID={name},length={reference.contigs[name]}>" for name in stretches),
        f"##evo2_tasks_random_snvs=number {number}, seed {seed}, possible {drawn.possible}",
        b"\t".join(COLUMNS).decode(),
    ]
    with (
        replace_atomically(target) as temporary,
        writing(target),
        temporary.open("wb") as file,
        BgzfWriter(file) as vcf,
    ):
        vcf.write("".join(f"{line}\n" for line in header).encode())
        for contig, pos, ref, alt in drawn:
            vcf.write(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n".encode())
    return drawn.possible


class _Smallest:
    """The changes with the smallest outputs so far."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._most_held = number + max(number // 4, _LEAST_HELD)
        self._num_held = 0
        # Outputs, numbers of the changes, starts, and bases: the columns of each piece.
        no_numbers, no_codes = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8)
        self._held: list[_Columns] = [
            (np.zeros(0, dtype=np.uint64), no_numbers, no_numbers, no_codes, no_codes)
        ]
        self.largest = np.uint64(_MASK)

    def add(self, *columns: *_Columns) -> None:
        self._held.append(columns)
        self._num_held += len(columns[0])
        if self._num_held > self._most_held:
            self._drop()

    def finish(self) -> tuple[_Offsets, _Offsets, _Codes, _Codes]:
        """All but the outputs, in the order of the changes."""
        _, changes, starts, refs, alts = self._drop()
        order = np.argsort(changes)
        return changes[order], starts[order], refs[order], alts[order]

    def _drop(self) -> _Columns:
        """Drop all but the smallest."""
        outputs, changes, starts, refs, alts = map(np.concatenate, zip(*self._held, strict=True))
        if len(outputs) > self._number:
            kept = np.argpartition(outputs, self._number - 1)[: self._number]
            outputs, changes, starts = outputs[kept], changes[kept], starts[kept]
            refs, alts = refs[kept], alts[kept]
            self.largest = outputs.max()
        columns: _Columns = (outputs, changes, starts, refs, alts)
        self._held, self._num_held = [columns], len(outputs)
        return columns


def _mix(state: _Numbers) -> _Numbers:
    """The outputs of SplitMix64 for its states; the array is changed."""
    scratch = np.right_shift(state, np.uint64(30))
    for factor, bits in ((_FIRST_FACTOR, 27), (_SECOND_FACTOR, 31)):
        state ^= scratch
        state *= np.uint64(factor)
        np.right_shift(state, np.uint64(bits), out=scratch)
    state ^= scratch
    return state


def _mix_one(seed: int) -> int:
    """The first output of SplitMix64 for a seed."""
    return int(_mix(np.array([(seed + _STEP) & _MASK], dtype=np.uint64))[0])


def _cut(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Cut stretches into pieces that do not cross a multiple of the largest length of a piece."""
    for start, end in intervals:
        while start < end:
            last = min((start // _CHUNK_BASES + 1) * _CHUNK_BASES, end)
            yield start, last
            start = last


def _merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Sort stretches, and join those that overlap or touch."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _read_regions(path: Path, reference: Reference) -> Iterator[tuple[str, Interval]]:
    """Read the blocks of the regions of a file, with their contigs as the FASTA names them."""
    file_format = find_format(path, has_regions=True)
    if file_format not in REGION_FORMATS:
        raise InputError(
            f"{shown_path(path)}: random_snvs needs the regions of a BED file or an interval list, "
            f"but this is {FORMAT_WORDS[file_format]}. Name a BED file."
        )
    read = read_intervals if file_format == "intervals" else read_features
    for feature in read(path):
        if isinstance(feature, InvalidRecord):
            raise InputError(
                f"{shown_path(path)}: line {feature.line}: {feature.explanation}. Correct the "
                "line, or remove it."
            )
        yield from _find_blocks(feature, path, reference)


def _find_blocks(
    feature: Feature, path: Path, reference: Reference
) -> Iterator[tuple[str, Interval]]:
    place = f"{shown(feature.contig)}:{feature.start + 1}-{feature.end}"
    name = reference.resolve(feature.contig)
    if name is None:
        raise InputError(
            f"{shown_path(path)}: region {place}: the reference {shown_path(reference.path)} has "
            f"no contig '{shown(feature.contig)}'. Correct the name, add it to contig_aliases, or "
            "remove the region."
        )
    if feature.end > reference.contigs[name]:
        raise InputError(
            f"{shown_path(path)}: region {place}: ends after the last base of the contig, "
            f"{reference.contigs[name]:,}. Correct the region, or check that it is of the same "
            "assembly."
        )
    for block in feature.blocks:
        yield name, block
