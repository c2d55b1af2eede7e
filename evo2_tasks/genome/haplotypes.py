"""The alleles of each sample on each haplotype: neighbours of an allele, and compounds.

A haplotype of a sample is a place in GT within a phase set, or a name of PSL. It has the alleles
that are phased there, and those that are on every haplotype of their call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from evo2_tasks.genome.genotypes import Genotypes
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


class Compound(NamedTuple):
    """Neighbouring alleles of one haplotype, as one allele.

    Attributes:
        sample: Index in ``Genotypes.samples``.
        haplotype: Place in GT, from 1.
        phase_set: Name of the phase set; null if it has none.
        members: (record, allele), in the order of the contig.
        variant: The joint allele, as a record would state it. `place_allele` places it: its
            background is empty.
    """

    sample: int
    haplotype: int
    phase_set: str | None
    members: tuple[tuple[int, int], ...]
    variant: Variant


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
        raise NotImplementedError

    def find_pairs(self, settings: WindowSettings) -> Iterator[AlleleHaplotypes]:
        """The carriers and the windows of each carried allele, in the order of the file.

        Args:
            settings: The window settings of a scoring.
        """
        raise NotImplementedError

    def find_compounds(self, distance: int) -> Iterator[Compound]:
        """The maximal groups of neighbouring alleles, by sample, contig, place and haplotype.

        Args:
            distance: Most unchanged bases between two neighbours of a group.
        """
        raise NotImplementedError
