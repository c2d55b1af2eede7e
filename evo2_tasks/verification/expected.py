"""Figures that a model is known to give, and whether what it gave here agrees with them.

Without torch; `verify_task` runs the model.
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

FIGURES = Path(__file__).parent / "published" / "figures.json"
PROMPTS = Path(__file__).parent / "published" / "prompts.csv"

Band = Literal["same", "other", "outside"]
STATUSES = {"same": "same_arithmetic", "other": "other_arithmetic", "outside": "failed"}
NOT_VERIFIED = "not_verified"
MEASURES = {"scores": ("score",), "predictions": ("loss", "accuracy"), "logits": ("logit",)}
"""What can be measured, with the quantities that come of it."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How numbers were made: two that were made alike are alike to the last digits."""

    dtype: str
    fp8: str
    device_class: str


@dataclass(frozen=True, slots=True)
class Check:
    """A measure of a model on some sequences, and what is known to come of it.

    Attributes:
        name: As the table says it.
        measure: What is measured, a key of `MEASURES`.
        sequences: What the model reads.
        tokens: For ``logits``, which.
        num_short: How many of the sequences, from the first, make the short form; 0 for none.
        rounding: Of the logits, ``float32`` or, as the reference does, ``bfloat16``.
        arithmetic: How the figures were made.
        figures: By quantity: one for each value, or a single one for their mean.
        bands: By quantity: how far from the figures the same arithmetic may be, and another one.
        source: Where the figures are from.
    """

    name: str
    measure: str
    sequences: tuple[str, ...]
    num_short: int
    rounding: str
    arithmetic: Arithmetic
    figures: Mapping[str, float | Sequence[float]]
    bands: Mapping[str, tuple[float, float]]
    source: str
    tokens: str = ""

    def shortened(self) -> Self:
        """The check on its first sequences alone."""
        cut = slice(self.num_short)
        figures = {
            quantity: figure if isinstance(figure, float) or self.tokens else figure[cut]
            for quantity, figure in self.figures.items()
        }
        return replace(self, sequences=self.sequences[cut], figures=figures)

    def judge(self, measured: Mapping[str, Sequence[float]], here: Arithmetic) -> "list[Finding]":
        """Compare what was measured with the figures.

        Figures that were made by the very arithmetic of this run leave no room for another one:
        only the first band is left.

        Args:
            measured: Values by quantity.
            here: How they were made.
        """
        findings = []
        for quantity, figure in self.figures.items():
            values = measured[quantity]
            if isinstance(figure, float):
                difference = abs(fmean(values) - figure)
            else:
                difference = max(abs(a - b) for a, b in zip(values, figure, strict=True))
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
    """How far a quantity is from its figures.

    Attributes:
        check: Name of the check.
        quantity: What was measured.
        difference: From a single figure, or the largest of several; None if it is not finite.
        same: How large it may be by the same arithmetic.
        other: How large it may be by another one, or by any that this run may be.
        band: Which of the two it met.
    """

    check: str
    quantity: str
    difference: float | None
    same: float
    other: float
    band: Band


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a model.

    Attributes:
        name: Of the model or of the file that says so.
        files: Its files; none if that is not known.
        checks: Its figures.
        layers: Digest of the tensors of each layer in the dtype of the figures; empty if unknown.
    """

    name: str
    files: tuple[HubFile, ...]
    checks: tuple[Check, ...]
    layers: tuple[str, ...] = ()


def status_of(findings: Sequence[Finding]) -> str:
    """The worst of the findings, as a word; ``not_verified`` where there are none."""
    bands = {finding.band for finding in findings}
    worst = next((band for band in reversed(STATUSES) if band in bands), None)
    return NOT_VERIFIED if worst is None else STATUSES[worst]


@cache
def published_sequences() -> dict[str, tuple[str, ...]]:
    """The sequences that published figures are of, by name."""
    with PROMPTS.open(encoding="utf-8-sig", newline="") as file:
        prompts = tuple(row["Sequence"] for row in csv.DictReader(file))
    sequences = json.loads(FIGURES.read_bytes())["sequences"]
    return {"prompts": prompts} | {name: tuple(values) for name, values in sequences.items()}


def read_published(release: str) -> Expected:
    """What is published of a release; nothing of some."""
    checks = json.loads(FIGURES.read_bytes())["releases"].get(release, [])
    files = [one.files for one in published_releases() if one.model == release]
    return Expected(
        name=release,
        files=files[0] if files else (),
        checks=tuple(map(parse_check, checks)),
    )


def read_expected(file: Path) -> Expected:
    """What ``verify --write-expected`` wrote.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    values = read_json(file)
    try:
        return Expected(
            name=file.name,
            files=tuple(HubFile(**known) for known in values["files"]),
            checks=tuple(map(parse_check, values["checks"])),
            layers=tuple(values["layers"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown_path(file)}: no figures to compare with ({type(error).__name__}: {error}). "
            "Expected what `evo2-tasks verify --write-expected` writes."
        ) from error


def dump_expected(expected: Expected) -> dict[str, Any]:
    """What `read_expected` reads, as JSON."""
    return {
        "files": [asdict(file) for file in expected.files],
        "layers": list(expected.layers),
        "checks": [dump_check(check) for check in expected.checks],
    }


def parse_check(values: Mapping[str, Any]) -> Check:
    """A check from its JSON.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    named = published_sequences()
    sequences = values["sequences"]
    sequences = named[sequences] if isinstance(sequences, str) else tuple(sequences)
    quantities = MEASURES[values["measure"]]
    figures = {
        quantity: [*map(float, figure)] if isinstance(figure, list) else float(figure)
        for quantity, figure in values["figures"].items()
    }
    bands = {
        quantity: (float(same), float(other)) for quantity, (same, other) in values["bands"].items()
    }
    num_values = len(values["tokens"]) if values["measure"] == "logits" else len(sequences)
    if not sequences or not figures or not set(figures) <= set(quantities):
        raise ValueError(f"{values['name']!r} has no sequences, or figures of what it is not")
    for quantity, figure in figures.items():
        if isinstance(figure, list) and len(figure) != num_values:
            raise ValueError(f"{values['name']!r}: {len(figure)} figures for {num_values} values")
        if quantity not in bands:
            raise ValueError(f"{values['name']!r}: {quantity} has no bands")
    return Check(
        name=str(values["name"]),
        measure=values["measure"],
        sequences=sequences,
        num_short=int(values["num_short"]),
        rounding=values["rounding"],
        arithmetic=Arithmetic(values["dtype"], values["fp8"], values["device_class"]),
        figures=figures,
        bands=bands,
        source=str(values["source"]),
        tokens=values.get("tokens", ""),
    )


def dump_check(check: Check) -> dict[str, Any]:
    """The JSON of a check; sequences that come with the package by their name."""
    named = {sequences: name for name, sequences in published_sequences().items()}
    return {
        "name": check.name,
        "measure": check.measure,
        "sequences": named.get(check.sequences, list(check.sequences)),
        "tokens": check.tokens,
        "num_short": check.num_short,
        "rounding": check.rounding,
        **asdict(check.arithmetic),
        "figures": dict(check.figures),
        "bands": {quantity: list(band) for quantity, band in check.bands.items()},
        "source": check.source,
    }
