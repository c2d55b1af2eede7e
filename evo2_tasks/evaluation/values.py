"""Values of the columns that came along from the input: as text, by their parts, as numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.metrics import FloatArray

MISSING: Final = "."
"""What stands for a value that is not there, as in VCF."""

Text = npt.NDArray[np.object_]


def read_text(value: Any) -> str:
    """A value as VCF has it, a flag as YAML has it; the empty text where there is none."""
    if isinstance(value, list):
        return ",".join(read_text(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def read_texts(column: pa.ChunkedArray) -> Text:
    """A column as text; ``.`` where there is none."""
    return np.array([read_text(value) or MISSING for value in column.to_pylist()], dtype=object)


def split_parts(text: str) -> set[str]:
    """A text as it stands, and what it consists of: ``Benign/Likely_benign`` is both."""
    return {text, *re.split(r"[/|,]", text)} - {""}


def read_group_names(column: pa.ChunkedArray) -> Text:
    """Names of groups: `SO:0001583|missense_variant` is the second of its two halves."""
    return np.array([re.sub(r"SO:\d+\|", "", text) for text in read_texts(column)], dtype=object)


def read_floats(column: pa.ChunkedArray, name: str, source: Path) -> FloatArray:
    """A column of numbers as float64, NaN where there is none, or a list of several.

    Raises:
        InputError: It holds something else.
    """
    kind = column.type
    if pa.types.is_list(kind):
        is_one = pc.equal(pc.list_value_length(column), 1)
        column = pc.list_element(pc.if_else(is_one, column, pa.scalar([None], kind)), 0)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{source}: column {name}: expected numbers, as `harmful` and `baselines` ask for: "
            f"{error}"
        ) from error
    values: FloatArray = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    values[np.isinf(values)] = np.nan
    return values
