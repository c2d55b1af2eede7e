"""The labelled rows of a table, with their scores, baselines and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray, number_groups
from evo2_tasks.evaluation.selection import LabelSettings, Selection, orient
from evo2_tasks.evaluation.values import (
    Text,
    encode_types,
    read_floats,
    read_group_names,
    read_texts,
    to_array,
)
from evo2_tasks.table.combined import member_column, read_combination
from evo2_tasks.table.parquet import count_rows, open_table, read_rows

KEYS: Final = ("record", "allele", "contig", "pos", "ref", "alt", "status")
ALIGNED: Final = "llr_aligned"
MAIN_SCORE: Final = "llr"
"""The score of a table of one scoring that is evaluated in every subset of its rows."""


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The columns of a table that are scores, and what each of them is. Low scores are harmful.

    Attributes:
        scorings: The score of each scoring. A row without one of them has NaN in all scores.
        aligned: The score that is evaluated for insertions and deletions too, by one of
            ``scorings``.
        strands: The scores of the forward and of the reverse strand, by one of ``scorings``.
        ensembles: Scores that are made of those of the scorings, and why no row has such a score;
            empty if rows have it.
    """

    scorings: tuple[str, ...]
    aligned: Mapping[str, str] = field(default_factory=dict)
    strands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ensembles: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> tuple[str, ...]:
        """The scores that are evaluated in every subset and compared with each other."""
        return (*self.scorings, *self.ensembles)

    @property
    def names(self) -> tuple[str, ...]:
        """All of the columns."""
        strands = chain.from_iterable(self.strands.values())
        return (*self.main, *self.aligned.values(), *strands)


ONE_SCORING: Final = ScoreColumns(
    (MAIN_SCORE,),
    aligned={MAIN_SCORE: ALIGNED},
    strands={MAIN_SCORE: ("llr_fwd", "llr_rev")},
)
"""The scores of a table that ``merge`` wrote."""


