"""Opening files, writing them atomically, and JSON files."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.private_folders import open_lock
from evo2_tasks.io.words import first_line, shown_path

logger = logging.getLogger(__name__)

MOST_JSON_BYTES: Final = 32 * 2**20
"""Largest JSON file that is read. The ``run.json`` of 10,000 shards has 10 MB."""

MOST_DIGITS: Final = 1_000
"""Most digits of a whole number; Python's own message about more is for programmers."""


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Give the path itself, or for ``-`` a temporary file with all of standard input."""
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
    """Turn an error of writing, such as a full disk, into one line that names the target."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{shown_path(target)}: cannot be written: {first_line(error)}") from error


@contextmanager
def keep_others_out(folder: Path, name: str, writers: str, remedy: str) -> Iterator[None]:
    """Keep others that write the same results from a folder while the body runs.

    Args:
        folder: The folder, which is made if it is missing.
        name: Name of the file in it that is locked.
        writers: What they are, for messages: a command, for example.
        remedy: What to name instead, for messages.

    Raises:
        InputError: Another one has the folder, or it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open_lock(folder / name)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{shown_path(folder)}: another {writers} is writing to this folder. "
                f"Wait until it has ended, or name {remedy}."
            ) from error
        except OSError as error:  # the file system has no locks
            logger.info("%s: cannot be locked: %s", folder, error)
        yield


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn an error of reading, such as a truncated file, into one line that names the source."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{shown_path(source)}: cannot be read: {first_line(error)}") from error


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        InputError: It does not exist, is not a regular file, or may not be read.
    """
    if path.is_dir():
        raise InputError(f"{shown_path(path)}: is a folder, expected a file.")
    if path.exists() and not path.is_file():
        raise InputError(f"{shown_path(path)}: is not a regular file; copy it into one first.")
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise InputError(f"{shown_path(path)}: cannot be opened: {first_line(error)}.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def temporary_name(target: Path) -> Path:
    """A hidden path in the target's folder, with the same ending, that no other writer uses."""
    endings = "".join(target.suffixes[-2:])
    name = f"{_temporary_prefix(target)}{os.urandom(8).hex()}.tmp{endings[-20:]}"
    return target.with_name(name)


def remove_abandoned(target: Path) -> None:
    """Remove the temporary files of writers of this target that were killed.

    A writer that is still running holds a lock on its file, also if it runs on another machine
    that shares the file system. On a file system without locks nothing is removed.
    """
    name = re.compile(re.escape(_temporary_prefix(target)) + r"[0-9a-f]{16}\.tmp.*", re.DOTALL)
    with suppress(OSError):
        for path in target.parent.iterdir():
            if name.fullmatch(path.name):
                with suppress(OSError), open_lock(path, make=False) as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


@contextmanager
def new_hidden_file(target: Path) -> Iterator[Path]:
    """Make an empty hidden file in the target's folder, which is removed at the end.

    Those of processes that were killed are removed first. A lock is held on the file as long as
    the body runs. :func:`publish_file` gives it its name.

    Args:
        target: A file in the same folder, which is made if it is missing. Writers of one target
            remove each other's abandoned files.

    Raises:
        OSError: The folder or the file cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    while True:
        path = temporary_name(target)
        with path.open("xb") as file:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            # Another writer may have removed the file before it was locked.
            if os.fstat(file.fileno()).st_nlink:
                try:
                    yield path
                finally:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                return


def publish_file(hidden: Path, target: Path) -> None:
    """Rename a finished file to its name in the same folder, after its bytes are on the disk.

    Raises:
        OSError: It cannot be renamed.
    """
    _sync(hidden)
    hidden.replace(target)
    _sync(target.parent)


@contextmanager
def temporary_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """Make a new folder, which is removed at the end.

    Those of processes that were killed are removed first. A process that is still running holds a
    lock in its folder.

    Args:
        folder: The folder to make it in, which is made if it is missing.
        prefix: Start of its name, which no other kind of temporary folder has.

    Raises:
        InputError: The folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{prefix}*"):
            with suppress(OSError), open_lock(path / "lock", make=False) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        with writing(folder):
            lock = open_lock(temporary / "lock")
        with lock:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Give a temporary file to write to, and rename it to the target if the body does not fail.

    A process that is killed leaves the target unchanged. Its temporary file is removed when the
    target is written the next time. If two processes write one target, the file of the one that
    ends last is kept.

    Args:
        target: The file to write. Its folder is made if it is missing.

    Yields:
        The path of an empty file in the same folder. Write to this file and do not replace it.

    Raises:
        InputError: The target cannot be written.
    """
    require_writable(target)
    with ExitStack() as stack:
        with writing(target):
            temporary = stack.enter_context(new_hidden_file(target))
        yield temporary
        with writing(target):
            publish_file(temporary, target)


def require_writable(target: Path) -> None:
    """Make sure, without writing anything, that a file can be written.

    Args:
        target: The file to write. Its folder may be missing.

    Raises:
        InputError: The target is a folder or a device, or its folder cannot be written to.
    """
    if target.exists() and not target.is_file():
        raise InputError(f"{shown_path(target)}: is not a regular file. Name a file to write to.")
    folder = next(one for one in target.absolute().parents if one.exists())
    if not folder.is_dir():
        raise InputError(
            f"{shown_path(target)}: cannot be written: {shown_path(folder)} is not a folder."
        )
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise InputError(
            f"{shown_path(target)}: cannot be written: {os.strerror(errno.EROFS)}. Name a file in "
            "another folder."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{shown_path(target)}: cannot be written: you may not write to the folder "
            f"{shown_path(folder)}. Name a file in another folder."
        )


def require_other_file(target: Path, *sources: Path) -> None:
    """Make sure that the output file is not one of the input files.

    Raises:
        InputError: The target is one of the sources.
    """
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{shown_path(target)}: is an input file. Name another file to write.")


def write_json(target: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, with the keys in the given order.

    Raises:
        InputError: The target cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_atomically(target) as temporary, writing(target):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(source: Path, *, remedy: str = "Make the file again.") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        source: The file.
        remedy: What to do about another file, for messages.

    Raises:
        InputError: The file is missing, is larger than ``MOST_JSON_BYTES``, is not JSON, or holds
            something else than an object.
    """
    with open_file(source) as file, reading(source):
        data = file.read(MOST_JSON_BYTES + 1)
    if len(data) > MOST_JSON_BYTES:
        raise InputError(
            f"{shown_path(source)}: is larger than {MOST_JSON_BYTES:,} bytes; no JSON file of "
            f"evo2-tasks is. {remedy}"
        )
    return parse_json(data, shown_path(source), remedy=remedy)


def parse_json(data: bytes, where: str, *, remedy: str) -> dict[str, Any]:
    """Parse a JSON object. All its numbers are finite.

    Args:
        data: JSON as UTF-8.
        where: The file, for messages.
        remedy: What to do about something else, for messages.

    Raises:
        InputError: It is not JSON, or is something else than an object.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except RecursionError as error:
        raise InputError(
            f"{where}: is not a JSON file of evo2-tasks: it has too many brackets inside one "
            f"another. {remedy}"
        ) from error
    except ValueError as error:
        raise InputError(f"{where}: is not a JSON file: {first_line(error)}. {remedy}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, got {type(value).__name__}. {remedy}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _parse_int(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text):,} digits")
    return int(text)


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value
