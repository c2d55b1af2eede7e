"""The step ``merge_embeddings``: the embeddings of a layer of all shards as one table."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evo2_tasks.config.embeddings import MergeEmbeddingsSettings
from evo2_tasks.config.resolve import ReadOutSettings, SplitSettings
from evo2_tasks.cost.embeddings import layer_width, name_layers
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import (
    ANY_SHARD,
    READOUTS_RUN,
    readout_parts,
    shard_file,
    shard_readout,
    shard_run_file,
)
from evo2_tasks.table.audit import digest_windows
from evo2_tasks.table.documents import (
    ReadoutError,
    ReadoutsRun,
    ReadoutTable,
    ShardRun,
    Split,
)
from evo2_tasks.table.embeddings import (
    Narrowing,
    as_column,
    embedding_columns,
    embeddings_schema,
    find_too_large,
    rows_at_once,
    scales_metadata,
    vectors_of,
)
from evo2_tasks.table.parquet import count_rows, open_table, read_rows, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import count_devices, require_equal_devices
from evo2_tasks.table.schema import ALLELE, RECORD
from evo2_tasks.table.shard_readouts import LayerFile, ReadoutFile, serves

logger = logging.getLogger(__name__)

READOUT_KEYS = ("readouts", "embeddings", "profile")
"""Settings of ``score_readouts`` that shape no other read-out than their own."""


def merge_embeddings(
    settings: MergeEmbeddingsSettings,
    *,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    readouts_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the embeddings of a layer of all shards into one table.

    Args:
        settings: The layer, the data type, and what the files must have been made with.
        split_file: The ``split.json``, which states the numbers of shards and alleles.
        windows_folder: Folder of the files that ``windows`` wrote.
        scores_folder: Folder of the scores.
        readouts_folder: Folder of the read-outs of all shards.
        out: The table: a row for each row of the table of scores, in the order of the input.
        run_json: Counts, the error of the data type, and the work.

    Raises:
        InputError: A file is missing, the files do not fit together or were made with other
            settings, or the data type cannot hold a value.
    """
    named = name_layers(settings.readouts)
    settings = replace(settings, readouts=named)
    layers = () if named.embeddings is None else named.embeddings.layers
    if settings.layer not in layers:
        raise InputError(
            f"config: scorings.{named.score.name}.embeddings.layer: has no "
            f"{shown(settings.layer)}; it has: {', '.join(layers)}"
        )
    asked = settings.embeddings
    width = layer_width(settings.layer, named.score.model)
    one = LayerFile(settings.layer, width, asked.tokens, asked.keep_strands)
    merged = open_shards(
        named,
        settings.split,
        one,
        split_file=split_file,
        windows_folder=windows_folder,
        scores_folder=scores_folder,
        readouts_folder=readouts_folder,
        allow_mixed=settings.allow_mixed_devices,
    )
    names = embedding_columns(strands=asked.keep_strands)
    require_width(merged.paths, width)
    narrowings = make_narrowings(merged.paths, names, asked.dtype, width)
    scales = {name: each.scale for name, each in narrowings.items() if each.scale is not None}
    provenance = replace(merged.provenance, settings=settings.triggers())
    metadata = provenance.metadata() | (scales_metadata(scales) if scales else {})
    schema = embeddings_schema(width, asked.dtype, strands=asked.keep_strands)
    filled = 0
    with write_table(out, schema, metadata=metadata) as writer:
        for rows in read_shards(merged.paths, names, width):
            columns = {name: rows.column(name) for name in (RECORD.name, ALLELE.name)}
            for name in names:
                if asked.dtype == "float16":
                    require_float16(rows, name, settings)
                values, present = vectors_of(rows.column(name))
                columns[name] = as_column(narrowings[name].narrow(values, present), present)
            filled += rows.num_rows - rows.column(names[0]).null_count
            writer.write(pa.table(columns))
        merged.files.require_unchanged()
        table_digest = writer.digest()
    errors = {
        name: ReadoutError(
            largest=each.error.largest,
            rms=each.error.rms,
            smallest_cosine=each.error.smallest_cosine,
        )
        for name, each in narrowings.items()
    }
    ReadoutTable(
        table_digest=table_digest,
        rows=writer.num_rows,
        filled=filled,
        layer=settings.layer,
        width=width,
        tokens=asked.tokens,
        dtype=asked.dtype,
        **(merged.state_work() | ({} if asked.dtype == "float32" else {"errors": errors})),
    ).write(run_json)
    remove_stale_parts(readouts_folder, merged.paths)
    logger.info("%s: %s, %s with embeddings", out, counted(writer.num_rows, "row"), f"{filled:,}")