def find_score_columns(table: Path) -> ScoreColumns:
    """Find out which columns of a table are scores, and what each of them is.

    In a combined table these are the score of each scoring of which the ensembles are made, and the
    ensembles. The strands of each scoring are evaluated next to its own table.

    Args:
        table: The result of ``merge`` or of ``combine``.

    Raises:
        InputError: The file is missing or broken, or what it states cannot be read.
    """
    combination = read_combination(table)
    if combination is None:
        return ONE_SCORING
    names = [one.name for one in combination.scorings]
    scores = {name: member_column(name, combination.score) for name in names}
    aligned = {scores[name]: member_column(name, ALIGNED) for name in names}
    return ScoreColumns(
        (*scores.values(),),
        aligned={} if combination.score == ALIGNED else aligned,
        ensembles=combination.ensembles,
    )


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The N rows that have a label. All scores are oriented so that higher is more harmful.

    A row without the score of a scoring has NaN in all scores and baselines.

    Attributes:
        label: The field of labels, and which of its values count.
        left_out: Rows of the table without a label, by reason.
        why_no_metrics: Why the labels allow no metric; empty if they do.
        target: True where a row is positive, or a number of which higher is more harmful. (N,)
        alleles: ``record`` and ``allele`` of each row. (N, 2)
        status: Why a row has or lacks a score. (N,)
        types: Type of the variant. (N,)
        clusters: Number of the row's cluster; the rows of a cluster are drawn together. (N,)
        columns: The scores of the table, and what each of them is.
        scores: Scores of the table by name; those of single strands only if both strands have
            scores. Each (N,)
        baselines: Baselines by name. Each (N,)
        low_is_harmful: Names of the scores and baselines whose sign is turned here.
        groups: Values of the group columns by name. Each (N,)
        probes: Predictions of probes by name. Each (N,)
        probe_groups: What the folds of the probes keep together, by name: the number of each row's
            group, -1 where it has none. Each (N,)
    """

    label: LabelSettings
    left_out: Mapping[str, int]
    why_no_metrics: str
    target: npt.NDArray[Any]
    alleles: IntArray
    status: Text
    types: Text
    clusters: IntArray
    columns: ScoreColumns
    scores: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    low_is_harmful: frozenset[str]
    groups: dict[str, Text]
    probes: dict[str, FloatArray] = field(default_factory=dict)
    probe_groups: dict[str, IntArray] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        """Whether the target is positive or negative; otherwise it is a number."""
        return self.label.harmful is None

    @property
    def main_scores(self) -> dict[str, FloatArray]:
        """The scores that are evaluated in every subset."""
        return {name: self.scores[name] for name in self.columns.main}

    @property
    def is_scored(self) -> BoolArray:
        """Whether each of the N rows has the score of each scoring."""
        return np.isfinite(self.scores[self.columns.scorings[0]])

    def __len__(self) -> int:
        return len(self.target)


def read_labelled_rows(
    source: Path,
    label: LabelSettings,
    *,
    groups: Sequence[str] = (),
    baselines: Mapping[str, str] | None = None,
) -> LabelledRows:
    """Read the rows of a table that have a label.

    Args:
        source: The result of ``merge`` or of ``combine``.
        label: The field of labels.
        groups: Columns whose values are evaluated one by one.
        baselines: Columns of numbers to compare with, and which of their values are harmful:
            ``low`` or ``high``.

    Returns:
        The labelled rows, in the order of the table; N is 0 if no row has a label.

    Raises:
        InputError: A column is missing, or holds text where numbers are expected.
    """
    baselines = baselines or {}
    selection = Selection(label, source)
    columns = find_score_columns(source)
    found = _read_columns(source, selection, columns, groups, baselines)
    target = found.take("target")
    why_no_metrics = selection.explain(target)
    if not why_no_metrics:
        selection.warn_of_spelling()
    scores = {name: found.take(f"number {name}") for name in columns.names}
    others = {name: found.take(f"number {name}") for name in baselines}
    is_scored = np.logical_and.reduce([np.isfinite(scores[name]) for name in columns.scorings])
    for values in [*scores.values(), *others.values()]:
        values[~is_scored] = np.nan
    for strands in columns.strands.values():
        if not all(np.isfinite(scores[name]).any() for name in strands):
            scores = {name: values for name, values in scores.items() if name not in strands}
    low_baselines = {name for name, harmful in baselines.items() if harmful == "low"}
    clusters = ["contig", "pos"] if label.resample_by is None else ["resample_by"]
    return LabelledRows(
        label=label,
        left_out=selection.left_out,
        why_no_metrics=why_no_metrics,
        target=target,
        alleles=found.take("alleles"),
        status=found.take("status"),
        types=found.take("types"),
        clusters=number_groups(*(found.take(name) for name in clusters)),
        columns=columns,
        scores=scores,
        baselines=others,
        low_is_harmful=frozenset([*columns.names, *low_baselines]),
        groups={name: found.take(f"group {name}") for name in groups},
    )


def _read_columns(
    source: Path,
    selection: Selection,
    scores: ScoreColumns,
    groups: Sequence[str],
    baselines: Mapping[str, str],
) -> _Columns:
    """Read the labelled rows, column by column: a score is oriented, a text is an object."""
    label = selection.label
    columns = list(dict.fromkeys([*KEYS, *scores.names, *label.fields, *groups, *baselines]))
    numbers = {**dict.fromkeys(scores.names, "low"), **baselines}
    found = _Columns(count_rows(source))
    for table, target in _select_rows(source, columns, selection):
        alleles = np.stack([table[name].to_numpy() for name in ("record", "allele")], axis=1)
        found.add("target", target)
        found.add("alleles", alleles.astype(np.int64))
        found.add("status", read_texts(table["status"]))
        types, type_numbers = encode_types(table)
        found.add("types", to_array(types)[type_numbers])
        if label.resample_by is None:
            found.add("contig", read_texts(table["contig"]))
            found.add("pos", table["pos"].to_numpy())
        else:
            found.add("resample_by", read_texts(table[label.resample_by]))
        for name, harmful in numbers.items():
            values = orient(read_floats(table[name], name, source), harmful)
            found.add(f"number {name}", values)
        for name in groups:
            found.add(f"group {name}", read_group_names(table[name]))
    pa.default_memory_pool().release_unused()
    return found


class _Columns:
    """Columns of the labelled rows, filled piece by piece without a second copy.

    Args:
        most_rows: Most rows of a column.
    """

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._columns: dict[str, tuple[npt.NDArray[Any], int]] = {}

    def add(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add values of some more rows to a column."""
        if name not in self._columns:
            shape = (self._most_rows, *values.shape[1:])
            self._columns[name] = np.empty(shape, values.dtype), 0
        column, end = self._columns[name]
        column[end : end + len(values)] = values
        self._columns[name] = column, end + len(values)

    def take(self, name: str) -> npt.NDArray[Any]:
        """Take a column out; it must have been added."""
        column, end = self._columns.pop(name)
        return column if end == len(column) else column[:end].copy()


def _select_rows(
    source: Path, columns: Sequence[str], selection: Selection
) -> Iterator[tuple[pa.Table, npt.NDArray[Any]]]:
    """Read the labelled rows, and the target of each of them; the first table has no rows."""
    with open_table(source, columns) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    has_classes = selection.label.harmful is None
    yield schema.empty_table(), np.empty(0, dtype=bool if has_classes else np.float64)
    for batch in read_rows(source, columns):
        rows = pa.Table.from_batches([batch], schema)
        is_labelled, target = selection.choose(rows)
        yield rows.filter(pa.array(is_labelled)), target
