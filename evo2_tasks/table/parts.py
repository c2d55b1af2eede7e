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
from evo2_tasks.table.files import open_table, read_rows, reading, shown, write_table, writing
from evo2_tasks.table.provenance import canonical_json

logger = logging.getLogger(__name__)

KEY: Final = "key"
STATED: Final = "stated"
SUFFIX: Final = ".parts"
"""Ending of the folder beside a shard's scores."""
ALL_PARTS: Final = "all.parquet"
"""The file that holds the parts of a whole shard."""


def parts_folder(scores: Path) -> Path:
    """Where the parts of a shard wait; it is no output of the workflow, which would delete it."""
    return scores.with_suffix(SUFFIX)


def remove_parts(scores: Path) -> None:
    """Remove what is kept of a shard, once its scores are in the table."""
    shutil.rmtree(parts_folder(scores), ignore_errors=True)


def read_stated(folder: Path) -> list[dict[str, Any]]:
    """What each finished part in a folder states about itself, in order.

    Parts come and go while a job runs; those that cannot be read are left out.
    """
    stated: dict[int, dict[str, Any]] = {}
    # While a job puts its parts together, they are there twice.
    for path in (folder / ALL_PARTS, *sorted(folder.glob("[0-9]*.parquet"))):
        with suppress(InputError, ValueError):
            first = 0 if path.name == ALL_PARTS else int(path.stem)
            texts = [
                text
                for batch in read_rows(path, [STATED])
                for text in batch.column(STATED).to_pylist()
            ]
            stated |= {first + row: json.loads(text) for row, text in enumerate(texts)}
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
        key: What shapes the numbers: signature, batches, threads, versions, kind of device.
        names: The columns of numbers.
    """

    def __init__(self, scores: Path, key: Mapping[str, Any], names: Sequence[str]) -> None:
        self._folder = parts_folder(scores)
        self._key = hashlib.sha256(canonical_json(key).encode()).hexdigest()
        self._names = tuple(names)
        self._schema = pa.schema(
            [
                (KEY, pa.string()),
                (STATED, pa.string()),
                *((name, pa.list_(pa.float64())) for name in names),
            ]
        )

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
        """Keep a part; it takes the place of one that was computed in another way.

        Args:
            number: Of the part in its shard.
            digest: Of the windows that the part consists of.
            rows: A row of numbers for each pair of windows.
            stated: What to remember about it, JSON values only.

        Raises:
            InputError: It cannot be written.
        """
        self._remove_stale()
        columns = dict(zip(self._names, zip(*rows, strict=True), strict=True))
        values = {KEY: self._part_key(digest), STATED: canonical_json(stated)} | columns
        with write_table(self._path(number), self._schema) as writer:
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
        with write_table(self._folder / ALL_PARTS, self._schema, row_group_rows=1) as writer:
            for number, digest in enumerate(digests):
                part = self._find(number, digest)
                if part is None:
                    raise InputError(
                        f"{shown(self._folder)}: part {number} is gone. Another job has finished "
                        "this shard; if none has, score it again."
                    )
                writer.write(part)
        for path in self._folder.glob("[0-9]*.parquet"):
            with writing(path):
                path.unlink(missing_ok=True)

    def _find(self, number: int, digest: str) -> pa.Table | None:
        for path, row in ((self._path(number), 0), (self._folder / ALL_PARTS, number)):
            part = self._read_row(path, row)
            if part is not None and part.column(KEY)[0].as_py() == self._part_key(digest):
                return part
        return None

    def _read_row(self, path: Path, row: int) -> pa.Table | None:
        if not path.exists():
            return None
        try:
            with open_table(path, self._schema.names) as file, reading(path):
                if row >= file.num_row_groups:
                    return None
                return file.read_row_group(row, self._schema.names, use_threads=False)
        except InputError as error:
            # Removed by another job that has just finished the shard, or broken on its disk.
            logger.warning("computed again: %s", error)
            return None

    def _remove_stale(self) -> None:
        """Remove the parts of a whole shard that was scored in another way."""
        path = self._folder / ALL_PARTS
        part = self._read_row(path, 0)
        if part is None or not part.column(KEY)[0].as_py().startswith(self._part_key("")):
            with writing(path):
                path.unlink(missing_ok=True)

    def _part_key(self, digest: str) -> str:
        return f"{self._key}:{digest}"

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
