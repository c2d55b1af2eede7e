"""Finished parts of the read-outs of a shard, and finished files of it.

They are kept next to the folder of the read-outs, which Snakemake deletes before a job runs. A file
that is finished is in both places, by a hard link. So a job that adds a layer has the others.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import temporary_name, writing
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import AUDIT
from evo2_tasks.scoring.part_sizes import most_pairs
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.parquet import count_rows, open_table, read_metadata, read_rows, write_table
from evo2_tasks.table.provenance import Provenance, as_json, canonical_json, read_provenance
from evo2_tasks.table.shard_readouts import (
    FileInParts,
    LayerFile,
    ReadoutFile,
    dump_part,
    serves,
)

if TYPE_CHECKING:
    from evo2_tasks.scoring.readouts import Records
    from evo2_tasks.scoring.windows import WindowPair

logger = logging.getLogger(__name__)

KEY: Final = "key"
DIGEST: Final = "digest"
USAGE: Final = "usage"


Of = TypeVar("Of", bound=FileInParts)


class ReadoutParts(Generic[Of]):
    """The finished parts of one file of read-outs.

    Args:
        folder: The folder of the parts of the shard's read-outs.
        one: The file.
        source: SHA-256 of the windows file.
        key: All settings that change the numbers: signature, batches, threads, versions, kind of
            device.
    """

    def __init__(self, folder: Path, one: Of, source: str, key: Mapping[str, Any]) -> None:
        self.file = one
        self._folder = folder / one.name
        full_key = {**key, "source": source, "readout": one.settings}
        self._key = hashlib.sha256(canonical_json(full_key).encode()).hexdigest()

    def remove_stale(self) -> None:
        """Remove the parts that were computed from other windows or in another way.

        Raises:
            InputError: They cannot be removed.
        """
        for path in self._folder.glob("[!.]*.parquet"):
            if not path.name.startswith(self._prefix):
                with writing(path):
                    path.unlink(missing_ok=True)

    def read_usage(self, number: int, digest: str, num_pairs: int) -> PartUsage | None:
        """The usage of a part; None if the part is not finished.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            num_pairs: Number of pairs of windows in the part.
        """
        path = self._path(number)
        if not path.exists():
            return None
        try:
            stored = read_metadata(path)
            with open_table(path) as table:
                is_same = table.schema_arrow.equals(self.file.part_schema)
            if not is_same or (stored.get(KEY), stored.get(DIGEST)) != (self._key, digest):
                return None
            if count_rows(path) != num_pairs:
                return None
            return PartUsage.parse_text(stored.get(USAGE, ""), shown_path(path))
        except InputError as error:
            logger.warning("a part is computed again: %s", error)
            return None

    def write(self, number: int, digest: str, rows: pa.Table, usage: PartUsage) -> None:
        """Write a finished part.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            rows: A row for each pair of windows.
            usage: Windows, tokens and seconds of the part.

        Raises:
            InputError: The part cannot be written.
        """
        metadata = {KEY: self._key, DIGEST: digest, USAGE: canonical_json(usage.as_json())}
        with write_table(self._path(number), self.file.part_schema, metadata=metadata) as writer:
            writer.write(rows)

    def read(self, digests: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of all parts, in order.

        Args:
            digests: Digest of the windows of each part of the shard.

        Raises:
            InputError: A part is missing or broken.
        """
        for number, digest in enumerate(digests):
            path = self._path(number)
            if not path.exists() or read_metadata(path).get(DIGEST) != digest:
                raise InputError(
                    f"{shown_path(path)}: is missing: another job makes the read-outs of this "
                    "shard too, or has finished them. If there is no such job, run again."
                )
            for batch in read_rows(path, batch_rows=self.file.batch_rows):
                yield pa.Table.from_batches([batch])

    def remove(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _prefix(self) -> str:
        return f"{self._key[:12]}-"

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._prefix}{number:06d}.parquet"


