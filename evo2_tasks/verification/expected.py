"""Known values of a model, and the comparison of measured values with them.

Does not import torch: `comparison.py` runs the model.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue

from evo2_tasks.errors import InputError
from evo2_tasks.hub import HubFile, published_releases
from evo2_tasks.io.documents import Count, Document
from evo2_tasks.io.words import shown, shown_path

VALUES = Path(__file__).parent / "published" / "values.json"
PROMPTS = Path(__file__).parent / "published" / "prompts.csv"

Band = Literal["same", "other", "outside"]
STATUSES = {"same": "same_arithmetic", "other": "other_arithmetic", "outside": "failed"}
NOT_VERIFIED = "not_verified"
LARGEST_VALUE = 1e30
MEASURES = {"scores": ("score",), "predictions": ("loss", "accuracy"), "logits": ("logit",)}
"""The measures, each with the quantities that it gives."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a model computes. Values of one arithmetic agree to the last digits."""

    dtype: str
    fp8: str
    device_class: str


@dataclass(frozen=True, slots=True)
class Check:
    """A measure of a model on some sequences, and the values that are known for it.

    Attributes:
        name: Its name in the table of findings.
        measure: What is measured, a key of `MEASURES`.
        sequences: The sequences that the model reads.
        num_short: Number of sequences of the short form, from the first on; 0 if there is no short
            form.
        rounding: Data type that logits are rounded to: ``float32``, or ``bfloat16`` as in the
            reference implementation.
        arithmetic: The arithmetic that the known values were computed with.
        values: The known values, by quantity: one for each measured value, or one for their mean.
        bands: By quantity, the largest difference from the known values, first with the same
            arithmetic and then with another one.
        source: Where the known values come from.
        tokens: For the measure ``logits``, the tokens, one byte each.
    """

    name: str
    measure: str
    sequences: tuple[str, ...]
    num_short: int
    rounding: str
    arithmetic: Arithmetic
    values: Mapping[str, float | Sequence[float]]
    bands: Mapping[str, tuple[float, float]]
    source: str
    tokens: str = ""

    def shortened(self) -> Self:
        """The short form of the check: its first sequences alone."""
        cut = slice(self.num_short)
        values = {
            quantity: known if isinstance(known, float) or self.tokens else known[cut]
            for quantity, known in self.values.items()
        }
        return replace(self, sequences=self.sequences[cut], values=values)

    def judge(self, measured: Mapping[str, Sequence[float]], here: Arithmetic) -> "list[Finding]":
        """Compare measured values with the known ones.

        If the known values were computed with the arithmetic of this run, only the first band
        applies.

        Args:
            measured: Measured values, by quantity.
            here: The arithmetic that they were computed with.
        """
        findings = []
        for quantity, known in self.values.items():
            values = measured[quantity]
            if isinstance(known, float):
                difference = abs(fmean(values) - known)
            else:
                difference = max(abs(a - b) for a, b in zip(values, known, strict=True))
            is_finite = all(map(math.isfinite, values))
            same, other = self.bands[quantity]
            other = same if here == self.arithmetic else other
            band: Band = "outside"
            if is_finite and difference <= other:
                band = "same" if difference <= same else "other"
            finding = Finding(
                self.name, quantity, difference if is_finite else None, same, other, band
            )
            findings.append(finding)
        return findings


Bands = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class FileKnown(Document):
    """A file of a model.

    Attributes:
        name: Its name.
        bytes: Its size; None if it is not known.
        sha256: Its SHA-256; None if it is not known.
    """

    name: str
    bytes: Count | None = None
    sha256: str | None = None


class CheckStatement(Document):
    """A check as a file states it; see `Check`.

    Attributes:
        sequences: The sequences, or the name of sequences that come with the package.
        figures: The known values.
    """

    name: str
    measure: Literal["scores", "predictions", "logits"]
    sequences: JsonValue
    tokens: str = ""
    num_short: Count
    rounding: Literal["float32", "bfloat16"]
    dtype: str
    fp8: str
    device_class: str
    figures: dict[str, JsonValue]
    bands: dict[str, Bands]
    source: str


