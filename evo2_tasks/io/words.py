"""Paths, values and errors as one line of a message, without control characters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LONG: Final = 4096
"""Most characters of a path, or of a line of a log, in a message."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if there is no message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next((line for line in text.splitlines() if line.strip()), type(error).__name__)


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """The names that are most like a name, at most three; upper and lower case count as equal."""
    by_folded = {other.casefold(): other for other in known}
    return [by_folded[near] for near in difflib.get_close_matches(name.casefold(), by_folded)]


def without_controls(text: str, *, keep: str = "") -> str:
    """Text in which a terminal finds nothing to act on.

    Everything that is not printable is written as an escape: control characters, marks that turn
    the direction of the text, invisible characters, and bytes that are no text.

    Args:
        text: Any text.
        keep: Characters to leave as they are.
    """
    rest = text
    for character in keep:
        rest = rest.replace(character, "")
    if rest.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in text)


def counted(number: int, noun: str) -> str:
    """A number of things: 1 allele, 2 alleles."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """A time in hours, minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    if seconds >= 60:
        return f"{seconds / 60:.1f} minutes"
    number = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
    return f"{number} second{'' if number == '1' else 's'}"


def shown(text: object, limit: int = 80) -> str:
    """A value as one short line of a message, without control characters."""
    spelled = str(text)
    cut = spelled if len(spelled) <= limit else spelled[: limit - 3] + "..."
    return without_controls(cut)


def shown_path(path: Path | str) -> str:
    """A path or a long name as one line of a message, without control characters."""
    return shown(path, LONG)
