"""Summary of a table of scores for the report.

The table is read twice, piece by piece: first for counts, ranges and lowest scores, then for bins
and samples, which depend on them. Memory grows with the number of contigs, not with the number of
rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evo2_tasks.genome.alleles import variant_type
from evo2_tasks.report.bins import Histogram, PairSample, PairSummary, round_edges, round_width
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS, FINAL_COLUMNS, carried_names
from evo2_tasks.table.statistics import Counts, Distribution

NUM_STRONGEST: Final = 50
NUM_EXAMPLES: Final = 3
MOST_CONTIGS: Final = 24
CONTIG_BINS: Final = 240
HISTOGRAM_BINS: Final = 60
OUTER_SHARE: Final = 0.001
"""Share of the rows at either end that may be beyond the axis of a histogram."""

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TYPES: Final = ("snv", "mnv", "insertion", "deletion", "indel")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Row = Mapping[str, Any]

_STRANDS: Final = ("llr_fwd", "llr_rev")
_INDELS: Final = ("llr", "llr_aligned")
_SECOND_COLUMNS: Final = ("contig", "pos", "ref", "alt", *_INDELS, *_STRANDS)
_FIRST_COLUMNS: Final = ("status", "flags", *_SECOND_COLUMNS)


@dataclass(frozen=True, slots=True)
class ContigBins:
    """The ``llr`` along a contig in bins of equal width, K of which contain a scored row.

    Attributes:
        contig: Contig as the input spells it.
        num_rows: Scored rows of the contig.
        width: Positions per bin.
        first_pos: First position of each bin, 1-based. (K,)
        counts: Scored rows of each bin. (K,)
        means: Mean ``llr``, nats. (K,)
        minimums: Lowest ``llr``, nats. (K,)
    """

    contig: str
    num_rows: int
    width: int
    first_pos: IntArray
    counts: IntArray
    means: FloatArray
    minimums: FloatArray


@dataclass(frozen=True, slots=True)
class TableSummary:
    """Summary of a table of scores.

    Attributes:
        counts: Rows by status and by flag.
        by_type: Scored rows by type of variant.
        llr: Distribution of ``llr``, nats.
        histogram: ``llr`` in bins, by type; None if no row is scored.
        contigs: The contigs with the most scored rows, in the order of the table.
        num_contigs: Number of all contigs with scored rows.
        num_elsewhere: Scored rows on the other contigs.
        strands: ``llr_fwd`` with ``llr_rev``; None if no row has both.
        indels: ``llr`` with ``llr_aligned`` of the rows whose alleles differ in length; None if
            there are none.
        strongest: Rows with the lowest ``llr``, the lowest first.
        examples: The first rows of each status and of each flag.
        carried: Names of the columns that are carried from the input.
    """

    counts: Counts
    by_type: Mapping[str, int]
    llr: Distribution
    histogram: Histogram | None
    contigs: Sequence[ContigBins]
    num_contigs: int
    num_elsewhere: int
    strands: PairSummary | None
    indels: PairSummary | None
    strongest: Sequence[Row]
    examples: Mapping[str, Sequence[Row]]
    carried: Sequence[str]


def summarize_table(table: Path) -> TableSummary:
    """Summarize a table in bounded memory.

    Args:
        table: The result of ``merge``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    with open_table(table, [column.name for column in FINAL_COLUMNS]) as file:
        carried = carried_names(file.schema_arrow.names)
    first = _FirstPass()
    for batch in read_rows(table, _FIRST_COLUMNS):
        first.add(batch)
    second = _SecondPass(first)
    for batch in read_rows(table, _SECOND_COLUMNS):
        second.add(batch)
    columns = [
        "record", "contig", "pos", "ref", "alt", "status", "flags", "llr", "llr_fwd", "llr_rev",
        *carried,
    ]  # fmt: skip
    numbers = [*first.strongest_rows, *(row for rows in first.examples.values() for row in rows)]
    rows = fetch_rows(table, numbers, columns)
    contigs = second.contigs()
    return TableSummary(
        counts=first.counts,
        by_type=second.by_type,
        llr=first.llr,
        histogram=second.histogram,
        contigs=contigs,
        num_contigs=len(first.extents),
        num_elsewhere=first.llr.count - sum(bins.num_rows for bins in contigs),
        strands=second.strands.summarize(),
        indels=second.indels.summarize(),
        strongest=[rows[number] for number in first.strongest_rows],
        examples={name: [rows[n] for n in numbers] for name, numbers in first.examples.items()},
        carried=carried,
    )


