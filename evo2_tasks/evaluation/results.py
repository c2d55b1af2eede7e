"""The two files that ``evaluate`` writes, as records: reading and writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.schema import (
    RATIO_METRIC_COLUMNS,
    curves_schema,
    is_small,
    metrics_schema,
)
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import open_table, read_rows, write_table

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CURVE_KEYS: Final = ("label", "score", "curve", "part")
_CURVE_NUMBERS: Final = ("x", "y", "low", "high")
_CURVE_ALLELES: Final = ("record", "allele")
_LATER: Final = (*_CURVE_ALLELES, *(column.name for column in RATIO_METRIC_COLUMNS))
"""Columns that a file may lack."""
_NULL_TOGETHER: Final = (("num_positive", "num_negative"), ("record", "allele"))
"""Columns of which a row has both values or none."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A row of ``metrics.parquet``.

    ``schema.METRIC_COLUMNS`` and ``schema.RATIO_METRIC_COLUMNS`` describe the fields.
    """

    label: str
    definition: str
    score: str
    minus: str | None
    metric: str
    subset: str
    column: str | None
    group: str | None
    value: float | None
    low: float | None
    high: float | None
    reason: str
    num_rows: int
    num_positive: int | None
    num_negative: int | None
    prevalence: float | None
    num_unscored: int
    unscored_by_status: Sequence[tuple[str, int]]
    num_clusters: int
    num_resamples: int
    num_dropped: int
    left_out: Sequence[tuple[str, int]]
    num_from_folds: int | None = None
    lr_reasons: Sequence[tuple[str, int]] | None = None

    @property
    def place(self) -> tuple[str, str | None, str | None]:
        """The subset of rows: its kind, column and group."""
        return self.subset, self.column, self.group

    @property
    def is_small(self) -> bool:
        """Whether it has so few rows that its interval is too narrow to trust."""
        return is_small(self.num_rows, self.num_positive, self.num_negative)


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of P points; ``schema.CURVE_COLUMNS`` describes the fields.

    Attributes:
        x: Never NaN. (P,)
        y: NaN where it is undefined. (P,)
        low: Lower end of the interval of ``y``; NaN where there is no interval. (P,)
        high: Upper end of the interval of ``y``; NaN where there is no interval. (P,)
        alleles: ``record`` and ``allele`` of each point that is one row; empty for other curves.
            (P, 2)
    """

    label: str
    score: str
    curve: str
    part: str | None
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray
    alleles: IntArray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))


def is_metrics_file(source: Path) -> bool:
    """Whether a Parquet file has the columns of ``metrics.parquet``.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        names: list[str] = file.schema_arrow.names
    return names in [metrics_schema(has_ratios=has_ratios).names for has_ratios in (False, True)]


def make_metrics_table(rows: Iterable[MetricRow]) -> pa.Table:
    """Metrics as the table that ``metrics.parquet`` holds.

    It has the columns about likelihood ratios only if one of the metrics is of a likelihood ratio.
    """
    rows = list(rows)
    schema = metrics_schema(has_ratios=any(row.lr_reasons is not None for row in rows))
    return pa.Table.from_pylist(
        [{name: getattr(row, name) for name in schema.names} for row in rows], schema
    )


def make_curves_table(curves: Iterable[Curve]) -> pa.Table:
    """Curves as the table that ``curves.parquet`` holds: a row for each point."""
    schema = curves_schema()
    return pa.concat_tables(
        [schema.empty_table(), *(_make_points(curve, schema) for curve in curves)]
    ).combine_chunks()


def _make_points(curve: Curve, schema: pa.Schema) -> pa.Table:
    num_points = len(curve.x)
    columns = [pa.repeat(pa.scalar(getattr(curve, key), pa.string()), num_points)
               for key in _CURVE_KEYS]  # fmt: skip
    for name in _CURVE_NUMBERS:
        values: FloatArray = getattr(curve, name)
        columns.append(pa.array(values, pa.float64(), mask=~np.isfinite(values)))
    if len(curve.alleles):
        columns += [pa.array(numbers, pa.int64()) for numbers in curve.alleles.T]
    else:
        columns += [pa.nulls(num_points, pa.int64()) for _ in _CURVE_ALLELES]
    return pa.Table.from_arrays(columns, schema=schema)


def write_metrics(rows: Iterable[MetricRow], out: Path, metadata: Mapping[str, str]) -> None:
    """Write ``metrics.parquet``.

    Args:
        rows: The metrics.
        out: The file.
        metadata: What the file states about the evaluated table, by ``make_statement_metadata``.

    Raises:
        InputError: The file cannot be written.
    """
    table = make_metrics_table(rows)
    with write_table(out, table.schema, metadata=metadata) as writer:
        writer.write(table)


def write_curves(curves: Iterable[Curve], out: Path, metadata: Mapping[str, str]) -> None:
    """Write ``curves.parquet``.

    Args:
        curves: The curves.
        out: The file.
        metadata: What the file states about the evaluated table, by ``make_statement_metadata``.

    Raises:
        InputError: The file cannot be written.
    """
    with write_table(out, curves_schema(), metadata=metadata) as writer:
        writer.write(make_curves_table(curves))


def read_metrics(source: Path) -> list[MetricRow]:
    """Read ``metrics.parquet``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    table = _read_table(source, metrics_schema(has_ratios=True))
    return [MetricRow(**row) for row in table.to_pylist()]


