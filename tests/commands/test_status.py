"""What `status` reports about runs in progress, finished runs and failed jobs."""

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.status import describe_status, read_status
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import shard_run_file
from evo2_tasks.table.parts import parts_folder, read_usage
from tests.project import (
    HEADER,
    pairs_of_shards,
    run_haplotypes,
    run_steps,
    write_project,
    write_shard,
    write_split,
)
from tests.workflow.rules import read_rules


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of two shards, of which the second has half of its parts."""
    tmp_path = tmp_path_factory.mktemp("half done")
    results = tmp_path / "results"
    for folder in ("windows", "scores"):
        (results / "v" / "s" / folder).mkdir(parents=True)
    write_split(results / "v" / "shards" / "split.json", shards=2, alleles=80)
    shard = write_shard(tmp_path / "shard", Path("evo2-mini"), num_alleles=40)
    for number in (1, 2):
        windows = results / "v" / "s" / "windows" / f"{number}-of-2.parquet"
        windows.write_bytes(shard.files.windows.read_bytes())
    shard.score(results / "v" / "s" / "scores" / "1-of-2.parquet")
    out = results / "v" / "s" / "scores" / "2-of-2.parquet"
    checks = iter(range(1, 1000))

    def stop_late(_self: Interruption) -> None:
        if next(checks) == 15:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interruption, "check", stop_late)
        with pytest.raises(Interrupted):
            shard.score(out)
    return results


@pytest.fixture
def run(tmp_path: Path, half_done: Path) -> Path:
    """A folder whose results a test may change; the jobs wrote their logs just now."""
    shutil.copytree(half_done, tmp_path / "results")
    logs = tmp_path / "results" / "logs" / "score" / "v" / "s"
    logs.mkdir(parents=True)
    (logs / "1-of-2.log").write_text("2026-01-01 00:00:00,000 INFO done\n")
    (logs / "2-of-2.log").write_text("2026-01-01 00:00:00,000 INFO score: half of it\n")
    return tmp_path


def test_an_unfinished_shard_counts_by_its_parts(run: Path) -> None:
    (status,) = read_status(run / "results")
    assert (status.shards, status.shards_done, status.shards_running) == (2, 1, 1)
    one = json.loads((run / "results/v/s/scores/1-of-2.json").read_text())
    windows = digest_file(run / "results/v/s/windows/2-of-2.parquet")
    parts = read_usage(parts_folder(run / "results/v/s/scores/2-of-2.parquet"), windows)
    assert 0 < len(parts) < one["parts"]
    assert status.alleles == 80
    tried = sum(part.alleles_tried for part in parts)
    assert status.alleles_tried == one["alleles_tried"] + tried
    assert status.alleles_done == 40 + tried
    assert one["tokens"] < status.tokens_done < status.tokens == 2 * one["tokens"]
    left = status.tokens - status.tokens_done
    assert status.seconds_left == pytest.approx(left * status.seconds / status.tokens_done)
    assert status.failures == []
    assert not status.is_merged


def test_tokens_of_stored_alleles_are_not_left_to_run(run: Path) -> None:
    """A shard whose scores are all in the store is done without a token."""
    results = run / "results" / "v" / "s"
    (before,) = read_status(run / "results")
    (results / "hits").mkdir()
    found = {"alleles": 40, "hits": 30, "missing": 10, "tokens_missing": 1_000,
             "weights": "0" * 64, "table_digest": "0" * 64}  # fmt: skip
    (results / "hits" / "2-of-2.json").write_text(json.dumps(found))
    (status,) = read_status(run / "results")
    assert status.tokens == before.tokens // 2 + 1_000
    none_left = found | {"hits": 40, "missing": 0, "tokens_missing": 0}
    for number in (1, 2):
        scores = results / "scores" / f"{number}-of-2.parquet"
        if number == 2:
            shutil.copy(results / "scores" / "1-of-2.parquet", scores)
        (results / "hits" / f"{number}-of-2.json").write_text(json.dumps(none_left))
        stated = json.loads((results / "scores" / "1-of-2.json").read_text())
        stated |= {"tokens": 0, "tokens_run": 0, "windows_run": 0, "alleles_tried": 0}
        scores.with_suffix(".json").write_text(json.dumps(stated | {"reused": 40}))
    (status,) = read_status(run / "results")
    assert (status.shards_done, status.alleles_done, status.tokens) == (2, 80, 0)
    (row,) = [line for line in describe_status([status]) if " 2 of 2 " in line]
    assert " 100%" in row


def test_a_shard_is_done_when_its_audit_is_done(run: Path) -> None:
    """The first shard has scores; the job that makes its audit is running, is killed, and ends."""
    results = run / "results"
    log = results / "logs/score_readouts/v/s/1-of-2.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 INFO score: half of it\n")
    (status,) = read_status(results)
    assert (status.shards_done, status.shards_running, status.failures) == (0, 2, [])
    one = json.loads((results / "v/s/scores/1-of-2.json").read_text())
    assert status.tokens_done > one["tokens"], "its scores count"
    old = time.time() - 1_000
    os.utime(log, (old, old))
    score_log = results / "logs/score/v/s/1-of-2.log"
    os.utime(score_log, (old - 1_000, old - 1_000))
    (status,) = read_status(results)
    assert [failure.log for failure in status.failures] == [str(log)]
    audit = results / "v/s/readouts/1-of-2/audit.parquet"
    audit.parent.mkdir(parents=True)
    audit.touch()
    (status,) = read_status(results)
    assert (status.shards_done, status.shards_running, status.failures) == (1, 1, [])
    shutil.rmtree(results / "v/s/readouts")
    (results / "v/s/audit.parquet").touch()
    assert read_status(results)[0].shards_done == 1


def test_scores_of_other_windows_do_not_count(run: Path) -> None:
    scoring = run / "results/v/s"
    (scoring / "run.json").write_text("{}")
    for windows in (scoring / "windows").iterdir():
        rows = pq.read_table(windows)
        pq.write_table(rows.slice(0, 10), windows)
    (status,) = read_status(run / "results")
    assert (status.shards_done, status.alleles_done, status.tokens_done) == (0, 0, 0)
    assert not status.is_merged


def test_a_variant_set_of_which_only_the_split_is_done_is_listed(tmp_path: Path) -> None:
    write_split(tmp_path / "v" / "shards" / "split.json", shards=2, alleles=80)
    (status,) = read_status(tmp_path)
    assert (status.variant_set, status.scoring, status.failures) == ("v", "", [])
    done = CliRunner().invoke(main, ["status", str(tmp_path)])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].split() == ["v", "0"]


def test_a_scoring_without_its_windows_is_still_listed(run: Path) -> None:
    shutil.rmtree(run / "results/v/s/windows")
    (status,) = read_status(run / "results")
    assert (status.shards_done, status.alleles_done) == (1, 40)
    assert status.tokens == status.tokens_done > 0


def test_a_split_that_failed_is_named(run: Path) -> None:
    logs = run / "results" / "logs" / "split"
    logs.mkdir()
    (logs / "w.log").write_text("2026-01-01 00:00:00,000 ERROR in.vcf: cannot be read\n")
    of_v, of_w = read_status(run / "results")
    assert (of_v.variant_set, of_v.shards_done) == ("v", 1)
    assert (of_w.variant_set, of_w.shards) == ("w", 0)
    assert of_w.failures[0].last_line.endswith("in.vcf: cannot be read")
    text = CliRunner().invoke(main, ["status", str(run / "results")])
    assert text.exit_code == 0
    assert "ERROR in.vcf" in text.stdout


OF_A_SET = [
    name for name, rule in read_rules().items() if rule.log == f"<logs>/{name}/{{variant_set}}.log"
]


@pytest.mark.parametrize("rule", OF_A_SET)
@pytest.mark.parametrize("other", ["", "v"], ids=["alone", "with another set"])
def test_a_failed_job_of_a_set_without_shards_is_named(
    tmp_path: Path, rule: str, other: str
) -> None:
    if other:
        write_split(tmp_path / other / "shards" / "split.json", shards=2, alleles=80)
    log = tmp_path / "logs" / rule / "w.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 ERROR disk: cannot be written\n")
    for failed in (None, [log]):
        *_, status = read_status(tmp_path, failed=failed)
        assert status.variant_set == "w"
        assert [failure.log for failure in status.failures] == [str(log)]


def test_a_set_whose_snvs_are_being_drawn_is_listed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "draw" / "w.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 INFO half of it\n")
    (status,) = read_status(tmp_path)
    assert (status.variant_set, status.scoring, status.failures) == ("w", "", [])


def test_a_job_that_failed_is_named_with_its_last_line(run: Path) -> None:
    log = run / "results" / "logs" / "score" / "v" / "s" / "2-of-2.log"
    log.write_text("2026-01-01 00:00:00,000 ERROR disk: cannot be written\n\n")
    (status,) = read_status(run / "results")
    assert status.shards_running == 0
    (failure,) = status.failures
    assert failure.log.endswith("2-of-2.log")
    assert failure.last_line.endswith("ERROR disk: cannot be written")


LOGS = {name: rule.log.removeprefix("<logs>/") for name, rule in read_rules().items()}
NAMES = {
    "model": "m",
    "calibration": "c",
    "variant_set": "v",
    "track_set": "t",
    "sequence_set": "q",
    "generation": "made",
    "scoring": "s",
    "combination": "both",
    "layer": "blocks.1",
    "probe": "p",
    "export": "scores.tsv",
    "index": "index",
}


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_a_failed_job_of_each_rule_is_named_once(run: Path, log: str) -> None:
    path = run / "results" / "logs" / log.format(**NAMES, shard="2-of-2")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("2026-01-01 00:00:00,000 ERROR disk: cannot be written\n")
    (failure,) = [failure for status in read_status(run / "results") for failure in status.failures]
    assert failure.log == str(path)


def test_a_failed_job_before_the_split_is_named(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "fetch" / "m.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 ERROR the hub does not answer\n")
    (status,) = read_status(tmp_path)
    assert (status.variant_set, status.scoring, status.shards) == ("", "", 0)
    assert status.failures[0].log == str(log)
    (_, _, row, line) = CliRunner().invoke(main, ["status", str(tmp_path)]).stdout.splitlines()
    assert row.split() == ["1"]
    assert line.endswith("the hub does not answer")


def test_a_killed_job_is_recognised_by_a_silent_log(run: Path) -> None:
    log = run / "results" / "logs" / "score" / "v" / "s" / "2-of-2.log"
    long_ago = time.time() - 3600
    os.utime(log, (long_ago, long_ago))
    (status,) = read_status(run / "results")
    (failure,) = status.failures
    assert failure.last_line.endswith("half of it")


def test_haplotypes_have_an_entry_of_their_own(tmp_path: Path) -> None:
    line = "c\t{pos}\t.\tA\tC\t.\t.\t.\tGT\t1|1\n"
    header = HEADER.replace("INFO\n", "INFO\tFORMAT\tS1\n")
    project = write_project(
        tmp_path,
        genome={"c": "A" * 30 + "CG" * 60 + "A" * 30},
        variants=header + "".join(line.format(pos=pos) for pos in (10, 12, 160)),
        variant_set={"haplotypes": {"samples": "all"}},
        output=str(tmp_path / "results"),
        shards=2,
    )
    config = project.load()
    run_steps(config, config.output / "v")
    (alone,) = read_status(config.output)
    run_haplotypes(config, config.output / "v")
    first, second = read_status(config.output)
    assert (first, first.of_haplotypes) == (alone, False)
    assert (second.scoring, second.of_haplotypes, second.is_merged) == ("s", True, True)
    # Two alleles beside each other, and both together.
    assert (second.alleles, second.alleles_done, second.shards_done) == (3, 3, 2)
    lines = CliRunner().invoke(main, ["status", str(config.output)]).stdout.splitlines()
    assert lines[-1].split()[:3] == ["v", "s,", "haplotypes"]
    shard_run_file(pairs_of_shards(config, config.output / "v")[0].scores).unlink()
    assert not read_status(config.output)[1].is_merged


def test_the_command_prints_a_table_and_json(run: Path) -> None:
    arguments = ["status", str(run / "results")]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0
    assert "1 of 2" in text.stdout
    (status,) = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["status"]
    assert status["variant_set"] == "v"
    assert status["seconds_left"] > 0


def test_a_folder_without_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split\.json"):
        read_status(tmp_path)


# --- a run that has ended, whose failed jobs are known


def read_ended(run: Path, *failed: str) -> tuple[str, ...]:
    """The lines below the table of a run of which Snakemake knows the failed jobs."""
    given = "".join(f"{log}\n" for log in failed)
    done = CliRunner().invoke(main, ["status", str(run / "results"), "--failed", "-"], input=given)
    assert done.exit_code == 0, done.output
    return tuple(line for line in done.stdout.splitlines() if ".log: " in line)


def test_no_job_of_a_run_that_has_ended_is_running(run: Path) -> None:
    log = run / "results/logs/score/v/s/2-of-2.log"
    (status,) = read_status(run / "results", failed=[log])
    assert (status.shards_running, len(status.failures)) == (0, 1)
    (status,) = read_status(run / "results", failed=[])
    assert (status.shards_running, len(status.failures)) == (0, 0)


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_a_killed_job_of_each_rule_is_named_once(run: Path, log: str) -> None:
    path = run / "results" / "logs" / log.format(**NAMES, shard="2-of-2")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("2026-01-01 00:00:00,000 INFO half of it\n")
    (line,) = read_ended(run, str(path))
    assert line == (
        f"{path}: killed without an error message, after: 2026-01-01 00:00:00,000 INFO half of it"
    )


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_a_job_that_never_began_is_named_once(run: Path, log: str) -> None:
    path = run / "results" / "logs" / log.format(**NAMES, shard="1-of-2")
    path.unlink(missing_ok=True)
    (line,) = read_ended(run, str(path))
    assert line.startswith(f"{path}: is empty: the command did not start")


def test_an_error_of_an_earlier_run_is_not_named(run: Path) -> None:
    old = run / "results/logs/split/w.log"
    old.parent.mkdir()
    old.write_text("2026-01-01 00:00:00,000 ERROR in.vcf: cannot be read\n")
    assert read_ended(run) == ()
    assert [status.variant_set for status in read_status(run / "results", failed=[])] == ["v"]


def test_logs_are_found_by_a_relative_path(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    (line,) = read_ended(run, "results/logs/score/v/s/2-of-2.log")
    assert "half of it" in line
