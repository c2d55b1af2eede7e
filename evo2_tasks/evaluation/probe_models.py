"""The linear models of probes: how they are fitted to a training set, and how they predict.

A model is a StandardScaler and an L2-penalised logistic regression, or a ridge regression for
numbers. The mean and scale of each feature become part of the weights, so that a prediction is one
product of features and weights.

With at least twice as many features as rows, the models are fitted to the coordinates of the rows
in the space that the rows span. This gives the same weights, because an L2 penalty leaves no weight
outside of this space, and it takes a fraction of the time.

Memory: a training set is standardised in a copy of its rows, R * P * 4 bytes for labels and
R * P * 8 for numbers. With coordinates there are up to R * R * 32 bytes more.

Shapes: N rows, P features, R rows of a training set, K coordinates, M models.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgWarning, eigh
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.probe_statements import Kind

Features = npt.NDArray[np.float32]

LABEL: Final = "label"
NUMBER: Final = "number"

PENALTIES: Final = tuple(10.0**exponent for exponent in range(6, -2, -1))
"""L2 penalties, the strongest first: 1 / ``C`` of scikit-learn's LogisticRegression, ``alpha`` of
its Ridge. The features are standardised."""

FEW_FEATURES: Final = 64
WEAKEST_OF_MANY: Final = 10.0
"""Weakest penalty with more than ``FEW_FEATURES`` features. It hardly shrinks the weight of a
feature by itself, and with weaker ones a fit takes up to ten times as long."""

SMALL_SHARE: Final = 1e-12
"""Share of the largest eigenvalue below which an eigenvalue is rounding error."""

MOST_ITERATIONS: Final = 1_000

NUMBERS_AT_ONCE: Final = 1 << 20
"""Features that are turned into float64 at once: 8 MB."""


@dataclass(frozen=True, slots=True)
class FittedProbe:
    """The weights of a linear model; the mean and scale of each feature are part of them.

    Attributes:
        kind: ``label``: a score is the log-odds of a positive row. ``number``: it is the number.
        weights: Weight of each feature. (P,)
        intercept: Score of a row whose features are 0.
    """

    kind: Kind
    weights: FloatArray
    intercept: float

    def predict(self, features: Features) -> FloatArray:
        """Scores of rows: the product of features and weights, in float64.

        The score of a row is the same bit for bit, whichever other rows there are.

        Args:
            features: NaN where a row has none. (N, P)

        Returns:
            Scores, high = harmful; NaN where a feature is not finite, or a score would not be. (N,)

        Raises:
            ValueError: The features have another shape.
        """
        return self.predict_rows(features, np.arange(len(features)))

    def predict_rows(self, features: Features, rows: IntArray) -> FloatArray:
        """Scores of some of the rows, as ``predict`` gives them.

        Args:
            features: (N, P)
            rows: Numbers of rows. (R,)

        Returns:
            Scores. (R,)

        Raises:
            ValueError: The features have another shape.
        """
        if features.ndim != 2 or features.shape[1] != len(self.weights):
            raise ValueError(
                f"features: expected {len(self.weights)} columns, got the shape {features.shape}."
            )
        scores = np.empty(len(rows))
        with np.errstate(invalid="ignore", over="ignore"):
            for some, block in _read_blocks(features, rows):
                # Not a BLAS product: its sums depend on how many rows there are.
                block *= self.weights
                scores[some] = block.sum(axis=1) + self.intercept
        scores[~np.isfinite(scores)] = np.nan
        return scores


@dataclass(slots=True)
class FitCounts:
    """How many models were fitted.

    Attributes:
        num_fits: All of them.
        num_not_converged: Those that did not reach the tolerance of scikit-learn.
    """

    num_fits: int = 0
    num_not_converged: int = 0


def find_complete(features: Features) -> BoolArray:
    """Which rows have features: all of them are finite. (N,)."""
    is_complete = np.empty(len(features), dtype=bool)
    for some, block in _split(features):
        is_complete[some] = np.isfinite(block).all(axis=1)
    return is_complete


def find_constant(features: Features, rows: IntArray) -> BoolArray:
    """Which features have one value in some rows, of which there is at least one. (P,)."""
    first = features[rows[0]]
    is_constant = np.ones(features.shape[1], dtype=bool)
    at_once = max(1, NUMBERS_AT_ONCE // features.shape[1])
    for begin in range(0, len(rows), at_once):
        is_constant &= (features[rows[begin : begin + at_once]] == first).all(axis=0)
    return is_constant


def list_penalties(num_features: int) -> list[float]:
    """The penalties to choose from, the strongest first."""
    weakest = PENALTIES[-1] if num_features <= FEW_FEATURES else WEAKEST_OF_MANY
    return [penalty for penalty in PENALTIES if penalty >= weakest]


def train(
    kind: Kind,
    features: Features,
    rows: IntArray,
    targets: Mapping[int, npt.NDArray[Any]],
    wanted: Mapping[float, Sequence[int]],
    counts: FitCounts,
) -> dict[tuple[int, float], FittedProbe]:
    """Fit models to a training set.

    Args:
        kind: What the targets are.
        features: Finite in the rows of the training set. (N, P)
        rows: The rows of the training set. (R,)
        targets: Targets of these rows by name; a label has both classes. Each (R,)
        wanted: The targets that are fitted with each penalty.
        counts: Is increased by the models that are fitted.

    Returns:
        The models by target and penalty.
    """
    fit = _fit_labels if kind == LABEL else _fit_numbers
    scaled, mean, scale = _standardise(features, rows, np.float32 if kind == LABEL else np.float64)
    directions = None
    design = scaled
    if 2 * len(rows) <= features.shape[1]:
        design, directions = _find_coordinates(scaled)
    names, coefficients, intercepts = [], [], []
    for penalty, of_penalty in wanted.items():
        if not of_penalty:
            continue
        chosen = [targets[name] for name in of_penalty]
        for name, (of_model, intercept) in zip(
            of_penalty, fit(design, chosen, penalty, counts), strict=True
        ):
            names.append((name, penalty))
            coefficients.append(of_model)
            intercepts.append(intercept)
    if not names:
        return {}
    of_models = np.stack(coefficients)
    if directions is not None:
        of_models = _expand(of_models @ directions.T, scaled)
    of_models /= scale
    return {
        name: FittedProbe(kind, weights, intercept - float(weights @ mean))
        for name, weights, intercept in zip(names, of_models, intercepts, strict=True)
    }


def predict_together(
    probes: Sequence[FittedProbe], features: Features, rows: IntArray
) -> FloatArray:
    """Scores of several models at once, which are those of ``predict`` except for rounding.

    Args:
        probes: The models. (M)
        features: (N, P)
        rows: Numbers of rows. (R,)

    Returns:
        Scores. (M, R)
    """
    weights = np.stack([probe.weights for probe in probes], axis=1)
    intercepts = np.array([probe.intercept for probe in probes])
    scores = np.empty((len(probes), len(rows)))
    for some, block in _read_blocks(features, rows):
        scores[:, some] = (block @ weights + intercepts).T
    return scores


def _read_blocks(features: Features, rows: IntArray) -> Iterator[tuple[slice, FloatArray]]:
    """Some rows in float64, block after block."""
    at_once = max(1, NUMBERS_AT_ONCE // max(features.shape[1], 1))
    for begin in range(0, len(rows), at_once):
        some = slice(begin, begin + at_once)
        yield some, features[rows[some]].astype(np.float64)


def _split(features: Features) -> Iterator[tuple[slice, Features]]:
    """All rows, block after block, without a copy."""
    at_once = max(1, NUMBERS_AT_ONCE // max(features.shape[1], 1))
    for begin in range(0, len(features), at_once):
        some = slice(begin, begin + at_once)
        yield some, features[some]


def _standardise(
    features: Features, rows: IntArray, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], FloatArray, FloatArray]:
    """Standardise the rows of a training set.

    Returns:
        The features, in which a constant one is 0, (R, P); mean and scale of each. Each (P,)
    """
    num_features = features.shape[1]
    scaled = np.empty((len(rows), num_features), dtype=dtype)
    at_once = max(1, NUMBERS_AT_ONCE // num_features)
    for begin in range(0, len(rows), at_once):
        scaled[begin : begin + at_once] = features[rows[begin : begin + at_once]]
    mean, scale = np.empty((2, num_features))
    # In blocks of columns, and in float64: the embeddings of a layer can be large numbers that
    # differ little.
    at_once = max(1, NUMBERS_AT_ONCE // len(rows))
    for begin in range(0, num_features, at_once):
        some = slice(begin, begin + at_once)
        block = scaled[:, some].astype(np.float64)
        is_constant = np.ptp(block, axis=0) == 0
        scaler = StandardScaler(copy=False)
        block = scaler.fit_transform(block)
        block[:, is_constant] = 0  # without the rounding error of the mean
        scaled[:, some] = block
        mean[some], scale[some] = scaler.mean_, scaler.scale_
    return scaled, mean, scale


def _find_coordinates(
    scaled: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], FloatArray]:
    """Coordinates of the rows in an orthonormal basis of the space that they span.

    A basis vector is a combination of rows: ``scaled.T @ directions`` are the basis vectors.

    Args:
        scaled: (R, P)

    Returns:
        Coordinates, in the type of the features, (R, K), and directions. (R, K)
    """
    num_rows, num_features = scaled.shape
    products = np.zeros((num_rows, num_rows))
    at_once = max(1, NUMBERS_AT_ONCE // num_rows)
    for begin in range(0, num_features, at_once):
        block = scaled[:, begin : begin + at_once].astype(np.float64)
        products += block @ block.T
    values, vectors = eigh(products, overwrite_a=True)
    is_large = values > values[-1] * SMALL_SHARE
    roots = np.sqrt(values[is_large])
    vectors = vectors[:, is_large]
    return (vectors * roots).astype(scaled.dtype), vectors / roots


def _expand(of_rows: FloatArray, scaled: npt.NDArray[Any]) -> FloatArray:
    """Coefficients of features from coefficients of rows.

    Args:
        of_rows: (M, R)
        scaled: (R, P)

    Returns:
        (M, P)
    """
    num_features = scaled.shape[1]
    expanded = np.empty((len(of_rows), num_features))
    at_once = max(1, NUMBERS_AT_ONCE // len(scaled))
    for begin in range(0, num_features, at_once):
        some = slice(begin, begin + at_once)
        expanded[:, some] = of_rows @ scaled[:, some].astype(np.float64)
    return expanded


def _fit_labels(
    scaled: npt.NDArray[Any],
    targets: Sequence[npt.NDArray[Any]],
    penalty: float,
    counts: FitCounts,
) -> Iterator[tuple[FloatArray, float]]:
    """Coefficients and intercept of the logistic regression of each target."""
    for target in targets:
        model = LogisticRegression(C=1 / penalty, max_iter=MOST_ITERATIONS)
        _fit(model, scaled, target, counts, 1)
        yield model.coef_[0].astype(np.float64), float(model.intercept_[0])


def _fit_numbers(
    scaled: npt.NDArray[Any],
    targets: Sequence[npt.NDArray[Any]],
    penalty: float,
    counts: FitCounts,
) -> Iterator[tuple[FloatArray, float]]:
    """Coefficients and intercept of the ridge regression of each target."""
    model = Ridge(alpha=penalty, copy_X=False)
    _fit(model, scaled, np.stack(targets, axis=1), counts, len(targets))
    coefficients = np.reshape(model.coef_, (len(targets), -1))
    intercepts = np.broadcast_to(model.intercept_, len(targets)).tolist()
    yield from zip(coefficients, intercepts, strict=True)


def _fit(
    model: Any,
    scaled: npt.NDArray[Any],
    target: npt.NDArray[Any],
    counts: FitCounts,
    num_models: int,
) -> None:
    """Fit a model of scikit-learn, and count it; its warnings about convergence become a number."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(scaled, target)
    counts.num_fits += num_models
    problems = (ConvergenceWarning, LinAlgWarning)
    if any(issubclass(one.category, problems) for one in caught):
        counts.num_not_converged += num_models
    for one in caught:
        if not issubclass(one.category, problems):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
