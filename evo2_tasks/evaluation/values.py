"""Values of the columns that are carried from the input: as text, by their parts, as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import FloatArray, IntArray
from evo2_tasks.genome.alleles import variant_type

MISSING: Final = "."
"""Text of a missing value, as in VCF."""

Text = npt.NDArray[np.object_]


def read_text(value: Any) -> str:
    """A value as VCF spells it, a flag as YAML spells it; a missing value is the empty text."""
    if isinstance(value, list):
        return ",".join(read_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def encode_texts(column: pa.ChunkedArray) -> tuple[list[str], IntArray]:
    """The distinct texts of a column, in the order of their first rows, and the number of each.

    Returns:
        The texts, as ``read_text`` reads values, and for each row the number of its text. (N,)
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        items = pc.list_flatten(column)
        if not items.null_count:
            column = pc.binary_join(column, ",")
    if not pa.types.is_nested(column.type):
        distinct = pc.unique(column)
        texts = [read_text(value) for value in distinct.to_pylist()]
        numbers = pc.index_in(column, value_set=distinct).to_numpy().astype(np.int64)
    else:
        texts = [read_text(value) for value in column.to_pylist()]
        numbers = np.arange(len(texts))
    numbers_by_text: dict[str, int] = {}
    of_texts = [numbers_by_text.setdefault(text, len(numbers_by_text)) for text in texts]
    return list(numbers_by_text), np.array(of_texts, dtype=np.int64)[numbers]


def read_texts(column: pa.ChunkedArray) -> Text:
    """A column as text; a missing value is ``.``."""
    texts, numbers = encode_texts(column)
    return to_array(text or MISSING for text in texts)[numbers]


def to_array(values: Iterable[object]) -> Text:
    """An array of objects; equal rows of it share one."""
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def split_parts(text: str) -> set[str]:
    """A text and its parts: ``Benign/Likely_benign`` has the parts Benign and Likely_benign."""
    return {*map(fold_truth, [text, *re.split(r"[/|,]", text)])} - {""}


def fold_truth(text: str) -> str:
    """``True`` and ``FALSE``, as other programs write them, as YAML spells them; else the text."""
    return text.lower() if text.lower() in ("true", "false") else text


def read_group_names(column: pa.ChunkedArray) -> Text:
    """Names of groups, without accessions: ``SO:0001583|missense_variant`` is missense_variant."""
    texts, numbers = encode_texts(column)
    return to_array(without_accession(text or MISSING) for text in texts)[numbers]


def without_accession(text: str) -> str:
    """A term, or terms, without their accessions."""
    return re.sub(r"SO:\d+\|", "", text)


def encode_types(rows: pa.Table) -> tuple[list[str], IntArray]:
    """The distinct types of variants, and the number of each row's type.

    Args:
        rows: N rows with the columns ``ref`` and ``alt``.

    Returns:
        The types, of which some can be equal, and for each row the number of its type. (N,)
    """
    (refs, ref), (alts, alt) = (encode_texts(rows[name]) for name in ("ref", "alt"))
    distinct, numbers = np.unique(ref * max(len(alts), 1) + alt, return_inverse=True)
    pairs = (divmod(int(pair), len(alts)) for pair in distinct)
    return [variant_type(refs[one], alts[other]) for one, other in pairs], numbers


def read_floats(column: pa.ChunkedArray, name: str, source: Path) -> FloatArray:
    """A column of numbers as float64; NaN for a missing value and for a list of several numbers.

    Raises:
        InputError: The column holds text that is not a number.
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
            f"{source}: column {name}: expected numbers, because the config names it under "
            f"`harmful` or `baselines`: {error}"
        ) from error
    values: FloatArray = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    values[np.isinf(values)] = np.nan
    return values
