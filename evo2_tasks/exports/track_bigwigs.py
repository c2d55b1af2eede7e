"""Tracks as bigWig, one file for each of the values that genome browsers show."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.exports.browsers import (
    BigWigTrack,
    Locus,
    write_hub_stanza,
    write_igv_session,
)
from evo2_tasks.io.bigwig import Run, write_bigwig
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import TRACK_BIGWIGS, TRACKS_RUN
from evo2_tasks.table.documents import TracksRun
from evo2_tasks.table.parquet import read_rows

logger = logging.getLogger(__name__)

DESCRIPTIONS: Final = {
    "logp_ref": "log-probability of the reference, nats",
    "entropy": "entropy of the four bases, bits",
}
"""What the values of each column are, in a few words."""

FIRST_BASES: Final = 1_000
"""Bases that a browser shows first, at most."""


def write_track_bigwigs(table: Path, folder: Path) -> None:
    """Write the bigWig files of a table of tracks, and for each the files of :mod:`browsers`.

    Args:
        table: The table that ``merge_tracks`` wrote.
        folder: The folder of the files.

    Raises:
        InputError: A file cannot be read or written, ``tracks.json`` is missing or about another
            table, or a contig is too long for a bigWig file.
    """
    files = SourceFiles()
    run_file = table.with_name(TRACKS_RUN)
    run = TracksRun.read(run_file)
    if files.add(table) != run.table_digest:
        raise InputError(
            f"{shown_path(run_file)}: is about another table than {shown_path(table)}. Run "
            "`merge_tracks` again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    *_, track_set, scoring = ("", *table.absolute().parent.parts[1:])
    locus = _find_locus(table)
    for column, name in TRACK_BIGWIGS.items():
        num = write_bigwig(folder / name, run.contigs, _read_runs(table, column))
        track = BigWigTrack(
            folder / name, f"{track_set} {scoring} {column}".strip(), DESCRIPTIONS[column]
        )
        write_hub_stanza(track)
        write_igv_session(track, fasta=run.fasta, locus=locus)
        logger.info("%s: %s bases", folder / name, f"{num:,}")
    files.require_unchanged()


def _find_locus(table: Path) -> Locus | None:
    """The first bases of a table; None if it has none."""
    for batch in read_rows(table, ["contig", "pos"], batch_rows=FIRST_BASES):
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        contig, first = rows[0]
        last = max(pos for name, pos in rows if name == contig and pos < first + FIRST_BASES)
        return Locus(contig, first - 1, last)
    return None


def _read_runs(table: Path, column: str) -> Iterator[Run]:
    """The value of each base that has one, in the order of the table."""
    for batch in read_rows(table, ["contig", "pos", column]):
        columns = batch.filter(batch.column(column).is_valid()).columns
        for contig, pos, value in zip(*(one.to_pylist() for one in columns), strict=True):
            yield contig, pos - 1, pos, value
