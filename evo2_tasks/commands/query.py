"""The command ``query``: the rows of a region of a table, as text."""

import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from evo2_tasks.exports.tsv import format_header, format_rows
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.query import find_rows

logger = logging.getLogger(__name__)


def query(table: Path, region: str) -> Iterator[str]:
    """The rows of a region as tab-separated text, after a header line.

    Args:
        table: The result of ``merge``.
        region: 1-based, both ends included: ``chr17:43,044,295-43,045,000``, or a contig.

    Yields:
        Lines of text.

    Raises:
        InputError: The table cannot be read, or the region is not one of it.
    """
    batches = find_rows(table, region)
    first = next(batches, None)
    with open_table(table) as file:
        yield format_header(file.schema_arrow)
    if first is None:
        logger.info("%s: no rows in %s", shown_path(table), shown(region))
    for rows in chain([] if first is None else [first], batches):
        yield from format_rows(rows)
