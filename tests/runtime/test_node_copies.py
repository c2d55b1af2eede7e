"""The copy of a checkpoint on a node: made once, whole, replaced when the checkpoint changes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.runtime import node_copies
from evo2_tasks.runtime.node_copies import CHECKSUMS, copied_to_node
from tests import processes
from tests.project import write_shard


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "model").mkdir()
    made = [tmp_path / "model" / name for name in ("config.json", "model.safetensors")]
    for number, file in enumerate(made):
        file.write_bytes(bytes([number]) * 100_000)
    return made


def copies_in(cache: Path) -> list[Path]:
    """The copies in a cache, each a folder."""
    (root,) = cache.iterdir()
    return [path for path in root.iterdir() if path.suffix != ".lock"]


def copy_of(files: list[Path], cache: Path) -> dict[str, bytes]:
    """What a job reads: the content of each file in the folder that it gets."""
    with copied_to_node(files, cache) as folder:
        return {file.name: (folder / file.name).read_bytes() for file in files}


def content_of(files: list[Path]) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files}


def test_a_copy_is_made_once_and_is_the_same(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    assert copy_of(files, cache) == content_of(files)
    (copy,) = copies_in(cache)
    made = (copy / CHECKSUMS).stat().st_mtime_ns
    checksums = json.loads((copy / CHECKSUMS).read_text())
    assert checksums == {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert copy_of(files, cache) == content_of(files)
    assert copies_in(cache) == [copy]
    assert (copy / CHECKSUMS).stat().st_mtime_ns == made


def test_a_checkpoint_that_changed_is_copied_again_and_the_old_copy_is_removed(
    tmp_path: Path, files: list[Path]
) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (old,) = copies_in(cache)
    files[1].write_bytes(b"other")
    assert copy_of(files, cache) == content_of(files)
    (new,) = copies_in(cache)
    assert new != old


def test_a_copy_that_is_being_read_is_kept(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    with copied_to_node(files, cache) as old:
        files[1].write_bytes(b"other")
        with copied_to_node(files, cache):
            assert len(copies_in(cache)) == 2
            assert (old / files[0].name).read_bytes() == files[0].read_bytes()


def test_two_jobs_read_a_copy_at_the_same_time(tmp_path: Path, files: list[Path]) -> None:
    with copied_to_node(files, tmp_path / "scratch"):
        other = processes.start(_copy, files, tmp_path / "scratch")
        assert processes.wait(other) == 0


def test_a_copy_that_was_cut_short_is_made_again(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (copy,) = copies_in(cache)
    (copy / files[1].name).write_bytes(b"short")
    copy.with_suffix(".tmp").mkdir()
    assert copy_of(files, cache) == content_of(files)
    assert copies_in(cache) == [copy]


def _copy(files: list[Path], cache: Path) -> None:
    with copied_to_node(files, cache):
        pass


def test_jobs_that_start_together_make_one_copy(tmp_path: Path, files: list[Path]) -> None:
    jobs = [processes.start(_copy, files, tmp_path / "scratch") for _ in range(3)]
    assert [processes.wait(job) for job in jobs] == [0, 0, 0]
    assert len(copies_in(tmp_path / "scratch")) == 1


def test_a_disk_that_lies_is_noticed(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_copies, "hash_copy", lambda *_: "another digest")
    with (
        pytest.raises(InputError, match="differs from its source"),
        copied_to_node(files, tmp_path),
    ):
        pass
    assert [path.suffix for path in next(tmp_path.glob("evo2-tasks-*")).iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"run\.model_cache: .*Not a directory"):  # noqa: SIM117
        with copied_to_node(files, tmp_path / "file"):
            pass
    with pytest.raises(InputError, match="no such variable"):  # noqa: SIM117
        with copied_to_node(files, Path("$SURELY_NOT_SET/x")):
            pass


# --- what another user may have put there


def private_folder(cache: Path) -> Path:
    return cache / f"evo2-tasks-{os.getuid()}"


def refusal(files: list[Path], cache: Path) -> str:
    with pytest.raises(InputError) as caught:
        copy_of(files, cache)
    message = str(caught.value)
    assert message.startswith("run.model_cache: ")
    assert "\n" not in message
    return message


def tree(folder: Path) -> dict[str, bytes | None]:
    """Content of each file in a folder, None for a folder or a link."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "scratch").mkdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine.lock").write_text("mine")
    for target in (victim, tmp_path / "missing", files[0]):
        private_folder(tmp_path / "scratch").symlink_to(target)
        assert "is a link" in refusal(files, tmp_path / "scratch")
        private_folder(tmp_path / "scratch").unlink()
    assert tree(victim) == {"mine.lock": b"mine"}


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    private_folder(tmp_path).mkdir(mode=0o700)
    assert "belongs to another user" in refusal(files, tmp_path)
    assert not list(private_folder(tmp_path).iterdir())


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_can_change_is_refused(
    tmp_path: Path, files: list[Path], mode: int
) -> None:
    private_folder(tmp_path).mkdir()
    private_folder(tmp_path).chmod(mode)
    assert f"can be changed by other users (mode {mode:o})" in refusal(files, tmp_path)
    assert not list(private_folder(tmp_path).iterdir())


