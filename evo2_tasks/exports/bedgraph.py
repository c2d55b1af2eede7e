"""The table as bedGraph: the mean ``llr`` of the substitutions at each position."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.io.files import replace_atomically, require_other_file, writing
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.snvs import read_snvs
from evo2_tasks.table.sorting import group_rows, sort_rows
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

_ROW: Final = "row"
_KEYS: Final = ("contig", "pos", "alt", _ROW)
_NO_END: Final = 2**62
"""In place of a length that is not known."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of K positions of a contig, in order.

    Attributes:
        contig: Name of the contig in the reference.
        starts: Positions, 0-based. (K,)
        means: Mean ``llr`` of the substitutions at each position, each counted once, nats. (K,)
    """

    contig: str
    starts: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]


def read_effects(table: Path, lengths: Mapping[str, int], *, folder: Path) -> Iterator[Effects]:
    """Read the mean effect at each position with a scored substitution of one base.

    Args:
        table: The table that ``merge`` wrote.
        lengths: Length of each contig in bases, as far as it is known. On a circular contig, an
            allele of several bases may go on at the first base.
        folder: Folder for the temporary files of the sort.

    Yields:
        Positions in order. The contigs are sorted by the bytes of their names, as UCSC's tools
        require.

    Raises:
        InputError: The file cannot be read, or is not such a table.
    """
    contigs = sorted(distinct_values(table, "reference_contig"))
    ends = np.array([lengths.get(name, _NO_END) for name in contigs], dtype=np.int64)
    snvs = (_inside(rows, ends) for rows in read_snvs(table, contigs))
    sorted_rows = sort_rows(_numbered(snvs), _KEYS, folder=folder)
    for rows in group_rows(sorted_rows, _KEYS[:2]):
        numbers, pos, alt = (rows[name].to_numpy() for name in _KEYS[:3])
        is_new_place = np.append(True, (np.diff(numbers) != 0) | (np.diff(pos) != 0))
        is_new = is_new_place | np.append(True, np.diff(alt) != 0)
        # An SNV counts once, also if overlapping regions or the input have it twice.
        llr = np.where(is_new, rows["llr"].to_numpy(), 0.0)
        places = np.flatnonzero(is_new_place)
        means = np.add.reduceat(llr, places) / np.add.reduceat(is_new.astype(np.int64), places)
        cuts = np.flatnonzero(np.diff(numbers[places])) + 1
        for of_contig in np.split(np.arange(len(places)), cuts):
            first = places[of_contig]
            yield Effects(contigs[numbers[first[0]]], pos[first] - 1, means[of_contig])


def _inside(rows: pa.Table, ends: npt.NDArray[np.int64]) -> pa.Table:
    """Rows whose positions are on the contig, counted from its first base again after its end."""
    numbers, pos = rows["contig"].to_numpy(), rows["pos"].to_numpy()
    pos = np.where(pos > ends[numbers], pos - ends[numbers], pos)
    return rows.set_column(rows.schema.get_field_index("pos"), "pos", pa.array(pos))


def _numbered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Add the row number to each row, so that no two rows have the same sort key."""
    num_before = 0
    for rows in tables:
        numbers = np.arange(num_before, num_before + rows.num_rows)
        yield rows.append_column(_ROW, pa.array(numbers))
        num_before += rows.num_rows


def write(table: Path, out: Path) -> int:
    """Write the mean effect of each position as bedGraph, bgzip-compressed if named ``.gz``.

    Args:
        table: The table that ``merge`` wrote.
        out: The file to write. It has no header lines and is sorted by contig and position.

    Returns:
        Number of positions.

    Raises:
        InputError: A file cannot be read or written, or ``run.json`` is about another table.
    """
    require_other_file(out, table)
    run = read_run_of(table)
    lengths = {} if run is None or run.contigs is None else run.contigs
    num_positions = 0
    with (
        replace_atomically(out) as temporary,
        writing(out),
        temporary.open("wb") as plain,
        BgzfWriter(plain) if out.suffix == ".gz" else nullcontext(plain) as file,
    ):
        for effects in read_effects(table, lengths, folder=out.parent):
            lines = (
                f"{effects.contig}\t{start}\t{start + 1}\t{mean}\n"
                for start, mean in zip(effects.starts.tolist(), effects.means.tolist(), strict=True)
            )
            file.write("".join(lines).encode())
            num_positions += len(effects.starts)
    if not num_positions:
        logger.warning("%s: no substitution of a single base has a score", shown_path(table))
    logger.info("%s: %s positions", out, f"{num_positions:,}")
    return num_positions
