"""The scores of a set among those of a background, its quantiles and its points, all counted.

The tables are read twice, piece by piece: first for the range of the scores and the sizes of the
strata, then for counts in bins, which depend on them. Memory grows with the number of strata, not
with the number of rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.evaluation.selection import NEGATIVE, POSITIVE, LabelSettings, Selection
from evo2_tasks.report.bins import FloatArray, IntArray, round_edges
from evo2_tasks.report.rows import name_rows
from evo2_tasks.table.calibrated import Calibrated, read_calibrated_rows
from evo2_tasks.table.calibration_schema import CalibratedPart
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.statistics import Distribution

SCORE_BINS: Final = 60
QUANTILE_BINS: Final = 20
OUTER_SHARE: Final = 0.001
"""Share of the scores at either end that may be beyond the axis."""

MOST_SINGLE: Final = 200
"""Most labelled alleles of a class that are shown one by one."""

MOST_STRATA: Final = 12
"""Most strata of a calibration whose scores are counted in bins: those with the most alleles."""

PHREDS: Final = (10, 20, 30)
"""Values of phred; the alleles that have at least this phred are counted."""

UNLABELLED: Final = "unlabelled"
CLASSES: Final = (POSITIVE, NEGATIVE, UNLABELLED)

StratumKey = str | None
"""A stratum of the background; None is the whole background, in the place of a small stratum."""

Classes = npt.NDArray[np.object_]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Counted:
    """A calibration whose columns are counted.

    Attributes:
        part: Its columns in the calibrated table.
        score: Column of the score.
        background: The file with the scores of the background; None without a background.
        has_strata: Whether the background is divided.
        label: The label of the set whose classes are shown; None without one.
    """

    part: CalibratedPart
    score: str
    background: Path | None
    has_strata: bool
    label: LabelSettings | None


@dataclass(slots=True)
class ScoreBins:
    """Scores of a background and of the set, in K bins with the same edges.

    Scores beyond the edges are counted in the outermost bins.

    Attributes:
        edges: Edges of the bins, nats. (K + 1,)
        background: Background alleles. (K,)
        alleles: Alleles of the set. (K,)
        classes: Labelled alleles of the set, by class. Each (K,)
        singles: Score and number in the table of the first labelled alleles of each class, at most
            ``MOST_SINGLE`` and one more.
    """

    edges: FloatArray
    background: IntArray = field(init=False)
    alleles: IntArray = field(init=False)
    classes: dict[str, IntArray] = field(init=False)
    singles: dict[str, list[tuple[float, int]]] = field(init=False)

    def __post_init__(self) -> None:
        num_bins = len(self.edges) - 1
        self.background, self.alleles = np.zeros((2, num_bins), dtype=np.int64)
        self.classes = {name: np.zeros(num_bins, dtype=np.int64) for name in (POSITIVE, NEGATIVE)}
        self.singles = {name: [] for name in self.classes}

    def add_background(self, scores: FloatArray) -> None:
        """Count more background alleles."""
        self.background += self._count(scores)

    def add(self, scores: FloatArray, classes: Classes, rows: IntArray) -> None:
        """Count more alleles of the set, with their classes and the numbers of their rows."""
        self.alleles += self._count(scores)
        for name, counts in self.classes.items():
            at = np.flatnonzero(classes == name)
            counts += self._count(scores[at])
            at = at[: MOST_SINGLE + 1 - len(self.singles[name])]
            self.singles[name] += zip(scores[at].tolist(), rows[at].tolist(), strict=True)

    def has_few(self, name: str) -> bool:
        """Whether the labelled alleles of a class are few enough to show each."""
        return len(self.singles[name]) <= MOST_SINGLE

    def _count(self, scores: FloatArray) -> IntArray:
        num_bins = len(self.edges) - 1
        at = np.clip(np.searchsorted(self.edges, scores, side="right") - 1, 0, num_bins - 1)
        counts: IntArray = np.bincount(at, minlength=num_bins)
        return counts


@dataclass(slots=True)
class CalibratedScores:
    """The alleles of a set, counted by what a calibration made of them.

    Attributes:
        label: The label whose classes are counted; None without one.
        num_rows: Alleles.
        scored: Alleles with the score, by class.
        num_background: Alleles of the background.
        background_strata: These by stratum; empty without strata. None are those without one.
        strata: Alleles of the set by the stratum that they are compared with; empty without
            strata.
        median: Median of the scores of the set, nats; None without a score.
        background_median: Median of those of the background; None without a score.
        whole: All scores in bins; None if no allele of the set has the score.
        by_stratum: The scores of the largest strata in bins of the same range.
        quantiles: Alleles in ``QUANTILE_BINS`` equal parts of the quantiles, by class. Each
            (QUANTILE_BINS,)
        phreds: Alleles with at least each of ``PHREDS``, by class.
        points: Alleles by points, by class.
        reasons: Scored alleles without a likelihood ratio by reason, by class.
        names: What the plots call the alleles that they show one by one, by row.
    """

    label: LabelSettings | None
    num_rows: int = 0
    scored: Counter[str] = field(default_factory=Counter)
    num_background: int = 0
    background_strata: Counter[StratumKey] = field(default_factory=Counter)
    strata: Counter[StratumKey] = field(default_factory=Counter)
    median: float | None = None
    background_median: float | None = None
    whole: ScoreBins | None = None
    by_stratum: dict[StratumKey, ScoreBins] = field(default_factory=dict)
    quantiles: dict[str, IntArray] = field(
        default_factory=lambda: {name: np.zeros(QUANTILE_BINS, np.int64) for name in CLASSES}
    )
    phreds: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in CLASSES}
    )
    points: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in CLASSES}
    )
    reasons: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in CLASSES}
    )
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def single_rows(self) -> set[int]:
        """Numbers of the rows that the plots show one by one."""
        bins = [*self.by_stratum.values(), *([self.whole] if self.whole is not None else [])]
        return {
            row
            for one in bins
            for name, singles in one.singles.items()
            if one.has_few(name)
            for _, row in singles
        }


def count_calibrated(
    table: Path, calibrated: Calibrated, counted: Sequence[Counted]
) -> list[CalibratedScores]:
    """Count the alleles of a table by what each of its calibrations made of them.

    Args:
        table: The table of scores.
        calibrated: Its calibrated columns.
        counted: The calibrations.

    Raises:
        InputError: A file is missing or broken, lacks a column, or has other alleles.
    """
    counts = [_Count(one, table) for one in counted]
    columns = list(dict.fromkeys(name for one in counts for name in one.columns))

    def read() -> Iterator[pa.Table]:
        batches = read_calibrated_rows(table, calibrated, columns)
        return (pa.Table.from_batches([batch]) for batch in batches)

    for rows in read():
        for one in counts:
            one.add_first(rows)
    for one in counts:
        one.start_bins()
    first_row = 0
    for rows in read():
        for one in counts:
            one.add(rows, first_row)
        first_row += rows.num_rows
    found = [one.found for one in counts]
    singles = {row for scores in found for row in scores.single_rows}
    names = name_rows(table, singles)
    for scores in found:
        scores.num_rows = first_row
        scores.names = names
    return found


class _Count:
    """Counts the alleles of one calibration."""

    def __init__(self, of: Counted, source: Path) -> None:
        self.of = of
        self.found = CalibratedScores(of.label)
        self._range, self._background_range = Distribution(), Distribution()
        self._selection = Selection(of.label, source) if of.label is not None else None

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        fields = self.of.label.fields if self.of.label is not None else []
        made = [column.name for column in self.of.part.columns.values()]
        return [self.of.score, *fields, *made]

    def add_first(self, rows: pa.Table) -> None:
        """Add rows to the range of the scores and the sizes of the strata."""
        scores = _numbers(rows, self.of.score)
        is_scored = np.isfinite(scores)
        self._range.add(scores[is_scored])
        if self.of.has_strata:
            self.found.strata.update(_tally(*self._strata(rows), is_scored))

    def start_bins(self) -> None:
        """Read the background, and make the bins for nearly all scores.

        A few extreme scores do not stretch the axis.
        """
        for (keys, codes), scores in self._read_background():
            self._background_range.add(scores)
            if self.of.has_strata:
                everything = np.ones(len(scores), dtype=np.bool_)
                self.found.background_strata.update(_tally(keys, codes, everything))
        ranges = [one for one in (self._range, self._background_range) if one.count]
        self.found.num_background = self._background_range.count
        self.found.median, self.found.background_median = (
            one.quantile(0.5) if one.count else None
            for one in (self._range, self._background_range)
        )
        if not self._range.count:
            return
        self.found.whole = ScoreBins(_make_edges(ranges, max(one.count for one in ranges)))
        largest = sorted(self.found.strata.items(), key=lambda one: (-one[1], one[0] or ""))
        for key, number in largest[:MOST_STRATA]:
            # A small stratum is compared with the whole background.
            of_key = self.found.num_background if key is None else self.found.background_strata[key]
            self.found.by_stratum[key] = ScoreBins(_make_edges(ranges, max(number, of_key)))
        for (keys, codes), scores in self._read_background():
            self.found.whole.add_background(scores)
            for key, bins in self.found.by_stratum.items():
                bins.add_background(scores if key is None else scores[_has_key(keys, codes, key)])

    def add(self, rows: pa.Table, first_row: int) -> None:
        """Count rows; ``first_row`` is the number of the first of them in the table."""
        scores = _numbers(rows, self.of.score)
        is_scored = np.isfinite(scores)
        classes = self._classes(rows)
        self.found.scored.update(classes[is_scored].tolist())
        numbers = first_row + np.arange(rows.num_rows)
        if self.found.whole is not None:
            self.found.whole.add(scores[is_scored], classes[is_scored], numbers[is_scored])
        if self.found.by_stratum:
            keys, codes = self._strata(rows)
            for key, bins in self.found.by_stratum.items():
                at = np.flatnonzero(is_scored & _has_key(keys, codes, key))
                bins.add(scores[at], classes[at], numbers[at])
        if self.of.part.has_background:
            self._count_quantiles(rows, classes)
        if self.of.part.has_labels:
            self._count_points(rows, classes)

    def _count_quantiles(self, rows: pa.Table, classes: Classes) -> None:
        quantiles, phreds = (self._made(rows, name) for name in ("quantile", "phred"))
        for name in CLASSES:
            is_class = classes == name
            inside = quantiles[is_class & np.isfinite(quantiles)]
            at = np.minimum((inside * QUANTILE_BINS).astype(np.int64), QUANTILE_BINS - 1)
            self.found.quantiles[name] += np.bincount(at, minlength=QUANTILE_BINS)
            for phred in PHREDS:
                self.found.phreds[name][phred] += int((phreds[is_class] >= phred).sum())

    def _count_points(self, rows: pa.Table, classes: Classes) -> None:
        points = rows[self.of.part.columns["evidence"].name]
        reasons = rows[self.of.part.columns["lr_reason"].name]
        for name in CLASSES:
            is_class = pa.array(classes == name)
            for counter, column in (
                (self.found.points[name], points), (self.found.reasons[name], reasons),
            ):  # fmt: skip
                values = column.filter(is_class).drop_null()
                for one in pc.value_counts(values).to_pylist():
                    counter[one["values"]] += one["counts"]

    def _made(self, rows: pa.Table, name: str) -> FloatArray:
        return _numbers(rows, self.of.part.columns[name].name)

    def _classes(self, rows: pa.Table) -> Classes:
        """The class of each row."""
        classes = np.full(rows.num_rows, UNLABELLED, dtype=object)
        if self._selection is not None:
            keep, is_positive = self._selection.choose(rows)
            classes[keep] = np.where(is_positive, POSITIVE, NEGATIVE)
        return classes

    def _strata(self, rows: pa.Table) -> tuple[list[StratumKey], IntArray]:
        """The strata that rows are compared with, and the number of each row's stratum."""
        keys, codes = _encode(rows[self.of.part.columns["stratum"].name])
        fallback = pc.fill_null(rows[self.of.part.columns["stratum_fallback"].name], False)
        return [*keys, None], np.where(fallback.to_numpy(), len(keys), codes)

    def _read_background(self) -> Iterator[tuple[tuple[list[StratumKey], IntArray], FloatArray]]:
        """The strata and the scores of the background; nothing without a background."""
        if self.of.background is None:
            return
        for batch in read_rows(self.of.background, ["stratum", "score"]):
            rows = pa.Table.from_batches([batch])
            keys, codes = _encode(rows["stratum"])
            yield ([*keys, None], np.where(codes < 0, len(keys), codes)), _numbers(rows, "score")


