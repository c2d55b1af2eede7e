"""Which rows of a table have a label, and why the others have none."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.values import Text, encode_texts, read_floats, split_parts, to_array
from evo2_tasks.io.words import LONG, shown

logger = logging.getLogger(__name__)

POSITIVE, NEGATIVE, NUMBER = "positive", "negative", "number"
NO_VALUE, OTHER_VALUE, BOTH = "no value", "another value", "positive and negative"
MIN_STARS: Final = "min_review_stars"
MOST_VALUES: Final = 8
"""Most values of a field that a message lists; the most frequent come first."""

MOST_CHARACTERS: Final = 60
"""Most characters of a value in a message."""

REVIEW_STARS: Final = (
    ("practice_guideline", 4),
    ("reviewed_by_expert_panel", 3),
    ("multiple_submitters,_no_conflicts", 2),
    ("criteria_provided,_conflicting", 1),
    ("criteria_provided,_single_submitter", 1),
)
"""ClinVar's stars by a text in the review status, the most stars first; others have no star."""


@dataclasses.dataclass(frozen=True, slots=True)
class LabelSettings:
    """A field of labels and which of its values count; the keys of a variant set's `labels`.

    Attributes:
        field: INFO field or column.
        positive: Values that count as harmful; empty for a numeric label.
        negative: Values to compare them with; empty for a numeric label.
        harmful: For a numeric label: which values are harmful, ``low`` or ``high``.
        where: Accepted values of other fields; a row must have one of them in each field.
        review_status: Field of ClinVar's review status.
        min_review_stars: Fewest stars of a row; None accepts all rows.
        resample_by: Field whose values are the clusters of the bootstrap; None is the position.
    """

    field: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    harmful: str | None = None
    where: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    review_status: str = "CLNREVSTAT"
    min_review_stars: int | None = None
    resample_by: str | None = None

    @property
    def fields(self) -> list[str]:
        """Columns that are read for this label."""
        others = [self.review_status] if self.min_review_stars is not None else []
        others += [self.resample_by] if self.resample_by is not None else []
        return [self.field, *self.where, *others]

    @property
    def values_by_kind(self) -> dict[str, tuple[str, ...]]:
        """The values that count, by kind; empty for a numeric label."""
        return {} if self.harmful else {POSITIVE: self.positive, NEGATIVE: self.negative}

    @property
    def definition(self) -> str:
        """The settings in one line, in the words of the config."""
        parts = [f"{kind}: {', '.join(values)}" for kind, values in self.values_by_kind.items()]
        parts = parts or [f"harmful: {self.harmful}"]
        parts += [f"where {name}: {', '.join(values)}" for name, values in self.where.items()]
        if self.min_review_stars is not None:
            parts.append(f"{MIN_STARS}: {self.min_review_stars}")
        if self.resample_by is not None:
            parts.append(f"resample_by: {self.resample_by}")
        return shown("; ".join(parts), LONG)


def orient(numbers: FloatArray, harmful: str | None) -> FloatArray:
    """Orient numbers so that higher is more harmful."""
    return -numbers if harmful == "low" else numbers


def review_stars(status: str) -> int:
    """ClinVar's stars for a review status, as its VCF spells it."""
    return next((stars for text, stars in REVIEW_STARS if text in status), 0)


