"""The mean effect of each position as bigWig, read by pyBigWig and compared with the bedGraph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.exports.bigwig import write
from tests.exports.test_bedgraph import expected, make_rows
from tests.table.build import Row, make_row, slow_disk, write_result, write_run

LENGTHS = {"chrM": 62, "chr2": 64, "chr10": 70}
"""In the order of the reference, which is not that of the names."""


def write_table(folder: Path, rows: list[Row], lengths: Any = LENGTHS) -> Path:
    table = write_result(folder / "scores.parquet", rows)
    write_run(table, lengths)
    return table


@slow_disk
@given(seed=st.integers(0, 10**6), num_rows=st.integers(1, 300))
def test_each_base_has_the_mean_of_pandas(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("bigwig")
    rows = make_rows(seed, num_rows)
    num_positions = write(write_table(folder, rows), folder / "scores.bw")
    means = {(name, start): mean for name, start, _, mean in expected(rows)}
    assert num_positions == len(means)
    with pyBigWig.open(str(folder / "scores.bw")) as reader:
        assert reader.chroms() == {name: LENGTHS[name] for name, _ in means}
        for name, length in reader.chroms().items():
            values = np.array([means.get((name, at), np.nan) for at in range(length)])
            found = np.array(reader.values(name, 0, length))
            np.testing.assert_allclose(found, values, rtol=1e-6)


def test_nothing_to_write_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write_table(tmp_path, [make_row(0, ref="AC", alt="A")], {"chr1": 1_000})
    assert write(table, tmp_path / "scores.bw") == 0
    with pyBigWig.open(str(tmp_path / "scores.bw")) as reader:
        assert reader.isBigWig()
        assert reader.chroms() == {}
    assert "no substitution of a single base has a score" in caplog.text


def test_positions_after_the_origin_of_a_circular_contig_count_from_its_first_base(
    tmp_path: Path,
) -> None:
    rows = [make_row(0, reference_contig="c", pos=9, ref="ACG", alt="ACT", llr=-1.0)]
    write(write_table(tmp_path, rows, {"c": 10}), tmp_path / "scores.bw")
    with pyBigWig.open(str(tmp_path / "scores.bw")) as reader:
        assert reader.intervals("c") == ((0, 1, -1.0),)


def test_contigs_that_are_longer_than_a_signed_number_can_count(tmp_path: Path) -> None:
    pos = 2**31 + 5
    rows = [make_row(0, reference_contig="c", pos=pos, ref="A", alt="T", llr=-1.5)]
    write(write_table(tmp_path, rows, {"c": 2**31 + 9}), tmp_path / "scores.bw")
    with pyBigWig.open(str(tmp_path / "scores.bw")) as reader:
        ((start, end, value),) = reader.intervals("c")  # as signed numbers of 32 bits
    assert (start % 2**32, end % 2**32, value) == (pos - 1, pos, -1.5)
    table = write_table(tmp_path, rows, {"c": 2**32})
    with pytest.raises(InputError, match="contig c has 4,294,967,296 bases"):
        write(table, tmp_path / "long.bw")
    assert not (tmp_path / "long.bw").exists()


@pytest.mark.parametrize("without", ["contigs", "run.json"])
def test_without_lengths_of_contigs_one_line_says_what_to_do(tmp_path: Path, without: str) -> None:
    table = write_table(tmp_path, [make_row(0)], None)
    if without == "run.json":
        table.with_name("run.json").unlink()
    with pytest.raises(InputError, match=r"lengths of the contigs, .* run\.json .* Run `merge`"):
        write(table, tmp_path / "scores.bw")


def test_the_table_is_not_overwritten(tmp_path: Path) -> None:
    table = write_table(tmp_path, [make_row(0)])
    with pytest.raises(InputError, match="is an input file"):
        write(table, table)
