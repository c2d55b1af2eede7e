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
from evo2_tasks.table.parquet import open_table, read_rows

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
    columns = list(dict.fromkeys([*KEYS, *SCORES, *label.fields, *groups, *baselines]))
    numbers = dict.fromkeys(SCORES, "low") | baselines
    selection = Selection(label, source)
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for table, target in _select_rows(source, columns, selection):
        alleles = np.stack([table[name].to_numpy() for name in ("record", "allele")], axis=1)
        read = {
            "target": target,
            "alleles": alleles.astype(np.int64),
            "status": read_texts(table["status"]),
            "types": _read_types(table),
            "contig": read_texts(table["contig"]),
            "pos": table["pos"].to_numpy(),
        }
        if label.resample_by is not None:
            read["resample_by"] = read_texts(table[label.resample_by])
        read |= {
            f"number {name}": orient(read_floats(table[name], name, source), harmful)
            for name, harmful in numbers.items()
        }
        read |= {f"group {name}": read_group_names(table[name]) for name in groups}
        for name, values in read.items():
            parts.setdefault(name, []).append(values)
    # One column after the other, so that only one of them is in memory twice.
    found = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
    why_no_metrics = selection.explain(found["target"])
    if not why_no_metrics:
        selection.warn_of_spelling()
    scores = {name: found[f"number {name}"] for name in SCORES}
    others = {name: found[f"number {name}"] for name in baselines}
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
        target=found["target"],
        alleles=found["alleles"],
        status=found["status"],
        types=found["types"],
        clusters=number_groups(*(found[name] for name in clusters)),
        scores=scores,
        baselines=others,
        low_is_harmful=frozenset([*SCORES, *low_baselines]),
        groups={name: found[f"group {name}"] for name in groups},
    )


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
