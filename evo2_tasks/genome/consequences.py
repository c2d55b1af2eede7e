"""Consequences of alleles for the genes of a GFF3 file, by ``bcftools csq``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from evo2_tasks.genome.genes import Genes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence


def annotate_consequences(
    variants: Iterable[Variant],
    genes: Genes,
    reference: Reference,
    *,
    genetic_codes: Mapping[str, int],
    folder: Path,
) -> Iterator[Consequence]:
    """Find the gene and the consequence of each allele.

    Memory is bounded: 100,000 alleles are in memory at once. They may come in any order; sorted
    ones are fastest.

    Args:
        variants: Alleles, one for each row. Those whose REF is not in the reference, or that are
            not spelled in A, C, G and T, have no consequence.
        genes: The transcripts of the reference.
        reference: The genome.
        genetic_codes: Contigs of the reference, each with the number of NCBI's translation table.
        folder: Folder for temporary files, which are removed.

    Yields:
        One consequence for each allele, in the order of ``variants``.

    Raises:
        InputError: A genetic code is not known, or the folder cannot be written to.
    """
    raise NotImplementedError
