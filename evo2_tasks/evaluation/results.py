"""The two files that ``evaluate`` writes, as records: reading and writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.schema import curves_schema, is_small, metrics_schema
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import open_table, read_rows, write_table

FloatArray = npt.NDArray[np.float64]

_CURVE_KEYS: Final = ("label", "score", "curve", "part")
_CURVE_NUMBERS: Final = ("x", "y", "low", "high")


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A row of ``metrics.parquet``; ``schema.METRIC_COLUMNS`` describes the fields."""

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
    """

    label: str
    score: str
    curve: str
    part: str | None
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


def is_metrics_file(source: Path) -> bool:
    """Whether a Parquet file has the columns of ``metrics.parquet``.

    Raises:
        InputError: The file is missing or broken.
    """
    with open_table(source) as file:
        names: list[str] = file.schema_arrow.names
    expected: list[str] = metrics_schema().names
    return names == expected


def make_metrics_table(rows: Iterable[MetricRow]) -> pa.Table:
    """Metrics as the table that ``metrics.parquet`` holds."""
    names = [field.name for field in fields(MetricRow)]
    return pa.Table.from_pylist(
        [{name: getattr(row, name) for name in names} for row in rows], metrics_schema()
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
    return pa.Table.from_arrays(columns, schema=schema)


def write_metrics(rows: Iterable[MetricRow], out: Path) -> None:
    """Write ``metrics.parquet``.

    Raises:
        InputError: The file cannot be written.
    """
    with write_table(out, metrics_schema()) as writer:
        writer.write(make_metrics_table(rows))


def write_curves(curves: Iterable[Curve], out: Path) -> None:
    """Write ``curves.parquet``.

    Raises:
        InputError: The file cannot be written.
    """
    with write_table(out, curves_schema()) as writer:
        writer.write(make_curves_table(curves))


def read_metrics(source: Path) -> list[MetricRow]:
    """Read ``metrics.parquet``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    return [MetricRow(**row) for row in _read_table(source, metrics_schema()).to_pylist()]


def read_curves(source: Path) -> list[Curve]:
    """Read ``curves.parquet``.

    Raises:
        InputError: The file is missing, broken or another table.
    """
    return list(_make_curves(_read_table(source, curves_schema())))


def _make_curves(table: pa.Table) -> Iterator[Curve]:
    numbers = [table[name].to_numpy().astype(np.float64, copy=False) for name in _CURVE_NUMBERS]
    rows_by_key: dict[tuple[Any, ...], list[int]] = {}
    keys = zip(*(table[name].to_pylist() for name in _CURVE_KEYS), strict=True)
    for row, key in enumerate(keys):
        rows_by_key.setdefault(key, []).append(row)
    for key, rows in rows_by_key.items():
        yield Curve(*key, *(values[rows] for values in numbers))


def _read_table(source: Path, schema: pa.Schema) -> pa.Table:
    """Read a small table whole, and check the types of its columns."""
    with open_table(source, schema.names) as file:
        types = {field.name: field.type for field in file.schema_arrow}
    for field in schema:
        if types[field.name] != field.type:
            raise InputError(
                f"{shown_path(source)}: column {field.name}: expected {field.type}, got "
                f"{types[field.name]}. Run `evaluate` again."
            )
    plain = pa.schema([pa.field(field.name, field.type) for field in schema])
    batches = [
        pa.RecordBatch.from_arrays(batch.select(schema.names).columns, schema=plain)
        for batch in read_rows(source, schema.names)
    ]
    return pa.Table.from_batches(batches, plain)
