"""The step ``draw``: the random SNVs of a variant set, as a VCF that the other steps read."""

import logging
from pathlib import Path

from evo2_tasks.config.resolve import DrawSettings
from evo2_tasks.runtime.drawn_variants import draw_variants

logger = logging.getLogger(__name__)


def draw(settings: DrawSettings, *, out: Path) -> None:
    """Draw SNVs of the reference at random, without repetition, and write them in its order.

    Args:
        settings: The reference, and how many SNVs of which bases to draw.
        out: The bgzipped VCF to write.

    Raises:
        InputError: The reference or the regions cannot be read, or have too few bases.
    """
    possible = draw_variants(settings, out)
    logger.info("%s: %s of %s SNVs", out, f"{settings.number:,}", f"{possible:,}")
