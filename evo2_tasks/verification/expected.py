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
from typing import Any, Literal, Self

from evo2_tasks.errors import InputError
from evo2_tasks.hub import HubFile, published_releases
from evo2_tasks.io.files import read_json
from evo2_tasks.io.words import shown_path

VALUES = Path(__file__).parent / "published" / "values.json"
PROMPTS = Path(__file__).parent / "published" / "prompts.csv"

Band = Literal["same", "other", "outside"]
STATUSES = {"same": "same_arithmetic", "other": "other_arithmetic", "outside": "failed"}
NOT_VERIFIED = "not_verified"
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
        checks=tuple(map(parse_check, checks)),
    )


def read_expected(file: Path) -> Expected:
    """Read a file of ``verify --write-expected``.

    Raises:
        InputError: The file cannot be read, or has another content.
    """
    stored = read_json(file)
    try:
        return Expected(
            name=file.name,
            files=tuple(HubFile(**known) for known in stored["files"]),
            checks=tuple(map(parse_check, stored["checks"])),
            layers=tuple(stored["layers"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown_path(file)}: not a file of expected values ({type(error).__name__}: {error}). "
            "Give a file that `evo2-tasks verify --write-expected` wrote."
        ) from error


def dump_expected(expected: Expected) -> dict[str, Any]:
    """The JSON that `read_expected` reads."""
    return {
        "files": [asdict(file) for file in expected.files],
        "layers": list(expected.layers),
        "checks": [dump_check(check) for check in expected.checks],
    }


def parse_check(stored: Mapping[str, Any]) -> Check:
    """A check from its JSON, where the known values have the key ``figures``.

    Raises:
        KeyError, TypeError, ValueError: It is not the JSON of a check.
    """
    named = published_sequences()
    name, sequences = stored["name"], stored["sequences"]
    sequences = named[sequences] if isinstance(sequences, str) else tuple(sequences)
    quantities = MEASURES[stored["measure"]]
    values = {
        quantity: [*map(float, known)] if isinstance(known, list) else float(known)
        for quantity, known in stored["figures"].items()
    }
    bands = {
        quantity: (float(same), float(other)) for quantity, (same, other) in stored["bands"].items()
    }
    num_values = len(stored["tokens"]) if stored["measure"] == "logits" else len(sequences)
    if not sequences:
        raise ValueError(f"{name!r} has no sequences")
    if not values or not set(values) <= set(quantities):
        raise ValueError(f"{name!r}: expected values of {', '.join(quantities)}")
    for quantity, known in values.items():
        if isinstance(known, list) and len(known) != num_values:
            raise ValueError(f"{name!r}: {len(known)} known values for {num_values} measured ones")
        if quantity not in bands:
            raise ValueError(f"{name!r}: {quantity} has no bands")
    return Check(
        name=str(name),
        measure=stored["measure"],
        sequences=sequences,
        num_short=int(stored["num_short"]),
        rounding=stored["rounding"],
        arithmetic=Arithmetic(stored["dtype"], stored["fp8"], stored["device_class"]),
        values=values,
        bands=bands,
        source=str(stored["source"]),
        tokens=stored.get("tokens", ""),
    )


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
