"""Models on a hub: their names in the config, their folders, and the known facts about their files.

Light, since Snakemake imports it in every job. Only `steps/fetch.py` connects to the hub.
"""

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PUBLISHED_FILES = Path(__file__).parent / "checkpoints" / "published_files.json"
REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
NUM_DIGITS = 40  # length of a commit


@dataclass(frozen=True)
class HubName:
    """A model on a hub at one commit, since the files of a branch or tag can change."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"

    @property
    def folder(self) -> Path:
        """Folder of the model, ready to load, next to the cache of the hub's own client."""
        cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        home = os.path.expandvars(os.environ.get("HF_HOME", f"{cache_home}/huggingface"))
        owner_and_name = self.repository.replace("/", "--")
        return Path(home).expanduser() / "evo2-tasks" / owner_and_name / self.revision


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; size and checksum are None if they are not known."""

    name: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class PublishedRelease:
    """A release: its repository, and the known revision with its files."""

    model: str
    repository: str
    revision: str | None
    files: tuple[HubFile, ...]


def parse_hub_name(text: str | Path) -> HubName | None:
    """The name of a model on a hub, ``owner/name@commit``; None for any other text."""
    found = re.fullmatch(rf"({REPOSITORY})@([0-9a-f]{{{NUM_DIGITS}}})", str(text))
    return HubName(found[1], found[2]) if found else None


def explain_checkpoint(text: str | Path) -> str | None:
    """What to write in place of a checkpoint that does not exist.

    Args:
        text: The checkpoint as the user wrote it: a path, ``owner/name``, or the name of a model.

    Returns:
        A sentence without its full stop; None for a path that says nothing about a model.
    """
    path, spelled = Path(text), _spelling(Path(text).name)
    in_package = [folder.parent.name for folder in PUBLISHED_FILES.parent.glob("*/config.json")]
    for name in in_package:
        if spelled == _spelling(name):
            return f"Write `{name}` for the model that comes with the package"
    is_file = path.suffix.startswith((".pt", ".part"))
    on_hub = None if is_file else re.fullmatch(rf"({REPOSITORY})(@.*)?", str(text))
    release = next((one for one in published_releases() if _spelling(one.model) == spelled), None)
    repository = release.repository if release else on_hub[1] if on_hub else None
    release = release or (find_release(repository) if repository else None)
    if release is not None and release.revision is not None:
        return (
            f"{release.model} is published on a hub: write "
            f"`{release.repository}@{release.revision}`, which is downloaded before the first job "
            "(or by `evo2-tasks fetch`), or the path of the file that you have downloaded"
        )
    if repository is not None:
        return (
            f"Name a model on a hub by owner/name@ and the {NUM_DIGITS} digits of a commit; "
            f"`evo2-tasks fetch {repository}` prints the commit"
        )
    if is_file or len(path.parts) != 1:
        return None
    known = [*in_package, *(one.model for one in published_releases())]
    return (
        f"Write a path, owner/name@commit of a hub, or one of the known models: {', '.join(known)}"
    )


def _spelling(name: str) -> str:
    """A name without what people spell in several ways: case, separators, the ending of a file."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.pt(\.part\d+)?$", "", name.lower()))


@cache
def published_releases() -> tuple[PublishedRelease, ...]:
    """The published releases, with sizes and checksums of their files as far as they are known."""
    releases = json.loads(PUBLISHED_FILES.read_bytes())["releases"]
    return tuple(
        PublishedRelease(
            **{**release, "files": tuple(HubFile(**file) for file in release["files"])}
        )
        for release in releases
    )


def find_release(repository: str) -> PublishedRelease | None:
    """The release that a repository holds."""
    return next((one for one in published_releases() if one.repository == repository), None)


def known_files(name: HubName) -> tuple[HubFile, ...]:
    """The files of a model with known sizes and checksums; empty for any other revision."""
    release = find_release(name.repository)
    return release.files if release is not None and release.revision == name.revision else ()
