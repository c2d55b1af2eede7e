"""The rows of a table that have a label, and what they are grouped and compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.evaluation.estimates import number_groups
from evo2_tasks.evaluation.metrics import FloatArray, IntArray
from evo2_tasks.evaluation.selection import LabelSettings, Selection, orient
from evo2_tasks.evaluation.values import Text, read_floats, read_group_names, read_texts
from evo2_tasks.table.parquet import open_table, read_rows

KEYS: Final = ("contig", "pos", "ref", "alt", "status")
SCORES: Final = ("llr", "llr_aligned", "llr_fwd", "llr_rev")


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The rows that have a label, N of them; all scores so that higher is more harmful.

    Scores and baselines are of the same rows: those that have an ``llr``.

    Attributes:
        label: What counts as a label.
        left_out: Rows of the table without a label, by reason.
        why_none: Why there are no figures, of these labels; empty where there are.
        target: True where a row is positive, or a number, the higher the more harmful. (N,)
        status: Why a row has or lacks a score. (N,)
        types: Type of the variant. (N,)
        clusters: Number of what is drawn as one. (N,)
        scores: The table's scores, those of one strand only where both were read; NaN where a row
            has none. Each (N,)
        baselines: The same of the baselines.
        low_is_harmful: Scores and baselines whose sign was turned.
        groups: Value by group column. Each (N,)
    """

    label: LabelSettings
    left_out: Mapping[str, int]
    why_none: str
    target: npt.NDArray[Any]
    status: Text
    types: Text
    clusters: IntArray
    scores: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    low_is_harmful: frozenset[str]
    groups: dict[str, Text]

    @property
    def has_classes(self) -> bool:
        """Whether the target is positive or negative, and no number."""
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
        groups: Columns whose values are to be looked at one by one.
        baselines: Columns of numbers to compare with, and their harmful end, ``low`` or ``high``.

    Returns:
        The rows, in the order of the table; none where no row has a label.

    Raises:
        InputError: A column is missing, or is no number where one is expected.
    """
    baselines = baselines or {}
    columns = list(dict.fromkeys([*KEYS, *SCORES, *label.fields, *groups, *baselines]))
    with open_table(source, columns) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    selection = Selection(label, source)
    kept, targets = [], []
    for batch in read_rows(source, columns):
        rows = pa.Table.from_batches([batch], schema)
        keep, target = selection.choose(rows)
        kept.append(rows.filter(pa.array(keep)))
        targets.append(target)
    table = pa.concat_tables(kept) if kept else schema.empty_table()
    is_class = label.harmful is None
    target = np.concatenate([*targets, np.empty(0, dtype=bool if is_class else np.float64)])
    why_none = selection.explain(target)
    if not why_none:
        selection.warn_of_spelling()
    scores = {name: -read_floats(table[name], name, source) for name in SCORES}
    both = all(np.isfinite(scores[name]).any() for name in ("llr_fwd", "llr_rev"))
    others = {
        name: orient(read_floats(table[name], name, source), end) for name, end in baselines.items()
    }
    for values in [*scores.values(), *others.values()]:
        values[np.isnan(scores["llr"])] = np.nan
    return LabelledRows(
        label=label,
        left_out=selection.left_out,
        why_none=why_none,
        target=target,
        status=read_texts(table["status"]),
        types=np.array(
            [*map(variant_type, table["ref"].to_pylist(), table["alt"].to_pylist())], dtype=object
        ),
        clusters=number_groups(read_texts(table["contig"]), table["pos"].to_numpy())
        if label.resample_by is None
        else number_groups(read_texts(table[label.resample_by])),
        scores={name: scores[name] for name in (SCORES if both else SCORES[:2])},
        baselines=others,
        low_is_harmful=frozenset([*SCORES, *(name for name in others if baselines[name] == "low")]),
        groups={name: read_group_names(table[name]) for name in groups},
    )


def variant_type(ref: str, alt: str) -> str:
    """Type of an allele, by the lengths that are left without common ends.

    One that is not spelled in letters (``<DEL>``, a breakend, ``*``, ``.``) is ``symbolic``.
    """
    if not (ref + alt).isalpha():
        return "symbolic"
    num_common = 0
    shorter = min(len(ref), len(alt))
    while num_common < shorter and ref[-1 - num_common] == alt[-1 - num_common]:
        num_common += 1
    at = 0
    while at < shorter - num_common and ref[at] == alt[at]:
        at += 1
    lengths = len(ref) - num_common - at, len(alt) - num_common - at
    match lengths:
        case (1, 1):
            return "snv"
        case (0, _):
            return "insertion"
        case (_, 0):
            return "deletion"
        case (r, a) if r == a:
            return "mnv"
    return "indel"
