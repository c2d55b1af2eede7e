"""What ``probe show`` prints about a trained probe, and ``show`` about a table of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.probe_scores import GROUP_NAMES
from evo2_tasks.evaluation.probe_statements import (
    MetricStatement,
    ProbeStatement,
    ShuffledStatement,
    read_statement,
)
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import PROBE, PROBE_WEIGHTS
from evo2_tasks.table.parquet import count_rows, open_table, read_rows
from evo2_tasks.table.probes import SCORE, read_predictions
from evo2_tasks.table.statistics import Distribution

METRIC_NAMES: Final = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "spearman": "Spearman",
}
"""What a metric of a probe is called."""


def show_probe(folder: Path) -> Iterator[str]:
    """Describe a probe: what it was trained on, its layer and signature, and its metrics.

    Only its JSON file is parsed. Its weights are compared by their SHA-256, and not read.

    Args:
        folder: The folder of the probe, or its ``probe.json``.

    Yields:
        Lines of text.

    Raises:
        InputError: A file is missing or damaged, or the two files are not of one probe.
    """
    if not folder.is_dir() and folder.name == PROBE:
        folder = folder.parent
    statement = read_statement(folder / PROBE)
    if digest_file(folder / PROBE_WEIGHTS) != statement.weights:
        raise InputError(
            f"{shown_path(folder / PROBE_WEIGHTS)}: is another file than {PROBE} states: its "
            f"SHA-256 differs. {ProbeStatement.remedy}"
        )
    yield shown_path(folder)
    yield from format_pairs(
        {
            "probe": escape_text(statement.name),
            "kind": "classifier" if statement.kind == "label" else "regression",
            **_describe_training(statement),
            **_describe_features(statement),
            **_describe_folds(statement),
            **{
                f"version of {escape_text(name)}": escape_text(version)
                for name, version in statement.versions.items()
            },
            "model": escape_text(statement.model or "not stated"),
            **flatten("", statement.signature.as_json()),
        }
    )
    yield ""
    yield "how well it predicts rows that it has not seen, with 95 % intervals"
    yield from format_pairs(_describe_metrics(statement))
    if statement.statements:
        yield ""
        yield "what to know about it"
        for sentence in statement.statements:
            yield f"  {escape_text(sentence)}"


def _describe_training(statement: ProbeStatement) -> dict[str, str]:
    rows = counted(statement.num_rows, "row")
    if statement.num_positive is not None:
        num_negative = statement.num_rows - statement.num_positive
        rows = f"{statement.num_positive:,} positive, {num_negative:,} negative"
    return {
        "variant set": escape_text(statement.variant_set),
        "scoring": escape_text(statement.scoring),
        "label": escape_text(statement.label),
        "definition": escape_text(statement.definition),
        "trained on": rows,
        "labelled rows without features": f"{statement.num_without_features:,}",
    }


def _describe_features(statement: ProbeStatement) -> dict[str, str]:
    of_layer = {}
    if statement.layer is not None:
        of_layer = {
            "layer": escape_text(statement.layer),
            "tokens": f"{statement.tokens or 0:,}",
            "width": f"{statement.width or 0:,}",
        }
    return {
        "features": ", ".join(statement.features),
        **of_layer,
        "number of weights": f"{statement.num_weights:,}",
        "L2 penalty": f"{statement.final_penalty:g}",
    }


def _describe_folds(statement: ProbeStatement) -> dict[str, str]:
    penalties = ", ".join(f"{one:g}" for one in statement.penalties)
    return {
        "folds": f"{statement.num_folds:,}, by {statement.folds_by}",
        "groups of the folds": f"{statement.num_groups:,}",
        "L2 penalties of the folds": penalties,
        "windows that overlap another fold": f"{statement.num_overlapping:,}",
    }


def _describe_metrics(statement: ProbeStatement) -> dict[str, str]:
    within = f"within {GROUP_NAMES[statement.folds_by]}"
    control, name = statement.control, METRIC_NAMES[statement.control.metric]
    chance = 0.5 if control.metric == "auroc" else 0
    shuffled = f"{name} with shuffled labels (chance is {chance:g})"
    return {
        **{_name_metric(one): _format_metric(one) for one in statement.metrics},
        **{
            f"{_name_metric(one)} {within}": _format_metric(one) for one in statement.metrics_within
        },
        shuffled: _format_shuffled(control.overall),
        f"{shuffled}, {within}": _format_shuffled(control.within),
    }


def _name_metric(one: MetricStatement) -> str:
    return METRIC_NAMES.get(one.metric) or escape_text(one.metric)


def _format_metric(one: MetricStatement) -> str:
    return _format_value(one.value, one.low, one.high, one.reason)


def _format_shuffled(one: ShuffledStatement) -> str:
    return _format_value(one.mean, one.low, one.high, one.reason)


def _format_value(value: float | None, low: float | None, high: float | None, reason: str) -> str:
    if value is None:
        return f"no value: {escape_text(reason)}"
    if low is None or high is None:
        return f"{value:.3f}, no interval: {escape_text(reason)}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def show_predictions(file: Path) -> Iterator[str]:
    """Describe the predictions of a probe for the rows of a table of scores.

    Args:
        file: The result of ``fit_probe`` or ``apply_probe``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken.
    """
    found = read_predictions(file)
    stated, provenance = found.stated, found.provenance
    with open_table(file) as opened:
        names = list(opened.schema_arrow.names)
    numbers = Distribution()
    for batch in read_rows(file, [SCORE.name]):
        values = batch.column(SCORE.name).drop_null().to_numpy()
        numbers.add(values[np.isfinite(values)])
    trained = "out of fold, of the set with the labels" if found.is_fitted else "of another set"
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,}",
            "probe": escape_text(stated.name),
            "predictions": trained,
            "layer": escape_text(stated.layer or "none"),
            "label": escape_text(stated.label),
            "definition": escape_text(stated.definition),
            "folds by": stated.folds_by,
            "trained on": counted(stated.trained, "row"),
            "rows with a prediction": f"{stated.predicted:,}",
            "rows that it was trained on": f"{stated.in_training:,}",
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
        }
    )
    if numbers.count:
        yield ""
        yield from format_quantiles("predictions (high is harmful)", numbers)
    if count_rows(file):
        yield ""
        yield from format_rows(islice(read_rows(file, names, batch_rows=FIRST_ROWS), 1), names)
