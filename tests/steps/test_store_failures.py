"""A run with a store: writing to it, interruptions, files of other runs.

The oracle is a run without a store.
"""

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.errors import InputError
from evo2_tasks.io import files as files_module
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import (
    hits_file,
    hits_run_file,
    shard_run_file,
)
from evo2_tasks.table import store_writer
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.store import Store
from tests.steps.store_runs import (
    GENOME,
    A,
    B,
    Job,
    change_json,
    contents,
    make_job,
    require_close,
)

# --- the store is written


def test_store_write_false_writes_nothing(tmp_path: Path, checkpoint: Path, store: Path) -> None:
    before = contents(store)
    make_job(tmp_path / "job", checkpoint, A + B, store, write=False).run()
    assert contents(store) == before
    make_job(tmp_path / "none", checkpoint, B, tmp_path / "none-yet", write=False).run()
    assert not (tmp_path / "none-yet").exists()


def test_a_run_adds_only_its_new_scores(tmp_path: Path, checkpoint: Path, store: Path) -> None:
    before = contents(store)
    make_job(tmp_path / "job", checkpoint, A + B, store, shards=2).run()
    new = {name for name in contents(store) if name not in before}
    assert before.items() <= contents(store).items()
    rows = sum(pq.ParquetFile(store / name).metadata.num_rows for name in new)
    assert rows == len(B)
    again = make_job(tmp_path / "again", checkpoint, B + A, store)
    again.run()
    assert again.run_json["tokens_run"] == 0


def test_the_store_is_removed_between_lookup_and_score(
    tmp_path: Path, checkpoint: Path, store: Path
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A + B, store)
    job.place().look_up()
    shutil.rmtree(store)
    table = job.score().merge()
    require_close(table, make_job(tmp_path / "plain", checkpoint, A + B).run())
    assert job.run_json["reused"] == len(A)
    again = make_job(tmp_path / "again", checkpoint, B, store)
    again.run()
    assert again.run_json["tokens_run"] == 0, "the new scores, and the model, are in the new store"


def fail_in(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: int) -> None:
    """Let a function of ``io/files.py`` fail for the paths in a folder."""
    function = getattr(files_module, name)

    def fail(path: Path, *arguments: Any) -> Any:
        if path == folder or folder in path.parents:
            raise OSError(code, os.strerror(code))
        return function(path, *arguments)

    monkeypatch.setattr(files_module, name, fail)


