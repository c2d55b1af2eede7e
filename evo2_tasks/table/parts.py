"""Finished parts of a shard: what a killed job leaves behind, for the next one to go on from."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import writing
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import ANY_SHARD
from evo2_tasks.table.parquet import open_table, read_rows, reading_table, write_table
from evo2_tasks.table.provenance import canonical_json

logger = logging.getLogger(__name__)

KEY: Final = "key"
SOURCE: Final = "source"
DIGEST: Final = "digest"
STATED: Final = "stated"
SUFFIX: Final = ".parts"
"""Ending of the folder beside a shard's scores."""
ALL_PARTS: Final = "all"
"""Stands in the place of the number in the name of the file that holds all parts of a shard."""


def parts_folder(scores: Path) -> Path:
    """Where the parts of a shard wait; it is no output of the workflow, which would delete it."""
    return scores.with_suffix(SUFFIX)


def remove_parts(scores_folder: Path) -> None:
    """Remove what is kept of all shards, of another number of shards too: the table is written."""
    for folder in scores_folder.glob(f"{ANY_SHARD}{SUFFIX}"):
        shutil.rmtree(folder, ignore_errors=True)


def read_stated(folder: Path, source: str) -> list[dict[str, Any]]:
    """What each finished part in a folder states about itself, in order.

    Parts come and go while a job runs; those that cannot be read are left out.

    Args:
        folder: Of the parts of a shard.
        source: SHA-256 of the windows file; parts of another one are left out.
    """
    stated: dict[int, dict[str, Any]] = {}
    # While a job puts its parts together, they are there twice.
    for path in sorted(folder.glob("[!.]*.parquet")):
        number = path.stem.rpartition("-")[2]
        with suppress(InputError, ValueError):
            first = 0 if number == ALL_PARTS else int(number)
            rows = [row for batch in read_rows(path, [SOURCE, STATED]) for row in batch.to_pylist()]
            stated |= {
                first + offset: json.loads(row[STATED])
                for offset, row in enumerate(rows)
                if row[SOURCE] == source
            }
    return [stated[number] for number in sorted(stated)]


def count_tokens(windows_file: Path) -> int:
    """Tokens of all windows of a shard, shared ones as often as they are asked for."""
    return sum(
        2 * (pc.sum(column).as_py() or 0)
        for batch in read_rows(windows_file, ["length_fwd", "length_rev"])
        for column in batch.columns
    )


class PartStore:
    """The finished parts of one shard: a file for each, and one for all when the last is done.

    The files are tables with a row, which is a row group, for each part. A part is read back
    exactly if it was computed from the same windows in the same way.

    Args:
        scores: The shard's file of scores; the parts lie in a folder beside it.
        source: SHA-256 of the windows file.
        key: What shapes the numbers: signature, batches, threads, versions, kind of device.
        names: The columns of numbers.
    """

    def __init__(
        self, scores: Path, source: str, key: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        self._folder = parts_folder(scores)
        self._source = source
        shaping = {**key, SOURCE: source}
        self._key = hashlib.sha256(canonical_json(shaping).encode()).hexdigest()
        self._names = tuple(names)
        self._schema = pa.schema(
            [
                (KEY, pa.string()),
                (SOURCE, pa.string()),
                (DIGEST, pa.string()),
                (STATED, pa.string()),
                *((name, pa.list_(pa.float64())) for name in names),
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
        self, number: int, digest: str
    ) -> tuple[list[tuple[float | None, ...]], dict[str, Any]] | None:
        """The rows of a part and what it states about itself; None if it is still to be done.

        Args:
            number: Of the part in its shard.
            digest: Of the windows that the part consists of.
        """
        part = self._find(number, digest)
        if part is None:
            return None
        (values,) = part.to_pylist()
        rows = list(zip(*(values[name] for name in self._names), strict=True))
        return rows, json.loads(values[STATED])

    def write(
        self,
        number: int,
        digest: str,
        rows: Sequence[tuple[float | None, ...]],
        stated: Mapping[str, Any],
    ) -> None:
        """Keep a part.

        Args:
            number: Of the part in its shard.
            digest: Of the windows that the part consists of.
            rows: A row of numbers for each pair of windows.
            stated: What to remember about it, JSON values only.

        Raises:
            InputError: It cannot be written.
        """
        columns = dict(zip(self._names, zip(*rows, strict=True), strict=True))
        told = {KEY: self._key, SOURCE: self._source, DIGEST: digest}
        values = told | {STATED: canonical_json(stated)} | columns
        with write_table(self._path(f"{number:06d}"), self._schema) as writer:
            writer.write_columns({name: [value] for name, value in values.items()})

    def finish(self, digests: Sequence[str]) -> None:
        """Put all parts into one file, which stays until the shard is merged.

        A job may still be killed between its last file and the note that Snakemake makes of it;
        then its files are deleted, and the next job finds everything here.

        Args:
            digests: Of the windows of each part of the shard.

        Raises:
            InputError: It cannot be written, or a part is gone.
        """
        with write_table(self._path(ALL_PARTS), self._schema, row_group_rows=1) as writer:
            for number, digest in enumerate(digests):
                part = self._find(number, digest)
                if part is None:
                    raise InputError(
                        f"{shown_path(self._folder)}: part {number} is gone: another job scores "
                        "this shard too, or has done it. If none does, score it again."
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
                return file.read_row_group(row, self._schema.names, use_threads=False)
        except InputError as error:
            # Removed by another job that has just finished the shard, or broken on its disk.
            logger.warning("computed again: %s", error)
            return None

    @property
    def _prefix(self) -> str:
        return f"{self._key[:12]}-"

    def _path(self, number: str) -> Path:
        return self._folder / f"{self._prefix}{number}.parquet"