class ExpectedFile(Document):
    """A file of ``verify --write-expected``.

    Attributes:
        files: The files of the model.
        layers: Digest of the tensors of each layer.
        checks: The checks, with their known values.
    """

    remedy: ClassVar[str] = "Give a file that `evo2-tasks verify --write-expected` wrote."

    files: tuple[FileKnown, ...]
    layers: tuple[str, ...]
    checks: tuple[CheckStatement, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """How far a quantity is from its known values.

    Attributes:
        check: Name of the check.
        quantity: What was measured.
        difference: The largest difference from the known values; None if it is not finite.
        same: The largest difference that is allowed with the same arithmetic.
        other: The largest difference that is allowed with the arithmetic of this run.
        band: The band that it is in, or ``outside``.
    """

    check: str
    quantity: str
    difference: float | None
    same: float
    other: float
    band: Band


@dataclass(frozen=True, slots=True)
class Expected:
    """The known files, values and weights of a model.

    Attributes:
        name: Name of the model, or of the file that the values were read from.
        files: Its files; empty if they are not known.
        checks: Its checks, with their known values.
        layers: Digest of the tensors of each layer, in the data type that the values were computed
            with; empty if not known.
    """

    name: str
    files: tuple[HubFile, ...]
    checks: tuple[Check, ...]
    layers: tuple[str, ...] = ()


def status_of(findings: Sequence[Finding]) -> str:
    """The status of the worst finding; ``not_verified`` if there are no findings."""
    bands = {finding.band for finding in findings}
    worst = next((band for band in reversed(STATUSES) if band in bands), None)
    return NOT_VERIFIED if worst is None else STATUSES[worst]


@cache
def published_sequences() -> dict[str, tuple[str, ...]]:
    """The sequences that values are published for, by name."""
    with PROMPTS.open(encoding="utf-8-sig", newline="") as file:
        prompts = tuple(row["Sequence"] for row in csv.DictReader(file))
    sequences = json.loads(VALUES.read_bytes())["sequences"]
    return {"prompts": prompts} | {name: tuple(values) for name, values in sequences.items()}


def read_published(release: str) -> Expected:
    """What is published about a release. For some releases no values are published."""
    checks = json.loads(VALUES.read_bytes())["releases"].get(release, [])
    files = [one.files for one in published_releases() if one.model == release]
    return Expected(
        name=release,
        files=files[0] if files else (),
        checks=tuple(parse_check(CheckStatement.parse(one, str(VALUES))) for one in checks),
    )


def read_expected(file: Path) -> Expected:
    """Read a file of ``verify --write-expected``.

    Raises:
        InputError: The file cannot be read, or has another content.
    """
    stored = ExpectedFile.read(file)
    try:
        return Expected(
            name=file.name,
            files=tuple(HubFile(one.name, one.bytes, one.sha256) for one in stored.files),
            checks=tuple(map(parse_check, stored.checks)),
            layers=stored.layers,
        )
    except ValueError as error:
        raise InputError(
            f"{shown_path(file)}: not a file of expected values ({shown(error, 400)}). "
            f"{stored.remedy}"
        ) from error


def dump_expected(expected: Expected) -> dict[str, Any]:
    """The JSON that `read_expected` reads."""
    return {
        "files": [asdict(file) for file in expected.files],
        "layers": list(expected.layers),
        "checks": [dump_check(check) for check in expected.checks],
    }


def parse_check(stored: CheckStatement) -> Check:
    """A check from its JSON, where the known values have the key ``figures``.

    Raises:
        ValueError: Its values do not fit each other.
    """
    name = stored.name
    sequences = _parse_sequences(stored)
    quantities = MEASURES[stored.measure]
    values = {quantity: _parse_known(name, known) for quantity, known in stored.figures.items()}
    num_values = len(stored.tokens) if stored.measure == "logits" else len(sequences)
    if not values or not set(values) <= set(quantities):
        raise ValueError(f"{name!r}: expected values of {', '.join(quantities)}")
    for quantity, known in values.items():
        if isinstance(known, list) and len(known) != num_values:
            raise ValueError(f"{name!r}: {len(known)} known values for {num_values} measured ones")
        if quantity not in stored.bands:
            raise ValueError(f"{name!r}: {quantity} has no bands")
    if not stored.tokens.isascii() or (stored.measure == "logits" and len(sequences) != 1):
        raise ValueError(f"{name!r}: logits need one sequence, and tokens of one byte each")
    return Check(
        name=name,
        measure=stored.measure,
        sequences=sequences,
        num_short=stored.num_short,
        rounding=stored.rounding,
        arithmetic=Arithmetic(stored.dtype, stored.fp8, stored.device_class),
        values=values,
        bands=stored.bands,
        source=stored.source,
        tokens=stored.tokens,
    )


def _parse_sequences(stored: CheckStatement) -> tuple[str, ...]:
    """The sequences of a check: those that come with the package, by their name, or a list.

    Raises:
        ValueError: There is no such name, or no sequence, or one is not ASCII.
    """
    found = stored.sequences
    if isinstance(found, str):
        named = published_sequences()
        if found not in named:
            raise ValueError(f"{stored.name!r}: {found!r} is none of {', '.join(named)}")
        return named[found]
    listed = found if isinstance(found, list) else []
    sequences = tuple(one for one in listed if isinstance(one, str) and one and one.isascii())
    if not sequences or len(sequences) != len(listed):
        raise ValueError(f"{stored.name!r} has no sequences, or one that is not a text of letters")
    return sequences


def _parse_known(name: str, known: JsonValue) -> float | list[float]:
    """A known value, or a list of them.

    Raises:
        ValueError: It is something else.
    """
    values = [
        float(number)
        for number in (known if isinstance(known, list) else [known])
        if isinstance(number, int | float)
        and not isinstance(number, bool)
        and abs(number) <= LARGEST_VALUE
    ]
    if len(values) != (len(known) if isinstance(known, list) else 1):
        raise ValueError(f"{name!r}: expected numbers, got {shown(json.dumps(known))}")
    return values if isinstance(known, list) else values[0]


def dump_check(check: Check) -> dict[str, Any]:
    """The JSON of a check. Sequences that come with the package are stored by name."""
    named = {sequences: name for name, sequences in published_sequences().items()}
    return {
        "name": check.name,
        "measure": check.measure,
        "sequences": named.get(check.sequences, list(check.sequences)),
        "tokens": check.tokens,
        "num_short": check.num_short,
        "rounding": check.rounding,
        **asdict(check.arithmetic),
        "figures": dict(check.values),
        "bands": {quantity: list(band) for quantity, band in check.bands.items()},
        "source": check.source,
    }
