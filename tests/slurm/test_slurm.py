"""The workflow on a real SLURM, which these tests start: same bytes, own GPUs, death and all."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.disturbed import PROFILE, TIME_LIMIT_S, Project, run_locally

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to start SLURM"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of one node with two GPUs."""
    started = subprocess.run(
        [HERE / "start.sh"], capture_output=True, text=True, timeout=300, check=False
    )
    if started.returncode:
        pytest.skip(f"no SLURM here: {started.stderr.strip().splitlines()[-1]}")
    yield
    subprocess.run([HERE / "stop.sh"], timeout=120, check=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The undisturbed run on this machine, of two shards."""
    return run_locally(tmp_path_factory.mktemp("local"), shards=2)


def wait_until(holds: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.2)


def queue(run_id: str) -> str:
    """The jobs of a Snakemake run that have not ended; those of other runs do not matter."""
    listed = ["squeue", "--noheader", "--states", "PD,R,CG", "--name", run_id]
    return subprocess.run(listed, capture_output=True, text=True, check=True).stdout


def wait_for_no_job(run_id: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while jobs := queue(run_id):
        assert time.monotonic() < end, f"jobs that have not ended:\n{jobs}"
        time.sleep(0.2)


def test_a_run_on_slurm_gives_the_bytes_of_a_local_run(
    tmp_path: Path, cluster: None, local: Project
) -> None:
    project = Project(tmp_path, shards=2)
    said = project.run(*project.slurm())
    assert project.table.read_bytes() == local.table.read_bytes()
    shards = project.shards()
    assert {shard["visible_devices"] for shard in shards} == {"0", "1"}
    assert len({shard["job"] for shard in shards}) == 2
    assert {shard["visible_devices"] for shard in local.shards()} == {None}
    assert project.calls == local.calls
    assert "retry" not in said.lower()


def test_jobs_that_die_in_any_way_are_retried_and_go_on(tmp_path: Path, cluster: None) -> None:
    local = run_locally(tmp_path / "local", shards=5)
    project = Project(tmp_path / "slurm", shards=5, placed=local)
    disturbances = {"scancel": 1, "memory": 2, "time": 3, "kill": 4, "end": 5}
    for how, number in disturbances.items():
        (project.folder / "disturb" / f"{number}-of-5").write_text(how)
    waiting = project.folder / "waiting"
    # GPUs for two at a time would make the others wait. SLURM's clock counts whole minutes, and
    # other tests may run at the same time.
    options = project.slurm(more="score:gpu=0 score:mem_mb=2500 score:runtime=attempt*3")
    snakemake = project.start(*options)
    try:
        for how in ("scancel", "kill"):
            marker = waiting / f"{disturbances[how]}-of-5"
            wait_until(lambda marker=marker: marker.exists() and marker.stat().st_size > 0)
            where = json.loads(marker.read_text())
            if how == "scancel":
                subprocess.run(["scancel", where["job"]], check=True)
            else:
                os.kill(where["pid"], signal.SIGKILL)
        assert snakemake.wait(timeout=TIME_LIMIT_S) == 0
    finally:
        snakemake.kill()
        print((project.folder / "snakemake.log").read_text()[-6000:])
    assert {path.name for path in waiting.iterdir()} == {f"{n}-of-5" for n in range(1, 5)}
    assert project.table.read_bytes() == local.table.read_bytes()
    for shard in project.shards():
        name = shard["shard"]
        if name == f"{disturbances['end']}-of-5":
            assert shard["parts_kept"] == shard["parts"]
            assert project.calls[name] == local.calls[name]
        else:
            assert shard["parts_kept"] == 3
            assert project.calls[name] == local.calls[name] + 1, "the one in hand, and no other"


def test_ctrl_c_leaves_no_job_and_no_lock(tmp_path: Path, cluster: None, local: Project) -> None:
    project = Project(tmp_path, shards=2, placed=local)
    for number in (1, 2):
        (project.folder / "disturb" / f"{number}-of-2").write_text("time")
    snakemake = project.start(*project.slurm())
    wait_until(lambda: len(list((project.folder / "waiting").iterdir())) == 2)
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(timeout=60) != 0
    wait_for_no_job(project.run_id)
    assert not list(project.folder.glob(".snakemake/locks/*"))
    project.run(*project.slurm())
    assert sorted(shard["parts_kept"] for shard in project.shards()) == [3, 3]


def test_after_snakemake_was_killed_its_jobs_are_cancelled_by_name(
    tmp_path: Path, cluster: None, local: Project
) -> None:
    """What docs/cluster.md says to do: cancel what still runs, unlock, run again."""
    project = Project(tmp_path, shards=2, placed=local)
    for number in (1, 2):
        (project.folder / "disturb" / f"{number}-of-2").write_text("time")
    snakemake = project.start(*project.slurm())
    wait_until(lambda: len(list((project.folder / "waiting").iterdir())) == 2)
    snakemake.kill()
    snakemake.wait()
    assert queue(project.run_id), "they go on without it"
    subprocess.run(["scancel", "--name", project.run_id], check=True)
    wait_for_no_job(project.run_id)
    project.run("--unlock")
    project.run(*project.slurm())
    assert sorted(shard["parts_kept"] for shard in project.shards()) == [3, 3]


def test_the_profile_for_gres_asks_for_gpus_too(
    tmp_path: Path, cluster: None, local: Project
) -> None:
    project = Project(tmp_path, shards=2, placed=local)
    project.run(
        *("--profile", str(PROFILE / "slurm-gres"), "--jobs", "8", "--latency-wait", "15"),
        *("--slurm-init-seconds-before-status-checks", "2"),
    )
    assert project.table.read_bytes() == local.table.read_bytes()
    assert {shard["visible_devices"] for shard in project.shards()} == {"0", "1"}


def test_a_failed_run_ends_with_its_status(tmp_path: Path, cluster: None, local: Project) -> None:
    """A job that SLURM kills for its memory has no error in its log, and is named all the same."""
    project = Project(tmp_path, shards=2, placed=local)
    (project.folder / "disturb" / "1-of-2").write_text("memory")
    options = project.slurm(more="score:gpu=0 score:mem_mb=2500")
    said = project.run(*options, "--retries", "0", status=1)
    assert '"window_length"' not in said, "the config is in no message"
    lines = said.rstrip().splitlines()
    assert lines[-4].startswith("variant set ")
    assert lines[-2].split()[:5] == ["v", "s", "1", "of", "2"]
    log = "results/logs/score/v/s/1-of-2.log"
    assert lines[-1].startswith(f"{log}: killed without an error message, after: ")


def test_the_scripts_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not here")
    subprocess.run(["shellcheck", HERE / "start.sh", HERE / "stop.sh"], check=True)
