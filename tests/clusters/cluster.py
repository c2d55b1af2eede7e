"""A project whose jobs are ready to be submitted, and commands in the place of a scheduler's."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import HEADER, write_project, write_split

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
PROFILES = ROOT / "workflow" / "profiles"
TIME_LIMIT_S = 240

SCORINGS = {"cpu": 0, "one": 1, "two": 2, "stored": 1}
"""GPUs of the model of each scoring. The store has all scores of the last one."""
TARGETS = {
    "split": "results/w/shards",
    **{name: f"results/v/{name}/scores/1-of-1.parquet" for name in SCORINGS},
}
"""The file that each job makes: a step that needs no model, and the scoring jobs."""


def name_job(text: str) -> str | None:
    """The job that a text is about; None if it is about none."""
    found = re.search(r"(?:results/v/|scoring=)(cpu|one|two|stored)\b", text)
    if found:
        return found[1]
    return (
        "split" if re.search(r"results/w/shards|Splitting the variants of w|split:", text) else None
    )


def find_plugin(name: str) -> None:
    """Skip the test if a plugin of Snakemake is not installed."""
    if importlib.util.find_spec(f"snakemake_executor_plugin_{name}") is None:
        pytest.skip(f"snakemake-executor-plugin-{name.replace('_', '-')} is not installed")


@dataclass(frozen=True)
class Asked:
    """What a job with one thread asks a scheduler for."""

    gpus: int
    mem_mb: int
    minutes: int


# Notes its arguments, and the script that is the last one or is read, and prints a number, as a
# command that submits a job does.
SUBMIT = """#!{python}
import fcntl, json, sys
from pathlib import Path
script = sys.stdin.read() if sys.argv[-1] == "-" else ""
found = [line for line in script.splitlines() if line.startswith("executable = ")]
path = Path(found[0].partition(" = ")[2] if found else sys.argv[-1])
script += path.read_text() if path.is_file() else ""
with open({notes!r}, "a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(json.dumps(" ".join(sys.argv[1:]) + " " + script) + "\\n")
    file.seek(0)
    number = 100 + len(file.readlines())
print({answer!r}.replace("NUMBER", str(number)))
"""


@dataclass(frozen=True)
class Cluster:
    """A folder with the project, commands that stand in for a scheduler's, and their notes."""

    folder: Path
    targets: Sequence[str]

    @property
    def notes(self) -> list[str]:
        """The request of each submission."""
        lines = (self.folder / "submitted").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def write_command(self, name: str, text: str) -> None:
        """Write a command that takes the place of one of the scheduler."""
        command = self.folder / "bin" / name
        command.write_text(text)
        command.chmod(0o755)

    def write_submit(self, name: str, answer: str) -> None:
        """Write a command that notes a request and prints the answer with the job's NUMBER."""
        notes = str(self.folder / "submitted")
        self.write_command(name, SUBMIT.format(python=sys.executable, notes=notes, answer=answer))

    @property
    def variables(self) -> dict[str, str]:
        folders = [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return os.environ | {"PATH": os.pathsep.join(folders)}

    def run(self, *arguments: str, status: int) -> str:
        """Run Snakemake, which has to exit with a status; gives what it printed."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", *self.targets, "--snakefile", str(SNAKEFILE)),
                *("--nocolor", "--seconds-between-status-checks", "1", *arguments),
            ],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        assert done.returncode == status, done.stdout[-6000:]
        return done.stdout

    def ask(self, script: str, number: str) -> str:
        """The state of a job by a script of the profiles."""
        command = [str(PROFILES / script), number]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.strip()


def write_cluster(folder: Path, jobs: Sequence[str] = tuple(TARGETS)) -> Cluster:
    """A project in which these jobs are ready to run; none of them ever does."""
    folder.mkdir(parents=True, exist_ok=True)
    project = write_project(
        folder,
        genome={"c": "ACGT" * 60},
        variants=HEADER + "c\t101\t.\tA\tC\t.\t.\t.\n",
        models={name: {"checkpoint": "evo2-mini", "gpus": gpus} for name, gpus in SCORINGS.items()},
        scorings={name: {"model": name, "window_length": 64} for name in SCORINGS},
        output="results",
        shards=1,
        run={"store": "store"},
    )
    config = project.config
    config["variant_sets"]["w"] = config["variant_sets"]["v"]
    (folder / "config.yaml").write_text(json.dumps(config))
    for name in ("bin", "store"):
        (folder / name).mkdir()
    write_split(folder / "results/v/shards/split.json")
    for kind in ("windows", "hits"):
        for scoring in SCORINGS:
            made = folder / f"results/v/{scoring}/{kind}"
            made.mkdir(parents=True)
            (made / "1-of-1.parquet").touch()
            (made / ("1-of-1.segments.parquet" if kind == "windows" else "1-of-1.json")).touch()
    for scoring in SCORINGS:
        missing = 0 if scoring == "stored" else 80
        found: dict[str, object] = {
            "alleles": 80,
            "hits": 80 - missing,
            "missing": missing,
            "tokens_missing": 9,
        }
        found |= {"weights": "0" * 64, "table_digest": "0" * 64}
        (folder / f"results/v/{scoring}/hits/1-of-1.json").write_text(json.dumps(found))
    return Cluster(folder, [TARGETS[job] for job in jobs])
