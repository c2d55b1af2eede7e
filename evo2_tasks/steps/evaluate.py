"""The step ``evaluate``: how well the scores of a table separate the labels of its variants."""

import logging
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from evo2_tasks.config.evaluation import EvaluateSettings
from evo2_tasks.config.schema import REVIEW_STATUS, LabelConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.calibrations import (
    NO_CALIBRATIONS,
    PlannedRatios,
    add_quantiles,
    find_own_labels,
    make_ratio_curves,
    plan_ratios,
    read_labelled_calibrations,
)
from evo2_tasks.evaluation.curves import make_curves
from evo2_tasks.evaluation.labels import find_score_columns, read_labelled_rows
from evo2_tasks.evaluation.measurements import PlannedMetrics, make_resampling, plan_metrics
from evo2_tasks.evaluation.probe_scores import add_probes
from evo2_tasks.evaluation.results import Curve, MetricRow, write_curves, write_metrics
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.evaluation.text import describe_metrics
from evo2_tasks.evaluation.values import fold_truth
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CALIBRATED
from evo2_tasks.table.calibrated import Calibrated, open_calibrated
from evo2_tasks.table.combined import read_combination
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.probes import Predictions, name_predictions, open_predictions
from evo2_tasks.table.schema import CONSEQUENCE, annotation_columns
from evo2_tasks.table.statements import (
    CALIBRATED_INPUT,
    make_statement_metadata,
    read_run_of,
)

logger = logging.getLogger(__name__)


def evaluate(settings: EvaluateSettings, *, table: Path, out: Path, curves_file: Path) -> None:
    """Measure how well the scores of a table separate the labels of its variant set.

    Args:
        settings: Labels, groups and baselines of the variant set.
        table: The result of ``merge`` or of ``combine``.
        out: The file of metrics.
        curves_file: The file of curves, for plots.

    Raises:
        InputError: The variant set has no labels, the table lacks a column, is not the one of
            ``run.json`` next to it or was replaced meanwhile, its ``calibrated.parquet`` is missing
            or has other calibrations than the variant set, predictions of a probe are missing or
            were made with other settings, or a file cannot be written.
    """
    if not settings.labels:
        raise InputError(
            f"variant_sets.{settings.variant_set}: no `labels` to evaluate. Name the field of "
            "labels, for example labels: {CLNSIG: {positive: [Pathogenic], negative: [Benign]}}"
        )
    return_large_arrays()
    files = SourceFiles()
    digest = files.add(table)
    if read_combination(table) is not None:
        settings = settings.of_combined()
    read_run_of(table, table_digest=digest)
    calibrated = find_calibrated(settings.calibrations, table, digest)
    inputs = {} if calibrated is None else {CALIBRATED_INPUT: files.add(calibrated.path)}
    predictions = find_predictions(settings, table, digest)
    inputs |= {name_predictions(one.path, table): files.add(one.path) for one in predictions}
    metrics, curves = _measure(settings, table, calibrated, predictions)
    files.require_unchanged()
    metadata = make_statement_metadata(digest, settings.triggers(), inputs)
    # The metrics last: if their file exists, that of the curves does too.
    write_curves(curves, curves_file, metadata)
    write_metrics(metrics, out, metadata)
    for line in describe_metrics(metrics, find_score_columns(table).main):
        logger.info("%s", line)


def find_calibrated(names: Sequence[str], table: Path, table_digest: str) -> Calibrated | None:
    """Open the ``calibrated.parquet`` next to a table.

    Args:
        names: The calibrations of the variant set.
        table: The table.
        table_digest: Its SHA-256.

    Returns:
        What the file has; None if the variant set has no calibrations.

    Raises:
        InputError: The file is missing, is of another table, or has other calibrations.
    """
    if not names:
        return None
    calibrated = open_calibrated(table, table_digest=table_digest)
    path = table.with_name(CALIBRATED)
    if calibrated is None:
        raise InputError(
            f"{shown_path(path)}: does not exist, but the variant set has `calibrations`. Run "
            "`calibrate` first."
        )
    found = [part.calibration for part in calibrated.parts]
    if found != [*names]:
        raise InputError(
            f"{shown_path(path)}: has the calibrations {', '.join(found)}, but the config has "
            f"{', '.join(names)}. Run `calibrate` again."
        )
    return calibrated


