"""What a run that fails prints: its last lines, and the commands of the jobs that failed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.project import HEADER, write_project
from tests.workflow.run import COMMANDS, SNAKEFILE, TIME_LIMIT_S, run_snakemake

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "workflow/profiles/local"
GENOME = {"chr": "ACGTTGCAAC" * 40}
GOOD = HEADER + "chr\t101\t.\tA\tC\t.\t.\t.\nchr\t111\t.\tA\tG\t.\t.\t.\n"
SPLITS = '"window_length"'  # a key of the config, which no line of a failed run has to show

# The command as it is, except for jobs that are told to die or to wait.
COMMAND = """#!/bin/bash
log=; for word in "$@"; do [ "$before" = --log ] && log=$word; before=$word; done
order={orders}/$1-$(basename "$log" .log)
if [ -e "$order" ]; then
    how=$(cat "$order")
    mkdir -p "$(dirname "$log")"
    case $how in
        kill) echo '2026-01-01 00:00:00,000 INFO half of it' > "$log"; kill -9 $$ ;;
        once) rm "$order"; echo '2026-01-01 00:00:00,000 ERROR once' > "$log"; exit 2 ;;
        absent) exit 127 ;;
        wait) : > "$log"; touch {orders}/waiting; sleep 3600 ;;
    esac
