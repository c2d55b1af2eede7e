"""The JSON and YAML files of a checkpoint with values of other types: one line, no traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from evo2_tasks.evo2.checkpoints import (
    convert_published,
    export_published,
    load_model,
    read_release,
    weights_digest,
)
from evo2_tasks.evo2.documents import CONVERSION, INDEX, MAX_BYTES, read_json
from tests.mutations import changes_of

CONFIG = "config.json"
SHARD = "model-00001-of-00001.safetensors"


@pytest.fixture(scope="module")
def folder(golden_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted checkpoint with FP8 scales, whose weights are named by an index."""
    source = golden_folder / "tiny_1b_8k"
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    convert_published(source / "model.pt", folder, config=source / "config.yml")
    (folder / "model.safetensors").rename(folder / SHARD)
    with safe_open(folder / SHARD, framework="pt") as file:
        weight_map = dict.fromkeys(file.keys(), SHARD)
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    (folder / INDEX).write_text(text)
    return folder


def load(folder: Path) -> str:
    model = load_model(folder, dtype=torch.float32, devices=[torch.device("cpu")])
    return weights_digest(model)


def refusals(file: Path, use: Callable[[], Any], *named: Path, step: int = 1) -> dict[str, str]:
    """The message of each change that is refused; each is one line that names the file."""
    messages = {}
    for what in changes_of(file, step=step):
        try:
            use()
        except (ValueError, OSError) as error:
            messages[what] = str(error)
    for what, message in messages.items():
        assert len(message.splitlines()) == 1, what
        assert any(str(path) in message for path in (file, *named)), (what, message)
    return messages


def test_a_changed_config_is_refused_or_gives_the_same_weights(folder: Path) -> None:
    digest = load(folder)
    found = set()
    # A size that is missing is that of the 1B, and the tensors have another.
    refused = refusals(folder / CONFIG, lambda: found.add(load(folder)), folder)
    assert len(refused) > 300
    # The keys of FP8 are part of the digest; of these, a model without scales remains.
    assert len(found - {digest}) <= 2
    message = refused['["hidden_size"] = "x" (3)']
    assert message == f"{folder / CONFIG}: hidden_size: 'x' is not a whole number above 0."


def test_a_changed_index_is_refused_or_gives_the_same_weights(folder: Path) -> None:
    found = {load(folder)}
    refused = refusals(folder / INDEX, lambda: found.add(load(folder)), folder)
    assert len(found) == 1
    message = refused['["weight_map"] = [] (2)']
    assert message == f"{folder / INDEX}: weight_map: expected a JSON object, got []."


def test_a_changed_statement_of_a_conversion_is_refused_or_names_no_release(folder: Path) -> None:
    found = set()
    refused = refusals(folder / CONVERSION, lambda: found.add(read_release(folder)))
    assert found == {None}
    message = refused['["files"]["model.safetensors"]["bytes"] = -1 (2)']
    assert message.endswith("bytes: expected a number of bytes, got -1.")


def test_a_conversion_does_not_trust_a_damaged_statement(
    folder: Path, golden_folder: Path, tmp_path: Path
) -> None:
    source = golden_folder / "tiny_1b_8k"
    stated = tmp_path / CONVERSION
    shutil.copyfile(folder / CONVERSION, stated)
    expected = stated.read_bytes()
    out, unfinished = tmp_path / "out", tmp_path / ".out.unfinished"
    for what in changes_of(stated, step=3):
        if stated.is_dir():
            continue
        unfinished.mkdir()
        shutil.copyfile(folder / SHARD, unfinished / "model.safetensors")
        shutil.copyfile(stated, unfinished / CONVERSION)
        convert_published(source / "model.pt", out, config=source / "config.yml")
        assert (out / CONVERSION).read_bytes() == expected, what
        shutil.rmtree(out)


def test_a_changed_published_config_is_refused_or_the_digest_shows_another_model(
    golden_folder: Path, tmp_path: Path
) -> None:
    source = golden_folder / "tiny_1b_8k"
    config = tmp_path / "config.yml"
    config.write_text(json.dumps(yaml.safe_load((source / "config.yml").read_text())))
    checkpoint, found = source / "model.pt", set()

    def load_file() -> None:
        cpu = torch.device("cpu")
        model = load_model(checkpoint, dtype=torch.float32, devices=[cpu], config=config)
        found.add((weights_digest(model), model.config.norm_eps, model.config.rope_factor))

    refused = refusals(config, load_file, checkpoint, step=3)
    assert len(refused) > 100
    # One change is a valid config of another model, with the same tensors.
    assert len(found) == 2
    assert {norm_eps for _, norm_eps, _ in found} == {1e-3, 1.5}
    assert len({digest for digest, *_ in found}) == 2


def test_the_metadata_of_fp8_scales_are_checked(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 # only here

    other = tmp_path / "model"
    shutil.copytree(folder, other)
    scales = other / "fp8_scales.safetensors"
    tensors = load_file(scales)
    for text in ["[]", "1", "{", "1" * 5_000, None]:
        save_file(tensors, scales, metadata=None if text is None else {"variables": text})
        with pytest.raises(ValueError, match=r"fp8_scales\.safetensors: variables") as refusal:
            export_published(other, tmp_path / "out.pt")
        assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_larger_than_any_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_BYTES > 2**23
    monkeypatch.setattr("evo2_tasks.evo2.documents.MAX_BYTES", 20)
    (tmp_path / "a.json").write_text('{"a": 1}' + " " * 20)
    with pytest.raises(ValueError, match=r"a\.json: .* has more than 20 bytes"):
        read_json(tmp_path / "a.json")
