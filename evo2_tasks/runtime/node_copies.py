"""A copy of a checkpoint on the local disk of a node, made once for all jobs on that node.

Other users of the node may be able to write to the folder that holds the copies. So the copies are
in a folder that only this user can change, and a copy is compared with its source before each use.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import copy_file, digest_file
from evo2_tasks.io.private_folders import (
    FOLDER_FLAGS,
    find_danger,
    is_linked,
    open_lock,
    open_private_folder,
)
from evo2_tasks.io.words import first_line, shown, shown_path

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
LOCK_NAME = re.compile(r"([0-9a-f]{32})\.lock")
MISSING = "is missing"
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
SMALL_BYTES = 2**24
"""Files up to this size, such as the config, are compared with the source itself."""


@contextmanager
def copied_to_node(files: Sequence[Path], cache: Path) -> Iterator[Path]:
    """Copy files to the node's disk unless another job has done so; keep them while they are read.

    The first job on a node copies the files under a lock, then reads the copies and compares their
    checksums. Other jobs wait for it, and read the whole copy once to compare it. A new copy
    replaces the copies that no job reads.

    Args:
        files: The files of a checkpoint.
        cache: Folder on the node's disk. Environment variables in it are expanded.

    Yields:
        The folder with the copies, under the names of the files. It is a path through a descriptor
        of this process, and is valid until the block ends.

    Raises:
        InputError: The files cannot be copied, a copy differs from its file, or other users can
            change the folder.
    """
    place = Path(os.path.expandvars(cache))
    if "$" in str(place):
        raise InputError(
            f"run.model_cache: {shown_path(cache)}: no such variable in the environment of this "
            "job."
        )
    path = place / f"evo2-tasks-{os.getuid()}"
    with ExitStack() as stack:
        try:
            copies = _Copies(stack.enter_context(open_private_folder(path)), path, files)
            stack.enter_context(copies.lock())
        except OSError as error:
            where = path / error.filename if error.filename else path
            raise InputError(
                f"run.model_cache: {shown_path(where)}: {first_line(error)}. Name another folder "
                "on the node's own disk, with enough space for the checkpoint, or remove the key."
            ) from error
        yield copies.opened


class _Copies:
    """The copies of a user, of which one is that of some files.

    All files are opened relative to the folder's descriptor and without following links.

    Args:
        root: Descriptor of the folder of all copies.
        path: Its path, for messages.
        files: The files of a checkpoint.

    Attributes:
        opened: The folder of these files' copy, through the descriptor.
    """

    def __init__(self, root: int, path: Path, files: Sequence[Path]) -> None:
        self._root = root
        self._files = files
        self._key = _key(files)
        self._path = path / self._key
        self.opened = Path(f"/proc/self/fd/{root}/{self._key}")

    def lock(self) -> BinaryIO:
        """A shared lock on the copy, which is whole: kept until the file is closed.

        Raises:
            InputError: A copy differs from its file.
            OSError: The files cannot be copied.
        """
        while True:
            with ExitStack() as stack:
                lock = stack.enter_context(open_lock(f"{self._key}.lock", folder=self._root))
                fcntl.flock(lock, fcntl.LOCK_SH)
                if self._find_fault() is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    # In the meantime another job may have copied the files.
                    if is_linked(lock) and (fault := self._find_fault()) is not None:
                        if fault != MISSING:
                            logger.warning("%s: %s: copied again", shown_path(self._path), fault)
                        self._remove_unread()
                        self._copy()
                    fcntl.flock(lock, fcntl.LOCK_SH)
                if is_linked(lock):  # else another job has removed the copy and its lock
                    stack.pop_all()
                    return lock

    def _find_fault(self) -> str | None:
        """Why a copy cannot be used; None if it has the content of the files."""
        try:
            folder = os.open(self._key, FOLDER_FLAGS, dir_fd=self._root)
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return f"cannot be opened: {first_line(error)}"
        try:
            return find_danger(os.fstat(folder)) or _find_difference(folder, self._files)
        finally:
            os.close(folder)

    def _copy(self) -> None:
        temporary = f"{self._key}.tmp"
        self._remove(temporary)
        self._remove(self._key)
        os.mkdir(temporary, mode=0o700, dir_fd=self._root)
        try:
            folder = os.open(temporary, FOLDER_FLAGS, dir_fd=self._root)
            try:
                checksums = {file.name: self._copy_file(file, folder) for file in self._files}
                with _new_file(CHECKSUMS, folder) as stated:
                    stated.write(json.dumps(checksums, indent=2).encode())
            finally:
                os.close(folder)
            os.rename(temporary, self._key, src_dir_fd=self._root, dst_dir_fd=self._root)
        finally:
            self._remove(temporary)
        total = sum(file.stat().st_size for file in self._files)
        logger.info("%s: %s MB of weights copied", shown_path(self._path), f"{total / 1e6:,.0f}")

    def _copy_file(self, file: Path, folder: int) -> str:
        """Copy a file and read the copy; gives its SHA-256."""
        with _new_file(file.name, folder) as copy:
            checksum = copy_file(file, copy)
        if hash_copy(file.name, folder) != checksum:
            raise InputError(
                f"run.model_cache: {shown_path(self._path / file.name)} differs from its source "
                f"{shown_path(file)}. Check the node's disk."
            )
        return checksum

    def _remove_unread(self) -> None:
        """Remove the copies, complete or not, that no job has locked."""
        for name in os.listdir(self._root):  # noqa: PTH208 # a descriptor
            found = LOCK_NAME.fullmatch(name)
            if found is None or found[1] == self._key:
                continue
            with suppress(OSError), open_lock(name, folder=self._root, make=False) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_linked(lock):
                    self._remove(found[1])
                    self._remove(f"{found[1]}.tmp")
                    os.unlink(name, dir_fd=self._root)

    def _remove(self, name: str) -> None:
        """Remove a file, a link or a folder with all that is in it."""
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=self._root, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=self._root)
            else:
                os.unlink(name, dir_fd=self._root)


def _key(files: Sequence[Path]) -> str:
    """A name for this state of these files: paths, sizes and times."""
    found = [(file.resolve(), file.stat()) for file in files]
    states = [f"{path}\0{state.st_size}\0{state.st_mtime_ns}" for path, state in found]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:32]


def _new_file(name: str, folder: int) -> BinaryIO:
    return os.fdopen(os.open(name, NEW_FILE, 0o600, dir_fd=folder), "wb")


def _open_copy(name: str, folder: int) -> BufferedReader:
    descriptor = os.open(name, OLD_FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def hash_copy(name: str, folder: int) -> str:
    """SHA-256 of a file in a folder that is given by its descriptor."""
    with _open_copy(name, folder) as copy:
        return hashlib.file_digest(copy, "sha256").hexdigest()


def _find_difference(folder: int, files: Sequence[Path]) -> str | None:
    """How a copy differs from its files; None if it does not."""
    if set(os.listdir(folder)) != {CHECKSUMS, *(file.name for file in files)}:
        return "does not have the same files as its source"
    try:
        checksums = _read_checksums(folder)
        for file in files:
            if hash_copy(file.name, folder) != _source_checksum(file, checksums):
                return f"has another {shown(file.name)} than its source"
    except (OSError, ValueError, KeyError, RecursionError) as error:
        return f"cannot be compared with its source: {first_line(error)}"
    return None


def _read_checksums(folder: int) -> Mapping[str, object]:
    with _open_copy(CHECKSUMS, folder) as stated:
        checksums = json.loads(stated.read(SMALL_BYTES))
    if not isinstance(checksums, dict):
        raise ValueError(f"{CHECKSUMS} is not a JSON object")
    return checksums


def _source_checksum(file: Path, checksums: Mapping[str, object]) -> object:
    """SHA-256 of a source file: of a large one, as it was when it was copied."""
    return digest_file(file) if file.stat().st_size <= SMALL_BYTES else checksums[file.name]
