"""Summary of a table of scores for the report.

The table is read twice, piece by piece: first for counts, ranges and extreme scores, then for bins
and samples, which depend on them. Then the rows that the page names are read. Memory grows with the
number of contigs, not with the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.alleles import variant_type
from evo2_tasks.report.bins import Histogram, PairSample, PairSummary, round_edges
from evo2_tasks.report.contigs import ContigBins, Extent, RegionBins, find_regions
from evo2_tasks.report.rows import Row, fetch_rows, name_rows
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.schema import (
    ADDED_COLUMNS,
    ALL_SCORE_COLUMNS,
    FINAL_COLUMNS,
    annotation_columns,
    carried_names,
)
from evo2_tasks.table.statistics import Counts, Distribution

NUM_EXTREME: Final = 50
NUM_EXAMPLES: Final = 3
MOST_CONTIGS: Final = 24
HISTOGRAM_BINS: Final = 60
MOST_SINGLE: Final = 100
"""Most scored rows of a type that are shown one by one."""

OUTER_SHARE: Final = 0.001
"""Share of the rows at either end that may be beyond the axis of a histogram."""

SHOWN_ANNOTATIONS: Final = ("consequence", "gene", "amino_acids")
"""Columns of ``annotate`` in the tables of single alleles."""

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TYPES: Final = ("snv", "mnv", "insertion", "deletion", "indel")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_STRANDS: Final = ("llr_fwd", "llr_rev")
_INDELS: Final = ("llr", "llr_aligned")
_SECOND_COLUMNS: Final = ("contig", "pos", "ref", "alt", *_INDELS, *_STRANDS)
_FIRST_COLUMNS: Final = ("status", "reason", "flags", *_SECOND_COLUMNS)


@dataclass(frozen=True, slots=True)
class Singles:
    """The scored rows of a type that has few.

    Attributes:
        llr: Rising, nats. (N,)
        rows: Numbers of the rows in the table. (N,)
    """

    llr: FloatArray
    rows: IntArray


@dataclass(frozen=True, slots=True)
class TableSummary:
    """Summary of a table of scores.

    Attributes:
        counts: Rows by status, by reason and by flag.
        by_type: Scored rows by type of variant.
        llr: Distribution of ``llr``, nats.
        histogram: ``llr`` in bins, by type; None if no row is scored.
        singles: The rows of types with few rows.
        contigs: Regions of the contigs with the most scored rows, in the order of the table.
        num_contigs: Number of all contigs with scored rows.
        num_elsewhere: Scored rows on the other contigs.
        strands: ``llr_fwd`` with ``llr_rev``; None if no row has both.
        indels: ``llr`` with ``llr_aligned`` of the rows whose alleles differ in length; None if
            there are none.
        lowest: Rows with the lowest ``llr``, the lowest first.
        highest: Rows with the highest ``llr``, the highest first.
        examples: The first rows of each status, of each reason and of each flag.
        names: What the plots call the rows that they show one by one, by number in the table.
        carried: Names of the columns that are carried from the input.
        annotations: Names of the columns of ``annotate`` that tables of alleles show.
    """

    counts: Counts
    by_type: Mapping[str, int]
    llr: Distribution
    histogram: Histogram | None
    singles: Mapping[str, Singles]
    contigs: Sequence[ContigBins]
    num_contigs: int
    num_elsewhere: int
    strands: PairSummary | None
    indels: PairSummary | None
    lowest: Sequence[Row]
    highest: Sequence[Row]
    examples: Mapping[str, Sequence[Row]]
    names: Mapping[int, str]
    carried: Sequence[str]
    annotations: Sequence[str]


def summarize_table(table: Path) -> TableSummary:
    """Summarize a table in bounded memory.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    needed = [column.name for column in FINAL_COLUMNS if column.name not in ADDED_COLUMNS]
    with open_table(table, needed) as file:
        carried = carried_names(file.schema_arrow)
        made = {column.name for column in annotation_columns(file.schema_arrow)}
    annotations = [name for name in SHOWN_ANNOTATIONS if name in made]
    first = _FirstPass()
    for batch in read_rows(table, _FIRST_COLUMNS, added=ADDED_COLUMNS):
        first.add(batch)
    second = _SecondPass(first)
    for batch in read_rows(table, _SECOND_COLUMNS):
        second.add(batch)
    columns = [
        "record", "allele", "contig", "pos", "ref", "alt", "status", "flags", "llr", "llr_fwd",
        "llr_rev", "llr_allele_fwd", "llr_allele_rev",
        *annotations, *carried,
    ]  # fmt: skip
    ends = [*first.lowest.numbers, *first.highest.numbers]
    rows = fetch_rows(table, chain(ends, *first.examples.values()), columns)
    contigs, singles = second.bins.finish(), second.singles()
    strands, indels = second.strands.summarize(), second.indels.summarize()
    named = chain(
        *(bins.lowest_rows.tolist() for bins in contigs),
        *(one.rows.tolist() for one in singles.values()),
        *(second.histogram.rows if second.histogram else ()),
        *(pairs.named_rows for pairs in (strands, indels) if pairs),
    )
    return TableSummary(
        counts=first.counts,
        by_type=second.by_type,
        llr=first.llr,
        histogram=second.histogram,
        singles=singles,
        contigs=contigs,
        num_contigs=len(first.extents),
        num_elsewhere=first.llr.count - sum(bins.num_rows for bins in contigs),
        strands=strands,
        indels=indels,
        lowest=[rows[number] for number in first.lowest.numbers],
        highest=[rows[number] for number in first.highest.numbers],
        examples={name: [rows[n] for n in numbers] for name, numbers in first.examples.items()},
        names=name_rows(table, named),
        carried=carried,
        annotations=annotations,
    )


