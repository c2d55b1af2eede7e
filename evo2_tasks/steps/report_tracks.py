"""The step ``report_tracks``: the HTML report of a track set.

Only this module and ``report`` import plotly and jinja2, so that the other steps start without
them.
"""

import logging
from pathlib import Path

from evo2_tasks.config.tracks import ReportTracksSettings
from evo2_tasks.report.track_pages import write_track_page

logger = logging.getLogger(__name__)


def report_tracks(settings: ReportTracksSettings, *, results: Path, out: Path) -> None:
    """Write the HTML report of a track set.

    Args:
        settings: The track set and its scorings.
        results: Folder of the track set, with a folder for each scoring. It contains the tracks,
            ``tracks.json`` and the folder of ``tile``.
        out: The HTML file.

    Raises:
        InputError: A file is missing or broken, or the report cannot be written.
    """
    write_track_page(results, out, settings.track_set, settings.scorings)
    logger.info("%s: %.1f MB", out, out.stat().st_size / 1e6)
