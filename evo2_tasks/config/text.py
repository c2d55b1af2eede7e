"""The text of a config, and what it says where it is JSON, as the workflow writes it for its jobs.

JSON is read without the YAML library, whose import takes a tenth of the start of a job.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError

MOST_CHARACTERS: Final = 1 << 22
"""Characters of a file. A config of a thousand variant sets has 200,000."""

MOST_OF_JSON: Final = 200_000
"""Characters of a text that is read as JSON; its values have at least two each."""

_MOST_BYTES: Final = 4 * MOST_CHARACTERS + 4


def read_text(path: Path, name: str) -> str:
    """Read a text in UTF-8.

    Args:
        path: The file; ``-`` is standard input.
        name: Name of the file, for messages.

    Raises:
        InputError: It cannot be read, or is larger than any config.
    """
    try:
        if path == Path("-"):
            text = sys.stdin.read(MOST_CHARACTERS + 1)
        else:
            with path.open("rb") as file:
                # utf-8-sig: editors on Windows begin a file with a mark that is no part of it
                text = file.read(_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not UTF-8 text (byte {error.start + 1})") from error
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"{name}: has more than {MOST_CHARACTERS:,} characters; this is not a config"
        )
    return text


def read_json(text: str) -> dict[str, Any] | None:
    """Read a JSON object in which no key occurs twice.

    Returns:
        Its keys and values; None if the text is anything else: YAML says what.
    """
    if not text.startswith("{") or len(text) > MOST_OF_JSON:
        return None
    try:
        found: dict[str, Any] = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
