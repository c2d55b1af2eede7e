"""A model from a hub: fetched once, checked and converted; one line if the download fails."""

import fcntl
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, file_download

from evo2_tasks import Evo2ForCausalLM, hub
from evo2_tasks.config.resolve import resolve_model
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import load_model, weights_digest
from evo2_tasks.evo2.folders import WEIGHTS
from evo2_tasks.hub import HubFile, HubName, explain_checkpoint, parse_hub_name, published_releases
from evo2_tasks.runtime.models import local_checkpoint
from evo2_tasks.steps import fetch as fetch_task
from evo2_tasks.steps.fetch import fetch
from tests.project import HEADER, write_project
from tests.steps.small_hub import COMMIT, OTHER_COMMIT, TOKEN, SmallHub, small_hub
from tests.workflow.run import run_workflow

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "tiny_7b_1m"
NAME = f"lab/evo2-tiny@{COMMIT}"
MODEL = (GOLDEN / "model.pt").read_bytes()
DESCRIPTION = (GOLDEN / "config.yml").read_bytes()
HALF = len(MODEL) // 2 + 1
CHUNK = 4096  # bytes that the client takes at once


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    """A hub with one model, which the client asks, with an empty cache."""
    with small_hub() as running:
        running.repositories["lab/evo2-tiny"] = {
            "README.md": b"a model",
            "model.pt": MODEL,
            "model.yml": DESCRIPTION,
        }
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        template = f"{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)  # 10 MB
        monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
        yield running


def digest(path: Path, config: Path | None = None) -> str:
    return weights_digest(
        load_model(path, dtype=torch.float32, devices=[torch.device("cpu")], config=config)
    )


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(GOLDEN / "model.pt", GOLDEN / "config.yml")


def folder_of(name: str = NAME) -> Path:
    parsed = parse_hub_name(name)
    assert parsed is not None
    return parsed.folder


def error_of(name: str = NAME) -> str:
    with pytest.raises(InputError) as caught:
        fetch(name, out=None)
    message = str(caught.value)
    assert "\n" not in message
    assert not folder_of(name).exists() if parse_hub_name(name) else True
    return message


# --- what comes


def test_a_model_is_fetched_and_converted(served: SmallHub, tmp_path: Path, expected: str) -> None:
    fetch(NAME, out=tmp_path / "stated.json")
    assert digest(folder_of()) == expected
    stated = json.loads((tmp_path / "stated.json").read_text())
    assert (stated["checkpoint"], stated["folder"]) == (NAME, str(folder_of()))
    checksum = hashlib.sha256(MODEL).hexdigest()
    assert stated["sources"] == {"model.pt": {"bytes": len(MODEL), "sha256": checksum}}
    weights = folder_of() / WEIGHTS
    assert stated["files"][WEIGHTS]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "README.md" not in " ".join(served.asked)


def test_a_second_time_nobody_is_asked(served: SmallHub, tmp_path: Path) -> None:
    fetch(NAME, out=tmp_path / "first.json")
    served.asked.clear()
    fetch(NAME, out=tmp_path / "second.json")
    assert not served.asked
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def test_parts_are_read_in_place(served: SmallHub, expected: str) -> None:
    served.repositories["lab/evo2-tiny"] = {
        "model.yml": DESCRIPTION,
        "model.pt.part1": MODEL[HALF:],
        "model.pt.part0": MODEL[:HALF],
    }
    fetch(NAME, out=None)
    assert digest(folder_of()) == expected


def test_a_shared_folder_is_copied(
    served: SmallHub, tmp_path: Path, small_model: Evo2ForCausalLM
) -> None:
    small_model.save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert "modeling.py" in files
    served.repositories["lab/evo2-tiny"] = files
    fetch(NAME, out=None)
    assert digest(folder_of()) == digest(tmp_path / "saved")
    assert not list(folder_of().glob("*.py"))


