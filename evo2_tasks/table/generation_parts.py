"""Finished prompts and steps of a shard: kept on disk, so that a job continues after a killed one.

The folder of a shard has a folder for everything that determines the bytes of its files. In it,
each prompt has files of steps, each with the number of its first step, and the state of the search
after the last of them. When the last step is done, the results of the prompt are written. They say
that the prompt is finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.generation_schema import results_schema, steps_schema
from evo2_tasks.table.parquet import RowBuffer, read_metadata, read_rows, write_table
from evo2_tasks.table.provenance import canonical_json

_USAGE: Final = "usage"
_STEPS: Final = "steps"
_KEY_DIGITS: Final = 16

Row = tuple[Any, ...]


class PromptStore:
    """The finished work of a shard.

    Args:
        folder: The folder of the shard's work.
        key: Everything that determines the bytes of the files.
        scorers: Names of the scorers.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], scorers: Sequence[str]) -> None:
        digest = hashlib.sha256(canonical_json(key).encode()).hexdigest()
        self._all = folder
        self._folder = folder / digest[:_KEY_DIGITS]
        self._results = results_schema(scorers)
        self._steps = steps_schema(scorers)

    def remove_stale(self) -> None:
        """Remove the work of other settings, which is of no use any more."""
        for path in self._all.glob("*/"):
            if path != self._folder:
                shutil.rmtree(path, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    def state(self, record: int) -> Path:
        """The file of the state of a prompt's search, which may not exist."""
        return self._folder / f"{record}.state"

    def write_steps(self, record: int, first: int, rows: Sequence[Row]) -> None:
        """Write steps of a prompt; the state after them is written later.

        Args:
            record: Number of the prompt.
            first: Number of the first of these steps.
            rows: Their rows.

        Raises:
            InputError: The file cannot be written.
        """
        with write_table(self._steps_file(record, first), self._steps) as writer:
            buffer = RowBuffer(writer, self._steps.names)
            for row in rows:
                buffer.add(*row)
            buffer.flush()

    def list_steps(self, record: int) -> list[int]:
        """First steps of the files of a prompt, in order."""
        return sorted(
            int(path.name.split(".")[1]) for path in self._folder.glob(f"{record}.*.{_STEPS}")
        )

    def remove_steps(self, record: int, first: int) -> None:
        """Remove the files of a prompt that begin at a step or after it.

        Args:
            record: Number of the prompt.
            first: The step.
        """
        for one in self.list_steps(record):
            if one >= first:
                self._steps_file(record, one).unlink(missing_ok=True)

    def finish(
        self, record: int, firsts: Sequence[int], rows: Sequence[Row], usage: PartUsage
    ) -> None:
        """Write the results of a prompt, which is finished then.

        Args:
            record: Number of the prompt.
            firsts: First steps of its files of steps.
            rows: Its results.
            usage: The work for it.

        Raises:
            InputError: The file cannot be written.
        """
        stated = {_USAGE: json.dumps(usage.as_json()), _STEPS: json.dumps([*firsts])}
        with write_table(self._results_file(record), self._results, metadata=stated) as writer:
            buffer = RowBuffer(writer, self._results.names)
            for row in rows:
                buffer.add(*row)
            buffer.flush()
        with suppress(OSError):
            self.state(record).unlink(missing_ok=True)

    def read_usage(self, record: int) -> PartUsage | None:
        """The work for a prompt if it is finished."""
        path = self._results_file(record)
        if not path.exists():
            return None
        return PartUsage.parse_text(read_metadata(path)[_USAGE], str(path))

    def read_results(self, record: int) -> Iterator[pa.RecordBatch]:
        """The results of a finished prompt.

        Raises:
            InputError: The file cannot be read.
        """
        yield from read_rows(self._results_file(record))

    def read_steps(self, record: int) -> Iterator[pa.RecordBatch]:
        """The steps of a finished prompt.

        Raises:
            InputError: A file cannot be read.
        """
        path = self._results_file(record)
        for first in json.loads(read_metadata(path)[_STEPS]):
            yield from read_rows(self._steps_file(record, first))

    def _results_file(self, record: int) -> Path:
        return self._folder / f"{record}.results"

    def _steps_file(self, record: int, first: int) -> Path:
        return self._folder / f"{record}.{first}.{_STEPS}"


def count_finished(folder: Path) -> list[PartUsage]:
    """The work for each prompt of a shard that is finished, for ``status``.

    Args:
        folder: The folder of the shard's work.
    """
    found = []
    for path in folder.glob("*/*.results"):
        with suppress(InputError, KeyError):  # it is being removed
            found.append(PartUsage.parse_text(read_metadata(path)[_USAGE], str(path)))
    return found
