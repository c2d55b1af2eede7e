"""Opening the reference of a step, and what places alleles on it, as its settings name them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from evo2_tasks.config.resolve import ReferenceSettings, SplitSettings
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_layout import PlacedChange
from evo2_tasks.genome.windows import WindowSettings, place_allele

if TYPE_CHECKING:
    from evo2_tasks.genome.sample_genomes import SampleGenome

Placement = Callable[[Variant, WindowSettings], PlacedChange]
"""Finds the status and the windows of an allele."""


def open_placement(settings: SplitSettings, reference: Reference) -> Placement:
    """What places the windows of the alleles of a set: on the reference, or in a genome.

    Raises:
        InputError: See `open_genome`.
    """
    genome = find_genome(settings, reference)
    if genome is not None:
        return genome.place

    def place(variant: Variant, windows: WindowSettings) -> PlacedChange:
        placed = place_allele(variant, reference, windows)
        return PlacedChange(placed, placed.window_start, placed.window_end)

    return place


def find_genome(settings: SplitSettings, reference: Reference) -> SampleGenome | None:
    """The genome in which a set makes its changes. Few sets have one, and its modules are large."""
    if settings.haplotype_of is None:
        return None
    genomes = import_module("evo2_tasks.runtime.genomes")
    genome: SampleGenome | None = genomes.open_genome(settings, reference)
    return genome


def open_reference(settings: ReferenceSettings) -> Reference:
    """Open a reference; its index goes to the results if the folder of the FASTA is read-only.

    Raises:
        InputError: The FASTA, its index or the assembly report cannot be read.
    """
    return Reference(
        settings.fasta,
        circular_contigs=settings.circular_contigs,
        contig_aliases=settings.contig_aliases,
        assembly_report=settings.assembly_report,
        index_folder=settings.index_folder,
    )