fi
exec {real} "$@"
"""


class Project:
    """A project of the variant sets `v` and `w`, each split by the real command."""

    def __init__(self, folder: Path, **variants: str) -> None:
        project = write_project(folder, genome=GENOME)
        self.folder = folder
        self.config: dict[str, Any] = project.config
        of_set = self.config["variant_sets"].pop("v")
        for name, text in variants.items():
            (folder / f"{name}.vcf").write_text(text)
            self.config["variant_sets"][name] = of_set | {"variants": f"{name}.vcf"}
        (folder / "config.yaml").write_text(json.dumps(self.config))
        command = folder / "bin" / "evo2-tasks"
        command.parent.mkdir()
        command.write_text(COMMAND.format(orders=folder, real=COMMANDS / "evo2-tasks"))
        command.chmod(0o755)

    def order(self, job: str, how: str) -> None:
        (self.folder / job).write_text(how)

    @property
    def windows(self) -> list[str]:
        """The files of windows of all sets: what can be made without a model."""
        return [f"results/{name}/s/windows/1-of-1.parquet" for name in self.config["variant_sets"]]

    def run(self, *arguments: str, status: int = 1) -> str:
        return run_snakemake(
            self.folder,
            *("--snakefile", str(SNAKEFILE), "--profile", str(LOCAL), "--cores", "1"),
            *(*self.windows, *arguments),
            commands=self.folder / "bin",
            status=status,
        )


def last_lines(output: str) -> list[str]:
    """The lines from the header of the status on; the status is printed once."""
    lines = output.splitlines()
    (start,) = [index for index, line in enumerate(lines) if line.startswith("variant set ")]
    return lines[start:]


@pytest.mark.parametrize("quiet", [[], ["--quiet", "all"], ["--quiet", "rules", "progress"]])
def test_a_failed_run_ends_with_the_reason_of_each_failed_job(
    tmp_path: Path, quiet: list[str]
) -> None:
    project = Project(tmp_path / "p", v="hello\n", w=GOOD, x="#CHROM\tPOS\n")
    output = project.run("--keep-going", *quiet)
    header, _, *rest = last_lines(output)
    assert header.split()[-1] == "failed"
    rows, failures = rest[:-2], rest[-2:]
    assert [row.split()[0] for row in rows] == ["v", "w", "x"]
    for name, line in zip("vx", failures, strict=True):
        assert line.startswith(f"results/logs/split/{name}.log: ")
        assert f"ERROR {name}.vcf: " in line
    assert SPLITS not in output
    assert output.count("Traceback") == 0


def test_the_command_of_a_failed_job_is_shown_without_the_config(tmp_path: Path) -> None:
    output = Project(tmp_path / "p", v="hello\n").run()
    assert "CONFIG | evo2-tasks split --config - --log results/logs/split/v.log" in output
    assert SPLITS not in output
    logs = list((tmp_path / "p/.snakemake/log").iterdir())
    assert len(logs) == 1
    assert SPLITS not in logs[0].read_text()


def test_who_asks_for_the_commands_gets_them_whole(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v=GOOD)
    output = project.run("--printshellcmds", status=0)
    assert SPLITS in output
    assert "variant set " not in output, "a run that succeeds prints no status"


def test_a_killed_job_is_named_although_its_log_has_no_error(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v=GOOD, w=GOOD)
    project.order("split-v", "kill")
    project.order("split-w", "absent")
    *_, killed, absent = last_lines(project.run("--keep-going"))
    assert [killed, absent] == [
        "results/logs/split/v.log: killed without an error message, after: "
        "2026-01-01 00:00:00,000 INFO half of it",
        "results/logs/split/w.log: is empty: the command did not start, or was killed at once",
    ]


def test_a_job_that_succeeds_when_it_is_tried_again_has_not_failed(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v=GOOD, w="hello\n")
    project.order("split-v", "once")
    lines = last_lines(project.run("--keep-going", "--retries", "1"))
    assert [line.split(":")[0] for line in lines if ".log: " in line] == [
        "results/logs/split/w.log"
    ]
    assert not (project.folder / "split-v").exists()


def test_what_failed_in_an_earlier_run_is_not_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v="hello\n", w=GOOD)
    project.run()
    # Snakemake may have run the jobs of w before the one that failed.
    shutil.rmtree(project.folder / "results" / "w", ignore_errors=True)
    del project.config["variant_sets"]["v"]
    (project.folder / "config.yaml").write_text(json.dumps(project.config))
    project.order("windows-1-of-1", "kill")
    *_, line = lines = last_lines(project.run())
    assert line.startswith("results/logs/windows/w/s/1-of-1.log: killed without")
    assert not [line for line in lines if "split/v" in line]


def test_a_wrong_config_is_one_line_without_a_status(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v=GOOD)
    (project.folder / "v.vcf").unlink()
    output = project.run()
    assert next(line for line in output.splitlines() if "v.vcf" in line).startswith("Error: ")
    assert "variant set " not in output


def test_ctrl_c_ends_with_the_status_too(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v=GOOD)
    project.order("windows-1-of-1", "wait")
    said = tmp_path / "said"
    with said.open("w") as file:
        snakemake = subprocess.Popen(
            [
                *(sys.executable, "-m", "snakemake", "--nocolor", "--snakefile", str(SNAKEFILE)),
                *("--profile", str(LOCAL), "--cores", "1", *project.windows),
            ],
            cwd=project.folder,
            env=os.environ | {"PATH": f"{project.folder / 'bin'}:{os.environ['PATH']}"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    end = time.monotonic() + TIME_LIMIT_S
    while not (project.folder / "waiting").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(snakemake.pid, signal.SIGINT)
    assert snakemake.wait(timeout=TIME_LIMIT_S) == 1
    lines = last_lines(said.read_text())
    assert lines[2].split()[:5] == ["v", "s", "0", "of", "1"]
    assert lines[3].startswith("results/logs/windows/v/s/1-of-1.log: ")
    assert SPLITS not in said.read_text()


PARENT = """
module evo2:
    snakefile: {snakefile!r}
    config: {config!r}
use rule * from evo2 as evo2_*
onerror:
    print("the parent's own end")
"""


def test_a_parent_workflow_keeps_its_own_end(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", v="hello\n")
    snakefile = project.folder / "Snakefile"
    snakefile.write_text(PARENT.format(snakefile=str(SNAKEFILE), config=project.config))
    output = run_snakemake(
        project.folder, "--cores", "1", *project.windows, commands=project.folder / "bin", status=1
    )
    assert "the parent's own end" in output
    assert "variant set " not in output
    assert SPLITS not in output
