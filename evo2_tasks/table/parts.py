"""Finished parts of a shard: kept on disk, so that the next job continues after a killed one."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import writing
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import ANY_SHARD
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.parquet import (
    NO_COLUMNS,
    open_table,
    read_rows,
    reading_table,
    write_table,
)
from evo2_tasks.table.provenance import canonical_json

logger = logging.getLogger(__name__)

KEY: Final = "key"
SOURCE: Final = "source"
DIGEST: Final = "digest"
USAGE: Final = "stated"
"""Column of the windows, tokens and seconds of a part; files of earlier versions have this name."""
SUFFIX: Final = ".parts"
"""Ending of the folder next to a shard's scores."""
ALL_PARTS: Final = "all"
"""Replaces the number in the name of the file with all parts of a shard."""


def parts_folder(scores: Path, readout: str = "") -> Path:
    """The folder of a shard's parts.

    It is not an output of a rule, because Snakemake deletes the outputs of failed jobs.

    Args:
        scores: The scores of the shard.
        readout: Name of a read-out whose parts are kept apart. Default: the parts of the scores.
    """
    return scores.with_suffix(f".{readout}{SUFFIX}" if readout else SUFFIX)


def remove_parts(scores_folder: Path) -> None:
    """Remove the parts of all shards, also those of a run with another number of shards."""
    for folder in scores_folder.glob(f"{ANY_SHARD}{SUFFIX}"):
        shutil.rmtree(folder, ignore_errors=True)


def read_usage(folder: Path, source: str) -> list[PartUsage]:
    """The usage (windows, tokens, seconds) of each finished part in a folder, in their order.

    A running job adds and removes files; files that cannot be read are left out.

    Args:
        folder: The folder of a shard's parts.
        source: SHA-256 of the windows file; parts of another windows file are left out.
    """
    usage: dict[int, PartUsage] = {}
    # While a job writes all parts into one file, each part is in two files.
    for path in sorted(folder.glob("[!.]*.parquet")):
        number = path.stem.rpartition("-")[2]
        with suppress(InputError, ValueError):
            first = 0 if number == ALL_PARTS else int(number)
            rows = [row for batch in read_rows(path, [SOURCE, USAGE]) for row in batch.to_pylist()]
            usage |= {
                first + offset: PartUsage.parse_text(str(row[USAGE]), shown_path(path))
                for offset, row in enumerate(rows)
                if row[SOURCE] == source
            }
    return [usage[number] for number in sorted(usage)]


