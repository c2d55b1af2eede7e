"""Text of users and of other libraries as one safe line of a message."""

from __future__ import annotations

from pathlib import Path


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next((line for line in said.splitlines() if line.strip()), type(error).__name__)


def shown(name: Path | str) -> str:
    """A path or a name in a message: on one line, whatever it holds."""
    text = str(name)
    return text if text.isprintable() else ascii(text)
