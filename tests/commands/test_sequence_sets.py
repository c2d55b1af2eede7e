"""What `plan`, `status` and `show` say about sequence sets, against what a run does."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.show import show
from evo2_tasks.commands.status import describe_status, read_status
from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.jobs import Jobs, step_inputs, targets
from evo2_tasks.layout import SEQUENCE_RUN, SEQUENCE_TABLE
from tests.steps.test_sequences import ODD, SequenceSet, draw, make_set


class Wildcards:
    """Those of a job of the set."""

    sequence_set = "S"
    scoring = "s"
    scatteritem = "1-of-2"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SequenceSet:
    sequences = {**draw(1, 20), **{name: bases for name, (bases, _) in ODD.items()}}
    folder = tmp_path_factory.mktemp("finished")
    made = make_set(
        folder, Path("evo2-mini"), sequences, shards=2, circular=True, scoring={"min_context": 4}
    )
    made.run()
    return made


def run_file(made: SequenceSet) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((made.folder / "out/S/s" / SEQUENCE_RUN).read_text())
    return values


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_plan_counts_what_the_run_does(finished: SequenceSet, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(finished.config))
    found = json.loads(invoke("plan", "--config", str(config), "--json"))
    (estimate,) = found["plan"]
    done = run_file(finished)
    assert estimate["sequences"] == done["records"]
    by_status = {**estimate["by_status"], "scored": estimate["by_status"]["to_score"]}
    del by_status["to_score"]
    assert by_status == done["by_status"]
    # The run computes equal readings of a part once.
    assert estimate["tokens"] >= done["tokens_run"] > 0.8 * estimate["tokens"]
    assert estimate["windows"] >= done["windows_run"]
    assert found["total"]["sequences"] == done["scored"]
    assert found["total"]["alleles"] == 0
    text = invoke("plan", "--config", str(config), "--device-memory", "80")
    assert "S, s (m)" in text
    assert "batch_tokens" in text


def test_status_follows_a_run(
    finished: SequenceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (done,) = read_status(finished.folder / "out")
    records = run_file(finished)["records"]
    assert (done.variant_set, done.scoring, done.of_sequences) == ("S", "s", True)
    assert (done.shards_done, done.alleles_done, done.is_merged) == (2, records, True)
    assert done.tokens == done.tokens_done == records
    assert "s, sequences" in "\n".join(describe_status([done]))
    begun = make_set(tmp_path, Path("evo2-mini"), draw(2, 30), shards=2)
    begun.split()
    (tmp_path / "out/S/s/sequence_scores").mkdir(parents=True)
    (none,) = read_status(tmp_path / "out")
    assert (none.shards, none.shards_done, none.alleles) == (2, 0, 30)
    begun.score(1)
    with monkeypatch.context() as patch:
        checks = iter(range(1_000))

        def check(_self: Interruption) -> None:
            if next(checks) == 6:
                raise Interrupted

        patch.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            begun.score(2)
    (half,) = read_status(tmp_path / "out")
    assert half.shards_done == 1
    assert 0 < half.alleles_done < half.alleles == 30
    assert half.seconds_left is not None


def test_show_describes_the_table_and_refuses_a_file_of_another_one(
    finished: SequenceSet, tmp_path: Path
) -> None:
    table = finished.folder / "out/S/s" / SEQUENCE_TABLE
    text = "\n".join(show(table))
    counts = run_file(finished)["by_status"]
    for status, number in counts.items():
        assert f"{status}" in text
        assert str(number) in text
    assert "bits_per_base" in text
    assert "circular" in text
    copy = tmp_path / SEQUENCE_TABLE
    copy.write_bytes(table.read_bytes())
    assert "rows by status" in "\n".join(show(copy))
    stated = run_file(finished) | {"table_digest": "0" * 64}
    (tmp_path / SEQUENCE_RUN).write_text(json.dumps(stated))
    with pytest.raises(InputError, match="another table"):
        list(show(copy))
    shard = finished.folder / "out/S/s/sequence_scores/1-of-2.parquet"
    assert "rows by status" in "\n".join(show(shard))


def test_jobs_ask_for_memory_and_time_by_the_sequences(
    finished: SequenceSet, tmp_path: Path
) -> None:
    config = load_config(finished.config)
    jobs = Jobs(config)
    assert targets(config) == ["S/s/sequences.parquet", "S/s/sequences.json"]
    assert step_inputs(config).sequences == {"S": [str(finished.folder / "in.fa")]}
    small_mb, minutes = (
        jobs.sequences_mem_mb(Wildcards, 1),  # type: ignore[arg-type]
        jobs.sequences_runtime(Wildcards, 1),  # type: ignore[arg-type]
    )
    assert jobs.sequences_mem_mb(Wildcards, 2) == 2 * small_mb  # type: ignore[arg-type]
    long = make_set(
        tmp_path, Path("evo2-mini"), {"long": "ACGT" * 20_000}, run={"batch_tokens": 65_536}
    )
    other = Jobs(load_config(long.config))
    unknown = other.sequences_runtime(Wildcards, 1)  # type: ignore[arg-type]
    long.split()
    other = Jobs(load_config(long.config))
    assert other.sequences_mem_mb(Wildcards, 1) > small_mb  # type: ignore[arg-type]
    assert minutes <= other.sequences_runtime(Wildcards, 1) < unknown  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"scorings": ["t"]}, "sequence_sets.S.scorings[0]: `scorings` has no 't'"),
        ({"sequences": "no.fa"}, "sequence_sets.S.sequences: no.fa does not exist"),
        ({"max_length": 0}, "sequence_sets.S.max_length: 0 is too small"),
        ({"circle": True}, "sequence_sets.S.circle: unknown key; did you mean circular?"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused_in_one_line(
    finished: SequenceSet, keys: dict[str, Any], words: str
) -> None:
    of_set = finished.config["sequence_sets"]["S"] | keys
    with pytest.raises(InputError) as caught:
        load_config(finished.config | {"sequence_sets": {"S": of_set}})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_sets_and_scorings_do_not_meet_in_the_results(finished: SequenceSet) -> None:
    config = finished.config
    one = config["sequence_sets"]["S"]
    with pytest.raises(InputError, match=r"sequence_sets\.logs: this name is reserved"):
        load_config(config | {"sequence_sets": {"logs": one}})
    scorings = {"sequences": config["scorings"]["s"]}
    of_set = one | {"scorings": ["sequences"]}
    with pytest.raises(InputError, match=r"scorings\.sequences: this name is reserved"):
        load_config(config | {"scorings": scorings, "sequence_sets": {"S": of_set}})
    with pytest.raises(InputError, match="there is no set to score"):
        load_config({key: value for key, value in config.items() if key != "sequence_sets"})
