"""The step ``split``: the variants of a set, one row per allele, cut into shards."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from evo2_tasks.config.objects import as_written
from evo2_tasks.config.resolve import SplitSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.assembly import (
    RefMatches,
    check_header,
    describe_contradictions,
    find_mismatch_problem,
)
from evo2_tasks.genome.fasta import FastaSequence, digest_sequences
from evo2_tasks.genome.letters import require_dna
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import VariantSource
from evo2_tasks.genome.windows import compare_ref
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.layout import REFERENCE, SEQUENCES, SPLIT, shard_file
from evo2_tasks.runtime.inputs import find_variants, open_variant_set
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.documents import ReferenceStatement, Split, SplitStatements
from evo2_tasks.table.parquet import (
    RowBuffer,
    write_table,
)
from evo2_tasks.table.provenance import as_json
from evo2_tasks.table.reference_blocks import write_blocks
from evo2_tasks.table.schema import shard_schema
from evo2_tasks.table.sequences import Sequence as ReferenceSequence
from evo2_tasks.table.sequences import write_sequences
from evo2_tasks.table.shards import assign_shards

logger = logging.getLogger(__name__)


def split(settings: SplitSettings, *, variants: Path | None, out: Path) -> None:
    """Read a variant set, one row per allele, and split it into contiguous shards.

    Args:
        settings: The variant set and its reference.
        variants: File to read instead of the configured one; ``-`` is standard input.
        out: Folder for ``1-of-N.parquet`` to ``N-of-N.parquet``, ``reference.parquet``,
            ``sequences.parquet`` and ``split.json``.

    Raises:
        InputError: The variants or the reference cannot be read, or they are not of one assembly.
    """
    variants = find_variants(settings, out.parent) if variants is None else variants
    with local_file(variants) as path:
        files = SourceFiles()
        source_digest = files.add(path)
        report = settings.reference.assembly_report
        report_digest = None if report is None else files.add(report)
        genotypes: dict[str, str] = {}
        if settings.haplotype_of is not None:
            genotypes["haplotype_of"] = files.add(settings.haplotype_of.variants)
        source = open_variant_set(settings, path)
        if settings.samples is not None:
            source.find_samples(settings.samples.names)
        num_alleles = source.count().alleles
        if num_alleles == 0:
            logger.warning("%s: no variants; the table will have no rows", path)
        reference = open_reference(settings.reference)
        with removing_shards(out, settings.shards):
            digests, contigs, matches = write_shards(
                source,
                out,
                num_alleles,
                settings.shards,
                reference,
                compares=settings.haplotype_of is None,
            )
            counts = source.counts
            sequences, warnings = check_assembly(
                settings, source, variants, reference, contigs, matches
            )
            reference.require_same(block for one in sequences for block in one.blocks)
            files.require_unchanged()
    blocks = (block for one in sequences for block in one.blocks)
    blocks_digest = write_blocks(blocks, out / REFERENCE)
    sequences_digest = write_sequences(
        (ReferenceSequence(one.entry.name, one.entry.length, one.digest) for one in sequences),
        out / SEQUENCES,
    )
    Split(
        variants=as_written(variants),
        variants_digest=source_digest,
        format=source.format,
        alleles=counts.alleles,
        records=counts.records,
        invalid=counts.invalid,
        filtered=counts.filtered,
        ref_compared=matches.compared,
        ref_mismatches=matches.mismatches,
        warnings=tuple(warnings),
        shards=settings.shards,
        regions=settings.regions,
        reference=ReferenceStatement(
            name=settings.reference.name,
            digest=digest_sequences(sequences),
        ),
        statements=SplitStatements(
            settings=as_json(settings.triggers()),
            shards=digests,
            blocks=blocks_digest,
            sequences=sequences_digest,
            assembly_report=report_digest,
            **genotypes,
        ),
    ).write(out / SPLIT)
    logger.info("%s of %s", counted(counts.alleles, "allele"), counted(counts.records, "record"))


def check_assembly(
    settings: SplitSettings,
    source: VariantSource,
    variants: Path,
    reference: Reference,
    contigs: Iterable[str],
    matches: RefMatches,
) -> tuple[Sequence[FastaSequence], list[str]]:
    """Make sure that the variants and the reference are of one assembly.

    Args:
        settings: The largest share of REF alleles that may differ.
        source: The variants.
        variants: Their file, for messages.
        reference: The reference, which is read from end to end.
        contigs: The contigs of the alleles.
        matches: How many REF alleles match the reference.

    Returns:
        The sequences of the reference, and how the header of the variants contradicts it.

    Raises:
        InputError: They are of different assemblies, or the reference is not DNA.
    """
    used_contigs = {name for contig in contigs if (name := reference.resolve(contig))}
    header = check_header(source.read_header(), reference, used_contigs)
    sequences = reference.read_sequences(header.md5s)
    require_dna(reference.path, sequences, used_contigs)
    warnings = describe_contradictions(header, variants, reference, sequences, matches)
    for warning in warnings:
        logger.warning("%s", warning)
    limit = settings.max_ref_mismatch_share
    problem = find_mismatch_problem(matches, limit, reference, header)
    if problem is not None:
        raise InputError(problem)
    return sequences, warnings


@contextmanager
def removing_shards(out: Path, num_shards: int) -> Iterator[None]:
    """Remove the shards if the body finds that they must not be used."""
    try:
        yield
    except InputError:
        if out.is_dir():
            for shard in range(1, num_shards + 1):
                (out / shard_file(shard, num_shards)).unlink(missing_ok=True)
        raise


def write_shards(
    source: VariantSource,
    out: Path,
    num_alleles: int,
    num_shards: int,
    reference: Reference,
    *,
    compares: bool,
) -> tuple[dict[str, str], dict[str, None], RefMatches]:
    """Write the shards, empty ones too, and compare each REF allele with the reference.

    Returns:
        SHA-256 of each shard by the name of its file, the contigs of the alleles in order, and how
        many REF alleles match.
    """
    schema = shard_schema()
    num_read = 0
    digests: dict[str, str] = {}
    contigs: dict[str, None] = {}
    matches = RefMatches()
    with Progress("split", total=num_alleles, unit="alleles") as progress:
        assigned = groupby(assign_shards(iter(source), num_alleles, num_shards), itemgetter(0))
        group = next(assigned, None)
        for shard in range(1, num_shards + 1):
            name = shard_file(shard, num_shards)
            with write_table(out / name, schema) as writer:
                rows = RowBuffer(writer, schema.names, progress)
                if group is not None and group[0] == shard:
                    for _, variant in group[1]:
                        rows.add(
                            variant.record,
                            variant.allele,
                            variant.contig,
                            variant.pos,
                            variant.ref,
                            variant.alt,
                            variant.status,
                            variant.reason,
                            variant.sv_length,
                            variant.sv_sequence,
                        )
                        # Changes of a genome have its bases for REF.
                        is_match = compare_ref(variant, reference) if compares else None
                        matches.add(is_match)
                        if is_match is False:
                            matches.examine(variant, reference)
                        num_read += 1
                        if variant.contig is not None:
                            contigs[variant.contig] = None
                    group = next(assigned, None)
                rows.flush()
                digests[name] = writer.digest()
    if num_read != num_alleles:
        raise InputError(
            f"{source.path}: it had {num_alleles:,} alleles when they were counted, and "
            f"{num_read:,} when they were read. Do not change the file during a run."
        )
    return digests, contigs, matches
