"""The step ``fit_calibration``: how the scores of a background and of labelled variants read."""

from pathlib import Path

from evo2_tasks.config.resolve import FitCalibrationSettings


def fit_calibration(
    settings: FitCalibrationSettings,
    *,
    scoring: str,
    background: Path | None,
    labelled: Path | None,
    out_folder: Path,
) -> None:
    """Make a calibration of a scoring.

    Args:
        settings: What the calibration is made from, and how.
        scoring: Name of the scoring, for messages.
        background: The table of the background; None if the calibration has none.
        labelled: The table of the set with the labels; None if the calibration has none.
        out_folder: Folder of the files, ``CALIBRATION_FILES`` of the layout.

    Raises:
        InputError: A table is missing, broken or of another signature, or has no such column.
    """
    raise NotImplementedError
