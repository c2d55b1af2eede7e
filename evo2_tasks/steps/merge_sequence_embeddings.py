"""The step ``merge_sequence_embeddings``: the embeddings of a layer of a sequence set."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from evo2_tasks.config.sequences import MergeSequenceEmbeddingsSettings, has_layers
from evo2_tasks.cost.embeddings import layer_width, name_sequence_layers
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS, Strand
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import shard_file, shard_run_file
from evo2_tasks.table.documents import ReadoutError, ReadoutTable, ShardRun
from evo2_tasks.table.embeddings import (
    Narrowing,
    Vectors,
    as_column,
    find_too_large,
    rows_at_once,
    scales_metadata,
)
from evo2_tasks.table.parquet import open_table, read_metadata, read_rows, write_table
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    package_version,
    read_object,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import count_devices, read_shards, require_equal_devices
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.sequence_documents import SequenceSplit
from evo2_tasks.table.sequence_embeddings import (
    EMBEDDING,
    KEYS,
    join_strands,
    sequence_embeddings_schema,
)

logger = logging.getLogger(__name__)

Means = dict[str, tuple[Vectors, np.ndarray[Any, Any]]]
"""Embeddings of some rows by column: values, zero where there are none, and where some are."""


def merge_sequence_embeddings(
    settings: MergeSequenceEmbeddingsSettings,
    *,
    split_file: Path,
    embeddings_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the embeddings of a layer of all shards into one table.

    At the end, the finished parts that the jobs have kept are removed.

    Args:
        settings: The layer, the data type, and what the files must have been made with.
        split_file: The ``split.json`` of ``split_sequences``, next to the shards.
        embeddings_folder: Folder of the embeddings of the shards.
        out: The table: a row for each record of the FASTA, in its order.
        run_json: Counts, the error of the data type, and the work.

    Raises:
        InputError: A shard is missing, the files do not fit together or were made with other
            settings, or the data type cannot hold a value.
    """
    named = name_sequence_layers(settings.embed)
    asked, score = named.embeddings, named.score
    if settings.layer not in asked.layers:
        raise InputError(
            f"config: scorings.{score.name}.embeddings.layer: has no {shown(settings.layer)}; it "
            f"has: {', '.join(asked.layers)}"
        )
    files = SourceFiles()
    files.add(split_file)
    split = SequenceSplit.read(split_file)
    require_settings(split_file, split.settings, score.split.triggers(), "split_sequences")
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    tables = [embeddings_folder / name for name in names]
    shards = read_shards([shard_run_file(table) for table in tables])
    triggers = named.triggers()
    signatures = [
        require_shard(triggers, split_file, split, table, shard, files)
        for table, shard in zip(tables, shards, strict=True)
    ]
    for table, other in zip(tables[1:], signatures[1:], strict=True):
        require_same_signature(tables[0], signatures[0], table, other)
    require_equal_devices(
        shards,
        dtype=score.model.dtype,
        fp8=uses_fp8(signatures[0]),
        allow_mixed=settings.allow_mixed_devices,
    )
    width, strands = layer_width(settings.layer, score.model), STRANDS[score.strands]
    columns = [settings.layer + STRAND_SUFFIXES[strand] for strand in strands]
    require_columns(tables, columns, width)
    pieces = ShardPieces(tables, settings.layer, strands, columns, width, asked.keep_strands)
    narrowings = make_narrowings(pieces, pieces.columns, asked.dtype, width)
    scales = {name: each.scale for name, each in narrowings.items() if each.scale is not None}
    versions = {read_metadata(table).get(f"{PREFIX}version", package_version()) for table in tables}
    provenance = Provenance(
        signatures[0],
        ", ".join(sorted(versions)),
        model=score.model.name,
        source=split.sequences_digest,
        settings=settings.triggers(),
    )
    metadata = provenance.metadata() | (scales_metadata(scales) if scales else {})
    schema = sequence_embeddings_schema(width, asked.dtype, strands=asked.keep_strands)
    filled = 0
    with write_table(out, schema, metadata=metadata) as writer:
        for rows, found in pieces:
            made = {one.name: rows.column(one.name) for one in KEYS}
            for name, (values, present) in found.items():
                if asked.dtype == "float16":
                    require_float16(rows, values, name, score.name, settings.layer)
                made[name] = as_column(narrowings[name].narrow(values, present), present)
            filled += int(found[EMBEDDING][1].sum())
            writer.write(pa.table(made, schema=schema))
        if writer.num_rows != split.records:
            raise InputError(
                f"{shown_path(embeddings_folder)}: the shards have {writer.num_rows:,} rows, and "
                f"the FASTA has {split.records:,} records. Delete the folder, and run again."
            )
        files.require_unchanged()
        table_digest = writer.digest()
    state_embeddings(
        run_json,
        shards,
        narrowings,
        table_digest=table_digest,
        rows=split.records,
        filled=filled,
        layer=settings.layer,
        width=width,
        dtype=asked.dtype,
    )
    remove_parts(embeddings_folder)
    logger.info("%s: %s, %s with embeddings", out, counted(split.records, "row"), f"{filled:,}")


