"""What the page about a variant set is made from: the files of its scorings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.schema import curves_schema, figures_schema, is_small
from evo2_tasks.io.files import read_json
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CURVES, METRICS, RUN, TABLE, TABLES
from evo2_tasks.report.saturation import Saturation, find_saturation
from evo2_tasks.report.summary import TableSummary, summarize_table
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.provenance import Provenance, read_provenance

WRITERS: Final = {**TABLES, RUN: "merge"}
"""The files that are read, and the command that writes each."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of ``figures.parquet``; the columns of ``schema.FIGURE_COLUMNS`` say what is what."""

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
        """What rows it is of: subset, column and group."""
        return self.subset, self.column, self.group

    @property
    def is_small(self) -> bool:
        """Whether it rests on few rows, so that its interval is too narrow."""
        return is_small(self.num_rows, self.num_positive, self.num_negative)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, P of them, as ``schema.CURVE_COLUMNS`` says; NaN where there is none."""

    label: str
    score: str
    curve: str
    part: str | None
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one scoring of the variant set.

    Attributes:
        scoring: Its name.
        table: What its table says.
        saturation: Stretches of it of which every substitution is scored.
        provenance: Where the table comes from.
        run: Content of its ``run.json``.
        figures: How well its scores separate the labels; empty where there are none.
        curves: Curves of the same.
    """

    scoring: str
    table: TableSummary
    saturation: Saturation
    provenance: Provenance
    run: Mapping[str, Any]
    figures: Sequence[Figure]
    curves: Sequence[Curve]

    @property
    def num_rows(self) -> int:
        """Alleles of the input."""
        return self.table.counts.alleles

    @property
    def num_scored(self) -> int:
        """Those that have a score."""
        return self.table.llr.count

    @property
    def shards(self) -> Sequence[Mapping[str, Any]]:
        """What each scoring job states about itself."""
        shards: Sequence[Mapping[str, Any]] = self.run["shards"]
        return shards


def read_evidence(folder: Path, scoring: str, *, has_labels: bool) -> Evidence:
    """Read what a scoring left.

    Args:
        folder: Its folder: the files of ``WRITERS``.
        scoring: Its name.
        has_labels: Whether it was evaluated, and the files of ``evaluate`` are to be read.

    Raises:
        InputError: A file is missing, broken or of another run.
    """
    for name, command in WRITERS.items():
        if not (folder / name).exists() and (has_labels or command != "evaluate"):
            raise InputError(
                f"{shown_path(folder / name)}: does not exist. Expected what `{command}` writes "
                f"for {scoring}: run that first."
            )
    table = summarize_table(folder / TABLE)
    run = read_json(folder / RUN)
    shards = run.get("shards")
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        raise InputError(f"{shown_path(folder / RUN)}: states no list of shards. Merge them again.")
    if run.get("alleles") != table.counts.alleles:
        raise InputError(
            f"{shown_path(folder / RUN)}: states {run.get('alleles')} alleles, {TABLE} beside it "
            f"has {table.counts.alleles} rows: they are of different runs. Merge the shards again."
        )
    return Evidence(
        scoring=scoring,
        table=table,
        saturation=find_saturation(folder / TABLE),
        provenance=read_provenance(folder / TABLE),
        run=run,
        figures=read_figures(folder / METRICS) if has_labels else (),
        curves=read_curves(folder / CURVES) if has_labels else (),
    )


def read_figures(source: Path) -> list[Figure]:
    """Read ``figures.parquet``.

    Raises:
        InputError: It is missing, broken or no such file.
    """
    rows = _read_all(source, figures_schema()).to_pylist()
    return [Figure(**row) for row in rows]


def read_curves(source: Path) -> list[Curve]:
    """Read ``curves.parquet``.

    Raises:
        InputError: It is missing, broken or no such file.
    """
    table = _read_all(source, curves_schema())
    keys = ["label", "score", "curve", "part"]
    rows = list(zip(*(table[name].to_pylist() for name in keys), strict=True))
    numbers = [
        table[name].to_numpy().astype(np.float64, copy=False) for name in ("x", "y", "low", "high")
    ]
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row, []).append(place)
    return [Curve(*key, *(values[of_key] for values in numbers)) for key, of_key in places.items()]


def _read_all(source: Path, schema: pa.Schema) -> pa.Table:
    """A small table, whole."""
    with open_table(source, schema.names) as file:
        found = {field.name: field.type for field in file.schema_arrow}
    for field in schema:
        if found[field.name] != field.type:
            raise InputError(
                f"{shown_path(source)}: column {field.name}: expected {field.type}, got "
                f"{found[field.name]}. Evaluate the table again."
            )
    plain = pa.schema([pa.field(field.name, field.type) for field in schema])
    batches = [
        pa.RecordBatch.from_arrays(batch.select(schema.names).columns, schema=plain)
        for batch in read_rows(source, schema.names)
    ]
    return pa.Table.from_batches(batches, plain)
