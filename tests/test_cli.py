"""The command line: exit codes, one line for a mistake, standard input, the log file."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from tests.evaluation.build import LABELS, make_columns, write_page, write_scoring
from tests.project import write_project

COMMAND = Path(sys.executable).with_name("evo2-tasks")
VCF = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nc\t3\t.\tG\tA,T\nc\t4\t.\tT\t<DEL>\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path, genome={"c": "ACGTACGT"}, variants=VCF).config_file


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_variants_may_come_from_standard_input(
    config: Path, tmp_path: Path, compress: type[bytes]
) -> None:
    (tmp_path / "in.vcf").unlink()
    done = run(
        *("split", "--config", config, "--variant-set", "v", "--variants", "-"),
        *("--out", tmp_path / "shards"),
        stdin=compress(VCF),
    )
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "shards" / "1-of-1.parquet").to_pylist()
    assert [row["alt"] for row in rows] == ["A", "T", "<DEL>"]


def test_the_config_may_come_from_standard_input(config: Path, tmp_path: Path) -> None:
    done = run(
        *("split", "--config", "-", "--variant-set", "v", "--out", tmp_path / "shards"),
        stdin=config.read_bytes(),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        (b"", b"empty"),
        (b">c\nACGT\n", b"FASTA"),
        (gzip.compress(VCF, mtime=0)[:-12], b"truncated"),
        (b"\0\1\2rubbish", b"in.vcf"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(
    config: Path, tmp_path: Path, variants: bytes, said: bytes
) -> None:
    (tmp_path / "in.vcf").write_bytes(variants)
    log = tmp_path / "logs" / "split.log"
    out = tmp_path / "shards"
    done = run("split", "--config", config, "--variant-set", "v", "--out", out, "--log", log)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(b"ERROR: ")
    assert said in lines[0]
    assert lines[0].removeprefix(b"ERROR: ") in log.read_bytes()
    assert not list(out.glob("*.parquet"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["split", "--variant-set", "w"], b"'w'"),
        (["split", "--variant-set", "v", "--variants", "nowhere.vcf"], b"nowhere.vcf"),
        (["windows", "--variant-set", "v", "--scoring", "t"], b"'t'"),
    ],
)
def test_a_wrong_name_is_one_line(
    config: Path, tmp_path: Path, arguments: list[str], said: bytes
) -> None:
    files = ["shard", "split", "segments"] if arguments[0] == "windows" else []
    paths = [text for name in files for text in (f"--{name}", tmp_path / name)]
    done = run(*arguments, "--config", config, "--out", tmp_path / "shards", *paths)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_no_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("no table")
    for arguments in (["show"], ["export", "--to", "tsv"]):
        done = run(*arguments, tmp_path / "no.parquet")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert run("show", tmp_path / "missing.parquet").returncode == 2


def test_metrics_are_shown_with_their_table_and_alone(tmp_path: Path) -> None:
    table = write_scoring(tmp_path / "one", make_columns(60))
    write_page(tmp_path, **LABELS)
    both, alone = run("show", table), run("show", table.with_name("metrics.parquet"))
    assert both.returncode == alone.returncode == 0, alone.stderr
    assert alone.stdout in both.stdout
    assert b"KIND: positive: bad; negative: good\n" in alone.stdout
    assert b"KIND: auroc of llr: 0." in alone.stdout
    curves = run("show", table.with_name("curves.parquet"))
    assert curves.returncode == 0
    assert b"Kind of the curve" in curves.stdout
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    other = run("show", tmp_path / "other.parquet")
    assert other.returncode == 2
    assert b"Expected a Parquet file that a step of evo2-tasks wrote" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_each_command_says_what_it_does() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, command in main.commands.items():
        assert command.help, name
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


WRITTEN = [
    (name, option.opts[0])
    for name, command in main.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
    and option.metavar == "FILE"
    and option.expose_value  # not --log, which other tests are about
    and re.search(r"\bto write\b|\bto add to\b|^Write", option.help or "")
]


@pytest.mark.parametrize(("command", "option"), WRITTEN)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, command: str, option: str
) -> None:
    (tmp_path / "file").touch()
    for target, problem in (
        (tmp_path, "is not a regular file"),
        (tmp_path / "file" / "below", "is not a folder"),
    ):
        # Without its other options the command cannot have worked.
        result = CliRunner().invoke(main, [command, option, str(target)])
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert str(target) in line
        assert problem in line
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        (
            "plotly",
            [
                *("report", "--config", "config.yaml", "--variant-set", "mitomap"),
                *("--results", "r", "--out", "p"),
            ],
            "evaluation",
        ),
        ("torch", ["convert", "a.pt", "b"], "torch"),
    ],
)
def test_a_command_whose_extra_is_missing_names_it(
    module: str, arguments: list[str], extra: str
) -> None:
    block = f"import sys; sys.modules[{module!r}] = None; from evo2_tasks.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", block, *arguments],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{arguments[0]}: needs {module}" in line
    assert f".[{extra}]" in line


def split_arguments(config: Path, out: Path) -> list[object]:
    return ["split", "--config", config, "--variant-set", "v", "--out", out]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_log_is_one_line_and_the_step_goes_on(
    config: Path, tmp_path: Path
) -> None:
    done = run(*split_arguments(config, tmp_path / "shards"), "--log", "/dev/full")
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if not line.startswith(b"INFO: ")]
    assert len(warnings) == 1, done.stderr
    assert warnings[0].startswith(b"WARNING: --log: /dev/full cannot be written: ")
    assert b"3 alleles of 2 records" in done.stderr
    assert len(pq.read_table(tmp_path / "shards" / "1-of-1.parquet")) == 3


def test_a_log_that_cannot_be_made_is_one_line(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for log in (tmp_path / "file" / "split.log", tmp_path):
        done = run(*split_arguments(config, tmp_path / "shards"), "--log", log)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(b"ERROR: --log: ")
        assert b"cannot be written" in line
    assert not (tmp_path / "shards").exists()


def test_a_log_that_is_removed_during_the_run_does_not_end_it(config: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "split.log"
    remove = (
        "import shutil, sys; from evo2_tasks.steps import split; from evo2_tasks.cli import main;"
        "step = split.split;"
        f"split.split = lambda *a, **k: (shutil.rmtree({str(log.parent)!r}), step(*a, **k)); main()"
    )
    arguments = [*split_arguments(config, tmp_path / "shards"), "--log", log]
    done = subprocess.run(
        [sys.executable, "-c", remove, *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not log.parent.exists()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("sink", ["full", "closed", "pipe"])
def test_a_step_does_not_need_standard_error(config: Path, tmp_path: Path, sink: str) -> None:
    log = tmp_path / "split.log"
    arguments = [*split_arguments(config, tmp_path / "shards"), "--log", log]
    command = [str(COMMAND), *map(str, arguments)]
    if sink == "closed":
        done = subprocess.run(["bash", "-c", '"$@" 2>&-', "bash", *command], check=False)
    elif sink == "full":
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stderr=full, check=False)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stderr=writer, check=False)
        os.close(writer)
    assert done.returncode == 0
    assert "3 alleles of 2 records" in log.read_text()
    assert len(pq.read_table(tmp_path / "shards" / "1-of-1.parquet")) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_standard_output_is_one_line(config: Path, tmp_path: Path) -> None:
    for arguments in (["plan"], ["plan", "--json"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [str(COMMAND), *arguments, "--config", str(config)],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert done.returncode == 2
        line, *more = (line for line in done.stderr.splitlines() if not line.startswith(b"INFO: "))
        assert not more
        assert line.startswith(b"ERROR: standard output: cannot be written: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plan", "--help"]])
def test_a_full_disk_under_the_help_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [str(COMMAND), *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"ERROR: standard output: cannot be written: ")
