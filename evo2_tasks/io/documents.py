"""JSON files as typed records: what a step writes and what another step reads cannot differ.

A record lists the keys of a file with their types. A file whose values have other types gives one
line. Keys that a record does not list are kept: a later version may have written them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import parse_json, read_json, write_json
from evo2_tasks.io.words import first_line, shown, shown_path

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A number of things."""

Seconds = Annotated[float, Field(ge=0, le=1e12), AfterValidator(partial(round, ndigits=3))]
"""A length of time, seconds, to the millisecond."""

Megabytes = Annotated[float, Field(ge=0, le=1e12)]
"""An amount of memory, MB."""

_EXPLANATIONS: Final[Mapping[str, str]] = {
    "bool_type": "expected true or false, got {got}",
    "dict_type": "expected a mapping of names to values, got {got}",
    "finite_number": "expected a number, got {got}",
    "float_type": "expected a number, got {got}",
    "greater_than": "{got} is too small; expected more than {gt}",
    "greater_than_equal": "{got} is too small; the smallest allowed value is {ge}",
    "int_from_float": "expected a whole number, got {got}",
    "int_type": "expected a whole number, got {got}",
    "less_than_equal": "{got} is too large; the largest allowed value is {le}",
    "literal_error": "{got} is not allowed; expected {expected}",
    "model_type": "expected a mapping of keys to values, got {got}",
    "string_pattern_mismatch": "{got} does not have the expected form, {pattern}",
    "string_too_short": "expected a text, got an empty one",
    "string_type": "expected a text, got {got}",
    "too_short": "expected at least one entry, got none",
    "tuple_type": "expected a list, got {got}",
}
"""What a value should have been, by pydantic's name of the problem.

``{got}`` is the value; the other fields are the bounds that pydantic names.
"""


class Document(BaseModel):
    """The content of a JSON file, or an object in it."""

    # Built when a file is first read: a job that reads none starts as fast as without them.
    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, allow_inf_nan=False, defer_build=True
    )

    remedy: ClassVar[str] = "Make the file again."
    """What to do about a file with another content."""

    @classmethod
    def read(cls, source: Path) -> Self:
        """Read a JSON file.

        Raises:
            InputError: The file is missing, is not JSON, or a value is missing or has another type.
        """
        return cls.parse(read_json(source, remedy=cls.remedy), shown_path(source))

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> Self:
        """Make the record from a JSON value.

        Args:
            value: What :func:`read_json` returned, or a part of it.
            where: The file, for messages.

        Raises:
            InputError: A value is missing or has another type.
        """
        try:
            # As JSON, so that a list becomes a tuple; a date that a YAML reader made is text again.
            return cls.model_validate_json(json.dumps(value, default=str))
        except ValidationError as error:
            key, what = _explain(error.errors(include_url=False)[0])
            place = f"{shown(key)}: " if key else ""
            raise InputError(f"{where}: {place}{what}. {cls.remedy}") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{where}: {first_line(error)}. {cls.remedy}") from error

    @classmethod
    def parse_text(cls, text: str, where: str) -> Self:
        """Make the record from JSON that is inside another file.

        Args:
            text: The JSON.
            where: The file, for messages.

        Raises:
            InputError: It is not JSON, or a value is missing or has another type.
        """
        data = text.encode(errors="replace")
        return cls.parse(parse_json(data, where, remedy=cls.remedy), where)

    def as_json(self) -> dict[str, Any]:
        """The keys that were set, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)

    def write(self, target: Path) -> None:
        """Write the JSON file atomically.

        Raises:
            InputError: The target cannot be written.
        """
        write_json(target, self.as_json())


def _explain(problem: ErrorDetails) -> tuple[str, str]:
    """The key of a problem that pydantic found, and a description of the problem."""
    key = _key(problem["loc"])
    if problem["type"] == "missing":
        return key, "is missing"
    got = _as_short_json(problem["input"])
    template = _EXPLANATIONS.get(problem["type"])
    if template is None:
        return key, f"{problem['msg']}, got {got}"
    return key, template.format(got=got, **problem.get("ctx", {}))


def _key(loc: Sequence[int | str]) -> str:
    """The path of a key as people write it: ``shards[0].wall_s``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _as_short_json(value: object) -> str:
    """A value as JSON, cut to 60 characters."""
    text = shown(json.dumps(value, default=str), 10_000)
    return text if len(text) <= 60 else f"{text[:57]}..."
