"""The step ``report_generation``: the HTML report of a generation."""

import logging
from pathlib import Path

from evo2_tasks.config.generations import ReportGenerationSettings
from evo2_tasks.report.generation_pages import write_generation_page

logger = logging.getLogger(__name__)


def report_generation(settings: ReportGenerationSettings, *, results: Path, out: Path) -> None:
    """Write the HTML report of a generation.

    Args:
        settings: The generation.
        results: Folder of the generation, with the files of ``read_prompts`` and
            ``merge_generation``.
        out: The HTML file.

    Raises:
        InputError: A file is missing or broken, or the report cannot be written.
    """
    write_generation_page(results, out, settings.name, settings.genetic_code)
    logger.info("%s: %.1f MB", out, out.stat().st_size / 1e6)
