"""The step ``report``: the HTML report of a variant set.

Only this module and ``report_tracks`` import plotly and jinja2, so that the other steps start
without them.
"""

import logging
from dataclasses import asdict
from pathlib import Path

from evo2_tasks.config.evaluation import ReportSettings
from evo2_tasks.config.objects import as_written
from evo2_tasks.genome.window_layout import WindowSettings
from evo2_tasks.layout import CALIBRATIONS
from evo2_tasks.report.calibrations import NamedCalibration
from evo2_tasks.report.page import Subject, write_report
from evo2_tasks.report.probes import NamedPredictions
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.evaluate import make_label_settings

logger = logging.getLogger(__name__)


def report(settings: ReportSettings, *, results: Path, out: Path) -> None:
    """Write the HTML report of a variant set.

    Args:
        settings: The variant set, its scorings, labels and files.
        results: Folder of the variant set, with a folder for each scoring. It contains the table
            and ``run.json``, the files of ``evaluate`` if the variant set has labels, and that of
            ``calibrate`` if it has calibrations, and those of ``merge_haplotypes`` if it has
            haplotypes, and the profiles if a scoring has them. Those of ``fit_calibration`` are
            next to it.
        out: The HTML file.

    Raises:
        InputError: A file is missing or broken, or the report cannot be written.
    """
    reference = settings.reference
    subject = Subject(
        variant_set=settings.variant_set,
        scorings=settings.scorings,
        labels=[
            make_label_settings(field, label) for field, label in settings.evaluate.labels.items()
        ],
        evaluate_settings=settings.evaluate.triggers(),
        evaluate_combined_settings=settings.evaluate.of_combined().triggers(),
        reference=f"{reference.name} ({as_written(reference.fasta)})",
        checkpoints=settings.checkpoints,
        consequences=settings.consequences,
        calibrations={
            scoring: {
                one.name: NamedCalibration(
                    one.find(results.parent / CALIBRATIONS),
                    one.fit.triggers() if one.fit is not None else None,
                )
                for one in calibrate.calibrations
            }
            for scoring, calibrate in settings.calibrate.items()
        },
        probes={
            scoring: [NamedPredictions(one.find(Path()), one.triggers()) for one in probes]
            for scoring, probes in settings.evaluate.probes.items()
        },
        combinations={one.name: one.triggers() for one in settings.combine},
        haplotypes={name: one.triggers() for name, one in settings.haplotypes.items()},
        bases=open_reference(reference) if settings.haplotypes or settings.profiled else None,
        profiled={name: WindowSettings(**asdict(one)) for name, one in settings.profiled.items()},
    )
    write_report(results, out, subject)
    logger.info("%s: %.1f MB", out, out.stat().st_size / 1e6)
