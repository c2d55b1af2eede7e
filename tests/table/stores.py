"""Rows of a score store made by hand, and what a lookup finds of them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import pyarrow as pa

from evo2_tasks.genome.window_pairs import STRANDS, Strand
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table import store_compaction, store_writer
from evo2_tasks.table.store import Store, make_contig_key
from evo2_tasks.table.store_rows import (
    KEY_COLUMNS,
    found_schema,
    keys_schema,
    store_schema,
    strand_columns,
)
from tests.table.build import signature

BOTH = STRANDS["both"]
REFGET = "SQ." + "aB3_-" * 6 + "xY"
LINEAR = make_contig_key(REFGET, circular=False)
CIRCULAR = make_contig_key(REFGET, circular=True)

Scores = tuple[float | None, ...]


class Key(NamedTuple):
    """The key of an allele in its window, as in `KEY_COLUMNS`."""

    edit_start: int = 1000
    edit_ref: int = 1
    edit_alt: str = "G"
    window_start: int = 500
    window_length: int = 1024


class Row(NamedTuple):
    """A row to write; None for a strand that it does not have."""

    key: Key
    forward: Scores | None
    reverse: Scores | None
    device: str = "cpu AVX512"


NO_SCORES: Scores = (None,) * len(SCORE_NAMES)


def make_scores(seed: object) -> Scores:
    numbers = random.Random(repr(seed))
    return tuple(numbers.gauss(0, 3) for _ in SCORE_NAMES)


def make_row(key: Key | None = None, device: str = "cpu AVX512") -> Row:
    key = key or Key()
    return Row(key, make_scores((key, "f")), make_scores((key, "r")), device)


def as_table(rows: Sequence[Row]) -> pa.Table:
    values = [
        (*row.key, *(row.forward or NO_SCORES), *(row.reverse or NO_SCORES), row.device)
        for row in rows
    ]
    columns = zip(*values, strict=True) if rows else [()] * len(store_schema())
    return pa.table(
        [
            pa.array(list(one), field.type)
            for one, field in zip(columns, store_schema(), strict=True)
        ],
        schema=store_schema(),
    )


def as_keys(keys: Sequence[Sequence[object] | None]) -> pa.Table:
    schema = keys_schema()
    rows = [dict(zip(KEY_COLUMNS, key or [None] * 5, strict=True)) for key in keys]
    return pa.Table.from_pylist(rows, schema=schema)


def find(
    store: Store,
    keys: Sequence[Key | None],
    strands: Sequence[Strand] = BOTH,
    *,
    contig: str = LINEAR,
    of: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> list[tuple[Scores | None, ...]]:
    """What a lookup finds of each key: the scores of each strand, or None."""
    hits = store.lookup(of or signature(), contig, as_keys(keys), strands, device)
    assert hits.schema.equals(found_schema(strands))
    found = []
    for row in hits.to_pylist():
        of_row: list[Scores | None] = []
        for strand in strands:
            scores = tuple(row[name] for name in strand_columns(strand))
            suffix = strand_columns(strand)[0].removeprefix("llr")
            assert (scores[0] is None) == (row[f"device{suffix}"] is None)
            of_row.append(None if scores[0] is None else scores)
        found.append(tuple(of_row))
    return found


@contextmanager
def small_files(row_group_rows: int, file_rows: int) -> Iterator[None]:
    """Files of a few rows, so that some rows are in many files and row groups."""
    with (
        patch.object(store_writer, "ROW_GROUP_ROWS", row_group_rows),
        patch.object(store_writer, "FILE_ROWS", file_rows),
        patch.object(store_compaction, "FILE_ROWS", file_rows),
        patch.object(store_compaction, "STEP_ROWS", 2 * row_group_rows),
        patch.object(store_compaction, "FAN_IN", 3),
    ):
        yield
