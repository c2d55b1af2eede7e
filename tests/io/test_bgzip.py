from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from evo2_tasks.io.bgzip import BLOCK_BYTES, BgzfWriter
from tests.table.build import make_row, write_result


def pack(pieces: list[bytes]) -> bytes:
    file = io.BytesIO()
    with BgzfWriter(file) as out:
        for piece in pieces:
            out.write(piece)
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 300_000])
def test_text_comes_back_even_if_nothing_compresses(tmp_path: Path, size: int):
    text = random.Random(size).randbytes(size)
    packed = pack([text])
    assert gzip.decompress(packed) == text
    (tmp_path / "x.gz").write_bytes(packed)
    with pysam.BGZFile(str(tmp_path / "x.gz")) as file:
        assert file.read() == text


def test_the_bytes_do_not_depend_on_the_pieces():
    text = b"ACGT\n" * 50_000
    pieces = [text[start : start + 777] for start in range(0, len(text), 777)]
    assert pack(pieces) == pack([text])


def test_bytes_are_those_that_pysam_knows_the_end_of(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"")
    pysam.tabix_compress(str(tmp_path / "plain"), str(tmp_path / "x.gz"))
    assert pack([]) == (tmp_path / "x.gz").read_bytes()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf import export_vcf
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    export_vcf(Path(sys.argv[1]), Path(sys.argv[2]), variants=None)
except InputError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path):
    table = write_result(tmp_path / "x.parquet", [make_row(number) for number in range(3000)])
    target = tmp_path / "x.vcf.gz"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(table), str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{target}: cannot be written: File too large\n"
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
