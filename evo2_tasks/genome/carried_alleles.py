"""The alleles that samples carry, as edits of the reference in one order along it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.genome.alleles import TrimmedAllele
from evo2_tasks.genome.genotypes import Genotypes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import Edit
from evo2_tasks.genome.windows import TO_SCORE, AlignedAllele, Contig, locate_allele

NOWHERE: Final = -1
"""Contig of an allele that changes no bases of the reference, or none that is known."""

_CHANGES_NOTHING = frozenset({"missing_allele", "not_a_variant"})


class CarriedAlleles:
    """The alleles that at least one sample carries, numbered in the order of the file.

    Args:
        variants: All alleles of the file, in its order.
        genotypes: Who carries them.
        reference: The reference.

    Attributes:
        keys: (record, allele) of each.
        contigs: Names of the reference contigs.
        contig: Index in ``contigs``, or `NOWHERE`.
        start: First changed base after left-alignment, 0-based. Of an allele that is not located,
            the first base of REF.
        end: The base after the last changed one.
        located: Whether the allele is an edit: spelled out, not filtered, and REF is in the
            reference.
        change: By how many bases it makes the contig longer.
        rank: Its place in the order by contig, start, number of replaced bases, number of new
            bases, and new bases.
        entry: Number of the allele of each entry of the genotypes. (C)
        statuses: How many alleles have each status, that of a located one being ``to_score``.
    """

    def __init__(
        self, variants: Iterable[Variant], genotypes: Genotypes, reference: Reference
    ) -> None:
        self.reference = reference
        keys = genotypes.record.astype(np.int64) << 32 | genotypes.allele
        unique, entry = np.unique(keys, return_inverse=True)
        self.entry: NDArray[np.int32] = entry.astype(np.int32)
        self.keys = [(int(key) >> 32, int(key) & 0xFFFFFFFF) for key in unique]
        self.contigs: list[str] = []
        self.contig = array("i")
        self.start, self.end, self.change = array("q"), array("q"), array("q")
        self.located = bytearray()
        self._refs: list[str] = []
        self._alts: list[str] = []
        self._traits = bytearray()
        self._letters: dict[int, tuple[Edit, ...]] = {}
        self._numbers: dict[str, int] = {}
        self._spelled: dict[str, str] = {}
        self.statuses: Counter[str] = Counter()
        self._read(variants)
        order = sorted(range(len(self.keys)), key=self._sort_key)
        self.rank = array("i", bytes(4 * len(order)))
        for place, number in enumerate(order):
            self.rank[number] = place

    def edit(self, number: int) -> Edit:
        """The edit of a located allele, left-aligned, 0-based on its contig."""
        start = self.start[number]
        return Edit(start, self.end[number] - start, self._alts[number])

    def letters(self, number: int) -> tuple[Edit, ...]:
        """The bases of its REF that replace IUPAC letters of the reference."""
        return self._letters.get(number, ())

    def aligned(self, number: int) -> AlignedAllele:
        """A located allele, left-aligned."""
        differs, is_moved, is_alias = (bool(self._traits[number] >> bit & 1) for bit in range(3))
        trimmed = TrimmedAllele(self.start[number], self._refs[number], self._alts[number])
        contig = self.reference_contig(self.contig[number], self.letters(number))
        return AlignedAllele(contig, trimmed, differs, is_moved, is_alias)

    def reference_contig(self, index: int, letters: tuple[Edit, ...] = ()) -> Contig:
        """A contig by its index."""
        name = self.contigs[index]
        length, circular = self.reference.contigs[name], self.reference.is_circular(name)
        return Contig(self.reference, name, length, circular, letters)

    def is_indel(self, number: int) -> bool:
        """Whether it only inserts or only deletes bases, so that it can move."""
        return not (self._refs[number] and self._alts[number])

    def differs(self, number: int) -> bool:
        """Whether any window of the allele alone can differ because of it."""
        return bool(self._traits[number] & 1)

    def _read(self, variants: Iterable[Variant]) -> None:
        wanted = iter(self.keys)
        key = next(wanted, None)
        for variant in variants:
            if key is None:
                break
            if (variant.record, variant.allele) == key:
                self._add(variant)
                key = next(wanted, None)
        if key is not None:
            raise ValueError(f"the variants lack allele {key[1]} of record {key[0]}")

    def _add(self, variant: Variant) -> None:
        found = locate_allele(variant, self.reference)
        self.statuses[TO_SCORE if isinstance(found, AlignedAllele) else found.status] += 1
        if isinstance(found, AlignedAllele):
            contig, (start, ref, alt), differs, is_moved, is_alias = found
            if contig.letters:
                self._letters[len(self._refs)] = contig.letters
            traits = differs | is_moved << 1 | is_alias << 2
            self._append(contig.name, start, ref, alt, traits, located=True)
            return
        name = found.reference_contig
        if found.status in _CHANGES_NOTHING or variant.pos is None:
            name = None
        start = variant.start if name is not None else 0
        self._append(name, start, variant.ref or "", "", 0, located=False)

    def _append(
        self, name: str | None, start: int, ref: str, alt: str, traits: int, *, located: bool
    ) -> None:
        number = NOWHERE
        if name is not None:
            number = self._numbers.setdefault(name, len(self.contigs))
            if number == len(self.contigs):
                self.contigs.append(name)
        self.contig.append(number)
        self.start.append(start)
        self.end.append(start + len(ref))
        self.change.append(len(alt) - len(ref) if located else 0)
        self.located.append(located)
        self._traits.append(traits)
        # Most alleles are among a few: each text is kept once.
        self._refs.append(self._spelled.setdefault(ref, ref))
        self._alts.append(self._spelled.setdefault(alt, alt))

    def _sort_key(self, number: int) -> tuple[int, int, int, int, str, int]:
        start, alt = self.start[number], self._alts[number]
        num_ref = self.end[number] - start
        return self.contig[number], start, num_ref, len(alt), alt, number
