"""The table as bigWig: the mean ``llr`` of the substitutions at each position.

Two small files next to it open it in genome browsers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.exports.bedgraph import read_effects
from evo2_tasks.exports.browsers import (
    BigWigTrack,
    Locus,
    write_hub_stanza,
    write_igv_session,
)
from evo2_tasks.io.bigwig import Run, write_bigwig
from evo2_tasks.io.files import require_other_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import RUN
from evo2_tasks.table.statements import read_run_of

FIRST_BASES: Final = 20_000
"""Most bases that a browser shows first."""

logger = logging.getLogger(__name__)


def write(table: Path, out: Path) -> int:
    """Write the mean effect of each position as bigWig, and the files of :mod:`browsers`.

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
    runs = _Runs(table, run.contigs, out.parent)
    num_positions = write_bigwig(out, run.contigs, runs)
    *_, variant_set, scoring = ("", *table.absolute().parent.parts[1:])
    track = BigWigTrack(out, f"{variant_set} {scoring}".strip(), "mean llr of the SNVs, nats")
    write_hub_stanza(track)
    if run.reference is not None:
        write_igv_session(track, fasta=run.reference.fasta, locus=runs.first)
    if not num_positions:
        logger.warning("%s: no substitution of a single base has a score", shown_path(table))
    logger.info("%s: %s positions", out, f"{num_positions:,}")
    return num_positions


class _Runs:
    """The values of a table by position.

    Attributes:
        first: The positions with values around the first one; None before they are read.
    """

    def __init__(self, table: Path, lengths: Mapping[str, int], folder: Path) -> None:
        self.first: Locus | None = None
        self._source = table, lengths, folder

    def __iter__(self) -> Iterator[Run]:
        table, lengths, folder = self._source
        for effects in read_effects(table, lengths, folder=folder):
            starts = effects.starts
            if self.first is None:
                near = starts[starts < starts[0] + FIRST_BASES]
                self.first = Locus(effects.contig, int(starts[0]), int(near[-1]) + 1)
            for start, mean in zip(starts.tolist(), effects.means.tolist(), strict=True):
                yield effects.contig, start, start + 1, mean
