"""What ``show`` prints about the embeddings of a layer, and about profiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import embeddings_run_file
from evo2_tasks.table.documents import ReadoutTable
from evo2_tasks.table.embeddings import DELTA, REF, is_embedding, read_embeddings, read_width
from evo2_tasks.table.parquet import count_rows, open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import PREFIX, read_object
from evo2_tasks.table.schema import ALLELE, RECORD, STRAND_SUFFIXES
from evo2_tasks.table.sequence_embeddings import EMBEDDING, read_sequence_embeddings
from evo2_tasks.table.sequence_schema import SEQUENCE
from evo2_tasks.table.shard_readouts import PROFILE
from evo2_tasks.table.statements import Statement, require_table
from evo2_tasks.table.statistics import Distribution

_SUMS = {suffix: f"sum{suffix}" for suffix in STRAND_SUFFIXES.values()}


def has_embeddings(schema: pa.Schema) -> bool:
    """Whether a table is one of embeddings."""
    return REF in schema.names and is_embedding(schema.field(REF).type)


def has_profiles(schema: pa.Schema) -> bool:
    """Whether a table is one of profiles."""
    columns = [RECORD.name, ALLELE.name, *(PROFILE + suffix for suffix in _SUMS)]
    return bool(schema.names == columns)


def show_embeddings(file: Path) -> Iterator[str]:
    """Describe the embeddings of a layer: what they are, their lengths, and the first rows.

    Args:
        file: The table of ``merge_embeddings``, or the embeddings of a shard.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    stated = _read_statement(file, "merge_embeddings")
    with open_table(file) as parquet:
        kind = parquet.schema_arrow.field(REF).type
        names = parquet.schema_arrow.names
    lengths = {name: Distribution() for name in (REF, DELTA)}
    first: list[dict[str, object]] = []
    filled = 0
    for rows in read_embeddings(file):
        found = {
            REF: np.linalg.norm(rows.ref.astype(np.float64), axis=1),
            DELTA: np.linalg.norm(rows.delta.astype(np.float64), axis=1),
        }
        present = ~np.isnan(found[REF])
        filled += int(present.sum())
        for name, distribution in lengths.items():
            distribution.add(found[name][~np.isnan(found[name])])
        for row in range(min(len(rows.record), FIRST_ROWS - len(first))):
            numbers = {
                name: None if np.isnan(one[row]) else one[row] for name, one in found.items()
            }
            keys = {"record": int(rows.record[row]), "allele": int(rows.allele[row])}
            first.append(keys | {f"length of {name}": one for name, one in numbers.items()})
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,}, {filled:,} of them with embeddings",
            "channels": f"{read_width(file):,}",
            "type": _name_type(kind),
            "columns": ", ".join(map(escape_text, names)),
            **_describe(file, stated),
        }
    )
    if stated is not None and stated.errors is not None:
        yield ""
        yield from _format_errors(stated)
    for name, distribution in lengths.items():
        if distribution.count:
            yield ""
            yield from format_quantiles(f"length (Euclidean norm) of {name}", distribution)
    yield from _format_first(first)


