"""The two files of a fitted probe: ``probe.safetensors`` with its weights, ``probe.json`` about it.

A probe is data: neither file can carry code. All values are checked when a probe is loaded, and the
JSON file states the SHA-256 of the weights, so that a damaged file is recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import FloatArray
from evo2_tasks.evaluation.estimates import Estimate
from evo2_tasks.evaluation.probe_folds import FoldsBy
from evo2_tasks.evaluation.probe_models import FittedProbe, Kind
from evo2_tasks.evaluation.probes import ProbeMetrics, ProbeResult, ShuffledMetric
from evo2_tasks.io.documents import Count, Document
from evo2_tasks.io.files import open_file, reading, replace_atomically, writing
from evo2_tasks.io.words import first_line, shown_path
from evo2_tasks.table.documents import Digest, Signature
from evo2_tasks.table.provenance import package_version

WEIGHTS_FILE: Final = "probe.safetensors"
STATEMENT_FILE: Final = "probe.json"

MOST_FEATURES: Final = 1 << 20
"""Most features of a probe: sixty times as many as those of the largest release."""

_HEADER_BYTES: Final = 1 << 16
_WEIGHTS: Final = "weights"
_INTERCEPT: Final = "intercept"

Feature = Literal["ref", "delta", "llr"]

_PACKAGES: Final = ("numpy", "scikit-learn")

Text = Annotated[str, Field(min_length=1, max_length=10_000)]


class ProbeOrigin(Document):
    """What a probe is made from. A step may add keys of its own.

    Attributes:
        name: Name of the probe in the config.
        variant_set: Variant set whose labels it learnt.
        scoring: Scoring whose features it uses.
        signature: Signature of the scores and embeddings; a probe is for this signature only.
        features: Its features, in the order of the weights: ``ref`` and ``delta`` have ``width``
            weights each, ``llr`` has one.
        layer: Layer of the embeddings; None if ``llr`` is the only feature, like the next two.
        tokens: Tokens of an embedding.
        width: Numbers of an embedding.
        label: Field of the label.
        definition: Which rows are labelled, in the words of the config.
    """

    name: Text
    variant_set: Text
    scoring: Text
    signature: Signature
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=3)]
    layer: Text | None = None
    tokens: Annotated[Count, Field(ge=1)] | None = None
    width: Annotated[Count, Field(ge=1, le=MOST_FEATURES)] | None = None
    label: Text
    definition: str

    @property
    def num_features(self) -> int:
        """Number of weights."""
        return sum(1 if name == "llr" else self.width or 0 for name in self.features)


class MetricStatement(Document):
    """A cross-validated metric with its interval; see ``Estimate``."""

    metric: Text
    value: float | None
    low: float | None
    high: float | None
    num_rows: Count
    reason: str = ""


class ShuffledStatement(Document):
    """A metric of the shuffled targets; see ``ShuffledMetric``."""

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    reason: str = ""


class ControlStatement(Document):
    """What shuffled targets gave; see ``Control``."""

    metric: Literal["auroc", "spearman"]
    num_shuffles: Count
    num_shuffled: Count
    within: ShuffledStatement
    overall: ShuffledStatement


class ProbeStatement(ProbeOrigin):
    """The content of ``probe.json``; most of it is explained at ``ProbeResult``.

    Attributes:
        probe_version: Version of the two files.
        weights: SHA-256 of ``probe.safetensors``.
        num_weights: Number of weights, without the intercept.
        metrics: Metrics of the out-of-fold scores of all rows.
        metrics_within: The main metric within the groups of the folds.
        statements: What a reader has to know about the fit; each item is a sentence.
        versions: Versions of the packages that made the probe.
    """

    remedy: ClassVar[str] = "Fit the probe again, or name the folder of another one."

    probe_version: Literal[1]
    kind: Kind
    weights: Digest
    num_weights: Annotated[Count, Field(ge=1, le=MOST_FEATURES)]
    folds_by: FoldsBy
    num_folds: Count
    num_groups: Count
    num_rows: Count
    num_positive: Count | None
    num_without_features: Count
    num_constant: Count
    num_overlapping: Count
    num_left_out: tuple[Count, ...]
    penalties: tuple[Annotated[float, Field(gt=0)], ...]
    final_penalty: Annotated[float, Field(gt=0)]
    num_fits: Count
    num_not_converged: Count
    seed: Count
    metrics: tuple[MetricStatement, ...]
    metrics_within: tuple[MetricStatement, ...]
    control: ControlStatement
    statements: tuple[str, ...]
    versions: dict[str, str]


def save_probe(
    folder: Path,
    probe: FittedProbe,
    result: ProbeResult,
    metrics: ProbeMetrics,
    origin: ProbeOrigin,
) -> ProbeStatement:
    """Write the two files of a probe; ``probe.json`` is the last one.

    Args:
        folder: The folder to write to, which is made if it is missing.
        probe: The probe.
        result: How it was made.
        metrics: The metrics of its out-of-fold scores.
        origin: What it is made from.

    Returns:
        The content of ``probe.json``.

    Raises:
        InputError: A file cannot be written.
        ValueError: The origin has another number of features than the probe, or a weight is not
            finite.
    """
    if origin.num_features != len(probe.weights):
        raise ValueError(
            f"features: the origin has {origin.num_features}, the probe {len(probe.weights)}."
        )
    tensors = {_WEIGHTS: probe.weights, _INTERCEPT: np.array([probe.intercept])}
    for values in tensors.values():
        if values.dtype != np.float64 or not np.isfinite(values).all():
            raise ValueError("weights: expected finite numbers in float64.")
    data = save(tensors)
    control = result.control
    statement = ProbeStatement(
        **{name: getattr(origin, name) for name in origin.model_fields_set},
        probe_version=1,
        kind=probe.kind,
        weights=hashlib.sha256(data).hexdigest(),
        num_weights=len(probe.weights),
        folds_by=result.folds_by,
        num_folds=result.num_folds,
        num_groups=result.num_groups,
        num_rows=result.num_rows,
        num_positive=result.num_positive,
        num_without_features=result.num_without_features,
        num_constant=result.num_constant,
        num_overlapping=result.num_overlapping,
        num_left_out=result.num_left_out,
        penalties=result.penalties,
        final_penalty=result.final_penalty,
        num_fits=result.num_fits,
        num_not_converged=result.num_not_converged,
        seed=result.seed,
        metrics=tuple(map(_state_metric, metrics.overall)),
        metrics_within=tuple(map(_state_metric, metrics.within)),
        control=ControlStatement(
            metric=control.metric,
            num_shuffles=control.num_shuffles,
            num_shuffled=control.num_shuffled,
            within=_state_shuffled(control.within),
            overall=_state_shuffled(control.overall),
        ),
        statements=tuple(result.state()),
        versions={"evo2-tasks": package_version()} | {name: version(name) for name in _PACKAGES},
    )
    with replace_atomically(folder / WEIGHTS_FILE) as temporary, writing(folder / WEIGHTS_FILE):
        temporary.write_bytes(data)
    statement.write(folder / STATEMENT_FILE)
    return statement


def load_probe(folder: Path) -> tuple[FittedProbe, ProbeStatement]:
    """Load a probe, and check that its two files belong together.

    Args:
        folder: The folder with ``probe.safetensors`` and ``probe.json``, or one of these files.

    Raises:
        InputError: A file is missing, damaged or of another probe, or holds another value than is
            allowed.
    """
    if folder.name in (WEIGHTS_FILE, STATEMENT_FILE) and not folder.is_dir():
        folder = folder.parent
    statement = read_statement(folder / STATEMENT_FILE)
    weights, intercept = _read_weights(folder / WEIGHTS_FILE, statement)
    return FittedProbe(statement.kind, weights, intercept), statement


def read_statement(path: Path) -> ProbeStatement:
    """Read a ``probe.json``.

    Raises:
        InputError: It is missing, damaged, or contradicts itself.
    """
    statement = ProbeStatement.read(path)
    has_embeddings = {*statement.features} - {"llr"}
    problem = ""
    if len({*statement.features}) != len(statement.features):
        problem = "features: a feature is named twice"
    elif has_embeddings and None in (statement.layer, statement.tokens, statement.width):
        problem = "layer, tokens and width: expected values, because the features are embeddings"
    elif statement.num_features != statement.num_weights:
        problem = (
            f"num_weights: expected {statement.num_features:,} by `features` and `width`, got "
            f"{statement.num_weights:,}"
        )
    elif len(statement.penalties) != statement.num_folds:
        problem = f"penalties: expected {statement.num_folds} numbers, one for each fold"
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    return statement


def _read_weights(path: Path, statement: ProbeStatement) -> tuple[FloatArray, float]:
    """Weights and intercept.

    Raises:
        InputError: The file is not the one that the statement is about, or holds something else.
    """
    most = 8 * (statement.num_weights + 1) + _HEADER_BYTES
    with open_file(path) as file, reading(path):
        data = file.read(most + 1)
    problem = ""
    if len(data) > most:
        problem = f"is larger than {most:,} bytes, the most for {statement.num_weights:,} weights"
    elif hashlib.sha256(data).hexdigest() != statement.weights:
        problem = f"is another file than {STATEMENT_FILE} states: its SHA-256 differs"
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{shown_path(path)}: is not a safetensors file with float64 numbers: "
            f"{first_line(error)}. {ProbeStatement.remedy}"
        ) from error
    expected: Mapping[str, Sequence[int]] = {_WEIGHTS: [statement.num_weights], _INTERCEPT: [1]}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if found != expected or any(tensor.dtype != np.float64 for tensor in tensors.values()):
        problem = (
            f"expected the tensors '{_WEIGHTS}' with {statement.num_weights:,} and "
            f"'{_INTERCEPT}' with one number, in float64"
        )
    elif not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        problem = "a weight is not a finite number"
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    return tensors[_WEIGHTS], float(tensors[_INTERCEPT][0])


def _state_metric(one: Estimate) -> MetricStatement:
    return MetricStatement(
        metric=one.metric,
        value=one.value,
        low=one.low,
        high=one.high,
        num_rows=one.num_rows,
        reason=one.reason,
    )


def _state_shuffled(one: ShuffledMetric) -> ShuffledStatement:
    return ShuffledStatement(
        values=one.values, mean=one.mean, low=one.low, high=one.high, reason=one.reason
    )
