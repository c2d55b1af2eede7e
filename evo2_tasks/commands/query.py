"""The command ``query``: the rows of a region, a gene or a consequence, as text."""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.exports.tsv import format_header, format_rows
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.calibrated import open_calibrated
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.query import find_rows

logger = logging.getLogger(__name__)


def query(
    table: Path,
    region: str | None = None,
    *,
    consequences: Sequence[str] = (),
    genes: Sequence[str] = (),
) -> Iterator[str]:
    """Some rows of a table as tab-separated text, after a header line.

    The columns of the ``calibrated.parquet`` next to the table follow those of the table.

    Args:
        table: The result of ``merge``.
        region: 1-based, both ends included: ``chr17:43,044,295-43,045,000``, or a contig. Default:
            the whole table.
        consequences: Most severe consequences of an allele, one of which a row must have.
        genes: Names or identifiers of genes, one of which a row must have.

    Yields:
        Lines of text.

    Raises:
        InputError: Nothing to search for is named, the table cannot be read or lacks a column, the
            region is not one of it, a consequence is not known, or ``calibrated.parquet`` is of
            another table.
    """
    if region is None and not consequences and not genes:
        raise InputError("query: name a region, --consequence or --gene.")
    calibrated = open_calibrated(table)
    batches = find_rows(
        table, region, consequences=consequences, genes=genes, calibrated=calibrated
    )
    first = next(batches, None)
    with open_table(table) as file:
        names = file.schema_arrow.names
    yield format_header([*names, *([] if calibrated is None else calibrated.names)])
    if first is None:
        wanted = [*([] if region is None else [region]), *consequences, *genes]
        logger.info("%s: no rows for %s", shown_path(table), shown(", ".join(wanted)))
    for rows in chain([] if first is None else [first], batches):
        yield from format_rows(rows)
