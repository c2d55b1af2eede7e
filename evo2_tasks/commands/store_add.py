"""The command ``store add``: the scores of tables of earlier runs, put into a score store.

A table does not state the placed edit of an allele, by which a store finds it. So each allele is
placed again, with the settings that the signature of the table states, on the sequences that it
states. A row is added only if this gives the windows that the table states.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.commands.store_tables import (
    UNKNOWN_DEVICE,
    SourceTable,
    check_table,
    require_same_state,
    require_sequences,
)
from evo2_tasks.genome.fasta import FastaSequence
from evo2_tasks.genome.records import SPANS_ORIGIN, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import TO_SCORE, PlacedAllele, place_allele
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.parquet import BATCH_ROWS, count_rows, read_rows, row_bytes
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.store import Store, make_contig_key
from evo2_tasks.table.store_rows import (
    DEVICE,
    KEY_COLUMNS,
    keys_schema,
    store_schema,
    strand_columns,
)

ROWS_AT_ONCE: Final = 2**18
"""Placed rows in memory; more are written."""

BYTES_AT_ONCE: Final = 256 * 2**20
"""Bytes of alternate alleles of these rows; more are written."""

LEFT_OUT: Final[Mapping[str, str]] = {
    "iupac_ref": "REF has a base at an IUPAC letter of the reference; such alleles are not stored",
    "symbolic": "ALT is symbolic, and the table does not state its bases",
    "other_windows": "the allele is placed in other windows than those that the table states",
    "circular_or_linear": "the allele would be placed otherwise on a circular contig, and no file "
    "states whether its contig is circular",
}
"""Why a row with scores is not added, and the meaning of each reason."""

_PLACED_BY: Final = (
    "reference_contig", "pos", "ref", "alt", "status", "flags", "window_start", "window_end",
)  # fmt: skip
_KEYS: Final = ("record", "allele", *_PLACED_BY)
_STATUSES: Final = {TO_SCORE: ("scored", "non_finite"), "no_context": ("no_context",)}
"""Statuses of rows by the status of the placed allele."""
_SCORES: Final = tuple(name for strand in STRAND_SUFFIXES for name in strand_columns(strand))
_LLRS: Final = tuple(f"llr{suffix}" for suffix in STRAND_SUFFIXES.values())


@dataclass(slots=True)
class Added:
    """What was done with the rows of a table.

    Attributes:
        table: The table.
        rows: All its rows.
        without_score: Rows that have no score.
        added: Rows whose scores are in the store only now.
        present: Rows whose scores were in the store before, or are those of an earlier row.
        left_out: Rows with scores that were not added, by reason; see ``LEFT_OUT``.
        assumed_linear: Contigs that were taken to be linear, because neither a file nor the windows
            of the table show what they are.
    """

    table: Path
    rows: int = 0
    without_score: int = 0
    added: int = 0
    present: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    assumed_linear: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "table": str(self.table),
            "rows": self.rows,
            "without_score": self.without_score,
            "added": self.added,
            "present": self.present,
            "left_out": dict(self.left_out),
            "assumed_linear": list(self.assumed_linear),
        }


def add(
    tables: Sequence[Path],
    store: Path,
    *,
    fasta: Path | None = None,
    circular_contigs: Sequence[str] = (),
) -> Iterator[Added]:
    """Put the scores of tables into a store. Scores that are there already are not added again.

    All tables are checked before the first one is added.

    Args:
        tables: Results of ``merge``.
        store: Folder of the store, which is made if it is missing.
        fasta: The FASTA of the reference. Default: the one that the ``run.json`` next to each table
            states.
        circular_contigs: Names of the circular contigs in the FASTA. Default: those that the files
            next to each table state.

    Yields:
        What was done with each table.

    Raises:
        InputError: A table or its FASTA cannot be used, or the store cannot be written.
    """
    open_store = Store(store)
    known = [check_table(path, fasta, circular_contigs) for path in tables]
    sequences: dict[Path, list[FastaSequence]] = {}
    with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder:
        for table in known:
            if table.fasta not in sequences:
                reference = Reference(table.fasta, index_folder=Path(folder))
                sequences[table.fasta] = reference.read_sequences()
            require_sequences(table, sequences[table.fasta])
        for table in known:
            yield _add_table(table, open_store, sequences[table.fasta], Path(folder))


def describe_added(added: Added) -> Iterator[str]:
    """What was done with a table, as text."""
    yield (
        f"{shown_path(added.table)}: {added.added:,} added, {added.present:,} in the store before, "
        f"{added.left_out.total():,} not added, {added.without_score:,} without a score"
    )
    for reason, number in added.left_out.most_common():
        yield f"  {number:,} not added: {LEFT_OUT[reason]}"
    if added.assumed_linear:
        yield (
            f"  no file states whether these contigs are circular: "
            f"{shown(', '.join(added.assumed_linear), 100)}. They were taken to be linear. If one "
            "is circular, add the table again and name that contig by --circular-contigs"
        )


# --- adding the rows of one table


class _Contigs:
    """The contigs of a table's reference: sequences, and which of them are circular.

    If no file states the circular contigs, the windows of the table show it: those that pass the
    ends of a contig are of a circular one, and windows that are cut at an end are of a linear one.

    Args:
        table: The table.
        sequences: The sequences of its FASTA.
        index_folder: Folder for the index of the FASTA.
    """

    def __init__(
        self, table: SourceTable, sequences: Sequence[FastaSequence], index_folder: Path
    ) -> None:
        self._refget = {one.entry.name: one.digest for one in sequences}
        self._lengths = {one.entry.name: one.entry.length for one in sequences}
        circular, unknown = table.circular_contigs, frozenset[str]()
        if circular is None:
            circular, unknown = _judge_by_windows(table, self._lengths)
        self._circular = circular
        self._unknown = unknown
        self.assumed_linear = tuple(name for name in self._lengths if name in unknown)
        self._settings = table.settings
        self._reference = Reference(
            table.fasta, circular_contigs=circular, index_folder=index_folder
        )
        self._if_circular = Reference(
            table.fasta, circular_contigs=circular | unknown, index_folder=index_folder
        )

    def key(self, contig: str) -> str:
        """The key of a contig in a store."""
        return make_contig_key(self._refget[contig], circular=contig in self._circular)

    def place(self, contig: str, pos: int, ref: str, alt: str) -> PlacedAllele | str:
        """Place an allele again; or the reason why it cannot be added."""
        length = self._lengths.get(contig)
        if length is None:
            return "other_windows"
        passes_end = pos - 1 + len(ref) > length and contig in self._circular | self._unknown
        status = SPANS_ORIGIN if passes_end else None
        variant = Variant(0, 1, contig, pos, ref, alt, status)
        placed = place_allele(variant, self._reference, self._settings)
        if placed.status == "symbolic_allele":
            return "symbolic"
        may_differ = contig in self._unknown and not self._is_inside(placed, length)
        if may_differ and place_allele(variant, self._if_circular, self._settings) != placed:
            return "circular_or_linear"
        return "iupac_ref" if placed.background else placed

    def _is_inside(self, placed: PlacedAllele, length: int) -> bool:
        """Whether a substitution has whole windows inside the contig, as on a circular contig."""
        start, end = placed.window_start, placed.window_end
        if start is None or end is None or placed.edit_ref != len(placed.edit_alt or ""):
            return False
        return start > 0 and end < length and end - start == self._settings.window_length


def _judge_by_windows(
    table: SourceTable, lengths: Mapping[str, int]
) -> tuple[frozenset[str], frozenset[str]]:
    """The contigs whose windows show that they are circular; those whose windows show nothing."""
    names = ("reference_contig", "window_start", "window_end")
    extremes: dict[str, list[int]] = {}
    for batch in read_rows(table.path, names):
        rows = pa.table(
            {
                "contig": batch.column(0).cast(pa.string()),
                "start": batch.column(1),
                "end": batch.column(2),
                "length": pc.subtract(batch.column(2), batch.column(1)),
            }
        ).filter(pc.is_valid(batch.column(1)))
        found = rows.group_by("contig").aggregate(
            [("start", "min"), ("end", "max"), ("length", "min")]
        )
        for row in found.to_pylist():
            one = extremes.setdefault(row["contig"], [0, 0, 2**62])
            one[0] = min(one[0], row["start_min"])
            one[1] = max(one[1], row["end_max"])
            one[2] = min(one[2], row["length_min"])
    circular, unknown = set(), set()
    for contig, (first, last, shortest) in extremes.items():
        length = lengths.get(contig)
        if length is None:
            continue
        if first < 0 or last > length:
            circular.add(contig)
        elif shortest >= min(table.settings.window_length, length):
            unknown.add(contig)
    return frozenset(circular), frozenset(unknown)


def _add_table(
    table: SourceTable, store: Store, sequences: Sequence[FastaSequence], index_folder: Path
) -> Added:
    """Add the rows of a table."""
    contigs = _Contigs(table, sequences, index_folder)
    added = Added(table.path, assumed_linear=contigs.assumed_linear)
    reused = _read_reused(table.reused)
    pending = _Pending(store, table, added)
    with Progress("store add", total=count_rows(table.path), unit="alleles") as progress:
        for batch in read_rows(table.path, [*_KEYS, *_SCORES], batch_rows=BATCH_ROWS):
            rows = _drop_unfinished(pa.Table.from_batches([batch]))
            scored = rows.filter(pc.or_(*map(pc.is_valid, (rows.column(name) for name in _LLRS))))
            added.rows += rows.num_rows
            added.without_score += rows.num_rows - scored.num_rows
            for contig, placed in _place_rows(scored, contigs, added.left_out):
                pending.add(contig, _name_devices(placed, reused, table.device))
            progress.add(batch.num_rows)
        pending.flush()
    return added


def _drop_unfinished(rows: pa.Table) -> pa.Table:
    """The rows, with nulls in the columns of a strand that has no ``llr`` or an infinite number."""
    for strand in STRAND_SUFFIXES:
        names = strand_columns(strand)
        usable = pc.is_valid(rows.column(names[0]))
        for name in names:
            usable = pc.and_(usable, pc.fill_null(pc.is_finite(rows.column(name)), True))
        for name in names:
            kept = pc.if_else(usable, rows.column(name), pa.scalar(None, pa.float64()))
            rows = rows.set_column(rows.schema.get_field_index(name), name, kept)
    return rows


def _place_rows(
    rows: pa.Table, contigs: _Contigs, left_out: Counter[str]
) -> Iterator[tuple[str, pa.Table]]:
    """The keys of the rows that can be added, with their scores, by the key of their contig.

    Args:
        rows: Rows with scores.
        contigs: The contigs of the reference.
        left_out: Counts the other rows.
    """
    edits: dict[str, list[tuple[int, int | None, int | None, str | None]]] = {}
    of_rows = (rows.column(name).to_pylist() for name in _PLACED_BY)
    has_score = (pc.is_valid(rows.column(name)).to_pylist() for name in _LLRS)
    for number, values in enumerate(zip(*of_rows, *has_score, strict=True)):
        contig, pos, ref, alt, *stated = values
        placed = contigs.place(contig, pos, ref, alt)
        if isinstance(placed, PlacedAllele) and not _is_same(placed, *stated):
            placed = "other_windows"
        if isinstance(placed, str):
            left_out[placed] += 1
        else:
            edit = (number, placed.edit_start, placed.edit_ref, placed.edit_alt)
            edits.setdefault(contigs.key(contig), []).append(edit)
    for key, of_contig in edits.items():
        numbers, starts, lengths, alts = (list(column) for column in zip(*of_contig, strict=True))
        kept = rows.take(numbers)
        length = pc.subtract(kept.column("window_end"), kept.column("window_start"))
        columns = [starts, lengths, alts, kept.column("window_start"), length]
        named = dict(zip(KEY_COLUMNS, columns, strict=True))
        others = ["record", "allele", *_SCORES]
        yield key, pa.table(
            [
                *(pa.array(named[one.name], one.type) if isinstance(named[one.name], list)
                  else named[one.name].cast(one.type) for one in keys_schema()),
                *(kept.column(name) for name in others),
            ],
            names=[*KEY_COLUMNS, *others],
        )  # fmt: skip


def _is_same(
    placed: PlacedAllele,
    status: str,
    flags: Sequence[str],
    start: int,
    end: int,
    *has_score: bool,
) -> bool:
    """Whether an allele is placed as a row states it."""
    if status not in _STATUSES.get(placed.status, ()):
        return False
    if (placed.window_start, placed.window_end) != (start, end):
        return False
    if (
        placed.status == TO_SCORE
        and status == "scored"
        and (("clipped" in placed.flags) != ("clipped" in flags))
    ):
        return False
    return all(
        strand in placed.sizes
        for strand, has_one in zip(STRAND_SUFFIXES, has_score, strict=True)
        if has_one
    )


_Keys = npt.NDArray[np.int64]


def _read_reused(reused: Path | None) -> _Keys:
    """The sorted rows whose scores came from a store, each as one number."""
    if reused is None:
        return np.zeros(0, np.int64)
    batches = [_join_keys(batch) for batch in read_rows(reused, ["record", "allele"])]
    return np.sort(np.concatenate(batches)) if batches else np.zeros(0, np.int64)


def _join_keys(rows: pa.Table | pa.RecordBatch) -> _Keys:
    """Record and allele of each row as one number."""
    record, allele = (
        rows.column(name).to_numpy().astype(np.int64) for name in ("record", "allele")
    )
    joined: _Keys = (record << 31) | allele
    return joined


def _name_devices(rows: pa.Table, reused: _Keys, device: str) -> pa.Table:
    """Rows as they are stored: with the kind of device, and without record and allele."""
    keys = _join_keys(rows)
    is_reused = np.zeros(len(keys), np.bool_)
    if len(reused):
        places = np.minimum(np.searchsorted(reused, keys), len(reused) - 1)
        is_reused = reused[places] == keys
    devices = pc.if_else(pa.array(is_reused), UNKNOWN_DEVICE, device)
    return rows.append_column(DEVICE, devices).select(store_schema().names).cast(store_schema())


class _Pending:
    """Placed rows that are written when there are enough of them.

    Args:
        store: The store.
        table: The table of the rows.
        added: Counts the rows.
    """

    def __init__(self, store: Store, table: SourceTable, added: Added) -> None:
        self._store = store
        self._table = table
        self._added = added
        self._rows: dict[str, list[pa.Table]] = {}
        self._num_rows = self._num_bytes = 0

    def add(self, contig_key: str, rows: pa.Table) -> None:
        """Add rows of a contig."""
        self._rows.setdefault(contig_key, []).append(rows)
        self._num_rows += rows.num_rows
        self._num_bytes += int(row_bytes(rows).sum())
        if self._num_rows >= ROWS_AT_ONCE or self._num_bytes >= BYTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write all rows that the store does not have.

        Raises:
            InputError: The table was replaced, or the store cannot be written.
        """
        require_same_state(self._table)
        for contig_key, batches in self._rows.items():
            rows = pa.concat_tables(batches)
            new = self._find_new(contig_key, rows)
            stored = (
                self._store.write(self._table.signature, contig_key, new) if new.num_rows else 0
            )
            self._added.added += stored
            self._added.present += rows.num_rows - stored
        self._rows = {}
        self._num_rows = self._num_bytes = 0

    def _find_new(self, contig_key: str, rows: pa.Table) -> pa.Table:
        """The rows with a strand that the store does not have from the same kind of device."""
        new = []
        devices = rows.column(DEVICE).unique().to_pylist()
        for device in devices:
            of_device = rows.filter(pc.equal(rows.column(DEVICE).cast(pa.string()), device))
            hits = self._store.lookup(
                self._table.signature,
                contig_key,
                of_device.select(KEY_COLUMNS),
                tuple(STRAND_SUFFIXES),
                device=device,
            )
            lacking = pa.array(np.zeros(of_device.num_rows, np.bool_))
            for name in _LLRS:
                needed = pc.is_valid(of_device.column(name))
                lacking = pc.or_(lacking, pc.and_not(needed, pc.is_valid(hits.column(name))))
            new.append(of_device.filter(lacking))
        return pa.concat_tables(new)
