"""The audit of a horizon in a run with a store: whole windows always run, scores are reused."""

import json
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config.resolve import resolve_audit, resolve_merge_audit, resolve_readouts
from evo2_tasks.layout import (
    AUDIT,
    AUDIT_RUN,
    AUDITED,
    READOUTS,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
)
from evo2_tasks.steps import audit as audit_step
from evo2_tasks.steps import merge_audit as merge_audit_step
from evo2_tasks.steps import score_readouts as score_readouts_step
from tests.steps.store_runs import A, B, Job, Line, contents, make_job, require_close

HORIZON = {"model": "m", "window_length": 64, "horizon": 8}


def run_audit(job: Job) -> Any:
    """A run with an audit, from ``split`` to ``merge``; gives the table."""
    config, work = job.project.load(), job.folder / "s"
    job.place()
    if config.run.store is not None:
        job.look_up()
    split_file, windows = job.folder / SHARDS / SPLIT, work / WINDOWS
    audit_step.audit(
        resolve_audit(config, "v", "s"),
        split_file=split_file,
        windows_folder=windows,
        out=work / AUDITED,
    )
    for files in job.files:
        score_readouts_step.score_readouts(
            resolve_readouts(config, "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            out=files.scores,
            readouts=work / READOUTS / files.scores.stem,
            audited=work / AUDITED,
            threads=1,
        )
    merge_audit_step.merge_audit(
        resolve_merge_audit(config, "v", "s"),
        split_file=split_file,
        windows_folder=windows,
        audited_folder=work / AUDITED,
        scores_folder=work / SCORES,
        readouts_folder=work / READOUTS,
        out=work / AUDIT,
        run_json=work / AUDIT_RUN,
    )
    return job.merge()


def make_audit(folder: Path, checkpoint: Path, lines: list[Line], store: Path | None) -> Job:
    scorings = {"s": {**HORIZON, "audit": 0.5}}
    return make_job(folder, checkpoint, lines, store, scorings=scorings, shards=2)


def test_whole_windows_run_and_scores_are_reused(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    plain = make_audit(tmp_path / "plain", checkpoint, A + B, None)
    expected = run_audit(plain)
    # A run without an audit has the same signature, so that its scores are found.
    make_job(tmp_path / "first", checkpoint, A, store, scorings={"s": HORIZON}).run()
    job = make_audit(tmp_path / "job", checkpoint, A + B, store)
    require_close(run_audit(job), expected)
    stated, of_plain = job.run_json, plain.run_json
    assert stated["reused"] == len(job.reused) == len(A)
    assert 0 < stated["tokens_run"] < of_plain["tokens_run"]
    assert stated["audit"]["tokens_run"] == of_plain["audit"]["tokens_run"] > 0
    audit = Path("s") / AUDIT
    assert (job.folder / audit).read_bytes() == (plain.folder / audit).read_bytes()

    # Now the store has all scores. The audit runs all the same, and adds nothing to the store.
    before = contents(store)
    again = make_audit(tmp_path / "again", checkpoint, A + B, store)
    require_close(run_audit(again), expected)
    assert again.run_json["tokens_run"] == 0
    assert again.run_json["audit"]["tokens_run"] == of_plain["audit"]["tokens_run"]
    assert (again.folder / audit).read_bytes() == (plain.folder / audit).read_bytes()
    assert contents(store) == before

    # An audit that is added to finished scores keeps them, with what they state of the store.
    def refuse(*_: object) -> None:
        raise AssertionError("the scores are finished")

    scores = contents(again.folder / "s" / SCORES)
    with monkeypatch.context() as patch:
        patch.setattr(score_readouts_step, "remove_scores", refuse)
        run_audit(again)
    assert contents(again.folder / "s" / SCORES) == scores
    assert json.loads((again.folder / "s" / "run.json").read_text())["reused"] == len(A + B)
    assert (again.folder / "s" / TABLE).exists()
