"""The JSON and YAML files of a checkpoint, with the types of their values checked.

What cannot be used gives a ValueError of one line: file, key, what was expected, what is there.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

INDEX = "model.safetensors.index.json"
CONVERSION = "conversion.json"

MAX_BYTES = 1 << 24
"""More than any of these files of any model."""
MAX_DIGITS = 1_000

FileStatement = dict[str, int | str]
"""Size and digest of a file: ``bytes`` and ``sha256``."""


class Conversion(NamedTuple):
    """Content of `conversion.json`.

    Attributes:
        sources: The files that the weights were made from.
        files: The files of weights.
    """

    sources: dict[str, FileStatement]
    files: dict[str, FileStatement]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. All its numbers are finite.

    Raises:
        ValueError: It cannot be read, or is another file.
    """
    try:
        value = parse_json(_read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {_one_line(error)}") from error
    return _require_object(value, str(path))


def parse_json(text: str) -> Any:
    """A JSON value whose numbers are all finite.

    Raises:
        ValueError: The text is not JSON.
    """
    try:
        return json.loads(
            text, parse_constant=_parse_float, parse_float=_parse_float, parse_int=_parse_int
        )
    except RecursionError as error:
        raise ValueError("it has too many brackets inside one another") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ValueError: It cannot be read, or is another file.
    """
    try:
        value = yaml.load(_read_text(path), _PlainLoader)  # noqa: S506 - a safe loader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {_one_line(error)}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: has no keys; expected a published config.")
    return value


def read_weight_names(path: Path) -> list[str]:
    """The files of weights that an index (``model.safetensors.index.json``) names.

    Raises:
        ValueError: It cannot be read, or is another file.
    """
    weight_map = _require_object(read_json(path).get("weight_map"), f"{path}: weight_map")
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"{path}: weight_map: {_shown(tensor)}: expected the name of a file, got "
                f"{_shown(name)}."
            )
    return sorted(set(weight_map.values()))


def read_conversion(path: Path) -> Conversion:
    """Read a ``conversion.json``.

    Raises:
        ValueError: It cannot be read, or is another file.
    """
    values = read_json(path)
    return Conversion(
        _read_statements(values.get("sources"), f"{path}: sources"),
        _read_statements(values.get("files"), f"{path}: files"),
    )


def _read_statements(value: object, where: str) -> dict[str, FileStatement]:
    statements: dict[str, FileStatement] = {}
    for name, one in _require_object(value, where).items():
        statement = _require_object(one, f"{where}: {_shown(name)}")
        size, digest = statement.get("bytes"), statement.get("sha256")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError(
                f"{where}: {_shown(name)}: bytes: expected a number of bytes, got {_shown(size)}."
            )
        if not isinstance(digest, str):
            raise ValueError(
                f"{where}: {_shown(name)}: sha256: expected a text, got {_shown(digest)}."
            )
        statements[name] = {"bytes": size, "sha256": digest}
    return statements


def _require_object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {_shown(value)}.")
    return value


def read_fp8_variables(metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """The settings of FP8 by module, from the metadata of a file of FP8 scales.

    Raises:
        ValueError: The metadata are those of another file.
    """
    try:
        value = parse_json((metadata or {})["variables"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: variables in the metadata: expected JSON, got {_one_line(error)}."
        ) from error
    return _require_object(value, f"{path}: variables in the metadata")


class _PlainLoader(yaml.SafeLoader):
    """The safe YAML loader without aliases, by which a few lines can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(
                f"line {self.peek_event().start_mark.line + 1}: aliases (*) are not allowed; write "
                "the value again"
            )
        return super().compose_node(parent, index)


def _read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is longer than any such file, or is not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes; this is not a file of a model")
    return raw.decode("utf-8-sig")


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"it has a number of {len(text):,} digits")
    return int(text)


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _shown(value: object) -> str:
    """A value as JSON, cut to 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
