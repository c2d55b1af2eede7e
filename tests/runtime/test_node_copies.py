"""The copy of a checkpoint on a node: made once, whole, replaced when the checkpoint changes."""

import hashlib
import json
import multiprocessing
from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.runtime import node_copies as model_cache
from evo2_tasks.runtime.node_copies import CHECKSUMS, copied_to_node
from tests.project import write_shard


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "model").mkdir()
    made = [tmp_path / "model" / name for name in ("config.json", "model.safetensors")]
    for number, file in enumerate(made):
        file.write_bytes(bytes([number]) * 100_000)
    return made


def entries(cache: Path) -> list[Path]:
    (root,) = cache.iterdir()
    return [path for path in root.iterdir() if path.suffix != ".lock"]


def test_a_copy_is_made_once_and_is_the_same(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    with copied_to_node(files, cache) as folder:
        made = (folder / CHECKSUMS).stat().st_mtime_ns
        for file in files:
            assert (folder / file.name).read_bytes() == file.read_bytes()
    checksums = json.loads((folder / CHECKSUMS).read_text())
    assert checksums == {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    with copied_to_node(files, cache) as again:
        assert again == folder
        assert (folder / CHECKSUMS).stat().st_mtime_ns == made


def test_a_checkpoint_that_changed_is_copied_anew_and_the_old_copy_goes(
    tmp_path: Path, files: list[Path]
) -> None:
    cache = tmp_path / "scratch"
    with copied_to_node(files, cache) as old:
        pass
    files[1].write_bytes(b"other")
    with copied_to_node(files, cache) as new:
        assert (new / files[1].name).read_bytes() == b"other"
    assert entries(cache) == [new]
    assert not old.exists()


def test_a_copy_that_is_being_read_stays(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    with copied_to_node(files, cache) as old:
        files[1].write_bytes(b"other")
        with copied_to_node(files, cache) as new:
            assert old.exists()
            assert new != old


def test_a_copy_that_was_cut_short_is_made_again(tmp_path: Path, files: list[Path]) -> None:
    cache = tmp_path / "scratch"
    with copied_to_node(files, cache) as folder:
        (folder / files[1].name).write_bytes(b"short")
    (folder.with_suffix(".tmp")).mkdir()
    with copied_to_node(files, cache) as folder:
        assert (folder / files[1].name).read_bytes() == files[1].read_bytes()
    assert entries(cache) == [folder]


def _copy(files: list[Path], cache: Path) -> None:
    with copied_to_node(files, cache):
        pass


def test_jobs_that_start_together_make_one_copy(tmp_path: Path, files: list[Path]) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_copy, args=(files, tmp_path / "scratch")) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert len(entries(tmp_path / "scratch")) == 1


def test_a_disk_that_lies_is_noticed(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "digest_file", lambda _: "another digest")
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


def test_a_job_loads_the_copy(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard(tmp_path / "shard", checkpoint, num_alleles=20)
    shard.score(tmp_path / "plain.parquet")
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "scratch"))
    shard.score(tmp_path / "cached.parquet", model_cache="$NODE_DISK")
    assert (tmp_path / "cached.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    (entry,) = entries(tmp_path / "scratch")
    copied = sorted(path.name for path in entry.iterdir())
    saved = [path.name for path in checkpoint.iterdir() if path.suffix != ".py"]
    assert copied == sorted([CHECKSUMS, *saved])
