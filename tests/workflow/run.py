"""Snakemake in a process of its own, as a user starts it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SNAKEFILE = Path(__file__).parents[2] / "workflow" / "Snakefile"
COMMANDS = Path(sys.executable).parent
TIME_LIMIT_S = 900


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
    path = os.pathsep.join([str(commands), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--nocolor", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path} | (variables or {}),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output
