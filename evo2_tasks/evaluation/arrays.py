"""The arrays of labels, scores and numbers that all of the evaluation takes, and their checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def read_labels(labels: npt.ArrayLike) -> BoolArray:
    """Convert labels to an array.

    Raises:
        ValueError: They are not a one-dimensional array of booleans.
    """
    target = np.asarray(labels)
    if target.dtype != bool or target.ndim != 1:
        raise ValueError(
            f"labels: expected a one-dimensional array of booleans, got {target.dtype} of shape "
            f"{target.shape}."
        )
    return target


def read_numbers(numbers: npt.ArrayLike) -> FloatArray:
    """Convert scores, or target numbers, to an array.

    Raises:
        ValueError: They are not a one-dimensional array of numbers.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores: expected a one-dimensional array, got the shape {values.shape}.")
    return values


def require_one_length(*arrays: npt.NDArray[Any]) -> None:
    """Check that arrays have the same length.

    Raises:
        ValueError: Their lengths differ.
    """
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"columns: expected one length, got {', '.join(map(str, lengths))}.")


def require_finite(*arrays: npt.NDArray[Any]) -> None:
    """Check that all numbers are finite.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("scores: expected finite numbers, or NaN where a row has no score.")


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient; NaN where the denominator is 0."""
    value = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=value, where=denominator != 0)
    return value
