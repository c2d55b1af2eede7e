"""Files that the config names by URL: what the config keeps, what jobs read, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.config.objects import (
    VARIABLE,
    UserFiles,
    as_written,
    find_url,
    local_copy,
    publish_copies,
    read_copies,
)
from evo2_tasks.config.resolve import (
    resolve_annotate,
    resolve_score,
    resolve_split,
    resolve_windows,
)
from evo2_tasks.config.schema import RunConfig, dump_config
from evo2_tasks.errors import InputError
from evo2_tasks.jobs import Jobs, place_inputs, require_objects, step_inputs, step_settings
from tests.project import make_config

BUCKET = {
    "s3://lab/genome.fa.gz": 400,
    "s3://lab/genome.fa.gz.fai": 10,
    "s3://lab/report.txt": 20,
    "s3://lab/genes.gff": 30,
    "s3://lab/in.vcf.gz": 50,
    "s3://lab/in.vcf.gz.tbi": 5,
    "s3://lab/models/large": 3_000_000_000,
}


class Flagged(str):
    """A text with flags, as Snakemake's functions return it."""

    flags: dict[str, Any]


def flag(text: str, **flags: object) -> Flagged:
    flagged = Flagged(text)
    flagged.flags = {**getattr(text, "flags", {}), **flags}
    return flagged


class Stored:
    """An object of a storage plugin."""

    def __init__(self, url: str, objects: dict[str, int]) -> None:
        self.url, self.objects = url, objects

    def exists(self) -> bool:
        return self.url in self.objects

    def size(self) -> int:
        return self.objects[self.url]


class Plugins:
    """Snakemake's `storage` with one bucket and a file system."""

    def __init__(self, objects: dict[str, int]) -> None:
        self.objects = objects

    def __call__(self, url: str) -> str:
        if not url.startswith("s3://"):
            raise ValueError(f"No storage provider found for query {url}.\nMore lines.")
        return flag(f"disk/s3/{url[5:]}", storage_object=Stored(url, self.objects))

    def fs(self, path: str) -> str:
        return flag(f"disk/fs/{path}", storage_object=Stored(path, self.objects))


def user_files(objects: dict[str, int] = BUCKET, provider: str | None = None) -> UserFiles:
    return UserFiles(
        local=lambda path: flag(path, local=True),
        plugins=Plugins(objects),
        ancient=lambda path: flag(path, ancient=True),
        default_provider=provider,
    )


@pytest.fixture(autouse=True)
def without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "{}")


def load(change: Callable[[dict[str, Any]], object] = lambda _: None) -> RunConfig:
    parts = make_config(
        reference={
            "fasta": "s3://lab/genome.fa.gz",
            "assembly_report": "s3://lab/report.txt",
            "gff": "s3://lab/genes.gff",
        },
        model={"checkpoint": "s3://lab/models/large"},
        variant_set={"variants": "s3://lab/in.vcf.gz", "regions": ["c:1-9"]},
    )
    change(parts)
    return load_config(parts)


def test_a_config_keeps_its_urls_also_when_it_is_written_for_a_job() -> None:
    written = json.loads(dump_config(load()))
    assert written["references"]["g"] == {
        "fasta": "s3://lab/genome.fa.gz",
        "assembly_report": "s3://lab/report.txt",
        "gff": "s3://lab/genes.gff",
    }
    assert written["variant_sets"]["v"]["variants"] == "s3://lab/in.vcf.gz"
    assert load_config(written) == load()


@pytest.mark.parametrize("path", ["a/b.vcf", "/a:b/c", "c:b.vcf", "./s3/x", "C:/x"])
def test_a_path_is_no_url(path: str) -> None:
    assert find_url(Path(path)) is None
    assert as_written(Path(path)) == str(Path(path))


@pytest.mark.parametrize("url", ["s3://lab//x.vcf", "s3://lab/a/../x.vcf", "s3://lab/./x.vcf"])
def test_a_url_that_storage_spells_otherwise_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"variant_sets\.v\.variants: a URL may not contain"):
        load(lambda parts: parts["variant_sets"]["v"].update(variants=url))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("output", {"output": "s3://lab/results"}),
        ("run.store", {"run": {"store": "s3://lab/store"}}),
        ("run.model_cache", {"run": {"model_cache": "s3://lab/cache"}}),
    ],
)
def test_what_is_written_is_named_by_a_path(key: str, values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"config: {key}: expected a path in a file system .*s3:"):
        load(lambda parts: parts.update(values))


def test_the_first_of_several_files_has_no_url() -> None:
    with pytest.raises(InputError, match=r"models\.m\.checkpoint: .* join them to one file"):
        load(lambda parts: parts["models"]["m"].update(checkpoint="s3://lab/x.pt.part0"))


