"""Which rows of a table have a label, and what became of the others."""

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

from evo2_tasks.evaluation.metrics import BoolArray, FloatArray
from evo2_tasks.evaluation.values import Text, read_floats, read_text, split_parts
from evo2_tasks.io.words import LONG, shown

logger = logging.getLogger(__name__)

POSITIVE, NEGATIVE, NUMBER = "positive", "negative", "number"
NO_VALUE, OTHER_VALUE, BOTH = "no value", "another value", "positive and negative"
MIN_STARS: Final = "min_review_stars"
MOST_TOLD: Final = 8
"""Values of a field that a message lists, the most frequent first."""

MOST_CHARACTERS: Final = 60
"""Of a value in a message."""

REVIEW_STARS: Final = (
    ("practice_guideline", 4),
    ("reviewed_by_expert_panel", 3),
    ("multiple_submitters,_no_conflicts", 2),
    ("criteria_provided,_conflicting", 1),
    ("criteria_provided,_single_submitter", 1),
)
"""ClinVar's stars by what the review status holds, the most first; all others have none."""


@dataclasses.dataclass(frozen=True, slots=True)
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
    where: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    review_status: str = "CLNREVSTAT"
    min_review_stars: int | None = None
    resample_by: str | None = None

    @property
    def fields(self) -> list[str]:
        """Columns that it reads."""
        others = [self.review_status] if self.min_review_stars is not None else []
        others += [self.resample_by] if self.resample_by is not None else []
        return [self.field, *self.where, *others]

    @property
    def wanted(self) -> dict[str, tuple[str, ...]]:
        """The values that count, by kind; none for numbers."""
        return {} if self.harmful else {POSITIVE: self.positive, NEGATIVE: self.negative}

    @property
    def definition(self) -> str:
        """All that it says, in one line and in the words of the config."""
        told = [f"{kind}: {', '.join(values)}" for kind, values in self.wanted.items()]
        told = told or [f"harmful: {self.harmful}"]
        told += [f"where {name}: {', '.join(values)}" for name, values in self.where.items()]
        if self.min_review_stars is not None:
            told.append(f"{MIN_STARS}: {self.min_review_stars}")
        if self.resample_by is not None:
            told.append(f"resample_by: {self.resample_by}")
        return shown("; ".join(told), LONG)


def orient(numbers: FloatArray, harmful: str | None) -> FloatArray:
    """Numbers so that higher is more harmful."""
    return -numbers if harmful == "low" else numbers


def review_stars(status: str) -> int:
    """ClinVar's stars for a review status, as its VCF spells it."""
    return next((stars for text, stars in REVIEW_STARS if text in status), 0)


