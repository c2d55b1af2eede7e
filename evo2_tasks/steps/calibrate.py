"""The step ``calibrate``: quantiles and evidence of each row of a table."""

from collections.abc import Mapping
from pathlib import Path

from evo2_tasks.config.resolve import CalibrateSettings


def calibrate(
    settings: CalibrateSettings, *, table: Path, calibrations: Mapping[str, Path], out: Path
) -> None:
    """Compare each row of a table with the calibrations of its variant set.

    Args:
        settings: The calibrations, and what they must have been made with.
        table: The result of ``merge``.
        calibrations: The ``calibration.parquet`` of each calibration; its other files are next
            to it.
        out: The table to write, with a row for each row of ``table``.

    Raises:
        InputError: A file is missing, broken or of another signature.
    """
    raise NotImplementedError