class _Extremes:
    """The rows with the lowest or the highest ``llr``, ties in the order of the table."""

    def __init__(self, *, is_highest: bool) -> None:
        self._sign = -1.0 if is_highest else 1.0
        self._values: FloatArray = np.empty(0)
        self._rows: IntArray = np.empty(0, dtype=np.int64)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the rows in the table, the most extreme first."""
        rows: list[int] = self._rows.tolist()
        return rows

    def add(self, llr: FloatArray, rows: IntArray) -> None:
        """Add more rows; none of them lacks an ``llr``."""
        values = self._sign * llr
        if len(values) > NUM_EXTREME:
            bound = np.partition(values, NUM_EXTREME - 1)[NUM_EXTREME - 1]
            rows, values = rows[values <= bound], values[values <= bound]
        values = np.concatenate([self._values, values])
        rows = np.concatenate([self._rows, rows])
        order = np.lexsort((rows, values))[:NUM_EXTREME]
        self._values, self._rows = values[order], rows[order]


@dataclass(slots=True)
class _FirstPass:
    """Counts, ranges of contigs, and the numbers of the rows to show."""

    counts: Counts = field(default_factory=Counts)
    llr: Distribution = field(default_factory=Distribution)
    extents: dict[str, Extent] = field(default_factory=dict)
    num_pairs: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys((_STRANDS, _INDELS), 0)
    )
    examples: dict[str, list[int]] = field(default_factory=dict)
    lowest: _Extremes = field(default_factory=lambda: _Extremes(is_highest=False))
    highest: _Extremes = field(default_factory=lambda: _Extremes(is_highest=True))

    def add(self, batch: pa.RecordBatch) -> None:
        """Add more rows."""
        first_row = self.counts.alleles
        self.counts.add(batch)
        llr = _numbers(batch, "llr")
        is_scored = np.isfinite(llr)
        self.llr.add(llr[is_scored])
        pos = _positions(batch)
        for contig, places in _places_by_contig(batch, is_scored).items():
            at = pos[places]
            self.extents.setdefault(contig, Extent(int(at[0]), int(at[0]))).add(at)
        for pair in self.num_pairs:
            self.num_pairs[pair] += int(_has_pair(batch, pair).sum())
        self._add_examples(batch, first_row)
        for extremes in (self.lowest, self.highest):
            extremes.add(llr[is_scored], first_row + np.flatnonzero(is_scored))

    def _add_examples(self, batch: pa.RecordBatch, first_row: int) -> None:
        for column in ("status", "reason"):
            names, codes = _categories(batch, column)
            self._add_first(names, codes, np.arange(first_row, first_row + batch.num_rows))
        flags = batch.column("flags")
        names, codes = _encode(pc.list_flatten(flags))
        self._add_first(names, codes, first_row + pc.list_parent_indices(flags).to_numpy())

    def _add_first(self, names: Sequence[str], codes: IntArray, rows: IntArray) -> None:
        for code, name in enumerate(names):
            known = self.examples.get(name, [])
            if len(known) < NUM_EXAMPLES:
                more = rows[np.flatnonzero(codes == code)[: NUM_EXAMPLES - len(known)]].tolist()
                if more:
                    self.examples[name] = known + more


class _SecondPass:
    """Bins and samples, whose ranges are known from the first reading."""

    def __init__(self, first: _FirstPass) -> None:
        self.by_type: dict[str, int] = {}
        self.histogram = _empty_histogram(first.llr)
        self.strands = PairSample(*_STRANDS, num_rows=first.num_pairs[_STRANDS])
        self.indels = PairSample(*_INDELS, num_rows=first.num_pairs[_INDELS])
        by_size = sorted(first.extents, key=lambda name: -first.extents[name].num_rows)
        largest = set(by_size[:MOST_CONTIGS])
        self.bins = RegionBins(
            region
            for name, extent in first.extents.items()
            if name in largest
            for region in find_regions(name, extent)
        )
        self._num_read = 0
        self._singles: dict[str, list[tuple[FloatArray, IntArray]]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Add more rows."""
        llr = _numbers(batch, "llr")
        is_scored = np.isfinite(llr)
        by_contig = _places_by_contig(batch, is_scored)
        self.bins.add(by_contig, _positions(batch), llr, self._num_read)
        numbers = self._num_read + np.arange(batch.num_rows)
        types = _types(batch, is_scored)
        for name in np.unique(types).tolist():
            self._add_type(name, llr[is_scored][types == name], numbers[is_scored][types == name])
        for sample in (self.strands, self.indels):
            rows = _has_pair(batch, (sample.x, sample.y))
            x, y = _numbers(batch, sample.x)[rows], _numbers(batch, sample.y)[rows]
            sample.add(x, y, numbers[rows])
        self._num_read += batch.num_rows

    def _add_type(self, name: str, llr: FloatArray, rows: IntArray) -> None:
        number = self.by_type.get(name, 0) + len(llr)
        self.by_type[name] = number
        if number > MOST_SINGLE:
            self._singles.pop(name, None)
        else:
            self._singles.setdefault(name, []).append((llr, rows))
        if self.histogram is not None:
            self.histogram.add(name, llr, rows)

    def singles(self) -> dict[str, Singles]:
        """The rows of types that have few, by type."""
        results = {}
        for name, pieces in self._singles.items():
            llr, rows = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
            order = np.lexsort((rows, llr))
            results[name] = Singles(llr[order], rows[order])
        return results


