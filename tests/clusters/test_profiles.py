"""The profiles for schedulers other than SLURM, with commands that stand in for the scheduler's.

Real Snakemake submits with the real plugin. The stand-in notes each request and reports that the
job has failed, so that all attempts of a job are seen, and no job has to run.
"""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.jobs import Jobs
from tests.clusters.cluster import (
    PROFILES,
    SCORINGS,
    Asked,
    Cluster,
    find_plugin,
    name_job,
    write_cluster,
)

GPUS = {"split": 0, **SCORINGS, "stored": 0}
"""GPUs that each job needs."""
ATTEMPTS = 3
"""``retries: 2`` in the profiles."""

Requests = dict[str, list[Asked]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Requests:
    """What all attempts of each job should ask for: more memory and time each."""
    folder = write_cluster(tmp_path_factory.mktemp("plan")).folder
    config = load_config(json.loads((folder / "config.yaml").read_text()), look_for_files=False)
    jobs = Jobs(config, results=folder / "results")
    plan = {"split": Asked(gpus=0, mem_mb=2_000, minutes=60)}
    for name in SCORINGS:
        of_job: Any = SimpleNamespace(variant_set="v", scoring=name, scatteritem="1-of-1")
        inputs = {"hits": [str(folder / f"results/v/{name}/hits/1-of-1.json")]}
        plan[name] = Asked(
            gpus=jobs.gpu(of_job, inputs) or 0,
            mem_mb=jobs.score_mem_mb(of_job, inputs, 1),
            minutes=jobs.score_runtime(of_job, inputs, 1),
        )
    assert {name: asked.gpus for name, asked in plan.items()} == GPUS
    assert plan["stored"] == plan["split"]
    return {
        name: [
            Asked(first.gpus, first.mem_mb * attempt, first.minutes * attempt)
            for attempt in range(1, ATTEMPTS + 1)
        ]
        for name, first in plan.items()
    }


def submit_all(cluster: Cluster, profile: str | Path, read: Callable[[str], Asked]) -> Requests:
    """Submit all jobs, which fail; gives what each of their attempts asked for."""
    requests: Requests = defaultdict(list)
    cluster.run("--profile", str(PROFILES / profile), status=1)
    for note in cluster.notes:
        name = name_job(note)
        assert name is not None, note
        requests[name].append(read(note))
    return requests


def one(pattern: str, text: str, default: int | None = None) -> int:
    """The number in the only match of a pattern."""
    found = re.findall(pattern, text)
    if not found and default is not None:
        return default
    assert len(found) == 1, (pattern, text)
    return int(found[0])


# --- profiles with commands of the scheduler: sge, pbs, htcondor


def read_sge(note: str) -> Asked:
    assert " -pe " not in note, "jobs have one thread"
    return Asked(
        gpus=one(r" gpu=(\d+)", note, 0),
        mem_mb=one(r"mem_free=(\d+)M ", note),
        minutes=one(r"h_rt=(\d+) ", note) // 60,
    )


def read_pbs(note: str) -> Asked:
    assert one(r"select=1:ncpus=(\d+)", note) == 1
    return Asked(
        gpus=one(r":ngpus=(\d+)", note, 0),
        mem_mb=one(r":mem=(\d+)mb", note),
        minutes=one(r"walltime=(\d+) ", note) // 60,
    )


def read_htcondor(note: str) -> Asked:
    assert one(r"request_cpus = (\d+)", note) == 1
    return Asked(
        gpus=one(r"request_gpus = (\d+)", note, 0),
        mem_mb=one(r"request_memory = (\d+) MB", note),
        minutes=one(r"allowed_execute_duration = (\d+)", note) // 60,
    )


# Each job is no longer in the queue, and has not written its exit status.
GONE = {
    "qstat": "echo 'Following jobs do not exist:' >&2; echo \"$2\" >&2; exit 1",
    "pbs": 'echo "qstat: $1 Job has finished, use -x or -H" >&2; exit 35',
    "condor_q": "exit 0",
}


@pytest.mark.parametrize(
    ("profile", "submit", "answer", "query", "gone", "read"),
    [
        ("sge", "qsub", "NUMBER", "qstat", GONE["qstat"], read_sge),
        ("pbs", "qsub", "NUMBER.server", "qstat", GONE["pbs"], read_pbs),
        ("htcondor", "condor_submit", "NUMBER.0 - NUMBER.0", "condor_q", "", read_htcondor),
    ],
)
def test_jobs_ask_for_what_they_need_and_for_more_when_they_fail(
    tmp_path: Path,
    expected: Requests,
    *,
    profile: str,
    submit: str,
    answer: str,
    query: str,
    gone: str,
    read: Callable[[str], Asked],
) -> None:
    find_plugin("cluster_generic")
    cluster = write_cluster(tmp_path / "p")
    cluster.write_submit(submit, answer)
    cluster.write_command(query, f"#!/bin/sh\n{gone}\n")
    # A minute is long for a test: here a killed job counts as failed at once.
    profiles = tmp_path / "profiles"
    shutil.copytree(PROFILES, profiles)
    shared = profiles / "status.sh"
    text = shared.read_text()
    assert "-mmin +1" in text
    shared.write_text(text.replace("-mmin +1", "-mmin -1"))
    assert submit_all(cluster, profiles / profile, read) == expected


# --- LSF

BJOBS = """#!/bin/sh
n=101
while [ $n -le $((100 + $(wc -l < '{folder}/submitted'))) ]; do echo "$n EXIT"; n=$((n + 1)); done
"""
# What the plugin reads about a cluster when it starts.
BADMIN = """#!/bin/sh
echo 'MBD configuration at Mon Nov 30 06:00:00 2026'
for name in LSB_SHAREDIR LSF_CONFDIR; do echo "   $name = {folder}"; done
"""


def read_lsf(note: str) -> Asked:
    assert one(r" -n (\d+)", note) == 1
    gpus = one(r"-gpu num=(\d+)", note, 0)
    assert re.findall(r" -q (\w+)", note) == ["gpu" if gpus else "normal"]
    assert re.findall(r"span\[(.*?)\]", note) == ["hosts=1"]
    return Asked(
        gpus=gpus,
        mem_mb=round(float(re.findall(r"rusage\[mem=([\d.]+)\]", note)[0])),
        minutes=one(r" -W (\d+)", note),
    )


def write_lsf(folder: Path, *, edits: dict[str, str], jobs: list[str]) -> tuple[Cluster, Path]:
    """A cluster with LSF, and the profile with the edits of a site."""
    cluster = write_cluster(folder / "p", jobs)
    cluster.write_submit("bsub", "Job <NUMBER> is submitted to queue <normal>.")
    cluster.write_command("bjobs", BJOBS.format(folder=cluster.folder))
    cluster.write_command("badmin", BADMIN.format(folder=cluster.folder))
    cluster.write_command("lsclusters", "#!/bin/sh\nprintf 'CLUSTER_NAME STATUS\\nlab ok\\n'\n")
    cluster.write_command("bhist", "#!/bin/sh\nexit 1\n")
    parameters = cluster.folder / "lsbatch" / "lab" / "configdir" / "lsb.params"
    parameters.parent.mkdir(parents=True)
    parameters.touch()
    text = (PROFILES / "lsf" / "profile.yaml").read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    profile = folder / "lsf"
    profile.mkdir()
    (profile / "profile.yaml").write_text(text)
    return cluster, profile


def test_jobs_ask_lsf_for_what_they_need(tmp_path: Path, expected: Requests) -> None:
    """Three runs at once, because the plugin waits for twenty seconds: each for other models."""
    find_plugin("lsf")
    on_cpu = {
        """'__import__("evo2_tasks.jobs").jobs.if_gpu(input, "gpu", "normal")'""": "normal",
        """lsf_extra: '__import__("evo2_tasks.jobs").jobs.if_gpu(input, "-gpu num=1")'""": "",
    }
    sites = [
        ({}, ["split", "one", "stored"]),
        ({"-gpu num=1": "-gpu num=2"}, ["two"]),
        (on_cpu, ["cpu"]),
    ]
    runs = [
        write_lsf(tmp_path / str(number), edits=edits, jobs=jobs)
        for number, (edits, jobs) in enumerate(sites)
    ]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda run: submit_all(run[0], run[1], read_lsf), runs))
    assert {name: asked for requests in found for name, asked in requests.items()} == expected


