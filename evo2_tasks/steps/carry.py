"""The step ``carry``: fields and columns of the variant file that are copied to the tables."""

import logging
from collections.abc import Mapping
from pathlib import Path

from evo2_tasks.config.resolve import CarrySettings
from evo2_tasks.genome.variants import VariantSource
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.runtime.inputs import find_variants, open_variant_set
from evo2_tasks.table.carried import make_carried_metadata
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.schema import carried_schema

logger = logging.getLogger(__name__)


def carry(settings: CarrySettings, *, variants: Path | None, out: Path) -> None:
    """Read a variant set again, and write the carried values of each allele.

    The rows are those of ``split``: ``record`` and ``allele`` name each. So other fields can be
    carried without that anything is scored again.

    Args:
        settings: The variant set, and what to carry.
        variants: File to read instead of the configured one; ``-`` is standard input.
        out: The table to write.

    Raises:
        InputError: The variants cannot be read, have no such field, or have text where the config
            asks for numbers.
    """
    variants = find_variants(settings.split, out.parent) if variants is None else variants
    with local_file(variants) as path:
        files = SourceFiles()
        metadata = make_carried_metadata(files.add(path), settings.triggers())
        source = open_variant_set(settings.split, path, carry=settings)
        num_rows = write_carried(source, out, metadata, files)
    names = ", ".join(field.name for field in source.carry_fields)
    logger.info("%s: %s: %s", out, counted(num_rows, "allele"), names or "nothing is carried")


def write_carried(
    source: VariantSource, out: Path, metadata: Mapping[str, str], files: SourceFiles
) -> int:
    """Write the carried values of each allele, in the order of the input.

    Returns:
        The number of rows.
    """
    schema = carried_schema(source.carry_fields)
    with (
        write_table(out, schema, metadata=metadata) as writer,
        Progress("carry", total=None, unit="alleles") as progress,
    ):
        rows = RowBuffer(writer, schema.names, progress)
        for variant in source:
            rows.add(variant.record, variant.allele, *variant.carried)
        rows.flush()
        files.require_unchanged()
    return writer.num_rows
