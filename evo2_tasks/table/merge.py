"""Merging shards into the result: one table with one row for each allele, with checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.hits import KEYS, Hits
from evo2_tasks.table.joined import JoinedTable
from evo2_tasks.table.pairs import require_unscored
from evo2_tasks.table.parquet import ROW_GROUP_ROWS, open_table, read_rows, write_table
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.schema import (
    ADDED_COLUMNS,
    ALL_SCORE_COLUMNS,
    FINAL_COLUMNS,
    FLAG_LIST,
    REFERENCE_WINDOW,
    SCORES_COLUMNS,
    STATUSES,
    WINDOW_END,
    WINDOW_START,
    WINDOWS_COLUMNS,
    Column,
    make_schema,
    reused_schema,
)
from evo2_tasks.table.sorting import sort_rows
from evo2_tasks.table.statistics import Counts

_RANK: Final = "\0rank"
_ORDER_POS: Final = "\0pos"
"""Columns for sorting only; no column of a table can have these names."""
_IS_REUSED: Final = "\0reused"
"""Whether the scores of a row are from a store; the table does not have this column."""


@dataclass(frozen=True, slots=True)
class _Shard:
    windows: Path
    scores: Path


@dataclass(frozen=True, slots=True)
class ReusedAlleles:
    """The alleles whose scores are from a store, and the table that lists them.

    Attributes:
        target: The table to write.
        hits: The hits that each file of scores has, by the path of the file; those without hits
            are left out.
    """

    target: Path
    hits: Mapping[Path, Hits]


def merge_shards(
    windows: Sequence[Path],
    scores: Sequence[Path],
    target: Path,
    *,
    expected_alleles: int,
    joined: Sequence[JoinedTable] = (),
    contig_order: Sequence[str] | None = None,
    files: SourceFiles | None = None,
    reused: ReusedAlleles | None = None,
    row_group_rows: int = ROW_GROUP_ROWS,
) -> tuple[Counts, str]:
    """Join the windows and the scores of all shards into one table.

    The files may be given in any order, because the keys of the rows state the order. The bytes of
    the table depend on the rows, not on the number of shards.

    Args:
        windows: Windows file of each shard.
        scores: Scores file of each shard.
        target: The table to write.
        expected_alleles: Number of alleles that ``split`` counted.
        joined: Tables whose columns follow the others, in this order. Default: none.
        contig_order: Contigs in the order of the reference, to sort the table by position; other
            contigs come last, in input order. None keeps the order of the input.
        files: Files that must not have changed when the table is complete. Default: none.
        reused: The alleles to list as reused. Default: no list is written.
        row_group_rows: Number of rows in a row group.

    Returns:
        Counts of the table's rows, and the SHA-256 of its file.

    Raises:
        InputError: The shards do not fit together, or a file cannot be read or written.
    """
    shards = _pair_shards(windows, scores)
    provenance = _common_provenance(shards)
    _require_columns(shards)
    schema = make_schema(FINAL_COLUMNS)
    table_schema = pa.schema([*schema, *(field for one in joined for field in one.fields)])
    if contig_order is not None:
        provenance = replace(provenance, order="position")
    counts = Counts()
    metadata = provenance.metadata()
    for one in joined:
        metadata |= one.metadata
    with ExitStack() as stack:
        writer = stack.enter_context(
            write_table(target, table_schema, metadata=metadata, row_group_rows=row_group_rows)
        )
        listed = None
        if reused is not None:
            listed = stack.enter_context(
                write_table(reused.target, reused_schema(), metadata=provenance.metadata())
            )
        known = {} if reused is None else reused.hits
        rows = _counted(_join_shards(shards, schema, known), counts)
        for one in joined:
            rows = one.join(rows)
        if contig_order is not None:
            rows = _sort_by_position(rows, contig_order, folder=target.parent)
        for table in rows:
            writer.write(table)
            if listed is not None:
                listed.write(table.filter(table.column(_IS_REUSED)))
        if counts.alleles != expected_alleles:
            raise InputError(
                f"{shown_path(target)}: the shards have {counts.alleles} alleles, but the input "
                f"has {expected_alleles}. Name the files of all shards of one split."
            )
        if files is not None:
            files.require_unchanged()
        digest = writer.digest()
        if listed is not None:
            listed.add_metadata({f"{PREFIX}source": digest})
        return counts, digest


def _counted(tables: Iterable[pa.Table], counts: Counts) -> Iterator[pa.Table]:
    for table in tables:
        counts.add(table)
        yield table


def _first_key(path: Path) -> tuple[int, int] | None:
    for batch in read_rows(path, ["record", "allele"], batch_rows=1):
        return batch.column("record")[0].as_py(), batch.column("allele")[0].as_py()
    return None


def _in_row_order(paths: Sequence[Path]) -> list[Path]:
    """Sort files by their first row; files without rows come last."""
    keys = {path: _first_key(path) for path in paths}
    filled = sorted((key, path) for path, key in keys.items() if key is not None)
    return [path for _, path in filled] + [path for path, key in keys.items() if key is None]


def _pair_shards(windows: Sequence[Path], scores: Sequence[Path]) -> list[_Shard]:
    if not windows:
        raise InputError("merge: no shards. Name the windows and the scores file of each shard.")
    for paths in (windows, scores):
        twice = [path for path, number in Counter(paths).items() if number > 1]
        if twice:
            raise InputError(
                f"merge: {shown_path(twice[0])} is named twice. Name each shard's file once."
            )
    if len(windows) != len(scores):
        raise InputError(
            f"merge: {len(windows)} windows files, but {len(scores)} scores files. Name one of "
            "each kind for every shard."
        )
    pairs = zip(_in_row_order(windows), _in_row_order(scores), strict=True)
    return [_Shard(*pair) for pair in pairs]


def _common_provenance(shards: Sequence[_Shard]) -> Provenance:
    """The common provenance of all scores; it must agree with the provenance of their windows."""
    first = shards[0].scores
    provenances = [read_provenance(shard.scores) for shard in shards]
    signature = provenances[0].signature
    for shard, provenance in zip(shards, provenances, strict=True):
        require_same_signature(first, signature, shard.scores, provenance.signature)
        of_windows = read_provenance(shard.windows).signature
        common = {key: value for key, value in provenance.signature.items() if key in of_windows}
        require_same_signature(shard.windows, of_windows, shard.scores, common)
    versions = sorted({provenance.version for provenance in provenances})
    models = sorted({one.model for one in provenances if one.model is not None})
    return Provenance(
        signature=signature,
        version=",".join(versions),
        model=",".join(models) or None,
    )


def _require_columns(shards: Sequence[_Shard]) -> None:
    """Make sure that the files of all shards have their columns, of the right types."""
    for shard in shards:
        _require_types(shard.windows, WINDOWS_COLUMNS)
        _require_types(shard.scores, SCORES_COLUMNS)


def _require_types(source: Path, columns: Sequence[Column]) -> None:
    with open_table(
        source, [column.name for column in columns if column.name not in ADDED_COLUMNS]
    ) as file:
        schema = file.schema_arrow
    for column in columns:
        if column.name not in schema.names:
            continue
        actual = schema.field(column.name).type
        if actual != column.type:
            raise InputError(
                f"{shown_path(source)}: column {column.name} has the type {actual}, expected "
                f"{column.type}. Make the file again with this version."
            )


def _join_shards(
    shards: Sequence[_Shard], schema: pa.Schema, hits: Mapping[Path, Hits]
) -> Iterator[pa.Table]:
    last: tuple[int, int] = (-1, -1)
    window_names = [name for name in schema.names if name not in ALL_SCORE_COLUMNS]
    score_names = [column.name for column in SCORES_COLUMNS]
    for shard in shards:
        names = [*window_names, *(column.name for column in REFERENCE_WINDOW)]
        pairs = read_aligned(shard.windows, shard.scores, names, score_names)
        reused = hits[shard.scores].rows() if shard.scores in hits else None
        for window_rows, score_rows in pairs:
            last = _require_rising(window_rows, last, shard.windows)
            _require_same_alleles(window_rows, score_rows, shard)
            _require_valid_scores(window_rows, score_rows, shard)
            table = _join(window_rows, score_rows, schema)
            is_reused = np.zeros(table.num_rows, dtype=bool)
            if reused is not None:
                keys = (window_rows.column(name) for name in KEYS)
                is_reused[reused.take(*keys)[0]] = True
            yield table.append_column(_IS_REUSED, pa.array(is_reused))
        if reused is not None:
            reused.finish()


def read_aligned(
    windows: Path, scores: Path, window_names: Sequence[str], score_names: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Read windows and scores of a shard in pieces with the same rows.

    The row groups of the two files may differ.

    Args:
        windows: The windows.
        scores: The scores.
        window_names: Columns to read of the windows.
        score_names: Columns to read of the scores.

    Raises:
        InputError: A file cannot be read, or they do not have the same number of rows.
    """
    window_batches = read_rows(windows, window_names, added=ADDED_COLUMNS)
    score_batches = read_rows(scores, score_names, added=ADDED_COLUMNS)
    window_rows, score_rows = next(window_batches, None), next(score_batches, None)
    while window_rows is not None and score_rows is not None:
        count = min(window_rows.num_rows, score_rows.num_rows)
        yield window_rows.slice(0, count), score_rows.slice(0, count)
        window_rows, score_rows = window_rows.slice(count), score_rows.slice(count)
        window_rows = window_rows if window_rows.num_rows else next(window_batches, None)
        score_rows = score_rows if score_rows.num_rows else next(score_batches, None)
    if window_rows is not None or score_rows is not None:
        shorter, longer = windows, scores
        if window_rows is not None:
            shorter, longer = longer, shorter
        raise InputError(
            f"{shown_path(shorter)} has fewer rows than {shown_path(longer)}. Score the shard "
            "again."
        )


