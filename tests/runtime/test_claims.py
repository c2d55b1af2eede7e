"""Jobs of one machine take GPUs of their own, and give them back when they end in any way."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from evo2_tasks.runtime import claims
from evo2_tasks.runtime.claims import claim_devices, identify
from tests import processes

GPUS = [torch.device("xpu", index) for index in range(4)]


def take_and_wait(folder: Path, number: int, visible: tuple[int, ...], pipe: Connection) -> None:
    """Take GPUs, name them, and run until the pipe ends."""
    devices = [torch.device("xpu", index) for index in visible]
    taken = claim_devices("models.m", devices, number, folder=folder)
    pipe.send([device.index for device in taken])
    pipe.poll(None)


@contextmanager
def job(folder: Path, number: int = 1, visible: tuple[int, ...] = (0, 1, 2, 3)) -> Iterator["Job"]:
    """A job that has taken GPUs, and runs until the block ends."""
    one = Job(folder, number, visible)
    try:
        yield one
    finally:
        one.end()


class Job:
    def __init__(self, folder: Path, number: int, visible: tuple[int, ...]) -> None:
        self.pipe, other = Pipe()
        self.process = processes.start(take_and_wait, folder, number, visible, other)
        other.close()
        self.taken = self.pipe.recv()

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, number)
        processes.wait(self.process)
        self.pipe.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for locks; what this process takes ends with the test."""
    held: dict[str, object] = {}
    monkeypatch.setattr(claims, "_held", held)
    yield tmp_path / "locks"
    for lock in held.values():
        lock.close()  # type: ignore[attr-defined]


def take(folder: Path, number: int, visible: list[torch.device] = GPUS) -> list[int]:
    return [one.index for one in claim_devices("models.m", visible, number, folder=folder)]


def test_jobs_at_once_take_different_gpus(folder: Path) -> None:
    with job(folder) as first, job(folder) as second, job(folder, 2) as third:
        assert [first.taken, second.taken, third.taken] == [[0], [1], [2, 3]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_gpu_is_free_again_however_its_job_ends(folder: Path, number: int) -> None:
    with job(folder) as first, job(folder) as second:
        first.end(number)
        with job(folder) as third:
            assert [second.taken, third.taken] == [[1], [0]]


def test_a_job_that_sees_some_gpus_takes_one_of_these(folder: Path) -> None:
    with job(folder, visible=(1,)) as first, job(folder, visible=(1, 2)) as second:
        assert [first.taken, second.taken] == [[1], [2]]
        assert take(folder, 2) == [0, 3]


def test_a_job_without_free_gpus_shares_them_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with job(folder, 3):
        assert take(folder, 2) == [0, 1]
        (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert warning.startswith("models.m: 1 of 4 GPUs are free, and the model needs 2: ")
        with job(folder) as other:
            assert other.taken == [3], "a GPU that is not enough is given back"


def test_one_process_takes_the_same_gpus_again(folder: Path) -> None:
    assert [take(folder, 1), take(folder, 1), take(folder, 2)] == [[0], [0], [0, 1]]
    with job(folder) as other:
        assert other.taken == [2]


def test_without_a_place_for_locks_the_first_gpus_are_taken(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file in the place of the folder")
    assert take(folder, 2) == [0, 1]
    assert "cannot be claimed" in caplog.text


def test_locks_in_a_folder_of_another_user_are_not_used(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert take(folder, 1) == [0]
    assert "belongs to another user" in caplog.text
    assert not list(folder.iterdir())


def test_a_lock_that_is_a_link_is_not_followed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o700)
    victim = folder.with_name("victim")
    for name in ("claims.lock", f"{identify(GPUS[0])}.lock"):
        (folder / name).symlink_to(victim)
        assert take(folder, 1) == [0]
        assert "cannot be claimed" in caplog.text
        assert not victim.exists()
        (folder / name).unlink()
        caplog.clear()


def test_a_cuda_device_is_known_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        uuid = "c0ffee"

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    assert identify(torch.device("cuda", 3)) == "cuda-c0ffee"
    assert identify(torch.device("xpu", 3)) == "xpu-3"
