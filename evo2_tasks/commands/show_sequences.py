"""What ``show`` prints about the table of a sequence set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_counts,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.errors import InputError
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import shard_run_file
from evo2_tasks.table.parquet import count_rows, decode_texts, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, read_object
from evo2_tasks.table.sequence_documents import SequencesRun
from evo2_tasks.table.sequence_rows import SCORED
from evo2_tasks.table.statistics import Distribution

ROW_COLUMNS: Final = (
    "record", "sequence", "length", "status", "reason", "flags", "predicted", "ll", "bits_per_base",
)  # fmt: skip
"""Columns of a row on the terminal; the file has more."""


def show_sequences(table: Path) -> Iterator[str]:
    """Describe a table of sequences: provenance, counts, quantiles, first rows.

    Args:
        table: The table of ``merge_sequences`` or ``score-sequences``, or that of a shard.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    stored, done = read_metadata(table), _read_run(table)
    by_status, by_reason, by_flag = Counter[str](), Counter[str](), Counter[str]()
    bits = Distribution()
    for batch in read_rows(table, ("status", "reason", "flags", "bits_per_base")):
        by_status.update(decode_texts(batch.column("status")).to_pylist())
        by_reason.update(decode_texts(batch.column("reason")).drop_null().to_pylist())
        by_flag.update(batch.column("flags").flatten().to_pylist())
        bits.add(batch.column("bits_per_base").drop_null().to_numpy())
    num_rows = count_rows(table)
    yield shown_path(table)
    yield from format_pairs(
        {
            "rows": f"{num_rows:,}",
            **({} if done is None else _describe_work(done)),
            "version": escape_text(stored.get(f"{PREFIX}version", "")),
            "model": escape_text(stored.get(f"{PREFIX}model", "")),
            **flatten("", read_object(table, stored, "signature") or {}),
        }
    )
    yield ""
    yield from format_counts("rows by status", dict(by_status.most_common()), num_rows)
    if by_reason:
        yield ""
        yield from format_counts("rows by reason", dict(by_reason.most_common()), num_rows)
    yield ""
    yield from format_counts("rows by flag", dict(by_flag.most_common()), by_status[SCORED])
    if bits.count:
        yield ""
        yield from format_quantiles("bits_per_base", bits)
    if num_rows:
        yield ""
        rows = read_rows(table, ROW_COLUMNS, batch_rows=FIRST_ROWS)
        yield from format_rows(islice(rows, 1), ROW_COLUMNS)


def _read_run(table: Path) -> SequencesRun | None:
    """The JSON file next to a table; None if there is none, or if it is that of a shard.

    Raises:
        InputError: It is of another table.
    """
    run_file = shard_run_file(table)
    if not run_file.exists():
        return None
    try:
        done = SequencesRun.read(run_file)
    except InputError:  # of a shard
        return None
    if done.table_digest != digest_file(table):
        raise InputError(
            f"{shown_path(run_file)}: is about another table than {shown_path(table)} next to it. "
            "Put the two files of one run together, or remove the JSON file."
        )
    return done


def _describe_work(done: SequencesRun) -> dict[str, str]:
    devices = ", ".join(f"{shown(name)} ({number:,})" for name, number in done.devices.items())
    return {
        "sequences": escape_text(done.sequences),
        "bases": f"{done.bases:,}",
        "tokens run": f"{done.tokens_run:,}",
        "seconds": f"{done.wall_s:,.1f}",
        "devices": devices or "not stated",
    }