# --- scripts


@pytest.mark.parametrize("profile", ["sge", "pbs", "htcondor"])
def test_the_scripts_can_be_executed(profile: str) -> None:
    for name in ("submit.py", "status.sh"):
        assert (PROFILES / profile / name).stat().st_mode & 0o111


def test_the_scripts_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not here")
    scripts = sorted(PROFILES.glob("*/status.sh"))
    assert len(scripts) == 3
    subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], check=True)


STATES = [
    # exit status that the job wrote, whether the queue lists it, whether it is missing for long
    ("0", False, False, "success"),
    ("1", False, False, "failed"),
    ("143", True, False, "failed"),
    (None, True, False, "running"),
    (None, False, False, "running"),
    (None, False, True, "failed"),
]


@pytest.mark.parametrize(("ended", "queued", "long_ago", "state"), STATES)
def test_the_state_of_a_job(
    tmp_path: Path, *, ended: str | None, queued: bool, long_ago: bool, state: str
) -> None:
    cluster = write_cluster(tmp_path / "p", [])
    notes = cluster.folder / ".snakemake" / "ended"
    notes.mkdir(parents=True)
    if ended is not None:
        (notes / "7").write_text(f"{ended}\n")
    if long_ago:
        (notes / "7.missing").touch()
        subprocess.run(["touch", "-d", "3 minutes ago", notes / "7.missing"], check=True)
    cluster.write_command("qstat", f"#!/bin/sh\n{'echo found' if queued else GONE['qstat']}\n")
    assert cluster.ask("sge/status.sh", "7") == state
    assert sorted(path.name for path in notes.iterdir()) == (
        ["7.missing"] if (ended, queued, long_ago) == (None, False, False) else []
    )


