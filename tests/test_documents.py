"""Every command that reads a JSON file of the results, with one value of another type at a time.

A command ends as it would without the change, or with exit code 2 and one line that names the file.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.verify import write_expected
from evo2_tasks.config.resolve import resolve_model
from evo2_tasks.config.schema import ModelConfig, config_schema
from evo2_tasks.cost.rates import PUBLISHED_RATES
from evo2_tasks.genome import formats
from evo2_tasks.io import files
from evo2_tasks.layout import RUN, SCORES, SHARDS, SPLIT, TABLE, WINDOWS
from evo2_tasks.table import documents
from evo2_tasks.table.documents import Run, ShardRun, Split
from evo2_tasks.table.provenance import PREFIX
from tests.mutations import changes_of, mutate
from tests.project import HEADER, run_steps, write_project, write_shard

STEP = 3
"""Of the changes, every third is tried: of each value of a file a few, and each kind of change."""


@dataclass(frozen=True)
class Finished:
    """A finished run of one shard, and the commands that read its files."""

    folder: Path
    config: Path

    @property
    def of_set(self) -> Path:
        return self.folder / "results" / "v"

    @property
    def split(self) -> Path:
        return self.of_set / SHARDS / SPLIT

    @property
    def shard(self) -> Path:
        return self.of_set / "s" / SCORES / "1-of-1.json"

    @property
    def table(self) -> Path:
        return self.of_set / "s" / TABLE

    @property
    def run(self) -> Path:
        return self.of_set / "s" / RUN

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def step(self, name: str, *arguments: object) -> list[str]:
        return [name, "--config", str(self.config), "--variant-set", "v", *map(str, arguments)]

    def windows(self) -> list[str]:
        shard = self.of_set / SHARDS / "1-of-1.parquet"
        files = ("--shard", shard, "--split", self.split)
        written = ("--out", self.out / "w.parquet", "--segments", self.out / "s.parquet")
        return self.step("windows", "--scoring", "s", *files, *written)

    def merge(self) -> list[str]:
        of_scoring = self.of_set / "s"
        folders = ("--windows", of_scoring / WINDOWS, "--scores", of_scoring / SCORES)
        written = ("--out", self.out / "t.parquet", "--run-json", self.out / "r.json")
        return self.step("merge", "--scoring", "s", "--split", self.split, *folders, *written)

    def status(self) -> list[str]:
        return ["status", str(self.folder / "results")]

    def export(self) -> list[str]:
        return ["export", "--to", "vcf", str(self.table), "--out", str(self.out / "o.vcf.gz")]

    def report(self) -> list[str]:
        return self.step("report", "--results", self.of_set, "--out", self.out / "r.html")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    rows = "".join(f"a\t{pos}\t.\t{'ACGT'[pos % 4 - 1]}\tN\t.\t.\t.\n" for pos in range(90, 110))
    variants = HEADER + rows.replace("\tN\t", "\tGA\t")
    project = write_project(folder, genome={"a": "ACGT" * 50}, variants=variants)
    config = project.load()
    run_steps(config, folder / "results" / "v")
    return Finished(folder, project.config_file)


def take(command: list[str], file: Path, what: str) -> bool:
    """Run a command in this process; gives whether it accepted its files.

    If it did not, it has to say why in one line that names the file.
    """
    result = CliRunner().invoke(main, command)
    told = f"{command[0]}, {what}: {result.exit_code} {result.stderr} {result.exception!r}"
    assert result.exit_code in (0, 2), told
    if result.exit_code == 0:
        return True
    errors = [line for line in result.stderr.splitlines() if "ERROR" in line]
    assert len(errors) == 1, told
    assert str(file) in errors[0], told
    assert "Traceback" not in result.stderr, told
    return False


@pytest.mark.parametrize(
    ("file", "reads", "result"),
    [
        ("split", Finished.windows, "w.parquet"),
        ("split", Finished.merge, "t.parquet"),
        ("split", Finished.status, None),
        ("shard", Finished.merge, "t.parquet"),
        ("shard", Finished.status, None),
        ("run", Finished.export, "o.vcf.gz"),
        ("run", Finished.report, "r.html"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_command_refuses_a_changed_file_or_gives_what_it_gave(
    finished: Finished,
    file: str,
    reads: Callable[[Finished], list[str]],
    result: str | None,
) -> None:
    changed: Path = getattr(finished, file)
    command = reads(finished)
    assert take(command, changed, "unchanged")
    written = finished.out / (result or "none")
    expected = written.read_bytes() if result else b""
    num_refused = 0
    for what in changes_of(changed, step=STEP):
        written.unlink(missing_ok=True)
        is_accepted = take(command, changed, what)
        num_refused += not is_accepted
        assert not result or written.exists() == is_accepted, what
        if is_accepted and result and result != "r.html":
            assert written.read_bytes() == expected, what
    assert num_refused > 20


@pytest.mark.parametrize(
    ("document", "file"), [(Split, "split"), (ShardRun, "shard"), (Run, "run")]
)
def test_a_file_has_the_keys_of_its_record_and_no_others(
    finished: Finished, document: type, file: str, tmp_path: Path
) -> None:
    path: Path = getattr(finished, file)
    read = document.read(path)  # type: ignore[attr-defined]
    assert not read.model_extra
    read.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes() or file == "shard"


def test_a_split_can_have_as_many_shards_as_a_config_can_ask_for() -> None:
    most = json.loads(config_schema())["properties"]["shards"]["maximum"]
    assert most == documents.MOST_SHARDS


def test_the_formats_are_those_of_the_readers() -> None:
    assert get_args(documents.Format) == get_args(formats.Format)


def test_keys_of_a_later_version_are_kept(finished: Finished, tmp_path: Path) -> None:
    values = json.loads(finished.run.read_text())
    values["later"] = {"a": [1, None]}
    values["shards"][0]["later"] = 1.5
    (tmp_path / RUN).write_text(json.dumps(values))
    run = Run.read(tmp_path / RUN)
    assert run.as_json()["later"] == {"a": [1, None]}
    assert run.as_json()["shards"][0]["later"] == 1.5


def change_signature(source: Path, target: Path, signature: str) -> None:
    table = pq.read_table(source)
    metadata = dict(table.schema.metadata) | {f"{PREFIX}signature".encode(): signature.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), target)


def test_a_changed_signature_is_refused_or_shown(finished: Finished, tmp_path: Path) -> None:
    stored = pq.read_schema(finished.table).metadata[f"{PREFIX}signature".encode()].decode()
    other = tmp_path / TABLE
    broken = ["", "{", "[" * 10_000, "[]", '{"a": NaN}', "1" * 5_000]
    changes = [*islice(mutate(stored), 0, None, STEP), *((text[:9], text) for text in broken)]
    accepted = 0
    for what, text in changes:
        change_signature(finished.table, other, text)
        for command in (["show", str(other)], ["export", "--to", "tsv", str(other)]):
            accepted += take(command, other, what)
    assert 0 < accepted < 2 * len(changes)


def test_changed_rates_are_refused_or_used(finished: Finished, tmp_path: Path) -> None:
    rates = tmp_path / "rates.json"
    rates.write_text(PUBLISHED_RATES.read_text())
    config = tmp_path / "config.json"
    values = json.loads(finished.config.read_text())
    values["models"]["m"] = {"checkpoint": "evo2-mini"}
    config.write_text(json.dumps(values))
    command = ["plan", "--config", str(config), "--rates", str(rates)]
    found = {take(command, rates, what) for what in changes_of(rates, step=4)}
    assert found == {True, False}


def test_a_changed_checkpoint_config_is_refused_or_planned(
    finished: Finished, checkpoint: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    changed = model / "config.json"
    changed.write_text((checkpoint / "config.json").read_text())
    config = tmp_path / "run.json"
    values = json.loads(finished.config.read_text())
    values["models"]["m"] = {"checkpoint": str(model)}
    config.write_text(json.dumps(values))
    command = ["plan", "--config", str(config)]
    found = {take(command, changed, what) for what in changes_of(changed, step=7)}
    assert found == {True, False}


def test_changed_expected_values_are_refused_or_compared(tmp_path: Path) -> None:
    expected = tmp_path / "expected.json"
    settings = resolve_model("models.m", "m", ModelConfig(checkpoint=Path("evo2-mini")))
    write_expected(settings, out=expected, short=True, threads=1)
    command = ["verify", "evo2-mini", "--expected", str(expected), "--short", "--threads", "1"]
    for what in changes_of(expected, step=13):
        result = CliRunner().invoke(main, command)
        told = f"{what}: {result.stderr} {result.exception!r}"
        assert result.exit_code in (0, 2), told
        errors = [line for line in result.stderr.splitlines() if "ERROR" in line]
        assert len(errors) == (1 if result.exit_code else 0), told


def test_a_changed_part_is_computed_again(tmp_path: Path, checkpoint: Path) -> None:
    shard = write_shard(tmp_path, checkpoint, num_alleles=8)
    out = tmp_path / "scores" / "1-of-1.parquet"
    whole = shard.score(out)
    scores = out.read_bytes()
    (part,) = out.with_suffix(".parts").glob("*.parquet")
    kept = part.read_bytes()
    file = pq.ParquetFile(part)
    table = file.read_row_group(0)
    name, scored = table.schema.names[4], table.schema.field(4)
    for what, text in islice(mutate(table.column("stated")[0].as_py()), 0, None, 5):
        index = table.schema.get_field_index("stated")
        changed = table.set_column(index, table.schema.field(index), [[text]])
        pq.write_table(changed, part)
        again = shard.score(out)
        assert out.read_bytes() == scores, what
        assert again["alleles_tried"] == whole["alleles_tried"] or "alleles_tried" in what
    for what, changed in {
        "no rows": table.slice(0, 0),
        "a null": table.set_column(4, scored, pa.array([None], scored.type)),
        "fewer scores": table.set_column(4, scored, pa.array([[1.0]], scored.type)),
        "another type": table.set_column(4, name, pa.array(["x"])),
    }.items():
        pq.write_table(changed, part)
        shard.score(out)
        assert out.read_bytes() == scores, what
    part.write_bytes(kept)


def test_a_file_larger_than_any_is_not_read(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.MOST_JSON_BYTES >= 2**24
    monkeypatch.setattr(files, "MOST_JSON_BYTES", 100)
    assert not take(finished.merge(), finished.split, "101 bytes")
