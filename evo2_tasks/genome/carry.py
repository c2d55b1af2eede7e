"""INFO fields, FORMAT fields and fixed columns that are carried along, typed by the header."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, FieldType
from evo2_tasks.io.lines import decode
from evo2_tasks.io.vcf_text import MAX_INFO_BYTES
from evo2_tasks.io.words import find_near, shown

logger = logging.getLogger(__name__)

FIXED_COLUMNS: Mapping[str, tuple[int, FieldType, str]] = {
    "ID": (2, "string", "Identifier of the record"),
    "QUAL": (5, "float", "Phred-scaled quality of the record"),
    "FILTER": (6, "string", "Filters of the record"),
}
INFO_COLUMN = 7
FORMAT_COLUMN = 8
"""The eighth cell of a data line has FORMAT and all samples, not yet split."""

WHOLE = "whole"
"""In the place of a number of values: the text is not divided."""

_TYPES: Mapping[str, FieldType] = {"Integer": "int", "Float": "float", "Flag": "bool"}
_SPREADS: Mapping[str, Literal["scalar", "alt", "allele"]] = {
    "0": "scalar",
    "1": "scalar",
    "A": "alt",
    "R": "allele",
}
_ENCODED = re.compile("%(3A|3B|3D|25|2C|0D|0A|09)", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
# As C's strtod reads decimal numbers; Python's float() also takes "1_000" and spaces.
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|nan)", re.I)


@dataclass(frozen=True, slots=True)
class SampleFields:
    """The samples of a file in their order, and the definitions of their FORMAT fields."""

    samples: Sequence[str]
    formats: Mapping[str, InfoField]

    def find(self, name: str) -> tuple[int, str] | None:
        """The place of the sample and the key of a name such as ``S1:GQ``."""
        sample, _, key = name.rpartition(":")
        return (self.samples.index(sample), key) if key and sample in self.samples else None

    def near(self, name: str) -> list[str]:
        """Names of this kind that may be meant."""
        sample, _, key = name.rpartition(":")
        key = key.removeprefix("FORMAT/").removeprefix("FMT/")
        samples = [sample] if sample in self.samples else find_near(sample, self.samples)
        keys = [key] if key in self.formats else find_near(key, self.formats)
        return [f"{one}:{other}" for one in samples or self.samples[:1] for other in keys]


@dataclass(frozen=True, slots=True)
class InfoField:
    """The definition of an INFO field, or of a FORMAT field, in the header."""

    id: str
    number: str
    type: str
    description: str

    @property
    def value_type(self) -> FieldType:
        """Type of one value."""
        return "bool" if self.number == "0" else _TYPES.get(self.type, "string")

    @property
    def spread(self) -> Literal["scalar", "list", "alt", "allele", "whole"]:
        """How the values are assigned to the alleles."""
        if self.number == WHOLE:
            return "whole"
        return "scalar" if self.value_type == "bool" else _SPREADS.get(self.number, "list")


class CarriedColumns:
    """The values of the carried fields, record by record.

    Each value of ``Number=A`` goes to its allele. Each value of ``Number=R`` goes to the allele of
    its number, without the value of the reference allele. Other lists go to every allele as a
    whole. A value that does not have the type of its field, or a list that does not have the right
    length, is null and is logged. NaN is null.

    Args:
        source: Name of the file, for messages.
        carry: Names of INFO fields, ``ID``, ``QUAL``, ``FILTER``, or for example ``INFO/ID`` if an
            INFO field has the name of a column.
        info: The definitions in the header; a field without a definition is text.
        percent_encoded: Whether text has special characters written as for example ``%3B``
            (VCF 4.3).
        texts: Names of ``carry`` whose values are text, exactly as in the file.
        whole: INFO fields of ``carry`` whose text every allele gets as it is in the file, whatever
            the header defines: not divided into values, with its escapes.
        samples: The samples, of which FORMAT fields are carried as ``S1:GQ``.
    """

    def __init__(
        self,
        source: str,
        carry: Sequence[str],
        info: Mapping[str, InfoField],
        *,
        percent_encoded: bool,
        texts: Collection[str] = (),
        whole: Collection[str] = (),
        samples: SampleFields,
    ) -> None:
        self._source = source
        self._percent_encoded = percent_encoded
        self._fixed: list[tuple[int, int, FieldType]] = []
        self._info: dict[bytes, tuple[int, InfoField]] = {}
        self._formats: list[tuple[int, int, bytes, InfoField]] = []
        self._problems: dict[str, tuple[int, str]] = {}
        fields = []
        for index, name in enumerate(carry):
            if name in carry[:index]:
                raise InputError(f"{source}: carry: '{shown(name)}' is named twice.")
            if name in FIXED_COLUMNS:
                column, value_type, description = FIXED_COLUMNS[name]
                value_type = "string" if name in texts else value_type
                self._fixed.append((index, column, value_type))
                fields.append(CarryField(name, value_type, description=description))
                continue
            of_sample = None if name in info else samples.find(name)
            if of_sample is not None:
                sample, key = of_sample
                field = samples.formats.get(key, InfoField(key, "1", "String", ""))
                field = replace(field, type="String") if name in texts else field
                self._formats.append((index, sample, key.encode(), field))
                is_list, near = field.spread == "list", tuple(samples.near(name))
                fields.append(
                    CarryField(
                        name, field.value_type, is_list, field.description,
                        key in samples.formats, near,
                    )
                )  # fmt: skip
                continue
            key = name.removeprefix("INFO/")
            field = info.get(key, InfoField(key, "1", "String", ""))
            field = replace(field, type="String") if name in texts else field
            field = replace(field, number=WHOLE, type="String") if name in whole else field
            self._info[key.encode()] = (index, field)
            is_list = field.spread == "list"
            known = key in info
            near = () if known else (*find_near(key, [*FIXED_COLUMNS, *info]), *samples.near(name))
            fields.append(
                CarryField(name, field.value_type, is_list, field.description, known, near)
            )
        self.fields = tuple(fields)

    @property
    def needs_samples(self) -> bool:
        """Whether a FORMAT field is carried."""
        return bool(self._formats)

    def values(self, cells: Sequence[bytes], alts: Sequence[str]) -> list[tuple[object, ...]]:
        """The carried values of each allele of a data line.

        Args:
            cells: The first columns of the line, INFO the eighth; the ninth is the unsplit rest.
            alts: The entries of ALT.
        """
        columns: list[Sequence[object]] = [(None,) * len(alts)] * len(self.fields)
        for index, column, value_type in self._fixed:
            if column < len(cells):
                name = self.fields[index].name
                value = self._parse(name, value_type, decode(cells[column]))
                columns[index] = (value,) * len(alts)
        if self._info:
            items = self._find_items(cells[INFO_COLUMN] if len(cells) > INFO_COLUMN else b"")
            for key, (index, field) in self._info.items():
                columns[index] = self._spread(field, items.get(key), alts)
        if self._formats and len(cells) > FORMAT_COLUMN:
            last = max(sample for _, sample, *_ in self._formats)
            of_samples = cells[FORMAT_COLUMN].split(b"\t", last + 2)
            keys = of_samples[0].split(b":")
            for index, sample, wanted, field in self._formats:
                if wanted in keys and sample + 1 < len(of_samples):
                    place = keys.index(wanted)
                    values = of_samples[sample + 1].split(b":", place + 1)
                    text = decode(values[place]) if place < len(values) else None
                    columns[index] = self._spread(field, text, alts)
        return list(zip(*columns, strict=True))

    def log_problems(self) -> None:
        """Log once per field how many values did not fit its definition, and reset the counts."""
        for name, (count, example) in self._problems.items():
            logger.warning(
                "%s: carry: %d values of '%s' do not fit the definition in the header and are "
                "null; the first is '%s'",
                self._source,
                count,
                shown(name),
                shown(example),
            )
        self._problems.clear()

    def _find_items(self, info: bytes) -> dict[bytes, str]:
        """The carried items of an INFO column; of several with one key the first counts."""
        items: dict[bytes, str] = {}
        for item in info.split(b";"):
            key, _, value = item.partition(b"=")
            if key in self._info and key not in items:
                items[key] = decode(value)
        return items

    def _spread(self, field: InfoField, text: str | None, alts: Sequence[str]) -> Sequence[object]:
        """A field's value for each allele; ``text`` is None if the record lacks the field."""
        if field.value_type == "bool":
            return (text is not None,) * len(alts)
        if text is None or text == ".":
            return (None,) * len(alts)
        if field.spread == "whole":
            return (text,) * len(alts)
        if len(text) > MAX_INFO_BYTES:  # of a sample; INFO as a whole is shorter
            raise InputError(
                f"{self._source}: '{shown(field.id)}' of a sample has {len(text):,} bytes, more "
                f"than {MAX_INFO_BYTES:,}. Leave the field out of carry."
            )
        if field.spread == "scalar":
            return (self._parse(field.id, field.value_type, text),) * len(alts)
        values = [self._parse(field.id, field.value_type, value) for value in text.split(",")]
        if field.spread == "list":
            return (tuple(values),) * len(alts)
        if field.spread == "allele":
            values = values if alts == ["."] else values[1:]
        if len(values) != len(alts):
            self._add_problem(field.id, text)
            return (None,) * len(alts)
        return values

    def _parse(self, name: str, value_type: FieldType, text: str) -> object:
        if text == ".":
            return None
        if value_type == "string":
            return decode_percent(text) if self._percent_encoded else text
        value = parse_number(text, value_type)
        if value is None:
            self._add_problem(name, text)
        # Null, because a query on Parquet does not find NaN.
        return None if isinstance(value, float) and math.isnan(value) else value

    def _add_problem(self, name: str, text: str) -> None:
        count, example = self._problems.get(name, (0, text))
        self._problems[name] = (count + 1, example)


def parse_number(text: str, value_type: FieldType) -> int | float | None:
    """A number in decimal notation; None if it is not a number of this type, or not 64-bit."""
    if value_type == "int" and _INTEGER.fullmatch(text):
        value = int(text)
        return value if -(2**63) <= value < 2**63 else None
    if value_type == "float" and _FLOAT.fullmatch(text):
        return float(text)
    return None


def decode_percent(text: str) -> str:
    """Text without the escapes of special characters of VCF 4.3, such as ``%3B``."""
    return _ENCODED.sub(lambda match: chr(int(match[1], 16)), text) if "%" in text else text
