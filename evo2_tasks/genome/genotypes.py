"""The genotypes of a VCF or BCF: which sample has which allele on which haplotype.

The rules are those of VCF 4.4 and 4.5. An allele is phased if the mark before it is ``|``. An
omitted first mark is ``/`` if any mark of the call is ``/``, else ``|``. PS names the phase set of
a call, PSL that of each allele of a call. Phased alleles without a name are one phase set. PSO
orders the alleles of rearranged chromosomes, which are symbolic or breakends; it is not read.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import decode
from evo2_tasks.io.vcf_text import COLUMNS, Unreadable, parse_data_line
from evo2_tasks.io.words import find_near, shown

UNPHASED: Final = 0
"""Haplotype of an allele that is on no known haplotype."""

NO_SET: Final = -1
"""Phase set of an allele whose call has no phase."""

UNNAMED_SET: Final = 0
"""Phase set of all phased alleles without a name of a phase set."""

SampleKey = Literal["haplotypes.samples", "haplotype_of.sample"]
"""A key of a variant set that names samples."""

_CALL = re.compile(rb"[/|]?(?:\.|[0-9]{1,9})(?:[/|](?:\.|[0-9]{1,9}))*")
_TOKEN = re.compile(rb"([/|]?)(\.|[0-9]+)")
_MISSING = frozenset({b"", b"."})


class PhaseSet(NamedTuple):
    """A named phase set of a sample.

    Attributes:
        field: ``PS`` names the haplotypes of a contig by their places in GT; ``PSL`` names one
            haplotype.
        name: The name, as in the file.
    """

    field: Literal["PS", "PSL"]
    name: str


@dataclass(frozen=True, slots=True)
class GenotypeCounts:
    """What the genotypes of the chosen samples are.

    Attributes:
        calls: Samples times records.
        missing: Calls without an allele (``./.``, or no GT).
        partly_missing: Calls that state some of their alleles (``1|.``).
        unreadable: Calls that are not a genotype, or name an allele that the record does not have.
        unphased: Calls with an unphased allele that is not on every haplotype.
    """

    calls: int = 0
    missing: int = 0
    partly_missing: int = 0
    unreadable: int = 0
    unphased: int = 0


@dataclass(frozen=True, slots=True)
class Genotypes:
    """The alternate alleles that samples carry: one entry for each allele, sample and haplotype.

    Entries are in the order of the records. An allele that is on every haplotype of its call
    (``1/1``, ``1|1``, ``1``) has one entry for each of them, phased or not.

    Attributes:
        samples: Names of the chosen samples, sorted.
        phase_sets: Named phase sets; ``phase_set`` is 1 for the first of them.
        ploidy: Highest number of alleles in a call; 0 without a call.
        counts: What the calls are.
        record: Number of the record, from 0. (C)
        allele: Number of the allele, from 1. (C)
        sample: Index in ``samples``. (C)
        haplotype: Place in GT, from 1, or `UNPHASED`. (C)
        phase_set: Number of the phase set, `UNNAMED_SET` or `NO_SET`. (C)
        everywhere: Whether the allele is on every haplotype of its call. (C)
    """

    samples: tuple[str, ...]
    phase_sets: tuple[PhaseSet, ...]
    ploidy: int
    counts: GenotypeCounts
    record: NDArray[np.int32]
    allele: NDArray[np.int32]
    sample: NDArray[np.int32]
    haplotype: NDArray[np.int32]
    phase_set: NDArray[np.int32]
    everywhere: NDArray[np.bool_]

    def set_name(self, entry: int) -> str | None:
        """Name of the phase set of an entry; null if it has none."""
        number = int(self.phase_set[entry])
        return self.phase_sets[number - 1].name if number > UNNAMED_SET else None


class Carried(NamedTuple):
    """An alternate allele of a call.

    Attributes:
        allele: Its number.
        place: Its place in GT, from 1, or `UNPHASED`.
        is_phased: Whether the mark before it is ``|``.
        everywhere: Whether it is on every haplotype of the call.
    """

    allele: int
    place: int
    is_phased: bool
    everywhere: bool


class Call(NamedTuple):
    """A genotype.

    Attributes:
        carried: Its alternate alleles.
        highest: Highest number of an allele in it.
        num_alleles: Number of alleles, missing ones too.
        num_missing: Number of missing alleles.
    """

    carried: tuple[Carried, ...]
    highest: int
    num_alleles: int
    num_missing: int


@lru_cache(maxsize=65_536)
def parse_call(text: bytes) -> Call | None:
    """Read a genotype, for example ``0|1``; None if it is not one.

    Args:
        text: The value of GT.
    """
    if text in _MISSING:
        return Call((), 0, 1, 1)
    if not _CALL.fullmatch(text):
        return None
    tokens = _TOKEN.findall(text)
    marks = [mark for mark, _ in tokens]
    if not marks[0]:
        marks[0] = b"/" if b"/" in marks else b"|"
    numbers = [None if number == b"." else int(number) for _, number in tokens]
    found = sorted({number for number in numbers if number})
    carried: list[Carried] = []
    for allele in found:
        everywhere = all(number == allele for number in numbers)
        is_unphased = False
        for place, (mark, number) in enumerate(zip(marks, numbers, strict=True), start=1):
            if number != allele:
                continue
            if everywhere or mark == b"|":
                carried.append(Carried(allele, place, mark == b"|", everywhere))
            else:
                is_unphased = True
        if is_unphased:
            carried.append(Carried(allele, UNPHASED, is_phased=False, everywhere=False))
    return Call(tuple(carried), max(found, default=0), len(numbers), numbers.count(None))


def read_genotypes(
    lines: Iterable[bytes],
    names: Sequence[str],
    *,
    samples: Sequence[str] | None,
    source: str,
    key: SampleKey = "haplotypes.samples",
) -> Genotypes:
    """Read the genotypes of some samples.

    Memory grows with the alternate alleles that the samples carry, 21 bytes for each.

    Args:
        lines: The data lines of the records, with their sample columns.
        names: Names of all samples of the file, in its order.
        samples: Names of the samples to read; None for all.
        source: Name of the file, for messages.
        key: The key of the variant set that names the samples, for messages.

    Raises:
        InputError: The file does not have the samples, or has one of them twice.
    """
    columns = find_samples(names, samples=samples, source=source, key=key)
    reader = _Reader(columns, len(names))
    for record, line in enumerate(lines):
        reader.add(record, line)
    return reader.genotypes()


def find_samples(
    names: Sequence[str], *, samples: Sequence[str] | None, source: str, key: SampleKey
) -> dict[str, int]:
    """The place of each chosen sample among the samples of the file, sorted by name.

    Args:
        names: Names of all samples of the file, in its order.
        samples: Names of the chosen samples; None for all.
        source: Name of the file, for messages.
        key: The key of the variant set that names the samples, for messages.

    Raises:
        InputError: The file does not have the samples, or has one of them twice.
    """
    if not names:
        asked = key.partition(".")[0]
        needs = "need" if asked.endswith("s") else "needs"
        raise InputError(
            f"{source}: {asked} {needs} genotypes, but the file has no samples. Remove {asked}, "
            "or name a VCF or BCF with samples."
        )
    places: dict[str, int] = {}
    twice: set[str] = set()
    for place, name in enumerate(names):
        if places.setdefault(name, place) != place:
            twice.add(name)
    chosen = sorted(set(names if samples is None else samples))
    for name in chosen:
        if name not in places:
            near = find_near(name, names)
            hint = f"Did you mean {' or '.join(map(shown, near))}? " if near else ""
            few = ", ".join(map(shown, names[:10])) + (", ..." if len(names) > 10 else "")
            raise InputError(
                f"{source}: {key}: the file has no sample '{shown(name)}'. {hint}"
                f"Its samples are: {few}"
            )
        if name in twice:
            raise InputError(
                f"{source}: two samples have the name '{shown(name)}'. Give each sample its own "
                f"name (bcftools reheader --samples NAMES), or leave this one out of {key}."
            )
    return {name: places[name] for name in chosen}


class _Reader:
    """Collects the alleles that the chosen samples carry, record by record."""

    def __init__(self, columns: dict[str, int], num_names: int) -> None:
        self._samples = tuple(columns)
        self._columns = [len(COLUMNS) + 1 + place for place in columns.values()]
        self._num_cells = len(COLUMNS) + 1 + num_names
        self._sets: dict[PhaseSet, int] = {}
        self._entries = tuple(array("i") for _ in range(5))
        self._everywhere = array("b")
        self._calls = self._missing = self._partly = self._unreadable = self._unphased = 0
        self._ploidy = 0

    def genotypes(self) -> Genotypes:
        """All that was added."""
        counts = GenotypeCounts(
            self._calls, self._missing, self._partly, self._unreadable, self._unphased
        )
        record, allele, sample, haplotype, phase_set = (
            np.frombuffer(entries, dtype=np.int32) for entries in self._entries
        )
        everywhere = np.frombuffer(self._everywhere, dtype=np.bool_)
        return Genotypes(
            samples=self._samples,
            phase_sets=tuple(self._sets),
            ploidy=self._ploidy,
            counts=counts,
            record=record,
            allele=allele,
            sample=sample,
            haplotype=haplotype,
            phase_set=phase_set,
            everywhere=everywhere,
        )

    def add(self, record: int, line: bytes) -> None:
        """Read the genotypes of a data line; a line that is not a record has none."""
        data = parse_data_line(line)
        cells = line.split(b"\t")
        if isinstance(data, Unreadable) or len(cells) > self._num_cells:
            return
        self._calls += len(self._columns)
        keys = cells[len(COLUMNS)].split(b":") if len(cells) > len(COLUMNS) else []
        if b"GT" not in keys:
            self._missing += len(self._columns)
            return
        cells += [b""] * (self._num_cells - len(cells))
        chosen = [cells[column] for column in self._columns]
        place = keys.index(b"GT")
        if len(keys) == 1:
            texts = chosen
        elif place == 0:
            texts = [cell.partition(b":")[0] for cell in chosen]
        else:
            texts = [_value(cell.split(b":"), place) for cell in chosen]
        num_alts = 0 if data.alts == ["."] else len(data.alts)
        calls = {text: parse_call(text) for text in set(texts)}
        self._ploidy = max(self._ploidy, *(call.num_alleles for call in calls.values() if call), 0)
        plain = {
            text for text, call in calls.items() if call and not (call.highest or call.num_missing)
        }
        if len(plain) == len(calls):
            return
        fields = _find_set_fields(keys)
        for sample, text in enumerate(texts):
            if text not in plain:
                values = chosen[sample].split(b":") if fields else []
                self._add_call(record, sample, calls[text], num_alts, fields, values)

    def _add_call(
        self,
        record: int,
        sample: int,
        call: Call | None,
        num_alts: int,
        fields: dict[Literal["PS", "PSL"], int],
        values: list[bytes],
    ) -> None:
        if call is None or call.highest > num_alts:
            self._unreadable += 1
            return
        if call.num_missing:
            is_missing = call.num_missing == call.num_alleles
            self._missing += is_missing
            self._partly += not is_missing
        unplaced: set[int] = set()
        for carried in call.carried:
            phase_set = NO_SET
            if carried.is_phased:
                phase_set = self._find_set(carried.place, call.num_alleles, fields, values)
            place = carried.place
            if phase_set == NO_SET and not carried.everywhere:
                if carried.allele in unplaced:
                    continue
                unplaced.add(carried.allele)
                place = UNPHASED
            entry = (record, carried.allele, sample, place, phase_set)
            for column, value in zip(self._entries, entry, strict=True):
                column.append(value)
            self._everywhere.append(carried.everywhere)
        self._unphased += bool(unplaced)

    def _find_set(
        self,
        place: int,
        num_alleles: int,
        fields: dict[Literal["PS", "PSL"], int],
        values: list[bytes],
    ) -> int:
        """The number of the phase set of a phased allele."""
        names = _value(values, fields["PSL"]) if "PSL" in fields else b""
        if names not in _MISSING:
            by_place = names.split(b",")
            name = by_place[place - 1] if len(by_place) == num_alleles else b""
            # An allele that is in none of the sets of a list is not phased with any other.
            return NO_SET if name in _MISSING else self._number_set("PSL", name)
        name = _value(values, fields["PS"]) if "PS" in fields else b""
        return UNNAMED_SET if name in _MISSING else self._number_set("PS", name)

    def _number_set(self, field: Literal["PS", "PSL"], name: bytes) -> int:
        return self._sets.setdefault(PhaseSet(field, decode(name)), len(self._sets) + 1)


def _find_set_fields(keys: list[bytes]) -> dict[Literal["PS", "PSL"], int]:
    """The places of the fields that name phase sets among the fields of a sample."""
    fields: dict[Literal["PS", "PSL"], int] = {}
    if b"PS" in keys:
        fields["PS"] = keys.index(b"PS")
    if b"PSL" in keys:
        fields["PSL"] = keys.index(b"PSL")
    return fields


def _value(values: list[bytes], place: int) -> bytes:
    """A field of a sample; empty if the fields at the end are left out."""
    return values[place] if place < len(values) else b""
