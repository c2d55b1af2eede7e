"""Variants that are drawn at random, or are a file, as the settings of a step name them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evo2_tasks.config.resolve import DrawSettings, SplitSettings
from evo2_tasks.genome.random_snvs import write_random_snvs
from evo2_tasks.io.files import local_file
from evo2_tasks.layout import RANDOM_SNVS
from evo2_tasks.runtime.references import open_reference


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