def test_a_known_release_is_checked_by_what_is_known_here(
    served: SmallHub, monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    checksum = hashlib.sha256(MODEL).hexdigest()
    known = (HubFile("model.pt", len(MODEL), checksum), HubFile("model.yml", None, None))
    monkeypatch.setattr(fetch_task, "known_files", lambda _: known)
    fetch(NAME, out=None)
    assert digest(folder_of()) == expected
    assert not [path for path in served.asked if "/api/" in path]


def test_a_release_is_what_its_repository_says_whatever_lies_beside_it(served: SmallHub) -> None:
    release = published_releases()[1]
    served.repositories[release.repository] = served.repositories["lab/evo2-tiny"]
    message = error_of(f"{release.repository}@{COMMIT}")
    assert "the tensors do not match the config. missing: blocks." in message


# --- what does not come at once


def test_a_connection_that_breaks_is_taken_up_where_it_was(served: SmallHub, expected: str) -> None:
    served.breaks = [HALF, len(MODEL) - 10]
    fetch(NAME, out=None)
    # The client keeps whole chunks.
    came = [size // CHUNK * CHUNK for size in (HALF, len(MODEL) - 10)]
    assert served.ranges == [f"bytes={size}-" for size in came]
    assert digest(folder_of()) == expected


def test_a_connection_that_breaks_for_good_is_one_line_and_the_next_try_goes_on(
    served: SmallHub, expected: str
) -> None:
    parts = {"model.pt.part0": MODEL[:HALF], "model.pt.part1": MODEL[HALF:]}
    served.repositories["lab/evo2-tiny"] = {"model.yml": DESCRIPTION, **parts}
    served.breaks = [len(DESCRIPTION), HALF, *[100] * 7]
    message = error_of()
    assert "cannot be downloaded from http://127.0.0.1" in message
    assert "/model.pt.part1 where there is a network, put it at" in message
    served.asked.clear()
    served.breaks.clear()
    fetch(NAME, out=None)
    assert not [path for path in served.asked if "part0" in path]
    assert digest(folder_of()) == expected


def test_a_conversion_that_was_interrupted_asks_for_no_file_again(
    served: SmallHub, monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch_task, "convert_published", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(NAME, out=None)
    served.asked.clear()
    fetch(NAME, out=None)
    assert not [path for path in served.asked if "resolve" in path]
    assert digest(folder_of()) == expected


def test_two_at_a_time_fetch_once(served: SmallHub, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    lock_whole_file = fcntl.flock

    def lock(*args: object) -> None:
        waiting.set()
        lock_whole_file(*args)  # type: ignore[arg-type] # as they came

    folder_of().parent.mkdir(parents=True)
    with folder_of().with_suffix(".lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(fetch_task.fcntl, "flock", lock)
        second = threading.Thread(target=fetch, args=(NAME,), kwargs={"out": None})
        second.start()
        assert waiting.wait(timeout=60)
        folder_of().mkdir()  # the other one is done
    second.join(timeout=60)
    assert not second.is_alive()
    assert not served.asked


# --- what does not come


def test_a_wrong_checksum_is_one_line_that_says_what_to_remove(
    served: SmallHub, tmp_path: Path, expected: str
) -> None:
    served.lies["model.pt"] = MODEL[:HALF] + bytes([MODEL[HALF] ^ 1]) + MODEL[HALF + 1 :]
    message = error_of()
    assert hashlib.sha256(MODEL).hexdigest() in message
    assert not list((tmp_path / "home" / "evo2-tasks").rglob("*.safetensors"))
    found = re.search(r"@\w+: (\S+): its SHA-256", message)
    assert found is not None
    served.lies.clear()
    Path(found[1]).unlink()
    fetch(NAME, out=None)
    assert digest(folder_of()) == expected


def test_a_wrong_size_is_one_line(served: SmallHub, monkeypatch: pytest.MonkeyPatch) -> None:
    known = (HubFile("model.pt", len(MODEL) + 1, None),)
    monkeypatch.setattr(fetch_task, "known_files", lambda _: known)
    assert f"has {len(MODEL):,} bytes and not {len(MODEL) + 1:,}. Remove it" in error_of()


def test_what_is_no_model_is_one_line(served: SmallHub) -> None:
    files = served.repositories["lab/evo2-tiny"]
    files["other.pt"] = MODEL
    assert "has several checkpoints: model, other." in error_of()
    del files["other.pt"], files["model.pt"]
    assert "has no model" in error_of()
    files["model.pt"] = b"PK nothing"
    assert "not a checkpoint in the format of torch.save" in error_of()
    del files["model.pt"]
    files |= {"config.json": b'{"model_type": "lfm2"}', "model.safetensors": b"nothing"}
    assert "is the config of a 'lfm2' model" in error_of()


def test_a_disk_without_room_is_told_before_a_download(
    served: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (HubFile("model.pt", 10**15, None),)
    monkeypatch.setattr(fetch_task, "known_files", lambda _: known)
    assert "needs 2,000,000.1 GB and its disk has" in error_of()
    assert not served.asked


def test_a_missing_revision_is_one_line(served: SmallHub) -> None:
    name = f"lab/evo2-tiny@{OTHER_COMMIT}"
    assert error_of(name) == f"{name}: {served.endpoint}/lab/evo2-tiny has no such commit."


def test_a_missing_repository_is_one_line(served: SmallHub) -> None:
    assert "has no such repository, or it is private" in error_of(f"lab/other@{COMMIT}")


def test_a_gated_model_comes_with_a_token(
    served: SmallHub, monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    served.gated.add("lab/evo2-tiny")
    message = error_of()
    assert f"Accept them at {served.endpoint}/lab/evo2-tiny" in message
    assert "HF_TOKEN" in message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(NAME, out=None)
    assert digest(folder_of()) == expected


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_a_line_says_what_to_put_where(
    served: SmallHub,
    monkeypatch: pytest.MonkeyPatch,
    expected: str,
    offline: bool,
    known: bool,
) -> None:
    if offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        served.lies.clear()
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    if not known:
        assert f"copy the folder that it names to {folder_of()}." in error_of()
        return
    files = (HubFile("model.pt", len(MODEL), None), HubFile("model.yml", None, None))
    monkeypatch.setattr(fetch_task, "known_files", lambda _: files)
    for name, content in (("model.pt", MODEL), ("model.yml", DESCRIPTION)):
        found = re.search(r"Download (\S+) where there is a network, put it at (\S+),", error_of())
        assert found is not None
        assert found[1] == f"{constants.ENDPOINT}/lab/evo2-tiny/resolve/{COMMIT}/{name}"
        Path(found[2]).parent.mkdir(parents=True, exist_ok=True)
        Path(found[2]).write_bytes(content)
    fetch(NAME, out=None)
    assert digest(folder_of()) == expected


# --- the workflow


def score_one(folder: Path, checkpoint: str, variables: dict[str, str]) -> Path:
    """Score one variant with a real Snakemake and real commands; give the table."""
    bases = "".join(random.Random(1).choices("ACGT", k=200))
    alt = "A" if bases[99] != "A" else "C"
    variants = f"{HEADER}c\t100\t.\t{bases[99]}\t{alt}\t.\t.\t.\n"
    model = {"checkpoint": checkpoint}
    if checkpoint.endswith(".pt"):
        model["config"] = str(GOLDEN / "config.yml")
    project = write_project(folder, genome={"c": bases}, variants=variants, model=model)
    table = folder / "results" / "v" / "s" / "scores.parquet"
    run_workflow(
        *(folder, str(table.relative_to(folder)), "--configfile", str(project.config_file)),
        variables=variables,
    )
    return table


@pytest.mark.slow
def test_the_workflow_fetches_and_its_jobs_need_no_network(
    served: SmallHub, tmp_path: Path
) -> None:
    of_path = score_one(tmp_path / "path", str(GOLDEN / "model.pt"), {})
    online = {"HF_ENDPOINT": served.endpoint, "HF_HUB_OFFLINE": "0"}
    of_hub = score_one(tmp_path / "hub", NAME, online)
    assert of_hub.read_bytes() == of_path.read_bytes()
    stated = json.loads((tmp_path / "hub" / "results" / "models" / "m.json").read_text())
    assert stated["checkpoint"] == NAME
    assert sum("resolve" in path and path.startswith("GET") for path in served.asked) == 2
    # Another project finds the model where the first one has put it.
    served.asked.clear()
    offline = {"HF_ENDPOINT": served.endpoint, "HF_HUB_OFFLINE": "1"}
    again = score_one(tmp_path / "again", NAME, offline)
    assert again.read_bytes() == of_path.read_bytes()
    assert not served.asked


def test_a_job_without_the_model_is_one_line(served: SmallHub) -> None:
    model = resolve_model("models.m", "m", ModelConfig(checkpoint=Path(NAME), gpus=0))
    with pytest.raises(ValueError, match=r"is not in \S+\. Run `evo2-tasks fetch`"):  # noqa: SIM117
        with local_checkpoint(model, None):
            pass


# --- names


def test_a_name_without_a_commit_is_looked_up(
    served: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lab/evo2-tiny", "lab/evo2-tiny@main"):
        assert f"It is now at lab/evo2-tiny@{COMMIT}; name that." in error_of(name)
    assert "no such commit" in error_of("lab/evo2-tiny@v9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    advice = f"Look for the commit at {served.endpoint}/lab/evo2-tiny/commits/main."
    assert error_of("lab/evo2-tiny").endswith(advice)
    assert "is not the name of a model on a hub" in error_of("model.pt")


def test_names_and_paths_are_told_apart() -> None:
    assert parse_hub_name(NAME) == HubName("lab/evo2-tiny", COMMIT)
    for path in (
        "lab/evo2-tiny",
        f"./lab/evo2-tiny@{COMMIT}",
        f"a/b/c@{COMMIT}",
        f"evo2-tiny@{COMMIT}",
        f"lab/evo2-tiny@{COMMIT[:-1]}",
        f"../evo2-tiny@{COMMIT}",
        f"lab/..@{COMMIT}",
        f"lab/evo2-tiny@{COMMIT.upper()}",
    ):
        assert parse_hub_name(path) is None, path
    assert explain_checkpoint("models/evo2.pt/x") is None
    known = published_releases()[0]
    hint = explain_checkpoint(known.repository)
    assert hint is not None
    assert f"{known.repository}@{known.revision}" in hint


def test_the_published_files_are_those_of_the_registry() -> None:
    releases = {release.model: release for release in published_releases()}
    assert releases["evo2_7b"].files == (
        HubFile(
            "evo2_7b.pt",
            13_766_621_200,
            "c66645929dc1b9c631f5be656da8726f38946315dc9167000a615dd626fcecf4",
        ),
    )
    assert [file.bytes for file in releases["evo2_40b_base"].files] == [
        40_340_310_342,
        40_340_310_341,
    ]
    for release in releases.values():
        assert bool(release.revision) == bool(release.files)
        for file in release.files:
            assert file.name.startswith(f"{release.model}.pt")
            assert len(file.sha256 or "") == 64
    name = HubName(releases["evo2_20b"].repository, releases["evo2_20b"].revision or "")
    assert hub.known_files(name) == releases["evo2_20b"].files
    assert hub.known_files(replace(name, revision=COMMIT)) == ()


@pytest.mark.parametrize(
    "variables",
    [{}, {"XDG_CACHE_HOME": "/x/cache"}, {"HF_HOME": "~/models"}, {"HF_HOME": "$XDG_CACHE_HOME/h",
     "XDG_CACHE_HOME": "/y"}],
    ids=lambda variables: " ".join(variables) or "none",
)  # fmt: skip
def test_models_are_kept_beside_the_cache_of_the_client(variables: dict[str, str]) -> None:
    code = (
        "from huggingface_hub.constants import HF_HOME\n"
        "from evo2_tasks.hub import HubName\n"
        "from pathlib import Path\n"
        "print(HubName('a/b', 'c').folder == Path(HF_HOME) / 'evo2-tasks' / 'a--b' / 'c')"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "True\n"
