"""The step ``annotate``: genes, consequences and identifiers of the alleles of a variant set."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, tee
from operator import attrgetter
from pathlib import Path

from evo2_tasks.config.resolve import AnnotateSettings
from evo2_tasks.config.schema import FilterConfig
from evo2_tasks.errors import InputError
from evo2_tasks.genome.consequences import annotate_consequences
from evo2_tasks.genome.formats import FORMAT_WORDS, find_format
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.identifiers import identify
from evo2_tasks.genome.input_consequences import FieldFormat, InputConsequences, read_format
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.genome.windows import resolve_allele
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.vcf_text import read_vcf
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import CONSEQUENCE_COLUMNS, IDENTIFIER_COLUMNS
from evo2_tasks.runtime.inputs import find_variants, open_variant_set
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.annotations import describe_blocks, make_annotations_metadata
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.schema import annotations_schema

logger = logging.getLogger(__name__)

read_consequence = attrgetter(*CONSEQUENCE_COLUMNS)


def annotate(settings: AnnotateSettings, *, variants: Path | None, out: Path) -> None:
    """Read a variant set again, and write what is known about each allele.

    The rows are those of ``split``: ``record`` and ``allele`` name each. So other genes or columns
    do not score anything again. The filters of the set do not apply.

    Args:
        settings: The variant set, its reference, and the columns to make.
        variants: File to read instead of the configured one; ``-`` is standard input.
        out: The table to write.

    Raises:
        InputError: The variants, the reference or the genes cannot be read, or do not fit together.
    """
    split = settings.split
    variants = find_variants(split, out.parent) if variants is None else variants
    with local_file(variants) as path:
        files = SourceFiles()
        source_digest = files.add(path)
        others = {"assembly_report": split.reference.assembly_report, "gff": settings.gff}
        inputs = {name: files.add(file) for name, file in others.items() if file is not None}
        metadata = make_annotations_metadata(source_digest, settings.triggers(), inputs)
        reference = open_reference(split.reference)
        schema = annotations_schema(settings.columns)
        with (
            write_table(out, schema, metadata=metadata) as writer,
            Progress("annotate", total=None, unit="alleles") as progress,
        ):
            rows = RowBuffer(writer, schema.names, progress)
            num_found = 0
            for variant, values in annotate_alleles(settings, path, reference, out.parent):
                rows.add(variant.record, variant.allele, *values)
                num_found += values[:1] != (None,)
            rows.flush()
            writer.add_metadata(describe_blocks(reference.blocks_read()))
            files.require_unchanged()
    first = next(iter(settings.columns), "nothing")
    logger.info(
        "%s: %s, %s with %s", out, counted(writer.num_rows, "allele"), f"{num_found:,}", first
    )
    if writer.num_rows and not num_found:
        logger.warning("%s: no allele has a %s", out, first)


def annotate_alleles(
    settings: AnnotateSettings, path: Path, reference: Reference, folder: Path
) -> Iterator[tuple[Variant, Sequence[object]]]:
    """Read the alleles of a variant set, with the values of the columns of ``settings``.

    Args:
        settings: The variant set and the columns. The filters of the set do not apply.
        path: The file of variants.
        reference: The reference of the set.
        folder: Folder for temporary files.

    Yields:
        Each allele in the order of the input, and its values.

    Raises:
        InputError: The variants or the genes cannot be read, or do not fit together.
    """
    split = replace(settings.split, filters=FilterConfig())
    field, described = settings.consequence_from, None
    if field is not None:
        described = read_input_format(settings, path, field)
    source = open_variant_set(split, path, whole_field=field)
    alleles, to_annotate, to_identify = tee(source, 3)
    columns: list[Iterator[Sequence[object]]] = []
    if described is not None:
        finder = InputConsequences(described, path, partial(is_resolved, reference))
        columns.append(map(read_consequence, finder.find(to_annotate)))
    elif settings.gff is not None:
        found = find_consequences(settings, settings.gff, to_annotate, reference, folder)
        columns.append(map(read_consequence, found))
    if settings.identifiers:
        columns.append(find_identifiers(settings, to_identify, reference))
    del to_annotate, to_identify  # what no column reads is not kept
    for variant, *values in zip(alleles, *columns, strict=True):
        yield variant, tuple(chain.from_iterable(values))


def is_resolved(reference: Reference, variant: Variant) -> bool:
    """Whether an allele is spelled in A, C, G and T, and its REF is in the reference."""
    return resolve_allele(variant, reference) is not None


def read_input_format(settings: AnnotateSettings, path: Path, field: str) -> FieldFormat:
    """Read how the field with the consequences is described in the header of the variants.

    Args:
        settings: The variant set.
        path: The file of variants.
        field: The INFO field.

    Raises:
        InputError: The file is not a VCF or BCF, or its header does not describe the field.
    """
    split = settings.split
    where = f"variant_sets.{split.variant_set}.consequence_from"
    file_format = find_format(path, has_regions=bool(split.saturate), columns=split.columns)
    if file_format not in ("vcf", "bcf"):
        raise InputError(
            f"{where}: {field} is an INFO field of a VCF or BCF, but {shown_path(path)} is "
            f"{FORMAT_WORDS[file_format]}. Remove the key, or name the annotated VCF."
        )
    return read_format(read_vcf(path, samples=False)[0], field, path, where)


def find_consequences(
    settings: AnnotateSettings,
    gff: Path,
    variants: Iterable[Variant],
    reference: Reference,
    folder: Path,
) -> Iterator[Consequence]:
    """The consequence of each allele, by the genes of the reference.

    Args:
        settings: The genetic codes.
        gff: The genes.
        variants: The alleles.
        reference: Their reference.
        folder: Folder for temporary files.

    Raises:
        InputError: The genes cannot be read, or a genetic code is for a contig that is not there.
    """
    genes = read_genes(gff, reference)
    codes = settings.genetic_codes
    return annotate_consequences(variants, genes, reference, genetic_codes=codes, folder=folder)


def find_identifiers(
    settings: AnnotateSettings, variants: Iterable[Variant], reference: Reference
) -> Iterator[Sequence[str | None]]:
    """The identifiers of each allele, in the order of their columns.

    Args:
        settings: Names the identifiers.
        variants: The alleles.
        reference: Their reference.
    """
    names = [name for kind, name in IDENTIFIER_COLUMNS.items() if kind in settings.identifiers]
    for variant in variants:
        identifiers = identify(variant, reference, settings.identifiers)
        yield [getattr(identifiers, name) for name in names]
