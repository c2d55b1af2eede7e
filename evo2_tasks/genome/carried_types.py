"""Types of carried values: those of the file, or numbers or text if the config asks for them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from evo2_tasks.errors import InputError
from evo2_tasks.genome.carry import parse_number
from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.words import shown

AskedType = Literal["number", "text"]
"""A type that the config can ask for."""

_EVALUATED: Final = "names this field under `baselines` or as a label with `harmful`"
_BOOLS: Final = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class _Change:
    """What is done with the values of a field.

    Attributes:
        place: Of the field among those that are carried.
        type: Type that the values get.
        is_check: Whether values are only checked, and keep their type.
        reason: For messages: what in the config asks for the type.
    """

    place: int
    type: AskedType
    is_check: bool
    reason: str


class CarriedTypes:
    """Gives the carried values of a file the types that the config asks for.

    A file of text (a table, a BED) has text in all fields. A field of it becomes numbers if the
    config asks for numbers or evaluation reads it as numbers. Other formats state types, and their
    fields keep them: an integer counts as a number. Text in which evaluation expects numbers is
    checked.

    Args:
        source: Name of the file, for messages.
        fields: The fields as the reader gives them.
        asked: Types that the config asks for, by name of the field.
        numbers: Fields that evaluation reads as numbers.
        has_types: Whether the format of the file states types.
    """

    def __init__(
        self,
        source: str,
        fields: Sequence[CarryField],
        asked: Mapping[str, AskedType],
        numbers: Collection[str],
        *,
        has_types: bool,
    ) -> None:
        self._source = source
        self._fields = fields
        self._changes: list[_Change] = []
        for place, field in enumerate(fields):
            asked_type = asked.get(field.name)
            is_evaluated = field.name in numbers and field.type == "string"
            if asked_type == "number" and field.type in ("string", "bool"):
                reason = f"has `carry: {{{shown(field.name)}: number}}`"
                self._changes.append(_Change(place, "number", False, reason))
            elif asked_type == "text" and field.type != "string":
                self._changes.append(_Change(place, "text", False, ""))
            elif is_evaluated:
                is_check = has_types or asked_type == "text"
                self._changes.append(_Change(place, "number", is_check, _EVALUATED))
        self.fields = tuple(fields)
        for change in self._changes:
            if not change.is_check:
                self._set_type(change.place, change.type)

    def _set_type(self, place: int, asked: AskedType) -> None:
        field = replace(self.fields[place], type="float" if asked == "number" else "string")
        self.fields = (*self.fields[:place], field, *self.fields[place + 1 :])

    def convert(self, values: tuple[object, ...], record: int) -> tuple[object, ...]:
        """The carried values of an allele in the types of ``fields``.

        Args:
            values: As the reader gives them.
            record: Number of the record, for messages.

        Raises:
            InputError: A value is not a number where the config asks for one.
        """
        if not self._changes or not values:
            return values
        converted = list(values)
        for change in self._changes:
            value = values[change.place]
            new = (
                tuple(self._convert(item, change, record) for item in value)
                if isinstance(value, tuple)
                else self._convert(value, change, record)
            )
            if not change.is_check:
                converted[change.place] = new
        return tuple(converted)

    def _convert(self, value: object, change: _Change, record: int) -> object:
        if value is None:
            return None
        if change.type == "text":
            return str(value).lower() if isinstance(value, bool) else str(value)
        text = str(value).strip()
        number = _BOOLS.get(text.lower(), parse_number(text, "float"))
        if number is None:
            name = self._fields[change.place].name
            raise InputError(
                f"{self._source}: record {record}: '{shown(name)}' is '{shown(value)}', expected "
                f"a number, because the config {change.reason}."
            )
        return None if math.isnan(number) else number
