"""The examples of the documentation: the blocks of its pages, run as a reader would run them.

The blocks of a page are run in their order, in a folder that looks like the checkout. Blocks of
`sh`, `console`, `python` and `sql` are programs. A block of another language whose paragraph ends
with a name and a colon, as in "The config, as `cohort.yaml`:", is written to a file of this name.
A block of `text` right after a program is what the program prints, also in part: a line `...`
stands for any lines, `...` in a line for any text, and lines before and after may be missing.
Numbers are compared to within what another CPU changes.

`tests/snippets.yaml` names the blocks that are not run, with the reason, and what a page needs.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import yaml

from tests.workflow.commands import start_commands

ROOT = Path(__file__).parent.parent
PROGRAMS = {"sh", "console", "python", "sql", "r"}
TIME_LIMIT_S = 1800

OF_THE_CHECKOUT = (
    *("Makefile", "pyproject.toml", "constraints.txt", "benchmarks"),
    *("config.brca1.yaml", "config.calibration.yaml"),
)
"""What the folder of a page has besides copies of `config.yaml` and `data` and the workflow."""

NOT_IN_EXAMPLES = (
    *("apptainer", "apt-get", "aws", "bsub", "conda", "docker", "kubectl", "pip", "qsub"),
    *("sbatch", "scancel", "srun", "sudo"),
)
"""Programs that change the machine or a cluster: a block with one of them has an entry."""

STRICT = "set -eu -o pipefail"

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
NAMED = re.compile(r"`(?P<name>[\w.-]+\.\w+)`[^`.;]*:\n\n *\Z")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
OF_THE_MACHINE = re.compile(r"\bAVX[\w-]*|(?<=\bversion)[= ]+\d\S*")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: What follows the three backquotes.
        text: Its lines, without the indentation of the block.
        file: The file that it is the content of, if the paragraph before it names one.
    """

    language: str
    text: str
    file: str | None

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Entry:
    """How the blocks of a page are run.

    Attributes:
        slow: Why they take long; empty if they do not.
        demo: Whether they need the finished demo, as README.md makes it.
        before: A line of the shell that makes what the page takes as given.
        instead: Names of files and alleles of the reader, and what takes their place.
        other: Why blocks are not run here, by the beginning of their first line. The reason may
            be the name of a test that runs them.
        all_other: The reason for all blocks of the page.
    """

    slow: str = ""
    demo: bool = False
    before: str = ""
    instead: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    all_other: str = ""

    def reason(self, block: Block) -> str:
        """Why a block is not run; empty if it is."""
        reasons = [one for line, one in self.other.items() if block.first_line.startswith(line)]
        return self.all_other or "".join(reasons)

    def replaced(self, block: Block) -> Block:
        """A block with what takes the place of the reader's files."""
        text = block.text
        for name, other in self.instead.items():
            text = text.replace(name, other)
        return Block(block.language, text, block.file)


ENTRIES = {
    page: Entry(**values)
    for page, values in yaml.safe_load(
        (ROOT / "tests" / "snippets.yaml").read_text(encoding="utf-8")
    ).items()
}


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = []
    for match in FENCE.finditer(text):
        lines = [
            line.removeprefix(match["indent"]) for line in match["text"].splitlines(keepends=True)
        ]
        named = None if match["language"] in PROGRAMS else NAMED.search(text[: match.start()])
        blocks.append(Block(match["language"], "".join(lines), named["name"] if named else None))
    return blocks