@pytest.mark.parametrize(
    ("profile", "query", "says"),
    [
        ("sge", "qstat", "error: commlib error: got select error (Connection refused)"),
        ("pbs", "qstat", "Connection refused\nqstat: cannot connect to server x (errno=111)"),
        ("htcondor", "condor_q", "-- Failed to fetch ads from: <127.0.0.1:9618>"),
    ],
)
def test_a_scheduler_that_does_not_answer_ends_no_run(
    tmp_path: Path, profile: str, query: str, says: str
) -> None:
    cluster = write_cluster(tmp_path / "p", [])
    cluster.write_command(query, f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    assert cluster.ask(f"{profile}/status.sh", "7") == "running"
    assert not (cluster.folder / ".snakemake" / "ended").exists()


@pytest.mark.parametrize(
    ("profile", "query", "says", "remove"),
    [
        ("sge", "qstat", "error reason    1:  can't chdir to /gone: No such file", "qdel"),
        ("htcondor", "condor_q", "5", "condor_rm"),
    ],
)
def test_a_job_that_would_wait_for_ever_is_removed(
    tmp_path: Path, profile: str, query: str, says: str, remove: str
) -> None:
    """Grid Engine's state Eqw, and held jobs of HTCondor."""
    cluster = write_cluster(tmp_path / "p", [])
    cluster.write_command(query, f'#!/bin/sh\necho "{says}"\n')
    cluster.write_command(remove, '#!/bin/sh\necho "$1" > removed\n')
    assert cluster.ask(f"{profile}/status.sh", "7") == "running"
    assert (cluster.folder / "removed").read_text() == "7\n"
