"""SHA-256 digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import reading
from evo2_tasks.io.words import shown_path

CHUNK_BYTES = 16 * 2**20


def digest_file(source: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        InputError: The file cannot be read.
    """
    with reading(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_unchanged(path: Path, digest: str) -> None:
    """Make sure that a file is the one that was read.

    Args:
        path: The file.
        digest: SHA-256 of the file, from before it was read.

    Raises:
        InputError: It is another one.
    """
    if digest_file(path) != digest:
        raise InputError(
            f"{shown_path(path)}: changed while it was read. Make sure that no other run writes "
            "it, and run the command again."
        )


class SourceFiles:
    """The files that a step reads, each with its SHA-256 before the step reads it.

    A job of an earlier run on a lost node may still be running, and may replace a file at any time.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}

    def add(self, path: Path) -> str:
        """Add a file that is about to be read; gives its SHA-256, as hexadecimal digits.

        Raises:
            InputError: The file cannot be read.
        """
        self._digests[path] = digest_file(path)
        return self._digests[path]

    def digest(self, path: Path) -> str:
        """SHA-256 of a file that was added."""
        return self._digests[path]

    def require_unchanged(self) -> None:
        """Make sure, before a step publishes what it made, that the files are still the same.

        Raises:
            InputError: A file has other contents now, or cannot be read.
        """
        for path, digest in self._digests.items():
            require_unchanged(path, digest)


def copy_file(source: Path, copy: BinaryIO) -> str:
    """Copy the content of a file, and compute the SHA-256 of the copied bytes in the same pass.

    Raises:
        OSError: A file cannot be read or written.
    """
    digest = hashlib.sha256()
    with source.open("rb") as original:
        while chunk := original.read(CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()
