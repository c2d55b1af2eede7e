"""What ``show`` prints about the files of ``fit_calibration`` and ``calibrate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_counts,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.evaluation.labelled_windows import describe_windows
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import LONG, shown_path
from evo2_tasks.table.calibrated import Calibrated
from evo2_tasks.table.calibration_schema import CalibratedPart, calibration_schema
from evo2_tasks.table.documents import Calibration
from evo2_tasks.table.parquet import count_rows, open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import read_object, read_provenance
from evo2_tasks.table.statistics import Distribution

NOT_CLINICAL: Final = "evidence strength by the published method; not for clinical use"

MOST_STRATA: Final = 20
"""Most strata that are listed; the others are counted together."""

_WORDS: Final[Mapping[str, str]] = {
    "score": "score",
    "harmful": "harmful end",
    "by": "strata by",
    "num_background": "background alleles",
    "label": "label",
    "definition": "definition",
    "num_positive": "positive rows",
    "num_negative": "negative rows",
    "prior": "prior",
    "c": "c",
    "draws": "draws",
    "seed": "seed",
    "folds": "folds",
    "fold_kind": "folds of",
    "reason": "no strength",
}
"""What ``show`` calls the values of a calibration."""


@dataclass(slots=True)
class PartStatistics:
    """Counts and quantiles of the columns of a calibration.

    Attributes:
        counts: Rows by value, by the column's name without a prefix. Only columns that are no
            floats are counted.
        phred: Distribution of ``phred``.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    phred: Distribution = field(default_factory=Distribution)

    def add(self, part: CalibratedPart, rows: pa.RecordBatch) -> None:
        """Count more rows."""
        for name, column in part.columns.items():
            values = rows.column(column.name).drop_null()
            if name == "phred":
                self.phred.add(values.to_numpy())
            elif not pa.types.is_floating(column.type):
                counts = self.counts.setdefault(name, Counter())
                for one in pc.value_counts(values).to_pylist():
                    counts[str(one["values"])] += one["counts"]


def is_calibration_file(source: Path) -> bool:
    """Whether a Parquet file has the columns of ``calibration.parquet``.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        names: list[str] = file.schema_arrow.names
    expected: list[str] = calibration_schema().names
    return names == expected


def show_calibration(file: Path) -> Iterator[str]:
    """Describe a calibration: what it was made from, and its thresholds.

    Args:
        file: The ``calibration.parquet``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken.
    """
    provenance = read_provenance(file)
    stated = read_object(file, read_metadata(file), "calibration")
    yield shown_path(file)
    pairs = {}
    if stated is not None:
        calibration = Calibration.parse(stated, shown_path(file))
        pairs = {"calibration": escape_text(calibration.name), **_describe(calibration)}
    yield from format_pairs(
        {
            **pairs,
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
        }
    )
    yield ""
    if not count_rows(file):
        yield "no strengths: the calibration has no labels"
        return
    yield f"thresholds of the {NOT_CLINICAL}"
    rows = format_rows(read_rows(file), calibration_schema().names, widest=LONG)
    yield from (f"  {line}" for line in rows)


def _describe(calibration: Calibration) -> dict[str, str]:
    values: dict[str, Any] = calibration.model_dump(mode="json")
    texts = {}
    for key, words in _WORDS.items():
        value = values[key]
        match value:
            case None | []:
                continue
            case str():
                texts[words] = escape_text(value)
            case list():
                texts[words] = escape_text(" | ".join(value))
            case _:
                texts[words] = f"{value:,.12g}"
    if calibration.label is not None:
        texts["windows"] = describe_windows(calibration.num_background)
    return texts


def show_calibrated(calibrated: Calibrated, *, is_alone: bool = True) -> Iterator[str]:
    """Describe the calibrated columns of a table.

    Args:
        calibrated: The file.
        is_alone: Whether the signature and the first rows are shown too, since the table is not.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken.
    """
    file, provenance = calibrated.path, calibrated.provenance
    statistics = {part.calibration: PartStatistics() for part in calibrated.parts}
    for batch in read_rows(file, calibrated.names):
        for part in calibrated.parts:
            statistics[part.calibration].add(part, batch)
    stated = read_object(file, read_metadata(file), "calibrations") or {}
    total = count_rows(file)
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{total:,}",
            "calibrations": ", ".join(part.calibration for part in calibrated.parts),
            "version": escape_text(provenance.version),
            **(flatten("", provenance.signature) if is_alone else {}),
        }
    )
    for part in calibrated.parts:
        yield ""
        yield f"calibration {part.calibration}"
        document = stated.get(part.calibration)
        if isinstance(document, Mapping):
            described = _describe(Calibration.parse(document, shown_path(file)))
            yield from format_pairs(described)
        yield from _show_part(part, statistics[part.calibration], total)
    if is_alone and total:
        yield ""
        names = ["record", "allele", *calibrated.names]
        yield from format_rows(islice(read_rows(file, names, batch_rows=FIRST_ROWS), 1), names)


def _show_part(part: CalibratedPart, statistics: PartStatistics, total: int) -> Iterator[str]:
    """The strata, quantiles and evidence of the rows of a table."""
    if part.has_background:
        strata = statistics.counts["stratum"].most_common()
        counts = {escape_text(name): number for name, number in strata[:MOST_STRATA]}
        if len(strata) > MOST_STRATA:
            others = sum(number for _, number in strata[MOST_STRATA:])
            counts[f"{len(strata) - MOST_STRATA:,} other strata"] = others
        yield from format_counts("rows by stratum", counts, total)
        fallback = statistics.counts["stratum_fallback"]["True"]
        yield f"  {fallback:,} compared with all because their stratum is small, or they have none"
        if statistics.phred.count:
            yield from format_quantiles("phred", statistics.phred)
    if part.has_labels:
        points = statistics.counts["evidence"]
        counts = {
            f"{int(value):+d}".replace("+0", "0"): points[value]
            for value in sorted(points, key=int)
        }
        yield from format_counts(f"rows by points ({NOT_CLINICAL})", counts, total)
        if statistics.counts["lr_reason"]:
            found = statistics.counts["lr_reason"].most_common()
            reasons = {escape_text(name): number for name, number in found}
            yield from format_counts("scored rows without a likelihood ratio", reasons, total)