def find_predictions(
    settings: EvaluateSettings, table: Path, table_digest: str
) -> list[Predictions]:
    """Open the predictions of the probes next to a table.

    Args:
        settings: The probes of the variant set, by scoring.
        table: The table, in the folder of its scoring.
        table_digest: Its SHA-256.

    Raises:
        InputError: A file is missing, is of another table, or was made with other settings; or the
            folder of the table is not that of a scoring of the variant set.
    """
    if not settings.probes:
        return []
    folder = table.absolute().parent
    if folder.name not in settings.probes:
        raise InputError(
            f"{shown_path(table)}: the variant set {settings.variant_set} has `probes`, whose "
            "predictions are next to its tables, so the table has to be in the folder of its "
            f"scoring: {', '.join(settings.probes)}."
        )
    return [
        open_predictions(
            one.find(table.parent), table, table_digest=table_digest, settings=one.triggers()
        )
        for one in settings.probes[folder.name]
    ]


def _measure(
    settings: EvaluateSettings,
    table: Path,
    calibrated: Calibrated | None,
    predictions: Sequence[Predictions],
) -> tuple[list[MetricRow], list[Curve]]:
    """The metrics and the curves of all labels."""
    metrics: list[MetricRow] = []
    curves: list[Curve] = []
    groups = list_groups(settings.groups, table)
    labels = {field: make_label_settings(field, label) for field, label in settings.labels.items()}
    for field, label in labels.items():
        rows = read_labelled_rows(table, label, groups=groups, baselines=settings.baselines)
        rows = add_probes(rows, predictions, table)
        if rows.why_no_metrics:
            logger.warning("%s: %s: %s", table, field, rows.why_no_metrics)
        calibrations = NO_CALIBRATIONS
        if calibrated is not None:
            own = find_own_labels(calibrated, labels)
            calibrations = read_labelled_calibrations(table, calibrated, label, own)
            rows = add_quantiles(rows, calibrations)
        resampling = make_resampling(len(rows))
        planned: list[PlannedMetrics | PlannedRatios] = [
            *plan_metrics(rows, resampling), *plan_ratios(rows, calibrations, resampling)
        ]  # fmt: skip
        # Rows times draws: what the metrics of a small group take is little.
        ends = [*accumulate(one.count_work() for one in planned)]
        with Progress(f"evaluate {field}", total=ends[-1], unit="drawn rows") as progress:
            for one, end in zip(planned, ends, strict=True):
                metrics += one.measure(progress.add)
                progress.reach(end)
        curves += [*make_curves(rows), *make_ratio_curves(rows, calibrations, resampling)]
    return metrics, curves


def list_groups(named: Sequence[str], table: Path) -> list[str]:
    """The group columns of the config, and the consequences if ``annotate`` made them.

    Raises:
        InputError: The table is missing or broken.
    """
    with open_table(table) as file:
        made = [column.name for column in annotation_columns(file.schema_arrow)]
    return [*dict.fromkeys([*named, *(name for name in made if name == CONSEQUENCE.name)])]


def make_label_settings(field: str, label: LabelConfig) -> LabelSettings:
    """Make the settings of ``evaluation`` from a label of the config."""
    return LabelSettings(
        field=field,
        positive=tuple(map(fold_truth, label.positive or ())),
        negative=tuple(map(fold_truth, label.negative or ())),
        harmful=label.harmful,
        where={name: tuple(map(fold_truth, values)) for name, values in label.where.items()},
        review_status=REVIEW_STATUS,
        min_review_stars=label.min_review_stars,
        resample_by=label.resample_by,
    )