def show_sequence_embeddings(file: Path) -> Iterator[str]:
    """Describe the embeddings of sequences or regions: what they are, and the first rows.

    Args:
        file: The table of ``merge_sequence_embeddings`` or ``merge_track_embeddings``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    with open_table(file) as parquet:
        schema = parquet.schema_arrow
    of = "sequence" if SEQUENCE.name in schema.names else "track"
    stated = _read_statement(file, f"merge_{of}_embeddings")
    kind = schema.field(EMBEDDING).type
    lengths = Distribution()
    first: list[dict[str, object]] = []
    for rows in read_sequence_embeddings(file):
        norms = np.linalg.norm(rows.embedding.astype(np.float64), axis=1)
        lengths.add(norms[~np.isnan(norms)])
        for record, norm in zip(rows.record, norms, strict=True):
            if len(first) == FIRST_ROWS:
                break
            shown = None if np.isnan(norm) else norm
            first.append({"record": int(record), f"length of {EMBEDDING}": shown})
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,}, {lengths.count:,} of them with embeddings",
            "channels": f"{kind.list_size:,}",
            "type": _name_type(kind),
            "columns": ", ".join(map(escape_text, schema.names)),
            **_describe(file, stated),
        }
    )
    if stated is not None and stated.errors is not None:
        yield ""
        yield from _format_errors(stated)
    if lengths.count:
        yield ""
        yield from format_quantiles(f"length (Euclidean norm) of {EMBEDDING}", lengths)
    yield from _format_first(first)


def _name_type(kind: pa.DataType) -> str:
    """The data type of embeddings, as the config names it."""
    name = str(kind.value_type)
    return {"float": "float32", "halffloat": "float16"}.get(name, name)


def show_profiles(file: Path) -> Iterator[str]:
    """Describe profiles: what they are, the sums of their entries, and the first rows.

    Args:
        file: The table of ``merge_profiles``, or the profiles of a shard.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or the JSON file next to it is of another table.
    """
    stated = _read_statement(file, "merge_profiles")
    sums = {name: Distribution() for name in _SUMS.values()}
    longest = filled = 0
    first: list[dict[str, object]] = []
    columns = [PROFILE + suffix for suffix in _SUMS]
    for batch in read_rows(file, [RECORD.name, ALLELE.name, *columns]):
        found: dict[str, list[float | None]] = {}
        for suffix, name in _SUMS.items():
            profiles = batch.column(PROFILE + suffix).cast(pa.list_(pa.float32()))
            values = [None if one is None else np.array(one) for one in profiles.to_pylist()]
            longest = max([longest, *(len(one) for one in values if one is not None)])
            found[name] = [None if one is None else float(one.sum()) for one in values]
            sums[name].add(np.array([one for one in found[name] if one is not None], np.float64))
        filled += sum(
            any(one is not None for one in row) for row in zip(*found.values(), strict=True)
        )
        for row in range(min(batch.num_rows, FIRST_ROWS - len(first))):
            keys = {name: batch.column(name)[row].as_py() for name in (RECORD.name, ALLELE.name)}
            first.append(keys | {name: values[row] for name, values in found.items()})
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,}, {filled:,} of them with a profile",
            "entries": f"at most {longest:,}",
            **_describe(file, stated),
        }
    )
    if stated is not None and stated.errors is not None:
        yield ""
        yield from _format_errors(stated)
    for name, distribution in sums.items():
        if distribution.count:
            yield ""
            yield from format_quantiles(f"{name} of the entries, nats", distribution)
    yield from _format_first(first)


def _read_statement(file: Path, step: str) -> ReadoutTable | None:
    """What the JSON file next to a table states; None for the file of a shard, which has none.

    Raises:
        InputError: It is of another table.
    """
    run = embeddings_run_file(file)
    if not run.exists():
        return None
    stated = ReadoutTable.read(run)
    statement = Statement(run, stated.table_digest, step)
    require_table(file, [statement], table_digest=digest_file(file))
    return stated


def _describe(file: Path, stated: ReadoutTable | None) -> dict[str, str]:
    """Where a table comes from, and the work for it."""
    stored = read_metadata(file)
    settings = read_object(file, stored, "settings") or {}
    # The data type is that of the columns, and the model is shown with the signature.
    settings = {key: one for key, one in settings.items() if key not in ("dtype", "model")}
    work = {}
    if stated is not None:
        devices = ", ".join(f"{escape_text(name)} ({n:,})" for name, n in stated.devices.items())
        work = {
            "windows run for read-outs alone": f"{stated.windows_run:,}",
            "tokens run for read-outs alone": f"{stated.tokens_run:,}",
            "devices": devices or "not stated",
        }
    return {
        **flatten("", settings),
        **work,
        "version": escape_text(stored.get(f"{PREFIX}version", "")),
        "model": escape_text(stored.get(f"{PREFIX}model", "")),
        **flatten("", read_object(file, stored, "signature") or {}),
    }


def _format_errors(stated: ReadoutTable) -> Iterator[str]:
    yield f"how {stated.dtype} changes the values"
    rows = [
        {
            "column": column,
            "largest": one.largest,
            "root mean square": one.rms,
            # Four digits would show 1.
            "smallest cosine": None
            if one.smallest_cosine is None
            else f"{one.smallest_cosine:.7f}",
        }
        for column, one in (stated.errors or {}).items()
    ]
    for line in format_rows(pa.Table.from_pylist(rows).to_batches(), list(rows[0]), widest=30):
        yield f"  {line}"


def _format_first(rows: list[dict[str, object]]) -> Iterator[str]:
    if rows:
        yield ""
        yield from format_rows(pa.Table.from_pylist(rows).to_batches(), list(rows[0]))
