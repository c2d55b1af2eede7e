"""The genome of a sample and the genes of a reference, which only some variant sets need."""

import logging

from evo2_tasks.config.resolve import HaplotypeSettings, SplitSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.assembly import check_header, find_mismatch_problem
from evo2_tasks.genome.formats import FORMAT_WORDS
from evo2_tasks.genome.genes import Genes, read_genes
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.sample_genomes import SampleGenome
from evo2_tasks.genome.variants import find_format, open_variants
from evo2_tasks.io.words import counted, shown, shown_path

logger = logging.getLogger(__name__)


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
