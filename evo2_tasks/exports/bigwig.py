"""The table as bigWig: the mean ``llr`` of the substitutions at each position."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.exports.bedgraph import read_effects
from evo2_tasks.io.bigwig import Run, write_bigwig
from evo2_tasks.io.files import require_other_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import RUN
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)


def write(table: Path, out: Path) -> int:
    """Write the mean effect of each position as bigWig.

    The positions and values are those of the bedGraph, with values of 32 bits. Without any, the
    file is a bigWig without contigs.

    Args:
        table: The table that ``merge`` wrote.
        out: The file to write, named ``.bw``.

    Returns:
        Number of positions.

    Raises:
        InputError: A file cannot be read or written, ``run.json`` is missing, is about another
            table or has no lengths of contigs, or a contig is too long for a bigWig file.
    """
    require_other_file(out, table)
    run = read_run_of(table)
    if run is None or run.contigs is None:
        raise InputError(
            f"{shown_path(table)}: a bigWig file needs the lengths of the contigs, which are in "
            f"{RUN} next to the table. Run `merge` again."
        )
    num_positions = write_bigwig(out, run.contigs, _read_runs(table, run.contigs, out.parent))
    if not num_positions:
        logger.warning("%s: no substitution of a single base has a score", shown_path(table))
    logger.info("%s: %s positions", out, f"{num_positions:,}")
    return num_positions


def _read_runs(table: Path, lengths: Mapping[str, int], folder: Path) -> Iterator[Run]:
    for effects in read_effects(table, lengths, folder=folder):
        for start, mean in zip(effects.starts.tolist(), effects.means.tolist(), strict=True):
            yield effects.contig, start, start + 1, mean
