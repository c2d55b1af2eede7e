"""Well-formed JSON files with one value of another type, and files that are not JSON at all."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

VALUES = ("null", "true", "-1", "1.5", "1e400", '"x"', "[]", "{}", "9" * 400, "7" * 5_000)
"""What replaces each value, as JSON. The last one has more digits than Python converts."""


def paths_of(value: Any) -> Iterator[tuple[str | int, ...]]:
    """The path of each value in a JSON value, the outermost first; of long lists, the first two."""
    yield ()
    inner = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = enumerate(value[:2])
    for key, one in inner:
        yield from ((key, *path) for path in paths_of(one))


def mutate(text: str) -> Iterator[tuple[str, str]]:
    """Replace each value of a JSON file by each of ``VALUES``, and leave each key out.

    Args:
        text: The file.

    Yields:
        What was changed, and the changed file.
    """
    for path in paths_of(json.loads(text)):
        for value in VALUES:
            name = "".join(f"[{json.dumps(part)}]" for part in path)
            yield f"{name} = {value[:9]} ({len(value)})", _replaced(text, path, value)
        if path and isinstance(path[-1], str):
            yield f"without {path}", _replaced(text, path, None)


def _replaced(text: str, path: tuple[str | int, ...], new: str | None) -> str:
    if not path:
        return str(new)
    whole = json.loads(text)
    inner = whole
    for part in path[:-1]:
        inner = inner[part]
    if new is None:
        del inner[path[-1]]
        return json.dumps(whole)
    inner[path[-1]] = "\0"
    return json.dumps(whole).replace(json.dumps("\0"), new)


def damage(file: Path) -> Iterator[str]:
    """Put something that is not a JSON object in the place of a file, one thing after the other.

    Yields:
        What is there now.
    """
    content = file.read_bytes()
    damaged = {
        "an empty file": b"",
        "a truncated file": content[: len(content) // 2],
        "no UTF-8": content.replace(b"{", b"{\xff", 1),
        "UTF-16": content.decode().encode("utf-16"),
        "deep nesting": b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "NaN": b'{"a": NaN}',
        "half a character": rb'{"a": "\ud800"}',
    }
    for name, data in damaged.items():
        file.write_bytes(data)
        yield name
    file.unlink()
    file.mkdir()
    yield "a folder"
    file.rmdir()
    file.write_bytes(content)


def changes_of(file: Path, *, step: int = 1) -> Iterator[str]:
    """Change a file in every way, one after the other, and put it back at the end.

    Args:
        file: The file.
        step: Take every change, or every second, third, ... one.

    Yields:
        What was changed.
    """
    content = file.read_text()
    try:
        for what, text in islice(mutate(content), 0, None, step):
            file.write_text(text)
            yield what
        file.write_text(content)
        yield from damage(file)
    finally:
        file.write_text(content)
