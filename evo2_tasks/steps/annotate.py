"""The step ``annotate``: genes, consequences and identifiers of the alleles of a variant set."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, tee
from operator import attrgetter
from pathlib import Path

from evo2_tasks.config.resolve import AnnotateSettings
from evo2_tasks.config.schema import FilterConfig
from evo2_tasks.errors import InputError
from evo2_tasks.genome.consequences import annotate_consequences
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.identifiers import identify
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown
from evo2_tasks.layout import CONSEQUENCE_COLUMNS, IDENTIFIER_COLUMNS
from evo2_tasks.runtime.inputs import open_reference, open_variant_set
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
    split = replace(settings.split, filters=FilterConfig())
    variants = split.variants if variants is None else variants
    with local_file(variants) as path:
        files = SourceFiles()
        source_digest = files.add(path)
        others = {"assembly_report": split.reference.assembly_report, "gff": settings.gff}
        inputs = {name: files.add(file) for name, file in others.items() if file is not None}
        metadata = make_annotations_metadata(source_digest, settings.triggers(), inputs)
        source = open_variant_set(split, path)
        reference = open_reference(split.reference)
        schema = annotations_schema(settings.columns)
        with (
            write_table(out, schema, metadata=metadata) as writer,
            Progress("annotate", total=None, unit="alleles") as progress,
        ):
            rows = RowBuffer(writer, schema.names, progress)
            alleles, to_annotate, to_identify = tee(source, 3)
            columns: list[Iterator[Sequence[object]]] = []
            if settings.gff is not None or settings.consequence_from is not None:
                consequences = find_consequences(settings, to_annotate, reference, out.parent)
                columns.append(map(read_consequence, consequences))
            if settings.identifiers:
                columns.append(find_identifiers(settings, to_identify, reference))
            del to_annotate, to_identify  # what no column reads is not kept
            for variant, *values in zip(alleles, *columns, strict=True):
                rows.add(variant.record, variant.allele, *chain.from_iterable(values))
            rows.flush()
            writer.add_metadata(describe_blocks(reference.blocks_read()))
            files.require_unchanged()
    logger.info("%s: %s alleles", out, f"{writer.num_rows:,}")


def find_consequences(
    settings: AnnotateSettings, variants: Iterable[Variant], reference: Reference, folder: Path
) -> Iterator[Consequence]:
    """The consequence of each allele, by the genes of the reference.

    Args:
        settings: Names the genes.
        variants: The alleles.
        reference: Their reference.
        folder: Folder for temporary files.

    Raises:
        InputError: The genes cannot be read, or a genetic code is for a contig that is not there.
    """
    if settings.gff is None:
        raise NotImplementedError
    codes = {}
    for contig, code in settings.genetic_codes.items():
        name = reference.find(contig)
        if name is None:
            raise InputError(
                f"references.{settings.split.reference.name}.genetic_codes: the reference has no "
                f"contig '{shown(contig)}'. Correct the name, or remove it."
            )
        codes[name] = code
    genes = read_genes(settings.gff, reference)
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
