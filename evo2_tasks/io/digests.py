"""Digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evo2_tasks.io.files import reading


def describe_file(path: Path) -> dict[str, int]:
    """What tells at no cost that a file is the one of before."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def digest_file(source: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: It cannot be read.
    """
    with reading(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
