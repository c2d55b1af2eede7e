"""Files that the config names by URL: the URLs, and the local copies that the jobs read.

Snakemake's storage plugins copy such a file to a local disk before a job starts. The Snakefile puts
the paths of the copies in a variable of the environment, and each command reads the copy.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evo2_tasks.errors import InputError

VARIABLE = "EVO2_TASKS_LOCAL_COPIES"
"""Variable of the environment: a JSON object of the local copies by URL or path in the config."""

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]+:"


def is_url(text: str) -> bool:
    """Whether a text of the config is a URL: a scheme, ``://``, and more."""
    return re.match(f"{_SCHEME}//", text) is not None


def find_url(path: Path) -> str | None:
    """The URL that a path of the config stands for; None for a file in a file system.

    ``Path`` makes one slash of the two after the scheme; no part of a usual path ends in a colon.
    """
    found = re.match(f"({_SCHEME})/(.*)", str(path))
    return f"{found[1]}//{found[2]}" if found else None


def as_written(path: Path) -> str:
    """A path or a URL as the config has it, also for a local copy."""
    copies = read_copies()
    written = {copy: original for original, copy in copies.items()}.get(str(path))
    return written or find_url(path) or str(path)


def local_copy(path: Path) -> Path:
    """The local copy of a file that the config names; the path itself if it has none."""
    copy = read_copies().get(find_url(path) or str(path))
    return path if copy is None else Path(copy)


def read_copies() -> dict[str, str]:
    """The local copies by URL or path in the config; none outside of a job of the workflow."""
    copies: dict[str, str] = json.loads(os.environ.get(VARIABLE, "{}"))
    return copies


def publish_copies(copies: Mapping[str, str]) -> None:
    """Tell the commands that this process starts where the local copies are."""
    if copies:
        os.environ[VARIABLE] = json.dumps(copies)
    else:
        os.environ.pop(VARIABLE, None)


def is_stored(placed: str) -> bool:
    """Whether a storage plugin handles a file that :meth:`UserFiles.place` gives."""
    return "storage_object" in getattr(placed, "flags", {})


def size_of_file(path: Path) -> int:
    """Bytes of a file in a file system, 0 if it does not exist."""
    return path.stat().st_size if path.is_file() else 0


class UserFiles:
    """The files that the config names, as the rules need them.

    The Snakefile makes it before it reads the config.

    Args:
        local: Snakemake's flag for a file that no storage plugin handles.
        plugins: Snakemake's storage plugins, its ``storage``.
        ancient: Snakemake's flag for an input whose time is not compared.
        default_provider: Snakemake's ``--default-storage-provider``, or None.
    """

    def __init__(
        self,
        *,
        local: Callable[[str], str],
        plugins: Any,
        ancient: Callable[[str], str],
        default_provider: str | None,
    ) -> None:
        self._local = local
        self._plugins = plugins
        self._ancient = ancient
        self._stages = default_provider == "fs"
        self._placed: dict[str, str] = {}
        publish_copies({})  # those of a process that started this one

    def place(self, path: Path) -> str:
        """A file as the input of a rule: handled by a storage plugin, or read where it is.

        With the plugin ``fs`` as the default, Snakemake copies the files of a file system too.

        Raises:
            InputError: No storage plugin reads the URL.
        """
        url = find_url(path)
        written = url or str(path)
        if url is None and not self._stages:
            return self._local(written)
        if written not in self._placed:
            try:
                provider = self._plugins if url is not None else self._plugins.fs
                self._placed[written] = provider(written)
            except Exception as error:  # of any plugin, or of Snakemake if it finds none
                raise InputError(f"{written}: {_first_line(error)}") from error
        return self._placed[written]

    def place_beside(self, path: Path, suffixes: Iterable[str]) -> list[str]:
        """The files next to one that a storage plugin handles, so that they are copied with it.

        Args:
            path: The file.
            suffixes: What the names of the files have after the name of this one.
        """
        if self._object(path) is None:
            return []
        beside = [path.with_name(path.name + suffix) for suffix in suffixes]
        return [self._ancient(self.place(one)) for one in beside if self.exists(one)]

    def exists(self, path: Path) -> bool:
        """Whether a file that a storage plugin handles exists.

        Raises:
            InputError: The plugin cannot tell.
        """
        placed = self._object(path)
        try:
            return bool(placed.exists())
        except Exception as error:  # of the plugin's library: credentials, network, permission
            written = find_url(path) or path
            raise InputError(f"{written}: cannot be read: {_first_line(error)}") from error

    def size(self, path: Path) -> int:
        """Bytes of a file, 0 if it does not exist.

        Raises:
            InputError: The plugin cannot tell.
        """
        if find_url(path) is None:
            return size_of_file(path)
        if not self.exists(path):
            return 0
        return int(self._object(path).size())

    def _object(self, path: Path) -> Any:
        """Snakemake's storage object of a file; None for a file that is read where it is."""
        return getattr(self.place(path), "flags", {}).get("storage_object")

    def publish(self, folders: Mapping[str, str]) -> None:
        """Tell the commands where the local copies are.

        Args:
            folders: A file in each folder that the config names as a checkpoint, by folder.
        """
        copies = {written: str(placed) for written, placed in self._placed.items()}
        for folder, file in folders.items():
            if file in copies:
                copies[folder] = str(Path(copies[file]).parent)
        publish_copies(copies)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def urls_without_copy(values: object, key: str = "") -> Iterator[tuple[str, str]]:
    """The URLs in a part of a config that have no local copy: the key, and the URL."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from urls_without_copy(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, Path):
        url = find_url(values)
        # The files of a calibration are named by their scorings, so only some of them are known.
        if url is not None and url not in read_copies() and "{" not in url:
            yield key, url
