"""A copy of a checkpoint on the local disk of a node, made once for all jobs on that node."""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import copy_file, digest_file
from evo2_tasks.io.files import read_json, write_json
from evo2_tasks.io.words import first_line, shown_path

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"


@contextmanager
def copied_to_node(files: Sequence[Path], cache: Path) -> Iterator[Path]:
    """Copy files to the node's disk unless another job has done so; keep them while they are read.

    The first job on a node copies the files under a lock, then reads the copies and compares their
    checksums. Other jobs wait for it. A new copy replaces the copies that no job reads.

    Args:
        files: The files of a checkpoint.
        cache: Folder on the node's disk. Environment variables in it are expanded.

    Yields:
        The folder with the copies, under the names of the files.

    Raises:
        InputError: The files cannot be copied, or a copy differs from its file.
    """
    root = Path(os.path.expandvars(cache)) / f"evo2-tasks-{os.getuid()}"
    if "$" in str(root):
        raise InputError(
            f"run.model_cache: {shown_path(cache)}: no such variable in the environment of this "
            "job."
        )
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        entry = root / _key(files)
        with _lock_of(entry).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_whole(entry, files):
                _remove_unread(root, keep=entry)
                _copy(files, entry)
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield entry
    except OSError as error:
        where = shown_path(error.filename) if error.filename else shown_path(root)
        raise InputError(
            f"run.model_cache: {where}: {first_line(error)}. Name a folder on the node's own disk "
            "with enough space for the checkpoint, or remove the key."
        ) from error


def _key(files: Sequence[Path]) -> str:
    """A name for this state of these files: paths, sizes and times."""
    stats = [(file.resolve(), file.stat()) for file in files]
    states = [f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}" for path, stat in stats]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:32]


def _lock_of(entry: Path) -> Path:
    return entry.with_suffix(".lock")


def _is_whole(entry: Path, files: Sequence[Path]) -> bool:
    """Whether a copy is complete: it has checksums, and files of the right sizes."""
    if not (entry / CHECKSUMS).exists():
        return False
    sizes = {file.name: file.stat().st_size for file in files}
    found = {path.name: path.stat().st_size for path in entry.iterdir() if path.name in sizes}
    return found == sizes and set(read_json(entry / CHECKSUMS)) == set(sizes)


def _copy(files: Sequence[Path], entry: Path) -> None:
    temporary = entry.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)
    temporary.mkdir()
    try:
        checksums = {}
        for file in files:
            copy = temporary / file.name
            checksums[file.name] = copy_file(file, copy)
            if digest_file(copy) != checksums[file.name]:
                raise InputError(
                    f"run.model_cache: {shown_path(copy)} differs from its source "
                    f"{shown_path(file)}. Check the node's disk."
                )
        write_json(temporary / CHECKSUMS, checksums)
        temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    total = sum(file.stat().st_size for file in files)
    logger.info("%s: %s MB of weights copied", entry, f"{total / 1e6:,.0f}")


def _remove_unread(root: Path, *, keep: Path) -> None:
    """Remove the copies, complete or not, that no job has locked."""
    for lock in root.glob("*.lock"):
        if lock == _lock_of(keep):
            continue
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in (lock.with_suffix(""), lock.with_suffix(".tmp")):
                shutil.rmtree(left, ignore_errors=True)
            lock.unlink()
