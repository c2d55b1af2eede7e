"""Which rows of a table have a label, and what they are grouped and compared by."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.estimates import number_groups
from evo2_tasks.evaluation.metrics import BoolArray, FloatArray, IntArray
from evo2_tasks.table.files import open_table, read_rows

logger = logging.getLogger(__name__)

MISSING: Final = "."
"""What stands for a group that is not there, as in VCF."""

KEYS: Final = ("contig", "pos", "ref", "alt", "status")
SCORES: Final = ("llr", "llr_aligned", "llr_fwd", "llr_rev")
REVIEW_STARS: Final = (
    ("practice_guideline", 4),
    ("reviewed_by_expert_panel", 3),
    ("multiple_submitters,_no_conflicts", 2),
    ("criteria_provided,_conflicting", 1),
    ("criteria_provided,_single_submitter", 1),
)
"""ClinVar's stars by what the review status holds, the most first; all others have none."""

Text = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """A field of labels and what counts; the keys of a variant set's `labels`.

    Attributes:
        field: INFO field or column.
        positive: Values that count as harmful; none for numbers.
        negative: Values to compare them with; none for numbers.
        harmful: For numbers, which end of them is harmful: ``low`` or ``high``.
        where: Values of other fields, one of which a row must have.
        review_status: Field of ClinVar's review status.
        min_review_stars: Fewest stars of a row; None asks for none.
        resample_by: Field whose rows are drawn as one; None is the position.
    """

    field: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    harmful: str | None = None
    where: Mapping[str, tuple[str, ...]] | None = None
    review_status: str = "CLNREVSTAT"
    min_review_stars: int | None = None
    resample_by: str | None = None

    @property
    def fields(self) -> list[str]:
        """Columns that it reads."""
        others = [self.review_status] if self.min_review_stars is not None else []
        others += [self.resample_by] if self.resample_by is not None else []
        return [self.field, *(self.where or {}), *others]


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The rows that have a label, N of them; all scores so that higher is more harmful.

    Attributes:
        field: INFO field or column of the labels.
        target: True where a row is positive, or a number, the higher the more harmful. (N,)
        has_classes: Whether the target is the former.
        status: Why a row has or lacks a score. (N,)
        types: Type of the variant. (N,)
        clusters: Number of what is drawn as one. (N,)
        scores: The table's scores, those of one strand only where both were read; NaN where a row
            has none. Each (N,)
        baselines: The same of the baselines.
        groups: Value by group column. Each (N,)
    """

    field: str
    target: npt.NDArray[Any]
    has_classes: bool
    status: Text
    types: Text
    clusters: IntArray
    scores: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    groups: dict[str, Text]

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
    kept = []
    for batch in read_rows(source, columns):
        rows = pa.Table.from_batches([batch], schema)
        kept.append(rows.filter(pa.array(_has_label(rows, label, source))))
    table = pa.concat_tables(kept) if kept else schema.empty_table()
    if not table.num_rows:
        wanted = [*label.positive, *label.negative] or ["a number"]
        logger.warning(
            "%s: no row has %s in %s: no figures", source, " or ".join(wanted), label.field
        )
    contigs, positions = _texts(table["contig"]), table["pos"].to_numpy()
    scores = {name: -_numbers(table[name], name, source) for name in SCORES}
    both = all(np.isfinite(scores[name]).any() for name in ("llr_fwd", "llr_rev"))
    return LabelledRows(
        field=label.field,
        target=_target(table, label, source),
        has_classes=label.harmful is None,
        status=_texts(table["status"]),
        types=np.array(
            [*map(variant_type, table["ref"].to_pylist(), table["alt"].to_pylist())], dtype=object
        ),
        clusters=number_groups(contigs, positions)
        if label.resample_by is None
        else number_groups(_texts(table[label.resample_by])),
        scores={name: scores[name] for name in (SCORES if both else SCORES[:2])},
        baselines={
            name: _oriented(_numbers(table[name], name, source), end)
            for name, end in baselines.items()
        },
        groups={name: _group_names(table[name]) for name in groups},
    )


def variant_type(ref: str, alt: str) -> str:
    """Type of an allele, by the lengths that are left without common ends."""
    if "<" in alt or "[" in alt or "]" in alt:
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


def review_stars(status: str) -> int:
    """ClinVar's stars for a review status, as its VCF spells it."""
    return next((stars for text, stars in REVIEW_STARS if text in status), 0)


def _has_label(rows: pa.Table, label: LabelSettings, source: Path) -> BoolArray:
    """Which rows are to be evaluated."""
    if label.harmful is None:
        kinds = [_kind(text, label) for text in rows[label.field].to_pylist()]
        keep = np.array([kind is not None for kind in kinds], dtype=bool)
    else:
        keep = np.isfinite(_numbers(rows[label.field], label.field, source))
    for field, values in (label.where or {}).items():
        wanted = set(values)
        keep &= np.array(
            [bool(_parts(value) & wanted) for value in rows[field].to_pylist()], dtype=bool
        )
    if label.min_review_stars is not None:
        stars = [review_stars(_text(value)) for value in rows[label.review_status].to_pylist()]
        keep &= np.array(stars, dtype=np.int64) >= label.min_review_stars
    return keep


def _kind(value: Any, label: LabelSettings) -> bool | None:
    """Whether a value is positive; None where it is neither or both."""
    parts = _parts(value)
    is_positive, is_negative = bool(parts & set(label.positive)), bool(parts & set(label.negative))
    return is_positive if is_positive != is_negative else None


def _parts(value: Any) -> set[str]:
    """A value as it stands, and what it consists of: ``Benign/Likely_benign`` is both."""
    text = _text(value)
    return {text, *re.split(r"[/|,]", text)} - {""}


def _text(value: Any) -> str:
    """A value as VCF has it; the empty text where there is none."""
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    return "" if value is None else str(value)


def _texts(column: pa.ChunkedArray) -> Text:
    """A column as text; ``.`` where there is none."""
    return np.array([_text(value) or MISSING for value in column.to_pylist()], dtype=object)


def _group_names(column: pa.ChunkedArray) -> Text:
    """Names of groups: `SO:0001583|missense_variant` is the second of its two halves."""
    return np.array([re.sub(r"SO:\d+\|", "", text) for text in _texts(column)], dtype=object)


def _numbers(column: pa.ChunkedArray, name: str, source: Path) -> FloatArray:
    """A column of numbers as float64, NaN where there is none, or a list of several.

    Raises:
        InputError: It holds something else.
    """
    kind = column.type
    if pa.types.is_list(kind):
        is_one = pc.equal(pc.list_value_length(column), 1)
        column = pc.list_element(pc.if_else(is_one, column, pa.scalar([None], kind)), 0)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{source}: column {name}: expected numbers, as `harmful` and `baselines` ask for: "
            f"{error}"
        ) from error
    values: FloatArray = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    values[np.isinf(values)] = np.nan
    return values


def _oriented(numbers: FloatArray, harmful: str) -> FloatArray:
    """So that higher is more harmful."""
    return -numbers if harmful == "low" else numbers


def _target(table: pa.Table, label: LabelSettings, source: Path) -> npt.NDArray[Any]:
    column = table[label.field]
    if label.harmful is not None:
        return _oriented(_numbers(column, label.field, source), label.harmful)
    return np.array([_kind(value, label) for value in column.to_pylist()], dtype=bool)