@dataclass(frozen=True, slots=True)
class MergedShards:
    """The files of a read-out of all shards, which belong together.

    Attributes:
        paths: The file of each shard, in their order.
        provenance: What is common to all of them.
        runs: What the jobs state about their work.
        files: The files that were read, which must not change.
    """

    paths: Sequence[Path]
    provenance: Provenance
    runs: Sequence[ReadoutsRun]
    files: SourceFiles

    def state_work(self) -> dict[str, Any]:
        """The work of the jobs, as the JSON file next to the table states it."""
        return {
            "windows_run": sum(one.windows_run for one in self.runs),
            "tokens_run": sum(one.tokens_run for one in self.runs),
            "wall_s": round(sum(one.wall_s for one in self.runs), 3),
            "devices": count_devices(self.runs),
        }


def open_shards(
    settings: ReadOutSettings,
    split_settings: SplitSettings,
    one: ReadoutFile,
    *,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    readouts_folder: Path,
    allow_mixed: bool,
) -> MergedShards:
    """Make sure that the files of a read-out of all shards belong together and to the scores.

    Args:
        settings: What the files must have been made with.
        split_settings: What ``split`` must have made the shards with.
        one: The file of a shard.
        split_file: The ``split.json``.
        windows_folder: Folder of the files that ``windows`` wrote.
        scores_folder: Folder of the scores.
        readouts_folder: Folder of the read-outs of all shards.
        allow_mixed: Whether shards of different kinds of devices become one table.

    Raises:
        InputError: A file is missing, or was made from another source or with other settings.
    """
    files = SourceFiles()
    files.add(split_file)
    split = Split.read(split_file)
    if split.statements is not None:
        require_settings(split_file, split.statements.settings, split_settings.triggers(), "split")
    names = [shard_file(shard, split.shards) for shard in range(1, split.shards + 1)]
    paths = [shard_readout(readouts_folder, Path(name), one.file) for name in names]
    runs, score_runs, windows, rows = [], [], [], 0
    for name, path in zip(names, paths, strict=True):
        windows.append(files.add(windows_folder / name))
        run = require_shard(settings, one, path, readouts_folder / Path(name).stem, files)
        runs.append(run.model_copy(update={"shard": f"{Path(name).stem} (read-outs)"}))
        provenance, scores = read_provenance(path), scores_folder / name
        require_source(path, provenance.source, windows_folder / name, windows[-1])
        require_same_signature(
            path, provenance.signature, scores, read_provenance(scores).signature
        )
        score_runs.append(
            ShardRun.read(shard_run_file(scores)).model_copy(update={"shard": scores.stem})
        )
        rows += count_rows(path)
    if rows != split.alleles:
        raise InputError(
            f"{shown_path(readouts_folder)}: the shards have {rows:,} rows, but the input has "
            f"{split.alleles:,} alleles. Delete the folder, and run again."
        )
    first = read_provenance(paths[0])
    require_equal_devices(
        [*score_runs, *runs],
        dtype=settings.score.model.dtype,
        fp8=uses_fp8(first.signature),
        allow_mixed=allow_mixed,
    )
    provenance = Provenance(
        first.signature,
        ",".join(sorted({read_provenance(path).version for path in paths})),
        model=first.model,
        inputs={"windows": digest_windows(windows)},
    )
    return MergedShards(paths, provenance, runs, files)


