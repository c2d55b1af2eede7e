"""The step ``report``: apart, so that the others start without plotly and jinja2."""

import logging
from pathlib import Path

from evo2_tasks.config.resolve import ReportSettings
from evo2_tasks.report.page import write_report

logger = logging.getLogger(__name__)


def report(settings: ReportSettings, *, results: Path, out: Path) -> None:
    """Write the page about a variant set.

    Args:
        settings: The variant set and its scorings.
        results: Folder of its results, with a folder for each scoring that holds the table and
            ``run.json``, and where the set has labels what ``evaluate`` wrote.
        out: The HTML file.

    Raises:
        InputError: A file is missing or broken, or the page cannot be written.
    """
    write_report(
        results,
        out,
        variant_set=settings.variant_set,
        scorings=settings.scorings,
        has_labels=settings.has_labels,
    )
    logger.info("%s: %.1f MB", out, out.stat().st_size / 1e6)
