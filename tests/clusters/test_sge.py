"""The workflow on a real Grid Engine, which these tests start."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.cluster import find_plugin
from tests.disturbed import PROFILE, TIME_LIMIT_S, Project, run_locally

HERE = Path(__file__).parent
ENVIRONMENT = {"SGE_ROOT": "/var/lib/gridengine", "SGE_CELL": "default"}
OPTIONS = ["--profile", str(PROFILE / "sge"), "--latency-wait", "15"]
OPTIONS += ["--seconds-between-status-checks", "2"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to start Grid Engine"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of one node with two GPUs."""
    find_plugin("cluster_generic")
    started = subprocess.run(
        [HERE / "start-sge.sh"], capture_output=True, text=True, timeout=300, check=False
    )
    if started.returncode:
        pytest.skip(f"no Grid Engine here: {started.stderr.strip().splitlines()[-1]}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield
    subprocess.run([HERE / "stop-sge.sh"], timeout=120, check=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The undisturbed run on this machine, of two shards."""
    return run_locally(tmp_path_factory.mktemp("local"), shards=2)


def queue() -> str:
    """The jobs that have not ended."""
    return subprocess.run(["qstat"], capture_output=True, text=True, check=True).stdout


def wait_for_job(folder: Path, shard: str) -> str:
    """The number of a scoring job that waits to be killed."""
    marker = folder / "waiting" / shard
    end = time.monotonic() + TIME_LIMIT_S
    while not (marker.exists() and marker.stat().st_size):
        assert time.monotonic() < end, queue()
        time.sleep(0.2)
    logs = [*(folder / "logs" / "sge").glob("evo2_score.o*")]
    (number,) = [log.suffix.removeprefix(".o") for log in logs if shard in log.read_text()]
    return number


def test_a_job_that_is_removed_is_submitted_again_and_asks_for_more(
    tmp_path: Path, local: Project
) -> None:
    """One shard waits within its fourth part until `qdel` kills its job; the other ends."""
    project = Project(tmp_path, shards=2)
    (project.folder / "disturb" / "1-of-2").write_text("time")
    snakemake = project.start(*OPTIONS, "--set-resources", "score:gpu=1")
    try:
        number = wait_for_job(project.folder, "1-of-2")
        asked = subprocess.run(["qstat", "-j", number], capture_output=True, text=True, check=True)
        assert "gpu=1" in asked.stdout
        subprocess.run(["qdel", number], check=True, stdout=subprocess.DEVNULL)
        assert snakemake.wait(timeout=TIME_LIMIT_S) == 0
    finally:
        snakemake.kill()
        print((project.folder / "snakemake.log").read_text()[-6000:])
    assert project.table.read_bytes() == local.table.read_bytes()
    kept = {shard["shard"]: shard["parts_kept"] for shard in project.shards()}
    assert kept == {"1-of-2": 3, "2-of-2": 0}
    assert project.calls["1-of-2"] == local.calls["1-of-2"] + 1, "the one in hand, and no other"
    assert not [*(project.folder / ".snakemake" / "ended").iterdir()]
    assert not queue()


def test_after_snakemake_was_killed_its_jobs_are_removed_by_name(
    tmp_path: Path, local: Project
) -> None:
    """What docs/cluster.md says to do: remove what still runs, unlock, run again."""
    project = Project(tmp_path, shards=2)
    for number in (1, 2):
        (project.folder / "disturb" / f"{number}-of-2").write_text("time")
    snakemake = project.start(*OPTIONS)
    for number in (1, 2):
        wait_for_job(project.folder, f"{number}-of-2")
    snakemake.send_signal(signal.SIGKILL)
    snakemake.wait()
    assert queue().count("evo2_score") == 2, "they go on without it"
    subprocess.run(["qdel", "evo2_*"], check=True, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while queue():
        assert time.monotonic() < end, queue()
        time.sleep(0.2)
    project.run("--unlock")
    project.run(*OPTIONS)
    assert project.table.read_bytes() == local.table.read_bytes()
    assert sorted(shard["parts_kept"] for shard in project.shards()) == [3, 3]