def _require_rising(rows: pa.RecordBatch, last: tuple[int, int], source: Path) -> tuple[int, int]:
    """Make sure that the keys rise from row to row, so that no key occurs twice."""
    records = np.append(last[0], rows.column("record").to_numpy())
    alleles = np.append(last[1], rows.column("allele").to_numpy())
    rising = (records[1:] > records[:-1]) | (
        (records[1:] == records[:-1]) & (alleles[1:] > alleles[:-1])
    )
    if not rising.all():
        at = int(np.argmin(rising)) + 1
        raise InputError(
            f"{shown_path(source)}: record {records[at]}, allele {alleles[at]} follows record "
            f"{records[at - 1]}, allele {alleles[at - 1]}. Name the files of one split, each once."
        )
    return int(records[-1]), int(alleles[-1])


def _name_row(rows: pa.RecordBatch, wrong: Any) -> str:
    row = pc.index(wrong, True).as_py()
    return f"record {rows.column('record')[row]}, allele {rows.column('allele')[row]}"


def _require_same_alleles(
    window_rows: pa.RecordBatch, score_rows: pa.RecordBatch, shard: _Shard
) -> None:
    """Make sure that two aligned pieces have the same alleles.

    Raises:
        InputError: They differ. The message names the files and the first such row.
    """
    for key in ("record", "allele"):
        differs = pc.not_equal(window_rows.column(key), score_rows.column(key))
        if pc.any(differs).as_py():
            raise InputError(
                f"{shown_path(shard.windows)} and {shown_path(shard.scores)} are not row-aligned: "
                f"{_name_row(window_rows, differs)} is another allele in the second file. Name two "
                "files of one shard."
            )


