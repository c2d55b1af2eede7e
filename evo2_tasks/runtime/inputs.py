"""Opening the variants of a step, as its settings name them."""

import logging
from pathlib import Path

from evo2_tasks.config.resolve import CarrySettings, SplitSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.variants import (
    Filters,
    VariantSource,
    find_format,
    needs_reference,
    open_variants,
)
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CONSEQUENCE_COLUMNS, RANDOM_SNVS
from evo2_tasks.runtime.references import find_genome, open_reference

logger = logging.getLogger(__name__)


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
        genome = find_genome(settings, reference)
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
