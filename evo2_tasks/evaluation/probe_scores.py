"""The predictions of probes as scores of the labelled rows.

No prediction is evaluated on a row from which the probe has learnt it. A row that a probe was
trained on has its out-of-fold score in the table of its own set, and no score in another one.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import FloatArray, IntArray
from evo2_tasks.evaluation.labels import LabelledRows
from evo2_tasks.evaluation.schema import name_probe
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.joined import KEYS
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.probes import FOLD, GROUP, IN_TRAINING, SCORE, Predictions

GROUP_NAMES: Final = {"gene": "gene", "contig": "contig", "position": "block of positions"}
"""What the groups of folds are called as a column of groups, by ``folds_by``."""

NO_GROUP: Final = -1


@dataclass(frozen=True, slots=True)
class LabelledProbe:
    """The predictions of a probe for N labelled rows.

    Attributes:
        name: Name of the score.
        probe: Name of the probe in the config.
        scores: NaN where a row has no prediction, or was used to train it. (N,)
        group_name: What the folds keep together.
        groups: Number of each row's group, -1 where it has none; None if the probe was trained on
            other rows. (N,)
    """

    name: str
    probe: str
    scores: FloatArray
    group_name: str
    groups: IntArray | None


def add_probes(rows: LabelledRows, predictions: Iterable[Predictions], table: Path) -> LabelledRows:
    """Add the predictions of probes to labelled rows.

    A probe that was trained on this table is added to the rows of its own label only: for these it
    has out-of-fold scores.

    Args:
        rows: The labelled rows.
        predictions: The tables of predictions, opened for the table of the rows.
        table: The table, for messages.

    Raises:
        InputError: A file is broken or has other rows than the table, or a baseline has the name
            of a probe.
    """
    found = [
        read_labelled_probe(rows, one, table)
        for one in predictions
        if not one.is_fitted or one.stated.label == rows.label.field
    ]
    for one in found:
        if one.name in rows.baselines:
            raise InputError(
                f"{shown_path(table)}: a baseline has the name of the probe {shown(one.name)}. "
                "Rename one of the two."
            )
    return replace(
        rows,
        probes={one.name: one.scores for one in found},
        probe_groups=_name_groups(rows, found),
    )


def _name_groups(rows: LabelledRows, probes: Iterable[LabelledProbe]) -> dict[str, IntArray]:
    """The groups of the folds by name, those that several probes share once."""
    groups: dict[str, IntArray] = {}
    for one in probes:
        if one.groups is None or one.group_name in rows.groups:
            continue
        if np.array_equal(groups.setdefault(one.group_name, one.groups), one.groups):
            continue
        groups.setdefault(f"{one.group_name} of {one.probe}", one.groups)
    return groups


def read_labelled_probe(rows: LabelledRows, predictions: Predictions, table: Path) -> LabelledProbe:
    """Read the predictions of a probe for labelled rows.

    Args:
        rows: The labelled rows.
        predictions: The table of predictions.
        table: The table of the rows, for messages.

    Raises:
        InputError: The file is broken, or does not have the labelled rows.
    """
    used = FOLD.name if predictions.is_fitted else IN_TRAINING.name
    more = [GROUP.name] if predictions.is_fitted else []
    step = int(rows.alleles[:, 1].max(initial=0)) + 1
    wanted = np.sort(rows.alleles[:, 0] * step + rows.alleles[:, 1])
    keys = [np.empty((0, 2), dtype=np.int64)]
    scores, groups = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for batch in read_rows(predictions.path, [*KEYS, SCORE.name, used, *more]):
        both = np.stack([batch.column(name).to_numpy().astype(np.int64) for name in KEYS], axis=1)
        keep = (both[:, 1] < step) & np.isin(both[:, 0] * step + both[:, 1], wanted)
        chosen = batch.filter(pa.array(keep))
        of_batch = chosen.column(SCORE.name).to_numpy(zero_copy_only=False).astype(np.float64)
        column = chosen.column(used)
        if predictions.is_fitted:  # a labelled row without a fold was not used, and has no score
            is_valid = column.is_valid().to_numpy(zero_copy_only=False)
            group = chosen.column(GROUP.name).fill_null(NO_GROUP).to_numpy(zero_copy_only=False)
            groups.append(np.where(is_valid, group, NO_GROUP).astype(np.int64))
        else:
            is_valid = ~column.to_numpy(zero_copy_only=False).astype(bool)
        keys.append(both[keep])
        scores.append(np.where(is_valid, of_batch, np.nan))
    if not np.array_equal(np.concatenate(keys), rows.alleles):
        raise InputError(
            f"{shown_path(predictions.path)} does not have the alleles of {shown_path(table)}. "
            f"Run `{predictions.step}` again."
        )
    values = np.concatenate(scores)
    values[~np.isfinite(values) | ~rows.is_scored] = np.nan
    return LabelledProbe(
        name=name_probe(predictions.stated.full_name),
        probe=predictions.stated.name,
        scores=values,
        group_name=GROUP_NAMES[predictions.stated.folds_by],
        groups=np.concatenate(groups) if predictions.is_fitted else None,
    )
