"""Several GPUs in one machine: each job has its own; and GPUs that are not there stop the run."""

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.jobs import require_gpus
from tests.project import HEADER, make_config, write_project
from tests.workflow.run import SNAKEFILE, run_snakemake

PROFILES = SNAKEFILE.parent / "profiles"
GENOME = {"chr": "ACGTTGCAAC" * 40}
POSITIONS = range(101, 341, 10)
VARIANTS = HEADER + "".join(f"chr\t{pos}\t.\tA\tC\t.\t.\t.\n" for pos in POSITIONS)

# The command as it is, on a machine that pretends to have GPUs: the model runs on the CPU, and the
# job notes which GPUs it was given, from when to when.
COMMAND = """#!{python}
import json, os, sys, time
from pathlib import Path
if sys.argv[1] != "score":
    from evo2_tasks.cli import main
    main()
import torch
from evo2_tasks.cli import main
from evo2_tasks.runtime import devices, models
torch.accelerator.current_accelerator = lambda **_: torch.device("xpu")
torch.accelerator.device_count = lambda: {gpus}
find_devices = devices.find_devices

def find_and_note(where, number):
    given = [device.index for device in find_devices(where, number)]
    began = time.time()
    # The first jobs wait until all GPUs are given, so that they run at once on a busy machine too.
    begun = Path({begun!r})
    (begun / str(os.getpid())).touch()
    while len(list(begun.iterdir())) < {gpus} // number:
        time.sleep(0.1)
    with open({notes!r}, "a") as file:
        file.write(json.dumps([given, began, time.time()]) + "\\n")
    return [torch.device("cpu")]

models.find_devices = find_and_note
main()
"""


def write_machine(folder: Path, *, gpus: int, needed: int, shards: int) -> None:
    """A project on a machine with GPUs, each job of which needs some of them."""
    model = {"checkpoint": "evo2-mini", "gpus": needed}
    project = write_project(
        folder, genome=GENOME, variants=VARIANTS, model=model, shards=shards, output="results"
    )
    (folder / "config.yaml").write_text(json.dumps(project.config))
    command = folder / "bin" / "evo2-tasks"
    command.parent.mkdir()
    begun = folder / "begun"
    begun.mkdir()
    files = {"notes": str(folder / "notes"), "begun": str(begun)}
    command.write_text(COMMAND.format(python=sys.executable, gpus=gpus, **files))
    command.chmod(0o755)
    (folder / "tmp").mkdir()


def run(folder: Path, *arguments: str, gpus: str = "0,1,2", status: int = 0) -> str:
    return run_snakemake(
        folder,
        *("results/v/s/scores.parquet", "--snakefile", str(SNAKEFILE), *arguments),
        commands=folder / "bin",
        variables={"CUDA_VISIBLE_DEVICES": gpus, "TMPDIR": str(folder / "tmp")},
        status=status,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "needed"), [(3, 1), (4, 2)])
def test_jobs_that_run_at_once_have_gpus_of_their_own(
    tmp_path: Path, gpus: int, needed: int
) -> None:
    folder = tmp_path / "p"
    write_machine(folder, gpus=gpus, needed=needed, shards=5)
    run(
        folder,
        *("--profile", str(PROFILES / "workstation"), "--cores", str(gpus)),
        *("--resources", f"gpu={gpus}"),
        gpus=",".join(map(str, range(gpus))),
    )
    notes = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    assert len(notes) == 5
    assert {gpu for given, _, _ in notes for gpu in given} == set(range(gpus))
    assert all(len(set(given)) == needed for given, _, _ in notes)
    at_once = [
        (one, other)
        for (one, begin, end), (other, start, stop) in combinations(notes, 2)
        if begin < stop and start < end
    ]
    assert at_once, "jobs have to run at once for this test"
    assert all(not set(one) & set(other) for one, other in at_once)
    shards = json.loads((folder / "results/v/s/run.json").read_text())["shards"]
    assert len(shards) == 5


# --- GPUs that are not there


@pytest.mark.parametrize(("visible", "has"), [("", "none"), ("-1", "none"), ("0", "1")])
def test_a_run_without_its_gpus_ends_before_its_first_job(
    tmp_path: Path, visible: str, has: str
) -> None:
    folder = tmp_path / "p"
    write_machine(folder, gpus=0, needed=2, shards=1)
    arguments = ("--cores", "1", "--resources", "gpu=4")
    output = run(folder, *arguments, gpus=visible, status=1)
    lines = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert lines == [
        f"Error: models.m.gpus: 2 required, but this machine has {has}. Set gpus: 0 to run on the "
        "CPU, or run on a cluster with `--profile workflow/profiles/slurm`."
    ]
    assert "Traceback" not in output
    assert not (folder / "results").exists()
    assert not list(folder.glob(".snakemake/locks/*"))
    # The plan of a run that another machine will do, and jobs that need no GPU.
    run(folder, *arguments, "--dry-run", gpus=visible)
    run(folder, *arguments, "--until", "windows", gpus=visible)
    assert (folder / "results/v/s/windows/1-of-1.parquet").exists()


def config_of(gpus: int) -> Any:
    return load_config(make_config(model={"gpus": gpus}), look_for_files=False)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "dev").mkdir()
    return tmp_path / "dev"


def is_refused(gpus: int, dev: Path) -> bool:
    try:
        require_gpus(config_of(gpus), ["s"], dev)
    except InputError:
        return True
    return False


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ([], 0),
        (["null", "nvidiactl", "nvidia-uvm", "nvidia-caps"], 0),
        (["nvidia0", "nvidiactl"], 1),
        (["nvidia0", "nvidia1", "nvidia10"], 3),
        (["nvidia0", "dri/renderD128"], 1),
    ],
)
def test_device_files_of_nvidia_are_counted(dev: Path, files: list[str], most: int) -> None:
    for name in files:
        (dev / name).parent.mkdir(exist_ok=True)
        (dev / name).touch()
    assert not is_refused(most, dev)
    assert is_refused(most + 1, dev)


@pytest.mark.parametrize("file", ["kfd", "dxg", "dri/renderD128", "nvmap"])
def test_what_may_be_a_gpu_of_another_kind_is_left_to_the_job(dev: Path, file: str) -> None:
    (dev / file).parent.mkdir(exist_ok=True)
    (dev / file).touch()
    assert not is_refused(8, dev)


def test_only_linux_is_looked_at(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not is_refused(1, dev)


@pytest.mark.parametrize(
    ("visible", "most"),
    [("", 0), ("-1", 0), ("NoDevFiles", 0), ("3", 1), ("0,-1,2", 1), ("GPU-8a56, MIG-77", 2)],
)
def test_visible_devices_are_counted_as_cuda_does(
    dev: Path, monkeypatch: pytest.MonkeyPatch, visible: str, most: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert not is_refused(most, dev)
    assert is_refused(most + 1, dev)


def test_a_scoring_without_jobs_to_run_needs_no_gpu(dev: Path) -> None:
    require_gpus(config_of(1), [], dev)
