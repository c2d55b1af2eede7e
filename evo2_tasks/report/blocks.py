"""The parts of a section of the report: headings, paragraphs, plots and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evo2_tasks.report.style import Plot
from evo2_tasks.report.words import NOTHING, count, fixed, format_interval

NUMBER, TEXT, CODE, NAME, LONG = "number", "text", "code", "name", "long"
"""Kinds of table columns: numbers (to the right), short text, text in a fixed-width font, names
that wrap where they are long, text that wraps."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section.

    Attributes:
        text: What it says.
        anchor: Its id in the page, for links; empty for none.
    """

    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; a warning is highlighted."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Plots side by side, as many as fit."""

    plots: Sequence[Plot]
    is_dense: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What the cell shows.
        number: The number by which it is sorted; None sorts it by its text.
    """

    text: str | Markup
    number: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: What the table contains.
        columns: Head and kind of each column.
        rows: Cells of each row; the first cell is the head of the row.
        is_sortable: Whether the reader can sort the rows.
        note: A remark after the caption.
    """

    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    is_sortable: bool = True
    note: str = ""


def number_cell(value: float | None, text: str) -> Cell:
    """A cell that is sorted by a number."""
    return Cell(text, value)


def whole_cell(value: int | None) -> Cell:
    """A cell with a whole number."""
    return Cell(NOTHING) if value is None else Cell(count(value), value)


def interval_cell(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    sign: bool = False,
    more: str = "",
) -> Cell:
    """A cell with a number and, smaller, its interval and below it more text."""
    text = fixed(value, sign=sign)
    interval = format_interval(low, high, sign=sign)
    if value is None or not (interval or more):
        return number_cell(value, text)
    small = Markup('<span class="interval">{}</span>')
    lines = [Markup("{} ").format(text) + small.format(interval)]
    lines += [small.format(more)] if more else []
    return Cell(Markup("<br>").join(lines), value)


Block = Heading | Note | Grid | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Tile:
    """The summary of a scoring at the top of the report.

    Attributes:
        scoring: Name of the scoring.
        value: Its main number.
        label: What the number is.
        lines: Further facts.
    """

    scoring: str
    value: str
    label: str
    lines: Sequence[str]


class FigureIds:
    """Gives each plot an id of its own: ``figure-1``, ``figure-2``, ..."""

    def __init__(self) -> None:
        self._num_given = 0

    def __call__(self) -> str:
        """The next id."""
        self._num_given += 1
        return f"figure-{self._num_given}"
