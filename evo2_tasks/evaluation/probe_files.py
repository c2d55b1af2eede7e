"""The two files of a fitted probe: ``probe.safetensors`` with its numbers, ``probe.json`` about it.

The numbers are the weights, and a digest of each allele that the probe was trained on.

A probe is data: neither file can carry code. All values are checked when a probe is loaded, and the
JSON file states the SHA-256 of the weights, so that a damaged file is recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.estimates import Estimate
from evo2_tasks.evaluation.probe_models import FittedProbe
from evo2_tasks.evaluation.probe_statements import (
    ControlStatement,
    MetricStatement,
    ProbeOrigin,
    ProbeStatement,
    ShuffledStatement,
    read_statement,
)
from evo2_tasks.evaluation.probes import ProbeMetrics, ProbeResult, ShuffledMetric
from evo2_tasks.evaluation.training_alleles import Digests
from evo2_tasks.io.files import open_file, reading, replace_atomically, writing
from evo2_tasks.io.words import first_line, shown_path
from evo2_tasks.layout import PROBE, PROBE_WEIGHTS
from evo2_tasks.table.provenance import package_version

_HEADER_BYTES: Final = 1 << 16
_WEIGHTS: Final = "weights"
_INTERCEPT: Final = "intercept"
_ALLELES: Final = "alleles"

NO_ALLELES: Final[Digests] = np.empty(0, dtype=np.uint64)

_PACKAGES: Final = ("numpy", "scikit-learn")


def save_probe(
    folder: Path,
    probe: FittedProbe,
    result: ProbeResult,
    metrics: ProbeMetrics,
    origin: ProbeOrigin,
    alleles: Digests = NO_ALLELES,
) -> ProbeStatement:
    """Write the two files of a probe; ``probe.json`` is the last one.

    Args:
        folder: The folder to write to, which is made if it is missing.
        probe: The probe.
        result: How it was made.
        metrics: The metrics of its out-of-fold scores.
        origin: What it is made from.
        alleles: Digests of the alleles that it was trained on: distinct, rising. (M,)

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
    data = save(tensors | {_ALLELES: alleles})
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
    with replace_atomically(folder / PROBE_WEIGHTS) as temporary, writing(folder / PROBE_WEIGHTS):
        temporary.write_bytes(data)
    statement.write(folder / PROBE)
    return statement


def load_probe(folder: Path) -> tuple[FittedProbe, ProbeStatement]:
    """Load a probe, and check that its two files belong together.

    Args:
        folder: The folder with ``probe.safetensors`` and ``probe.json``, or one of these files.

    Raises:
        InputError: A file is missing, damaged or of another probe, or holds another value than is
            allowed.
    """
    folder = find_folder(folder)
    statement = read_statement(folder / PROBE)
    tensors = _read_tensors(folder / PROBE_WEIGHTS, statement)
    intercept = float(tensors[_INTERCEPT][0])
    return FittedProbe(statement.kind, tensors[_WEIGHTS], intercept), statement


def load_training_alleles(folder: Path) -> Digests:
    """Load the digests of the alleles that a probe was trained on: distinct, rising. (M,).

    Args:
        folder: As for :func:`load_probe`.

    Raises:
        InputError: As for :func:`load_probe`.
    """
    folder = find_folder(folder)
    statement = read_statement(folder / PROBE)
    return _read_tensors(folder / PROBE_WEIGHTS, statement)[_ALLELES]


def find_folder(path: Path) -> Path:
    """The folder of a probe, from the folder or one of its two files."""
    return path.parent if path.name in (PROBE_WEIGHTS, PROBE) and not path.is_dir() else path


def _read_tensors(path: Path, statement: ProbeStatement) -> dict[str, npt.NDArray[Any]]:
    """Weights, intercept and digests of alleles.

    Raises:
        InputError: The file is not the one that the statement is about, or holds something else.
    """
    most = 8 * (statement.num_weights + 1 + statement.num_rows) + _HEADER_BYTES
    with open_file(path) as file, reading(path):
        data = file.read(most + 1)
    problem = ""
    if len(data) > most:
        problem = f"is larger than {most:,} bytes, the most for {statement.num_weights:,} weights"
    elif hashlib.sha256(data).hexdigest() != statement.weights:
        problem = f"is another file than {PROBE} states: its SHA-256 differs"
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{shown_path(path)}: is not a safetensors file with plain numbers: "
            f"{first_line(error)}. {ProbeStatement.remedy}"
        ) from error
    problem = _find_wrong_tensor(tensors, statement)
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    return tensors


def _find_wrong_tensor(tensors: Mapping[str, npt.NDArray[Any]], statement: ProbeStatement) -> str:
    """What is wrong with the tensors of a probe; empty if nothing is."""
    floats: Mapping[str, Sequence[int]] = {_WEIGHTS: [statement.num_weights], _INTERCEPT: [1]}
    alleles = tensors.get(_ALLELES)
    if {*tensors} != {*floats, _ALLELES} or any(
        tensors[name].dtype != np.float64 or list(tensors[name].shape) != shape
        for name, shape in floats.items()
    ):
        return (
            f"expected the tensors '{_WEIGHTS}' with {statement.num_weights:,} and "
            f"'{_INTERCEPT}' with one number, in float64, and '{_ALLELES}'"
        )
    if not all(np.isfinite(tensors[name]).all() for name in floats):
        return "a weight is not a finite number"
    if alleles is None or alleles.dtype != np.uint64 or alleles.ndim != 1:
        return f"expected '{_ALLELES}' as a row of numbers in uint64"
    if len(alleles) > statement.num_rows or (alleles[1:] <= alleles[:-1]).any():
        return f"expected at most {statement.num_rows:,} distinct, rising numbers in '{_ALLELES}'"
    return ""


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
