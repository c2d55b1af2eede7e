"""The step ``report``: apart, so that the others start without plotly and jinja2."""

import logging
from pathlib import Path

from evo2_tasks.config.resolve import find_variant_set
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.report.page import write_report

logger = logging.getLogger(__name__)


def report(config: RunConfig, *, variant_set: str, results: Path, out: Path) -> None:
    """Write the page about a variant set.

    Args:
        config: The run's config.
        variant_set: Name of the variant set.
        results: Folder of its results, with a folder for each scoring that holds the table and
            ``run.json``, and where the set has labels what ``evaluate`` wrote.
        out: The HTML file.

    Raises:
        InputError: A file is missing or broken, or the page cannot be written.
    """
    settings = find_variant_set(config, variant_set)
    write_report(
        results,
        out,
        variant_set=variant_set,
        scorings=settings.scorings,
        has_labels=bool(settings.labels),
    )
    logger.info("%s: %.1f MB", out, out.stat().st_size / 1e6)
