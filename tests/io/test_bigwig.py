"""bigWig files, read by pyBigWig, which shares no code with the writer."""

from __future__ import annotations

import itertools
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybigtools
import pyBigWig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.io.bigwig import MOST_BASES, Run, write_bigwig
from tests.table.build import slow_disk

LENGTHS = {"chr2": 40, "chr10": 70_000, "x": 1}


@st.composite
def runs_of_contigs(draw: st.DrawFn) -> list[Run]:
    """Sorted runs of some contigs, with gaps or without, in any order of the contigs."""
    runs = []
    for contig in draw(st.permutations([*LENGTHS])):
        length = min(LENGTHS[contig], 300)
        cuts = sorted(draw(st.sets(st.integers(0, length), max_size=20)))
        for start, end in itertools.pairwise(cuts):
            if draw(st.booleans()):
                value = draw(st.floats(width=32, allow_nan=False, allow_infinity=False))
                runs.append((contig, start, end, value))
    return runs


def read_values(file: Path) -> dict[str, np.ndarray]:
    """The value of each base, NaN where there is none."""
    with pyBigWig.open(str(file)) as reader:
        return {
            contig: np.array(reader.values(contig, 0, length), dtype=np.float32)
            for contig, length in reader.chroms().items()
        }


def expected_values(runs: list[Run]) -> dict[str, np.ndarray]:
    values = {run[0]: np.full(LENGTHS[run[0]], np.nan, dtype=np.float32) for run in runs}
    for contig, start, end, value in runs:
        values[contig][start:end] = value
    return values


@slow_disk
@given(runs=runs_of_contigs())
def test_each_base_is_read_back_by_another_library(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Run]
) -> None:
    file = tmp_path_factory.mktemp("bigwig") / "x.bw"
    assert write_bigwig(file, LENGTHS, iter(runs)) == len(runs)
    found, expected = read_values(file), expected_values(runs)
    assert found.keys() == expected.keys()
    for contig, values in expected.items():
        np.testing.assert_array_equal(found[contig], values)


def test_many_bases_are_read_back_and_their_summary_is_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=60_000).astype(np.float32)
    file = tmp_path / "x.bigWig"
    runs = [("chr10", i, i + 1, one) for i, one in enumerate(values.tolist())]
    write_bigwig(file, LENGTHS, runs)
    with pyBigWig.open(str(file)) as reader:
        np.testing.assert_array_equal(reader.values("chr10", 0, len(values), numpy=True), values)
        assert reader.header()["nBasesCovered"] == len(values)
        # From the zoom levels, which browsers show.
        mean = values[:40_000].mean(dtype=np.float64)
        assert reader.stats("chr10", 0, 40_000)[0] == pytest.approx(mean, abs=1e-6)
    again = tmp_path / "again.bw"
    write_bigwig(again, LENGTHS, runs)
    assert again.read_bytes() == file.read_bytes()


def test_the_last_base_of_the_longest_contig(tmp_path: Path) -> None:
    write_bigwig(tmp_path / "x.bw", {"c": MOST_BASES}, [("c", MOST_BASES - 1, MOST_BASES, 1.5)])
    with pyBigWig.open(str(tmp_path / "x.bw")) as reader:
        # pyBigWig gives positions of 32 bits as signed numbers.
        ((start, end, value),) = reader.intervals("c")
        assert (start % 2**32, end % 2**32, value) == (MOST_BASES - 1, MOST_BASES, 1.5)


