"""The labelled rows of a table, with their scores, baselines and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.evaluation.arrays import FloatArray, IntArray
from evo2_tasks.evaluation.estimates import number_groups
from evo2_tasks.evaluation.selection import LabelSettings, Selection, orient
from evo2_tasks.evaluation.values import (
    Text,
    encode_texts,
    read_floats,
    read_group_names,
    read_texts,
    to_array,
)
from evo2_tasks.genome.alleles import variant_type
from evo2_tasks.table.parquet import count_rows, open_table, read_rows

KEYS: Final = ("record", "allele", "contig", "pos", "ref", "alt", "status")
STRAND_SCORES: Final = ("llr_fwd", "llr_rev")
SCORES: Final = ("llr", "llr_aligned", *STRAND_SCORES)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The N rows that have a label. All scores are oriented so that higher is more harmful.

    A row without an ``llr`` has NaN in all scores and baselines.

    Attributes:
        label: The field of labels, and which of its values count.
        left_out: Rows of the table without a label, by reason.
        why_no_metrics: Why the labels allow no metric; empty if they do.
        target: True where a row is positive, or a number of which higher is more harmful. (N,)
        alleles: ``record`` and ``allele`` of each row. (N, 2)
        status: Why a row has or lacks a score. (N,)
        types: Type of the variant. (N,)
        clusters: Number of the row's cluster; the rows of a cluster are drawn together. (N,)
        scores: Scores of the table by name; those of single strands only if both strands have
            scores. Each (N,)
        baselines: Baselines by name. Each (N,)
        low_is_harmful: Names of the scores and baselines whose sign is turned here.
        groups: Values of the group columns by name. Each (N,)
    """

    label: LabelSettings
    left_out: Mapping[str, int]
    why_no_metrics: str
    target: npt.NDArray[Any]
    alleles: IntArray
    status: Text
    types: Text
    clusters: IntArray
    scores: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    low_is_harmful: frozenset[str]
    groups: dict[str, Text]

    @property
    def has_classes(self) -> bool:
        """Whether the target is positive or negative; otherwise it is a number."""
        return self.label.harmful is None

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
        source: The result of ``merge``.
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
    found = _read_columns(source, selection, groups, baselines)
    target = found.take("target")
    why_no_metrics = selection.explain(target)
    if not why_no_metrics:
        selection.warn_of_spelling()
    scores = {name: found.take(f"number {name}") for name in SCORES}
    others = {name: found.take(f"number {name}") for name in baselines}
    for values in [*scores.values(), *others.values()]:
        values[np.isnan(scores["llr"])] = np.nan
    if not all(np.isfinite(scores[name]).any() for name in STRAND_SCORES):
        scores = {name: values for name, values in scores.items() if name not in STRAND_SCORES}
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
        scores=scores,
        baselines=others,
        low_is_harmful=frozenset([*SCORES, *low_baselines]),
        groups={name: found.take(f"group {name}") for name in groups},
    )


def _read_columns(
    source: Path, selection: Selection, groups: Sequence[str], baselines: Mapping[str, str]
) -> _Columns:
    """Read the labelled rows, column by column: a score is oriented, a text is an object."""
    label = selection.label
    columns = list(dict.fromkeys([*KEYS, *SCORES, *label.fields, *groups, *baselines]))
    numbers = {**dict.fromkeys(SCORES, "low"), **baselines}
    found = _Columns(count_rows(source))
    for table, target in _select_rows(source, columns, selection):
        alleles = np.stack([table[name].to_numpy() for name in ("record", "allele")], axis=1)
        found.add("target", target)
        found.add("alleles", alleles.astype(np.int64))
        found.add("status", read_texts(table["status"]))
        found.add("types", _read_types(table))
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


def _read_types(table: pa.Table) -> Text:
    """Type of each variant."""
    (refs, ref), (alts, alt) = (encode_texts(table[name]) for name in ("ref", "alt"))
    distinct, numbers = np.unique(ref * max(len(alts), 1) + alt, return_inverse=True)
    pairs = (divmod(int(pair), len(alts)) for pair in distinct)
    return to_array(variant_type(refs[one], alts[other]) for one, other in pairs)[numbers]