@dataclasses.dataclass(slots=True)
class Selection:
    """Chooses the rows that have a label, and counts what became of the others.

    Attributes:
        label: What counts.
        source: The table, for messages.
        num_rows: Rows seen.
        left_out: Those without a label, by the first reason: ``NO_VALUE``, ``OTHER_VALUE``,
            ``BOTH``, ``where`` and a field, ``MIN_STARS``.
    """

    label: LabelSettings
    source: Path
    num_rows: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    # Those of `left_out` that would have a label, by kind and reason.
    _removed: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    _found: dict[str, Counter[str]] = dataclasses.field(default_factory=dict)  # values by field
    _kinds: dict[str, str] = dataclasses.field(default_factory=dict)  # of each text seen

    def choose(self, rows: pa.Table) -> tuple[BoolArray, npt.NDArray[Any]]:
        """Which of some more rows have a label.

        Args:
            rows: With the columns of ``LabelSettings.fields``. N of them.

        Returns:
            Whether a row has a label (N,), and the target of those that do: true where it is
            positive, or a number, the higher the more harmful.

        Raises:
            InputError: The field is to be a number and is none.
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
        for reason, fits in self._restrict(rows):
            removed = kinds[keep & ~fits].tolist()
            self._removed.update((kind, reason) for kind in removed)
            self.left_out[reason] += len(removed)
            keep &= fits
        return keep, target[keep]

    def explain(self, target: npt.NDArray[Any]) -> str:
        """Why there are no figures, one line; empty where the labels allow them.

        Args:
            target: Of all labelled rows. (N,)
        """
        if not self.num_rows:
            return "the table has no rows"
        wanted = self.label.wanted
        if not len(target):
            values = [value for of_kind in wanted.values() for value in of_kind]
            what = "a number" if not wanted else "a label" if self._removed else _any_of(values)
            return self._explain("no row is labelled", what, [*wanted, NUMBER])
        absent = {POSITIVE: not target.any(), NEGATIVE: target.all()} if wanted else {}
        return "; ".join(
            self._explain(f"no labelled row is {kind}", _any_of(wanted[kind]), [kind])
            for kind in absent
            if absent[kind]
        )

    def warn_of_spelling(self) -> None:
        """Say which values no row has, where one of another case is there."""
        wanted = [(self.label.field, values) for values in self.label.wanted.values()]
        for name, values in [*wanted, *self.label.where.items()]:
            for value, near in _other_case(values, self._found.get(name, Counter())):
                logger.warning(
                    "%s: no row has %s in %s, but %s: upper and lower case count",
                    self.source, _short(value), shown(name), _short(near),
                )  # fmt: skip

    def _read_kinds(self, rows: pa.Table) -> Text:
        """Kind of each row, or the reason why it has none."""
        texts = self._count(self.label.field, rows)
        for text in {*texts} - {*self._kinds}:
            parts = split_parts(text)
            kinds = [kind for kind, values in self.label.wanted.items() if parts & {*values}]
            none = OTHER_VALUE if text else NO_VALUE
            self._kinds[text] = BOTH if len(kinds) > 1 else next(iter(kinds), none)
        return np.array([self._kinds[text] for text in texts], dtype=object)

    def _restrict(self, rows: pa.Table) -> Iterator[tuple[str, BoolArray]]:
        """What restricts the rows, and which of them it lets pass."""
        for name, values in self.label.where.items():
            texts = self._count(name, rows)
            fitting = {text for text in {*texts} if split_parts(text) & {*values}}
            yield _where(name), np.array([text in fitting for text in texts], dtype=bool)
        if self.label.min_review_stars is not None:
            texts = [read_text(value) for value in rows[self.label.review_status].to_pylist()]
            stars = {text: review_stars(text) for text in {*texts}}
            enough = [stars[text] >= self.label.min_review_stars for text in texts]
            yield MIN_STARS, np.array(enough, dtype=bool)

    def _count(self, name: str, rows: pa.Table) -> list[str]:
        """Values of a column as text; how often each occurs is kept for messages."""
        texts = [read_text(value) for value in rows[name].to_pylist()]
        self._found.setdefault(name, Counter()).update(texts)
        return texts

    def _explain(self, said: str, what: str, kinds: Collection[str]) -> str:
        """Why no row is left of those of some kinds, by what left them out."""
        name = shown(self.label.field)
        by_reason: Counter[str] = Counter()
        for (kind, reason), number in self._removed.items():
            by_reason[reason] += number if kind in kinds else 0
        if not by_reason.total():
            values = self._tell_values(self.label.field) if self.label.wanted else ""
            return f"{said}: no row has {what} in {name}{values}"
        told = " and ".join(f"{reason} left out {n:,}" for reason, n in by_reason.items() if n)
        fields = [one for one in self.label.where if by_reason[_where(one)]]
        values = "".join(map(self._tell_values, fields))
        return f"{said}: of {by_reason.total():,} with {what} in {name}, {told}{values}"

    def _tell_values(self, name: str) -> str:
        """The values that a field has, and one that differs from a wanted one by case alone."""
        found = Counter(self._found[name])
        del found[""]
        if not found:
            return f"; {shown(name)} has no value in any row"
        told = [f"{_short(text)} ({number:,})" for text, number in found.most_common(MOST_TOLD)]
        more = f" and {len(found) - MOST_TOLD:,} more" if len(found) > MOST_TOLD else ""
        wanted = self.label.where.get(name) or [*self.label.positive, *self.label.negative]
        near = [other for _, other in _other_case(wanted, found)]
        hint = f": did you mean {_short(near[0])}? Upper and lower case count" if near else ""
        return f"; {shown(name)} holds {', '.join(told)}{more}{hint}"


def _where(name: str) -> str:
    return f"where {shown(name)}"


def _short(text: str) -> str:
    return shown(text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…", LONG)


def _any_of(values: Iterable[str]) -> str:
    names = [*map(_short, values)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _other_case(wanted: Iterable[str], found: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Wanted values that are not there, each with one that differs from it by case alone."""
    parts = {part for text in found for part in split_parts(text)}
    by_folded = {part.casefold(): part for part in sorted(parts)}
    for value in wanted:
        if value not in parts and value.casefold() in by_folded:
            yield value, by_folded[value.casefold()]
