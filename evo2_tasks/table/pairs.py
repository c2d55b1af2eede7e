"""The two windows of each allele and strand, from a windows file and its segments."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.haplotype_windows import haplotype_sequences
from evo2_tasks.genome.window_pairs import Edit, Strand, strand_sequences
from evo2_tasks.genome.windows import PlacedAllele
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.hits import KEYS, Hits
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.segments import Segments

# Files of earlier versions lack the reason, which does not matter here.
PLACEMENT_COLUMNS = tuple(name for name in PlacedAllele._fields if name != "reason")


def read_pairs(
    windows_file: Path, segments: Segments, strands: Sequence[Strand], hits: Hits | None = None
) -> Iterator[WindowPair]:
    """The windows of each allele and strand that the model has to run.

    Args:
        windows_file: The alleles with their windows.
        segments: The reference bases of the windows.
        strands: The strands to read.
        hits: Alleles whose scores are known; None if there are none.

    Yields:
        Pairs of windows, in the order of the rows.

    Raises:
        InputError: A file cannot be read.
    """
    for first_row, places, batch in _read_missing(windows_file, PLACEMENT_COLUMNS, hits):
        columns = [batch.column(name).to_pylist() for name in PLACEMENT_COLUMNS]
        for place, values in zip(places, zip(*columns, strict=True), strict=True):
            row = first_row + place
            placed = as_placed(dict(zip(PLACEMENT_COLUMNS, values, strict=True)))
            pair, sizes = placed.pair, placed.sizes
            if pair is None:
                continue
            [edit] = pair.edits
            for strand in strands:
                if strand in sizes:
                    length, prefix = sizes[strand]
                    contig = segments.contigs[pair.contig]
                    if placed.background:
                        sequences = haplotype_sequences(
                            segments.fetch, placed, strand, length, *contig
                        )
                    else:
                        sequences = strand_sequences(segments.fetch, pair, strand, length, *contig)
                    yield WindowPair(row, strand, *sequences, prefix, edit.num_ref, len(edit.alt))


def count_tokens(windows_file: Path, hits: Hits | None = None) -> int:
    """Number of tokens in the windows that the model has to run.

    A window that several alleles share counts once for each of them.

    Args:
        windows_file: The alleles with their windows.
        hits: Alleles whose scores are known; None if there are none.

    Raises:
        InputError: A file cannot be read.
    """
    lengths = ("length_fwd", "length_rev")
    return sum(
        2 * (pc.sum(batch.column(name)).as_py() or 0)
        for _, _, batch in _read_missing(windows_file, lengths, hits)
        for name in lengths
    )


def _read_missing(
    windows_file: Path, columns: Sequence[str], hits: Hits | None
) -> Iterator[tuple[int, Sequence[int], pa.RecordBatch]]:
    """The rows of a windows file that are no hits, in pieces.

    Yields:
        The first row of the piece in the shard, the places of its rows from there, and the rows.
    """
    first_row = 0
    known = None if hits is None else hits.rows()
    for batch in read_rows(windows_file, columns if known is None else [*KEYS, *columns]):
        places: Sequence[int] = range(batch.num_rows)
        rows = batch
        if known is not None:
            is_hit = np.zeros(batch.num_rows, dtype=bool)
            is_hit[known.take(batch.column(KEYS[0]), batch.column(KEYS[1]))[0]] = True
            places = np.flatnonzero(~is_hit).tolist()
            rows = batch.filter(pa.array(~is_hit))
        yield first_row, places, rows
        first_row += batch.num_rows


def as_placed(row: dict[str, Any]) -> PlacedAllele:
    """A row of a windows file."""
    background = tuple(Edit(**edit) for edit in row.pop("background"))
    return PlacedAllele(**row, background=background)


def require_unscored(statuses: pa.Array, windows_file: Path) -> None:
    """Make sure that a windows file is not of an old version, which wrote ``scored`` too early.

    Args:
        statuses: The statuses of some of its rows.
        windows_file: The file, for the message.

    Raises:
        InputError: One of them is ``scored``, which only the step ``score`` can know.
    """
    if pc.any(pc.equal(statuses, "scored")).as_py():
        raise InputError(
            f"{shown_path(windows_file)}: an earlier version of evo2-tasks wrote this file (status "
            "`scored` before the model has run). Delete it, so that `windows` runs again."
        )


def digest_pairs(pairs: Sequence[WindowPair]) -> str:
    """SHA-256 of the windows of a part, and of their rows, strands and first differences."""
    digest = hashlib.sha256()
    for pair in pairs:
        place = (pair.row, pair.strand, pair.prefix, pair.num_ref, pair.num_alt, len(pair.ref_seq))
        digest.update(f"{place}".encode())
        digest.update(pair.ref_seq)
        digest.update(pair.alt_seq)
    return digest.hexdigest()