def test_a_command_by_hand_refuses_a_url(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(dump_config(load()))
    with pytest.raises(InputError, match=r"references\.g\.fasta: s3://.* only the workflow"):
        load_config(file, look_for_files=False)


def test_the_rules_take_urls_from_storage_and_the_jobs_read_the_copies(tmp_path: Path) -> None:
    config = load()
    placed = place_inputs(config, user_files())
    # The index that exists is an input too, and its time does not count.
    assert placed.reference["v"] == [
        "disk/s3/lab/genome.fa.gz",
        "disk/s3/lab/report.txt",
        "disk/s3/lab/genome.fa.gz.fai",
    ]
    assert placed.reference["v"][2].flags["ancient"]  # type: ignore[attr-defined]
    assert placed.variants["v"] == ["disk/s3/lab/in.vcf.gz", "disk/s3/lab/in.vcf.gz.tbi"]
    assert placed.checkpoint["s"] == ["disk/s3/lab/models/large"]
    assert placed.stored["v"] == ["disk/s3/lab/genes.gff"]
    file = tmp_path / "config.json"
    file.write_text(dump_config(config))
    in_job = load_config(file, look_for_files=False)
    assert resolve_split(in_job, "v").variants == Path("disk/s3/lab/in.vcf.gz")
    reference = resolve_windows(in_job, "v", "s").reference
    assert reference.fasta == Path("disk/s3/lab/genome.fa.gz")
    assert reference.assembly_report == Path("disk/s3/lab/report.txt")
    assert resolve_annotate(in_job, "v").gff == Path("disk/s3/lab/genes.gff")
    assert resolve_score(in_job, "s").model.checkpoint == Path("disk/s3/lab/models/large")
    # What a file states about its origin is the URL.
    assert as_written(resolve_split(in_job, "v").variants) == "s3://lab/in.vcf.gz"
    assert resolve_annotate(in_job, "v").source.startswith("s3://lab/genes.gff;")


def test_the_place_of_the_copies_runs_nothing_again() -> None:
    config = load()
    before = step_settings(config)
    place_inputs(config, user_files())
    assert read_copies()
    assert step_settings(config) == before


def test_files_of_a_file_system_are_read_where_they_are(tmp_path: Path) -> None:
    config = load_config(make_config(tmp_path), look_for_files=False)
    publish_copies({"left": "over"})
    files = user_files()
    placed = place_inputs(config, files)
    assert placed == step_inputs(config)
    assert placed.variants["v"][0].flags == {"local": True}  # type: ignore[attr-defined]
    assert read_copies() == {}


def test_the_plugin_fs_copies_files_of_a_file_system_too(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    config = load_config(make_config(tmp_path), look_for_files=False)
    placed = place_inputs(config, user_files({}, provider="fs"))
    assert placed.variants["v"] == [f"disk/fs/{tmp_path}/in.vcf"]
    assert placed.checkpoint["s"] == [
        f"disk/fs/{folder}/config.json",
        f"disk/fs/{folder}/model.safetensors",
    ]
    assert local_copy(folder) == Path(f"disk/fs/{folder}")
    assert resolve_score(config, "s").model.checkpoint == Path(f"disk/fs/{folder}")


def test_an_object_that_is_missing_is_named_before_any_job() -> None:
    objects = {url: size for url, size in BUCKET.items() if not url.endswith(".gff")}
    with pytest.raises(InputError, match=r"references\.g\.gff: s3://lab/genes\.gff does not exist"):
        require_objects(load(), user_files(objects))
    require_objects(load(), user_files())


def test_what_a_plugin_raises_becomes_one_line() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["variant_sets"]["v"]["variants"] = "gs://lab/in.vcf.gz"

    with pytest.raises(InputError) as caught:
        require_objects(load(change), user_files())
    assert str(caught.value) == (
        "variant_sets.v.variants: gs://lab/in.vcf.gz: No storage provider found for query "
        "gs://lab/in.vcf.gz."
    )


def test_the_memory_of_a_job_follows_the_size_of_a_stored_checkpoint() -> None:
    class Wildcards:
        variant_set, scoring, calibration, scatteritem = "v", "s", "", "1-of-1"

    config = load(lambda parts: parts["models"]["m"].update(gpus=1))
    files = user_files()
    place_inputs(config, files)
    memory = [
        Jobs(config, size=size).score_mem_mb(Wildcards(), {}, 1)  # type: ignore[arg-type]
        for size in (files.size, lambda _: 0)
    ]
    assert memory[0] - memory[1] == pytest.approx(1.25 * 3_000, abs=1)
