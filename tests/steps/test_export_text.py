"""`export --out -`: the same text on standard output as in the file."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from evo2_tasks.layout import EXPORTS
from tests.project import HEADER, run_steps, write_project

GENOME = {"chr": "ACGTTGCAAC" * 40}
VARIANTS = HEADER + "".join(f"chr\t{pos}\t.\tA\tC,G\t.\t.\t.\n" for pos in range(101, 201, 10))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return run_steps(write_project(folder, genome=GENOME, variants=VARIANTS).load(), folder)


def export(table: Path, *arguments: object, out: str = "-") -> subprocess.CompletedProcess[bytes]:
    command = "from evo2_tasks.cli import main; main()"
    words = ["export", "--out", out, *map(str, arguments), str(table)]
    return subprocess.run(
        [sys.executable, "-c", command, *words], capture_output=True, check=False, cwd=table.parent
    )


@pytest.mark.parametrize("to", EXPORTS)
def test_the_text_is_that_of_the_file(table: Path, tmp_path: Path, to: str) -> None:
    file = tmp_path / EXPORTS[to]
    export(table, "--to", to, out=str(file))
    text = file.read_bytes()
    done = export(table, "--to", to)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (gzip.decompress(text) if file.suffix == ".gz" else text)
    assert len(text) > 100
    assert not list(table.parent.glob("-*"))


def test_an_error_writes_nothing(table: Path) -> None:
    done = export(table, "--to", "vcf", "--variants", "nowhere.vcf")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"nowhere.vcf" in done.stderr


def test_a_full_disk_is_one_line(table: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = "from evo2_tasks.cli import main; main()"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", command, "export", "--to", "tsv", "--out", "-", str(table)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(b"ERROR: standard output: cannot be written")


def test_a_reader_that_ends_early_is_no_error(table: Path) -> None:
    command = (
        f"{sys.executable} -c 'from evo2_tasks.cli import main; main()' export --to tsv --out -"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} '{table}' | head -1"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