class ShardPieces:
    """The rows of all shards with the embeddings of a layer, in order and in bounded pieces."""

    def __init__(
        self,
        tables: Sequence[Path],
        layer: str,
        strands: tuple[Strand, ...],
        columns: Sequence[str],
        width: int,
        keep_strands: bool,
    ) -> None:
        self._tables = tables
        self._layer = layer
        self._strands = strands
        self._names = [*(one.name for one in KEYS), *columns]
        self._rows = rows_at_once(width, 4)
        self._keep_strands = keep_strands

    @property
    def columns(self) -> list[str]:
        """The columns of embeddings."""
        suffixes = STRAND_SUFFIXES.values() if self._keep_strands else ()
        return [EMBEDDING, *(EMBEDDING + suffix for suffix in suffixes)]

    def __iter__(
        self,
    ) -> Iterator[tuple[pa.RecordBatch, dict[str, tuple[Vectors, np.ndarray[Any, Any]]]]]:
        for table in self._tables:
            for rows in read_rows(table, self._names, batch_rows=self._rows):
                yield (
                    rows,
                    join_strands(rows, self._layer, self._strands, keep_strands=self._keep_strands),
                )


def require_shard(
    triggers: Mapping[str, object],
    split_file: Path,
    split: SequenceSplit,
    table: Path,
    shard: ShardRun,
    files: SourceFiles,
) -> Mapping[str, Any]:
    """Make sure that the file of a shard was made from the shard, and with these settings.

    Settings that have more layers than are asked for are good too.

    Returns:
        The signature of the file.

    Raises:
        InputError: It was made from another shard or with other settings, or is missing.
    """
    digest, stored = files.add(table), read_metadata(table)
    source = split_file.with_name(table.name)
    require_source(table, stored.get(f"{PREFIX}source"), source, split.files.get(table.name))
    run_file, made = shard_run_file(table), shard.statements
    files.add(run_file)
    require_source(run_file, made and made.scores, table, digest)
    if made is None or not has_layers(made.settings, triggers):
        require_settings(run_file, made and made.settings, triggers, "embed_sequences")
    signature = read_object(table, stored, "signature")
    if signature is None:
        raise InputError(f"{shown_path(table)}: states no signature. Embed the shard again.")
    return signature


def require_columns(tables: Sequence[Path], columns: Sequence[str], width: int) -> None:
    """Make sure that the files of all shards have the embeddings of the layer.

    Raises:
        InputError: One has none, or of another width.
    """
    kind = pa.list_(pa.float32(), width)
    for path in tables:
        with open_table(path, [*(one.name for one in KEYS), *columns]) as file:
            schema = file.schema_arrow
        if any(schema.field(name).type != kind for name in columns):
            raise InputError(
                f"{shown_path(path)}: the embeddings have not {width:,} values. Delete the file, "
                "and run embed_sequences again."
            )


def make_narrowings(
    pieces: Iterable[tuple[object, Means]], names: Sequence[str], dtype: str, width: int
) -> dict[str, Narrowing]:
    """How each column becomes its data type. For ``int8``, all values are read first."""
    largest: dict[str, Vectors] = {}
    if dtype == "int8":
        largest = {name: np.zeros(width, np.float32) for name in names}
        for _, found in pieces:
            for name, (values, present) in found.items():
                new = np.abs(values[present]).max(axis=0, initial=0)
                np.maximum(largest[name], new, out=largest[name])
    return {name: Narrowing(dtype, largest.get(name)) for name in names}


def state_embeddings(
    run_json: Path,
    shards: Sequence[ShardRun],
    narrowings: Mapping[str, Narrowing],
    *,
    table_digest: str,
    rows: int,
    filled: int,
    layer: str,
    width: int,
    dtype: Literal["float32", "float16", "int8"],
) -> None:
    """Write the JSON file next to a table of embeddings.

    Args:
        run_json: The file to write.
        shards: The work of the shards.
        narrowings: How each column was narrowed; its error is stated unless ``dtype`` is float32.
        table_digest: SHA-256 of the table.
        rows: Number of its rows.
        filled: How many of them have an embedding.
        layer: Published name of the layer.
        width: Number of its channels.
        dtype: Data type of the values.
    """
    stated: dict[str, Any] = {}
    if dtype != "float32":
        stated["errors"] = state_errors(narrowings)
    ReadoutTable(
        table_digest=table_digest,
        rows=rows,
        filled=filled,
        layer=layer,
        width=width,
        dtype=dtype,
        windows_run=sum(shard.windows_run for shard in shards),
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        devices=count_devices(shards),
        **stated,
    ).write(run_json)


def state_errors(narrowings: Mapping[str, Narrowing]) -> dict[str, ReadoutError]:
    """How much the data type has changed the values, by column."""
    return {
        name: ReadoutError(
            largest=each.error.largest,
            rms=each.error.rms,
            smallest_cosine=each.error.smallest_cosine,
        )
        for name, each in narrowings.items()
    }


def require_float16(
    rows: pa.RecordBatch, values: Vectors, name: str, scoring: str, layer: str
) -> None:
    """Make sure that ``float16`` can hold the values of a column.

    Raises:
        InputError: It cannot.
    """
    records = rows.column(KEYS[0].name).to_pylist()
    found = find_too_large(values, records, records)
    if found is not None:
        record, _, value = found
        raise InputError(
            f"config: scorings.{scoring}.embeddings.dtype: float16 cannot hold "
            f"{value:,.0f}, a value of {name} in layer {layer} (record {record}); the "
            "largest is 65,504. Set `dtype: float32`, or `int8`."
        )
