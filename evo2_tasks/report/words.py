"""Numbers and texts from data for readers: short, on one line, and without markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

MOST_CHARACTERS: Final = 60
MOST_BASES: Final = 24

NOTHING: Final = "\N{EN DASH}"
"""Text in place of a missing value."""

MINUS: Final = "\N{MINUS SIGN}"


def count(number: int) -> str:
    """A whole number: 1,013."""
    return f"{number:,}".replace("-", MINUS)


def decimal(value: float | None, digits: int = 3, *, zeros: bool = False) -> str:
    """A number with some significant digits and a true minus sign; ``zeros`` keeps final zeros."""
    if value is None:
        return NOTHING
    is_large = 10**digits <= abs(value) < 1e15
    form = ",.0f" if is_large else f"{'#' if zeros else ''}.{digits}g"
    return f"{value:{form}}".replace("-", MINUS)


def fixed(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number with some digits after the point and a true minus sign."""
    if value is None:
        return NOTHING
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", MINUS)


def share(number: int, total: int) -> str:
    """A percentage; 0 % means exactly none, and 100 % means exactly all."""
    if not total:
        return NOTHING
    percent = 100 * number / total
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.3g} %"


def format_interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """An interval: [0.859, 0.891]; empty if it is missing."""
    if low is None or high is None:
        return ""
    return f"[{fixed(low, sign=sign)}, {fixed(high, sign=sign)}]"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A value and its interval: 0.873 [0.859, 0.891]."""
    return f"{fixed(value)} {format_interval(low, high)}".rstrip()


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text from data; characters that are invisible or change the text direction are escaped."""
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[: most + 1])
    return shown if len(text) <= most else f"{shown[: most - 1]}…"


def allele(text: str | None) -> str:
    """An allele; a long one is shown by its first bases and its length."""
    if text is None:
        return NOTHING
    if len(text) <= MOST_BASES:
        return printable(text)
    return f"{printable(text[: MOST_BASES - 12])}… ({count(len(text))})"


def variant(row: Mapping[str, Any]) -> str:
    """A row of a table as its variant, or as its record if it has no position."""
    if row["contig"] is None or row["pos"] is None:
        return f"record {row['record']}"
    place = f"{printable(row['contig'])}:{row['pos']}"
    return f"{place} {allele(row['ref'])}>{allele(row['alt'])}"


def plot_variant(row: Mapping[str, Any]) -> str:
    """The variant of a row for a plot, escaped because plotly interprets tags and entities."""
    return html.escape(variant(row), quote=False)


def value_text(value: Any) -> str:
    """A value of a carried column, or of ``run.json``."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value).replace("-", MINUS)
        case float():
            return decimal(value, 6)
        case str():
            return printable(value) or NOTHING
        case Sequence():
            return printable(", ".join(value_text(one) for one in value[:20])) or NOTHING
    return printable(json.dumps(value, default=str))


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def breakable(text: str) -> Markup:
    """A name that a narrow column may break: missense_|variant,|intron_|variant."""
    return Markup("<wbr>").join(re.split(r"(?<=[_,|/])", text))  # escapes each part


def plot_text(text: str) -> str:
    """Text from data for a plot, escaped because plotly interprets tags and entities."""
    return html.escape(printable(text), quote=False)


def code_marks(text: str) -> Markup:
    """Text of this package in which back quotes mark names, as HTML with ``<code>``."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)))  # noqa: S704


def script_json(value: Any) -> Markup:
    """JSON for a ``<script>`` element, escaped so that it cannot end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: no U+2028 either
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped just now
