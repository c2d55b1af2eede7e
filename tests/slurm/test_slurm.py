"""The workflow on a real SLURM, which these tests start: same bytes, own GPUs, death and all."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project import write_demo

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SNAKEFILE = ROOT / "workflow" / "Snakefile"
PROFILE = ROOT / "workflow" / "profiles"
NUM_ALLELES = 96
TABLE = "results/v/s/scores.parquet"
TIME_LIMIT_S = 600

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to start SLURM"),
]

# The command as it is, but for a note of each call of the model; and, if a shard is to be
# disturbed, a wait within the fourth part for whatever kills the job, or its death at the very end.
COMMAND = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
from evo2_tasks.runtime import scoring_jobs
from evo2_tasks.cli import main
from evo2_tasks.io.interruption import Interruption

folder = Path({folder!r})
if sys.argv[1] == "score":
    shard = Path(sys.argv[sys.argv.index("--out") + 1]).stem
    order = folder / "disturb" / shard
    disturbance = order.read_text() if order.exists() else ""
    order.unlink(missing_ok=True)
    score_part, note = scoring_jobs.score_part, Interruption._note
    num_parts, told = 0, False

    def note_and_tell(self, number, frame):
        global told
        told = True
        note(self, number, frame)

    def score(*args, on_call, **options):
        global num_parts
        num_parts += 1

        def count(windows, tokens):
            with (folder / "calls").open("a") as file:
                file.write(f"{{shard}} {{windows}}\\n")
            if disturbance not in ("", "end") and num_parts == 4:
                where = {{"pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}}
                (folder / "waiting" / shard).write_text(json.dumps(where))
                if disturbance == "memory":
                    too_much = b"x" * 3_000_000_000
                while not told:
                    time.sleep(0.1)
            on_call(windows, tokens)
        return score_part(*args, on_call=count, **options)

    scoring_jobs.score_part = score
    Interruption._note = note_and_tell
    if disturbance == "end":
        import atexit
        atexit.register(os.kill, os.getpid(), signal.SIGKILL)
main()
"""


class Project:
    """A folder with a config, the command, and the demo's first variants."""

    def __init__(self, folder: Path, *, shards: int) -> None:
        self.folder = folder
        for name in ("bin", "disturb", "waiting"):
            (folder / name).mkdir(parents=True)
        command = folder / "bin" / "evo2-tasks"
        command.write_text(COMMAND.format(python=sys.executable, folder=str(folder)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        run = {"batch_tokens": 1_024, "part_tokens": 2_048}
        write_demo(folder, NUM_ALLELES, shards=shards, run=run)

    @property
    def table(self) -> Path:
        return self.folder / TABLE

    @property
    def calls(self) -> Counter[str]:
        """Calls of the model, by shard."""
        lines = (self.folder / "calls").read_text().splitlines()
        return Counter(line.split()[0] for line in lines)

    @property
    def run_id(self) -> str:
        """The name that Snakemake gives to the jobs of its first run here."""
        said = (self.folder / "snakemake.log").read_text()
        return said.partition("SLURM run ID: ")[2].split()[0]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(
            [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        with (self.folder / "snakemake.log").open("a") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "snakemake", TABLE, "--snakefile", str(SNAKEFILE)),
                    *("--configfile", str(self.folder / "config.json"), "--nocolor", *arguments),
                ],
                cwd=self.folder,
                env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                # As a shell in the foreground does; in the background SIGINT would be ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def run(self, *arguments: str, status: int = 0) -> str:
        done = self.start(*arguments).wait(timeout=TIME_LIMIT_S)
        said = (self.folder / "snakemake.log").read_text()
        assert done == status, said[-6000:]
        return said

    def slurm(self, *, partition: str = "gpu", more: str = "") -> list[str]:
        """Options that put the shipped profile on the cluster of these tests."""
        resources = [f"score:slurm_partition={partition}", "score:gpu=1", *more.split()]
        return [
            *("--profile", str(PROFILE / "slurm"), "--jobs", "8", "--latency-wait", "15"),
            *("--slurm-init-seconds-before-status-checks", "5"),
            *("--set-resources", *resources),
        ]

    def shards(self) -> list[dict[str, Any]]:
        run = json.loads(self.table.with_name("run.json").read_text())
        shards: list[dict[str, Any]] = run["shards"]
        return shards


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


def run_locally(folder: Path, *, shards: int) -> Project:
    """The undisturbed run on this machine."""
    project = Project(folder, shards=shards)
    project.run("--profile", str(PROFILE / "local"), "--cores", "2")
    return project


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
    project = Project(tmp_path / "slurm", shards=5)
    disturbances = {"scancel": 1, "memory": 2, "time": 3, "kill": 4, "end": 5}
    for how, number in disturbances.items():
        (project.folder / "disturb" / f"{number}-of-5").write_text(how)
    waiting = project.folder / "waiting"
    # GPUs for two at a time would make the others wait; two minutes are the least that SLURM's
    # clock of whole minutes allows for.
    options = project.slurm(more="score:gpu=0 score:mem_mb=2500 score:runtime=attempt*2")
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
    project = Project(tmp_path, shards=2)
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
    tmp_path: Path, cluster: None
) -> None:
    """What docs/cluster.md says to do: cancel what still runs, unlock, run again."""
    project = Project(tmp_path, shards=2)
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


def test_job_arrays_work(tmp_path: Path, cluster: None, local: Project) -> None:
    project = Project(tmp_path, shards=2)
    project.run(*project.slurm(), "--slurm-array-jobs=score")
    assert project.table.read_bytes() == local.table.read_bytes()


def test_the_profile_for_gres_asks_for_gpus_too(
    tmp_path: Path, cluster: None, local: Project
) -> None:
    project = Project(tmp_path, shards=2)
    project.run(
        *("--profile", str(PROFILE / "slurm-gres"), "--jobs", "8", "--latency-wait", "15"),
        *("--slurm-init-seconds-before-status-checks", "5"),
    )
    assert project.table.read_bytes() == local.table.read_bytes()
    assert {shard["visible_devices"] for shard in project.shards()} == {"0", "1"}


def test_a_failed_run_ends_with_its_status(tmp_path: Path, cluster: None) -> None:
    """A job that SLURM kills for its memory has no error in its log, and is named all the same."""
    project = Project(tmp_path, shards=2)
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