@dataclasses.dataclass(slots=True)
class Selection:
    """Chooses the rows that have a label, and counts the others by reason.

    Attributes:
        label: Which values count.
        source: The table, for messages.
        num_rows: Rows seen so far.
        left_out: Rows without a label, by the first reason that applies: ``NO_VALUE``,
            ``OTHER_VALUE``, ``BOTH``, ``where`` and a field, ``MIN_STARS``.
    """

    label: LabelSettings
    source: Path
    num_rows: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    # Rows that have a label but are excluded by a restriction, by kind of label and reason.
    _excluded: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    # How often each value occurs, by field.
    _values: dict[str, Counter[str]] = dataclasses.field(default_factory=dict)

    def choose(self, rows: pa.Table) -> tuple[BoolArray, npt.NDArray[Any]]:
        """Choose which of some more rows have a label.

        Args:
            rows: N rows with the columns of ``LabelSettings.fields``.

        Returns:
            Whether a row has a label (N,), and the target of the labelled rows: true where the
            row is positive, or a number of which higher is more harmful.

        Raises:
            InputError: The label should be a number, and the field holds text.
        """
        self.num_rows += rows.num_rows
        if self.label.harmful is None:
            kinds = self._read_kinds(rows)
            target: npt.NDArray[Any] = kinds == POSITIVE
        else:
            column = rows[self.label.field]
            numbers = read_floats(column, self.label.field, self.source)
            kinds = np.where(np.isfinite(numbers), NUMBER, NO_VALUE).astype(object)
            target = orient(numbers, self.label.harmful)
        keep: BoolArray = np.isin(kinds, [POSITIVE, NEGATIVE, NUMBER])
        self.left_out.update(kinds[~keep].tolist())
        for reason, is_accepted in self._restrict(rows):
            excluded = kinds[keep & ~is_accepted].tolist()
            self._excluded.update((kind, reason) for kind in excluded)
            self.left_out[reason] += len(excluded)
            keep &= is_accepted
        return keep, target[keep]

    def explain(self, target: npt.NDArray[Any]) -> str:
        """Explain in one line why the labels allow no metric; empty if they do.

        Args:
            target: Target of all labelled rows. (N,)
        """
        if not self.num_rows:
            return "the table has no rows"
        by_kind = self.label.values_by_kind
        if not len(target):
            values = [value for of_kind in by_kind.values() for value in of_kind]
            what = "a number" if not by_kind else "a label" if self._excluded else _any_of(values)
            return self._explain("no row is labelled", what, [*by_kind, NUMBER])
        absent = {POSITIVE: not target.any(), NEGATIVE: target.all()} if by_kind else {}
        return "; ".join(
            self._explain(f"no labelled row is {kind}", _any_of(by_kind[kind]), [kind])
            for kind in absent
            if absent[kind]
        )

    def warn_of_spelling(self) -> None:
        """Warn of values that no row has, if rows have the same value in another case."""
        labels = [(self.label.field, values) for values in self.label.values_by_kind.values()]
        for name, values in [*labels, *self.label.where.items()]:
            for value, near in _other_case(values, self._values.get(name, Counter())):
                logger.warning(
                    "%s: no row has %s in %s, but some rows have %s: values are case-sensitive",
                    self.source, _short(value), shown(name), _short(near),
                )  # fmt: skip

    def _read_kinds(self, rows: pa.Table) -> Text:
        """Kind of each row's label, or the reason why it has no label."""
        texts, numbers = self._count(self.label.field, rows)
        return to_array(map(self._find_kind, texts))[numbers]

    def _find_kind(self, text: str) -> str:
        """Kind of a label, or the reason why it is none."""
        by_kind = self.label.values_by_kind
        parts = split_parts(text)
        kinds = [kind for kind, values in by_kind.items() if parts & {*values}]
        none = OTHER_VALUE if text else NO_VALUE
        return BOTH if len(kinds) > 1 else next(iter(kinds), none)

    def _restrict(self, rows: pa.Table) -> Iterator[tuple[str, BoolArray]]:
        """Each restriction of the config, and which rows it accepts."""
        for name, values in self.label.where.items():
            texts, numbers = self._count(name, rows)
            is_accepted = [bool(split_parts(text) & {*values}) for text in texts]
            yield _where(name), np.array(is_accepted, dtype=bool)[numbers]
        if self.label.min_review_stars is not None:
            texts, numbers = encode_texts(rows[self.label.review_status])
            enough = [review_stars(text) >= self.label.min_review_stars for text in texts]
            yield MIN_STARS, np.array(enough, dtype=bool)[numbers]

    def _count(self, name: str, rows: pa.Table) -> tuple[list[str], IntArray]:
        """Values of a column, as ``encode_texts`` gives them; counts them for the messages."""
        texts, numbers = encode_texts(rows[name])
        counts = np.bincount(numbers, minlength=len(texts)).tolist()
        self._values.setdefault(name, Counter()).update(dict(zip(texts, counts, strict=True)))
        return texts, numbers

    def _explain(self, problem: str, what: str, kinds: Collection[str]) -> str:
        """Explain why no row with a label of these kinds is left."""
        name = shown(self.label.field)
        by_reason: Counter[str] = Counter()
        for (kind, reason), number in self._excluded.items():
            by_reason[reason] += number if kind in kinds else 0
        total = by_reason.total()
        if not total:
            values = self._list_values(self.label.field) if self.label.values_by_kind else ""
            return f"{problem}: no row has {what} in {name}{values}"
        reasons = " and ".join(
            f"'{reason}' leaves out {n:,}" for reason, n in by_reason.items() if n
        )
        fields = [field for field in self.label.where if by_reason[_where(field)]]
        values = "".join(map(self._list_values, fields))
        rows = "1 row" if total == 1 else f"{total:,} rows"
        return f"{problem}: of {rows} with {what} in {name}, {reasons}{values}"

    def _list_values(self, name: str) -> str:
        """The values of a field, and the one that differs from a configured one by case alone."""
        counts = Counter(self._values[name])
        del counts[""]
        if not counts:
            return f"; {shown(name)} has no value in any row"
        values = [
            f"{_short(text)} ({number:,})" for text, number in counts.most_common(MOST_VALUES)
        ]
        num_more = len(counts) - len(values)
        more = f" and {num_more:,} more" if num_more else ""
        configured = self.label.where.get(name) or [*self.label.positive, *self.label.negative]
        near = [other for _, other in _other_case(configured, counts)]
        hint = f": did you mean {_short(near[0])}? Values are case-sensitive" if near else ""
        return f"; the values of {shown(name)} are {', '.join(values)}{more}{hint}"


def _where(name: str) -> str:
    return f"where {shown(name)}"


def _short(text: str) -> str:
    return shown(text, MOST_CHARACTERS)


def _any_of(values: Iterable[str]) -> str:
    names = [*map(_short, values)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _other_case(configured: Iterable[str], counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Configured values that no row has, each with one that differs from it by case alone."""
    parts = {part for text in counts for part in split_parts(text)}
    by_folded = {part.casefold(): part for part in sorted(parts)}
    for value in configured:
        if value not in parts and value.casefold() in by_folded:
            yield value, by_folded[value.casefold()]