def test_a_folder_that_others_can_read_is_used(tmp_path: Path, files: list[Path]) -> None:
    private_folder(tmp_path).mkdir()
    private_folder(tmp_path).chmod(0o755)
    assert copy_of(files, tmp_path) == content_of(files)


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "fifo"])
def test_a_lock_that_is_not_a_file_is_refused(tmp_path: Path, files: list[Path], kind: str) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (copy,) = copies_in(cache)
    lock, victim = copy.with_suffix(".lock"), tmp_path / "victim"
    lock.unlink()
    if kind == "link":
        victim.write_text("a file of the victim")
    if kind == "folder":
        lock.mkdir()
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.symlink_to(victim)
    assert lock.name in refusal(files, cache)
    assert victim.exists() == (kind == "link")
    if kind == "link":
        assert victim.read_text() == "a file of the victim"


def test_the_content_of_a_lock_is_kept(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (copy,) = copies_in(cache)
    copy.with_suffix(".lock").write_text("content")
    copy_of(files, cache)
    assert copy.with_suffix(".lock").read_text() == "content"


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("what", ["file", "checksums", "link", "more", "fewer"])
def test_a_copy_with_other_content_is_made_again(
    tmp_path: Path,
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    is_large: bool,
) -> None:
    if is_large:
        monkeypatch.setattr(node_copies, "SMALL_BYTES", 1_000)
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (copy,) = copies_in(cache)
    planted, other = copy / files[1].name, b"x" * files[1].stat().st_size
    if what == "file":
        planted.write_bytes(other)
    elif what == "checksums":
        checksums = json.loads((copy / CHECKSUMS).read_text())
        checksums[planted.name] = None if is_large else hashlib.sha256(other).hexdigest()
        (copy / CHECKSUMS).write_text(json.dumps(checksums))
        if not is_large:
            planted.write_bytes(other)
    elif what == "link":
        planted.unlink()
        planted.symlink_to(files[1])
    elif what == "more":
        (copy / "generation_config.json").write_text("{}")
    else:
        (copy / CHECKSUMS).unlink()
    assert copy_of(files, cache) == content_of(files)
    assert tree(copy).keys() == {CHECKSUMS, *(file.name for file in files)}
    assert not planted.is_symlink()


def test_only_copies_are_removed_and_never_through_a_link(
    tmp_path: Path, files: list[Path]
) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (old,) = copies_in(cache)
    root, victim = private_folder(cache), tmp_path / "victim"
    others = ["data", "gpus", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + ".x"]
    for folder in [victim, *(root / name for name in others)]:
        folder.mkdir()
        (folder / "precious").write_text("content")
    for name in others:
        (root / f"{name}.lock").touch()
    links = [root / ("1" * 32), root / f"{'1' * 32}.tmp"]
    for link in links:
        link.symlink_to(victim)
    (root / f"{'1' * 32}.lock").touch()
    (root / f"{'2' * 32}.lock").symlink_to(victim / "precious")
    files[1].write_bytes(b"other")
    copy_of(files, cache)
    assert not old.exists()
    assert not any(link.is_symlink() for link in links)
    assert (victim / "precious").read_text() == "content"
    for name in others:
        assert (root / name / "precious").read_text() == "content"
        assert (root / f"{name}.lock").exists()


def test_a_link_in_the_place_of_a_copy_is_replaced(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    copy_of(files, cache)
    (copy,) = copies_in(cache)
    victim = copy.rename(tmp_path / "victim")
    copy.symlink_to(victim)
    before = tree(victim)
    assert copy_of(files, cache) == content_of(files)
    assert not copy.is_symlink()
    assert tree(victim) == before


def test_a_folder_that_is_exchanged_while_it_is_used_is_not_read(
    tmp_path: Path, files: list[Path]
) -> None:
    """Where all users can rename everything, as in a shared folder without the sticky bit."""
    cache = tmp_path / "scratch"
    cache.mkdir()
    cache.chmod(0o777)
    with copied_to_node(files, cache) as folder:
        (copy,) = copies_in(cache)
        private_folder(cache).rename(cache / "moved")
        copy.mkdir(parents=True)
        for file in files:
            (copy / file.name).write_bytes(b"planted")
        assert {file.name: (folder / file.name).read_bytes() for file in files} == content_of(files)


def test_a_job_loads_the_copy(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard(tmp_path / "shard", checkpoint, num_alleles=20)
    shard.score(tmp_path / "plain.parquet")
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "scratch"))
    shard.score(tmp_path / "cached.parquet", model_cache="$NODE_DISK")
    assert (tmp_path / "cached.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    (copy,) = copies_in(tmp_path / "scratch")
    copied = sorted(path.name for path in copy.iterdir())
    saved = [path.name for path in checkpoint.iterdir() if path.suffix != ".py"]
    assert copied == sorted([CHECKSUMS, *saved])


def test_a_fault_of_a_copied_checkpoint_names_the_source(tmp_path: Path, checkpoint: Path) -> None:
    shard = write_shard(tmp_path / "shard", tmp_path / "broken", num_alleles=2)
    shutil.copytree(checkpoint, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="has no model") as caught:
        shard.score(tmp_path / "s.parquet", model_cache=str(tmp_path / "scratch"))
    assert f"{tmp_path / 'broken'}: has no model.safetensors" in str(caught.value)
    assert "/proc/" not in str(caught.value)