@pytest.mark.parametrize("what", ["read-only", "full", "full after the model"])
def test_a_store_that_cannot_be_written_is_one_warning(
    tmp_path: Path,
    checkpoint: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    store = tmp_path / "store"
    job = make_job(tmp_path / "job", checkpoint, A, store)
    job.place().look_up()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        if what == "read-only":
            fail_in(patch, store, "temporary_name", errno.EROFS)
        if what == "full":
            fail_in(patch, store, "_sync", errno.ENOSPC)
        if what == "full after the model":
            patch.setattr(Store, "_state_signature", lambda *_: None)
            patch.setattr(store_writer, "publish_file", _fill_disk)
        job.score()
    warnings = [line for line in caplog.messages if "the new scores are not in the store" in line]
    assert len(warnings) == 1
    assert "\n" not in warnings[0]
    assert ("set run.store_write: false" in warnings[0]) == (what == "read-only")
    require_close(job.merge(), make_job(tmp_path / "plain", checkpoint, A).run())
    assert not [path for path in store.rglob("*.parquet") if path.is_file()]


def _fill_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_store_that_cannot_be_read_is_one_line(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "store").mkdir()
    job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store").place()
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("")
    with pytest.raises(InputError, match="store") as error:
        job.look_up()
    assert "\n" not in str(error.value)


def test_two_runs_at_once_fill_one_store(tmp_path: Path, checkpoint: Path) -> None:
    """Both look up before one of them writes, so that both score and write the same alleles."""
    store = tmp_path / "store"
    jobs = [make_job(tmp_path / name, checkpoint, A, store) for name in ("one", "two")]
    for job in jobs:
        job.place().look_up()
    tables = [job.score().merge() for job in jobs]
    require_close(*tables)
    third = make_job(tmp_path / "three", checkpoint, A, store)
    require_close(third.run(), tables[0])
    assert third.run_json["tokens_run"] == 0
    assert third.reused == [(record, 1) for record in range(len(A))]


# --- interruptions, and files of other runs


@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_killed_job_goes_on_with_its_hits(
    tmp_path: Path, checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    run = {"batch_tokens": 200, "part_tokens": 200}
    whole = make_job(tmp_path / "whole", checkpoint, A + B, store, write=False, run=run)
    whole.run()
    job = make_job(tmp_path / "job", checkpoint, A + B, store, run=run)
    job.place().look_up()
    (files,) = job.files
    checks = iter(range(1, 1_000))

    def check(_: Interruption) -> None:
        if next(checks) == at:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            job.score()
    assert not files.scores.exists()
    before = contents(store)
    job.score()
    stated = json.loads(shard_run_file(files.scores).read_text())
    assert (stated["parts_kept"] > 0) == (at > 1)
    assert files.scores.read_bytes() == whole.files[0].scores.read_bytes()
    new = [name for name in contents(store) if name not in before]
    assert sum(pq.ParquetFile(store / name).metadata.num_rows for name in new) == len(B)


def test_parts_of_other_hits_are_not_mixed_in(
    tmp_path: Path, checkpoint: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is killed, the store gets more scores, and the shard is looked up again."""
    run = {"batch_tokens": 200, "part_tokens": 200}
    empty = tmp_path / "store"
    job = make_job(tmp_path / "job", checkpoint, A + B, empty, run=run)
    job.place().look_up()
    checks = iter(range(1, 1_000))

    def check(_: Interruption) -> None:
        if next(checks) == 9:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            job.score()
    assert [*parts_folder(job.files[0].scores).glob("*.parquet")]
    shutil.copytree(filled, empty, dirs_exist_ok=True)
    (found,) = job.look_up()
    assert found.hits == len(A)
    table = job.score().merge()
    assert job.run_json["shards"][0]["parts_kept"] == 0
    require_close(table, make_job(tmp_path / "plain", checkpoint, A + B).run())


def test_a_finished_shard_keeps_its_parts_when_a_store_is_added(
    tmp_path: Path, checkpoint: Path
) -> None:
    """The parts of a job without a store are those of the same job with an empty store."""
    make_job(tmp_path / "job", checkpoint, A).place().score()
    job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store")
    job.look_up()
    job.score()
    stated = json.loads(shard_run_file(job.files[0].scores).read_text())
    assert stated["parts_kept"] == stated["parts"] > 0
    again = make_job(tmp_path / "again", checkpoint, A, tmp_path / "store", write=False)
    again.run()
    assert again.run_json["tokens_run"] == 0


SPOILED: dict[str, str] = {
    "other windows": "was made from another version of",
    "other settings": "was made with other settings than those of the config: dtype",
    "no signature": "the metadata contains no signature",
    "other columns": "has no column 'llr_rev'",
    "other types": "column llr_fwd has the type string",
    "cut": "cannot be read",
    "bytes": "cannot be read",
    "no JSON": "hits/1-of-1.json",
    "JSON of another file": "was made from another version of",
    "JSON of another version": "alleles: is missing",
    "names of contigs": "contigs in the metadata",
    "more alleles": "has alleles that its windows do not have",
    "not a file": "hits/1-of-1.parquet",
}


@pytest.mark.parametrize("how", SPOILED)
def test_hits_of_another_run_are_one_line(
    tmp_path: Path, checkpoint: Path, filled: Path, how: str
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False)
    job.place().look_up()
    hits = hits_file(job.files[0].scores)
    spoil(how, job, checkpoint, hits, filled)
    with pytest.raises(InputError) as error:
        job.score()
    assert SPOILED[how] in str(error.value)
    assert "\n" not in str(error.value)
    assert not job.files[0].scores.exists()


def spoil(how: str, job: Job, checkpoint: Path, hits: Path, store: Path) -> None:
    """Put something else in the place of hits."""
    stated, table = hits_run_file(hits), pq.read_table(hits)
    if how in ("other windows", "other settings"):
        model = {"dtype": "bfloat16"} if how == "other settings" else {}
        lines = A if how == "other settings" else A[1:]
        other = make_job(
            job.folder.with_name("other"), checkpoint, lines, store, write=False, model=model
        )
        other.place().look_up()
        for path in (hits, stated):
            shutil.copy(hits_file(other.files[0].scores).with_name(path.name), path)
        return
    if how == "cut":
        hits.write_bytes(hits.read_bytes()[:-100])
    elif how == "bytes":
        data = bytearray(hits.read_bytes())
        data[40:60] = bytes(20)
        hits.write_bytes(data)
        change_json(stated, table_digest=digest_file(hits))
    elif how == "no JSON":
        stated.unlink()
    elif how == "not a file":
        hits.unlink()
        hits.mkdir()
    elif how == "JSON of another file":
        change_json(stated, table_digest="0" * 64)
    elif how == "JSON of another version":
        stated.write_text(json.dumps({"hits": 1}))
    else:
        if how == "no signature":
            table = table.replace_schema_metadata(None)
        elif how == "other columns":
            table = table.drop_columns(["llr_rev"])
        elif how == "other types":
            text = pa.array(["1"] * table.num_rows)
            table = table.set_column(table.schema.get_field_index("llr_fwd"), "llr_fwd", text)
        elif how == "names of contigs":
            metadata = table.schema.metadata | {b"evo2_tasks.contigs": b'{"chr1": "../x"}'}
            table = table.replace_schema_metadata(metadata)
        elif how == "more alleles":
            more = table.slice(0, 1).set_column(0, table.schema.field(0), pa.array([999]))
            table = pa.concat_tables([table, more.cast(table.schema)])
        pq.write_table(table, hits)
        change_json(stated, table_digest=digest_file(hits))


def test_another_model_does_not_use_the_hits(
    tmp_path: Path, checkpoint: Path, filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint is replaced after its files were identified."""
    own, store = tmp_path / "own", tmp_path / "store"
    shutil.copytree(checkpoint, own)
    shutil.copytree(filled, store)
    job = make_job(tmp_path / "job", own, A + B, store)
    job.place()
    (found,) = job.look_up()
    assert found.hits == len(A)
    model = Evo2ForCausalLM.from_pretrained(own)
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    model.save_pretrained(own)
    with caplog.at_level(logging.WARNING):
        job.score()
    assert "are not used: they differ from those of this model in weights" in caplog.text
    # The files were digested before they changed: nobody may find these weights by those digests.
    assert "have changed since `identify` has read them" in caplog.text
    require_close(job.merge(), make_job(tmp_path / "plain", own, A + B).run())
    assert job.reused == []
    again = make_job(tmp_path / "again", checkpoint, A, store, write=False)
    require_close(again.run(), make_job(tmp_path / "plain2", checkpoint, A).run())
    assert again.run_json["tokens_run"] == 0


@pytest.mark.parametrize("is_older", [True, False])
def test_another_model_is_opened_although_all_scores_are_known(
    tmp_path: Path,
    checkpoint: Path,
    filled: Path,
    caplog: pytest.LogCaptureFixture,
    is_older: bool,
) -> None:
    """The checkpoint is replaced after its files were identified, also by files that are older."""
    own = tmp_path / "own"
    shutil.copytree(checkpoint, own)
    job = make_job(tmp_path / "job", own, A, filled, write=False)
    (found,) = job.place().look_up()
    assert found.missing == 0
    model = Evo2ForCausalLM.from_pretrained(own)
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    model.save_pretrained(own)
    if is_older:
        for path in own.iterdir():
            os.utime(path, (1e9, 1e9))
    with caplog.at_level(logging.WARNING):
        job.score()
    assert "so the model is opened" in caplog.text
    require_close(job.merge(), make_job(tmp_path / "plain", own, A).run())
    assert job.reused == []


def test_a_checkpoint_that_is_copied_is_not_opened(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(checkpoint, own)
    job = make_job(tmp_path / "job", own, A, filled, write=False)
    job.place().look_up()
    for path in own.iterdir():
        os.utime(path, (1e9, 1e9))
    job.score()
    require_close(job.merge(), make_job(tmp_path / "plain", checkpoint, A).run())
    assert job.run_json["tokens_run"] == 0


LOOKUP_READS = {
    "shards/sequences.parquet": "was made from another version of",
    "shards/split.json": "was made from another version of",
    "s/windows/1-of-1.parquet": "was made from another version of",
    "s/windows/1-of-1.segments.parquet": "was made from another version of",
    "m.identity.json": "was made with other settings than those of the config: dtype",
}
"""What ``lookup`` reads, and why it refuses the file of another run."""


@pytest.mark.parametrize("file", LOOKUP_READS)
def test_lookup_refuses_a_file_of_another_run(
    tmp_path: Path, checkpoint: Path, filled: Path, file: str
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False).place()
    job.look_up()
    genome = GENOME | {"chr1": GENOME["chr1"][:450] + "A" * 50}
    other = make_job(
        *(tmp_path / "other", checkpoint, A[1:5], filled),
        genome=genome,
        model={"dtype": "bfloat16"},
        write=False,
    )
    other.place().look_up()
    hits_file(job.files[0].scores).unlink()
    shutil.copy(other.folder / file, job.folder / file)
    with pytest.raises(InputError) as error:
        job.look_up(identify=False)
    assert LOOKUP_READS[file] in str(error.value)
    assert "\n" not in str(error.value)
    assert not hits_file(job.files[0].scores).exists()


def test_shards_without_the_digests_of_the_sequences_are_one_line(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    """As an earlier version wrote them."""
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False).place()
    (job.folder / "shards/sequences.parquet").unlink()
    with pytest.raises(InputError, match="evo2-tasks split --config CONFIG --variant-set v --out"):
        job.look_up()


def test_the_documentation_has_what_lookup_compares() -> None:
    page = (Path(__file__).parents[2] / "docs" / "output.md").read_text()
    table = page.partition("## Which file belongs to which")[2].partition("\n- ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    read = {name.strip("`") for name, _, by in rows if "`lookup`" in by}
    names = {"{shard}": "1-of-1", "{variant_set}/": "", "{scoring}": "s", "models/{model}": "m"}
    for name, value in names.items():
        read = {one.replace(name, value) for one in read}
    assert read == {*LOOKUP_READS}
