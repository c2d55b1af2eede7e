"""Rows, pairs and counts as aligned text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.table.statistics import Distribution

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

FIRST_ROWS: Final = 5
"""How many of the first rows of a table are shown."""

_WIDEST: Final = 20
"""Most characters of a cell by default; a longer text ends in an ellipsis."""


def format_rows(
    batches: Iterable[pa.RecordBatch], names: Sequence[str], *, widest: int = _WIDEST
) -> Iterator[str]:
    """Format rows in aligned columns below a header line, long texts cut.

    Args:
        batches: Rows of a table.
        names: The columns.
        widest: Most characters of a cell.

    Yields:
        Lines of text.
    """
    widths = [0] * len(names)
    header: list[tuple[str, ...]] = [tuple(map(escape_text, names))]
    for batch in batches:
        values = (batch.column(name).to_pylist() for name in names)
        columns = [[_cell(value, widest) for value in column] for column in values]
        rows = [*header, *zip(*columns, strict=True)]
        header = []
        # Earlier lines are printed already, so a column can only become wider.
        widths = [
            max(width, *map(len, cells))
            for width, cells in zip(widths, zip(*rows, strict=True), strict=True)
        ]
        for row in rows:
            yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _cell(value: Any, widest: int) -> str:
    match value:
        case None:
            return "."
        case float():
            return f"{value:.4g}"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return ",".join(escape_text(str(one)) for one in value) or "."
    text = escape_text(str(value))
    return text if len(text) <= widest else text[: widest - 1] + "…"


def flatten(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The values of a JSON object as text, by their keys; inner keys as in ``scoring.strands``.

    Args:
        prefix: Start of each key.
        values: The object.
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(f"{prefix}{key}.", value)
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[escape_text(prefix + key)] = escape_text(text)
    return flat


def format_quantiles(title: str, numbers: Distribution) -> Iterator[str]:
    """Format the quantiles of at least one number, below a line with their title."""
    yield title if numbers.is_exact else f"{title} (quantiles are accurate to 0.2 %)"
    yield from format_pairs(
        {
            "lowest": f"{numbers.minimum:.4g}",
            **{f"{share:.0%}": f"{numbers.quantile(share):.3g}" for share in QUANTILES},
            "highest": f"{numbers.maximum:.4g}",
        }
    )


def format_pairs(values: Mapping[str, str]) -> Iterator[str]:
    """Format names and values, one line each."""
    width = max(map(len, values))
    return (f"  {key.ljust(width)}  {value}".rstrip() for key, value in values.items())


def format_counts(title: str, counts: Mapping[str, int], total: int) -> Iterator[str]:
    """Format counts with their shares of a total, below a line with their title."""
    yield title
    if not counts:
        yield "  none"
        return
    cells = {name: (f"{number:,}", f"{number / total:.1%}") for name, number in counts.items()}
    width = max(len(number) for number, _ in cells.values())
    yield from format_pairs(
        {name: f"{number.rjust(width)}  {share}" for name, (number, share) in cells.items()}
    )
