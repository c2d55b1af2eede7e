"""Values as JSON that loses nothing: integers of 64 bits, the sign of zero, NaN, null in a list.

``null`` is itself, ``i7`` an integer, ``f`` and 16 hexadecimal digits a float of 64 bits, ``s`` and
the text a string, ``b`` and hexadecimal digits bytes. Lists and dictionaries hold such values.
Programs in JavaScript write the same, and for a number, which has one type there, ``n`` and the
digits of its float. This file needs the standard library only.
"""

from __future__ import annotations

import struct
from typing import Any

Encoded = Any


def encode(value: Any) -> Encoded:
    """A value as a reader returns it, of Python, numpy, pandas, Arrow or Spark."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "asDict"):
        return encode(value.asDict())
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    if isinstance(value, str):
        return "s" + value
    if isinstance(value, bytes):
        return "b" + value.hex()
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise TypeError(f"{type(value).__name__}: {value!r}")


def decode_float(text: str) -> float:
    """The float of ``f`` and hexadecimal digits."""
    (value,) = struct.unpack(">d", bytes.fromhex(text[1:]))
    return float(value)