def _places_by_contig(batch: pa.RecordBatch, keep: npt.NDArray[np.bool_]) -> dict[str, IntArray]:
    """Places of the kept rows in the batch, by contig in the order of the rows."""
    names, codes = _categories(batch, "contig")
    places = np.flatnonzero(keep & (codes >= 0))
    places = places[np.argsort(codes[places], kind="stable")]
    used, starts = np.unique(codes[places], return_index=True)
    pieces = np.split(places, starts[1:]) if len(used) else []
    by_contig = zip(used.tolist(), pieces, strict=True)
    return {names[code]: rows for code, rows in sorted(by_contig, key=lambda pair: int(pair[1][0]))}


def _empty_histogram(llr: Distribution) -> Histogram | None:
    """Bins for nearly all rows; a few extreme ones do not stretch the axis."""
    if not llr.count:
        return None
    low, high = llr.quantile(OUTER_SHARE), llr.quantile(1 - OUTER_SHARE)
    margin = 0.1 * (high - low)
    # With few rows, many bins would be a comb of bars of one row.
    most_bins = min(HISTOGRAM_BINS, 2 * math.ceil(math.sqrt(llr.count)))
    return Histogram(
        round_edges(max(llr.minimum, low - margin), min(llr.maximum, high + margin), most_bins)
    )


def _types(batch: pa.RecordBatch, is_scored: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Type of each scored row."""
    rows = batch.filter(pa.array(is_scored))
    ref, alt = rows.column("ref"), rows.column("alt")
    lengths = [pc.utf8_length(column).to_numpy(zero_copy_only=False) for column in (ref, alt)]
    types = np.full(rows.num_rows, "snv", dtype=object)
    others = np.flatnonzero((lengths[0] != 1) | (lengths[1] != 1))
    taken = pa.array(others)
    pairs = zip(ref.take(taken).to_pylist(), alt.take(taken).to_pylist(), strict=True)
    for row, (one_ref, one_alt) in zip(others.tolist(), pairs, strict=True):
        types[row] = variant_type(one_ref, one_alt)
    return types


def _has_pair(batch: pa.RecordBatch, pair: tuple[str, str]) -> npt.NDArray[np.bool_]:
    """Rows that have both numbers; for ``llr_aligned`` only rows where ``llr`` can differ."""
    both: npt.NDArray[np.bool_] = np.isfinite(_numbers(batch, pair[0])) & np.isfinite(
        _numbers(batch, pair[1])
    )
    if pair[1] == "llr_aligned":
        ref, alt = (pc.utf8_length(batch.column(name)) for name in ("ref", "alt"))
        both &= pc.fill_null(pc.not_equal(ref, alt), False).to_numpy(zero_copy_only=False)
    return both


def _numbers(batch: pa.RecordBatch, name: str) -> FloatArray:
    """A column of numbers; NaN for a missing value."""
    assert name in ALL_SCORE_COLUMNS  # noqa: S101 - other columns are not numbers
    values: FloatArray = batch.column(name).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)


def _positions(batch: pa.RecordBatch) -> IntArray:
    """The column ``pos``; 0 for a missing value."""
    values: IntArray = pc.fill_null(batch.column("pos"), 0).to_numpy(zero_copy_only=False)
    return values


def _categories(batch: pa.RecordBatch, name: str) -> tuple[list[str], IntArray]:
    """The distinct texts of a column, and the number of each row's text; -1 for a missing value."""
    return _encode(batch.column(name))


def _encode(column: Any) -> tuple[list[str], IntArray]:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes: IntArray = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False)
    return column.dictionary.to_pylist(), codes.astype(np.int64)
