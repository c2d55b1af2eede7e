"""Model records of a score store: the weights digest of a checkpoint, known without opening it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field

from evo2_tasks.errors import InputError
from evo2_tasks.io.documents import Document
from evo2_tasks.io.files import writing
from evo2_tasks.table.documents import Digest
from evo2_tasks.table.provenance import canonical_json
from evo2_tasks.table.store_files import NOT_USED, list_folder, warn_once

MODELS: Final = "models"
"""Folder of the model records in a store."""

_KEY_FOLDER: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ModelKey(Document):
    """What a model record is found by: all that determines the tensors and their arithmetic.

    Attributes:
        files: SHA-256 of each file of the checkpoint, by its name.
        model: The release that a published file is, as in the config; None if it does not say.
        config: SHA-256 of the published config of a file that is not a release, or None.
        dtype: Data type of the weights.
        fp8: FP8 mode that the config asks for; None for the checkpoint's own way.
        allow_without_fp8: Whether ``fp8: off`` is accepted for a checkpoint that needs FP8.
    """

    files: dict[str, Digest] = Field(min_length=1)
    model: str | None
    config: Digest | None
    dtype: str
    fp8: str | None
    allow_without_fp8: bool

    def digest(self) -> str:
        """SHA-256 of the key, which names its folder."""
        return hashlib.sha256(canonical_json(self.as_json()).encode()).hexdigest()


class ModelRecord(Document):
    """What is known of a model since it was opened.

    Attributes:
        key: What the record is found by.
        weights: SHA-256 of the model's tensors, as in signatures.
        fp8: FP8 mode in which it ran, as in signatures.
        version: Version of the package that opened it.
        name: Name of the model in the config.
        canaries: ``llr`` of fixed alleles when it was opened, nats; None if it is not known.
    """

    key: ModelKey
    weights: Digest
    fp8: str
    version: str
    name: str
    canaries: tuple[float | None, ...] | None = None

    def file_name(self) -> str:
        """Name of its file, which has the digest of the content."""
        content = hashlib.sha256(canonical_json(self.as_json()).encode()).hexdigest()
        return f"{content[:16]}.json"


def write_model(store: Path, record: ModelRecord) -> None:
    """Write a model record into a store, unless it is there.

    Args:
        store: Folder of the store, which is made if it is missing.
        record: The record.

    Raises:
        InputError: It cannot be written.
    """
    target = store / MODELS / record.key.digest() / record.file_name()
    with writing(target):
        is_known = target.is_file()
    if not is_known:
        record.write(target)


def read_models(store: Path, key: ModelKey) -> tuple[ModelRecord, ...]:
    """The model records with a key, in the order of their files' names.

    A record that cannot be read, or that is in the folder of another key, is one warning.

    Args:
        store: Folder of the store, which may be missing.
        key: What to find.
    """
    folder = store / MODELS / key.digest()
    return tuple(_read_folder(folder))


def list_models(store: Path) -> tuple[ModelRecord, ...]:
    """All model records of a store, by the names of their folders and files.

    Args:
        store: Folder of the store, which may be missing.
    """
    folders = (one for one in list_folder(store / MODELS) if _KEY_FOLDER.fullmatch(one.name))
    return tuple(record for folder in folders for record in _read_folder(folder))


def _read_folder(folder: Path) -> Iterator[ModelRecord]:
    """The records in a folder; one that cannot be read is one warning."""
    for path in list_folder(folder):
        try:
            record = ModelRecord.read(path)
        except InputError as error:
            warn_once(path, error, NOT_USED)
            continue
        if path.name != record.file_name() or folder.name != record.key.digest():
            warn_once(path, "its name or the name of its folder does not fit its content", NOT_USED)
        else:
            yield record
