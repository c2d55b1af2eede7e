"""Finished parts of a shard: what a killed job leaves behind, for the next one to go on from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.table.files import read_metadata, read_rows, write_table
from evo2_tasks.table.provenance import PREFIX, canonical_json

logger = logging.getLogger(__name__)

KEY: Final = PREFIX + "part"
STATED: Final = PREFIX + "stated"
SUFFIX: Final = ".parts"
"""Ending of the folder beside a shard's scores."""


def parts_folder(scores: Path) -> Path:
    """Where the parts of a shard wait; it is no output of the workflow, which would delete it."""
    return scores.with_suffix(SUFFIX)


def read_stated(folder: Path) -> list[dict[str, Any]]:
    """What each finished part in a folder states about itself, in order.

    Parts come and go while a job runs; those that cannot be read are left out.
    """
    stated = []
    for path in sorted(folder.glob("*.parquet")):
        with suppress(InputError, KeyError, ValueError):
            stated.append(json.loads(read_metadata(path)[STATED]))
    return stated


def count_tokens(windows_file: Path) -> int:
    """Tokens of all windows of a shard, shared ones as often as they are asked for."""
    return sum(
        2 * (pc.sum(column).as_py() or 0)
        for batch in read_rows(windows_file, ["length_fwd", "length_rev"])
        for column in batch.columns
    )


class PartStore:
    """The finished parts of one shard, one file each.

    A part is read back exactly if it was computed from the same windows in the same way.

    Args:
        scores: The shard's file of scores; the parts lie in a folder beside it.
        key: What shapes the numbers: signature, batches, threads, versions, kind of device.
        names: The columns of numbers.
    """

    def __init__(self, scores: Path, key: Mapping[str, Any], names: Sequence[str]) -> None:
        self._folder = parts_folder(scores)
        self._key = hashlib.sha256(canonical_json(key).encode()).hexdigest()
        self._names = tuple(names)

    def read(
        self, number: int, digest: str
    ) -> tuple[list[tuple[float | None, ...]], dict[str, Any]] | None:
        """The rows of a part and what it states about itself; None if it is still to be done.

        Args:
            number: Of the part in its shard.
            digest: Of the windows that the part consists of.
        """
        path = self._path(number)
        if not path.exists():
            return None
        try:
            metadata = read_metadata(path)
            if metadata.get(KEY) != f"{self._key}:{digest}":
                return None
            rows = [
                row
                for batch in read_rows(path, self._names)
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
            ]
            return rows, json.loads(metadata[STATED])
        except (InputError, KeyError, ValueError) as error:
            # Removed by another job that has just finished the shard, or broken on its disk.
            logger.warning("part %d is computed again: %s", number, error)
            return None

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
        schema = pa.schema([(name, pa.float64()) for name in self._names])
        metadata = {KEY: f"{self._key}:{digest}", STATED: canonical_json(stated)}
        columns = zip(*rows, strict=True)
        with write_table(self._path(number), schema, metadata=metadata) as writer:
            writer.write_columns(dict(zip(self._names, columns, strict=True)))

    def remove(self) -> None:
        """Remove all parts, those of other settings too: the shard is written."""
        with suppress(OSError):
            for path in self._folder.glob("*.parquet"):
                path.unlink(missing_ok=True)
            self._folder.rmdir()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
