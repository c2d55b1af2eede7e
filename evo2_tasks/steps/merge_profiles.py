"""The step ``merge_profiles``: the profiles of all shards as one table."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.embeddings import MergeProfilesSettings
from evo2_tasks.cost.embeddings import name_layers
from evo2_tasks.io.words import counted
from evo2_tasks.steps.merge_embeddings import open_shards, remove_stale_parts
from evo2_tasks.table.documents import ReadoutError, ReadoutTable
from evo2_tasks.table.embeddings import NarrowingError
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.schema import ALLELE, RECORD, STRAND_SUFFIXES
from evo2_tasks.table.shard_readouts import PROFILE, ProfileFile, profiles_schema

logger = logging.getLogger(__name__)

COLUMNS = tuple(PROFILE + suffix for suffix in STRAND_SUFFIXES.values())

BYTES_AT_ONCE = 16 * 2**20


def merge_profiles(
    settings: MergeProfilesSettings,
    *,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    readouts_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the profiles of all shards into one table, as float16.

    A profile with a value that float16 cannot hold (above 65,504 nats) is null.

    Args:
        settings: The number of tokens, and what the files must have been made with.
        split_file: The ``split.json``, which states the numbers of shards and alleles.
        windows_folder: Folder of the files that ``windows`` wrote.
        scores_folder: Folder of the scores.
        readouts_folder: Folder of the read-outs of all shards.
        out: The table: a row for each row of the table of scores, in the order of the input.
        run_json: Counts, the error of float16, and the work.

    Raises:
        InputError: A file is missing, or the files do not fit together or were made with other
            settings.
    """
    merged = open_shards(
        name_layers(settings.readouts),
        settings.split,
        ProfileFile(settings.tokens),
        split_file=split_file,
        windows_folder=windows_folder,
        scores_folder=scores_folder,
        readouts_folder=readouts_folder,
        allow_mixed=settings.allow_mixed_devices,
    )
    errors = {name: NarrowingError() for name in COLUMNS}
    provenance = replace(merged.provenance, settings=settings.triggers())
    at_once = max(1, BYTES_AT_ONCE // (8 * settings.tokens))
    filled = 0
    with write_table(out, profiles_schema(pa.float16()), metadata=provenance.metadata()) as writer:
        for path in merged.paths:
            names = [RECORD.name, ALLELE.name, *COLUMNS]
            for rows in read_rows(path, names, batch_rows=at_once):
                columns = {name: rows.column(name) for name in (RECORD.name, ALLELE.name)}
                for name in COLUMNS:
                    columns[name] = narrow(rows.column(name), settings.tokens, errors[name])
                has_any = np.zeros(rows.num_rows, dtype=bool)
                for name in COLUMNS:
                    has_any |= columns[name].is_valid().to_numpy(zero_copy_only=False)
                filled += int(has_any.sum())
                writer.write(pa.table(columns))
        merged.files.require_unchanged()
        table_digest = writer.digest()
    ReadoutTable(
        table_digest=table_digest,
        rows=writer.num_rows,
        filled=filled,
        tokens=settings.tokens,
        dtype="float16",
        errors={
            name: ReadoutError(largest=error.largest, rms=error.rms)
            for name, error in errors.items()
        },
        **merged.state_work(),
    ).write(run_json)
    remove_stale_parts(readouts_folder, merged.paths)
    logger.info("%s: %s, %s with a profile", out, counted(writer.num_rows, "row"), f"{filled:,}")


def narrow(column: pa.Array, tokens: int, error: NarrowingError) -> pa.Array:
    """The first entries of profiles as float16.

    Args:
        column: Profiles in float32, null where there is none.
        tokens: Number of entries to keep.
        error: Gets the error of the entries.
    """
    cut = pc.list_slice(column, 0, tokens, return_fixed_size_list=False)
    present = cut.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(cut), 0).to_numpy().astype(np.int32)
    exact: npt.NDArray[np.float32] = cut.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        values = exact.astype(np.float16)
    rows = np.repeat(np.arange(len(cut)), lengths)
    too_large = rows[np.isinf(values)]
    present = present & ~np.isin(np.arange(len(cut)), too_large)
    is_kept = present[rows]
    error.add_values(exact[is_kept], values[is_kept].astype(np.float32))
    lengths[~present] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.array(values[is_kept], pa.float16()),
        mask=None if present.all() else pa.array(~present),
    )