class PartStore:
    """The finished parts of one shard.

    Each part is written to its own file. After the last part, one file with all parts replaces
    them. The files are tables; each row is one part, and a row group of its own. A part is used
    again only if it was computed from the same windows in the same way.

    Args:
        folder: The folder of the parts.
        source: SHA-256 of the windows file.
        key: All settings that change the numbers: signature, batches, threads, versions, kind of
            device.
        names: Names of the columns.
        types: Arrow type of a value in those of the columns that do not hold numbers of float64.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        key: Mapping[str, Any],
        names: Sequence[str],
        *,
        types: Mapping[str, pa.DataType] = NO_COLUMNS,
    ) -> None:
        self._folder = folder
        self._source = source
        full_key = {**key, SOURCE: source}
        self._key = hashlib.sha256(canonical_json(full_key).encode()).hexdigest()
        self._names = tuple(names)
        self._schema = pa.schema(
            [
                (KEY, pa.string()),
                (SOURCE, pa.string()),
                (DIGEST, pa.string()),
                (USAGE, pa.string()),
                *((name, pa.list_(types.get(name, pa.float64()))) for name in names),
            ]
        )

    def remove_stale(self) -> None:
        """Remove the parts that were computed from other windows or in another way.

        Raises:
            InputError: They cannot be removed.
        """
        for path in self._folder.glob("[!.]*.parquet"):
            if not path.name.startswith(self._prefix):
                with writing(path):
                    path.unlink(missing_ok=True)

    def read(
        self, number: int, digest: str, num_pairs: int
    ) -> tuple[list[tuple[Any, ...]], PartUsage] | None:
        """Read the rows and the usage of a part; None if the part is not finished.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            num_pairs: Number of pairs of windows in the part.
        """
        found = self.read_columns(number, digest, num_pairs)
        if found is None:
            return None
        columns, usage = found
        return list(zip(*(column.to_pylist() for column in columns), strict=True)), usage

    def read_columns(
        self, number: int, digest: str, num_rows: int
    ) -> tuple[list[pa.Array], PartUsage] | None:
        """Read the columns of numbers and the usage of a part; None if it is not finished.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            num_rows: Number of rows in the part.
        """
        part = self._find(number, digest)
        if part is None:
            return None
        where = f"{shown_path(self._folder)}: part {number}"
        try:
            usage = PartUsage.parse_text(part.column(USAGE)[0].as_py() or "", where)
            columns = [part.column(name)[0].values for name in self._names]
            if any(column is None or len(column) != num_rows for column in columns):
                raise InputError(f"{where}: does not have {num_rows:,} scores.")
        except InputError as error:
            logger.warning("a part is computed again: %s", error)
            return None
        return columns, usage

    def write(
        self,
        number: int,
        digest: str,
        rows: Sequence[tuple[Any, ...]],
        usage: PartUsage,
    ) -> None:
        """Write a finished part.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            rows: A row of values for each pair of windows.
            usage: Windows, tokens and seconds of the part.

        Raises:
            InputError: The part cannot be written.
        """
        self.write_columns(number, digest, list(zip(*rows, strict=True)), usage)

    def write_columns(
        self, number: int, digest: str, columns: Sequence[Any], usage: PartUsage
    ) -> None:
        """Write a finished part whose numbers are in columns.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            columns: The numbers of each column.
            usage: Windows, tokens and seconds of the part.

        Raises:
            InputError: The part cannot be written.
        """
        numbers = dict(zip(self._names, columns, strict=True))
        labels = {KEY: self._key, SOURCE: self._source, DIGEST: digest}
        values = labels | {USAGE: canonical_json(usage.as_json())} | numbers
        with write_table(self._path(f"{number:06d}"), self._schema) as writer:
            writer.write_columns({name: [value] for name, value in values.items()})

    def finish(self, digests: Sequence[str]) -> None:
        """Write all parts into one file, which is kept until the shard is merged.

        A job may be killed after it wrote its last output, but before Snakemake recorded this. Then
        Snakemake deletes the outputs, and the next job reads all parts from this file.

        Args:
            digests: Digest of the windows of each part of the shard.

        Raises:
            InputError: The file cannot be written, or a part is missing.
        """
        with write_table(self._path(ALL_PARTS), self._schema, row_group_rows=1) as writer:
            for number, digest in enumerate(digests):
                part = self._find(number, digest)
                if part is None:
                    raise InputError(
                        f"{shown_path(self._folder)}: part {number} is missing: another job is "
                        "scoring this shard too, or has finished it. If there is no such job, "
                        "score the shard again."
                    )
                writer.write(part)
        for path in self._folder.glob(f"{self._prefix}[0-9]*.parquet"):
            with writing(path):
                path.unlink(missing_ok=True)

    def _find(self, number: int, digest: str) -> pa.Table | None:
        for path, row in ((self._path(f"{number:06d}"), 0), (self._path(ALL_PARTS), number)):
            part = self._read_row(path, row)
            if part is not None and (self._key, digest) == (
                part.column(KEY)[0].as_py(),
                part.column(DIGEST)[0].as_py(),
            ):
                return part
        return None

    def _read_row(self, path: Path, row: int) -> pa.Table | None:
        if not path.exists():
            return None
        try:
            with open_table(path, self._schema.names) as file, reading_table(path):
                if not file.schema_arrow.equals(self._schema):
                    raise InputError(f"{shown_path(path)}: is not a file of parts.")
                if row >= file.num_row_groups or file.metadata.row_group(row).num_rows != 1:
                    raise InputError(f"{shown_path(path)}: does not have part {row}.")
                return file.read_row_group(row, self._schema.names, use_threads=False)
        except InputError as error:
            # Another job removed the file after it finished the shard, or the file is damaged.
            logger.warning("a part is computed again: %s", error)
            return None

    @property
    def _prefix(self) -> str:
        return f"{self._key[:12]}-"

    def _path(self, number: str) -> Path:
        return self._folder / f"{self._prefix}{number}.parquet"