def test_without_values_other_libraries_open_a_file_without_contigs(tmp_path: Path) -> None:
    assert write_bigwig(tmp_path / "x.bw", LENGTHS, iter(())) == 0
    assert read_values(tmp_path / "x.bw") == {}
    with pybigtools.open(str(tmp_path / "x.bw")) as reader:
        assert reader.chroms() == {}


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([("chr2", 3, 4, 1.0), ("chr2", 2, 3, 1.0)], "chr2:3 is not after the previous value"),
        ([("chr2", 3, 6, 1.0), ("chr2", 5, 7, 1.0)], "chr2:6 is not after .* ends at 6"),
        ([("chr2", 3, 3, 1.0)], "chr2:4 has no bases"),
        ([("chr2", -1, 3, 1.0)], "chr2:0 is outside the contig of 40 bases"),
        ([("chr2", 39, 41, 1.0)], "chr2:40 is outside the contig of 40 bases"),
        ([("chr2", 3, 4, float("nan"))], "chr2:4 is nan, expected a finite number"),
        ([("chr2", 3, 4, float("-inf"))], "chr2:4 is -inf, expected a finite number"),
        ([("chr2", 3, 4, 1e39)], r"chr2:4 is 1e\+39, expected a finite number of 32 bits"),
        ([("chr3", 3, 4, 1.0)], "chr3:4 is on a contig without a length"),
        (
            [("chr2", 3, 4, 1.0), ("x", 0, 1, 1.0), ("chr2", 5, 6, 1.0)],
            "chr2:6 comes after values of another contig",
        ),
    ],
)
@pytest.mark.parametrize("num_before", [0, 70_000])
def test_runs_that_the_format_cannot_hold_are_one_line_and_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], runs: list[Run], said: str, num_before: int
) -> None:
    before = [("chr10", i, i + 1, 0.5) for i in range(num_before)]
    with pytest.raises(InputError, match=said):
        write_bigwig(tmp_path / "x.bw", LENGTHS, before + runs)
    assert not [*tmp_path.iterdir()]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ({"": 3}, "a contig with the name ''"),
        ({"a\0b": 3}, "a contig with the name"),
        ({"a\udc80": 3}, "a contig with the name"),
        ({"c": 0}, "contig c has 0 bases"),
        ({"c": MOST_BASES + 1}, "contig c has 4,278,190,081 bases; .* 1 to 4,278,190,080"),
    ],
)
def test_contigs_that_the_format_cannot_hold_are_one_line(
    tmp_path: Path, lengths: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        write_bigwig(tmp_path / "x.bw", lengths, [])
    assert not [*tmp_path.iterdir()]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.txt: .* end in \.bw"):
        write_bigwig(tmp_path / "x.txt", {"c": 3}, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("the table is broken")])
def test_an_error_of_the_values_is_raised_and_the_old_file_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    file = tmp_path / "x.bw"
    file.write_bytes(b"old")

    def make_runs() -> Iterator[Run]:
        yield "chr2", 1, 2, 0.5
        raise error

    with pytest.raises(type(error)):
        write_bigwig(file, LENGTHS, make_runs())
    assert file.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [file]
    assert capfd.readouterr().err == ""


def test_what_is_logged_meanwhile_reaches_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def make_runs() -> Iterator[Run]:
        yield "chr2", 1, 2, 0.5
        os.write(2, "a line: ä\n".encode())
        yield "chr2", 2, 3, 0.5

    write_bigwig(tmp_path / "x.bw", LENGTHS, make_runs())
    assert capfd.readouterr().err == "a line: ä\n"


@pytest.mark.parametrize("at", [0, 350, 460])
def test_a_file_that_differs_from_its_values_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], at: int
) -> None:
    """The magic number, the contigs, or the compressed values are other bytes."""
    opened = pybigtools.open

    class Breaking:
        def __init__(self, path: str) -> None:
            self.path = path

        def write(self, lengths: dict[str, int], runs: Iterator[Run]) -> None:
            opened(self.path, "w").write(lengths, runs)
            raw = bytearray(Path(self.path).read_bytes())
            raw[at : at + 4] = struct.pack("<I", 7)
            Path(self.path).write_bytes(raw)

    monkeypatch.setattr(
        pybigtools, "open", lambda path, mode="r": Breaking(path) if mode == "w" else opened(path)
    )
    runs = [("chr10", i, i + 1, 0.5) for i in range(30)]
    with pytest.raises(InputError, match=r"x\.bw: cannot be written: pybigtools: "):
        write_bigwig(tmp_path / "x.bw", LENGTHS, runs)
    assert not [*tmp_path.iterdir()]
    assert capfd.readouterr().err == ""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to mount a small file system")
def test_a_full_disk_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        for number in (20_000, 40_000, 69_000):
            runs = (("chr10", i, i + 1, i * i % 997 / 7) for i in range(number))
            with pytest.raises(InputError, match=r"cannot be written: No space left on device"):
                write_bigwig(disk / "x.bw", LENGTHS, runs)
            assert not [*disk.iterdir()]
        assert capfd.readouterr().err == ""
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_panic_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    class Panicking:
        def write(self, _lengths: dict[str, int], _runs: Iterator[Run]) -> None:
            raise panic("Couldn't send: SendError\nstack backtrace")

    monkeypatch.setattr(pybigtools, "open", lambda *_: Panicking())
    with pytest.raises(InputError, match=r"x\.bw: cannot be written: pybigtools: Couldn't send"):
        write_bigwig(tmp_path / "x.bw", LENGTHS, [("chr2", 1, 2, 0.5)])
    assert not [*tmp_path.iterdir()]
