"""The devices that a model is given, and what is said of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch

from evo2_tasks.errors import InputError
from evo2_tasks.runtime import claims, models
from evo2_tasks.runtime import devices as device
from evo2_tasks.runtime.devices import describe_devices, device_class, find_devices
from tests.project import write_shard

CPU = torch.device("cpu")
NAMES = {0: "NVIDIA H100", 1: "NVIDIA H100", 2: "NVIDIA A100"}


class Properties:
    """What CUDA states about a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.uuid = f"pretended-{device.index}"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[torch.device]]:
    """Three GPUs that pretend to be there."""
    held: dict[str, IO[bytes]] = {}
    monkeypatch.setattr(claims, "_held", held)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    accelerator = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: accelerator)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: len(NAMES))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda one: NAMES[one.index])
    yield [torch.device("cuda", index) for index in NAMES]
    for lock in held.values():
        lock.close()


def test_a_model_gets_as_many_devices_as_it_asks_for(gpus: list[torch.device]) -> None:
    assert find_devices("models.m", 0) == [CPU]
    for number in (1, 2, 3):
        assert find_devices("models.m", number) == gpus[:number]
    with pytest.raises(InputError, match=r"models\.m\.gpus: 4 required, but torch \S+ sees 3 on"):
        find_devices("models.m", 4)


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(InputError, match=r"models\.m\.gpus: 1 required, .* sees none on"):
        find_devices("models.m", 1)


def test_a_command_without_a_gpu_names_its_own_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(InputError) as error:
        find_devices("score-sequences", 1)
    said = str(error.value)
    assert said.startswith("score-sequences: --gpus 1 required, but torch ")
    assert said.endswith(
        "Request as many GPUs from the scheduler, or add --gpus 0 to run on the CPU."
    )


def test_equal_devices_are_counted_and_are_of_one_class(gpus: list[torch.device]) -> None:
    assert describe_devices(gpus[:1]) == device_class(gpus[:1]) == "NVIDIA H100"
    assert describe_devices(gpus[:2]) == "2 x NVIDIA H100"
    assert device_class(gpus[:2]) == "NVIDIA H100"
    assert describe_devices(gpus) == "2 x NVIDIA H100 + NVIDIA A100"
    assert device_class(gpus) == "NVIDIA H100 + NVIDIA A100"


def test_peak_memory_is_that_of_the_fullest_device(
    gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "max_memory_allocated", lambda one: 10**9 + one.index)
    assert device.describe_machine(gpus)["peak_device_memory_mb"] == 1000.0


def test_a_shard_on_several_devices_has_the_same_scores(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard(tmp_path / "shard", checkpoint, num_alleles=20)
    shard.score(tmp_path / "one.parquet")
    monkeypatch.setattr(models, "find_devices", lambda *_: [CPU] * 2)
    shard.score(tmp_path / "two.parquet")
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