class PassReadouts:
    """The read-outs of a shard that passes of the model give.

    Args:
        files: All files that are asked for, also those that are finished.
        stores: The parts of each file that is not finished.
    """

    def __init__(
        self, files: Sequence[ReadoutFile], stores: Sequence[ReadoutParts[ReadoutFile]]
    ) -> None:
        self.files = files
        self.stores = stores
        self.digests: list[str] = []
        self.usage: list[PartUsage] = []
        """The usage of each part for read-outs alone, without that for the scores too."""

    def key(self) -> dict[str, Any]:
        """What determines the last bits of scores that are from the same passes.

        If embeddings need the last token of a window, which predicts nothing, it is run too. So
        such passes read out all files, also those that are finished.
        """
        tokens = {one.tokens for one in self.files if isinstance(one, LayerFile)}
        return {"embedding_tokens": sorted(tokens)} if tokens else {}

    @property
    def most_pairs(self) -> int | None:
        """Number of pairs of windows at which a part ends, so that its embeddings fit into memory.

        It is the same if some files are finished, so that a later job finds the same parts.
        """
        return most_pairs([one.width for one in self.files if isinstance(one, LayerFile)])

    def find_missing(
        self, number: int, digest: str, num_pairs: int
    ) -> list[ReadoutParts[ReadoutFile]]:
        """The stores that lack a part. The usage of the others is counted.

        Args:
            number: Number of the part in its shard.
            digest: Digest of the windows of the part.
            num_pairs: Number of pairs of windows in the part.
        """
        self.digests.append(digest)
        missing = []
        for store in self.stores:
            usage = store.read_usage(number, digest, num_pairs)
            if usage is None:
                missing.append(store)
            else:
                self.usage.append(usage)
        return missing

    def write(
        self,
        stores: Sequence[ReadoutParts[ReadoutFile]],
        number: int,
        pairs: Sequence[WindowPair],
        records: Records,
        usage: PartUsage | None,
    ) -> None:
        """Write a part of some files.

        Args:
            stores: The stores of the files.
            number: Number of the part in its shard.
            pairs: The pairs of windows of the part.
            records: What the model gave for them.
            usage: The usage of the part; None if it is counted with the scores.

        Raises:
            InputError: The part cannot be written.
        """
        for place, store in enumerate(stores):
            # Several files are from one pass, which counts once.
            own = NO_USAGE if usage is None or place else usage
            rows = dump_part(store.file, pairs, records)
            store.write(number, self.digests[-1], rows, own)
            self.usage.append(own)


NO_USAGE: Final = PartUsage(
    alleles_tried=0, tokens=0, windows_run=0, tokens_run=0, wall_s=0.0, batch_tokens=0
)


def finished_file(folder: Path, one: ReadoutFile) -> Path:
    """Where a finished file of read-outs is kept, in the folder of the parts."""
    return folder / one.file


def kept_audit(folder: Path) -> Path:
    """Where the finished audit of a shard is kept, in the folder of the parts."""
    return folder / "audit" / AUDIT


def is_finished(folder: Path, one: ReadoutFile, expected: Provenance) -> bool:
    """Whether a file of read-outs is finished: of these windows, this model and these settings.

    Args:
        folder: The folder of the parts.
        one: The file.
        expected: The provenance that it must have.
    """
    path = finished_file(folder, one)
    if not path.exists():
        return False
    try:
        found = read_provenance(path)
    except InputError as error:
        logger.warning("it is made again: %s", error)
        return False
    return (
        found.source == expected.source
        and dict(found.signature) == as_json(expected.signature)
        and serves(found.settings, one.settings)
    )


def remove_others(folder: Path, files: Sequence[ReadoutFile]) -> None:
    """Remove finished files and parts of read-outs that are not asked for.

    Args:
        folder: The folder of the parts.
        files: The files that are asked for.

    Raises:
        InputError: They cannot be removed.
    """
    kept = {kept_audit(folder), *(finished_file(folder, one) for one in files)}
    names = {one.name for one in files}
    for path in folder.rglob("[!.]*.parquet"):
        is_part = path.parent.parent == folder and path.parent.name in names
        if path not in kept and not is_part:
            with writing(path):
                path.unlink(missing_ok=True)
    for path in [*folder.rglob("*/")][::-1]:
        with suppress(OSError):  # it is not empty
            path.rmdir()


def publish(source: Path, target: Path) -> None:
    """Give a finished file a second name, without a copy if the file system allows it.

    Args:
        source: The finished file.
        target: Its name in the folder of the read-outs.

    Raises:
        InputError: The target cannot be written.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(target)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
        temporary.replace(target)