def fetch_rows(table: Path, numbers: Iterable[int], columns: Sequence[str]) -> dict[int, Row]:
    """Read some rows of a table by their number.

    Args:
        table: A Parquet file; only row groups with one of the rows are read.
        numbers: Numbers of the rows, 0-based.
        columns: The columns to read.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    wanted = np.unique(np.fromiter(numbers, dtype=np.int64))
    with open_table(table, columns) as file:
        sizes = [_row_group_rows(file, number) for number in range(file.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    groups = np.unique(np.searchsorted(starts, wanted, side="right") - 1).tolist()
    if not groups:
        return {}
    # The number in the table of each row that is read.
    places = np.concatenate([np.arange(starts[group], starts[group + 1]) for group in groups])
    rows: dict[int, Row] = {}
    num_read = 0
    for batch in read_rows(table, columns, row_groups=groups):
        here = places[num_read : num_read + batch.num_rows]
        inside = np.flatnonzero(np.isin(here, wanted))
        values = batch.take(pa.array(inside)).to_pylist()
        rows |= zip(here[inside].tolist(), values, strict=True)
        num_read += batch.num_rows
    return rows


def _row_group_rows(file: pq.ParquetFile, number: int) -> int:
    return int(file.metadata.row_group(number).num_rows)


@dataclass(slots=True)
class _Extent:
    """The range of the scored rows of a contig; positions are 1-based."""

    num_rows: int
    first_pos: int
    last_pos: int


@dataclass(slots=True)
class _FirstPass:
    """Counts, ranges of contigs, and the numbers of the rows to show."""

    counts: Counts = field(default_factory=Counts)
    llr: Distribution = field(default_factory=Distribution)
    extents: dict[str, _Extent] = field(default_factory=dict)
    num_pairs: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys((_STRANDS, _INDELS), 0)
    )
    examples: dict[str, list[int]] = field(default_factory=dict)
    _lowest: FloatArray = field(default_factory=lambda: np.empty(0))
    _lowest_rows: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def strongest_rows(self) -> list[int]:
        """Numbers of the rows with the lowest ``llr``, ties in the order of the table."""
        rows: list[int] = self._lowest_rows.tolist()
        return rows

    def add(self, batch: pa.RecordBatch) -> None:
        """Add more rows."""
        first_row = self.counts.alleles
        self.counts.add(batch)
        llr = _numbers(batch, "llr")
        is_scored = np.isfinite(llr)
        self.llr.add(llr[is_scored])
        self._add_extents(batch, is_scored)
        for pair in self.num_pairs:
            self.num_pairs[pair] += int(_has_pair(batch, pair).sum())
        self._add_examples(batch, first_row)
        self._add_lowest(llr, is_scored, first_row)

    def _add_extents(self, batch: pa.RecordBatch, is_scored: npt.NDArray[np.bool_]) -> None:
        names, codes = _categories(batch, "contig")
        pos = _positions(batch)
        inside = is_scored & (codes >= 0)
        codes, pos = codes[inside], pos[inside]
        first = np.full(len(names), np.iinfo(np.int64).max)
        last = np.full(len(names), np.iinfo(np.int64).min)
        np.minimum.at(first, codes, pos)
        np.maximum.at(last, codes, pos)
        counts = np.bincount(codes, minlength=len(names))
        for code in np.flatnonzero(counts).tolist():
            more = _Extent(int(counts[code]), int(first[code]), int(last[code]))
            known = self.extents.setdefault(names[code], more)
            if known is not more:
                known.num_rows += more.num_rows
                known.first_pos = min(known.first_pos, more.first_pos)
                known.last_pos = max(known.last_pos, more.last_pos)

    def _add_examples(self, batch: pa.RecordBatch, first_row: int) -> None:
        names, codes = _categories(batch, "status")
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

    def _add_lowest(
        self, llr: FloatArray, is_scored: npt.NDArray[np.bool_], first_row: int
    ) -> None:
        rows = np.flatnonzero(is_scored)
        values = llr[rows]
        if len(values) > NUM_STRONGEST:
            bound = np.partition(values, NUM_STRONGEST - 1)[NUM_STRONGEST - 1]
            rows, values = rows[values <= bound], values[values <= bound]
        values = np.concatenate([self._lowest, values])
        rows = np.concatenate([self._lowest_rows, first_row + rows])
        order = np.lexsort((rows, values))[:NUM_STRONGEST]
        self._lowest, self._lowest_rows = values[order], rows[order]


class _SecondPass:
    """Bins and samples, whose ranges are known from the first reading."""

    def __init__(self, first: _FirstPass) -> None:
        self.by_type: dict[str, int] = {}
        self.histogram = _empty_histogram(first.llr)
        self.strands = PairSample(*_STRANDS, num_rows=first.num_pairs[_STRANDS])
        self.indels = PairSample(*_INDELS, num_rows=first.num_pairs[_INDELS])
        by_size = sorted(first.extents, key=lambda name: -first.extents[name].num_rows)
        largest = set(by_size[:MOST_CONTIGS])
        self._extents = {name: one for name, one in first.extents.items() if name in largest}
        self._width = {
            name: int(max(1, round_width((one.last_pos - one.first_pos + 1) / CONTIG_BINS)))
            for name, one in self._extents.items()
        }
        sizes = [
            (one.last_pos - 1) // self._width[name] - (one.first_pos - 1) // self._width[name] + 1
            for name, one in self._extents.items()
        ]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._counts = np.zeros(self._starts[-1], dtype=np.int64)
        self._sums = np.zeros(self._starts[-1])
        self._minimums = np.full(self._starts[-1], np.inf)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add more rows."""
        llr = _numbers(batch, "llr")
        is_scored = np.isfinite(llr)
        self._add_contigs(batch, llr, is_scored)
        types = _types(batch, is_scored)
        for name in np.unique(types).tolist():
            inside = llr[is_scored][types == name]
            self.by_type[name] = self.by_type.get(name, 0) + len(inside)
            if self.histogram is not None:
                self.histogram.add(name, inside)
        for sample in (self.strands, self.indels):
            rows = _has_pair(batch, (sample.x, sample.y))
            sample.add(_numbers(batch, sample.x)[rows], _numbers(batch, sample.y)[rows])

    def _add_contigs(
        self, batch: pa.RecordBatch, llr: FloatArray, is_scored: npt.NDArray[np.bool_]
    ) -> None:
        names, codes = _categories(batch, "contig")
        places = {name: place for place, name in enumerate(self._extents)}
        # For each contig of the batch: start of its bins, their width, number of the first one.
        table = np.full((len(names) + 1, 3), -1, dtype=np.int64)
        for code, name in enumerate(names):
            if name in places:
                width = self._width[name]
                first = (self._extents[name].first_pos - 1) // width
                table[code] = self._starts[places[name]], width, first
        starts, widths, firsts = table[codes].T
        inside = is_scored & (starts >= 0)
        at = starts[inside] + (_positions(batch)[inside] - 1) // widths[inside] - firsts[inside]
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sums += np.bincount(at, weights=llr[inside], minlength=len(self._counts))
        np.minimum.at(self._minimums, at, llr[inside])

    def contigs(self) -> list[ContigBins]:
        """The bins of each contig that contain a row."""
        contigs = []
        for place, (name, extent) in enumerate(self._extents.items()):
            width = self._width[name]
            of_contig = slice(self._starts[place], self._starts[place + 1])
            counts = self._counts[of_contig]
            used = np.flatnonzero(counts)
            contigs.append(
                ContigBins(
                    contig=name,
                    num_rows=extent.num_rows,
                    width=width,
                    first_pos=((extent.first_pos - 1) // width + used) * width + 1,
                    counts=counts[used],
                    means=self._sums[of_contig][used] / counts[used],
                    minimums=self._minimums[of_contig][used],
                )
            )
        return contigs


def _empty_histogram(llr: Distribution) -> Histogram | None:
    """Bins for nearly all rows; a few extreme ones do not stretch the axis."""
    if not llr.count:
        return None
    low, high = llr.quantile(OUTER_SHARE), llr.quantile(1 - OUTER_SHARE)
    margin = 0.1 * (high - low)
    return Histogram(
        round_edges(max(llr.minimum, low - margin), min(llr.maximum, high + margin), HISTOGRAM_BINS)
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
