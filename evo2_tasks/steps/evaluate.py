"""The step ``evaluate``: apart, so that the others start without scikit-learn and scipy."""

import logging
from pathlib import Path

import pyarrow as pa

from evo2_tasks.config.resolve import EvaluateSettings
from evo2_tasks.config.schema import REVIEW_STATUS, LabelConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.curves import Point, make_curves
from evo2_tasks.evaluation.labels import read_labelled_rows
from evo2_tasks.evaluation.measurements import Figure, make_resampling, plan_figures
from evo2_tasks.evaluation.schema import curves_schema, figures_schema
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.evaluation.text import describe_figures
from evo2_tasks.io.progress import Progress
from evo2_tasks.table.parquet import write_table

logger = logging.getLogger(__name__)


def evaluate(settings: EvaluateSettings, *, table: Path, out: Path, curves_file: Path) -> None:
    """Measure how well the scores of a table separate the labels of its variant set.

    Args:
        settings: Labels, groups and baselines of the variant set.
        table: The result of ``merge``.
        out: The figures.
        curves_file: Points of curves, for drawing.

    Raises:
        InputError: The variant set has no labels, or the table lacks a column.
    """
    if not settings.labels:
        raise InputError(
            f"variant_sets.{settings.variant_set}: no `labels` to evaluate. Name the field of "
            "labels, for example labels: {CLNSIG: {positive: [Pathogenic], negative: [Benign]}}"
        )
    figures: list[Figure] = []
    points: list[Point] = []
    for field, label in settings.labels.items():
        rows = read_labelled_rows(
            table,
            label_settings(field, label),
            groups=settings.groups,
            baselines=settings.baselines,
        )
        if rows.why_none:
            logger.warning("%s: %s: %s", table, field, rows.why_none)
        planned = plan_figures(rows, make_resampling(len(rows)))
        with Progress(f"evaluate {field}", total=len(planned), unit="figures") as progress:
            for make_figure in planned:
                figures.append(make_figure())
                progress.add(1)
        points += make_curves(rows)
    # The figures last: where they are, the curves are too.
    with write_table(curves_file, curves_schema()) as writer:
        writer.write(pa.Table.from_pylist(points, curves_schema()))
    with write_table(out, figures_schema()) as writer:
        writer.write(pa.Table.from_pylist(figures, figures_schema()))
    for line in describe_figures(figures):
        logger.info("%s", line)


def label_settings(field: str, label: LabelConfig) -> LabelSettings:
    """A label of the config, as evaluation knows it."""
    return LabelSettings(
        field=field,
        positive=label.positive or (),
        negative=label.negative or (),
        harmful=label.harmful,
        where=label.where,
        review_status=REVIEW_STATUS,
        min_review_stars=label.min_review_stars,
        resample_by=label.resample_by,
    )
