"""Folders that other users cannot change, and locks, in places where they can write too.

On a shared machine another user can make a folder, a file or a link under the name that we use
next. So a folder or a lock is opened first, without following a link, and then the opened one is
checked. What is in a folder is opened relative to its descriptor, so that nobody can exchange the
folder after the check.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO does not block, and the content of a file stays as it is.
LOCK_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
NOT_A_LOCK: Final = "is not a regular file; expected one to lock"
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def open_private_folder(path: Path) -> Iterator[int]:
    """Open a folder that only this user can change. It is made if it is missing.

    Args:
        path: The folder. Its parents may be folders in which other users can write.

    Yields:
        A descriptor of the folder, for the argument ``dir_fd``.

    Raises:
        OSError: It cannot be made, is a link or a file, or other users can change it.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    try:
        folder = os.open(path, FOLDER_FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
            raise _refusal(path, "is a link; expected a folder of your own") from error
        raise
    try:
        if (danger := find_danger(os.fstat(folder))) is not None:
            raise _refusal(path, danger)
        yield folder
    finally:
        os.close(folder)


def find_danger(state: os.stat_result) -> str | None:
    """Why other users can change a file or a folder; None if they cannot."""
    if state.st_uid != os.getuid():
        return f"belongs to another user ({_name_of(state.st_uid)}); expected one of your own"
    if state.st_mode & OTHERS_WRITE:
        mode = f"{stat.S_IMODE(state.st_mode):o}"
        return f"can be changed by other users (mode {mode}); only you may have write permission"
    return None


def open_lock(path: Path | str, *, folder: int | None = None, make: bool = True) -> BinaryIO:
    """Open a file to lock. A link is not followed, and the content of a file stays as it is.

    Args:
        path: The file.
        folder: Descriptor of a private folder that `path` is relative to. The lock then has to be
            a file that other users cannot change.
        make: Whether to make the file if it is missing.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    flags = LOCK_FLAGS | (os.O_CREAT if make else 0)
    mode = 0o666 if folder is None else 0o600
    try:
        descriptor = os.open(path, flags, mode, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise _refusal(path, NOT_A_LOCK) from error
        raise
    state = os.fstat(descriptor)
    danger = None if folder is None else find_danger(state)
    if not stat.S_ISREG(state.st_mode):
        danger = NOT_A_LOCK
    if danger is not None:
        os.close(descriptor)
        raise _refusal(path, danger)
    return os.fdopen(descriptor, "r+b")


def is_linked(file: BinaryIO) -> bool:
    """Whether an open file still has a name: no other process has removed it."""
    return os.fstat(file.fileno()).st_nlink > 0


def _refusal(path: Path | str, reason: str) -> OSError:
    return OSError(errno.EPERM, reason, str(path))


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
