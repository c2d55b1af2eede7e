"""The alleles of each sample on each haplotype: neighbours of an allele, and compounds.

A haplotype of a sample is a place in GT within a phase set, or a name of PSL. It has the alleles
that are phased there, and those that are on every haplotype of their call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from evo2_tasks.genome.carried_alleles import NOWHERE, CarriedAlleles
from evo2_tasks.genome.chromosomes import Chromosome
from evo2_tasks.genome.codon_spans import CodonFinder
from evo2_tasks.genome.compounds import Compound, join_alleles
from evo2_tasks.genome.genes import Genes
from evo2_tasks.genome.genotypes import Genotypes
from evo2_tasks.genome.haplotype_windows import place_in_haplotype
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_layout import PlacedAllele, WindowSettings


class Carrier(NamedTuple):
    """A sample and a haplotype that has an allele: one row of the table of haplotypes.

    Attributes:
        sample: Index in ``Genotypes.samples``.
        haplotype: Place in GT, from 1; null if the allele is unphased.
        phase_set: Name of the phase set of the haplotype; null if it has none.
        flags: ``unphased``, ``several_phase_sets``, ``overlapping_background`` or
            ``incomplete_background``.
        pair: Index in ``AlleleHaplotypes.pairs``; null if the background is empty, or the allele
            has no windows on the reference: the row is then that of the allele alone.
    """

    sample: int
    haplotype: int | None
    phase_set: str | None
    flags: tuple[str, ...]
    pair: int | None


class HaplotypePair(NamedTuple):
    """The windows of an allele with one background, which is not empty.

    Attributes:
        background: The neighbours: (record, allele), in the order of the contig.
        placed: Status, flags and windows; see ``haplotype_windows`` for the coordinates.
    """

    background: tuple[tuple[int, int], ...]
    placed: PlacedAllele


class AlleleHaplotypes(NamedTuple):
    """An allele with its carriers and its different backgrounds.

    Attributes:
        record: Number of the record, from 0.
        allele: Number of the allele, from 1.
        carriers: Sorted by sample and haplotype, the unphased one first.
        pairs: Each background once, in the order of the carriers.
    """

    record: int
    allele: int
    carriers: tuple[Carrier, ...]
    pairs: tuple[HaplotypePair, ...]


class Haplotypes:
    """The haplotypes of samples.

    Args:
        variants: All alleles of the file, in its order.
        genotypes: Who carries them.
        reference: The reference.
    """

    def __init__(
        self, variants: Iterable[Variant], genotypes: Genotypes, reference: Reference
    ) -> None:
        self._alleles = alleles = CarriedAlleles(variants, genotypes, reference)
        self._genotypes = genotypes
        self._chromosomes: dict[tuple[int, int], Chromosome] = {}
        contigs = np.frombuffer(alleles.contig, dtype=np.int32)[alleles.entry]
        ranks = np.frombuffer(alleles.rank, dtype=np.int32)[alleles.entry]
        order = np.lexsort((genotypes.haplotype, ranks, contigs, genotypes.sample))
        order = order[contigs[order] != NOWHERE]
        samples, contigs = genotypes.sample[order], contigs[order]
        starts = np.flatnonzero(np.diff(samples, prepend=-1) | np.diff(contigs, prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(order)]):
            key = int(samples[start]), int(contigs[start])
            self._chromosomes[key] = Chromosome(alleles, genotypes, order[start:end], key[1])

    @property
    def alleles(self) -> CarriedAlleles:
        """All alleles."""
        return self._alleles

    def chromosome(self, sample: int, contig: str) -> Chromosome | None:
        """The alleles of a sample on a contig; None if it carries none there.

        Args:
            sample: Index in ``Genotypes.samples``.
            contig: Name of the reference contig.
        """
        if contig not in self._alleles.contigs:
            return None
        return self._chromosomes.get((sample, self._alleles.contigs.index(contig)))

    def find_pairs(self, settings: WindowSettings) -> Iterator[AlleleHaplotypes]:
        """The carriers and the windows of each carried allele, in the order of the file.

        Args:
            settings: The window settings of a scoring.
        """
        genotypes, alleles = self._genotypes, self._alleles
        for chromosome in self._chromosomes.values():
            chromosome.forget()
        order = np.lexsort((genotypes.haplotype, genotypes.sample, alleles.entry))
        numbers = alleles.entry[order]
        starts = np.searchsorted(numbers, np.arange(len(alleles.keys) + 1)).tolist()
        for number, (start, end) in enumerate(pairwise(starts)):
            yield self._find_pairs(number, order[start:end].tolist(), settings)

    def find_compounds(self, near: int | Genes) -> Iterator[Compound]:
        """The maximal groups of neighbouring alleles, by sample, contig, place and haplotype.

        Args:
            near: Most unchanged bases between two neighbours of a group; or the genes of the
                reference: alleles that touch one codon of a transcript are then neighbours.
        """
        rule = CodonFinder(near, self._alleles) if isinstance(near, Genes) else near
        for (sample, _), chromosome in self._chromosomes.items():
            chromosome.forget()
            for haplotype, phase_set, members in chromosome.find_groups(rule):
                yield Compound(
                    sample,
                    haplotype,
                    phase_set,
                    tuple(self._alleles.keys[number] for number in members),
                    tuple(map(self._alleles.edit, members)),
                    join_alleles(self._alleles, members),
                )
            chromosome.forget()

    def _find_pairs(
        self, number: int, entries: list[int], settings: WindowSettings
    ) -> AlleleHaplotypes:
        alleles, genotypes = self._alleles, self._genotypes
        contig, is_located = alleles.contig[number], bool(alleles.located[number])
        aligned = alleles.aligned(number) if is_located else None
        pairs: list[HaplotypePair] = []
        known: dict[tuple[object, ...], int] = {}
        carriers = []
        for entry in entries:
            sample = int(genotypes.sample[entry])
            haplotype = int(genotypes.haplotype[entry]) or None
            if aligned is None:
                name = genotypes.set_name(entry)
                carriers.append(Carrier(sample, haplotype, name, (), None))
                continue
            chromosome = self._chromosomes[sample, contig]
            phase_set, flags, neighbours = chromosome.look_around(number, entry, settings)
            pair = None
            if neighbours.alleles:
                pair = known.setdefault(neighbours.key, len(pairs))
            if pair == len(pairs):
                background = neighbours.background(alleles)
                placed = place_in_haplotype(aligned, background, settings)
                keys = tuple(alleles.keys[one] for one in neighbours.alleles)
                pairs.append(HaplotypePair(keys, placed))
            carriers.append(Carrier(sample, haplotype, phase_set, flags, pair))
        return AlleleHaplotypes(*alleles.keys[number], tuple(carriers), tuple(pairs))
