"""Snakemake as a user starts it, but for the imports, which are done once for all runs.

The command of its jobs is a copy too (see `commands`), unless a test has one of its own or sets
variables.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.workflow.commands import COMMANDS, start_commands

SNAKEFILE = Path(__file__).parents[2] / "workflow" / "Snakefile"
TIME_LIMIT_S = 900

# Imports take half of the time of a short run. This process imports what Snakemake and the
# Snakefile import, and for each order it reads makes a copy of itself, which then is
# `python -m snakemake` in every respect: its own folder, environment, arguments, output and end.
SERVER = """
import gc, json, os, runpy, signal, sys
import evo2_tasks.jobs, smart_open, snakemake.cli

snakemake.cli.get_argument_parser()  # imports the plug-ins
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    copy = os.fork()
    if not copy:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)
else:
    sys.exit()
os.chdir(order["folder"])
os.environ.clear()
os.environ.update(order["variables"])
for stream, file in enumerate((os.devnull, order["output"], order["output"])):
    os.dup2(os.open(file, os.O_RDWR | os.O_APPEND), stream)
signal.alarm(order["time_limit_s"])
sys.argv = ["snakemake", *order["arguments"]]
runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
"""


@cache
def _start_server() -> "subprocess.Popen[str]":
    """The server of this process; it ends with its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def run_workflow(
    folder: Path, *arguments: str, cores: int = 1, variables: Mapping[str, str] | None = None
) -> str:
    """Run the workflow of the checkout in a folder to its end; gives what it printed.

    Args:
        folder: The working directory; its `config.yaml` is the config, if it has one.
        arguments: Targets and options.
        cores: Cores for the jobs.
        variables: Variables of the environment, besides those of this process.
    """
    arguments = ("--snakefile", str(SNAKEFILE), "--cores", str(cores), *arguments)
    return run_snakemake(folder, *arguments, variables=variables)


def run_snakemake(
    folder: Path,
    *arguments: str,
    commands: Path = COMMANDS,
    variables: Mapping[str, str] | None = None,
    status: int = 0,
) -> str:
    """Run Snakemake, which has to exit with a status; gives what it printed.

    Args:
        folder: The working directory.
        arguments: All options but those about colours.
        commands: The folder of `evo2-tasks`, first on the path.
        variables: Variables of the environment, besides those of this process.
        status: The status to exit with.
    """
    copies = [str(start_commands())] if commands is COMMANDS and variables is None else []
    path = os.pathsep.join([*copies, str(commands), os.environ["PATH"]])
    server = _start_server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile() as file:
        order = {
            "folder": str(folder.absolute()),
            "arguments": ["--nocolor", *arguments],
            "variables": os.environ | {"PATH": path} | (variables or {}),
            "output": file.name,
            "time_limit_s": TIME_LIMIT_S,
        }
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        ended = server.stdout.readline()
        output = file.read().decode()
    assert ended == f"{status}\n", output
    return output
