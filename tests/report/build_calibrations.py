"""Calibrations made by hand: the files of ``fit_calibration`` and ``calibrate``.

The numbers follow from normal distributions, not from the code that the workflow uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import BACKGROUND, CALIBRATED, CALIBRATION, CALIBRATIONS, FOLDS, RATIOS
from evo2_tasks.table.calibration_schema import (
    ALL_STRATA,
    background_schema,
    calibrated_schema,
    calibration_schema,
    folds_schema,
    make_calibrated_part,
    ratios_schema,
)
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import PREFIX, Provenance, canonical_json
from tests.evaluation.build import CARRY, LABELS, Columns, nullable, write_page, write_scoring
from tests.table.build import signature

STRENGTHS = {"supporting": 1, "moderate": 2, "strong": 4, "very_strong": 8}
KIND = {"labels": LABELS["labels"], "carry": ["PLACE"]}
POINTS = (-8, -4, -3, -2, -1, 0, 1, 2, 3, 4, 8)
TOO_FEW = "fewer than 100 labelled rows of both kinds together have this score"

SIZES: dict[str | None, int] = {"tRNA": 300, "coding": 2_000, "rRNA": 60, None: 40}


@dataclass
class Made:
    """A calibration.

    Attributes:
        name: Its name.
        background: Scores by stratum, None for alleles without one; empty without a background.
        by: What the strata are made from.
        column: Column of the table that holds the stratum of a row.
        has_labels: Whether it has likelihood ratios.
        gap: Distance between the positive and the negative mean, in standard deviations.
        reason: Why no strength is reached.
        num_scores: Scores with a likelihood ratio.
        settings: Settings of ``fit_calibration`` that it states; None states none.
        stated: Changes of what it states.
    """

    name: str = "common"
    background: Mapping[str | None, Sequence[float]] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    column: str | None = None
    has_labels: bool = True
    gap: float = 2.0
    reason: str | None = None
    num_scores: int = 1_500
    settings: dict[str, Any] | None = None
    stated: dict[str, Any] = field(default_factory=dict)

    def find_ratio(self, scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Likelihood ratio of N(-gap, 1) to N(0, 1)."""
        return np.asarray(np.exp((scores**2 - (scores + self.gap) ** 2) / 2))

    def config(self) -> dict[str, Any]:
        """Keys of the config that describe it."""
        return {
            **({"background": "earlier.parquet", "by": [*self.by]} if self.background else {}),
            **({"set": "v", "label": "KIND"} if self.has_labels else {}),
        }

    def statement(self) -> dict[str, Any]:
        stated: dict[str, Any] = {
            "name": self.name, "score": "llr", "harmful": "low", "by": list(self.by),
            "num_background": sum(map(len, self.background.values())) if self.background else None,
        }  # fmt: skip
        if self.has_labels:
            stated |= {
                "label": "KIND", "definition": "positive: bad; negative: good", "num_positive": 80,
                "num_negative": 320, "prior": 0.1, "c": 350, "draws": 10_000, "seed": 0,
                "folds": 10, "fold_kind": "block", "reason": self.reason,
            }  # fmt: skip
        return stated | self.stated


def normal(size: int, seed: int = 3) -> list[float]:
    """Scores of a background."""
    found: list[float] = np.random.default_rng(seed).normal(-0.2, 1, size).tolist()
    return found


def stratified(**changes: Any) -> Made:
    """A calibration whose background is divided, with one stratum that is too small."""
    background = {name: normal(size, size) for name, size in SIZES.items()}
    return Made(background=background, by=("PLACE",), column="PLACE", **changes)


