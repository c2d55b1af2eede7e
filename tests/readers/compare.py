"""How values that a reader gave differ from those that were written, in a few words.

This file needs the standard library only.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tests.readers.encode import Encoded, decode_float

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127


def describe(expected: Mapping[str, list[Encoded]], seen: Mapping[str, Any]) -> str:
    """The differences of a table; ``same`` if there is none.

    Args:
        expected: The columns that were written, encoded.
        seen: The columns that a reader gave, or ``{"error": message}``.
    """
    if "error" in seen and "error" not in expected:
        return f"error: {seen['error']}"
    found: dict[str, int] = {}
    for name, values in expected.items():
        column = seen.get(name)
        if column is None:
            kinds = {"column missing"}
        elif len(column) != len(values):
            kinds = {f"{len(column)} rows"}
        else:
            kinds = set().union(*map(find_kinds, values, column)) if values else set()
        for kind in kinds:
            found[kind] = found.get(kind, 0) + 1
    for _ in seen.keys() - expected.keys():
        found["column added"] = found.get("column added", 0) + 1
    return "; ".join(f"{kind} ({found[kind]})" for kind in sorted(found)) or "same"


def find_kinds(expected: Encoded, seen: Encoded) -> set[str]:
    """The kinds of differences of a value and, in a list or a struct, of its items."""
    if expected == seen:
        return set()
    if expected is None:
        return {"null as " + _name(seen)}
    if seen is None:
        return {"value as null"}
    if isinstance(expected, dict) and isinstance(seen, list):
        seen = _as_dictionary(seen)
    if isinstance(expected, dict) and isinstance(seen, dict):
        if expected.keys() != seen.keys():
            return {"other fields"}
        return set().union(*(find_kinds(expected[key], seen[key]) for key in expected))
    if isinstance(expected, list) and isinstance(seen, list):
        if len(expected) != len(seen):
            return {"list of another length"}
        return set().union(*map(find_kinds, expected, seen))
    if isinstance(expected, str) and isinstance(seen, str):
        return _of_texts(expected, seen)
    return {f"{_name(expected)} as {_name(seen)}"}


def _of_texts(expected: str, seen: str) -> set[str]:
    kinds = expected[:1] + seen[:1]
    if kinds == "fn":
        return find_kinds(expected, "f" + seen[1:])
    if kinds == "in":
        return set() if decode_float(seen) == int(expected[1:]) else {"another integer"}
    if kinds == "if":
        exact = decode_float(seen) == int(expected[1:])
        return {"integer as float" if exact else "integer as inexact float"}
    if kinds == "ff" and decode_float(expected) == decode_float(seen):
        return {"-0.0 as 0.0"}
    if kinds == "ff":
        return {_of_floats(decode_float(expected), decode_float(seen))}
    if kinds == "ss" and unquote(seen) == expected:
        return {"text with percent codes"}
    if kinds[0] == kinds[1]:
        return {f"another {_name(expected)}"}
    return {f"{_name(expected)} as {_name(seen)}"}


def _of_floats(expected: float, seen: float) -> str:
    if (
        abs(expected) < LARGEST_FLOAT32
        and seen == struct.unpack("f", struct.pack("f", expected))[0]
    ):
        return "float of 32 bits"
    return "float of 6 digits" if seen == float(f"{expected:.6g}") else "another float"


def _as_dictionary(pairs: list[Any]) -> Any:
    """A map that is given as a list of pairs."""
    pairs = [list(pair.values()) if isinstance(pair, dict) else pair for pair in pairs]
    if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return {str(key)[1:]: value for key, value in pairs}
    return pairs


def _name(value: Encoded) -> str:
    if isinstance(value, str):
        if value[0] in "fn":
            return "NaN" if math.isnan(decode_float(value)) else "float"
        return {"i": "integer", "s": "text", "b": "bytes"}[value[0]]
    if isinstance(value, list):
        return "list" if value else "empty list"
    return {bool: "boolean", dict: "struct", type(None): "null"}[type(value)]


def describe_answer(expected: Encoded, seen: Any) -> str:
    """An answer other than the expected one, next to it; ``same`` if it is the expected one."""
    if isinstance(seen, dict) and "error" in seen:
        return f"error: {seen['error']}"
    if not find_kinds(expected, seen):
        return "same"
    return f"{_show(seen)}, expected {_show(expected)}"


def _show(value: Encoded) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_show, value)) + "]"
    if isinstance(value, str) and value[0] in "fn":
        return f"{decode_float(value):g}"
    return str(value[1:21]) if isinstance(value, str) else str(value)