def _make_edges(ranges: Sequence[Distribution], num_rows: int) -> FloatArray:
    """Edges of bins for nearly all numbers of some distributions.

    Args:
        ranges: The distributions.
        num_rows: Rows that will be counted: with few rows, many bins would be a comb.
    """
    ends = []
    for one in ranges:
        low, high = one.quantile(OUTER_SHARE), one.quantile(1 - OUTER_SHARE)
        margin = 0.1 * (high - low)
        ends.append((max(one.minimum, low - margin), min(one.maximum, high + margin)))
    most_bins = min(SCORE_BINS, 2 * math.ceil(math.sqrt(num_rows)))
    return round_edges(min(low for low, _ in ends), max(high for _, high in ends), most_bins)


def _numbers(rows: pa.Table, name: str) -> FloatArray:
    """A column of numbers; NaN for a missing value."""
    values: FloatArray = rows[name].to_numpy().astype(np.float64, copy=False)
    return values


def _encode(column: pa.ChunkedArray) -> tuple[list[str], IntArray]:
    """The distinct texts of a column, and the number of each row's text; -1 for a missing one."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode()
    codes: IntArray = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.astype(np.int64)


def _has_key(keys: Sequence[StratumKey], codes: IntArray, key: StratumKey) -> BoolArray:
    """Whether each row has a stratum."""
    has_key: BoolArray = codes == (keys.index(key) if key in keys else -2)
    return has_key


def _tally(keys: Sequence[StratumKey], codes: IntArray, keep: BoolArray) -> dict[StratumKey, int]:
    """The number of kept rows of each stratum that occurs."""
    kept = codes[keep & (codes >= 0)]
    counts = np.bincount(kept, minlength=len(keys)).tolist()
    return {key: number for key, number in zip(keys, counts, strict=True) if number}