def write_calibration(
    results: Path, made: Made, scoring: str = "one", *, labelled: Path | None = None
) -> Path:
    """Write the four files of a calibration into a results folder.

    Args:
        results: The folder.
        made: The calibration.
        scoring: Name of the scoring.
        labelled: The table with its labels.
    """
    folder = results / CALIBRATIONS / made.name / scoring
    folder.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, str] = {}
    if labelled is not None:
        inputs["labelled"] = digest_file(labelled)
    strengths: list[dict[str, Any]] = []
    for direction, sign in (("harmful", 1), ("benign", -1)):
        for strength, points in STRENGTHS.items() if made.has_labels else ():
            lr = 350 ** (sign * points / 8)
            is_reached = made.reason is None and points < 8
            threshold = -(math.log(lr) / made.gap + made.gap / 2)
            odds = lr / 9
            strengths.append({
                "direction": direction, "strength": strength, "points": sign * points,
                "posterior": odds / (1 + odds), "lr": lr,
                "threshold": None if made.reason else threshold,
                "bound": threshold - 0.3 * sign if is_reached else None,
                "share_without": None if made.reason else 0.0 if is_reached else 0.31,
                "reached": is_reached,
                "reason": None if is_reached else
                made.reason or "31 % of the draws are without a threshold",
            })  # fmt: skip
    background = [
        {"stratum": stratum, "score": score}
        for stratum, scores in sorted(
            made.background.items(), key=lambda one: (one[0] is None, one[0] or "")
        )
        for score in sorted(scores)
    ]
    ratios = []
    if made.has_labels and not made.reason:
        for fold in (None, 0, 1):
            scores = np.linspace(-6, 3, made.num_scores)
            lr = made.find_ratio(scores)
            lr[: made.num_scores // 300] = np.nan  # null is infinite
            lr[len(lr) - made.num_scores // 300 :] = 0.0
            ratios += [
                {"fold": fold, "score": score}
                | dict(
                    zip(
                        ("lr", "lr_low", "lr_high"),
                        nullable(one * np.array([1, 0.5, 2])),
                        strict=True,
                    )
                )
                for score, one in zip(scores.tolist(), lr, strict=True)
            ]
    for name, schema, rows in (
        (BACKGROUND, background_schema(), background),
        (RATIOS, ratios_schema(), ratios),
        (FOLDS, folds_schema(), []),
        (CALIBRATION, calibration_schema(), strengths),
    ):
        provenance = Provenance(
            signature(), "0.1.0", "evo2-mini", settings=made.settings, inputs=inputs
        )
        statement = {PREFIX + "calibration": canonical_json(made.statement())}
        metadata = provenance.metadata() | statement
        with write_table(folder / name, schema, metadata=metadata) as writer:
            writer.write_columns({key: [row[key] for row in rows] for key in schema.names})
        inputs[name] = digest_file(folder / name)
    return folder / CALIBRATION


def write_calibrated(
    table: Path, calibrations: Sequence[Made], files: Mapping[str, Path]
) -> pd.DataFrame:
    """Write ``calibrated.parquet`` next to a table, and give its rows.

    Args:
        table: The table.
        calibrations: Its calibrations.
        files: The ``calibration.parquet`` of each.
    """
    frame = pd.read_parquet(table)
    is_scored = frame["llr"].notna().to_numpy()
    columns: dict[str, list[Any]] = {key: frame[key].tolist() for key in ("record", "allele")}
    parts = []
    for made in calibrations:
        part = make_calibrated_part(
            made.name,
            has_background=bool(made.background),
            has_labels=made.has_labels,
            is_prefixed=len(calibrations) > 1,
        )
        parts.append(part)
        values = compare(frame, made)
        columns |= {
            column.name: [
                value if scored else None
                for value, scored in zip(values[name], is_scored, strict=True)
            ]
            for name, column in part.columns.items()
        }
    schema = calibrated_schema(parts)
    digests = {name: digest_file(file) for name, file in files.items()}
    metadata = Provenance(
        signature(), "0.1.0", "evo2-mini", source=digest_file(table), inputs=digests
    ).metadata()
    with write_table(table.with_name(CALIBRATED), schema, metadata=metadata) as writer:
        writer.write_columns(columns)
    return pd.read_parquet(table.with_name(CALIBRATED))


def compare(frame: pd.DataFrame, made: Made) -> dict[str, list[Any]]:
    """The columns of a calibration without their prefix, row by row."""
    scores = frame["llr"].to_numpy()
    everything = np.array([one for of in made.background.values() for one in of])
    values: dict[str, list[Any]] = {"stratum": [], "stratum_fallback": [], "quantile": [],
                                    "phred": []}  # fmt: skip
    own = frame[made.column].tolist() if made.column else [ALL_STRATA] * len(frame)
    for score, stratum in zip(scores, own, strict=True):
        alleles = np.array(made.background.get(stratum, ()))
        is_small = made.column is not None and len(alleles) < 100
        alleles = everything if is_small or made.column is None else alleles
        values["stratum"].append(ALL_STRATA if is_small else stratum)
        values["stratum_fallback"].append(is_small)
        if not len(alleles) or np.isnan(score):
            values["quantile"].append(None)
            values["phred"].append(None)
            continue
        below, equal = (alleles < score).sum(), (alleles == score).sum()
        edge = 1 / (2 * len(alleles))
        values["quantile"].append(
            float(np.clip((below + equal / 2) / len(alleles), edge, 1 - edge))
        )
        values["phred"].append(
            float(-10 * math.log10((below + equal + 1) / (len(alleles) + 1)) + 0.0)
        )
    lr = made.find_ratio(scores)
    has_lr = made.reason is None
    values["lr"] = lr.tolist() if has_lr else [None] * len(frame)
    values["lr_low"] = (lr / 2).tolist() if has_lr else [None] * len(frame)
    values["lr_high"] = (lr * 2).tolist() if has_lr else [None] * len(frame)
    values["evidence"] = [points_of(one) if has_lr else None for one in lr.tolist()]
    values["lr_reason"] = [None if has_lr else "too_few_labels"] * len(frame)
    return values


def write_calibrated_page(
    results: Path,
    columns: Columns,
    calibrations: Sequence[Made],
    *,
    carry: Sequence[CarryField] = CARRY,
) -> tuple[Path, pd.DataFrame]:
    """Write a labelled table, its calibrations and its page.

    Returns:
        The page, and the rows of the table with the calibrated columns.
    """
    folder = results / "v"
    table = write_scoring(folder / "one", columns, carry=carry)
    files = {
        made.name: write_calibration(results, made, labelled=table if made.has_labels else None)
        for made in calibrations
    }
    made_columns = write_calibrated(table, calibrations, files)
    page = write_page(folder, made={one.name: one.config() for one in calibrations}, **KIND)
    keys = ["record", "allele"]
    return page, pd.read_parquet(table).merge(made_columns, on=keys, how="left")


def points_of(lr: float) -> int:
    """Points of a likelihood ratio whose bounds are its half and its double."""
    reached = [one for one in POINTS if one > 0 and lr / 2 >= 350 ** (one / 8)]
    reached += [one for one in POINTS if one < 0 and lr * 2 <= 350 ** (one / 8)]
    return max(reached, key=abs, default=0)
