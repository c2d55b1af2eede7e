"""Paths, values and errors as one line of a message, without control characters."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LONG: Final = 4096
"""Most characters of a path, or of a line of a log, in a message."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if there is no message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next((line for line in text.splitlines() if line.strip()), type(error).__name__)


def shown(text: object, limit: int = 80) -> str:
    """A value as one short line of a message, without control characters."""
    spelled = str(text)
    cut = spelled if len(spelled) <= limit else spelled[: limit - 3] + "..."
    return cut if cut.isprintable() else repr(cut)[1:-1]


def shown_path(path: Path | str) -> str:
    """A path or a long name as one line of a message, without control characters."""
    return shown(path, LONG)