def read_curves(source: Path) -> list[Curve]:
    """Read ``curves.parquet``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    return list(_make_curves(_read_table(source, curves_schema())))


def _make_curves(table: pa.Table) -> Iterator[Curve]:
    numbers = [table[name].to_numpy().astype(np.float64, copy=False) for name in _CURVE_NUMBERS]
    alleles = np.stack(
        [pc.fill_null(table[name], -1).to_numpy() for name in _CURVE_ALLELES], axis=1
    )
    rows_by_key: dict[tuple[Any, ...], list[int]] = {}
    keys = zip(*(table[name].to_pylist() for name in _CURVE_KEYS), strict=True)
    for row, key in enumerate(keys):
        rows_by_key.setdefault(key, []).append(row)
    for (label, score, curve, part), rows in rows_by_key.items():
        of_points = alleles[rows]
        of_rows = of_points if (of_points >= 0).all() else of_points[:0]
        x, y, low, high = (values[rows] for values in numbers)
        yield Curve(label, score, curve, part, x, y, low, high, of_rows)


def _without(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    return pa.schema([one for one in schema if one.name not in names])


def _add_nulls(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Add the columns of the schema that a table lacks, with nulls."""
    nulls = pa.nulls(table.num_rows)
    columns = [
        table[one.name] if one.name in table.column_names else nulls.cast(one.type)
        for one in schema
    ]
    return pa.table(columns, names=schema.names)


def _read_table(source: Path, schema: pa.Schema) -> pa.Table:
    """Read a small table whole, and check the types of its columns.

    Files of earlier versions lack ``record`` and ``allele`` of curves, and metrics without
    likelihood ratios lack the columns about them. These are then null.
    """
    later = [name for name in schema.names if name in _LATER]
    with open_table(source, [name for name in schema.names if name not in later]) as file:
        types = {one.name: one.type for one in file.schema_arrow}
    absent = [name for name in later if name not in types]
    if absent:
        return _add_nulls(_read_table(source, _without(schema, absent)), schema)
    for name, expected in zip(schema.names, schema.types, strict=True):
        if types[name] != expected:
            raise InputError(
                f"{shown_path(source)}: column {name}: expected {expected}, got "
                f"{types[name]}. Run `evaluate` again."
            )
    plain = pa.schema([pa.field(one.name, one.type, one.nullable) for one in schema])
    batches = [
        pa.RecordBatch.from_arrays(batch.select(schema.names).columns, schema=plain)
        for batch in read_rows(source, schema.names)
    ]
    table = pa.Table.from_batches(batches, plain)
    _require_values(table, source)
    return table


def _require_values(table: pa.Table, source: Path) -> None:
    """Make sure that no value is null which ``evaluate`` always writes.

    Raises:
        InputError: A value is null.
    """
    required = [one.name for one in table.schema if not one.nullable]
    null = [name for name in required if table[name].null_count]
    for one, other in _NULL_TOGETHER:
        if {one, other} <= {*table.column_names}:
            differs = pc.xor(pc.is_null(table[one]), pc.is_null(table[other]))
            null += [f"{one} or {other}"] if pc.any(differs).as_py() else []
    if null:
        raise InputError(
            f"{shown_path(source)}: column {null[0]}: a value is missing. Run `evaluate` again."
        )
