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


def number_groups(column: npt.ArrayLike, *others: npt.ArrayLike) -> IntArray:
    """Number the distinct combinations of values, for example of ``contig`` and ``pos``.

    Raises:
        ValueError: The columns differ in length.
    """
    arrays = [np.asarray(column), *map(np.asarray, others)]
    require_one_length(*arrays)
    numbers = np.zeros(len(arrays[0]), dtype=np.int64)
    for array in arrays:
        numbers = _number(numbers * (len(array) + 1) + _number(array))
    return numbers


def _number(values: npt.NDArray[Any]) -> IntArray:
    """The rank of each value among the distinct values."""
    if values.dtype == object:  # text, most of it repeated
        listed = values.tolist()
        rank = {value: number for number, value in enumerate(sorted(set(listed)))}
        return np.array([rank[value] for value in listed], dtype=np.int64)
    if values.dtype.kind == "i" and len(values):
        from_0 = values.astype(np.int64) - values.min()
        if from_0.max() < 8 * len(values):  # without sorting
            ranks: IntArray = (np.cumsum(np.bincount(from_0) > 0) - 1)[from_0]
            return ranks
    _, numbers = np.unique(values, return_inverse=True)
    return numbers.astype(np.int64)