def make_folder(folder: Path) -> None:
    """Make a folder that looks like the checkout to who runs commands in it."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / ".installed").touch()  # for make, which then does not install again
    (folder / ".venv" / "bin" / "evo2-tasks").symlink_to(start_commands() / "evo2-tasks")
    (folder / ".venv" / "bin" / "snakemake").symlink_to(Path(sys.executable).parent / "snakemake")
    for name in NOT_IN_EXAMPLES:
        program = folder / ".venv" / "bin" / name
        program.write_text(f"#!/bin/sh\necho '{name}: not in the examples' >&2\nexit 1\n")
        program.chmod(0o755)
    for name in (*OF_THE_CHECKOUT, "workflow"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "data", folder / "data")
    shutil.copy(ROOT / "config.yaml", folder)


def variables(folder: Path) -> dict[str, str]:
    """The environment of the programs."""
    path = os.pathsep.join(
        [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    return os.environ | {
        "PATH": path,
        "NO_COLOR": "1",
        "CHECKOUT": str(ROOT),
    }


def run_page(page: str, folder: Path) -> list[str]:
    """Run the blocks of a page in a folder; gives what is not as the page shows it."""
    entry, wrong = ENTRIES[page], []
    if entry.before:
        run_shell(entry.before, folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for original in read_blocks(page):
        shown, printed = printed, None
        if entry.reason(original):
            continue
        block = entry.replaced(original)
        if block.language == "text" and shown is not None:
            wrong += [f"{page}: not printed: {line}" for line in missing(block.text, shown)]
        elif block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            wrong += run_console(page, block.text, folder)
        elif block.language == "sh":
            printed = run_shell(block.text, folder)
        elif block.language == "python":
            printed = run_python(block.text, folder, names)
        elif block.language == "sql":
            with contextlib.chdir(folder), duckdb.connect() as connection:
                connection.sql(block.text).fetchall()
    return wrong


def run_shell(text: str, folder: Path, *, may_fail: bool = False) -> str:
    """Run lines of a shell; gives what they print."""
    done = subprocess.run(
        # `timeout` ends all processes that the lines have started.
        ["timeout", f"{TIME_LIMIT_S}", "bash", "-c", text if may_fail else f"{STRICT}\n{text}"],
        cwd=folder,
        env=variables(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert may_fail or done.returncode == 0, f"{text}\n{done.stdout}"
    assert "\\n" not in done.stdout, f"{text}\n{done.stdout}"
    return done.stdout


def run_python(text: str, folder: Path, names: dict[str, Any]) -> str:
    """Run a program with the names of those before it on the page; gives what it prints."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, "example", "exec"), names)  # noqa: S102 # an example of our own page
    return printed.getvalue()


def run_console(page: str, text: str, folder: Path) -> Iterator[str]:
    """Run the commands of a session; gives the lines that they do not print."""
    for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, shown = re.fullmatch(r"((?:.*\\\n)*.*\n)(.*)", command, re.DOTALL).groups()  # type: ignore[union-attr]
        printed = run_shell(line, folder, may_fail=True)
        for one in missing(shown, printed):
            yield f"{page}: {shlex.split(line)[:3]}: not printed: {one}"


def missing(shown: str, printed: str) -> list[str]:
    """The lines that are shown and not printed, in this order."""
    rest, not_found = iter(printed.splitlines()), []
    for part in re.split(r"^\s*\.\.\.\s*$", shown, flags=re.MULTILINE):
        lines = [line for line in part.splitlines() if line.strip()]
        if not lines:
            continue
        if not any(equal(lines[0], line) for line in rest):
            return [*not_found, lines[0]]
        found = [line for line in (next_line(rest) for _ in lines[1:]) if line is not None]
        pairs = zip(lines[1:], [*found, *[""] * len(lines)], strict=False)
        not_found += [one for one, line in pairs if not equal(one, line)]
    return not_found


def next_line(lines: Iterator[str]) -> str | None:
    """The next line that is not empty."""
    return next((line for line in lines if line.strip()), None)


def equal(shown: str, printed: str) -> bool:
    """Whether two lines are equal but for blanks, CPU, version and last digits of numbers."""
    one, other = (OF_THE_MACHINE.sub("_", " ".join(line.split())) for line in (shown, printed))
    if NUMBER.sub("0", one) != NUMBER.sub("0", other):
        parts = [re.escape(part) for part in one.split("...")]
        return len(parts) > 1 and re.fullmatch(".*".join(parts), other) is not None
    return all(
        a == b or ("." in a + b and is_close(a, b))
        for a, b in zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    )


def is_close(shown: str, printed: str) -> bool:
    a, b = (float(text.replace(",", "")) for text in (shown, printed))
    return abs(a - b) <= 2e-3 * max(1.0, abs(a))
