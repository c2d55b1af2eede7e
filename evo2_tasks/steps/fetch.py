"""The command ``fetch``: a model from a hub, checked, converted, and kept for all jobs to load."""

import fcntl
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    hf_hub_download,
    hf_hub_url,
)
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError: the client's own
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.file_download import repo_folder_name

from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import convert_published, copy_folder
from evo2_tasks.evo2.documents import CONVERSION, read_conversion
from evo2_tasks.evo2.folders import require_room
from evo2_tasks.hub import (
    REPOSITORY,
    HubFile,
    HubName,
    explain_checkpoint,
    find_release,
    known_files,
    parse_hub_name,
)
from evo2_tasks.io.files import write_json
from evo2_tasks.io.private_folders import open_lock
from evo2_tasks.io.words import first_line

logger = logging.getLogger(__name__)

CHECKPOINT = re.compile(r"([^/]+)\.pt(\.part\d+)?")
FOLDER_FILE = re.compile(r"[^/]+\.(json|safetensors)")


def fetch(checkpoint: str, *, out: Path | None) -> None:
    """Get a model from a hub, unless it is there: download, check, convert to a folder.

    The hub's own client downloads, with its token, its cache and its settings. A connection that
    breaks is taken up again. Files that had come before a kill are kept, and so are the finished
    files of a conversion.

    Args:
        checkpoint: ``owner/name@commit``.
        out: A JSON file to write: name, folder, and the files by size and SHA-256.

    Raises:
        InputError: The name is not valid, or the model cannot be downloaded or fails its checks.
    """
    name = parse_hub_name(checkpoint)
    if name is None:
        raise InputError(look_up(checkpoint))
    try:
        if not name.folder.exists():
            install_once(name)
        require_readable(name)
        stated = None if out is None else read_conversion(name.folder / CONVERSION)
    except PermissionError as error:
        raise InputError(
            f"{name}: {error.filename or name.folder}: {first_line(error)}. Ask the owner of the "
            "folder for permission, or set HF_HOME to a folder of your own."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error
    if out is not None and stated is not None:
        written = {"checkpoint": checkpoint, "folder": str(name.folder), **stated._asdict()}
        write_json(out, written)
    logger.info("%s: in %s", name, name.folder)


def look_up(text: str) -> str:
    """What to write for a name whose revision is a branch, a tag or missing."""
    found = re.fullmatch(rf"({REPOSITORY})(?:@(.+))?", text)
    if found is None:
        hint = explain_checkpoint(text) or "Expected owner/name@ and the 40 digits of a commit"
        return f"{text}: is not the name of a model on a hub. {hint}."
    name = HubName(found[1], found[2] or "main")
    commits = f"{constants.ENDPOINT}/{name.repository}/commits/{name.revision}"
    with explained(name, f"Look for the commit at {commits}."):
        commit = HfApi().model_info(name.repository, revision=name.revision).sha
    return f"{text}: a branch can move. It is now at {name.repository}@{commit}; name that."


def install_once(name: HubName) -> None:
    """Install a model, unless another process does so while this one waits."""
    name.folder.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(name.folder.with_suffix(".lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s: waits for another process that fetches it", name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # the file system has no locks
        if not name.folder.exists():
            install(name)


def require_readable(name: HubName) -> None:
    """Make sure that this user can read a model, which another user may have installed.

    Raises:
        PermissionError: A file cannot be read.
    """
    for file in filter(Path.is_file, name.folder.iterdir()):
        with file.open("rb"):
            pass


def install(name: HubName) -> None:
    """Download a model and make its folder."""
    files = list_files(name)
    require_room_for(name, files)
    paths = [download(name, file) for file in files]
    checksums = {file.name: file.sha256 for file in files if file.sha256 is not None}
    sources = sorted(path for path in paths if CHECKPOINT.fullmatch(path.name))
    if not sources:
        copy_folder(paths, name.folder, checksums=checksums)
        return
    release = find_release(name.repository)
    model = None if release is None else release.model
    described = [path for path in paths if path not in sources and model is None]
    convert_published(
        sources[0],
        name.folder,
        model=model,
        config=described[0] if described else None,
        checksums=checksums,
    )


def list_files(name: HubName) -> Sequence[HubFile]:
    """The files that make up a model, with what is known of them here or on the hub.

    Raises:
        InputError: The hub cannot be asked, or has not one model under this name.
    """
    known = known_files(name)
    if known:
        return known
    advice = (
        "Run `evo2-tasks fetch` where there is a network, and copy the folder that it names to "
        f"{name.folder}."
    )
    with explained(name, advice):
        info = HfApi().model_info(name.repository, revision=name.revision, files_metadata=True)
    there = [
        HubFile(one.rfilename, one.size, None if one.lfs is None else one.lfs.sha256)
        for one in info.siblings or []
    ]
    stems = {match[1] for file in there if (match := CHECKPOINT.fullmatch(file.name))}
    if len(stems) > 1:
        raise InputError(
            f"{name}: has several checkpoints: {', '.join(sorted(stems))}. Download one of "
            "them, and name its path."
        )
    if stems:
        description = f"{stems.pop()}.yml"  # as `convert` writes it beside a file that it makes
        return [f for f in there if CHECKPOINT.fullmatch(f.name) or f.name == description]
    if not any(file.name.endswith(".safetensors") for file in there):
        raise InputError(f"{name}: has no model: no .pt file, and no .safetensors file.")
    return [file for file in there if FOLDER_FILE.fullmatch(file.name)]


def require_room_for(name: HubName, files: Sequence[HubFile]) -> None:
    """Make sure that there is room before hours of download."""
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    needed = sum(file.bytes or 0 for file in files if not snapshot_file(name, file).exists())
    if cache.stat().st_dev == name.folder.parent.stat().st_dev:
        needed += sum(file.bytes or 0 for file in files)  # for the folder
    require_room(cache, needed)


def snapshot_file(name: HubName, file: HubFile) -> Path:
    """Where the hub's client keeps a file, and takes it from if somebody has put it there."""
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(
        repo_id=name.repository, repo_type="model"
    )
    return folder / "snapshots" / name.revision / file.name


def download(name: HubName, file: HubFile) -> Path:
    """A file of a model, from the client's cache if it is there.

    Raises:
        InputError: It cannot be downloaded, or has another size.
    """
    size = "" if file.bytes is None else f", {file.bytes / 1e9:,.1f} GB"
    logger.info("%s: %s%s", name, file.name, size)
    url = hf_hub_url(name.repository, file.name, revision=name.revision)
    advice = (
        f"Download {url} where there is a network, put it at {snapshot_file(name, file)}, and run "
        "this again."
    )
    with explained(name, advice):
        path = Path(hf_hub_download(name.repository, file.name, revision=name.revision))
    found = path.stat().st_size
    if file.bytes not in (None, found):
        raise InputError(
            f"{name}: {path.resolve()} has {found:,} bytes and not {file.bytes:,}. Remove it and "
            "run this again."
        )
    return path


@contextmanager
def explained(name: HubName, advice: str) -> Iterator[None]:
    """Turn what the hub's client says into one line, which ends in how to do without the hub."""
    hub, repository = constants.ENDPOINT, name.repository
    token = "log in with `hf auth login`, or set HF_TOKEN"  # noqa: S105 # no secret
    try:
        yield
    except GatedRepoError as error:
        raise InputError(
            f"{name}: can be downloaded only by users who accept its terms. Accept them at "
            f"{hub}/{repository}, and {token}."
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name}: {hub} has no such repository, or it is private. If it is private, {token}."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{name}: {hub}/{repository} has no such commit.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError, XetDownloadError) as error:
        reason = first_line(error.__cause__ or error).rstrip(".")
        raise InputError(f"{name}: cannot be downloaded from {hub}: {reason}. {advice}") from error
