"""What a section of the page consists of: headings, paragraphs, figures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evo2_tasks.report.style import Plot
from evo2_tasks.report.tables import Table


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; a warning stands out."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures side by side, as many as fit."""

    plots: Sequence[Plot]
    is_dense: bool = False


Block = Heading | Note | Grid | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Tile:
    """The first thing to know of a scoring.

    Attributes:
        scoring: Its name.
        value: A figure.
        label: What the figure is.
        lines: What belongs to it.
    """

    scoring: str
    value: str
    label: str
    lines: Sequence[str]


class FigureIds:
    """Gives each figure an id of its own."""

    def __init__(self) -> None:
        self._num_given = 0

    def __call__(self) -> str:
        """The next one."""
        self._num_given += 1
        return f"figure-{self._num_given}"
