"""Folders of safetensors: what the library would write, whole or not there, and gone on with."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from evo2_tasks.evo2 import folders
from evo2_tasks.evo2.checkpoints import convert_published
from evo2_tasks.evo2.folders import SPARE_BYTES, plan_shards, write_shard
from evo2_tasks.evo2.published import StoredTensor

Convert = Callable[..., Path]


def stored(tensors: dict[str, Tensor]) -> dict[str, StoredTensor]:
    def entry(tensor: Tensor) -> StoredTensor:
        return StoredTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor)

    return {name: entry(tensor) for name, tensor in tensors.items()}


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text("abX.1_", min_size=1, max_size=8),
        st.tuples(
            st.lists(st.integers(1, 5), max_size=3),
            st.sampled_from([torch.float32, torch.bfloat16]),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_file_is_that_of_the_library_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    tensors = {}
    for name, (shape, dtype, is_turned) in shapes.items():
        tensor = torch.randn(shape).to(dtype)
        tensors[name] = tensor.transpose(0, -1) if is_turned and shape else tensor
    shards = plan_shards(stored(tensors))
    assert [shard.name for shard in shards] == ["model.safetensors"]
    digest = write_shard(folder, shards[0])
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(plain, folder / "library", metadata={"format": "pt"})
    written = (folder / "model.safetensors").read_bytes()
    assert written == (folder / "library").read_bytes()
    assert digest == hashlib.sha256(written).hexdigest()
    assert len(written) == shards[0].num_bytes


@pytest.fixture
def convert(
    tmp_path: Path, make_config: Any, make_published: Any, monkeypatch: pytest.MonkeyPatch
) -> Convert:
    """Converts a small file to several safetensors files."""
    monkeypatch.setattr(folders, "SHARD_BYTES", 10_000)  # five files
    config = make_config()
    torch.save(make_published(config), tmp_path / "model.pt")
    (tmp_path / "model.yml").write_text(yaml.safe_dump(config.to_published()))

    def run(name: str = "folder", **kwargs: Any) -> Path:
        out = tmp_path / name
        convert_published(tmp_path / "model.pt", out, config=tmp_path / "model.yml", **kwargs)
        return out

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(monkeypatch: pytest.MonkeyPatch, *, killed_after: int | None = None) -> list[str]:
    """Note the files of weights as they are written; then die as by a signal."""
    names: list[str] = []

    def write(folder: Path, shard: folders.Shard) -> str:
        if len(names) == killed_after:
            # A kill leaves what was being written.
            (folder / f".{shard.name}.0.unfinished").write_bytes(b"half")
            raise KeyboardInterrupt
        names.append(shard.name)
        return write_shard(folder, shard)

    monkeypatch.setattr(folders, "write_shard", write)
    return names


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_conversion_that_was_killed_goes_on(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = convert("whole")
    first = written(monkeypatch, killed_after=number)
    with pytest.raises(KeyboardInterrupt):
        convert()
    assert len(first) == number
    assert not (tmp_path / "folder").exists()
    then = written(monkeypatch)
    assert contents(convert()) == contents(whole)
    shards = sorted(path.name for path in whole.glob("model-*"))
    assert sorted(first + then) == shards
    assert not list(tmp_path.glob(".*"))


def test_a_kill_before_the_first_file_leaves_nothing(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(monkeypatch, killed_after=0)
    with pytest.raises(KeyboardInterrupt):
        convert()
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.yml"}


def damage(unfinished: Path) -> None:
    path = unfinished / "model-00002-of-00005.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(unfinished: Path) -> None:
    (unfinished / "conversion.json").write_text('{"sources')


def lose(unfinished: Path) -> None:
    (unfinished / "model-00001-of-00005.safetensors").unlink()


@pytest.mark.parametrize(("harm", "num_anew"), [(damage, 1), (lose, 1), (cut, 3)])
def test_what_is_not_whole_is_written_again(
    convert: Convert,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
    num_anew: int,
) -> None:
    whole = convert("whole")
    num_shards = len(list(whole.glob("model-*.safetensors")))
    assert num_shards == 5
    written(monkeypatch, killed_after=3)
    with pytest.raises(KeyboardInterrupt):
        convert()
    harm(tmp_path / ".folder.unfinished")
    then = written(monkeypatch)
    assert contents(convert()) == contents(whole)
    assert len(then) == num_shards - 3 + num_anew


def test_another_source_is_not_mixed_with_what_is_there(
    convert: Convert,
    tmp_path: Path,
    make_config: Any,
    make_published: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written(monkeypatch, killed_after=3)
    with pytest.raises(KeyboardInterrupt):
        convert()
    torch.save(make_published(make_config(), seed=1), tmp_path / "model.pt")
    then = written(monkeypatch)
    folder = convert()
    assert len(then) == len(list(folder.glob("model-*.safetensors")))
    assert contents(folder) == contents(convert("whole"))


def test_the_folder_states_what_it_is_and_what_it_was_made_of(
    convert: Convert, tmp_path: Path
) -> None:
    folder = convert()
    stated = json.loads((folder / "conversion.json").read_text())
    assert stated["files"].keys() == {path.name for path in folder.glob("model-*.safetensors")}
    for kind, place in (("files", folder), ("sources", tmp_path)):
        for name, file in stated[kind].items():
            data = (place / name).read_bytes()
            assert file == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert stated["sources"].keys() == {"model.pt"}


def test_a_file_with_another_checksum_is_refused(convert: Convert, tmp_path: Path) -> None:
    right = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"SHA-256 is {right} and not 0{{64}}"):
        convert(checksums={"model.pt": "0" * 64})
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.yml"}
    convert(checksums={"model.pt": right})


def test_a_disk_without_room_is_told_before_anything_is_written(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(path.stat().st_size for path in convert("whole").glob("model-*.safetensors"))
    free = SPARE_BYTES + needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free - 1))
    with pytest.raises(ValueError, match=r"needs 0\.1 GB and its disk has 0\.1 GB free"):
        convert()
    assert not list(tmp_path.glob(".*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    convert()


def test_a_link_to_another_folder_is_not_filled(convert: Convert, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "model.safetensors").write_text("mine")
    (tmp_path / ".folder.unfinished").symlink_to(victim)
    with pytest.raises(ValueError, match="is not a folder of your own"):
        convert()
    assert [path.read_text() for path in victim.iterdir()] == ["mine"]


def test_a_lock_that_is_a_link_is_not_followed(convert: Convert, tmp_path: Path) -> None:
    (tmp_path / ".folder.unfinished").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("content")
    (tmp_path / ".folder.unfinished" / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        convert()
    assert victim.read_text() == "content"


def test_two_do_not_write_one_folder(convert: Convert, tmp_path: Path) -> None:
    unfinished = tmp_path / ".folder.unfinished"
    unfinished.mkdir()
    with (unfinished / "lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing it"):
            convert()
        assert unfinished.exists()
    convert()
