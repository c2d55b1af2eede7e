"""What `plan`, `status` and `show` say about generations, and what their jobs ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.plan import add_up, describe_estimates, plan
from evo2_tasks.commands.status import describe_status, read_status
from evo2_tasks.config.generations import resolve_plan_generations
from evo2_tasks.errors import InputError
from evo2_tasks.jobs import Jobs, require_gpus, step_inputs, step_settings, targets
from evo2_tasks.layout import GENERATED, LOGS, PROMPT_COUNTS, STEPS
from tests.steps.generations import Generation, make_generation


class Wildcards:
    generation = "G"
    scatteritem = "1-of-3"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    folder = tmp_path_factory.mktemp("finished")
    made = make_generation(folder, Path("evo2-mini"), shards=3, length=8, chunk_length=4)
    made.run()
    return made


def plan_of(made: Generation) -> list[dict[str, Any]]:
    return plan(
        [], generations=resolve_plan_generations(made.load()), rates_file=None, device=None,
        device_memory_gb=None, price=2.0, job_hours=1.0,
    )  # fmt: skip


def test_plan_counts_prompts_tokens_and_memory(finished: Generation) -> None:
    (estimate,) = plan_of(finished)
    assert estimate["prompts"] == 7
    assert estimate["by_status"]["to_generate"] == 2
    # Two prompts of 40 letters; each has two sequences with four candidates of 8 bases.
    assert estimate["tokens"] == 2 * (40 + 2 * 4 * 8)
    assert estimate["hours"] > 0
    assert estimate["price"] == pytest.approx(2 * estimate["hours"])
    text = "\n".join(describe_estimates([estimate, estimate]))
    assert "G, generation (m)" in text
    assert "can be continued      2" in text
    assert add_up([estimate])["tokens"] == estimate["tokens"]


def test_status_follows_a_generation(finished: Generation, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    made = make_generation(folder, Path("evo2-mini"), shards=3, length=8, chunk_length=4)
    (done,) = read_status(folder / "out")
    assert (done.variant_set, done.of_generation, done.is_merged) == ("G", True, True)
    assert (done.shards, done.shards_done, done.alleles, done.alleles_done) == (3, 3, 2, 2)
    assert "generation" in "\n".join(describe_status([done]))
    for path in (made.out / GENERATED).glob("1-of-3*"):
        path.unlink()
    (begun,) = read_status(folder / "out")
    assert (begun.shards_done, begun.alleles_done, begun.is_merged) == (2, 1, False)
    log = (
        folder
        / "out"
        / LOGS
        / STEPS["generate_sequences"].log.format(generation="G", shard="1-of-3")
    )
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 ERROR no GPU\n")
    (failed,) = read_status(folder / "out")
    assert [one.last_line for one in failed.failures] == ["2026-01-01 00:00:00,000 ERROR no GPU"]


def test_status_names_a_generation_whose_prompts_could_not_be_read(tmp_path: Path) -> None:
    log = tmp_path / LOGS / STEPS["read_prompts"].log.format(generation="G")
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 ERROR p.fa: this is not FASTA\n")
    (status,) = read_status(tmp_path)
    assert (status.variant_set, status.shards, len(status.failures)) == ("G", 0, 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sequences.parquet", ["rows by status", "generated", "score_gc_content", "search.seed"]),
        ("steps.parquet", ["candidates", "not kept", "parent"]),
        ("generated/2-of-3.parquet", ["rows by status"]),
        ("prompts.parquet", ["reference_contig"]),
    ],
)
def test_show_describes_each_table(finished: Generation, name: str, words: list[str]) -> None:
    result = CliRunner().invoke(main, ["show", str(finished.out / name)])
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.output


def test_jobs_ask_for_memory_and_time_by_the_prompts(finished: Generation, tmp_path: Path) -> None:
    config = finished.load()
    jobs = Jobs(config)
    wildcards: Any = Wildcards
    assert jobs.generation_gpu(wildcards) is None
    small_mb, minutes = (
        jobs.generation_mem_mb(wildcards, 1), jobs.generation_runtime(wildcards, 1)
    )  # fmt: skip
    assert jobs.generation_mem_mb(wildcards, 2) == 2 * small_mb
    assert targets(config)[-1] == "generations/G/report.html"
    inputs = step_inputs(config).generations
    assert inputs.prompts == {"G": [str(finished.folder / "prompts.fa")]}
    assert '"seed": 3' in step_settings(config).generations.generate_sequences["G"]
    unread = make_generation(tmp_path, Path("evo2-mini"), shards=3)
    other = Jobs(unread.load())
    assert other.generation_runtime(wildcards, 1) >= minutes
    long = make_generation(
        tmp_path / "long", Path("evo2-mini"), shards=3, length=1_000_000, num_sequences=100
    )
    shutil.copytree(finished.out, long.out)
    more = Jobs(long.load())
    assert more.generation_mem_mb(wildcards, 1) > 10 * small_mb
    assert more.generation_runtime(wildcards, 1) > 100 * minutes
    (finished.out / PROMPT_COUNTS).stat()


def test_a_run_on_this_machine_needs_the_gpus_of_all_models(tmp_path: Path) -> None:
    made = make_generation(
        tmp_path, Path("evo2-mini"), scorers=[{"likelihood": {"model": "second"}}]
    )
    made.config["models"] = {
        "m": {"checkpoint": "evo2-mini", "gpus": 1},
        "second": {"checkpoint": "evo2-mini", "gpus": 2},
    }
    config = made.load()
    assert Jobs(config).generation_gpu(Wildcards()) == 3  # type: ignore[arg-type]
    dev = tmp_path / "dev"
    dev.mkdir()
    for number in range(2):
        (dev / f"nvidia{number}").touch()
    with pytest.raises(InputError, match=r"models\.m\.gpus: 3 required, but this machine has 2"):
        require_gpus(config, [], dev, generations=["G"])
