"""SHA-256 digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from evo2_tasks.io.files import reading

CHUNK_BYTES = 16 * 2**20


def describe_file(path: Path) -> dict[str, int]:
    """Size and modification time, which show cheaply whether a file has changed."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def digest_file(source: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        InputError: The file cannot be read.
    """
    with reading(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
