"""Writing folders for `from_pretrained`: tensor by tensor, and continued after a kill."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import uuid4

import torch

from .documents import CONVERSION, INDEX, FileStatement, read_conversion
from .published import StoredTensor

logger = logging.getLogger(__name__)

SHARD_BYTES = 4_000_000_000
WEIGHTS = "model.safetensors"
LOCK = "lock"
DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}
SPARE_BYTES = 100_000_000  # for the other files of the folder, and for the file system


class Shard(NamedTuple):
    """A safetensors file to write: its header, and the tensors that follow it, in order."""

    name: str
    header: bytes
    tensors: dict[str, StoredTensor]

    @property
    def num_bytes(self) -> int:
        """Length of the file."""
        return len(self.header) + sum(stored.num_bytes for stored in self.tensors.values())


def plan_shards(tensors: Mapping[str, StoredTensor]) -> list[Shard]:
    """Distribute tensors, in their order, over safetensors files of limited size."""
    groups: list[dict[str, StoredTensor]] = [{}]
    size = 0
    for name, stored in tensors.items():
        if groups[-1] and size + stored.num_bytes > SHARD_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = stored
        size += stored.num_bytes
    names = [WEIGHTS]
    if len(groups) > 1:
        names = [
            f"model-{number:05}-of-{len(groups):05}.safetensors"
            for number in range(1, len(groups) + 1)
        ]
    # The order of the safetensors library: the widest dtype first, then by name.
    ordered = [
        dict(sorted(group.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
        for group in groups
    ]
    return [Shard(name, _header(group), group) for name, group in zip(names, ordered, strict=True)]


def _header(tensors: Mapping[str, StoredTensor]) -> bytes:
    """The header of a safetensors file, which states the position of each tensor.

    Source:
        The format is described at github.com/huggingface/safetensors. The library's own `save_file`
        needs all tensors in memory and copies them.
    """
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, stored in tensors.items():
        end = start + stored.num_bytes
        entries[name] = {
            "dtype": DTYPE_NAMES[stored.dtype],
            "shape": list(stored.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text


def write_weights(
    folder: Path, tensors: Mapping[str, StoredTensor], *, sources: Mapping[str, FileStatement]
) -> None:
    """Write tensors as safetensors files, except those that an earlier try has finished.

    `conversion.json` is written next to them. It states size and SHA-256 of each file and of the
    source files.

    Args:
        folder: The folder.
        tensors: Each tensor by its name.
        sources: The files that the tensors come from.

    Raises:
        ValueError: The disk has too little space.
    """
    shards = plan_shards(tensors)
    files = _finished_files(folder, shards, sources)
    for path in folder.glob("*.safetensors*"):  # of other shards, or incomplete after a kill
        if path.name not in files:
            path.unlink()
    missing = [shard for shard in shards if shard.name not in files]
    require_room(folder.parent, sum(shard.num_bytes for shard in missing))
    for shard in missing:
        files[shard.name] = {"bytes": shard.num_bytes, "sha256": write_shard(folder, shard)}
        state_conversion(folder, sources, files)
        logger.info("%s: %d of %d files", folder, len(files), len(shards))
    if len(shards) > 1:
        weight_map = {name: shard.name for shard in shards for name in shard.tensors}
        total = sum(stored.num_bytes for stored in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        _write_json(folder / INDEX, index)


def _finished_files(
    folder: Path, shards: Sequence[Shard], sources: Mapping[str, FileStatement]
) -> dict[str, FileStatement]:
    """The complete files of an earlier try with the same sources and the same shards."""
    try:
        stated = read_conversion(folder / CONVERSION)
    except ValueError:  # nothing is finished, or the statement was damaged: all is written again
        return {}
    if stated.sources != sources:
        return {}
    finished: dict[str, FileStatement] = {}
    for shard in shards:
        path, file = folder / shard.name, stated.files.get(shard.name)
        if file is not None and path.is_file():
            with path.open("rb") as opened:
                is_planned = opened.read(len(shard.header)) == shard.header
            if is_planned and hash_file(path) == file["sha256"]:
                finished[shard.name] = file
    if finished:
        logger.info("%s: %d of %d files are there", folder, len(finished), len(shards))
    return finished


def state_conversion(
    folder: Path, sources: Mapping[str, FileStatement], files: Mapping[str, FileStatement]
) -> None:
    """Write `conversion.json`: the files of weights, and the files that they were made from."""
    _write_json(folder / CONVERSION, {"sources": sources, "files": files})


def require_room(folder: Path, num_bytes: int) -> None:
    """Check that a disk has enough space before a long write starts.

    Raises:
        ValueError: The disk has too little space.
    """
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise ValueError(
            f"{folder}: needs {(num_bytes + SPARE_BYTES) / 1e9:,.1f} GB and its disk has "
            f"{free / 1e9:,.1f} GB free. Free some space, or name a folder on another disk."
        )


def write_shard(folder: Path, shard: Shard) -> str:
    """Write a safetensors file, one tensor after the other, and return its SHA-256."""
    digest = hashlib.sha256(shard.header)
    with new_file(folder / shard.name) as unfinished, unfinished.open("wb") as file:
        file.write(shard.header)
        for stored in shard.tensors.values():
            _append(stored, file, digest)
    return digest.hexdigest()


def _append(stored: StoredTensor, file: BinaryIO, digest: "hashlib._Hash") -> None:
    """Write and hash one tensor. Its memory is free again before the next one is read."""
    data = stored.read().contiguous().view(-1).view(torch.uint8).numpy().data
    digest.update(data)
    file.write(data)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unfinished_folder(out: Path) -> Iterator[Path]:
    """A folder to fill. It gets its final name when it is complete.

    If it is not completed, its finished files are kept for the next try, under a hidden name next
    to `out`. If no file of weights is finished, the folder is deleted.

    Raises:
        ValueError: `out` exists, another process is writing it, or another user has begun it.
    """
    _require_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.parent / f".{out.name}.unfinished"
    with suppress(FileExistsError):
        unfinished.mkdir()
    # Another user who made the folder, or a link, could still change the files in it.
    state = unfinished.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise ValueError(
            f"{unfinished}: is not a folder of your own; another user may have begun to write this "
            f"model. Remove it, or name another folder in place of {out}."
        )
    with _open_lock(unfinished / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{out}: another process is writing it. Wait until it is done."
            ) from error
        except OSError:
            pass  # the file system has no locks
        try:
            _require_free(out)  # another process may have filled it in between
            yield unfinished
            (unfinished / LOCK).unlink()
            # New files may be private to the user; give them the read permissions of the folder.
            mode = unfinished.stat().st_mode & 0o666
            for path in unfinished.iterdir():
                path.chmod(mode)
                _sync(path)
            _sync(unfinished)
            unfinished.replace(out)
            _sync(out.parent)
        except BaseException:
            if not (unfinished / CONVERSION).exists():
                shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _open_lock(path: Path) -> BinaryIO:
    """Open a file to lock; a link is not followed, and the content stays as it is."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "r+b")


def _require_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out}: exists; name a new folder or remove it.")


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A file to write. It gets its final name when it is complete, and is deleted otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.parent / f".{out.name}.{uuid4().hex}.unfinished"
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(out)
        _sync(out.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    with new_file(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
