"""A run with a store: kinds of devices, the table and the counts of merge, what identifies a model.

The oracle is a run without a store.
"""

import json
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.config.resolve import resolve_identify
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    HITS,
    REUSED,
    hits_file,
    hits_run_file,
)
from evo2_tasks.runtime import devices, models, scoring_jobs
from evo2_tasks.steps import identify as identify_step
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models, write_model
from tests.steps.store_runs import (
    A,
    B,
    change_json,
    contents,
    make_job,
)

# --- kinds of devices


def test_scores_of_another_kind_of_device_are_used_only_if_allowed(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, strict = tmp_path / "store", {"allow_mixed_devices": False}
    with monkeypatch.context() as patch:
        for module in (scoring_jobs, devices, models):
            patch.setattr(module, "device_class", lambda _: "another device")
        make_job(tmp_path / "first", checkpoint, A, store, run=strict).run()
    mixed = make_job(tmp_path / "mixed", checkpoint, A + B, store, write=False)
    mixed.run()
    assert mixed.run_json["reused_devices"] == {"another device": len(A)}
    own = make_job(tmp_path / "own", checkpoint, A + B, store, run=strict)
    own.run()
    assert own.run_json["reused"] == 0
    assert own.reused == []
    # Now the store has the scores of both kinds, and each job finds its own.
    again = make_job(tmp_path / "again", checkpoint, A + B, store, run=strict)
    again.run()
    assert again.run_json["tokens_run"] == 0
    [kind] = again.run_json["devices"]
    assert again.run_json["reused_devices"] == {kind: len(A + B)}
    with monkeypatch.context() as patch:
        for module in (scoring_jobs, devices, models):
            patch.setattr(module, "device_class", lambda _: "another device")
        other = make_job(tmp_path / "other", checkpoint, A + B, store, run=strict, write=False)
        other.run()
        assert other.run_json["reused_devices"] == {"another device": len(A)}


def test_a_device_with_wrong_canaries_adds_nothing_to_the_store(
    tmp_path: Path,
    checkpoint: Path,
    store: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before `merge` compares the devices, each job compares itself with the first of the store."""
    before = contents(store)
    score_canaries = scoring_jobs.score_canaries

    def shift(model: Evo2ForCausalLM) -> list[float | None]:
        return [one + 0.01 for one in score_canaries(model) if one is not None]

    job = make_job(tmp_path / "job", checkpoint, A + B, store)
    job.place().look_up()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(scoring_jobs, "score_canaries", shift)
        job.score()
    assert "canary 1 has the score" in caplog.text
    assert "One of the two devices gives wrong scores" in caplog.text
    assert contents(store) == before
    assert job.score().merge().status.tolist().count("scored") > len(B)
    assert contents(store) != before


def test_a_score_job_without_lookup_says_so(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store").place()
    with caplog.at_level(logging.WARNING):
        job.score()
    assert "hits/1-of-1.parquet: does not exist, so the store is not used" in caplog.text
    assert not (tmp_path / "store").exists()
    job.merge()
    assert job.reused == []
    assert "reused" not in job.run_json


def test_merge_refuses_reused_scores_of_another_kind_of_device(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        for module in (scoring_jobs, devices, models):
            patch.setattr(module, "device_class", lambda _: "another device")
        make_job(tmp_path / "first", checkpoint, A, store).run()
    job = make_job(tmp_path / "job", checkpoint, A + B, store)
    job.place().look_up()
    job.score()
    strict = make_job(
        tmp_path / "job", checkpoint, A + B, store, run={"allow_mixed_devices": False}
    )
    with pytest.raises(InputError, match=r"another device \(14 scores of the store\)"):
        strict.merge()


# --- merge


def test_merge_needs_the_hits_of_reused_scores(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False)
    job.run()
    shutil.rmtree(job.folder / "s" / HITS)
    with pytest.raises(InputError, match="is missing"):
        job.merge()


def test_merge_refuses_other_hits_than_those_of_the_scores(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A + B, filled, write=False)
    job.run()
    hits = hits_file(job.files[0].scores)
    table = pq.read_table(hits)
    pq.write_table(table.slice(1), hits)
    change_json(hits_run_file(hits), table_digest=digest_file(hits))
    with pytest.raises(InputError, match="was made from another version of"):
        job.merge()


def test_reused_alleles_are_listed_in_the_order_of_the_table(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    lines = [*B, *A][::-1]
    parts: dict[str, Any] = {"variant_set": {"sort_by_position": True}, "shards": 3}
    job = make_job(tmp_path / "job", checkpoint, lines, filled, write=False, **parts)
    table = job.run()
    known = {line[:2] for line in A}
    keys = zip(table.contig, table.pos, table.record, table.allele, strict=True)
    assert job.reused == [(record, allele) for contig, pos, record, allele in keys
                          if (contig, pos) in known]  # fmt: skip
    reused = pq.read_metadata(job.folder / "s" / REUSED).metadata
    assert reused[b"evo2_tasks.source"].decode() == digest_file(job.folder / "s/scores.parquet")


def test_a_store_that_is_taken_out_of_the_config(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    """Finished shards keep their reused scores, and merge lists them; a new run lists nothing."""
    make_job(tmp_path / "job", checkpoint, A, filled, write=False).run()
    job = make_job(tmp_path / "job", checkpoint, A)
    job.merge()
    assert len(job.reused) == len(A)
    job.score().merge()
    assert not (job.folder / "s" / REUSED).exists()
    assert "reused" not in job.run_json


# --- identify


def test_what_identifies_a_model(tmp_path: Path, checkpoint: Path) -> None:
    """The digests are those of sha256sum; each setting of the arithmetic gives another key."""
    job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store")
    out = tmp_path / "id.json"
    keys = set()
    for model in ({}, {"dtype": "bfloat16"}, {"fp8": "off"}, {"allow_without_fp8": True}):
        job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store", model=model)
        identify_step.identify(resolve_identify(job.project.load(), "m"), out=out)
        stated = json.loads(out.read_text())
        assert stated["weights"] is None
        done = subprocess.run(
            ["sha256sum", *stated["key"]["files"]], cwd=checkpoint, capture_output=True, text=True
        )
        expected = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
        assert stated["key"]["files"] == expected
        assert {*expected} >= {"config.json", "model.safetensors"}
        keys.add(ModelKey.parse(stated["key"], "key").digest())
    assert len(keys) == 4


def test_identify_states_what_the_store_knows(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False)
    job.run()
    stated = json.loads((job.folder / "m.identity.json").read_text())
    assert stated["weights"] == job.run_json["signature"]["weights"]
    assert stated["fp8"] == job.run_json["signature"]["fp8"]
    assert len(read_models(filled, ModelKey.parse(stated["key"], "key"))) == 1


@pytest.mark.parametrize("other", [{"fp8": "emulate"}, {"weights": "1" * 64}])
def test_a_model_that_the_store_knows_in_two_ways_is_not_found(
    tmp_path: Path,
    checkpoint: Path,
    store: Path,
    caplog: pytest.LogCaptureFixture,
    other: dict[str, str],
) -> None:
    (path,) = (store / "models").rglob("*.json")
    record = ModelRecord.read(path).model_copy(update=other)
    write_model(store, record)
    job = make_job(tmp_path / "job", checkpoint, A, store, write=False)
    with caplog.at_level(logging.WARNING):
        (found,) = job.place().look_up()
    assert found.hits == 0
    assert found.needs_model
    said = "Set models.m.fp8" if "fp8" in other else "several digests of the weights"
    assert said in caplog.text


def test_a_store_that_knows_the_model_later_is_asked_again(
    tmp_path: Path, checkpoint: Path
) -> None:
    """In one results folder, the model is identified once."""
    store = tmp_path / "store"
    job = make_job(tmp_path / "job", checkpoint, A, store)
    job.run()
    (found,) = job.look_up(identify=False)
    assert found.hits == found.alleles == len(A)


def test_an_identity_of_other_settings_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    job = make_job(tmp_path / "job", checkpoint, A, tmp_path / "store")
    job.place().look_up()
    other = make_job(
        tmp_path / "job", checkpoint, A, tmp_path / "store", model={"dtype": "bfloat16"}
    )
    with pytest.raises(InputError, match="was made with other settings"):
        other.look_up(identify=False)