def _require_valid_scores(
    window_rows: pa.RecordBatch, score_rows: pa.RecordBatch, shard: _Shard
) -> None:
    """Make sure that the statuses of two aligned pieces agree, and that the scores fit them.

    Raises:
        InputError: They do not. The message names the file and the first such row.
    """
    scores = shown_path(shard.scores)
    before, after = window_rows.column("status"), score_rows.column("status")
    require_unscored(before, shard.windows)
    is_scored = pc.equal(after, "scored")
    unknown = pc.invert(pc.is_in(after, value_set=pa.array(STATUSES)))
    if pc.any(unknown).as_py():
        raise InputError(
            f"{scores}: {_name_row(score_rows, unknown)} has an unknown status. Score the shard "
            "again with this version."
        )
    was_tried = pc.and_(
        pc.equal(before, TO_SCORE), pc.or_(is_scored, pc.equal(after, "non_finite"))
    )
    changed = pc.invert(pc.or_(was_tried, pc.equal(before, after)))
    if pc.any(changed).as_py():
        raise InputError(
            f"{shown_path(shard.windows)} and {scores} disagree about the status of "
            f"{_name_row(window_rows, changed)}. Score the shard again."
        )
    wrong = pc.xor(is_scored, pc.is_valid(score_rows.column("llr")))
    if pc.any(wrong).as_py():
        raise InputError(
            f"{scores}: {_name_row(score_rows, wrong)} is scored without an llr, or has an llr "
            "without being scored. Score the shard again."
        )
    for name in ALL_SCORE_COLUMNS:
        infinite = pc.invert(pc.is_finite(score_rows.column(name)))
        if pc.any(infinite).as_py():
            raise InputError(
                f"{scores}: {name} of {_name_row(score_rows, infinite)} is not finite. Score the "
                "shard again."
            )


def _join(window_rows: pa.RecordBatch, score_rows: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    is_scored = pc.equal(score_rows.column("status"), "scored")
    no_flags = pa.scalar([], FLAG_LIST.type)
    columns = {name: window_rows.column(name) for name in window_rows.schema.names}
    columns |= {name: score_rows.column(name) for name in ALL_SCORE_COLUMNS}
    for column, on_reference in zip((WINDOW_START, WINDOW_END), REFERENCE_WINDOW, strict=True):
        found = window_rows.column(on_reference.name)
        columns[column.name] = pc.coalesce(found, columns[column.name])
    columns["status"] = score_rows.column("status")
    columns["reason"] = score_rows.column("reason")
    columns[FLAG_LIST.name] = pc.if_else(is_scored, window_rows.column(FLAG_LIST.name), no_flags)
    return pa.table([columns[name] for name in schema.names], names=schema.names)


def _sort_by_position(
    tables: Iterable[pa.Table], contig_order: Sequence[str], *, folder: Path
) -> Iterator[pa.Table]:
    known = pa.array(contig_order, pa.string())

    def with_keys(table: pa.Table) -> pa.Table:
        # Rows with an early status have no reference_contig, but their contig may be known.
        contig = pc.coalesce(
            table.column("reference_contig").cast(pa.string()),
            table.column("contig").cast(pa.string()),
        )
        rank = pc.index_in(contig, value_set=known)
        pos = pc.if_else(pc.is_valid(rank), table.column("pos"), None)
        return table.append_column(
            _RANK, pc.fill_null(rank, len(contig_order)).cast(pa.int64())
        ).append_column(_ORDER_POS, pc.fill_null(pos, 0))

    keyed = (with_keys(table) for table in tables)
    for table in sort_rows(keyed, [_RANK, _ORDER_POS, "record", "allele"], folder=folder):
        yield table.drop_columns([_RANK, _ORDER_POS])
