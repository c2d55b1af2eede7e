"""Files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import first_line, shown_path


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """The path, or for ``-`` a file that holds what standard input gives, read whole."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder:
        spool = Path(folder) / "stdin"
        with spool.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield spool


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn a failure to write, a full disk say, into one line that names the target."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{shown_path(target)}: cannot be written: {first_line(error)}") from error


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn a failure to read, a truncated file say, into one line that names the source."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{shown_path(source)}: cannot be read: {first_line(error)}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def temporary_name(target: Path) -> Path:
    """A path beside the target that no other writer has: hidden, same ending."""
    endings = "".join(target.suffixes[-2:])
    name = f"{_temporary_prefix(target)}{secrets.token_hex(8)}.tmp{endings[-20:]}"
    return target.with_name(name)


def remove_abandoned(target: Path) -> None:
    """Remove what writers of a target left when they were killed.

    A living writer, on this machine or on another one of the file system, holds a lock on its
    file. Where the file system has no locks, nothing is removed.
    """
    prefix = _temporary_prefix(target)
    with suppress(OSError):
        for path in target.parent.iterdir():
            if path.name.startswith(prefix) and ".tmp" in path.suffixes:
                with suppress(OSError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


@contextmanager
def _locked_file(target: Path) -> Iterator[Path]:
    """A new empty file beside the target, which says by a lock that its writer is alive."""
    while True:
        path = temporary_name(target)
        with path.open("xb") as file:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            # Between opening and locking it looked abandoned.
            if os.fstat(file.fileno()).st_nlink:
                try:
                    yield path
                finally:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                return


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Give a new path beside the target, and rename it to the target if the body ends well.

    A process that dies leaves the target as it was; what it had written goes when the target is
    written the next time. Of two writers of one target, the one that ends last wins, whole.

    Args:
        target: The file that shall appear. Its folder is made where it is missing.

    Yields:
        The path to write to: an empty file, to be written in place.

    Raises:
        InputError: The target cannot be written.
    """
    if target.exists() and not target.is_file():
        raise InputError(f"{shown_path(target)}: is no regular file. Name a file to write to.")
    with ExitStack() as stack:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(target)
            temporary = stack.enter_context(_locked_file(target))
        yield temporary
        with writing(target):
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)


def require_other_file(target: Path, *sources: Path) -> None:
    """Make sure that a file to write is none of those that are read for it.

    Raises:
        InputError: It is one of them.
    """
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(
                f"{shown_path(target)}: is the file to read. Name another one to write."
            )


def write_json(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; the order of the keys is kept.

    Raises:
        InputError: The target cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_atomically(target) as temporary, writing(target):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(source: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: It is missing or holds none.
    """
    try:
        with reading(source):
            value = json.loads(source.read_bytes())
    except ValueError as error:
        raise InputError(f"{shown_path(source)}: is no JSON file: {first_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(
            f"{shown_path(source)}: expected a JSON object, got {type(value).__name__}."
        )
    return value
