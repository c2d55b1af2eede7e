"""What reaches a terminal: text without control characters, of every command and library."""

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.io.streams import LineFormatter, LogStream, PlainStream, plain_streams
from evo2_tasks.io.words import without_controls
from evo2_tasks.jobs import Messages, stop_run
from tests import processes
from tests.project import make_config, write_project

# Harmless where a terminal does act on it: bold, a bell, a mark of direction, the C1 form of bold,
# a return that would overwrite the line.
HOSTILE = "a\x1b[1mb\x07c\u202ed\x9b1me\rf"
SHOWN = r"a\x1b[1mb\x07c\u202ed\x9b1me\rf"


def find_controls(text: str) -> set[str]:
    """Characters that a terminal may act on, by Unicode's categories."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")}


@given(st.text())
def test_a_text_keeps_its_printable_characters_and_nothing_else(text: str) -> None:
    plain = without_controls(text, keep="\t")
    assert find_controls(plain) <= {"\t"}
    assert plain.isprintable() or "\t" in plain
    if text.isprintable():
        assert plain == text


def test_what_libraries_print_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("a library")
    log.propagate = False
    with plain_streams():
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)
        sys.stderr.writelines([HOSTILE, "\n"])
        handler = logging.StreamHandler()
        log.addHandler(handler)
        log.warning(HOSTILE)
        log.removeHandler(handler)
        for _ in tqdm(range(2), desc=HOSTILE):
            pass
    out, err = capsys.readouterr()
    assert find_controls(out) == {"\n"}
    assert find_controls(err) == {"\n", "\r"}
    assert err.count(SHOWN) >= 4
    # A return is only before a bar that is drawn again.
    bars = [line.rpartition("\r")[2] for line in err.split("\n") if "\r" in line]
    assert bars
    assert all(bar.startswith(SHOWN) for bar in bars)


def test_a_bar_is_drawn_as_without_the_guard() -> None:
    drawn = []
    for stream in (io.StringIO(), PlainStream(io.StringIO())):
        for _ in tqdm(range(3), desc="x", file=stream, mininterval=0, bar_format="{desc} {n}"):
            pass
        drawn.append(stream.getvalue())
    assert drawn[0] == drawn[1]
    assert "\r" in drawn[0]


def test_a_message_of_the_log_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("one line")
    log.propagate = False
    with plain_streams():
        handler = LogStream()
        handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
        log.error("%s: not found", f"x\nINFO all is well{HOSTILE}")
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            log.exception("a bug")
        log.removeHandler(handler)
    lines = capsys.readouterr().err.split("\n")
    assert lines[0] == rf"ERROR x\nINFO all is well{SHOWN}: not found"
    assert lines[-2] == f"ValueError: {SHOWN}"


def run_command(arguments: list[str], folder: Path, streams: list[Path]) -> None:
    """The command as a process that writes to these files."""
    os.chdir(folder)
    for number, file in zip((1, 2), streams, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    main(arguments, prog_name="evo2-tasks")


@pytest.fixture(scope="module")
def hostile_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, its folder, its contig and its logs with control characters in their names."""
    folder = tmp_path_factory.mktemp("x") / HOSTILE
    name = HOSTILE.replace("\r", "")
    project = write_project(
        folder,
        genome={name: "ACGT" * 100},
        variants="##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"{name}\t50\t.\tC\tT\t.\t.\t.\n{HOSTILE}other\t5\t.\tA\tT\t.\t.\t.\n",
    )
    results = folder / "results"
    (results / HOSTILE / "shards").mkdir(parents=True)
    (results / HOSTILE / "s" / "windows").mkdir(parents=True)
    log = results / "logs" / "split" / f"{HOSTILE}.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"2026 ERROR {HOSTILE}\n")
    broken = {**project.config, HOSTILE: 1}
    (folder / "broken.json").write_text(json.dumps(broken))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", f"{HOSTILE}.parquet"],
        ["show", "x", HOSTILE],
        [HOSTILE],
        ["show", f"--{HOSTILE}"],
        ["query", f"{HOSTILE}.parquet", HOSTILE],
        ["status", "results"],
        ["status", HOSTILE],
        ["plan", "--config", "broken.json"],
        ["plan", "--config", "config.json"],
        ["split", "--config", "config.json", "--variant-set", HOSTILE, "--out", "o"],
        ["split", "--config", "config.json", "--variant-set", "v", "--out", HOSTILE],
        ["merge", "--config", "config.json", "--log", HOSTILE],
        ["export", "--to", "vcf", f"{HOSTILE}.parquet"],
        ["export", "--to", HOSTILE, "x"],
        ["fetch", HOSTILE],
        ["fetch", f"owner/{HOSTILE}@main"],
        ["convert", HOSTILE, "o"],
    ],
    ids=ascii,
)
def test_no_command_writes_a_control_character(
    hostile_project: Path, tmp_path: Path, arguments: list[str]
) -> None:
    files = [tmp_path / "stdout", tmp_path / "stderr"]
    status = processes.wait(processes.start(run_command, arguments, hostile_project, files))
    stdout, stderr = (file.read_bytes().decode() for file in files)
    assert status is not None
    assert find_controls(stdout) <= {"\n", "\t"}
    assert find_controls(stderr) <= {"\n", "\t"}
    assert stdout + stderr
    assert "Traceback" not in stderr


def test_messages_of_snakemake_are_plain() -> None:
    config = load_config(make_config(), look_for_files=False)
    fields: dict[str, Any] = {
        "msg": f"line\n{HOSTILE}", "input": [HOSTILE, "b"], "aux": {"a": HOSTILE}, "log": [],
        "jobid": 1, "levelno": logging.INFO,
    }  # fmt: skip
    record = logging.makeLogRecord(fields)
    assert Messages(config).filter(record)
    message = vars(record)
    assert message["msg"] == f"line\n{SHOWN}"
    assert message["input"] == [SHOWN, "b"]
    assert message["aux"] == {"a": SHOWN}
    assert stop_run(InputError(HOSTILE)).code == f"Error: {SHOWN}"


def test_a_traceback_is_plain(tmp_path: Path) -> None:
    code = "from evo2_tasks.io.streams import plain_streams\nwith plain_streams():\n"
    code += f"    raise RuntimeError({HOSTILE!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().endswith(f"RuntimeError: {SHOWN}\n")


def test_a_message_with_arguments_can_still_be_formatted() -> None:
    record = logging.LogRecord("snakemake", logging.INFO, "", 1, "%s of %s", (HOSTILE, "b"), None)
    assert Messages(load_config(make_config(), look_for_files=False)).filter(record)
    assert record.getMessage() == f"{SHOWN} of b"
