"""The step ``combine``: the scores of several scorings of a variant set in one table."""

from collections.abc import Mapping
from pathlib import Path

from evo2_tasks.config.resolve import CombineSettings


def combine(settings: CombineSettings, *, tables: Mapping[str, Path], out: Path) -> None:
    """Write the scores of several scorings next to each other, and ensembles of them.

    Args:
        settings: The scorings and the ensembles.
        tables: The result of ``merge`` of each scoring.
        out: The table to write, with a row for each row of the tables.

    Raises:
        InputError: A table is missing or broken, or the tables do not have the same rows.
    """
    raise NotImplementedError
