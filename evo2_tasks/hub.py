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


def explain_hub_name(text: str | Path) -> str | None:
    """How to complete a text to the name of a model on a hub; None if it does not look like one."""
    found = re.fullmatch(rf"({REPOSITORY})(@.*)?", str(text))
    if found is None:
        return None
    release = find_release(found[1])
    revision = release.revision if release else None
    known = f", for example {found[1]}@{revision}" if revision else ""
    return (
        f"Name a model on a hub by owner/name@ and the {NUM_DIGITS} digits of a commit{known}; "
        f"`evo2-tasks fetch {found[1]}` prints the commit"
    )


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
