"""A project whose scoring jobs note their calls of the model, and can be made to die."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

from tests.project import write_demo

ROOT = Path(__file__).parent.parent
SNAKEFILE = ROOT / "workflow" / "Snakefile"
PROFILE = ROOT / "workflow" / "profiles"
NUM_ALLELES = 96
TABLE = "results/v/s/scores.parquet"
TIME_LIMIT_S = 600

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
    """A folder with a config, the command, and the demo's first variants.

    Args:
        folder: The folder.
        shards: Number of shards.
        placed: A project of as many shards that has run. Its shards and windows are copied, so that
            only `score` and `merge` have jobs.
    """

    def __init__(self, folder: Path, *, shards: int, placed: Self | None = None) -> None:
        self.folder = folder
        for name in ("bin", "disturb", "waiting"):
            (folder / name).mkdir(parents=True)
        command = folder / "bin" / "evo2-tasks"
        command.write_text(COMMAND.format(python=sys.executable, folder=str(folder)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        run = {"batch_tokens": 1_024, "part_tokens": 2_048}
        write_demo(folder, NUM_ALLELES, shards=shards, run=run)
        if placed is not None:
            os.utime(folder / "in.vcf", (0, 0))  # older than what was made from it
            for name in ("shards", "s/windows"):
                part = Path("results") / "v" / name
                shutil.copytree(placed.folder / part, folder / part)

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
            *("--slurm-init-seconds-before-status-checks", "2"),
            *("--set-resources", *resources),
        ]

    def shards(self) -> list[dict[str, Any]]:
        run = json.loads(self.table.with_name("run.json").read_text())
        shards: list[dict[str, Any]] = run["shards"]
        return shards


def run_locally(folder: Path, *, shards: int) -> Project:
    """The undisturbed run on this machine."""
    project = Project(folder, shards=shards)
    project.run("--profile", str(PROFILE / "local"), "--cores", "2")
    return project