def require_shard(
    settings: ReadOutSettings, one: ReadoutFile, path: Path, folder: Path, files: SourceFiles
) -> ReadoutsRun:
    """Make sure that the read-outs of a shard are what its JSON file states, with these settings.

    Args:
        settings: What the files must have been made with.
        one: The file.
        path: Where it is.
        folder: The read-outs of the shard.
        files: Gets the files.

    Raises:
        InputError: A file is missing, or was made with other settings.
    """
    run_file = folder / READOUTS_RUN
    files.add(run_file)
    run = ReadoutsRun.read(run_file)
    base = {key: value for key, value in run.made.settings.items() if key not in READOUT_KEYS}
    require_settings(run_file, base, settings.score.triggers(), "score_readouts")
    require_source(run_file, run.made.files.get(one.file), path, files.add(path))
    found = read_provenance(path).settings
    if not serves(found, one.settings):
        require_settings(path, found, one.settings, "score_readouts")
    return run


def require_width(paths: Sequence[Path], width: int) -> None:
    """Make sure that the embeddings of all shards have the width of the layer.

    Raises:
        InputError: One has another.
    """
    for path in paths:
        with open_table(path) as file:
            schema = file.schema_arrow
        expected = embeddings_schema(width, "float32", strands=False)
        if any(schema.field(name).type != expected.field(name).type for name in expected.names):
            raise InputError(
                f"{shown_path(path)}: the embeddings have not {width:,} values. Delete the file, "
                "and run score_readouts again."
            )


def read_shards(
    paths: Sequence[Path], names: Sequence[str], width: int
) -> Iterator[pa.RecordBatch]:
    """The rows of the embeddings of all shards, in order and in pieces of bounded size."""
    at_once = rows_at_once(width, len(names))
    for path in paths:
        yield from read_rows(path, [RECORD.name, ALLELE.name, *names], batch_rows=at_once)


def make_narrowings(
    paths: Sequence[Path], names: Sequence[str], dtype: str, width: int
) -> dict[str, Narrowing]:
    """How each column becomes its data type. For ``int8``, all values are read first.

    Raises:
        InputError: A file cannot be read.
    """
    if dtype != "int8":
        return {name: Narrowing(dtype) for name in names}
    largest = {name: np.zeros(width, np.float32) for name in names}
    for rows in read_shards(paths, names, width):
        for name in names:
            values, present = vectors_of(rows.column(name))
            found = np.abs(values[present]).max(axis=0, initial=0)
            np.maximum(largest[name], found, out=largest[name])
    return {name: Narrowing(dtype, largest[name]) for name in names}


def require_float16(rows: pa.RecordBatch, name: str, settings: MergeEmbeddingsSettings) -> None:
    """Make sure that ``float16`` can hold the values of a column.

    Raises:
        InputError: It cannot.
    """
    values, present = vectors_of(rows.column(name))
    keys = (rows.column(key).filter(pa.array(present)) for key in (RECORD.name, ALLELE.name))
    found = find_too_large(values[present], *(key.to_pylist() for key in keys))
    if found is not None:
        record, allele, value = found
        raise InputError(
            f"config: scorings.{settings.readouts.score.name}.embeddings.dtype: float16 cannot "
            f"hold {value:,.0f}, a value of {name} in layer {settings.layer} (record {record}, "
            f"allele {allele}); the largest is 65,504. Set `dtype: float32`, or `int8`."
        )


def remove_stale_parts(readouts_folder: Path, paths: Sequence[Path]) -> None:
    """Remove what jobs of a run with another number of shards have kept for later jobs.

    Args:
        readouts_folder: Folder of the read-outs of all shards.
        paths: The file of each shard that was merged.
    """
    shards = {path.relative_to(readouts_folder).parts[0] for path in paths}
    kept = {readout_parts(readouts_folder / shard) for shard in shards}
    for folder in readouts_folder.glob(readout_parts(Path(ANY_SHARD)).name):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
