"""Opening the variants and the reference of a step, as its settings name them."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evo2_tasks.config.resolve import (
    CarrySettings,
    DrawSettings,
    HaplotypeSettings,
    ReferenceSettings,
    SplitSettings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.genome.assembly import check_header, find_mismatch_problem
from evo2_tasks.genome.formats import FORMAT_WORDS
from evo2_tasks.genome.genes import Genes, read_genes
from evo2_tasks.genome.random_snvs import write_random_snvs
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.sample_genomes import PlacedChange, SampleGenome
from evo2_tasks.genome.variants import (
    Filters,
    VariantSource,
    find_format,
    needs_reference,
    open_variants,
)
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.io.files import local_file
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import CONSEQUENCE_COLUMNS, RANDOM_SNVS

logger = logging.getLogger(__name__)

Placement = Callable[[Variant, WindowSettings], PlacedChange]
"""Finds the status and the windows of an allele."""


def draw_variants(settings: DrawSettings, out: Path) -> int:
    """Draw the random SNVs of a set, and write them as VCF.

    Args:
        settings: What to draw.
        out: The file to write.

    Returns:
        Number of the SNVs that could be drawn.

    Raises:
        InputError: The reference or the regions cannot be read, or have too few bases.
    """
    return write_random_snvs(
        out,
        open_reference(settings.reference),
        number=settings.number,
        seed=settings.seed,
        contigs=settings.contigs,
        regions=settings.regions,
        where=f"variant_sets.{settings.variant_set}.random_snvs",
    )


def find_variants(settings: SplitSettings, folder: Path) -> Path:
    """The file of a set's variants: the one that the config names, or the one that ``draw`` wrote.

    Args:
        settings: The variant set.
        folder: The folder of the variant set in the results, where ``draw`` writes.

    Raises:
        InputError: ``draw`` has not written the file.
    """
    if settings.drawn is None:
        return settings.variants
    drawn = folder / RANDOM_SNVS
    if not drawn.is_file():
        raise InputError(
            f"{shown_path(drawn)}: does not exist; the variant set {settings.variant_set} has "
            f"`random_snvs`. Make the file with: evo2-tasks draw --config CONFIG --variant-set "
            f"{settings.variant_set} --out {shown_path(drawn)}"
        )
    return drawn


@contextmanager
def variants_to_plan(settings: SplitSettings) -> Iterator[Path]:
    """Give the file of a set's variants before the run; random SNVs are drawn to a temporary file.

    Raises:
        InputError: The SNVs cannot be drawn.
    """
    if settings.drawn is None:
        with local_file(settings.variants) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder:
        path = Path(folder) / RANDOM_SNVS
        draw_variants(settings.drawn, path)
        yield path


def open_variant_set(
    settings: SplitSettings,
    path: Path,
    *,
    carry: CarrySettings | None = None,
    whole_field: str | None = None,
) -> VariantSource:
    """Open the variants of a set, from its file or from a copy of it.

    Args:
        settings: The variant set.
        path: The file to read.
        carry: What to carry along. Default: nothing.
        whole_field: Instead of ``carry``: an INFO field of a VCF or BCF whose text to carry along.

    Raises:
        InputError: The file cannot be read, or lacks a field that evaluation needs.
    """
    # Where the reference is not needed, a bad file is reported before a whole genome is indexed.
    file_format = find_format(path, has_regions=bool(settings.saturate), columns=settings.columns)
    reference = genome = None
    if needs_reference(path, file_format, settings.columns):
        reference = open_reference(settings.reference)
        genome = open_genome(settings, reference)
    source = open_variants(
        path,
        carry=(whole_field,) if whole_field else () if carry is None else carry.carried,
        whole=(whole_field,) if whole_field else (),
        types={} if carry is None else carry.asked_types,
        numbers=() if carry is None else carry.numbers,
        filters=Filters(
            pass_only=settings.filters.pass_only,
            max_length=settings.filters.max_allele_length,
            contigs=settings.filters.contigs,
        ),
        regions=settings.regions,
        saturate=settings.saturate,
        columns=settings.columns,
        reference=reference,
        genome=genome,
    )
    if carry is not None:
        _check_names(source, carry)
    return source


def _check_names(source: VariantSource, settings: CarrySettings) -> None:
    """Refuse fields of evaluation that the header does not define; warn of other such fields."""
    undefined = {field.name: field for field in source.carry_fields if not field.is_defined}
    for key, name in settings.evaluated.items():
        if name in undefined:
            others = " or ".join(undefined[name].near)
            near = f" (did you mean {others}?)" if others else ""
            if name in CONSEQUENCE_COLUMNS:
                near += ", set `gff` or `consequence_from`, which give the table this column"
            raise InputError(
                f"variant_sets.{settings.split.variant_set}.{key}: the header of "
                f"{shown_path(source.path)} defines no INFO field {name!r}. Correct the "
                f"name{near}, or add its ##INFO line to the header."
            )
    for name in sorted(undefined):
        logger.warning(
            "%s: no INFO field %r in the header; it is carried as text",
            shown_path(source.path), name,
        )  # fmt: skip


def open_genome(settings: SplitSettings, reference: Reference) -> SampleGenome | None:
    """Read the genome of a sample in which a set makes its changes; None if it has none.

    Args:
        settings: The variant set.
        reference: Its reference.

    Raises:
        InputError: The file of genotypes cannot be read, does not have the sample or the haplotype,
            or is of another assembly.
    """
    asked = settings.haplotype_of
    if asked is None:
        return None
    file_format = find_format(asked.variants, has_regions=False, columns={})
    if file_format not in ("vcf", "bcf"):
        raise InputError(
            f"{shown_path(asked.variants)}: haplotype_of needs the genotypes of a VCF or BCF, but "
            f"this is {FORMAT_WORDS[file_format]}. Name a VCF or BCF with phased genotypes."
        )
    source = open_variants(asked.variants)
    genotypes = source.read_genotypes([asked.sample], "haplotype_of.sample")
    where = f"{shown_path(asked.variants)}: haplotype_of.haplotype"
    if asked.haplotype > genotypes.ploidy:
        raise InputError(
            f"{where}: is {asked.haplotype}, but a genotype of {shown(asked.sample)} has at most "
            f"{counted(genotypes.ploidy, 'allele')}. Name the place of a haplotype in GT, from 1."
        )
    genome = SampleGenome(source, genotypes, reference, asked.haplotype)
    matches = genome.matches
    header = check_header(source.read_header(), reference, genome.contigs)
    problem = find_mismatch_problem(matches, settings.max_ref_mismatch_share, reference, header)
    if problem is not None:
        raise InputError(f"{shown_path(asked.variants)}: haplotype_of: {problem}")
    if genome.num_of_others:
        logger.warning(
            "%s: %d: %s of %s have genotypes with fewer alleles, and are not in the genome",
            where, asked.haplotype, counted(genome.num_of_others, "allele"), shown(asked.sample),
        )  # fmt: skip
    return genome


def open_placement(settings: SplitSettings, reference: Reference) -> Placement:
    """What places the windows of the alleles of a set: on the reference, or in a genome.

    Raises:
        InputError: See :func:`open_genome`.
    """
    genome = open_genome(settings, reference)
    if genome is not None:
        return genome.place

    def place(variant: Variant, windows: WindowSettings) -> PlacedChange:
        placed = place_allele(variant, reference, windows)
        return PlacedChange(placed, placed.window_start, placed.window_end)

    return place


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


def open_neighbourhood(settings: HaplotypeSettings, reference: Reference) -> int | Genes:
    """Which alleles of a haplotype are scored together: a number of bases, or the genes.

    Args:
        settings: Names one of the two.
        reference: The genome of the genes.

    Raises:
        InputError: The genes cannot be read.
    """
    if settings.codons is None:
        return settings.compound_distance
    return read_genes(settings.codons, reference)
