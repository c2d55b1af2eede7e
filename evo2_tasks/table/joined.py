"""Tables with a row for each allele of the input, joined to the alleles of a scoring.

``carry`` and ``annotate`` read the variants again, ``calibrate`` reads the table of a scoring. The
keys are ``record`` and ``allele``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, read_object, require_settings
from evo2_tasks.table.schema import ALLELE, RECORD

KEYS = (RECORD.name, ALLELE.name)

STEP = PREFIX + "step"


def written_by(path: Path) -> str:
    """The step that wrote a table: ``annotate`` or ``carry``.

    Raises:
        InputError: The file is missing or broken, or no such step wrote it.
    """
    stored = read_metadata(path)
    if PREFIX + "source" in stored and PREFIX + "signature" not in stored:
        return stored.get(STEP, "carry")  # `carry` does not state itself
    raise InputError(
        f"{shown_path(path)}: this file cannot be joined to scores. Expected one that `annotate` "
        "or `carry` wrote."
    )


@dataclass(frozen=True, slots=True)
class JoinedTable:
    """A table with the rows of the input that is joined to the alleles of a scoring.

    Attributes:
        path: The table.
        step: The step that writes it.
        fields: Its columns without the keys.
        metadata: What the joined table states about them, as metadata of its file.
        remedy: What to do if the two do not have the same alleles.
    """

    path: Path
    step: str
    fields: tuple[pa.Field, ...]
    metadata: Mapping[str, str]
    remedy: str

    def join(
        self, tables: Iterable[pa.Table], batches: Iterator[pa.RecordBatch] | None = None
    ) -> Iterator[pa.Table]:
        """Add the columns to the rows of a scoring. Both have the same order.

        Args:
            tables: The rows, with their keys ``record`` and ``allele``, in pieces.
            batches: The rows of this table that belong to them. Default: all.

        Raises:
            InputError: The two do not have the same alleles.
        """
        batches = read_rows(self.path, self.names) if batches is None else batches
        rest: pa.Table | None = None
        for table in tables:
            pieces = [] if rest is None else [rest]
            num_rows = sum(piece.num_rows for piece in pieces)
            while num_rows < table.num_rows and (batch := next(batches, None)) is not None:
                pieces.append(pa.Table.from_batches([batch]))
                num_rows += batch.num_rows
            if num_rows < table.num_rows:
                raise self._other_rows(f"it has no row for {_name_row(table, num_rows)}")
            joined = pa.concat_tables(pieces)
            rest = joined.slice(table.num_rows)
            yield self._join_piece(table, joined.slice(0, table.num_rows))
        if (rest is not None and rest.num_rows) or next(batches, None) is not None:
            raise self._other_rows("it has more rows")

    @property
    def names(self) -> list[str]:
        """The columns that are read: the keys, then those that are joined."""
        return [*KEYS, *(field.name for field in self.fields)]

    def _join_piece(self, table: pa.Table, joined: pa.Table) -> pa.Table:
        for key in KEYS:
            differs = pc.not_equal(table.column(key), joined.column(key))
            if pc.any(differs).as_py():
                row = pc.index(differs, True).as_py()
                raise self._other_rows(
                    f"it has {_name_row(joined, row)} where the scores have {_name_row(table, row)}"
                )
        for field in self.fields:
            table = table.append_column(field, joined.column(field.name))
        return table

    def _other_rows(self, what: str) -> InputError:
        return InputError(
            f"{shown_path(self.path)} does not have the alleles of the scores: {what}. "
            f"{self.remedy}"
        )


def open_joined(
    path: Path,
    step: str,
    names: Sequence[str],
    source_digest: str,
    settings: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> JoinedTable:
    """Open a table of ``carry`` or ``annotate``, and make sure that it fits config and shards.

    Args:
        path: The table.
        step: The step that writes it.
        names: The columns that the config asks for, in their order.
        source_digest: SHA-256 of the file of variants that ``split`` read.
        settings: Settings of the step that run it again if they change.
        metadata: What the joined table is to state about the columns. Default: nothing.

    Raises:
        InputError: It has other columns, or was made from another file of variants or with other
            settings. Only files of earlier versions do not state their settings.
    """
    with open_table(path, KEYS) as file:
        for key in (RECORD, ALLELE):
            actual = file.schema_arrow.field(key.name).type
            if actual != key.type:
                raise InputError(
                    f"{shown_path(path)}: column {key.name} has the type {actual}, expected "
                    f"{key.type}. Run `{step}` again."
                )
        fields = tuple(field for field in file.schema_arrow if field.name not in KEYS)
    found = [field.name for field in fields]
    if found != list(names):
        raise InputError(
            f"{shown_path(path)}: the columns are {shown(', '.join(found) or 'none', 400)}, but "
            f"the config asks for {shown(', '.join(names) or 'none', 400)}. Run `{step}` again."
        )
    stored = read_metadata(path)
    stated = read_object(path, stored, "settings")
    if stated is not None:
        require_settings(path, stated, settings, step)
    if stored.get(PREFIX + "source") != source_digest:
        raise InputError(
            f"{shown_path(path)} was made from another version of the file of variants than the "
            f"shards. Do not change the file during a run; run `split` and `{step}` again."
        )
    remedy = f"Do not change the file of variants during a run; run `split` and `{step}` again."
    return JoinedTable(path, step, fields, metadata or {}, remedy)


def _name_row(rows: pa.Table, row: int) -> str:
    return f"record {rows.column(KEYS[0])[row]}, allele {rows.column(KEYS[1])[row]}"
